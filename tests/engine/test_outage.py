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

from publisher.domain.account import RateLimit
from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.domain.results import NotSent, Unknown
from publisher.engine.sender import send_due
from publisher.store.db.database import READER_THREADS
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter
from tests.engine.test_sender import run_jobs, run_on, stage

HOUR = timedelta(hours=1)
SLOW = RateLimit(min_interval=timedelta(minutes=1), per_hour=30, per_day=1000)


class Down(FakeAdapter):
    """A platform that cannot be reached until it is up again."""

    is_up = False

    async def publish(self, request):
        if self.is_up:
            return await FakeAdapter.publish(self, request)
        self.calls.append(request)
        return NotSent(reason="connect_failed")

    async def find_post(self, request):
        return (
            await FakeAdapter.find_post(self, request)
            if self.is_up
            else Unknown(reason="connect_failed")
        )


@pytest.mark.long(seconds=50)
async def test_f59_one_platform_is_down_for_hours_and_the_others_are_on_time(
    open_store, runtime
):
    """F59: the other platforms' posts are sent at their time.

    The backlog drains within the limits, and expired posts are not sent.
    """
    store = await open_store(make_policy("a"), make_policy("b", rate_limit=SLOW))
    up, down = FakeAdapter(now=runtime.now), Down(now=runtime.now)
    adapters = {"a": up, "b": down}
    brief = make_post("brief", ["a", "b"], START_TIME, expires_at=START_TIME + HOUR)
    dues = [START_TIME + number * timedelta(minutes=20) for number in range(6)]
    posts = [
        replace(make_post(f"p{n}", ["a", "b"], due), max_delay=6 * HOUR)
        for n, due in enumerate(dues)
    ]
    await enqueue_posts(store.posts, brief, *posts)
    await run_jobs(store, adapters)
    await run_on(store, adapters, runtime, minutes=180, step=timedelta(minutes=1))
    queries = store.queries
    assert {item.state for item in await queries.deliveries(account="a")} == {
        State.PUBLISHED
    }
    assert [request.intended_at - START_TIME for request in up.calls[1:]] == [
        number * timedelta(minutes=20) for number in range(6)
    ]
    assert State.PUBLISHED not in {
        item.state for item in await queries.deliveries(account="b")
    }
    down.is_up, tried = True, len(down.calls)
    await run_on(store, adapters, runtime, minutes=60, step=timedelta(seconds=15))
    states = {
        item.key.post: item.state for item in await queries.deliveries(account="b")
    }
    assert states == {
        "brief": State.EXPIRED,
        **{f"p{number}": State.PUBLISHED for number in range(6)},
    }
    calls = [request.intended_at for request in down.calls[tried:]]
    assert min(later - sooner for sooner, later in pairwise(calls)) >= SLOW.min_interval


BACKLOG = 100_000
COPY = """
WITH RECURSIVE copy(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copy WHERE n < {count})
INSERT INTO delivery ({columns}) SELECT {values} FROM delivery, copy WHERE delivery.post = 'p'
"""


async def pile_up(store, count):
    """Create so many due deliveries from one that was filed, on every account of it."""

    def operation(unit):
        names = unit.connection.exec_driver_sql("SELECT * FROM delivery LIMIT 1").keys()
        columns = [name for name in names if name != "id"]
        values = [
            "'p' || n" if name == "post" else f"delivery.{name}" for name in columns
        ]
        unit.connection.exec_driver_sql(
            COPY.format(
                count=count, columns=", ".join(columns), values=", ".join(values)
            )
        )

    await store.database.write(operation)


@pytest.mark.long
async def test_f88_a_backlog_costs_no_memory_and_urgent_posts_go_first(
    open_store, runtime
):
    """F88: a claim takes as many as fit at once, however much waits.

    An urgent post overtakes the whole backlog.
    """
    store, fake, _adapters = await stage(
        open_store, *(f"a{number}" for number in range(10))
    )
    names = sorted(store.policies)
    await enqueue_posts(
        store.posts,
        make_post("p", names, START_TIME, expires_at=START_TIME + 999 * HOUR),
    )
    await store.maintenance.promote_due()
    await pile_up(store, BACKLOG // 10)
    await enqueue_posts(
        store.posts, make_post("red", names[:3], START_TIME, is_urgent=True)
    )
    await store.maintenance.promote_due()
    tracemalloc.start()
    leases = await store.outbox.claim(50)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(leases) == 10
    assert peak < 2_000_000
    posts = {lease.delivery: lease.account for lease in leases}
    taken = [item for item in await store.queries.deliveries() if item.id in posts]
    assert Counter(item.key.post for item in taken)["red"] == 3
    assert fake.calls == []


@pytest.mark.long
async def test_f88_a_backlog_drains_to_its_end(open_store, runtime):
    """F88: in the end each account has each post of the backlog once."""
    store, fake, adapters = await stage(open_store, "a", "b", "c")
    await enqueue_posts(
        store.posts,
        make_post("p", ["a", "b", "c"], START_TIME, expires_at=START_TIME + 999 * HOUR),
    )
    await store.maintenance.promote_due()
    await pile_up(store, 60)
    await send_due(store, adapters, 50, asyncio.Event())
    assert Counter(request.account for request in fake.calls) == {
        "a": 61,
        "b": 61,
        "c": 61,
    }
    assert set(Counter(item.state for item in await store.queries.deliveries())) == {
        State.PUBLISHED
    }


def memory():
    """Return the bytes that are still in use."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def handles():
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


async def fill_threads(database):
    """Let the loop's own pool and the database's reach their maximum.

    They then have all the threads and connections that they may ever have.
    """
    together = threading.Barrier(min(32, (os.cpu_count() or 1) + 4))
    await asyncio.gather(
        *(asyncio.to_thread(together.wait) for _ in range(together.parties))
    )
    readers = threading.Barrier(READER_THREADS)
    await asyncio.gather(
        *(
            database.read(lambda _connection: readers.wait())
            for _ in range(READER_THREADS)
        )
    )


@pytest.mark.long
async def test_f92_job_runs_leak_nothing(open_store, runtime):
    """F92: many runs with posts leave as many handles and threads as before.

    There is hardly more memory in use.
    """
    store, _fake, adapters = await stage(open_store, "a", "b")

    async def live_on(beats):
        for number in range(beats):
            if number % 20 == 0:
                await enqueue_posts(
                    store.posts,
                    make_post(f"p{runtime.now():%H%M%S}", ["a", "b"], runtime.now()),
                )
            await run_jobs(store, adapters)
            runtime.advance_time(timedelta(seconds=30))

    await live_on(60)
    await fill_threads(store.database)
    before = handles()
    tracemalloc.start()
    await live_on(20)
    first = memory()
    await live_on(100)
    last = memory()
    tracemalloc.stop()
    assert all(now <= then for now, then in zip(handles(), before, strict=True))
    assert last - first < 200_000
    assert store.leases == {}


class Exhausted(FakeAdapter):
    """An adapter that runs out of memory after its post is published."""

    async def publish(self, request):
        self.add_post(request)
        raise MemoryError


async def test_f17_a_call_that_runs_out_of_memory_is_unknown(open_store, runtime):
    """F17: the post is found by reading; nothing is posted twice, and the worker goes on."""
    store, _fake, _adapters = await stage(open_store, "a")
    exhausted = Exhausted(now=runtime.now)
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_on(store, {"a": exhausted}, runtime, minutes=5)
    [delivery] = await store.queries.deliveries(PostId("p"))
    assert (delivery.state, len(exhausted.posts)) == (State.PUBLISHED, 1)
