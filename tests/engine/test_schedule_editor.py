"""A person saves one post into schedule.toml.

Others edit it meanwhile, the machine dies, or another host was faster.
"""

import asyncio
import contextlib
import os
import stat
import time
import tomllib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from secrets import token_hex

import pytest
from sqlalchemy import select

from publisher.domain.account import Mode
from publisher.domain.errors import (
    NoSuchItemError,
    RefusedError,
    ScheduleError,
    SignInError,
)
from publisher.domain.post import PostId
from publisher.engine import save_limits, schedule_editor
from publisher.engine.decisions import named_person
from publisher.engine.planner import apply_schedule
from publisher.engine.post_change import (
    EditConflict,
    InvalidEdit,
    PostChange,
    SavedEdit,
    Writer,
)
from publisher.engine.save_limits import GROWTH_PERIOD
from publisher.engine.schedule_editor import (
    LOCK_POLL_SECONDS,
    lock_present_file,
    read_entry,
    read_schedule_text,
    save_post,
    wait_until_accepted,
    write_temporary,
)
from publisher.runtime.redaction import register_secrets
from publisher.store.db.tables import SCHEDULE
from publisher.store.plan import versions
from publisher.store.retention import prune
from publisher.testing.fakes import START_TIME
from publisher.tomlfile.read import strip_editor_marks
from tests.engine.test_approvals import RULES, approve
from tests.engine.test_planner import entry, planner, publish  # noqa: F401 # the fixture

WANG = named_person("王")
LATER = "2026-12-20T09:00:00"
FILE = "# 计划\n" + entry("one", at=LATER) + "\n# 另一条\n" + entry("two", at=LATER)
NEW = {
    "id": "new",
    "kind": "warning",
    "template": "warning",
    "author": "王",
    "title": "警惕刷单",
    "at": "asap",
    "to": ["all"],
    "data": {"summary": "先垫钱的兼职都是诈骗"},
}
writer = Writer(
    actor=WANG, may_write=lambda _accounts: True, may_target=lambda _names: True
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "schedule.toml"
    path.write_text(FILE, "utf-8")
    return path


async def accept(planner, file):  # noqa: F811 # as above
    """Put the file in force, as the daemon does."""
    text = strip_editor_marks(file.read_bytes().decode())
    return await apply_schedule(planner, text, file.name, file_owner="ops")


async def make_change(planner, file, post, **changes):  # noqa: F811 # as above
    """Return a change of a post as a form makes it: drawn from the file as it is now."""
    schedule = await read_schedule_text(planner, file)
    base = await read_entry(schedule, PostId(post))
    return PostChange(
        post=PostId(post),
        entry={**base, **changes},
        base=base,
        base_sha256=schedule.sha256,
    )


def addition(**changes):
    new = {**NEW, **changes}
    return PostChange(post=PostId(new["id"]), entry=new, base=None, base_sha256="")


async def audit(planner, post):  # noqa: F811 # as above
    return [
        (line.event, line.name)
        for line in await planner.store.queries.audit_history(post)
    ]


@pytest.mark.parametrize("style", ["lf", "crlf with mark"])
async def test_a_save_changes_the_one_post_and_keeps_the_file_as_it_was(
    planner,  # noqa: F811
    file,
    style,
):
    """Mode, byte-order mark, line ends and every other byte stay."""
    written = FILE if style == "lf" else "\ufeff" + FILE.replace("\n", "\r\n")
    file.write_bytes(written.encode())
    file.chmod(0o640)
    change = await make_change(planner, file, "two", title="改过的标题")
    saved = await save_post(planner, file, change, writer)
    assert isinstance(saved, SavedEdit)
    before, found, after = written.rpartition('title = "警惕退款诈骗"')
    assert (
        file.read_bytes().decode()
        == before + found.replace("警惕退款诈骗", "改过的标题") + after
    )
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.glob(".schedule*")] == []


async def test_a_save_back_to_an_earlier_text_is_in_force_only_once_the_daemon_has_read_it(
    planner,  # noqa: F811 # the fixture
    file,
):
    """An undo writes a text that was in force before; the page after it has to show it."""
    await accept(planner, file)
    before = (await read_entry(await read_schedule_text(planner, file), PostId("two")))[
        "title"
    ]
    await save_post(
        planner,
        file,
        await make_change(planner, file, "two", title="改过的标题"),
        writer,
    )
    await accept(planner, file)
    undone = await save_post(
        planner, file, await make_change(planner, file, "two", title=before), writer
    )
    assert not await wait_until_accepted(planner.store, undone, 0.1)
    await accept(planner, file)
    assert await wait_until_accepted(planner.store, undone, 0.1)


