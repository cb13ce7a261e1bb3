"""`retract`: take published posts down."""

import click

from publisher.cli.authentication import accounts_of_post, authenticate_for_each
from publisher.cli.context import (
    load_workspace_settings,
    open_command_store,
    warn_about_daemon,
)
from publisher.cli.framework import by_option, command, one_line, reason_option
from publisher.cli.target import find_posts
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
        targets = {
            one: [account] if account else await accounts_of_post(store, one)
            for one in await find_posts(queries, post)
            if account is None or await queries.deliveries(one, account)
        }
        if not targets:
            found = await find_posts(queries, post)
            names = {
                f"{post}@{delivery.account}"
                for one in found
                for delivery in await queries.deliveries(one)
            }
            raise NoSuchItemError("delivery", f"{post}@{account}", names)
        person, posts = await authenticate_for_each(
            terminal, settings, store, command="retract", by=by, targets=targets
        )
        number = sum(
            [
                len(await store.actions.retract(one, account, person, reason))
                for one in posts
            ]
        )
        terminal.print_message(
            "retract_done" if number else "retract_nothing", post=post, number=number
        )
        if number:
            await warn_about_daemon(terminal, settings, queries)
