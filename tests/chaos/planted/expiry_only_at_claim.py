"""Whether a post still holds true is asked when it is claimed, and not again when its intent is committed.

Breaks I6 (F73): where the process is frozen or slow between claim and intent, or a login's gap lies between, a call
starts after `expires`. An attempt's `intended_at` is then later than the delivery's `expires_at`.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_

from publisher.domain.delivery import Desired
from publisher.store import intents, outbox
from publisher.store.conditions import is_late, is_off, is_paused, is_superseded, original_is_live


def _whatever_has_expired(row: Any, now: Any) -> ColumnElement[bool]:
    return and_(
        row.c.desired == Desired.AS_FILED.value,
        row.c.due_at <= now,
        ~is_late(row, now),
        ~is_superseded(row, now),
        ~is_paused(row),
        ~is_off(row),
        original_is_live(row),
    )


def plant() -> None:
    intents._FACTS = intents._facts(_whatever_has_expired)
    outbox._MAY_GO_ON = outbox._announced(_whatever_has_expired)
