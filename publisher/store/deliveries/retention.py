"""What is kept of deliveries that ended long ago: that they were, how they ended, and their audit; not what they said.

Texts, pictures, reads and figures go. Of a post that is live its text is only needed to find it in its account's list;
to take it down, its number is.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, tuple_, update

from publisher.domain.delivery import FINAL_STATES, OPEN_STATES, State
from publisher.domain.rendered import DeliveryId
from publisher.store.audit.append import lock_planning
from publisher.store.db.database import Transaction
from publisher.store.db.filters import in_open_state, in_state
from publisher.store.db.intent_journal import read_records
from publisher.store.db.mappers import (
    ATTEMPT,
    DELIVERY,
    MEDIA,
    REACH,
    READBACK,
    RENDERED_POST,
    SCHEDULE,
    load_rendered_post,
)
from publisher.store.deliveries.intents import MAX_OWNED_IDS
from publisher.store.store import Store

PRUNE_BATCH_SIZE = 100
"""Deliveries that are looked at in one transaction."""
PICTURE_BATCH_SIZE = 10
_DELIVERY_KEY = (RENDERED_POST.c.post, RENDERED_POST.c.occurrence, RENDERED_POST.c.account)
PrunePosition = tuple[datetime, int]
"""Where a round has come to: a due time, and a delivery's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneCounts:
    """How many rows went."""

    deliveries: int = 0
    texts: int = 0
    pictures: int = 0
    readbacks: int = 0
    metrics: int = 0

    def __add__(self, other: "PruneCounts") -> "PruneCounts":
        return PruneCounts(
            deliveries=self.deliveries + other.deliveries,
            texts=self.texts + other.texts,
            pictures=self.pictures + other.pictures,
            readbacks=self.readbacks + other.readbacks,
            metrics=self.metrics + other.metrics,
        )


async def prune(store: Store, retention: timedelta) -> PruneCounts:
    """Delete what deliveries said, and how they were followed, that ended longer ago than `kept_for`.

    It is done a few at a time, between which others get their turn. A clock in doubt says nothing of how long ago that
    was: then nothing goes. Nor does what a line of this worker's journal names.
    """
    now = store.runtime.now_if_confirmed()
    if now is None:
        return PruneCounts()
    before, named = now - retention, await asyncio.to_thread(_journaled_deliveries, store)
    pruned, place = PruneCounts(), None
    while True:
        some, place = await store.database.write(partial(_prune_batch, before, named, place))
        pruned += some
        if place is None:
            break
    await store.database.write(partial(_clear_old_schedules, before))
    while gone := await store.database.write(partial(_prune_pictures, before)):
        pruned += PruneCounts(pictures=gone)
    return pruned


def _journaled_deliveries(store: Store) -> frozenset[int]:
    """Name the deliveries of which the journal tells."""
    journal = store.database.journal
    lines = read_records(journal.path, None) if journal is not None else ()
    return frozenset(line.delivery for line in lines)


def _prune_batch(
    before: datetime, journaled: Collection[int], after: PrunePosition | None, transaction: Transaction
) -> tuple[PruneCounts, PrunePosition | None]:
    """Prune what may go of the next few; say what went, and where the next ones begin, None where there are none."""
    lock_planning(transaction)
    columns = [DELIVERY.c[name] for name in ("id", "due_at", "post", "occurrence", "account")]
    rows = transaction.connection.execute(
        select(*columns, _can_prune(before).label("may_go"))
        .where(~DELIVERY.c.is_pruned, DELIVERY.c.due_at < before, *_after(after))
        .order_by(DELIVERY.c.due_at, DELIVERY.c.id)
        .limit(PRUNE_BATCH_SIZE)
    ).all()
    if not rows:
        return PruneCounts(), None
    place = (rows[-1].due_at, rows[-1].id)
    going = [row for row in rows if row.may_go and row.id not in journaled]
    if not going:
        return PruneCounts(), place
    ids = [DeliveryId(row.id) for row in going]
    keys = [(row.post, row.occurrence, row.account) for row in going]
    run = transaction.connection.execute
    pruned = PruneCounts(
        deliveries=len(ids),
        texts=run(delete(RENDERED_POST).where(tuple_(*_DELIVERY_KEY).in_(keys))).rowcount,
        readbacks=run(delete(READBACK).where(READBACK.c.delivery.in_(ids))).rowcount,
        metrics=run(delete(REACH).where(REACH.c.delivery.in_(ids))).rowcount,
    )
    run(update(DELIVERY).where(DELIVERY.c.id.in_(ids)).values(is_pruned=True))
    return pruned, place


