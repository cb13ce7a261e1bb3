"""Parcels: made here only, and only for an attempt that is being committed or is."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select

from publisher.domain.account import AccountId
from publisher.domain.delivery import Attempt, Delivery, State
from publisher.domain.rendition import Baseline, Parcel, Rendition
from publisher.store.books import Books
from publisher.store.engine import Unit
from publisher.store.rows import ATTEMPT, DELIVERY, MEDIA, RENDITION, read_rendition, to_attempt


async def last_parcel(books: Books, unit: Unit, delivery: Delivery) -> Parcel | None:
    """Make the parcel of a delivery's newest attempt, for reading: without picture bytes. None when there is none."""
    attempts = await unit.connection.execute(
        select(ATTEMPT).where(ATTEMPT.c.delivery == delivery.id, ATTEMPT.c.number == delivery.attempts)
    )
    row = attempts.mappings().one_or_none()
    return await _parcel(books, unit, delivery, to_attempt(row), row["newest_id"]) if row else None


async def make_parcel(
    books: Books, unit: Unit, delivery: Delivery, attempt: Attempt, newest: str | None
) -> Parcel | None:
    """Make the parcel of an attempt about to be made; None when a picture's bytes are gone."""
    parcel = await _parcel(books, unit, delivery, attempt, newest)
    hashes = [picture.sha256 for picture in parcel.rendition.pictures]
    images = await _images(unit, hashes)
    return replace(parcel, images=images) if images is not None else None


async def _parcel(books: Books, unit: Unit, delivery: Delivery, attempt: Attempt, newest: str | None) -> Parcel:
    patience = books.patience(delivery.account)
    return Parcel(
        delivery=delivery.id,
        attempt=attempt.number,
        account=delivery.account,
        rendition=await _rendition(unit, delivery),
        images=(),
        baseline=Baseline(newest_id=newest, since=attempt.since),
        intended_at=attempt.intended_at,
        start_by=books.world.monotonic() + (patience.lease - patience.deadline).total_seconds(),
        owned_ids=await _owned_ids(unit, delivery),
    )


async def _rendition(unit: Unit, delivery: Delivery) -> Rendition:
    bodies = await unit.connection.execute(
        select(RENDITION.c.body).where(RENDITION.c.fingerprint == delivery.rendition)
    )
    return read_rendition(bodies.scalar_one())


async def _images(unit: Unit, hashes: Sequence[str]) -> tuple[bytes, ...] | None:
    if not hashes:
        return ()
    rows = await unit.connection.execute(select(MEDIA.c.sha256, MEDIA.c.data).where(MEDIA.c.sha256.in_(hashes)))
    stored = {row.sha256: row.data for row in rows}
    return tuple(stored[sha256] for sha256 in hashes) if set(hashes) <= set(stored) else None


async def newest_id(unit: Unit, account: AccountId) -> str | None:
    """Give the newest live post of ours that we know on an account."""
    newest = await unit.connection.execute(
        select(DELIVERY.c.remote_id)
        .where(DELIVERY.c.account == account, DELIVERY.c.live_at.is_not(None))
        .where(DELIVERY.c.state == State.PUBLISHED.value)
        .order_by(DELIVERY.c.live_at.desc())
        .limit(1)
    )
    found: str | None = newest.scalar_one_or_none()
    return found


async def _owned_ids(unit: Unit, delivery: Delivery, most: int = 200) -> frozenset[str]:
    owned = await unit.connection.execute(
        select(DELIVERY.c.remote_id)
        .where(DELIVERY.c.account == delivery.account, DELIVERY.c.live_at.is_not(None), DELIVERY.c.id != delivery.id)
        .order_by(DELIVERY.c.live_at.desc())
        .limit(most)
    )
    return frozenset(row.remote_id for row in owned)
