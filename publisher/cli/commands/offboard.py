"""`offboard`: an account leaves, handed to others or closed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import click

from publisher.app.application import open_vault
from publisher.cli.context import is_daemon_running, load_workspace_settings, open_command_store
from publisher.cli.format import Formatter
from publisher.cli.framework import by_option, command, one_line, reason_option
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings
from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.delivery import Delivery
from publisher.domain.errors import NoSuchItemError
from publisher.domain.reports import OpenWork, collect_open_work
from publisher.engine.decisions import named_person
from publisher.secrets import find_external_source
from publisher.store.plan.actions import ModeOverrides
from publisher.store.plan.offboard import Offboarding
from publisher.store.queries.queries import Queries
from publisher.store.store import Store


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


@dataclass(frozen=True, slots=True, kw_only=True)
class OffboardingResult:
    """The state after the command. `secret_location`: where the secret still is and must be removed manually."""

    open_work: OpenWork
    cancelled: int | None
    is_secret_removed: bool
    secret_location: str | None
    is_daemon_running: bool

    @property
    def is_done(self) -> bool:
        return not (self.open_work.unresolved or self.open_work.waiting or self.secret_location)


@command("offboard")
@click.argument("account", metavar="ACCOUNT", type=one_line)
@by_option
@reason_option
@click.option("--cancel", "cancels", is_flag=True, help="opt_cancel")
async def offboard(terminal: Terminal, account: str, *, by: str, reason: str, cancels: bool) -> int:
    person, account_id = named_person(by), AccountId(account)
    settings = await load_workspace_settings(terminal)
    async with open_command_store(settings) as store:
        offboarding = await _find_account(store, settings, account_id)
        store_offboarding, overrides = Offboarding(store), ModeOverrides(store)
        modes = {override.account: override.mode for override in await overrides.list_overrides()}
        if modes.get(account_id) is not Mode.OFF:
            await overrides.set_override(account_id, Mode.OFF, person, reason)
        await store_offboarding.begin(account_id, offboarding.login, person, reason)
        cancelled = await store_offboarding.cancel_waiting(account_id, person, reason) if cancels else None
        open_work = collect_open_work(await Queries(store).deliveries(account=account_id))
        is_secret_removed, secret_location = False, None
        if not (open_work.unresolved or open_work.waiting or offboarding.shared_with):
            vault = open_vault(settings)
            is_secret_removed = await asyncio.to_thread(
                lambda: offboarding.secret in vault.list_names() and vault.remove(offboarding.secret)
            )
            secret_location = find_external_source(offboarding.secret, secrets_dir=settings.secrets_dir)
        result = OffboardingResult(
            open_work=open_work,
            cancelled=cancelled,
            is_secret_removed=is_secret_removed,
            secret_location=secret_location,
            is_daemon_running=await is_daemon_running(Queries(store)),
        )
        if result.is_done:
            is_shared = bool(offboarding.shared_with)
            await store_offboarding.finish(account_id, offboarding.login, person, is_shared=is_shared)
    _print_result(terminal, settings, offboarding, result)
    return int(not result.is_done)


async def _find_account(store: Store, settings: Settings, account: AccountId) -> OffboardingAccount:
    """Find the login of an account, in the settings or, once it has left them, in the store. Raise NoSuchItemError."""
    if (known := settings.accounts.get(account)) is not None:
        login = known.login
    else:
        queries = Queries(store)
        recorded = [entry.detail.get("login") for entry in await queries.audit_history(f"account:{account}")]
        sent = [delivery.login for delivery in await queries.deliveries(account=account)]
        logins = [LoginId(str(stored)) for stored in [*sent, *recorded] if stored]
        if not logins:
            raise NoSuchItemError("account", account)
        login = logins[-1]
    others = {key: other for key, other in settings.accounts.items() if key != account}
    shared_with = [key for key, other in others.items() if other.secret == login.partition("/")[2]]
    return OffboardingAccount(account=account, login=login, shared_with=shared_with, is_in_settings=known is not None)


def _print_result(
    terminal: Terminal, settings: Settings, offboarding: OffboardingAccount, result: OffboardingResult
) -> None:
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    account, open_work = offboarding.account, result.open_work
    terminal.print_message("offboard_off", account=account)
    if open_work.unresolved:
        terminal.print_message("offboard_unresolved", number=len(open_work.unresolved))
        _print_deliveries(open_work.unresolved, formatter)
    if result.cancelled:
        terminal.print_message("offboard_cancelled", number=result.cancelled)
    if open_work.waiting:
        terminal.print_message("offboard_waiting", number=len(open_work.waiting), account=account)
        _print_deliveries(open_work.waiting, formatter)
    terminal.print_message("offboard_published", number=len(open_work.published))
    if result.is_secret_removed:
        terminal.print_message("offboard_secret_removed", name=offboarding.secret)
    if offboarding.shared_with:
        others = terminal.translate("list_comma").join(offboarding.shared_with)
        terminal.print_message("offboard_secret_shared", name=offboarding.secret, accounts=others)
    # what is left for a person, in the order in which it can be done
    is_settled = not (open_work.unresolved or open_work.waiting)
    revoke = f"revoke_{offboarding.login.partition('/')[0]}"
    possible_steps = {
        "offboard_restore_entry": bool(open_work.unresolved) and not offboarding.is_in_settings,
        "offboard_repeat": not is_settled,
        "offboard_remove_secret": result.secret_location is not None,
        "offboard_remove_entry": is_settled and offboarding.is_in_settings,
        revoke if revoke in terminal.messages.entries else "revoke_other": is_settled and not offboarding.shared_with,
    }
    steps = [step for step, is_left in possible_steps.items() if is_left]
    terminal.print_message("offboard_to_do" if steps else "offboard_complete", account=account)
    for number, step in enumerate(steps, 1):
        place = result.secret_location or ""
        echo(f"  {number}. {terminal.translate(step, account=account, name=offboarding.secret, place=place)}")
    if open_work.unresolved and not result.is_daemon_running:
        terminal.print_note("no_daemon_hint")


def _print_deliveries(deliveries: Sequence[Delivery], formatter: Formatter) -> None:
    for delivery in deliveries:
        echo(f"    {formatter.subject(delivery)}  {formatter.status(delivery)}")
