"""Whether a post still holds true is asked when it is claimed, and not again when its intent is committed.

Breaks I6 (F73): where the process is frozen or slow between claim and intent, or a login's gap lies between, a call
starts after `expires`. An attempt's `intended_at` is then later than the delivery's `expires_at`.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_

from publisher.domain.delivery import DesiredState
from publisher.store.db.filters import is_late, is_paused, is_superseded, is_switched_off, original_is_published
from publisher.store.deliveries import intents, outbox


def _whatever_has_expired(row: Any, now: Any) -> ColumnElement[bool]:
    return and_(
        row.c.desired == DesiredState.AS_PLANNED.value,
        row.c.due_at <= now,
        ~is_late(row, now),
        ~is_superseded(row, now),
        ~is_paused(row),
        ~is_switched_off(row),
        original_is_published(row),
    )


def plant() -> None:
    intents.GUARD_QUERY = intents.guard_query(_whatever_has_expired)
    outbox.PENDING_CALL_QUERY = outbox.pending_call_query(_whatever_has_expired)
