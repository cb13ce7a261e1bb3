"""`mode`: set how an account publishes from now on, regardless of the settings."""

import click

from publisher.app.adapters import find_api_blocker
from publisher.app.open_store import AccessMode
from publisher.cli.authentication import authenticate
from publisher.cli.context import (
    load_workspace_settings,
    open_command_store,
    warn_about_daemon,
)
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import by_option, choice, command, one_line, reason_option
from publisher.cli.terminal import Terminal
from publisher.domain.account import AccountId, Mode
from publisher.domain.errors import NoSuchItemError

SETTINGS_MODE = "settings"


@command("mode")
@click.argument("account", metavar="ACCOUNT", type=one_line)
@click.argument(
    "mode", metavar="api|assisted|off|settings", type=choice(*Mode, SETTINGS_MODE)
)
@by_option
@reason_option
async def mode(
    terminal: Terminal, account: AccountId, mode: str, *, by: str, reason: str
) -> None:
    wanted = None if mode == SETTINGS_MODE else Mode(mode)
    settings = await load_workspace_settings(terminal)
    known = settings.accounts.get(account)
    async with open_command_store(
        settings, AccessMode.READ if wanted is Mode.OFF else AccessMode.COMMAND
    ) as store:
        is_overridden = account in {
            override.account for override in await store.queries.mode_overrides()
        }
        # an override outlives its account's settings
        if known is None and (wanted is not None or not is_overridden):
            raise NoSuchItemError("account", account, settings.accounts)
        if known is not None and known.mode is Mode.OFF and wanted is not None:
            raise CommandFailedError("mode_off_in_settings", account=account)
        if (
            known is not None
            and wanted is Mode.API
            and (blocker := find_api_blocker(known))
        ):
            raise CommandFailedError(
                "mode_not_api",
                account=account,
                reason=terminal.messages.describe(blocker),
            )
        person = await authenticate(
            terminal, settings, store, command="mode", by=by, accounts=[account]
        )
        await store.actions.set_mode(account, wanted, person, reason)
        now = wanted or (known.mode if known else Mode.OFF)
        code = "mode_override_set" if wanted else "mode_override_cleared"
        terminal.print_message(
            code, account=account, mode=terminal.translate(f"mode_{now}")
        )
        await warn_about_daemon(terminal, settings, store.queries)
