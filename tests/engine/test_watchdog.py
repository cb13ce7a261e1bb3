"""The watchdog finds jobs that stand still, and reports each fault once."""

import asyncio
import resource
from datetime import timedelta

import pytest
from sqlalchemy import update

from publisher.config import Settings
from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.results import Unknown
from publisher.engine.decisions import named_person
from publisher.engine.sender import send_due
from publisher.engine.watchdog import (
    OVER_AFTER,
    Fault,
    Findings,
    find_faults,
    load_state,
    plan_reports,
    record_reports,
    save_state,
)
from publisher.store.db.tables import DELIVERY, LOGIN
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LI = named_person("li")
SILENT = Findings(faults={Fault.DAEMON_SILENT: {}})
FINE = Findings(faults={})


class WatchdogScene:
    """A daemon's database, and the watchdog's settings for it."""

    def __init__(self, store, url, folder):
        self.store, self.runtime = store, store.runtime
        accounts = {key: policy.account for key, policy in store.policies.items()}
        self.settings = Settings(
            workspace=folder, timezone=None, database=url, accounts=accounts
        )

    def look(self, worker="worker-1"):
        return find_faults(self.settings, worker, self.runtime.now()).faults

    async def beat_after(self, duration):
        """Let time pass while the daemon only writes its heartbeat."""
        self.runtime.advance_time(duration)
        await self.store.actions.heartbeat()


@pytest.fixture
async def scene(open_store, database_url, tmp_path):
    store = await open_store(make_policy("a"))
    await store.actions.register_worker()
    return WatchdogScene(store, database_url, tmp_path)


async def test_a_daemon_that_beats_and_has_nothing_to_do_is_fine(scene):
    """A daemon that beats and has nothing to do is no fault.

    Another workspace sees that some daemon lives, so it reports no fault either.
    """
    await enqueue_posts(scene.store.posts, make_post("later", ["a"], START_TIME + HOUR))
    assert scene.look() == scene.look("other:folder") == {}


async def test_a_daemon_without_a_heartbeat_is_silent(scene):
    """Half a minute without a heartbeat is a fault that names the last heartbeat.

    A daemon that was stopped in order is a fault as well.
    """
    scene.runtime.advance_time(timedelta(seconds=26))
    assert scene.look() == {Fault.DAEMON_SILENT: {"since": START_TIME.isoformat()}}
    await scene.beat_after(MINUTE)
    assert scene.look() == {}
    await scene.store.actions.deregister_worker()
    scene.runtime.advance_time(MINUTE)
    assert list(scene.look()) == [Fault.DAEMON_SILENT]


async def test_a_database_in_which_no_daemon_has_ever_run_is_a_fault(
    open_store, database_url, tmp_path
):
    """A watchdog that was enabled before the daemon says so."""
    assert WatchdogScene(
        await open_store(make_policy("a")), database_url, tmp_path
    ).look() == {Fault.DAEMON_SILENT: {}}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "content", [None, b"no database at all" * 99], ids=["gone", "damaged"]
)
async def test_a_database_that_cannot_be_read_is_a_fault_and_says_nothing_of_the_others(
    scene, content
):
    """Facts that cannot be known are neither reported nor called over.

    No file is created where there is none.
    """
    file = scene.settings.workspace / "elsewhere.db"
    if content:
        file.write_bytes(content)
    settings = Settings(
        workspace=file.parent, timezone=None, database=f"sqlite:///{file}"
    )
    findings = find_faults(settings, "worker-1", START_TIME)
    assert list(findings.faults) == [Fault.DATABASE_UNREADABLE]
    assert set(findings.unknown) == {Fault.DAEMON_SILENT, Fault.DELIVERY_STUCK}
    assert file.exists() is (content is not None)


