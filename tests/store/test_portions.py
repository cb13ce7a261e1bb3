"""A large acceptance leaves others their turn, and a death in the middle of it loses and doubles nothing."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.delivery import State
from publisher.domain.plan import Plan, Untargeted, Window, plan
from publisher.domain.post import ONCE, At, OccurrenceKey, PostId, Schedule
from publisher.store.board import Board
from publisher.store.lost_time import doubt_waiting
from publisher.store.portions import PORTION, TOGETHER, in_portions
from publisher.store.recovery import RECOVERY_KEEPER
from publisher.store.registry import Acceptance
from publisher.testing.builders import draft_of, file_posts, post_of, terms_of
from publisher.testing.fakes import START
from publisher.world import FailpointRaisedError

HOUR = timedelta(hours=1)
NAMES = [f"a{number}" for number in range(10)]
MANY = [post_of(f"p{number:02}", NAMES, START + HOUR) for number in range(50)]
ALL = {(post.id, account): State.PENDING for post in MANY for account in NAMES}
NOTHING = Plan()
URGENT = post_of("urgent", ["a0"], START, is_urgent=True)


@pytest.fixture(autouse=True)
def _few_come_together(monkeypatch):
    """Let a version come into force with no more that is new than a portion."""
    monkeypatch.setattr("publisher.store.portions.TOGETHER", PORTION)


async def test_i22_what_a_version_asks_for_comes_into_force_with_it(open_desk, monkeypatch):
    """Up to a bound the plan is that of the old version or that of the new one, and never anything between."""
    monkeypatch.setattr("publisher.store.portions.TOGETHER", TOGETHER)
    desk = await open_desk(*map(terms_of, NAMES))
    die(desk, 2)
    assert await accept(desk, MANY) == len(ALL)
    assert await states(desk) == ALL


@pytest.fixture
async def desk(open_desk):
    return await open_desk(*map(terms_of, NAMES))


async def accept(desk, posts, *, changes=NOTHING, drafts=(), text="new", based_on=0):
    """Accept a version of the schedule with these posts."""
    drafted = [*drafts, *(draft_of(post, post.timing.when) for post in posts)]
    acceptance = Acceptance(plan=changes, drafts=drafted, posts=posts, text=text, based_on=based_on)
    return await desk.registry.accept(acceptance)


async def complete(desk, *posts):
    """Plan again from the version in force, as every round does. Returns how many deliveries are new."""
    now, known = desk.books.world.now(), await desk.registry.known(posts)
    found = plan(Schedule(posts=posts), known, Window(now=now, until=now + 48 * HOUR), {})
    drafts = [draft_of(filing.post, filing.occurrence.due_at) for filing in found.filings]
    based_on = await desk.registry.version()
    return await desk.registry.accept(Acceptance(plan=Plan(), drafts=drafts, based_on=based_on))


async def states(desk):
    return {(item.key.post, item.account): item.state for item in await Board(desk.books).deliveries()}


def die(desk, portion):
    desk.books.world.failpoints = {"plan.after_insert": ("raise", portion)}


async def test_i20_a_claim_is_served_between_the_portions_of_an_acceptance(desk):
    """An urgent post is claimed and announced while most of what has been accepted is still to be filed."""
    await file_posts(desk.registry, URGENT)
    await desk.rounds.ripen()
    filing = asyncio.create_task(accept(desk, MANY))
    await asyncio.sleep(0)
    [lease] = await desk.outbox.claim(1)
    await desk.outbox.intend(lease)
    filed = len(await states(desk)) - 1
    assert 0 < filed < len(ALL) - PORTION
    assert await filing == len(ALL)
    assert await states(desk) == {**ALL, (URGENT.id, "a0"): State.SENDING}


@pytest.mark.parametrize("portion", range(1, 6))
async def test_i22_a_death_in_any_portion_is_made_good_by_the_next_round(desk, portion):
    """In the first one nothing has happened; later the version is in force, and what is missing is filed once."""
    die(desk, portion)
    with pytest.raises(FailpointRaisedError):
        await accept(desk, MANY)
    assert (await desk.registry.version(), len(await states(desk))) == (int(portion > 1), (portion - 1) * PORTION)
    if portion > 1:
        assert await complete(desk, *MANY) == len(ALL) - (portion - 1) * PORTION
        assert await states(desk) == ALL
        assert await complete(desk, *MANY) == 0


async def test_i21_what_stops_or_changes_something_comes_into_force_with_the_version(desk):
    """A death among the new posts leaves no old words that could go, none to whom it should not, and no account out."""
    edited, gone, spared, joined = (
        post_of(name, ["a0", "a1"], START) for name in ("edited", "gone", "spared", "joined")
    )
    await file_posts(desk.registry, edited, gone, spared, joined)
    new = replace(edited, title="改", definition="edited/new")
    others = replace(joined, accounts=("a2",))
    changes = Plan(
        dropped=(gone.id,), untargeted=(Untargeted(key=OccurrenceKey(post=spared.id, label=ONCE), accounts=("a1",)),)
    )
    join = draft_of(others, START)
    join = replace(join, filing=replace(join.filing, joins=True))
    die(desk, 2)
    with pytest.raises(FailpointRaisedError):
        await accept(desk, MANY, changes=changes, drafts=[draft_of(new, START, is_new=False), join])
    found = {key: state for key, state in (await states(desk)).items() if key not in ALL}
    gone_ones = {("gone", "a0"), ("gone", "a1"), ("spared", "a1")}
    assert {key for key, state in found.items() if state is State.CANCELLED} == gone_ones
    assert found[PostId("joined"), "a2"] is State.PENDING
    await desk.rounds.ripen()
    sent = {}
    for lease in await desk.outbox.claim(10):
        sent[lease.account] = (await desk.outbox.intend(lease)).rendition.title
    assert sent == {"a0": "改", "a1": "改", "a2": joined.title}


async def test_a_newer_version_ends_the_filing_of_an_older_one(desk):
    """What the older one named alone is not filed any more; the newer one's posts are."""
    older = asyncio.create_task(accept(desk, MANY, text="older"))
    await asyncio.sleep(0)
    changes = Plan(dropped=tuple(post.id for post in MANY))
    await accept(desk, [URGENT], changes=changes, text="newer", based_on=1)
    assert 0 < await older < len(ALL)
    assert {state for key, state in (await states(desk)).items() if key in ALL} == {State.CANCELLED}
    assert await complete(desk, URGENT) == 0


