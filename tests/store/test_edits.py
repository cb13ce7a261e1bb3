"""Edits of the schedule that meet a delivery whose outcome nobody knows yet."""

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.account import AccountId
from publisher.domain.delivery import Desired, State
from publisher.domain.events import RECONCILER
from publisher.domain.outcome import Missing, NotSent, Published, Receipt, Unknown
from publisher.domain.plan import Plan, Untargeted
from publisher.domain.rendition import Parcel
from publisher.reviewing import Ruling, rule
from publisher.store.board import Board
from publisher.store.registry import Acceptance
from publisher.testing.builders import draft_of, file_posts, post_of, terms_of
from publisher.testing.fakes import START

MINUTE = timedelta(minutes=1)
OLD = post_of("p", ["a", "b"], START)
NEW = post_of("p", ["a", "b"], START, title="警惕“退款”诈骗")


async def called(open_desk, outcome=None):
    """File a post for two accounts and let both be called, with this outcome if any."""
    desk = await open_desk(terms_of("a"), terms_of("b"))
    await file_posts(desk.registry, OLD)
    await desk.rounds.ripen()
    for lease in await desk.outbox.claim(10):
        assert isinstance(await desk.outbox.intend(lease), Parcel)
        if outcome is not None:
            await desk.outbox.settle(lease, outcome)
    return desk


async def edit(desk, post=NEW):
    """Accept other words for what is filed."""
    draft = draft_of(post, post.timing.when, is_new=False)
    await desk.registry.accept(Acceptance(plan=Plan(filings=(draft.filing,)), drafts=[draft], posts=[post]))


async def show_absent(desk):
    """Read both accounts until absence is shown."""
    for _ in range(3):
        desk.books.world.pass_time(8 * MINUTE)
        for doubt in await desk.outbox.doubts([State.UNKNOWN], 10):
            found = Missing(back_to=START - timedelta(days=1))
            await desk.outbox.learn(doubt, found, RECONCILER, desk.books.world.monotonic())


async def standing(desk):
    return {item.account: item for item in await Board(desk.books).deliveries()}


async def test_f70_an_edit_accepted_in_a_doubt_lets_no_old_words_go(open_desk):
    """I4, I21: absence shown afterwards leads to a person, on both accounts, with an alert."""
    desk = await called(open_desk, Unknown(reason="timeout"))
    await edit(desk)
    await show_absent(desk)
    found = await standing(desk)
    assert [(item.state, item.reason) for item in found.values()] == [(State.HELD, "edited")] * 2
    assert [alert.code for alert in await Board(desk.books).alerts()] == ["held.edited"] * 2
    assert await desk.outbox.claim(10) == []
    chosen = await rule(desk.outbox, found[AccountId("a")], Ruling.RESEND, by="li", reason="the old words will do")
    assert chosen.state is State.DUE


async def test_f70_an_account_taken_out_in_a_doubt_is_cancelled(open_desk):
    """Out of `to` while nobody knew: no second call there, a second one where it is still wanted."""
    desk = await called(open_desk, Unknown(reason="timeout"))
    gone = Untargeted(key=draft_of(OLD, START).filing.occurrence.key, accounts=(AccountId("b"),))
    await desk.registry.accept(Acceptance(plan=Plan(untargeted=(gone,))))
    known = (await desk.registry.known())[OLD.id].occurrences["once"]
    assert (known.open_accounts, known.unnamed_accounts) == ({"a"}, {"b"})
    await show_absent(desk)
    found = await standing(desk)
    assert (found[AccountId("a")].state, found[AccountId("b")].state) == (State.DUE, State.CANCELLED)


async def test_f70_an_account_named_again_in_a_doubt_is_wanted_again(open_desk):
    """What the schedule takes back before the doubt ends is as if it had never been."""
    desk = await called(open_desk, Unknown(reason="timeout"))
    gone = Untargeted(key=draft_of(OLD, START).filing.occurrence.key, accounts=(AccountId("b"),))
    await desk.registry.accept(Acceptance(plan=Plan(untargeted=(gone,))))
    await edit(desk, replace(OLD, accounts=(AccountId("b"),)))
    assert (await standing(desk))[AccountId("b")].desired is Desired.AS_FILED
    await show_absent(desk)
    assert {item.state for item in (await standing(desk)).values()} == {State.DUE}


