"""Late and not late posts, and the missed instant of a repeating post that is still sent."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from publisher.domain.account import RateLimit
from publisher.domain.delivery import PLANNER, RECONCILER, State
from publisher.domain.plan import Plan
from publisher.domain.post import CronTrigger, OneTimeTrigger, SendRequest
from publisher.domain.results import NotSent, Published, RateLimited, Receipt, Unknown
from publisher.engine.decisions import named_person
from publisher.store.db.tables import POST, dump_post
from publisher.store.deliveries.cancellations import cancel_matching
from publisher.store.deliveries.intents import Declined
from publisher.store.plan.posts import PlanCommit
from publisher.testing.builders import (
    enqueue_posts,
    make_policy,
    make_post,
    make_rendered_delivery,
)
from publisher.testing.fakes import START_TIME

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LIVE = Published(
    receipt=Receipt(
        remote_id="1", url="https://fake.example/1", published_at=START_TIME
    )
)


async def claim(store):
    """Let a second of maintenance and sending pass."""
    await store.maintenance.expire_leases()
    await store.maintenance.expire()
    await store.maintenance.promote_due()
    return await store.outbox.claim(10)


async def states(store):
    return {
        item.key.post: (item.state, item.reason)
        for item in await store.queries.deliveries()
    }


async def file_repeating(store, minutes, accounts=("a",)):
    """File instants of one repeating post, so many minutes after the start."""
    post = replace(
        make_post("daily", accounts, START_TIME), trigger=CronTrigger(text="* * * * *")
    )
    for minute in minutes:
        at = START_TIME + minute * MINUTE
        draft = make_rendered_delivery(post, at, occurrence_id=at.isoformat())
        await store.posts.commit_plan(
            PlanCommit(
                plan=Plan(planned=(draft.planned,)), rendered=[draft], posts=[post]
            )
        )


async def test_f63_a_claim_without_a_call_does_not_excuse_being_late(
    open_store, runtime
):
    """A claim a second before the instant, by a process that dies, is no excuse for being late.

    Twenty hours later the post is too late.
    """
    store = await open_store()
    await enqueue_posts(
        store.posts, make_post("p", ["a"], START_TIME + timedelta(seconds=1))
    )
    assert len(await claim(store)) == 1
    runtime.advance_time(20 * HOUR)
    assert await claim(store) == []
    runtime.advance_time(MINUTE)
    assert await claim(store) == []
    assert await states(store) == {"p": (State.EXPIRED, "too_late")}


async def test_f26_a_rate_limit_of_the_login_makes_nobody_late(open_store, runtime):
    """The post that got the answer and the one behind it are both sent when the hour is over."""
    store = await open_store()
    await enqueue_posts(
        store.posts,
        make_post("first", ["a"], START_TIME),
        make_post("second", ["a"], START_TIME),
    )
    [lease] = await claim(store)
    await store.outbox.record_intent(lease)
    await store.outbox.record_outcome(
        lease, RateLimited(code="often", until=START_TIME + HOUR)
    )
    runtime.advance_time(HOUR + MINUTE)
    for number in range(2):
        [lease] = await claim(store)
        assert isinstance(await store.outbox.record_intent(lease), SendRequest)
        await store.outbox.record_outcome(
            lease, replace(LIVE, receipt=replace(LIVE.receipt, remote_id=str(number)))
        )
    assert {state for state, _reason in (await states(store)).values()} == {
        State.PUBLISHED
    }


@pytest.mark.long
async def test_f18_an_hour_without_network_makes_nobody_late(open_store, runtime):
    """A post tried in time is sent when the network is back; one never tried is late as usual."""
    store = await open_store()
    late = timedelta(minutes=30)
    await enqueue_posts(
        store.posts,
        *(
            replace(make_post(name, ["a"], START_TIME), max_delay=late)
            for name in ("p", "q")
        ),
    )
    for _ in range(120):
        for lease in await claim(store):
            assert isinstance(await store.outbox.record_intent(lease), SendRequest)
            await store.outbox.record_outcome(lease, NotSent(reason="dns_failed"))
        runtime.advance_time(MINUTE)
    assert {state for state, _reason in (await states(store)).values()} <= {
        State.RETRYING,
        State.DUE,
    }
    for _ in range(40):
        for lease in await claim(store):
            assert isinstance(await store.outbox.record_intent(lease), SendRequest)
            receipt = replace(LIVE.receipt, remote_id=str(lease.delivery))
            await store.outbox.record_outcome(lease, Published(receipt=receipt))
        runtime.advance_time(MINUTE)
    assert await states(store) == {
        "p": (State.PUBLISHED, None),
        "q": (State.PUBLISHED, None),
    }


@pytest.mark.long
async def test_f18_posts_behind_one_that_cannot_be_sent_are_not_late(
    open_store, runtime
):
    """After an hour, thirty due posts on one login are all sent, at half a minute a try."""
    store = await open_store(
        make_policy(
            "a",
            rate_limit=RateLimit(
                min_interval=timedelta(0), per_hour=1000, per_day=1000
            ),
        )
    )
    await enqueue_posts(
        store.posts,
        *(make_post(f"p{number}", ["a"], START_TIME) for number in range(30)),
    )
    ends_at = runtime.now() + HOUR
    while runtime.now() < ends_at + HOUR:
        for lease in await claim(store):
            assert isinstance(await store.outbox.record_intent(lease), SendRequest)
            is_away = runtime.now() < ends_at
            runtime.advance_time(timedelta(seconds=30))
            live = Published(
                receipt=replace(LIVE.receipt, remote_id=str(lease.delivery))
            )
            await store.outbox.record_outcome(
                lease, NotSent(reason="connect_timeout") if is_away else live
            )
        runtime.advance_time(timedelta(seconds=30))
    assert set((await states(store)).values()) == {(State.PUBLISHED, None)}


@pytest.mark.long
async def test_f18_people_are_alerted_once_to_posts_that_cannot_be_sent_in_time(
    open_store, runtime
):
    """A post that cannot be sent in time raises one alert until it expires.

    The post is still tried, so nothing else would report it before that.
    """
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    seen = []
    for minute in range(90):
        for lease in await claim(store):
            await store.outbox.record_intent(lease)
            await store.outbox.record_outcome(
                lease, NotSent(reason="connect_failed") if minute < 60 else LIVE
            )
        codes = [alert.code for alert in await store.queries.alerts()]
        seen += [codes] if codes != (seen[-1] if seen else []) else []
        runtime.advance_time(MINUTE)
    assert seen == [["cannot_send"], []]
    assert await states(store) == {"p": (State.PUBLISHED, None)}


@pytest.mark.parametrize("kind", ["urgent", "asap", "routine"])
async def test_f18_an_urgent_post_that_reaches_no_platform_is_alerted_in_a_minute(
    open_store, runtime, kind
):
    """F18: an urgent post, or one due at once, does not wait for its `max_delay` of 30 minutes.

    The alert names the failure, comes once, and ends when the post is published.
    """
    store, seen = await open_store(), []
    post = make_post("p", ["a"], START_TIME, is_urgent=kind == "urgent")
    await enqueue_posts(store.posts, post)
    if kind == "asap":
        stored = dump_post(replace(post, trigger=OneTimeTrigger(at=None)))
        await store.database.write(
            lambda unit: unit.connection.execute(update(POST).values(body=stored))
        )
    for second in range(0, 150, 5):
        await store.maintenance.run()
        for lease in await claim(store):
            await store.outbox.record_intent(lease)
            await store.outbox.record_outcome(
                lease, NotSent(reason="connect_failed") if second < 120 else LIVE
            )
        alerts = [
            (alert.code, alert.facts["reason"])
            for alert in await store.queries.alerts()
        ]
        seen.append((second, alerts))
        runtime.advance_time(timedelta(seconds=5))
    wanted = [] if kind == "routine" else [("cannot_send", "connect_failed")]
    assert [alerts for second, alerts in seen if second < 60] == [[]] * 12
    assert [alerts for second, alerts in seen if 70 < second < 120] == [wanted] * 9


async def test_f44_a_queue_behind_a_quota_is_not_late(open_store, runtime):
    """A queue behind a quota is not late.

    With twenty minutes between two calls the fourth post is sent an hour late, though 30 minutes
    are allowed.
    """
    store = await open_store(
        make_policy(
            "a",
            rate_limit=RateLimit(min_interval=20 * MINUTE, per_hour=100, per_day=100),
        )
    )
    await enqueue_posts(
        store.posts,
        *(make_post(f"p{number}", ["a"], START_TIME) for number in range(4)),
    )
    for number in range(4):
        [lease] = await claim(store)
        await store.outbox.record_intent(lease)
        await store.outbox.record_outcome(
            lease, replace(LIVE, receipt=replace(LIVE.receipt, remote_id=str(number)))
        )
        runtime.advance_time(20 * MINUTE)
    assert {state for state, _reason in (await states(store)).values()} == {
        State.PUBLISHED
    }


async def test_f63_after_the_quota_would_have_let_it_go_a_dead_daemon_makes_it_late(
    open_store, runtime
):
    """A cooldown that ended long ago excuses nothing."""
    store = await open_store(
        make_policy(
            "a",
            rate_limit=RateLimit(min_interval=20 * MINUTE, per_hour=100, per_day=100),
        )
    )
    await enqueue_posts(
        store.posts,
        make_post("first", ["a"], START_TIME),
        make_post("second", ["a"], START_TIME),
    )
    [lease] = await claim(store)
    await store.outbox.record_intent(lease)
    await store.outbox.record_outcome(lease, LIVE)
    runtime.advance_time(51 * MINUTE)
    assert await claim(store) == []
    assert (await states(store))["second"] == (State.EXPIRED, "too_late")


async def test_f18_without_a_network_the_time_runs(open_store, runtime):
    """A try that sent no byte is no first call: beyond the allowed time nothing is sent."""
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    [lease] = await claim(store)
    await store.outbox.record_intent(lease)
    await store.outbox.record_outcome(lease, NotSent(reason="dns_failed"))
    runtime.advance_time(31 * MINUTE)
    assert await claim(store) == []
    assert await states(store) == {"p": (State.EXPIRED, "too_late")}


async def test_f53_a_post_delayed_by_an_unknown_outcome_is_not_late(
    open_store, runtime
):
    """Posts that would hide an unknown outcome have their whole allowed time from its end on."""
    traits = replace(make_policy("a").capabilities, list_size=3)
    store = await open_store(make_policy("a", capabilities=traits))
    await enqueue_posts(
        store.posts,
        *(make_post(f"p{number}", ["a"], START_TIME) for number in range(4)),
    )
    for outcome in (Unknown(reason="timeout"), LIVE):
        [lease] = await claim(store)
        await store.outbox.record_intent(lease)
        await store.outbox.record_outcome(lease, outcome)
    for _ in range(45):
        for lease in await claim(store):
            assert await store.outbox.record_intent(lease) == Declined(
                guard="blocked_by_unknown"
            )
        runtime.advance_time(MINUTE)
    [unknown] = await store.outbox.due_readbacks([State.UNKNOWN], 10)
    seen = replace(LIVE, receipt=replace(LIVE.receipt, remote_id="2"))
    await store.outbox.record_readback(unknown, seen, RECONCILER, runtime.monotonic())
    for number in (3, 4):
        [lease] = await claim(store)
        assert isinstance(await store.outbox.record_intent(lease), SendRequest)
        await store.outbox.record_outcome(
            lease, replace(LIVE, receipt=replace(LIVE.receipt, remote_id=str(number)))
        )


async def test_f63_of_the_missed_instants_only_the_newest_goes_and_one_alert_names_the_rest(
    open_store, runtime
):
    """Filed ahead, then three minutes down: one post for each account, the others expire."""
    store = await open_store(make_policy("a"), make_policy("b"))
    await file_repeating(store, range(1, 4), ["a", "b"])
    runtime.advance_time(3 * MINUTE)
    leases = await claim(store)
    newest = (START_TIME + 3 * MINUTE).isoformat()
    found = {item.id: item for item in await store.queries.deliveries()}
    assert [
        (found[lease.delivery].account, found[lease.delivery].key.occurrence)
        for lease in leases
    ] == [
        ("a", newest),
        ("b", newest),
    ]
    others = [item for item in found.values() if item.key.occurrence != newest]
    assert {(item.state, item.reason) for item in others} == {
        (State.EXPIRED, "superseded")
    }
    [alert] = await store.queries.alerts()
    assert (alert.code, alert.subject, alert.facts["number"]) == (
        "occurrences_missed",
        "daily",
        "4",
    )


async def test_f63_the_newest_missed_instant_must_be_in_time_as_well(
    open_store, runtime
):
    """Down for longer than the allowed time, nothing is sent."""
    store = await open_store()
    await file_repeating(store, (1, 2))
    runtime.advance_time(40 * MINUTE)
    assert await claim(store) == []
    assert await claim(store) == []
    assert {item.state for item in await store.queries.deliveries()} == {State.EXPIRED}


async def test_f63_an_instant_is_not_claimed_once_a_later_one_is_due(
    open_store, runtime
):
    """The condition for a call says the same even before maintenance has ended it."""
    store = await open_store()
    await file_repeating(store, (0,))
    await store.maintenance.promote_due()
    await file_repeating(store, (1,))
    runtime.advance_time(MINUTE)
    assert await store.outbox.claim(10) == []


async def test_f18_a_call_that_was_not_sent_costs_no_quota_and_no_interval(
    open_store, runtime
):
    """Without a network the login's quota stays whole; a retry waits only for its own pause."""
    store = await open_store(
        make_policy(
            "a",
            rate_limit=RateLimit(
                min_interval=20 * MINUTE, per_hour=1, per_day=2, urgent_share=0
            ),
        )
    )
    await enqueue_posts(
        store.posts, replace(make_post("p", ["a"], START_TIME), max_delay=2 * HOUR)
    )
    for _ in range(3):
        [lease] = await claim(store)
        await store.outbox.record_intent(lease)
        await store.outbox.record_outcome(lease, NotSent(reason="dns_failed"))
        runtime.advance_time(MINUTE)
    [lease] = await claim(store)
    assert isinstance(await store.outbox.record_intent(lease), SendRequest)


