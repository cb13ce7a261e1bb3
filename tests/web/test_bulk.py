"""One act on several posts or accounts: each under the rules of the single act."""

import html
import re
from datetime import timedelta

import pyotp
import pytest
from PIL import Image

from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.engine.corrections import send_correction
from publisher.engine.decisions import named_person
from publisher.engine.planner import apply_schedule
from publisher.store.db.tables import DELIVERY
from publisher.web.kit.bulk import MAX_TICKED
from tests.cli.posts import warning
from tests.web.posts import LATER, POST, SOON, plan, set_state
from tests.web.test_approve import (  # noqa: F401 # a fixture
    CORRECTION,
    SECRET,
    TO_ALL,
    WRONG_CODE,
    approving,
    code_of,
    is_said_at_the_code,
    start_session,
    write,
)
from tests.web.test_sign_in import add_activated

FOR_SHANGHAI = """{% extends "_shared/plain.txt" %}
{% block end %}{% if region.name == "上海" %}只给上海。{% endif %}{% endblock %}"""


def items_of(page):
    """Return the values of a form's items."""
    return [
        html.unescape(each) for each in re.findall('name="item" value="([^"]+)', page)
    ]


async def plan_more(site):
    """Let two more posts wait for approvals beside the one that does."""
    due = f"at = {site.runtime.now() + timedelta(hours=3):%Y-%m-%dT%H:%M:%S}Z"
    text = "\n".join(warning(name, due, TO_ALL) for name in ("refund", "p", "q"))
    await apply_schedule(site.application.planner, text, "schedule.toml")


async def counted(site):
    """Return how many approvals count of each post."""
    tasks = await site.store.approvals.tasks()
    return {task.key.post: len(task.status.counted) for task in tasks}


async def test_several_texts_are_approved_at_once(approving):  # noqa: F811 # the fixture
    """The page has the words of each ticked post, the number in the button, and takes one code."""
    await plan_more(approving)
    session = await start_session(approving, "李")
    li = approving.client({"publisher_session": session})
    inbox = (await li.get("/inbox")).text
    assert inbox.count('name="item"') == 3
    page = (await li.get("/bulk/approve?item=refund&item=p&item=unknown")).text
    assert "批准 2 条" in page
    assert page.count('<p class="words">') == 6
    articles = re.findall('<iframe src="(/articles/[0-9a-f]+)" sandbox', page)
    assert len(articles) == 2
    assert (await li.get(articles[0])).status_code == 200
    assert "&lt;section" not in page
    form = {"item": items_of(page)}
    wrong = await li.post("/bulk/approve", data={**form, "code": WRONG_CODE})
    assert (wrong.status_code, is_said_at_the_code(wrong.text)) == (422, True)
    assert items_of(wrong.text) == form["item"]
    assert set((await counted(approving)).values()) == {0}
    code = code_of(SECRET, approving.runtime)
    done = await li.post("/bulk/approve", data={**form, "code": code})
    assert done.status_code == 303
    assert await counted(approving) == {"refund": 1, "p": 1, "q": 0}


@pytest.mark.parametrize(
    "approving", [{"warning/tieba.txt": FOR_SHANGHAI}], indirect=True
)
async def test_pictures_and_several_texts_of_a_platform_are_shown(approving):  # noqa: F811 # the fixture
    """The page shows the pictures, and says of how many texts of a platform it shows one."""
    media = approving.application.settings.workspace / "media"
    media.mkdir(exist_ok=True)
    Image.new("RGB", (800, 400), "navy").save(media / "cover.png")
    image = 'images = [{ file = "media/cover.png", alt = "海报" }]'
    to_two = {TO_ALL: '["platform:weibo", "platform:tieba"]'}
    await write(approving, words={"[post.data]": f"{image}\n[post.data]", **to_two})
    li = await approving.signed_in("approver", name="李")
    page = (await li.get("/bulk/approve?item=refund")).text
    pictures = re.findall(r'class="thumbnail"\s+src="([^"]+)"\s+alt="海报"', page)
    assert len(pictures) == 2
    assert {(await li.get(path)).headers["content-type"] for path in pictures} == {
        "image/png"
    }
    assert re.findall(r"<figcaption[^>]*>\s*(.*?)\s*<", page) == [
        "2 个贴吧账号的正文有 2 种，这是其中一种。",
        "2 个微博账号正文相同，只有编号、链接和地区资料不同。",
    ]


async def test_what_may_not_be_approved_is_refused_by_itself(approving):  # noqa: F811 # the fixture
    """One's own second approval, and a text that has changed, count for nothing; others do."""
    await plan_more(approving)
    li = await approving.signed_in("approver", name="李")
    page = (await li.get("/bulk/approve?item=refund&item=p&item=q")).text
    items = items_of(page)
    stale = [re.sub("[0-9a-f]{64}", "0" * 64, items[0]), *items[1:]]
    await li.post("/bulk/approve", data={"item": stale})
    names = [item.split(" ")[0] for item in items]
    assert await counted(approving) == dict(zip(names, (0, 1, 1), strict=True))
    assert "2 条" in (await li.get("/inbox")).text
    await li.post("/bulk/approve", data={"item": items})
    assert await counted(approving) == {"refund": 1, "p": 1, "q": 1}


