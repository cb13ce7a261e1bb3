"""`cancel`: a post is no longer wanted; published posts stay."""

import click

from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.framework import by_option, command, one_line, reason_option
from publisher.cli.target import require_post
from publisher.cli.terminal import Terminal
from publisher.domain.post import PostId
from publisher.engine.decisions import named_person


@command("cancel")
@click.argument("post", metavar="POST", type=one_line)
@by_option
@reason_option
async def cancel(terminal: Terminal, post: PostId, by: str, reason: str) -> None:
    async with open_command_store(await load_workspace_settings(terminal)) as store:
        await require_post(store.queries, post)
        number = await store.actions.cancel_post(post, named_person(by), reason)
    terminal.print_message("cancel_done", post=post, number=number)