async def test_f70_an_edit_during_a_call_that_never_left_lets_no_old_words_go(open_desk, world):
    """The other account may have been called with the old words: this one is not sent again by itself."""
    desk = await open_desk(terms_of("a"), terms_of("b"))
    await file_posts(desk.registry, OLD)
    await desk.rounds.ripen()
    leases = await desk.outbox.claim(10)
    for lease in leases:
        await desk.outbox.intend(lease)
    await edit(desk)
    after = await desk.outbox.settle(leases[0], NotSent(reason="dns_failed"))
    assert (after.state, after.reason) == (State.HELD, "edited")


async def test_an_edit_after_calls_that_all_failed_to_leave_replaces_the_words(open_desk, world):
    """F18, F69: where no byte has left for any account nothing is started, and the new words go."""
    desk = await called(open_desk, NotSent(reason="dns_failed"))
    await edit(desk)
    found = await standing(desk)
    assert {item.state for item in found.values()} == {State.PENDING}
    world.pass_time(MINUTE)
    await desk.rounds.ripen()
    parcels = [await desk.outbox.intend(lease) for lease in await desk.outbox.claim(10)]
    assert [NEW.title in parcel.rendition.text for parcel in parcels] == [True, True]


async def test_f70_what_goes_live_with_the_old_words_is_reported(open_desk):
    """The call made before the edit succeeded: people learn that the account shows the earlier words."""
    desk = await called(open_desk, Unknown(reason="timeout"))
    await edit(desk)
    desk.books.world.pass_time(MINUTE)
    [doubt, _other] = await desk.outbox.doubts([State.UNKNOWN], 10)
    seen = Published(receipt=Receipt(remote_id="1", url="https://fake.example/1", live_at=START))
    assert (await desk.outbox.learn(doubt, seen, RECONCILER, desk.books.world.monotonic())).state is State.PUBLISHED
    assert [alert.code for alert in await Board(desk.books).alerts()] == ["live_though_edited"]


async def test_planning_after_an_edit_in_a_doubt_finds_nothing_more_to_do(open_desk):
    """The edit is remembered once: the plan made from the same schedule is empty."""
    desk = await called(open_desk, Unknown(reason="timeout"))
    await edit(desk)
    known = (await desk.registry.known())[OLD.id].occurrences["once"]
    assert (known.definition, known.has_started) == (NEW.definition, True)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_i21_an_edit_waits_for_another_hosts_intent(open_desk, monkeypatch):
    """One occurrence goes out in one text: what another host announces while an edit is accepted counts as started.

    The other host's transaction is open, with the intent written, while the edit asks whether anything has started.
    """
    one, other = (
        await open_desk(terms_of("a"), terms_of("b")),
        await open_desk(terms_of("a"), terms_of("b"), worker="w2"),
    )
    await file_posts(one.registry, OLD)
    await one.rounds.ripen()
    [lease] = [lease for lease in await other.outbox.claim(10) if lease.account == "a"]
    is_written, may_commit = threading.Event(), threading.Event()
    announce = type(other.outbox)._announce

    def announce_slowly(outbox, unit, leases):
        answers = announce(outbox, unit, leases)
        is_written.set()
        may_commit.wait(10)
        return answers

    monkeypatch.setattr(type(other.outbox), "_announce", announce_slowly)
    intending = asyncio.create_task(other.outbox.intend(lease))
    await asyncio.to_thread(is_written.wait, 10)
    editing = asyncio.create_task(edit(one, replace(NEW, accounts=(AccountId("b"),))))
    done, _pending = await asyncio.wait([editing], timeout=0.5)
    assert not done
    may_commit.set()
    assert isinstance(await intending, Parcel)
    await editing
    found = {item.id: item for item in await Board(one.books).deliveries()}
    assert found.pop(lease.delivery).state is State.SENDING
    assert [(item.state, item.reason) for item in found.values()] == [(State.HELD, "edited")]