def _after(position: PrunePosition | None) -> tuple[ColumnElement[bool], ...]:
    if position is None:
        return ()
    due_at, number = position
    is_next = or_(DELIVERY.c.due_at > due_at, DELIVERY.c.id > number)
    return DELIVERY.c.due_at >= due_at, is_next


def _can_prune(before: datetime) -> ColumnElement[bool]:
    """Whether nobody needs what a delivery said any more.

    A live post is recognised by its text while its account's list may still show it, and for good where nothing but
    people's word says that it is live.
    """
    live = DELIVERY.alias("live")
    shown = (
        select(live.c.published_at)
        .where(live.c.account == DELIVERY.c.account, live.c.published_at.is_not(None))
        .order_by(live.c.published_at.desc())
        .limit(1)
        .offset(MAX_OWNED_IDS)
        .scalar_subquery()
    )
    is_out_of_sight = and_(
        in_state(DELIVERY, State.PUBLISHED),
        DELIVERY.c.remote_id.is_not(None),
        ~DELIVERY.c.is_manually_confirmed,
        DELIVERY.c.published_at <= shown,
    )
    is_called = exists().where(ATTEMPT.c.delivery == DELIVERY.c.id, ATTEMPT.c.ended_at.is_(None))
    return and_(DELIVERY.c.updated_at < before, ~is_called, or_(in_state(DELIVERY, *FINAL_STATES), is_out_of_sight))


def _clear_old_schedules(before: datetime, transaction: Transaction) -> None:
    """Empty the texts of old versions of the schedule; that they were accepted, and their hashes, stay."""
    newest = select(func.max(SCHEDULE.c.id)).scalar_subquery()
    is_old = (SCHEDULE.c.accepted_at < before, SCHEDULE.c.id < newest, SCHEDULE.c.text != "")
    transaction.connection.execute(update(SCHEDULE).where(*is_old).values(text=""))


def _prune_pictures(before: datetime, transaction: Transaction) -> int:
    """Delete a few pictures that nothing has shown since that time, nor is open to show. Returns how many."""
    lock_planning(transaction)
    is_old = MEDIA.c.shown_until < before
    if transaction.connection.scalar(select(MEDIA.c.sha256).where(is_old).limit(1)) is None:
        return 0
    others = MEDIA.c.sha256.not_in(_needed_pictures(transaction.connection))
    hashes = transaction.connection.scalars(
        select(MEDIA.c.sha256).where(is_old, others).limit(PICTURE_BATCH_SIZE)
    ).all()
    if not hashes:
        return 0
    return transaction.connection.execute(delete(MEDIA).where(MEDIA.c.sha256.in_(hashes))).rowcount


def _needed_pictures(connection: Connection) -> frozenset[str]:
    """Name the pictures of what is open, whatever they say of until when they are shown."""
    query = (
        select(RENDERED_POST.c.body)
        .join(DELIVERY, DELIVERY.c.rendered_hash == RENDERED_POST.c.fingerprint)
        .where(in_open_state(DELIVERY, *OPEN_STATES))
    )
    return frozenset(
        picture.sha256 for body in connection.scalars(query) for picture in load_rendered_post(body).images
    )
