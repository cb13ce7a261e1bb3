"""Due posts that wait: for a login's quota or the gap between posts, and urgent ones for a pause."""

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import Connection, func, or_, select

from publisher.domain.delivery import State
from publisher.store.base import BLOCKED_BY_UNKNOWN, StorePart
from publisher.store.db.filters import (
    in_state,
    is_paused,
    is_switched_off,
    original_is_published,
)
from publisher.store.db.rows import AlertContent, find_alert_changes
from publisher.store.db.tables import DELIVERY

BACKLOG = "backlog"
"""Code of the alert; its subject is the code and the login."""
BACKLOG_AGE = timedelta(minutes=10)
"""How long the oldest post of a login may wait before people are alerted."""
BACKLOG_LOCK = "backlog"
URGENT_PAUSED = "urgent_paused"
"""Code of the alert; its subject is the code and the post."""
URGENT_PAUSED_AGE = timedelta(minutes=1)
"""How long an urgent post may wait for a pause before people are alerted."""


class Backlog(StorePart):
    """Keeps one alert for each login with late posts, and for each urgent post that is paused."""

    async def update(self) -> int:
        """Raise and clear the alerts. Return the number changed.

        Nothing changes while the clock is not confirmed.
        """
        if self.runtime.now_if_confirmed() is None:
            return 0
        return await self.update_alerts(self.find_changes, BACKLOG_LOCK)

    def find_changes(self, connection: Connection) -> Mapping[str, AlertContent | None]:
        """Return the alerts that must change.

        A post that waits for a person, for another post, or for an unknown outcome does not count.
        It is shown, or has an alert of its own.
        """
        waiting = (
            in_state(DELIVERY, State.DUE),
            ~is_paused(DELIVERY),
            ~is_switched_off(DELIVERY),
            original_is_published(DELIVERY),
            or_(DELIVERY.c.reason.is_(None), DELIVERY.c.reason != BLOCKED_BY_UNKNOWN),
        )
        oldest = func.min(DELIVERY.c.due_at)
        query = (
            select(
                DELIVERY.c.login,
                func.min(DELIVERY.c.account).label("account"),
                func.count().label("number"),
            )
            .add_columns(oldest.label("due"))
            .where(*waiting, DELIVERY.c.due_at <= self.runtime.now() - BACKLOG_AGE)
            .group_by(DELIVERY.c.login)
        )
        wanted: dict[str, AlertContent] = {
            f"{BACKLOG}:{row.login}": (
                BACKLOG,
                {
                    "account": row.account,
                    "number": str(row.number),
                    "due": row.due.isoformat(),
                },
            )
            for row in connection.execute(query)
        }
        wanted |= self._list_paused(connection)
        return find_alert_changes(connection, [BACKLOG, URGENT_PAUSED], wanted)

    def _list_paused(self, connection: Connection) -> Mapping[str, AlertContent]:
        """Return an alert for each urgent post that may be sent but for a pause."""
        query = (
            select(
                DELIVERY.c.post,
                func.min(DELIVERY.c.account).label("account"),
                func.count().label("number"),
            )
            .where(
                in_state(DELIVERY, State.DUE),
                DELIVERY.c.is_urgent,
                DELIVERY.c.due_at <= self.runtime.now() - URGENT_PAUSED_AGE,
                is_paused(DELIVERY),
            )
            .group_by(DELIVERY.c.post)
        )
        return {
            f"{URGENT_PAUSED}:{row.post}": (
                URGENT_PAUSED,
                {"post": row.post, "account": row.account, "number": str(row.number)},
            )
            for row in connection.execute(query)
        }
