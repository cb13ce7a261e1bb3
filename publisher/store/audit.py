"""Reading the audit back: its head, the whole chain, a part of it for the files of others."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import PurePath

from sqlalchemy import BigInteger, Connection, func, select, type_coerce

from publisher.domain.chain import FIELDS, Anchor, IsOurs, Link, Verification, no_key
from publisher.domain.events import Actor
from publisher.domain.excerpt import FORMAT, Title, spell_link, spell_title
from publisher.domain.loss import ACCEPTED, Acceptance, read_acceptance
from publisher.store.books import Books
from publisher.store.conditions import subject_column
from publisher.store.engine import Unit
from publisher.store.journal import Intent
from publisher.store.ledger import AUDIT_BROKEN, clear_alerts, tell, write_audit
from publisher.store.recovery import name_of
from publisher.store.rows import ALERT, AUDIT, DATABASE_INFO, DELIVERY
from publisher.store.sealing import GENESIS

PAGE = 2000
SUBJECT = "audit"
"""What an entry about the audit itself is about."""
_AT = type_coerce(AUDIT.c.at, BigInteger)
"""The instant as it is stored: what was tampered with may be no number at all."""
_LINKS = select(
    AUDIT.c.id, _AT.label("at"), *(AUDIT.c[name] for name in FIELDS[1:]), AUDIT.c.previous, AUDIT.c.hash
).order_by(AUDIT.c.id)
_GENESIS = select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == GENESIS)
_HEAD = select(AUDIT.c.id, AUDIT.c.hash).order_by(AUDIT.c.id.desc()).limit(1)


class Audit:
    """The audit as a whole."""

    def __init__(self, books: Books) -> None:
        self.books = books

    @property
    def name(self) -> str:
        """Name the database without saying where it is or how to get at it."""
        return PurePath(self.books.database.engine.url.database or "?").name

    async def head(self) -> Anchor | None:
        """Give the newest entry, for writing down outside; None while there is none."""

        def read(connection: Connection) -> Anchor | None:
            found = connection.execute(_HEAD).first()
            if found is None:
                return None
            chain, at = str(connection.scalar(_GENESIS)), self.books.world.now().isoformat()
            return Anchor(database=self.name, chain=chain, sequence=found.id, hash=found.hash, at=at)

        return await self.books.database.read(read)

    async def against(self, anchors: Sequence[Anchor], is_ours: IsOurs = no_key) -> Sequence[Anchor]:
        """Give those anchors of whose entries the database holds another or none, unless a person has accepted that."""
        query = select(AUDIT.c.id, AUDIT.c.hash).where(AUDIT.c.id.in_({anchor.sequence for anchor in anchors}))
        accepted = select(AUDIT.c.name, AUDIT.c.detail).where(AUDIT.c.event == ACCEPTED, AUDIT.c.subject == SUBJECT)

        def read(connection: Connection) -> Sequence[Anchor]:
            chain = connection.scalar(_GENESIS)
            held = {(chain, row.id, row.hash) for row in connection.execute(query)}
            lost = [anchor for anchor in anchors if (anchor.chain, anchor.sequence, anchor.hash) not in held]
            if not lost:
                return lost
            read = [read_acceptance(row.name, row.detail) for row in connection.execute(accepted)]
            valid = [item for item in read if item is not None and is_ours(item.text, item.signature)]
            known = [loss for item in valid for loss in item.losses]
            return [
                anchor
                for anchor in lost
                if not any(loss.covers(anchor.chain, anchor.sequence, anchor.hash, anchor.at) for loss in known)
            ]

        return await self.books.database.read(read)

    async def accept(self, acceptance: Acceptance, by: Actor, *, is_all: bool) -> None:
        """Write down that a person has accepted what was lost; the alert ends where nothing else is wrong."""

        def operation(unit: Unit) -> None:
            now = self.books.world.now()
            write_audit(unit, now, by, event=ACCEPTED, subject=SUBJECT, detail=acceptance.detail)
            if is_all:
                clear_alerts(unit, AUDIT_BROKEN, now)

        await self.books.database.write(operation)

    async def verify(
        self, anchors: Iterable[Anchor], intents: Sequence[Intent] = (), is_ours: IsOurs = no_key
    ) -> Verification:
        """Compute the whole chain again, and compare it with what was written down outside the database."""

        def read(connection: Connection) -> Verification:
            calls = _announced(connection, intents)
            verification = Verification(genesis=connection.scalar(_GENESIS), anchors=anchors, is_ours=is_ours)
            with _every_byte(connection):
                verification.walk(_noticing(_links(connection), calls))
            for subject, intent in calls.values():
                verification.report_missing(subject, intent.at)
            return verification

        return await self.books.database.read(read)

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
            title = self._title(connection, first or 1, last or 0)
            write(spell_title(title) + "\n")
            number = 0
            with _every_byte(connection):
                for link in _links(connection, title.first, title.last):
                    write(spell_link(link) + "\n")
                    number += 1
            return number

        return await self.books.database.read(read)

    def _title(self, connection: Connection, first: int, last: int) -> Title:
        genesis = str(connection.scalar(_GENESIS))
        before = connection.scalar(select(AUDIT.c.hash).where(AUDIT.c.id == first - 1))
        previous = genesis if first == 1 else str(before)
        return Title(format=FORMAT, database=self.name, chain=genesis, first=first, last=last, previous=previous)

    async def tell(self, code: str, reason: str) -> None:
        """Write an alert about the audit, once while it stands; its subject is its code."""

        def operation(unit: Unit) -> None:
            standing = select(ALERT.c.id).where(ALERT.c.subject == code, ALERT.c.cleared_at.is_(None))
            if unit.connection.execute(standing).first() is None:
                tell(unit, self.books.world.now(), code, code, {"reason": reason})

        await self.books.database.write(operation)

    async def calm(self, code: str) -> None:
        """Take back what was told about the audit, if anything was: that is well again."""
        standing = select(ALERT.c.id).where(ALERT.c.subject == code, ALERT.c.cleared_at.is_(None))
        if await self.books.database.read(lambda connection: connection.scalar(standing)) is not None:
            await self.books.database.write(lambda unit: clear_alerts(unit, code, self.books.world.now()))


def _links(connection: Connection, first: int = 1, last: int | None = None) -> Iterator[Link]:
    """Read entries in order, few at a time. One with a number below 1 is none of ours, and is read as well."""
    query = _LINKS if last is None else _LINKS.where(AUDIT.c.id.between(first, last))
    rows = connection.execution_options(yield_per=PAGE).execute(query)
    for number, at, *fields, previous, digest in rows:
        yield Link(sequence=number, fields=(at, *fields), previous=previous, hash=digest)


@contextmanager
def _every_byte(connection: Connection) -> Iterator[None]:
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


Calls = dict[tuple[str, int], tuple[str, Intent]]


def _announced(connection: Connection, intents: Sequence[Intent]) -> Calls:
    """Give the calls announced in the journal by what the audit calls them: subject and attempt."""
    wanted = sorted({intent.delivery for intent in intents})
    subjects: dict[int, str] = {}
    for position in range(0, len(wanted), PAGE):
        some = DELIVERY.c.id.in_(wanted[position : position + PAGE])
        rows = connection.execute(select(DELIVERY.c.id, subject_column().label("subject")).where(some))
        subjects |= {row.id: row.subject for row in rows}
    return {
        (subject, intent.attempt): (subject, intent)
        for intent in intents
        for subject in [name_of(intent) if intent.post else subjects.get(intent.delivery, f"? ({intent.delivery})")]
    }


def _noticing(links: Iterator[Link], calls: Calls) -> Iterator[Link]:
    """Pass the entries on, and strike off the calls that they tell of."""
    for link in links:
        if calls and link.fields[3] == "attempt_started":
            calls.pop((str(link.fields[4]), _attempt_of(link)), None)
        elif calls and link.fields[3] in {"attempts_recovered", "attempt_orphaned"}:
            for call in _calls_of(link):
                calls.pop((name_of(call), call.attempt), None)
        yield link


def _calls_of(link: Link) -> list[Intent]:
    """Read the calls of which an entry tells that the database had lost them."""
    try:
        detail = json.loads(str(link.fields[7]))
        return [Intent.from_row(call) for call in detail.get("calls", [detail])]
    except (ValueError, TypeError, AttributeError):
        return []


def _attempt_of(link: Link) -> int:
    try:
        detail: Mapping[str, object] = json.loads(str(link.fields[7]))
        return int(str(detail["attempt"]))
    except (ValueError, TypeError, KeyError):
        return -1
