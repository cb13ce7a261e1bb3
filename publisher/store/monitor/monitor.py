"""What is live, read again: which account's turn it is, what stands there, and how far it has come."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, RowMapping, and_, func, insert, select, update

from publisher.domain.account import AccountId, Mode
from publisher.domain.delivery import Delivery, Readback, State
from publisher.domain.events import Actor, Role
from publisher.domain.policy import MAX_METRICS_AGE, needs_metrics
from publisher.domain.post import PostId
from publisher.domain.rendered import DeliveryId, derive_marker
from publisher.domain.results import Deleted, NotFound, ObservedPost, RateLimited, Reach, ReadbackResult
from publisher.domain.verification import is_confirmed
from publisher.store.audit.append import clear_alerts, get_row, raise_alert, write_readback
from publisher.store.db.database import Transaction, try_lock
from publisher.store.db.filters import in_state
from publisher.store.db.mappers import (
    ATTEMPT,
    DELIVERY,
    MONITOR_SCHEDULE,
    OBSERVED_POST,
    REACH,
    READBACK,
    to_attempt,
    to_delivery,
    to_readback,
)
from publisher.store.db.tables import UNIX_EPOCH
from publisher.store.deliveries.cooldowns import logins_in_cooldown, start_login_cooldown
from publisher.store.deliveries.intents import last_requests
from publisher.store.deliveries.outbox import PendingReadback
from publisher.store.jobs import JobRunner
from publisher.store.plan.actions import active_modes
from publisher.store.store import Store

MONITOR = Actor(role=Role.RECONCILER, name="monitor")
MIN_LIST_LENGTH = 5
"""Every platform lists at least so many of an account's newest posts; a shorter list is all there is."""
MAX_CHECKED = 3
"""How many missed posts of an account are asked about at one watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsPoint:
    """One reading of one delivery's reach."""

    delivery: Delivery
    at: datetime
    reach: Reach


