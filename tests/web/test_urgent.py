"""The emergency lane: a title and a sentence, previews, and the release by two officers on duty."""

import asyncio
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from publisher.cli.commands.demo import APPROVER, AUTHOR, add_people
from publisher.domain.approval import ApprovalRules, Stage
from publisher.domain.delivery import State
from publisher.domain.errors import ApprovalError
from publisher.domain.post import PostId
from publisher.domain.user import Principal
from publisher.engine import schedule_editor
from publisher.engine.approvals import make_approver, release_in_emergency
from publisher.engine.planner import apply_schedule
from publisher.store.db.tables import DELIVERY
from publisher.web.write import urgent
from tests.web.conftest import ADMIN
from tests.web.posts import POST as PLANNED
from tests.web.posts import hidden_fields, set_state
from tests.web.test_approve import (
    SECRET,
    WRONG_CODE,
    code_of,
    is_said_at_the_code,
    start_session,
)
from tests.web.test_write import fields_of, posts

POST = PostId("jia-mao-ben-ju-de-zhuan-2026-11")
WORDS = {
    "title": "假冒本局的转账电话",
    "data.summary": "公安机关没有“安全账户”，请立即挂断",
    "to": "all",
}
FIELDS = re.compile(r'name="data.topic"\s+value="(\w+)"\s+required')


@pytest.fixture
async def lane(site, monkeypatch):
    """Yield a site with approvals for warnings, and with saved schedules in force at once."""
    opened, rules = site.application, ApprovalRules(default=(Stage(name="初审"),))
    store = replace(opened.store, approval_rules=rules)
    planner = replace(opened.planner, store=store)
    site.app.state.site.application = replace(opened, store=store, planner=planner)
    file = opened.settings.workspace / "schedule.toml"
    await asyncio.to_thread(file.write_text, "# 计划\n", "utf-8")

    async def accept(*_arguments):
        text = await asyncio.to_thread(file.read_text, "utf-8")
        await apply_schedule(planner, text, file.name)
        return True

    monkeypatch.setattr(urgent, "wait_until_accepted", accept)
    return site


async def send(client, **words):
    shown = await client.post("/urgent", data={**WORDS, **words, "do": "preview"})
    return shown, await client.post(
        "/urgent", data=fields_of(shown.text) | {"do": "save"}
    )


async def test_two_officers_release_it_at_once(lane):
    """Two officers release an urgent post at once.

    The author's own release comes with the save, and the other officer's release sends it. The
    review stays due.
    """
    author = await lane.signed_in("author", name="王")
    other = await lane.signed_in("approver", name="李")
    for name in ("王", "李"):
        await lane.store.duty.add(name, ADMIN, "内线 8112")
    shown, sent = await send(author)
    assert 'data-testid="preview-weibo"' in shown.text
    assert "李 内线 8112" in shown.text
    assert (sent.status_code, sent.headers["location"]) == (303, f"/urgent/{POST}")
    assert "还没有看到对方打开" in (await author.get(f"/urgent/{POST}")).text
    page = await other.get(f"/urgent/{POST}")
    assert "王 放行" in page.text
    heads = [
        re.search("<h2.*?>(.*?)</h2>", text)[1]
        for text in (page.text, (await author.get(f"/urgent/{POST}")).text)
    ]
    assert heads == ["等您放行", "请 李 内线 8112 在手机上同意"]
    third = await lane.signed_in("viewer", name="三")
    assert (
        "<h2>请 李 内线 8112 在手机上同意</h2>"
        in (await third.get(f"/urgent/{POST}")).text
    )
    assert re.search(
        "李 [0-9:]+ 打开了这一页", (await author.get(f"/urgent/{POST}")).text
    )
    released = await other.post(f"/urgent/{POST}", data=fields_of(page.text))
    assert released.status_code == 303
    polled = await other.get(f"/urgent/{POST}", headers={"hx-request": "true"})
    opened = await other.get(released.headers["location"])
    assert ('data-testid="notice"' in polled.text) is False
    assert ('data-testid="notice"' in opened.text) is True
    assert {item.state for item in await lane.store.queries.deliveries(POST)} == {
        State.DUE
    }
    assert "24 小时内要补审：初审" in (await author.get(f"/urgent/{POST}")).text
    row = (
        (await author.get("/today"))
        .text.partition(f'data-testid="row-{POST}"')[2]
        .partition("</article>")[0]
    )
    assert ("紧急放行，缺补审" in row, "审批没过就不发" in row) == (True, False)
    [post] = posts(lane.application.settings.workspace / "schedule.toml")
    assert (post["at"], post["urgent"], post["kind"], post["author"]) == (
        "asap",
        True,
        "warning",
        "王",
    )


