"""Each fault is provoked by the manual clock, and people are notified within a minute.

They are notified once, and again when it is over.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Healthy,
    NotSent,
    ObservedPost,
    Rejected,
    Unknown,
)
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.engine.monitor import check_logins_due, monitor_due
from publisher.engine.notifier import Notifier
from publisher.engine.reconciler import reconcile_due
from publisher.engine.sender import send_due
from publisher.store.db.alert_tables import ALERT
from publisher.store.monitor.login_health import PROBE_INTERVAL
from publisher.store.store import Store
from publisher.testing.builders import (
    TEST_RATE_LIMIT,
    TEST_TIMING,
    enqueue_posts,
    make_policy,
    make_post,
)
from publisher.testing.fakes import FakeAdapter
from tests.alerts.test_notices import RULES, ZONE, Receiver, make_notifier
from tests.chaos.checker.artefacts import Artefacts, rows_of_file, rows_of_server
from tests.chaos.checker.decoder import history_of
from tests.chaos.checker.notices import people_are_notified

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
STEP = 10 * SECOND
WANG = named_person("王")


class HealthPlatform(FakeAdapter):
    """A platform with an answer to health checks that is set."""

    health = Healthy()

    async def check_health(self):
        return self.health


@dataclass
class FaultScene:
    """A store, its platform, and the daemon's jobs that run at every step of the clock."""

    store: Store
    platform: HealthPlatform
    notifier: Notifier
    receiver: Receiver
    broken_job: bool = False
    noticed: dict[str, object] = field(default_factory=dict)
    """When each notice about an alert was accepted, by its id."""
    messages: list[dict[str, object]] = field(default_factory=list)
    """Each message, as the checker reads it."""

    async def step(self, duration=STEP):
        """Let time pass, and run the jobs once."""
        store, adapters = self.store, dict.fromkeys(self.store.policies, self.platform)
        store.runtime.advance_time(duration)
        await store.system_alerts.update()
        await store.maintenance.run()
        await send_due(store, adapters, 50, asyncio.Event())
        await reconcile_due(store, adapters, 50)
        await check_logins_due(store, adapters, 10)
        await monitor_due(store, adapters, 10)
        await store.silence.update(ZONE)
        await store.backlog.update()
        await store.system_alerts.jobs.run("plan", self.plan, event="job_failed")
        seen = len(self.receiver.accepted)
        await self.notifier.run()
        at = store.runtime.now().timestamp()
        for channel, keys, _title, _body in self.receiver.accepted[seen:]:
            self.messages += [
                {"channel": channel, "key": key, "at": at, "is_accepted": True}
                for key in keys
            ]
        for key in self.receiver.numbers():
            self.noticed.setdefault(key, store.runtime.now())

    async def plan(self):
        if self.broken_job:
            raise ZeroDivisionError

    async def add_post(self, name="fog", **more):
        await enqueue_posts(
            self.store.posts, make_post(name, ["a"], self.store.runtime.now(), **more)
        )

    async def publish(self):
        """Publish a post, and see it on the account's list."""
        await self.add_post()
        for _ in range(3):
            await self.step()

    async def alerts(self, code):
        """Return all alerts of a code that there ever were."""
        rows = await self.store.database.read(
            lambda connection: connection.execute(select(ALERT)).mappings().all()
        )
        return [row for row in rows if row["code"] == code]

    async def delivery(self):
        [found] = await self.store.queries.deliveries(post=PostId("fog"))
        return found


async def hold(runtime):
    runtime.platform.script.append(Blocked(code="fake_1", reason=""))
    await runtime.add_post()


async def fail(runtime):
    runtime.platform.script.append(Rejected(code="fake_2", reason="too long"))
    await runtime.add_post()


async def expire(runtime):
    runtime.platform.script += [NotSent(reason="connect")] * 100
    await runtime.add_post(expires_at=runtime.store.runtime.now() + 25 * SECOND)


async def remove(runtime):
    await runtime.publish()
    runtime.platform.posts.clear()
    for _ in range(40):
        if (await runtime.delivery()).state is State.REMOVED:
            return
        await runtime.step(30 * MINUTE)


