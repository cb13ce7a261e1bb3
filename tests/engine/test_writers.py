"""Saves in the dashboard, in the file and by commands.

Nobody approves words that they wrote in an earlier version.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from publisher.domain.approval import ApprovalRules, Stage
from publisher.domain.errors import ApprovalError
from publisher.domain.post import PostId
from publisher.engine import schedule_editor
from publisher.engine.approvals import approve_content
from publisher.engine.decisions import named_person
from publisher.engine.filed_texts import refresh_texts
from publisher.engine.planner import apply_schedule, send_now
from publisher.engine.post_change import PostChange, SavedEdit, Writer
from publisher.engine.schedule_editor import read_entry, read_schedule_text, save_post
from publisher.schedule.load import parse_schedule
from publisher.store.people.saves import SAVES_KEPT, delete_old_saves
from publisher.store.plan.posts import AuditAction
from publisher.testing.builders import unlimited_approver
from tests.engine.test_approvals import approve
from tests.engine.test_planner import entry, planner  # noqa: F401 # the fixture

RULES = ApprovalRules(default=(Stage(name="audit", people=2),))
LATER, EVEN_LATER = "2026-12-20T09:00:00", "2026-12-21T09:00:00"
NEXT_DAY = datetime.fromisoformat(EVEN_LATER)
FILE = "# 计划\n" + entry("one", at=LATER) + "\n# 另一条\n" + entry("two", at=LATER)
TWO = PostId("two")


@pytest.fixture
async def approving(planner, tmp_path, monkeypatch):  # noqa: F811 # as above
    """Yield a planner with two posts in force and a rule of two people for every post."""
    monkeypatch.setattr(schedule_editor, "find_file_owner", lambda _file: "ops")
    approving = replace(planner, store=replace(planner.store, approval_rules=RULES))
    (tmp_path / "schedule.toml").write_text(FILE, "utf-8")
    await accept(approving)
    return approving


def find_file(planner):  # noqa: F811 # as above
    return planner.post_renderer.staff_folder / "schedule.toml"


async def accept(planner, owner="ops"):  # noqa: F811 # as above
    """Put the file in force, as the daemon does."""
    return await apply_schedule(
        planner,
        find_file(planner).read_text("utf-8"),
        "schedule.toml",
        file_owner=owner,
    )


async def save(planner, by, post="two", **changes):  # noqa: F811 # as above
    """Let a person save a post, as the dashboard does. The daemon has not read the file yet."""
    file = find_file(planner)
    schedule = await read_schedule_text(planner, file)
    base = await read_entry(schedule, PostId(post))
    change = PostChange(
        post=PostId(post),
        entry={**base, **changes},
        base=base,
        base_sha256=schedule.sha256,
    )
    assert isinstance(
        await save_post(planner, file, change, make_writer(by)), SavedEdit
    )


async def copy(planner, by, source, content_hash=None, **changes):  # noqa: F811 # as above
    """Let a person save a new post that began as a copy of another one, and was changed."""
    file = find_file(planner)
    base = await read_entry(await read_schedule_text(planner, file), PostId(source))
    begun = await planner.store.posts.get_post(PostId(source))
    change = PostChange(
        post=PostId(changes["id"]),
        entry={**base, **changes},
        base=None,
        base_sha256="",
        copied_from=PostId(source),
        copied_hash=content_hash or (begun.content_hash if begun else ""),
    )
    assert isinstance(
        await save_post(planner, file, change, make_writer(by)), SavedEdit
    )


def make_writer(by):
    return Writer(
        actor=named_person(by),
        may_write=lambda _accounts: True,
        may_target=lambda _names: True,
    )


def edit_file(planner, old, new):  # noqa: F811 # as above
    file = find_file(planner)
    before, found, after = file.read_text("utf-8").rpartition(old)
    assert found
    file.write_text(before + new + after, "utf-8")


async def barred(planner, post=TWO):  # noqa: F811 # as above
    [task] = await planner.store.approvals.tasks(post)
    return sorted((task.status.barred | task.status.quoted) - {"ops"})


@pytest.mark.parametrize("reads", [True, False], ids=["each read", "read together"])
async def test_i5_a_rewriter_may_not_approve_after_another_persons_save_of_a_date(
    approving, reads
):
    """I5: a rewriter may not approve after another person's save of a date.

    This holds if the daemon never had the rewriter's own version in force, and once saves are
    forgotten.
    """
    await save(approving, "王", title="改过的标题")
    if reads:
        await accept(approving)
    await save(approving, "李", at=NEXT_DAY)
    await accept(approving)
    await approving.store.database.write(
        delete_old_saves, approving.store.runtime.now() + SAVES_KEPT
    )
    with pytest.raises(ApprovalError, match="approval_barred"):
        await approve(approving.store, "two", by="王")
    assert await barred(approving) == ["zhang", "李", "王"]
    await approve(approving.store, "two", by="赵")


async def test_an_approval_that_its_author_may_not_give_leaves_a_trace(approving):
    """The audit has the attempt of an author to approve their own text.

    An approval that comes too late, after the text has changed, is no such attempt.
    """
    await save(approving, "王", title="改过的标题")
    await accept(approving)
    store = approving.store
    [task] = await store.approvals.tasks(TWO)
    approver = unlimited_approver("王")
    for fingerprint, code in (
        (task.status.fingerprint, "approval_barred"),
        ("0" * 16, "approval_changed"),
    ):
        with pytest.raises(ApprovalError, match=code):
            await approve_content(store, TWO, fingerprint, approver, named_person("王"))
    assert [entry.event for entry in await store.queries.audit_history("user:?")] == [
        "approval_refused"
    ]


async def test_i5_a_rewriter_may_not_approve_once_all_earlier_saves_are_forgotten(
    approving,
):
    """I5: a save after months without one is numbered after the earlier saves.

    It is not numbered as a save that is counted already.
    """
    for title in ("改过的标题", "又改了标题"):
        await save(approving, "陈", title=title)
        await accept(approving)
    await approving.store.database.write(
        delete_old_saves, approving.store.runtime.now() + SAVES_KEPT
    )
    await save(approving, "王", title="再改的标题")
    await save(approving, "李", at=NEXT_DAY)
    await accept(approving)
    assert await barred(approving) == ["zhang", "李", "王", "陈"]


async def test_a_change_in_the_file_does_not_free_who_saved_before(approving):
    await save(approving, "王", title="改过的标题")
    await accept(approving)
    edit_file(approving, LATER, EVEN_LATER)
    await accept(approving)
    assert await barred(approving) == ["zhang", "王"]


@pytest.mark.parametrize(
    "saves", [["two"], ["one", "two"]], ids=["of the post", "after one of another post"]
)
async def test_a_change_in_the_file_is_its_owners_also_if_a_save_came_before_the_daemon(
    approving, saves
):
    """The save carries the words along; the audit says so."""
    file = find_file(approving)
    text = file.read_text("utf-8").replace('author = "zhang"', 'author = "chen"')
    file.write_text(text, "utf-8")
    await accept(approving)
    await approve(approving.store, "two", by="li")
    await approve(approving.store, "two", by="wang")
    edit_file(approving, "退款不用转账", "退款要先转账")
    for post in saves:
        await save(approving, "王", post=post, at=NEXT_DAY)
    await accept(approving)
    [task] = await approving.store.approvals.tasks(TWO)
    assert (task.saved_by, task.file_owner) == ("王", None)
    assert task.status.barred == {"chen", "ops", "王"}
    entries = await approving.store.queries.audit_history(TWO)
    assert [
        line.detail["file_owners"] for line in entries if line.event == "post_saved"
    ] == [["ops"]]


@pytest.fixture
async def read_by_all(approving, monkeypatch):
    """Yield the planner with its second post approved by all, and a function for the file.

    The function gives the file to a system user.
    """
    edit_file(approving, 'author = "zhang"', 'author = "chen"')
    await accept(approving)
    await approve(approving.store, "two", by="li")
    await approve(approving.store, "two", by="wang")
    return approving, lambda name: monkeypatch.setattr(
        schedule_editor, "find_file_owner", lambda _file: name
    )


@pytest.mark.parametrize(
    "ends_in_file", [False, True], ids=["saved last", "changed in the file last"]
)
async def test_i5_a_change_in_the_file_is_its_owners_also_if_another_post_is_saved(
    read_by_all, ends_in_file
):
    """I5: each owner of the file has made the changes that nobody saved.

    A save makes the file the dashboard's, and the owners are the ones before it.
    """
    approving, give_file_to = read_by_all
    for owner, text, moved_to in (
        ("olga", "退款要先转账", NEXT_DAY),
        ("anna", "退款要付费", datetime.fromisoformat(LATER)),
    ):
        give_file_to(owner)
        edit_file(
            approving, "退款不用转账" if owner == "olga" else "退款要先转账", text
        )
        await save(approving, "王", post="one", at=moved_to)
    if ends_in_file:
        edit_file(approving, "退款要付费", "退款要押金")
    await accept(approving, owner="web")
    assert await barred(approving) == ["anna", "chen", "olga", "web"]
    [task] = await approving.store.approvals.tasks(TWO)
    assert (task.saved_by, task.file_owner) == (None, "web" if ends_in_file else "anna")


@pytest.mark.parametrize(
    "is_approved", [False, True], ids=["as it was", "what it was is approved"]
)
async def test_i5_words_of_a_post_that_was_left_out_stay_those_of_the_files_owner(
    read_by_all, is_approved
):
    """I5: words of a post that was left out stay the file owner's.

    The version with the change is in force without the post. The next save takes the words along.
    """
    approving, give_file_to = read_by_all
    edit_file(approving, "退款不用转账", "退款要先转账")
    edit_file(approving, f"at = {LATER}", "at = 2020-01-01T09:00:00")
    applied = await accept(approving, owner="olga")
    assert [problem.facts["post"] for problem in applied.left_out] == ["two"]
    assert "olga" in await barred(approving)
    if is_approved:
        await approving.store.approvals.unapprove(
            TWO, None, named_person("li"), "again"
        )
        await approve(approving.store, "two", by="li")
        await approve(approving.store, "two", by="wang")
    give_file_to("olga")
    await save(approving, "王", at=NEXT_DAY)
    await accept(approving, owner="web")
    assert await barred(approving) == ["chen", "olga", "王"]


async def test_who_made_a_left_out_change_is_freed_by_approvals_of_it(read_by_all):
    """Once the words are in the post's text, every approval of it makes them everybody's."""
    approving, _give_file_to = read_by_all
    edit_file(approving, "退款不用转账", "退款要先转账")
    edit_file(approving, f"at = {LATER}", "at = 2020-01-01T09:00:00")
    await accept(approving, owner="olga")
    edit_file(approving, "at = 2020-01-01T09:00:00", f"at = {EVEN_LATER}")
    await accept(approving, owner="web")
    await approve(approving.store, "two", by="li")
    await approve(approving.store, "two", by="wang")
    await save(approving, "王", title="改过的标题")
    await accept(approving, owner="web")
    assert await barred(approving) == ["chen", "王"]


async def refresh(planner):  # noqa: F811 # as above
    """Let a person have the post rendered again, with another telephone number."""
    facts = {
        name: {**one, "hotline": "12345"}
        for name, one in planner.post_renderer.regions.items()
    }
    newer = replace(
        planner, post_renderer=replace(planner.post_renderer, regions=facts)
    )
    assert await refresh_texts(newer, TWO, named_person("赵"))
    return newer


@pytest.mark.parametrize("reads", ["refresh", "file"])
async def test_i5_approvals_of_an_older_text_free_nobody_whose_save_is_not_in_force(
    approving, reads
):
    """I5: approvals of an older text free no author of a save that is not in force.

    A save may be recorded before a refresh, or while the daemon already has an older text of the
    file.
    """
    edit_file(approving, "退款不用转账", "退款要先转账")
    older = find_file(approving).read_text("utf-8")
    await save(approving, "王", title="改过的标题")
    if reads == "refresh":
        approving = await refresh(approving)
    else:
        await apply_schedule(approving, older, "schedule.toml", file_owner="ops")
    await approve(approving.store, "two", by="li")
    await approve(approving.store, "two", by="wang")
    await save(approving, "李", at=NEXT_DAY)
    await accept(approving)
    assert await barred(approving) == ["zhang", "李", "王"]


async def test_an_undo_by_another_person_leaves_the_writer_barred(approving):
    """The author of words in a text is not read from it: all its savers count."""
    await save(approving, "王", title="改过的标题")
    await accept(approving)
    await save(approving, "李", title="警惕退款诈骗")
    await accept(approving)
    assert await barred(approving) == ["zhang", "李", "王"]


@pytest.mark.parametrize("reads", [True, False], ids=["in force", "not read yet"])
async def test_a_copy_is_its_writers_too(approving, reads):
    """A copy changed in the dashboard is still its first writer's too.

    The words that it began with belong to another person.
    """
    await save(approving, "王", title="改过的标题")
    if reads:
        await accept(approving)
    await copy(approving, "李", "two", id="three", author="李", title="又改了标题")
    await copy(approving, "赵", "three", id="four", author="赵", at=NEXT_DAY)
    await accept(approving)
    assert await barred(approving, PostId("three")) == ["zhang", "李", "王"]
    assert await barred(approving, PostId("four")) == ["zhang", "李", "王", "赵"]


async def test_i5_words_in_a_quoted_title_are_their_writers(approving):
    """I5: a follow-up prints the title of its original, whose last writer does not approve it."""
    follow_up = {
        "id": "over",
        "kind": "all-clear",
        "template": "all-clear",
        "follows": "two",
    }
    await copy(approving, "李", "one", author="李", at=NEXT_DAY, **follow_up)
    await accept(approving)
    assert await barred(approving, PostId("over")) == ["zhang", "李"]
    await save(approving, "王", title="王写的标题")
    await accept(approving)
    assert await barred(approving, PostId("over")) == ["zhang", "李", "王"]
    for person in ("赵", "孙"):
        await approve(approving.store, "two", by=person)
    await accept(approving)
    await save(approving, "钱", at=NEXT_DAY)
    await accept(approving)
    assert "王" not in await barred(approving, PostId("over"))


async def test_i5_approvals_after_a_copy_was_begun_free_nobody_in_it(approving):
    """I5: they are of the source's new text; the copy has the words that it began with."""
    await save(approving, "王", title="改过的标题")
    await accept(approving)
    begun = (await approving.store.posts.get_post(TWO)).content_hash
    await save(approving, "孙", title="又改了标题")
    await accept(approving)
    await approve(approving.store, "two", by="li")
    await approve(approving.store, "two", by="wang")
    await copy(
        approving, "李", "two", begun, id="three", author="李", title="改过的标题，再改"
    )
    await copy(approving, "李", "two", id="four", author="李", title="又改了标题，再改")
    await accept(approving)
    assert await barred(approving, PostId("three")) == ["zhang", "孙", "李", "王"]
    assert await barred(approving, PostId("four")) == ["李"]


