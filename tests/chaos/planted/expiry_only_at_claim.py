"""Whether a post still holds true is asked when it is claimed, and not again when its intent is committed.

Breaks I6 (F73): where the process is frozen or slow between claim and intent, or a login's gap lies between, a call
starts after `expires`. An attempt's `intended_at` is then later than the delivery's `expires_at`.
"""

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import RowMapping

from publisher.domain.delivery import Delivery
from publisher.domain.events import Event
from publisher.store import intents
from publisher.store.books import Books

NEVER = datetime.max.replace(tzinfo=UTC)
_guard = intents._guard


def _guard_but_expiry(books: Books, delivery: Delivery, row: RowMapping, since_doubt: int) -> tuple[str, Event] | None:
    return _guard(books, replace(delivery, expires_at=NEVER), row, since_doubt)


def plant() -> None:
    intents._guard = _guard_but_expiry
