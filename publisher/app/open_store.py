"""The books alone: for looking, and for orders that need neither templates nor a platform."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from enum import Enum
from pathlib import Path

from publisher.app.adapters import build_policies
from publisher.config import Settings
from publisher.domain.account import AccountId
from publisher.domain.delivery import WorkerId
from publisher.domain.policy import AccountPolicy
from publisher.runtime.clock import Runtime
from publisher.store.db.call_record import CallRecord
from publisher.store.db.database import Database, open_engine
from publisher.store.db.intent_journal import IntentJournal
from publisher.store.recovery.identity import current_identity
from publisher.store.recovery.setup import check_awaited_journal, check_journals_compared, prepare_database
from publisher.store.store import Store


class AccessMode(Enum):
    """What books are opened for: the more may go out by it, the more they must be sure of.

    `LOOK` looks and stops, which works with any journal: a daemon that is running may have to be stopped just then.
    `ORDER` sets posts going, on the word of books that must know all that was sent: a `resume`, ruling or `resend`
    that relies on an older database could lead to a second post. `SEND` announces calls, and has the journal open.
    """

    READ = "read"
    COMMAND = "command"
    SEND = "send"


@contextlib.asynccontextmanager
async def open_store(
    settings: Settings, runtime: Runtime, access: AccessMode = AccessMode.READ
) -> AsyncIterator[Store]:
    """Open the books alone: no broken template may keep a person from looking, or from stopping a post.

    Raises SettingsError, or RefusedError where the database must not be used.
    """
    policies = await asyncio.to_thread(build_policies, settings)
    async with open_store_with_policies(settings, runtime, policies, access) as store:
        yield store


@contextlib.asynccontextmanager
async def open_store_with_policies(
    settings: Settings, runtime: Runtime, policies: Mapping[AccountId, AccountPolicy], access: AccessMode
) -> AsyncIterator[Store]:
    """Open the books under terms that are known already."""
    journal, can_send = journal_path(settings), access is AccessMode.SEND
    environment, is_read = settings.environment.value, access is AccessMode.READ
    await prepare_database(
        settings.database, environment, journal, runtime, allows_older=is_read, checks_integrity=can_send
    )
    if access is AccessMode.COMMAND:
        await asyncio.to_thread(check_journals_compared, settings.database)
    if can_send:
        await asyncio.to_thread(
            check_awaited_journal, settings.database, build_worker_id(settings), journal, runtime.now()
        )
    database = Database(open_engine(settings.database), runtime, IntentJournal(journal) if can_send else None)
    calls = CallRecord(journal.with_name("calls.log"), runtime.boot_id()) if can_send else CallRecord()
    try:
        if can_send and database.is_shared:
            database.expected_identity = await database.read(current_identity)
        yield Store(database=database, policies=policies, worker=build_worker_id(settings), call_record=calls)
    finally:
        await database.close()
        calls.close()


def build_worker_id(settings: Settings) -> WorkerId:
    """Name whoever works here: one machine's workspace, today and after a restart."""
    return WorkerId(f"{socket.gethostname()}:{settings.workspace}")


def journal_path(settings: Settings) -> Path:
    """Return the path of the intent journal, which is never inside the database.

    It lies in the workspace, wherever the database does: a disk that is not there takes only one of them away.
    """
    return settings.workspace / "var" / "intents.jsonl"
