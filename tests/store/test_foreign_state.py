"""Another version was here: what it wrote and this one does not know is left to a person."""

import asyncio

from sqlalchemy import update

from publisher.delivering import deliver_due
from publisher.domain.delivery import State
from publisher.domain.outcome import HoldReason
from publisher.keeping import keep
from publisher.reconciling import reconcile_due
from publisher.reviewing import Ruling, rule
from publisher.store.board import Board
from publisher.store.rows import DELIVERY
from publisher.testing.builders import file_posts, post_of
from publisher.testing.fakes import START
from tests.stages.test_delivering import run_on, stage


async def test_f93_a_state_that_is_not_known_is_held_until_a_person_rules(open_desk, world):
    """F93: no stage touches it, staff see it held and why, and a person's word leads on."""
    desk, fake, adapters = await stage(open_desk, "a")
    await file_posts(desk.registry, post_of("p", ["a"], START))
    strange = update(DELIVERY).values(state="translating", next_at=START)
    await desk.books.database.write(lambda unit: unit.connection.execute(strange))
    await run_on(desk, adapters, world, minutes=5)
    [delivery] = await Board(desk.books).deliveries()
    assert (delivery.state, delivery.reason, fake.calls) == (State.HELD, HoldReason.FOREIGN_STATE, [])
    after = await rule(desk.outbox, delivery, Ruling.CANCEL, by="li", reason="nobody knows it")
    assert after.state is State.CANCELLED


async def test_f93_work_in_flight_is_taken_up_by_the_next_version(open_desk, world):
    """F93: what an older one left claimed, in doubt or waiting is read as what it is, and ends as ever."""
    desk, fake, adapters = await stage(open_desk, "a", "b", "c")
    await file_posts(desk.registry, post_of("p", ["a", "b", "c"], START))
    await desk.rounds.ripen()
    leases = {lease.account: lease for lease in await desk.outbox.claim(2)}
    fake.post(await desk.outbox.intend(next(iter(leases.values()))))
    later = await open_desk(*desk.books.terms.values())
    await later.rounds.lapse_own()
    for _ in range(3):
        await keep(later.rounds)
        await deliver_due(later.outbox, adapters, 10, asyncio.Event())
        await reconcile_due(later.outbox, adapters, 10)
    await run_on(later, adapters, world, minutes=15)
    assert set(await Board(later.books).counts()) == {State.PUBLISHED}
    assert len(fake.posts) == 3
