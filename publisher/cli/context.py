"""What most commands begin with: the settings, the store, and what it shows at one moment."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import click
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from publisher.app.open_store import AccessMode, journal_path, open_store
from publisher.cli.errors import CommandFailedError, report_error
from publisher.cli.format import Formatter
from publisher.cli.framework import get_messages
from publisher.cli.terminal import Terminal, echo
from publisher.config import SETTINGS_FILE, Environment, Settings, load_settings
from publisher.domain.account import Account, AccountId, AccountPolicy, LoginId
from publisher.domain.delivery import Actor, Delivery, State
from publisher.domain.errors import InputError, RefusedError
from publisher.domain.post import PostId
from publisher.runtime.clock import FailpointSyntaxError, Runtime, parse_failpoints
from publisher.store.base import HEARTBEAT_TIMEOUT
from publisher.store.db.database import is_incomplete, sqlite_file
from publisher.store.queries.queries import Alert, LoginCooldown, ModeOverride, Pause, Queries, WorkerStatus
from publisher.store.recovery.setup import check_against_journal, pending_swaps
from publisher.store.store import Store


async def load_workspace_settings(terminal: Terminal) -> Settings:
    """Load the workspace's settings, with the language of this command. Raise SettingsError."""
    return replace(await load_settings(terminal.workspace), lang=terminal.messages.lang)


def has_database(settings: Settings) -> bool:
    """True if there is a database to read; commands that only read must not create one."""
    file = sqlite_file(settings.database)
    return file is None or file.is_file() or bool(pending_swaps(file))


@contextlib.asynccontextmanager
async def open_command_store(
    settings: Settings,
    access: AccessMode = AccessMode.READ,
    policies: Mapping[AccountId, AccountPolicy] | None = None,
) -> AsyncIterator[Store]:
    """Open the store. With read access, warn on standard error of a journal that a daemon would refuse.

    A command that only lists what is stored gives empty `policies`: no adapter is loaded then. Otherwise adapters that
    cannot be used are left out, with a note. Raise CommandFailedError when the database does not answer.
    """
    with report_database_errors(settings.database):
        async with open_store(settings, Runtime(), access, policies) as store:
            if access is AccessMode.READ:
                try:
                    await asyncio.to_thread(check_against_journal, settings.database, journal_path(settings))
                except (RefusedError, OSError) as error:
                    messages = get_messages(click.get_current_context())
                    terminal = Terminal(messages=messages, workspace=settings.workspace)
                    terminal.print_note("journal_unusable")
                    report_error(error, terminal)
            if policies is None and (left_out := [key for key in settings.accounts if key not in store.policies]):
                terminal = Terminal(messages=get_messages(click.get_current_context()), workspace=settings.workspace)
                terminal.print_note("adapters_left_out", accounts=", ".join(left_out))
            yield store


@contextlib.contextmanager
def report_database_errors(url: str) -> Iterator[None]:
    """Raise CommandFailedError, with the address but its password, where the database does not answer as it should."""
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()
        database = sqlite_file(url) or make_url(url).render_as_string(hide_password=True)
        code = "database_incomplete" if is_incomplete(error) else "database_error"
        raise CommandFailedError(code, database=database, reason=reason[0] if reason else "?") from error


