"""`offboard`: an account leaves, for another's hands or for good."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import click

from publisher.cli.looking import is_running
from publisher.cli.narrating import Narrator
from publisher.cli.shape import Said, by_option, command, reason_option
from publisher.cli.terminal import Terminal, echo
from publisher.cli.workplace import books_of, settings_of
from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.delivery import Delivery
from publisher.domain.errors import NoSuchError
from publisher.domain.events import Actor
from publisher.domain.handover import InHand, in_hand
from publisher.reviewing import person
from publisher.settings import Settings
from publisher.store.board import Board
from publisher.store.books import Books
from publisher.store.handovers import Handovers
from publisher.store.modes import Modes
from publisher.vault import place_outside
from publisher.wiring.application import vault_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """An account that leaves: the login behind it, who else speaks by that login, and whether the settings name it."""

    account: AccountId
    login: LoginId
    sharers: Sequence[AccountId]
    is_in_settings: bool

    @property
    def platform(self) -> str:
        return self.login.partition("/")[0]

    @property
    def secret(self) -> str:
        return self.login.partition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """How things stand after the order. `secret_place`: where the secret still stands and has to be removed by hand."""

    held: InHand
    cancelled: int | None
    is_secret_removed: bool
    secret_place: str | None
    runs: bool

    @property
    def is_done(self) -> bool:
        return not (self.held.unresolved or self.held.waiting or self.secret_place)


@command("offboard")
@click.argument("account", metavar="ACCOUNT", type=Said())
@by_option
@reason_option
@click.option("--cancel", "cancels", is_flag=True, help="opt_cancel")
def offboard(terminal: Terminal, account: str, *, by: str, reason: str, cancels: bool) -> int:
    settings, leaving, left = asyncio.run(_hand_over(terminal, AccountId(account), (person(by), reason), cancels))
    _tell(terminal, settings, leaving, left)
    return int(not left.is_done)


async def _hand_over(
    terminal: Terminal,
    account: AccountId,
    order: tuple[Actor, str],
    cancels: bool,  # noqa: FBT001 # as it was given
) -> tuple[Settings, Leaving, Left]:
    settings = await settings_of(terminal)
    by, reason = order
    async with books_of(settings) as books:
        leaving = await _leaving(books, settings, account)
        orders = Handovers(books)
        modes = {ordered.account: ordered.mode for ordered in await Modes(books).ordered()}
        if modes.get(account) is not Mode.OFF:
            await Modes(books).order(account, Mode.OFF, by, reason)
        await orders.begin(account, leaving.login, by, reason)
        cancelled = await orders.cancel(account, by, reason) if cancels else None
        held = in_hand(await Board(books).deliveries(account=account))
        is_free = not (held.unresolved or held.waiting or leaving.sharers)
        left = Left(
            held=held,
            cancelled=cancelled,
            is_secret_removed=is_free and await asyncio.to_thread(_remove_secret, settings, leaving),
            secret_place=place_outside(leaving.secret, secrets_dir=settings.secrets_dir) if is_free else None,
            runs=await is_running(Board(books)),
        )
        if left.is_done:
            await orders.end(account, leaving.login, by, is_shared=bool(leaving.sharers))
    return settings, leaving, left


async def _leaving(books: Books, settings: Settings, account: AccountId) -> Leaving:
    """Find the login behind an account, in the settings or, once it has left them, in the books. Raises NoSuchError."""
    known = settings.accounts.get(account)
    login = known.login if known else await _login_in_books(books, account)
    if login is None:
        raise NoSuchError("account", account)
    secret = login.partition("/")[2]
    sharers = [key for key, other in settings.accounts.items() if other.secret == secret and key != account]
    return Leaving(account=account, login=login, sharers=sharers, is_in_settings=known is not None)


async def _login_in_books(books: Books, account: AccountId) -> LoginId | None:
    board = Board(books)
    noted = [entry.detail.get("login") for entry in await board.history(f"account:{account}")]
    sent = [delivery.login for delivery in await board.deliveries(account=account)]
    return next((LoginId(str(login)) for login in reversed([*sent, *noted]) if login), None)


def _remove_secret(settings: Settings, leaving: Leaving) -> bool:
    vault = vault_of(settings)
    return leaving.secret in vault.names() and vault.remove(leaving.secret)


def _tell(terminal: Terminal, settings: Settings, leaving: Leaving, left: Left) -> None:
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    account, held = leaving.account, left.held
    terminal.say("leaving_off", account=account)
    if held.unresolved:
        terminal.say("leaving_unresolved", number=len(held.unresolved))
        _list(held.unresolved, narrator)
    if left.cancelled:
        terminal.say("leaving_cancelled", number=left.cancelled)
    if held.waiting:
        terminal.say("leaving_waiting", number=len(held.waiting), account=account)
        _list(held.waiting, narrator)
    terminal.say("leaving_live", number=len(held.live))
    if left.is_secret_removed:
        terminal.say("leaving_secret_removed", name=leaving.secret)
    if leaving.sharers:
        others = terminal.words("list_comma").join(leaving.sharers)
        terminal.say("leaving_secret_shared", name=leaving.secret, accounts=others)
    terminal.say("leaving_to_do" if _steps(terminal, leaving, left) else "leaving_nothing_to_do", account=account)
    for number, step in enumerate(_steps(terminal, leaving, left), 1):
        echo(f"  {number}. {step}")
    if held.unresolved and not left.runs:
        terminal.note("no_daemon_hint")


def _list(deliveries: Sequence[Delivery], narrator: Narrator) -> None:
    for delivery in deliveries:
        echo(f"    {narrator.subject(delivery)}  {narrator.standing(delivery)}")


def _steps(terminal: Terminal, leaving: Leaving, left: Left) -> Sequence[str]:
    """Say what is left to a person, in the order in which it can be done."""
    facts = {"account": leaving.account, "name": leaving.secret, "place": left.secret_place or ""}
    is_settled = not (left.held.unresolved or left.held.waiting)
    revoke = f"revoke_{leaving.platform}"
    steps = {
        "leaving_put_back": bool(left.held.unresolved) and not leaving.is_in_settings,
        "leaving_repeat": not is_settled,
        "leaving_remove_secret": left.secret_place is not None,
        "leaving_remove_entry": is_settled and leaving.is_in_settings,
        revoke if revoke in terminal.messages.entries else "revoke_other": is_settled and not leaving.sharers,
    }
    return [terminal.words(step, **facts) for step, is_left in steps.items() if is_left]
