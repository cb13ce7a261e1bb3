"""How entries enter the audit: at the end of their transaction, all together, each bound to the one before."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert, select

from publisher.domain.chain import FIELDS, hash_of
from publisher.store.rows import AUDIT, DATABASE_INFO
from publisher.store.tables import EPOCH, MICROSECOND

GENESIS = "audit_genesis"
"""The key that the first entry of a database is bound to."""
_TEXTS = FIELDS[1:]

_TAKE = select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == GENESIS).with_for_update()
_HEAD = select(AUDIT.c.id, AUDIT.c.hash).order_by(AUDIT.c.id.desc()).limit(1)
_WRITE = insert(AUDIT)


def append_entries(connection: Connection, entries: Sequence[Mapping[str, object]]) -> tuple[int, str]:
    """Number these entries, bind them into the chain, and write them. Returns the last one's number and hash.

    Whoever shares the database waits here for its turn until the transaction ends, so this comes last in one. The head
    is read in a statement of its own after that wait: only then it shows what the others committed.
    """
    genesis: str = connection.execute(_TAKE).scalar_one()
    head = connection.execute(_HEAD).first()
    number, previous = (head.id, head.hash) if head else (0, genesis)
    rows = []
    for entry in entries:
        number += 1
        at = (entry["at"] - EPOCH) // MICROSECOND  # type: ignore[operator] # an entry's instant is a datetime
        digest = hash_of(number, [at, *(entry[name] for name in _TEXTS)], previous)
        rows.append({**entry, "id": number, "previous": previous, "hash": digest})
        previous = digest
    connection.execute(_WRITE, rows)
    return number, previous