async def test_deleting_says_that_a_correction_stays(site):
    """A correction is another post: deleting the original, alone or with others, leaves it."""
    wrong = "正规退款原路退回，不用转账"
    fix = CORRECTION.format(wrong=wrong, at=LATER.removeprefix("at = "))
    await plan(site, POST, fix)
    await set_state(site, State.PUBLISHED, attempts=1)
    correction = await site.store.posts.get_post(PostId("sorry"))
    await send_correction(
        site.application.planner, correction, named_person("王"), is_new=False
    )
    client = await site.signed_in("author", "operator")
    for path in ("/posts/refund/retract", "/bulk/retract?item=refund"):
        assert (
            "《更正退款提醒》是它的更正，不会一起删除" in (await client.get(path)).text
        )


async def test_what_does_not_fit_is_named_before_and_after(approving):  # noqa: F811 # the fixture
    """Which ticked posts are not approved with the others, and why; so says the notice."""
    await plan_more(approving)
    li = await approving.signed_in("approver", name="李")
    first = (await li.get("/bulk/approve?item=refund")).text
    assert "left-out" not in first
    await li.post("/bulk/approve", data={"item": items_of(first)})
    page = (await li.get("/bulk/approve?item=refund&item=p&item=unknown")).text
    assert "批准 1 条" in page
    left = re.search(r'data-testid="left-out".*?</div>', page, re.DOTALL)[0]
    assert re.findall("<li>(.*?)</li>", left) == [
        "《警惕“退款客服”诈骗》：不等您批准：是您写的、您已经批过，或者不是您这一级",
        "《unknown》：现在不等批准",
    ]
    [item] = items_of(page)
    stale = re.sub("[0-9a-f]{64}", "0" * 64, item)
    await li.post("/bulk/approve", data={"item": [stale]})
    assert "1 条没有办：《" in (await li.get("/inbox")).text


async def test_an_approver_of_other_accounts_approves_nothing(approving):  # noqa: F811 # the fixture
    """Neither a ticked post nor a forged form counts outside of a person's own accounts."""
    await plan_more(approving)
    li = await approving.signed_in("approver", name="李")
    items = items_of((await li.get("/bulk/approve?item=p")).text)
    other = await approving.signed_in("approver@shanghai-weibo", name="沪")
    assert (await other.get("/bulk/approve?item=p")).status_code == 409
    await other.post("/bulk/approve", data={"item": items})
    assert set((await counted(approving)).values()) == {0}


async def plan_published(site):
    """Plan two posts that are published everywhere."""
    await plan(site, POST, warning("other", to='["platform:wechat"]', when=LATER))
    await site.store.database.write(
        lambda unit: unit.connection.execute(
            DELIVERY.update().values(state=State.PUBLISHED.value, attempts=1)
        )
    )


async def retracting(site):
    found = await site.store.queries.deliveries(states=[State.RETRACTING])
    return {item.key.post for item in found}


async def test_several_posts_are_taken_down_at_once(site):
    """The reason and the code hold for all; without either nothing is ordered."""
    secret = await add_activated(site, "王", "author", with_factor=True)
    await plan_published(site)
    session = await site.store.sign_ins.start_session(
        "王", "address 127.0.0.1", named_person("王")
    )
    wang = site.client({"publisher_session": session})
    assert (await wang.get("/posts")).text.count('name="item"') == 2
    page = (await wang.get("/bulk/retract?item=refund&item=other")).text
    assert "删掉 2 条" in page
    form = {"item": items_of(page)}
    unsaid = await wang.post("/bulk/retract", data=form)
    wrong = await wang.post(
        "/bulk/retract", data={**form, "reason": "写错了", "code": WRONG_CODE}
    )
    assert (unsaid.status_code, wrong.status_code) == (422, 422)
    assert is_said_at_the_code(wrong.text)
    assert 'value="写错了"' in wrong.text
    assert await retracting(site) == set()
    site.runtime.advance_time(timedelta(minutes=1))
    code = pyotp.TOTP(secret).at(site.runtime.now())
    done = await wang.post(
        "/bulk/retract", data={**form, "reason": "写错了", "code": code}
    )
    assert done.status_code == 303
    assert await retracting(site) == {"refund", "other"}


