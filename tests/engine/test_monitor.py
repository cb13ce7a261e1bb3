"""Published posts are read again: metrics, posts deleted by others, and foreign posts.

Foreign posts are posts that publisher did not make.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.domain.results import (
    Deleted,
    ObservedPost,
    Published,
    Reach,
    Receipt,
    Unknown,
)
from publisher.engine.monitor import monitor_due
from publisher.engine.sender import send_due
from publisher.store.monitor.monitor import MAX_EXTERNAL_POSTS_A_DAY
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter

HOUR = timedelta(hours=1)


class Watched(FakeAdapter):
    """A platform that records the posts it was asked about one by one."""

    asked: list

    async def find_post(self, request):
        self.asked.append(request.delivery)
        return await super().find_post(request)


class Brief(FakeAdapter):
    """A platform with our posts missing from its list and metrics.

    Asked by id, it knows all but the first.
    """

    async def list_recent(self):
        return self.external_posts

    async def read_metrics(self, _receipts):
        return {}

    async def check_ticket(self, ticket):
        return (
            Deleted() if ticket.payload == "1" else await super().check_ticket(ticket)
        )


async def publish_one(open_store, *, is_exclusive=False):
    """Return a worker with one published post on one account, and the platform."""
    policy = make_policy("a")
    store = await open_store(
        replace(policy, account=replace(policy.account, is_exclusive=is_exclusive))
    )
    fake = FakeAdapter(now=store.runtime.now)
    adapters = dict.fromkeys(store.policies, fake)
    await publish(store, adapters, "p")
    return store, fake, adapters, store.monitoring


async def publish(store, adapters, post):
    await enqueue_posts(store.posts, make_post(post, ["a"], store.runtime.now()))
    await store.maintenance.run()
    await send_due(store, adapters, 50, asyncio.Event())


def external_post(number, at):
    return ObservedPost(
        remote_id=f"s{number}",
        url=f"https://fake.example/s{number}",
        published_at=at,
        text="转发微博",
    )


async def codes(store):
    return [alert.code for alert in await store.queries.alerts()]


async def state(store, post="p"):
    [delivery] = await store.queries.deliveries(post=PostId(post))
    return delivery.state


@pytest.mark.long
async def test_reach_is_read_again_at_the_pace_of_a_posts_age(open_store, runtime):
    """Reach is read after the platform's delay, then every three hours on the first day.

    It is never read after a month.
    """
    _store, fake, adapters, monitoring = await publish_one(open_store)
    for hour in range(24 * 40):
        runtime.advance_time(HOUR)
        fake.reads = hour
        await monitor_due(monitoring.store, adapters, 10)
    series = await monitoring.store.queries.metrics_series(PostId("p"))
    ages = [(reading.at - START_TIME) // HOUR for reading in series]
    assert ages[:9] == [1, 4, 7, 10, 13, 16, 19, 22, 46]
    assert ages[-1] <= 30 * 24
    assert [reading.reach.reads for reading in series] == [age - 1 for age in ages]
    assert {reading.reach.likes for reading in series} == {None}


async def test_an_account_is_monitored_by_one_host_at_a_time(open_store):
    """Two hosts asking at the same time do not both read the account."""
    _store, _fake, _adapters, monitoring = await publish_one(open_store)
    taken = await asyncio.gather(
        monitoring.claim_due_accounts(10), monitoring.claim_due_accounts(10)
    )
    assert sorted(map(len, taken)) == [0, 1]


async def test_f48_a_post_deleted_by_others_is_reported_after_two_readbacks(
    open_store, runtime
):
    """F48: two complete lists without the post, an interval apart, prove its removal.

    One list is not believed. Nothing is resent.
    """
    store, fake, adapters, monitoring = await publish_one(open_store)
    runtime.advance_time(HOUR)
    await publish(store, adapters, "later")
    runtime.advance_time(HOUR)
    await monitor_due(monitoring.store, adapters, 10)
    del fake.posts["1"]
    fake.external_posts.append(external_post(0, START_TIME - HOUR))
    runtime.advance_time(HOUR)
    await monitor_due(monitoring.store, adapters, 10)
    assert await state(store) is State.PUBLISHED
    runtime.advance_time(HOUR)
    await monitor_due(monitoring.store, adapters, 10)
    assert await state(store) is State.REMOVED
    assert await state(store, "later") is State.PUBLISHED
    assert len(fake.calls) == 2
    assert any(code.startswith("removed.") for code in await codes(store))


async def test_f48_the_only_post_of_an_account_is_missed_too(open_store, runtime):
    """F48: an empty list hides no removal, as a list that short is complete.

    Two complete readbacks prove it.
    """
    store, fake, adapters, monitoring = await publish_one(open_store)
    del fake.posts["1"]
    for expected in (State.PUBLISHED, State.REMOVED):
        runtime.advance_time(HOUR)
        await monitor_due(monitoring.store, adapters, 10)
        assert await state(store) is expected


GONE = Deleted()


async def monitor_hourly(runtime, monitoring, adapters, *findings):
    """Monitor once an hour, with a list that lacks the post each time.

    A read of the post returns the next finding.
    """
    for finding in findings:
        runtime.advance_time(HOUR)
        adapters["a"].findings.append(finding)
        await monitor_due(monitoring.store, adapters, 10)


async def test_f48_one_read_that_says_deleted_changes_nothing(open_store, runtime):
    """F48: a single answer of a deletion is asked about again.

    A post found by a later read is left alone, and nobody is alerted.
    """
    store, fake, adapters, monitoring = await publish_one(open_store)
    held = fake.posts.pop("1")
    for _ in range(3):
        await monitor_hourly(
            runtime, monitoring, adapters, GONE, Unknown(reason="timeout"), still_live()
        )
    await monitor_hourly(runtime, monitoring, adapters, GONE)
    fake.posts["1"] = held  # the list itself shows it
    runtime.advance_time(HOUR)
    await monitor_due(monitoring.store, adapters, 10)
    del fake.posts["1"]
    await monitor_hourly(runtime, monitoring, adapters, GONE)
    assert (await state(store), await codes(store)) == (State.PUBLISHED, [])


def still_live():
    return Published(
        receipt=Receipt(
            remote_id="1", url="https://fake.example/1", published_at=START_TIME
        )
    )


@pytest.mark.parametrize("between", [[], [Unknown(reason="timeout")]])
async def test_f48_two_reads_that_say_deleted_are_believed(
    open_store, runtime, between
):
    """F48: the second answer of the platform ends it, and a failed read in between does no harm."""
    store, fake, adapters, monitoring = await publish_one(open_store)
    del fake.posts["1"]
    await monitor_hourly(runtime, monitoring, adapters, GONE, *between)
    assert await state(store) is State.PUBLISHED
    await monitor_hourly(runtime, monitoring, adapters, GONE)
    assert await state(store) is State.REMOVED
    assert any(code.startswith("removed.") for code in await codes(store))


@pytest.mark.parametrize("reports", [True, False])
async def test_f48_a_post_beyond_the_list_is_asked_for_when_its_figures_are_missing(
    open_store, runtime, reports
):
    """F48: a post beyond the list is noticed only where metrics leave out deleted posts."""
    policy = make_policy("a")
    store = await open_store(
        replace(
            policy,
            capabilities=replace(policy.capabilities, has_deletions_in_metrics=reports),
        )
    )
    brief = Brief(now=store.runtime.now)
    adapters, monitoring = dict.fromkeys(store.policies, brief), store.monitoring
    await publish(store, adapters, "p")
    await publish(store, adapters, "q")
    brief.external_posts += [
        external_post(number, START_TIME + number * timedelta(minutes=5))
        for number in range(5, 0, -1)
    ]
    for _ in range(3):
        runtime.advance_time(HOUR)
        await monitor_due(monitoring.store, adapters, 10)
    assert await state(store) is (State.REMOVED if reports else State.PUBLISHED)
    assert await state(store, "q") is State.PUBLISHED


async def test_a_published_post_read_with_its_marker_counts_as_verified(
    open_store, runtime
):
    """The time since verification restarts when a read shows our own text.

    The platform's report of success does not restart it.
    """
    store, _fake, adapters, monitoring = await publish_one(open_store)
    assert [item.verified_at for item in await store.queries.deliveries()] == [None]
    runtime.advance_time(HOUR)
    await monitor_due(monitoring.store, adapters, 10)
    assert [item.verified_at for item in await store.queries.deliveries()] == [
        START_TIME + HOUR
    ]


async def test_a_post_that_a_readback_still_finds_stays_published(open_store, runtime):
    """A list that leaves a post out proves nothing while the post itself is found."""
    store, fake, adapters, monitoring = await publish_one(open_store)
    fake.external_posts.append(external_post(0, START_TIME - HOUR))
    held = fake.posts.pop("1")
    for _ in range(3):
        runtime.advance_time(HOUR)
        fake.findings.append(Unknown(reason="timeout"))
        await monitor_due(monitoring.store, adapters, 10)
    fake.posts["1"] = held
    assert await state(store) is State.PUBLISHED


async def test_older_posts_are_not_reported(open_store, runtime):
    """The first read of an account reports no old posts."""
    store, fake, adapters, monitoring = await publish_one(open_store, is_exclusive=True)
    fake.external_posts += [
        external_post(number, START_TIME - number * HOUR) for number in range(20)
    ]
    for _ in range(3):
        runtime.advance_time(HOUR)
        await monitor_due(monitoring.store, adapters, 10)
    assert await codes(store) == []


@pytest.mark.parametrize(
    ("is_exclusive", "code"), [(True, "unauthorized_post"), (False, "external_post")]
)
async def test_f57_an_external_post_is_reported_once(
    open_store, runtime, is_exclusive, code
):
    """F57, I11: there is one alert for all external posts of a read.

    It is red on an exclusive account. Nothing is deleted.
    """
    store, fake, adapters, monitoring = await publish_one(
        open_store, is_exclusive=is_exclusive
    )
    await monitor_due(monitoring.store, adapters, 10)
    fake.external_posts += [
        external_post(1, START_TIME + HOUR / 2),
        external_post(2, START_TIME + HOUR / 3),
    ]
    for _ in range(3):
        runtime.advance_time(HOUR)
        await monitor_due(monitoring.store, adapters, 10)
    [alert] = await store.queries.alerts()
    assert (alert.code, alert.facts["number"], alert.facts["url"]) == (
        code,
        "2",
        "https://fake.example/s1",
    )
    assert len(fake.external_posts) == 2


async def test_f53_f57_a_list_that_shows_posts_twice_is_read_as_if_once(
    open_store, runtime
):
    """F53, F57: a repeated entry of a list counts as one post, and the read does not fail.

    It is one external post, one older post or one post of ours.
    """
    store, fake, adapters, monitoring = await publish_one(open_store, is_exclusive=True)
    fake.external_posts += [external_post(0, START_TIME - HOUR)] * 2
    await monitor_due(monitoring.store, adapters, 10)
    fake.external_posts += [external_post(1, START_TIME + HOUR / 2)] * 2
    runtime.advance_time(HOUR)
    assert await monitor_due(monitoring.store, adapters, 10) == 1
    [alert] = await store.queries.alerts()
    assert (alert.code, alert.facts["number"]) == ("unauthorized_post", "1")
    assert await state(store) is State.PUBLISHED


async def test_an_old_post_that_appears_later_is_not_reported(open_store, runtime):
    """A post from before us is no intrusion when it appears later.

    It appears when a newer post is deleted, or an old one pinned.
    """
    store, fake, adapters, monitoring = await publish_one(open_store, is_exclusive=True)
    await monitor_due(monitoring.store, adapters, 10)
    fake.external_posts.append(external_post(1, START_TIME - 60 * 24 * HOUR))
    runtime.advance_time(HOUR)
    await monitor_due(monitoring.store, adapters, 10)
    assert await codes(store) == []


@pytest.mark.long
async def test_a_pinned_post_does_not_set_off_a_search_for_all_that_is_older_than_the_list(
    open_store, runtime
):
    """The oldest entry of a list proves nothing.

    Only a few missed posts are asked about in one run.
    """
    store, fake, adapters, monitoring = await publish_one(open_store)
    for number in range(12):
        runtime.advance_time(HOUR)
        await publish(store, adapters, f"p{number}")
    pinned = external_post(0, START_TIME - 60 * 24 * HOUR)
    newest = {key: fake.posts[key] for key in list(fake.posts)[-4:]}
    watched = Watched(
        now=fake.now,
        posts=newest,
        published_at=fake.published_at,
        external_posts=[pinned],
    )
    watched.asked = []
    runtime.advance_time(HOUR)
    await monitor_due(monitoring.store, {"a": watched}, 10)
    assert watched.asked == []
    watched.posts = {}
    for _ in range(3):
        runtime.advance_time(HOUR)
        await monitor_due(monitoring.store, {"a": watched}, 10)
    assert len(watched.asked) == len(set(watched.asked)) == 9


async def test_a_post_with_an_unknown_outcome_is_not_called_external(
    open_store, runtime
):
    """A post that may be our own, with a lost reply, is judged only once its outcome is known."""
    store, fake, adapters, monitoring = await publish_one(open_store, is_exclusive=True)
    await monitor_due(monitoring.store, adapters, 10)
    runtime.advance_time(HOUR)
    fake.script.append(fake.lose_reply)
    await publish(store, adapters, "doubtful")
    assert await state(store, "doubtful") is State.UNKNOWN
    await monitor_due(monitoring.store, adapters, 10)
    assert await codes(store) == []


async def test_an_address_that_comes_late_is_kept(open_store):
    """A published post without an address gets the one in its metrics.

    A post with its own address keeps it.
    """
    store, _fake, adapters, monitoring = await publish_one(open_store)
    without = Published(
        receipt=Receipt(remote_id="mass-1", url="", published_at=START_TIME)
    )
    adapters["a"].script.append(without)
    await publish(store, adapters, "q")
    found = {item.key.post: item for item in await store.queries.deliveries()}
    reported = {
        item.id: Reach(reads=1, url="https://fake.example/late")
        for item in found.values()
    }
    await monitoring.record_metrics(reported)
    after = {item.key.post: item for item in await store.queries.deliveries()}
    assert after["p"] == found["p"]
    assert (after["q"].receipt.url, after["q"].version) == (
        "https://fake.example/late",
        found["q"].version,
    )
    assert [
        reading.reach.reads
        for reading in await monitoring.store.queries.metrics_series()
    ] == [
        1,
        1,
    ]


async def test_f36_a_list_of_ever_new_posts_fills_no_database(open_store, runtime):
    """F36: so many external posts of an account are kept a day, and each read is alerted."""
    store, fake, adapters, monitoring = await publish_one(open_store, is_exclusive=True)
    await monitor_due(monitoring.store, adapters, 10)
    for hour in range(3):
        fake.external_posts[:] = [
            external_post(1_000 * hour + number, START_TIME + HOUR / 2)
            for number in range(200)
        ]
        runtime.advance_time(HOUR)
        await monitor_due(monitoring.store, adapters, 10)
    kept = await store.occurrences.foreign_posts(START_TIME)
    assert len(kept) == MAX_EXTERNAL_POSTS_A_DAY
    assert await codes(store) == ["unauthorized_post"] * 3
