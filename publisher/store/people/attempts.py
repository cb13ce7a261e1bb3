"""Attempts to sign in: the time of the next one, and the trace of refusals.

Nothing here depends on a name being a user's. So nobody can find that out by trying.
"""

import contextlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    Update,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from publisher.domain.account import backoff_delay
from publisher.domain.delivery import Actor, Role
from publisher.domain.user import RefusalKind
from publisher.runtime.logs import log
from publisher.store.base import BaseStore, StorePart
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.rows import clear_alerts, keep_alert, write_audit
from publisher.store.db.user_tables import AUTH_USER, REFUSAL, SIGN_IN_ATTEMPT

FREE_ATTEMPTS_OF_USER, MAX_DELAY_OF_USER = 3, timedelta(minutes=5)
FREE_ATTEMPTS_OF_SOURCE, MAX_DELAY_OF_SOURCE = 20, timedelta(minutes=1)
"""The number of free attempts in a row from one source, and the longest wait after them.

There is a count for one name and a count for all names.
"""
FREE_CODES, MAX_DELAY_OF_CODES = 5, timedelta(minutes=15)
"""The limit for one user, from everywhere.

A person that types codes knows the password already.
"""
ATTEMPTS_FORGOTTEN_AFTER = timedelta(days=1)
MAX_ATTEMPT_ROWS = 10_000
"""The maximum number of counted names and sources.

The one that was quiet longest is forgotten first, but no count of codes.
"""
ANY_NAME = ""
CODES = "codes"
"""The source that stands for all of them, where codes after a password are counted."""
SESSION_PREFIX = "session "
"""Begins the source of codes that are typed in a session."""
UNKNOWN_USER = "?"
"""The stand-in for all names that nobody has. No user has this name."""

REFUSAL_WINDOW = timedelta(hours=1)
"""The window for counting refusals of one kind to one user together.

An alert ends when there was no refusal for this long.
"""
MAX_SOURCES = 5
"""How many sources of a window are named; of further ones only the number counts."""
REFUSALS_BEFORE_ALERT: Mapping[RefusalKind, int] = {
    RefusalKind.PASSWORD: 10,
    RefusalKind.CODE: 5,
    RefusalKind.TOKEN: 10,
    RefusalKind.PERMISSION: 10,
    RefusalKind.APPROVAL: 10,
}
"""How many within a window raise an alert."""
ALERT_OF_KIND: Mapping[RefusalKind, str] = {
    RefusalKind.PASSWORD: "sign_ins_refused",
    RefusalKind.CODE: "codes_refused",
    RefusalKind.TOKEN: "tokens_refused",
    RefusalKind.PERMISSION: "actions_refused",
    RefusalKind.APPROVAL: "approvals_refused",
}
WRITE_SECONDS = 1.0
SIGN_IN_KINDS = (RefusalKind.PASSWORD, RefusalKind.CODE)
"""Of these a user hears at the next sign-in. Each has cost a hash, or a wait."""
EVENT_OF_KIND: Mapping[RefusalKind, str] = {
    RefusalKind.PASSWORD: "password_refused",
    RefusalKind.CODE: "code_refused",
    RefusalKind.TOKEN: "token_refused",
    RefusalKind.PERMISSION: "action_refused",
    RefusalKind.APPROVAL: "approval_refused",
}
"""The audit's events.

They are entries under the name that was given. They do not prove that name.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One count of attempts: of a name from a source.

    After `free` attempts in a row, the waits grow up to `longest`.
    """

    name: str
    source: str
    free: int
    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedSignIns:
    """Failed sign-ins of a user since the last one that succeeded, and the last of them."""

    number: int
    last_at: datetime
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRefusal:
    """A refusal that the audit names: the user, or UNKNOWN_USER, and the number in the window.

    The number is of refusals of its kind.
    """

    user: str
    number: int


@dataclass(slots=True, kw_only=True)
class WaitingRefusals:
    """Refusals of one kind and user that are not written yet, and the time of the last ones.

    The time is in monotonic seconds.
    """

    written_at: float
    number: int = 0
    source: str = ""


