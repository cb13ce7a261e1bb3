"""`pause` and `resume`: the kill switch."""

import asyncio

import click

from publisher.cli.narrating import Narrator, argument_of
from publisher.cli.shape import Said, WordedUsageError, by_option, command
from publisher.cli.terminal import Terminal, echo
from publisher.cli.workplace import books_of, settings_of
from publisher.domain.errors import NoSuchError
from publisher.domain.post import PostId
from publisher.reviewing import person
from publisher.settings import Settings
from publisher.store.board import Board
from publisher.store.books import Books
from publisher.store.orders import ALL, Orders
from publisher.wiring.books import Use


@command("pause")
@click.argument("scope", metavar="[all|platform:P|ACCOUNT|POST]", default=ALL, type=Said())
@by_option
@click.option("--reason", metavar="TEXT", default="", help="opt_reason")
def pause(terminal: Terminal, scope: str, by: str, reason: str) -> int:
    asyncio.run(_pause(terminal, scope, by, reason))
    return 0


async def _pause(terminal: Terminal, name: str, by: str, reason: str) -> None:
    settings = await settings_of(terminal)
    async with books_of(settings) as books:
        scope = await _scope(name, settings, books)
        await Orders(books).pause(scope, person(by), reason)
    words = Narrator(messages=terminal.messages, timezone=settings.timezone).scope(scope)
    terminal.say("paused_done", scope=words, argument=argument_of(scope))


@command("resume")
@click.argument("scope", metavar="[all|platform:P|ACCOUNT|POST]", default=ALL, type=Said())
@by_option
def resume(terminal: Terminal, scope: str, by: str) -> int:
    asyncio.run(_resume(terminal, scope, by))
    return 0


async def _resume(terminal: Terminal, name: str, by: str) -> None:
    """Lift a pause; not where the books do not know all that was sent: the pause may be all that prevents a second."""
    settings = await settings_of(terminal)
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    async with books_of(settings, Use.ORDER) as books:
        scope = await _scope(name, settings, books)
        was_paused = await Orders(books).resume(scope, person(by))
        left = await Board(books).pauses()
    terminal.say("resumed_done" if was_paused else "resumed_nothing", scope=narrator.scope(scope))
    for pause_left in left:
        echo(narrator.pause("still_paused", pause_left), err=True)


async def _scope(name: str, settings: Settings, books: Books) -> str:
    """Find out what a name stands for. What is paused now can always be named, even if it is gone from the settings."""
    board = Board(books)
    kind, _, rest = name.partition(":")
    is_account = (rest if kind == "account" else name) in settings.accounts
    is_post = await board.has_post(PostId(rest if kind == "post" else name))
    paused = {pause.scope for pause in await board.pauses()}
    if name == ALL or name in paused:
        return name
    if kind == "platform":
        if rest not in {account.platform for account in settings.accounts.values()}:
            raise NoSuchError("platform", rest)
        return name
    if is_account and is_post:
        raise WordedUsageError("scope_twice", name=name)
    if is_account or f"account:{name}" in paused:
        return name if kind == "account" else f"account:{name}"
    if is_post:
        return name if kind == "post" else f"post:{name}"
    raise NoSuchError("scope", name)
