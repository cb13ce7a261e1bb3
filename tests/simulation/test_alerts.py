"""Each fault that people must hear of, provoked on the simulated platforms.

It is reported in a minute, once, and its end is reported, too.
"""

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

import publisher.daemon
from publisher.app.open_store import build_worker_id, open_store
from publisher.engine.decisions import Resolution, named_person
from publisher.engine.watchdog import (
    DAEMON_SILENT_AFTER,
    Fault,
    find_faults,
    plan_reports,
    record_reports,
)
from publisher.simulator.weibo.auth import TOKENS_TABLE
from publisher.store.monitor.preflight import MAX_LOOK_AGE
from tests.chaos.mutants.patch import Patch
from tests.e2e.test_run import png
from tests.simulation.alert_scenarios import request_probe
from tests.simulation.artefacts import violations
from tests.simulation.platforms import EPOCH
from tests.simulation.scenarios import standing
from tests.simulation.simulation import Shape, Simulation, opened
from tests.simulation.workspace import SchedulePost, identity_of, instant, platform_of

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
WANG = named_person("王")
SOON = timedelta(seconds=25)


@dataclass
class AlertScene:
    """A running simulation with one fault that is provoked on one account, and cured."""

    simulation: Simulation
    account: str
    patches: ExitStack = field(default_factory=ExitStack)
    kept: bytes = b""
    """The picture that is torn."""

    @property
    def identity(self):
        return identity_of(self.account)

    @property
    def faults(self):
        return self.simulation.platforms.faults

    def post(self, name="fog", after=5.0, **more):
        """Add a post that is due so many seconds from now, and let it be filed."""
        simulation = self.simulation
        simulation.workspace.add(
            SchedulePost(
                id=name,
                title=f"大雾提醒{name}",
                accounts=(self.account,),
                at=instant(simulation.now + after),
                **more,
            )
        )
        simulation.workspace.write(instant(simulation.now))
        simulation.run_command(simulation.reload())

    def publish(self, name="fog"):
        self.post(name)
        assert self.simulation.pass_until(
            lambda: (name, self.account) in standing(self.simulation, "published"), 90
        )

    def pass_hours(self, is_so, most):
        """Let at most so many hours pass, until the condition holds.

        Jobs follow each other slowly.
        """
        until = self.simulation.loop.time() + most * HOUR
        while not is_so() and self.simulation.loop.time() < until:
            self.simulation.pass_time(5 * MINUTE, pace=120)

    def check_sign_in(self):
        """Ask the platform now whether the sign-in works, as after a person's change."""
        self.simulation.run_command(request_probe(self.simulation, self.account))

    def acknowledge(self, code):
        [row] = self.alerts(code)

        async def dismiss():
            async with open_store(
                self.simulation.settings, self.simulation.new_runtime()
            ) as store:
                await store.actions.dismiss_alert(row["id"], WANG)

        self.simulation.run_command(dismiss())

    def change_rows(self, statement, *facts):
        with (
            closing(sqlite3.connect(self.simulation.workspace.database)) as connection,
            connection,
        ):
            connection.execute(statement, facts)

    def alerts(self, code):
        return self.simulation.rows(
            "SELECT * FROM alert WHERE code = ? ORDER BY id", code
        )

    def accepted(self, alert, channel="duty"):
        """Return the numbers of an alert's notices that a channel accepted, with their times."""
        return {
            message["key"].partition("@")[0]: message["at"]
            for message in self.simulation.channels.messages
            if message["channel"] == channel
            and message["key"].startswith(f"{alert}-")
            and message["is_accepted"]
        }


def be_refused(scene):
    scene.faults.own[scene.identity] = [{"kind": "captcha"}]
    scene.post()


def decide(scene):
    simulation = scene.simulation
    [row] = simulation.rows("SELECT id FROM delivery WHERE state = 'held'")
    simulation.resume_all()
    simulation.run_command(simulation.resolve(row["id"], Resolution.CANCEL))


def fail(scene):
    scene.faults.own[scene.identity] = [{"kind": "api_error", "code": "20012"}]
    scene.post()


def cancel(scene):
    scene.simulation.run_command(scene.simulation.cancel("fog"))


def expire(scene):
    scene.simulation.connect_failure = "refused"
    scene.post(after=60.0, expires=instant(scene.simulation.now + 60) + SOON)
    scene.simulation.pass_time(80)


def cancel_online(scene):
    scene.simulation.connect_failure = None
    cancel(scene)


def remove(scene):
    scene.publish()
    scene.pass_hours(lambda: False, 3)
    [post] = [
        one
        for one in scene.simulation.platforms.state.posts.values()
        if "大雾" in one.text
    ]
    scene.simulation.platforms.state.remove_post(post, "platform")
    scene.pass_hours(lambda: standing(scene.simulation, "removed"), 30)


def post_by_others(scene):
    scene.pass_hours(lambda: False, 3)
    scene.simulation.platforms.post_by_hand(
        platform_of(scene.account), scene.identity, "转发", "转发抽奖"
    )
    scene.pass_hours(lambda: scene.alerts("unauthorized_post"), 6)


