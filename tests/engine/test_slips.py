"""F100: after a corrected slip, deliveries that were never called are as before.

No other post waits for a slip in the schedule.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.account import AccountId
from publisher.domain.delivery import Delivery, State
from publisher.domain.post import PostId
from publisher.domain.results import Busy, NotSent
from publisher.engine.corrections import send_correction
from publisher.engine.decisions import named_person
from publisher.engine.planner import (
    active_schedule,
    apply_schedule,
    plan_window,
    resend_post,
)
from publisher.testing.fakes import START_TIME
from tests.engine.test_planner import cron, deliveries, entry, planner, publish  # noqa: F401 # a fixture among them

SLIP_LASTS = timedelta(seconds=5)
AT = "2026-11-25T12:00:00"
OTHER = entry("other", at=AT)
Edit = Callable[[str], str]


def changed(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


def deleted(_text: str) -> str:
    return ""


ONE_OFF, REPEATING = entry("p", at=AT), cron("p", "0 12 * * *")
SLIPS: dict[str, tuple[str, Edit]] = {
    "a post deleted": (ONE_OFF, deleted),
    "an account out of to": (ONE_OFF, changed('["all"]', '["a"]')),
    "all accounts but a new one out of to": (
        entry("p", at=AT, to='["a"]'),
        changed('["a"]', '["b"]'),
    ),
    "a wrong date": (ONE_OFF, changed(AT, "2026-12-25T12:00:00")),
    "a wrong expiry": (
        entry("p", at="2026-11-25T09:00:00", extra="expires = 2026-11-26T09:00:00"),
        changed("expires = 2026-11-26T09:00:00", "expires = 2026-11-25T09:00:08"),
    ),
    "a cron time moved": (REPEATING, changed("0 12", "0 13")),
    "a cron deleted": (REPEATING, deleted),
    "a cron that became a date": (
        REPEATING,
        changed('cron = "0 12 * * *"', f"at = {AT}"),
    ),
    "a post deleted that is due": (entry("p"), deleted),
    "an account out of a due post": (entry("p"), changed('["all"]', '["a"]')),
}


def shape(found: Sequence[Delivery]) -> list[Delivery]:
    """Return deliveries without fields that grow with every step or edit.

    Deliveries filed by the slip itself are left out.
    """
    kept = [
        replace(item, version=0, updated_at=START_TIME, first_attempt_deadline=None)
        for item in found
    ]
    return sorted(
        (item for item in kept if item.state is not State.CANCELLED),
        key=lambda item: item.id,
    )


async def reload(planner, text):  # noqa: F811 # the fixture's value
    """Put a text in force, and run the jobs after it: planning and maintenance."""
    applied = await apply_schedule(planner, text, "schedule.toml")
    schedule = await active_schedule(planner, "schedule.toml")
    await plan_window(planner, schedule, await planner.store.posts.schedule_version())
    await planner.store.maintenance.run()
    return applied


@pytest.mark.long
@pytest.mark.parametrize("slip", SLIPS)
async def test_f100_a_slip_that_is_put_right_leaves_what_was_never_called_as_it_was(
    planner,  # noqa: F811 # the fixture
    runtime,
    slip,
):
    """After a slip and its correction the urgent post is filed, the rest is as before.

    The steps are: slip, reload, correct it and write an urgent post, reload.
    """
    post, edit = SLIPS[slip]
    await reload(planner, post + OTHER)
    await planner.store.maintenance.promote_due()
    before = shape(await deliveries(planner, post="p"))
    runtime.advance_time(SLIP_LASTS)
    first = await reload(
        planner, edit(post) + OTHER + entry("urgent-1", extra="urgent = true")
    )
    assert shape(await deliveries(planner, post="p")) != before
    runtime.advance_time(SLIP_LASTS)
    await planner.store.maintenance.run()
    second = await reload(
        planner, post + OTHER + entry("urgent-2", extra="urgent = true")
    )
    await planner.store.maintenance.promote_due()
    assert shape(await deliveries(planner, post="p")) == before
    assert [*first.left_out, *second.left_out] == []
    for name in ("urgent-1", "urgent-2"):
        assert len(await deliveries(planner, post=name)) == 2
    assert not [
        one
        for one in await planner.store.queries.alerts()
        if one.subject.startswith("p")
    ]


async def test_f100_of_what_comes_back_only_what_was_called_stays_cancelled(
    planner,  # noqa: F811
    runtime,
):
    """Of two accounts of a post that is deleted and put back, the uncalled one comes back.

    The other account has been called and may be tried again.
    """
    await reload(planner, entry("p"))
    await publish(planner, "a")
    await reload(planner, entry("urgent-1"))
    runtime.advance_time(SLIP_LASTS)
    applied = await reload(planner, entry("p") + entry("urgent-2"))
    assert {
        item.account: item.state for item in await deliveries(planner, post="p")
    } == {
        "a": State.PUBLISHED,
        "b": State.DUE,
    }
    assert not applied.left_out


async def test_f100_what_comes_back_too_late_is_left_out_alone(planner, runtime):  # noqa: F811
    """A post that is put back after its time stays cancelled, with one alert.

    A new post beside it is filed.
    """
    text = entry("p", at=AT)
    await reload(planner, text + OTHER)
    await reload(planner, OTHER)
    runtime.advance_time(timedelta(hours=4))
    for version in range(2):
        applied = await reload(planner, text + OTHER + entry(f"urgent-{version}"))
        assert [(one.code, one.facts["post"]) for one in applied.left_out] == [
            ("restored_too_late", "p")
        ]
        assert len(await deliveries(planner, post=f"urgent-{version}")) == 2
    assert {item.state for item in await deliveries(planner, post="p")} == {
        State.CANCELLED
    }
    assert [
        one.code
        for one in await planner.store.queries.alerts()
        if "left_out" in one.subject
    ] == ["posts_left_out"]
    await reload(planner, OTHER)
    assert not [
        one for one in await planner.store.queries.alerts() if "left_out" in one.subject
    ]


async def test_f100_a_cancellation_by_a_person_is_not_undone_by_the_file(planner):  # noqa: F811
    """A post that a person has cancelled leaves the file and comes back: it stays cancelled."""
    text = entry("p", at=AT)
    await reload(planner, text + OTHER)
    await planner.store.actions.cancel_post(PostId("p"), named_person("li"), "wrong")
    await reload(planner, OTHER)
    await reload(planner, text + OTHER)
    assert {item.state for item in await deliveries(planner, post="p")} == {
        State.CANCELLED
    }


A, LI = AccountId("a"), named_person("li")
LATER = "2026-11-27T12:00:00"


async def live(planner, post="p"):  # noqa: F811 # the fixture's value
    """Return the accounts of a post that have got it or will, one for each delivery."""
    states = {State.PENDING, State.DUE, State.PUBLISHED}
    return sorted(
        item.account
        for item in await deliveries(planner, post=post)
        if item.state in states
    )


async def order_again(planner):  # noqa: F811 # the fixture's value
    await resend_post(planner, await planner.store.posts.get_post(PostId("p")), [A])


async def test_f100_i1_what_was_sent_again_by_order_does_not_come_back(
    planner,  # noqa: F811
    runtime,
):
    """A post that was sent again to one account comes back for the other account alone.

    Both accounts expire, a person sends the post to one, and it is moved.
    """
    await reload(planner, entry("p", at=AT))
    runtime.advance_time(timedelta(hours=30))
    await planner.store.maintenance.run()
    await order_again(planner)
    await publish(planner, A)
    applied = await reload(planner, entry("p", at=LATER))
    assert [(one.code, one.facts["subject"]) for one in applied.left_out] == [
        ("restored_after_order", "p@a")
    ]
    await reload(planner, entry("p", at=LATER))
    assert await live(planner) == ["a", "b"]


async def test_f100_i1_an_order_while_the_plan_is_made_keeps_the_delivery_away(
    planner,  # noqa: F811 # the fixture
    runtime,
    monkeypatch,
):
    """An order during planning is found by the transaction, so no delivery comes back.

    A person sends the post again after the plan has read the stored state.
    """
    await reload(planner, entry("p", at=AT, to='["a"]'))
    runtime.advance_time(timedelta(hours=30))
    await planner.store.maintenance.run()
    read = planner.store.posts.stored_posts

    async def read_and_order(posts):
        known = await read(posts)
        await order_again(planner)
        return known

    with monkeypatch.context() as patched:
        patched.setattr(
            type(planner.store.posts),
            "stored_posts",
            lambda _store, posts: read_and_order(posts),
        )
        await apply_schedule(planner, entry("p", at=LATER, to='["a"]'), "schedule.toml")
    assert await live(planner) == ["a"]


async def test_f100_i1_a_correction_that_was_ordered_is_not_sent_twice(planner):  # noqa: F811
    """A correction that a person ordered for an account is not sent there again.

    The planned correction loses the account, the person orders it there, and `to` is put right.
    """
    original = entry("p")
    planned = entry("c", at=AT, extra='follows = "p"').replace(
        'kind = "warning"', 'kind = "correction"'
    )
    await reload(planner, original + planned)
    for account in ("a", "b"):
        await publish(planner, account)
    await reload(planner, original + planned.replace('["all"]', '["b"]'))
    post = await planner.store.posts.get_post(PostId("c"))
    await send_correction(planner, post, LI, is_new=False)
    for account in ("a", "b"):
        await publish(planner, account)
    await reload(planner, original + planned)
    assert await live(planner, "c") == ["a", "b"]


async def test_f100_i1_of_an_order_and_the_schedule_one_comes_back(planner, runtime):  # noqa: F811
    """An order that left with its post stays so beside the post at a new time."""
    await reload(planner, entry("p", at=AT, to='["a"]') + OTHER)
    runtime.advance_time(timedelta(hours=30))
    await planner.store.maintenance.run()
    await order_again(planner)
    await reload(planner, OTHER)
    assert await live(planner) == []
    await reload(planner, entry("p", at=LATER, to='["a"]') + OTHER)
    [back] = [
        item
        for item in await deliveries(planner, post="p")
        if item.state is State.PENDING
    ]
    assert back.key.occurrence == "once"


async def test_f100_i1_an_older_order_does_not_come_back_beside_a_newer_one(
    planner,  # noqa: F811
    runtime,
):
    """A first order stays cancelled beside a newer order that is published.

    The first order leaves with its post, and the post is ordered once more.
    """
    await reload(planner, entry("p", at=AT, to='["a"]') + OTHER)
    runtime.advance_time(timedelta(hours=30))
    await planner.store.maintenance.run()
    await order_again(planner)
    await reload(planner, OTHER)
    runtime.advance_time(SLIP_LASTS)
    await order_again(planner)
    await publish(planner, "a")
    await reload(planner, entry("p", at=AT, to='["a"]') + OTHER)
    assert await live(planner) == ["a"]


@pytest.mark.parametrize(
    "outcome", [NotSent(reason="connect_failed"), Busy(code="1", reason="busy")]
)
async def test_f100_what_no_call_can_have_begun_for_comes_back_and_goes_out_once(
    planner,  # noqa: F811 # the fixture
    runtime,
    outcome,
):
    """An account that left `to` before any call can have begun comes back and is sent once.

    The urgent post is to be tried again. After a refusal by the platform the account stays out.
    """
    text = entry("p", extra="urgent = true")
    await reload(planner, text)
    await planner.store.maintenance.promote_due()
    [lease] = [one for one in await planner.store.outbox.claim(10) if one.account == A]
    await planner.store.outbox.record_intent(lease)
    await planner.store.outbox.record_outcome(lease, outcome)
    await reload(planner, text.replace('["all"]', '["b"]'))
    [lost] = await deliveries(planner, post="p", account=A)
    assert lost.state is State.CANCELLED
    runtime.advance_time(timedelta(minutes=2))
    applied = await reload(planner, text)
    await publish(planner, A)
    [back] = await deliveries(planner, post="p", account=A)
    is_back = isinstance(outcome, NotSent)
    assert (back.state, back.attempts) == (
        (State.PUBLISHED, 2) if is_back else (State.CANCELLED, 1)
    )
    assert [one.code for one in applied.left_out] == (
        [] if is_back else ["restored_after_call"]
    )
