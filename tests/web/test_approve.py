"""Inbox and Approve.

The buttons of each visitor, the scope of an approval, and the changes since one's own last
approval.
"""

import asyncio
import html
import re
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest
from PIL import Image

from publisher.app.application import open_application
from publisher.app.open_store import open_store
from publisher.cli.application import activate_schedule
from publisher.config import load_settings
from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.domain.user import parse_grant
from publisher.engine.authentication import encrypt_totp_secret
from publisher.engine.decisions import named_person
from publisher.engine.planner import apply_schedule
from publisher.store.approvals.decisions import ApprovalStore
from publisher.store.people.users import NewSignIn
from publisher.store.queries.audit_log import AuditFilter
from publisher.testing.builders import unlimited_approver
from publisher.testing.fakes import make_confirmed_runtime
from publisher.web.approvals import inbox
from publisher.web.approvals.approve import read_live
from publisher.web.dashboard import create_dashboard
from publisher.web.kit.todo import MAX_SHOWN
from publisher.web.write import move
from tests.cli.posts import warning, write_schedule
from tests.web.conftest import ADMIN, WebSite, make_workspace
from tests.web.posts import (
    POST,
    SOON,
    hidden_fields,
    plan,
    set_state,
    this_evening,
)
from tests.web.test_accounts import hand_out
from tests.web.test_live import open_page

TO_ALL = '["beijing-weibo", "beijing-wechat", "beijing-tieba"]'


@pytest.fixture
async def approving(tmp_path, sqlite_template, request):
    """Yield a dashboard with two approvals per warning, and one warning due this evening.

    Its parameter has the workspace's own pages of templates, by path.
    """
    folder = await asyncio.to_thread(make_workspace, tmp_path / "drill")
    shutil.copyfile(sqlite_template, folder / "var" / "publisher.db")
    for path, page in getattr(request, "param", {}).items():
        own_page = folder / "templates" / path
        own_page.parent.mkdir(parents=True, exist_ok=True)
        own_page.write_text(page, "utf-8")
    runtime, settings = make_confirmed_runtime(), folder / "publisher.toml"
    async with open_store(await load_settings(folder), runtime) as store:
        await store.users.add(ADMIN.name, [parse_grant("admin")], ADMIN)
    settings.write_text(
        'approval_preset = "two persons"\n' + settings.read_text("utf-8"), "utf-8"
    )
    async with open_application(
        await load_settings(folder), runtime, can_send=False
    ) as application:
        site = WebSite(
            application=application, app=create_dashboard(application), runtime=runtime
        )
        await write(site)
        yield site
        for client in site.clients:
            await client.aclose()


async def write(site, **changes):
    """Write the post into the schedule, and let it be read."""
    text = warning("refund", f"at = {this_evening(site).isoformat()}", TO_ALL)
    for old, new in changes.get("words", {}).items():
        assert old in text
        text = text.replace(old, new)
    write_schedule(site.application.settings.workspace, text)
    await activate_schedule(site.application)


async def fingerprint_on(client, path="/approve/refund"):
    """Return the fingerprint that the form of a page carries."""
    page = await client.get(path)
    found = re.search(r'name="fingerprint" value="([0-9a-f]{64})"', page.text)
    assert found, page.text
    return found[1]


async def approve(client):
    return await client.post(
        "/approve/refund", data={"fingerprint": await fingerprint_on(client)}
    )


@pytest.mark.parametrize(
    "path", ["/urgent/refund", "/approve/refund/return", "/approve/refund/return/undo"]
)
async def test_a_form_acts_on_no_occurrence_of_another_region(
    approving, monkeypatch, path
):
    """A form acts on no occurrence of another region.

    A fingerprint names the occurrence. The named occurrence must be within the roles, not the
    displayed one.
    """
    jing = await approving.signed_in("approver@region:110000", name="京")
    await approving.store.duty.add("京", ADMIN, "")
    fingerprint = await fingerprint_on(jing)
    approvals = approving.store.approvals
    [task] = await approvals.tasks(PostId("refund"))
    status = replace(task.status, fingerprint="f" * 64)
    other = replace(
        task,
        key=replace(task.key, occurrence="2"),
        accounts=["shanghai-weibo"],
        status=status,
    )

    monkeypatch.setattr(ApprovalStore, "_tasks", lambda *_arguments: [task, other])
    answers = [
        await jing.post(path, data={"fingerprint": named, "reason": "改电话"})
        for named in ("f" * 64, fingerprint)
    ]
    assert [answer.status_code == 403 for answer in answers] == [True, False]


@pytest.mark.long
@pytest.mark.parametrize("role", ["approver", "viewer"])
async def test_f90_lists_of_what_waits_show_the_first_and_count_the_rest(
    approving, role
):
    """A page stays small however many occurrences an author has planned."""
    when = 'cron = "0 * * * *"'
    text = warning("refund", when, '["beijing-weibo"]')
    write_schedule(approving.application.settings.workspace, text)
    await activate_schedule(approving.application)
    visitor = await approving.signed_in(role, name="李")
    page = (await visitor.get("/inbox")).text
    today = (await visitor.get("/today")).text
    assert page.count('data-testid="todo-approve-refund') == MAX_SHOWN
    assert 'data-testid="cut"' in page
    assert today.count('data-testid="todo-approve-refund') <= MAX_SHOWN


