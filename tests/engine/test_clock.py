"""The machine's clock is set, while a daemon runs or before it starts.

The tests state the reports and the forbidden effects.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from publisher.app.application import open_application
from publisher.config import parse_settings
from publisher.daemon import Daemon
from publisher.domain.account import CRASH_RETRY_SPREAD
from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.domain.results import Deleted, Published, RateLimited, Unknown
from publisher.engine.decisions import named_person
from publisher.engine.sender import may_start_call, send_delivery, send_due
from publisher.i18n import Messages
from publisher.store.db.monitor_tables import LOGIN_HEALTH, MONITOR_SCHEDULE
from publisher.store.db.tables import LOGIN, PAUSE
from publisher.store.deliveries.cooldowns import RESPONSES_UNREADABLE
from publisher.store.deliveries.intents import Declined
from publisher.store.deliveries.maintenance import PREPARE_AHEAD
from publisher.store.system_alerts import (
    CLOCK_ALERT_DELAY,
    SystemAlerts,
    raise_alert_hourly,
)
from publisher.testing.builders import enqueue_posts, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter
from tests.engine.test_planner import SETTINGS, entry
from tests.engine.test_sender import run_jobs, run_on, stage, state_of
from tests.wait import eventually

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


async def reported(store):
    return [
        (alert.code, *alert.facts.values()) for alert in await store.queries.alerts()
    ]


def confirm(runtime):
    runtime.confirm_clock(runtime.read_clocks())


@pytest.mark.parametrize(
    ("jump", "code"),
    [(-HOUR, "clock_jumped_back"), (HOUR, "clock_jumped_ahead")],
    ids=["F60", "F61"],
)
async def test_a_clock_jump_is_reported(open_store, runtime, jump, code):
    """F60, F61: more than two seconds are reported, once; smaller corrections are normal."""
    store = await open_store()
    system_alerts = SystemAlerts(store)
    for by, expected in (
        (timedelta(seconds=1), []),
        (jump, [(code, "worker-1", f"{3600 + jump // HOUR}")]),
    ):
        runtime.jump_clock(by)
        await system_alerts.update()
        await system_alerts.update()
        assert await reported(store) == expected


async def test_people_are_alerted_while_the_clock_stays_unconfirmed(
    open_store, runtime
):
    """F60, F61: people are alerted after ten seconds, until the clock is confirmed.

    The alert has the platforms' time where it is known.
    """
    store = await open_store()
    system_alerts = SystemAlerts(store)
    runtime.jump_clock(HOUR)
    await system_alerts.update()
    jumped = ("clock_jumped_ahead", "worker-1", "3600")
    for seconds, expected in (
        (9, [jumped]),
        (2, [jumped, ("clock_unconfirmed", "worker-1")]),
    ):
        runtime.advance_time(timedelta(seconds=seconds))
        await system_alerts.update()
        assert sorted(await reported(store)) == sorted(expected)
    runtime.check_server_date("Wed, 25 Nov 2026 01:00:11 GMT", runtime.monotonic())
    await system_alerts.update()
    await system_alerts.update()
    assert sorted(await reported(store)) == [
        jumped,
        ("clock_wrong", "worker-1", "+3600"),
    ]
    # a platform some seconds behind; a clock set forward
    for date, apart in (
        ("01:00:06", 3600),
        ("00:30:11", 5400),
    ):
        runtime.check_server_date(f"Wed, 25 Nov 2026 {date} GMT", runtime.monotonic())
        await system_alerts.update()
        assert sorted(await reported(store)) == [
            jumped,
            ("clock_wrong", "worker-1", f"+{apart}"),
        ]
    confirm(runtime)
    await system_alerts.update()
    assert await reported(store) == [jumped]


async def test_an_alert_of_the_process_before_ends_when_the_clock_is_confirmed(
    open_store, runtime
):
    """The next process closes an alert that its predecessor left open."""
    store = await open_store()
    runtime.mark_clock_unconfirmed()
    runtime.advance_time(CLOCK_ALERT_DELAY)
    await SystemAlerts(store).update()
    assert [code for code, *_ in await reported(store)] == ["clock_unconfirmed"]
    confirm(runtime)
    await SystemAlerts(store).update()
    assert await reported(store) == []


async def test_f60_nothing_is_sent_twice_when_the_clock_goes_back(open_store, runtime):
    """F60: a sent post is not sent again when its instant comes a second time."""
    store, fake, adapters = await stage(open_store, "a")
    post = make_post("p", ["a"], START_TIME)
    await enqueue_posts(store.posts, post)
    await run_jobs(store, adapters)
    runtime.jump_clock(-2 * HOUR)
    confirm(runtime)
    await enqueue_posts(store.posts, post)
    await run_on(store, adapters, runtime, minutes=180, step=timedelta(minutes=10))
    assert len(fake.calls) == 1


async def test_f60_a_claimed_delivery_releases_its_login_until_it_is_due_again(
    open_store, runtime
):
    """F60: after the clock went back a claimed delivery releases its login.

    A delivery that is urgent now is sent.
    """
    store, _fake, adapters = await stage(open_store, "a")
    await enqueue_posts(store.posts, make_post("routine", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    runtime.jump_clock(-HOUR)
    confirm(runtime)
    delivering = asyncio.create_task(
        send_delivery(lease, store, adapters, asyncio.Event())
    )
    await asyncio.sleep(0)  # it begins, and waits
    runtime.advance_time(PREPARE_AHEAD)
    async with asyncio.timeout(20):
        await delivering
    await enqueue_posts(
        store.posts, make_post("urgent", ["a"], runtime.now(), is_urgent=True)
    )
    await run_jobs(store, adapters)
    assert (await state_of(store, "urgent")).state is State.PUBLISHED


async def test_f60_a_pause_is_seen_before_the_first_byte_though_the_clock_has_gone_back(
    open_store, runtime
):
    """F60: a clock that went back cannot make an old intent look fresh.

    The pause is read once more.
    """
    store, _fake, _adapters = await stage(open_store, "a")
    await enqueue_posts(
        store.posts,
        replace(make_post("p", ["a"], START_TIME - 2 * HOUR), max_delay=5 * HOUR),
    )
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    request = await store.outbox.record_intent(lease)
    runtime.jump_clock(-HOUR)
    assert await may_start_call(store.outbox, request)
    await store.actions.pause("all", named_person("li"), "drill")
    assert not await may_start_call(store.outbox, request)


@pytest.mark.parametrize(
    "jump", [pytest.param(-HOUR, id="F60-back"), pytest.param(HOUR, id="F61-ahead")]
)
async def test_a_lease_of_our_own_runs_by_the_monotonic_clock(
    open_store, runtime, jump
):
    """A jump of the clock neither ends nor extends a call's lease.

    Its result is accepted in time, and a lost one is unknown.
    """
    store, fake, _adapters = await stage(open_store, "a", "b")
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    request = await store.outbox.record_intent(lease)
    runtime.jump_clock(jump)
    assert await store.maintenance.expire_leases() == 0
    after = await store.outbox.record_outcome(
        lease, Published(receipt=fake.add_post(request))
    )
    assert after.state is State.PUBLISHED
    confirm(runtime)
    await enqueue_posts(store.posts, make_post("q", ["b"], runtime.now()))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    runtime.jump_clock(jump)
    runtime.advance_time(store.timing("b").lease_timeout)
    assert await store.maintenance.expire_leases() == 1


async def claim_and_expire(open_store, runtime):
    """Claim the one due delivery, and let its lease expire."""
    store, fake, _adapters = await stage(open_store, "a")
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    runtime.advance_time(lease.until - runtime.now())
    return store, fake, lease


async def test_f15_a_maintenance_run_in_progress_does_not_end_the_lease_of_a_call_that_just_began(
    open_store, runtime
):
    """F15: a worker that slept after its claim records its intent.

    Maintenance that began before leaves the intent alone.
    """
    store, fake, lease = await claim_and_expire(open_store, runtime)
    request, ended = await asyncio.gather(
        store.outbox.record_intent(lease), store.maintenance.expire_leases()
    )
    assert ended == 0
    after = await store.outbox.record_outcome(
        lease, Published(receipt=fake.add_post(request))
    )
    assert after.state is State.PUBLISHED


async def test_f60_a_late_result_does_not_end_the_next_lease(open_store, runtime):
    """F60: a result under a lost lease does not end the present lease.

    The present lease runs by the monotonic clock.
    """
    store, _fake, lost = await claim_and_expire(open_store, runtime)
    await store.maintenance.expire_leases()
    runtime.advance_time(CRASH_RETRY_SPREAD)
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    assert isinstance(await store.outbox.record_intent(lost), Declined)
    runtime.jump_clock(HOUR)
    assert await store.maintenance.expire_leases() == 0


async def test_f60_a_lease_of_another_worker_runs_by_the_wall_clock(
    open_store, runtime
):
    """F60: the lease of another worker is judged by the wall clock."""
    mine, other = await open_store(worker="mine"), await open_store(worker="other")
    await enqueue_posts(mine.posts, make_post("p", ["a"], START_TIME))
    await mine.maintenance.promote_due()
    [lease] = await other.outbox.claim(1)
    assert await mine.maintenance.expire_leases() == 0
    runtime.advance_time(lease.until - runtime.now())
    assert await mine.maintenance.expire_leases() == 1


@pytest.fixture
async def daemon(tmp_path, runtime):
    """Yield a daemon with its jobs run by hand, in a workspace of two Weibo accounts."""
    settings = parse_settings(SETTINGS, workspace=tmp_path)
    async with open_application(settings, runtime, can_send=False) as application:
        yield Daemon(
            application,
            tmp_path / "schedule.toml",
            Messages(settings.lang),
            runtime.now(),
        )


async def posts_of(daemon):
    return {
        item.key.post for item in await daemon.application.store.queries.deliveries()
    }


def write(daemon, *entries):
    daemon.schedule_file.write_text("".join(entries), "utf-8")


async def wait_until_idle(daemon, runtime):
    """Make a daemon read its file although the fake clock does not move."""
    await _while_time_passes(daemon.read_schedule(), runtime)


async def _while_time_passes(work, runtime):
    """Wait for work that needs the fake clock to move on."""
    task = asyncio.create_task(work)

    def is_done():
        runtime.advance_time(timedelta(seconds=1))
        return task.done()

    await eventually(is_done, 60)
    await task


@pytest.mark.parametrize(
    "jump", [pytest.param(-HOUR, id="F60-back"), pytest.param(6 * HOUR, id="F61-ahead")]
)
async def test_planning_waits_until_the_clock_is_confirmed(daemon, runtime, jump):
    """F60, F61: nothing is planned and no file is applied until the clock is confirmed.

    Then both happen at once.
    """
    runtime.jump_clock(jump)
    write(daemon, entry("p"))
    await wait_until_idle(daemon, runtime)
    await daemon.plan()
    assert await posts_of(daemon) == set()
    confirm(runtime)
    await _while_time_passes(daemon.confirm_clock(), runtime)
    assert await posts_of(daemon) == {PostId("p")}


async def with_unknown_outcome(open_store, runtime):
    """Let a call end with an unknown outcome."""
    store, fake, adapters = await stage(open_store, "a")
    fake.script.append(Unknown(reason="timeout"))
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, adapters)
    return store, fake, adapters


@pytest.mark.long
@pytest.mark.parametrize("jump", [timedelta(minutes=3), HOUR])
async def test_f25_a_clock_set_ahead_does_not_shorten_the_visibility_window(
    open_store, runtime, jump
):
    """F25, F61: no second call before the visibility window is over by the monotonic clock."""
    store, fake, adapters = await with_unknown_outcome(open_store, runtime)
    runtime.advance_time(MINUTE)
    runtime.jump_clock(jump)
    await run_jobs(store, adapters)
    confirm(runtime)
    await run_on(store, adapters, runtime, minutes=8)
    assert len(fake.calls) == 1
    await run_on(store, adapters, runtime, minutes=4)
    assert len(fake.calls) == 2


async def test_f61_a_list_read_by_an_unconfirmed_clock_proves_no_absence(
    open_store, runtime
):
    """F61: a post in such a list counts, a missing post does not.

    Afterwards two readbacks are needed as usual.
    """
    store, _fake, adapters = await with_unknown_outcome(open_store, runtime)
    runtime.jump_clock(HOUR)
    await run_on(store, adapters, runtime, minutes=12)
    assert ((await state_of(store)).state, (await state_of(store)).reason) == (
        State.UNKNOWN,
        "clock_unconfirmed_at_read",
    )
    runtime.jump_clock(-HOUR)
    confirm(runtime)
    await run_jobs(store, adapters)
    assert (await state_of(store)).state is State.UNKNOWN
    runtime.advance_time(MINUTE)
    await run_jobs(store, adapters)
    assert (await state_of(store)).reason == "absence_proven"


class Lagging(FakeAdapter):
    """A platform that reports every post as deleted."""

    async def find_post(self, request):
        return Deleted()


async def test_f61_reads_by_an_unconfirmed_clock_do_not_prove_a_removal(
    open_store, runtime
):
    """F48, F61: the reads must be apart, and the distance of these reads is unknown.

    A later read finds the post.
    """
    store, fake, adapters = await stage(open_store, "a")
    fake.script.append(fake.lose_reply)
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, adapters)
    adapters = {"a": Lagging(now=runtime.now)}
    runtime.jump_clock(HOUR)
    for _ in range(3):
        runtime.advance_time(MINUTE)
        await run_jobs(store, adapters)
        runtime.jump_clock(HOUR)
    assert (await state_of(store)).state is State.UNKNOWN


async def test_f61_an_unknown_outcome_cancelled_after_a_clock_was_ahead_is_read_soon(
    open_store, runtime
):
    """F61: an order before maintenance does not hide a readback dated hours ahead."""
    store, _fake, adapters = await with_unknown_outcome(open_store, runtime)
    runtime.jump_clock(8 * HOUR)
    await run_on(store, adapters, runtime, minutes=12)
    runtime.jump_clock(-8 * HOUR)
    confirm(runtime)
    await store.actions.cancel_post("p", named_person("li"), "test")
    await run_on(store, adapters, runtime, minutes=3)
    assert (await state_of(store)).state is State.CANCELLED


async def test_f61_an_absence_shown_while_the_clock_is_unconfirmed_lets_nothing_expire(
    open_store, runtime
):
    """F61: the effects of absence wait for a confirmed clock, as they may depend on the time."""
    store, fake, adapters = await with_unknown_outcome(open_store, runtime)
    runtime.jump_clock(30 * HOUR)
    await run_on(store, adapters, runtime, minutes=12)
    assert ((await state_of(store)).state, len(fake.calls)) == (State.UNKNOWN, 1)
    runtime.jump_clock(-30 * HOUR)
    confirm(runtime)
    await run_on(store, adapters, runtime, minutes=2)
    assert len(fake.calls) == 2


async def restarted(open_store, runtime, jump):
    """Set the clock unnoticed within the second before a kill.

    Then start again with an unconfirmed clock.
    """
    runtime.jump_clock(jump)
    runtime.mark_clock_unconfirmed()
    runtime.clock_jumps.clear()
    store = await open_store()
    await store.maintenance.expire_own_leases()
    return store


@pytest.mark.long
async def test_f61_a_clock_that_is_ahead_at_start_ends_no_unknown_outcome(
    open_store, runtime
):
    """F25, F61: no second call is made before the visibility window is over.

    This holds even once the clock is set right.
    """
    _store, fake, adapters = await with_unknown_outcome(open_store, runtime)
    store = await restarted(open_store, runtime, 15 * MINUTE)
    await run_on(store, adapters, runtime, minutes=5)
    assert ((await state_of(store)).state, len(fake.calls)) == (State.UNKNOWN, 1)
    runtime.jump_clock(-15 * MINUTE)
    confirm(runtime)
    await run_on(store, adapters, runtime, minutes=4)
    assert len(fake.calls) == 1
    await run_on(store, adapters, runtime, minutes=4)
    assert len(fake.calls) == 2


@pytest.mark.long
@pytest.mark.parametrize("moment", ["at-the-end-of-the-call", "at-the-readback"])
async def test_f08_a_window_across_a_restart_does_not_rest_on_a_persons_word(
    open_store, runtime, moment
):
    """F08, F60, F61: a person's word for a wrong clock shortens no window.

    The clock is 15 minutes behind before the restart, or ahead after it.
    """

    def vouch():
        runtime.mark_clock_unconfirmed()
        runtime.accept_confirmation(runtime.read_clocks())

    if moment == "at-the-end-of-the-call":
        vouch()
    _store, fake, adapters = await with_unknown_outcome(open_store, runtime)
    store = await restarted(open_store, runtime, 15 * MINUTE)
    confirm(runtime) if moment == "at-the-end-of-the-call" else vouch()
    assert runtime.is_clock_confirmed()
    await run_on(store, adapters, runtime, minutes=8)
    assert len(fake.calls) == 1
    await run_on(store, adapters, runtime, minutes=4)
    assert len(fake.calls) == 2


async def test_f08_a_call_end_dated_by_an_unconfirmed_clock_counts_from_the_start_of_the_process(
    open_store, runtime
):
    """F08: after a call's end under an unconfirmed clock the visibility window restarts once."""
    store, fake, _adapters = await stage(open_store, "a")
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    store = await restarted(open_store, runtime, -HOUR)
    runtime.advance_time(5 * MINUTE)
    runtime.jump_clock(HOUR)
    confirm(runtime)
    await run_on(store, {"a": fake}, runtime, minutes=4)
    assert fake.calls == []
    await run_on(store, {"a": fake}, runtime, minutes=2)
    assert len(fake.calls) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    "jump",
    [pytest.param(-8 * HOUR, id="F60-back"), pytest.param(8 * HOUR, id="F61-ahead")],
)
async def test_an_unknown_outcome_dated_by_a_wrong_clock_ends_as_soon_as_any_other(
    open_store, runtime, jump
):
    """F60, F61: once the clock is right, the outcome is neither read late nor held at once.

    Late means by hours. A hold gives it to a person.
    """
    store, fake, _adapters = await stage(open_store, "a")
    fake.findings.extend([Unknown(reason="unreadable")] * 3)
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    store = await restarted(open_store, runtime, jump)
    await run_on(store, {"a": fake}, runtime, minutes=2)
    runtime.jump_clock(-jump)
    confirm(runtime)
    await run_on(store, {"a": fake}, runtime, minutes=20)
    assert (await state_of(store)).state is State.PUBLISHED


