"""A delivery of several floors in the books, on SQLite and on PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select

from publisher.domain.delivery import State
from publisher.domain.events import RECONCILER, RETRACTOR
from publisher.domain.outcome import Gone, Missing, Published, RateLimited, Sighting, Submitted, Ticket, Unknown
from publisher.domain.quota import Quota
from publisher.domain.rendition import floor_sign
from publisher.reviewing import person
from publisher.store.board import Board
from publisher.store.intents import Declined
from publisher.store.journal import Intent
from publisher.store.orders import Orders
from publisher.store.recovery import RECOVERY_KEEPER, readopt
from publisher.store.rows import ATTEMPT
from publisher.store.watches import Watches
from publisher.testing.builders import QUOTA, file_posts, post_of, terms_of
from publisher.testing.fakes import START, TRAITS
from tests.store.test_outbox import SECOND, intended, only, receipt

FLOORED = replace(TRAITS, most_floors=4)
MINUTE = 60 * SECOND
ELSE = Sighting(remote_id="9", url="https://fake.example/9", live_at=START - MINUTE, text="别的")
PACED = Quota(min_interval=10 * MINUTE, per_hour=3, per_day=5, floor_gap=2 * MINUTE)
"""Of three in an hour, one is kept for urgent posts."""


def floored(name="a", *, quota=QUOTA, **rest):
    return terms_of(name, traits=FLOORED, quota=quota, **rest)


async def half_done(open_desk, *terms, floors=2):
    """Give a desk, and a delivery of which only the post itself is live."""
    desk = await open_desk(*(terms or (floored(),)))
    await file_posts(desk.registry, post_of("p", ["a"], START), floors=floors)
    lease, _parcel = await intended(desk)
    await desk.outbox.settle(lease, Published(receipt=receipt()))
    return desk


async def next_floor(desk):
    [lease] = await desk.outbox.claim(10)
    return lease, await desk.outbox.intend(lease)


async def test_each_floor_is_an_attempt_with_a_parcel_that_says_where_it_goes(open_desk):
    """Floor by floor: the next number, its own text, no pictures, the post's receipt to go under (I3, I13)."""
    desk = await half_done(open_desk)
    for floor in (1, 2):
        lease, parcel = await next_floor(desk)
        assert (parcel.attempt, parcel.floor, parcel.under, parcel.images) == (floor + 1, floor, receipt(), ())
        assert parcel.text == f"{floor_sign(parcel.rendition.marker, floor + 1, 3)}其{floor + 1}"
        assert parcel.marker.is_in(parcel.text)
        await desk.outbox.settle(lease, Published(receipt=receipt(f"f{floor}")))
    done = await only(desk)
    assert (done.state, done.floors, done.floors_done, done.receipt) == (State.PUBLISHED, 2, 3, receipt())
    query = select(ATTEMPT.c.number, ATTEMPT.c.floor).order_by(ATTEMPT.c.number)
    rows = await desk.books.database.read(lambda connection: connection.execute(query).all())
    assert [tuple(row) for row in rows] == [(1, 0), (2, 1), (3, 2)]


async def test_a_doubt_is_about_its_floor(open_desk, world):
    """F02: a call for a floor that nobody heard out of is looked for as that floor, with its own attempt's clock."""
    desk = await half_done(open_desk)
    world.pass_time(MINUTE)
    lease, _parcel = await next_floor(desk)
    await desk.outbox.settle(lease, Unknown(reason="reset"))
    world.pass_time(MINUTE)
    [doubt] = await desk.outbox.doubts([State.UNKNOWN], 10)
    assert (doubt.parcel.floor, doubt.parcel.attempt, doubt.parcel.under) == (1, 2, receipt())
    assert doubt.parcel.baseline.since > START
    found = Published(receipt=receipt("f1"), has_seen_text=True)
    after = await desk.outbox.learn(doubt, found, RECONCILER, world.monotonic())
    assert (after.state, after.floors_done, after.receipt) == (State.DUE, 2, receipt())


async def test_f15_a_late_answer_for_a_floor_that_was_found_live_stops_nothing(open_desk, world):
    """F15: it only confirms what a look has shown; the floor after it goes out."""
    desk = await half_done(open_desk)
    world.pass_time(MINUTE)
    lease, _parcel = await next_floor(desk)
    world.pass_time(2 * MINUTE)
    await desk.rounds.lapse()
    world.pass_time(MINUTE)
    [doubt] = await desk.outbox.doubts([State.UNKNOWN], 10)
    await desk.outbox.learn(doubt, Published(receipt=receipt("f1"), has_seen_text=True), RECONCILER, world.monotonic())
    await desk.outbox.settle(lease, Published(receipt=receipt("f1")))
    after = await only(desk)
    assert (after.state, after.floors_done) == (State.DUE, 2)


async def test_a_floor_keeps_to_its_own_gap_and_counts_in_no_window(open_desk, world):
    """I15: posts keep the quota; a floor follows after the floor gap, before other posts, and uses up none of them."""
    desk = await half_done(open_desk, floored(quota=PACED), floors=1)
    await file_posts(desk.registry, post_of("q", ["a"], START))
    await desk.rounds.ripen()
    assert await desk.outbox.claim(10) == []
    assert await desk.outbox.next_move() == START + 2 * MINUTE
    world.pass_time(2 * MINUTE)
    lease, _parcel = await next_floor(desk)
    await desk.outbox.settle(lease, Published(receipt=receipt("f1")))
    assert await desk.outbox.claim(10) == []
    world.pass_time(8 * MINUTE)
    assert len(await desk.outbox.claim(10)) == 1


