"""The common start of most commands: the settings and the store."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import click
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from publisher.app.format import Formatter
from publisher.app.offline import find_newer_files
from publisher.app.open_store import AccessMode, journal_path, open_store
from publisher.cli.errors import CommandFailedError, report_error
from publisher.cli.framework import get_messages
from publisher.cli.terminal import Terminal, echo
from publisher.config import SETTINGS_FILE, Environment, Settings, load_settings
from publisher.domain.account import Account, AccountId, AccountPolicy
from publisher.domain.delivery import Actor
from publisher.domain.errors import InputError, RefusedError
from publisher.engine.secret_report import find_hosts_with_other_value
from publisher.runtime.clock import FailpointSyntaxError, Runtime, parse_failpoints
from publisher.secrets import find_external_source
from publisher.store.db.database import is_incomplete, sqlite_file
from publisher.store.db.postgres import DISK_FULL, write_error_code
from publisher.store.queries.queries import Queries, WorkerStatus
from publisher.store.queries.snapshot import StatusSnapshot
from publisher.store.recovery.setup import (
    check_against_journal,
    check_folder,
    pending_swaps,
    require_not_lost,
)
from publisher.store.store import Store


async def load_workspace_settings(terminal: Terminal) -> Settings:
    """Load the workspace's settings, with the language of this command. Raise SettingsError."""
    return replace(await load_settings(terminal.workspace), lang=terminal.messages.lang)


def has_database(settings: Settings) -> bool:
    """True if there is a database to read; commands that only read must not create one.

    Raises RefusedError as `require_not_lost` does.
    """
    file = sqlite_file(settings.database)
    if file is None or file.is_file() or pending_swaps(file):
        return True
    require_not_lost(file, journal_path(settings))
    return False


@contextlib.asynccontextmanager
async def open_command_store(
    settings: Settings,
    access: AccessMode = AccessMode.READ,
    policies: Mapping[AccountId, AccountPolicy] | None = None,
) -> AsyncIterator[Store]:
    """Open the store. With read access, warn of a journal that a daemon would refuse.

    The warning goes to standard error. A command that only lists stored data gives empty
    `policies`: no adapter is loaded then. Otherwise adapters that cannot be used are left out, with
    a note. Raises CommandFailedError when the database does not answer.
    """
    with report_database_errors(settings.database):
        async with open_store(settings, Runtime(), access, policies) as store:
            if access is AccessMode.READ:
                try:
                    await asyncio.to_thread(
                        check_against_journal, settings.database, journal_path(settings)
                    )
                    await asyncio.to_thread(check_folder, settings.database)
                except (RefusedError, OSError) as error:
                    messages = get_messages(click.get_current_context())
                    terminal = Terminal(messages=messages, workspace=settings.workspace)
                    terminal.print_note("journal_unusable")
                    report_error(error, terminal)
            if policies is None and (
                left_out := [
                    key for key in settings.accounts if key not in store.policies
                ]
            ):
                terminal = Terminal(
                    messages=get_messages(click.get_current_context()),
                    workspace=settings.workspace,
                )
                terminal.print_note("adapters_left_out", accounts=", ".join(left_out))
            yield store


@contextlib.contextmanager
def report_database_errors(url: str) -> Iterator[None]:
    """Raise CommandFailedError if the database does not answer as it should.

    The error has the address without its password.
    """
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()
        database = sqlite_file(url) or make_url(url).render_as_string(
            hide_password=True
        )
        code = "database_incomplete" if is_incomplete(error) else "database_error"
        if write_error_code(error) == DISK_FULL:
            code = "database_disk_full"
        raise CommandFailedError(
            code, database=database, reason=reason[0] if reason else "?"
        ) from error


def make_runtime(settings: Settings) -> Runtime:
    """Return the runtime with the failpoints of PUBLISHER_FAILPOINTS.

    Raises RefusedError if there are any in `live`.
    """
    try:
        failpoints = parse_failpoints(os.environ.get("PUBLISHER_FAILPOINTS", ""))
    except FailpointSyntaxError as error:
        raise CommandFailedError("failpoints_invalid", item=str(error)) from error
    if failpoints and settings.environment is Environment.LIVE:
        raise RefusedError("failpoints_live")
    return Runtime(failpoints=failpoints)


async def warn_about_daemon(
    terminal: Terminal,
    settings: Settings,
    queries: Queries,
    absent: str = "no_daemon_hint",
) -> None:
    """Print a note if no daemon runs, or if this host's has read files that were changed since.

    The files are settings and templates. An order is carried out only once a daemon runs, and with
    the files that the daemon knows. `absent` is the note where none runs.
    """
    snapshot = StatusSnapshot(
        now=queries.runtime.now(), workers=await queries.workers()
    )
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if not snapshot.is_running:
        since = snapshot.silent_since
        code = absent if since is None else "daemon_silent"
        terminal.print_note(code, at=formatter.time(since))
        return
    own = next(
        (
            one
            for one in snapshot.workers
            if one.id == queries.store.worker and snapshot.is_alive(one)
        ),
        None,
    )
    if own is not None and (
        note := formatter.newer_files(
            await find_changed_since_start(settings, own), own.started_at
        )
    ):
        echo(note, err=True)


async def find_changed_since_start(
    settings: Settings, worker: WorkerStatus
) -> Mapping[str, datetime]:
    """Return the files that have changed since a daemon of this host has read them, and when."""
    if worker.loaded is None:
        return {}
    return await asyncio.to_thread(find_newer_files, settings.workspace, worker.loaded)


async def record_action(
    terminal: Terminal,
    event: str,
    subject: str,
    by: Actor,
    accounts: Collection[Account] = (),
) -> bool:
    """Record a finished action if there is a database.

    The logins of `accounts` are checked soon. This ends the alerts about changed matters. Accounts
    that stay paused are named. Such an action must not wait for the database. Return False, with a
    note, if the entry could not be written.
    """
    try:
        if not (terminal.workspace / SETTINGS_FILE).is_file():  # nothing else runs here
            return True
        settings = await load_workspace_settings(terminal)
        if has_database(settings):
            async with open_command_store(settings) as store:
                await store.actions.record_action(event, subject, by, {})
                await store.users.mark_unproved(
                    by, click.get_current_context().info_name or event
                )
                for account in accounts:
                    await store.login_health.request_probe(account)
                pauses = await store.queries.pauses() if accounts else ()
            formatter = Formatter(
                messages=terminal.messages, timezone=settings.timezone
            )
            scopes = {f"account:{one.id}" for one in accounts}
            for pause in pauses:
                if pause.scope in scopes:
                    echo(formatter.pause("still_paused", pause), err=True)
    except (InputError, CommandFailedError, RefusedError):
        terminal.print_note("audit_not_written")
        return False
    return True


async def require_use(terminal: Terminal, settings: Settings, secret: str) -> None:
    """Raise CommandFailedError if a value in the encrypted store has no effect.

    Another place comes first for this process, or for the daemon by its last report. A note names
    the other hosts that have another value.
    """
    place = find_external_source(secret, secrets_dir=settings.secrets_dir)
    others: Sequence[str] = ()
    if place is None and has_database(settings):
        async with open_command_store(settings, policies={}) as store:
            report = await store.kept_secrets.read_report()
            others = await find_hosts_with_other_value(store, settings, secret)
        place = report.elsewhere.get(secret) if report is not None else None
    if place is not None:
        raise CommandFailedError("secret_overridden", name=secret, place=place)
    if others:
        hosts = terminal.translate("list_comma").join(others)
        terminal.print_note("secret_differs_elsewhere", name=secret, hosts=hosts)