async def test_what_is_sent_when_approved_comes_before_what_is_due_later(approving):
    """A post without a time of its own waits for its approvals alone: nothing is more pressing."""
    due = f"at = {approving.runtime.now() + timedelta(hours=3):%Y-%m-%dT%H:%M:%S}Z"
    text = warning("a", due, TO_ALL) + warning("b", 'at = "asap"', TO_ALL)
    await apply_schedule(approving.application.planner, text, "schedule.toml")
    li = await approving.signed_in("approver", name="李")
    names = re.findall(
        'data-testid="todo-approve-([^"]+)"', (await li.get("/inbox")).text
    )
    assert names == ["b", "a"]


@pytest.mark.parametrize("path", ["/approve/again", "/bulk/approve?item=again"])
async def test_words_that_are_published_already_are_said_to_be(approving, path):
    """A sent post that gets another id in the file is as good as sent again: its approver sees so."""
    await set_state(approving, State.PUBLISHED, attempts=1)
    li = await approving.signed_in("approver", name="李")
    at = f"at = {this_evening(approving).isoformat()}"
    for words, count in (("", 1), ("别的", 0)):
        text = warning("again", at, '["beijing-weibo"]').replace("退款", f"{words}退款")
        await apply_schedule(approving.application.planner, text, "schedule.toml")
        page = (await li.get(path)).text
        assert page.count('data-testid="repeat"') == count
        assert page.count("（编号 refund）") == count


async def test_today_is_not_green_over_an_approval_that_is_needed_soon(approving):
    """Its author can do nothing more, and sees all the same that the post needs a person now."""
    zhang = await approving.signed_in("author", name="zhang")
    soon = approving.runtime.now() + timedelta(hours=1)
    due = min(soon, this_evening(approving))
    text = warning("refund", f"at = {due.isoformat(timespec='seconds')}", TO_ALL)
    await apply_schedule(approving.application.planner, text, "schedule.toml")
    await approving.store.maintenance.reminders.run()
    await approving.store.actions.register_worker()
    page = (await zhang.get("/today")).text
    assert 'class="verdict warn"' in page
    assert "别人在办 1 件" in page


async def test_the_number_in_the_menu_is_that_of_the_inbox(approving):
    """It goes once nothing waits any more, also if that is because the post was cancelled."""
    li = await approving.signed_in("approver", name="李")
    before = (await li.get("/accounts")).text
    await approving.store.actions.cancel_post(PostId("refund"), ADMIN, "不发了")
    badges = [
        'id="badge-inbox" aria-label' in page
        for page in (before, (await li.get("/accounts")).text)
    ]
    assert badges == [True, False]


async def test_open_pages_notice_what_has_been_returned_or_cancelled(approving):
    """Open pages notice a return or a cancellation.

    The list of tasks for people has another version after each.
    """
    li, dashboard = (
        await approving.signed_in("approver", name="李"),
        approving.store.dashboard,
    )
    versions = [await dashboard.todo_version()]
    form = {"fingerprint": await fingerprint_on(li), "reason": "写上日期"}
    assert (await li.post("/approve/refund/return", data=form)).status_code == 303
    versions.append(await dashboard.todo_version())
    await approving.store.actions.cancel_post(PostId("refund"), ADMIN, "不发了")
    versions.append(await dashboard.todo_version())
    assert [versions.count(version) for version in versions] == [1, 1, 1]


async def test_two_people_approve_what_the_page_shows(approving):
    """Two people approve the text that the page shows.

    The inbox leads to the page, and the page shows the final texts. After the last approval nothing
    waits any more.
    """
    li = await approving.signed_in("approver", name="李")
    wang = await approving.signed_in("approver", name="王")
    inbox = await li.get("/inbox")
    assert 'data-testid="todo-approve-refund"' in inbox.text
    page = await li.get("/approve/refund?platform=weibo")
    assert "正规退款原路退回" in page.text
    first = await approve(li)
    assert (first.status_code, first.headers["location"]) == (303, "/inbox")
    assert "已同意《警惕“退款客服”诈骗》（审核）" in (
        await li.get("/inbox")
    ).text.replace("&#34;", '"')
    assert 'data-testid="refusal"' in (await li.get("/approve/refund")).text
    assert (await approve(wang)).status_code == 303
    [task] = await approving.store.approvals.tasks("refund")
    assert (task.status.is_approved, [one.person for one in task.status.counted]) == (
        True,
        ["李", "王"],
    )
    assert 'data-testid="todo-approve-refund"' not in (await wang.get("/inbox")).text


async def test_the_text_of_each_account_can_be_looked_at(approving):
    """The page offers the accounts of its platform, and shows the one that was chosen."""
    await write(approving, words={TO_ALL: '["platform:weibo"]'})
    li = await approving.signed_in("approver", name="李")
    page = (await li.get("/approve/refund?platform=weibo&account=shanghai-weibo")).text
    assert '<option value="shanghai-weibo" selected>上海</option>' in page
    [shown] = re.findall(r'data-testid="preview-weibo".*?</figure>', page, re.DOTALL)
    assert "<b>上海</b>" in shown


async def test_an_author_sees_why_there_is_no_button(approving):
    """An author sees why there is no button: the text is the author's own.

    The pages say so, and name the people with the permission. A form that is sent all the same is
    refused.
    """
    await approving.signed_in("approver", name="李")
    zhang = await approving.signed_in("author", "approver", name="zhang")
    page = await zhang.get("/approve/refund")
    assert "要由别人审。写过、改过的：" in page.text
    assert "可以审的：李" in page.text
    assert 'data-testid="barred"' in (await zhang.get("/posts/refund")).text
    assert 'data-testid="act-approve"' not in page.text
    task = (await approving.store.approvals.tasks("refund"))[0]
    refused = await zhang.post(
        "/approve/refund", data={"fingerprint": task.status.fingerprint}
    )
    assert (refused.status_code, "要由别人审" in refused.text) == (409, True)
    assert [
        task.status.counted for task in await approving.store.approvals.tasks("refund")
    ] == [[]]


