"""The deliveries with a call that may have created a post: a person decides about each."""

from collections.abc import Collection

from sqlalchemy import Connection, select

from publisher.domain.post import DeliveryId
from publisher.domain.results import (
    RESULT_CODES,
    Blocked,
    Busy,
    CredentialExpired,
    NotSent,
    Published,
    RateLimited,
    Rejected,
    Submitted,
)
from publisher.store.db.rows import QUERY_BATCH_SIZE, batches
from publisher.store.db.tables import ATTEMPT, READBACK

NOTHING_CREATED = frozenset(
    RESULT_CODES[kind]
    for kind in (Blocked, Busy, CredentialExpired, NotSent, RateLimited, Rejected)
)
"""The outcomes of a call that certainly created no post."""
SEEN = frozenset({RESULT_CODES[Published], RESULT_CODES[Submitted]})


def find_undecided(
    connection: Connection, deliveries: Collection[DeliveryId]
) -> frozenset[DeliveryId]:
    """Return the deliveries with a call that may have created a post.

    No call follows another one before that one is known to have created nothing, so the newest call
    decides. A readback that has seen the post decides otherwise.
    """
    found: set[DeliveryId] = set()
    for ids in batches(sorted(deliveries), QUERY_BATCH_SIZE):
        attempts = (
            select(ATTEMPT.c.delivery, ATTEMPT.c.outcome)
            .where(ATTEMPT.c.delivery.in_(ids))
            .order_by(ATTEMPT.c.number)
        )
        newest = {
            row.delivery: row.outcome for row in connection.execute(attempts).all()
        }
        found.update(
            DeliveryId(delivery)
            for delivery, outcome in newest.items()
            if outcome not in NOTHING_CREATED
        )
        seen = select(READBACK.c.delivery).where(
            READBACK.c.delivery.in_(ids), READBACK.c.result.in_(SEEN)
        )
        found.update(map(DeliveryId, connection.scalars(seen)))
    return frozenset(found)