async def test_f26_a_rate_limit_rests_floors_as_well(open_desk, world):
    """Whatever the platform refused, no floor of another post goes out before its rest is over."""
    desk = await half_done(open_desk, floored(login="shared"), floored("b", login="shared"))
    await file_posts(desk.registry, post_of("q", ["b"], START, is_urgent=True))
    lease, parcel = await intended(desk)
    assert parcel.account == "b"
    await desk.outbox.settle(lease, RateLimited(code="often", until=START + 30 * MINUTE))
    assert await desk.outbox.claim(10) == []
    world.pass_time(31 * MINUTE)
    [again] = await desk.outbox.claim(10)
    assert again.account == "a"


async def test_f73_half_a_text_that_expires_is_told_and_held(open_desk, world):
    """What waits past its expiry with some of it live goes to a person, with an alert (I2, I10)."""
    desk = await half_done(open_desk)
    world.pass_time(timedelta(hours=25))
    assert await desk.rounds.expire() == 1
    held = await only(desk)
    assert (held.state, held.reason) == (State.HELD, "incomplete")
    assert [alert.code for alert in await Board(desk.books).alerts()] == ["held.incomplete"]


async def test_f72_f77_half_a_text_is_withdrawn_or_taken_down(open_desk, world):
    """A withdrawal holds it, a claimed worker is told no, and an order takes the post down from where it waits."""
    desk = await half_done(open_desk)
    [lease] = await desk.outbox.claim(10)
    await Orders(desk.books).withdraw("p", person("li"), "no")
    assert await desk.outbox.intend(lease) == Declined(guard="overtaken")
    assert (await only(desk)).reason == "incomplete"
    other = await half_done_too(desk)
    [ordered] = await Orders(desk.books).retract("q", None, person("li"), "wrong")
    assert (ordered.id, ordered.state, ordered.receipt) == (other.id, State.RETRACTING, receipt("2"))
    world.pass_time(SECOND)
    [doubt] = await desk.outbox.doubts([State.RETRACTING], 10)
    assert (doubt.parcel.floor, doubt.delivery.receipt) == (0, receipt("2"))
    assert (await desk.outbox.learn(doubt, Gone(), RETRACTOR, world.monotonic())).state is State.RETRACTED


async def half_done_too(desk):
    await file_posts(desk.registry, post_of("q", ["a"], START, is_urgent=True), floors=1)
    lease, _parcel = await intended(desk)
    await desk.outbox.settle(lease, Published(receipt=receipt("2")))
    return await only(desk, post="q")


async def test_an_order_cancels_what_waits_with_nothing_live(open_desk):
    """A post of several floors of which none went out just ends."""
    desk = await open_desk(floored())
    await file_posts(desk.registry, post_of("p", ["a"], START), floors=2)
    await desk.rounds.ripen()
    assert await Orders(desk.books).retract("p", None, person("li"), "wrong") == []
    assert (await only(desk)).state is State.CANCELLED


async def test_a_floors_number_is_no_posts_number(open_desk):
    """I8: a floor may have the number of another delivery's post; it is kept as evidence, never as the receipt."""
    desk = await half_done(open_desk, floored(), floored("b"))
    await half_done_too(desk)
    lease, parcel = await next_floor(desk)
    assert parcel.under == receipt()
    after = await desk.outbox.settle(lease, Published(receipt=receipt("2")))
    assert (after.state, after.floors_done, after.receipt) == (State.DUE, 2, receipt())


async def test_a_live_post_is_watched_as_a_post(open_desk, world):
    """F48: when all floors are live, the account's list is compared with the post, and with the time it was made."""
    desk = await half_done(open_desk, floors=1)
    world.pass_time(MINUTE)
    lease, _parcel = await next_floor(desk)
    await desk.outbox.settle(lease, Submitted(ticket=Ticket(number="7"), look_again_at=world.now()))
    world.pass_time(SECOND)
    [doubt] = await desk.outbox.doubts([State.SUBMITTED], 10)
    published = await desk.outbox.learn(doubt, Published(receipt=receipt("f1")), RECONCILER, world.monotonic())
    assert published.state is State.PUBLISHED
    watches = Watches(desk.books)
    [missed] = await watches.compare("a", [ELSE])
    assert (missed.parcel.floor, missed.parcel.attempt) == (0, 1)
    assert missed.parcel.baseline.since < START
    for _ in range(2):
        world.pass_time(5 * MINUTE)
        after = await watches.confirm_missing(missed, Missing(back_to=missed.parcel.baseline.since), world.now())
    assert after.state is State.REMOVED


async def test_f85_calls_for_several_floors_that_the_books_have_lost_go_to_a_person(open_desk):
    """What the journal tells of two floors may stand up to the second: looking for the first would send it again."""
    desk = await open_desk(floored())
    await file_posts(desk.registry, post_of("p", ["a"], START), floors=2)
    lost = await only(desk)
    calls = [
        Intent(
            delivery=lost.id,
            attempt=floor + 1,
            epoch=floor + 1,
            rendition=lost.rendition,
            at=(START + floor * MINUTE).isoformat(),
            post="p",
            label="once",
            account="a",
            floor=floor,
        )
        for floor in (0, 1)
    ]
    await desk.books.database.write(lambda unit: readopt(desk.books, unit, calls, RECOVERY_KEEPER))
    assert (after := await only(desk)).state is State.HELD
    assert (after.reason, after.attempts) == ("incomplete", 2)
    query = select(ATTEMPT.c.number, ATTEMPT.c.floor).order_by(ATTEMPT.c.number)
    rows = await desk.books.database.read(lambda connection: connection.execute(query).all())
    assert [tuple(row) for row in rows] == [(1, 0), (2, 1)]