async def cancel(runtime):
    await runtime.store.actions.cancel_post(PostId("fog"), WANG, "改期")


async def resolve(runtime):
    await resolve_delivery(
        runtime.store,
        await runtime.delivery(),
        Resolution.CANCEL,
        by=WANG,
        reason="改期",
    )


async def post_by_others(runtime):
    await runtime.step(3 * HOUR)  # monitoring begins
    now = runtime.store.runtime.now()
    post = ObservedPost(
        remote_id="s1", url="https://fake.example/s1", published_at=now, text="转发微博"
    )
    runtime.platform.external_posts.append(post)
    await runtime.step(3 * HOUR)


async def acknowledge(runtime):
    [alert] = await runtime.store.queries.alerts()
    await runtime.store.actions.dismiss_alert(alert.id, WANG)


def set_health(health, *, waits=False) -> Callable[[FaultScene], Awaitable[None]]:
    async def change(runtime):
        result = health(runtime) if callable(health) else health
        runtime.platform.health = result
        if waits:
            await runtime.step(PROBE_INTERVAL)

    return change


def end_credentials_in(days):
    return lambda runtime: Healthy(
        credentials_expire_at=runtime.store.runtime.now() + days * DAY
    )


async def pile_up(runtime):
    for number in range(3):
        await runtime.add_post(
            f"fog-{number}", expires_at=runtime.store.runtime.now() + DAY
        )
    for _ in range(11):
        await runtime.step(MINUTE)


async def wait_for_quota(runtime):
    for _ in range(5):
        await runtime.step(31 * MINUTE)


async def pause_urgent(runtime):
    await runtime.store.actions.pause("account:a", WANG, "")
    await runtime.add_post(is_urgent=True)
    await runtime.step(MINUTE)


async def resume(runtime):
    await runtime.store.actions.resume("account:a", WANG)


async def fall_silent(runtime):
    await runtime.publish()
    await runtime.step(10 * DAY)


async def publish_again(runtime):
    await runtime.add_post("news")
    await runtime.step()
    for _ in range(4):
        await runtime.step(3 * HOUR)


async def lose_clock(runtime):
    runtime.store.runtime.jump_clock(HOUR)


async def confirm_clock(runtime):
    runtime.store.runtime.confirm_clock(runtime.store.runtime.read_clocks())


def set_job(*, is_broken):
    async def change(runtime):
        runtime.broken_job = is_broken

    return change


@dataclass(frozen=True)
class AlertCase:
    """A fault: the code of its alert, its cause, its cure, and its notices to people."""

    code: str
    provoke: Callable[[FaultScene], Awaitable[None]]
    cure: Callable[[FaultScene], Awaitable[None]]
    last: str = "已解除"
    per_hour: int = 1000


