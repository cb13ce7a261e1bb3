"""The needs of the next day's posts: working logins, answering hosts, quota, readable pictures.

Missing approvals have reminders of their own (`ApprovalReminders`). So does a login
that is refused, blocked or about to expire (`LoginHealthStore.record_probe`). Each cause has one
alert, even if it concerns many posts and accounts.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    exists,
    func,
    select,
    update,
)

from publisher.domain.account import DAY, AccountId, LoginId, Mode, Platform
from publisher.domain.delivery import OPEN_STATES, State
from publisher.domain.post import DeliveryId, Fingerprint, OccurrenceKey, PostId
from publisher.domain.preflight import (
    LAST_LEAD,
    PREFLIGHT_LEAD,
    ExpectedCall,
    LoginProof,
    find_late_calls,
    is_check_due,
    needs_check,
)
from publisher.domain.results import RESULT_CODES, Healthy, Published, Unknown
from publisher.store.approvals.guard import alert_facts
from publisher.store.base import HEARTBEAT_TIMEOUT, BaseStore, StorePart
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import Transaction, in_transaction, try_lock
from publisher.store.db.filters import counts_against_quota, in_open_state, in_state
from publisher.store.db.monitor_tables import LOGIN_HEALTH
from publisher.store.db.rows import (
    AlertContent,
    batches,
    find_alert_changes,
)
from publisher.store.db.tables import (
    ATTEMPT,
    AUDIT,
    DELIVERY,
    MEDIA,
    RENDERED_POST,
    WORKER,
    load_rendered_post,
)
from publisher.store.modes import active_modes

PLATFORM_UNREACHABLE = "platform_unreachable"
QUOTA_SHORT = "quota_short"
PICTURE_UNREADABLE = "picture_unreadable"
ACCOUNT_LEFT = "account_left_settings"
PREFLIGHT_LOCK = "preflight"
MAX_CHECK_AGE = timedelta(hours=1)
"""The maximum age of a check of a login. An older result says nothing of today.