async def test_what_changed_while_somebody_looks_is_not_approved(approving):
    """The old fingerprint is answered with 409 and the present content; nothing is recorded."""
    li = await approving.signed_in("approver", name="李")
    seen = await fingerprint_on(li)
    await write(approving, words={"不用转账": "不需要转账"})
    stale = await li.post("/approve/refund", data={"fingerprint": seen})
    assert (
        stale.status_code,
        "您的同意没有记录" in stale.text,
        "不需要转账" in stale.text,
    ) == (
        409,
        True,
        True,
    )
    assert (await approving.store.approvals.tasks("refund"))[0].status.counted == []
    assert await fingerprint_on(li) != seen


async def test_f101_a_yes_to_a_later_time_than_the_present_one_is_not_recorded(
    approving,
):
    """An approval for a later time than the present one is not recorded.

    The form carries the time that the page showed. The post was brought forward by hours since.
    """
    li = await approving.signed_in("approver", name="李")
    [task] = await approving.store.approvals.tasks("refund")
    scheduled_at = task.status.scheduled_at
    assert (
        f'name="scheduled_at" value="{scheduled_at.isoformat()}"'
        in (await li.get("/approve/refund")).text
    )
    form = {
        "fingerprint": task.status.fingerprint,
        "scheduled_at": (scheduled_at + timedelta(hours=5)).isoformat(),
    }
    assert (await li.post("/approve/refund", data=form)).status_code == 409
    assert (await approving.store.approvals.tasks("refund"))[0].status.counted == []
    form["scheduled_at"] = scheduled_at.isoformat()
    assert (await li.post("/approve/refund", data=form)).status_code == 303


async def test_an_open_page_says_that_the_text_has_changed(approving):
    """An open page says over its buttons that the text has changed.

    The buttons are off from then on, and the words lead to the change.
    """
    viewer = await open_page(approving, "/approve/refund", "approver")
    assert viewer.sent["stale"].count(" hidden") == 1
    await write(approving, words={"不用转账": "不需要转账"})
    [stale] = (await read_live(viewer.visitor, viewer.page, None)).fixed.values()
    assert "改了，请看改动再决定" in stale
    assert 'href="/approve/refund/changes"' in stale


async def test_a_change_is_shown_against_ones_own_last_yes(approving):
    """A change is shown against one's own last approval.

    Only the differences are shown, marked. A person without an approval is led to the whole text.
    """
    li = await approving.signed_in("approver", name="李")
    wang = await approving.signed_in("approver", name="王")
    await approve(li)
    await write(approving, words={"先挂断": "请先挂断"})
    assert 'data-testid="changed"' in (await li.get("/approve/refund")).text
    changes = await li.get("/approve/refund/changes")
    assert "<ins>请</ins>先挂断" in changes.text
    assert "加了 1 个字" in changes.text
    assert "其余文字、图片、账号没变" in changes.text
    assert (await wang.get("/approve/refund/changes")).headers[
        "location"
    ] == "/approve/refund"
    sent = await li.post(
        "/approve/refund",
        data={"fingerprint": await fingerprint_on(li, "/approve/refund/changes")},
    )
    assert sent.status_code == 303


@pytest.mark.long
async def test_another_cut_of_the_cover_ends_an_approval(approving):
    """The approver sees the cover as it is cut, and a changed cut needs a new approval."""
    media = approving.application.settings.workspace / "media"
    media.mkdir(exist_ok=True)
    Image.new("RGB", (800, 400), "navy").save(media / "cover.png")
    li = await approving.signed_in("approver", name="李")

    async def write_cut(cut):
        image = f'images = [{{ file = "media/cover.png", alt = "图"{cut} }}]'
        await write(approving, words={"[post.data]": f"{image}\n[post.data]"})
        return re.findall(
            r'class="cover (\w+)" viewBox="([^"]+)"',
            (await li.get("/approve/refund?platform=wechat")).text,
        )

    covers = await write_cut("")
    assert ("square", "200.0 0.0 400.0 400.0") in covers
    assert ("wide", "0.0 29.79 800.0 340.43") in covers
    await approve(li)
    before = await approving.store.approvals.tasks(PostId("refund"))
    covers = await write_cut(", crop_square = [100, 50, 200]")
    assert ("square", "600.0 100.0 200.0 200.0") in covers
    assert 'data-testid="changed"' in (await li.get("/approve/refund")).text
    after = await approving.store.approvals.tasks(PostId("refund"))
    assert before[0].status.fingerprint != after[0].status.fingerprint
    changes = await li.get("/approve/refund/changes")
    assert 'data-testid="change-cover"' in changes.text
    assert "其余文字、图片、账号没变" in changes.text


