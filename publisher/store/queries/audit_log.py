"""Reads the audit: its head for checkpoints, the whole chain to verify, and a part to export."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
)

from publisher.domain.account import AccountId
from publisher.domain.audit_chain import (
    ENTRY_FIELDS,
    EXPORT_FORMAT,
    LOSS_ACCEPTED_EVENT,
    OLDER_DATABASE_EVENT,
    RESTORED_EVENT,
    AcceptedDataLoss,
    ChainEntry,
    Checkpoint,
    ExportHeader,
    SignatureCheck,
    format_entry,
    format_header,
    parse_accepted_loss,
    parse_cut_checkpoints,
    reject_signature,
)
from publisher.domain.audit_verifier import ChainVerifier
from publisher.domain.delivery import Actor, Role
from publisher.store.base import StorePart
from publisher.store.comparison import void_authority
from publisher.store.db.database import GENESIS_KEY, Transaction, in_transaction
from publisher.store.db.intent_journal import JournalRecord
from publisher.store.db.monitor_tables import FORMER_ID
from publisher.store.db.rows import (
    AUDIT_BROKEN,
    clear_alerts,
    keep_alert,
    open_alerts,
    write_audit,
)
from publisher.store.db.tables import AUDIT, DATABASE_INFO
from publisher.store.lost_attempts import RECOVERY_MAINTENANCE, subject_of_record

AUDIT_PAGE_SIZE = 2000
AUDIT_SUBJECT = "audit"
"""The subject of an entry about the audit itself."""
_AT = type_coerce(AUDIT.c.at, BigInteger)
"""The instant as stored: after tampering it may not even be a number."""
_CHAIN_ENTRIES = select(
    AUDIT.c.id,
    _AT.label("at"),
    *(AUDIT.c[name] for name in ENTRY_FIELDS[1:]),
    AUDIT.c.previous,
    AUDIT.c.hash,
).order_by(AUDIT.c.id)
_IS_OF_PERSON = AUDIT.c.role == literal_column(f"'{Role.PERSON.value}'")
"""Written as a literal, so that the index of people's entries is used."""
_RECORD_COLUMNS = (
    "id",
    "at",
    "role",
    "name",
    "event",
    "subject",
    "before",
    "after",
    "detail",
    "hash",
)
_GENESIS = select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == GENESIS_KEY)
_HEAD = select(AUDIT.c.id, AUDIT.c.hash).order_by(AUDIT.c.id.desc()).limit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """The filter of listed entries: `text` in the subject, `by` a person, jobs with `has_jobs`.

    Entries of jobs are listed only with `has_jobs`. If there are `events`, only their entries are
    listed.
    """

    text: str = ""
    by: str = ""
    event: str = ""
    events: Collection[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    has_jobs: bool = False
    accounts: Collection[AccountId] | None = None
    """Only entries about these accounts, and deliveries on them; None for all entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One entry as people read it. `detail` is empty where it cannot be read."""

    id: int
    at: datetime
    role: str
    name: str
    event: str
    subject: str
    before: str | None
    after: str | None
    detail: Mapping[str, object]
    hash: str


class AuditLog(StorePart):
    @property
    def name(self) -> str:
        """Return the name of the database, without its location or credentials."""
        return PurePath(self.database.engine.url.database or "?").name

    async def read_checkpoint(self) -> Checkpoint | None:
        """Return the newest entry, to be kept outside the database; None while there is none."""

        def read(connection: Connection) -> Checkpoint | None:
            head = connection.execute(_HEAD).first()
            if head is None:
                return None
            chain, at = str(connection.scalar(_GENESIS)), self.runtime.now().isoformat()
            return Checkpoint(
                database=self.name, chain=chain, sequence=head.id, hash=head.hash, at=at
            )

        return await self.database.read(read)

    async def mismatched_checkpoints(
        self,
        checkpoints: Sequence[Checkpoint],
        is_ours: SignatureCheck = reject_signature,
    ) -> Sequence[Checkpoint]:
        """Return the checkpoints with differing or missing entries.

        A checkpoint is left out if a person has accepted that loss.
        """
        sequences = {checkpoint.sequence for checkpoint in checkpoints}
        query = select(AUDIT.c.id, AUDIT.c.hash).where(AUDIT.c.id.in_(sequences))
        accepted = select(AUDIT.c.name, AUDIT.c.detail).where(
            AUDIT.c.event == LOSS_ACCEPTED_EVENT, AUDIT.c.subject == AUDIT_SUBJECT
        )

        def read(connection: Connection) -> Sequence[Checkpoint]:
            chain = connection.scalar(_GENESIS)
            stored = {(chain, row.id, row.hash) for row in connection.execute(query)}
            lost = [
                item
                for item in checkpoints
                if (item.chain, item.sequence, item.hash) not in stored
            ]
            if not lost:
                return lost
            acceptances = [
                parse_accepted_loss(row.name, row.detail)
                for row in connection.execute(accepted)
            ]
            losses = [
                loss
                for item in acceptances
                if item is not None and is_ours(item.signing_text, item.signature)
                for loss in item.losses
            ]
            return [
                item for item in lost if not any(loss.covers(item) for loss in losses)
            ]

        return await self.database.read(read)

    @in_transaction
    def void_authority_once(self, transaction: Transaction, lost: Checkpoint) -> None:
        """End sign-ins and approvals of unsent content, once for each missed checkpoint.

        It is skipped if it was done when this checkpoint was first missed.
        """
        connection, cut = transaction.connection, (lost.sequence, lost.hash)
        known = select(AUDIT.c.detail).where(
            AUDIT.c.event.in_([RESTORED_EVENT, OLDER_DATABASE_EVENT])
        )
        if any(
            cut in parse_cut_checkpoints(detail) for detail in connection.scalars(known)
        ):
            return
        now, by = self.runtime.now(), RECOVERY_MAINTENANCE
        detail = {"cut": [{"sequence": lost.sequence, "hash": lost.hash}]}
        write_audit(
            transaction,
            now,
            by,
            event=OLDER_DATABASE_EVENT,
            subject="database",
            detail=detail,
        )
        void_authority(transaction, now, by, "older")

    @in_transaction
    def record_acceptance(
        self,
        transaction: Transaction,
        acceptance: AcceptedDataLoss,
        by: Actor,
        *,
        is_everything_accepted: bool,
    ) -> None:
        """Record that a person has accepted a loss.

        The alert is cleared if nothing else is wrong.
        """
        now = self.runtime.now()
        write_audit(
            transaction,
            now,
            by,
            event=LOSS_ACCEPTED_EVENT,
            subject=AUDIT_SUBJECT,
            detail=acceptance.detail,
        )
        if is_everything_accepted:
            clear_alerts(transaction, AUDIT_BROKEN, now)

    async def verify(
        self,
        checkpoints: Iterable[Checkpoint],
        records: Sequence[JournalRecord] = (),
        is_ours: SignatureCheck = reject_signature,
    ) -> ChainVerifier:
        """Recompute the whole chain, and compare it with checkpoints and journal.

        Both are outside the database.
        """

        def read(connection: Connection) -> ChainVerifier:
            unseen = {
                (subject_of_record(record), record.attempt): record
                for record in records
            }

            def discard_recorded(entries: Iterator[ChainEntry]) -> Iterator[ChainEntry]:
                for entry in entries:
                    if unseen:
                        for attempt in _recorded_attempts(entry):
                            unseen.pop(attempt, None)
                    yield entry

            verifier = ChainVerifier(
                genesis=connection.scalar(_GENESIS),
                checkpoints=checkpoints,
                is_own_signature=is_ours,
            )
            with _lossless_text(connection):
                verifier.verify(discard_recorded(_chain_entries(connection)))
            for (subject, _number), record in unseen.items():
                verifier.report_unknown_attempt(subject, record.at)
            return verifier

        return await self.database.read(read)

    async def export(
        self,
        write: Callable[[str], object],
        since: datetime | None,
        until: datetime | None,
    ) -> int:
        """Write a header and the entries of a time span, one per line. Return how many entries.

        The clock may have gone back between two entries, so all between the first and the last of
        the span are written.
        """

        def read(connection: Connection) -> int:
            span = select(func.min(AUDIT.c.id), func.max(AUDIT.c.id))
            if since is not None:
                span = span.where(AUDIT.c.at >= since)
            if until is not None:
                span = span.where(AUDIT.c.at < until)
            bounds = connection.execute(span).one()
            first, last = bounds[0] or 1, bounds[1] or 0
            genesis = str(connection.scalar(_GENESIS))
            previous = connection.scalar(
                select(AUDIT.c.hash).where(AUDIT.c.id == first - 1)
            )
            header = ExportHeader(
                format=EXPORT_FORMAT,
                database=self.name,
                chain=genesis,
                first=first,
                last=last,
                previous=genesis if first == 1 else str(previous),
            )
            write(format_header(header) + "\n")
            number = 0
            with _lossless_text(connection):
                for entry in _chain_entries(connection, first, last):
                    write(format_entry(entry) + "\n")
                    number += 1
            return number

        return await self.database.read(read)

    async def search(self, wanted: AuditFilter, limit: int) -> Sequence[AuditRecord]:
        """Return entries, newest first."""
        conditions: list[ColumnElement[bool]] = (
            [] if wanted.has_jobs else [_IS_OF_PERSON]
        )
        if wanted.text:
            conditions.append(AUDIT.c.subject.icontains(wanted.text, autoescape=True))
        if wanted.by:
            conditions.append(AUDIT.c.name == wanted.by)
        if wanted.event:
            conditions.append(AUDIT.c.event == wanted.event)
        if wanted.events:
            conditions.append(AUDIT.c.event.in_(wanted.events))
        if wanted.since is not None:
            conditions.append(AUDIT.c.at >= wanted.since)
        if wanted.until is not None:
            conditions.append(AUDIT.c.at < wanted.until)
        if wanted.before is not None:
            conditions.append(AUDIT.c.id < wanted.before)
        conditions += await self._list_limits(wanted.accounts)
        newest = (
            select(*(AUDIT.c[name] for name in _RECORD_COLUMNS))
            .order_by(AUDIT.c.id.desc())
            .limit(limit)
        )
        query = newest.where(*conditions)
        rows = await self.database.read(
            lambda connection: connection.execute(query).mappings().all()
        )
        return [
            AuditRecord(**{**row, "detail": load_detail(row["detail"])}) for row in rows
        ]

    async def _list_limits(
        self, accounts: Collection[AccountId] | None
    ) -> Sequence[ColumnElement[bool]]:
        """Return the conditions of entries about these accounts, under former ids too.

        For all entries there are none.
        """
        if accounts is None:
            return ()
        former = select(FORMER_ID.c.id).where(FORMER_ID.c.account.in_(accounts))
        names = [
            *accounts,
            *await self.database.read_scalars(former),
        ]
        own = [
            AUDIT.c.subject.endswith(f"@{account}", autoescape=True)
            for account in names
        ]
        return [
            or_(AUDIT.c.subject.in_([f"account:{account}" for account in names]), *own)
        ]

    async def events_of_people(
        self, accounts: Collection[AccountId] | None = None
    ) -> Sequence[str]:
        """Return the kinds of entries that people caused, by code.

        If accounts are given, return the kinds of entries about them.
        """
        limits = await self._list_limits(accounts)
        query = (
            select(AUDIT.c.event)
            .where(_IS_OF_PERSON, *limits)
            .distinct()
            .order_by(AUDIT.c.event)
        )
        return await self.database.read_scalars(query)

    async def people(
        self, accounts: Collection[AccountId] | None = None
    ) -> Sequence[str]:
        """Return the names of the people that have acted; if given, on these accounts."""
        limits = await self._list_limits(accounts)
        query = (
            select(AUDIT.c.name)
            .where(_IS_OF_PERSON, *limits)
            .distinct()
            .order_by(AUDIT.c.name)
        )
        return await self.database.read_scalars(query)

    @in_transaction
    def raise_alert_once(
        self, transaction: Transaction, code: str, reason: str
    ) -> None:
        """Raise an alert about the audit, unless it is open already. Its subject is its code."""
        if not open_alerts(transaction.connection, code):
            keep_alert(transaction, self.runtime.now(), code, code, {"reason": reason})

    async def clear_alert(self, code: str) -> None:
        """Clear an alert about the audit, if it is open."""
        if await self.database.read(open_alerts, code):
            await self.database.write(clear_alerts, code, self.runtime.now())


def load_detail(text: str) -> Mapping[str, object]:
    """Return the detail of an entry.

    It is empty if it was tampered with. `verify` reports that.
    """
    try:
        detail = json.loads(text)
    except ValueError:
        return {}
    return detail if isinstance(detail, dict) else {}


def _chain_entries(
    connection: Connection, first: int = 1, last: int | None = None
) -> Iterator[ChainEntry]:
    """Read entries in order, page by page.

    It includes entries with a number below 1. They are not ours.
    """
    query = (
        _CHAIN_ENTRIES
        if last is None
        else _CHAIN_ENTRIES.where(AUDIT.c.id.between(first, last))
    )
    rows = connection.execution_options(yield_per=AUDIT_PAGE_SIZE).execute(query)
    for number, at, *fields, previous, digest in rows:
        yield ChainEntry(
            sequence=number, fields=(at, *fields), previous=previous, hash=digest
        )


@contextmanager
def _lossless_text(connection: Connection) -> Iterator[None]:
    """Make SQLite return text that is not valid UTF-8, instead of raising."""
    driver = connection.connection.driver_connection
    if connection.dialect.name != "sqlite" or driver is None:
        yield
        return
    driver.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = str


AttemptKey = tuple[str, int]
"""An attempt as the audit names it: the subject of its delivery, and its number."""


def _recorded_attempts(entry: ChainEntry) -> list[AttemptKey]:
    """Return the attempts that an entry shows as started, recovered or orphaned.

    Return none if its detail is unreadable.
    """
    event, subject, text = entry.fields[3], entry.fields[4], entry.fields[7]
    try:
        if event == "attempt_started":
            return [(str(subject), int(str(json.loads(str(text))["attempt"])))]
        if event in {"attempts_recovered", "attempt_orphaned"}:
            detail = json.loads(str(text))
            records = [
                JournalRecord.from_row(row) for row in detail.get("calls", [detail])
            ]
            return [(subject_of_record(record), record.attempt) for record in records]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    return []