def refuse_sign_in(scene):
    scene.faults.always[scene.identity] = [{"kind": "expire_token"}]
    scene.check_sign_in()


def block(code):
    def change(scene):
        scene.faults.always[scene.identity] = [{"kind": "api_error", "code": code}]
        scene.check_sign_in()

    return change


def work_again(scene):
    scene.faults.always.clear()
    scene.check_sign_in()


def end_token_in(days):
    def change(scene):
        now = int(scene.simulation.now)
        token = {"made": now, "ends": now + days * int(DAY)}
        scene.simulation.platforms.state.put_row(TOKENS_TABLE, scene.identity, token)
        scene.check_sign_in()

    return change


def fall_silent(scene):
    scene.publish()
    scene.simulation.stop_for(10 * DAY)
    scene.simulation.pass_time(10 * DAY + 90)


def publish_again(scene):
    scene.publish("news")
    scene.pass_hours(lambda: scene.alerts("silence_notice")[0]["cleared_at"], 12)


def pile_up(scene):
    for number in range(3):
        scene.post(f"fog-{number}", after=60.0)
    scene.simulation.pass_time(11.5 * MINUTE, pace=4)


def wait_for_quota(scene):
    scene.pass_hours(lambda: False, 2.2)


def lose_clock(scene):
    scene.simulation.set_clock(HOUR)


def correct_clock(scene):
    scene.simulation.set_clock(0.0)


async def _fail(*_facts, **_named):
    raise ZeroDivisionError


def break_job(scene):
    patch = scene.patches.enter_context(Patch())
    patch.put(publisher.daemon, "plan_window", _fail)
    scene.post()
    scene.simulation.pass_until(lambda: scene.alerts("job_failing"), 10 * MINUTE)


def repair_job(scene):
    scene.patches.close()


def post_tomorrow(scene):
    scene.post(after=20 * HOUR)


def be_unreachable(scene):
    scene.simulation.connect_failure = "refused"
    post_tomorrow(scene)
    scene.check_sign_in()


def be_reachable(scene):
    scene.simulation.connect_failure = None
    scene.check_sign_in()


def fill_quota(scene):
    for number in range(4):
        scene.post(f"fog-{number}", after=20 * HOUR, max_delay="90m")


def cancel_two(scene):
    for number in range(2):
        scene.simulation.run_command(scene.simulation.cancel(f"fog-{number}"))


def approve(scene):
    scene.simulation.approve_all()


def post_unapproved(scene):
    scene.post(after=HOUR)


def tear_picture(scene):
    simulation = scene.simulation
    (simulation.workspace.folder / "media" / "fog.png").write_bytes(png(120))
    scene.post(after=HOUR + 2 * MINUTE, picture="media/fog.png")
    simulation.pass_time(MINUTE)  # it is found in order
    [row] = simulation.rows("SELECT data FROM media")
    scene.kept = row["data"]
    scene.change_rows("UPDATE media SET data = ?", scene.kept[:-9])


def repair_picture(scene):
    scene.change_rows("UPDATE media SET data = ?", scene.kept)


@dataclass(frozen=True, kw_only=True)
class SimulatedAlertCase:
    """A fault: the code of its alert, its cause and cure, and the report of its end."""

    code: str
    provoke: Callable[[AlertScene], object]
    cure: Callable[[AlertScene], object]
    account: str = "weibo-a"
    last: str = "closed"
    per_hour: int = 1000
    needs_approval: bool = False
    reported_within: float = MINUTE
    """Maximum seconds until the report.

    `provoke` itself waits for the reading or the failures that show a fault.
    """


FAULTS = {
    "held": SimulatedAlertCase(code="held.captcha", provoke=be_refused, cure=decide),
    "failed": SimulatedAlertCase(code="failed.weibo_20012", provoke=fail, cure=cancel),
    "expired": SimulatedAlertCase(
        code="expired.expired_retrying", provoke=expire, cure=cancel_online
    ),
    "removed": SimulatedAlertCase(
        code="removed.removed_on_platform", provoke=remove, cure=cancel
    ),
    "unauthorized post": SimulatedAlertCase(
        code="unauthorized_post",
        provoke=post_by_others,
        cure=lambda scene: scene.acknowledge("unauthorized_post"),
        last="acknowledged",
    ),
    "credential ending": SimulatedAlertCase(
        code="credentials_expiring", provoke=end_token_in(5), cure=end_token_in(90)
    ),
    "silent account": SimulatedAlertCase(
        code="silence_notice", provoke=fall_silent, cure=publish_again
    ),
    "backlog": SimulatedAlertCase(
        code="backlog", provoke=pile_up, cure=wait_for_quota, per_hour=1
    ),
    "clock": SimulatedAlertCase(
        code="clock_wrong", provoke=lose_clock, cure=correct_clock
    ),
    "job": SimulatedAlertCase(code="job_failing", provoke=break_job, cure=repair_job),
    "pre-flight: sign-in": SimulatedAlertCase(
        code="login_refused", provoke=refuse_sign_in, cure=work_again
    ),
    "pre-flight: permission": SimulatedAlertCase(
        code="account_blocked", provoke=block("10014"), cure=work_again
    ),
    "pre-flight: address": SimulatedAlertCase(
        code="account_blocked",
        provoke=block("40164"),
        cure=work_again,
        account="wechat-a",
    ),
    "pre-flight: host": SimulatedAlertCase(
        code="platform_unreachable", provoke=be_unreachable, cure=be_reachable
    ),
    "pre-flight: quota": SimulatedAlertCase(
        code="quota_short", provoke=fill_quota, cure=cancel_two, per_hour=1
    ),
    "pre-flight: picture": SimulatedAlertCase(
        code="picture_unreadable",
        provoke=tear_picture,
        cure=repair_picture,
        reported_within=MINUTE
        + MAX_LOOK_AGE.total_seconds()
        + MINUTE,  # the check follows in a minute
    ),
    "pre-flight: approvals": SimulatedAlertCase(
        code="approval_needed",
        provoke=post_unapproved,
        cure=approve,
        needs_approval=True,
    ),
}