FAULTS = {
    "held": AlertCase("held.account", hold, resolve),
    "failed": AlertCase("failed.fake_2", fail, cancel),
    "expired": AlertCase("expired.expired_retrying", expire, cancel),
    "removed": AlertCase("removed.removed_on_platform", remove, cancel),
    "unauthorized post": AlertCase(
        "unauthorized_post", post_by_others, acknowledge, last="已有人确认"
    ),
    "sign-in refused": AlertCase(
        "login_refused",
        set_health(CredentialExpired(reason="fake_3")),
        set_health(Healthy(), waits=True),
    ),
    "credential ending": AlertCase(
        "credentials_expiring",
        set_health(end_credentials_in(5)),
        set_health(end_credentials_in(90), waits=True),
    ),
    "silent account": AlertCase("silence_notice", fall_silent, publish_again),
    "backlog": AlertCase("backlog", pile_up, wait_for_quota, per_hour=1),
    "urgent behind a pause": AlertCase("urgent_paused", pause_urgent, resume),
    "clock": AlertCase("clock_unconfirmed", lose_clock, confirm_clock),
    "job": AlertCase("job_failing", set_job(is_broken=True), set_job(is_broken=False)),
}


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_fault_is_one_alert_within_a_minute_and_ends_with_its_cause(
    open_store, fault
):
    """A fault is one alert with one first notice within 60 s, and one when it is over.

    There is no other notice on the way.
    """
    limit = replace(TEST_RATE_LIMIT, per_hour=fault.per_hour)
    policy = make_policy(
        "a", rate_limit=limit, timing=replace(TEST_TIMING, retry_first=STEP)
    )
    store = await open_store(
        replace(policy, account=replace(policy.account, is_exclusive=True))
    )
    receiver = Receiver()
    rules = RULES.model_copy(update={"digest_hour": 4, "second": []})
    runtime = FaultScene(
        store,
        HealthPlatform(now=store.runtime.now),
        make_notifier(store, receiver, rules),
        receiver,
    )
    await fault.provoke(runtime)
    for _ in range(7):
        await runtime.step()
    alerts = await runtime.alerts(fault.code)
    assert len(alerts) == 1, [
        row["code"] for row in await store.queries._rows(select(ALERT))
    ]
    [alert] = alerts
    first = f"{alert['id']}-1"
    assert receiver.numbers().count(first) == 1
    assert runtime.noticed[first] - alert["at"] <= MINUTE
    await fault.cure(runtime)
    for _ in range(7):
        await runtime.step(30 * SECOND)
    [alert] = await runtime.alerts(fault.code)
    assert (alert["cleared_at"] is not None) == (fault.last == "已解除")
    notices = [key for key in receiver.numbers() if key.startswith(f"{alert['id']}-")]
    assert notices == [first, f"{alert['id']}-2"]
    assert alert["notice"] == ("closed" if fault.last == "已解除" else "acknowledged")


async def test_an_unreadable_account_is_held_with_one_alert(open_store):
    """Where an outcome stays unknown because nothing can be read, the hold is one alert."""
    timing = replace(TEST_TIMING, unreadable_hold_after=MINUTE)
    store = await open_store(make_policy("a", timing=timing))
    receiver = Receiver()
    runtime = FaultScene(
        store,
        HealthPlatform(now=store.runtime.now),
        make_notifier(store, receiver),
        receiver,
    )
    runtime.platform.script.append(Unknown(reason="timeout"))
    runtime.platform.findings += [Unknown(reason="timeout")] * 1000
    await runtime.add_post(expires_at=store.runtime.now() + DAY)
    for _ in range(7):
        await runtime.step(20 * SECOND)
    [alert] = await runtime.alerts("held.uncheckable")
    assert receiver.numbers().count(f"{alert['id']}-1") == 1


@pytest.mark.long
async def test_a_week_of_failing_and_working_sign_ins_is_one_alert(
    open_store, database_url
):
    """A login refused by every other check is opened once.

    The checker finds nothing sent twice or left out.
    """
    store = await open_store(make_policy("a"))
    receiver = Receiver()
    runtime = FaultScene(
        store,
        HealthPlatform(now=store.runtime.now),
        make_notifier(store, receiver),
        receiver,
    )
    for hour in range(7 * 24):
        refuses = hour // 12 % 2 == 0
        runtime.platform.health = (
            CredentialExpired(reason="fake_3") if refuses else Healthy()
        )
        await runtime.step(HOUR)
    [alert] = await runtime.alerts("login_refused")
    numbers = {key.partition("-")[0] for key in receiver.ids()}
    assert numbers == {str(alert["id"])}
    assert [kind for channel, kind in receiver.kinds() if channel == "duty"].count(
        "新"
    ) == 1
    assert alert["reopenings"] >= 6
    rows = (
        rows_of_file(Path(database_url.removeprefix("sqlite:///")))
        if "sqlite" in database_url
        else None
    )
    run = Artefacts(
        rows=rows or rows_of_server(database_url),
        lists={"messages": runtime.messages},
        documents={
            "plan": {"ended_at": store.runtime.now().timestamp()},
            "settings": {"tolerance": HOUR.total_seconds()},
        },
    )
    assert list(people_are_notified(history_of(run))) == []
