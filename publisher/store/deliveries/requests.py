"""Parcels: made here only, and only for an attempt that is being committed or is."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, RowMapping, ScalarSelect, bindparam, literal_column, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import Attempt, Delivery, State
from publisher.domain.manual_task import parse_manual_task
from publisher.domain.rendered import Baseline, SendRequest
from publisher.store.db.filters import in_state
from publisher.store.db.mappers import ATTEMPT, DELIVERY, MEDIA, RENDERED_POST, load_rendered_post, to_attempt
from publisher.store.store import Store

MAX_OWNED_IDS = 200
"""How many of an account's own ids go along with a parcel, newest first."""
_OWNED_IDS = (
    select(DELIVERY.c.remote_id)
    .where(DELIVERY.c.account == bindparam("account"), DELIVERY.c.published_at.is_not(None))
    .order_by(DELIVERY.c.published_at.desc())
    .limit(literal_column(str(MAX_OWNED_IDS)))
)
_NEWEST_ATTEMPT = (
    select(ATTEMPT, RENDERED_POST.c.body)
    .join(RENDERED_POST, RENDERED_POST.c.fingerprint == bindparam("rendition"))
    .where(ATTEMPT.c.delivery == bindparam("delivery"), ATTEMPT.c.part <= bindparam("floor"))
    .order_by(ATTEMPT.c.number.desc())
    .limit(literal_column("1"))
)


def last_requests(store: Store, connection: Connection, deliveries: Sequence[Delivery]) -> list[SendRequest | None]:
    """Make the parcel of each delivery's newest attempt, for reading: without picture bytes. None where there is none.

    Of several floors it is the one in question; before its first call, what the call before it tells must do.
    """
    owned: dict[AccountId, frozenset[str]] = {}
    requests: list[SendRequest | None] = []
    for delivery in deliveries:
        facts = {"delivery": delivery.id, "floor": _part_of(delivery), "rendition": delivery.rendered_hash}
        row = connection.execute(_NEWEST_ATTEMPT, facts).mappings().one_or_none()
        if row is None:
            requests.append(None)
            continue
        if delivery.account not in owned:
            owned[delivery.account] = frozenset(connection.scalars(_OWNED_IDS, {"account": delivery.account}))
        others = owned[delivery.account] - {delivery.receipt.remote_id if delivery.receipt else ""}
        request = _build(store, delivery, to_attempt(row), row["newest_id"], row["body"])
        requests.append(replace(request, owned_ids=others, is_manual=parse_manual_task(delivery.ticket) is not None))
    return requests


def build_request(
    store: Store, connection: Connection, delivery: Delivery, attempt: Attempt, facts: RowMapping
) -> SendRequest | None:
    """Make the parcel of an attempt about to be made; None when a picture's bytes are gone.

    `facts` hold the delivery's `body`, which is its rendition, and the `newest_id` known on its account.
    """
    request = _build(store, delivery, attempt, facts["newest_id"], facts["body"])
    if request.part or not request.rendered.images:  # pictures go with the post itself
        return request
    images = _images(connection, [picture.sha256 for picture in request.rendered.images])
    return replace(request, images=images) if images is not None else None


def _build(store: Store, delivery: Delivery, attempt: Attempt, newest: str | None, body: str) -> SendRequest:
    timing, floor = store.timing(delivery.account), _part_of(delivery)
    return SendRequest(
        delivery=delivery.id,
        attempt=attempt.number,
        fencing_token=attempt.fencing_token,
        resend_after_attempt=delivery.resend_after_attempt,
        account=delivery.account,
        rendered=load_rendered_post(body),
        images=(),
        baseline=Baseline(newest_id=newest, taken_at=attempt.baseline_at),
        intended_at=attempt.intended_at,
        start_by=store.runtime.monotonic() + (timing.lease_timeout - timing.request_timeout).total_seconds(),
        is_urgent=delivery.is_urgent,
        part=floor,
        parent=delivery.receipt if floor else None,
    )


def _part_of(delivery: Delivery) -> int:
    """Say which floor is in question: the first that is not known to be live; else, and to take it down, the post."""
    is_asked = delivery.is_incomplete and delivery.state not in {State.PUBLISHED, State.RETRACTING}
    return delivery.parts_done if is_asked else 0


def _images(connection: Connection, hashes: Sequence[str]) -> tuple[bytes, ...] | None:
    rows = connection.execute(select(MEDIA.c.sha256, MEDIA.c.data).where(MEDIA.c.sha256.in_(hashes)))
    stored = {row.sha256: row.data for row in rows}
    return tuple(stored[sha256] for sha256 in hashes) if set(hashes) <= set(stored) else None


def newest_id(account: ColumnElement[str]) -> ScalarSelect[str | None]:
    """Give the newest live post of ours that we know on an account."""
    live = DELIVERY.alias("live")
    return (
        select(live.c.remote_id)
        .where(live.c.account == account, live.c.published_at.is_not(None), in_state(live, State.PUBLISHED))
        .order_by(live.c.published_at.desc())
        .limit(1)
        .scalar_subquery()
    )