class Attempts(StorePart):
    """The attempts of people to prove their identity, and all refusals to them."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self._waiting: dict[tuple[RefusalKind, str], WaitingRefusals] = {}

    @in_transaction
    def start(
        self, transaction: Transaction, name: str, source: str
    ) -> datetime | None:
        """Count a sign-in as failed, before its password is checked, until `end`.

        Returns None if it may go on, else when the next one from this source may. Waits depend on
        the source: a guesser elsewhere locks nobody out.
        """
        return self._start(transaction, _limits_of_password(name, source))

    @in_transaction
    def end(self, transaction: Transaction, name: str, source: str) -> None:
        """Record that a password was right: the name's failures from this source are forgotten."""
        of_all, of_name = _limits_of_password(name, source)
        transaction.connection.execute(
            delete(SIGN_IN_ATTEMPT).where(*_is_counted(of_name))
        )
        values = {
            "failures": SIGN_IN_ATTEMPT.c.failures - 1,
            "retry_at": self.runtime.now(),
        }
        has_failures = SIGN_IN_ATTEMPT.c.failures > 0
        transaction.connection.execute(
            _update(of_all).where(has_failures).values(values)
        )

    @in_transaction
    def start_code(
        self, transaction: Transaction, user: str, session: str = ""
    ) -> datetime | None:
        """Count a code of a second factor as wrong until `end_code`. Return the value of `start`.

        After a password all codes of the user count together, from any source. In a session, named
        by the hash of its id, they count for that session. A thief of a session does not know the
        password.
        """
        return self._start(transaction, [_limit_of_codes(user, session)])

    @in_transaction
    def end_code(self, transaction: Transaction, user: str, session: str = "") -> None:
        """Record that a code was right."""
        transaction.connection.execute(
            delete(SIGN_IN_ATTEMPT).where(*_is_counted(_limit_of_codes(user, session)))
        )

    def _start(
        self, transaction: Transaction, limits: Sequence[Limit]
    ) -> datetime | None:
        now, connection = self.runtime.now(), transaction.connection
        connection.execute(
            delete(SIGN_IN_ATTEMPT).where(
                SIGN_IN_ATTEMPT.c.failed_at < now - ATTEMPTS_FORGOTTEN_AFTER
            )
        )
        new = {"failures": 0, "failed_at": now, "retry_at": now}
        rows = [
            _lock_row(connection, SIGN_IN_ATTEMPT, _key(limit), new) for limit in limits
        ]
        if blocked := [row["retry_at"] for row in rows if row["retry_at"] > now]:
            retry_at: datetime = max(blocked)
            return retry_at
        for limit, row in zip(limits, rows, strict=True):
            failures = row["failures"] + 1
            is_free, over = failures < limit.free, failures - limit.free
            wait = (
                timedelta(0)
                if is_free
                else backoff_delay(timedelta(seconds=1), over, limit.longest)
            )
            values = {"failures": failures, "failed_at": now, "retry_at": now + wait}
            connection.execute(_update(limit).values(values))
        _forget_oldest(connection)
        return None

    async def note_refusal(self, kind: RefusalKind, name: str, source: str) -> None:
        """Count a refusal. Audit and log name it, unless there are very many of its kind.

        Refusals that need no hash and no wait are written once a second at most. A flood must not
        keep the database busy. The last of a flood are left to `write_waiting`.
        """
        if kind in SIGN_IN_KINDS:
            await self._write(kind, name, source, 1)
            return
        now = self.runtime.monotonic()
        waiting = self._waiting.setdefault(
            (kind, name), WaitingRefusals(written_at=now - WRITE_SECONDS)
        )
        waiting.number, waiting.source = waiting.number + 1, source
        if now - waiting.written_at >= WRITE_SECONDS:
            waiting.written_at = now
            await self._write_number(kind, name, waiting)

    async def write_waiting(self) -> None:
        """Write the refusals that came within a second after others.

        No refusal has followed them since.
        """
        now = self.runtime.monotonic()
        for (kind, name), waiting in list(self._waiting.items()):
            if now - waiting.written_at >= WRITE_SECONDS:
                del self._waiting[kind, name]
                if waiting.number:
                    await self._write_number(kind, name, waiting)

    async def _write_number(
        self, kind: RefusalKind, name: str, waiting: WaitingRefusals
    ) -> None:
        number, waiting.number = waiting.number, 0
        await self._write(kind, name, waiting.source, number)

    async def _write(
        self, kind: RefusalKind, name: str, source: str, number: int
    ) -> None:
        if (
            recorded := await self.record_refusal(kind, name, source, number)
        ) is not None:
            log.info(
                "refused",
                kind=kind.value,
                user=recorded.user,
                number=recorded.number,
                source=source,
            )

    @in_transaction
    def record_refusal(
        self,
        transaction: Transaction,
        kind: RefusalKind,
        name: str,
        source: str,
        number: int = 1,
    ) -> RecordedRefusal | None:
        """Count refusals, and return the last one if the audit names it.

        A flood fills neither audit nor log. The audit names the first refusal of a window, refusals
        from a new source, and each tenth power. The others are in the number of the next entry.
        `close_windows` writes it at the latest. A name that nobody has is not stored.
        """
        now, connection = self.runtime.now(), transaction.connection
        is_user = (
            connection.scalar(select(AUTH_USER.c.name).where(AUTH_USER.c.name == name))
            is not None
        )
        user = name if is_user else UNKNOWN_USER
        new = {
            "since": now, "number": 0, "recorded": 0, "sources": "[]",
            "last_at": now, "last_source": source, "unseen": 0, "total": 0,
        }  # fmt: skip
        row = dict(
            _lock_row(connection, REFUSAL, {"user": user, "kind": kind.value}, new)
        )
        if row["since"] <= now - REFUSAL_WINDOW or not row["number"]:
            self._write_rest(transaction, row)
            row |= {"since": now, "number": 0, "recorded": 0, "sources": "[]"}
        before, sources = row["number"], json.loads(row["sources"])
        total = before + number
        is_new_source = source not in sources and len(sources) < MAX_SOURCES
        is_named = is_new_source or _passes_power_of_ten(before, total)
        if is_new_source:
            sources.append(source)
        if is_named:
            _write_entry(transaction, now, kind, user, total, source)
        row |= {
            "number": total,
            "recorded": total if is_named else row["recorded"],
            "sources": json.dumps(sources),
            "last_at": now,
            "last_source": source,
            "unseen": row["unseen"] + number,
            "total": row["total"] + number,
        }
        connection.execute(
            _update_refusals(row).values({name: row[name] for name in new})
        )
        least = REFUSALS_BEFORE_ALERT[kind]
        if before < least <= total or (total > least and is_named):
            facts = {"user": user, "number": str(total), "source": source}
            keep_alert(transaction, now, ALERT_OF_KIND[kind], _subject(user), facts)
        return RecordedRefusal(user=user, number=total) if is_named else None

    def _write_rest(self, transaction: Transaction, row: Mapping[str, Any]) -> None:
        """Write the audit entry of a window with refusals that no entry has counted yet."""
        if row["number"] != row["recorded"]:
            kind, source = RefusalKind(row["kind"]), row["last_source"]
            _write_entry(
                transaction,
                self.runtime.now(),
                kind,
                row["user"],
                row["number"],
                source,
            )

    @in_transaction
    def take_failures(
        self, transaction: Transaction, user: str
    ) -> FailedSignIns | None:
        """Return the failed sign-ins since the last success, or None if there were none.

        The last success is now.
        """
        is_theirs = (
            REFUSAL.c.user == user,
            REFUSAL.c.kind.in_([kind.value for kind in SIGN_IN_KINDS]),
            REFUSAL.c.unseen > 0,
        )
        query = (
            select(REFUSAL)
            .where(*is_theirs)
            .order_by(REFUSAL.c.last_at)
            .with_for_update()
        )
        rows = transaction.connection.execute(query).mappings().all()
        if not rows:
            return None
        transaction.connection.execute(
            update(REFUSAL).where(*is_theirs).values(unseen=0)
        )
        number, last = sum(row["unseen"] for row in rows), rows[-1]
        return FailedSignIns(
            number=number, last_at=last["last_at"], source=last["last_source"]
        )

    async def close_windows(self) -> int:
        """Write the uncounted refusals of ended windows, and end the alerts of ended problems.

        Return the number of windows and alerts.
        """
        if not any(await self.database.read(self._find_ended)):
            return 0
        return await self._close_windows()

    def _find_ended(
        self, connection: Connection
    ) -> tuple[Sequence[Mapping[str, Any]], Collection[tuple[str, str]]]:
        """Return the ended windows, and code and subject of the alerts about ended problems."""
        over = self.runtime.now() - REFUSAL_WINDOW
        is_over = (REFUSAL.c.since <= over, REFUSAL.c.number > 0)
        windows = [
            dict(row)
            for row in connection.execute(select(REFUSAL).where(*is_over)).mappings()
        ]
        is_open = (
            ALERT.c.code.in_(ALERT_OF_KIND.values()),
            ALERT.c.cleared_at.is_(None),
        )
        alerts = connection.execute(
            select(ALERT.c.code, ALERT.c.subject).where(*is_open)
        ).all()
        recent = connection.execute(
            select(REFUSAL.c.kind, REFUSAL.c.user).where(REFUSAL.c.last_at > over)
        ).all()
        going_on = {
            (ALERT_OF_KIND[RefusalKind(row.kind)], _subject(row.user)) for row in recent
        }
        return windows, [
            (row.code, row.subject)
            for row in alerts
            if (row.code, row.subject) not in going_on
        ]

    @in_transaction
    def _close_windows(self, transaction: Transaction) -> int:
        windows, alerts = self._find_ended(transaction.connection)
        for row in windows:
            is_same = (
                REFUSAL.c.since == row["since"],
                REFUSAL.c.number == row["number"],
            )
            values = {"number": 0, "recorded": 0, "sources": "[]"}
            if transaction.connection.execute(
                _update_refusals(row).where(*is_same).values(values)
            ).rowcount:
                self._write_rest(transaction, row)
        for code, subject in alerts:
            clear_alerts(transaction, subject, self.runtime.now(), code)
        return len(windows) + len(alerts)


