"""The replicas of a PostgreSQL server, and the alert that they are behind or gone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Interval, String, select, text

from publisher.store.base import BaseStore, StorePart
from publisher.store.db.alert_tables import ALERT, IS_ACKNOWLEDGED

REPLICATION_BEHIND = "replication_behind"
"""Code of the alert; it is one for each replica, and one for the last that is gone."""
MAX_LAG = timedelta(minutes=1)
"""More is lost with the server: a replica that works is behind by less than a second."""
ALL_REPLICAS = "*"
_HAS_RIGHTS = text("SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')")
"""Without these rights every column of a replica is NULL."""
_REPLICAS = text(
    "SELECT concat_ws(' ', application_name, client_addr) AS name,"
    " greatest(replay_lag, clock_timestamp() - reply_time) AS lag"
    " FROM pg_stat_replication WHERE state <> 'backup' ORDER BY 1"
).columns(name=String, lag=Interval)
"""The replicas with their lag. A silent one is as far behind as its last reply.

A copy that is being made for a new replica is none yet.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A replica of the database server. `lag` is None until it has reported one."""

    name: str
    lag: timedelta | None


class Replication(StorePart):
    """Keeps the alerts about replicas, as this host's daemon sees them."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self._has_seen_replica: bool | None = None
        """True once there was a replica; None until the alerts of an earlier process are read."""

    async def update(self) -> int:
        """Raise and clear the alerts. Return the number changed.

        Nothing changes without the rights to see replicas, or on SQLite.
        """
        if not self.database.is_shared:
            return 0
        replicas = await self.database.read(read_replicas)
        if replicas is None:
            return 0
        if self._has_seen_replica is None:
            self._has_seen_replica = await self._was_alerted()
        self._has_seen_replica = self._has_seen_replica or bool(replicas)
        wanted: dict[str, Mapping[str, str]] = {
            replica.name: {"replica": replica.name, "reason": "replica_behind"}
            for replica in replicas
            if replica.lag is not None and replica.lag > MAX_LAG
        }
        if self._has_seen_replica and not replicas:
            wanted[ALL_REPLICAS] = {"replica": ALL_REPLICAS, "reason": "replica_gone"}
        return await self.keep_host_alerts(REPLICATION_BEHIND, wanted)

    async def _was_alerted(self) -> bool:
        """Return True if an alert of this host is open that nobody has acknowledged.

        A person who has removed the last replica acknowledges the alert, then restarts the daemon.
        """
        prefix = f"{REPLICATION_BEHIND}:{self.store.worker}:"
        is_own = ALERT.c.subject.startswith(prefix, autoescape=True)
        is_open = (ALERT.c.cleared_at.is_(None), ~IS_ACKNOWLEDGED)
        query = select(ALERT.c.id).where(is_own, *is_open).limit(1)
        return await self.database.read_scalar(query) is not None


def read_replicas(connection: Connection) -> Sequence[Replica] | None:
    """Return the replicas of the server; None without the rights to see them."""
    if not connection.execute(_HAS_RIGHTS).scalar_one():
        return None
    return [
        Replica(name=row.name, lag=row.lag) for row in connection.execute(_REPLICAS)
    ]
