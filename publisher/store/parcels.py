"""Parcels: made here only, and only for an attempt that is being committed or is."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, RowMapping, ScalarSelect, bindparam, literal_column, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import Attempt, Delivery, State
from publisher.domain.rendition import Baseline, Parcel
from publisher.domain.task import task_of
from publisher.store.books import Books
from publisher.store.conditions import stands
from publisher.store.rows import ATTEMPT, DELIVERY, MEDIA, RENDITION, read_rendition, to_attempt

OWNED_IDS_SENT = 200
"""How many of an account's own ids go along with a parcel, newest first."""
_OWNED = (
    select(DELIVERY.c.remote_id)
    .where(DELIVERY.c.account == bindparam("account"), DELIVERY.c.live_at.is_not(None))
    .order_by(DELIVERY.c.live_at.desc())
    .limit(literal_column(str(OWNED_IDS_SENT)))
)
_NEWEST = (
    select(ATTEMPT, RENDITION.c.body)
    .join(RENDITION, RENDITION.c.fingerprint == bindparam("rendition"))
    .where(ATTEMPT.c.delivery == bindparam("delivery"), ATTEMPT.c.floor <= bindparam("floor"))
    .order_by(ATTEMPT.c.number.desc())
    .limit(literal_column("1"))
)


def last_parcels(books: Books, connection: Connection, deliveries: Sequence[Delivery]) -> list[Parcel | None]:
    """Make the parcel of each delivery's newest attempt, for reading: without picture bytes. None where there is none.

    Of several floors it is the one in question; before its first call, what the call before it tells must do.
    """
    owned: dict[AccountId, frozenset[str]] = {}
    parcels: list[Parcel | None] = []
    for delivery in deliveries:
        facts = {"delivery": delivery.id, "floor": _floor_of(delivery), "rendition": delivery.rendition}
        row = connection.execute(_NEWEST, facts).mappings().one_or_none()
        if row is None:
            parcels.append(None)
            continue
        if delivery.account not in owned:
            owned[delivery.account] = frozenset(connection.scalars(_OWNED, {"account": delivery.account}))
        others = owned[delivery.account] - {delivery.receipt.remote_id if delivery.receipt else ""}
        parcel = _parcel(books, delivery, to_attempt(row), row["newest_id"], row["body"])
        parcels.append(replace(parcel, owned_ids=others, is_by_hand=task_of(delivery.ticket) is not None))
    return parcels


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
        epoch=attempt.epoch,
        ordered_after=delivery.ordered_after,
        account=delivery.account,
        rendition=read_rendition(body),
        images=(),
        baseline=Baseline(newest_id=newest, since=attempt.since),
        intended_at=attempt.intended_at,
        start_by=books.world.monotonic() + (patience.lease_timeout - patience.request_timeout).total_seconds(),
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
