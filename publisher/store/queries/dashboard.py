"""Queries of the dashboard's frame: one read for any number of deliveries."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from publisher.domain.account import AccountId, Platform
from publisher.domain.approval import AWAITING_APPROVAL
from publisher.domain.delivery import OPEN_STATES, WAITING_STATES, Role, State
from publisher.domain.glyph import Glyph
from publisher.domain.post import OccurrenceKey, PostId
from publisher.store.approvals.duty import DutyOfficer
from publisher.store.backup_record import read_last_backup
from publisher.store.base import FORGOTTEN_AFTER, HEARTBEAT_TIMEOUT, StorePart
from publisher.store.db.alert_tables import ALERT, IS_ACKNOWLEDGED
from publisher.store.db.approval_tables import APPROVABLE_TEXT, APPROVAL, DUTY_OFFICER
from publisher.store.db.filters import SCOPE_ALL, in_open_state
from publisher.store.db.rows import ACCOUNT_PAUSED, RENEWAL
from publisher.store.db.tables import AUDIT, DELIVERY, PAUSE, POST, WORKER
from publisher.store.db.user_tables import AUTH_USER, REFUSAL, load_grants
from publisher.store.queries.occurrences import (
    OccurrenceSummary,
    count_by_state,
    is_on,
    sign_of,
    summarize,
)
from publisher.store.queries.queries import Alert, Pause
from publisher.store.queries.todo import is_unseen

BANNER_ALERTS = (
    "audit_broken",
    "reload_refused",
    "waiting_for_journal",
    "database_restored",
    "settings_outdated",
)
"""Alerts that every page shows, the heaviest first."""
ACCOUNT_SEPARATOR = ","
"""No account's id has one."""
WAITING_AHEAD = timedelta(hours=24)
"""How far ahead deliveries count as held up while nothing is sent."""
MAX_CHANGES = 2_000
"""After more audit entries than this all posts count as changed."""
WIDE_SUBJECTS = frozenset({"all", "schedule", "approvals", "database"})
"""Subjects of audit entries about more than one post."""