async def test_a_server_that_is_away_is_a_fault_and_its_password_is_not_shown(tmp_path):
    """The reason names the address, and nothing of the secret in it."""
    url = "postgresql://publisher:canary-of-the-server@127.0.0.1:9/publisher"
    findings = find_faults(
        Settings(workspace=tmp_path, timezone=None, database=url),
        "worker-1",
        START_TIME,
    )
    reason = findings.faults[Fault.DATABASE_UNREADABLE]["reason"]
    assert ("127.0.0.1" in reason, "canary" in reason) == (True, False)


async def test_a_heartbeat_of_before_the_clock_was_set_back_is_silence(scene):
    """A dead daemon does not count as alive until the clock comes to its last heartbeat again."""
    assert scene.look() == {}
    scene.runtime.advance_time(-HOUR)
    assert list(scene.look()) == [Fault.DAEMON_SILENT]


async def test_what_is_due_and_not_sent_is_a_fault(scene):
    """A daemon that beats while nothing becomes due or is sent has a job that stands still."""
    await enqueue_posts(scene.store.posts, make_post("p", ["a"], START_TIME))
    await scene.beat_after(3 * MINUTE)
    assert scene.look()[Fault.DELIVERY_STUCK] == {
        "number": "1",
        "names": "p@a",
        "due": START_TIME.isoformat(),
    }
    await scene.store.maintenance.promote_due()
    assert list(scene.look()) == [Fault.DELIVERY_STUCK]


async def test_a_claim_that_nobody_ends_is_a_fault(scene):
    """A worker that has died with a delivery in its hands, and no daemon that expires the lease."""
    await enqueue_posts(scene.store.posts, make_post("p", ["a"], START_TIME))
    await scene.store.maintenance.promote_due()
    await scene.store.outbox.claim(1)
    await scene.beat_after(MINUTE)
    assert scene.look() == {}
    await scene.beat_after(3 * MINUTE)
    assert list(scene.look()) == [Fault.DELIVERY_STUCK]


async def test_an_unknown_outcome_that_nobody_reads_is_a_fault(scene):
    """A read may wait for others of its login, but not for a quarter of an hour."""
    fake = FakeAdapter(now=scene.runtime.now)
    fake.script.append(Unknown(reason="timeout"))
    await enqueue_posts(scene.store.posts, make_post("p", ["a"], START_TIME))
    await scene.store.maintenance.promote_due()
    await send_due(scene.store, {AccountId("a"): fake}, 5, asyncio.Event())
    await scene.beat_after(5 * MINUTE)
    assert scene.look() == {}
    await scene.beat_after(20 * MINUTE)
    assert list(scene.look()) == [Fault.DELIVERY_STUCK]


async def pause(scene):
    await scene.store.actions.pause("account:a", LI, "test")


async def switch_off(scene):
    await scene.store.actions.set_mode(AccountId("a"), Mode.OFF, LI, "test")


async def leave_settings(scene):
    scene.settings = Settings(
        workspace=scene.settings.workspace,
        timezone=None,
        database=scene.settings.database,
    )


async def start_cooldown(scene):
    until = {
        "cooldown_until": START_TIME + HOUR,
        "routine_cooldown_until": START_TIME + HOUR,
    }
    change = update(LOGIN).where(LOGIN.c.id == LoginId("fake/a")).values(until)
    await scene.store.database.write(lambda unit: unit.connection.execute(change))


async def follow(scene):
    change = update(DELIVERY).values(follows="other")
    await scene.store.database.write(lambda unit: unit.connection.execute(change))


@pytest.mark.parametrize(
    "reason", [pause, switch_off, leave_settings, start_cooldown, follow]
)
async def test_what_waits_for_a_reason_is_no_fault(scene, reason):
    """A pause, a disabled account, a limit or an unpublished original is no fault."""
    await enqueue_posts(scene.store.posts, make_post("p", ["a"], START_TIME))
    await scene.store.maintenance.promote_due()
    await reason(scene)
    await scene.beat_after(3 * MINUTE)
    assert scene.look() == {}