async def test_what_may_have_been_sent_in_a_lost_time_is_filed_and_doubted_as_a_whole(desk):
    """A death among portions would leave posts that go at once to a round that has no doubt about them any more."""
    at_once = [replace(post, timing=At(when=None)) for post in MANY]
    books = desk.books
    await books.database.write(lambda unit: doubt_waiting(books, unit, START - HOUR, RECOVERY_KEEPER, besides=()))
    die(desk, 2)
    drafts = [draft_of(post, START) for post in at_once]
    acceptance = Acceptance(plan=Plan(), drafts=drafts, posts=at_once, text="new", based_on=0)
    assert await desk.registry.accept(acceptance) == len(ALL)
    assert set((await states(desk)).values()) == {State.UNKNOWN}


def test_no_post_comes_before_the_one_it_follows():
    """A follow-up whose original is not there is cancelled: originals come first, however late and calm they are."""
    original = post_of("original", NAMES, START + HOUR)
    update = post_of("update", NAMES, START + HOUR, follows="original")
    correction = post_of("correction", NAMES, START + HOUR, follows="update", is_urgent=True)
    edited = draft_of(post_of("edited", NAMES, START, follows="original"), START, is_new=False)
    posts = (correction, *MANY, update, original)
    portions = in_portions([*(draft_of(post, START + HOUR) for post in posts), edited])
    order = [draft.filing.post.id for portion in portions for draft in portion]
    assert order[:4] == ["original", "edited", "update", "correction"]
    assert len(order) == len(posts) + 1
    assert [draft.filing.post.id for draft in portions[0]][:2] == ["original", "edited"]


def test_what_is_urgent_is_filed_first_and_no_occurrence_is_parted():
    """The first portion holds the urgent post; each portion is as long as it may be, or one occurrence."""
    wide = post_of("wide", [f"b{number}" for number in range(3 * PORTION)], START)
    urgent = post_of("late-but-urgent", NAMES, START + 9 * HOUR, is_urgent=True)
    portions = in_portions([draft_of(post, post.timing.when) for post in (*MANY, wide, urgent)])
    sizes = [sum(len(draft.filing.accounts) for draft in portion) for portion in portions]
    assert portions[0][0].filing.post is urgent
    assert sizes == [10, 3 * PORTION, *[PORTION] * 5]
    assert in_portions([]) == [[]]