@pytest.mark.parametrize("fault", ["broken", "locked"])
async def test_an_emergency_does_not_wait_for_the_file(lane, monkeypatch, fault):
    """A faulty or locked schedule.toml stays as it is; the post waits for its release all the same."""
    file = lane.application.settings.workspace / "schedule.toml"
    author = await lane.signed_in("author", name="王")
    await put_on_duty(lane, "王", "李")
    if fault == "broken":
        written = '[[post]]\ntitle = "未写完'
        await asyncio.to_thread(file.write_text, written, "utf-8")
        _shown, sent = await send(author)
    else:
        monkeypatch.setattr(schedule_editor, "LOCK_TIMEOUT_SECONDS", 0.1)
        written = await asyncio.to_thread(file.read_text, "utf-8")
        async with schedule_editor.lock_schedule(file):
            _shown, sent = await send(author)
    assert (sent.status_code, sent.headers["location"]) == (303, f"/urgent/{POST}")
    assert "没有写进去" in (await author.get(f"/urgent/{POST}")).text
    [task] = await lane.app.state.site.store.approvals.tasks(POST)
    assert [given.person for given in task.status.in_time] == ["王"]
    assert await asyncio.to_thread(file.read_text, "utf-8") == written
    other = await lane.signed_in("approver", name="李")
    page = await other.get(f"/urgent/{POST}")
    await other.post(f"/urgent/{POST}", data=fields_of(page.text))
    assert {item.state for item in await lane.store.queries.deliveries(POST)} == {
        State.DUE
    }


async def test_the_page_of_an_emergency_names_paused_accounts(lane):
    """Nobody releases a post that one account does not get without seeing so."""
    author = await lane.signed_in("author", name="王")
    await put_on_duty(lane, "王", "李")
    await send(author)
    assert 'data-testid="paused"' not in (await author.get(f"/urgent/{POST}")).text
    await lane.store.actions.pause("account:beijing-weibo", ADMIN, "查一下")
    other = await lane.signed_in("approver", name="李")
    for person in (author, other):
        page = (await person.get(f"/urgent/{POST}")).text
        assert page.count('data-testid="paused"') == 1
        assert "查一下" in page


async def test_a_review_that_disagrees_reaches_the_author(lane):
    """The page of the review says that the post is sent; its return is the author's thing to do."""
    author = await lane.signed_in("author", name="王")
    other = await lane.signed_in("approver", name="李")
    await put_on_duty(lane, "王", "李")
    await send(author)
    page = (await other.get(f"/urgent/{POST}")).text
    await other.post(f"/urgent/{POST}", data=fields_of(page))
    sent = {"attempts": 1, "published_at": lane.runtime.now()}
    await set_state(lane, State.PUBLISHED, post=POST, **sent)
    review = (await other.get(f"/approve/{POST}")).text
    said = ("已经紧急放行发出", "补审只记下您的意见", "补审同意", "已经发出的不会撤下")
    assert [words for words in said if words not in review] == []
    assert [words for words in ("批完就发", "马上发布") if words in review] == []
    form = hidden_fields(review, f"/approve/{POST}/return") | {"reason": "没有依据"}
    await other.post(f"/approve/{POST}/return", data=form)
    [item] = list_items((await author.get("/inbox")).text)
    assert f'href="/posts/{POST}"' in item
    assert "退回：《" in item
    assert "李 补审没有同意：没有依据" in item
    assert 'name="item"' not in item
    assert "没有等您的事" in (await other.get("/inbox")).text


