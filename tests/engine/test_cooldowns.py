"""A platform wants fewer calls.

A limit that a read meets holds for every call of its login.
"""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from publisher.domain.account import AccountId
from publisher.domain.delivery import RECONCILER, State
from publisher.domain.post import PostId
from publisher.domain.results import RateLimited, Receipt, Unknown
from publisher.engine.decisions import named_person
from publisher.engine.monitor import check_logins_due, monitor_due
from publisher.engine.reconciler import reconcile_due, retract_due
from publisher.engine.sender import send_due
from publisher.store.db.tables import LOGIN
from publisher.store.deliveries.cooldowns import (
    Cooldown,
    extend_cooldowns,
    start_rate_limit,
)
from publisher.store.deliveries.intents import PendingReadback
from publisher.store.monitor.login_health import PROBE_INTERVAL
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
REST = 30 * MINUTE


class Strict(FakeAdapter):
    """A platform that records each call, and answers one kind of read with a limit."""

    limited: str
    asked: list

    def add_post(self, request):
        remote_id = f"{request.account}-{request.delivery}"
        self.posts[remote_id], self.published_at[remote_id] = request, self.now()
        return Receipt(
            remote_id=remote_id,
            url=f"https://fake.example/{remote_id}",
            published_at=self.now(),
        )

    async def _answer(self, kind, answer):
        self.asked.append(kind)
        found = await answer
        return (
            RateLimited(code="often", until=self.now() + REST)
            if kind == self.limited
            else found
        )

    async def find_post(self, request):
        return await self._answer("find", super().find_post(request))

    async def retract(self, receipt):
        return await self._answer("retract", super().retract(receipt))

    async def check_health(self):
        return await self._answer("probe", super().check_health())

    async def read_metrics(self, receipts):
        return await self._answer("measure_reach", super().read_metrics(receipts))

    async def list_recent(self):
        return await self._answer("recent", super().list_recent())

    async def publish(self, request):
        return await self._answer("publish", super().publish(request))


class CooldownScene:
    """Two accounts of one login and one of another, and all the jobs that call platforms."""

    def __init__(self, store, platforms):
        self.store, self.platforms = store, platforms
        self.adapters = {
            "a": platforms["one"],
            "b": platforms["one"],
            "c": platforms["two"],
        }
        self.monitoring, self.checkups, self.actions = (
            store.monitoring,
            store.login_health,
            store.actions,
        )

    async def file(self, post, *accounts):
        await enqueue_posts(
            self.store.posts, make_post(post, accounts, self.store.runtime.now())
        )

    async def work(self):
        await self.store.maintenance.run()
        await send_due(self.store, self.adapters, 10, asyncio.Event())
        await reconcile_due(self.store, self.adapters, 10)
        await retract_due(self.store, self.adapters, 10)
        await monitor_due(self.monitoring.store, self.adapters, 10)
        await check_logins_due(self.checkups.store, self.adapters, 10)

    async def state(self, post, account):
        [found] = [
            item
            for item in await self.store.queries.deliveries(post=PostId(post))
            if item.account == account
        ]
        return found


@pytest.fixture
async def day(open_store):
    """Return a worker with an unknown post on `a` and old posts on `b` and `c`.

    The post on `a` has been unknown for a minute. The posts on `b` and `c` are hours old.
    """
    store = await open_store(
        make_policy("a", login="one"),
        make_policy("b", login="one"),
        make_policy("c", login="two"),
    )
    platforms = {}
    for name in ("one", "two"):
        platforms[name] = Strict(now=store.runtime.now)
        platforms[name].limited, platforms[name].asked = "", []
    made = CooldownScene(store, platforms)
    await made.file("live", "b", "c")
    await made.work()
    store.runtime.advance_time(
        PROBE_INTERVAL
    )  # monitoring of every published post has become due
    platforms["one"].script.append(platforms["one"].lose_reply)
    await made.file("doubted", "a")
    await store.maintenance.run()
    await send_due(store, made.adapters, 10, asyncio.Event())
    store.runtime.advance_time(MINUTE)
    return made


@pytest.mark.long
@pytest.mark.parametrize(
    "kind", ["find", "recent", "measure_reach", "probe", "retract"]
)
async def test_f26_i15_no_call_of_a_login_comes_before_the_end_of_a_limit_that_a_read_met(
    day, runtime, kind
):
    """F26, I15: a limit that a read met stops both reads and posts of its login.

    Another login is not affected. Afterwards everything goes on.
    """
    one, two = day.platforms["one"], day.platforms["two"]
    if kind == "retract":
        await day.actions.retract(
            PostId("live"), AccountId("b"), named_person("li"), "wrong"
        )
    one.limited = kind
    step = {
        "find": lambda: reconcile_due(day.store, day.adapters, 10),
        "recent": lambda: monitor_due(day.monitoring.store, day.adapters, 10),
        "measure_reach": lambda: monitor_due(day.monitoring.store, day.adapters, 10),
        "probe": lambda: check_logins_due(day.checkups.store, day.adapters, 10),
        "retract": lambda: retract_due(day.store, day.adapters, 10),
    }[kind]
    one.asked.clear()
    await step()
    assert one.asked[-1] == kind
    one.limited, two.asked = "", []
    one.asked.clear()
    await day.file("next", "a", "b", "c")
    for _ in range(29):
        runtime.advance_time(MINUTE)
        await day.work()
    assert one.asked == []
    assert "publish" in two.asked
    for _ in range(20):
        runtime.advance_time(MINUTE)
        await day.work()
    assert {"find", "publish"} <= set(one.asked)
    assert (await day.state("doubted", "a")).state is State.PUBLISHED
    assert (await day.state("next", "b")).state is State.PUBLISHED
    assert (await day.state("live", "b")).state is (
        State.RETRACTED if kind == "retract" else State.PUBLISHED
    )


