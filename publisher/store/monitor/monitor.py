"""Monitoring of published posts: the due account, its list, and the development of its metrics."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    exists,
    func,
    insert,
    select,
    update,
)

from publisher.domain.account import (
    DAY,
    MAX_METRICS_AGE,
    AccountId,
    Mode,
    needs_metrics,
)
from publisher.domain.delivery import Actor, Delivery, Readback, Role, State
from publisher.domain.post import DeliveryId, Marker
from publisher.domain.reports import METRIC_NAMES
from publisher.domain.results import (
    Deleted,
    NotFound,
    ObservedPost,
    RateLimited,
    Reach,
    ReadbackResult,
)
from publisher.domain.verification import is_confirmed
from publisher.store.base import BaseStore, StorePart
from publisher.store.db.database import Transaction, in_transaction, try_lock
from publisher.store.db.filters import in_open_state, in_state
from publisher.store.db.monitor_tables import MONITOR_SCHEDULE, OBSERVED_POST, REACH
from publisher.store.db.rows import (
    EXTERNAL_POST,
    clear_alerts,
    get_delivery,
    last_attempt_row,
    raise_alert,
    readbacks_of,
    write_readback,
    write_row,
)
from publisher.store.db.tables import (
    ATTEMPT,
    DELIVERY,
    READBACK,
    UNIX_EPOCH,
    to_attempt,
    to_delivery,
)
from publisher.store.deliveries.cooldowns import (
    logins_in_cooldown,
    start_login_cooldown,
)
from publisher.store.deliveries.intents import (
    PendingReadback,
    find_spellings,
    pending_readbacks,
)
from publisher.store.modes import active_modes
from publisher.store.system_alerts import JobRunner

MONITOR = Actor(role=Role.RECONCILER, name="monitor")
MAX_EXTERNAL_POSTS_A_DAY = 300
"""External posts of an account that are kept. A list may name any number."""
MIN_LIST_LENGTH = 5
"""The minimum number of newest posts on every platform's list. A shorter list is complete."""
ACCOUNT_IDENTITY_CHANGED = "account_identity_changed"
"""The code of the alert that an account's identity changed while old posts are published.

The posts are published under the former identity.
"""
MAX_CHECKED = 3
"""How many missing posts of an account are checked in one run."""


