"""Reading the audit back: its head, the whole chain, a part of it for the files of others."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import PurePath

from sqlalchemy import BigInteger, Connection, func, select, type_coerce

from publisher.domain.audit_chain import (
    ENTRY_FIELDS,
    LOSS_ACCEPTED_EVENT,
    AcceptedDataLoss,
    ChainEntry,
    ChainVerifier,
    Checkpoint,
    SignatureCheck,
    parse_accepted_loss,
    reject_signature,
)
from publisher.domain.audit_export import EXPORT_FORMAT, ExportHeader, format_entry, format_header
from publisher.domain.events import Actor
from publisher.store.audit.append import AUDIT_BROKEN, clear_alerts, raise_alert, write_audit
from publisher.store.db.database import GENESIS_KEY, Transaction
from publisher.store.db.filters import subject_column
from publisher.store.db.intent_journal import JournalRecord
from publisher.store.db.mappers import ALERT, AUDIT, DATABASE_INFO, DELIVERY
from publisher.store.recovery.recover import subject_of_record
from publisher.store.store import Store

AUDIT_PAGE_SIZE = 2000
AUDIT_SUBJECT = "audit"
"""What an entry about the audit itself is about."""
_AT = type_coerce(AUDIT.c.at, BigInteger)
"""The instant as it is stored: what was tampered with may be no number at all."""
_CHAIN_ENTRIES = select(
    AUDIT.c.id, _AT.label("at"), *(AUDIT.c[name] for name in ENTRY_FIELDS[1:]), AUDIT.c.previous, AUDIT.c.hash
).order_by(AUDIT.c.id)
_GENESIS = select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == GENESIS_KEY)
_HEAD = select(AUDIT.c.id, AUDIT.c.hash).order_by(AUDIT.c.id.desc()).limit(1)


class AuditLog:
    """The audit as a whole."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def name(self) -> str:
        """Name the database without saying where it is or how to get at it."""
        return PurePath(self.store.database.engine.url.database or "?").name

    async def read_checkpoint(self) -> Checkpoint | None:
        """Give the newest entry, for writing down outside; None while there is none."""

        def read(connection: Connection) -> Checkpoint | None:
            found = connection.execute(_HEAD).first()
            if found is None:
                return None
            chain, at = str(connection.scalar(_GENESIS)), self.store.runtime.now().isoformat()
            return Checkpoint(database=self.name, chain=chain, sequence=found.id, hash=found.hash, at=at)

        return await self.store.database.read(read)

    async def mismatched_checkpoints(
        self, checkpoints: Sequence[Checkpoint], is_ours: SignatureCheck = reject_signature
    ) -> Sequence[Checkpoint]:
        """Give those anchors of whose entries the database holds another or none, unless a person has accepted that."""
        query = select(AUDIT.c.id, AUDIT.c.hash).where(AUDIT.c.id.in_({anchor.sequence for anchor in checkpoints}))
        accepted = select(AUDIT.c.name, AUDIT.c.detail).where(
            AUDIT.c.event == LOSS_ACCEPTED_EVENT, AUDIT.c.subject == AUDIT_SUBJECT
        )

        def read(connection: Connection) -> Sequence[Checkpoint]:
            chain = connection.scalar(_GENESIS)
            held = {(chain, row.id, row.hash) for row in connection.execute(query)}
            lost = [anchor for anchor in checkpoints if (anchor.chain, anchor.sequence, anchor.hash) not in held]
            if not lost:
                return lost
            read = [parse_accepted_loss(row.name, row.detail) for row in connection.execute(accepted)]
            valid = [item for item in read if item is not None and is_ours(item.signing_text, item.signature)]
            known = [loss for item in valid for loss in item.losses]
            return [
                anchor
                for anchor in lost
                if not any(loss.covers(anchor.chain, anchor.sequence, anchor.hash, anchor.at) for loss in known)
            ]

        return await self.store.database.read(read)

    async def record_acceptance(self, acceptance: AcceptedDataLoss, by: Actor, *, is_everything_accepted: bool) -> None:
        """Write down that a person has accepted what was lost; the alert ends where nothing else is wrong."""

        def operation(transaction: Transaction) -> None:
            now = self.store.runtime.now()
            write_audit(
                transaction, now, by, event=LOSS_ACCEPTED_EVENT, subject=AUDIT_SUBJECT, detail=acceptance.detail
            )
            if is_everything_accepted:
                clear_alerts(transaction, AUDIT_BROKEN, now)

        await self.store.database.write(operation)

    async def verify(
        self,
        checkpoints: Iterable[Checkpoint],
        records: Sequence[JournalRecord] = (),
        is_ours: SignatureCheck = reject_signature,
    ) -> ChainVerifier:
        """Compute the whole chain again, and compare it with what was written down outside the database."""

        def read(connection: Connection) -> ChainVerifier:
            calls = _journaled_calls(connection, records)
            verification = ChainVerifier(
                genesis=connection.scalar(_GENESIS), checkpoints=checkpoints, is_own_signature=is_ours
            )
            with _lossless_text(connection):
                verification.verify(_discard_recorded(_chain_entries(connection), calls))
            for subject, intent in calls.values():
                verification.report_unknown_attempt(subject, intent.at)
            return verification

        return await self.store.database.read(read)

    async def export(self, write: Callable[[str], object], since: datetime | None, until: datetime | None) -> int:
        """Write the entries of a span of time as lines, the first one being the title. Returns how many.

        Clocks may have gone back between two entries; what lies between the first and the last of the span is kept.
        """

        def read(connection: Connection) -> int:
            span = select(func.min(AUDIT.c.id), func.max(AUDIT.c.id))
            if since is not None:
                span = span.where(AUDIT.c.at >= since)
            if until is not None:
                span = span.where(AUDIT.c.at < until)
            first, last = connection.execute(span).one()
            title = self._export_header(connection, first or 1, last or 0)
            write(format_header(title) + "\n")
            number = 0
            with _lossless_text(connection):
                for link in _chain_entries(connection, title.first, title.last):
                    write(format_entry(link) + "\n")
                    number += 1
            return number

        return await self.store.database.read(read)

    def _export_header(self, connection: Connection, first: int, last: int) -> ExportHeader:
        genesis = str(connection.scalar(_GENESIS))
        before = connection.scalar(select(AUDIT.c.hash).where(AUDIT.c.id == first - 1))
        previous = genesis if first == 1 else str(before)
        return ExportHeader(
            format=EXPORT_FORMAT, database=self.name, chain=genesis, first=first, last=last, previous=previous
        )

    async def raise_alert_once(self, code: str, reason: str) -> None:
        """Write an alert about the audit, once while it stands; its subject is its code."""

        def operation(transaction: Transaction) -> None:
            standing = select(ALERT.c.id).where(ALERT.c.subject == code, ALERT.c.cleared_at.is_(None))
            if transaction.connection.execute(standing).first() is None:
                raise_alert(transaction, self.store.runtime.now(), code, code, {"reason": reason})

        await self.store.database.write(operation)

    async def clear_alert(self, code: str) -> None:
        """Take back what was told about the audit, if anything was: that is well again."""
        standing = select(ALERT.c.id).where(ALERT.c.subject == code, ALERT.c.cleared_at.is_(None))
        if await self.store.database.read(lambda connection: connection.scalar(standing)) is not None:
            await self.store.database.write(
                lambda transaction: clear_alerts(transaction, code, self.store.runtime.now())
            )