@pytest.mark.long
@pytest.mark.parametrize("is_announced", [False, True])
async def test_f61_a_delivery_left_due_by_a_kill_under_a_clock_ahead_is_sent_once_it_is_set_right(
    open_store, runtime, is_announced
):
    """F61: once the clock is right, a delivery does not wait for the hours of its lead.

    This holds with or without an intent.
    """
    store, fake, _adapters = await stage(open_store, "a")
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    if is_announced:
        await store.outbox.record_intent(lease)
    store = await restarted(open_store, runtime, 8 * HOUR)
    await run_on(store, {"a": fake}, runtime, minutes=2)
    assert fake.calls == []
    runtime.jump_clock(-8 * HOUR)
    confirm(runtime)
    await run_on(store, {"a": fake}, runtime, minutes=20)
    assert ((await state_of(store)).state, len(fake.calls)) == (State.PUBLISHED, 1)


@pytest.mark.parametrize(
    "jump",
    [pytest.param(-8 * HOUR, id="F60-back"), pytest.param(8 * HOUR, id="F61-ahead")],
)
@pytest.mark.parametrize("is_noticed", [True, False])
async def test_nothing_is_sent_or_expires_by_an_unconfirmed_clock(
    open_store, runtime, jump, is_noticed
):
    """F60, F61: nothing is sent or expires while the clock is wrong at start or set later.

    Once the clock is right, everything is sent at its instant.
    """
    store, fake, adapters = await stage(open_store, "a")
    soon = make_post("soon", ["a"], START_TIME + 5 * MINUTE)
    await enqueue_posts(
        store.posts, soon, make_post("later", ["a"], START_TIME + 8 * HOUR)
    )
    runtime.jump_clock(jump)
    if not is_noticed:
        runtime.mark_clock_unconfirmed()
    await run_on(store, adapters, runtime, minutes=2)
    states = {delivery.state for delivery in await store.queries.deliveries()}
    assert (fake.calls, states) == ([], {State.PENDING})
    runtime.jump_clock(-jump)
    confirm(runtime)
    await run_on(store, adapters, runtime, minutes=4)
    assert [request.intended_at - START_TIME for request in fake.calls] == [5 * MINUTE]


