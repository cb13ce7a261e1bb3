"""A locked database, and a full disk: no intent, no call, and people are alerted afterwards."""

import asyncio
import sqlite3
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.exc import DatabaseError, OperationalError

from publisher.domain.account import CRASH_RETRY_SPREAD
from publisher.domain.delivery import State, WorkerId
from publisher.domain.lifecycle import MAX_WORKER_CRASHES
from publisher.domain.results import Published, Receipt
from publisher.engine.sender import send_due
from publisher.store.db import database as engine
from publisher.store.db.database import Database, open_engine
from publisher.store.db.intent_journal import IntentJournal
from publisher.store.db.postgres import (
    DATABASE_BUSY,
    DISK_FULL,
    JOURNAL_UNWRITABLE,
    CommitUnknownError,
)
from publisher.store.db.rows import raise_alert
from publisher.store.db.tables import ATTEMPT, RENDERED_POST
from publisher.store.recovery.setup import prepare_database
from publisher.store.store import Store
from publisher.store.system_alerts import WRITE_ERROR_PERIOD, SystemAlerts
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter
from tests.store.test_audit import SmallDisk
from tests.wait import eventually

LIVE = Published(
    receipt=Receipt(
        remote_id="1", url="https://fake.example/1", published_at=START_TIME
    )
)


@pytest.fixture
async def store(tmp_path, runtime, monkeypatch):
    """Return a worker on SQLite with a short lock timeout, with one post due."""
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_SECONDS", 0.2)
    url = f"sqlite:///{tmp_path / 'publisher.db'}"
    await prepare_database(url, "drill", tmp_path / "intents.jsonl", runtime)
    database = Database(
        open_engine(url), runtime, IntentJournal(tmp_path / "intents.jsonl")
    )
    opened = Store(
        database=database, policies={"a": make_policy("a")}, worker=WorkerId("w")
    )
    await opened.posts.register_logins()
    await enqueue_posts(opened.posts, make_post("p", ["a"], START_TIME))
    await opened.maintenance.promote_due()
    yield opened
    await database.close()


@pytest.fixture
def holder(tmp_path, store):
    """Yield the connection of another program that locks the database for writing from now on."""
    with closing(
        sqlite3.connect(tmp_path / "publisher.db", isolation_level=None)
    ) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


async def attempts(store):
    return len(
        await store.database.read(
            lambda connection: connection.execute(select(ATTEMPT)).all()
        )
    )


async def reported(store):
    return [alert.code for alert in await store.queries.alerts()]


async def state_of(store):
    [delivery] = await store.queries.deliveries()
    return delivery.state


async def test_f81_while_another_program_holds_the_database_nothing_is_called(
    store, holder, runtime
):
    """F81: after a bounded wait no intent or call is made; the post is sent later with an alert.

    The alert gives the reason for the delay.
    """
    fake = FakeAdapter(now=runtime.now)
    with pytest.raises(OperationalError, match="locked"):
        await send_due(store, {"a": fake}, 10, asyncio.Event())
    assert (await attempts(store), fake.calls) == (0, [])
    holder.execute("ROLLBACK")
    await SystemAlerts(store).update()
    await send_due(store, {"a": fake}, 10, asyncio.Event())
    assert (await state_of(store), await reported(store)) == (
        State.PUBLISHED,
        [DATABASE_BUSY],
    )


async def lose_reply(store, call, *, commits):
    """Run a write with a connection that breaks during the commit, with an unknown result."""
    write = store.database.write

    async def break_connection(operation, *args):
        if commits:
            await write(operation, *args)
        raise CommitUnknownError("1")

    store.database.write = break_connection
    with pytest.raises(CommitUnknownError):
        await call
    store.database.write = write


@pytest.mark.parametrize("is_released", [False, True])
async def test_f86_a_claim_whose_reply_is_lost_is_no_crash_of_its_post(
    store, runtime, is_released
):
    """F86, F89: a lease that expires because the database is silent is no crash of its post."""
    for _ in range(MAX_WORKER_CRASHES):
        if is_released:
            [lease] = await store.outbox.claim(1)
            await lose_reply(store, store.outbox.release(lease), commits=False)
        else:
            await lose_reply(store, store.outbox.claim(1), commits=True)
        runtime.advance_time(timedelta(minutes=2))
        assert await store.maintenance.expire_leases() == 1
        runtime.advance_time(CRASH_RETRY_SPREAD)
    [delivery] = await store.queries.deliveries()
    assert (delivery.state, delivery.worker_crashes) == (State.DUE, 0)


