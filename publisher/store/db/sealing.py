"""How entries enter the audit: at the end of their transaction, all together, each bound to the one before."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert, select

from publisher.domain.audit_chain import ENTRY_FIELDS, hash_entry
from publisher.store.db.mappers import AUDIT, DATABASE_INFO
from publisher.store.db.tables import MICROSECOND, UNIX_EPOCH

GENESIS_KEY = "audit_genesis"
"""The key that the first entry of a database is bound to."""
_TEXT_FIELDS = ENTRY_FIELDS[1:]

_LOCK_GENESIS = select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == GENESIS_KEY).with_for_update()
_HEAD = select(AUDIT.c.id, AUDIT.c.hash).order_by(AUDIT.c.id.desc()).limit(1)
_INSERT_ENTRIES = insert(AUDIT)


def append_entries(connection: Connection, entries: Sequence[Mapping[str, object]]) -> tuple[int, str]:
    """Number these entries, bind them into the chain, and write them. Returns the last one's number and hash.

    Whoever shares the database waits here for its turn until the transaction ends, so this comes last in one. The head
    is read in a statement of its own after that wait: only then it shows what the others committed.
    """
    genesis: str = connection.execute(_LOCK_GENESIS).scalar_one()
    head = connection.execute(_HEAD).first()
    number, previous = (head.id, head.hash) if head else (0, genesis)
    rows = []
    for entry in entries:
        number += 1
        at = (entry["at"] - UNIX_EPOCH) // MICROSECOND  # type: ignore[operator] # an entry's instant is a datetime
        digest = hash_entry(number, [at, *(entry[name] for name in _TEXT_FIELDS)], previous)
        rows.append({**entry, "id": number, "previous": previous, "hash": digest})
        previous = digest
    connection.execute(_INSERT_ENTRIES, rows)
    return number, previous
