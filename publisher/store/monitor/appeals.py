"""Appeals for tips that are still online after their last day."""

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import Connection, exists, select

from publisher.domain.delivery import State
from publisher.domain.kinds import PostKind
from publisher.store.base import StorePart
from publisher.store.db.filters import in_state
from publisher.store.db.rows import AlertContent, find_alert_changes
from publisher.store.db.tables import DELIVERY

APPEAL_OVER = "appeal_over"
"""Code of the alert; its subject is the code and the post."""
APPEALS_LOCK = "appeals"


class Appeals(StorePart):
    """Keeps one alert for each appeal that nobody has updated or taken down since its last day."""

    async def update(self) -> int:
        """Raise and clear the alerts. Return the number changed.

        Nothing changes while the clock is not confirmed.
        """
        if self.runtime.now_if_confirmed() is None:
            return 0
        return await self.update_alerts(self.find_changes, APPEALS_LOCK)

    def find_changes(self, connection: Connection) -> Mapping[str, AlertContent | None]:
        """Return the alerts that must change."""
        update = DELIVERY.alias("update")
        has_update = exists().where(
            update.c.follows == DELIVERY.c.post,
            update.c.account == DELIVERY.c.account,
            in_state(update, State.PUBLISHED),
        )
        query = select(DELIVERY.c.post, DELIVERY.c.account, DELIVERY.c.expires_at)
        over = query.where(
            in_state(DELIVERY, State.PUBLISHED),
            DELIVERY.c.kind == PostKind.APPEAL.value,
            DELIVERY.c.expires_at <= self.runtime.now(),
            ~has_update,
        )
        accounts: dict[str, list[str]] = defaultdict(list)
        ends: dict[str, str] = {}
        for row in connection.execute(over.order_by(DELIVERY.c.id)):
            accounts[row.post].append(row.account)
            ends[row.post] = row.expires_at.isoformat()
        wanted: dict[str, AlertContent] = {
            f"{APPEAL_OVER}:{post}": (
                APPEAL_OVER,
                {"post": post, "number": str(len(found)), "due": ends[post]},
            )
            for post, found in accounts.items()
        }
        return find_alert_changes(connection, [APPEAL_OVER], wanted)
