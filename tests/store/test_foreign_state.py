"""States written by another version that this one does not know are left to a person."""

import asyncio
from collections import Counter

from sqlalchemy import update

from publisher.domain.delivery import State
from publisher.domain.results import HoldReason
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.engine.reconciler import reconcile_due
from publisher.engine.sender import send_due
from publisher.store.db.tables import DELIVERY
from publisher.testing.builders import enqueue_posts, make_post
from publisher.testing.fakes import START_TIME
from tests.engine.test_sender import run_on, stage


async def test_f93_an_unknown_state_is_held_until_a_person_resolves_it(
    open_store, runtime
):
    """F93: no job changes it, staff see it held and why, and a person's resolution leads on."""
    store, fake, adapters = await stage(open_store, "a")
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    strange = update(DELIVERY).values(state="translating", next_action_at=START_TIME)
    await store.database.write(lambda unit: unit.connection.execute(strange))
    await run_on(store, adapters, runtime, minutes=5)
    [delivery] = await store.queries.deliveries()
    assert (delivery.state, delivery.reason, fake.calls) == (
        State.HELD,
        HoldReason.UNKNOWN_STATE,
        [],
    )
    after = await resolve_delivery(
        store,
        delivery,
        Resolution.CANCEL,
        by=named_person("li"),
        reason="nobody knows it",
    )
    assert after.state is State.CANCELLED


async def test_f93_work_in_progress_is_continued_by_the_next_version(
    open_store, runtime
):
    """F93: claimed, unknown or waiting deliveries of an older version are read and end as usual."""
    store, fake, adapters = await stage(open_store, "a", "b", "c")
    await enqueue_posts(store.posts, make_post("p", ["a", "b", "c"], START_TIME))
    await store.maintenance.promote_due()
    leases = {lease.account: lease for lease in await store.outbox.claim(2)}
    fake.add_post(await store.outbox.record_intent(next(iter(leases.values()))))
    later = await open_store(*store.policies.values())
    await later.maintenance.expire_own_leases()
    for _ in range(3):
        await later.maintenance.run()
        await send_due(later, adapters, 10, asyncio.Event())
        await reconcile_due(later, adapters, 10)
    await run_on(later, adapters, runtime, minutes=15)
    assert set(Counter(item.state for item in await later.queries.deliveries())) == {
        State.PUBLISHED
    }
    assert len(fake.posts) == 3