async def test_a_save_is_in_force_with_a_later_one_that_was_made_from_it(
    planner,  # noqa: F811
    file,
):
    """The daemon reads the file once after two saves: both are in force then."""
    await accept(planner, file)
    first = await save_post(planner, file, addition(), writer)
    second = await save_post(
        planner, file, await make_change(planner, file, "two", title="改过的"), writer
    )
    assert not await wait_until_accepted(planner.store, first, 0.1)
    await accept(planner, file)
    for saved in (first, second):
        assert await wait_until_accepted(planner.store, saved, 0.1)


async def test_whose_words_it_is_is_known_whoever_puts_them_in_force(planner, file):  # noqa: F811
    """The saver may not approve; the audit names that person, and no change from outside."""
    approving = replace(planner, store=replace(planner.store, approval_rules=RULES))
    await accept(approving, file)
    await approve(approving.store, "two", by="li")
    await save_post(
        approving,
        file,
        await make_change(approving, file, "two", title="改过的标题"),
        writer,
    )
    await accept(approving, file)
    [task] = await approving.store.approvals.tasks(PostId("two"))
    assert (task.saved_by, task.file_owner, task.is_edit) == ("王", None, True)
    assert task.status.is_barred("王")
    assert not task.status.is_approved
    events = await audit(approving, "two")
    assert ("post_saved", "王") in events
    assert ("changed_by_person", "王") in events
    assert "changed_outside" not in dict(events)


async def test_what_somebody_changes_after_a_save_is_a_change_from_outside(
    planner,  # noqa: F811
    file,
):
    """A save vouches for its own words only."""
    await accept(planner, file)
    await save_post(
        planner, file, await make_change(planner, file, "two", title="王的标题"), writer
    )
    file.write_text(file.read_text("utf-8").replace("王的标题", "别人的标题"), "utf-8")
    approving = replace(planner, store=replace(planner.store, approval_rules=RULES))
    await accept(approving, file)
    [task] = await approving.store.approvals.tasks(PostId("two"))
    assert (task.saved_by, task.file_owner) == (None, "ops")


async def test_a_post_changed_meanwhile_is_a_conflict_by_field(planner, file):  # noqa: F811
    """A conflict writes nothing, and shows the differing fields with their common base.

    A choice made on it is saved.
    """
    change = await make_change(planner, file, "two", title="我的", max_delay="2h")
    file.write_text(file.read_text("utf-8").replace('警惕退款诈骗"', '他的"'), "utf-8")
    held = file.read_bytes()
    conflict = await save_post(planner, file, change, writer)
    assert isinstance(conflict, EditConflict)
    assert file.read_bytes() == held
    assert [
        (item.key, item.base, item.theirs, item.mine) for item in conflict.differences
    ] == [
        ("title", "警惕退款诈骗", "他的", "我的"),
        ("max_delay", None, None, "2h"),
    ]
    rebased = replace(change, base=conflict.theirs, base_sha256=conflict.sha256)
    assert isinstance(await save_post(planner, file, rebased, writer), SavedEdit)
    assert 'title = "我的"' in file.read_text("utf-8")


async def test_a_post_removed_meanwhile_is_a_conflict_and_another_post_is_none(
    planner,  # noqa: F811
    file,
):
    """Only the post that is saved counts: five people may write at once."""
    change = await make_change(planner, file, "two", title="我的")
    file.write_text("# 计划\n" + entry("one", at=LATER, title="别的一条改了"), "utf-8")
    gone = await save_post(planner, file, change, writer)
    assert isinstance(gone, EditConflict)
    assert gone.theirs is None
    file.write_text(FILE.replace("警惕退款诈骗", "别的一条改了", 1), "utf-8")
    assert isinstance(await save_post(planner, file, change, writer), SavedEdit)
    assert "别的一条改了" in file.read_text("utf-8")


async def test_two_saves_at_once_are_both_in_the_file(planner, file):  # noqa: F811
    """Saves of one host wait for each other."""
    changes = [
        addition(id=f"new-{number}", title=f"警惕刷单之{number}") for number in range(4)
    ]
    results = await asyncio.gather(
        *(save_post(planner, file, change, writer) for change in changes)
    )
    assert [type(result) for result in results] == [SavedEdit] * 4
    text = file.read_text("utf-8")
    assert text.startswith(FILE)
    assert all(f'id = "new-{number}"' in text for number in range(4))


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"title": ""}, "title", "blank"),
        ({"to": ["nobody"]}, "to[0]", "unknown_recipient"),
        ({"id": "one"}, "id", "duplicate_id"),
        ({"data": {}}, "data.summary", "template_data_missing"),
        ({"data": {"summary": "长" * 300}}, "data.summary", "weibo_text_too_long"),
        ({"at": "2026-01-01"}, "at", "quoted_time"),
    ],
)
async def test_a_problem_of_the_post_names_its_own_key(
    planner,  # noqa: F811
    file,
    changes,
    path,
    code,
):
    """Everything that the daemon would refuse is said before the file is touched."""
    found = await save_post(planner, file, addition(**changes), writer)
    assert isinstance(found, InvalidEdit)
    assert (path, code) in [
        (problem.location.path, problem.code) for problem in found.own
    ]
    assert file.read_text("utf-8") == FILE


