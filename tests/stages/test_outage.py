"""A platform is down for hours, and a backlog of many posts."""

import asyncio
import gc
import os
import threading
import tracemalloc
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from publisher.delivering import deliver_due
from publisher.domain.delivery import State
from publisher.domain.outcome import NotSent, Unknown
from publisher.domain.post import PostId
from publisher.domain.quota import Quota
from publisher.store.board import Board
from publisher.store.engine import READERS
from publisher.testing.builders import file_posts, post_of, terms_of
from publisher.testing.fakes import START, FakeAdapter
from tests.stages.test_delivering import beat, run_on, stage

HOUR = timedelta(hours=1)
SLOW = Quota(min_interval=timedelta(minutes=1), per_hour=30, per_day=1000)


class Down(FakeAdapter):
    """A platform that cannot be reached until it is up again."""

    is_up = False

    async def publish(self, parcel):
        if self.is_up:
            return await FakeAdapter.publish(self, parcel)
        self.calls.append(parcel)
        return NotSent(reason="connect_failed")

    async def find(self, parcel):
        return await FakeAdapter.find(self, parcel) if self.is_up else Unknown(reason="connect_failed")


@pytest.mark.long
async def test_f59_one_platform_is_down_for_hours_and_the_others_are_on_time(open_desk, world):
    """F59: the rest goes out at its time; the backlog drains within the limits; what has expired is not sent."""
    desk = await open_desk(terms_of("a"), terms_of("b", quota=SLOW))
    up, down = FakeAdapter(now=world.now), Down(now=world.now)
    adapters = {"a": up, "b": down}
    brief = post_of("brief", ["a", "b"], START, expires_at=START + HOUR)
    dues = [START + number * timedelta(minutes=20) for number in range(6)]
    posts = [replace(post_of(f"p{n}", ["a", "b"], due), max_delay=6 * HOUR) for n, due in enumerate(dues)]
    await file_posts(desk.registry, brief, *posts)
    await beat(desk, adapters)
    await run_on(desk, adapters, world, minutes=180, step=timedelta(minutes=1))
    board = Board(desk.books)
    assert {item.state for item in await board.deliveries(account="a")} == {State.PUBLISHED}
    assert [parcel.intended_at - START for parcel in up.calls[1:]] == [
        number * timedelta(minutes=20) for number in range(6)
    ]
    assert State.PUBLISHED not in {item.state for item in await board.deliveries(account="b")}
    down.is_up, tried = True, len(down.calls)
    await run_on(desk, adapters, world, minutes=60, step=timedelta(seconds=15))
    states = {item.key.post: item.state for item in await board.deliveries(account="b")}
    assert states == {"brief": State.EXPIRED, **{f"p{number}": State.PUBLISHED for number in range(6)}}
    calls = [parcel.intended_at for parcel in down.calls[tried:]]
    assert min(later - sooner for sooner, later in pairwise(calls)) >= SLOW.min_interval


BACKLOG = 100_000
COPY = """
WITH RECURSIVE copy(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copy WHERE n < {count})
INSERT INTO delivery ({columns}) SELECT {values} FROM delivery, copy WHERE delivery.post = 'p'
"""


async def pile_up(desk, count):
    """Make so many due deliveries of one that was filed, on every account of it."""

    def operation(unit):
        names = unit.connection.exec_driver_sql("SELECT * FROM delivery LIMIT 1").keys()
        columns = [name for name in names if name != "id"]
        values = ["'p' || n" if name == "post" else f"delivery.{name}" for name in columns]
        unit.connection.exec_driver_sql(COPY.format(count=count, columns=", ".join(columns), values=", ".join(values)))

    await desk.books.database.write(operation)


async def test_f88_a_backlog_costs_no_memory_and_what_is_urgent_goes_first(open_desk, world):
    """F88: claims take what fits at once, however much waits; an urgent post overtakes all of it."""
    desk, fake, _adapters = await stage(open_desk, *(f"a{number}" for number in range(10)))
    names = sorted(desk.books.terms)
    await file_posts(desk.registry, post_of("p", names, START, expires_at=START + 999 * HOUR))
    await desk.rounds.ripen()
    await pile_up(desk, BACKLOG // 10)
    await file_posts(desk.registry, post_of("red", names[:3], START, is_urgent=True))
    await desk.rounds.ripen()
    tracemalloc.start()
    leases = await desk.outbox.claim(50)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(leases) == 10
    assert peak < 2_000_000
    posts = {lease.delivery: lease.account for lease in leases}
    taken = [item for item in await Board(desk.books).deliveries() if item.id in posts]
    assert Counter(item.key.post for item in taken)["red"] == 3
    assert fake.calls == []


async def test_f88_a_backlog_drains_to_its_end(open_desk, world):
    """F88: in the end each account has each post of the backlog once."""
    desk, fake, adapters = await stage(open_desk, "a", "b", "c")
    await file_posts(desk.registry, post_of("p", ["a", "b", "c"], START, expires_at=START + 999 * HOUR))
    await desk.rounds.ripen()
    await pile_up(desk, 60)
    await deliver_due(desk.outbox, adapters, 50, asyncio.Event())
    assert Counter(parcel.account for parcel in fake.calls) == {"a": 61, "b": 61, "c": 61}
    assert set(await Board(desk.books).counts()) == {State.PUBLISHED}


def memory():
    """Give the bytes that are still in use."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def handles():
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


async def fill_threads(database):
    """Let the loop's own pool and the database's have all the threads and connections that they may ever have."""
    together = threading.Barrier(min(32, (os.cpu_count() or 1) + 4))
    await asyncio.gather(*(asyncio.to_thread(together.wait) for _ in range(together.parties)))
    readers = threading.Barrier(READERS)
    await asyncio.gather(*(database.read(lambda _connection: readers.wait()) for _ in range(READERS)))


@pytest.mark.long
async def test_f92_beats_leave_nothing_behind(open_desk, world):
    """F92: after many beats, with posts in them, there are as many handles and threads, and hardly more memory."""
    desk, _fake, adapters = await stage(open_desk, "a", "b")

    async def live_on(beats):
        for number in range(beats):
            if number % 20 == 0:
                await file_posts(desk.registry, post_of(f"p{world.now():%H%M%S}", ["a", "b"], world.now()))
            await beat(desk, adapters)
            world.pass_time(timedelta(seconds=30))

    await live_on(60)
    await fill_threads(desk.books.database)
    before = handles()
    tracemalloc.start()
    await live_on(20)
    first = memory()
    await live_on(100)
    last = memory()
    tracemalloc.stop()
    assert handles() == before
    assert last - first < 200_000
    assert desk.books.hands == {}


class Exhausted(FakeAdapter):
    """An adapter that runs out of memory after its post is live."""

    async def publish(self, parcel):
        self.post(parcel)
        raise MemoryError


async def test_f17_a_call_that_runs_out_of_memory_is_a_doubt(open_desk, world):
    """F17: what it had posted is found by reading; nothing is posted twice, and the worker lives on."""
    desk, _fake, _adapters = await stage(open_desk, "a")
    exhausted = Exhausted(now=world.now)
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await run_on(desk, {"a": exhausted}, world, minutes=5)
    [delivery] = await Board(desk.books).deliveries(PostId("p"))
    assert (delivery.state, len(exhausted.posts)) == (State.PUBLISHED, 1)
