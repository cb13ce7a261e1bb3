"""Retention: contents of deliveries that ended long ago are deleted. Their rows and audit stay.

Texts, images, readbacks and metrics are deleted. The text of a published post is only needed to
find it in its account's list. To delete the post, its id is enough. The intent journal is
compacted. Old records go once the database has their attempt, and it has ended.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)

from publisher.domain.delivery import FINAL_STATES, OPEN_STATES, State
from publisher.domain.post import DeliveryId
from publisher.store.base import BaseStore
from publisher.store.db.database import Transaction
from publisher.store.db.filters import in_open_state, in_state
from publisher.store.db.intent_journal import JOURNAL_RETENTION, read_records
from publisher.store.db.monitor_tables import REACH
from publisher.store.db.rows import lock_planning
from publisher.store.db.tables import (
    ATTEMPT,
    DELIVERY,
    MEDIA,
    READBACK,
    RENDERED_POST,
    SCHEDULE,
    load_rendered_post,
)
from publisher.store.deliveries.intents import MAX_OWNED_IDS
from publisher.store.lost_attempts import ended_records
from publisher.store.notices import prune_alerts, prune_notices
from publisher.store.people.drafts import delete_old_drafts, delete_old_uploads
from publisher.store.people.saves import SAVES_KEPT, delete_old_saves

PRUNE_BATCH_SIZE = 100
"""Deliveries examined in one transaction."""
PICTURE_BATCH_SIZE = 10
_DELIVERY_KEY = (
    RENDERED_POST.c.post,
    RENDERED_POST.c.occurrence,
    RENDERED_POST.c.account,
)
PrunePosition = tuple[datetime, int]
"""The last delivery examined: its due time and id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneCounts:
    """How many rows were pruned or deleted."""

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


async def prune(store: BaseStore, retention: timedelta) -> PruneCounts:
    """Delete the contents of deliveries that ended longer than `retention` ago, in small batches.

    The batches run between other writes. Nothing is deleted while the clock is not confirmed.
    Nothing that this worker's journal names is deleted.
    """
    now = store.runtime.now_if_confirmed()
    if now is None:
        return PruneCounts()
    before, journal = now - retention, store.database.journal
    records = (
        await asyncio.to_thread(read_records, journal.path, None)
        if journal is not None
        else ()
    )
    journaled = frozenset(record.delivery for record in records)
    write = store.database.write
    pruned, position = PruneCounts(), None
    while True:
        counts, position = await write(prune_batch, before, journaled, position)
        pruned += counts
        if position is None:
            break
    await write(clear_old_schedules, before)
    await write(prune_notices, before)
    await write(prune_alerts, now, before)
    await write(delete_old_drafts, now)
    await write(delete_old_uploads, now)
    await write(delete_old_saves, now - SAVES_KEPT)
    while deleted := await write(delete_pictures, before):
        pruned += PruneCounts(pictures=deleted)
    return pruned


def prune_batch(
    transaction: Transaction,
    before: datetime,
    journaled: Collection[int],
    after: PrunePosition | None,
) -> tuple[PruneCounts, PrunePosition | None]:
    """Prune the next few deliveries. Return the counts, and the position, or None at the end."""
    lock_planning(transaction)
    columns = [
        DELIVERY.c[name] for name in ("id", "due_at", "post", "occurrence", "account")
    ]
    query = select(*columns, _can_prune(before).label("can_prune")).where(
        ~DELIVERY.c.is_pruned, DELIVERY.c.due_at < before
    )
    if after is not None:
        due_at, number = after
        query = query.where(
            DELIVERY.c.due_at >= due_at,
            or_(DELIVERY.c.due_at > due_at, DELIVERY.c.id > number),
        )
    rows = transaction.connection.execute(
        query.order_by(DELIVERY.c.due_at, DELIVERY.c.id).limit(PRUNE_BATCH_SIZE)
    ).all()
    if not rows:
        return PruneCounts(), None
    position = (rows[-1].due_at, rows[-1].id)
    prunable = [row for row in rows if row.can_prune and row.id not in journaled]
    if not prunable:
        return PruneCounts(), position
    ids = [DeliveryId(row.id) for row in prunable]
    keys = [(row.post, row.occurrence, row.account) for row in prunable]
    run = transaction.connection.execute
    pruned = PruneCounts(
        deliveries=len(ids),
        texts=run(
            delete(RENDERED_POST).where(tuple_(*_DELIVERY_KEY).in_(keys))
        ).rowcount,
        readbacks=run(delete(READBACK).where(READBACK.c.delivery.in_(ids))).rowcount,
        metrics=run(delete(REACH).where(REACH.c.delivery.in_(ids))).rowcount,
    )
    run(update(DELIVERY).where(DELIVERY.c.id.in_(ids)).values(is_pruned=True))
    return pruned, position


