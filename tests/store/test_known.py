"""What planning reads: all that a plan can depend on, and no more for a past of years."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, insert, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.outcome import Published, Receipt
from publisher.domain.plan import Plan, Window, plan
from publisher.domain.post import ONCE, At, Cron, Schedule
from publisher.store.board import Board
from publisher.store.registry import Acceptance
from publisher.store.rows import DELIVERY
from publisher.testing.builders import draft_of, file_posts, post_of, terms_of
from publisher.testing.fakes import START

DAY = timedelta(days=1)
LONG = timedelta(days=100)
POST = post_of("p", ["a", "b"], START)
DAILY = replace(post_of("daily", ["a", "b"], START), timing=Cron(text="0 9 * * *"))
JOINED = (*POST.accounts, AccountId("c"))
AHEAD = post_of("ahead", ["a", "b"], START + LONG + DAY)


@pytest.fixture
async def desk(open_desk):
    """Give the store with what went live long ago: of a one-off post, and one instant of a repeating one."""
    desk = await open_desk(terms_of("a"), terms_of("b"))
    await file_posts(desk.registry, POST)
    await desk.registry.accept(Acceptance(plan=Plan(), drafts=[instant(START)], posts=[DAILY]))
    await publish_all(desk)
    desk.books.world.pass_time(LONG)
    await file_posts(desk.registry, AHEAD)
    return desk


async def publish_all(desk):
    """Let all that is due go live."""
    await desk.rounds.ripen()
    while leases := await desk.outbox.claim(10):
        for lease in leases:
            await desk.outbox.intend(lease)
            receipt = Receipt(remote_id=str(lease.delivery), url="https://x.example", live_at=START)
            await desk.outbox.settle(lease, Published(receipt=receipt))


def instant(at):
    return draft_of(DAILY, at, label=at.isoformat())


async def planned(desk, *posts, moments=()):
    """Plan a schedule of these posts; give what it files, by post and label, and the codes of its problems."""
    now = desk.books.world.now()
    known = await desk.registry.known(posts)
    told = plan(Schedule(posts=posts), known, Window(now=now, until=now + 2 * DAY), {DAILY.id: moments})
    assert not told.untargeted
    filed = {(item.post.id, item.occurrence.key.label): (item.accounts, item.is_new) for item in told.filings}
    return filed, [problem.code for problem in told.problems], told.dropped


async def add_past(desk, number, **changes):
    """Add so many more deliveries like one that has gone live."""
    with desk.books.database.engine.begin() as connection:
        [row, *_] = connection.execute(select(DELIVERY).where(DELIVERY.c.state == State.PUBLISHED)).mappings()
        plain = {name: value for name, value in row.items() if name != "id"}
        rows = [
            {**plain, "remote_id": f"past-{at}", "account": f"past-{at}", "label": "2020-01-01"} for at in range(number)
        ]
        connection.execute(insert(DELIVERY), [{**row, **changes} for row in rows])


class Cost:
    """What reading costs a database: on SQLite the steps of its machine, on PostgreSQL the rows that it gives."""

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


async def cost_of(desk, *posts):
    with Cost(desk.books.database.engine) as cost:
        await desk.registry.known(posts)
    return cost.spent


@pytest.mark.parametrize("is_kept", [False, True], ids=["it has left the schedule", "it is still in the schedule"])
async def test_i24_f92_planning_reads_no_more_however_long_the_past_is(desk, is_kept):
    """Fifty times as many deliveries that have ended cost a planning round nothing, wherever their post stands."""
    await desk.registry.accept(Acceptance(plan=Plan(dropped=() if is_kept else (POST.id, DAILY.id))))
    posts = (POST, DAILY, AHEAD) if is_kept else (AHEAD,)
    await add_past(desk, 60, post=DAILY.id)
    short = await cost_of(desk, *posts)
    await add_past(desk, 3000, post="gone", remote_id=None)
    await add_past(desk, 3000, post=POST.id, label=ONCE, state="expired", remote_id=None)
    assert 0 < await cost_of(desk, *posts) <= 1.1 * short


async def test_i24_f92_what_is_shown_unasked_costs_no_more_however_long_the_past_is(desk):
    """`status` lists what is open, of late or to come, and knows that there is more."""
    board = Board(desk.books)
    with Cost(desk.books.database.engine) as short:
        assert [item.key.post for item in await board.current()] == [AHEAD.id, AHEAD.id]
    await add_past(desk, 3000, post="gone")
    with Cost(desk.books.database.engine) as long:
        assert [item.key.post for item in await board.current()] == [AHEAD.id, AHEAD.id]
        assert await board.has_older()
    assert 0 < long.spent <= 1.5 * short.spent


async def test_a_schedule_that_names_what_is_long_over_files_nothing_of_it(desk):
    """Neither the posts as they went out, nor another account, nor other words."""
    later = replace(POST, accounts=JOINED, definition="other", max_delay=timedelta(hours=1))
    for post in (POST, later):
        assert await planned(desk, post, DAILY, AHEAD) == ({}, [], ())


async def test_what_is_over_cannot_be_moved(desk):
    """F70: a new time for a post that went out is a mistake, however long ago that was."""
    moved = replace(POST, timing=At(when=START + LONG + DAY))
    assert await planned(desk, moved, DAILY, AHEAD) == ({}, ["moved_after_start"], ())


async def test_f63_an_instant_that_was_filed_is_known_for_weeks(desk):
    """The newest one that passed is made up for if it was never filed, and only then."""
    missed = START + LONG - 30 * DAY
    key = (DAILY.id, missed.isoformat())
    assert await planned(desk, POST, DAILY, AHEAD, moments=[missed]) == ({key: (DAILY.accounts, True)}, [], ())
    await desk.registry.accept(Acceptance(plan=Plan(), drafts=[instant(missed)]))
    await publish_all(desk)
    for daily in (DAILY, replace(DAILY, accounts=JOINED)):
        assert await planned(desk, POST, daily, AHEAD, moments=[missed]) == ({}, [], ())


async def test_what_may_still_be_sent_late_is_known_whole(desk):
    """A post that may be late by days can gain an account for as long: what it has is not filed again."""
    patient = replace(POST, accounts=JOINED, max_delay=LONG + DAY)
    filed, problems, _dropped = await planned(desk, patient, DAILY, AHEAD)
    assert (filed[POST.id, ONCE], problems) == ((("c",), True), [])


async def test_one_open_delivery_keeps_its_occurrence_whole(desk):
    """Where one account is still held, an edit must know that others have been called."""
    held = DELIVERY.c.account == "b"
    with desk.books.database.engine.begin() as connection:
        connection.execute(DELIVERY.update().where(DELIVERY.c.post == POST.id, held).values(state=State.HELD))
    found = (await desk.registry.known())[POST.id].occurrences[ONCE]
    assert (found.accounts, found.open_accounts, found.has_started) == ({"a", "b"}, {"b"}, True)
    assert not found.is_over


async def test_a_post_that_was_dropped_and_comes_back_is_known(desk):
    """It is not in the schedule in force, but in the one that is read: it is not filed a second time."""
    await desk.registry.accept(Acceptance(plan=Plan(dropped=(POST.id,))))
    assert POST.id not in await desk.registry.known()
    assert await planned(desk, POST, DAILY, AHEAD) == ({}, [], ())


async def test_a_post_that_leaves_the_schedule_is_dropped_once(desk):
    """What was in force and is not named any more is told, until that is done."""
    assert await planned(desk, DAILY, AHEAD) == ({}, [], (POST.id,))
    await desk.registry.accept(Acceptance(plan=Plan(dropped=(POST.id,))))
    assert await planned(desk, DAILY, AHEAD) == ({}, [], ())
