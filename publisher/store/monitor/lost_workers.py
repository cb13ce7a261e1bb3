"""Daemons on other hosts that have died: no heartbeat, and no orderly stop."""

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import Connection, select

from publisher.store.base import StorePart
from publisher.store.db.rows import AlertContent, find_alert_changes
from publisher.store.db.tables import WORKER

WORKER_LOST = "worker_lost"
"""Code of the alert; its subject is the code and the daemon's name."""
LOST_AFTER = timedelta(minutes=1)
"""How long a daemon may be silent: a start after a crash takes seconds."""
FORGOTTEN_AFTER = timedelta(days=30)
"""After this a host that never came back counts as removed."""


class LostWorkers(StorePart):
    """Keeps one alert for each daemon that died while another host of the database goes on."""

    async def update(self) -> int:
        """Raise and clear the alerts. Return the number changed.

        Nothing changes while the clock is not confirmed, or without other hosts.
        """
        if not self.database.is_shared or self.runtime.now_if_confirmed() is None:
            return 0
        return await self.update_alerts(self._find_changes)

    def _find_changes(
        self, connection: Connection
    ) -> Mapping[str, AlertContent | None]:
        now = self.runtime.now()
        silence = WORKER.c.heartbeat_at.between(now - FORGOTTEN_AFTER, now - LOST_AFTER)
        lost = select(WORKER.c.id, WORKER.c.host, WORKER.c.heartbeat_at).where(
            WORKER.c.stopped_at.is_(None), WORKER.c.id != self.store.worker, silence
        )
        wanted: dict[str, AlertContent] = {
            f"{WORKER_LOST}:{row.id}": (
                WORKER_LOST,
                {"host": row.host, "since": row.heartbeat_at.isoformat()},
            )
            for row in connection.execute(lost)
        }
        return find_alert_changes(connection, [WORKER_LOST], wanted)
