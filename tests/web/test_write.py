"""Write and edit: a text is checked, kept as a draft, and saved into schedule.toml.

It is never lost.
"""

import asyncio
import html
import io
import json
import re
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image

from publisher.domain.approval import ApprovalRules, Stage
from publisher.engine import schedule_editor
from publisher.engine.planner import apply_schedule
from publisher.web.write import move, remove, write
from publisher.web.write.post_form import load_entry
from tests.web.posts import hidden_fields
from tests.web.test_sign_in import PASSWORD, add_activated, open_known_browser

FILE = """# 计划
[[post]]
id = "weekly"
kind = "bulletin"
template = "bulletin"
author = "zhang"
title = "每周反诈提示"  # 标题
cron = "0 9 * * mon"
to = ["all"]
[post.data]
summary = "转账之前，先打电话核实"
"""
NEW = {
    "kind": "warning",
    "title": "警惕刷单返利",
    "data.summary": "先垫钱的兼职都是诈骗",
    "data.signs": "拉进群\r\n\r\n先给小钱",
    "when": "once",
    "at_date": "2026-12-20",
    "at_time": "09:00",
    "to": "all",
    "do": "save",
}


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch):
    """No daemon runs here that would put a save in force."""
    for module in (move, remove, write):
        monkeypatch.setattr(module, "ACCEPTED_WITHIN_SECONDS", 0)


@pytest.fixture
async def file(site):
    path = site.application.settings.schedule_file
    await asyncio.to_thread(path.write_text, FILE, "utf-8")
    return path


def fields_of(page):
    """Return the fields that the form of a page would send unchanged."""
    form = re.search(
        r'<form\s+class="(?:compose[^"]*|card sheet[^"]*|actions)".*?</form>',
        page,
        re.DOTALL,
    )[0]
    fields = {}
    for tag in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'([a-z]+)="([^"]*)"', tag))
        if attributes.get("type") in {"radio", "checkbox"} and "checked" not in tag:
            continue
        if name := attributes.get("name"):
            fields.setdefault(name, []).append(
                html.unescape(attributes.get("value", ""))
            )
    for name, value in re.findall(
        r'<textarea[^>]*name="([^"]+)"[^>]*>\n(.*?)</textarea>', form, re.DOTALL
    ):
        fields[name] = [html.unescape(value)]
    for name, options in re.findall(
        r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL
    ):
        chosen = re.findall(r'value="([^"]*)"\s+selected', options)
        fields.setdefault(name, []).extend(chosen)
    return fields


def posts(file):
    return tomllib.loads(file.read_text("utf-8"))["post"]


async def test_a_new_post_is_written_at_the_end_of_the_file(site, file):
    """A new post is written at the end of the file, and nothing else in the file changes.

    Its author is the user of the session, and its id is made of the title.
    """
    author = await site.signed_in("author", name="王")
    answer = await author.post("/write", data=NEW)
    assert answer.status_code == 303
    assert file.read_text("utf-8").startswith(FILE)
    added = posts(file)[1]
    assert (added["id"], added["author"]) == ("jing-ti-shua-dan-fan-li-2026-11", "王")
    assert added["data"] == {
        "summary": "先垫钱的兼职都是诈骗",
        "signs": ["拉进群", "先给小钱"],
    }
    assert f"{added['at']:%Y-%m-%d %H:%M}" == "2026-12-20 09:00"


async def test_i5_a_copy_names_the_post_that_it_began_with(site, file):
    """A copy names the post that it began with.

    The writers of that post cannot approve the copy either. The save knows of them, also by way of
    a draft.
    """
    text = FILE.replace('"all"', '"region:110000"')
    await asyncio.to_thread(file.write_text, text, "utf-8")
    await apply_schedule(site.application.planner, text, file.name)
    author = await site.signed_in("author", name="王")
    other = await site.signed_in("author@region:310000")
    fields = fields_of((await author.get("/write?like=weekly")).text)
    assert fields["like"] == ["weekly"]
    draft = await author.post(
        "/write", data={**fields, "title": "转账之前先核实", "do": "draft"}
    )
    kept = fields_of((await author.get(draft.headers["location"])).text)
    weekly = await site.store.posts.get_post("weekly")
    assert kept["like_hash"] == [weekly.content_hash]
    assert (
        await author.post("/write", data={**kept, "id": "copied", "do": "save"})
    ).status_code == 303
    unseen = {**NEW, "id": "own", "to": "region:310000", "like": "weekly"}
    assert (await other.post("/write", data=unseen)).status_code == 303
    entries = {
        name: await site.store.queries.audit_history(name) for name in ("copied", "own")
    }
    origins = {
        name: [line.detail.get("copied_from") for line in lines]
        for name, lines in entries.items()
    }
    assert origins == {"copied": ["weekly"], "own": [None]}


