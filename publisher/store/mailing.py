"""When the audit's head was last mailed, kept in the database: neither a restart nor another host mails it again."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from publisher.domain.chain import Anchor
from publisher.store.audit import Audit
from publisher.store.engine import Unit
from publisher.store.ledger import take_turn
from publisher.store.rows import DATABASE_INFO

MAIL = "audit_mail"
"""The key: when a mail was last tried and last sent, and which head that was."""
DAY = timedelta(days=1)
AGAIN = timedelta(hours=1)
"""A mail that failed is tried again after so long: a login that is refused too often is locked."""

Note = Mapping[str, str]


async def take_mail(audit: Audit) -> Anchor | None:
    """Give the head if it is to be mailed now; nobody else is given it within the next hour."""
    head, now = await audit.head(), audit.books.world.now()
    if head is None or not _is_due(await audit.books.database.read(_noted), head, now):
        return None

    def operation(unit: Unit) -> Anchor | None:
        take_turn(unit)
        note = _noted(unit.connection)
        if not _is_due(note, head, now):
            return None
        _write(unit, {**note, "tried_at": now.isoformat()})
        return head

    return await audit.books.database.write(operation)


async def note_mailed(audit: Audit, head: Anchor) -> None:
    """Remember that a head has been mailed."""
    now = audit.books.world.now().isoformat()
    note = {"tried_at": now, "sent_at": now, "chain": head.chain, "hash": head.hash}
    await audit.books.database.write(lambda unit: _write(unit, note))


def _is_due(note: Note, head: Anchor, now: datetime) -> bool:
    is_news = (note.get("chain"), note.get("hash")) != (head.chain, head.hash)
    return is_news and _is_past(note.get("sent_at"), DAY, now) and _is_past(note.get("tried_at"), AGAIN, now)


def _is_past(noted: str | None, span: timedelta, now: datetime) -> bool:
    """Whether so much time lies behind; an instant far ahead was noted by a clock that has been set back since."""
    return noted is None or abs(now - datetime.fromisoformat(noted)) >= span


def _noted(connection: Connection) -> Note:
    written = connection.scalar(select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == MAIL))
    note: Note = json.loads(written) if written else {}
    return note


def _write(unit: Unit, note: Note) -> None:
    unit.connection.execute(delete(DATABASE_INFO).where(DATABASE_INFO.c.key == MAIL))
    unit.connection.execute(insert(DATABASE_INFO).values(key=MAIL, value=json.dumps(note)))
