"""Daemons on other hosts that have died or are gone, and the alerts about them.

A dead daemon has no heartbeat, and has not stopped in order.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from publisher.store.base import FORGOTTEN_AFTER, StorePart, name_host
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.rows import AlertContent, find_alert_changes
from publisher.store.db.tables import WORKER
from publisher.store.system_alerts import (
    CLOCK_SKEW,
    RIGHTS_MISSING,
    find_alerted_worker,
)

WORKER_LOST = "worker_lost"
"""Code of the alert; its subject is the code and the daemon's name."""
WORKERS_LOCK = "workers"
LOST_AFTER = timedelta(minutes=1)
"""How long a daemon may be silent: a start after a crash takes seconds."""
GONE_AFTER = timedelta(hours=1)
"""How long after an orderly stop the alerts about a host stay: it may only be serviced."""
_ALERTS_WITHOUT_DAEMON = frozenset({CLOCK_SKEW, RIGHTS_MISSING})
"""A host may still have these while its daemon does not run."""


class LostWorkers(StorePart):
    """Keeps one alert for each daemon that died while another host of the database goes on.

    It ends the alerts about a host that is gone: only that host could have ended them.
    """

    async def update(self) -> int:
        """Raise and clear the alerts. Return the number changed.

        Nothing changes while the clock is not confirmed.
        """
        if self.runtime.now_if_confirmed() is None:
            return 0
        return await self.update_alerts(self._find_changes, WORKERS_LOCK)

    def _find_changes(
        self, connection: Connection
    ) -> Mapping[str, AlertContent | None]:
        now = self.runtime.now()
        ended = self._find_ended(connection, now)
        if not self.database.is_shared:
            return ended
        return {**ended, **self._find_lost(connection, now)}

    def _find_lost(
        self, connection: Connection, now: datetime
    ) -> Mapping[str, AlertContent | None]:
        silence = WORKER.c.heartbeat_at.between(now - FORGOTTEN_AFTER, now - LOST_AFTER)
        lost = select(WORKER.c.id, WORKER.c.host, WORKER.c.heartbeat_at).where(
            WORKER.c.stopped_at.is_(None), WORKER.c.id != self.store.worker, silence
        )
        known = select(WORKER.c.host).where(WORKER.c.stopped_at.is_(None))
        hosts = list(connection.scalars(known))
        wanted: dict[str, AlertContent] = {
            f"{WORKER_LOST}:{row.id}": (
                WORKER_LOST,
                {
                    "host": name_host(row.id, row.host, hosts),
                    "since": row.heartbeat_at.isoformat(),
                },
            )
            for row in connection.execute(lost)
        }
        return find_alert_changes(connection, [WORKER_LOST], wanted)

    def _find_ended(
        self, connection: Connection, now: datetime
    ) -> Mapping[str, AlertContent | None]:
        """Return the open alerts about hosts that are gone.

        On SQLite every other worker is: it is a former name of this host.
        """
        query = select(WORKER.c.id, WORKER.c.heartbeat_at, WORKER.c.stopped_at)
        workers = {row.id: row for row in connection.execute(query)}
        forgotten, gone = set(), set()
        for name, row in workers.items():
            if name == self.store.worker:
                continue
            if not self.database.is_shared or row.heartbeat_at < now - FORGOTTEN_AFTER:
                forgotten.add(name)
            elif row.stopped_at is not None and row.stopped_at <= now - GONE_AFTER:
                gone.add(name)
        if not forgotten | gone:
            return {}
        is_open = select(ALERT.c.code, ALERT.c.subject).where(
            ALERT.c.cleared_at.is_(None)
        )
        ended: dict[str, AlertContent | None] = {}
        for code, subject in connection.execute(is_open):
            worker = find_alerted_worker(code, subject, workers)
            over = forgotten if code in _ALERTS_WITHOUT_DAEMON else forgotten | gone
            if worker in over:
                ended[subject] = None
        return ended