async def test_a_release_without_its_approvals_is_not_folded_away(lane):
    """Two hours after it went out it is still the first row of the day, and not among the done."""
    author = await lane.signed_in("author", name="王")
    other = await lane.signed_in("approver", name="李")
    for name in ("王", "李"):
        await lane.store.duty.add(name, ADMIN, "内线 8112")
    await send(author)
    page = await other.get(f"/urgent/{POST}")
    await other.post(f"/urgent/{POST}", data=fields_of(page.text))
    published = update(DELIVERY).values(state=State.PUBLISHED.value)
    await lane.store.database.write(lambda unit: unit.connection.execute(published))
    lane.runtime.advance_time(timedelta(hours=2))
    viewer = await lane.signed_in("viewer", name="看")
    today = (await viewer.get("/today")).text
    assert f'data-testid="row-{POST}"' in today
    assert 'data-testid="folded"' not in today


async def test_the_officer_sees_accounts_and_advice_and_may_return_it(lane):
    """An officer who releases a text answers for it: the page has what `check` says, and another way."""
    author = await lane.signed_in("author", name="王")
    other = await lane.signed_in("approver", name="李")
    await put_on_duty(lane, "王", "李")
    await send(author, level="red", **{"data.topic": "fraud"})
    page = (await other.get(f"/urgent/{POST}")).text
    assert 'data-testid="accounts"' in page
    assert 'data-testid="advice-level_without_basis"' in page
    assert f'href="/approve/{POST}/return"' in page
    own = (await author.get(f"/urgent/{POST}")).text
    assert "/return" not in own


async def test_what_is_not_in_force_yet_is_not_asked_to_be_released(lane, monkeypatch):
    """Without a daemon there is no page of the release yet; the notice says that the post waits."""

    async def accept(*_arguments):
        return False

    monkeypatch.setattr(urgent, "wait_until_accepted", accept)
    author = await lane.signed_in("author", name="王")
    _shown, sent = await send(author)
    assert sent.headers["location"] == "/today"
    assert "发布系统还没有采用" in (await author.get("/today")).text


async def test_a_text_that_has_changed_meanwhile_is_not_released(lane):
    """A text that has changed meanwhile is not released: the displayed fingerprint counts."""
    author = await lane.signed_in("author", name="王")
    other = await lane.signed_in("approver", name="李")
    for name in ("王", "李"):
        await lane.store.duty.add(name, ADMIN)
    await send(author)
    stale = await other.post(f"/urgent/{POST}", data={"fingerprint": "0" * 64})
    assert stale.status_code == 409
    assert {item.state for item in await lane.store.queries.deliveries(POST)} == {
        State.PENDING
    }


async def test_a_wrong_code_of_a_release_is_said_at_its_field(lane):
    """A wrong second factor is named where it was typed, and the typed reason is kept."""
    author = await lane.signed_in("author", name="王")
    other = lane.client({"publisher_session": await start_session(lane, "李")})
    for name in ("王", "李"):
        await lane.store.duty.add(name, ADMIN)
    await send(author)
    page = (await other.get(f"/urgent/{POST}")).text
    [fingerprint] = re.findall('name="fingerprint" value="([^"]+)"', page)
    form = {"fingerprint": fingerprint, "reason": "正在发生", "code": WRONG_CODE}
    wrong = await other.post(f"/urgent/{POST}", data=form)
    assert (wrong.status_code, is_said_at_the_code(wrong.text)) == (422, True)
    assert 'value="正在发生"' in wrong.text
    assert WRONG_CODE not in wrong.text


async def test_who_is_not_on_duty_takes_the_regular_approvals(lane):
    """The page says so before anything is written, and nothing is released."""
    author = await lane.signed_in("author", name="王")
    await lane.store.duty.add("李", ADMIN, "内线 8112")
    shown, _sent = await send(author)
    assert "您不在值班表上" in shown.text
    assert "现在值班：李 内线 8112" in shown.text
    page = await author.get(f"/urgent/{POST}")
    assert "act-release" not in page.text
    assert (
        await author.post(f"/urgent/{POST}", data={"fingerprint": "0" * 64})
    ).status_code == 409