def _chain_entries(connection: Connection, first: int = 1, last: int | None = None) -> Iterator[ChainEntry]:
    """Read entries in order, few at a time. One with a number below 1 is none of ours, and is read as well."""
    query = _CHAIN_ENTRIES if last is None else _CHAIN_ENTRIES.where(AUDIT.c.id.between(first, last))
    rows = connection.execution_options(yield_per=AUDIT_PAGE_SIZE).execute(query)
    for number, at, *fields, previous, digest in rows:
        yield ChainEntry(sequence=number, fields=(at, *fields), previous=previous, hash=digest)


@contextmanager
def _lossless_text(connection: Connection) -> Iterator[None]:
    """Let SQLite hand out text that is no UTF-8 any more, instead of failing on it."""
    driver = connection.connection.driver_connection
    if connection.dialect.name != "sqlite" or driver is None:
        yield
        return
    driver.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = str


RecordsByCall = dict[tuple[str, int], tuple[str, JournalRecord]]


def _journaled_calls(connection: Connection, records: Sequence[JournalRecord]) -> RecordsByCall:
    """Give the calls announced in the journal by what the audit calls them: subject and attempt."""
    wanted = sorted({intent.delivery for intent in records})
    subjects: dict[int, str] = {}
    for position in range(0, len(wanted), AUDIT_PAGE_SIZE):
        some = DELIVERY.c.id.in_(wanted[position : position + AUDIT_PAGE_SIZE])
        rows = connection.execute(select(DELIVERY.c.id, subject_column().label("subject")).where(some))
        subjects |= {row.id: row.subject for row in rows}
    return {
        (subject, intent.attempt): (subject, intent)
        for intent in records
        for subject in [
            subject_of_record(intent) if intent.post else subjects.get(intent.delivery, f"? ({intent.delivery})")
        ]
    }


def _discard_recorded(entries: Iterator[ChainEntry], calls: RecordsByCall) -> Iterator[ChainEntry]:
    """Pass the entries on, and strike off the calls that they tell of."""
    for link in entries:
        if calls and link.fields[3] == "attempt_started":
            calls.pop((str(link.fields[4]), _attempt_of(link)), None)
        elif calls and link.fields[3] in {"attempts_recovered", "attempt_orphaned"}:
            for call in _recovered_records(link):
                calls.pop((subject_of_record(call), call.attempt), None)
        yield link


def _recovered_records(entry: ChainEntry) -> list[JournalRecord]:
    """Read the calls of which an entry tells that the database had lost them."""
    try:
        detail = json.loads(str(entry.fields[7]))
        return [JournalRecord.from_row(call) for call in detail.get("calls", [detail])]
    except (ValueError, TypeError, AttributeError):
        return []


def _attempt_of(entry: ChainEntry) -> int:
    try:
        detail: Mapping[str, object] = json.loads(str(entry.fields[7]))
        return int(str(detail["attempt"]))
    except (ValueError, TypeError, KeyError):
        return -1