@pytest.mark.long
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            FAULTS[name], id=name, marks=pytest.mark.extra if place % 2 else ()
        )
        for place, name in enumerate(FAULTS)
    ],
)
def test_a_fault_on_a_platform_is_reported_within_a_minute_once_and_ends(fault):
    """A fault causes one alert, one notice within 60 s, and one more when it is cured.

    The checker agrees.
    """
    shape = Shape(
        accounts=(fault.account,),
        storm=0.0,
        pace=1.0,
        per_hour=fault.per_hour,
        needs_approval=fault.needs_approval,
        notifies=True,
    )
    entry = SchedulePost(
        id="far",
        title="以后的提醒",
        accounts=shape.accounts,
        at=instant(EPOCH + 3 * DAY),
    )
    with (
        opened(f"fault/{fault.code}", shape, [entry]) as simulation,
        ExitStack() as patches,
    ):
        scene = AlertScene(simulation, fault.account, patches)
        simulation.pass_time(45)
        fault.provoke(scene)
        provoked_at = simulation.now
        simulation.pass_until(lambda: scene.alerts(fault.code), fault.reported_within)
        simulation.pass_time(MINUTE)
        [alert] = scene.alerts(fault.code)
        raised_at = simulation.true_time.instants["alert"][str(alert["id"])]["at"]
        first = f"{alert['id']}-1"
        assert scene.accepted(alert["id"]).keys() == {first}
        assert scene.accepted(alert["id"])[first] - raised_at <= MINUTE
        assert scene.accepted(alert["id"])[first] - provoked_at <= fault.reported_within
        fault.cure(scene)
        simulation.pass_until(
            lambda: f"{alert['id']}-2" in scene.accepted(alert["id"]), 15 * MINUTE
        )
        simulation.pass_time(5 * MINUTE, pace=4)
        [alert] = scene.alerts(fault.code)
        assert (alert["notice"], list(scene.accepted(alert["id"]))) == (
            fault.last,
            [first, f"{alert['id']}-2"],
        )
        assert [
            found for found in violations(simulation) if found.startswith("I10")
        ] == []


@pytest.mark.long
@pytest.mark.parametrize(
    "stop", [Simulation.stop_for, Simulation.freeze], ids=["killed", "frozen"]
)
def test_a_daemon_that_stops_is_reported_by_the_watchdog_within_a_minute_once_and_ends(
    stop,
):
    """The watchdog reports a stopped daemon within a minute, once, and its end.

    It looks every 30 seconds, as its timer lets it, at the database of a simulated daemon.
    """
    shape = Shape(accounts=("weibo-a",), storm=0.0, pace=1.0)
    entry = SchedulePost(
        id="far",
        title="以后的提醒",
        accounts=shape.accounts,
        at=instant(EPOCH + 3 * DAY),
    )
    state, reports = {}, []
    with opened("fault/daemon", shape, [entry]) as simulation:
        worker = build_worker_id(simulation.settings)

        def watch(seconds):
            nonlocal state
            until = simulation.now + seconds
            while simulation.now < until:
                now = instant(simulation.now)
                state, due = plan_reports(
                    state,
                    find_faults(simulation.settings, worker, now),
                    now,
                    timedelta(hours=1),
                )
                state = record_reports(state, due, now)
                reports.extend(
                    (report.fault, report.is_over, simulation.now) for report in due
                )
                simulation.pass_time(30)

        def beat():
            return simulation.rows("SELECT heartbeat_at FROM worker")[0]["heartbeat_at"]

        simulation.pass_time(45)
        watch(2 * MINUTE)
        last = beat()
        simulation.pass_until(lambda: beat() != last, MINUTE)
        stopped_at = simulation.now
        stop(simulation, 4 * MINUTE)
        # the next look comes a second too early
        simulation.pass_time(DAEMON_SILENT_AFTER.total_seconds() - 1)
        watch(9 * MINUTE)
    [(fault, is_over, reported_at), (_, was_over, ended_at)] = reports
    assert (fault, is_over, was_over) == (Fault.DAEMON_SILENT, False, True)
    assert reported_at - stopped_at <= MINUTE
    assert 4 * MINUTE < ended_at - stopped_at < 8 * MINUTE
