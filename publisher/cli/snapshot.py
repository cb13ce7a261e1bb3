"""What the database shows at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from publisher.domain.delivery import Delivery
from publisher.domain.post import PostId
from publisher.store.plan.actions import ModeOverride, ModeOverrides
from publisher.store.queries.queries import Alert, Pause, Queries, WorkerStatus

HEARTBEAT_TIMEOUT = timedelta(seconds=15)
"""A daemon writes a heartbeat every few seconds; after this time without one it is not running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSnapshot:
    now: datetime
    workers: Sequence[WorkerStatus] = ()
    pauses: Sequence[Pause] = ()
    deliveries: Sequence[Delivery] = ()
    alerts: Sequence[Alert] = ()
    pause_alerts: Sequence[Alert] = ()
    mode_overrides: Sequence[ModeOverride] = ()
    has_older: bool = False
    """True if deliveries that ended long ago are left out."""

    @property
    def latest_worker(self) -> WorkerStatus | None:
        """Return the daemon that was last seen, one that is alive first."""
        return max(self.workers, key=lambda worker: (self.is_alive(worker), worker.heartbeat_at), default=None)

    @property
    def is_running(self) -> bool:
        return any(map(self.is_alive, self.workers))

    def is_alive(self, worker: WorkerStatus) -> bool:
        return worker.stopped_at is None and self.now - worker.heartbeat_at < HEARTBEAT_TIMEOUT


async def take_snapshot(queries: Queries, post: PostId | None = None, *, shows_all: bool = False) -> StatusSnapshot:
    """Read the store, or what concerns one post; without a post, what ended long ago only with `shows_all`."""
    alerts, is_whole = await queries.alerts(), shows_all or post is not None
    return StatusSnapshot(
        now=queries.store.runtime.now(),
        workers=await queries.workers(),
        pauses=await queries.pauses(),
        deliveries=await (queries.deliveries(post) if is_whole else queries.current_deliveries()),
        has_older=not is_whole and await queries.has_older_deliveries(),
        alerts=[alert for alert in alerts if post is None or alert.facts.get("post") == post],
        pause_alerts=[alert for alert in alerts if alert.code == "account_paused"],
        mode_overrides=await ModeOverrides(queries.store).list_overrides(),
    )


async def is_daemon_running(queries: Queries) -> bool:
    """True if a daemon wrote a heartbeat within HEARTBEAT_TIMEOUT."""
    return StatusSnapshot(now=queries.store.runtime.now(), workers=await queries.workers()).is_running