async def test_a_refused_save_shows_each_problem_at_its_field_and_keeps_what_was_typed(
    site, file
):
    """Nothing is written; the page comes back with the words and the problems."""
    author = await site.signed_in("author")
    empty = await author.post("/write", data={**NEW, "title": "", "to": ""})
    long = await author.post("/write", data={**NEW, "data.summary": "长" * 200})
    assert (empty.status_code, long.status_code) == (422, 422)
    assert {"problem-title", "problem-to"} <= set(
        re.findall(r"problem-[a-z]+", empty.text)
    )
    assert "problem-summary" in long.text
    assert "长" * 200 in long.text
    assert file.read_text("utf-8") == FILE


async def test_the_check_answers_with_counts_previews_and_the_draft(site, file):
    """The check answers with counts, previews and the draft.

    A field that is not filled in yet is no problem during writing; a text that is too long is one.
    """
    author = await site.signed_in("author")
    empty = await author.post(
        "/write/check", data={"kind": "warning", "to": "all", "when": "asap"}
    )
    full = await author.post("/write/check", data={**NEW, "data.summary": "长" * 200})
    assert "problem-" not in empty.text
    assert 'data-testid="count-weibo"' in full.text
    assert "problem-summary" in full.text
    assert "<mark>" in full.text
    assert 'name="draft"' in full.text


async def test_whom_a_post_goes_to_is_counted_whatever_else_it_lacks(site, file):
    """By platform, with how many of the accounts are paused."""
    await site.store.actions.pause("account:beijing-weibo", site.actor, "换密码")
    author = await site.signed_in("author")
    empty = await author.post(
        "/write/check", data={"kind": "warning", "to": "all", "when": "asap"}
    )
    assert "共 6 个账号" in empty.text
    assert re.search(r"微博 2（1 个暂停中）.*公众号 2<.*贴吧 2<", empty.text)


async def test_the_text_of_any_account_can_be_previewed(site, file):
    """The form names the account; the text of another one comes with the next check."""
    author = await site.signed_in("author")
    page = await author.post(
        "/write/check", data={**NEW, "shown.weibo": "shanghai-weibo"}
    )
    assert '<option value="shanghai-weibo" selected>' in page.text
    assert (
        "上海市公安局"
        in page.text.partition('data-testid="preview-weibo"')[2].partition("</figure>")[
            0
        ]
    )


async def test_a_time_at_which_others_are_due_gets_an_advice(site, file):
    """It names one of them and how many there are; nothing stops a save."""
    author = await site.signed_in("author")
    soon = {**NEW, "at_date": f"{site.runtime.now() + timedelta(days=1):%Y-%m-%d}"}
    await author.post("/write", data=soon)
    await apply_schedule(site.application.planner, file.read_text("utf-8"), file.name)
    answer = await author.post("/write/check", data={**soon, "title": "另外一条预警"})
    assert "同一时刻已有《警惕刷单返利》等 1 条要发" in answer.text
    assert "problem-when" not in answer.text


@pytest.mark.parametrize(
    ("day", "is_advised"),
    [
        ("2026-10-01", True),
        ("2026-10-04", True),
        ("2026-10-10", False),
        ("2026-10-17", False),
    ],
)
async def test_a_post_on_a_public_holiday_gets_an_advice(site, file, day, is_advised):
    """A holiday is named in the form, weekends of a long one too; nothing stops a save."""
    author = await site.signed_in("author")
    site.runtime.advance_time(datetime(2026, 9, 1, tzinfo=UTC) - site.runtime.now())
    answer = await author.post("/write/check", data={**NEW, "at_date": day})
    assert ("放假，看的人" in answer.text) is is_advised
    assert "problem-when" not in answer.text


@pytest.mark.long
async def test_an_advice_that_was_seen_is_said_no_more(site, file):
    """An advice that was seen is not repeated during writing, nor in the draft.

    Another advice, or a problem, is shown all the same.
    """
    author = await site.signed_in("author")
    soon = {**NEW, "at_date": f"{site.runtime.now() + timedelta(days=1):%Y-%m-%d}"}
    await author.post("/write", data=soon)
    await author.post(
        "/write", data={**soon, "at_time": "09:30", "title": "又一条预警"}
    )
    await apply_schedule(site.application.planner, file.read_text("utf-8"), file.name)

    async def check(**changes):
        data = {
            **soon,
            "title": "另外一条预警",
            "data.summary": "",
            "tried": "1",
            **changes,
        }
        return (await author.post("/write/check", data=data)).text

    offered = re.search(
        r'name="seen" value="([^"]+)" data-testid="act-seen-web_write_clash"',
        await check(),
    )[1]
    elsewhere = await check(seen=offered, at_time="10:00")
    kept = re.findall(r'type="hidden" name="seen" value="([^"]+)"', elsewhere)
    pages = [await check(seen=kept, at_time=time) for time in ("09:00", "09:30")]
    assert ["同一时刻已有" in page for page in (elsewhere, *pages)] == [
        False,
        False,
        True,
    ]
    assert "problem-summary" in pages[0]
    draft = re.search(r'name="draft" value="([^"]+)"', pages[0])[1]
    assert "同一时刻已有" not in (await author.get(f"/write/{draft}")).text


