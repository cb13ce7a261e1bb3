"""Compaction of the intent journal: old records go once the database has their attempt, and it has ended."""

import asyncio
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from publisher.store.db.intent_journal import JournalRecord, read_records
from publisher.store.db.mappers import ATTEMPT
from publisher.store.store import Store

JOURNAL_RETENTION = timedelta(days=90)
"""The journal may not reach back to a backup that is older than this."""
COMPACT_BATCH_SIZE = 500


async def compact_journal(store: Store) -> int:
    """Drop old records of ended attempts. Returns how many; a crash at any moment leaves a complete journal."""
    journal = store.database.journal
    if journal is None:
        return 0
    before = store.runtime.now() - JOURNAL_RETENTION
    records = await asyncio.to_thread(read_records, journal.path, None)
    old = [record for record in records if datetime.fromisoformat(record.at) < before]
    if not old:
        return 0

    def read_ended(connection: Connection) -> frozenset[JournalRecord]:
        """Return the records whose attempt has ended. A record is identified by its rendered text and instant."""
        ended: set[JournalRecord] = set()
        for start in range(0, len(old), COMPACT_BATCH_SIZE):
            batch = old[start : start + COMPACT_BATCH_SIZE]
            of_batch = ATTEMPT.c.delivery.in_([record.delivery for record in batch])
            attempts = select(ATTEMPT.c.rendered_hash, ATTEMPT.c.intended_at).where(of_batch)
            rows = connection.execute(attempts.where(ATTEMPT.c.ended_at.is_not(None)))
            keys = {(row.rendered_hash, row.intended_at) for row in rows}
            ended |= {one for one in batch if (one.rendered_hash, datetime.fromisoformat(one.at)) in keys}
        return frozenset(ended)

    ended = await store.database.read(read_ended)
    return await asyncio.to_thread(journal.compact, ended)
