"""`cancel`: a post is no longer wanted; published posts stay."""

import click

from publisher.cli.authentication import authenticate_for_posts
from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.framework import by_option, command, one_line, reason_option
from publisher.cli.target import find_posts
from publisher.cli.terminal import Terminal
from publisher.domain.post import PostId


@command("cancel")
@click.argument("post", metavar="POST", type=one_line)
@by_option
@reason_option
async def cancel(terminal: Terminal, post: PostId, by: str, reason: str) -> None:
    settings = await load_workspace_settings(terminal)
    async with open_command_store(settings) as store:
        posts = await find_posts(store.queries, post)
        person, posts = await authenticate_for_posts(
            terminal, settings, store, command="cancel", by=by, posts=posts
        )
        number = sum(
            [await store.actions.cancel_post(one, person, reason) for one in posts]
        )
    terminal.print_message("cancel_done", post=post, number=number)
