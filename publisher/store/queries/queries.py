"""Queries for people: deliveries, alerts, pauses, workers, one delivery's history, and reports."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
)

from publisher.domain.account import AccountId, LoadedFiles, LoginId, Mode
from publisher.domain.delivery import (
    FINAL_STATES,
    OPEN_STATES,
    Attempt,
    Delivery,
    Readback,
    State,
)
from publisher.domain.evergreen import EvergreenPost, EvergreenUse
from publisher.domain.post import (
    MEMBER_MARK,
    DeliveryId,
    EvergreenTrigger,
    PostId,
    find_family,
)
from publisher.domain.reports import METRIC_NAMES, ReportRow
from publisher.domain.results import HoldReason, Reach
from publisher.store.approvals.guard import APPROVAL_ALERTS
from publisher.store.base import StorePart
from publisher.store.db.alert_tables import ALERT, IS_ACKNOWLEDGED
from publisher.store.db.filters import in_open_state, is_in_force, is_named
from publisher.store.db.monitor_tables import FORMER_ID, REACH
from publisher.store.db.rows import (
    ACCOUNT_PAUSED,
    QUERY_BATCH_SIZE,
    batches,
    read_family_members,
    subject_of,
)
from publisher.store.db.tables import (
    ATTEMPT,
    AUDIT,
    DELIVERY,
    LOGIN,
    MODE_OVERRIDE,
    PAUSE,
    POST,
    READBACK,
    RENDERED_POST,
    WORKER,
    load_post,
    load_rendered_post,
    to_attempt,
    to_delivery,
    to_readback,
)
from publisher.store.lost_attempts import orphaned_attempts
from publisher.store.queries.open_outcomes import find_undecided
from publisher.store.system_alerts import MACHINE_SUBJECT

HELD_WITH_ACCOUNT = frozenset(
    f"held.{reason}"
    for reason in (HoldReason.AUTH, HoldReason.CAPTCHA, HoldReason.ACCOUNT)
)
"""Alerts about deliveries held for a reason that also pauses their account."""
MAX_STATUS_AGE = timedelta(days=7)
"""The time that ended deliveries, and alerts about final facts, are shown by default.