async def test_what_the_platform_still_prepares_costs_no_quota(open_store, runtime):
    """A video that takes an hour leaves the login's one call of the hour for the post itself."""
    store = await open_store(
        make_policy(
            "a", rate_limit=RateLimit(min_interval=0 * MINUTE, per_hour=1, per_day=2)
        )
    )
    await enqueue_posts(
        store.posts, replace(make_post("p", ["a"], START_TIME), max_delay=2 * MINUTE)
    )
    for _ in range(6):
        [lease] = await claim(store)
        await store.outbox.record_intent(lease)
        after = await store.outbox.record_outcome(
            lease, NotSent(reason="video", until=runtime.now() + 5 * MINUTE)
        )
        assert after.next_action_at == runtime.now() + 5 * MINUTE
        runtime.advance_time(5 * MINUTE)
    [lease] = await claim(store)
    assert isinstance(await store.outbox.record_intent(lease), SendRequest)


async def test_f63_instants_delayed_by_a_quota_were_not_missed(open_store, runtime):
    """A repeating post behind another post of its login loses no instant and keeps the order.

    That another login was free meanwhile makes no difference.
    """
    quota = RateLimit(min_interval=5 * MINUTE, per_hour=100, per_day=100)
    store = await open_store(make_policy("a", rate_limit=quota), make_policy("free"))
    await enqueue_posts(store.posts, make_post("other", ["a"], START_TIME))
    await enqueue_posts(
        store.posts, make_post("tomorrow", ["free"], START_TIME + 24 * HOUR)
    )
    await file_repeating(store, (1, 2))
    went = []
    for number in range(3):
        [lease] = await claim(store)
        await store.outbox.record_intent(lease)
        after = await store.outbox.record_outcome(
            lease, replace(LIVE, receipt=replace(LIVE.receipt, remote_id=str(number)))
        )
        went.append(after.key.occurrence)
        runtime.advance_time(5 * MINUTE)
    assert went == [
        "once",
        (START_TIME + MINUTE).isoformat(),
        (START_TIME + 2 * MINUTE).isoformat(),
    ]