USER_SUBJECT_PREFIX = "user:"
_UNSTOPPED_WORKERS = select(WORKER.c.id, WORKER.c.heartbeat_at).where(
    WORKER.c.stopped_at.is_(None)
)
_REFUSALS = select(REFUSAL.c.kind, func.sum(REFUSAL.c.total).label("total")).group_by(
    REFUSAL.c.kind
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """The last heartbeat of any daemon, and the deliveries waiting for one within WAITING_AHEAD.

    The heartbeat is None if there never was one.
    """

    heartbeat_at: datetime | None
    is_running: bool
    waiting: int = 0
    next_due_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFacts:
    """The facts on every page. `audit_number` is the number of the newest audit entry."""

    daemon: DaemonStatus
    pauses: Sequence[Pause]
    """All pauses, oldest first."""
    alerts: Sequence[Alert]
    officers: Sequence[DutyOfficer]
    audit_number: int

    @property
    def pause(self) -> Pause | None:
        """The pause of everything, if there is one."""
        return next((pause for pause in self.pauses if pause.scope == SCOPE_ALL), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """An occurrence with the sign of each account.

    `next_check_at` is the time of the next read of any of them.
    """

    summary: OccurrenceSummary
    seats: Mapping[Platform, Mapping[AccountId, Glyph]]
    next_check_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A person's action, its subject, and its time.

    `before` is the state of a delivery until then.
    """

    subject: str
    event: str
    before: str | None
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures for monitoring: deliveries, alerts and refusals.

    Deliveries are counted by platform and state, alerts by code, refusals by kind. `lateness` is
    the lateness of the delivery that has been due for longest. `refusals` is None for some
    accounts.
    """

    daemon: DaemonStatus
    heartbeat_age: timedelta | None
    heartbeat_ages: Mapping[str, timedelta]
    """The time since the last heartbeat of each daemon that has not stopped in order, by name.

    Empty for some accounts.
    """
    backup_age: timedelta | None
    """The time since the last good backup; None if none was ever made, or for some accounts."""
    is_paused: bool
    paused_accounts: int
    lateness: timedelta
    open_deliveries: Mapping[tuple[str, str], int]
    recent_deliveries: Mapping[tuple[str, str], int]
    alerts: Mapping[str, int]
    refusals: Mapping[str, int] | None


def _part(
    name: str,
    *columns: ColumnElement[Any] | str,
    conditions: Sequence[ColumnElement[bool]] = (),
) -> Select[Any]:
    """Return one part of the frame: its rows have a name, an instant, a code, words, a number."""
    labels = ("name", "at", "code", "detail", "number")
    values = [
        (literal_column(column) if isinstance(column, str) else column).label(label)
        for label, column in zip(labels, columns, strict=True)
    ]
    return select(literal_column(f"'{name}'", String).label("part"), *values).where(
        *conditions
    )


_IS_ALIVE = and_(
    WORKER.c.stopped_at.is_(None), WORKER.c.heartbeat_at > bindparam("alive_since")
)
_IS_HELD_UP = (
    # asked first: while posts are sent, none is counted
    or_(~exists().where(_IS_ALIVE), exists().where(PAUSE.c.scope == SCOPE_ALL)),
    in_open_state(DELIVERY, *WAITING_STATES),
    DELIVERY.c.due_at < bindparam("soon"),
)
_IS_BANNER = (
    ALERT.c.code.in_(BANNER_ALERTS),
    ALERT.c.cleared_at.is_(None),
    ~IS_ACKNOWLEDGED,
)
_OFFICER = DUTY_OFFICER.outerjoin(AUTH_USER, AUTH_USER.c.name == DUTY_OFFICER.c.name)
_ENDS_WITH_RENEWAL = exists().where(
    ALERT.c.subject == PAUSE.c.scope,
    ALERT.c.code == ACCOUNT_PAUSED,
    ALERT.c.cleared_at.is_(None),
    ALERT.c.facts.contains(f'"ends_with": "{RENEWAL}"', autoescape=True),
)
_FRAME = union_all(
    _part(
        "pause",
        PAUSE.c.scope,
        PAUSE.c.at,
        PAUSE.c.by,
        PAUSE.c.reason,
        case((_ENDS_WITH_RENEWAL, 1), else_=0),
    ),
    _part(
        "alert",
        ALERT.c.subject,
        ALERT.c.at,
        ALERT.c.code,
        ALERT.c.facts,
        ALERT.c.id,
        conditions=_IS_BANNER,
    ),
    _part(
        "officer",
        DUTY_OFFICER.c.name,
        DUTY_OFFICER.c.at,
        DUTY_OFFICER.c.phone,
        AUTH_USER.c.grants,
        "0",
    ).select_from(_OFFICER),
    _part(
        "daemon",
        WORKER.c.id,
        WORKER.c.heartbeat_at,
        "''",
        "''",
        case((WORKER.c.stopped_at.is_(None), 0), else_=1),
    ),
    _part(
        "held up",
        "''",
        func.min(DELIVERY.c.due_at),
        "''",
        "''",
        func.count(DELIVERY.c.id),
        conditions=_IS_HELD_UP,
    ),
    _part("audit", "''", "NULL", "''", "''", func.max(AUDIT.c.id)),
)
"""All that is small and on every page, in one statement."""


class DashboardQueries(StorePart):
    async def frame_facts(self) -> FrameFacts:
        """Return the facts on every page."""
        return await self.database.read(self._read_frame_facts)

    async def count_sending(self) -> int:
        """Return how many calls are under way."""
        query = select(func.count()).where(in_open_state(DELIVERY, State.SENDING))
        return await self.database.read(
            lambda connection: connection.execute(query).scalar_one()
        )

    async def board(
        self,
        start: datetime,
        end: datetime,
        accounts: Collection[AccountId] | None = None,
        posts: Collection[PostId] | None = None,
    ) -> Sequence[BoardRow]:
        """Return the occurrences due from `start` until before `end`, by their time.

        Each has the sign of each account. If given, return only the occurrences of these posts, and
        only these accounts. It takes two grouped statements for any number of deliveries.
        """
        query = (
            count_by_state(self.runtime.now())
            .add_columns(
                func.aggregate_strings(DELIVERY.c.account, ACCOUNT_SEPARATOR).label(
                    "accounts"
                ),
                func.min(DELIVERY.c.next_action_at, type_=DELIVERY.c.due_at.type).label(
                    "next_action_at"
                ),
            )
            .where(
                DELIVERY.c.is_pruned.in_([False, True]),
                DELIVERY.c.due_at >= start,
                DELIVERY.c.due_at < end,
            )
            .where(is_on(accounts))
        )
        if posts is not None:
            query = query.where(DELIVERY.c.post.in_(posts))

        def read(connection: Connection) -> list[BoardRow]:
            groups: dict[OccurrenceKey, list[Row[Any]]] = defaultdict(list)
            for row in connection.execute(query):
                groups[
                    OccurrenceKey(post=PostId(row.post), occurrence=row.occurrence)
                ].append(row)
            of_posts = select(POST.c.id, POST.c.body).where(
                POST.c.id.in_(sorted({key.post for key in groups}))
            )
            bodies = {
                row.id: json.loads(row.body) for row in connection.execute(of_posts)
            }
            found = [
                make_board_row(summarize(key, bodies[key.post], rows), rows)
                for key, rows in groups.items()
            ]
            return sorted(found, key=lambda row: (row.summary.due_at, row.summary.key))

        return await self.database.read(read)

    async def changed_posts(self, since: int, until: int) -> Collection[PostId] | None:
        """Return the posts named by audit entries after `since`, up to `until`.

        Return None if all may have changed.
        """
        if until - since > MAX_CHANGES:
            return None
        query = (
            select(AUDIT.c.subject)
            .where(AUDIT.c.id > since, AUDIT.c.id <= until)
            .distinct()
        )
        subjects = await self.database.read_scalars(query)
        named = {
            subject.partition("@")[0].partition("#")[0].removeprefix("post:")
            for subject in subjects
        }
        if any(
            name in WIDE_SUBJECTS or name.startswith(("account:", "platform:"))
            for name in named
        ):
            return None
        return {PostId(name) for name in named if ":" not in name}

    async def acts_since(self, number: int) -> Sequence[Act]:
        """Return people's actions after an audit entry, the newest last.

        Of very many, return the newest.
        """
        is_theirs = (
            AUDIT.c.id > number,
            AUDIT.c.role == Role.PERSON.value,
            ~AUDIT.c.subject.startswith(USER_SUBJECT_PREFIX),
        )
        columns = (
            AUDIT.c.subject,
            AUDIT.c.event,
            AUDIT.c.before,
            AUDIT.c.name.label("by"),
            AUDIT.c.at,
        )
        query = select(*columns).where(*is_theirs)
        query = query.order_by(AUDIT.c.id.desc()).limit(MAX_CHANGES)
        rows = await self.database.read(
            lambda connection: connection.execute(query).mappings().all()
        )
        return [Act(**row) for row in reversed(rows)]

    async def changed_users(self, since: int, until: int) -> Collection[str]:
        """Return the names in audit entries after `since`, up to `until`.

        The entries are about sign-ins, roles and states.
        """
        is_theirs = (
            AUDIT.c.id > since,
            AUDIT.c.id <= until,
            AUDIT.c.subject.startswith(USER_SUBJECT_PREFIX),
        )
        query = select(AUDIT.c.subject).where(*is_theirs).distinct()
        subjects = await self.database.read_scalars(query)
        return {subject.removeprefix(USER_SUBJECT_PREFIX) for subject in subjects}

    async def audit_number(self) -> int:
        """Return the number of the newest audit entry: without a new one nothing has changed."""
        return await self.database.read(_read_audit_number)

    async def todo_version(self) -> Collection[object]:
        """Return a value that changes when something begins or ceases to wait for a person."""
        is_held = in_open_state(DELIVERY, State.HELD)
        is_task = and_(
            in_open_state(DELIVERY, State.SUBMITTED),
            DELIVERY.c.ticket.contains("manual_task"),
        )
        waiting = select(func.count(), func.max(DELIVERY.c.updated_at)).where(
            or_(is_held, is_task)
        )
        paused = select(func.count(), func.max(PAUSE.c.at))
        approved = select(
            func.count(APPROVAL.c.id),
            func.max(APPROVAL.c.id),
            func.max(APPROVAL.c.ended_at),
        )
        texts = select(
            func.count(), func.max(APPROVABLE_TEXT.c.returned_at)
        ).select_from(APPROVABLE_TEXT)
        is_held_up = and_(
            in_open_state(DELIVERY, State.DUE), DELIVERY.c.reason == AWAITING_APPROVAL
        )
        unsent = select(func.count()).where(
            or_(in_open_state(DELIVERY, State.PENDING), is_held_up)
        )
        unseen = select(func.count(), func.sum(ALERT.c.id)).where(
            ALERT.c.delivery.is_not(None), is_unseen()
        )
        parts = (waiting, paused, approved, texts, unsent, unseen)
        return await self.database.read(
            lambda connection: [tuple(connection.execute(each).one()) for each in parts]
        )

    async def figures(self, accounts: Collection[AccountId] | None = None) -> Figures:
        """Return the figures for monitoring.

        If accounts are given, return the figures of these alone, without those of the whole
        workspace: alerts, refusals, the names of its daemons, and its backup.
        """
        return await self.database.read(self._read_figures, accounts)

    def _read_figures(
        self, connection: Connection, accounts: Collection[AccountId] | None
    ) -> Figures:
        now, daemon = self.runtime.now(), self._read_daemon(connection)
        by_state = (DELIVERY.c.platform, DELIVERY.c.state)
        is_theirs = is_on(accounts)
        is_open = in_open_state(DELIVERY, *OPEN_STATES)
        is_recent = (
            DELIVERY.c.is_pruned.in_([False, True]),
            DELIVERY.c.due_at.between(now - WAITING_AHEAD, now),
        )
        is_shown = (ALERT.c.cleared_at.is_(None), ~IS_ACKNOWLEDGED)
        is_due = (in_open_state(DELIVERY, State.DUE), is_theirs)
        due_at = connection.scalar(select(func.min(DELIVERY.c.due_at)).where(*is_due))
        scopes = connection.scalars(select(PAUSE.c.scope)).all()
        known = (
            None if accounts is None else {f"account:{account}" for account in accounts}
        )
        open_rows, recent_rows = (
            connection.execute(
                select(*by_state, func.count())
                .where(*which, is_theirs)
                .group_by(*by_state)
            ).all()
            for which in ((is_open,), is_recent)
        )
        by_code = (
            select(ALERT.c.code, func.count()).where(*is_shown).group_by(ALERT.c.code)
        )
        alert_rows = connection.execute(by_code).all() if accounts is None else ()
        workers = _UNSTOPPED_WORKERS.where(
            WORKER.c.heartbeat_at >= now - FORGOTTEN_AFTER
        )
        worker_rows = connection.execute(workers).all() if accounts is None else ()
        backup = read_last_backup(connection) if accounts is None else None
        return Figures(
            daemon=daemon,
            heartbeat_age=None
            if daemon.heartbeat_at is None
            else now - daemon.heartbeat_at,
            heartbeat_ages={row.id: now - row.heartbeat_at for row in worker_rows},
            backup_age=None if backup is None else now - backup.at,
            is_paused=SCOPE_ALL in scopes,
            paused_accounts=sum(
                scope.startswith("account:") and (known is None or scope in known)
                for scope in scopes
            ),
            lateness=timedelta(0)
            if due_at is None
            else max(now - due_at, timedelta(0)),
            open_deliveries={
                (platform, state): number for platform, state, number in open_rows
            },
            recent_deliveries={
                (platform, state): number for platform, state, number in recent_rows
            },
            alerts={code: number for code, number in alert_rows},  # noqa: C416 # rows, which mypy does not see as pairs
            refusals={row.kind: int(row.total) for row in connection.execute(_REFUSALS)}
            if accounts is None
            else None,
        )

    def _read_frame_facts(self, connection: Connection) -> FrameFacts:
        now = self.runtime.now()
        limits = {"alive_since": now - HEARTBEAT_TIMEOUT, "soon": now + WAITING_AHEAD}
        parts: dict[str, list[Row[Any]]] = defaultdict(list)
        for row in connection.execute(_FRAME, limits):
            parts[row.part].append(row)
        beats = [row.at for row in parts["daemon"] if not row.number]
        heartbeat_at = max(beats or [row.at for row in parts["daemon"]], default=None)
        [held_up], [newest] = parts["held up"], parts["audit"]
        daemon = DaemonStatus(
            heartbeat_at=heartbeat_at,
            is_running=any(now - beat < HEARTBEAT_TIMEOUT for beat in beats),
            waiting=held_up.number,
            next_due_at=held_up.at,
        )
        pauses = [
            Pause(
                scope=row.name,
                at=row.at,
                by=row.code,
                reason=row.detail,
                is_renewable=bool(row.number),
            )
            for row in parts["pause"]
        ]
        alerts = [
            Alert(
                id=row.number,
                at=row.at,
                code=row.code,
                subject=row.name,
                facts=json.loads(row.detail),
            )
            for row in parts["alert"]
        ]
        officers = [
            DutyOfficer(
                name=row.name,
                phone=row.code,
                at=row.at,
                grants=load_grants(row.detail or "[]"),
            )
            for row in parts["officer"]
        ]
        return FrameFacts(
            daemon=daemon,
            pauses=sorted(pauses, key=lambda pause: pause.at),
            alerts=sorted(
                alerts, key=lambda one: (BANNER_ALERTS.index(one.code), -one.id)
            ),
            officers=sorted(officers, key=lambda officer: officer.name),
            audit_number=newest.number or 0,
        )

    def _read_daemon(self, connection: Connection) -> DaemonStatus:
        """Return the daemons' status, without the waiting deliveries."""
        is_started = WORKER.c.stopped_at.is_(None)
        heartbeats = select(
            func.max(WORKER.c.heartbeat_at),
            func.max(
                case((is_started, WORKER.c.heartbeat_at)),
                type_=WORKER.c.heartbeat_at.type,
            ),
        )
        last, started = connection.execute(heartbeats).one()
        now, heartbeat_at = self.runtime.now(), started or last
        is_running = started is not None and now - started < HEARTBEAT_TIMEOUT
        return DaemonStatus(heartbeat_at=heartbeat_at, is_running=is_running)


def _read_audit_number(connection: Connection) -> int:
    return connection.scalar(select(func.max(AUDIT.c.id))) or 0


def make_board_row(summary: OccurrenceSummary, rows: Sequence[Row[Any]]) -> BoardRow:
    seats: dict[Platform, dict[AccountId, Glyph]] = defaultdict(dict)
    for row in rows:
        glyph = sign_of(row)
        seats[Platform(row.platform)].update(
            dict.fromkeys(map(AccountId, row.accounts.split(ACCOUNT_SEPARATOR)), glyph)
        )
    checks = [
        row.next_action_at
        for row in rows
        if row.next_action_at and sign_of(row) is Glyph.CHECKING
    ]
    return BoardRow(
        summary=summary, seats=seats, next_check_at=min(checks, default=None)
    )