async def test_each_change_is_shown_once_a_place_and_times_on_their_own_line(approving):
    """The title's change stands once for all accounts, and once in each text around it."""
    li = await approving.signed_in("approver", name="李")
    await approve(li)
    changed = {
        "警惕“退款客服”诈骗": "警惕“快递客服”诈骗",
        "author =": "expires = 2027-03-18T09:00:00+08:00\nauthor =",
    }
    await write(approving, words=changed)
    changes = (await li.get("/approve/refund/changes")).text
    number = changes.count("<del>退款</del><ins>快递</ins>")
    assert 2 <= number <= 1 + len(TO_ALL.split(","))
    assert f"改了 {number + 1} 处" in changes
    assert changes.count('data-testid="change-title"') == 1
    assert "微博、公众号、贴吧" in changes
    [line] = re.findall(r'data-testid="change-expires">(.*?)</section>', changes)
    assert "<del>没有写</del>" in line
    assert "3月18日" in line
    head = (await li.get("/approve/refund")).text
    assert "北京 · 微博、公众号、贴吧" in head


async def test_a_post_brought_forward_shows_the_old_and_the_new_time(approving):
    """A yes does not cover a much earlier time: the page of the changes shows both times."""
    li = await approving.signed_in("approver", name="李")
    await approve(li)
    due = approving.runtime.now() + timedelta(hours=1)
    text = warning("refund", f"at = {due:%Y-%m-%dT%H:%M:%S}Z", TO_ALL)
    write_schedule(approving.application.settings.workspace, text)
    await activate_schedule(approving.application)
    changes = (await li.get("/approve/refund/changes")).text
    assert 'data-testid="change-at"' in changes
    assert "文稿没有变" not in changes


async def test_a_change_shows_nothing_of_accounts_outside_ones_reach(approving):
    """A change shows nothing of accounts outside the viewer's reach.

    A post that now goes to another region, too, shows none of its names and texts to the first
    region's approver.
    """
    jing = await approving.signed_in("approver@region:110000", name="京")
    await approve(jing)
    await write(approving, words={TO_ALL: '["all"]', "先挂断": "请先挂断"})
    changes = (await jing.get("/approve/refund/changes")).text
    whole = (await jing.get("/approve/refund")).text
    assert "<ins>请</ins>先挂断" in changes
    assert "您能看到的账号里，没有别的改动" in changes
    assert "上海" not in changes
    assert "上海" not in whole


@pytest.mark.long
async def test_a_move_in_the_calendar_says_that_approvals_end(approving, monkeypatch):
    """A move in the calendar asks first, with the number of approvals that it ends.

    It offers no undo, as an undo would not bring them back. The calendar then shows what is
    missing.
    """

    async def accept(*_arguments):
        await activate_schedule(approving.application)
        return True

    monkeypatch.setattr(move, "wait_until_accepted", accept)
    li = await approving.signed_in("approver", name="李")
    zhang = await approving.signed_in("author", name="zhang")
    await approve(li)
    [task] = await approving.store.approvals.tasks("refund")
    was = task.due_at.astimezone(approving.application.settings.timezone)
    sent = {
        name: f"{at:%Y-%m-%dT%H:%M:%S}"
        for name, at in (("was", was), ("at", was + timedelta(days=1)))
    }
    sent["back"] = f"/calendar/list?from={was.date()}"
    asked = await zhang.post("/posts/refund/move", data=sent)
    [kept] = await approving.store.approvals.tasks("refund")
    fields = hidden_fields(asked.text, "/posts/refund/move")
    shown = (
        await zhang.post("/posts/refund/move", data=fields, follow_redirects=True)
    ).text
    assert (asked.status_code, kept.due_at) == (422, task.due_at)
    assert "1 个同意会作废" in asked.text
    assert len(kept.status.counted) == 1
    assert "原来的 1 个同意已作废" in shown
    assert "缺审核" in shown
    assert "act-undo" not in shown
    assert (await approving.store.approvals.tasks("refund"))[0].status.counted == []


async def test_a_move_that_ends_no_approval_asks_nothing(approving, monkeypatch):
    """A move that changes no word, as on a short text, is saved at once; the approval stays."""

    async def accept(*_arguments):
        await activate_schedule(approving.application)
        return True

    monkeypatch.setattr(move, "wait_until_accepted", accept)
    await write(approving, words={TO_ALL: '["beijing-weibo"]'})
    li = await approving.signed_in("approver", name="李")
    zhang = await approving.signed_in("author", name="zhang")
    await approve(li)
    [task] = await approving.store.approvals.tasks("refund")
    was = task.due_at.astimezone(approving.application.settings.timezone)
    sent = {
        name: f"{at:%Y-%m-%dT%H:%M:%S}"
        for name, at in (("was", was), ("at", was + timedelta(minutes=5)))
    }
    moved = await zhang.post("/posts/refund/move", data=sent)
    [kept] = await approving.store.approvals.tasks("refund")
    assert (moved.status_code, len(kept.status.counted)) == (303, 1)


async def test_a_text_is_returned_with_a_reason(approving):
    """A text is returned with a reason.

    The approvals end, the author finds the reason in the inbox, and nobody else is asked before the
    text changes.
    """
    li = await approving.signed_in("approver", name="李")
    wang = await approving.signed_in("approver@region:110000", name="王")
    zhang = await approving.signed_in("author", name="zhang")
    await approve(li)
    form = {"fingerprint": await fingerprint_on(wang)}
    assert (await wang.post("/approve/refund/return", data=form)).status_code == 422
    done = await wang.post(
        "/approve/refund/return",
        data={**form, "ready": "web_return_facts", "reason": "电话不对"},
    )
    assert done.status_code == 303
    page = (await zhang.get("/inbox")).text
    assert "王退回：事实或数字要核实，电话不对" in page
    assert "退回：《警惕“退款客服”诈骗》" in page
    assert "看意见" in page
    assert ("去审批" in page, 'name="item"' in page) == (False, False)
    assert 'data-testid="done-returned"' in (await wang.get("/inbox")).text
    assert (await approving.store.approvals.tasks("refund"))[0].status.counted == []


