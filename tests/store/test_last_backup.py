"""The last good backup is on record, and people are alerted when it is too old."""

import asyncio
import threading
from datetime import UTC, timedelta

import pytest

from publisher.store.backup_record import BackupRecord
from publisher.store.db.database import try_lock
from publisher.store.monitor.last_backup import BACKUP_LOCK, NEVER_MADE
from publisher.store.monitor.lost_workers import LOST_AFTER, WORKERS_LOCK
from publisher.testing.builders import make_policy

MAX_AGE = timedelta(hours=48)
HOUR = timedelta(hours=1)


@pytest.fixture
async def store(open_store):
    store = await open_store(make_policy("a"))
    await store.silence.update(UTC)
    return store


async def overdue(store):
    """Let the daemon look. Return the place and the time in each open alert."""
    await store.last_backup.update(MAX_AGE)
    alerts = await store.queries.alerts()
    return [
        (alert.facts["place"], alert.facts["since"])
        for alert in alerts
        if alert.code == "backup_overdue"
    ]


async def test_a_database_without_any_backup_is_an_alert_after_two_days(store, runtime):
    """The time counts from the first audit entry or account; a backup ends the alert."""
    began = runtime.now()
    runtime.advance_time(MAX_AGE)
    assert await overdue(store) == []
    runtime.advance_time(HOUR)
    assert await overdue(store) == [(NEVER_MADE, began.isoformat())]
    await store.last_backup.record(BackupRecord(at=runtime.now(), place="h:/b"))
    assert await overdue(store) == []


async def test_an_old_backup_is_an_alert_that_names_it(store, runtime):
    """The alert has the last backup's time and place, and is not raised twice."""
    made = BackupRecord(at=runtime.now(), place="h:/b")
    await store.last_backup.record(made)
    runtime.advance_time(MAX_AGE + HOUR)
    expected = [("h:/b", made.at.isoformat())]
    assert await overdue(store) == await overdue(store) == expected


async def test_an_older_backup_does_not_replace_the_record(store, runtime):
    """The file of yesterday's dump, recorded once more today, is no newer backup."""
    newer = BackupRecord(at=runtime.now(), place="h:/new")
    older = BackupRecord(at=runtime.now() - HOUR, place="h:/old")
    await store.last_backup.record(newer)
    assert await store.last_backup.record(older) == newer
    assert await store.last_backup.read() == newer


async def test_a_record_of_a_clock_that_was_ahead_is_replaced(store, runtime):
    """A backup dated in the future does not hide for years that none is made."""
    ahead = BackupRecord(at=runtime.now() + 1000 * HOUR, place="h:/ahead")
    await store.last_backup.record(ahead)
    real = BackupRecord(at=runtime.now(), place="h:/real")
    assert await store.last_backup.record(real) == real


async def test_nothing_is_said_while_the_clock_is_unconfirmed(store, runtime):
    runtime.advance_time(MAX_AGE + HOUR)
    runtime.mark_clock_unconfirmed()
    assert await overdue(store) == []


@pytest.mark.parametrize("lock", [BACKUP_LOCK, WORKERS_LOCK])
async def test_two_daemons_do_not_raise_an_alert_at_the_same_time(
    open_store, runtime, lock
):
    """While another daemon raises it, nothing is raised a second time."""
    one, two, dead = [
        await open_store(make_policy("a"), worker=name) for name in ("one", "two", "x")
    ]
    if not one.database.is_shared:
        return
    await one.silence.update(UTC)
    await dead.actions.register_worker()
    runtime.advance_time(MAX_AGE + LOST_AFTER + HOUR)
    is_held, is_over = threading.Event(), threading.Event()

    def hold(transaction):
        assert try_lock(transaction, lock)
        is_held.set()
        assert is_over.wait(30)

    async def look():
        if lock == BACKUP_LOCK:
            return await two.last_backup.update(MAX_AGE)
        return await two.lost_workers.update()

    holder = asyncio.create_task(one.database.write(hold))
    assert await asyncio.to_thread(is_held.wait, 30)
    try:
        assert await look() == 0
    finally:
        is_over.set()
        await holder
    assert await look() == 1
