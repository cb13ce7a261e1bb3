"""The store's part of `status`: daemons, pauses, deliveries, alerts, modes and cooldowns.

They are read one by one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from publisher.domain.account import AccountId, LoginId
from publisher.domain.delivery import Delivery, State
from publisher.domain.post import OccurrenceKey, PostId
from publisher.store.base import HEARTBEAT_TIMEOUT
from publisher.store.db.rows import ACCOUNT_PAUSED
from publisher.store.queries.queries import (
    Alert,
    LoginCooldown,
    ModeOverride,
    Pause,
    Queries,
    WorkerStatus,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSnapshot:
    now: datetime
    workers: Sequence[WorkerStatus] = ()
    pauses: Sequence[Pause] = ()
    deliveries: Sequence[Delivery] = ()
    alerts: Sequence[Alert] = ()
    pause_alerts: Sequence[Alert] = ()
    mode_overrides: Sequence[ModeOverride] = ()
    titles: Mapping[PostId, str] = field(default_factory=dict)
    has_older: bool = False
    """True if deliveries that ended long ago are left out."""
    cooldowns: Mapping[LoginId, LoginCooldown] = field(default_factory=dict)
    changed_files: Mapping[str, Mapping[str, datetime]] = field(default_factory=dict)
    """The files changed since a daemon read them, with the time, by daemon id.

    Only daemons on this host are covered.
    """
    unapproved: Collection[OccurrenceKey] = ()
    """The occurrences that are not sent without another approval."""
    configured_accounts: frozenset[AccountId] | None = None
    """The accounts of the present settings, for a daemon once it runs; None if not asked for."""

    def awaits_approval(self, delivery: Delivery) -> bool:
        """Return True for a due delivery that its approvals hold back.

        Its reason says so only once its login could send.
        """
        return delivery.state is State.DUE and delivery.key in self.unapproved

    def waits_until(self, delivery: Delivery) -> datetime | None:
        """Return the end of a due delivery's wait for its login's gap and limits; None if none."""
        cooldown = self.cooldowns.get(delivery.login)
        if (
            cooldown is None
            or delivery.state is not State.DUE
            or self.awaits_approval(delivery)
        ):
            return None
        until = cooldown.urgent_until if delivery.is_urgent else cooldown.routine_until
        return until if until > self.now else None

    @property
    def latest_worker(self) -> WorkerStatus | None:
        """Return the daemon that was last seen, one that is alive first."""
        return max(
            self.workers,
            key=lambda worker: (self.is_alive(worker), worker.heartbeat_at),
            default=None,
        )

    @property
    def is_running(self) -> bool:
        return any(map(self.is_alive, self.workers))

    @property
    def silent_since(self) -> datetime | None:
        """Return the last heartbeat of a daemon that did not report its end, if none runs.

        It was killed, or it cannot write the database.
        """
        last = self.latest_worker
        is_silent = last and last.stopped_at is None and not self.is_alive(last)
        return last.heartbeat_at if last and is_silent else None

    @property
    def loaded_accounts(self) -> frozenset[AccountId] | None:
        """Return the accounts in a running daemon's settings, or its future ones.

        Return None if they are unknown.
        """
        loaded = [worker.loaded for worker in self.workers if self.is_alive(worker)]
        if not loaded:
            return self.configured_accounts
        if None in loaded:
            return None
        return frozenset[AccountId]().union(*(one.accounts for one in loaded if one))

    def is_loaded(self, account: AccountId) -> bool:
        """Return False if no running daemon has this account in its settings.

        Where none runs, return False if none would have it.
        """
        return self.loaded_accounts is None or account in self.loaded_accounts

    def is_alive(self, worker: WorkerStatus) -> bool:
        return (
            worker.stopped_at is None
            and self.now - worker.heartbeat_at < HEARTBEAT_TIMEOUT
        )


async def take_snapshot(
    queries: Queries,
    posts: Sequence[PostId] | None = None,
    *,
    shows_all: bool = False,
    configured_accounts: frozenset[AccountId] | None = None,
) -> StatusSnapshot:
    """Read the store, or the part about some posts.

    Without posts, old ended deliveries are read only with `shows_all`.
    """
    alerts, is_whole = await queries.alerts(), shows_all or posts is not None
    deliveries = (
        [one for post in posts for one in await queries.deliveries(post)]
        if posts is not None
        else await (queries.deliveries() if shows_all else queries.current_deliveries())
    )
    return StatusSnapshot(
        now=queries.runtime.now(),
        workers=await queries.workers(),
        pauses=await queries.pauses(),
        deliveries=deliveries,
        titles=await queries.titles({delivery.key.post for delivery in deliveries}),
        has_older=not is_whole and await queries.has_older_deliveries(),
        alerts=alerts if posts is None else await queries.alerts_about(posts),
        pause_alerts=[alert for alert in alerts if alert.code == ACCOUNT_PAUSED],
        mode_overrides=await queries.mode_overrides(),
        cooldowns=await queries.cooldowns(),
        configured_accounts=configured_accounts,
    )