async def test_an_article_is_shown_to_its_author_only_and_may_run_nothing(site, file):
    """The frame has the article itself, in a sandbox; for anybody else there is no such preview."""
    author = await site.signed_in("author", name="王")
    other = await site.signed_in("author", name="李")
    page = await author.post("/write/check", data=NEW)
    path = re.search(r'src="(/write/article/[0-9a-f]+)"', page.text)[1]
    shown, hidden = await author.get(path), await other.get(path)
    assert "先垫钱的兼职都是诈骗" in shown.text
    assert "sandbox" in shown.headers["content-security-policy"]
    assert hidden.status_code == 404


async def test_a_draft_is_its_authors_and_comes_back_as_it_was(site, file):
    """Another author has no such draft; a save deletes it."""
    author = await site.signed_in("author", name="王")
    other = await site.signed_in("author", name="李")
    checked = await author.post(
        "/write/check", data={**NEW, "body": "写到一半 & “没完”"}
    )
    draft = re.search(r'name="draft" value="([^"]+)"', checked.text)[1]
    shown, hidden = (
        await author.get(f"/write/{draft}"),
        await other.get(f"/write/{draft}"),
    )
    assert "写到一半 &amp; “没完”" in shown.text
    assert hidden.status_code == 404
    saved = await author.post(
        "/write", data=fields_of(shown.text) | {"do": "save", "data.signs": "一"}
    )
    assert saved.status_code == 303
    assert (await author.get(f"/write/{draft}")).status_code == 404


async def test_a_post_that_is_sent_leaves_no_draft_of_its_last_words(site, file):
    """A check that is answered after the save, or not at all, leaves no draft behind."""
    author = await site.signed_in("author", name="王")
    form = fields_of((await author.get("/write")).text) | NEW
    await author.post("/write/check", data=form)  # no answer comes: the form is sent
    assert len(await site.store.drafts.list("王")) == 1
    sent = await author.post("/write", data=form | {"do": "save"})
    assert sent.status_code == 303
    await author.post("/write/check", data=form | {"title": "来晚的一次"})
    assert await site.store.drafts.list("王") == []


async def test_typing_writes_a_draft_once_in_three_seconds(site, file):
    """A check that comes sooner asks the page to come again, and then everything is kept."""
    author = await site.signed_in("author", name="王")
    first = await author.post("/write/check", data=NEW)
    draft = re.search(r'name="draft" value="([^"]+)"', first.text)[1]
    soon = await author.post(
        "/write/check", data={**NEW, "draft": draft, "title": "改过"}
    )
    site.runtime.advance_time(timedelta(seconds=3))
    later = await author.post(
        "/write/check", data={**NEW, "draft": draft, "title": "改过"}
    )
    assert "data-again" in soon.text
    assert "data-again" not in later.text
    assert json.loads((await site.store.drafts.get(draft, "王")).content)["title"] == [
        "改过"
    ]


async def test_an_edit_changes_the_one_line(site, file):
    """The form of a post sends it back as it is; one changed field is one changed line."""
    author = await site.signed_in("author", name="王")
    page = await author.get("/posts/weekly/edit")
    answer = await author.post(
        "/write", data=fields_of(page.text) | {"title": "每周反诈小提示", "do": "save"}
    )
    assert answer.status_code == 303
    assert file.read_text("utf-8") == FILE.replace("每周反诈提示", "每周反诈小提示")


@pytest.mark.parametrize(
    ("wrong", "is_said"),
    [
        ("先打 电话核实", True),
        ("“每周反诈提示”", True),
        ("请拨打110", True),
        ("周六上午八时", False),
    ],
)
async def test_a_quoted_error_is_looked_for_in_the_original(site, file, wrong, is_said):
    """The form, and the checks of the saved correction, say that nobody wrote such words."""
    await apply_schedule(site.application.planner, file.read_text("utf-8"), file.name)
    author = await site.signed_in("author")
    form = {
        **NEW,
        "kind": "correction",
        "id": "fix",
        "title": "更正：每周反诈提示",
        "follows": "weekly",
        "data.right": "转账之前，先打电话核实",
        "data.wrong": wrong,
    }
    said = "，在原稿里找不到"
    checked = await author.post("/write/check", data={**form, "tried": "1"})
    assert (said in checked.text) is not is_said
    assert (await author.post("/write", data=form)).status_code == 303
    await apply_schedule(site.application.planner, file.read_text("utf-8"), file.name)
    assert (said in (await author.get("/posts/fix")).text) is not is_said