async def test_f61_a_claimed_delivery_gets_no_intent_once_the_clock_is_set(
    open_store, runtime
):
    """F61: the claim is released, and made again when the clock is confirmed."""
    store, _fake, _adapters = await stage(open_store, "a")
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    runtime.jump_clock(MINUTE)
    assert await store.outbox.record_intent(lease) == Declined(
        guard="clock_unconfirmed"
    )
    assert await store.outbox.claim(1) == []
    confirm(runtime)
    assert len(await store.outbox.claim(1)) == 1


async def test_f61_an_unconfirmed_clock_does_not_end_leases_of_other_hosts(
    open_store, runtime
):
    """F61: a host with its clock ahead does not take over leases of other hosts."""
    mine, other = await open_store(worker="mine"), await open_store(worker="other")
    await enqueue_posts(mine.posts, make_post("p", ["a"], START_TIME))
    await mine.maintenance.promote_due()
    assert len(await other.outbox.claim(1)) == 1
    runtime.jump_clock(HOUR)
    assert await mine.maintenance.expire_leases() == 0
    confirm(runtime)
    assert await mine.maintenance.expire_leases() == 1


async def test_f61_a_delivery_late_by_a_confirmed_clock_expires(open_store, runtime):
    """F61: the rule for late posts applies to posts filed before.

    A post that is too late is not sent, and is reported.
    """
    store, fake, adapters = await stage(open_store, "a")
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME + HOUR))
    runtime.jump_clock(6 * HOUR)
    confirm(runtime)
    await store.maintenance.run()
    await send_due(store, adapters, 10, asyncio.Event())
    await store.maintenance.run()
    [delivery] = await store.queries.deliveries(PostId("p"))
    assert (delivery.state, fake.calls) == (State.EXPIRED, [])


