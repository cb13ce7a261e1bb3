"""Published posts are read again: metrics, posts deleted by others, posts that publisher did not make."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.domain.results import Deleted, ObservedPost, Published, Reach, Receipt, Unknown
from publisher.engine.monitor import monitor_due
from publisher.engine.sender import send_due
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter

HOUR = timedelta(hours=1)


class Watched(FakeAdapter):
    """A platform that records which posts it was asked about one by one."""

    asked: list

    async def find_post(self, parcel):
        self.asked.append(parcel.delivery)
        return await super().find_post(parcel)


class Brief(FakeAdapter):
    """A platform whose list and metrics lack our posts; asked by id, it knows all but the first."""

    async def list_recent(self):
        return self.external_posts

    async def read_metrics(self, _receipts):
        return {}

    async def check_ticket(self, ticket):
        return Deleted() if ticket.payload == "1" else await super().check_ticket(ticket)


async def publish_one(open_desk, *, is_exclusive=False):
    """Return a worker with one published post on one account, and the platform."""
    terms = make_policy("a")
    desk = await open_desk(replace(terms, account=replace(terms.account, is_exclusive=is_exclusive)))
    fake = FakeAdapter(now=desk.store.runtime.now)
    adapters = dict.fromkeys(desk.store.policies, fake)
    await publish(desk, adapters, "p")
    return desk, fake, adapters, desk.store.monitoring


async def publish(desk, adapters, post):
    await enqueue_posts(desk.post_store, make_post(post, ["a"], desk.store.runtime.now()))
    await desk.store.maintenance.run()
    await send_due(desk.store, adapters, 50, asyncio.Event())


def external_post(number, at):
    return ObservedPost(remote_id=f"s{number}", url=f"https://fake.example/s{number}", published_at=at, text="转发微博")


async def codes(desk):
    return [alert.code for alert in await desk.store.queries.alerts()]


async def state(desk, post="p"):
    [delivery] = await desk.store.queries.deliveries(post=PostId(post))
    return delivery.state


async def test_reach_is_read_again_at_the_pace_of_a_posts_age(open_desk, world):
    """First after the platform's delay, then every three hours on the first day, and never after a month."""
    _desk, fake, adapters, monitoring = await publish_one(open_desk)
    for hour in range(24 * 40):
        world.advance_time(HOUR)
        fake.reads = hour
        await monitor_due(monitoring.store, adapters, 10)
    series = await monitoring.store.queries.metrics_series(PostId("p"))
    ages = [(reading.at - START_TIME) // HOUR for reading in series]
    assert ages[:9] == [1, 4, 7, 10, 13, 16, 19, 22, 46]
    assert ages[-1] <= 30 * 24
    assert [reading.reach.reads for reading in series] == [age - 1 for age in ages]
    assert {reading.reach.likes for reading in series} == {None}


async def test_an_account_is_monitored_by_one_host_at_a_time(open_desk):
    """Two hosts asking at the same time do not both read the account."""
    _desk, _fake, _adapters, monitoring = await publish_one(open_desk)
    taken = await asyncio.gather(monitoring.claim_due_accounts(10), monitoring.claim_due_accounts(10))
    assert sorted(map(len, taken)) == [0, 1]


async def test_f48_a_post_deleted_by_others_is_reported_after_two_readbacks(open_desk, world):
    """F48: one list without it is not believed; two complete ones an interval apart are; nothing is resent."""
    desk, fake, adapters, monitoring = await publish_one(open_desk)
    world.advance_time(HOUR)
    await publish(desk, adapters, "later")
    world.advance_time(HOUR)
    await monitor_due(monitoring.store, adapters, 10)
    del fake.posts["1"]
    fake.external_posts.append(external_post(0, START_TIME - HOUR))
    world.advance_time(HOUR)
    await monitor_due(monitoring.store, adapters, 10)
    assert await state(desk) is State.PUBLISHED
    world.advance_time(HOUR)
    await monitor_due(monitoring.store, adapters, 10)
    assert await state(desk) is State.REMOVED
    assert await state(desk, "later") is State.PUBLISHED
    assert len(fake.calls) == 2
    assert any(code.startswith("removed.") for code in await codes(desk))


async def test_f48_the_only_post_of_an_account_is_missed_too(open_desk, world):
    """F48: an empty list hides no removal, as a list that short is complete; two complete readbacks prove it."""
    desk, fake, adapters, monitoring = await publish_one(open_desk)
    del fake.posts["1"]
    for expected in (State.PUBLISHED, State.REMOVED):
        world.advance_time(HOUR)
        await monitor_due(monitoring.store, adapters, 10)
        assert await state(desk) is expected


GONE = Deleted()


async def monitor_hourly(world, monitoring, adapters, *findings):
    """Monitor once an hour; each time the list lacks the post, and asking for it returns the next finding."""
    for finding in findings:
        world.advance_time(HOUR)
        adapters["a"].findings.append(finding)
        await monitor_due(monitoring.store, adapters, 10)


async def test_f48_one_read_that_says_deleted_changes_nothing(open_desk, world):
    """F48: a stray answer is asked about again; a post found by a later read is left alone, and nobody is alerted."""
    desk, fake, adapters, monitoring = await publish_one(open_desk)
    held = fake.posts.pop("1")
    for _ in range(3):
        await monitor_hourly(world, monitoring, adapters, GONE, Unknown(reason="timeout"), still_live())
    await monitor_hourly(world, monitoring, adapters, GONE)
    fake.posts["1"] = held  # the list itself shows it
    world.advance_time(HOUR)
    await monitor_due(monitoring.store, adapters, 10)
    del fake.posts["1"]
    await monitor_hourly(world, monitoring, adapters, GONE)
    assert (await state(desk), await codes(desk)) == (State.PUBLISHED, [])


def still_live():
    return Published(receipt=Receipt(remote_id="1", url="https://fake.example/1", published_at=START_TIME))


@pytest.mark.parametrize("between", [[], [Unknown(reason="timeout")]])
async def test_f48_two_reads_that_say_deleted_are_believed(open_desk, world, between):
    """F48: the second answer of the platform ends it, and a failed read in between does no harm."""
    desk, fake, adapters, monitoring = await publish_one(open_desk)
    del fake.posts["1"]
    await monitor_hourly(world, monitoring, adapters, GONE, *between)
    assert await state(desk) is State.PUBLISHED
    await monitor_hourly(world, monitoring, adapters, GONE)
    assert await state(desk) is State.REMOVED
    assert any(code.startswith("removed.") for code in await codes(desk))


@pytest.mark.parametrize("reports", [True, False])
async def test_f48_a_post_beyond_the_list_is_asked_for_when_its_figures_are_missing(open_desk, world, reports):
    """F48: a post beyond the list is noticed where metrics leave out what is deleted, and nowhere else."""
    terms = make_policy("a")
    desk = await open_desk(replace(terms, capabilities=replace(terms.capabilities, has_deletions_in_metrics=reports)))
    brief = Brief(now=desk.store.runtime.now)
    adapters, monitoring = dict.fromkeys(desk.store.policies, brief), desk.store.monitoring
    await publish(desk, adapters, "p")
    await publish(desk, adapters, "q")
    brief.external_posts += [
        external_post(number, START_TIME + number * timedelta(minutes=5)) for number in range(5, 0, -1)
    ]
    for _ in range(3):
        world.advance_time(HOUR)
        await monitor_due(monitoring.store, adapters, 10)
    assert await state(desk) is (State.REMOVED if reports else State.PUBLISHED)
    assert await state(desk, "q") is State.PUBLISHED


async def test_a_published_post_read_with_its_marker_counts_as_verified(open_desk, world):
    """The time since verification restarts when a read shows our own text, not when the platform reports success."""
    desk, _fake, adapters, monitoring = await publish_one(open_desk)
    assert [item.verified_at for item in await desk.store.queries.deliveries()] == [None]
    world.advance_time(HOUR)
    await monitor_due(monitoring.store, adapters, 10)
    assert [item.verified_at for item in await desk.store.queries.deliveries()] == [START_TIME + HOUR]


async def test_a_post_that_a_readback_still_finds_stays_published(open_desk, world):
    """A list that leaves a post out proves nothing while the post itself is found."""
    desk, fake, adapters, monitoring = await publish_one(open_desk)
    fake.external_posts.append(external_post(0, START_TIME - HOUR))
    held = fake.posts.pop("1")
    for _ in range(3):
        world.advance_time(HOUR)
        fake.findings.append(Unknown(reason="timeout"))
        await monitor_due(monitoring.store, adapters, 10)
    fake.posts["1"] = held
    assert await state(desk) is State.PUBLISHED


async def test_older_posts_are_not_reported(open_desk, world):
    """The first read of an account reports no old posts."""
    desk, fake, adapters, monitoring = await publish_one(open_desk, is_exclusive=True)
    fake.external_posts += [external_post(number, START_TIME - number * HOUR) for number in range(20)]
    for _ in range(3):
        world.advance_time(HOUR)
        await monitor_due(monitoring.store, adapters, 10)
    assert await codes(desk) == []


@pytest.mark.parametrize(("is_exclusive", "code"), [(True, "unauthorized_post"), (False, "external_post")])
async def test_f57_an_external_post_is_reported_once(open_desk, world, is_exclusive, code):
    """F57, I11: one alert for all that one read shows, red on an exclusive account; nothing is deleted."""
    desk, fake, adapters, monitoring = await publish_one(open_desk, is_exclusive=is_exclusive)
    await monitor_due(monitoring.store, adapters, 10)
    fake.external_posts += [external_post(1, START_TIME + HOUR / 2), external_post(2, START_TIME + HOUR / 3)]
    for _ in range(3):
        world.advance_time(HOUR)
        await monitor_due(monitoring.store, adapters, 10)
    [alert] = await desk.store.queries.alerts()
    assert (alert.code, alert.facts["number"], alert.facts["url"]) == (code, "2", "https://fake.example/s1")
    assert len(fake.external_posts) == 2


async def test_f53_f57_a_list_that_shows_posts_twice_is_read_as_if_once(open_desk, world):
    """F53, F57: a repeated entry is one external post, one older post and one post of ours; the read does not fail."""
    desk, fake, adapters, monitoring = await publish_one(open_desk, is_exclusive=True)
    fake.external_posts += [external_post(0, START_TIME - HOUR)] * 2
    await monitor_due(monitoring.store, adapters, 10)
    fake.external_posts += [external_post(1, START_TIME + HOUR / 2)] * 2
    world.advance_time(HOUR)
    assert await monitor_due(monitoring.store, adapters, 10) == 1
    [alert] = await desk.store.queries.alerts()
    assert (alert.code, alert.facts["number"]) == ("unauthorized_post", "1")
    assert await state(desk) is State.PUBLISHED


async def test_an_old_post_that_appears_later_is_not_reported(open_desk, world):
    """When a newer post is deleted, or an old one pinned, what was there before us is no intrusion."""
    desk, fake, adapters, monitoring = await publish_one(open_desk, is_exclusive=True)
    await monitor_due(monitoring.store, adapters, 10)
    fake.external_posts.append(external_post(1, START_TIME - 60 * 24 * HOUR))
    world.advance_time(HOUR)
    await monitor_due(monitoring.store, adapters, 10)
    assert await codes(desk) == []


async def test_a_pinned_post_does_not_set_off_a_search_for_all_that_is_older_than_the_list(open_desk, world):
    """The oldest entry of a list proves nothing, and only a few missed posts are asked about in one run."""
    desk, fake, adapters, monitoring = await publish_one(open_desk)
    for number in range(12):
        world.advance_time(HOUR)
        await publish(desk, adapters, f"p{number}")
    pinned = external_post(0, START_TIME - 60 * 24 * HOUR)
    newest = {key: fake.posts[key] for key in list(fake.posts)[-4:]}
    watched = Watched(now=fake.now, posts=newest, published_at=fake.published_at, external_posts=[pinned])
    watched.asked = []
    world.advance_time(HOUR)
    await monitor_due(monitoring.store, {"a": watched}, 10)
    assert watched.asked == []
    watched.posts = {}
    for _ in range(3):
        world.advance_time(HOUR)
        await monitor_due(monitoring.store, {"a": watched}, 10)
    assert len(watched.asked) == len(set(watched.asked)) == 9


async def test_a_post_with_an_unknown_outcome_is_not_called_external(open_desk, world):
    """A post that may be our own, with a lost reply, is judged only once its outcome is known."""
    desk, fake, adapters, monitoring = await publish_one(open_desk, is_exclusive=True)
    await monitor_due(monitoring.store, adapters, 10)
    world.advance_time(HOUR)
    fake.script.append(fake.lose_reply)
    await publish(desk, adapters, "doubtful")
    assert await state(desk, "doubtful") is State.UNKNOWN
    await monitor_due(monitoring.store, adapters, 10)
    assert await codes(desk) == []


async def test_an_address_that_comes_late_is_kept(open_desk):
    """A published post without an address gets the one in its metrics; one that has its own keeps it."""
    desk, _fake, adapters, monitoring = await publish_one(open_desk)
    without = Published(receipt=Receipt(remote_id="mass-1", url="", published_at=START_TIME))
    adapters["a"].script.append(without)
    await publish(desk, adapters, "q")
    found = {item.key.post: item for item in await desk.store.queries.deliveries()}
    reported = {item.id: Reach(reads=1, url="https://fake.example/late") for item in found.values()}
    await monitoring.record_metrics(reported)
    after = {item.key.post: item for item in await desk.store.queries.deliveries()}
    assert after["p"] == found["p"]
    assert (after["q"].receipt.url, after["q"].version) == ("https://fake.example/late", found["q"].version)
    assert [reading.reach.reads for reading in await monitoring.store.queries.metrics_series()] == [1, 1]