async def test_what_was_sent_leads_to_a_correction(site, file):
    """The edit page of a sent post says so, and begins a correction of that post.

    An edit does not reach a post on a platform.
    """
    author = await site.signed_in("author", name="王")
    await author.post("/write", data={**NEW, "when": "asap"})
    await apply_schedule(site.application.planner, file.read_text("utf-8"), file.name)
    post = posts(file)[1]["id"]
    assert "banner-sent" not in (await author.get(f"/posts/{post}/edit")).text
    await site.store.maintenance.promote_due()
    [lease, *_rest] = await site.store.outbox.claim(10)
    await site.store.outbox.record_intent(lease)
    page = await author.get(f"/posts/{post}/edit")
    assert "banner-sent" in page.text
    correction = fields_of(
        (await author.get(f"/write?kind=correction&follows={post}")).text
    )
    assert (correction["kind"], correction["follows"]) == (["correction"], [post])


async def test_an_original_that_is_moved_behind_its_follow_up_is_warned_of(site, file):
    """The person at the original's page learns which follow-up would expire."""
    author = await site.signed_in("author", name="王")
    one = {**NEW, "id": "one"}
    two = {**NEW, "id": "two", "kind": "update", "follows": "one", "at_time": "10:00"}
    two |= {"template": "bulletin", "title": "刷单返利：三人被抓获"}
    for fields in (one, two):
        await author.post("/write", data=fields)
        text = file.read_text("utf-8")
        await apply_schedule(site.application.planner, text, file.name)
    form = fields_of((await author.get("/posts/one/edit")).text)
    sound = await author.post("/write/check", data={**form, "at_time": "09:30"})
    moved = await author.post("/write/check", data={**form, "at_time": "11:00"})
    assert ["two 跟进 one，时间却更早" in answer.text for answer in (sound, moved)] == [
        False,
        True,
    ]


async def test_two_edits_of_one_post_are_settled_field_by_field(site, file):
    """Two edits of one post are settled field by field.

    The second person to save sees only the differences, and this person's choice is saved.
    """
    wang, li = (
        await site.signed_in("author", name="王"),
        await site.signed_in("author", name="李"),
    )
    mine = fields_of((await wang.get("/posts/weekly/edit")).text)
    theirs = fields_of((await li.get("/posts/weekly/edit")).text)
    await li.post(
        "/write",
        data=theirs | {"title": "李写的标题", "repeat_time": "10:00", "do": "save"},
    )
    conflict = await wang.post(
        "/write",
        data=mine | {"title": "王写的标题", "data.summary": "王的摘要", "do": "save"},
    )
    assert conflict.status_code == 409
    assert set(re.findall(r'data-testid="conflict-([^"]+)"', conflict.text)) == {
        "title",
        "cron",
        "data.summary",
    }
    assert "李" in re.search("<h1>(.*?)</h1>", conflict.text)[1]
    saved = await wang.post(
        "/write", data=fields_of(conflict.text) | {"pick.title": "mine", "do": "save"}
    )
    assert saved.status_code == 303
    [post] = posts(file)
    assert (post["title"], post["cron"], post["data"]["summary"]) == (
        "王写的标题",
        "0 10 * * mon",
        "王的摘要",
    )


async def test_an_error_elsewhere_in_the_file_is_shown_with_its_line(site, file):
    """Nothing is written into a file that is refused as it is, and the words stay in the form."""
    broken = FILE.replace('kind = "bulletin"', 'kind = "buletin"')
    await asyncio.to_thread(file.write_text, broken, "utf-8")
    author = await site.signed_in("author")
    answer = await author.post("/write", data=NEW)
    assert answer.status_code == 422
    assert "发布计划:4:" in answer.text
    draft = re.search(r'name="draft" value="([^"]+)"', answer.text)[1]
    assert "先垫钱的兼职都是诈骗" in (await author.get(f"/write/{draft}")).text
    assert "先垫钱的兼职都是诈骗" in answer.text
    assert file.read_text("utf-8") == broken


async def test_whatever_stops_a_save_the_form_stays(site, file, monkeypatch):
    """The form stays whenever a save is stopped.

    A full disk and a missing file are reported above the words. An edit page names the unreadable
    part.
    """
    author = await site.signed_in("author")

    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(schedule_editor, "write_temporary", fail)
        full = await author.post("/write", data=NEW)
    await asyncio.to_thread(file.unlink)
    gone = await author.post("/write", data=NEW)
    unread = await author.get("/posts/weekly/edit")
    assert (full.status_code, gone.status_code, unread.status_code) == (409, 422, 409)
    assert "No space left on device" in full.text
    assert all("先垫钱的兼职都是诈骗" in page.text for page in (full, gone))
    assert "schedule.toml" in unread.text


