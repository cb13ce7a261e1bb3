"""The pages show a family as one thing: one page and one yes, one row with counts."""

import html
import re
from dataclasses import replace

import pytest

from publisher.cli.application import activate_schedule
from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.engine.decisions import named_person
from publisher.web.approvals.families import Member, compare_members
from publisher.web.kit.live_parts import item_id
from tests.cli.posts import warning, write_schedule
from tests.web.conftest import ADMIN
from tests.web.posts import SOON, hidden_fields, plan, set_state, this_evening
from tests.web.test_approve import TO_ALL, approving  # noqa: F401 # a fixture
from tests.web.test_live import next_frame, open_page, targets

OWN = """[post.region.310000]
title = "上海的标题"
data.summary = "上海只说这一句"
"""
MEMBERS = ["refund.110000", "refund.310000"]
TO_TWO = TO_ALL.replace("]", ', "shanghai-weibo"]')


async def write_family(site, words=OWN, to=TO_TWO, name="refund", keys=""):
    at = f"at = {this_evening(site).isoformat()}\n{keys}"
    text = warning(name, at, to) + words
    write_schedule(site.application.settings.workspace, text)
    await activate_schedule(site.application)


@pytest.fixture
async def family(approving):  # noqa: F811 # the fixture
    """Return a dashboard with two approvals per warning, and a family due this evening."""
    await write_family(approving)
    return approving


async def list_items(client):
    page = await client.get("/approve/refund")
    assert page.status_code == 200, page.text
    [form] = re.findall(
        r'<form method="post" action="/approve/refund">(.*?)</form>', page.text
    )[:1]
    return page.text, re.findall(r'name="item" value="([^"]*)"', form)


async def count_given(site):
    tasks = await site.store.approvals.tasks(PostId("refund"))
    return {task.key.post: len(task.status.counted) for task in tasks}


async def test_one_page_shows_a_family_and_takes_one_yes(family):
    """The first text is shown in full, the other by its differences; one button approves both."""
    li = await family.signed_in("approver", name="李")
    inbox = (await li.get("/inbox")).text
    assert inbox.count('data-testid="todo-approve') == 1
    assert "2 个地区" in inbox
    assert 'href="/approve/refund"' in inbox
    page, items = await list_items(li)
    assert [item.split(" ")[0] for item in items] == MEMBERS
    assert "<ins>上海只说这一句</ins>" in html.unescape(page)
    assert 'href="/approve/refund.310000"' in page
    answer = await li.post("/approve/refund", data={"item": items})
    assert answer.status_code == 303, answer.text
    assert await count_given(family) == dict.fromkeys(MEMBERS, 1)


async def test_the_tip_link_of_each_region_is_on_the_page(family):
    """A link is no difference between regions, and a wrong one is seen all the same."""
    li = await family.signed_in("approver", name="李")
    page, _items = await list_items(li)
    shown = re.search(
        r'data-testid="member-refund.310000">(.*?)</section>', page, re.DOTALL
    )
    tasks = await family.store.approvals.tasks(PostId("refund"))
    found = await family.store.approvals.contents_of(
        {task.key: task.status.fingerprint for task in tasks}
    )
    links = {
        rendered.link
        for key, contents in found.items()
        for rendered in contents
        if key.post == "refund.310000"
    }
    assert links
    assert links == set(re.findall(r"举报链接：([^<]+)", shown[1]))


async def test_every_platform_of_a_family_is_shown_in_full_once(approving):  # noqa: F811
    """A platform that the first region lacks is shown by the text of another region."""
    await write_family(approving, to='["beijing-tieba", "shanghai-weibo"]')
    li = await approving.signed_in("approver", name="李")
    page, items = await list_items(li)
    assert len(items) == 2
    shown = re.findall(r'data-testid="preview-(\w+)"', page)
    assert sorted(shown) == ["tieba", "weibo"]


async def test_a_yes_to_a_family_with_a_changed_member_counts_for_none(family):
    """The page says which member has changed, and shows it as it is now."""
    li = await family.signed_in("approver", name="李")
    _page, items = await list_items(li)
    await write_family(family, OWN.replace("只说", "改说"))
    answer = await li.post("/approve/refund", data={"item": items})
    assert answer.status_code == 409
    assert "refund.310000" in answer.text
    assert "改说" in answer.text
    assert await count_given(family) == dict.fromkeys(MEMBERS, 0)


