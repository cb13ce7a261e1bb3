"""The intent journal as a file: a disk that fills in the middle of a line, and lines that come while old ones go."""

import resource
from contextlib import contextmanager

import pytest

from publisher.store.journal import Intent, Journal, newest_intents, read_journal, sync_folder
from publisher.testing.fakes import START

ROOM = 50
"""Bytes: less than a line."""


def line(number):
    facts = {"attempt": 1, "epoch": 1, "rendition": "r" * 64, "at": START.isoformat()}
    return Intent(delivery=number, **facts, post=f"p{number}", label="once", account="a")


@contextmanager
def room_for(size):
    """Let no file of this process grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "intents.jsonl")
    opened.append([line(1)])
    yield opened
    opened.close()


def numbers(journal):
    return [one.delivery for one in newest_intents(journal.path, None)]


def test_f82_a_disk_that_fills_within_a_line_leaves_no_damage(journal):
    """F82: what was refused half written is cut off before the next line, and never comes out later."""
    with room_for(journal.path.stat().st_size + ROOM), pytest.raises(OSError, match="large"):
        journal.append([line(2)])
    journal.append([line(3)])
    assert (numbers(journal), read_journal(journal.path).damaged) == ([1, 3], [])


def test_f82_after_a_refusal_the_journal_says_when_lines_can_be_written_again(journal):
    """F82: that is tried by a line's worth of nothing, which leaves no trace."""
    with room_for(journal.path.stat().st_size + ROOM):
        with pytest.raises(OSError, match="large"):
            journal.append([line(2)])
        assert [journal.can_append(), journal.can_append()] == [False, False]
    assert journal.can_append()
    assert (numbers(journal), read_journal(journal.path).damaged) == ([1], [])
    journal.append([line(3)])
    assert (numbers(journal), read_journal(journal.path).damaged) == ([1, 3], [])


class Meanwhile(frozenset):
    """Lines to be left out; a call is announced as soon as somebody asks which."""

    journal = None

    def __contains__(self, one):
        if self.journal is not None:
            opened, self.journal = self.journal, None
            opened.append([line(4)])
        return super().__contains__(one)


def test_a_call_announced_while_the_journal_is_shortened_stays_in_it(journal):
    """Whatever comes in while old lines are left out is taken along, and later lines follow it."""
    journal.append([line(2), line(3)])
    gone = Meanwhile([line(1), line(2)])
    gone.journal = journal
    assert journal.drop(gone) == 2
    journal.append([line(5)])
    assert (numbers(journal), read_journal(journal.path).damaged) == ([3, 4, 5], [])


def test_a_shortened_journal_that_is_not_sure_to_last_takes_no_line_until_it_is(journal, monkeypatch):
    """A folder that cannot be synced costs no line: calls are refused until it can, and announced from then on."""
    journal.append([line(2)])
    refusals = [OSError("too many open files"), OSError("too many open files")]

    def sync(folder):
        if refusals:
            raise refusals.pop()
        sync_folder(folder)

    monkeypatch.setattr("publisher.store.journal.sync_folder", sync)
    with pytest.raises(OSError, match="too many"):
        journal.drop([line(1)])
    with pytest.raises(OSError, match="too many"):
        journal.append([line(3)])
    journal.append([line(4)])
    assert (numbers(journal), read_journal(journal.path).damaged) == ([2, 4], [])


def test_a_shortening_for_which_there_is_no_room_changes_nothing(journal):
    """The old journal stays in use, whole, when the disk has no room for the new one."""
    journal.append([line(2), line(3)])
    with room_for(ROOM), pytest.raises(OSError, match="large"):
        journal.drop([line(1)])
    journal.append([line(4)])
    assert numbers(journal) == [1, 2, 3, 4]
