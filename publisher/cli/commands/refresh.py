"""`refresh`: take over present templates and settings for a filed post, before any call of it."""

import click

from publisher.cli.application import open_command_application
from publisher.cli.authentication import authenticate_for_posts
from publisher.cli.context import load_workspace_settings, warn_about_daemon
from publisher.cli.framework import by_option, command, one_line
from publisher.cli.target import do_each, find_posts
from publisher.cli.terminal import Terminal
from publisher.domain.post import PostId
from publisher.engine.filed_texts import refresh_texts


@command("refresh")
@click.argument("post", metavar="POST", type=one_line)
@by_option
async def refresh(terminal: Terminal, post: PostId, by: str) -> None:
    settings = await load_workspace_settings(terminal)
    async with open_command_application(settings) as application:
        person, posts = await authenticate_for_posts(
            terminal,
            settings,
            application.store,
            command="refresh",
            by=by,
            posts=await find_posts(application.store.queries, post),
        )
        number = sum(
            await do_each(
                posts, lambda one: refresh_texts(application.planner, one, person)
            )
        )
        needs_approvals = bool(number and await application.store.approvals.tasks(post))
        await warn_about_daemon(terminal, settings, application.store.queries)
    terminal.print_message(
        "refresh_done" if number else "refresh_unchanged", post=post, number=number
    )
    if needs_approvals:
        terminal.print_note("refresh_needs_approvals")