def forget_codes(connection: Connection, user: str | None = None) -> None:
    """Forget the wrong codes of a user, or of all users.

    The password of these codes has been replaced.
    """
    is_theirs = [_is_of_codes()]
    if user is not None:
        is_theirs.append(SIGN_IN_ATTEMPT.c.name_hash == hash_name(user))
    connection.execute(delete(SIGN_IN_ATTEMPT).where(*is_theirs))


def hash_name(name: str) -> str:
    """Return the stored form of a typed name.

    The name may be a password in the wrong field.
    """
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _limits_of_password(name: str, source: str) -> Sequence[Limit]:
    return (
        Limit(
            name=ANY_NAME,
            source=source,
            free=FREE_ATTEMPTS_OF_SOURCE,
            longest=MAX_DELAY_OF_SOURCE,
        ),
        Limit(
            name=name or UNKNOWN_USER,
            source=source,
            free=FREE_ATTEMPTS_OF_USER,
            longest=MAX_DELAY_OF_USER,
        ),
    )


def _limit_of_codes(user: str, session: str) -> Limit:
    source = f"{SESSION_PREFIX}{session}" if session else CODES
    return Limit(name=user, source=source, free=FREE_CODES, longest=MAX_DELAY_OF_CODES)


def _key(limit: Limit) -> Mapping[str, object]:
    return {"name_hash": hash_name(limit.name), "source": limit.source}