async def test_a_family_is_returned_as_a_whole(family):
    """One reason sends all members back; the author finds them in the inbox."""
    li = await family.signed_in("approver", name="李")
    _page, items = await list_items(li)
    bare = await li.post("/approve/refund/return", data={"item": items})
    assert bare.status_code == 409
    answer = await li.post(
        "/approve/refund/return", data={"item": items, "reason": "改电话"}
    )
    assert answer.status_code == 303, answer.text
    tasks = await family.store.approvals.tasks(PostId("refund"))
    assert [task.returned.reason for task in tasks] == ["改电话", "改电话"]


async def test_a_region_sees_and_approves_its_own_member_alone(family):
    """The family's address leads to the one member of a region; a forged form changes nothing."""
    li = await family.signed_in("approver", name="李")
    _page, items = await list_items(li)
    hu = await family.signed_in("approver@region:310000", name="沪")
    page = await hu.get("/approve/refund")
    assert (page.status_code, page.headers["location"]) == (
        303,
        "/approve/refund.310000",
    )
    answer = await hu.post("/approve/refund", data={"item": items})
    assert answer.status_code in {403, 404}
    assert await count_given(family) == dict.fromkeys(MEMBERS, 0)


async def test_lists_show_a_family_as_one_row_with_counts(family):
    """Posts, Today and the search have one row for a family; it opens to its members."""
    li = await family.signed_in("viewer", name="看")
    posts = (await li.get("/posts")).text
    rows = re.findall(r'data-testid="row-([^"]+)"', posts)
    # the ordinary post that it was before is a row of its own
    assert rows == ["refund", *MEMBERS, "refund"]
    assert re.search(r"2 个地区，2 \w+", posts)
    for path in ("/posts?q=refund", "/posts?q=上海只说", "/posts?state=waiting"):
        found = (await li.get(path)).text
        assert "refund.310000" in found, path
    search = (await li.get("/search?q=refund")).text
    assert 'href="/posts?family=refund"' in search
    today = (await li.get("/today")).text
    assert today.count('data-testid="row-refund"') == 2
    assert 'data-testid="row-refund.' not in today
    assert today.count('data-testid="coming-refund') == 1


async def test_a_region_sees_its_member_as_an_ordinary_row(family):
    """A visitor of one region finds that region's post, and nothing of the family."""
    hu = await family.signed_in("viewer@region:310000", name="沪")
    posts = (await hu.get("/posts")).text
    assert 'data-testid="row-refund.310000"' in posts
    assert "refund.110000" not in posts


async def test_an_open_page_of_today_follows_a_family(site):
    """A change of one member redraws the row of the family, with all its accounts."""
    await plan(site, warning("refund", SOON, TO_TWO) + OWN)
    viewer = await open_page(site)
    await site.store.actions.cancel_post(PostId("refund.310000"), ADMIN, "不发了")
    frame = await next_frame(site, viewer)
    row = item_id("row", "refund.110000", "once")
    assert row in targets(frame)
    assert re.search(r"2 个地区，1 \w+，1 \w+", frame)


async def test_a_form_names_each_member_once_and_only_visible_ones(family):
    """A member that is named many times gets one approval; others' members are as good as none."""
    li = await family.signed_in("approver", name="李")
    _page, [beijing, shanghai] = await list_items(li)
    post, content, at = beijing.split(" ")
    many = [f"{post} {content[:length]} {at}" for length in range(20, 30)]
    assert (await li.post("/approve/refund", data={"item": many})).status_code == 303
    assert await count_given(family) == {"refund.110000": 1, "refund.310000": 0}
    hu = await family.signed_in("approver@region:310000", name="沪")
    forged = [shanghai, beijing], [shanghai, f"refund.440000 {content}"]
    answers = [await hu.post("/approve/refund", data={"item": one}) for one in forged]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert await count_given(family) == {"refund.110000": 1, "refund.310000": 0}


