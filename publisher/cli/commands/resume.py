"""`resume`: lift a pause, or those of a platform's accounts that have one cause."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import click

from publisher.app.format import Formatter
from publisher.app.open_store import AccessMode
from publisher.cli.authentication import accounts_in_scope, authenticate_for_each
from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.framework import (
    LocalizedUsageError,
    by_option,
    command,
    one_line,
)
from publisher.cli.target import list_scopes, resolve_scope
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings
from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor, Delivery
from publisher.engine.recovery_orders import (
    PauseChoice,
    ResendResult,
    choose_pauses,
    find_blocking,
    find_held,
    is_held_with_account,
    resend_held,
    resume_accounts,
)
from publisher.store.db.filters import SCOPE_ALL
from publisher.store.queries.queries import Pause
from publisher.store.store import Store

PLATFORM_PREFIX = "platform:"


@dataclass(slots=True, kw_only=True)
class Resumption:
    """The results of one command."""

    was_paused: bool
    choice: PauseChoice | None = None
    resumed: Sequence[AccountId] = ()
    resend: ResendResult = field(default_factory=ResendResult)
    left: Sequence[Pause] = ()
    """The pauses that keep accounts of the scope stopped."""


@command("resume")
@click.argument(
    "scope", metavar="[all|platform:P|ACCOUNT|POST]", default=SCOPE_ALL, type=one_line
)
@by_option
@click.option("--reason", metavar="CODE", type=one_line, help="opt_pause_reason")
@click.option("--resend", "resends", is_flag=True, help="opt_resume_resend")
async def resume(
    terminal: Terminal, scope: str, by: str, reason: str | None, *, resends: bool
) -> int:
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    # refused where the database does not know all that was sent: the pause may be all that prevents
    # a second post
    async with open_command_store(settings, AccessMode.COMMAND) as store:
        resolved = await resolve_scope(scope, settings, store)
        is_platform = resolved.startswith(PLATFORM_PREFIX)
        if reason and not is_platform:
            raise LocalizedUsageError("resume_reason_needs_platform")
        targets = {
            one: await accounts_in_scope(one, settings, store)
            for one in await list_scopes(resolved, store.queries)
        }
        person, scopes = await authenticate_for_each(
            terminal,
            settings,
            store,
            command="resolve" if resends else "resume",
            by=by,
            targets=targets,
        )
        paused = {pause.scope for pause in await store.queries.pauses()}
        lifted = [one for one in scopes if one in paused] or scopes[:1]
        ended = [await store.actions.resume(one, person) for one in lifted]
        result = Resumption(was_paused=any(ended))
        if is_platform:
            accounts = targets[resolved] or ()
            await resume_platform(store, settings, result, accounts, person, reason)
        elif account := settings.accounts.get(
            AccountId(resolved.removeprefix("account:"))
        ):
            await store.login_health.request_probe(account)
            result.resumed = [account.id]
        held = await find_held(store, result.resumed)
        if resends:
            why = terminal.translate("resume_resend_reason", scope=resolved)
            with_account = list(filter(is_held_with_account, held))
            result.resend = await resend_held(store, with_account, person, why)
            resent = {item.id for item in result.resend.resent}
            held = [item for item in held if item.id not in resent]
        result.left = list(
            {
                pause.scope: pause
                for one in scopes
                for pause in await find_blocking(store, one, targets[one])
            }.values()
        )
    report(terminal, formatter, resolved, result, held)
    return int(bool(result.left) or (resends and bool(held)))


async def resume_platform(  # noqa: PLR0913, PLR0917 # whose pauses, and who ends them
    store: Store,
    settings: Settings,
    result: Resumption,
    accounts: Collection[AccountId],
    person: Actor,
    reason: str | None,
) -> None:
    """End publisher's own pauses of a platform's accounts, if they have one reason."""
    pauses = await store.queries.pauses()
    result.choice = choose_pauses(pauses, accounts, reason)
    result.resumed = await resume_accounts(
        store, result.choice, settings.accounts, person
    )


def report(
    terminal: Terminal,
    formatter: Formatter,
    scope: str,
    result: Resumption,
    held: Sequence[Delivery],
) -> None:
    """Print the results, and what stays as it is with its reason."""
    shown = formatter.scope(scope)
    if result.was_paused or not result.resumed or result.choice is None:
        code = "resumed_done" if result.was_paused else "resumed_nothing"
        terminal.print_message(code, scope=shown)
    if result.choice is not None and result.resumed:
        terminal.print_message(
            "resumed_accounts", scope=shown, number=len(result.resumed)
        )
    if result.resend.resent:
        terminal.print_message("resumed_resent", number=len(result.resend.resent))
    if result.choice is not None and len(result.choice.reasons) > 1:
        for code, number in sorted(result.choice.reasons.items()):
            terminal.print_note(
                "resume_needs_reason",
                number=number,
                why=formatter.reason(code),
                reason=code,
                scope=scope,
            )
    for pause in result.left:
        echo(formatter.pause("still_paused", pause), err=True)
    for delivery in held:
        terminal.print_note("still_held", subject=formatter.subject(delivery))