async def test_f63_an_instant_at_which_the_login_was_busy_is_still_overtaken_after_an_outage(
    open_store, runtime
):
    """A moment's interval at the old instant does not bring it back hours later."""
    store = await open_store(
        make_policy(
            "a",
            rate_limit=RateLimit(min_interval=10 * MINUTE, per_hour=100, per_day=100),
        )
    )
    await enqueue_posts(store.posts, make_post("other", ["a"], START_TIME))
    await file_repeating(store, (1, 61, 121))
    [lease] = await claim(store)
    await store.outbox.record_intent(lease)
    await store.outbox.record_outcome(lease, LIVE)
    runtime.advance_time(121 * MINUTE)
    [lease] = await claim(store)
    found = {item.id: item.key.occurrence for item in await store.queries.deliveries()}
    assert found[lease.delivery] == (START_TIME + 121 * MINUTE).isoformat()


async def test_f71_a_cancelled_later_instant_overtakes_nothing(open_store, runtime):
    """Removed from the schedule, it does not stop the one before it."""
    store = await open_store()
    await file_repeating(store, (1, 2))
    later = {"post": "daily", "occurrence": (START_TIME + 2 * MINUTE).isoformat()}
    await store.database.write(
        lambda unit: cancel_matching(
            store, unit, later, PLANNER, reason="target_removed"
        )
    )
    runtime.advance_time(2 * MINUTE)
    assert len(await claim(store)) == 1