@pytest.mark.long
async def test_an_author_does_not_release_the_post_of_another_by_saving_it(lane):
    """Neither by the form of the lane nor by a call of the store."""
    author = await lane.signed_in("author", name="王")
    other = await lane.signed_in("author", name="李")
    for name in ("王", "李"):
        await lane.store.duty.add(name, ADMIN)
    shown, _sent = await send(author)
    stored = fields_of((await other.get(f"/posts/{POST}/edit")).text)
    base = {name: stored[name] for name in ("base", "base_sha256")}
    saved = await other.post(
        "/urgent", data=fields_of(shown.text) | base | {"do": "save"}
    )
    assert saved.status_code == 303
    site = lane.app.state.site
    [task] = await site.store.approvals.tasks(POST)
    assert [given.person for given in task.status.in_time] == ["王"]
    officer = make_approver(
        Principal(user=await lane.store.users.get("李"), method=""), site.members
    )
    with pytest.raises(ApprovalError, match="release_not_allowed"):
        await release_in_emergency(
            site.store, POST, [task.content], officer, ADMIN, "紧急"
        )
    assert {item.state for item in await lane.store.queries.deliveries(POST)} == {
        State.PENDING
    }


async def test_nobody_sends_an_emergency_everywhere_without_saying_so(lane):
    """The form has no recipients of its own for a person who may write for all accounts."""
    author = await lane.signed_in("author", name="王")
    page = (await author.get("/urgent")).text
    assert not re.search(r'name="to"[^>]*checked', page)
    shown = await author.post("/urgent", data={**WORDS, "to": [], "do": "preview"})
    assert 'data-testid="problem-to"' in shown.text
    assert "act-send" not in shown.text


async def test_a_problem_keeps_it_in_the_first_step(lane):
    """Too long a sentence is no preview to send."""
    author = await lane.signed_in("author")
    answer = await author.post(
        "/urgent", data={**WORDS, "data.summary": "长" * 200, "do": "preview"}
    )
    assert "problem-summary" in answer.text
    assert "act-send" not in answer.text
    assert "长" * 200 in answer.text


async def test_a_post_of_other_regions_is_not_shown(lane):
    """The page of a post does not exist for a viewer of other accounts only."""
    author = await lane.signed_in("author", name="王")
    shown = await author.post(
        "/urgent", data={**WORDS, "to": "region:310000", "do": "preview"}
    )
    await author.post("/urgent", data=fields_of(shown.text) | {"do": "save"})
    other = await lane.signed_in("viewer@region:110000", name="李")
    assert (await author.get(f"/urgent/{POST}")).status_code == 200
    assert (await other.get(f"/urgent/{POST}")).status_code == 404


async def put_on_duty(lane, *names):
    for name in names:
        await lane.store.duty.add(name, ADMIN, "内线 8112")


def list_items(page):
    """Return the cards of an inbox, in order."""
    return re.findall(r'<li class="todo [a-z]+".*?</li>', page, re.DOTALL)


async def test_an_author_is_told_of_the_code_and_finds_it_in_the_inbox(lane):
    """The form announces the code, and the page, the inbox and the menu ask for it.

    With the code the author's own release is given, and nothing waits for the author any more.
    """
    session = await start_session(lane, "王", "author")
    author = lane.client({"publisher_session": session})
    await lane.signed_in("approver", name="李")
    await put_on_duty(lane, "王", "李")
    shown, sent = await send(author)
    assert "还要输入您手机上的 6 位数字" in shown.text
    page = await author.get(sent.headers["location"])
    assert "还差您自己的放行" in page.text
    assert "请 李 内线 8112 在手机上同意" in page.text
    [item] = list_items((await author.get("/inbox")).text)
    assert f'href="/urgent/{POST}"' in item
    assert "请输入手机上的 6 位数字" in item
    form = fields_of(page.text) | {"code": code_of(SECRET, lane.runtime)}
    released = await author.post(f"/urgent/{POST}", data=form)
    author = lane.client({"publisher_session": released.cookies["publisher_session"]})
    assert released.status_code == 303
    assert "act-open-" not in (await author.get("/inbox")).text
    assert "王 放行" in (await author.get(f"/urgent/{POST}")).text


