"""The books alone: for looking, and for orders that need neither templates nor a platform."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from enum import Enum
from pathlib import Path

from publisher.domain.account import AccountId
from publisher.domain.delivery import WorkerId
from publisher.domain.terms import Terms
from publisher.settings import Settings
from publisher.store.books import Books
from publisher.store.call_record import CallRecord
from publisher.store.engine import Database, open_engine
from publisher.store.home import here
from publisher.store.journal import Journal
from publisher.store.setup import check_compared, check_journal, prepare
from publisher.wiring.terms import terms_of
from publisher.world import World


class Use(Enum):
    """What books are opened for: the more may go out by it, the more they must be sure of.

    `LOOK` looks and stops, which works with any journal: a daemon that is running may have to be stopped just then.
    `ORDER` sets posts going, on the word of books that must know all that was sent: a `resume`, ruling or `resend`
    that relies on an older database could lead to a second post. `SEND` announces calls, and has the journal open.
    """

    LOOK = "look"
    ORDER = "order"
    SEND = "send"


@contextlib.asynccontextmanager
async def open_books(settings: Settings, world: World, use: Use = Use.LOOK) -> AsyncIterator[Books]:
    """Open the books alone: no broken template may keep a person from looking, or from stopping a post.

    Raises SettingsError, or RefusedError where the database must not be used.
    """
    terms = await asyncio.to_thread(terms_of, settings)
    async with open_with(settings, world, terms, use) as books:
        yield books


@contextlib.asynccontextmanager
async def open_with(
    settings: Settings, world: World, terms: Mapping[AccountId, Terms], use: Use
) -> AsyncIterator[Books]:
    """Open the books under terms that are known already."""
    journal, sends = journal_path(settings), use is Use.SEND
    environment, is_look = settings.environment.value, use is Use.LOOK
    await prepare(settings.database, environment, journal, world, of_any_age=is_look, is_whole=sends)
    if use is Use.ORDER:
        await asyncio.to_thread(check_compared, settings.database)
    if sends:
        await asyncio.to_thread(check_journal, settings.database, worker_of(settings), journal, world.now())
    database = Database(open_engine(settings.database), world, Journal(journal) if sends else None)
    calls = CallRecord(journal.with_name("calls.log"), world.boot()) if sends else CallRecord()
    try:
        if sends and database.is_shared:
            database.home = await database.read(here)
        yield Books(database=database, terms=terms, worker=worker_of(settings), calls=calls)
    finally:
        await database.close()
        calls.close()


def worker_of(settings: Settings) -> WorkerId:
    """Name whoever works here: one machine's workspace, today and after a restart."""
    return WorkerId(f"{socket.gethostname()}:{settings.workspace}")


def journal_path(settings: Settings) -> Path:
    """Return the path of the intent journal, which is never inside the database.

    It lies in the workspace, wherever the database does: a disk that is not there takes only one of them away.
    """
    return settings.workspace / "var" / "intents.jsonl"