class Monitoring(StorePart):
    """The stored state of monitoring. Every method is one transaction."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self.jobs = JobRunner(store)

    @in_transaction
    def claim_due_accounts(
        self, transaction: Transaction, limit: int
    ) -> Sequence[AccountId]:
        """Claim the accounts that are due.

        Each is due again after its platform's monitoring interval.
        """
        if not try_lock(transaction, "monitor"):
            return []
        now, connection = self.runtime.now(), transaction.connection
        due_at = {
            row.account: row.next_action_at
            for row in connection.execute(select(MONITOR_SCHEDULE))
        }
        modes = active_modes(self.store, connection)
        skipped = logins_in_cooldown(connection, now)
        monitored = [account for account, mode in modes.items() if mode is not Mode.OFF]
        self.jobs.clear_other_alerts(transaction, "monitor_account", monitored)
        due = [
            account
            for account in monitored
            if self.store.policies[account].account.login not in skipped
            and due_at.get(account, now) <= now
        ][:limit]
        for account in due:
            next_action_at = (
                now + self.store.policies[account].capabilities.monitor_interval
            )
            write_row(
                connection,
                MONITOR_SCHEDULE,
                {"account": account},
                {"next_action_at": next_action_at},
            )
        return due

    @in_transaction
    def record_rate_limit(
        self, transaction: Transaction, account: AccountId, limit: RateLimited
    ) -> None:
        """Start the cooldown of an account's login after a read was rate-limited."""
        login = self.store.policies[account].account.login
        usual = self.store.timing(account).first_check_after
        start_login_cooldown(self.store, transaction, login, limit, usual)

    async def deliveries_to_measure(self, account: AccountId) -> Sequence[Delivery]:
        """Return the published posts of an account with metrics that should be read now."""
        now = self.runtime.now()
        first_after = self.store.policies[account].capabilities.first_metrics_after
        last = (
            select(func.max(REACH.c.at))
            .where(REACH.c.delivery == DELIVERY.c.id)
            .scalar_subquery()
        )
        is_published = _published_on(account, now - MAX_METRICS_AGE)
        query = select(DELIVERY, last.label("read_at")).where(*is_published)

        def read(connection: Connection) -> Sequence[RowMapping]:
            return (
                connection.execute(
                    query.where(self._is_sent_as_now(connection, account))
                )
                .mappings()
                .all()
            )

        rows = await self.database.read(read)
        return [
            to_delivery(row)
            for row in rows
            if needs_metrics(row["published_at"], row["read_at"], now, first_after)
        ]

    @in_transaction
    def record_metrics(
        self, transaction: Transaction, metrics: Mapping[DeliveryId, Reach]
    ) -> None:
        """Add one point to each series.

        A published post without a URL gets the one that came with its metrics.
        """
        now = self.runtime.now()
        rows = [
            {
                "delivery": delivery,
                "at": now,
                **{name: getattr(reach, name) for name in METRIC_NAMES},
            }
            for delivery, reach in metrics.items()
        ]
        transaction.connection.execute(insert(REACH), rows)
        for delivery, reach in metrics.items():
            if reach.url:
                bare = (
                    DELIVERY.c.id == delivery,
                    DELIVERY.c.url == "",
                    in_state(DELIVERY, State.PUBLISHED),
                )
                transaction.connection.execute(
                    update(DELIVERY).where(*bare).values(url=reach.url)
                )

    @in_transaction
    def compare_list(
        self,
        transaction: Transaction,
        account: AccountId,
        observed: Sequence[ObservedPost],
    ) -> Sequence[PendingReadback]:
        """Store an account's list, and return a few of our published posts missing on it.

        The first list turns everything that publisher did not send into history. Each later
        external post raises an alert. The alert is red if the account is exclusive. A post that may
        belong to an unresolved delivery of ours is not judged yet.
        """
        now, connection = self.runtime.now(), transaction.connection
        posts = {
            item.remote_id: item for item in observed
        }  # a list may show a post twice
        self._record_identity(transaction, account)
        may_be_ours = _ownership_test(transaction, account)
        external = [item for item in posts.values() if not may_be_ours(item)]
        self._record_external_posts(transaction, account, external)
        since = now - MAX_METRICS_AGE
        # the oldest entry may be a pinned one, and proves nothing
        if len(posts) >= MIN_LIST_LENGTH:
            since = sorted(item.published_at for item in posts.values())[1]
        listed = select(DELIVERY).where(
            *_published_on(account, since), self._is_sent_as_now(connection, account)
        )
        rows = connection.execute(listed).mappings().all()
        verified, missing = [], []
        for row in rows:
            delivery, post = to_delivery(row), posts.get(row["remote_id"])
            if post is None:
                # without its text it cannot be checked
                if row["published_at"] > since and not delivery.is_pruned:
                    missing.append(delivery)
            elif delivery.receipt and Marker(code=delivery.marker).is_in(post.text):
                verified.append(delivery.id)
        connection.execute(
            update(DELIVERY).where(DELIVERY.c.id.in_(verified)).values(verified_at=now)
        )
        checks = select(
            READBACK.c.delivery, func.max(READBACK.c.at).label("at")
        ).group_by(READBACK.c.delivery)
        last_checks = connection.execute(
            checks.where(READBACK.c.delivery.in_([item.id for item in missing]))
        )
        checked_at = {row.delivery: row.at for row in last_checks}
        # each check costs a call, so only a few are made, the least recently checked first
        pending = sorted(
            missing, key=lambda delivery: checked_at.get(delivery.id, UNIX_EPOCH)
        )[:MAX_CHECKED]
        return pending_readbacks(self.store, connection, pending)

    def _is_sent_as_now(
        self, connection: Connection, account: AccountId
    ) -> ColumnElement[bool]:
        """True if a delivery's newest attempt was made as the identity that the account has now.

        A post published as another identity is not on the list now. This is no removal.
        """
        is_newest = (
            ATTEMPT.c.delivery == DELIVERY.c.id,
            ATTEMPT.c.number == DELIVERY.c.attempts,
        )
        spellings = find_spellings(self.store, connection, account)
        return ~exists().where(
            *is_newest, ATTEMPT.c.identity.not_in([*sorted(spellings), ""])
        )

    def _record_identity(self, transaction: Transaction, account: AccountId) -> None:
        """Begin the monitoring of an account again, with an alert, when its identity has changed.

        The alert counts the posts published as another identity. They cannot be watched any more.
        """
        now = self.runtime.now()
        connection = transaction.connection
        identity = self.store.policies[account].identity
        is_account = MONITOR_SCHEDULE.c.account == account
        former = connection.scalar(
            select(MONITOR_SCHEDULE.c.identity).where(is_account)
        )
        if former == identity:
            return
        connection.execute(
            update(MONITOR_SCHEDULE).where(is_account).values(identity=identity)
        )
        if not former or former in find_spellings(self.store, connection, account):
            return
        connection.execute(
            update(MONITOR_SCHEDULE).where(is_account).values(monitored_since=None)
        )
        subject = f"account:{account}"
        clear_alerts(transaction, subject, now, ACCOUNT_IDENTITY_CHANGED)
        conditions = (
            *_published_on(account, now - MAX_METRICS_AGE),
            ~self._is_sent_as_now(connection, account),
        )
        number = connection.scalar(
            select(func.count()).select_from(DELIVERY).where(*conditions)
        )
        if number:
            facts = {
                "account": account,
                "sent_as": former,
                "identity": identity,
                "number": str(number),
            }
            raise_alert(transaction, now, ACCOUNT_IDENTITY_CHANGED, subject, facts)

    def _record_external_posts(
        self,
        transaction: Transaction,
        account: AccountId,
        posts: Sequence[ObservedPost],
    ) -> None:
        """Store external posts not seen before.

        Posts published since monitoring began raise one alert together.
        """
        now, connection = self.runtime.now(), transaction.connection
        is_account = MONITOR_SCHEDULE.c.account == account
        monitored_since = connection.scalar(
            select(MONITOR_SCHEDULE.c.monitored_since).where(is_account)
        )
        ours = select(DELIVERY.c.remote_id).where(
            DELIVERY.c.account == account, DELIVERY.c.remote_id.is_not(None)
        )
        seen = select(OBSERVED_POST.c.remote_id).where(
            OBSERVED_POST.c.account == account
        )
        known = set(connection.scalars(ours.union(seen)))
        today = select(func.count()).where(
            OBSERVED_POST.c.account == account, OBSERVED_POST.c.seen_at > now - DAY
        )
        room = max(0, MAX_EXTERNAL_POSTS_A_DAY - connection.execute(today).scalar_one())
        external = [item for item in posts if item.remote_id not in known]
        # an older post was beyond the list before, or has been pinned
        since = monitored_since or now
        rows = [
            {
                "account": account,
                "remote_id": item.remote_id,
                "url": item.url,
                "published_at": item.published_at,
                "seen_at": now,
                "predates_monitoring": item.published_at < since,
            }
            for item in external[:room]
        ]
        if rows:
            connection.execute(insert(OBSERVED_POST), rows)
        if monitored_since is None:
            connection.execute(
                update(MONITOR_SCHEDULE).where(is_account).values(monitored_since=now)
            )
            return
        new = [item for item in external if item.published_at >= since]
        if not new:
            return
        subject = f"account:{account}"
        facts = {"account": account, "number": str(len(new)), "url": new[0].url}
        if self.store.policies[account].account.is_exclusive:
            raise_alert(transaction, now, "unauthorized_post", subject, facts)
        else:  # people post here too, so the latest such notice is enough
            clear_alerts(transaction, f"{subject}/by-hand", now)
            raise_alert(transaction, now, EXTERNAL_POST, f"{subject}/by-hand", facts)

    @in_transaction
    def record_missing(
        self,
        transaction: Transaction,
        pending: PendingReadback,
        finding: ReadbackResult,
        checked_at: datetime,
    ) -> Delivery:
        """Store a readback of a post missing from the list, and mark a confirmed removal.

        The post is published. The newest readbacks, far enough apart, must all report a deletion or
        should have shown the post. They count only after a list last showed the post, and after a
        list had to show it.
        """
        delivery = get_delivery(transaction, pending.delivery.id)
        write_readback(transaction, delivery.id, delivery.attempts, checked_at, finding)
        if isinstance(finding, RateLimited):
            usual = self.store.timing(delivery.account).first_check_after
            start_login_cooldown(
                self.store, transaction, delivery.login, finding, usual
            )
        if (
            delivery.state is not State.PUBLISHED
            or delivery.version != pending.delivery.version
        ):
            return delivery
        attempt = to_attempt(last_attempt_row(transaction, delivery))
        lag = self.store.policies[delivery.account].capabilities.listing_lag
        published_at = (
            delivery.receipt.published_at if delivery.receipt else attempt.intended_at
        )
        since = max(published_at + lag, delivery.verified_at or published_at)

        def shows_removal(readback: Readback) -> bool:
            result = readback.result
            is_absent = (
                isinstance(result, NotFound)
                and result.covered_since <= attempt.baseline_at
            )
            return readback.at > since and (is_absent or isinstance(result, Deleted))

        if is_confirmed(readbacks_of(transaction, delivery), shows_removal, lag):
            return self.store.transition(transaction, delivery, Deleted(), MONITOR)
        return delivery


