"""`cancel`: a post is no longer wanted; published posts stay."""

import click

from publisher.cli.authentication import accounts_of_post, authenticate
from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.framework import by_option, command, one_line, reason_option
from publisher.cli.target import require_post
from publisher.cli.terminal import Terminal
from publisher.domain.post import PostId


@command("cancel")
@click.argument("post", metavar="POST", type=one_line)
@by_option
@reason_option
async def cancel(terminal: Terminal, post: PostId, by: str, reason: str) -> None:
    settings = await load_workspace_settings(terminal)
    async with open_command_store(settings) as store:
        await require_post(store.queries, post)
        accounts = await accounts_of_post(store, post)
        person = await authenticate(
            terminal, settings, store, command="cancel", by=by, accounts=accounts
        )
        number = await store.actions.cancel_post(post, person, reason)
    terminal.print_message("cancel_done", post=post, number=number)