@pytest.mark.long
async def test_f81_those_who_wait_together_are_refused_together(store, holder):
    """F81: many writes at once wait once, not one after the other."""
    answers = await asyncio.wait_for(
        asyncio.gather(
            *(store.outbox.claim(1) for _ in range(400)), return_exceptions=True
        ),
        timeout=60,
    )
    assert {type(answer) for answer in answers} == {OperationalError}


async def test_f81_an_outcome_waits_until_it_can_be_written(tmp_path, store):
    """F81: the outcome of a call is not lost because another program locks the database."""
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    with closing(
        sqlite3.connect(tmp_path / "publisher.db", isolation_level=None)
    ) as holder:
        holder.execute("BEGIN IMMEDIATE")
        settling = asyncio.create_task(store.outbox.record_outcome(lease, LIVE))
        await eventually(
            lambda: DATABASE_BUSY in store.database.write_errors,
            60,
            "the other program's lock",
        )
        holder.execute("ROLLBACK")
    assert (await settling).state is State.PUBLISHED


async def test_f81_a_recurring_lock_is_one_alert_until_writes_go_well(store, runtime):
    """F81: a program that locks the database again and again causes one alert, not hundreds.

    It names the host, and ends by itself.
    """
    system_alerts = SystemAlerts(store)
    for _ in range(3):
        store.database.record_write_error(DATABASE_BUSY)
        for _ in range(2):
            await system_alerts.update()
            assert await reported(store) == [DATABASE_BUSY]
            runtime.advance_time(WRITE_ERROR_PERIOD / 2 - timedelta(seconds=1))
    [alert] = await store.queries.alerts()
    assert alert.facts == {"host": "w"}
    runtime.advance_time(timedelta(seconds=2))
    await system_alerts.update()
    assert await reported(store) == []
    store.database.record_write_error(DATABASE_BUSY)
    await system_alerts.update()
    [again] = await store.queries.alerts()
    assert again.id == alert.id


async def test_f82_each_host_ends_its_own_alert_of_failed_writes(store, runtime):
    """F82: the success of one host says nothing about another one's disk."""
    other = Store(
        database=store.database, policies=store.policies, worker=WorkerId("x")
    )
    store.database.record_write_error(DISK_FULL)
    await SystemAlerts(other).update()
    store.database.write_errors.clear()
    await SystemAlerts(store).update()
    [alert] = await store.queries.alerts()
    assert (alert.code, alert.facts) == (DISK_FULL, {"host": "x"})


async def test_f82_a_new_process_does_not_end_the_alert_of_failed_writes_at_once(
    store, runtime
):
    """F82: the cause may last; the alert ends if no write fails for a while."""
    store.database.record_write_error(DISK_FULL)
    await SystemAlerts(store).update()
    runtime.advance_time(WRITE_ERROR_PERIOD / 2)
    store.database.write_errors.clear()
    started = SystemAlerts(store)
    for expected in ([DISK_FULL], [DISK_FULL], []):
        await started.update()
        assert await reported(store) == expected
        runtime.advance_time(WRITE_ERROR_PERIOD / 2)


async def test_an_alert_of_an_earlier_version_that_names_no_host_ends(store, runtime):
    """Nobody else could end it, and its acknowledgement would expire again and again."""

    def write(unit):
        for code in (DISK_FULL, "clock_jumped_back"):
            raise_alert(unit, runtime.now(), code, "machine", {})

    await store.database.write(write)
    await SystemAlerts(store).update()
    assert await reported(store) == ["clock_jumped_back"]


@pytest.fixture
def disk(store):
    """Return the disk of this database, with room until it is filled."""
    small = SmallDisk()
    event.listen(store.database.engine, "begin", small.limit)
    return small


async def test_f82_without_room_for_the_intent_there_is_no_call(store, disk, runtime):
    """F82: a claim that could still be written leads to no call when the intent cannot."""
    fake = FakeAdapter(now=runtime.now)
    [lease] = await store.outbox.claim(1)
    await disk.fill(store)
    with pytest.raises(DatabaseError, match="full"):
        await store.outbox.record_intent(lease)
    assert (await attempts(store), fake.calls) == (0, [])
    disk.pages = disk.PLENTY
    runtime.advance_time(store.timing("a").lease_timeout)
    await store.maintenance.run()
    await SystemAlerts(store).update()
    runtime.advance_time(CRASH_RETRY_SPREAD)
    await send_due(store, {"a": fake}, 10, asyncio.Event())
    assert (await state_of(store), len(fake.calls), await reported(store)) == (
        State.PUBLISHED,
        1,
        [DISK_FULL],
    )