async def test_a_post_that_gets_another_number_in_the_file_is_its_writers_still(
    approving,
):
    await save(approving, "王", title="改过的标题")
    await accept(approving)
    edit_file(approving, 'id = "two"', 'id = "second"')
    await accept(approving)
    assert await barred(approving, PostId("second")) == ["zhang", "王"]


async def test_a_post_that_is_removed_and_put_back_is_its_writers_still(approving):
    await save(approving, "王", title="改过的标题")
    await accept(approving)
    text = find_file(approving).read_text("utf-8")
    find_file(approving).write_text(text.partition("# 另一条")[0], "utf-8")
    await accept(approving)
    find_file(approving).write_text(f"{text}# 又加回来\n", "utf-8")
    await accept(approving)
    assert await barred(approving) == ["zhang", "王"]


async def test_who_lets_a_new_text_be_rendered_may_not_approve_it(approving):
    """The person behind a `refresh` may not approve the new text.

    The author of the template words is not known, but the person that took them over is.
    """
    await save(approving, "王", title="改过的标题")
    await accept(approving)
    await refresh(approving)
    assert await barred(approving) == ["zhang", "王", "赵"]


async def test_who_sends_a_file_has_written_it(approving):
    """`send FILE`, and then a save of the post in the schedule by another person."""
    [post] = parse_schedule(
        entry("p"), file="p.toml", context=approving.schedule_context
    ).posts
    await send_now(
        approving,
        [post],
        [AuditAction(event="send_requested", subject="p", by=named_person("王"))],
    )
    assert await barred(approving, PostId("p")) == ["zhang", "王"]


async def test_a_text_with_every_approval_frees_who_wrote_before_it(approving):
    """A text with every approval frees its earlier writers.

    The audit has every save. The post has the people barred from its approval now.
    """
    await save(approving, "王", title="改过的标题")
    await accept(approving)
    await approve(approving.store, "two", by="li")
    await approve(approving.store, "two", by="wang")
    await save(approving, "李", title="又改了标题", at=NEXT_DAY)
    await accept(approving)
    assert await barred(approving) == ["zhang", "李"]
    await approve(approving.store, "two", by="王")


async def test_f69_moving_a_date_keeps_the_approvals_of_others(approving):
    """A save of the time ends no approval of people without a text of their own in the post."""
    await approve(approving.store, "two", by="li")
    await save(
        approving, "王", at=datetime.fromisoformat(LATER) + timedelta(minutes=30)
    )
    await accept(approving)
    [task] = await approving.store.approvals.tasks(TWO)
    assert [yes.person for yes in task.status.counted] == ["li"]