@pytest.mark.parametrize(
    "broken", ['title = "没有引号', 'level = "purple"'], ids=["syntax", "value"]
)
async def test_an_error_elsewhere_is_named_by_line_and_nothing_is_written(
    planner,  # noqa: F811
    file,
    broken,
):
    """The file is not accepted as it is, so nothing is added to it."""
    text = FILE.replace('author = "zhang"', f'author = "zhang"\n{broken}', 1)
    file.write_text(text, "utf-8")
    found = await save_post(planner, file, addition(), writer)
    assert isinstance(found, InvalidEdit)
    assert [problem.location.line for problem in found.elsewhere] == [
        text.split("\n").index(broken) + 1
    ]
    assert not found.own
    assert file.read_text("utf-8") == text


async def test_a_removed_post_is_gone_and_one_that_was_sent_stays(planner, file):  # noqa: F811
    """A published post cannot be taken back by leaving it out."""
    await accept(planner, file)
    removal = replace(await make_change(planner, file, "one"), entry=None)
    assert isinstance(await save_post(planner, file, removal, writer), SavedEdit)
    assert 'id = "one"' not in file.read_text("utf-8")
    await accept(planner, file)
    assert ("post_removed", "王") in await audit(planner, "one")
    await save_post(planner, file, addition(), writer)
    await accept(planner, file)
    await publish(planner, "a")
    with pytest.raises(RefusedError, match="post_was_sent"):
        await save_post(
            planner,
            file,
            replace(await make_change(planner, file, "new"), entry=None),
            writer,
        )
    with pytest.raises(NoSuchItemError):
        await make_change(planner, file, "one")


