"""`offboard`: an account leaves, for another's hands or for good."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import click

from publisher.app.application import open_vault
from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.format import Formatter
from publisher.cli.framework import NonEmptyText, by_option, command, reason_option
from publisher.cli.snapshot import is_daemon_running
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings
from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.delivery import Delivery
from publisher.domain.errors import NoSuchItemError
from publisher.domain.events import Actor
from publisher.domain.reports import OpenWork, collect_open_work
from publisher.engine.decisions import named_person
from publisher.secrets import find_external_source
from publisher.store.plan.actions import ModeOverrides
from publisher.store.plan.offboard import Offboarding
from publisher.store.queries.queries import Queries
from publisher.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class OffboardingAccount:
    """An account that leaves: the login behind it, who else speaks by that login, and whether the settings name it."""

    account: AccountId
    login: LoginId
    shared_with: Sequence[AccountId]
    is_in_settings: bool

    @property
    def platform(self) -> str:
        return self.login.partition("/")[0]

    @property
    def secret(self) -> str:
        return self.login.partition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffboardingResult:
    """How things stand after the order. `secret_place`: where the secret still stands and has to be removed by hand."""

    open_work: OpenWork
    cancelled: int | None
    is_secret_removed: bool
    secret_location: str | None
    is_daemon_running: bool

    @property
    def is_done(self) -> bool:
        return not (self.open_work.unresolved or self.open_work.waiting or self.secret_location)


@command("offboard")
@click.argument("account", metavar="ACCOUNT", type=NonEmptyText())
@by_option
@reason_option
@click.option("--cancel", "cancels", is_flag=True, help="opt_cancel")
def offboard(terminal: Terminal, account: str, *, by: str, reason: str, cancels: bool) -> int:
    settings, offboarding, result = asyncio.run(
        _offboard(terminal, AccountId(account), (named_person(by), reason), cancels)
    )
    _print_result(terminal, settings, offboarding, result)
    return int(not result.is_done)


async def _offboard(
    terminal: Terminal,
    account: AccountId,
    order: tuple[Actor, str],
    cancels: bool,  # noqa: FBT001 # as it was given
) -> tuple[Settings, OffboardingAccount, OffboardingResult]:
    settings = await load_workspace_settings(terminal)
    by, reason = order
    async with open_command_store(settings) as store:
        offboarding = await _find_account(store, settings, account)
        handovers = Offboarding(store)
        modes = {ordered.account: ordered.mode for ordered in await ModeOverrides(store).list_overrides()}
        if modes.get(account) is not Mode.OFF:
            await ModeOverrides(store).set_override(account, Mode.OFF, by, reason)
        await handovers.begin(account, offboarding.login, by, reason)
        cancelled = await handovers.cancel_waiting(account, by, reason) if cancels else None
        open_work = collect_open_work(await Queries(store).deliveries(account=account))
        is_free = not (open_work.unresolved or open_work.waiting or offboarding.shared_with)
        result = OffboardingResult(
            open_work=open_work,
            cancelled=cancelled,
            is_secret_removed=is_free and await asyncio.to_thread(_remove_secret, settings, offboarding),
            secret_location=find_external_source(offboarding.secret, secrets_dir=settings.secrets_dir)
            if is_free
            else None,
            is_daemon_running=await is_daemon_running(Queries(store)),
        )
        if result.is_done:
            await handovers.finish(account, offboarding.login, by, is_shared=bool(offboarding.shared_with))
    return settings, offboarding, result


async def _find_account(store: Store, settings: Settings, account: AccountId) -> OffboardingAccount:
    """Find the login behind an account, in the settings or, once it has left them, in the books. Raises NoSuchError."""
    known = settings.accounts.get(account)
    login = known.login if known else await _find_stored_login(store, account)
    if login is None:
        raise NoSuchItemError("account", account)
    secret = login.partition("/")[2]
    shared_with = [key for key, other in settings.accounts.items() if other.secret == secret and key != account]
    return OffboardingAccount(account=account, login=login, shared_with=shared_with, is_in_settings=known is not None)


async def _find_stored_login(store: Store, account: AccountId) -> LoginId | None:
    queries = Queries(store)
    noted = [entry.detail.get("login") for entry in await queries.audit_history(f"account:{account}")]
    sent = [delivery.login for delivery in await queries.deliveries(account=account)]
    return next((LoginId(str(login)) for login in reversed([*sent, *noted]) if login), None)


def _remove_secret(settings: Settings, offboarding: OffboardingAccount) -> bool:
    vault = open_vault(settings)
    return offboarding.secret in vault.list_names() and vault.remove(offboarding.secret)


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
    terminal.print_message(
        "offboard_to_do" if _remaining_steps(terminal, offboarding, result) else "offboard_complete", account=account
    )
    for number, step in enumerate(_remaining_steps(terminal, offboarding, result), 1):
        echo(f"  {number}. {step}")
    if open_work.unresolved and not result.is_daemon_running:
        terminal.print_note("no_daemon_hint")


def _print_deliveries(deliveries: Sequence[Delivery], formatter: Formatter) -> None:
    for delivery in deliveries:
        echo(f"    {formatter.subject(delivery)}  {formatter.status(delivery)}")


def _remaining_steps(terminal: Terminal, offboarding: OffboardingAccount, result: OffboardingResult) -> Sequence[str]:
    """Say what is left to a person, in the order in which it can be done."""
    facts = {"account": offboarding.account, "name": offboarding.secret, "place": result.secret_location or ""}
    is_settled = not (result.open_work.unresolved or result.open_work.waiting)
    revoke = f"revoke_{offboarding.platform}"
    steps = {
        "offboard_restore_entry": bool(result.open_work.unresolved) and not offboarding.is_in_settings,
        "offboard_repeat": not is_settled,
        "offboard_remove_secret": result.secret_location is not None,
        "offboard_remove_entry": is_settled and offboarding.is_in_settings,
        revoke if revoke in terminal.messages.entries else "revoke_other": is_settled and not offboarding.shared_with,
    }
    return [terminal.translate(step, **facts) for step, is_left in steps.items() if is_left]
