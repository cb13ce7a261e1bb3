"""Open only the store, for commands that need neither templates nor a platform."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from enum import Enum
from pathlib import Path

from publisher.config import Settings
from publisher.domain.account import AccountId, AccountPolicy
from publisher.domain.delivery import WorkerId
from publisher.domain.errors import RefusedError, SettingsError
from publisher.runtime.clock import Runtime
from publisher.store.comparison import is_timeline_new
from publisher.store.database_identity import current_identity
from publisher.store.db.database import Database, open_engine, sqlite_file
from publisher.store.db.intent_journal import CallRecord, IntentJournal
from publisher.store.recovery.setup import (
    check_awaited_journal,
    check_journals_compared,
    prepare_database,
    require_not_emptied,
)
from publisher.store.store import Store


class AccessMode(Enum):
    """The purpose of an open store. The more can be sent as a result, the stricter the checks.

    `READ` reads and stops posts, with any journal: a running daemon may have to be stopped just
    then. `COMMAND` may cause posts, so the database must know of every sent post. A `resume`,
    `resolve` or `resend` that relies on an older one could lead to a second post. `DASHBOARD` calls
    `check_command_access` before each such act instead. `SEND` records intents, and opens the
    journal.
    """

    READ = "read"
    COMMAND = "command"
    DASHBOARD = "dashboard"
    SEND = "send"


@contextlib.asynccontextmanager
async def open_store(
    settings: Settings,
    runtime: Runtime,
    access: AccessMode = AccessMode.READ,
    policies: Mapping[AccountId, AccountPolicy] | None = None,
) -> AsyncIterator[Store]:
    """Open the store without templates: a broken one must not keep people from stopping a post.

    It must not keep them from reading either. The policies are built unless given. Raises
    SettingsError, also for approvals that no user could give, and RefusedError if the database must
    not be used.
    """
    if policies is None:
        from publisher.app.adapters import build_policies  # noqa: PLC0415 # `status` needs no adapters

        policies = await asyncio.to_thread(build_policies, settings)
    journal, can_send = journal_path(settings), access is AccessMode.SEND
    environment, is_read = settings.environment.value, access is AccessMode.READ
    await prepare_database(
        settings.database,
        environment,
        journal,
        runtime,
        allows_older=is_read,
        checks_integrity=can_send,
    )
    if access is AccessMode.COMMAND:
        await asyncio.to_thread(check_journals_compared, settings.database)
    if can_send:
        await asyncio.to_thread(
            check_awaited_journal,
            settings.database,
            build_worker_id(settings),
            journal,
            runtime.now(),
        )
    database = Database(
        open_engine(settings.database),
        runtime,
        IntentJournal(journal) if can_send else None,
    )
    calls = (
        CallRecord(journal.with_name("calls.log"), runtime.boot_id())
        if can_send
        else CallRecord()
    )
    try:
        if can_send and database.is_shared:
            database.expected_identity = await database.read(current_identity)
        store = Store(
            database=database,
            policies=policies,
            worker=build_worker_id(settings),
            call_record=calls,
            approval_rules=settings.approval_rules,
        )
        if (
            settings.users_needed is not None
            and not is_read
            and not await store.users.exist()
        ):
            await asyncio.to_thread(require_not_emptied, settings.database, journal)
            raise SettingsError([settings.users_needed])
        yield store
    finally:
        await database.close()
        calls.close()


async def check_command_access(store: Store, settings: Settings) -> None:
    """Reject an action that may cause posts while the database may lack sent posts.

    See AccessMode.COMMAND. For a process that keeps the store open. Raises RefusedError.
    """
    await asyncio.to_thread(check_journals_compared, settings.database)
    if store.database.is_shared and await store.database.read(is_timeline_new):
        raise RefusedError("server_took_over")


@contextlib.asynccontextmanager
async def open_unchecked_store(
    settings: Settings, runtime: Runtime
) -> AsyncIterator[Store | None]:
    """Open the store as it is, to find its repairer; None without a database.

    There are no checks and migrations.
    """
    file = sqlite_file(settings.database)
    if file is not None and not file.is_file():
        yield None
        return
    database = Database(open_engine(settings.database), runtime)
    try:
        yield Store(database=database, policies={}, worker=build_worker_id(settings))
    finally:
        await database.close()


def build_worker_id(settings: Settings) -> WorkerId:
    """Return the id of this machine's workspace, the same after a restart."""
    return WorkerId(f"{socket.gethostname()}:{settings.workspace}")


def journal_path(settings: Settings) -> Path:
    """Return the path of the intent journal.

    It is in the workspace, so that a lost disk may take only one of the two.
    """
    return settings.workspace / "var" / "intents.jsonl"
