"""`rename-account`: give an account with a changed id the data stored under its former one.

The id was changed in publisher.toml.
"""

import click

from publisher.app.open_store import AccessMode
from publisher.cli.authentication import authenticate
from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.framework import by_option, command, one_line, reason_option
from publisher.cli.terminal import Terminal
from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError


@command("rename-account")
@click.argument("old", metavar="OLD", type=one_line)
@click.argument("new", metavar="NEW", type=one_line)
@by_option
@reason_option
async def rename_account(
    terminal: Terminal, old: AccountId, new: AccountId, by: str, reason: str
) -> None:
    settings = await load_workspace_settings(terminal)
    async with open_command_store(settings, AccessMode.COMMAND) as store:
        if new not in store.policies:
            raise NoSuchItemError("account", new, settings.accounts)
        person = await authenticate(
            terminal, settings, store, command="rename-account", by=by
        )
        number = await store.accounts.rename(old, new, person, reason)
        terminal.print_message("account_renamed_done", old=old, new=new, number=number)