async def test_the_address_of_a_family_leads_to_its_row(approving):  # noqa: F811
    """A save leads to the post by the id that people wrote, which is that of a family."""
    await write_family(approving, name="two-regions")
    author = await approving.signed_in("author", name="王")
    page = await author.get("/posts/two-regions")
    assert (page.status_code, page.headers.get("location")) == (
        303,
        "/posts?family=two-regions",
    )
    assert (await author.get("/posts/unknown")).status_code == 404


async def test_a_region_shows_the_pause_of_its_family_and_cannot_lift_it(family):
    """It holds the other regions too: only the whole is resumed."""
    await family.store.actions.pause("post:refund", named_person("王"), "文字有误")
    operator = await family.signed_in("operator", name="操")
    page = (await operator.get("/posts/refund.310000")).text
    assert "王" in page.partition('class="problem"')[2][:40]
    assert 'data-testid="act-resume-post"' not in page
    assert 'data-testid="act-pause-post"' not in page


async def test_an_old_form_is_paused_by_nobody_of_one_region(approving):  # noqa: F811
    """Its pause would hold every region, so it takes the right on the accounts of all."""
    await write_family(approving, words="", to='["beijing-weibo"]')
    await write_family(approving, to='["beijing-weibo", "shanghai-weibo"]')
    beijing = await approving.signed_in("author@region:110000", name="京")
    assert (await beijing.post("/posts/refund/pause")).status_code == 403
    everywhere = await approving.signed_in("author", name="总")
    assert (await everywhere.post("/posts/refund/pause")).status_code == 303


@pytest.mark.parametrize("at", ["2500-01-01T09:00:00", "0001-01-01T00:00:00"])
async def test_a_move_shows_no_words_of_another_region(family, at):
    """A family is moved by those alone that see all of it."""
    beijing = await family.signed_in("author@region:110000", name="京")
    entry = await family.store.posts.get_post(PostId("refund.110000"))
    local = entry.trigger.at.astimezone(family.application.settings.timezone)
    sent = {"was": f"{local:%Y-%m-%dT%H:%M:%S}", "at": at, "back": "/calendar"}
    for path in ("/posts/refund/move", "/posts/refund.110000/move"):
        answer = await beijing.post(path, data=sent)
        assert answer.status_code == 404
        assert "上海的标题" not in answer.text


async def test_all_accounts_of_the_shown_region_are_compared(family):
    """A text that a template gives to a second account of the first region is a difference."""
    tasks = await family.store.approvals.tasks(PostId("refund"))
    found = await family.store.approvals.contents_of(
        {task.key: task.status.fingerprint for task in tasks}
    )
    task = next(task for task in tasks if task.key.post == "refund.110000")
    [first, *_] = found[task.key]
    second = replace(first, account="beijing2", text=f"{first.text}请把钱转到安全账户")
    member = Member(task=task, contents=[first, second], region="北京")
    [compared] = compare_members([member], set())
    pieces = [piece for change in compared.changes.texts for piece in change.pieces]
    assert "".join(p.text for p in pieces if p.kind == "added") == "请把钱转到安全账户"


async def publish_family(site):
    """Plan a family that is published in both regions."""
    await plan(site, warning("refund", SOON, TO_TWO) + OWN)
    for post in MEMBERS:
        await set_state(site, State.PUBLISHED, post=post, attempts=1)


async def test_a_post_of_one_region_names_it_and_leads_to_the_others(site):
    """Its page and the dialogs say the region, and that the other one stays as it is."""
    await publish_family(site)
    chief = await site.signed_in("operator", "author", name="张")
    page = (await chief.get("/posts/refund.310000")).text
    assert re.search(r'data-testid="region">[^<]*上海', page)
    assert 'href="/posts?family=refund" data-testid="act-family"' in page
    for action in ("retract", "correct"):
        dialog = (await chief.get(f"/posts/refund.310000/{action}")).text
        assert "只管上海的；另外 1 个地区的照旧" in dialog, action
    assert "只从上海的 1 个账号删掉" in page
    page = (await chief.get("/posts/refund")).headers["location"]
    assert page == "/posts?family=refund"


