"""`pause`: stop sending, for all or for one platform, account or post."""

import click

from publisher.app.format import Formatter, scope_argument
from publisher.cli.authentication import accounts_in_scope, authenticate_for_each
from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.framework import by_option, command, keep_typed_reason, one_line
from publisher.cli.target import list_scopes, resolve_scope
from publisher.cli.terminal import Terminal
from publisher.store.db.filters import SCOPE_ALL


@command("pause")
@click.argument(
    "scope", metavar="[all|platform:P|ACCOUNT|POST]", default=SCOPE_ALL, type=one_line
)
@by_option
@click.option(
    "--reason",
    metavar="TEXT",
    type=one_line,
    callback=keep_typed_reason,
    help="opt_reason",
)
async def pause(terminal: Terminal, scope: str, by: str, reason: str | None) -> None:
    settings = await load_workspace_settings(terminal)
    async with open_command_store(settings) as store:
        resolved = await resolve_scope(scope, settings, store)
        targets = {
            one: await accounts_in_scope(one, settings, store)
            for one in await list_scopes(resolved, store.queries)
        }
        person, scopes = await authenticate_for_each(
            terminal, settings, store, command="pause", by=by, targets=targets
        )
        for one in [resolved] if resolved in scopes else scopes:
            await store.actions.pause(one, person, reason or "")
    text = Formatter(messages=terminal.messages, timezone=settings.timezone).scope(
        resolved
    )
    terminal.print_message("paused_done", scope=text, argument=scope_argument(resolved))