async def test_who_may_write_for_one_region_saves_nothing_for_another(site, file):
    """The accounts are checked by the engine, and the problem stands at the recipients."""
    author = await site.signed_in("author@region:110000")
    refused = await author.post("/write", data=NEW)
    allowed = await author.post("/write", data={**NEW, "to": "region:110000"})
    assert refused.status_code == 422
    assert "problem-to" in refused.text
    assert allowed.status_code == 303
    assert [post["to"] for post in posts(file)] == [["all"], ["region:110000"]]


async def test_posts_of_other_regions_are_not_shown_to_who_writes(site, file):
    """Posts of other regions are not shown to a writer.

    They are not shown to edit, copy or remove, nor in the answer to a made-up conflict, nor as an
    original to follow.
    """
    await apply_schedule(site.application.planner, FILE, file.name)
    elsewhere = FILE.replace('"all"', '"region:310000"')
    await asyncio.to_thread(file.write_text, elsewhere, "utf-8")
    await apply_schedule(site.application.planner, elsewhere, file.name)
    author = await site.signed_in("author@region:110000")
    paths = ("/posts/weekly/edit", "/posts/weekly/remove", "/write?like=weekly")
    pages = [await author.get(path) for path in paths]
    base = '[[post]]\nid = "weekly"\nto = ["region:110000"]\n'
    conflict = await author.post(
        "/write", data={**NEW, "to": "region:110000", "base": base}
    )
    assert [page.status_code for page in pages] == [404, 404, 404]
    assert conflict.status_code == 422
    assert "problem-to" in conflict.text
    assert "转账之前，先打电话核实" not in conflict.text
    assert "每周反诈提示" not in (await author.get("/write?kind=correction")).text


@pytest.mark.parametrize("staff_dir", ["", "staff"])
async def test_a_picture_is_cleaned_and_named_in_the_post(site, file):
    """A file that is no picture is refused at its field.

    A picture goes to media/ without its place and camera.
    """
    author = await site.signed_in("author")
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    data = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(data, "JPEG", exif=exif)
    form = {**NEW, "picture_alt": "红色"}
    refused = await author.post(
        "/write", data=form, files={"picture": ("a.png", b"no picture", "image/png")}
    )
    saved = await author.post(
        "/write", data=form, files={"picture": ("a.jpg", data.getvalue(), "image/jpeg")}
    )
    assert refused.status_code == 422
    assert "problem-images" in refused.text
    assert saved.status_code == 303
    [image] = posts(file)[1]["images"]
    kept = (file.parent / image["file"]).read_bytes()
    assert image["alt"] == "红色"
    assert b"secret place" in data.getvalue()
    assert b"secret place" not in kept


async def test_a_save_after_the_session_has_ended_loses_nothing(site, file):
    """A save after the session has ended loses nothing.

    The sign-in carries the form. It is shown again, and saved from there.
    """
    await add_activated(site, "王")
    client = await open_known_browser(site, "王")
    refused = await client.post(
        "/write", data=NEW, files={"picture": ("", b"", "application/octet-stream")}
    )
    resumed = html.unescape(
        re.search(r'name="resume" value="([^"]*)"', refused.text)[1]
    )
    assert refused.status_code == 401
    assert file.read_text("utf-8") == FILE
    form = {"name": "王", "password": PASSWORD, "next": "/write", "resume": resumed}
    shown = await client.post("/login", data=form)
    reviewed = await client.post("/write", data=fields_of(shown.text))
    saved = await client.post("/write", data=fields_of(reviewed.text) | {"do": "save"})
    assert saved.status_code == 303
    assert posts(file)[1]["data"]["summary"] == NEW["data.summary"]


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "重庆" * 31_000},
        {f"text.p{number}": "x" for number in range(400)},
        {"body": "x" * 59_000, "base": "x" * 250_000},
        {"body": "x" * 300_000},
        {f"data.{number}": "x" for number in range(600)},
        {"data.signs": "甲\n" * 400},
        {"base": "[[post]]\n" + "".join(f"k{number} = 1\n" for number in range(4_000))},
    ],
)
@pytest.mark.parametrize("path", ["/write", "/write/check", "/urgent"])
async def test_f90_a_form_longer_than_any_post_is_refused(site, file, path, fields):
    """Nothing works on it before its length is known."""
    author = await site.signed_in("author")
    form = {"picture": ("", b"", "application/octet-stream")}
    answer = await author.post(path, data={**NEW, **fields}, files=form)
    assert answer.status_code == 413
    assert "最多 60,000 字" in answer.text
    assert file.read_text("utf-8") == FILE