@pytest.mark.long
async def test_an_urgent_post_comes_first_and_is_to_be_released(lane):
    """The other officer's inbox begins with it though another post is due earlier.

    It says so, as the approval does, and the release is the main button of both.
    """
    file = lane.application.settings.workspace / "schedule.toml"
    await asyncio.to_thread(file.write_text, PLANNED, "utf-8")
    author = await lane.signed_in("author", name="王")
    other = await lane.signed_in("approver", name="李")
    await put_on_duty(lane, "王", "李")
    await send(author)
    first, second = list_items((await other.get("/inbox")).text)
    assert 'data-testid="urgent"' in first
    assert re.search(rf'class="button main" href="/urgent/{POST}"', first)
    assert "王写的，等您放行" in first
    assert 'data-testid="urgent"' not in second
    assert 'data-testid="urgent"' in (await other.get("/today")).text
    page = (await other.get(f"/approve/{POST}")).text
    assert 'data-testid="urgent"' in page
    mains = re.findall(
        r'<(?:a|button) class="button main"[^>]*data-testid="([^"]+)"', page
    )
    assert [name for name in mains if name in {"act-release", "act-approve"}] == [
        "act-release"
    ]
    assert 'data-testid="act-approve"' in page


async def test_without_a_duty_roster_the_page_says_what_to_do(lane):
    """The lane names the roster and who changes it, and the post's page whom to call."""
    author = await lane.signed_in("author", name="王")
    admin = await lane.signed_in("author", "admin", name="赵")
    await lane.signed_in("approver", name="李")
    shown, sent = await send(author)
    assert "值班表是空的" in shown.text
    assert "请管理员在“人员”页把两个人加进值班表" in shown.text
    assert "act-roster" not in shown.text
    assert 'data-testid="act-roster"' in (await admin.get("/urgent")).text
    assert 'id="duty"' in (await admin.get("/people")).text
    page = await author.get(sent.headers["location"])
    assert "请打电话给可以审批的人：李" in page.text
    [item] = list_items((await lane.clients[2].get("/inbox")).text)
    assert 'data-testid="urgent"' in item
    assert f'href="/approve/{POST}"' in item


async def test_a_released_post_leaves_no_draft(lane):
    """What was typed in the lane is no draft once it is saved."""
    author = await lane.signed_in("author", name="王")
    checked = await author.post("/write/check", data=WORDS)
    draft = re.search(r'name="draft" value="([^"]+)"', checked.text)[1]
    shown = await author.post("/urgent", data={**WORDS, "draft": draft})
    await author.post("/urgent", data=fields_of(shown.text) | {"do": "save"})
    assert await lane.store.drafts.list("王") == []


async def test_the_demo_has_two_officers_on_duty(site):
    """The author and the approver of the demo can release an urgent post."""
    await add_people(site.store, site.application.settings)
    officers = await site.store.duty.officers()
    assert {officer.name for officer in officers} == {AUTHOR, APPROVER}


async def test_an_emergency_names_no_number_for_fraud(lane):
    """Without a choice, and for an emergency, a text names 110 alone; for fraud 96110 as well.

    A text with a level says so on every platform, and the page before it is sent says which
    platform notifies nobody.
    """
    author = await lane.signed_in("author", name="王")
    assert FIELDS.findall((await author.get("/urgent")).text) == [*urgent.TOPICS]
    words = {**WORDS, "level": "red", "do": "preview"}
    shown = {
        topic: (await author.post("/urgent", data=words | more)).text
        for topic, more in (
            ("", {}),
            ("emergency", {"data.topic": "emergency"}),
            ("fraud", {"data.topic": "fraud"}),
        )
    }
    assert ["96110" in page for page in shown.values()] == [False, False, True]
    assert [page.count("红色预警。") for page in shown.values()] == [1, 1, 1]
    assert "在微信公众号上只会发布，不会推送给关注者" in shown["emergency"]
