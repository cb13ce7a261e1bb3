"""A job that fails every time: people are alerted, once, until it works again."""

import asyncio
import os
import signal
import sqlite3
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError
from watchfiles import awatch

import publisher.daemon
import publisher.delivering
import publisher.reconciling
import publisher.retracting
from publisher.daemon import Daemon, _beat, _keep_watching, _prepare, _run_once
from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.delivery import State
from publisher.domain.outcome import Ready
from publisher.messages import Messages
from publisher.planning import reload
from publisher.reviewing import person
from publisher.settings import parse_settings
from publisher.store.board import Board
from publisher.store.checkups import PACE, Checkups
from publisher.store.engine import OvertakenError
from publisher.store.handovers import Handovers
from publisher.store.jobs import FAILURES_ALERTED, Jobs
from publisher.store.modes import Modes
from publisher.store.watches import Watches
from publisher.testing.builders import terms_of
from publisher.testing.fakes import FakeAdapter
from publisher.watching import probe_due, watch_due
from publisher.wiring.application import open_application
from tests.stages.test_planning import SETTINGS, entry

HOUR = timedelta(hours=1)


@asynccontextmanager
async def daemon_of(folder, world):
    settings = parse_settings(SETTINGS, workspace=folder)
    async with open_application(settings, world, sends=False) as application:
        yield Daemon(application, folder / "schedule.toml", Messages(settings.lang), world.now())


async def alerts(board):
    return [(alert.code, alert.facts["job"], alert.facts["number"]) for alert in await board.alerts()]


def broken(times):
    """Give a beat that fails so many times."""
    left = iter(range(times))

    async def plan():
        if next(left, None) is not None:
            raise ZeroDivisionError

    return plan


async def test_i10_a_beat_that_fails_every_time_is_an_alert_until_it_works(tmp_path, world):
    """I10: after three failures in a row, one alert however many follow; it says since when, and ends by itself."""
    async with daemon_of(tmp_path, world) as daemon:
        board, plan, told = daemon.application.board, broken(5), []
        since = world.now().isoformat()
        for _ in range(6):
            await _beat(daemon, plan)
            world.pass_time(timedelta(minutes=1))
            told.append(await alerts(board))
            if told[-1]:
                assert (await board.alerts())[0].facts["since"] == since
    assert told == [[], [], *[[("job_failing", "plan", "3")]] * 3, []]


async def test_i10_a_planning_that_fails_every_time_is_an_alert(tmp_path, world, monkeypatch):
    """I10: whatever planning stumbles over, the daemon goes on and people are alerted."""

    async def stumble(*_args):
        raise KeyError("p")

    async with daemon_of(tmp_path, world) as daemon:
        monkeypatch.setattr(publisher.daemon, "schedule_in_force", stumble)
        for _ in range(FAILURES_ALERTED):
            await _beat(daemon, daemon.plan)
        assert await alerts(daemon.application.board) == [("job_failing", "plan", "3")]
        monkeypatch.undo()
        await _beat(daemon, daemon.plan)
        assert await alerts(daemon.application.board) == []


async def test_i9_a_mistake_in_planning_keeps_no_daemon_from_starting(tmp_path, world, monkeypatch):
    """I9: what was filed before can go out; the beats try again."""
    started = []

    async def stumble(*_args):
        raise KeyError("p")

    def stop():
        started.append(True)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(publisher.daemon.Daemon, "read_schedule", stumble)
    assert await publisher.daemon.run(parse_settings(SETTINGS, workspace=tmp_path), world, ready=stop) == 0
    assert started == [True]


async def test_a_file_that_could_not_be_read_at_the_start_is_read_by_the_beats(tmp_path, world, monkeypatch):
    """What a mistake of ours prevents before the first call is tried again, though the file stays the same."""
    save(tmp_path, world)
    monkeypatch.setattr(publisher.daemon, "reload", failing_once(KeyError("p")))
    async with daemon_of(tmp_path, world) as daemon:
        await _prepare(daemon)
        assert await daemon.application.registry.schedule_text() is None
        await _beat(daemon, daemon.read_schedule)
        assert await daemon.application.registry.schedule_text() == entry("p")


