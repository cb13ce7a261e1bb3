"""`retract`: take published posts down."""

import click

from publisher.cli.authentication import accounts_of_post, authenticate
from publisher.cli.context import (
    load_workspace_settings,
    open_command_store,
    warn_about_daemon,
)
from publisher.cli.framework import by_option, command, one_line, reason_option
from publisher.cli.target import require_post
from publisher.cli.terminal import Terminal
from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import PostId


@command("retract")
@click.argument("post", metavar="POST", type=one_line)
@click.option("--account", metavar="ACCOUNT", type=one_line, help="opt_account")
@by_option
@reason_option
async def retract(
    terminal: Terminal, post: PostId, account: AccountId | None, by: str, reason: str
) -> None:
    settings = await load_workspace_settings(terminal)
    async with open_command_store(settings) as store:
        queries = store.queries
        await require_post(queries, post)
        if account is not None and not await queries.deliveries(post, account):
            accounts = {delivery.account for delivery in await queries.deliveries(post)}
            raise NoSuchItemError(
                "delivery", f"{post}@{account}", [f"{post}@{name}" for name in accounts]
            )
        concerned = [account] if account else await accounts_of_post(store, post)
        person = await authenticate(
            terminal, settings, store, command="retract", by=by, accounts=concerned
        )
        number = len(await store.actions.retract(post, account, person, reason))
        terminal.print_message(
            "retract_done" if number else "retract_nothing", post=post, number=number
        )
        if number:
            await warn_about_daemon(terminal, settings, queries)
