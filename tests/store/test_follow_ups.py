"""When what follows a post may go, and what becomes of it when an account leaves: on both databases."""

from datetime import timedelta

import pytest

from publisher.domain.account import AccountId, LoginId
from publisher.domain.delivery import Desired, State
from publisher.domain.events import RETRACTOR, Actor, RetractOrdered, Role
from publisher.domain.outcome import Published, Receipt, Rejected, Unknown
from publisher.store.board import Board
from publisher.store.handovers import Handovers
from publisher.store.outbox import Doubt
from publisher.testing.builders import file_posts, post_of, terms_of
from publisher.testing.fakes import START

WANG = Actor(role=Role.PERSON, name="王")
LIVE = Published(receipt=Receipt(remote_id="1", url="https://fake.example/1", live_at=START))
REFUSED = Rejected(code="fake_2", reason="not allowed")


async def send(desk, outcome):
    """Let one due delivery have its call."""
    await desk.rounds.ripen()
    [lease] = await desk.outbox.claim(1)
    await desk.outbox.intend(lease)
    return await desk.outbox.settle(lease, outcome)


@pytest.mark.parametrize(("answer", "number"), [(Unknown(reason="timeout"), 0), (REFUSED, 1)])
async def test_a_refused_retraction_leaves_an_original_that_can_be_followed(open_desk, answer, number):
    """While a removal is open nothing follows the post; once the platform has refused it, the post counts as live."""
    desk = await open_desk()
    follow_up = post_of("two", ["a"], START, title="更正", follows="one")
    await file_posts(desk.registry, post_of("one", ["a"], START), follow_up)
    live = await send(desk, LIVE)
    ordered = await desk.outbox.apply(live.id, RetractOrdered(reason="wrong"), WANG)
    assert await desk.outbox.claim(1) == []
    await desk.outbox.learn(Doubt(delivery=ordered, parcel=None), answer, RETRACTOR, desk.books.world.monotonic())
    assert len(await desk.outbox.claim(1)) == number


async def test_an_account_that_leaves_cancels_what_waits_and_nothing_else(open_desk):
    """What waits is cancelled; what is live or in doubt stays as it is, and no other account is touched."""
    desk = await open_desk(terms_of("a"), terms_of("b"))
    names = ("live", "doubt", "waits", "later")
    posts = [post_of(name, ["a"], START + timedelta(seconds=place)) for place, name in enumerate(names)]
    await file_posts(desk.registry, *posts, post_of("other", ["b"], START + timedelta(hours=1)))
    desk.books.world.pass_time(timedelta(seconds=2))
    await send(desk, LIVE)
    await send(desk, Unknown(reason="timeout"))
    orders = Handovers(desk.books)
    assert await orders.cancel(AccountId("a"), WANG, "leaves") == 2
    assert await orders.cancel(AccountId("a"), WANG, "leaves") == 0
    found = {delivery.key.post: delivery for delivery in await Board(desk.books).deliveries()}
    assert {name: found[name].state for name in (*names, "other")} == {
        "live": State.PUBLISHED,
        "doubt": State.UNKNOWN,
        "waits": State.CANCELLED,
        "later": State.CANCELLED,
        "other": State.PENDING,
    }
    assert found["doubt"].desired is Desired.CANCELLED


async def test_leaving_is_written_down_once(open_desk):
    """Repeating the order adds nothing to the audit; what was told of the account is over at the end."""
    desk = await open_desk()
    orders, account, login = Handovers(desk.books), AccountId("a"), LoginId("fake/a")
    for _ in range(2):
        await orders.begin(account, login, WANG, "leaves")
        await orders.end(account, login, WANG, is_shared=False)
    history = await Board(desk.books).history("account:a")
    assert [(entry.event, entry.detail["login"]) for entry in history] == [
        ("offboarding_ordered", "fake/a"),
        ("offboarded", "fake/a"),
    ]