def save(folder, world):
    """Write a schedule that has lain still for an hour."""
    file, instant = folder / "schedule.toml", (world.now() - HOUR).timestamp()
    file.write_text(entry("p"), "utf-8")
    os.utime(file, (instant, instant))


def busy():
    """Give the error of a database that another program holds."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return OperationalError("BEGIN IMMEDIATE", {}, error)


def failing_once(error):
    """Give a reload that fails the first time."""
    errors = [error]

    async def fail_once(*facts):
        if errors:
            raise errors.pop()
        return await reload(*facts)

    return fail_once


@pytest.mark.parametrize("error", [busy(), KeyError("p"), OvertakenError()], ids=["busy", "mistake", "overtaken"])
async def test_f81_a_file_that_could_not_be_filed_is_tried_again_by_the_next_beat(tmp_path, world, monkeypatch, error):
    """F81: whatever kept the file from coming into force, nobody needs to save it again."""
    save(tmp_path, world)
    monkeypatch.setattr(publisher.daemon, "reload", failing_once(error))
    async with daemon_of(tmp_path, world) as daemon:
        for _ in range(2):
            await _beat(daemon, daemon.read_schedule)
        assert await daemon.application.registry.schedule_text() == entry("p")


async def test_i10_a_file_that_can_never_be_filed_is_an_alert(tmp_path, world, monkeypatch):
    """I10: a mistake of ours in a reload fails at every beat, so that people are alerted."""

    async def stumble(*_args):
        raise KeyError("p")

    save(tmp_path, world)
    monkeypatch.setattr(publisher.daemon, "reload", stumble)
    async with daemon_of(tmp_path, world) as daemon:
        for _ in range(FAILURES_ALERTED):
            await _beat(daemon, daemon.read_schedule)
        assert await alerts(daemon.application.board) == [("job_failing", "read_schedule", "3")]


async def test_single_failures_of_a_beat_are_no_alert(tmp_path, world):
    """What works in between has not failed in a row, however long that goes on."""
    async with daemon_of(tmp_path, world) as daemon:
        for _ in range(5):
            plan = broken(2)
            for _ in range(3):
                await _beat(daemon, plan)
            world.pass_time(HOUR)
        assert await alerts(daemon.application.board) == []


async def test_f86_an_outage_of_the_database_is_no_failure_of_the_beats(tmp_path, world):
    """F86: a beat that could not reach the database has not failed, and ends no row of failures either."""

    class psycopg_error(Exception):  # noqa: N801, N818 # only its module counts
        sqlstate = None

    psycopg_error.__module__ = "psycopg.errors"

    async def away():
        raise OperationalError("SELECT 1", {}, psycopg_error())

    async with daemon_of(tmp_path, world) as daemon:
        failing = broken(3)
        for _ in range(10):
            await _beat(daemon, away)
        away.__name__ = "plan"
        for verb in (failing, failing, away, failing):
            await _beat(daemon, verb)
        assert await alerts(daemon.application.board) == [("job_failing", "plan", "3")]


async def test_the_alert_of_an_earlier_process_ends_when_the_job_works(open_desk, world):
    """A daemon that was started again with the mistake mended closes what its predecessor left."""
    desk = await open_desk(terms_of("a"))
    first, second, board = Jobs(desk.books), Jobs(desk.books), Board(desk.books)
    plan = broken(3)
    for _ in range(3):
        await first.run("plan", plan(), event="beat_failed")
    assert await alerts(board) == [("job_failing", "plan", "3")]
    await second.run("plan", plan(), event="beat_failed")
    assert await alerts(board) == []


async def test_an_alert_that_cannot_be_written_is_written_later(open_desk, world):
    """Writing it may fail as well: the daemon goes on, and the next failure tries again."""
    desk = await open_desk(terms_of("a"))
    jobs, board, plan = Jobs(desk.books), Board(desk.books), broken(4)

    def refuse(_connection, _cursor, statement, *_facts):
        if "INTO alert" in statement:
            raise RuntimeError

    event.listen(Engine, "before_cursor_execute", refuse)
    try:
        for _ in range(3):
            await jobs.run("plan", plan(), event="beat_failed")
    finally:
        event.remove(Engine, "before_cursor_execute", refuse)
    assert await alerts(board) == []
    await jobs.run("plan", plan(), event="beat_failed")
    assert await alerts(board) == [("job_failing", "plan", "4")]


class Odd(FakeAdapter):
    """A platform that answers what the watch stumbles over, until it is mended."""

    is_odd = True

    async def recent(self):
        return [None] if self.is_odd else await super().recent()

    async def probe(self):
        return Ready(until=7) if self.is_odd else await super().probe()


@pytest.mark.parametrize("job", ["watch", "probe"])
async def test_i10_a_watch_or_probe_that_fails_every_time_names_its_account(open_desk, world, job):
    """I10, I20: one account's watch or probe that always fails is told of; the other account's goes on; it ends."""
    desk = await open_desk(terms_of("a"), terms_of("b"))
    odd, fake, board = Odd(now=world.now), FakeAdapter(now=world.now), Board(desk.books)
    adapters, watches, checkups = {"a": odd, "b": fake}, Watches(desk.books), Checkups(desk.books)

    async def take_turns(times):
        for _ in range(times):
            world.pass_time(PACE)
            if job == "watch":
                assert await watch_due(watches, adapters, 10) == 2
            else:
                assert await probe_due(checkups, adapters, 10) == 2

    await take_turns(1)
    assert await board.alerts() == []
    await take_turns(5)
    [alert] = await board.alerts()
    assert (alert.code, alert.facts["job"], alert.facts["account"]) == ("job_failing", f"{job}_account", "a")
    assert alert.facts["event"] == f"{job}_failed"
    odd.is_odd = False
    await take_turns(1)
    assert await board.alerts() == []


async def test_the_alerts_of_an_account_end_when_it_is_handed_over(open_desk, world):
    """Nobody watches an account that has left: what was told of that ends with it."""
    desk = await open_desk(terms_of("a"))
    jobs, board, plan = Jobs(desk.books), Board(desk.books), broken(6)
    for job in ("watch_account", "probe_account"):
        for _ in range(3):
            await jobs.run(job, plan(), event="watch_failed", account=AccountId("a"))
    assert len(await board.alerts()) == 2
    await Handovers(desk.books).end(AccountId("a"), LoginId("one"), person("王"), is_shared=False)
    assert await board.alerts() == []


@pytest.mark.parametrize(("verb", "inner"), [("deliver", "deliver"), ("look", "reconcile"), ("retract", "_retract")])
async def test_i10_single_deliveries_that_fail_every_time_are_an_alert_of_their_beat(
    tmp_path, world, monkeypatch, verb, inner
):
    """I10: what a mistake does to each delivery is told like a beat that fails, though beats between find no work."""
    module = {"deliver": publisher.delivering, "look": publisher.reconciling, "retract": publisher.retracting}[verb]
    state = {"deliver": State.DUE, "look": State.UNKNOWN, "retract": State.RETRACTING}[verb]
    left = []

    async def take(*_facts, **_named):
        taken, left[:] = tuple(left), []
        return taken

    async def stumble(*_facts):
        raise KeyError("p")

    async def work(*_facts):
        pass

    async with daemon_of(tmp_path, world) as daemon:
        board, outbox = daemon.application.board, daemon.application.outbox
        monkeypatch.setattr(outbox, "claim" if verb == "deliver" else "doubts", take)
        found = SimpleNamespace(delivery=SimpleNamespace(id=1, account="a", state=state))
        monkeypatch.setattr(module, inner, stumble)
        for number in range(FAILURES_ALERTED):
            assert await alerts(board) == [], number
            left[:] = [found]
            await _beat(daemon, getattr(daemon, verb))
            await _beat(daemon, getattr(daemon, verb))
        assert await alerts(board) == [("job_failing", verb, "3")]
        monkeypatch.setattr(module, inner, work)
        left[:] = [found]
        await _beat(daemon, getattr(daemon, verb))
        assert await alerts(board) == []


async def test_i9_a_single_run_goes_on_where_single_deliveries_fail(tmp_path, world, monkeypatch):
    """I9: what fails for one delivery ends no `run --once`: what else is due goes out in the same round."""
    delivered = []

    async def look(*_facts):
        raise ExceptionGroup("look_failed", [KeyError("p")])

    async def deliver(*_facts):
        delivered.append(True)
        return 0

    monkeypatch.setattr(publisher.daemon, "reconcile_due", look)
    monkeypatch.setattr(publisher.daemon, "deliver_due", deliver)
    async with daemon_of(tmp_path, world) as daemon:
        async with asyncio.timeout(20):
            await _run_once(daemon)
        assert delivered == [True]


async def test_i10_a_job_without_work_for_an_hour_after_its_failures_is_over(open_desk, world):
    """I10: nothing to do proves nothing, but an alert does not stand for ever where nothing comes any more."""
    desk = await open_desk(terms_of("a"))
    jobs, board, plan = Jobs(desk.books), Board(desk.books), broken(3)

    async def idle():
        return 0

    for _ in range(3):
        await jobs.run("retract", plan(), event="beat_failed")
    await jobs.run("retract", idle(), event="beat_failed")
    assert await alerts(board) == [("job_failing", "retract", "3")]
    world.pass_time(HOUR)
    await jobs.run("retract", idle(), event="beat_failed")
    assert await alerts(board) == []


@pytest.mark.parametrize("job", ["watch", "probe"])
async def test_i10_the_alert_of_an_account_ends_when_it_is_switched_off(open_desk, world, job):
    """I10: nobody watches or probes an account that is off; an alert about another account stands."""
    desk = await open_desk(terms_of("a"), terms_of("b"))
    board, watches, checkups = Board(desk.books), Watches(desk.books), Checkups(desk.books)
    odd = Odd(now=world.now)

    async def take_turn():
        world.pass_time(PACE)
        if job == "watch":
            await watch_due(watches, {"a": odd, "b": odd}, 10)
        else:
            await probe_due(checkups, {"a": odd, "b": odd}, 10)

    for _ in range(FAILURES_ALERTED):
        await take_turn()
    assert {alert.facts["account"] for alert in await board.alerts()} == {"a", "b"}
    await Modes(desk.books).order(AccountId("a"), Mode.OFF, person("王"), "closed")
    await take_turn()
    assert {alert.facts["account"] for alert in await board.alerts()} == {"b"}
    await Modes(desk.books).order(AccountId("a"), None, person("王"), "open again")
    for _ in range(FAILURES_ALERTED):
        await take_turn()
    assert {alert.facts["account"] for alert in await board.alerts()} == {"a", "b"}


async def test_i10_watching_the_file_is_begun_again_and_its_alert_ends(tmp_path, world, monkeypatch):
    """I10: watching that fails again and again is an alert; once it works, the alert ends, and changes are noticed."""
    told = []
    async with daemon_of(tmp_path, world) as daemon:

        async def watch(*paths, **options):
            told.append(await alerts(daemon.application.board))
            if len(told) <= FAILURES_ALERTED:
                raise FileNotFoundError
            if len(told) == FAILURES_ALERTED + 2:
                daemon.stopping.set()
            async for changes in awatch(*paths, **options):
                yield changes

        monkeypatch.setattr(publisher.daemon, "awatch", watch)
        monkeypatch.setattr(publisher.daemon, "WATCH_PAUSE", 0.01)
        monkeypatch.setattr(publisher.daemon, "WATCH_SECONDS", 0.1)
        async with asyncio.timeout(20):
            await _keep_watching(daemon)
    assert told == [[], [], [], [("job_failing", "watch_file", "3")], []]
