"""A pause keeps deliveries from being claimed; what is claimed already is let go.

Breaks I14 (F94): claims are taken two seconds before their instant, so a call may start up to two seconds after the
pause, or later where the process was frozen after the claim, with an intent committed while the pause stands.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_

from publisher.domain.delivery import Desired
from publisher.store import intents, outbox
from publisher.store.conditions import is_late, is_off, is_superseded, original_is_live


def _whatever_is_paused(row: Any, now: Any) -> ColumnElement[bool]:
    return and_(
        row.c.desired == Desired.AS_FILED.value,
        row.c.due_at <= now,
        row.c.expires_at > now,
        ~is_late(row, now),
        ~is_superseded(row, now),
        ~is_off(row),
        original_is_live(row),
    )


def plant() -> None:
    intents._FACTS = intents._facts(_whatever_is_paused)
    outbox._MAY_GO_ON = outbox._announced(_whatever_is_paused)
