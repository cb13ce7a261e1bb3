"""What the database shows at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from publisher.domain.delivery import Delivery
from publisher.domain.post import PostId
from publisher.store.plan.actions import ModeOverride, ModeOverrides
from publisher.store.queries.queries import Alert, Pause, Queries, WorkerStatus

HEARTBEAT_TIMEOUT = timedelta(seconds=15)
"""A daemon signs every few seconds; one that is silent for longer does not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSnapshot:
    """What the books show at one moment."""

    now: datetime
    workers: Sequence[WorkerStatus] = ()
    pauses: Sequence[Pause] = ()
    deliveries: Sequence[Delivery] = ()
    alerts: Sequence[Alert] = ()
    pause_alerts: Sequence[Alert] = ()
    mode_overrides: Sequence[ModeOverride] = ()
    has_older: bool = False
    """Whether deliveries that ended long ago are left out."""

    @property
    def latest_worker(self) -> WorkerStatus | None:
        """The daemon that was last seen."""
        return max(self.workers, key=lambda worker: (self.is_alive(worker), worker.heartbeat_at), default=None)

    @property
    def is_running(self) -> bool:
        """Whether a daemon gave a sign of life just now."""
        return any(map(self.is_alive, self.workers))

    def is_alive(self, worker: WorkerStatus) -> bool:
        return worker.stopped_at is None and self.now - worker.heartbeat_at < HEARTBEAT_TIMEOUT


async def take_snapshot(queries: Queries, post: PostId | None = None, *, shows_all: bool = False) -> StatusSnapshot:
    """Look at the books, or at what concerns one post in them; without one, at what ended long ago only if asked to."""
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
    """Whether a daemon gave a sign of life just now."""
    return StatusSnapshot(now=queries.store.runtime.now(), workers=await queries.workers()).is_running
