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
from structlog.testing import capture_logs

import publisher.daemon
import publisher.engine.file_watch
import publisher.engine.reconciler
import publisher.engine.sender
from publisher.app.application import open_application
from publisher.config import parse_settings
from publisher.daemon import Daemon, run_once, watch_file_until_stopped
from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.delivery import State
from publisher.domain.results import Healthy
from publisher.engine.decisions import named_person
from publisher.engine.file_watch import watch_files
from publisher.engine.job_scheduler import Job
from publisher.engine.monitor import check_logins_due, monitor_due
from publisher.engine.planner import apply_schedule
from publisher.i18n import Messages
from publisher.store.approvals.guard import APPROVAL_NEEDED
from publisher.store.db.database import ConcurrentUpdateError
from publisher.store.db.rows import raise_alert
from publisher.store.monitor.login_health import PROBE_INTERVAL
from publisher.store.system_alerts import FAILURES_BEFORE_ALERT, JobRunner
from publisher.testing.builders import make_policy
from publisher.testing.fakes import FakeAdapter
from tests.engine.test_planner import SETTINGS, entry

HOUR = timedelta(hours=1)


@asynccontextmanager
async def daemon_of(folder, runtime):
    settings = parse_settings(SETTINGS, workspace=folder)
    async with open_application(settings, runtime, can_send=False) as application:
        yield Daemon(
            application,
            folder / "schedule.toml",
            Messages(settings.lang),
            runtime.now(),
        )


async def alerts(board):
    return [
        (alert.code, alert.facts["job"], alert.facts["number"])
        for alert in await board.alerts()
    ]


def plan_job(work):
    """Return a job under the planner's name."""
    return Job("plan", work, 0.0, 1.0)


def failing_job(times):
    """Return a job that fails the given number of times."""
    left = iter(range(times))

    async def plan():
        if next(left, None) is not None:
            raise ZeroDivisionError

    return plan


async def test_i10_a_job_that_fails_every_time_is_an_alert_until_it_works(
    tmp_path, runtime
):
    """I10: after three failures in a row, there is one alert for any number of failures.

    It states the time of the first failure, and ends by itself.
    """
    async with daemon_of(tmp_path, runtime) as daemon:
        board, plan, reported = daemon.application.store.queries, failing_job(5), []
        since = runtime.now().isoformat()
        for _ in range(6):
            await daemon.run_job(plan_job(plan))
            runtime.advance_time(timedelta(minutes=1))
            reported.append(await alerts(board))
            if reported[-1]:
                assert (await board.alerts())[0].facts["since"] == since
    assert reported == [[], [], *[[("job_failing", "plan", "3")]] * 3, []]


async def test_i10_a_planning_that_fails_every_time_is_an_alert(
    tmp_path, runtime, monkeypatch
):
    """I10: the daemon goes on after any error of planning, and people are alerted."""

    async def stumble(*_args):
        raise KeyError("p")

    async with daemon_of(tmp_path, runtime) as daemon:
        monkeypatch.setattr(publisher.daemon, "active_schedule", stumble)
        for _ in range(FAILURES_BEFORE_ALERT):
            await daemon.run_job(daemon.jobs["plan"])
        assert await alerts(daemon.application.store.queries) == [
            ("job_failing", "plan", "3")
        ]
        monkeypatch.undo()
        await daemon.run_job(daemon.jobs["plan"])
        assert await alerts(daemon.application.store.queries) == []


@pytest.mark.long
async def test_i9_a_bug_in_planning_keeps_no_daemon_from_starting(
    tmp_path, runtime, monkeypatch
):
    """I9: posts filed before can be sent; the planning job tries again."""
    started = []

    async def stumble(*_args):
        raise KeyError("p")

    def stop(_code, **_facts):
        started.append(True)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(publisher.daemon.Daemon, "read_schedule", stumble)
    assert (
        await publisher.daemon.run(
            parse_settings(SETTINGS, workspace=tmp_path), runtime, report=stop
        )
        == 0
    )
    assert started == [True]


async def test_a_file_that_could_not_be_read_at_the_start_is_read_later(
    tmp_path, runtime, monkeypatch
):
    """A file left unread at the start by a bug is read later, although it did not change."""
    save(tmp_path, runtime)
    monkeypatch.setattr(publisher.daemon, "apply_schedule", failing_once(KeyError("p")))
    async with daemon_of(tmp_path, runtime) as daemon:
        await daemon.try_initial_load()
        assert await daemon.application.store.posts.active_schedule_text() is None
        await daemon.run_job(daemon.jobs["read_schedule"])
        assert await daemon.application.store.posts.active_schedule_text() == entry("p")


def save(folder, runtime):
    """Write a schedule with its last change an hour ago."""
    file, instant = folder / "schedule.toml", (runtime.now() - HOUR).timestamp()
    file.write_text(entry("p"), "utf-8")
    os.utime(file, (instant, instant))


