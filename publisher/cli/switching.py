"""`mode`: how an account publishes from now on, whatever the settings say."""

import asyncio

import click

from publisher.cli.looking import is_running
from publisher.cli.shape import OneOf, Said, by_option, command, reason_option
from publisher.cli.terminal import Terminal
from publisher.cli.trouble import FailedError
from publisher.cli.workplace import books_of, settings_of
from publisher.domain.account import AccountId, Mode
from publisher.domain.errors import NoSuchError
from publisher.reviewing import person
from publisher.settings import Settings, why_not_api
from publisher.store.board import Board
from publisher.store.modes import Modes
from publisher.wiring.books import Use

AS_SETTINGS = "settings"


@command("mode")
@click.argument("account", metavar="ACCOUNT", type=Said())
@click.argument("mode", metavar="api|assisted|off|settings", type=OneOf(*Mode, AS_SETTINGS))
@by_option
@reason_option
def mode(terminal: Terminal, account: str, mode: str, *, by: str, reason: str) -> int:
    wanted = None if mode == AS_SETTINGS else Mode(mode)
    asyncio.run(_order(terminal, AccountId(account), wanted, (by, reason)))
    return 0


async def _order(terminal: Terminal, account: AccountId, wanted: Mode | None, order: tuple[str, str]) -> None:
    settings = await settings_of(terminal)
    by, reason = order
    async with books_of(settings, Use.LOOK if wanted is Mode.OFF else Use.ORDER) as books:
        modes = Modes(books)
        is_ordered = account in {standing.account for standing in await modes.ordered()}
        if wanted is not None or not is_ordered:  # an order can be lifted although its account has left the settings
            _check(terminal, settings, account, wanted)
        await modes.order(account, wanted, person(by), reason)
        runs = await is_running(Board(books))
    known = settings.accounts.get(account)
    now = wanted or (known.mode if known else Mode.OFF)
    terminal.say("mode_ordered" if wanted else "mode_as_settings", account=account, mode=terminal.words(f"mode_{now}"))
    if not runs:
        terminal.note("no_daemon_hint")


def _check(terminal: Terminal, settings: Settings, account: AccountId, wanted: Mode | None) -> None:
    """Refuse what cannot work. Raises NoSuchError, FailedError."""
    known = settings.accounts.get(account)
    if known is None:
        raise NoSuchError("account", account)
    if known.mode is Mode.OFF and wanted is not None:
        raise FailedError("mode_off_in_settings", account=account)
    if wanted is Mode.API and (code := why_not_api(known)):
        raise FailedError("mode_not_api", account=account, reason=terminal.words(code, account=account))