def _is_counted(limit: Limit) -> Sequence[ColumnElement[bool]]:
    return [SIGN_IN_ATTEMPT.c[column] == value for column, value in _key(limit).items()]


def _update(limit: Limit) -> Update:
    return update(SIGN_IN_ATTEMPT).where(*_is_counted(limit))


def _update_refusals(row: Mapping[str, object]) -> Update:
    return update(REFUSAL).where(
        REFUSAL.c.user == row["user"], REFUSAL.c.kind == row["kind"]
    )


def _lock_row(
    connection: Connection,
    table: Table,
    key: Mapping[str, object],
    new: Mapping[str, object],
) -> RowMapping:
    """Return the row of a key, locked; it is inserted if there is none."""
    locked = (
        select(table)
        .where(*(table.c[name] == value for name, value in key.items()))
        .with_for_update()
    )
    if (row := connection.execute(locked).mappings().one_or_none()) is not None:
        return row
    # another worker may insert it meanwhile
    with (
        contextlib.suppress(IntegrityError),
        connection.begin_nested(),
    ):
        connection.execute(insert(table).values({**key, **new}))
    return connection.execute(locked).mappings().one()


def _forget_oldest(connection: Connection) -> None:
    """Bound the number of names and sources: names that nobody has would fill the table."""
    if (
        connection.scalar(select(func.count()).select_from(SIGN_IN_ATTEMPT)) or 0
    ) <= MAX_ATTEMPT_ROWS:
        return
    may_go = ~_is_of_codes()
    oldest = (
        select(SIGN_IN_ATTEMPT.c.failed_at)
        .where(may_go)
        .order_by(SIGN_IN_ATTEMPT.c.failed_at.desc())
    )
    last_kept = oldest.offset(MAX_ATTEMPT_ROWS // 2).limit(1).scalar_subquery()
    connection.execute(
        delete(SIGN_IN_ATTEMPT).where(SIGN_IN_ATTEMPT.c.failed_at <= last_kept, may_go)
    )


def _is_of_codes() -> ColumnElement[bool]:
    """Return the condition of counts of codes.

    A person that could add these counts without end knows passwords or has sessions.
    """
    return or_(
        SIGN_IN_ATTEMPT.c.source == CODES,
        SIGN_IN_ATTEMPT.c.source.startswith(SESSION_PREFIX),
    )


def _passes_power_of_ten(before: int, number: int) -> bool:
    return not before or len(str(number)) > len(str(before))


def _subject(user: str) -> str:
    return f"user:{user}"


def _write_entry(  # noqa: PLR0913, PLR0917 # an entry has that many parts
    transaction: Transaction,
    at: datetime,
    kind: RefusalKind,
    user: str,
    number: int,
    source: str,
) -> None:
    detail = {"number": number, "source": source}
    by = Actor(role=Role.PERSON, name=user)
    write_audit(
        transaction,
        at,
        by,
        event=EVENT_OF_KIND[kind],
        subject=_subject(user),
        detail=detail,
    )