def clear_old_schedules(transaction: Transaction, before: datetime) -> None:
    """Clear the texts of old schedule versions. Their hashes and acceptance times stay."""
    newest = select(func.max(SCHEDULE.c.id)).scalar_subquery()
    is_old = (
        SCHEDULE.c.accepted_at < before,
        SCHEDULE.c.id < newest,
        SCHEDULE.c.text != "",
    )
    transaction.connection.execute(update(SCHEDULE).where(*is_old).values(text=""))


def _can_prune(before: datetime) -> ColumnElement[bool]:
    """True if the contents of a delivery are not needed any more.

    A published post is recognized by its text as long as its account's list may show it, and
    without limit if it is only manually confirmed.
    """
    newer = DELIVERY.alias("newer")
    oldest_listed = (
        select(newer.c.published_at)
        .where(newer.c.account == DELIVERY.c.account, newer.c.published_at.is_not(None))
        .order_by(newer.c.published_at.desc())
        .limit(1)
        .offset(MAX_OWNED_IDS)
        .scalar_subquery()
    )
    is_beyond_list = and_(
        in_state(DELIVERY, State.PUBLISHED),
        DELIVERY.c.remote_id.is_not(None),
        ~DELIVERY.c.is_manually_confirmed,
        DELIVERY.c.published_at <= oldest_listed,
    )
    has_open_call = exists().where(
        ATTEMPT.c.delivery == DELIVERY.c.id, ATTEMPT.c.ended_at.is_(None)
    )
    is_over = or_(in_state(DELIVERY, *FINAL_STATES), is_beyond_list)
    return and_(DELIVERY.c.updated_at < before, ~has_open_call, is_over)


def delete_pictures(transaction: Transaction, before: datetime) -> int:
    """Delete a few images unused since `before` by any delivery. Return the number.

    An image that an open delivery needs stays.
    """
    lock_planning(transaction)
    is_old = MEDIA.c.shown_until < before
    if (
        transaction.connection.scalar(select(MEDIA.c.sha256).where(is_old).limit(1))
        is None
    ):
        return 0
    open_posts = (
        select(RENDERED_POST.c.body)
        .join(DELIVERY, DELIVERY.c.rendered_hash == RENDERED_POST.c.fingerprint)
        .where(in_open_state(DELIVERY, *OPEN_STATES))
    )
    needed = {
        image.sha256
        for body in transaction.connection.scalars(open_posts)
        for image in load_rendered_post(body).images
    }
    query = (
        select(MEDIA.c.sha256)
        .where(is_old, MEDIA.c.sha256.not_in(needed))
        .limit(PICTURE_BATCH_SIZE)
    )
    hashes = transaction.connection.scalars(query).all()
    if not hashes:
        return 0
    return transaction.connection.execute(
        delete(MEDIA).where(MEDIA.c.sha256.in_(hashes))
    ).rowcount


async def compact_journal(store: BaseStore) -> int:
    """Drop old records of ended attempts. Return the number.

    A crash at any moment leaves a complete journal. Nothing is dropped while the clock is not
    confirmed.
    """
    journal, now = store.database.journal, store.runtime.now_if_confirmed()
    if journal is None or now is None:
        return 0
    before = now - JOURNAL_RETENTION
    records = await asyncio.to_thread(read_records, journal.path, None)
    old = [record for record in records if datetime.fromisoformat(record.at) < before]
    if not old:
        return 0

    ended = await store.database.read(ended_records, old)
    return await asyncio.to_thread(journal.compact, ended)
