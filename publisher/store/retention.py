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

from publisher.domain.delivery import ENDED, OPEN, State
from publisher.domain.rendition import DeliveryId
from publisher.store.books import Books
from publisher.store.conditions import stands, stands_open
from publisher.store.engine import Unit
from publisher.store.journal import newest_intents
from publisher.store.ledger import take_turn
from publisher.store.parcels import OWNED_IDS_SENT
from publisher.store.rows import ATTEMPT, DELIVERY, LOOK, MEDIA, REACH, RENDITION, SCHEDULE, read_rendition

AT_A_TIME = 100
"""Deliveries that are looked at in one transaction."""
PICTURES_AT_A_TIME = 10
_KEY = (RENDITION.c.post, RENDITION.c.label, RENDITION.c.account)
Place = tuple[datetime, int]
"""Where a round has come to: a due time, and a delivery's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many rows went."""

    deliveries: int = 0
    texts: int = 0
    pictures: int = 0
    reads: int = 0
    figures: int = 0

    def __add__(self, other: "Pruned") -> "Pruned":
        return Pruned(
            deliveries=self.deliveries + other.deliveries,
            texts=self.texts + other.texts,
            pictures=self.pictures + other.pictures,
            reads=self.reads + other.reads,
            figures=self.figures + other.figures,
        )


async def prune(books: Books, kept_for: timedelta) -> Pruned:
    """Delete what deliveries said, and how they were followed, that ended longer ago than `kept_for`.

    It is done a few at a time, between which others get their turn. A clock in doubt says nothing of how long ago that
    was: then nothing goes. Nor does what a line of this worker's journal names.
    """
    now = books.world.confirmed_now()
    if now is None:
        return Pruned()
    before, named = now - kept_for, await asyncio.to_thread(_named, books)
    pruned, place = Pruned(), None
    while True:
        some, place = await books.database.write(partial(_prune_some, before, named, place))
        pruned += some
        if place is None:
            break
    await books.database.write(partial(_prune_versions, before))
    while gone := await books.database.write(partial(_prune_pictures, before)):
        pruned += Pruned(pictures=gone)
    return pruned


def _named(books: Books) -> frozenset[int]:
    """Name the deliveries of which the journal tells."""
    journal = books.database.journal
    lines = newest_intents(journal.path, None) if journal is not None else ()
    return frozenset(line.delivery for line in lines)


def _prune_some(
    before: datetime, named: Collection[int], after: Place | None, unit: Unit
) -> tuple[Pruned, Place | None]:
    """Prune what may go of the next few; say what went, and where the next ones begin, None where there are none."""
    take_turn(unit)
    columns = [DELIVERY.c[name] for name in ("id", "due_at", "post", "label", "account")]
    rows = unit.connection.execute(
        select(*columns, _may_go(before).label("may_go"))
        .where(~DELIVERY.c.is_pruned, DELIVERY.c.due_at < before, *_behind(after))
        .order_by(DELIVERY.c.due_at, DELIVERY.c.id)
        .limit(AT_A_TIME)
    ).all()
    if not rows:
        return Pruned(), None
    place = (rows[-1].due_at, rows[-1].id)
    going = [row for row in rows if row.may_go and row.id not in named]
    if not going:
        return Pruned(), place
    ids = [DeliveryId(row.id) for row in going]
    keys = [(row.post, row.label, row.account) for row in going]
    run = unit.connection.execute
    pruned = Pruned(
        deliveries=len(ids),
        texts=run(delete(RENDITION).where(tuple_(*_KEY).in_(keys))).rowcount,
        reads=run(delete(LOOK).where(LOOK.c.delivery.in_(ids))).rowcount,
        figures=run(delete(REACH).where(REACH.c.delivery.in_(ids))).rowcount,
    )
    run(update(DELIVERY).where(DELIVERY.c.id.in_(ids)).values(is_pruned=True))
    return pruned, place


def _behind(place: Place | None) -> tuple[ColumnElement[bool], ...]:
    if place is None:
        return ()
    due_at, number = place
    is_next = or_(DELIVERY.c.due_at > due_at, DELIVERY.c.id > number)
    return DELIVERY.c.due_at >= due_at, is_next


def _may_go(before: datetime) -> ColumnElement[bool]:
    """Whether nobody needs what a delivery said any more.

    A live post is recognised by its text while its account's list may still show it, and for good where nothing but
    people's word says that it is live.
    """
    live = DELIVERY.alias("live")
    shown = (
        select(live.c.live_at)
        .where(live.c.account == DELIVERY.c.account, live.c.live_at.is_not(None))
        .order_by(live.c.live_at.desc())
        .limit(1)
        .offset(OWNED_IDS_SENT)
        .scalar_subquery()
    )
    is_out_of_sight = and_(
        stands(DELIVERY, State.PUBLISHED),
        DELIVERY.c.remote_id.is_not(None),
        ~DELIVERY.c.is_by_word,
        DELIVERY.c.live_at <= shown,
    )
    is_called = exists().where(ATTEMPT.c.delivery == DELIVERY.c.id, ATTEMPT.c.ended_at.is_(None))
    return and_(DELIVERY.c.updated_at < before, ~is_called, or_(stands(DELIVERY, *ENDED), is_out_of_sight))


def _prune_versions(before: datetime, unit: Unit) -> None:
    """Empty the texts of old versions of the schedule; that they were accepted, and their hashes, stay."""
    newest = select(func.max(SCHEDULE.c.id)).scalar_subquery()
    is_old = (SCHEDULE.c.accepted_at < before, SCHEDULE.c.id < newest, SCHEDULE.c.text != "")
    unit.connection.execute(update(SCHEDULE).where(*is_old).values(text=""))


def _prune_pictures(before: datetime, unit: Unit) -> int:
    """Delete a few pictures that nothing has shown since that time, nor is open to show. Returns how many."""
    take_turn(unit)
    is_old = MEDIA.c.shown_until < before
    if unit.connection.scalar(select(MEDIA.c.sha256).where(is_old).limit(1)) is None:
        return 0
    others = MEDIA.c.sha256.not_in(_needed(unit.connection))
    hashes = unit.connection.scalars(select(MEDIA.c.sha256).where(is_old, others).limit(PICTURES_AT_A_TIME)).all()
    if not hashes:
        return 0
    return unit.connection.execute(delete(MEDIA).where(MEDIA.c.sha256.in_(hashes))).rowcount


def _needed(connection: Connection) -> frozenset[str]:
    """Name the pictures of what is open, whatever they say of until when they are shown."""
    query = (
        select(RENDITION.c.body)
        .join(DELIVERY, DELIVERY.c.rendition == RENDITION.c.fingerprint)
        .where(stands_open(DELIVERY, *OPEN))
    )
    return frozenset(picture.sha256 for body in connection.scalars(query) for picture in read_rendition(body).pictures)