async def test_a_full_file_takes_only_what_is_urgent_or_makes_it_smaller(
    planner,  # noqa: F811 # the fixture
    file,
    monkeypatch,
):
    """Nobody's posts make the file larger than is read.

    The end of the room is kept for emergencies.
    """
    monkeypatch.setattr(save_limits, "MAX_SAVED_BYTES", 3_000)
    file.write_text(FILE + "# 警\n" * (3_000 // 6), "utf-8")
    refused = await save_post(planner, file, addition(), writer)
    assert isinstance(refused, InvalidEdit)
    assert [problem.code for problem in refused.own] == ["schedule_full"]
    tomorrow = START_TIME.replace(tzinfo=None) + timedelta(days=1)
    later = await save_post(planner, file, addition(urgent=True, at=tomorrow), writer)
    assert [problem.code for problem in later.own] == ["schedule_full"]
    assert isinstance(
        await save_post(planner, file, addition(urgent=True, at="asap"), writer),
        SavedEdit,
    )
    removal = replace(await make_change(planner, file, "one"), entry=None)
    assert isinstance(await save_post(planner, file, removal, writer), SavedEdit)


async def test_posts_of_one_later_day_count_together(
    planner,  # noqa: F811
    file,
    monkeypatch,
):
    """Nothing of them is planned yet. All of it will be, in the same minute."""
    monkeypatch.setattr(save_limits, "MAX_AHEAD_PER_ACCOUNT", 30)
    results = []
    for minute in range(2):
        change = addition(id=f"p{minute}", cron=f"{minute} * 20 12 *", to=["a"])
        change.entry.pop("at")
        change = replace(change, post=PostId(f"p{minute}"))
        results.append(await save_post(planner, file, change, writer))
    assert isinstance(results[0], SavedEdit)
    assert [problem.code for problem in results[1].own] == ["account_full"]


async def test_an_account_has_room_for_a_bounded_number_of_posts_ahead(
    planner,  # noqa: F811
    file,
    monkeypatch,
):
    """An author for one account cannot make planning and lists slow for all others."""
    monkeypatch.setattr(save_limits, "MAX_AHEAD_PER_ACCOUNT", 30)
    hourly = addition(cron="0 * * * *", to=["a"])
    hourly.entry.pop("at")
    refused = await save_post(planner, file, hourly, writer)
    assert isinstance(refused, InvalidEdit)
    [problem] = refused.own
    assert (problem.code, problem.facts["account"]) == ("account_full", "a")
    urgent = replace(hourly, entry=hourly.entry | {"urgent": True})
    assert isinstance(await save_post(planner, file, urgent, writer), InvalidEdit)
    monkeypatch.setattr(save_limits, "MAX_AHEAD_PER_ACCOUNT", 0)
    assert isinstance(
        await save_post(planner, file, addition(urgent=True, at="asap"), writer),
        SavedEdit,
    )


async def test_posts_of_others_and_posts_that_are_over_take_no_room(
    planner,  # noqa: F811
    file,
    monkeypatch,
):
    """Nobody's posts keep a colleague's emergency back, nor do those that were sent long ago."""
    monkeypatch.setattr(save_limits, "EMERGENCIES_PER_ACCOUNT", 1)

    async def add(name, author):
        emergency = addition(
            id=name, author=author, title=name, urgent=True, at="asap", to=["a"]
        )
        return isinstance(await save_post(planner, file, emergency, writer), SavedEdit)

    saved = [
        await add("first", "王"),
        await add("second", "王"),
        await add("third", "李"),
    ]
    await accept(planner, file)
    await planner.store.actions.cancel_post(PostId("first"), WANG, "over")
    saved.append(await add("fourth", "王"))
    assert saved == [True, False, True, True]


async def test_nobody_fills_the_disk_by_saving_again_and_again(
    planner,  # noqa: F811
    file,
    monkeypatch,
):
    """A person has a number of saves a day, and a few more in emergencies.

    Old texts of the file are deleted.
    """
    monkeypatch.setattr(save_limits, "MAX_SAVES_A_DAY", 2)
    monkeypatch.setattr(versions, "MAX_HISTORY_CHARACTERS", 2 * len(FILE) + 500)
    for number in range(2):
        await save_post(
            planner,
            file,
            await make_change(planner, file, "one", title=f"第{number}次"),
            writer,
        )
        await accept(planner, file)
    refused = await save_post(
        planner, file, await make_change(planner, file, "one", title="又一次"), writer
    )
    assert [problem.code for problem in refused.own] == ["saves_used"]
    assert isinstance(
        await save_post(planner, file, addition(urgent=True, at="asap"), writer),
        SavedEdit,
    )
    await accept(planner, file)
    texts = await planner.store.database.read(
        lambda connection: connection.scalars(
            select(SCHEDULE.c.text).order_by(SCHEDULE.c.id)
        ).all()
    )
    assert [text != "" for text in texts] == [False, True, True]
    planner.store.runtime.advance_time(timedelta(days=1, seconds=1))
    later = await save_post(
        planner, file, await make_change(planner, file, "one", title="第二天"), writer
    )
    assert isinstance(later, SavedEdit)


async def test_nobody_fills_the_file_alone(planner, file, monkeypatch):  # noqa: F811
    """A person's own saves of the last days count, urgent ones too.

    Saves of others succeed.
    """
    monkeypatch.setattr(save_limits, "MAX_GROWTH", 1000)
    monkeypatch.setattr(save_limits, "EMERGENCY_GROWTH", 500)
    other = replace(writer, actor=named_person("李"))
    assert isinstance(
        await save_post(planner, file, addition(body="警惕" * 100), writer), SavedEdit
    )
    refused = await save_post(
        planner, file, addition(id="second", title="第二条", body="警惕" * 100), writer
    )
    assert [problem.code for problem in refused.own] == ["room_used"]
    emergency = addition(id="second", body="警惕" * 50, urgent=True, at="asap")
    assert isinstance(await save_post(planner, file, emergency, writer), SavedEdit)
    assert isinstance(
        await save_post(planner, file, addition(id="third", body="警惕" * 100), other),
        SavedEdit,
    )
    planner.store.runtime.advance_time(GROWTH_PERIOD + timedelta(seconds=1))
    later = START_TIME.replace(year=2028, tzinfo=None)
    assert isinstance(
        await save_post(planner, file, addition(id="fourth", at=later), writer),
        SavedEdit,
    )


async def test_who_may_not_write_for_an_account_of_the_post_saves_nothing(
    planner,  # noqa: F811
    file,
):
    """The accounts that the post had before count as well as its new ones."""
    only_a = replace(writer, may_write=lambda accounts: set(accounts) <= {"a"})
    with pytest.raises(SignInError, match="not_permitted"):
        await save_post(
            planner, file, await make_change(planner, file, "two", to=["a"]), only_a
        )
    assert file.read_text("utf-8") == FILE
    assert isinstance(
        await save_post(planner, file, addition(to=["a"]), only_a), SavedEdit
    )


async def test_a_death_before_the_rename_leaves_the_old_file(
    planner,  # noqa: F811
    file,
    monkeypatch,
):
    """The remains of a death before the rename stop no later save."""

    async def die(_runtime, name):
        if name == "schedule.before_rename":
            raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(type(planner.store.runtime), "hit_failpoint", die)
        with pytest.raises(asyncio.CancelledError):
            await save_post(planner, file, addition(), writer)
    assert file.read_text("utf-8") == FILE
    assert file.with_name(".schedule.toml.new").is_file()
    assert isinstance(await save_post(planner, file, addition(), writer), SavedEdit)
    assert not file.with_name(".schedule.toml.new").exists()


async def test_a_file_saved_by_an_editor_in_the_last_moment_is_not_overwritten(
    planner,  # noqa: F811 # the fixture
    file,
    monkeypatch,
):
    """Writes by others are compared once more before the rename.

    The lock keeps out only saves of the dashboard.
    """

    async def edit(_runtime, name):
        if name == "schedule.before_rename":
            await asyncio.to_thread(file.write_text, FILE + "# 编辑器\n", "utf-8")

    monkeypatch.setattr(type(planner.store.runtime), "hit_failpoint", edit)
    with pytest.raises(RefusedError, match="schedule_changed_meanwhile"):
        await save_post(planner, file, addition(), writer)
    assert file.read_text("utf-8") == FILE + "# 编辑器\n"
    assert (await audit(planner, "new"))[-1] == ("post_save_failed", "王")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_save_against_an_older_file_than_the_accepted_one_is_no_revert(
    planner,  # noqa: F811 # the fixture
    file,
    tmp_path,
):
    """On a host that lags behind a save is a conflict first.

    Then it is a change of the version in force.
    """
    await accept(planner, file)
    change = await make_change(planner, file, "two", title="这台主机的")
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(FILE.replace("警惕退款诈骗", "另一台主机改的", 1), "utf-8")
    await accept(planner, elsewhere)
    conflict = await save_post(planner, file, change, writer)
    assert isinstance(conflict, EditConflict)
    assert conflict.is_file_outdated
    assert file.read_text("utf-8") == FILE
    rebased = replace(change, base=conflict.theirs, base_sha256=conflict.sha256)
    assert isinstance(await save_post(planner, file, rebased, writer), SavedEdit)
    assert "另一台主机改的" in file.read_text("utf-8")
    assert "这台主机的" in file.read_text("utf-8")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_save_that_another_host_overtakes_is_not_put_in_force(
    planner,  # noqa: F811
    file,
    tmp_path,
):
    """Of two saves on one version, the later to be read reverts nothing and is saved again.

    The saves are on two hosts.
    """
    await accept(planner, file)
    await save_post(
        planner,
        file,
        await make_change(planner, file, "two", title="这台主机的"),
        writer,
    )
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(FILE.replace("警惕退款诈骗", "另一台主机改的", 1), "utf-8")
    await accept(planner, elsewhere)
    for _read in range(2):
        with pytest.raises(RefusedError, match="save_superseded"):
            await accept(planner, file)
    [alert] = await planner.store.queries.alerts()
    assert (alert.code, alert.facts) == ("save_lost", {"post": "two", "by": "王"})
    again = await make_change(planner, file, "two", title="这台主机的")
    assert isinstance(await save_post(planner, file, again, writer), SavedEdit)
    assert await planner.store.queries.alerts() == []
    await accept(planner, file)
    titles = {
        name: (await planner.store.posts.get_post(PostId(name))).title
        for name in ("one", "two")
    }
    assert titles == {"one": "另一台主机改的", "two": "这台主机的"}


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_saves_made_before_the_first_is_in_force_follow_one_another(
    planner,  # noqa: F811
    file,
    tmp_path,
):
    """All have the same version below them; none of them is another host's."""
    await accept(planner, file)
    await save_post(planner, file, addition(), writer)
    first = tmp_path / "first.toml"
    first.write_bytes(file.read_bytes())
    await save_post(planner, file, addition(id="second", title="第二条"), writer)
    await save_post(planner, file, addition(id="third", title="第三条"), writer)
    await accept(planner, first)
    await accept(planner, file)
    assert await planner.store.posts.get_post(PostId("third"))


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_save_that_was_in_force_and_is_undone_elsewhere_stays_undone(
    planner,  # noqa: F811 # the fixture
    file,
    tmp_path,
):
    """A host that still has an undone text brings nothing back.

    This holds although its save was made from the very text in force.
    """
    await accept(planner, file)
    await save_post(planner, file, addition(), writer)
    await accept(planner, file)
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(FILE, "utf-8")
    await accept(planner, elsewhere)
    with pytest.raises(RefusedError, match="save_superseded"):
        await accept(planner, file)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_new_post_is_saved_on_a_host_whose_file_is_older(
    planner,  # noqa: F811
    file,
    tmp_path,
):
    """A new post changes nothing of others, so nobody is asked about their changes.

    The emergency lane stays open.
    """
    await accept(planner, file)
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(FILE.replace("警惕退款诈骗", "另一台主机改的", 1), "utf-8")
    await accept(planner, elsewhere)
    only_a = Writer(
        actor=WANG,
        may_write=lambda accounts: bool(accounts) and set(accounts) <= {"a"},
        may_target=lambda _names: True,
    )
    saved = await save_post(planner, file, addition(to=["a"]), only_a)
    assert isinstance(saved, SavedEdit)
    assert "另一台主机改的" in file.read_text("utf-8")


async def test_old_saves_and_drafts_are_forgotten(planner, file):  # noqa: F811
    """Retention deletes both after a month, but for the newest save; the audit stays."""
    file.write_text("", "utf-8")
    later = START_TIME.replace(year=2028, tzinfo=None)
    await save_post(planner, file, addition(at=later), writer)
    await save_post(
        planner, file, addition(id="newest", title="另一条", at=later), writer
    )
    draft = await planner.store.drafts.create("王", "{}")
    planner.store.runtime.advance_time(timedelta(days=29))
    await prune(planner.store, timedelta(days=365))
    assert (await planner.store.drafts.get(draft.id, "王")).content == "{}"
    planner.store.runtime.advance_time(timedelta(days=2))
    await prune(planner.store, timedelta(days=365))
    with pytest.raises(NoSuchItemError):
        await planner.store.drafts.get(draft.id, "王")
    approving = replace(planner, store=replace(planner.store, approval_rules=RULES))
    await accept(approving, file)
    assert [
        task.saved_by for task in await approving.store.approvals.tasks(PostId("new"))
    ] == [None]
    assert ("post_saved", "王") in await audit(planner, "new")


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_save_in_a_file_of_ten_thousand_posts_costs_little_more_than_loading_it(
    planner,  # noqa: F811 # the fixture
    file,
):
    """A save takes at most eight times as long as the parser alone.

    On a quiet machine it takes less than two seconds.
    """
    text = "".join(entry(f"p-{number:05}", at=LATER) for number in range(10_000))
    file.write_text(text, "utf-8")
    change = await make_change(planner, file, "p-09999", title="改过的标题")
    start = time.process_time()
    await asyncio.to_thread(tomllib.loads, text)
    parsed = time.process_time()
    assert isinstance(await save_post(planner, file, change, writer), SavedEdit)
    saved = time.process_time()
    assert saved - parsed < 8 * (parsed - start)


async def test_a_second_save_waits_for_the_first_and_for_the_file_that_it_leaves(
    planner,  # noqa: F811
    file,
):
    """A save that has waited reads the file that the one before it has put in place.

    The lock is on the file itself.
    """
    held = lock_present_file(file)
    with pytest.raises(BlockingIOError):
        lock_present_file(file)
    saving = asyncio.create_task(save_post(planner, file, addition(), writer))
    await asyncio.sleep(3 * LOCK_POLL_SECONDS)
    assert not saving.done()
    file.with_name("other").write_text(f"{FILE}# 另一个人\n", "utf-8")
    file.with_name("other").replace(file)
    os.close(held)
    assert isinstance(await saving, SavedEdit)
    assert "# 另一个人" in file.read_text("utf-8")
    assert [path.name for path in file.parent.iterdir() if "lock" in path.name] == []


async def test_a_lock_that_is_never_free_is_refused(planner, file, monkeypatch):  # noqa: F811
    """After some seconds the person is asked to save again."""
    monkeypatch.setattr(schedule_editor, "LOCK_TIMEOUT_SECONDS", 0.1)
    held = lock_present_file(file)
    with pytest.raises(RefusedError, match="schedule_locked"):
        await save_post(planner, file, addition(), writer)
    os.close(held)


@pytest.mark.parametrize("how", ["gone", "link", "folder"])
async def test_a_save_without_a_file_says_what_is_wrong_with_it(planner, file, how):  # noqa: F811
    """A save writes nothing in the place of a link, a folder or a missing file."""
    file.unlink()
    if how == "link":
        file.symlink_to("elsewhere")
    elif how == "folder":
        file.mkdir()
    result = await save_post(planner, file, addition(), writer)
    assert isinstance(result, InvalidEdit)
    [problem] = result.elsewhere
    assert (
        problem.code
        == {
            "gone": "file_missing",
            "link": "file_is_link",
            "folder": "file_not_regular",
        }[how]
    )


@pytest.mark.parametrize(
    ("mode", "group", "is_kept"),
    [(0o660, 61003, True), (0o640, 61003, False), (0o660, 61004, False)],
)
def test_a_file_of_another_user_is_replaced_if_that_one_keeps_its_rights(
    tmp_path, monkeypatch, mode, group, is_kept
):
    """A new file keeps the group and mode of the old one, or is not written.

    Staff, daemon and dashboard share a group.
    """
    if os.geteuid() != 0:
        pytest.skip("NO ROOT: nobody else can be become")
    monkeypatch.chdir(tmp_path)  # others cannot go there
    file = Path("schedule.toml")
    file.write_text("old\n", "utf-8")
    os.chown(file, 61001, group)
    file.chmod(mode)
    tmp_path.chmod(0o777)
    groups = os.getgroups()
    os.setgroups([61003])
    os.setegid(61005)
    os.seteuid(61002)
    try:
        with (
            contextlib.nullcontext()
            if is_kept
            else pytest.raises(RefusedError, match="schedule_owner_not_kept")
        ):
            write_temporary(file, "new\n").replace(file)
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
    status = file.stat()
    owner = (61002 if is_kept else 61001, group, mode)
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == owner
    assert file.read_text("utf-8") == ("new\n" if is_kept else "old\n")
    assert not Path(".schedule.toml.new").exists()


async def test_a_post_is_for_all_accounts_that_it_names_whatever_these_are(
    planner,  # noqa: F811
    file,
):
    """An account that is off, or comes later under a wide name, has to be the writer's too.

    Otherwise nothing is saved.
    """
    context = planner.schedule_context
    off = replace(context.accounts["b"], mode=Mode.OFF)
    planner = replace(
        planner,
        schedule_context=replace(context, accounts={**context.accounts, "b": off}),
    )
    only_a = replace(
        writer,
        may_write=lambda accounts: set(accounts) <= {"a"},
        may_target=lambda names: "all" not in names,
    )
    for to in (["all"], ["a", "b"], ["platform:weibo"]):
        with pytest.raises(SignInError):
            await save_post(planner, file, addition(to=to), only_a)
    assert isinstance(
        await save_post(planner, file, addition(to=["a"]), only_a), SavedEdit
    )


@pytest.mark.parametrize(
    ("reach", "is_saved"), [(None, True), ({"a", "b"}, True), ({"b"}, False)]
)
async def test_a_post_that_its_writer_may_not_see_is_unknown_as_an_original(
    planner,  # noqa: F811 # the fixture
    file,
    reach,
    is_saved,
):
    """A hidden original is unknown, like any id that does not exist.

    No problem suggests another id to a writer with a limited view of accounts.
    """
    file.write_text(FILE + entry("hidden", at=LATER, to='["a"]'), "utf-8")
    limited = replace(writer, reach=reach)
    for original in ("hidden", "hiddem"):
        change = addition(
            id=f"by-{original}", kind="correction", follows=original, to=["b"]
        )
        result = await save_post(planner, file, change, limited)
        assert isinstance(result, SavedEdit) is (is_saved and original == "hidden")
        if isinstance(result, InvalidEdit):
            [problem] = result.own
            assert (problem.code, problem.facts["value"], problem.location.path) == (
                "follows_unknown",
                original,
                "follows",
            )
            assert ("hidden" in problem.facts["choices"]) is (reach is None)


async def test_a_suggested_id_is_free_and_the_same_post_is_saved_once(planner, file):  # noqa: F811
    """A suggested id is free, so nobody blocks others by it; a second click saves nothing."""
    file.write_text(
        FILE
        + entry("warned", at=LATER, to='["a"]')
        + 'follows = "ahead"\nkind = "update"\n',
        "utf-8",
    )
    saved = []
    for suggested in ("warned", "ahead"):
        for _click in range(2):
            change = replace(addition(id=suggested, to=["b"]), is_id_suggested=True)
            saved.append((await save_post(planner, file, change, writer)).id)
    assert saved == ["warned-2", "warned-2", "ahead-2", "ahead-2"]


async def test_an_id_of_an_earlier_post_is_for_those_who_write_for_its_accounts(
    planner,  # noqa: F811
    file,
):
    """A pause, a correction or a cancellation of the earlier one would be of the new one too."""
    await apply_schedule(
        planner, FILE + entry("gone", at=LATER, to='["a"]'), "schedule.toml"
    )
    only_b = Writer(
        actor=WANG,
        may_write=lambda accounts: set(accounts) <= {"b"},
        may_target=lambda _names: True,
        reach=["a", "b"],
    )
    await apply_schedule(planner, FILE, "schedule.toml")
    file.write_text(FILE, "utf-8")
    refused = await save_post(planner, file, addition(id="gone", to=["b"]), only_b)
    assert [problem.code for problem in refused.own] == ["id_taken"]
    assert isinstance(
        await save_post(planner, file, addition(id="gone", to=["b"]), writer), SavedEdit
    )


@pytest.mark.parametrize(
    ("to", "codes"), [(["a"], []), (["a", "b"], ["correction_ahead"])]
)
async def test_a_post_gets_no_further_account_once_its_correction_waits(
    planner,  # noqa: F811
    file,
    to,
    codes,
):
    """The correction would stop the post on the further account too.

    Its author was not asked for that account.
    """
    correction = entry("correction", at=LATER, to='["a"]')
    correction = correction.replace(
        'kind = "warning"', 'kind = "correction"\nfollows = "p"'
    )
    file.write_text(FILE + entry("p", at=LATER, to='["a"]') + correction, "utf-8")
    result = await save_post(
        planner, file, await make_change(planner, file, "p", title="新", to=to), writer
    )
    assert [problem.code for problem in getattr(result, "own", ())] == codes


async def test_a_correction_is_for_those_who_write_for_all_accounts_of_its_original(
    planner,  # noqa: F811
    file,
):
    """A correction stops the original everywhere, approved or not.

    An author of one account silences no other account.
    """
    file.write_text(FILE + entry("warned", at=LATER, to='["a", "b"]'), "utf-8")
    only_b = Writer(
        actor=WANG,
        may_write=lambda accounts: set(accounts) <= {"b"},
        may_target=lambda _names: True,
        reach=["a", "b"],
    )
    change = addition(kind="correction", follows="warned", to=["b"])
    refused = await save_post(planner, file, change, only_b)
    update = addition(kind="update", follows="warned", to=["b"])
    assert isinstance(refused, InvalidEdit)
    assert [problem.code for problem in refused.own] == ["correction_stops_others"]
    assert isinstance(await save_post(planner, file, update, only_b), SavedEdit)
    turned = await make_change(planner, file, "new", kind="correction")
    assert isinstance(await save_post(planner, file, turned, only_b), InvalidEdit)
    assert isinstance(
        await save_post(
            planner,
            file,
            replace(change, post=PostId("c"), entry=change.entry | {"id": "c"}),
            writer,
        ),
        SavedEdit,
    )


async def test_posts_removed_one_by_one_are_no_file_cut_short(planner, file):  # noqa: F811
    """Saves of others come into force after any number of removals by a person.

    The removals are before the next reading. A cut file does not come into force.
    """
    names = [f"p{number}" for number in range(8)]
    file.write_text(FILE + "".join(entry(name, at=LATER) for name in names), "utf-8")
    await accept(planner, file)
    whole = file.read_text("utf-8")
    for name in names[:6]:
        await save_post(
            planner,
            file,
            replace(await make_change(planner, file, name), entry=None),
            writer,
        )
    await save_post(planner, file, addition(), writer)
    await accept(planner, file)
    assert await planner.store.posts.get_post(PostId("new"))
    assert ("post_removed", "王") in await audit(planner, "p0")
    file.write_text(whole, "utf-8")
    await accept(planner, file)
    file.write_text(FILE, "utf-8")
    with pytest.raises(RefusedError, match="large_removal"):
        await accept(planner, file)


async def test_f23_a_saved_post_that_is_late_by_now_holds_up_nobody(planner, file):  # noqa: F811
    """A saved post that is late by now is filed, to expire.

    The dashboard found it in time. Saves of others come into force.
    """
    await accept(planner, file)
    soon = START_TIME + timedelta(seconds=1)
    late = addition(id="late", at=soon, max_delay="1s")
    assert isinstance(await save_post(planner, file, late, writer), SavedEdit)
    await save_post(planner, file, addition(), writer)
    planner.store.runtime.advance_time(timedelta(minutes=1))
    await accept(planner, file)
    assert await planner.store.queries.deliveries(PostId("late"))
    assert await planner.store.queries.deliveries(PostId("new"))


async def test_a_secret_of_which_the_dashboard_knows_nothing_holds_up_nobody(
    planner,  # noqa: F811
    file,
):
    """The daemon does not send a text with a secret unknown to the dashboard, and says so.

    Saves of others come into force.
    """
    await accept(planner, file)
    secret = token_hex(16)
    leak = addition(id="leak", data={"summary": f"口令 {secret}"})
    assert isinstance(await save_post(planner, file, leak, writer), SavedEdit)
    await save_post(planner, file, addition(), writer)
    register_secrets([secret], holder="alerts")
    applied = await accept(planner, file)
    assert {problem.facts["post"] for problem in applied.left_out} == {"leak"}
    assert await planner.store.queries.deliveries(PostId("leak")) == []
    assert await planner.store.queries.deliveries(PostId("new"))
    file.write_text(FILE + entry("typed", at=LATER, title=f"口令 {secret}"), "utf-8")
    with pytest.raises(ScheduleError):
        await accept(planner, file)


async def test_a_post_in_force_that_cannot_be_written_on_some_day_holds_up_nobody(
    planner,  # noqa: F811
    file,
):
    """The next save of another post comes into force.

    A post may be too long once the date has two digits, for example.
    """
    secret = token_hex(16)
    file.write_text(
        entry("daily", at='"x"\ncron = "0 9 * * *"', title=f"口令 {secret}").replace(
            'at = "x"\n', ""
        ),
        "utf-8",
    )
    await accept(planner, file)
    filed = len(await planner.store.queries.deliveries(PostId("daily")))
    register_secrets([secret], holder="alerts")
    planner.store.runtime.advance_time(timedelta(days=3))
    await save_post(planner, file, addition(), writer)
    applied = await accept(planner, file)
    assert filed
    assert {problem.facts["post"] for problem in applied.left_out} == {"daily"}
    assert await planner.store.queries.deliveries(PostId("new"))