async def test_f26_a_limited_readback_is_no_absence_and_its_delivery_waits(
    day, runtime
):
    """F26, I7: a limited readback is stored, and the outcome stays unknown.

    It is read again at the end of the limit.
    """
    day.platforms["one"].limited = "find"
    await reconcile_due(day.store, day.adapters, 10)
    doubted = await day.state("doubted", "a")
    assert (doubted.state, doubted.reason, doubted.next_action_at) == (
        State.UNKNOWN,
        "rate_limited",
        runtime.now() + REST,
    )
    story = await day.store.queries.delivery_history(doubted)
    assert [type(look.result) for look in story.readbacks] == [RateLimited]


@pytest.mark.parametrize(
    ("until", "rest"),
    [
        (timedelta(days=365), timedelta(days=1)),
        (None, timedelta(seconds=30)),
        (REST, REST),
    ],
)
async def test_f26_f27_a_cooldown_lasts_as_long_as_a_limit_says_a_day_at_most(
    day, runtime, until, rest
):
    """F26, F27: without an end the cooldown lasts for the first pause between reads."""
    now = runtime.now()
    [unknown] = await day.store.outbox.due_readbacks([State.UNKNOWN], 5)
    limit = RateLimited(code="often", until=now + until if until else None)
    after = await day.store.outbox.record_readback(
        unknown, limit, RECONCILER, runtime.monotonic()
    )
    assert after.next_action_at >= now + rest
    assert await cooldowns_of(day, "one") == (now + rest,) * 4


async def test_f26_a_limit_holds_although_the_delivery_has_moved_on(day, runtime):
    """F26, F15: the answer changes nothing about its delivery, yet the login is in cooldown."""
    [unknown] = await day.store.outbox.due_readbacks([State.UNKNOWN], 5)
    stale = PendingReadback(delivery=unknown.delivery, request=unknown.request)
    await day.store.outbox.record_readback(
        unknown, Unknown(reason="timeout"), RECONCILER, runtime.monotonic()
    )
    limit = RateLimited(code="often", until=runtime.now() + REST)
    after = await day.store.outbox.record_readback(
        stale, limit, RECONCILER, runtime.monotonic()
    )
    assert (after.state, after.reason) == (State.UNKNOWN, "timeout")
    assert await cooldowns_of(day, "one") == (runtime.now() + REST,) * 4


async def test_a_limit_on_a_creating_call_stops_posts_and_no_reads(day, runtime):
    """F26: a limit on a creating call does not stop reads.

    Reads end the unknown outcomes of the login.
    """
    one = day.platforms["one"]
    one.limited = "publish"
    await day.file("next", "b")
    await day.work()
    one.limited = ""
    assert (await day.state("next", "b")).state is State.RETRYING
    assert (await day.state("doubted", "a")).state is State.PUBLISHED
    rests, *_others, reads = await cooldowns_of(day, "one")
    assert rests == runtime.now() + REST
    assert reads < runtime.now()


async def test_a_cooldown_is_never_shortened(day, runtime):
    """I15: the later instant of each kind of cooldown stays after any later write."""
    now, login = runtime.now(), "fake/one"

    def write(unit):
        start_rate_limit(day.store, unit, login, now + HOUR, now, is_for_reads=False)
        longer = Cooldown(
            login=login,
            cooldown_until=now,
            routine_cooldown_until=now + 2 * HOUR,
            parts_cooldown_until=START_TIME,
            reads_cooldown_until=now + MINUTE,
        )
        extend_cooldowns(unit, [longer], now)
        extend_cooldowns(unit, [Cooldown(login=login)], now)

    await day.store.database.write(write)
    assert await cooldowns_of(day, "one") == (
        now + HOUR,
        now + 2 * HOUR,
        now + HOUR,
        now + MINUTE,
    )


async def cooldowns_of(day, login):
    query = select(LOGIN).where(LOGIN.c.id == f"fake/{login}")
    row = await day.store.database.read(
        lambda connection: connection.execute(query).one()
    )
    return (
        row.cooldown_until,
        row.routine_cooldown_until,
        row.parts_cooldown_until,
        row.reads_cooldown_until,
    )
