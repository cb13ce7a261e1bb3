"""Edits of the schedule that affect a delivery with an unknown outcome."""

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.account import AccountId
from publisher.domain.delivery import RECONCILER, DesiredState, State
from publisher.domain.errors import RefusedError
from publisher.domain.plan import Plan, RemovedTargets
from publisher.domain.post import SendRequest
from publisher.domain.results import NotFound, NotSent, Published, Receipt, Unknown
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.store.plan.posts import PlanCommit
from publisher.testing.builders import (
    enqueue_posts,
    make_policy,
    make_post,
    make_rendered_delivery,
)
from publisher.testing.fakes import START_TIME

MINUTE = timedelta(minutes=1)
OLD = make_post("p", ["a", "b"], START_TIME)
NEW = make_post("p", ["a", "b"], START_TIME, title="警惕“退款”诈骗")


async def call_both(open_store, outcome=None):
    """File a post for two accounts and call both, with this outcome if any."""
    store = await open_store(make_policy("a"), make_policy("b"))
    await enqueue_posts(store.posts, OLD)
    await store.maintenance.promote_due()
    for lease in await store.outbox.claim(10):
        assert isinstance(await store.outbox.record_intent(lease), SendRequest)
        if outcome is not None:
            await store.outbox.record_outcome(lease, outcome)
    return store


async def edit(store, post=NEW):
    """Accept another text for the filed post."""
    draft = make_rendered_delivery(post, post.trigger.at, is_new=False)
    await store.posts.commit_plan(
        PlanCommit(plan=Plan(planned=(draft.planned,)), rendered=[draft], posts=[post])
    )


async def show_absent(store):
    """Read both accounts until absence is shown."""
    for _ in range(3):
        store.runtime.advance_time(8 * MINUTE)
        for unknown in await store.outbox.due_readbacks([State.UNKNOWN], 10):
            found = NotFound(covered_since=START_TIME - timedelta(days=1))
            await store.outbox.record_readback(
                unknown, found, RECONCILER, store.runtime.monotonic()
            )


async def standing(store):
    return {item.account: item for item in await store.queries.deliveries()}


async def test_f70_after_an_edit_during_an_unknown_outcome_no_old_text_is_sent(
    open_store,
):
    """I4, I21: absence shown afterwards leads to a person, on both accounts, with an alert."""
    store = await call_both(open_store, Unknown(reason="timeout"))
    await edit(store)
    await show_absent(store)
    found = await standing(store)
    assert [(item.state, item.reason) for item in found.values()] == [
        (State.HELD, "edited")
    ] * 2
    assert [alert.code for alert in await store.queries.alerts()] == ["held.edited"] * 2
    assert await store.outbox.claim(10) == []
    chosen = await resolve_delivery(
        store,
        found[AccountId("a")],
        Resolution.RESEND,
        by=named_person("li"),
        reason="the old words will do",
    )
    assert chosen.state is State.DUE


async def test_f70_an_account_removed_during_an_unknown_outcome_is_cancelled(
    open_store,
):
    """An account removed from `to` during an unknown outcome gets no second call.

    The account that is still wanted gets one.
    """
    store = await call_both(open_store, Unknown(reason="timeout"))
    gone = RemovedTargets(
        key=make_rendered_delivery(OLD, START_TIME).planned.occurrence.key,
        accounts=(AccountId("b"),),
    )
    await store.posts.commit_plan(PlanCommit(plan=Plan(removed_targets=(gone,))))
    known = (await store.posts.stored_posts())[OLD.id].occurrences["once"]
    assert (known.open_accounts, known.untargeted_accounts) == ({"a"}, {"b"})
    await show_absent(store)
    found = await standing(store)
    assert (found[AccountId("a")].state, found[AccountId("b")].state) == (
        State.DUE,
        State.CANCELLED,
    )


async def test_f70_an_account_added_again_during_an_unknown_outcome_is_wanted_again(
    open_store,
):
    """An edit that is undone before the outcome is known has no effect."""
    store = await call_both(open_store, Unknown(reason="timeout"))
    gone = RemovedTargets(
        key=make_rendered_delivery(OLD, START_TIME).planned.occurrence.key,
        accounts=(AccountId("b"),),
    )
    await store.posts.commit_plan(PlanCommit(plan=Plan(removed_targets=(gone,))))
    await edit(store, replace(OLD, accounts=(AccountId("b"),)))
    assert (await standing(store))[AccountId("b")].desired is DesiredState.AS_PLANNED
    await show_absent(store)
    assert {item.state for item in (await standing(store)).values()} == {State.DUE}


async def test_f70_after_an_edit_during_a_call_that_was_not_sent_no_old_text_is_sent(
    open_store, runtime
):
    """A call that was not sent before an edit is not sent again automatically.

    The other account may have been called with the old text.
    """
    store = await open_store(make_policy("a"), make_policy("b"))
    await enqueue_posts(store.posts, OLD)
    await store.maintenance.promote_due()
    leases = await store.outbox.claim(10)
    for lease in leases:
        await store.outbox.record_intent(lease)
    await edit(store)
    after = await store.outbox.record_outcome(leases[0], NotSent(reason="dns_failed"))
    assert (after.state, after.reason) == (State.HELD, "edited")