def remark_fields(page):
    """Return the name of the field for a remark, by the words of its passage."""
    rows = re.findall(
        r"</span> ([^<]*)</p><details><summary[^>]*>留言</summary>\s*<textarea[^>]*?"
        r'name="(remark\.\w+)"\s+form="return-form"',
        page,
    )
    return {words.strip(): name for words, name in rows}


@pytest.mark.long
async def test_a_remark_at_a_passage_is_shown_to_its_author_there(approving):
    """The author sees a remark at its field in the form, until that passage is another one."""
    li = await approving.signed_in("approver", name="李")
    zhang = await approving.signed_in("author", name="zhang")
    page = (await li.get("/approve/refund")).text
    fields = remark_fields(page)
    assert "警惕“退款客服”诈骗" in fields
    form = {
        "fingerprint": await fingerprint_on(li),
        fields["正规退款原路退回，不用转账"]: " 请写明\t\n96110 ",
    }
    assert (await li.post("/approve/refund/return", data=form)).status_code == 303
    [task] = await approving.store.approvals.tasks(PostId("refund"))
    [remark] = task.returned.remarks
    assert (remark.field, remark.text) == ("data.summary", "请写明 96110")
    assert "李退回：有 1 处留言" in (await zhang.get("/inbox")).text
    assert (
        "「正规退款原路退回，不用转账」<b>请写明 96110</b>"
        in (await zhang.get("/approve/refund")).text
    )
    edit = (await zhang.get("/posts/refund/edit")).text
    assert 'data-testid="remark-data.summary"' in edit
    sent = dict(re.findall(r'name="(base|base_sha256|kind)" value="([^"]*)"', edit))
    sent = {name: html.unescape(value) for name, value in sent.items()}
    sent["kind"] = "warning"
    checks = [
        (await zhang.post("/write/check", data={**sent, "data.summary": words})).text
        for words in ("正规退款原路退回，不用转账", "正规退款原路退回")
    ]
    assert ['data-testid="remark-data.summary"' in each for each in checks] == [
        True,
        False,
    ]
    entries = await approving.store.audit.search(AuditFilter(event="returned"), 1)
    assert "「正规退款原路退回，不用转账」请写明 96110" in entries[0].detail["reason"]
    await write(approving, words={"先挂断": "请先挂断"})
    edit = (await zhang.get("/posts/refund/edit")).text
    assert 'data-testid="remark-data.summary"' not in edit


async def test_what_was_returned_is_shown_again_with_its_changes(approving):
    """Who wanted a change sees the remark beside it, and what has changed since, not all again."""
    li = await approving.signed_in("approver", name="李")
    fields = remark_fields((await li.get("/approve/refund")).text)
    form = {
        "fingerprint": await fingerprint_on(li),
        fields["正规退款原路退回，不用转账"]: "请写明 96110",
    }
    await li.post("/approve/refund/return", data=form)
    await write(approving, words={"不用转账": "不用转账，疑问拨 96110"})
    page = (await li.get("/approve/refund")).text
    assert page.count('data-testid="earlier-return"') == 1
    assert "<b>请写明 96110</b>" in page
    assert 'href="/approve/refund/changes"' in page
    changes = (await li.get("/approve/refund/changes")).text
    assert "<b>请写明 96110</b>" in changes
    assert "<ins>，疑问拨 96110</ins>" in changes
    assert 'data-testid="act-approve"' in changes


@pytest.mark.parametrize(
    ("wrong", "count"), [("正规退款原路退回", 0), ("原文里根本没有的话", 1)]
)
async def test_a_correction_is_shown_with_its_original_and_what_it_misquotes(
    approving, wrong, count
):
    """An approver sees that words which the correction calls wrong never were in the original."""
    await set_state(approving, State.PUBLISHED, attempts=1)
    correction = CORRECTION.format(wrong=wrong, at=this_evening(approving).isoformat())
    text = warning("refund", "at = 2026-12-01T09:00:00Z", TO_ALL) + correction
    await apply_schedule(approving.application.planner, text, "schedule.toml")
    li = await approving.signed_in("approver", name="李")
    page = (await li.get("/approve/sorry")).text
    assert '<a href="/posts/refund">' in page
    assert page.count('data-testid="misquotation"') == count


CORRECTION = """[[post]]
id = "sorry"
kind = "correction"
template = "correction"
author = "zhang"
title = "更正退款提醒"
follows = "refund"
at = {at}
to = ["beijing-weibo"]
[post.data]
wrong = "{wrong}"
right = "请先挂断，再核实"
"""


async def test_the_text_of_a_new_account_is_on_the_page_of_the_changes(approving):
    """Differences show nothing of an account that is new: its whole text stands below them."""
    li = await approving.signed_in("approver", name="李")
    at = f"at = {this_evening(approving).isoformat()}"
    planner = approving.application.planner
    for to, words in (
        ('["beijing-weibo"]', ""),
        ('["beijing-weibo", "beijing-tieba"]', OWN_TIEBA),
    ):
        await apply_schedule(
            planner, warning("refund", at, to) + words, "schedule.toml"
        )
        if not words:
            await approve(li)
    page = (await li.get("/approve/refund/changes")).text
    assert 'data-testid="preview-tieba"' in page
    assert "请把钱转入安全账户" in page.partition('data-testid="passages"')[0]
    assert 'data-testid="preview-weibo"' not in page


