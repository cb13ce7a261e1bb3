"""`unapprove`: end every approval of a post's unsent content."""

from datetime import UTC

import click

from publisher.cli.authentication import accounts_of_post, authenticate_for_each
from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import by_option, command, reason_option
from publisher.cli.target import DeliveryTarget, do_each, find_posts, post_target
from publisher.cli.terminal import Terminal
from publisher.domain.account import AccountId
from publisher.domain.post import PostId


@command("unapprove")
@click.argument("target", metavar="POST", type=post_target)
@by_option
@reason_option
async def unapprove(
    terminal: Terminal, target: DeliveryTarget, by: str, reason: str
) -> None:
    settings = await load_workspace_settings(terminal)
    occurrence = None
    if (instant := target.instant) is not None:
        aware = instant if instant.tzinfo else instant.replace(tzinfo=settings.timezone)
        occurrence = aware.astimezone(UTC).isoformat()
    async with open_command_store(settings) as store:
        posts = await find_posts(store.queries, target.post)
        waiting: dict[PostId, set[AccountId]] = {}
        for task in await store.approvals.tasks(target.post):
            if occurrence in {None, task.key.occurrence}:
                waiting.setdefault(task.key.post, set()).update(task.accounts)
        targets = {
            post: waiting.get(post) or await accounts_of_post(store, post)
            for post in posts
        }
        person, posts = await authenticate_for_each(
            terminal, settings, store, command="unapprove", by=by, targets=targets
        )
        results = await do_each(
            posts,
            lambda post: store.approvals.unapprove(post, occurrence, person, reason),
        )
    ended = [result for result in results if not result.is_too_late]
    if not ended:
        raise CommandFailedError("unapprove_too_late", post=target.post)
    names = terminal.translate("list_comma").join(
        name for result in ended for name in result.occurrences
    )
    number = sum(result.approvals for result in ended)
    terminal.print_message("unapprove_done", post=names, number=number)
    if sent_before := sum(result.sent_before for result in ended):
        terminal.print_note("unapprove_sent_before", post=names, number=sent_before)
