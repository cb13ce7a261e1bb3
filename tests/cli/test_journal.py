"""A journal that does not match the database stops the daemon, but no reading or stopping."""

import sqlite3

import pytest

from publisher.domain.errors import RefusedError
from publisher.domain.results import Published, Receipt
from publisher.store.db.intent_journal import IntentJournal, JournalRecord
from publisher.testing.fakes import START_TIME
from tests.cli.posts import warning, write_schedule

BY = ("--by", "王")
WHY = (*BY, "--reason", "试验")
PUBLISHED = Published(
    receipt=Receipt(remote_id="1", url="https://weibo.com/1/a", published_at=START_TIME)
)
AHEAD = JournalRecord(
    delivery=7,
    attempt=1,
    fencing_token=1,
    rendered_hash="f",
    at="2026-11-25T01:00:00+00:00",
    post="p",
    occurrence="once",
    account="a",
    part=0,
    identity="a",
    method="",
)


def journal_of(folder):
    return folder / "var" / "intents.jsonl"


def paused_in(file):
    connection = sqlite3.connect(file)
    reasons = [reason for (reason,) in connection.execute("SELECT reason FROM pause")]
    connection.close()
    return reasons


@pytest.fixture
def sent(run, drill, deliver):
    """Return the drill with one post published by a daemon, and another that waits."""
    write_schedule(
        drill, *(warning(name, to='["platform:weibo"]') for name in ("refund", "loan"))
    )
    assert run("-C", drill, "send", "refund", *BY).code == 0
    deliver(PUBLISHED)
    return drill


def lose(file):
    file.unlink()


def damage(file):
    file.write_bytes(b"\x00" * 40 + b"\n" + file.read_bytes())


def go_ahead(file):
    journal = IntentJournal(file)
    journal.append([AHEAD])
    journal.close()


MISFITS = {
    "journal_missing": lose,
    "journal_damaged": damage,
    "database_older": go_ahead,
}


@pytest.mark.long
@pytest.mark.parametrize("has_backup", [True, False])
def test_f85_a_lost_database_is_said_to_be_lost_and_no_other_is_made(
    run, sent, tmp_path, has_backup
):
    """Every command names what to do, and that works: nothing was made in the meantime."""
    backup, database = tmp_path / "backup.db", sent / "var" / "publisher.db"
    assert run("-C", sent, "backup", backup).code == 0
    for file in database.parent.glob("publisher.db*"):
        file.unlink()
    for command in ("check", "status", "run"):
        answer = run("-C", sent, "--lang", "en", command)
        assert answer.code != 0, command
        assert "is gone" in answer.out + answer.err, command
    refused = run("-C", sent, "status").err
    assert "（database_lost）" in refused, "a code to look up"
    assert not database.exists()
    what = [backup] if has_backup else ["--accept-current"]
    restored = run("-C", sent, "restore", *what, *BY)
    assert restored.code == 0, restored.err
    assert run("-C", sent, "status").code == 0


@pytest.fixture(params=MISFITS)
def misfit(request, sent):
    """Return a workspace with a journal that does not match, in each way."""
    MISFITS[request.param](journal_of(sent))
    return sent


@pytest.mark.long
def test_f85_reading_and_stopping_work_with_a_journal_that_does_not_match(run, misfit):
    """Pausing, cancelling and reading work with a misfit journal, with the problem beside it.

    A daemon may be running.
    """
    file = journal_of(misfit)
    before = file.read_bytes() if file.exists() else None
    commands = [
        ("pause", *BY),
        ("cancel", "loan", *WHY),
        ("retract", "refund", *WHY),
        ("mode", "beijing-weibo", "off", *WHY),
        ("status",),
        ("why", "refund@beijing-weibo"),
        ("audit", "export", "-"),
        ("accounts",),
        ("report", "--from", "2026-11-01", "--to", "2026-11-30"),
    ]
    for command in commands:
        reported = run("-C", misfit, "--lang", "en", *command)
        assert (reported.code, "does not know all that was sent" in reported.err) == (
            0,
            True,
        ), (
            command,
            reported,
        )
    assert [
        pause["scope"] for pause in run("-C", misfit, "status", "--json").json["paused"]
    ] == ["all"]
    for command in (("audit", "verify"), ("doctor",)):
        assert run("-C", misfit, *command).code in {0, 1}, command
    assert (file.read_bytes() if file.exists() else None) == before


def test_f85_commands_that_send_are_refused_while_the_journal_does_not_match(
    run, misfit, deliver
):
    """Sending commands exit 3 and the pause stays, since the database may have lost a sent post."""
    assert run("-C", misfit, "pause", *BY).code == 0
    commands = [
        ("resume", *BY),
        ("send", "loan", *BY),
        ("reload",),
        ("resend", "refund@beijing-weibo", *WHY),
        ("resolve", "loan@beijing-weibo", "resend", *WHY),
        ("mode", "beijing-weibo", "api", *WHY),
    ]
    for command in commands:
        assert run("-C", misfit, *command).code == 3, command
    with pytest.raises(RefusedError):
        deliver(PUBLISHED)
    assert [
        pause["scope"] for pause in run("-C", misfit, "status", "--json").json["paused"]
    ] == ["all"]


@pytest.mark.parametrize("place", ["restore.after_commit", "restore.mid"])
@pytest.mark.parametrize("spoil", [lose, damage])
def test_f85_a_decided_restore_is_finished_with_its_journal(
    run, sent, monkeypatch, place, spoil
):
    """The next command, even a backup, finds the restored database and a journal that continues."""
    kept, later = sent / "kept.db", sent / "later.db"
    assert run("-C", sent, "backup", kept).code == 0
    spoil(journal_of(sent))
    monkeypatch.setenv("PUBLISHER_FAILPOINTS", f"{place}:raise")
    assert run("-C", sent, "restore", kept, "--without-journal", *BY).code == 1
    monkeypatch.delenv("PUBLISHER_FAILPOINTS")
    assert run("-C", sent, "backup", later).code == 0
    assert paused_in(later) == ["restored"]
    shown = run("-C", sent, "status", "--json")
    assert ([pause["reason"] for pause in shown.json["paused"]], shown.err) == (
        ["restored"],
        "",
    )
    assert run("-C", sent, "resume", *BY).code == 0


def test_f85_a_restore_killed_before_its_decision_leaves_the_journal_as_it_was(
    run, sent, monkeypatch
):
    """The older database must never be beside a journal that looks complete."""
    damage(journal_of(sent))
    before = journal_of(sent).read_bytes()
    monkeypatch.setenv("PUBLISHER_FAILPOINTS", "restore.before_commit:raise")
    assert (
        run("-C", sent, "restore", "--accept-current", "--without-journal", *BY).code
        == 1
    )
    assert journal_of(sent).read_bytes() == before
