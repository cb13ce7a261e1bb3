"""Parcels: made here only, and only for an attempt that is being committed or is."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, RowMapping, ScalarSelect, bindparam, select

from publisher.domain.delivery import Attempt, Delivery, State
from publisher.domain.rendition import Baseline, Parcel
from publisher.domain.task import task_of
from publisher.store.books import Books
from publisher.store.conditions import stands
from publisher.store.rows import ATTEMPT, DELIVERY, MEDIA, RENDITION, read_rendition, to_attempt

REMEMBERED = 200
"""How many of an account's own ids go along with a parcel, newest first."""
_OWNED = (
    select(DELIVERY.c.remote_id)
    .where(DELIVERY.c.account == bindparam("account"), DELIVERY.c.live_at.is_not(None))
    .where(DELIVERY.c.id != bindparam("delivery"))
    .order_by(DELIVERY.c.live_at.desc())
    .limit(bindparam("most"))
)


def last_parcel(books: Books, connection: Connection, delivery: Delivery) -> Parcel | None:
    """Make the parcel of a delivery's newest attempt, for reading: without picture bytes. None when there is none.

    Of several floors it is the one in question; before its first call, what the call before it tells must do.
    """
    attempts = connection.execute(
        select(ATTEMPT)
        .where(ATTEMPT.c.delivery == delivery.id, ATTEMPT.c.floor <= _floor_of(delivery))
        .order_by(ATTEMPT.c.number.desc())
        .limit(1)
    )
    row = attempts.mappings().one_or_none()
    if row is None:
        return None
    bodies = connection.execute(select(RENDITION.c.body).where(RENDITION.c.fingerprint == delivery.rendition))
    parcel = _parcel(books, delivery, to_attempt(row), row["newest_id"], bodies.scalar_one())
    is_by_hand = task_of(delivery.ticket) is not None
    return replace(parcel, owned_ids=_owned_ids(connection, delivery), is_by_hand=is_by_hand)


def make_parcel(
    books: Books, connection: Connection, delivery: Delivery, attempt: Attempt, facts: RowMapping
) -> Parcel | None:
    """Make the parcel of an attempt about to be made; None when a picture's bytes are gone.

    `facts` hold the delivery's `body`, which is its rendition, and the `newest_id` known on its account.
    """
    parcel = _parcel(books, delivery, attempt, facts["newest_id"], facts["body"])
    if parcel.floor or not parcel.rendition.pictures:  # pictures go with the post itself
        return parcel
    images = _images(connection, [picture.sha256 for picture in parcel.rendition.pictures])
    return replace(parcel, images=images) if images is not None else None


def _parcel(books: Books, delivery: Delivery, attempt: Attempt, newest: str | None, body: str) -> Parcel:
    patience, floor = books.patience(delivery.account), _floor_of(delivery)
    return Parcel(
        delivery=delivery.id,
        attempt=attempt.number,
        account=delivery.account,
        rendition=read_rendition(body),
        images=(),
        baseline=Baseline(newest_id=newest, since=attempt.since),
        intended_at=attempt.intended_at,
        start_by=books.world.monotonic() + (patience.lease - patience.deadline).total_seconds(),
        is_urgent=delivery.is_urgent,
        floor=floor,
        under=delivery.receipt if floor else None,
    )


def _floor_of(delivery: Delivery) -> int:
    """Say which floor is in question: the first that is not known to be live; else, and to take it down, the post."""
    is_asked = delivery.is_incomplete and delivery.state not in {State.PUBLISHED, State.RETRACTING}
    return delivery.floors_done if is_asked else 0


def _images(connection: Connection, hashes: Sequence[str]) -> tuple[bytes, ...] | None:
    rows = connection.execute(select(MEDIA.c.sha256, MEDIA.c.data).where(MEDIA.c.sha256.in_(hashes)))
    stored = {row.sha256: row.data for row in rows}
    return tuple(stored[sha256] for sha256 in hashes) if set(hashes) <= set(stored) else None


def newest_id(account: ColumnElement[str]) -> ScalarSelect[str | None]:
    """Give the newest live post of ours that we know on an account."""
    live = DELIVERY.alias("live")
    return (
        select(live.c.remote_id)
        .where(live.c.account == account, live.c.live_at.is_not(None), stands(live, State.PUBLISHED))
        .order_by(live.c.live_at.desc())
        .limit(1)
        .scalar_subquery()
    )


def _owned_ids(connection: Connection, delivery: Delivery) -> frozenset[str]:
    owned = connection.execute(_OWNED, {"account": delivery.account, "delivery": delivery.id, "most": REMEMBERED})
    return frozenset(row.remote_id for row in owned)
