"""A platform that wants fewer calls is left alone: a limit that a read meets holds for every call of its login."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from publisher.delivering import deliver_due
from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.events import RECONCILER
from publisher.domain.outcome import RateLimited, Receipt, Unknown
from publisher.domain.post import PostId
from publisher.keeping import keep
from publisher.reconciling import reconcile_due
from publisher.retracting import retract_due
from publisher.reviewing import person
from publisher.store.board import Board
from publisher.store.checkups import PACE, Checkups
from publisher.store.orders import Orders
from publisher.store.outbox import Doubt
from publisher.store.rests import Rest, keep_back_posts, lengthen
from publisher.store.rows import LOGIN
from publisher.store.watches import Watches
from publisher.testing.builders import file_posts, post_of, terms_of
from publisher.testing.fakes import START, FakeAdapter
from publisher.watching import probe_due, watch_due

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
REST = 30 * MINUTE


class Strict(FakeAdapter):
    """A platform that notes each call, and answers one kind of read with a limit."""

    limited: str
    asked: list

    def post(self, parcel):
        remote_id = f"{parcel.account}-{parcel.delivery}"
        self.posts[remote_id], self.live_since[remote_id] = parcel, self.now()
        return Receipt(remote_id=remote_id, url=f"https://fake.example/{remote_id}", live_at=self.now())

    async def _answer(self, kind, answer):
        self.asked.append(kind)
        found = await answer
        return RateLimited(code="often", until=self.now() + REST) if kind == self.limited else found

    async def find(self, parcel):
        return await self._answer("find", super().find(parcel))

    async def retract(self, receipt):
        return await self._answer("retract", super().retract(receipt))

    async def probe(self):
        return await self._answer("probe", super().probe())

    async def measure_reach(self, receipts):
        return await self._answer("measure_reach", super().measure_reach(receipts))

    async def recent(self):
        return await self._answer("recent", super().recent())

    async def publish(self, parcel):
        return await self._answer("publish", super().publish(parcel))


class Day:
    """Two accounts of one login and one of another, and all the stages that call platforms."""

    def __init__(self, desk, platforms):
        self.desk, self.platforms = desk, platforms
        self.adapters = {"a": platforms["one"], "b": platforms["one"], "c": platforms["two"]}
        self.watches, self.checkups, self.orders = Watches(desk.books), Checkups(desk.books), Orders(desk.books)

    async def file(self, post, *accounts):
        await file_posts(self.desk.registry, post_of(post, accounts, self.desk.books.world.now()))

    async def work(self):
        await keep(self.desk.rounds)
        await deliver_due(self.desk.outbox, self.adapters, 10, asyncio.Event())
        await reconcile_due(self.desk.outbox, self.adapters, 10)
        await retract_due(self.desk.outbox, self.adapters, 10)
        await watch_due(self.watches, self.adapters, 10)
        await probe_due(self.checkups, self.adapters, 10)

    async def state(self, post, account):
        [found] = [
            item for item in await Board(self.desk.books).deliveries(post=PostId(post)) if item.account == account
        ]
        return found


@pytest.fixture
async def day(open_desk):
    """Give a desk on which a post of `a` is in doubt for a minute, and posts of `b` and `c` are live for hours."""
    desk = await open_desk(terms_of("a", login="one"), terms_of("b", login="one"), terms_of("c", login="two"))
    platforms = {}
    for name in ("one", "two"):
        platforms[name] = Strict(now=desk.books.world.now)
        platforms[name].limited, platforms[name].asked = "", []
    made = Day(desk, platforms)
    await made.file("live", "b", "c")
    await made.work()
    desk.books.world.pass_time(PACE)  # every read of what is live has become due
    platforms["one"].script.append(platforms["one"].lose_reply)
    await made.file("doubted", "a")
    await keep(desk.rounds)
    await deliver_due(desk.outbox, made.adapters, 10, asyncio.Event())
    desk.books.world.pass_time(MINUTE)
    return made


@pytest.mark.parametrize("kind", ["find", "recent", "measure_reach", "probe", "retract"])
async def test_f26_i15_no_call_of_a_login_comes_before_the_end_of_a_limit_that_a_read_met(day, world, kind):
    """F26, I15: neither reads nor posts; another login notices nothing; afterwards all goes on."""
    one, two = day.platforms["one"], day.platforms["two"]
    if kind == "retract":
        await day.orders.retract(PostId("live"), AccountId("b"), person("li"), "wrong")
    one.limited = kind
    step = {
        "find": lambda: reconcile_due(day.desk.outbox, day.adapters, 10),
        "recent": lambda: watch_due(day.watches, day.adapters, 10),
        "measure_reach": lambda: watch_due(day.watches, day.adapters, 10),
        "probe": lambda: probe_due(day.checkups, day.adapters, 10),
        "retract": lambda: retract_due(day.desk.outbox, day.adapters, 10),
    }[kind]
    one.asked.clear()
    await step()
    assert one.asked[-1] == kind
    one.limited, two.asked = "", []
    one.asked.clear()
    await day.file("next", "a", "b", "c")
    for _ in range(29):
        world.pass_time(MINUTE)
        await day.work()
    assert one.asked == []
    assert "publish" in two.asked
    for _ in range(20):
        world.pass_time(MINUTE)
        await day.work()
    assert {"find", "publish"} <= set(one.asked)
    assert (await day.state("doubted", "a")).state is State.PUBLISHED
    assert (await day.state("next", "b")).state is State.PUBLISHED
    assert (await day.state("live", "b")).state is (State.RETRACTED if kind == "retract" else State.PUBLISHED)


async def test_f26_a_limited_look_is_no_absence_and_its_delivery_waits(day, world):
    """F26, I7: the look is stored, the delivery stays in doubt and is read again at the end of the limit."""
    day.platforms["one"].limited = "find"
    await reconcile_due(day.desk.outbox, day.adapters, 10)
    doubted = await day.state("doubted", "a")
    assert (doubted.state, doubted.reason, doubted.next_at) == (State.UNKNOWN, "rate_limited", world.now() + REST)
    story = await Board(day.desk.books).story(doubted)
    assert [type(look.finding) for look in story.looks] == [RateLimited]


@pytest.mark.parametrize(
    ("until", "rest"), [(timedelta(days=365), timedelta(days=1)), (None, timedelta(seconds=30)), (REST, REST)]
)
async def test_f26_f27_a_login_rests_as_long_as_a_limit_says_a_day_at_most(day, world, until, rest):
    """F26, F27: without an end it rests for the first pause between reads."""
    now = world.now()
    [doubt] = await day.desk.outbox.doubts([State.UNKNOWN], 5)
    limit = RateLimited(code="often", until=now + until if until else None)
    after = await day.desk.outbox.learn(doubt, limit, RECONCILER, world.monotonic())
    assert after.next_at >= now + rest
    assert await rests_of(day, "one") == (now + rest,) * 4


async def test_f26_a_limit_that_comes_when_the_delivery_has_moved_on_holds_all_the_same(day, world):
    """F26, F15: the answer decides nothing about its delivery, yet the login rests."""
    [doubt] = await day.desk.outbox.doubts([State.UNKNOWN], 5)
    stale = Doubt(delivery=doubt.delivery, parcel=doubt.parcel)
    await day.desk.outbox.learn(doubt, Unknown(reason="timeout"), RECONCILER, world.monotonic())
    limit = RateLimited(code="often", until=world.now() + REST)
    after = await day.desk.outbox.learn(stale, limit, RECONCILER, world.monotonic())
    assert (after.state, after.reason) == (State.UNKNOWN, "timeout")
    assert await rests_of(day, "one") == (world.now() + REST,) * 4


async def test_a_limit_on_a_creating_call_keeps_back_posts_and_no_reads(day, world):
    """F26: a limit that a creating call meets says nothing of reads, which end the doubts of the login."""
    one = day.platforms["one"]
    one.limited = "publish"
    await day.file("next", "b")
    await day.work()
    one.limited = ""
    assert (await day.state("next", "b")).state is State.RETRYING
    assert (await day.state("doubted", "a")).state is State.PUBLISHED
    rests, *_others, reads = await rests_of(day, "one")
    assert rests == world.now() + REST
    assert reads < world.now()


async def test_a_rest_only_ever_grows_longer(day, world):
    """I15: whatever is written after it, the later instant of each kind stands."""
    now, login = world.now(), "fake/one"

    def write(unit):
        keep_back_posts(day.desk.books, unit, login, now + HOUR, now)
        longer = Rest(login=login, posts=now, routine=now + 2 * HOUR, floors=START, reads=now + MINUTE)
        lengthen(unit, [longer], now)
        lengthen(unit, [Rest(login=login)], now)

    await day.desk.books.database.write(write)
    assert await rests_of(day, "one") == (now + HOUR, now + 2 * HOUR, now + HOUR, now + MINUTE)


async def rests_of(day, login):
    query = select(LOGIN).where(LOGIN.c.id == f"fake/{login}")
    row = await day.desk.books.database.read(lambda connection: connection.execute(query).one())
    return row.rests_until, row.routine_until, row.floors_until, row.reads_until