OWN_TIEBA = """[post.text]
tieba = "警方提醒：请把钱转入安全账户。"
"""


async def test_a_remark_on_a_passage_that_has_changed_is_not_lost(approving):
    """The page comes back with the present text, and with the remarks on unchanged passages."""
    li = await approving.signed_in("approver", name="李")
    fields = remark_fields((await li.get("/approve/refund")).text)
    form = {"fingerprint": await fingerprint_on(li)}
    form[fields["正规退款原路退回，不用转账"]] = "这里要改"
    form[fields["警惕“退款客服”诈骗"]] = "标题太长"
    await write(approving, words={"不用转账": "不需要转账"})
    stale = await li.post("/approve/refund/return", data=form)
    assert (stale.status_code, "标题太长" in stale.text) == (409, True)
    [task] = await approving.store.approvals.tasks(PostId("refund"))
    assert task.returned is None


async def test_a_return_is_taken_back_by_who_gave_it(approving):
    """The text waits again as before; where a yes was ended by it there is no way back."""
    li = await approving.signed_in("approver", name="李")
    wang = await approving.signed_in("approver", name="王")
    form = {"fingerprint": await fingerprint_on(li), "reason": "电话不对"}
    undo = "/approve/refund/return/undo"
    shown = await li.post("/approve/refund/return", data=form, follow_redirects=True)
    assert f'action="{undo}"' in shown.text
    assert (await wang.post(undo, data=form)).status_code == 409
    assert (await li.post(undo, data=form)).status_code == 303
    [task] = await approving.store.approvals.tasks("refund")
    assert task.returned is None
    await approve(li)
    shown = await wang.post("/approve/refund/return", data=form, follow_redirects=True)
    assert f'action="{undo}"' not in shown.text


async def test_undoing_ones_own_yes_leaves_that_of_others(approving):
    """Undoing one's own approval leaves the approvals of others.

    The notice after an approval, and the inbox, end the visitor's own. The approval page can end
    all.
    """
    li = await approving.signed_in("approver", name="李")
    wang = await approving.signed_in("approver", name="王")
    await approve(li)
    await approve(wang)
    ended = await wang.post("/approve/refund/end", data={"own": "1"})
    [task] = await approving.store.approvals.tasks("refund")
    assert (ended.status_code, [each.person for each in task.status.counted]) == (
        303,
        ["李"],
    )


async def test_a_yes_can_be_taken_back(approving):
    """An approval of the last seven days can be taken back from the inbox.

    No reason is asked.
    """
    li = await approving.signed_in("approver", name="李")
    await approve(li)
    assert 'data-testid="act-end-refund"' in (await li.get("/inbox")).text
    ended = await li.post("/approve/refund/end")
    assert (ended.status_code, ended.headers["location"]) == (303, "/approve/refund")
    assert (await approving.store.approvals.tasks("refund"))[0].status.counted == []
    assert "已收回" in (await li.get("/inbox")).text


@pytest.mark.parametrize("state", [State.PUBLISHED, State.SENDING])
async def test_a_yes_taken_back_too_late_leads_to_the_post(approving, state):
    """An inbox from before offers it: the post's page says by its title that it is out."""
    li = await approving.signed_in("approver", name="李")
    await approve(li)
    await set_state(approving, state)
    ended = await li.post("/approve/refund/end", data={"own": "1"})
    assert (ended.status_code, ended.headers["location"]) == (303, "/posts/refund")
    page = re.sub(r"<[^>]+>", "", (await li.get("/posts/refund")).text)
    [said] = re.findall("(?:没有收回|收回得晚了)：《([^》]*)》", page)
    assert said == "警惕“退款客服”诈骗"


async def test_the_page_of_a_correction_says_that_it_is_approved_too(approving):
    """The page of a correction names the stages, and no account where nothing is to be done."""
    li = await approving.signed_in("operator", name="李")
    pages = []
    for state in (State.PENDING, State.PUBLISHED):
        await set_state(approving, state)
        pages.append((await li.get("/posts/refund/correct")).text)
    assert "原稿还没有在任何账号发布。" in pages[0]
    assert "更正也要审批：" in pages[1]
    assert "批完，就发到 3 个" in pages[1]
    assert [" 0 个账号" in page for page in pages] == [False, False]


async def test_a_yes_stays_in_the_inbox_until_it_cannot_be_taken_back(
    approving, monkeypatch
):
    """An approval stays in the inbox until it cannot be taken back.

    Any number of later decisions does not remove it. Of the rest the newest are listed, with a way
    to the others.
    """
    monkeypatch.setattr(inbox, "MAX_DONE", 2)
    li = await approving.signed_in("approver", name="李")
    await approve(li)
    whole = (await li.get("/inbox")).text
    for account in ("beijing-weibo", "beijing-wechat", "beijing-tieba"):
        await approving.store.actions.pause(
            f"account:{account}", named_person("李"), "换密码"
        )
    cut = (await li.get("/inbox")).text
    assert [page.count('data-testid="act-end-refund"') for page in (whole, cut)] == [
        1,
        1,
    ]
    assert cut.count('data-testid="done-paused"') == 2
    assert ["/audit?by=%E6%9D%8E" in page for page in (whole, cut)] == [False, True]


