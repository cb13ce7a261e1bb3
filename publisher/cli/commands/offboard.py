"""`offboard`: an account leaves, handed to others or closed."""

from collections.abc import Sequence

import click

from publisher.app.format import Formatter
from publisher.cli.authentication import authenticate
from publisher.cli.context import (
    load_workspace_settings,
    open_command_store,
    warn_about_daemon,
)
from publisher.cli.framework import by_option, command, one_line, reason_option
from publisher.cli.terminal import Terminal, echo
from publisher.domain.account import AccountId
from publisher.domain.delivery import Delivery
from publisher.domain.reports import OpenWork
from publisher.engine.offboard import OffboardingAccount, find_account, offboard_account


@command("offboard")
@click.argument("account", metavar="ACCOUNT", type=one_line)
@by_option
@reason_option
@click.option("--cancel", "cancels", is_flag=True, help="opt_cancel")
async def offboard(
    terminal: Terminal, account: AccountId, *, by: str, reason: str, cancels: bool
) -> int:
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    async with open_command_store(settings) as store:
        leaving = await find_account(store.queries, settings, account)
        person = await authenticate(
            terminal, settings, store, command="offboard", by=by, accounts=[account]
        )
        step = await offboard_account(
            store, settings, leaving, person, reason, cancels=cancels
        )
        open_work = step.after.open_work
        is_last = step.after.is_settled and not leaving.shared_with
        _print_work(terminal, formatter, account, open_work, step.cancelled)
        if step.is_secret_removed:
            terminal.print_message("offboard_secret_removed", name=leaving.secret)
        if leaving.shared_with:
            others = terminal.translate("list_comma").join(leaving.shared_with)
            terminal.print_message(
                "offboard_secret_shared", name=leaving.secret, accounts=others
            )
        _print_steps(
            terminal,
            leaving,
            open_work,
            step.after.secret_location if is_last else None,
        )
        if open_work.unresolved:
            await warn_about_daemon(terminal, settings, store.queries)
    if step.after.vault_error is not None and not leaving.shared_with:
        raise step.after.vault_error
    return int(not step.after.is_done)


def _print_work(
    terminal: Terminal,
    formatter: Formatter,
    account: AccountId,
    open_work: OpenWork,
    cancelled: int,
) -> None:
    """Print the open, the cancelled and the still published posts."""

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
    terminal: Terminal,
    leaving: OffboardingAccount,
    open_work: OpenWork,
    secret_location: str | None,
) -> None:
    """Print the remaining steps for a person, in a workable order."""
    is_settled = not (open_work.unresolved or open_work.waiting)
    revoke = terminal.messages.first_known(
        f"revoke_{leaving.login.partition('/')[0]}", "revoke_other"
    )
    possible_steps = {
        "offboard_restore_entry": bool(open_work.unresolved)
        and not leaving.is_in_settings,
        "offboard_repeat": not is_settled,
        "offboard_remove_secret": secret_location is not None,
        "offboard_remove_entry": is_settled and leaving.is_in_settings,
        revoke: is_settled and not leaving.shared_with,
    }
    steps = [step for step, is_left in possible_steps.items() if is_left]
    terminal.print_message(
        "offboard_to_do" if steps else "offboard_complete", account=leaving.account
    )
    for number, step in enumerate(steps, 1):
        text = terminal.translate(
            step,
            account=leaving.account,
            name=leaving.secret,
            place=secret_location or "",
        )
        echo(f"  {number}. {text}")
