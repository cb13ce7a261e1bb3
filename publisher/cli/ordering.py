"""`cancel` and `retract`: not wanted any more."""

import asyncio

import click

from publisher.cli.looking import is_running
from publisher.cli.shape import Said, by_option, command, reason_option
from publisher.cli.terminal import Terminal
from publisher.cli.workplace import books_of, settings_of
from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchError
from publisher.domain.post import PostId
from publisher.reviewing import person
from publisher.store.board import Board
from publisher.store.orders import Orders


@command("cancel")
@click.argument("post", metavar="POST", type=Said())
@by_option
@reason_option
def cancel(terminal: Terminal, post: str, by: str, reason: str) -> int:
    number = asyncio.run(_withdraw(terminal, PostId(post), by, reason))
    terminal.say("withdraw_done", post=post, number=number)
    return 0


async def _withdraw(terminal: Terminal, post: PostId, by: str, reason: str) -> int:
    async with books_of(await settings_of(terminal)) as books:
        if not await Board(books).has_post(post):
            raise NoSuchError("post", post)
        return await Orders(books).withdraw(post, person(by), reason)


@command("retract")
@click.argument("post", metavar="POST", type=Said())
@click.option("--account", metavar="ACCOUNT", type=Said(), help="opt_account")
@by_option
@reason_option
def retract(terminal: Terminal, post: str, account: str | None, by: str, reason: str) -> int:
    asyncio.run(_retract(terminal, PostId(post), AccountId(account) if account else None, (by, reason)))
    return 0


async def _retract(terminal: Terminal, post: PostId, account: AccountId | None, order: tuple[str, str]) -> None:
    by, reason = order
    async with books_of(await settings_of(terminal)) as books:
        board = Board(books)
        if not await board.has_post(post):
            raise NoSuchError("post", post)
        if account is not None and not await board.deliveries(post, account):
            raise NoSuchError("delivery", f"{post}@{account}")
        number = len(await Orders(books).retract(post, account, person(by), reason))
        runs = await is_running(board)
    terminal.say("retract_done" if number else "retract_nothing", post=post, number=number)
    if number and not runs:
        terminal.note("no_daemon_hint")