async def test_an_approver_of_other_accounts_is_refused(approving):
    """An approver of other accounts is refused.

    With some of the accounts the page says so; with none there is nothing to see. Neither can
    approve.
    """
    some = await approving.signed_in("approver@beijing-weibo", name="微")
    none = await approving.signed_in("approver@shanghai-weibo", name="沪")
    page = await some.get("/approve/refund")
    assert "不归您管的账号" in page.text
    assert "beijing-wechat" not in page.text
    assert (await none.get("/approve/refund")).status_code == 404
    assert "todo-approve-refund" not in (await none.get("/inbox")).text
    task = (await approving.store.approvals.tasks("refund"))[0]
    for path in ("/approve/refund", "/approve/refund/return"):
        assert (
            await some.post(path, data={"fingerprint": task.status.fingerprint})
        ).status_code == 403
        assert (
            await none.post(path, data={"fingerprint": task.status.fingerprint})
        ).status_code == 404
    assert (await approving.store.approvals.tasks("refund"))[0].status.counted == []


async def test_the_inbox_has_rulings_posts_by_hand_and_accounts_too(site):
    """The inbox has rulings, posts by hand and accounts, by kind, with a way to each.

    A viewer finds them with others. A person without permission to look finds nothing.
    """
    await plan(site, POST)
    await set_state(
        site,
        State.HELD,
        "beijing-tieba",
        "shanghai-tieba",
        reason="uncheckable",
        attempts=1,
    )
    await hand_out(site, "beijing-weibo")
    await site.store.actions.pause("account:shanghai-weibo", ADMIN, "换密码")
    operator = await site.signed_in("operator", name="王")
    whole = (await operator.get("/inbox")).text
    kinds = ("resolve-refund", "assist-refund@beijing-weibo", "account-shanghai-weibo")
    assert all(f'data-testid="todo-{kind}"' in whole for kind in kinds)
    assert "有 3 件事要您处理" in whole
    resolve = (await operator.get("/inbox?kind=resolve")).text
    assert [f'data-testid="todo-{kind}"' in resolve for kind in kinds] == [
        True,
        False,
        False,
    ]
    viewer = (await (await site.signed_in("viewer", name="李")).get("/inbox")).text
    assert ("没有等您的事" in viewer, 'data-testid="others"' in viewer) == (True, True)
    other = (
        await (await site.signed_in("operator@beijing-wechat", name="赵")).get("/inbox")
    ).text
    assert 'data-testid="todo-' not in other


async def test_the_inbox_has_all_that_one_has_decided(site):
    """The inbox has the visitor's rulings, orders and pauses of the last seven days.

    They are listed newest first, with an order as one line. Decisions of others are left out.
    """
    await plan(
        site,
        POST,
        warning("second", to='["platform:weibo", "platform:tieba"]', when=SOON),
    )
    await set_state(site, State.PUBLISHED, attempts=1)
    site.runtime.tick = timedelta(microseconds=1)
    wang = named_person("王")
    await site.store.actions.pause("account:shanghai-weibo", wang, "旧事")
    site.runtime.advance_time(timedelta(days=8))
    await site.store.actions.pause("account:beijing-weibo", wang, "密码被改")
    site.runtime.advance_time(timedelta(minutes=1))
    await site.store.actions.retract("refund", None, wang, "写错了")
    await site.store.actions.cancel_post("second", wang, "不发了")
    operator = await site.signed_in("operator", name="王")
    li = await site.signed_in("operator", name="李")
    pages = [
        (await operator.get(f"/inbox{query}")).text for query in ("", "?kind=account")
    ]
    done, accounts = (
        re.sub(r"<[^>]*>|\s+", "", page).partition("已办（最近七天）")[2]
        for page in pages
    )
    assert re.findall(r'data-testid="done-(\w+)"', pages[0]) == [
        "cancelled",
        "retraction_requested",
        "paused",
    ]
    assert done.index("要求删帖：写错了4个账号") < done.index("暂停：密码被改")
    assert "不发了4个账号" in done
    assert "旧事" not in done
    assert ("密码被改" in accounts, "写错了" in accounts) == (True, False)
    assert 'data-testid="done"' not in (await li.get("/inbox")).text


async def test_who_is_on_duty_finds_the_emergency_lane(approving):
    """A person on duty finds the emergency lane; others do not.

    A released post stays with the approvers, as their approvals must follow.
    """
    zhang = await approving.signed_in("author", name="zhang")
    wang = await approving.signed_in("approver", name="王")
    await approving.signed_in("approver", name="李")
    assert 'data-testid="emergency"' not in (await zhang.get("/approve/refund")).text
    for name in ("zhang", "李"):
        await approving.store.duty.add(name, ADMIN)
    assert (
        'href="/urgent/refund" data-testid="emergency"'
        in (await zhang.get("/approve/refund")).text
    )
    task = (await approving.store.approvals.tasks("refund"))[0]
    for name in ("zhang", "李"):
        officer = unlimited_approver(name)
        await approving.store.approvals.release_in_emergency(
            "refund",
            [task.content],
            officer,
            replace(ADMIN, name=name),
            "诈骗正在发生",
        )
    assert "已紧急放行，要补审" in (await wang.get("/inbox")).text
    assert 'data-testid="emergency"' not in (await zhang.get("/approve/refund")).text


SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