async def test_a_whole_family_is_taken_down_from_one_of_its_posts(site):
    """The dialog leads to the deletion of all regions, which names each."""
    await publish_family(site)
    chief = await site.signed_in("operator", "author", name="张")
    page = html.unescape((await chief.get("/posts/refund.310000/retract")).text)
    [path] = re.findall(r'href="(/bulk/retract[^"]*)"', page)
    whole = (await chief.get(path)).text
    assert "北京" in whole
    assert "上海" in whole
    items = re.findall(r'name="item" value="([^"]*)"', whole)
    answer = await chief.post("/bulk/retract", data={"item": items, "reason": "有误"})
    assert answer.status_code == 303, answer.text
    deliveries = await site.store.queries.deliveries()
    asked = {item.key.post for item in deliveries if item.is_retraction_requested}
    assert asked == set(MEMBERS)


async def test_a_region_learns_nothing_of_the_others(site):
    """Who sees one region alone is not led to the family, and cannot take it down."""
    await publish_family(site)
    hu = await site.signed_in("operator@region:310000", name="沪")
    page = (await hu.get("/posts/refund.310000")).text
    assert 'data-testid="region"' in page
    assert "act-family" not in page
    assert "/bulk/retract" not in page
    answer = await hu.get("/bulk/retract?item=refund.310000&item=refund.110000")
    assert "refund.110000" not in re.findall(r'value="([^" ]*) ', answer.text)


async def test_a_correction_is_written_for_one_region_or_for_all(site):
    """From the page of one region the form has that region alone; the whole is offered beside."""
    await publish_family(site)
    chief = await site.signed_in("operator", "author", name="张")
    page = html.unescape((await chief.get("/posts/refund.310000/correct")).text)
    one, whole = re.findall(r'href="(/write[?]kind=correction[^"]*)"', page)
    accounts = {item.account for item in await site.store.queries.deliveries()}
    for path, to in ((one, {"region:310000"}), (whole, accounts)):
        form = (await chief.get(path)).text
        assert re.search(r'<option value="refund" selected', form), path
        assert {*re.findall(r'name="to" value="([^"]*)"[^>]*checked', form)} == to


async def test_the_list_of_a_family_has_its_title_and_names_each_region(site):
    """No id stands in the field of the search; each row says its region."""
    await plan(site, warning("refund", SOON, TO_TWO) + OWN)
    author = await site.signed_in("author", name="王")
    page = (await author.get("/posts?family=refund")).text
    assert 'data-testid="region-refund.310000"' in page
    assert 'data-testid="act-write-whole"' not in page
    await publish_family(site)
    chief = await site.signed_in("operator", "author", name="张")
    page = (await chief.get("/posts?family=refund")).text
    assert "内容" not in re.findall(r"<h1>([^<]+)</h1>", page)
    assert 'value="refund"' not in page
    for post, region in zip(MEMBERS, ("北京", "上海"), strict=True):
        assert f'data-testid="region-{post}">{region}<' in page
    assert 'data-testid="act-write-whole"' in page


async def test_a_yes_to_a_family_stands_below_all_texts_and_says_how_far_it_goes(
    family,
):
    """The button names regions and accounts, is no bar over the texts, and says why it waits."""
    li = await family.signed_in("approver", name="李")
    page, _items = await list_items(li)
    above, _, decide = page.partition('<div class="decide release">')
    assert 'data-testid="member-refund.310000"' in above
    sent_to = decide.partition("<form")[0]
    assert re.search(r"2 个地区（各是一篇）、4 个账号：</b>北京、上海", sent_to)
    [button] = re.findall(r"<button[^>]*act-approve[^>]*>[^<]*", decide)
    assert 'data-read-first="请先看文字…"' in button
    assert "2 个地区、4 个账号" in button


async def test_the_inbox_names_the_region_of_a_member_that_waits_alone(family):
    """After one member is changed, two cards of one title have their regions."""
    li = await family.signed_in("approver", name="李")
    _page, items = await list_items(li)
    data = {"item": items[1], "reason": "改电话"}
    assert (await li.post("/approve/refund/return", data=data)).status_code == 303
    await write_family(family, OWN.replace("只说", "改说"))
    inbox = (await li.get("/inbox")).text
    assert inbox.count('data-testid="todo-approve') == 2
    assert "上海　上海的标题" in inbox
    assert "北京　警惕" in inbox