def make_runtime(settings: Settings) -> Runtime:
    """Return the runtime with the failpoints of PUBLISHER_FAILPOINTS. Raise RefusedError if there are any in `live`."""
    try:
        failpoints = parse_failpoints(os.environ.get("PUBLISHER_FAILPOINTS", ""))
    except FailpointSyntaxError as error:
        raise CommandFailedError("failpoints_invalid", item=str(error)) from error
    if failpoints and settings.environment is Environment.LIVE:
        raise RefusedError("failpoints_live")
    return Runtime(failpoints=failpoints)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSnapshot:
    now: datetime
    workers: Sequence[WorkerStatus] = ()
    pauses: Sequence[Pause] = ()
    deliveries: Sequence[Delivery] = ()
    alerts: Sequence[Alert] = ()
    pause_alerts: Sequence[Alert] = ()
    mode_overrides: Sequence[ModeOverride] = ()
    titles: Mapping[PostId, str] = field(default_factory=dict)
    has_older: bool = False
    """True if deliveries that ended long ago are left out."""
    cooldowns: Mapping[LoginId, LoginCooldown] = field(default_factory=dict)

    def waits_until(self, delivery: Delivery) -> datetime | None:
        """Return until when its login's gap and limits keep a due delivery waiting; None if they do not."""
        cooldown = self.cooldowns.get(delivery.login)
        if cooldown is None or delivery.state is not State.DUE:
            return None
        until = cooldown.urgent_until if delivery.is_urgent else cooldown.routine_until
        return until if until > self.now else None

    @property
    def latest_worker(self) -> WorkerStatus | None:
        """Return the daemon that was last seen, one that is alive first."""
        return max(self.workers, key=lambda worker: (self.is_alive(worker), worker.heartbeat_at), default=None)

    @property
    def is_running(self) -> bool:
        return any(map(self.is_alive, self.workers))

    def is_alive(self, worker: WorkerStatus) -> bool:
        return worker.stopped_at is None and self.now - worker.heartbeat_at < HEARTBEAT_TIMEOUT


async def take_snapshot(queries: Queries, post: PostId | None = None, *, shows_all: bool = False) -> StatusSnapshot:
    """Read the store, or what concerns one post; without a post, what ended long ago only with `shows_all`."""
    alerts, is_whole = await queries.alerts(), shows_all or post is not None
    deliveries = await (queries.deliveries(post) if is_whole else queries.current_deliveries())
    return StatusSnapshot(
        now=queries.runtime.now(),
        workers=await queries.workers(),
        pauses=await queries.pauses(),
        deliveries=deliveries,
        titles=await queries.titles({delivery.key.post for delivery in deliveries}),
        has_older=not is_whole and await queries.has_older_deliveries(),
        alerts=[alert for alert in alerts if post is None or alert.facts.get("post") == post],
        pause_alerts=[alert for alert in alerts if alert.code == "account_paused"],
        mode_overrides=await queries.mode_overrides(),
        cooldowns=await queries.cooldowns(),
    )


async def warn_if_no_daemon(terminal: Terminal, queries: Queries) -> None:
    """Print a note unless a daemon runs: what was asked for happens only once one does."""
    if not StatusSnapshot(now=queries.runtime.now(), workers=await queries.workers()).is_running:
        terminal.print_note("no_daemon_hint")


async def record_action(
    terminal: Terminal, event: str, subject: str, by: Actor, accounts: Collection[Account] = ()
) -> bool:
    """Record a finished action where there is a database.

    The logins of `accounts` are checked soon, which ends the alerts about what the action has changed; those that stay
    paused are named. Such an action must not wait for the database. Return False, with a note, if the entry could not
    be written.
    """
    try:
        if not (terminal.workspace / SETTINGS_FILE).is_file():  # nothing else runs here
            return True
        settings = await load_workspace_settings(terminal)
        if has_database(settings):
            async with open_command_store(settings) as store:
                await store.actions.record_action(event, subject, by, {})
                await store.users.mark_unproved(by, click.get_current_context().info_name or event)
                for account in accounts:
                    await store.login_health.request_probe(account)
                pauses = await store.queries.pauses() if accounts else ()
            formatter, scopes = (
                Formatter(messages=terminal.messages, timezone=settings.timezone),
                {f"account:{one.id}" for one in accounts},
            )
            for pause in pauses:
                if pause.scope in scopes:
                    echo(formatter.pause("still_paused", pause), err=True)
    except (InputError, CommandFailedError, RefusedError):
        terminal.print_note("audit_not_written")
        return False
    return True