@pytest.mark.parametrize(
    "value", ["5", "[5]", "{ a = 5 }", "true", '"x"', "2026-12-01"]
)
@pytest.mark.parametrize("path", ["/write", "/write/check"])
async def test_a_forged_earlier_post_of_any_shape_is_no_error(site, path, value):
    """A key with a list, table or value that it has in no post is left out."""
    author = await site.signed_in("author")
    keys = ("id", "to", "images", "text", "data", "title", "at", "cron", "expires")
    for key in keys:
        base = f"[[post]]\n{key} = {value}\n"
        answer = await author.post(path, data={**NEW, "do": "", "base": base})
        assert answer.status_code < 500, base


async def test_a_post_is_saved_into_a_file_that_says_there_are_none(site, file):
    """`post = []` is how a schedule without posts may be written."""
    text = "# 计划\npost = []  # 还没有\n"
    await asyncio.to_thread(file.write_text, text, "utf-8")
    author = await site.signed_in("author")
    assert (await author.post("/write", data=NEW)).status_code == 303
    assert [post["title"] for post in posts(file)] == [NEW["title"]]


@pytest.mark.long
async def test_a_post_may_name_each_account_of_a_large_agency(site):
    """The bounds of lists in a post do not apply to its accounts: 1,500 may be ticked."""
    author = await site.signed_in("author", "operator")
    accounts = [f"account-{number}" for number in range(1_500)]
    form = {"picture": ("", b"", "application/octet-stream")}
    answer = await author.post("/write", data={**NEW, "to": accounts}, files=form)
    assert answer.status_code != 413
    assert "account-1499" in answer.text


@pytest.mark.parametrize(
    "base",
    ["[[post]]\n" + "a." * 20_000 + "a = 1\n", "[[post]]\na = " + "[" * 900 + "\n"],
)
def test_f90_a_deeply_nested_base_is_no_post(base):
    """A manipulated earlier text of a depth that takes a parser its square is no post."""
    assert load_entry(base) == {}


async def test_a_post_is_taken_out_of_the_schedule(site, file, monkeypatch):
    """A post is taken out of the schedule after a question.

    One that has changed since is not taken out. A change that is not in force yet is reported as
    waiting.
    """

    async def fail(*_arguments):
        raise OSError(28, "No space left on device")

    author = await site.signed_in("author", name="王")
    page = fields_of((await author.get("/posts/weekly/remove")).text)
    await asyncio.to_thread(
        file.write_text, FILE.replace("每周反诈提示", "改了"), "utf-8"
    )
    stale = await author.post("/posts/weekly/remove", data=page)
    with monkeypatch.context() as patch:
        patch.setattr(write, "save_post", fail)
        failed = await author.post("/posts/weekly/remove", data=fields_of(stale.text))
    gone = await author.post("/posts/weekly/remove", data=fields_of(stale.text))
    assert (stale.status_code, failed.status_code, gone.status_code) == (409, 409, 303)
    assert "No space left on device" in failed.text
    assert "发布系统还没有采用" in (await author.get("/today")).text
    assert file.read_text("utf-8") == "# 计划\n"


async def test_what_else_keeps_a_post_in_the_schedule_is_said(site, file):
    """An error elsewhere that keeps a post in the schedule is shown with its line.

    Nothing is said of a change that nobody made.
    """
    other = (
        FILE.partition("\n")[2]
        .replace('"weekly"', '"broken"')
        .replace('"bulletin"', '"bulletins"')
    )
    await asyncio.to_thread(file.write_text, FILE + other, "utf-8")
    author = await site.signed_in("author")
    page = fields_of((await author.get("/posts/weekly/remove")).text)
    refused = await author.post("/posts/weekly/remove", data=page)
    assert refused.status_code == 409
    assert "发布计划" in refused.text
    assert "problem-post" not in refused.text


async def test_with_approvals_a_save_says_who_comes_next(site, file):
    """The button sends for approval where the kind needs one."""
    opened, rules = site.application, ApprovalRules(default=(Stage(name="初审"),))
    site.app.state.site.application = replace(
        opened, store=replace(opened.store, approval_rules=rules)
    )
    author = await site.signed_in("author")
    page = await author.get("/write")
    assert "保存并送审" in page.text
    assert "初审" in page.text


async def test_a_post_dragged_to_another_day_gets_that_time_and_nothing_else(
    site, file
):
    """A post dragged to another day gets that time and nothing else.

    A movable entry of the calendar carries its time. The notice says that the change is not in
    force yet, and takes the move back.
    """
    author = await site.signed_in("author", name="王")
    await author.post("/write", data=NEW)
    await apply_schedule(site.application.planner, file.read_text("utf-8"), file.name)
    before, name = file.read_text("utf-8"), posts(file)[1]["id"]
    month = (await author.get("/calendar?month=2026-12")).text
    assert (
        f'href="/posts/{name}" data-row data-at="2026-12-20T09:00:00" draggable="true"'
        in month
    )
    assert 'href="/posts/weekly" data-row>' in month
    sent = {
        "was": "2026-12-20T09:00:00",
        "at": "2026-12-23T09:00:00",
        "back": "/calendar?month=2026-12",
    }
    moved = await author.post(f"/posts/{name}/move", data=sent)
    assert (moved.status_code, moved.headers["location"]) == (
        303,
        "/calendar?month=2026-12",
    )
    assert file.read_text("utf-8") == before.replace("2026-12-20", "2026-12-23")
    shown = (await author.get("/calendar")).text
    assert "发布系统还没有采用" in shown
    await author.post(
        f"/posts/{name}/move", data=hidden_fields(shown, f"/posts/{name}/move")
    )
    assert file.read_text("utf-8") == before


