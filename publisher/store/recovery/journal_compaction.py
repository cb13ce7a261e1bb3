"""The journal is kept short: old lines go whose calls the database knows, and knows to be over."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from publisher.store.db.intent_journal import JournalRecord, read_records
from publisher.store.db.mappers import ATTEMPT
from publisher.store.store import Store

JOURNAL_RETENTION = timedelta(days=90)
"""A backup older than this may find that the journal does not reach back to it."""
COMPACT_BATCH_SIZE = 500


async def compact_journal(store: Store) -> int:
    """Leave out what is old and over. Returns how many lines went; a death at any moment leaves a whole journal."""
    journal = store.database.journal
    if journal is None:
        return 0
    before = store.runtime.now() - JOURNAL_RETENTION
    lines = await asyncio.to_thread(read_records, journal.path, None)
    old = [line for line in lines if datetime.fromisoformat(line.at) < before]
    if not old:
        return 0
    gone = await store.database.read(lambda connection: _finished_records(connection, old))
    return await asyncio.to_thread(journal.compact, gone)


def _finished_records(connection: Connection, records: Sequence[JournalRecord]) -> frozenset[JournalRecord]:
    """Give those calls whose attempt is there and has ended. A call is known by its words and its instant."""
    gone: set[JournalRecord] = set()
    for start in range(0, len(records), COMPACT_BATCH_SIZE):
        some = records[start : start + COMPACT_BATCH_SIZE]
        rows = connection.execute(
            select(ATTEMPT.c.rendered_hash, ATTEMPT.c.intended_at).where(
                ATTEMPT.c.delivery.in_([call.delivery for call in some]), ATTEMPT.c.ended_at.is_not(None)
            )
        )
        over = {(row.rendered_hash, row.intended_at) for row in rows}
        gone |= {call for call in some if (call.rendered_hash, datetime.fromisoformat(call.at)) in over}
    return frozenset(gone)