A login that could not be checked is checked again sooner than that.
"""
MAX_PICTURES_READ = 20
"""How many pictures one run reads whole: it must not keep the reads of calls waiting."""
MAX_TEXTS_READ = MAX_LOGINS_READ = 200
MAX_LOOK_AGE = timedelta(minutes=5)
"""The age up to which the findings of a run are trusted, if their basis has not changed."""
_PICTURE_SUBJECT = "picture:"
_PICTURE_ALERTS = select(ALERT.c.subject).where(
    ALERT.c.code == PICTURE_UNREADABLE, ALERT.c.cleared_at.is_(None)
)
_CODES = (PLATFORM_UNREACHABLE, QUOTA_SHORT, PICTURE_UNREADABLE, ACCOUNT_LEFT)


class Upcoming(NamedTuple):
    """The facts of a delivery that the checks need.

    Thousands may be due within a day. More facts would take much longer to read.
    """

    id: DeliveryId
    post: PostId
    occurrence: str
    account: AccountId
    platform: Platform
    login: LoginId
    due_at: datetime
    expires_at: datetime
    max_delay: timedelta
    is_urgent: bool
    rendered_hash: Fingerprint


class Basis(NamedTuple):
    """The basis of a run apart from the time.

    Every change of a delivery, a mode or a call has an audit entry.
    """

    audit_entry: int | None
    checked_at: datetime | None
    alerts: int


_SINCE, _UNTIL = (
    bindparam(name, type_=DELIVERY.c.due_at.type) for name in ("since", "until")
)
_IS_UPCOMING = (  # is_pruned leads the index by due time
    ~DELIVERY.c.is_pruned,
    DELIVERY.c.due_at > _SINCE,
    DELIVERY.c.due_at <= _UNTIL,
    in_state(DELIVERY, State.PENDING),
)
_UPCOMING = select(*(DELIVERY.c[name] for name in Upcoming._fields)).where(
    *_IS_UPCOMING
)
_UPCOMING = _UPCOMING.order_by(DELIVERY.c.due_at, DELIVERY.c.id)
_BASIS = select(
    select(func.max(AUDIT.c.id)).scalar_subquery(),
    select(func.max(LOGIN_HEALTH.c.at)).scalar_subquery(),
    select(func.count())
    .select_from(ALERT)
    .where(ALERT.c.code.in_(_CODES), ALERT.c.cleared_at.is_(None))
    .scalar_subquery(),
    exists().where(*_IS_UPCOMING),
)
_OPEN_BY_ACCOUNT = (
    select(DELIVERY.c.account, func.count().label("number"))
    .where(in_open_state(DELIVERY, *sorted(OPEN_STATES)))
    .group_by(DELIVERY.c.account)
)
_BACKLOG = (
    select(DELIVERY.c.login, func.count().label("number"))
    .where(in_open_state(DELIVERY, State.DUE, State.CLAIMED, State.RETRYING))
    .group_by(DELIVERY.c.login)
)


class Preflight(StorePart):
    """The checks before posts. Every host may run them, and each finds the notes of the others.

    Only the process knows the pictures that it read in order. After a restart they are read again.
    """

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self._read_at: dict[str, datetime] = {}
        """When each picture was found in order."""
        self._pictures_of: dict[Fingerprint, Sequence[str]] = {}
        """The hashes of the pictures of each text."""
        self._looked: tuple[Basis, datetime] | None = None
        """The basis of the last complete run, and its time."""

    async def run(self) -> int:
        """Order due checks of logins, and keep one alert for each cause. Return the number changed.

        Nothing happens while the clock is not confirmed, nor while the last run still holds true.
        """
        now = self.runtime.now_if_confirmed()
        if now is None:
            return 0
        basis, has_neared = await self.database.read(self._read_basis, now)
        if not has_neared and not basis.alerts and self._looked is not None:
            looked, at = self._looked
            if looked == basis and at <= now < at + MAX_LOOK_AGE:
                return 0
        changed, is_complete = await self._look(now)
        if is_complete:
            self._looked = (basis, now)
        return changed

    def _read_basis(self, connection: Connection, now: datetime) -> tuple[Basis, bool]:
        """Return the basis of a run, and True if a post has come near enough for a check.

        The post has come so near since the last run that it is checked again.
        """
        since = self._looked[1] if self._looked else now
        row = connection.execute(
            _BASIS, {"since": since + LAST_LEAD, "until": now + LAST_LEAD}
        ).one()
        return Basis(*row[:3]), row[3]

    async def _look(self, now: datetime) -> tuple[int, bool]:
        """Return how many alerts have changed, and True if no picture is left to the next run."""
        upcoming = await self.database.read(self.list_upcoming, now)
        if await self.database.read(self.logins_to_check, upcoming, now):
            await self.order_checks(upcoming, now)
        unreadable, is_complete = await self.find_unreadable(upcoming, now)

        def find_changes(connection: Connection) -> Mapping[str, AlertContent | None]:
            wanted = {
                **self.unreachable_platforms(connection, upcoming, now),
                **self.short_quotas(connection, upcoming, now),
                **self.left_accounts(connection, now),
                **unreadable,
            }
            return find_alert_changes(connection, _CODES, wanted)

        return await self.update_alerts(find_changes, PREFLIGHT_LOCK), is_complete

    def list_upcoming(
        self, connection: Connection, now: datetime
    ) -> Sequence[Upcoming]:
        """Return the deliveries due within PREFLIGHT_LEAD on active accounts, by due time.

        An active account is one that is not off.
        """
        modes = active_modes(self.store, connection)
        found = connection.execute(
            _UPCOMING, {"since": now, "until": now + PREFLIGHT_LEAD}
        )
        return [
            Upcoming(*row)
            for row in found
            if modes.get(row.account, Mode.OFF) is not Mode.OFF
        ]

    def _by_login(
        self, connection: Connection, upcoming: Sequence[Upcoming]
    ) -> Mapping[LoginId, Sequence[Upcoming]]:
        """Return the deliveries that publisher itself will send, by the login that they need."""
        modes = active_modes(self.store, connection)
        by_login: dict[LoginId, list[Upcoming]] = defaultdict(list)
        for delivery in upcoming:
            if modes[delivery.account] is Mode.API:
                by_login[delivery.login].append(delivery)
        return by_login

    def logins_to_check(
        self, connection: Connection, upcoming: Sequence[Upcoming], now: datetime
    ) -> list[LoginId]:
        by_login = self._by_login(connection, upcoming)
        is_published = ATTEMPT.c.outcome == RESULT_CODES[Published]
        published = _attempts_since(connection, list(by_login), now - DAY, is_published)
        probes = {row.login: row for row in connection.execute(select(LOGIN_HEALTH))}
        logins = []
        for login, deliveries in by_login.items():
            probe = probes.get(login)
            proof = LoginProof(
                checked_at=probe.at if probe else None,
                is_working=probe is not None and probe.kind == RESULT_CODES[Healthy],
                published_at=next(iter(published[login]), None),
            )
            is_ordered = probe is None or probe.next_action_at <= now
            if not is_ordered and needs_check(
                [item.due_at for item in deliveries], proof, now
            ):
                logins.append(login)
        return logins

    @in_transaction
    def order_checks(
        self, transaction: Transaction, upcoming: Sequence[Upcoming], now: datetime
    ) -> None:
        if try_lock(transaction, PREFLIGHT_LOCK):
            for batch in batches(
                self.logins_to_check(transaction.connection, upcoming, now),
                MAX_LOGINS_READ,
            ):
                is_login = LOGIN_HEALTH.c.login.in_(batch)
                transaction.connection.execute(
                    update(LOGIN_HEALTH).where(is_login).values(next_action_at=now)
                )

    def unreachable_platforms(
        self, connection: Connection, upcoming: Sequence[Upcoming], now: datetime
    ) -> Mapping[str, AlertContent]:
        """Return an alert for each platform with unchecked logins, with the commonest reason.

        Its logins could not be checked.
        """
        is_unknown = (
            LOGIN_HEALTH.c.kind == RESULT_CODES[Unknown],
            LOGIN_HEALTH.c.at >= now - MAX_CHECK_AGE,
        )
        reasons = {
            row.login: row.reason
            for row in connection.execute(select(LOGIN_HEALTH).where(*is_unknown))
        }
        unchecked: dict[str, list[Upcoming]] = defaultdict(list)
        for login, deliveries in self._by_login(connection, upcoming).items():
            if login in reasons:
                unchecked[deliveries[0].platform].append(deliveries[0])
        wanted: dict[str, AlertContent] = {}
        for platform, firsts in unchecked.items():
            [(reason, _number)] = Counter(
                reasons[delivery.login] for delivery in firsts
            ).most_common(1)
            facts = {
                "platform": platform,
                "number": str(len(firsts)),
                "reason": reason or "",
            }
            first = min(firsts, key=lambda delivery: delivery.due_at)
            wanted[f"unreachable:{platform}"] = (
                PLATFORM_UNREACHABLE,
                {**_first_facts(first), **facts},
            )
        return wanted

    def short_quotas(
        self, connection: Connection, upcoming: Sequence[Upcoming], now: datetime
    ) -> Mapping[str, AlertContent]:
        """Return an alert for each login with limits too tight for all due deliveries in time.

        Waiting calls come before the due ones, with any outcome.
        """
        backlog = {row.login: row.number for row in connection.execute(_BACKLOG)}
        by_login = self._by_login(connection, upcoming)
        sent = _attempts_since(
            connection, list(by_login), now - DAY, counts_against_quota()
        )
        wanted: dict[str, AlertContent] = {}
        for login, deliveries in by_login.items():
            calls = [
                ExpectedCall(
                    delivery=item.id,
                    due_at=item.due_at,
                    latest_at=min(item.due_at + item.max_delay, item.expires_at),
                    is_urgent=item.is_urgent,
                )
                for item in deliveries
            ]
            rate_limit, made = (
                self.store.policies[deliveries[0].account].rate_limit,
                [*sent[login]],
            )
            for _waiting in range(min(backlog.get(login, 0), rate_limit.per_day)):
                made.insert(0, rate_limit.next_allowed_at(made, now, is_urgent=False))
            if late := find_late_calls(calls, made, rate_limit):
                first = next(item for item in deliveries if item.id == late[0].delivery)
                wanted[f"quota:{login}"] = (
                    QUOTA_SHORT,
                    {**_first_facts(first), "number": str(len(late))},
                )
        return wanted

    def left_accounts(
        self, connection: Connection, now: datetime
    ) -> Mapping[str, AlertContent]:
        """Return an alert for each account with open deliveries that no running daemon knows.

        The settings of no running daemon have the account.
        """
        is_alive = (
            WORKER.c.stopped_at.is_(None),
            WORKER.c.heartbeat_at > now - HEARTBEAT_TIMEOUT,
        )
        elsewhere = connection.scalars(
            select(WORKER.c.accounts).where(*is_alive, WORKER.c.accounts.is_not(None))
        )
        known = set(self.store.policies).union(*map(json.loads, elsewhere))
        return {
            f"left:{row.account}": (
                ACCOUNT_LEFT,
                {"account": row.account, "number": str(row.number)},
            )
            for row in connection.execute(_OPEN_BY_ACCOUNT)
            if row.account not in known
        }

    async def find_unreadable(
        self, upcoming: Sequence[Upcoming], now: datetime
    ) -> tuple[Mapping[str, AlertContent], bool]:
        """Return an alert for each missing picture of a due delivery, or one with other bytes.

        Its bytes do not have its hash. A picture is read at each of the times before a post, and
        while an alert about it is open. Pictures with an alert come last, so that many of them keep
        no other waiting. Return with it True if all were read.
        """
        await self._note_pictures(upcoming)
        first_use: dict[str, Upcoming] = {}
        for delivery in upcoming:
            for picture in self._pictures_of[delivery.rendered_hash]:
                first_use.setdefault(picture, delivery)
        alerted = {
            subject.removeprefix(_PICTURE_SUBJECT)
            for subject in await self.database.read_scalars(_PICTURE_ALERTS)
        }
        self._read_at = {
            key: at for key, at in self._read_at.items() if key in first_use
        }
        unread = [
            picture
            for picture, delivery in first_use.items()
            if picture in alerted
            or is_check_due(delivery.due_at, self._read_at.get(picture), now)
        ]
        unread.sort(key=alerted.__contains__)
        unreadable = alerted & set(first_use)  # until it is read
        for picture in unread[:MAX_PICTURES_READ]:
            if await self.database.read(is_readable, picture):
                self._read_at[picture] = now
                unreadable.discard(picture)
            else:
                unreadable.add(picture)
        wanted = {
            f"{_PICTURE_SUBJECT}{one}": (
                PICTURE_UNREADABLE,
                _first_facts(first_use[one]),
            )
            for one in unreadable
        }
        return wanted, len(unread) <= MAX_PICTURES_READ

    async def _note_pictures(self, upcoming: Sequence[Upcoming]) -> None:
        """Find the pictures of each text."""
        hashes = {delivery.rendered_hash for delivery in upcoming}
        self._pictures_of = {
            key: names for key, names in self._pictures_of.items() if key in hashes
        }
        for batch in batches(sorted(hashes - self._pictures_of.keys()), MAX_TEXTS_READ):
            self._pictures_of |= await self.database.read(
                partial(read_pictures, texts=batch)
            )


def _attempts_since(
    connection: Connection,
    logins: Sequence[LoginId],
    since: datetime,
    condition: ColumnElement[bool],
) -> Mapping[LoginId, Sequence[datetime]]:
    """Return when each of these logins made the calls that match a condition, newest first."""
    made: dict[LoginId, list[datetime]] = defaultdict(list)
    for batch in batches(logins, MAX_LOGINS_READ):
        matches = (ATTEMPT.c.login.in_(batch), ATTEMPT.c.intended_at > since, condition)
        query = select(ATTEMPT.c.login, ATTEMPT.c.intended_at).where(*matches)
        for row in connection.execute(query.order_by(ATTEMPT.c.intended_at.desc())):
            made[row.login].append(row.intended_at)
    return made


def _first_facts(first: Upcoming) -> Mapping[str, str]:
    """Return the facts of the first delivery that a cause concerns."""
    return {
        **alert_facts(OccurrenceKey(post=first.post, occurrence=first.occurrence)),
        "account": first.account,
        "due": first.due_at.isoformat(),
    }


def read_pictures(
    connection: Connection, texts: Sequence[Fingerprint]
) -> Mapping[Fingerprint, Sequence[str]]:
    """Return the hashes of each text's pictures."""
    query = select(RENDERED_POST.c.fingerprint, RENDERED_POST.c.body).where(
        RENDERED_POST.c.fingerprint.in_(texts)
    )
    found = {
        row.fingerprint: load_rendered_post(row.body).images
        for row in connection.execute(query)
    }
    return {text: [image.sha256 for image in found.get(text, ())] for text in texts}


def is_readable(connection: Connection, picture: str) -> bool:
    data: bytes | None = connection.scalar(
        select(MEDIA.c.data).where(MEDIA.c.sha256 == picture)
    )
    return data is not None and hashlib.sha256(data).hexdigest() == picture
