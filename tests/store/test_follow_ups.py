"""When follow-ups may be sent, and the effects of offboarding an account: on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.account import AccountId, LoginId
from publisher.domain.approval import PRESET_CHAINS, ApprovalPreset, ApprovalRules
from publisher.domain.delivery import (
    RECONCILER,
    RETRACTOR,
    Actor,
    DesiredState,
    RetractionRequested,
    Role,
    State,
)
from publisher.domain.kinds import PostKind
from publisher.domain.plan import Plan
from publisher.domain.post import PostId
from publisher.domain.results import NotFound, Published, Receipt, Rejected, Unknown
from publisher.store.deliveries.intents import Declined, PendingReadback
from publisher.store.plan.posts import PlanCommit
from publisher.testing.builders import (
    enqueue_posts,
    make_policy,
    make_post,
    make_rendered_delivery,
)
from publisher.testing.fakes import START_TIME

WANG = Actor(role=Role.PERSON, name="王")
LIVE = Published(
    receipt=Receipt(
        remote_id="1", url="https://fake.example/1", published_at=START_TIME
    )
)
REFUSED = Rejected(code="fake_2", reason="not allowed")


async def send(store, outcome):
    """Make the call of one due delivery."""
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    return await store.outbox.record_outcome(lease, outcome)


@pytest.mark.parametrize(
    ("answer", "number"), [(Unknown(reason="timeout"), 0), (REFUSED, 1)]
)
async def test_a_refused_retraction_leaves_an_original_that_can_be_followed(
    open_store, answer, number
):
    """No follow-up is sent during a deletion; after its refusal the post counts as published."""
    store = await open_store()
    follow_up = make_post("two", ["a"], START_TIME, title="更正", follows="one")
    await enqueue_posts(store.posts, make_post("one", ["a"], START_TIME), follow_up)
    live = await send(store, LIVE)
    ordered = await store.actions.apply_event(
        live.id, RetractionRequested(reason="wrong"), WANG
    )
    assert await store.outbox.claim(1) == []
    await store.outbox.record_readback(
        PendingReadback(delivery=ordered, request=None),
        answer,
        RETRACTOR,
        store.runtime.monotonic(),
    )
    assert len(await store.outbox.claim(1)) == number


async def test_offboarding_cancels_waiting_deliveries_and_nothing_else(open_store):
    """Waiting deliveries are cancelled; published and unknown ones and other accounts stay."""
    store = await open_store(make_policy("a"), make_policy("b"))
    names = ("live", "doubt", "waits", "later")
    posts = [
        make_post(name, ["a"], START_TIME + timedelta(seconds=place))
        for place, name in enumerate(names)
    ]
    await enqueue_posts(
        store.posts, *posts, make_post("other", ["b"], START_TIME + timedelta(hours=1))
    )
    store.runtime.advance_time(timedelta(seconds=2))
    await send(store, LIVE)
    await send(store, Unknown(reason="timeout"))
    actions = store.actions
    assert await actions.cancel_waiting(AccountId("a"), WANG, "leaves") == 2
    assert await actions.cancel_waiting(AccountId("a"), WANG, "leaves") == 0
    found = {
        delivery.key.post: delivery for delivery in await store.queries.deliveries()
    }
    assert {name: found[name].state for name in (*names, "other")} == {
        "live": State.PUBLISHED,
        "doubt": State.UNKNOWN,
        "waits": State.CANCELLED,
        "later": State.CANCELLED,
        "other": State.PENDING,
    }
    assert found["doubt"].desired is DesiredState.CANCELLED


async def test_offboarding_is_recorded_once(open_store):
    """Repeating the order adds nothing to the audit log; alerts about the account end with it."""
    store = await open_store()
    actions, account, login = store.actions, AccountId("a"), LoginId("fake/a")
    for _ in range(2):
        await actions.request_offboarding(account, login, WANG, "leaves")
        await actions.finish_offboarding(account, login, WANG, is_shared=False)
    history = await store.queries.audit_history("account:a")
    assert [(entry.event, entry.detail["login"]) for entry in history] == [
        ("offboarding_requested", "fake/a"),
        ("offboarded", "fake/a"),
    ]


def make_correction(accounts, at):
    return replace(
        make_post("fix", accounts, at, title="更正", follows="one"),
        kind=PostKind.CORRECTION,
    )


async def prove_absent(store, name):
    """Read the account until it proves that nothing is there; return the delivery as it is then."""
    for _ in range(3):
        store.runtime.advance_time(timedelta(minutes=8))
        for unknown in await store.outbox.due_readbacks([State.UNKNOWN], 10):
            found = NotFound(covered_since=START_TIME - timedelta(days=1))
            await store.outbox.record_readback(
                unknown, found, RECONCILER, store.runtime.monotonic()
            )
    return (await of_post(store, name))[0]


async def of_post(store, name):
    return await store.queries.deliveries(PostId(name))


async def open_codes(store):
    return [alert.code for alert in await store.queries.alerts()]


async def test_f104_no_second_call_of_an_original_follows_its_correction(open_store):
    """F104: an unknown original of a filed correction gets no second call, even once absent.

    The correction is filed for now. Once absence is proven nothing at all is sent.
    """
    store = await open_store()
    await enqueue_posts(store.posts, make_post("one", ["a"], START_TIME))
    await send(store, Unknown(reason="timeout"))
    await enqueue_posts(store.posts, make_correction(["a"], START_TIME))
    assert await open_codes(store) == ["original_in_doubt"]
    [doubtful] = await of_post(store, "one")
    assert (doubtful.state, doubtful.desired) == (State.UNKNOWN, DesiredState.CORRECTED)
    ended = await prove_absent(store, "one")
    assert (ended.state, ended.reason) == (State.CANCELLED, "corrected")
    for _promoted_then_dropped in range(2):
        await store.maintenance.run()
    assert await store.outbox.claim(10) == []
    [correction] = await of_post(store, "fix")
    assert (correction.state, correction.reason) == (
        State.CANCELLED,
        "original_not_published",
    )
    assert "original_in_doubt" not in await open_codes(store)


async def test_f104_a_correction_stops_its_original_wherever_it_is_not_out(open_store):
    """F104: a correction stops waiting copies of its original in its own transaction.

    This includes accounts added later. Published copies stay.
    """
    store = await open_store(*map(make_policy, "abc"))
    original = make_post("one", ["a", "b"], START_TIME)
    await enqueue_posts(store.posts, original)
    await store.maintenance.promote_due()
    first, second = await store.outbox.claim(2)
    await store.outbox.record_intent(first)
    await store.outbox.record_outcome(first, LIVE)
    await enqueue_posts(store.posts, make_correction(["a", "b"], START_TIME))
    assert await store.outbox.record_intent(second) == Declined(guard="lease_lost")
    found = {one.account: one for one in await of_post(store, "one")}
    assert found[first.account].state is State.PUBLISHED
    assert (found[second.account].state, found[second.account].reason) == (
        State.CANCELLED,
        "corrected",
    )
    await enqueue_posts(
        store.posts, replace(original, accounts=(*original.accounts, AccountId("c")))
    )
    assert len(await of_post(store, "one")) == 2
    assert (await store.posts.stored_posts([original]))[original.id].is_cancelled


async def test_f104_a_correction_for_later_stops_its_original_once_its_time_has_come(
    open_store,
):
    """F104: the original is sent as planned until its correction's time, and is stopped then.

    It is stopped even if the correction lacks approvals.
    """
    rules = ApprovalRules(
        by_kind={PostKind.CORRECTION: PRESET_CHAINS[ApprovalPreset.TWO_PERSONS]}
    )
    store = replace(await open_store(*map(make_policy, "ab")), approval_rules=rules)
    await enqueue_posts(
        store.posts, make_post("one", ["a"], START_TIME + timedelta(hours=2))
    )
    await enqueue_posts(
        store.posts, make_correction(["a"], START_TIME + timedelta(hours=1))
    )
    await store.maintenance.run()
    assert [one.state for one in await of_post(store, "one")] == [State.PENDING]
    store.runtime.advance_time(timedelta(hours=1))
    await store.maintenance.run()
    assert [(one.state, one.reason) for one in await of_post(store, "one")] == [
        (State.CANCELLED, "corrected")
    ]
    assert [one.state for one in await of_post(store, "fix")] == [State.PENDING]


async def test_f104_a_person_may_send_the_original_after_all(open_store):
    """A post that a correction has stopped is sent again only by a person's order."""
    store = await open_store()
    original = make_post("one", ["a"], START_TIME)
    await enqueue_posts(store.posts, original)
    await enqueue_posts(store.posts, make_correction(["a"], START_TIME))
    await store.actions.cancel_post(PostId("fix"), WANG, "the number was right")
    assert [one.state for one in await of_post(store, "one")] == [State.CANCELLED]
    again = make_rendered_delivery(original, START_TIME, occurrence_id="again")
    ordered = PlanCommit(
        plan=Plan(planned=(again.planned,)),
        rendered=[again],
        is_scheduled=False,
        is_resend=True,
    )
    assert await store.posts.commit_plan(ordered) == 1
    assert (await send(store, LIVE)).state is State.PUBLISHED