YEAR_AHEAD = timedelta(days=400)


@pytest.mark.long
@pytest.mark.parametrize(
    "jump",
    [pytest.param(-8 * HOUR, id="F60-back"), pytest.param(YEAR_AHEAD, id="F61-ahead")],
)
async def test_a_limit_by_an_unconfirmed_clock_ends_when_its_time_is_over(
    open_store, runtime, jump
):
    """F26, F60, F61, I15: a limit is kept by the monotonic clock.

    It is dated once the wall clock is confirmed.
    """
    store, fake, adapters = await stage(open_store, "a")
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    store = await restarted(open_store, runtime, jump)
    runtime.advance_time(MINUTE)
    fake.findings.append(RateLimited(code="often", until=runtime.now() + 30 * MINUTE))
    await run_jobs(store, adapters)
    assert not fake.findings
    runtime.jump_clock(-jump)
    confirm(runtime)
    await enqueue_posts(
        store.posts, make_post("urgent", ["a"], runtime.now(), is_urgent=True)
    )
    await run_on(store, adapters, runtime, minutes=29)
    assert fake.calls == []
    await run_on(store, adapters, runtime, minutes=2)
    assert (await state_of(store, "urgent")).state is State.PUBLISHED


async def test_f26_i15_a_limit_by_an_unconfirmed_clock_stops_the_other_reads_of_its_login(
    open_store, runtime
):
    """F26, I15: no other delivery of the login is read, although the limit cannot be dated yet."""
    store, fake, adapters = await with_unknown_outcome(open_store, runtime)
    runtime.jump_clock(HOUR)
    store.record_undated_limit("fake/a", 30 * MINUTE, is_for_reads=True)
    fake.findings.append(Unknown(reason="unreadable"))
    await run_on(store, adapters, runtime, minutes=29)
    assert fake.findings
    await run_on(store, adapters, runtime, minutes=2)
    assert not fake.findings


