"""`retract`: take published posts down."""

import asyncio

import click

from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.framework import NonEmptyText, by_option, command, reason_option
from publisher.cli.snapshot import is_daemon_running
from publisher.cli.terminal import Terminal
from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import PostId
from publisher.engine.decisions import named_person
from publisher.store.plan.actions import OperatorActions
from publisher.store.queries.queries import Queries


@command("retract")
@click.argument("post", metavar="POST", type=NonEmptyText())
@click.option("--account", metavar="ACCOUNT", type=NonEmptyText(), help="opt_account")
@by_option
@reason_option
def retract(terminal: Terminal, post: str, account: str | None, by: str, reason: str) -> int:
    asyncio.run(_retract(terminal, PostId(post), AccountId(account) if account else None, (by, reason)))
    return 0


async def _retract(terminal: Terminal, post: PostId, account: AccountId | None, order: tuple[str, str]) -> None:
    by, reason = order
    async with open_command_store(await load_workspace_settings(terminal)) as store:
        queries = Queries(store)
        if not await queries.has_post(post):
            raise NoSuchItemError("post", post)
        if account is not None and not await queries.deliveries(post, account):
            raise NoSuchItemError("delivery", f"{post}@{account}")
        number = len(await OperatorActions(store).retract(post, account, named_person(by), reason))
        runs = await is_daemon_running(queries)
    terminal.print_message("retract_done" if number else "retract_nothing", post=post, number=number)
    if number and not runs:
        terminal.print_note("no_daemon_hint")
