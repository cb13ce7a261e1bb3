"""A post that waited past its expiry ends, with the reason that delayed it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.account import RateLimit
from publisher.domain.delivery import State
from publisher.domain.results import NotSent, RateLimited, Unknown
from publisher.engine.decisions import named_person
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME

HOUR = timedelta(hours=1)
NARROW = RateLimit(min_interval=timedelta(0), per_hour=5, per_day=2, urgent_share=0.5)


async def expired(desk):
    """Let two hours pass, and return the reasons with which deliveries ended, each of which must be an alert too."""
    desk.store.runtime.advance_time(2 * HOUR)
    await desk.maintenance.expire()
    ended = await desk.store.queries.deliveries(states=[State.EXPIRED])
    codes = [alert.code for alert in await desk.store.queries.alerts() if alert.code.startswith("expired.")]
    assert sorted(codes) == sorted(f"expired.{row.reason}" for row in ended)
    return {row.key.post: row.reason for row in ended}


async def send(desk, answer):
    await desk.maintenance.promote_due()
    [lease] = await desk.outbox.claim(1)
    await desk.outbox.record_intent(lease)
    await desk.outbox.record_outcome(lease, answer)


def due(name, *, minutes=0, is_urgent=False):
    at = START_TIME + timedelta(minutes=minutes)
    post = make_post(name, ["a"], at, is_urgent=is_urgent, expires_at=START_TIME + 2 * HOUR)
    return replace(post, max_delay=3 * HOUR)


@pytest.mark.parametrize("scope", ["all", "account:a", "post:p"])
async def test_a_post_delayed_by_a_pause_says_so(open_desk, scope):
    """A person reads that the pause must be lifted before sending again can help."""
    desk = await open_desk()
    await enqueue_posts(desk.post_store, due("p"))
    await desk.maintenance.promote_due()
    await desk.store.actions.pause(scope, named_person("li"), "drill")
    assert await expired(desk) == {"p": "expired_paused"}


async def test_f44_a_post_delayed_by_the_quota_says_so(open_desk):
    """F44: a routine post that its login had no quota for is distinguished from one that was merely late."""
    desk = await open_desk(make_policy("a", rate_limit=NARROW))
    await enqueue_posts(
        desk.post_store, due("first"), due("second", minutes=1), due("urgent", minutes=1, is_urgent=True)
    )
    await send(desk, Unknown(reason="timeout"))
    desk.store.runtime.advance_time(timedelta(minutes=2))
    await desk.maintenance.promote_due()
    found = await expired(desk)
    assert found["second"] == "expired_rate_limited"
    assert found["urgent"] == "expired"


async def test_f44_a_post_delayed_by_the_platform_says_so(open_desk):
    """F44: a rate limit that outlasts the post is named."""
    desk = await open_desk()
    await enqueue_posts(desk.post_store, due("p"))
    await send(desk, RateLimited(code="fake_429", until=START_TIME + 5 * HOUR))
    assert await expired(desk) == {"p": "expired_rate_limited"}


async def test_a_follow_up_without_original_says_so(open_desk):
    """A follow-up whose original stayed unknown is distinguished from one that its own account delayed."""
    desk = await open_desk()
    update = make_post("update", ["a"], START_TIME, follows="p", expires_at=START_TIME + 2 * HOUR)
    await enqueue_posts(desk.post_store, due("p"), update)
    await send(desk, Unknown(reason="timeout"))
    assert await expired(desk) == {"update": "expired_original"}


async def test_a_post_that_could_not_be_sent_says_so(open_desk):
    """A network that never came back is distinguished from a queue that was too long."""
    desk = await open_desk()
    await enqueue_posts(desk.post_store, due("p"))
    await send(desk, NotSent(reason="connect_failed"))
    assert await expired(desk) == {"p": "expired_retrying"}
