"""The journal is kept short: old lines go whose calls the database knows, and knows to be over."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from publisher.store.books import Books
from publisher.store.journal import Intent, newest_intents
from publisher.store.rows import ATTEMPT

KEPT_FOR = timedelta(days=90)
"""A backup older than this may find that the journal does not reach back to it."""
AT_A_TIME = 500


async def shorten_journal(books: Books) -> int:
    """Leave out what is old and over. Returns how many lines went; a death at any moment leaves a whole journal."""
    journal = books.database.journal
    if journal is None:
        return 0
    before = books.world.now() - KEPT_FOR
    lines = await asyncio.to_thread(newest_intents, journal.path, None)
    old = [line for line in lines if datetime.fromisoformat(line.at) < before]
    if not old:
        return 0
    gone = await books.database.read(lambda connection: _over(connection, old))
    return await asyncio.to_thread(journal.drop, gone)


def _over(connection: Connection, calls: Sequence[Intent]) -> frozenset[Intent]:
    """Give those calls whose attempt is there and has ended. A call is known by its words and its instant."""
    gone: set[Intent] = set()
    for start in range(0, len(calls), AT_A_TIME):
        some = calls[start : start + AT_A_TIME]
        rows = connection.execute(
            select(ATTEMPT.c.rendition, ATTEMPT.c.intended_at).where(
                ATTEMPT.c.delivery.in_([call.delivery for call in some]), ATTEMPT.c.ended_at.is_not(None)
            )
        )
        over = {(row.rendition, row.intended_at) for row in rows}
        gone |= {call for call in some if (call.rendition, datetime.fromisoformat(call.at)) in over}
    return frozenset(gone)