def busy():
    """Return the error of a database that is locked by another program."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return OperationalError("BEGIN IMMEDIATE", {}, error)


def failing_once(error):
    """Return a reload that fails the first time."""
    errors = [error]

    async def fail_once(*facts, **more):
        if errors:
            raise errors.pop()
        return await apply_schedule(*facts, **more)

    return fail_once


@pytest.mark.parametrize(
    "error",
    [busy(), KeyError("p"), ConcurrentUpdateError()],
    ids=["busy", "mistake", "overtaken"],
)
async def test_f81_a_file_that_could_not_be_filed_is_tried_again_by_the_next_run(
    tmp_path, runtime, monkeypatch, error
):
    """F81: a file that was not applied for any reason is tried again without another save."""
    save(tmp_path, runtime)
    monkeypatch.setattr(publisher.daemon, "apply_schedule", failing_once(error))
    async with daemon_of(tmp_path, runtime) as daemon:
        for _ in range(2):
            await daemon.run_job(daemon.jobs["read_schedule"])
        assert await daemon.application.store.posts.active_schedule_text() == entry("p")


async def test_i10_a_file_that_can_never_be_filed_is_an_alert(
    tmp_path, runtime, monkeypatch
):
    """I10: a bug in a reload fails at every run, so that people are alerted."""

    async def stumble(*_args):
        raise KeyError("p")

    save(tmp_path, runtime)
    monkeypatch.setattr(publisher.daemon, "apply_schedule", stumble)
    async with daemon_of(tmp_path, runtime) as daemon:
        for _ in range(FAILURES_BEFORE_ALERT):
            await daemon.run_job(daemon.jobs["read_schedule"])
        assert await alerts(daemon.application.store.queries) == [
            ("job_failing", "read_schedule", "3")
        ]


async def test_single_failures_of_a_job_are_no_alert(tmp_path, runtime):
    """Failures with successes in between are not in a row, however long that goes on."""
    async with daemon_of(tmp_path, runtime) as daemon:
        for _ in range(5):
            plan = failing_job(2)
            for _ in range(3):
                await daemon.run_job(plan_job(plan))
            runtime.advance_time(HOUR)
        assert await alerts(daemon.application.store.queries) == []


async def test_f86_an_outage_of_the_database_is_no_failure_of_the_jobs(
    tmp_path, runtime
):
    """F86: a run without the database has not failed.

    It does not reset the count of failures either.
    """

    class psycopg_error(Exception):  # noqa: N801, N818 # only its module counts
        sqlstate = None

    psycopg_error.__module__ = "psycopg.errors"

    async def away():
        raise OperationalError("SELECT 1", {}, psycopg_error())

    async with daemon_of(tmp_path, runtime) as daemon:
        failing = failing_job(3)
        for _ in range(10):
            await daemon.run_job(plan_job(away))
        for verb in (failing, failing, away, failing):
            await daemon.run_job(plan_job(verb))
        assert await alerts(daemon.application.store.queries) == [
            ("job_failing", "plan", "3")
        ]


async def test_the_alert_of_an_earlier_process_ends_when_the_job_works(
    open_store, runtime
):
    """A daemon that was restarted with the bug fixed closes the alert that its predecessor left."""
    store = await open_store(make_policy("a"))
    first, second, queries = JobRunner(store), JobRunner(store), store.queries
    plan = failing_job(3)
    for _ in range(3):
        await first.run("plan", plan, event="job_failed")
    assert await alerts(queries) == [("job_failing", "plan", "3")]
    await second.run("plan", plan, event="job_failed")
    assert await alerts(queries) == []


async def test_an_alert_that_cannot_be_written_is_written_later(open_store, runtime):
    """Writing it may fail as well: the daemon goes on, and the next failure tries again."""
    store = await open_store(make_policy("a"))
    jobs, board, plan = JobRunner(store), store.queries, failing_job(4)

    def refuse(_connection, _cursor, statement, *_facts):
        if "INTO alert" in statement:
            raise RuntimeError

    event.listen(Engine, "before_cursor_execute", refuse)
    try:
        for _ in range(3):
            await jobs.run("plan", plan, event="job_failed")
    finally:
        event.remove(Engine, "before_cursor_execute", refuse)
    assert await alerts(board) == []
    await jobs.run("plan", plan, event="job_failed")
    assert await alerts(board) == [("job_failing", "plan", "4")]


class Odd(FakeAdapter):
    """A platform with an answer that makes monitoring fail, until it is repaired."""

    is_odd = True

    async def list_recent(self):
        return [None] if self.is_odd else await super().list_recent()

    async def check_health(self):
        return (
            Healthy(credentials_expire_at=7)
            if self.is_odd
            else await super().check_health()
        )


@pytest.mark.parametrize(
    ("job", "failure"),
    [("monitor_account", "monitor_failed"), ("check_login", "login_check_failed")],
)
async def test_i10_monitoring_or_probing_that_fails_every_time_names_its_account(
    open_store, runtime, job, failure
):
    """I10, I20: an account has an alert if its monitoring or probing always fails.

    The job of the other account goes on.
    """
    store = await open_store(make_policy("a"), make_policy("b"))
    odd, fake, queries = (
        Odd(now=runtime.now),
        FakeAdapter(now=runtime.now),
        store.queries,
    )
    adapters, monitoring, checkups = (
        {"a": odd, "b": fake},
        store.monitoring,
        store.login_health,
    )

    async def take_turns(times):
        for _ in range(times):
            runtime.advance_time(PROBE_INTERVAL)
            if job == "monitor_account":
                assert await monitor_due(monitoring.store, adapters, 10) == 2
            else:
                assert await check_logins_due(checkups.store, adapters, 10) == 2

    await take_turns(1)
    assert await queries.alerts() == []
    await take_turns(5)
    [alert] = await queries.alerts()
    assert (alert.code, alert.facts["job"], alert.facts["account"]) == (
        "job_failing",
        job,
        "a",
    )
    assert alert.facts["event"] == failure
    odd.is_odd = False
    await take_turns(1)
    assert await queries.alerts() == []


async def test_the_alerts_of_an_account_end_when_it_is_offboarded(open_store, runtime):
    """Nobody monitors an account that has left: its alerts end."""
    store = await open_store(make_policy("a"))
    jobs, board, plan = JobRunner(store), store.queries, failing_job(6)
    for job in ("monitor_account", "check_login"):
        for _ in range(3):
            await jobs.run(job, plan, event="monitor_failed", account=AccountId("a"))
    assert len(await board.alerts()) == 2
    await store.actions.finish_offboarding(
        AccountId("a"), LoginId("one"), named_person("王"), is_shared=False
    )
    assert await board.alerts() == []


@pytest.mark.parametrize(
    ("verb", "inner"),
    [
        ("send", "send_delivery"),
        ("reconcile", "reconcile"),
        ("retract", "retract_delivery"),
    ],
)
async def test_i10_single_deliveries_that_fail_every_time_are_an_alert_of_their_job(
    tmp_path, runtime, monkeypatch, verb, inner
):
    """I10: a bug that fails each delivery is reported like a failing job.

    Runs between find no work.
    """
    module = {
        "send": publisher.engine.sender,
        "reconcile": publisher.engine.reconciler,
        "retract": publisher.engine.reconciler,
    }[verb]
    state = {
        "send": State.DUE,
        "reconcile": State.UNKNOWN,
        "retract": State.RETRACTING,
    }[verb]
    left = []

    async def take(*_facts, **_named):
        taken, left[:] = tuple(left), []
        return taken

    async def stumble(*_facts):
        raise KeyError("p")

    async def work(*_facts):
        pass

    async def has_work(_within):
        return True

    async with daemon_of(tmp_path, runtime) as daemon:
        monkeypatch.setattr(daemon.application.store.maintenance, "has_work", has_work)
        board, outbox = (
            daemon.application.store.queries,
            daemon.application.store.outbox,
        )
        daemon.application.adapters["a"] = object()
        monkeypatch.setattr(
            outbox, "claim" if verb == "send" else "due_readbacks", take
        )
        found = SimpleNamespace(
            delivery=SimpleNamespace(id=1, account="a", state=state)
        )
        monkeypatch.setattr(module, inner, stumble)
        for number in range(FAILURES_BEFORE_ALERT):
            assert await alerts(board) == [], number
            left[:] = [found]
            await daemon.run_job(daemon.jobs[verb])
            await daemon.run_job(daemon.jobs[verb])
        assert await alerts(board) == [("job_failing", verb, "3")]
        monkeypatch.setattr(module, inner, work)
        left[:] = [found]
        await daemon.run_job(daemon.jobs[verb])
        assert await alerts(board) == []


async def test_i9_a_single_run_goes_on_where_single_deliveries_fail(
    tmp_path, runtime, monkeypatch
):
    """I9: an error in one delivery does not end `run --once`.

    The other due deliveries are sent in the same run.
    """
    delivered = []

    async def look(*_facts):
        raise ExceptionGroup("readback_failed", [KeyError("p")])

    async def deliver(*_facts):
        delivered.append(True)
        return 0

    monkeypatch.setattr(publisher.daemon, "reconcile_due", look)
    monkeypatch.setattr(publisher.daemon, "send_due", deliver)
    async with daemon_of(tmp_path, runtime) as daemon:
        async with asyncio.timeout(20):
            await run_once(daemon)
        assert delivered == [True]


@pytest.mark.parametrize(("due_in_hours", "exit_code"), [(20, 0), (-1, 1)])
async def test_a_single_run_asks_for_approvals_only_once_a_post_is_due(
    tmp_path, runtime, due_in_hours, exit_code
):
    """An alert about a post of tomorrow is no failure of today's run.

    An alert about a waiting post is one.
    """
    async with daemon_of(tmp_path, runtime) as daemon:
        due_at = runtime.now() + timedelta(hours=due_in_hours)
        facts = {"post": "p", "due": due_at.isoformat(), "stages": "审核"}
        store = daemon.application.store
        await store.database.write(
            lambda unit: raise_alert(unit, runtime.now(), APPROVAL_NEEDED, "p", facts)
        )
        assert await run_once(daemon) == exit_code


async def test_i10_the_alert_of_a_job_without_work_ends_after_an_hour(
    open_store, runtime
):
    """I10: the alert of a job without work ends after an hour.

    A lack of work proves nothing, but the alert does not stay for ever.
    """
    store = await open_store(make_policy("a"))
    jobs, board, plan = JobRunner(store), store.queries, failing_job(3)

    async def idle():
        return 0

    for _ in range(3):
        await jobs.run("retract", plan, event="job_failed")
    await jobs.run("retract", idle, event="job_failed")
    assert await alerts(board) == [("job_failing", "retract", "3")]
    runtime.advance_time(HOUR)
    await jobs.run("retract", idle, event="job_failed")
    assert await alerts(board) == []


@pytest.mark.parametrize("job", ["monitor_account", "check_login"])
async def test_i10_the_alert_of_an_account_ends_when_it_is_switched_off(
    open_store, runtime, job
):
    """I10: nobody monitors or probes an account that is off, so its alert ends.

    An alert about another account stays.
    """
    store = await open_store(make_policy("a"), make_policy("b"))
    board, monitoring, checkups = store.queries, store.monitoring, store.login_health
    odd = Odd(now=runtime.now)

    async def take_turn():
        runtime.advance_time(PROBE_INTERVAL)
        if job == "monitor_account":
            await monitor_due(monitoring.store, {"a": odd, "b": odd}, 10)
        else:
            await check_logins_due(checkups.store, {"a": odd, "b": odd}, 10)

    for _ in range(FAILURES_BEFORE_ALERT):
        await take_turn()
    assert {alert.facts["account"] for alert in await board.alerts()} == {"a", "b"}
    await store.actions.set_mode(AccountId("a"), Mode.OFF, named_person("王"), "closed")
    await take_turn()
    assert {alert.facts["account"] for alert in await board.alerts()} == {"b"}
    await store.actions.set_mode(AccountId("a"), None, named_person("王"), "open again")
    for _ in range(FAILURES_BEFORE_ALERT):
        await take_turn()
    assert {alert.facts["account"] for alert in await board.alerts()} == {"a", "b"}


async def test_i10_file_watching_is_restarted_and_its_alert_ends(
    tmp_path, runtime, monkeypatch
):
    """I10: file watching that fails again and again is an alert.

    It ends once changes are noticed again.
    """
    reported = []
    async with daemon_of(tmp_path, runtime) as daemon:

        async def watch(*facts):
            reported.append(await alerts(daemon.application.store.queries))
            if len(reported) <= FAILURES_BEFORE_ALERT:
                raise FileNotFoundError
            if len(reported) == FAILURES_BEFORE_ALERT + 2:
                daemon.stop_requested.set()
            async for changes in watch_files(*facts):
                yield changes

        monkeypatch.setattr(publisher.daemon, "watch_files", watch)
        monkeypatch.setattr(publisher.engine.file_watch, "LOOK_INTERVAL_SECONDS", 0.01)
        monkeypatch.setattr(publisher.daemon, "FILE_WATCH_RETRY_SECONDS", 0.01)
        monkeypatch.setattr(publisher.daemon, "FILE_WATCH_TIMEOUT_SECONDS", 0.1)
        async with asyncio.timeout(20):
            await watch_file_until_stopped(daemon)
    assert reported == [[], [], [], [("job_failing", "watch_schedule_file", "3")], []]


async def test_f86_an_outage_is_one_line_of_the_log(open_store, runtime):
    """F86: the log has one line when the database goes away and one when it is back.

    The number of failing jobs does not matter.
    """
    store = await open_store(make_policy("a"))
    jobs = JobRunner(store)

    async def away() -> None:
        raise busy()

    async def works() -> int:
        return 1

    with capture_logs() as lines:
        for _ in range(3):
            for job in ("send", "plan"):
                await jobs.run(job, away, event="job_failed")
        for job in ("send", "plan"):
            await jobs.run(job, works, event="job_failed")
    assert [line["event"] for line in lines] == [
        "database_unavailable",
        "database_available",
    ]