async def test_f63_a_resend_is_not_overtaken(open_store, runtime):
    """A resend of a repeating post is sent although the next instant comes before it."""
    store = await open_store()
    await file_repeating(store, (1,))
    order = START_TIME + timedelta(seconds=30, microseconds=5)
    post = replace(
        make_post("daily", ["a"], START_TIME), trigger=CronTrigger(text="* * * * *")
    )
    draft = make_rendered_delivery(post, order, occurrence_id=order.isoformat())
    await store.posts.commit_plan(
        PlanCommit(plan=Plan(planned=(draft.planned,)), rendered=[draft])
    )
    runtime.advance_time(MINUTE)
    [lease] = await claim(store)
    assert lease.due_at == order


@pytest.mark.long
async def test_f94_a_long_pause_makes_posts_late_however_busy_the_login(
    open_store, runtime
):
    """A post delayed only by a pause, for longer than allowed, expires when the pause is lifted.

    The other posts are sent.
    """
    store = await open_store(
        make_policy(
            "a", rate_limit=RateLimit(min_interval=MINUTE, per_hour=1000, per_day=1000)
        )
    )
    await enqueue_posts(store.posts, make_post("kept", ["a"], START_TIME))
    await store.actions.pause("post:kept", named_person("li"), "drill")
    for number in range(40):
        await enqueue_posts(store.posts, make_post(f"p{number}", ["a"], runtime.now()))
        [lease] = await claim(store)
        await store.outbox.record_intent(lease)
        await store.outbox.record_outcome(
            lease, replace(LIVE, receipt=replace(LIVE.receipt, remote_id=str(number)))
        )
        runtime.advance_time(MINUTE)
    await store.actions.resume("post:kept", named_person("li"))
    assert (await states(store))["kept"] == (State.EXPIRED, "too_late")


async def test_f26_the_time_after_a_limit_is_whole_although_the_login_was_idle_for_a_moment(
    open_store, runtime
):
    """A restart at the end of the limit costs the posts behind the first one nothing."""
    store = await open_store()
    await enqueue_posts(
        store.posts,
        *(make_post(f"p{number}", ["a"], START_TIME) for number in range(3)),
    )
    [lease] = await claim(store)
    await store.outbox.record_intent(lease)
    await store.outbox.record_outcome(
        lease, RateLimited(code="often", until=START_TIME + HOUR)
    )
    runtime.advance_time(HOUR + 3 * MINUTE)
    for number in range(3):
        [lease] = await claim(store)
        await store.outbox.record_intent(lease)
        await store.outbox.record_outcome(
            lease, replace(LIVE, receipt=replace(LIVE.receipt, remote_id=str(number)))
        )
        runtime.advance_time(MINUTE)
    assert {state for state, _reason in (await states(store)).values()} == {
        State.PUBLISHED
    }