async def test_a_post_that_is_named_several_times_is_taken_down_once(site):
    """A forged form with the same post again orders one retraction, and one audit entry."""
    await plan_published(site)
    client = await site.signed_in("operator")
    page = (await client.get("/bulk/retract?item=refund")).text
    [item] = items_of(page)
    again = [item, f"{item}0", f"{item}1"]
    await client.post("/bulk/retract", data={"item": again, "reason": "写错了"})
    entries = await site.store.queries.audit_history("refund")
    assert [one.event for one in entries].count("retraction_requested") == 1


async def test_a_number_that_no_row_has_stops_no_other_post(site):
    """A forged form with a number out of any range is refused for that post alone."""
    await plan_published(site)
    client = await site.signed_in("operator")
    page = (await client.get("/bulk/retract?item=refund&item=other")).text
    first, second = items_of(page)
    for number in ("9" * 20, "9" * 5_000, "²"):
        forged = [f"{first.split(' ')[0]} {number}", second]
        form = {"item": forged, "reason": "写错了"}
        assert (await client.post("/bulk/retract", data=form)).status_code == 303
    assert await retracting(site) == {second.split(" ")[0]}


async def test_a_retraction_of_several_is_for_those_with_all_accounts(site):
    """One post on other accounts refuses the whole form, and takes nothing down."""
    await plan_published(site)
    client = await site.signed_in("operator@beijing-weibo", name="京")
    for answer in (
        await client.get("/bulk/retract?item=refund"),
        await client.post(
            "/bulk/retract", data={"item": ["refund 99", "other 99"], "reason": "x"}
        ),
    ):
        assert answer.status_code in {403, 404}
    assert await retracting(site) == set()


async def test_what_cannot_be_taken_down_is_named_with_the_reason(site):
    """A post that never went out, and one that is gone, are listed; the others are asked about."""
    await plan_published(site)
    await plan(
        site,
        POST,
        warning("other", to='["platform:wechat"]', when=LATER),
        warning("waiting", when=LATER),
    )
    client = await site.signed_in("operator")
    query = "item=refund&item=waiting&item=gone"
    page = (await client.get(f"/bulk/retract?{query}")).text
    assert "删掉 1 条" in page
    left = re.search(r'data-testid="left-out".*?</div>', page, re.DOTALL)[0]
    reasons = re.findall("<li>(.*?)</li>", left)
    assert ["没有发出过" in reasons[0], "《gone》" in reasons[1]] == [True, True]
    assert (await client.get("/bulk/retract?item=waiting")).status_code == 409


async def plan_held(site):
    await plan(site, POST)
    await set_state(site, State.HELD, reason="uncheckable", attempts=1)


async def test_several_accounts_are_ruled_on_at_once(site):
    """The ticked accounts get one ruling and one reason; the others wait on."""
    await plan_held(site)
    client = await site.signed_in("operator")
    assert 'data-testid="act-resolve"' in (await client.get("/posts/refund")).text
    page = (await client.get("/posts/refund/resolve")).text
    items = items_of(page)
    assert "认定 4 个账号" in page
    assert 'value="published"' not in page
    form = {"item": items[:3], "ruling": "not-published", "reason": "都看过了"}
    for lacking in ("ruling", "reason"):
        answer = await client.post("/posts/refund/resolve", data={**form, lacking: ""})
        assert answer.status_code == 422
    assert len(await site.store.queries.deliveries(states=[State.HELD])) == 4
    done = await client.post("/posts/refund/resolve", data=form)
    assert done.status_code == 303
    assert len(await site.store.queries.deliveries(states=[State.HELD])) == 1


async def test_a_ruling_on_what_has_changed_or_is_others_is_refused(site):
    """An account in another state by now, or out of reach, keeps its state."""
    await plan_held(site)
    client = await site.signed_in("operator")
    items = items_of((await client.get("/posts/refund/resolve")).text)
    form = {"item": items, "ruling": "not-published", "reason": "都看过了"}
    other = await site.signed_in("operator@beijing-weibo", name="京")
    page = (await other.get("/posts/refund/resolve")).text
    assert len(items_of(page)) == 1
    await other.post("/posts/refund/resolve", data=form)
    assert len(await site.store.queries.deliveries(states=[State.HELD])) == 3
    await set_state(site, State.HELD, "shanghai-tieba", reason="captcha", attempts=2)
    await client.post("/posts/refund/resolve", data=form)
    [left] = await site.store.queries.deliveries(states=[State.HELD])
    assert left.account == "shanghai-tieba"


@pytest.mark.parametrize("path", ["/bulk/approve", "/bulk/retract"])
async def test_a_form_takes_no_more_than_its_limit(site, path):
    """Nothing ticked, and more than the limit, are refused before anything is read."""
    await plan(site, warning("first", when=SOON))
    client = await site.signed_in("operator", "approver", name="李")
    items = [f"item=p{number}" for number in range(MAX_TICKED + 1)]
    assert [
        (await client.get(f"{path}?{query}")).status_code
        for query in ("", "&".join(items))
    ] == [409, 409]