class Monitoring:
    """The books of what is live. Every method is one transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.jobs = JobRunner(store)

    async def claim_due_accounts(self, limit: int) -> Sequence[AccountId]:
        """Take the accounts whose turn has come; each comes again after its platform's interval."""
        return await self.store.database.write(lambda transaction: self._claim_due_accounts(transaction, limit))

    def _claim_due_accounts(self, transaction: Transaction, limit: int) -> list[AccountId]:
        if not try_lock(transaction, "monitor"):
            return []
        now = self.store.runtime.now()
        known = {row.account: row.next_action_at for row in transaction.connection.execute(select(MONITOR_SCHEDULE))}
        modes = active_modes(self.store, transaction.connection)
        resting = logins_in_cooldown(transaction.connection, now)
        self.jobs.clear_other_alerts(
            transaction, "monitor_account", [account for account, mode in modes.items() if mode is not Mode.OFF]
        )
        speaking = (
            account
            for account, mode in modes.items()
            if mode is not Mode.OFF and self.store.policies[account].account.login not in resting
        )
        due = [account for account in speaking if known.get(account, now) <= now][:limit]
        for account in due:
            turn = {"next_action_at": now + self.store.policies[account].capabilities.monitor_interval}
            if account in known:
                transaction.connection.execute(
                    update(MONITOR_SCHEDULE).where(MONITOR_SCHEDULE.c.account == account).values(turn)
                )
            else:
                transaction.connection.execute(insert(MONITOR_SCHEDULE).values(account=account, **turn))
        return due

    async def record_rate_limit(self, account: AccountId, limit: RateLimited) -> None:
        """Keep to a limit that a read of an account met."""
        login, usual = self.store.policies[account].account.login, self.store.timing(account).first_check_after
        await self.store.database.write(
            lambda transaction: start_login_cooldown(self.store, transaction, login, limit, usual)
        )

    async def deliveries_to_measure(self, account: AccountId) -> Sequence[Delivery]:
        """Give the live posts of an account whose reach should be read now."""
        now = self.store.runtime.now()
        first_after = self.store.policies[account].capabilities.first_metrics_after
        last = select(func.max(REACH.c.at)).where(REACH.c.delivery == DELIVERY.c.id).scalar_subquery()
        query = select(DELIVERY, last.label("read_at")).where(*_published_on(account, now - MAX_METRICS_AGE))
        rows = await self.store.database.read(lambda connection: connection.execute(query).mappings().all())
        return [
            to_delivery(row) for row in rows if needs_metrics(row["published_at"], row["read_at"], now, first_after)
        ]

    async def record_metrics(self, metrics: Mapping[DeliveryId, Reach]) -> None:
        """Add one point to each series; a live post whose address was not told before gets it now."""
        now = self.store.runtime.now()
        rows = [
            {
                "delivery": delivery,
                "at": now,
                "reads": reach.reads,
                "reposts": reach.reposts,
                "comments": reach.comments,
                "likes": reach.likes,
            }
            for delivery, reach in metrics.items()
        ]
        addresses = {delivery: reach.url for delivery, reach in metrics.items() if reach.url}

        def operation(transaction: Transaction) -> None:
            transaction.connection.execute(insert(REACH), rows)
            for delivery, url in addresses.items():
                bare = (DELIVERY.c.id == delivery, DELIVERY.c.url == "", in_state(DELIVERY, State.PUBLISHED))
                transaction.connection.execute(update(DELIVERY).where(*bare).values(url=url))

        if rows:
            await self.store.database.write(operation)

    async def metrics_series(self, post: PostId | None = None) -> Sequence[MetricsPoint]:
        """Give all readings, or those of one post, oldest first."""
        query = select(DELIVERY, *(REACH.c[name].label(f"its_{name}") for name in _METRIC_COLUMNS)).join(
            REACH, REACH.c.delivery == DELIVERY.c.id
        )
        if post is not None:
            query = query.where(DELIVERY.c.post == post)
        query = query.order_by(DELIVERY.c.due_at, DELIVERY.c.id, REACH.c.at)
        rows = await self.store.database.read(lambda connection: connection.execute(query).mappings().all())
        return [_metrics_point(row) for row in rows]

    async def compare_list(self, account: AccountId, seen: Sequence[ObservedPost]) -> Sequence[PendingReadback]:
        """Store what a read of the account showed; give our own live posts that should be on it and are not.

        The first read makes history of whatever nobody here sent. Later, such a post is told of: in red where the
        account is ours alone. What may be a post of ours whose outcome is open is not judged yet.
        """
        return await self.store.database.write(lambda transaction: self._compare_list(transaction, account, seen))

    def _compare_list(
        self, transaction: Transaction, account: AccountId, seen: Sequence[ObservedPost]
    ) -> list[PendingReadback]:
        seen = list({item.remote_id: item for item in seen}.values())  # a list may show a post twice
        maybe_ours = _ownership_test(transaction, account)
        self._record_external_posts(transaction, account, [item for item in seen if not maybe_ours(item)])
        since = self._list_covers_since(seen)
        texts = {item.remote_id: item.text for item in seen}
        rows = transaction.connection.execute(select(DELIVERY).where(*_published_on(account, since))).mappings().all()
        self._mark_verified(transaction, [to_delivery(row) for row in rows if row["remote_id"] in texts], texts)
        unseen = [to_delivery(row) for row in rows if row["remote_id"] not in texts and row["published_at"] > since]
        missed = [item for item in unseen if not item.is_pruned]  # without its text there is nothing to look for
        asked = self._least_recently_checked(transaction, missed)
        requests = last_requests(self.store, transaction.connection, asked)
        return [PendingReadback(delivery=item, request=request) for item, request in zip(asked, requests, strict=True)]

    def _list_covers_since(self, seen: Sequence[ObservedPost]) -> datetime:
        """Say from when on a list should show all; its oldest entry may be a pinned one, and proves nothing."""
        if len(seen) < MIN_LIST_LENGTH:
            return self.store.runtime.now() - MAX_METRICS_AGE
        return sorted(item.published_at for item in seen)[1]

    def _least_recently_checked(self, transaction: Transaction, missed: Sequence[Delivery]) -> Sequence[Delivery]:
        """Choose a few of them, those first that were asked about longest ago: each question costs a call."""
        last = select(READBACK.c.delivery, func.max(READBACK.c.at).label("at")).group_by(READBACK.c.delivery)
        asked = transaction.connection.execute(last.where(READBACK.c.delivery.in_([item.id for item in missed])))
        asked_at = {row.delivery: row.at for row in asked}
        return sorted(missed, key=lambda item: asked_at.get(item.id, UNIX_EPOCH))[:MAX_CHECKED]

    def _mark_verified(self, transaction: Transaction, published: Sequence[Delivery], texts: Mapping[str, str]) -> None:
        """Note the posts of ours that were read there with their own number in the text."""
        ours = [
            delivery.id
            for delivery in published
            if delivery.receipt
            and derive_marker(delivery.key, delivery.account).is_in(texts[delivery.receipt.remote_id])
        ]
        seen = {"verified_at": self.store.runtime.now()}
        transaction.connection.execute(update(DELIVERY).where(DELIVERY.c.id.in_(ours)).values(seen))

    def _record_external_posts(
        self, transaction: Transaction, account: AccountId, seen: Sequence[ObservedPost]
    ) -> None:
        now = self.store.runtime.now()
        began_at = transaction.connection.execute(
            select(MONITOR_SCHEDULE.c.monitored_since).where(MONITOR_SCHEDULE.c.account == account)
        ).scalar()
        strangers = [item for item in seen if item.remote_id not in _known_ids(transaction, account)]
        since = began_at or now  # what is older came into sight because something newer went, or because it was pinned
        rows = [
            {
                "account": account,
                "remote_id": item.remote_id,
                "url": item.url,
                "published_at": item.published_at,
                "seen_at": now,
                "predates_monitoring": item.published_at < since,
            }
            for item in strangers
        ]
        if rows:
            transaction.connection.execute(insert(OBSERVED_POST), rows)
        if began_at is None:
            transaction.connection.execute(
                update(MONITOR_SCHEDULE).where(MONITOR_SCHEDULE.c.account == account).values(monitored_since=now)
            )
        elif new := [item for item in strangers if item.published_at >= since]:
            self._alert_external_posts(transaction, account, new, now)

    def _alert_external_posts(
        self, transaction: Transaction, account: AccountId, external: Sequence[ObservedPost], now: datetime
    ) -> None:
        """Write one alert for all of them; on an account that people post on too, the last such notice is enough."""
        subject = f"account:{account}"
        facts = {"account": account, "number": str(len(external)), "url": external[0].url}
        if self.store.policies[account].account.is_exclusive:
            raise_alert(transaction, now, "unauthorized_post", subject, facts)
            return
        clear_alerts(transaction, f"{subject}/by-hand", now)
        raise_alert(transaction, now, "external_post", f"{subject}/by-hand", facts)

    async def record_missing(self, pending: PendingReadback, finding: ReadbackResult, checked_at: datetime) -> Delivery:
        """Store one more read for a live post that was not on the list; it counts as removed once several say so."""

        def operation(transaction: Transaction) -> Delivery:
            delivery = to_delivery(get_row(transaction, pending.delivery.id))
            write_readback(transaction, delivery.id, delivery.attempts, checked_at, finding)
            if isinstance(finding, RateLimited):
                usual = self.store.timing(delivery.account).first_check_after
                start_login_cooldown(self.store, transaction, delivery.login, finding, usual)
            if delivery.state is not State.PUBLISHED or delivery.version != pending.delivery.version:
                return delivery
            if self._is_removal_confirmed(transaction, delivery):
                return self.store.transition(transaction, delivery, Deleted(), MONITOR)
            return delivery

        return await self.store.database.write(operation)

    def _is_removal_confirmed(self, transaction: Transaction, delivery: Delivery) -> bool:
        """Return True if the newest reads, taken far enough apart, all called it gone or should have shown it.

        Reads before a list showed it last, or had to show it, count for nothing.
        """
        attempts = transaction.connection.execute(
            select(ATTEMPT).where(ATTEMPT.c.delivery == delivery.id, ATTEMPT.c.number == delivery.attempts)
        )
        attempt = to_attempt(attempts.mappings().one())
        rows = transaction.connection.execute(
            select(READBACK).where(READBACK.c.delivery == delivery.id).order_by(READBACK.c.id)
        )
        lag = self.store.policies[delivery.account].capabilities.listing_lag
        live_at = delivery.receipt.published_at if delivery.receipt else attempt.intended_at
        since = max(live_at + lag, delivery.verified_at or live_at)

        def shows_removal(readback: Readback) -> bool:
            is_whole = isinstance(readback.result, NotFound) and readback.result.covered_since <= attempt.baseline_at
            return readback.at > since and (is_whole or isinstance(readback.result, Deleted))

        return is_confirmed([to_readback(row) for row in rows.mappings()], shows_removal, lag)


