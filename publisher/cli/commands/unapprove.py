"""`unapprove`: end every approval of a post's unsent content."""

from datetime import UTC

import click

from publisher.cli.authentication import accounts_of_post, authenticate
from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import by_option, command, reason_option
from publisher.cli.target import DeliveryTarget, post_target, require_post
from publisher.cli.terminal import Terminal


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
        await require_post(store.queries, target.post)
        tasks = [
            task
            for task in await store.approvals.tasks(target.post)
            if occurrence in {None, task.key.occurrence}
        ]
        waiting = {account for task in tasks for account in task.accounts}
        accounts = waiting or await accounts_of_post(store, target.post)
        person = await authenticate(
            terminal, settings, store, command="unapprove", by=by, accounts=accounts
        )
        result = await store.approvals.unapprove(
            target.post, occurrence, person, reason
        )
    if result.is_too_late:
        raise CommandFailedError("unapprove_too_late", post=target.post)
    names = terminal.translate("list_comma").join(result.occurrences)
    terminal.print_message("unapprove_done", post=names, number=result.approvals)
    if result.sent_before:
        terminal.print_note(
            "unapprove_sent_before", post=names, number=result.sent_before
        )
