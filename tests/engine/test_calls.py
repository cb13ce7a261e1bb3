"""Work that is claimed as there is room for it."""

import asyncio
import sqlite3
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from publisher.domain.results import Unknown
from publisher.engine.calls import call_adapter, run_bounded


async def test_the_first_batch_is_begun_before_the_second_is_claimed():
    """Of very many items the first are begun while the others still wait to be claimed, and all are done."""
    left, done, reported = list(range(7)), [], []

    async def take(room):
        reported.append(("take", room, len(done)))
        taken, left[:] = left[:room], left[room:]
        return taken

    async def work(thing):
        done.append(thing)

    assert await run_bounded(take, work, 5, "failed", batch_size=2) == 7
    assert sorted(done) == list(range(7))
    assert reported[:3] == [("take", 2, 0), ("take", 2, 2), ("take", 2, 4)]


@pytest.mark.parametrize("portion", [None, 3])
async def test_never_more_than_the_limit_are_in_progress(portion):
    """A slow item keeps its slot, and no more is claimed than there are free slots."""
    left, inside, most = list(range(12)), 0, 0
    go_on = asyncio.Event()

    async def take(room):
        taken, left[:] = left[:room], left[room:]
        return taken

    async def work(_thing):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if most == 4:
            go_on.set()
        await go_on.wait()
        inside -= 1

    assert await run_bounded(take, work, 4, "failed", portion) == 12
    assert most == 4


def busy():
    """Return the error of a database that is locked by another program."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return OperationalError("BEGIN IMMEDIATE", {}, error)


async def test_a_failure_is_raised_once_the_other_work_is_done():
    """One failure does not stop the other items, and is raised in the end; an outage of the database hides no bug."""
    mistake, done = KeyError("p"), []
    left = [None, mistake, busy(), None]

    async def take(room):
        taken, left[:] = left[:room], left[room:]
        return taken

    async def work(error):
        if error is not None:
            raise error
        done.append(True)

    with pytest.raises(ExceptionGroup) as raised:
        await run_bounded(take, work, 1, "failed")
    assert (raised.value.exceptions, len(done)) == ((mistake,), 2)


async def test_a_failure_of_work_that_has_begun_is_logged_where_no_more_can_be_taken():
    """The error of taking is raised, and does not hide what happened to the items taken before."""
    can_fail, left = asyncio.Event(), [["item"]]

    async def take(_room):
        if left:
            return left.pop()
        can_fail.set()
        raise busy()

    async def work(_item):
        await can_fail.wait()
        raise KeyError("p")

    with capture_logs() as logged, pytest.raises(OperationalError):
        await run_bounded(take, work, 2, "failed")
    assert [(line["event"], repr(line["exc_info"])) for line in logged] == [("failed", "KeyError('p')")]


async def test_what_ends_is_replaced_at_once(monkeypatch):
    """A free slot is filled as soon as one item ends, however long another takes, not at the next look for more."""
    monkeypatch.setattr("publisher.engine.calls.REFILL_SECONDS", 0.5)
    left, go_on = list(range(100)), asyncio.Event()

    async def take(room):
        taken, left[:] = left[:room], left[room:]
        return taken

    async def work(item):
        if item == 99:
            go_on.set()
        elif item == 0:
            await go_on.wait()

    async with asyncio.timeout(20):
        assert await run_bounded(take, work, 2, "failed") == 100


async def test_f86_an_adapter_that_cannot_reach_the_database_is_no_bug():
    """F86: a call that ends because its adapter found no database is not logged as a fault: the outage is, once."""

    async def read_state():
        raise OperationalError("SELECT", {}, psycopg.OperationalError("the server closed the connection"))

    with capture_logs() as entries:
        result = await call_adapter(read_state(), timedelta(seconds=1))
    assert result == Unknown(reason="adapter_failed")
    assert entries == []
