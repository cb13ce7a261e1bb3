"""The intent journal as a file: a disk full within a line, and writes during shortening."""

import json
import resource
import zlib
from contextlib import contextmanager
from dataclasses import asdict, fields

import pytest

from publisher.runtime.files import sync
from publisher.store.db.intent_journal import (
    IntentJournal,
    JournalRecord,
    read_journal,
    read_records,
)
from publisher.testing.fakes import START_TIME

ROOM = 50
"""Bytes, less than a line."""


def line(number):
    facts = {
        "attempt": 1,
        "fencing_token": 1,
        "rendered_hash": "r" * 64,
        "at": START_TIME.isoformat(),
    }
    return JournalRecord(
        delivery=number,
        **facts,
        post=f"p{number}",
        occurrence="once",
        account="a",
        part=0,
        identity="a",
        method="",
    )


@contextmanager
def room_for(size):
    """Limit the size of every file of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def journal(tmp_path):
    opened = IntentJournal(tmp_path / "intents.jsonl")
    opened.append([line(1)])
    yield opened
    opened.close()


def numbers(journal):
    return [one.delivery for one in read_records(journal.path, None)]


def test_f82_a_disk_that_fills_within_a_line_leaves_no_damage(journal):
    """F82: a half-written line is cut off before the next one, and never appears later."""
    with (
        room_for(journal.path.stat().st_size + ROOM),
        pytest.raises(OSError, match="large"),
    ):
        journal.append([line(2)])
    journal.append([line(3)])
    assert (numbers(journal), read_journal(journal.path).damaged_lines) == ([1, 3], [])


def test_f82_after_a_refusal_the_journal_reports_when_lines_can_be_written_again(
    journal,
):
    """F82: the journal is probed by writing a line's worth of nothing, without any trace."""
    with room_for(journal.path.stat().st_size + ROOM):
        with pytest.raises(OSError, match="large"):
            journal.append([line(2)])
        assert [journal.can_append(), journal.can_append()] == [False, False]
    assert journal.can_append()
    assert (numbers(journal), read_journal(journal.path).damaged_lines) == ([1], [])
    journal.append([line(3)])
    assert (numbers(journal), read_journal(journal.path).damaged_lines) == ([1, 3], [])


def later_line(row):
    """Write a line as a later release may: with additional keys, under the same checksum."""
    body = json.dumps(row, separators=(",", ":"))[:-1]
    return f'{body},"crc32":"{zlib.crc32(body.encode()):08x}"}}\n'


def test_a_key_of_a_later_release_is_no_damage(journal):
    """After a downgrade every intent is still known, including lines removed before it."""
    journal.path.write_text(
        later_line({"kept_since": START_TIME.isoformat(), "kept_by": "later"})
        + later_line({**asdict(line(2)), "shard": 3})
        + later_line({"shard": {"at": 1}, **asdict(line(3))})
    )
    contents = read_journal(journal.path)
    assert (contents.records, contents.damaged_lines, contents.complete_since) == (
        [line(2), line(3)],
        [],
        START_TIME,
    )


@pytest.mark.parametrize("name", [item.name for item in fields(JournalRecord)])
def test_a_line_that_lacks_a_key_is_damage(journal, name):
    """A line without a key is damage, even with a right checksum, as its call is not known."""
    row = asdict(line(2))
    del row[name]
    journal.path.write_text(later_line(row))
    assert read_journal(journal.path).damaged_lines == [1]


def test_a_line_that_was_changed_anywhere_is_damage(journal):
    """Any changed byte in a line is damage, in a key or in the checksum.

    The checksum is over the line's own bytes.
    """
    written = journal.path.read_bytes()
    for position in range(len(written) - 1):
        changed = bytearray(written)
        changed[position] ^= 1
        journal.path.write_bytes(changed)
        assert read_journal(journal.path).damaged_lines, changed


def test_a_line_without_a_checksum_is_damage(journal):
    """A line without a checksum is damage, as nobody can verify its content."""
    journal.path.write_text(json.dumps(asdict(line(2))) + "\n")
    assert (
        read_journal(journal.path).records,
        read_journal(journal.path).damaged_lines,
    ) == (
        [],
        [1],
    )


def test_f82_a_deleted_journal_refuses_until_it_can_be_created(tmp_path):
    """F82: without a repaired end no line is accepted."""
    opened = IntentJournal(tmp_path / "intents.jsonl")
    opened.path.unlink()
    with pytest.raises(FileNotFoundError):
        opened.append([line(1)])
    assert not opened.can_append()
    opened.close()


class AppendingContainer(frozenset):
    """Attempts to be removed; the first membership test writes an intent."""

    journal = None

    def __contains__(self, one):
        if self.journal is not None:
            opened, self.journal = self.journal, None
            opened.append([line(4)])
        return super().__contains__(one)


def test_an_intent_written_while_the_journal_is_shortened_stays_in_it(journal):
    """Lines that arrive while old ones are removed are kept, and later lines follow them."""
    journal.append([line(2), line(3)])
    gone = AppendingContainer([line(1), line(2)])
    gone.journal = journal
    assert journal.compact(gone) == 2
    journal.append([line(5)])
    assert (numbers(journal), read_journal(journal.path).damaged_lines) == (
        [3, 4, 5],
        [],
    )


def test_a_shortened_journal_that_is_not_synced_accepts_no_line_until_it_is(
    journal, monkeypatch
):
    """A folder that cannot be synced costs no line: intents are refused until a sync succeeds.

    From then on intents are accepted.
    """
    journal.append([line(2)])
    refusals = [OSError("too many open files"), OSError("too many open files")]

    def sync_later(folder):
        if refusals:
            raise refusals.pop()
        sync(folder)

    monkeypatch.setattr("publisher.store.db.intent_journal.sync", sync_later)
    with pytest.raises(OSError, match="too many"):
        journal.compact([line(1)])
    with pytest.raises(OSError, match="too many"):
        journal.append([line(3)])
    journal.append([line(4)])
    assert (numbers(journal), read_journal(journal.path).damaged_lines) == ([2, 4], [])


def test_a_shortening_for_which_there_is_no_room_changes_nothing(journal):
    """The old journal stays in use, complete, when the disk has no room for the new one."""
    journal.append([line(2), line(3)])
    with room_for(ROOM), pytest.raises(OSError, match="large"):
        journal.compact([line(1)])
    journal.append([line(4)])
    assert numbers(journal) == [1, 2, 3, 4]
