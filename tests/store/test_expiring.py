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


async def expired(store):
    """Let two hours pass, and return the reasons of ended deliveries, each also an alert."""
    store.runtime.advance_time(2 * HOUR)
    await store.maintenance.expire()
    ended = await store.queries.deliveries(states=[State.EXPIRED])
    codes = [
        alert.code
        for alert in await store.queries.alerts()
        if alert.code.startswith("expired.")
    ]
    assert sorted(codes) == sorted(f"expired.{row.reason}" for row in ended)
    return {row.key.post: row.reason for row in ended}


async def send(store, answer):
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    await store.outbox.record_outcome(lease, answer)


def due(name, *, minutes=0, is_urgent=False):
    at = START_TIME + timedelta(minutes=minutes)
    post = make_post(
        name, ["a"], at, is_urgent=is_urgent, expires_at=START_TIME + 2 * HOUR
    )
    return replace(post, max_delay=3 * HOUR)


@pytest.mark.parametrize("scope", ["all", "account:a", "post:p"])
async def test_a_post_delayed_by_a_pause_says_so(open_store, scope):
    """A person reads that the pause must be lifted before sending again can help."""
    store = await open_store()
    await enqueue_posts(store.posts, due("p"))
    await store.maintenance.promote_due()
    await store.actions.pause(scope, named_person("li"), "drill")
    assert await expired(store) == {"p": "expired_paused"}


async def test_f44_a_post_delayed_by_the_quota_says_so(open_store):
    """F44: a routine post without quota of its login is distinguished from a merely late one."""
    store = await open_store(make_policy("a", rate_limit=NARROW))
    await enqueue_posts(
        store.posts,
        due("first"),
        due("second", minutes=1),
        due("urgent", minutes=1, is_urgent=True),
    )
    await send(store, Unknown(reason="timeout"))
    store.runtime.advance_time(timedelta(minutes=2))
    await store.maintenance.promote_due()
    found = await expired(store)
    assert found["second"] == "expired_rate_limited"
    assert found["urgent"] == "expired"


async def test_f44_a_post_delayed_by_the_platform_says_so(open_store):
    """F44: a rate limit that outlasts the post is named."""
    store = await open_store()
    await enqueue_posts(store.posts, due("p"))
    await send(store, RateLimited(code="fake_429", until=START_TIME + 5 * HOUR))
    assert await expired(store) == {"p": "expired_rate_limited"}


async def test_a_follow_up_without_original_says_so(open_store):
    """A follow-up of an unknown original is distinguished from one that its account delayed."""
    store = await open_store()
    update = make_post(
        "update", ["a"], START_TIME, follows="p", expires_at=START_TIME + 2 * HOUR
    )
    await enqueue_posts(store.posts, due("p"), update)
    await send(store, Unknown(reason="timeout"))
    assert await expired(store) == {"update": "expired_original"}


async def test_a_post_that_could_not_be_sent_says_so(open_store):
    """A network that never came back is distinguished from a queue that was too long."""
    store = await open_store()
    await enqueue_posts(store.posts, due("p"))
    await send(store, NotSent(reason="connect_failed"))
    assert await expired(store) == {"p": "expired_retrying"}