async def start_session(approving, name, grant="approver"):
    """Add a user with a second factor, and return the id of a new session.

    The second factor is still to be repeated in the session.
    """
    site = approving.app.state.site
    link = await approving.add_user(name, grant)
    sealed = encrypt_totp_secret(SECRET, name, site.load_user_key)
    sign_in = NewSignIn(password_hash="none", totp_secret=sealed, totp_step=0)
    await approving.store.users.activate(link, sign_in, lambda _name: ADMIN)
    return await approving.store.sign_ins.start_session(
        name, "address 127.0.0.1", ADMIN
    )


async def test_a_session_outlives_a_yes_that_is_refused_after_its_code(approving):
    """A session outlives an approval that is refused after its code.

    The code gives the session a new id with any answer. Nobody signs out others by changing a text.
    """
    li = approving.client({"publisher_session": await start_session(approving, "李")})
    form = {"fingerprint": "0" * 64, "code": code_of(SECRET, approving.runtime)}
    refused = await li.post("/approve/refund", data=form)
    replaced = approving.client(
        {"publisher_session": refused.cookies["publisher_session"]}
    )
    assert refused.status_code == 409
    assert (await replaced.get("/inbox")).status_code == 200


async def test_a_yes_takes_the_second_factor_once_in_ten_minutes(approving):
    """Without a code nothing is recorded; a right one counts, and the session has a new id."""
    session = await start_session(approving, "李")
    li = approving.client({"publisher_session": session})
    form = {"fingerprint": await fingerprint_on(li)}
    without = await li.post("/approve/refund", data=form)
    assert (without.status_code, 'name="code"' in without.text) == (422, True)
    assert (await approving.store.approvals.tasks("refund"))[0].status.counted == []
    done = await li.post(
        "/approve/refund", data={**form, "code": code_of(SECRET, approving.runtime)}
    )
    assert done.status_code == 303
    assert len((await approving.store.approvals.tasks("refund"))[0].status.counted) == 1
    replaced = approving.client(
        {"publisher_session": done.cookies["publisher_session"]}
    )
    assert (await replaced.get("/inbox")).status_code == 200
    assert (
        await approving.client({"publisher_session": session}).get("/inbox")
    ).status_code == 303


WRONG_CODE = "000000"


def is_said_at_the_code(page):
    """True if a page says at its field, and nowhere else, that a code was wrong."""
    return (
        page.count('data-testid="problem-code"') == 1
        and re.search(r'name="code"[^>]* aria-invalid="true"', page) is not None
        and 'role="alert"' not in page
    )


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("/approve/refund", "approver"),
        ("/me/step-up", "approver"),
        ("/resume", "operator"),
    ],
)
async def test_a_wrong_code_is_said_at_its_field(approving, path, role):
    """A wrong second factor is named where it was typed, on every form that takes one."""
    session = await start_session(approving, "李", role)
    li = approving.client({"publisher_session": session})
    at = await approving.store.actions.pause("all", ADMIN, "")
    form = {"fingerprint": "0" * 64, "paused_at": at.isoformat(), "next": "/today"}
    wrong = await li.post(path, data={**form, "code": WRONG_CODE})
    assert (wrong.status_code, is_said_at_the_code(wrong.text)) == (422, True)


def code_of(secret, runtime):
    import pyotp  # noqa: PLC0415 # for this test alone

    return pyotp.TOTP(secret).at(int(runtime.now().timestamp()))


async def test_what_needs_no_approval_says_so(approving):
    """A post that is gone is an unknown one; one that waits for nothing says that in words."""
    li = await approving.signed_in("approver", name="李")
    assert (await li.get("/approve/unknown")).status_code == 404
    await approving.store.actions.cancel_post("refund", ADMIN, "not wanted")
    page = await li.get("/approve/refund")
    assert (page.status_code, "没有要审批的内容" in page.text) == (404, True)


STATE_PAGES = (
    "/today",
    "/posts",
    "/posts/refund",
    "/deliveries/refund/once/beijing-weibo",
)
EARLY, IN_TIME = timedelta(hours=18), timedelta(hours=1, minutes=50)


def signs(page):
    """Return the signs of the chips and states in the body of a page."""
    body = re.sub(r'<p class="legend".*?</p>', "", page.partition("<main")[2])
    return set(re.findall(r'class="(?:chip|state) (\w+)"', body))


@pytest.mark.parametrize(
    ("ahead", "is_red"), [(EARLY, False), (IN_TIME, True)], ids=["early", "soon"]
)
async def test_a_missing_approval_is_red_two_hours_before_and_no_sooner(
    approving, ahead, is_red
):
    """It waits in good time, and is somebody's two hours before: on every page alike.

    No page says that it will be sent, with nothing to do.
    """
    site = approving
    due_at = site.runtime.now() + ahead
    await set_state(site, State.PENDING, due_at=due_at, scheduled_at=due_at)
    await site.store.maintenance.reminders.run()
    await site.store.actions.register_worker()
    client = await site.signed_in("viewer", name="看")
    pages = {path: (await client.get(path)).text for path in STATE_PAGES}
    assert {path: "action" in signs(page) for path, page in pages.items()} == (
        dict.fromkeys(STATE_PAGES, is_red)
    )
    is_problem = 'class="problem" data-testid="stage-1"' in pages["/posts/refund"]
    assert is_problem == is_red
    assert not [path for path, page in pages.items() if "不需要做什么" in page]
    assert not [path for path in STATE_PAGES[:3] if "缺审批" not in pages[path]]
    assert "没批完就不发" in pages[STATE_PAGES[3]]
    assert "没批完就不发" in (await client.get(f"{STATE_PAGES[2]}?tab=all")).text