def _ownership_test(
    transaction: Transaction, account: AccountId
) -> Callable[[ObservedPost], bool]:
    """Return a test of whether an observed post may come from an unresolved delivery of ours."""
    rows = transaction.connection.execute(
        select(DELIVERY, ATTEMPT.c.baseline_at)
        .join(
            ATTEMPT,
            and_(
                ATTEMPT.c.delivery == DELIVERY.c.id,
                ATTEMPT.c.number == DELIVERY.c.attempts,
            ),
        )
        .where(DELIVERY.c.account == account, DELIVERY.c.remote_id.is_(None))
        .where(
            in_open_state(
                DELIVERY,
                State.SENDING,
                State.UNKNOWN,
                State.SUBMITTED,
                State.RETRACTING,
                State.HELD,
            )
        )
    ).mappings()
    unresolved = [(to_delivery(row), row["baseline_at"]) for row in rows]
    codes = [delivery.marker for delivery, _ in unresolved]
    since = min(
        (
            baseline
            for delivery, baseline in unresolved
            if delivery.state is not State.HELD
        ),
        default=None,
    )

    def may_be_ours(item: ObservedPost) -> bool:
        return any(code in item.text for code in codes) or (
            since is not None and item.published_at >= since
        )

    return may_be_ours


def _published_on(
    account: AccountId, since: datetime
) -> tuple[ColumnElement[bool], ...]:
    return (
        DELIVERY.c.account == account,
        DELIVERY.c.published_at >= since,
        in_state(DELIVERY, State.PUBLISHED),
    )
