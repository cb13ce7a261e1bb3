"""`resume`: lift a pause."""

from collections.abc import Sequence

import click

from publisher.app.format import Formatter
from publisher.app.open_store import AccessMode
from publisher.cli.authentication import accounts_in_scope, authenticate
from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.framework import by_option, command, one_line
from publisher.cli.target import resolve_scope
from publisher.cli.terminal import Terminal, echo
from publisher.domain.account import AccountId
from publisher.domain.delivery import Delivery, State
from publisher.store.db.filters import SCOPE_ALL


@command("resume")
@click.argument(
    "scope", metavar="[all|platform:P|ACCOUNT|POST]", default=SCOPE_ALL, type=one_line
)
@by_option
async def resume(terminal: Terminal, scope: str, by: str) -> None:
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    # refused where the database does not know all that was sent: the pause may be all that prevents
    # a second post
    async with open_command_store(settings, AccessMode.COMMAND) as store:
        resolved = await resolve_scope(scope, settings, store)
        accounts = await accounts_in_scope(resolved, settings, store)
        person = await authenticate(
            terminal, settings, store, command="resume", by=by, accounts=accounts
        )
        held: Sequence[Delivery] = ()
        was_paused = await store.actions.resume(resolved, person)
        if account := settings.accounts.get(
            AccountId(resolved.removeprefix("account:"))
        ):
            await store.login_health.request_probe(account)
            held = await store.queries.deliveries(
                account=account.id, states=[State.HELD]
            )
        left = await store.queries.pauses()
    terminal.print_message(
        "resumed_done" if was_paused else "resumed_nothing",
        scope=formatter.scope(resolved),
    )
    for pause in left:
        echo(formatter.pause("still_paused", pause), err=True)
    for delivery in held:
        terminal.print_note("still_held", subject=formatter.subject(delivery))