A final fact cannot be changed any more.
"""


def is_about(subject: str) -> ColumnElement[bool]:
    """True if an audit entry has this subject, or had it under another account id.

    The other account id is a former id of the account that the subject ends with.
    """
    head, separator, account = (
        subject.rpartition("@") if "@" in subject else subject.partition("account:")
    )
    former = select(literal(f"{head}{separator}") + FORMER_ID.c.id).where(
        FORMER_ID.c.account == account
    )
    return or_(AUDIT.c.subject == subject, AUDIT.c.subject.in_(former))


_NEWEST_METRICS = (
    select(func.max(REACH.c.id).label("id")).group_by(REACH.c.delivery).subquery()
)
_REPORT_ROWS = (
    select(
        DELIVERY,
        RENDERED_POST.c.body,
        *(REACH.c[name].label(f"its_{name}") for name in ("id", *METRIC_NAMES)),
    )
    .outerjoin(RENDERED_POST, RENDERED_POST.c.fingerprint == DELIVERY.c.rendered_hash)
    .outerjoin(
        REACH,
        (REACH.c.delivery == DELIVERY.c.id)
        & REACH.c.id.in_(select(_NEWEST_METRICS.c.id)),
    )
    .order_by(DELIVERY.c.due_at, DELIVERY.c.id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Information for a person to know. `id` is the id for a dismissal.

    People were notified of it last at `noticed_at`, and the second list of channels at
    `escalated_at`. `returned_at` is the end of an acknowledgement that the problem has outlasted.
    """

    id: int
    at: datetime
    code: str
    subject: str
    facts: Mapping[str, str]
    noticed_at: datetime | None = None
    escalated_at: datetime | None = None
    dismissed_at: datetime | None = None
    dismissed_by: str | None = None
    returned_at: datetime | None = None

    @property
    def is_acknowledged(self) -> bool:
        return self.dismissed_at is not None and self.returned_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    scope: str
    at: datetime
    by: str
    reason: str
    is_renewable: bool = False
    """True if a renewed secret ends it, as far as that was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginCooldown:
    """The end of the time in which a login's gap and limits keep posts from being sent.

    There is one end for urgent posts, and one for all others.
    """

    urgent_until: datetime
    routine_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    id: str
    host: str
    pid: int
    boot_id: str | None
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    loaded: LoadedFiles | None = None
    """The files read at its start, if known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    at: datetime
    role: str
    name: str
    event: str
    before: str | None
    after: str | None
    detail: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryHistory:
    delivery: Delivery
    attempts: Sequence[Attempt]
    readbacks: Sequence[Readback]
    audit_lines: Sequence[AuditLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeOverride:
    """A mode that replaces the one in the settings, with its author and reason."""

    account: AccountId
    mode: Mode
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsPoint:
    """The metrics of one delivery at one instant."""

    delivery: Delivery
    at: datetime
    reach: Reach


class Queries(StorePart):
    async def deliveries(
        self,
        post: PostId | None = None,
        account: AccountId | None = None,
        states: Sequence[State] = (),
    ) -> Sequence[Delivery]:
        """Return deliveries by due time: all, or the ones of a post, an account, some states."""
        conditions: list[ColumnElement[bool]] = []
        if post is not None:
            conditions.append(DELIVERY.c.post == post)
        if account is not None:
            conditions.append(DELIVERY.c.account == account)
        if states:
            conditions.append(DELIVERY.c.state.in_([state.value for state in states]))
        query = (
            select(DELIVERY)
            .where(*conditions)
            .order_by(DELIVERY.c.due_at, DELIVERY.c.post, DELIVERY.c.id)
        )
        return [to_delivery(row) for row in await self._rows(query)]

    async def current_deliveries(self) -> Sequence[Delivery]:
        """Return, by due time, the deliveries that are open, recent, or due later.

        A recent one was due within MAX_STATUS_AGE.
        """
        is_open = select(DELIVERY.c.id).where(in_open_state(DELIVERY, *OPEN_STATES))
        is_recent = select(DELIVERY.c.id).where(
            ~DELIVERY.c.is_pruned, DELIVERY.c.due_at >= self._recent_cutoff
        )
        is_current = DELIVERY.c.id.in_(is_open.union(is_recent))
        query = (
            select(DELIVERY)
            .where(is_current)
            .order_by(DELIVERY.c.due_at, DELIVERY.c.post, DELIVERY.c.id)
        )
        return [to_delivery(row) for row in await self._rows(query)]

    async def has_older_deliveries(self) -> bool:
        """Return True if `current_deliveries` leaves out some."""
        query, is_open = (
            select(DELIVERY.c.id).limit(1),
            in_open_state(DELIVERY, *OPEN_STATES),
        )
        older = query.where(
            ~DELIVERY.c.is_pruned, DELIVERY.c.due_at < self._recent_cutoff, ~is_open
        )
        return bool(
            await self._rows(older)
            or await self._rows(query.where(DELIVERY.c.is_pruned))
        )

    async def find_posts(self, name: str) -> Sequence[PostId]:
        """Return the post of a name and the members of the family of this name, by id."""
        query = select(POST.c.id).where(is_named(POST.c.id, name)).order_by(POST.c.id)
        return [PostId(row["id"]) for row in await self._rows(query)]

    async def lost_accounts(self, name: str) -> Sequence[AccountId]:
        """Return the accounts where the journal has calls of a post, or of a family.

        They are calls that fit no delivery: a restored database does not know the post, or has
        ended it.
        """
        orphans = await self.database.read(orphaned_attempts)
        return sorted(
            {
                AccountId(call.account)
                for call in orphans
                if name in {call.post, find_family(call.post)}
            }
        )

    async def with_members(self, posts: Collection[PostId]) -> Collection[PostId]:
        """Return posts, with all members of their families."""
        families = {find_family(post) for post in posts if MEMBER_MARK in post}
        if not families:
            return posts
        members = await self.database.read(read_family_members, families)
        return {*posts, *(post for found in members.values() for post in found)}

    async def has_post(self, post: PostId) -> bool:
        """Return True if a post was ever accepted."""
        return bool(await self._rows(select(POST.c.id).where(POST.c.id == post)))

    async def post_ids(self) -> frozenset[PostId]:
        """Return the ids of all posts ever accepted."""
        return frozenset(
            PostId(row["id"]) for row in await self._rows(select(POST.c.id))
        )

    async def post_ids_from(self, start: str) -> Collection[str]:
        """Return the ids of all posts ever accepted that begin so."""
        begins = POST.c.id.between(start, f"{start}~")  # no id has a later character
        return {row["id"] for row in await self._rows(select(POST.c.id).where(begins))}

    async def titles(self, posts: Collection[PostId]) -> Mapping[PostId, str]:
        """Return the titles of these posts, as they are in force."""
        query = select(POST.c.id, POST.c.body)
        read = [
            await self._rows(query.where(POST.c.id.in_(ids)))
            for ids in batches(sorted(posts), QUERY_BATCH_SIZE)
        ]
        return {
            PostId(row["id"]): json.loads(row["body"])["title"]
            for rows in read
            for row in rows
        }

    async def newest_titles(self, limit: int) -> Mapping[PostId, str]:
        """Return the titles of the posts that came into force last."""
        newest = select(POST.c.id, POST.c.body).order_by(POST.c.in_force_since.desc())
        rows = await self._rows(newest.limit(limit))
        return {PostId(row["id"]): json.loads(row["body"])["title"] for row in rows}

    async def evergreen_posts(self) -> Sequence[EvergreenPost]:
        """Return the drawer: the uncancelled evergreen posts of the schedule, by id.

        Each has the deliveries of its family under all ids.
        """
        is_in_drawer = (is_in_force(), POST.c.body.contains('"is_evergreen":true'))

        def read(connection: Connection) -> list[EvergreenPost]:
            posts = [
                load_post(body)
                for body in connection.scalars(select(POST.c.body).where(*is_in_drawer))
            ]
            names = [
                post.id for post in posts if isinstance(post.trigger, EvergreenTrigger)
            ]
            columns = (
                DELIVERY.c.post,
                DELIVERY.c.account,
                DELIVERY.c.due_at,
                DELIVERY.c.state,
            )
            uses: dict[str, list[EvergreenUse]] = defaultdict(list)
            families = set(map(find_family, names))
            members = read_family_members(connection, families) if names else {}
            forms = list(chain.from_iterable(members.values()))
            used = select(*columns).where(DELIVERY.c.post.in_(forms))
            for row in connection.execute(used) if forms else ():
                use = EvergreenUse(
                    account=row.account, due_at=row.due_at, state=State(row.state)
                )
                uses[find_family(row.post)].append(use)
            kept = sorted(
                (post for post in posts if post.id in names), key=lambda post: post.id
            )
            return [
                EvergreenPost(post=post, deliveries=uses[find_family(post.id)])
                for post in kept
            ]

        return await self.database.read(read)

    async def find_undecided(
        self, deliveries: Collection[DeliveryId]
    ) -> frozenset[DeliveryId]:
        """Return those of the deliveries with a call that may have created a post."""
        return await self.database.read(find_undecided, deliveries)

    async def alerts(self) -> Sequence[Alert]:
        """Return the open, undismissed alerts, newest first.

        Alerts about the past are returned only for MAX_STATUS_AGE. The cause of an account's pause
        is one alert, with the number of deliveries that it holds. They follow once it is over.
        """
        alerts = await self._open_alerts()
        paused = {alert.subject: 0 for alert in alerts if alert.code == ACCOUNT_PAUSED}
        shown: list[Alert] = []
        for alert in alerts:
            scope = f"account:{alert.facts.get('account')}"
            if alert.code in HELD_WITH_ACCOUNT and scope in paused:
                paused[scope] += 1
            else:
                shown.append(alert)
        return [
            replace(alert, facts={**alert.facts, "held": str(number)})
            if alert.code == ACCOUNT_PAUSED and (number := paused[alert.subject])
            else alert
            for alert in shown
        ]

    async def alerts_about(self, posts: Collection[PostId]) -> Sequence[Alert]:
        """Return all open alerts about posts that nobody has dismissed, newest first."""
        return [
            alert
            for alert in await self._open_alerts()
            if alert.facts.get("post") in posts
        ]

    async def shown_alerts(self) -> Sequence[Alert]:
        """Return all open, undismissed alerts, those held with a paused account too."""
        return await self._open_alerts()

    async def _open_alerts(self) -> list[Alert]:
        query = (
            select(ALERT)
            .where(is_shown(self.runtime.now()))
            .order_by(ALERT.c.id.desc())
        )
        return [to_alert(row) for row in await self._rows(query)]

    async def named_alerts(self, numbers: Collection[int]) -> Sequence[Alert]:
        """Return the alerts with these numbers, also those that are acknowledged or over."""
        query = select(ALERT).where(ALERT.c.id.in_(list(numbers)))
        return [to_alert(row) for row in await self._rows(query)]

    async def acknowledged_alerts(self) -> Sequence[Alert]:
        """Return the open alerts that a person has acknowledged, newest first."""
        query = select(ALERT).where(ALERT.c.cleared_at.is_(None), IS_ACKNOWLEDGED)
        return [
            to_alert(row) for row in await self._rows(query.order_by(ALERT.c.id.desc()))
        ]

    async def pauses(self) -> Sequence[Pause]:
        return [
            Pause(**row) for row in await self._rows(select(PAUSE).order_by(PAUSE.c.at))
        ]

    async def cooldowns(self) -> Mapping[LoginId, LoginCooldown]:
        """Return the logins that may not send yet."""
        query = select(
            LOGIN.c.id, LOGIN.c.cooldown_until, LOGIN.c.routine_cooldown_until
        ).where(LOGIN.c.routine_cooldown_until > self.runtime.now())
        return {
            row["id"]: LoginCooldown(
                urgent_until=row["cooldown_until"],
                routine_until=row["routine_cooldown_until"],
            )
            for row in await self._rows(query)
        }

    async def workers(self) -> Sequence[WorkerStatus]:
        """Return the daemons with a recent heartbeat: running first, newest heartbeat first.

        A recent heartbeat is within MAX_STATUS_AGE.
        """
        recent = WORKER.c.heartbeat_at >= self.runtime.now() - MAX_STATUS_AGE
        order = (WORKER.c.stopped_at.is_not(None), WORKER.c.heartbeat_at.desc())
        rows = await self._rows(select(WORKER).where(recent).order_by(*order))
        return [_to_worker(row) for row in rows]

    async def has_unstopped_worker(self) -> bool:
        """Return True if a daemon runs, or was killed however long ago and not started again."""
        unstopped = select(WORKER.c.id).where(WORKER.c.stopped_at.is_(None)).limit(1)
        return bool(await self._rows(unstopped))

    async def audit_history(self, subject: str) -> Sequence[AuditLine]:
        """Return the audit entries of a subject other than a delivery, such as a post.

        The oldest is first.
        """
        rows = await self._rows(
            select(AUDIT).where(is_about(subject)).order_by(AUDIT.c.id)
        )
        return [_audit_line(row) for row in rows]

    async def delivery_history(self, delivery: Delivery) -> DeliveryHistory:
        attempts = await self._rows(
            select(ATTEMPT)
            .where(ATTEMPT.c.delivery == delivery.id)
            .order_by(ATTEMPT.c.number)
        )
        readbacks = await self._rows(
            select(READBACK)
            .where(READBACK.c.delivery == delivery.id)
            .order_by(READBACK.c.id)
        )
        entries = await self._rows(
            select(AUDIT).where(is_about(subject_of(delivery))).order_by(AUDIT.c.id)
        )
        return DeliveryHistory(
            delivery=delivery,
            attempts=[to_attempt(row) for row in attempts],
            readbacks=[to_readback(row) for row in readbacks],
            audit_lines=[_audit_line(row) for row in entries],
        )

    async def read_histories(
        self, delivery: Delivery
    ) -> tuple[DeliveryHistory, Sequence[AuditLine]]:
        """Return the history of a delivery, and the audit entries of its whole post."""
        subject, post = subject_of(delivery), delivery.key.post
        attempts = select(ATTEMPT).where(ATTEMPT.c.delivery == delivery.id)
        readbacks = select(READBACK).where(READBACK.c.delivery == delivery.id)
        entries = await self._rows(
            select(AUDIT)
            .where(or_(is_about(subject), AUDIT.c.subject == post))
            .order_by(AUDIT.c.id)
        )
        history = DeliveryHistory(
            delivery=delivery,
            attempts=[
                to_attempt(row)
                for row in await self._rows(attempts.order_by(ATTEMPT.c.number))
            ],
            readbacks=[
                to_readback(row)
                for row in await self._rows(readbacks.order_by(READBACK.c.id))
            ],
            audit_lines=[_audit_line(row) for row in entries if row["subject"] != post],
        )
        return history, [_audit_line(row) for row in entries if row["subject"] == post]

    async def mode_overrides(self) -> Sequence[ModeOverride]:
        """Return the overrides in force, oldest first."""
        query = select(MODE_OVERRIDE).order_by(MODE_OVERRIDE.c.at)
        return [
            ModeOverride(
                **{
                    **row,
                    "account": AccountId(row["account"]),
                    "mode": Mode(row["mode"]),
                }
            )
            for row in await self._rows(query)
        ]

    async def metrics_series(
        self, post: PostId | None = None
    ) -> Sequence[MetricsPoint]:
        """Return all metrics, or those of a post or a family, by delivery and then oldest first."""
        columns = (
            REACH.c[name].label(f"metrics_{name}") for name in ("at", *METRIC_NAMES)
        )
        query = select(DELIVERY, *columns).join(
            REACH, REACH.c.delivery == DELIVERY.c.id
        )
        if post is not None:
            query = query.where(is_named(DELIVERY.c.post, post))
        query = query.order_by(DELIVERY.c.due_at, DELIVERY.c.id, REACH.c.at)
        return [
            MetricsPoint(
                delivery=to_delivery(row),
                at=row["metrics_at"],
                reach=Reach(**{name: row[f"metrics_{name}"] for name in METRIC_NAMES}),
            )
            for row in await self._rows(query)
        ]

    async def report_rows(
        self, since: datetime, until: datetime, tip_lines: Mapping[AccountId, str]
    ) -> Sequence[ReportRow]:
        """Return every delivery due from `since` until before `until`.

        `tip_lines` are the lines that its text should contain.
        """
        is_due = (DELIVERY.c.due_at >= since, DELIVERY.c.due_at < until)
        posts = select(POST.c.id, POST.c.body).where(
            POST.c.id.in_(select(DELIVERY.c.post).where(*is_due))
        )

        def read(connection: Connection) -> list[ReportRow]:
            kinds = {
                row.id: load_post(row.body).kind for row in connection.execute(posts)
            }
            report = []
            for row in connection.execute(_REPORT_ROWS.where(*is_due)).mappings():
                delivery = to_delivery(row)
                kind = kinds[delivery.key.post]
                is_asked = row["body"] is not None and kind.traits.names_tip_line
                tip_line = tip_lines.get(delivery.account) if is_asked else None
                metrics = {name: row[f"its_{name}"] for name in METRIC_NAMES}
                report.append(
                    ReportRow(
                        delivery=delivery,
                        kind=kind,
                        reach=None if row["its_id"] is None else Reach(**metrics),
                        has_tip_line=tip_line in load_rendered_post(row["body"]).text
                        if tip_line
                        else None,
                    )
                )
            return report

        return await self.database.read(read)

    @property
    def _recent_cutoff(self) -> datetime:
        return self.runtime.now() - MAX_STATUS_AGE

    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]:
        return await self.database.read(
            lambda connection: connection.execute(query).mappings().all()
        )