def test_each_fault_is_reported_once_then_after_the_interval_and_once_when_it_is_over():
    """An hour with a silent daemon gives two reports.

    The fault is over two minutes after it was last seen.
    """
    state, sent = {}, []
    for minute in range(90):
        now = START_TIME + minute * MINUTE
        state, reports = plan_reports(state, SILENT if minute < 70 else FINE, now, HOUR)
        state = record_reports(state, reports, now)
        sent += [(minute, report.is_over) for report in reports]
    assert sent == [(0, False), (60, False), (71, True)]
    assert state == {}


def test_the_second_list_hears_of_a_fault_that_lasts_and_of_its_end():
    """A fault that lasts a quarter of an hour is reported once to both lists.

    It is reported again after the interval. A short fault is reported only to one list.
    """
    state, sent = {}, []
    for minute in range(70):
        now = START_TIME + minute * MINUTE
        state, reports = plan_reports(
            state, SILENT if minute < 60 else FINE, now, HOUR, 15 * MINUTE
        )
        state = record_reports(state, reports, now)
        sent += [(minute, report.is_over, report.is_escalated) for report in reports]
    assert sent == [(0, False, False), (15, False, True), (61, True, True)]


def test_a_daemon_that_dies_at_each_start_is_one_fault():
    """A fault that comes back within two minutes was not over."""
    state, sent = {}, []
    for minute in range(30):
        now = START_TIME + minute * MINUTE
        state, reports = plan_reports(state, FINE if minute % 2 else SILENT, now, HOUR)
        state = record_reports(state, reports, now)
        sent += reports
    assert len(sent) == 1


def test_a_report_that_was_not_accepted_is_due_again_under_the_same_number():
    """Nothing is lost where a channel fails, neither the fault nor its end."""
    state, first = plan_reports({}, SILENT, START_TIME, HOUR)
    state, second = plan_reports(
        record_reports(state, [], START_TIME), SILENT, START_TIME + MINUTE, HOUR
    )
    assert (
        [report.id for report in first]
        == [report.id for report in second]
        == [first[0].id]
    )
    state = record_reports(state, second, START_TIME + MINUTE)
    for minutes in (2, 3):
        state, over = plan_reports(
            state, FINE, START_TIME + MINUTE + OVER_AFTER * minutes, HOUR
        )
        assert [report.is_over for report in over] == [True]


def test_what_cannot_be_known_is_neither_repeated_nor_over():
    """While the database cannot be read, an earlier fault stays as it was."""
    state, reports = plan_reports({}, SILENT, START_TIME, HOUR)
    state = record_reports(state, reports, START_TIME)
    blind = Findings(
        faults={Fault.DATABASE_UNREADABLE: {}},
        unknown=[Fault.DAEMON_SILENT, Fault.DELIVERY_STUCK],
    )
    state, reports = plan_reports(state, blind, START_TIME + 9 * HOUR, HOUR)
    assert [report.fault for report in reports] == [Fault.DATABASE_UNREADABLE]
    assert Fault.DAEMON_SILENT in state


def test_the_state_survives_and_is_rewritten_on_a_full_disk(tmp_path):
    """The state file keeps its size, so it can be rewritten on a full disk.

    Otherwise a fault would be reported at each look, because it could not be noted.
    """
    file = tmp_path / "var" / "watchdog.json"
    save_state(file, {})
    size = file.stat().st_size
    state, reports = plan_reports({}, SILENT, START_TIME, HOUR)
    state = record_reports(state, reports, START_TIME)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        save_state(file, state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (load_state(file), file.stat().st_size) == (state, size)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"daemon_silent": {}}', '{"a fault of later": 1}']
)
def test_a_state_that_cannot_be_read_counts_as_empty(tmp_path, text):
    """A torn file makes the watchdog report once more, and never fail."""
    file = tmp_path / "watchdog.json"
    file.write_text(text, "utf-8")
    assert load_state(file) == load_state(tmp_path / "none.json") == {}
