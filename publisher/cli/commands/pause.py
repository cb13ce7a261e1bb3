"""`pause` and `resume`: the kill switch."""

import asyncio

import click

from publisher.app.open_store import AccessMode
from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.format import Formatter, scope_argument
from publisher.cli.framework import LocalizedUsageError, NonEmptyText, by_option, command
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import PostId
from publisher.engine.decisions import named_person
from publisher.store.plan.actions import SCOPE_ALL, OperatorActions
from publisher.store.queries.queries import Queries
from publisher.store.store import Store


@command("pause")
@click.argument("scope", metavar="[all|platform:P|ACCOUNT|POST]", default=SCOPE_ALL, type=NonEmptyText())
@by_option
@click.option("--reason", metavar="TEXT", default="", help="opt_reason")
def pause(terminal: Terminal, scope: str, by: str, reason: str) -> int:
    asyncio.run(_pause(terminal, scope, by, reason))
    return 0


async def _pause(terminal: Terminal, name: str, by: str, reason: str) -> None:
    settings = await load_workspace_settings(terminal)
    async with open_command_store(settings) as store:
        scope = await _resolve_scope(name, settings, store)
        await OperatorActions(store).pause(scope, named_person(by), reason)
    words = Formatter(messages=terminal.messages, timezone=settings.timezone).scope(scope)
    terminal.print_message("paused_done", scope=words, argument=scope_argument(scope))


@command("resume")
@click.argument("scope", metavar="[all|platform:P|ACCOUNT|POST]", default=SCOPE_ALL, type=NonEmptyText())
@by_option
def resume(terminal: Terminal, scope: str, by: str) -> int:
    asyncio.run(_resume(terminal, scope, by))
    return 0


async def _resume(terminal: Terminal, name: str, by: str) -> None:
    """Lift a pause; not where the books do not know all that was sent: the pause may be all that prevents a second."""
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    async with open_command_store(settings, AccessMode.COMMAND) as store:
        scope = await _resolve_scope(name, settings, store)
        was_paused = await OperatorActions(store).resume(scope, named_person(by))
        left = await Queries(store).pauses()
    terminal.print_message("resumed_done" if was_paused else "resumed_nothing", scope=formatter.scope(scope))
    for pause_left in left:
        echo(formatter.pause("still_paused", pause_left), err=True)


async def _resolve_scope(name: str, settings: Settings, store: Store) -> str:
    """Find out what a name stands for. What is paused now can always be named, even if it is gone from the settings."""
    queries = Queries(store)
    kind, _, rest = name.partition(":")
    is_account = (rest if kind == "account" else name) in settings.accounts
    is_post = await queries.has_post(PostId(rest if kind == "post" else name))
    paused = {pause.scope for pause in await queries.pauses()}
    if name == SCOPE_ALL or name in paused:
        return name
    if kind == "platform":
        if rest not in {account.platform for account in settings.accounts.values()}:
            raise NoSuchItemError("platform", rest)
        return name
    if is_account and is_post:
        raise LocalizedUsageError("scope_ambiguous", name=name)
    if is_account or f"account:{name}" in paused:
        return name if kind == "account" else f"account:{name}"
    if is_post:
        return name if kind == "post" else f"post:{name}"
    raise NoSuchItemError("scope", name)