async def test_a_move_that_cannot_be_written_says_why(site, file, monkeypatch):
    """The form of the post shows the reason."""

    async def fail(*_arguments):
        raise OSError(28, "No space left on device")

    author = await site.signed_in("author", name="王")
    await author.post("/write", data=NEW)
    monkeypatch.setattr(write, "save_post", fail)
    sent = {"was": "2026-12-20T09:00:00", "at": "2026-12-23T09:00:00"}
    answer = await author.post(f"/posts/{posts(file)[1]['id']}/move", data=sent)
    assert answer.status_code == 409
    assert "No space left on device" in answer.text


async def test_a_move_of_what_has_changed_meanwhile_changes_nothing(site, file):
    """A move of a changed post changes nothing.

    It is refused over another time than the calendar showed, for a post that repeats, and to a time
    that is past.
    """
    author = await site.signed_in("author", name="王")
    await author.post("/write", data=NEW)
    before, name = file.read_text("utf-8"), posts(file)[1]["id"]
    sent = {"was": "2026-12-20T09:00:00", "at": "2026-12-23T09:00:00"}
    stale = await author.post(
        f"/posts/{name}/move", data={**sent, "was": "2026-12-19T09:00:00"}
    )
    repeating = await author.post("/posts/weekly/move", data=sent)
    past = await author.post(
        f"/posts/{name}/move", data={**sent, "at": "2026-11-01T09:00:00"}
    )
    nonsense = await author.post(f"/posts/{name}/move", data={**sent, "at": "bald"})
    assert (
        stale.status_code,
        repeating.status_code,
        past.status_code,
        nonsense.status_code,
    ) == (
        409,
        409,
        422,
        400,
    )
    assert "problem-when" in past.text
    assert file.read_text("utf-8") == before


async def test_a_deleted_draft_comes_back_by_the_notice(site, file):
    """It is gone from the list until then, and comes back as it was."""
    author = await site.signed_in("author")
    checked = await author.post("/write/check", data={**NEW, "body": "写到一半"})
    draft = re.search(r'name="draft" value="([^"]+)"', checked.text)[1]
    page = (await author.post(f"/write/{draft}/delete", follow_redirects=True)).text
    assert (
        f'href="/write/{draft}"' in page,
        f'action="/write/{draft}/restore"' in page,
    ) == (
        False,
        True,
    )
    restored = await author.post(f"/write/{draft}/restore", follow_redirects=True)
    assert "写到一半" in restored.text


def draw_picture(color="red"):
    data = io.BytesIO()
    Image.new("RGB", (40, 30), color).save(data, "PNG")
    return {"picture": (f"{color}.png", data.getvalue(), "image/png")}


async def test_an_added_picture_is_in_the_draft_and_the_preview_stays(site, file):
    """The check keeps text and picture at once, and shows both, without a description yet.

    The same picture a second time is no second one.
    """
    author = await site.signed_in("author", name="王")
    begun = await author.post("/write/check", data=NEW)
    draft = re.search(r'name="draft" value="([^"]+)"', begun.text)[1]
    form = {**NEW, "draft": draft, "title": "警惕刷单，最后一秒写的"}
    added = await author.post("/write/check", data=form, files=draw_picture())
    shown = await author.get(f"/write/{draft}")
    again = await author.post(
        "/write/check", data=fields_of(shown.text), files=draw_picture()
    )
    fields = fields_of(shown.text)
    assert "data-again" not in added.text
    assert 'data-testid="preview-weibo"' in added.text
    assert 'data-testid="preview-weibo"' in shown.text
    assert fields["title"] == ["警惕刷单，最后一秒写的"]
    assert len(fields["image_file"]) == 1
    assert fields_of_rows(added.text) == fields_of_rows(again.text)
    assert (
        len(
            json.loads((await site.store.drafts.get(draft, "王")).content)["image_file"]
        )
        == 1
    )
    thumbnail = re.search(r'src="(/write/pictures/[^"]+)"', shown.text)[1]
    picture = await author.get(thumbnail)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")


def fields_of_rows(page):
    return re.findall(r'name="image_file" value="([^"]+)"', page)