async def test_the_inbox_counts_the_accounts_of_a_family(family):
    """Two regions with four accounts are no two accounts."""
    li = await family.signed_in("approver", name="李")
    inbox = (await li.get("/inbox")).text
    assert re.search(r"2 个地区[^<]*4 个账号", inbox)


async def test_a_yes_to_a_family_is_one_decision_and_taken_back_at_once(family):
    """The list of decisions has it once, with the number of regions; one button ends all."""
    li = await family.signed_in("approver", name="李")
    _page, items = await list_items(li)
    await li.post("/approve/refund", data={"item": items})
    done = (await li.get("/inbox")).text.partition('data-testid="done"')[2]
    assert done.count("act-end-") == 1
    assert "<span>2 个地区</span>" in done
    [form] = re.findall(
        r'<form method="post" action="/approve/refund/end">.*?</form>', done
    )
    data = {"item": re.findall(r'name="item" value="([^"]*)"', form), "own": "1"}
    hu = await family.signed_in("approver@region:310000", name="沪")
    assert (await hu.post("/approve/refund/end", data=data)).status_code == 404
    assert await count_given(family) == dict.fromkeys(MEMBERS, 1)
    answer = await li.post("/approve/refund/end", data=data)
    assert answer.status_code == 303, answer.text
    assert await count_given(family) == dict.fromkeys(MEMBERS, 0)


async def test_a_decision_on_one_region_names_it(family):
    """A yes to one member is said with its region."""
    hu = await family.signed_in("approver@region:310000", name="沪")
    page = (await hu.get("/approve/refund.310000")).text
    fields = hidden_fields(page, "/approve/refund.310000")
    answer = await hu.post("/approve/refund.310000", data=fields)
    assert answer.status_code == 303, answer.text
    done = (await hu.get("/inbox")).text.partition('data-testid="done"')[2]
    assert "<span>上海</span>" in done


async def test_differences_of_a_family_end_at_their_line_and_show_no_empty_number(
    family,
):
    """What stands beside a difference is whole; a number of its own is three dots."""
    li = await family.signed_in("approver", name="李")
    page, _items = await list_items(li)
    changes = page.partition('data-testid="member-refund.310000"')[2]
    changes = html.unescape(changes.partition("</section>")[0])
    assert not re.search("编号[ 　]*(<|\n|）)", changes)


async def release_all(client, **fields):
    page = (await client.get("/approve/refund")).text
    [form] = re.findall(
        r'<form method="post" action="/approve/refund/release">.*?</form>', page
    )
    items = re.findall(r'name="item" value="([^"]*)"', form)
    assert [item.split(" ")[0] for item in items] == MEMBERS
    return await client.post("/approve/refund/release", data={"item": items, **fields})


async def test_a_family_is_released_as_one_in_an_emergency(family):
    """Two officers on duty release all regions by one act each; the review comes afterwards."""
    zhang = await family.signed_in("author", name="zhang")
    li = await family.signed_in("approver", name="李")
    assert 'data-testid="release"' not in (await li.get("/approve/refund")).text
    for name in ("zhang", "李"):
        await family.store.duty.add(name, ADMIN)
    first = await release_all(zhang, reason="诈骗正在发生")
    assert first.status_code == 303, first.text
    assert first.headers["location"] == "/approve/refund"
    page = (await li.get("/approve/refund")).text
    assert page.count('data-testid="released"') == 1
    assert (await release_all(li)).status_code == 303
    tasks = await family.store.approvals.tasks(PostId("refund"))
    assert [task.status.is_emergency for task in tasks] == [True, True]
    wang = await family.signed_in("approver", name="王")
    page = (await wang.get("/approve/refund")).text
    assert "补审同意全部 2 个地区" in page
    assert 'data-testid="release"' not in page


async def test_an_urgent_family_is_one_thing_to_release(approving):  # noqa: F811
    """The inbox of an officer has one item for all regions, which leads to the page of all."""
    await write_family(approving, keys="urgent = true")
    for name in ("zhang", "李"):
        await approving.store.duty.add(name, ADMIN)
    li = await approving.signed_in("approver", name="李")
    inbox = (await li.get("/inbox")).text
    assert inbox.count('data-testid="todo-approve') == 1
    assert 'href="/approve/refund"' in inbox
    assert "去放行" in inbox
    assert "/urgent/refund" not in inbox