async def test_an_edit_after_calls_that_were_all_not_sent_replaces_the_text(
    open_store, runtime
):
    """F18, F69: where no byte was sent, nothing is started and the new text is sent.

    No byte was sent for any account.
    """
    store = await call_both(open_store, NotSent(reason="dns_failed"))
    await edit(store)
    found = await standing(store)
    assert {item.state for item in found.values()} == {State.PENDING}
    runtime.advance_time(MINUTE)
    await store.maintenance.promote_due()
    requests = [
        await store.outbox.record_intent(lease)
        for lease in await store.outbox.claim(10)
    ]
    assert [NEW.title in request.rendered.text for request in requests] == [True, True]


async def test_f70_a_post_published_with_the_old_text_is_reported(open_store):
    """After a successful call made before the edit, people learn that the earlier text is shown."""
    store = await call_both(open_store, Unknown(reason="timeout"))
    await edit(store)
    store.runtime.advance_time(MINUTE)
    [unknown, _other] = await store.outbox.due_readbacks([State.UNKNOWN], 10)
    seen = Published(
        receipt=Receipt(
            remote_id="1", url="https://fake.example/1", published_at=START_TIME
        )
    )
    assert (
        await store.outbox.record_readback(
            unknown, seen, RECONCILER, store.runtime.monotonic()
        )
    ).state is State.PUBLISHED
    assert [alert.code for alert in await store.queries.alerts()] == [
        "published_after_edit"
    ]


async def test_planning_after_an_edit_during_an_unknown_outcome_finds_nothing_more_to_do(
    open_store,
):
    """The edit is stored once: the plan made from the same schedule is empty."""
    store = await call_both(open_store, Unknown(reason="timeout"))
    await edit(store)
    known = (await store.posts.stored_posts())[OLD.id].occurrences["once"]
    assert (known.content_hash, known.has_started) == (NEW.content_hash, True)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_i21_an_edit_waits_for_another_hosts_intent(open_store, monkeypatch):
    """One occurrence is sent in one text: another host's intent during the edit counts as started.

    The other host's transaction is open, with the intent written, while the edit checks whether
    anything has started.
    """
    one = await open_store(make_policy("a"), make_policy("b"))
    other = await open_store(make_policy("a"), make_policy("b"), worker="w2")
    await enqueue_posts(one.posts, OLD)
    await one.maintenance.promote_due()
    [lease] = [lease for lease in await other.outbox.claim(10) if lease.account == "a"]
    is_written, may_commit = threading.Event(), threading.Event()
    announce = other.outbox._record_intents

    def announce_slowly(unit, leases):
        answers = announce(unit, leases)
        is_written.set()
        may_commit.wait(60)
        return answers

    monkeypatch.setattr(other.outbox, "_record_intents", announce_slowly)
    intending = asyncio.create_task(other.outbox.record_intent(lease))
    await asyncio.to_thread(is_written.wait, 60)
    editing = asyncio.create_task(edit(one, replace(NEW, accounts=(AccountId("b"),))))
    done, _pending = await asyncio.wait([editing], timeout=0.5)
    assert not done
    may_commit.set()
    assert isinstance(await intending, SendRequest)
    await editing
    found = {item.id: item for item in await one.queries.deliveries()}
    assert found.pop(lease.delivery).state is State.SENDING
    assert [(item.state, item.reason) for item in found.values()] == [
        (State.HELD, "edited")
    ]


async def refresh(store, post=NEW):
    draft = make_rendered_delivery(
        replace(post, content_hash=OLD.content_hash), START_TIME, is_new=False
    )
    plan = Plan(planned=(draft.planned,))
    await store.posts.commit_plan(
        PlanCommit(plan=plan, rendered=[draft], is_scheduled=False, is_refresh=True)
    )


async def test_f105_a_refresh_replaces_no_text_of_which_a_call_has_begun_meanwhile(
    open_store,
):
    """F105: a refresh checks again in its transaction; an earlier intent keeps every text."""
    store = await open_store(make_policy("a"), make_policy("b"))
    await enqueue_posts(store.posts, OLD)
    before = {
        account: one.rendered_hash for account, one in (await standing(store)).items()
    }
    await refresh(store)
    refreshed = {
        account: one.rendered_hash for account, one in (await standing(store)).items()
    }
    assert set(refreshed.values()).isdisjoint(before.values())
    await store.maintenance.promote_due()
    [lease, *_rest] = await store.outbox.claim(10)
    await store.outbox.record_intent(lease)
    with pytest.raises(RefusedError) as refused:
        await refresh(store, OLD)
    assert refused.value.code == "refresh_after_call"
    found = await standing(store)
    assert {account: one.rendered_hash for account, one in found.items()} == refreshed
    assert {one.desired for one in found.values()} == {DesiredState.AS_PLANNED}