_METRIC_COLUMNS = ("at", "reads", "reposts", "comments", "likes")


def _ownership_test(transaction: Transaction, account: AccountId) -> Callable[[ObservedPost], bool]:
    """Make the question whether a sighting may be what an open delivery of ours left there."""
    rows = transaction.connection.execute(
        select(DELIVERY, ATTEMPT.c.baseline_at)
        .join(ATTEMPT, and_(ATTEMPT.c.delivery == DELIVERY.c.id, ATTEMPT.c.number == DELIVERY.c.attempts))
        .where(DELIVERY.c.account == account, DELIVERY.c.remote_id.is_(None))
        .where(in_state(DELIVERY, State.SENDING, State.UNKNOWN, State.SUBMITTED, State.RETRACTING, State.HELD))
    ).mappings()
    found = [(to_delivery(row), row["baseline_at"]) for row in rows]
    codes = [derive_marker(delivery.key, account).code for delivery, _since in found]
    since = min((since for delivery, since in found if delivery.state is not State.HELD), default=None)

    def may_be_ours(item: ObservedPost) -> bool:
        return any(code in item.text for code in codes) or (since is not None and item.published_at >= since)

    return may_be_ours


def _published_on(account: AccountId, since: datetime) -> tuple[ColumnElement[bool], ...]:
    return (DELIVERY.c.account == account, DELIVERY.c.published_at >= since, in_state(DELIVERY, State.PUBLISHED))


def _known_ids(transaction: Transaction, account: AccountId) -> frozenset[str]:
    ours = select(DELIVERY.c.remote_id).where(DELIVERY.c.account == account, DELIVERY.c.remote_id.is_not(None))
    theirs = select(OBSERVED_POST.c.remote_id).where(OBSERVED_POST.c.account == account)
    return frozenset(transaction.connection.scalars(ours.union(theirs)))


def _metrics_point(row: RowMapping) -> MetricsPoint:
    point = {name: row[f"its_{name}"] for name in _METRIC_COLUMNS}
    return MetricsPoint(delivery=to_delivery(row), at=point.pop("at"), reach=Reach(**point))