async def test_f61_waiting_times_written_by_a_wrong_clock_are_shortened(
    open_store, runtime
):
    """F61: no platform limit and no quota lasts longer than a day after a wrong clock.

    No probe and no monitoring is postponed further.
    """
    store, _fake, _adapters = await stage(open_store, "a")
    far = runtime.now() + YEAR_AHEAD
    waits = dict.fromkeys(
        (
            "cooldown_until",
            "routine_cooldown_until",
            "parts_cooldown_until",
            "reads_cooldown_until",
            "rate_limited_until",
        ),
        far,
    )

    def write(unit):
        unit.connection.execute(update(LOGIN).values(waits))
        unit.connection.execute(
            insert(LOGIN_HEALTH).values(login="fake/a", next_action_at=far)
        )
        unit.connection.execute(
            insert(MONITOR_SCHEDULE).values(account="a", next_action_at=far)
        )
        unit.connection.execute(
            insert(PAUSE).values(
                scope="platform:fake", at=far, by="sender", reason=RESPONSES_UNREADABLE
            )
        )

    await store.database.write(write)
    runtime.mark_clock_unconfirmed()
    confirm(runtime)
    await store.maintenance.timestamps.run()

    def read(connection):
        [login] = connection.execute(select(*(LOGIN.c[name] for name in waits)))
        return [
            *login,
            *(
                connection.scalar(select(column))
                for column in (
                    LOGIN_HEALTH.c.next_action_at,
                    MONITOR_SCHEDULE.c.next_action_at,
                    PAUSE.c.at,
                )
            ),
        ]

    now = runtime.now()
    assert await store.database.read(read) == [now + 24 * HOUR] * 5 + [now] * 3


async def test_f61_an_alert_dated_in_the_future_suppresses_no_later_one(
    open_store, runtime
):
    """F61: a later alert of the same kind is sent although an earlier one was dated ahead."""
    store = await open_store()
    for at in (runtime.now() + YEAR_AHEAD, runtime.now(), runtime.now()):
        await store.database.write(
            lambda unit, at=at: raise_alert_hourly(
                unit, at, "log_lines_dropped", "log:w", {"number": "1"}
            )
        )
    assert await reported(store) == [("log_lines_dropped", "1")] * 2
