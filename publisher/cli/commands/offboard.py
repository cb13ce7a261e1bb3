"""`offboard`: an account leaves, handed to others or closed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import click

from publisher.app.application import open_vault
from publisher.app.format import Formatter
from publisher.cli.authentication import authenticate
from publisher.cli.context import load_workspace_settings, open_command_store, warn_if_no_daemon
from publisher.cli.framework import by_option, command, one_line, reason_option
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings
from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.delivery import Delivery
from publisher.domain.errors import NoSuchItemError
from publisher.domain.reports import OpenWork, collect_open_work
from publisher.secrets import find_external_source
from publisher.store.queries.queries import Queries


@dataclass(frozen=True, slots=True, kw_only=True)
class OffboardingAccount:
    """An account that leaves, its login, and the other accounts of that login."""

    account: AccountId
    login: LoginId
    shared_with: Sequence[AccountId]
    is_in_settings: bool

    @property
    def secret(self) -> str:
        return self.login.partition("/")[2]


@command("offboard")
@click.argument("account", metavar="ACCOUNT", type=one_line)
@by_option
@reason_option
@click.option("--cancel", "cancels", is_flag=True, help="opt_cancel")
async def offboard(terminal: Terminal, account: AccountId, *, by: str, reason: str, cancels: bool) -> int:
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    async with open_command_store(settings) as store:
        queries, actions = store.queries, store.actions
        leaving = await find_account(queries, settings, account)
        person = await authenticate(terminal, settings, store, command="offboard", by=by, accounts=[account])
        modes = {override.account: override.mode for override in await queries.mode_overrides()}
        if modes.get(account) is not Mode.OFF:
            await actions.set_mode(account, Mode.OFF, person, reason)
        await actions.request_offboarding(account, leaving.login, person, reason)
        cancelled = await actions.cancel_waiting(account, person, reason) if cancels else 0
        open_work = collect_open_work(await queries.deliveries(account=account))
        is_settled = not (open_work.unresolved or open_work.waiting)
        is_secret_removed, secret_location = False, None
        if is_settled and not leaving.shared_with:
            vault = open_vault(settings)
            is_secret_removed = await asyncio.to_thread(
                lambda: leaving.secret in vault.list_names() and vault.remove(leaving.secret)
            )
            secret_location = find_external_source(leaving.secret, secrets_dir=settings.secrets_dir)
        is_done = is_settled and not secret_location
        if is_done:
            await actions.finish_offboarding(account, leaving.login, person, is_shared=bool(leaving.shared_with))
        _print_work(terminal, formatter, account, open_work, cancelled)
        if is_secret_removed:
            terminal.print_message("offboard_secret_removed", name=leaving.secret)
        if leaving.shared_with:
            others = terminal.translate("list_comma").join(leaving.shared_with)
            terminal.print_message("offboard_secret_shared", name=leaving.secret, accounts=others)
        _print_steps(terminal, leaving, open_work, secret_location)
        if open_work.unresolved:
            await warn_if_no_daemon(terminal, queries)
    return int(not is_done)


async def find_account(queries: Queries, settings: Settings, account: AccountId) -> OffboardingAccount:
    """Find the login of an account, in the settings or, once it has left them, in the store. Raise NoSuchItemError."""
    if (known := settings.accounts.get(account)) is not None:
        login = known.login
    else:
        recorded = [entry.detail.get("login") for entry in await queries.audit_history(f"account:{account}")]
        sent = [delivery.login for delivery in await queries.deliveries(account=account)]
        logins = [LoginId(str(stored)) for stored in [*sent, *recorded] if stored]
        if not logins:
            raise NoSuchItemError("account", account, settings.accounts)
        login = logins[-1]
    others = {key: other for key, other in settings.accounts.items() if key != account}
    shared_with = [key for key, other in others.items() if other.secret == login.partition("/")[2]]
    return OffboardingAccount(account=account, login=login, shared_with=shared_with, is_in_settings=known is not None)


def _print_work(
    terminal: Terminal, formatter: Formatter, account: AccountId, open_work: OpenWork, cancelled: int
) -> None:
    """Print what is open, what was cancelled and what stays published."""

    def print_deliveries(code: str, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            terminal.print_message(code, number=len(deliveries), account=account)
        for delivery in deliveries:
            echo(f"    {formatter.subject(delivery)}  {formatter.status(delivery)}")

    terminal.print_message("offboard_off", account=account)
    print_deliveries("offboard_unresolved", open_work.unresolved)
    if cancelled:
        terminal.print_message("offboard_cancelled", number=cancelled)
    print_deliveries("offboard_waiting", open_work.waiting)
    terminal.print_message("offboard_published", number=len(open_work.published))


def _print_steps(
    terminal: Terminal, leaving: OffboardingAccount, open_work: OpenWork, secret_location: str | None
) -> None:
    """Print what is left for a person, in the order in which it can be done."""
    is_settled = not (open_work.unresolved or open_work.waiting)
    revoke = terminal.messages.first_known(f"revoke_{leaving.login.partition('/')[0]}", "revoke_other")
    possible_steps = {
        "offboard_restore_entry": bool(open_work.unresolved) and not leaving.is_in_settings,
        "offboard_repeat": not is_settled,
        "offboard_remove_secret": secret_location is not None,
        "offboard_remove_entry": is_settled and leaving.is_in_settings,
        revoke: is_settled and not leaving.shared_with,
    }
    steps = [step for step, is_left in possible_steps.items() if is_left]
    terminal.print_message("offboard_to_do" if steps else "offboard_complete", account=leaving.account)
    for number, step in enumerate(steps, 1):
        text = terminal.translate(step, account=leaving.account, name=leaving.secret, place=secret_location or "")
        echo(f"  {number}. {text}")