async def test_without_script_an_added_picture_leads_back_to_the_pictures(site, file):
    """Without script the page of the draft follows, at the place of the pictures."""
    author = await site.signed_in("author", name="王")
    added = await author.post(
        "/write", data={**NEW, "do": "refresh"}, files=draw_picture()
    )
    [draft] = await site.store.drafts.list("王")
    assert added.headers["location"] == f"/write/{draft.id}#f-images"
    shown = fields_of((await author.get(f"/write/{draft.id}")).text)
    assert shown["data.summary"] == ["先垫钱的兼职都是诈骗"]
    assert len(shown["image_file"]) == 1


@pytest.mark.parametrize("removed", [0, 1])
async def test_a_removed_picture_takes_only_its_own_description(site, file, removed):
    """Each remaining picture keeps its own description, in a draft and in an edit."""
    author = await site.signed_in("author", name="王")
    files = ["media/one.png", "media/two.png"]
    form = {
        **NEW,
        "image_file": files,
        "image_alt": ["一", "二"],
        "image_removed": files[removed],
    }
    await author.post("/write/check", data=form)
    [draft] = await site.store.drafts.list("王")
    shown = fields_of((await author.get(f"/write/{draft.id}")).text)
    left = 1 - removed
    assert shown["image_file"] == [files[left]]
    assert shown["image_alt"] == ["一二"[left]]


async def test_a_picture_is_removed_from_a_planned_post(site, file):
    """A tick at a picture removes it, though nothing else of the pictures has changed."""
    media = site.application.settings.workspace / "media"
    media.mkdir(exist_ok=True)
    Image.new("RGB", (40, 30), "red").save(media / "one.png")
    text = FILE.replace(
        "[post.data]",
        'images = [{ file = "media/one.png", alt = "一" }]\n[post.data]',
    )
    await asyncio.to_thread(file.write_text, text, "utf-8")
    author = await site.signed_in("author", name="王")
    form = fields_of((await author.get("/posts/weekly/edit")).text)
    saved = await author.post(
        "/write", data=form | {"image_removed": "media/one.png", "do": "save"}
    )
    assert saved.status_code == 303
    assert "images" not in posts(file)[0]


@pytest.mark.parametrize("path", ["/write", "/posts/weekly/edit"])
async def test_a_page_that_is_only_looked_at_makes_no_draft(site, file, path):
    """Choices make no draft, nor does the button; the first typed word does."""
    author = await site.signed_in("author", name="王")
    form = fields_of((await author.get(path)).text)
    await author.post("/write/check", data=form | {"kind": "bulletin", "urgent": "1"})
    kept = await author.post("/write", data=form | {"do": "draft"})
    assert kept.status_code == 422
    assert "没有存草稿" in kept.text
    assert await site.store.drafts.list("王") == []
    await author.post("/write/check", data=form | {"body": "第一个字"})
    assert len(await site.store.drafts.list("王")) == 1


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ({"title": "警惕“刷单返利”", "data.summary": "先垫钱"}, "警惕“刷单返利”"),
        ({"data.summary": "先垫钱的\r\n兼职都是诈骗"}, "先垫钱的 兼职都是诈骗"),
        ({"body": "一" * 30}, "一" * 24 + "…"),
        ({"image_file": "media/one.png", "image_alt": "图"}, "还没有文字，只有图片"),
        ({"kind": "correction", "follows": "weekly", "title": "改正"}, "改正"),
    ],
)
async def test_a_draft_is_named_by_its_title_or_its_first_words(
    site, file, typed, name
):
    """The list of drafts names each by its content."""
    author = await site.signed_in("author", name="王")
    await author.post("/write/check", data={"kind": "warning", **typed})
    page = await author.get("/write")
    named = re.search(r'<a href="/write/[^"]+">[^　]*　(.*?)</a>', page.text)[1]
    assert html.unescape(named) == name


async def test_the_last_words_are_kept_when_the_page_is_left(site, file):
    """What a page sends as it is left is kept at once."""
    author = await site.signed_in("author", name="王")
    begun = await author.post("/write/check", data=NEW)
    draft = re.search(r'name="draft" value="([^"]+)"', begun.text)[1]
    left = await author.post(
        "/write/check", data={**NEW, "draft": draft, "body": "最后", "leaving": "1"}
    )
    assert left.status_code == 204
    content = json.loads((await site.store.drafts.get(draft, "王")).content)
    assert (content["body"], "leaving" in content) == (["最后"], False)


@pytest.mark.parametrize(
    "name", ["none.png", "..%2Fschedule.toml", "link.png", "a.svg"]
)
async def test_only_a_picture_of_the_folder_is_shown(site, file, name):
    """Nothing else is read: no other file, and nothing behind a link."""
    media = file.parent / "media"
    media.mkdir(exist_ok=True)
    (media / "link.png").symlink_to(file)
    (media / "a.svg").write_text("<svg/>")
    author = await site.signed_in("author")
    assert (await author.get(f"/write/pictures/{name}")).status_code == 404