async def test_f82_the_alert_about_the_journal_lasts_while_nothing_is_due(
    store, runtime
):
    """F82: where no line is to be written, one is tried before the alert ends."""
    journal, system_alerts = store.database.journal, SystemAlerts(store)
    write_to(journal, Path("/dev/full"))
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    for _ in range(3):
        await system_alerts.update()
        assert await reported(store) == [JOURNAL_UNWRITABLE]
        runtime.advance_time(WRITE_ERROR_PERIOD)
    write_to(journal, journal.path)
    await system_alerts.update()
    assert await reported(store) == []


def write_to(journal, path):
    """Redirect a journal's lines to another file."""
    journal._file.close()
    journal._file = path.open("ab", buffering=0)


async def test_f82_while_the_journal_refuses_lines_nothing_is_called_or_held(
    store, runtime
):
    """F82: all due posts are sent once after half an hour without the journal.

    Meanwhile no more is claimed than at the first try.
    """
    posts = [make_post(f"p{number}", ["a"], START_TIME) for number in range(5)]
    await enqueue_posts(store.posts, *posts)
    fake, journal = FakeAdapter(now=runtime.now), store.database.journal
    write_to(journal, Path("/dev/full"))
    system_alerts = SystemAlerts(store)

    async def run_jobs():
        await store.maintenance.run()
        await send_due(store, {"a": fake}, 10, asyncio.Event())
        await system_alerts.update()
        runtime.advance_time(timedelta(minutes=1))

    for _ in range(30):
        await run_jobs()
    assert (await attempts(store), fake.calls, await reported(store)) == (
        1,
        [],
        [JOURNAL_UNWRITABLE],
    )
    write_to(journal, journal.path)
    for _ in range(10):
        await run_jobs()
    assert await reported(store) == []
    states = [delivery.state for delivery in await store.queries.deliveries()]
    assert (states, len(fake.calls), await attempts(store)) == (
        [State.PUBLISHED] * 6,
        6,
        7,
    )


async def test_f81_failed_writes_of_a_running_process_are_no_crash(
    store, disk, runtime
):
    """F81, F82: claims of a repeatedly refused intent are not held as a crash of the daemon."""
    fake = FakeAdapter(now=runtime.now)
    for _ in range(3):
        [lease] = await store.outbox.claim(1)
        await disk.fill(store)
        with pytest.raises(DatabaseError, match="full"):
            await store.outbox.record_intent(lease)
        disk.pages = disk.PLENTY
        runtime.advance_time(store.timing("a").lease_timeout)
        await store.maintenance.run()
    await send_due(store, {"a": fake}, 10, asyncio.Event())
    assert (await state_of(store), len(fake.calls)) == (State.PUBLISHED, 1)


async def test_f89_a_delivery_whose_intent_always_fails_is_held_and_starves_nobody(
    store, runtime
):
    """F89: a delivery's own bug, in a process that goes on, ends like one that kills it."""
    await enqueue_posts(
        store.posts, make_post("good", ["a"], START_TIME + timedelta(seconds=5))
    )
    bad = update(RENDERED_POST).where(RENDERED_POST.c.post == "p").values(body="{}")
    await store.database.write(lambda unit: unit.connection.execute(bad))
    fake = FakeAdapter(now=runtime.now)
    for _ in range(6):
        await store.maintenance.run()
        with suppress(ExceptionGroup):
            await send_due(store, {"a": fake}, 10, asyncio.Event())
        runtime.advance_time(timedelta(minutes=1))
    found = {
        delivery.key.post: delivery for delivery in await store.queries.deliveries()
    }
    assert (found["p"].state, found["p"].reason) == (State.HELD, "poison")
    assert found["good"].state is State.PUBLISHED


async def test_f83_a_full_disk_is_alerted_once_there_is_room(store, disk, runtime):
    """F83: an outcome that could not be written becomes unknown, and people are alerted why."""
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    await disk.fill(store)
    with pytest.raises(DatabaseError, match="full"):
        await store.outbox.record_outcome(lease, LIVE)
    disk.pages = disk.PLENTY
    runtime.advance_time(store.timing("a").lease_timeout)
    await SystemAlerts(store).update()
    await store.maintenance.run()
    assert (await state_of(store), await reported(store)) == (
        State.UNKNOWN,
        [DISK_FULL],
    )
