"""A pause keeps deliveries from being claimed; what is claimed already is let go.

Breaks I14 (F94): claims are taken two seconds before their instant, so a call may start up to two seconds after the
pause, or later where the process was frozen after the claim, with an intent committed while the pause stands.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_

from publisher.domain.delivery import DesiredState
from publisher.store.db.filters import is_late, is_superseded, is_switched_off, original_is_published
from publisher.store.deliveries import intents, outbox


def _whatever_is_paused(row: Any, now: Any) -> ColumnElement[bool]:
    return and_(
        row.c.desired == DesiredState.AS_PLANNED.value,
        row.c.due_at <= now,
        row.c.expires_at > now,
        ~is_late(row, now),
        ~is_superseded(row, now),
        ~is_switched_off(row),
        original_is_published(row),
    )


def plant() -> None:
    intents.GUARD_QUERY = intents.guard_query(_whatever_is_paused)
    outbox.PENDING_CALL_QUERY = outbox.pending_call_query(_whatever_is_paused)