def needs_person_now(alert: Alert, now: datetime) -> bool:
    """True unless an alert only says that a manual task waits, or an undue post lacks approvals.

    An undue post is not due yet.
    """
    if alert.code in APPROVAL_ALERTS:
        return datetime.fromisoformat(alert.facts["due"]) <= now
    return alert.code != "manual_task_waiting"


_IS_ABOUT_PAST = or_(
    *(ALERT.c.code.startswith(f"{state}.") for state in sorted(FINAL_STATES)),
    ALERT.c.subject == MACHINE_SUBJECT,
)
_IS_OPEN = and_(ALERT.c.cleared_at.is_(None), ~IS_ACKNOWLEDGED)


def is_shown(now: datetime) -> ColumnElement[bool]:
    """True if an alert is open and undismissed.

    An alert about the past is shown only for MAX_STATUS_AGE.
    """
    return is_shown_since(now - MAX_STATUS_AGE)


def is_shown_since(instant: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """True if an alert is open and undismissed.

    An alert about the past is shown only if it is not older.
    """
    return and_(_IS_OPEN, ~and_(_IS_ABOUT_PAST, ALERT.c.at < instant))


def is_past(now: datetime) -> ColumnElement[bool]:
    """True if an alert is about a matter that ended MAX_STATUS_AGE ago.

    Nothing can be done about it, so nothing clears it.
    """
    return and_(_IS_ABOUT_PAST, ALERT.c.at < now - MAX_STATUS_AGE)


_ALERT_COLUMNS = (
    "id",
    "at",
    "code",
    "subject",
    "noticed_at",
    "escalated_at",
    "dismissed_at",
    "dismissed_by",
    "returned_at",
)


def to_alert(row: RowMapping) -> Alert:
    return Alert(
        **{name: row[name] for name in _ALERT_COLUMNS}, facts=json.loads(row["facts"])
    )


def _to_worker(row: RowMapping) -> WorkerStatus:
    names = ("id", "host", "pid", "boot_id", "started_at", "heartbeat_at", "stopped_at")
    loaded = None
    if row["settings_hash"] is not None:
        accounts = frozenset(map(AccountId, json.loads(row["accounts"])))
        loaded = LoadedFiles(
            settings=row["settings_hash"],
            templates=row["templates_hash"],
            accounts=accounts,
        )
    return WorkerStatus(**{name: row[name] for name in names}, loaded=loaded)


def _audit_line(row: RowMapping) -> AuditLine:
    return AuditLine(
        at=row["at"],
        role=row["role"],
        name=row["name"],
        event=row["event"],
        before=row["before"],
        after=row["after"],
        detail=json.loads(row["detail"]),
    )
