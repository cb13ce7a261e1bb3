"""A copied workspace: commands refused in it, and its takeover by a person (F103)."""

import shutil
import sqlite3

import pytest

from publisher.store.recovery.setup import claim_folder
from tests.cli.posts import warning, write_schedule

BY = ("--by", "王")


def use_as_daemon(run_on_database, drill, *, stops):
    """Do the writes of a daemon's start and orderly stop to the drill's database."""

    async def start(application):
        claim_folder(application.settings.database)
        await application.store.actions.register_worker()
        if stops:
            await application.store.actions.deregister_worker()

    run_on_database(start)


@pytest.fixture
def copy_after(run_on_database, drill, due_post, tmp_path):
    """Return a function that copies a drill with a due post.

    The copy is made after its daemon was stopped or while it runs.
    """

    def copy(*, stops):
        use_as_daemon(run_on_database, drill, stops=stops)
        return shutil.copytree(drill, tmp_path / "copy")

    return copy


def audit_of(folder, event):
    connection = sqlite3.connect(folder / "var" / "publisher.db")
    rows = connection.execute(
        "SELECT name FROM audit WHERE event = ?", (event,)
    ).fetchall()
    connection.close()
    return [name for (name,) in rows]


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
def test_f103_commands_that_send_are_refused_in_a_copy(run, drill, copy_after, lang):
    """F103: a refusal has exit code 3, both folders and the remedy; reading and stopping works.

    A note is shown.
    """
    copy = copy_after(stops=False)
    for command in (
        ("run", "--once"),
        ("send", "refund", *BY),
        ("resume", *BY),
        ("resend", "refund@beijing-weibo", *BY, "--reason", "x"),
        ("move-database", "postgresql://127.0.0.1:9/x", *BY),
    ):
        refused = run("-C", copy, "--lang", lang, *command)
        assert (refused.code, refused.out) == (3, ""), refused.err
        assert all(
            part in refused.err
            for part in (str(drill / "var"), str(copy / "var"), "restore --take-over")
        )
    shown = run("-C", copy, "--lang", lang, "status")
    assert (shown.code, "restore --take-over" in shown.err) == (0, True)
    assert run("-C", copy, "pause", *BY).code == 0
    assert run("-C", drill, "status").err == ""


def test_f103_a_copy_of_a_stopped_workspace_is_taken_over_as_it_is(
    run, drill, copy_after
):
    """F103: a named person's order is in the audit, nothing is paused, and commands work.

    The workspace no longer belongs to the original.
    """
    copy = copy_after(stops=True)
    result = run("-C", copy, "restore", "--take-over", *BY)
    assert (result.code, "publisher run" in result.out) == (0, True)
    assert audit_of(copy, "workspace_taken_over") == ["王"]
    shown = run("-C", copy, "status", "--json")
    assert (shown.err, shown.json["paused"]) == ("", [])
    assert run("-C", copy, "resume", *BY).code == 0
    assert run("-C", copy, "restore", "--take-over", *BY).code == 3


def test_f103_what_the_original_may_have_sent_since_the_copy_is_looked_for_first(
    run, drill, copy_after
):
    """F103: a copy made while the daemon ran sends nothing until resume.

    It does not know the posts that the daemon sent since.
    """
    copy = copy_after(stops=False)
    result = run("-C", copy, "restore", "--take-over", *BY)
    assert (result.code, "publisher resume" in result.out) == (0, True)
    shown = run("-C", copy, "status", "--json").json
    assert [pause["scope"] for pause in shown["paused"]] == ["all"]
    assert [row["state"] for row in shown["deliveries"]] == ["unknown"]
    assert (
        audit_of(copy, "workspace_taken_over") == audit_of(copy, "restored") == ["王"]
    )
    assert run("-C", copy, "resume", *BY).code == 0


def test_f103_accepting_a_copy_as_restored_trusts_its_journal_no_more_than_a_take_over(
    run, drill, copy_after
):
    """F103: the journal beside a copy ends where the copy was made."""
    copy = copy_after(stops=False)
    assert run("-C", copy, "restore", "--accept-current", *BY).code == 0
    assert [
        row["state"] for row in run("-C", copy, "status", "--json").json["deliveries"]
    ] == ["unknown"]
    assert run("-C", copy, "resume", *BY).code == 0


def test_f103_a_backup_restored_in_another_workspace_belongs_to_it(
    run, run_on_database, drill, due_post, tmp_path
):
    """F103: a person has ordered it, so that nothing more is asked at the start."""
    use_as_daemon(run_on_database, drill, stops=False)
    assert run("-C", drill, "backup", tmp_path / "kept.db").code == 0
    other = shutil.copytree(
        drill, tmp_path / "other", ignore=shutil.ignore_patterns("var")
    )
    (other / "var").mkdir()
    assert (
        run("-C", other, "restore", tmp_path / "kept.db", "--without-journal", *BY).code
        == 0
    )
    assert run("-C", other, "resume", *BY).code == 0


@pytest.mark.parametrize("has_database", [True, False])
def test_there_is_nothing_to_take_over_in_an_original(
    run, run_on_database, drill, has_database
):
    """Exit code 3; where there is no database, none is created."""
    if has_database:
        write_schedule(drill, warning("refund"))
        use_as_daemon(run_on_database, drill, stops=True)
    assert run("-C", drill, "restore", "--take-over", *BY).code == 3
    assert (drill / "var" / "publisher.db").exists() is has_database


@pytest.mark.parametrize(
    "options", [(), ("kept.db", "--take-over"), ("--accept-current", "--take-over")]
)
def test_one_way_to_restore_is_named(run, drill, options):
    """A backup, the present database, or a take-over."""
    assert run("-C", drill, "restore", *options, *BY).code == 2
