"""Planning reads everything that a plan may depend on, and no more after years of history."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, insert, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.plan import Plan, PlanWindow, plan
from publisher.domain.post import ONCE_OCCURRENCE, CronTrigger, OneTimeTrigger, Schedule
from publisher.domain.results import Published, Receipt
from publisher.store.db.tables import DELIVERY
from publisher.store.plan.posts import PlanCommit
from publisher.store.queries.known_posts import read_known_posts
from publisher.testing.builders import (
    enqueue_posts,
    make_policy,
    make_post,
    make_rendered_delivery,
)
from publisher.testing.fakes import START_TIME

DAY = timedelta(days=1)
LONG = timedelta(days=100)
POST = make_post("p", ["a", "b"], START_TIME)
DAILY = replace(
    make_post("daily", ["a", "b"], START_TIME), trigger=CronTrigger(text="0 9 * * *")
)
JOINED = (*POST.accounts, AccountId("c"))
AHEAD = make_post("ahead", ["a", "b"], START_TIME + LONG + DAY)


@pytest.fixture
async def store(open_store):
    """Return a worker with old published deliveries.

    One is of a one-off post, one of an instant of a repeating post.
    """
    store = await open_store(make_policy("a"), make_policy("b"))
    await enqueue_posts(store.posts, POST)
    await store.posts.commit_plan(
        PlanCommit(plan=Plan(), rendered=[instant(START_TIME)], posts=[DAILY])
    )
    await publish_all(store)
    store.runtime.advance_time(LONG)
    await enqueue_posts(store.posts, AHEAD)
    return store


async def publish_all(store):
    """Publish everything that is due."""
    await store.maintenance.promote_due()
    while leases := await store.outbox.claim(10):
        for lease in leases:
            await store.outbox.record_intent(lease)
            receipt = Receipt(
                remote_id=str(lease.delivery),
                url="https://x.example",
                published_at=START_TIME,
            )
            await store.outbox.record_outcome(lease, Published(receipt=receipt))


def instant(at):
    return make_rendered_delivery(DAILY, at, occurrence_id=at.isoformat())


async def test_check_reads_what_planning_counts(store, database_url):
    """The bare query of `check` finds waiting posts, and posts that count in a large removal."""
    known = await asyncio.to_thread(read_known_posts, database_url)
    assert known is not None
    assert {
        post: (entry.is_waiting, entry.counts_as_open) for post, entry in known.items()
    } == {
        "p": (False, False),
        "daily": (False, True),
        "ahead": (True, True),
    }


async def planned(store, *posts, moments=()):
    """Plan a schedule of these posts; return the filed deliveries and the codes of its problems.

    The deliveries are given by post and occurrence.
    """
    now = store.runtime.now()
    known = await store.posts.stored_posts(posts)
    reported = plan(
        Schedule(posts=posts),
        known,
        PlanWindow(now=now, until=now + 2 * DAY),
        {DAILY.id: moments},
    )
    assert not reported.removed_targets
    filed = {
        (item.post.id, item.occurrence.key.occurrence): (item.accounts, item.is_new)
        for item in reported.planned
    }
    return (
        filed,
        [problem.code for problem in reported.left_out],
        reported.removed_posts,
    )


async def add_past(store, number, **changes):
    """Add so many more deliveries like one that was published."""
    with store.database.engine.begin() as connection:
        [row, *_] = connection.execute(
            select(DELIVERY).where(DELIVERY.c.state == State.PUBLISHED)
        ).mappings()
        plain = {name: value for name, value in row.items() if name != "id"}
        rows = [
            {
                **plain,
                "remote_id": f"past-{at}",
                "account": f"past-{at}",
                "occurrence": "2020-01-01",
            }
            for at in range(number)
        ]
        connection.execute(insert(DELIVERY), [{**row, **changes} for row in rows])


class ReadCost:
    """The cost of reading: SQLite's virtual machine steps, or PostgreSQL's returned rows."""

    def __init__(self, engine):
        self.engine, self.spent = engine, 0

    def __enter__(self):
        event.listen(self.engine, "before_cursor_execute", self._begin)
        event.listen(self.engine, "after_cursor_execute", self._end)
        return self

    def __exit__(self, *_):
        event.remove(self.engine, "before_cursor_execute", self._begin)
        event.remove(self.engine, "after_cursor_execute", self._end)

    def _begin(self, connection, *_):
        if connection.dialect.name == "sqlite":
            connection.connection.driver_connection.set_progress_handler(self._step, 10)

    def _end(self, connection, cursor, *_):
        if connection.dialect.name != "sqlite":
            self.spent += max(0, cursor.rowcount)

    def _step(self):
        self.spent += 10


async def cost_of(store, *posts):
    with ReadCost(store.database.engine) as cost:
        await store.posts.stored_posts(posts)
    return cost.spent


@pytest.mark.parametrize(
    "is_kept",
    [False, True],
    ids=["it has left the schedule", "it is still in the schedule"],
)
async def test_i24_f92_planning_reads_no_more_however_long_the_past_is(store, is_kept):
    """Fifty times as many ended deliveries cost a planning run nothing, wherever their post is."""
    await store.posts.commit_plan(
        PlanCommit(plan=Plan(removed_posts=() if is_kept else (POST.id, DAILY.id)))
    )
    posts = (POST, DAILY, AHEAD) if is_kept else (AHEAD,)
    await add_past(store, 60, post=DAILY.id)
    short = await cost_of(store, *posts)
    await add_past(store, 3000, post="gone", remote_id=None)
    await add_past(
        store,
        3000,
        post=POST.id,
        occurrence=ONCE_OCCURRENCE,
        state="expired",
        remote_id=None,
    )
    assert 0 < await cost_of(store, *posts) <= 1.1 * short


async def test_i24_f92_the_default_status_costs_no_more_however_long_the_past_is(store):
    """`status` lists open, recent and future deliveries, and shows that there are more."""
    queries = store.queries
    with ReadCost(store.database.engine) as short:
        assert [item.key.post for item in await queries.current_deliveries()] == [
            AHEAD.id,
            AHEAD.id,
        ]
    await add_past(store, 3000, post="gone")
    with ReadCost(store.database.engine) as long:
        assert [item.key.post for item in await queries.current_deliveries()] == [
            AHEAD.id,
            AHEAD.id,
        ]
        assert await queries.has_older_deliveries()
    assert 0 < long.spent <= 1.5 * short.spent


async def test_a_schedule_that_names_old_posts_files_nothing_of_them(store):
    """Neither the posts as they were sent, nor another account, nor another text."""
    later = replace(POST, accounts=JOINED, max_delay=timedelta(hours=1))
    for post in (POST, later):
        assert await planned(store, post, DAILY, AHEAD) == ({}, [], ())


async def test_an_edit_of_a_post_that_is_over_is_a_problem_of_that_post(store):
    """A reused id or a corrected text of a sent post is reported, however old the post is."""
    again = replace(POST, content_hash="other", target_hash="other")
    assert await planned(store, again, DAILY, AHEAD) == ({}, ["edited_after_end"], ())


async def test_a_post_that_was_sent_cannot_be_moved(store):
    """F70: a new time for a post that was sent is an error, however long ago that was."""
    moved = replace(POST, trigger=OneTimeTrigger(at=START_TIME + LONG + DAY))
    assert await planned(store, moved, DAILY, AHEAD) == ({}, ["moved_after_start"], ())


async def test_f63_an_instant_that_was_filed_is_known_for_weeks(store):
    """The newest instant that passed is made up for only if it was never filed."""
    missed = START_TIME + LONG - 30 * DAY
    key = (DAILY.id, missed.isoformat())
    assert await planned(store, POST, DAILY, AHEAD, moments=[missed]) == (
        {key: (DAILY.accounts, True)},
        [],
        (),
    )
    await store.posts.commit_plan(PlanCommit(plan=Plan(), rendered=[instant(missed)]))
    await publish_all(store)
    for daily in (DAILY, replace(DAILY, accounts=JOINED)):
        assert await planned(store, POST, daily, AHEAD, moments=[missed]) == (
            {},
            [],
            (),
        )


async def test_a_post_that_may_still_be_sent_late_gains_no_account(store):
    """It was due, and the others have it; the account that does not get it is known by name."""
    patient = replace(POST, accounts=JOINED, max_delay=LONG + DAY)
    assert await planned(store, patient, DAILY, AHEAD) == ({}, [], ())
    known, now = await store.posts.stored_posts([patient]), store.runtime.now()
    found = plan(
        Schedule(posts=(patient,)), known, PlanWindow(now=now, until=now + 2 * DAY), {}
    )
    assert [(late.post, late.accounts) for late in found.late_accounts] == [
        (POST.id, ("c",))
    ]


async def test_one_open_delivery_keeps_its_whole_occurrence_known(store):
    """Where one account is still held, an edit must know that others have been called."""
    held = DELIVERY.c.account == "b"
    with store.database.engine.begin() as connection:
        connection.execute(
            DELIVERY.update()
            .where(DELIVERY.c.post == POST.id, held)
            .values(state=State.HELD)
        )
    found = (await store.posts.stored_posts())[POST.id].occurrences[ONCE_OCCURRENCE]
    assert (found.accounts, found.open_accounts, found.has_started) == (
        {"a", "b"},
        {"b"},
        True,
    )
    assert not found.is_finished


async def test_a_post_that_was_dropped_and_comes_back_is_known(store):
    """A post that was dropped and comes back is not filed a second time.

    It is not in the schedule in force, but in the schedule that is read.
    """
    await store.posts.commit_plan(PlanCommit(plan=Plan(removed_posts=(POST.id,))))
    assert POST.id not in await store.posts.stored_posts()
    assert await planned(store, POST, DAILY, AHEAD) == ({}, [], ())


async def test_a_post_that_leaves_the_schedule_is_dropped_once(store):
    """A post that was in force and is not named any more is reported, until it is removed."""
    assert await planned(store, DAILY, AHEAD) == ({}, [], (POST.id,))
    await store.posts.commit_plan(PlanCommit(plan=Plan(removed_posts=(POST.id,))))
    assert await planned(store, DAILY, AHEAD) == ({}, [], ())
