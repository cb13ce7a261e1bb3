"""`resolve`: a person decides about one delivery, or resends all of a post with one cause."""

from collections import Counter
from collections.abc import Collection, Sequence

import click

from publisher.app.format import Formatter, pauses_covering
from publisher.app.open_store import AccessMode
from publisher.cli.authentication import authenticate
from publisher.cli.context import (
    load_workspace_settings,
    open_command_store,
    warn_about_daemon,
)
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import (
    LocalizedUsageError,
    by_option,
    choice,
    command,
    one_line,
    reason_option,
)
from publisher.cli.target import (
    DeliveryTarget,
    find_deliveries,
    find_delivery,
    post_target,
)
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings
from publisher.domain.delivery import OPEN_STATES, Delivery, State
from publisher.engine.decisions import (
    CONFIRM,
    RULINGS,
    Resolution,
    can_be_resolved,
    decide,
)
from publisher.engine.recovery_orders import resend_held
from publisher.store.store import Store


@command("resolve")
@click.argument("target", metavar="POST[@ACCOUNT]", type=post_target)
@click.argument("ruling", metavar="|".join(RULINGS), type=choice(*RULINGS))
@click.argument("url", metavar="[URL]", type=one_line, required=False)
@by_option
@reason_option
@click.option("--held-for", metavar="CODE", type=one_line, help="opt_held_for")
async def resolve(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    target: DeliveryTarget,
    ruling: str,
    url: str | None,
    *,
    by: str,
    reason: str,
    held_for: str | None,
) -> int:
    require_url(ruling, url)
    if target.account is None and ruling != Resolution.RESEND:
        raise LocalizedUsageError("account_needed", value=target.text)
    if target.account is not None and held_for:
        raise LocalizedUsageError("held_for_needs_post")
    settings = await load_workspace_settings(terminal)
    if target.account is None:
        return await resend_post(
            terminal, settings, target, held_for, by=by, reason=reason
        )
    await resolve_one(terminal, settings, target, ruling, url, by=by, reason=reason)
    return 0


async def resolve_one(  # noqa: PLR0913 # the arguments of the command
    terminal: Terminal,
    settings: Settings,
    target: DeliveryTarget,
    ruling: str,
    url: str | None,
    *,
    by: str,
    reason: str,
) -> None:
    """Carry out a person's decision about one delivery."""
    resolution = Resolution.PUBLISHED if ruling == CONFIRM else Resolution(ruling)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    # `cancel` can lead to no post, whatever the database has lost: it must always work
    access = AccessMode.READ if resolution is Resolution.CANCEL else AccessMode.COMMAND
    async with open_command_store(settings, access) as store:
        queries = store.queries
        held = await find_delivery(queries, target, settings.timezone, can_be_resolved)
        person = await authenticate(
            terminal, settings, store, command="resolve", by=by, accounts=[held.account]
        )
        subject = formatter.subject(held)
        if (
            ruling == CONFIRM
            and await store.actions.confirmation_request(held.id) is None
        ):
            raise CommandFailedError("nothing_to_confirm", subject=subject)
        decision = await decide(store, held, ruling, by=person, reason=reason, url=url)
        if ruling == Resolution.PUBLISHED:
            terminal.print_message("resolve_requested", subject=subject, by=by)
        if decision.code == "resolve_requested":
            return
        facts = {
            "subject": subject,
            "by": by,
            "reason": reason,
            "url": decision.url,
            "second": decision.second,
        }
        terminal.print_message(decision.code, **facts)
        after = decision.delivery
        if resolution is Resolution.RESEND:
            for pause in pauses_covering(await queries.pauses(), after):
                echo(formatter.pause("still_paused", pause), err=True)
        if after.state in OPEN_STATES:
            await warn_about_daemon(terminal, settings, queries)


def require_url(ruling: str, url: str | None) -> None:
    """Raise LocalizedUsageError unless there is an address exactly where the decision needs one."""
    if ruling == Resolution.PUBLISHED and not url:
        raise LocalizedUsageError("resolve_needs_url")
    if ruling != Resolution.PUBLISHED and url:
        raise LocalizedUsageError("resolve_takes_no_url", ruling=ruling)


async def resend_post(  # noqa: PLR0913 # the arguments of the command
    terminal: Terminal,
    settings: Settings,
    target: DeliveryTarget,
    held_for: str | None,
    *,
    by: str,
    reason: str,
) -> int:
    """Resend the deliveries of a post that are held for one reason. Return 1 if some are left.

    One with an open outcome is named and left.
    """
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    async with open_command_store(settings, AccessMode.COMMAND) as store:
        found = await find_deliveries(
            store.queries, target, settings.timezone, can_be_resolved
        )
        open_ones = [item for item in found if can_be_resolved(item)]
        held = choose_held(open_ones, held_for, formatter, target)
        accounts = [item.account for item in held]
        person = await authenticate(
            terminal, settings, store, command="resolve", by=by, accounts=accounts
        )
        result = await resend_held(store, held, person, reason)
        resent = {item.id for item in result.resent}
        left = [item for item in open_ones if item.id not in resent]
        are_paused = await report_pauses(store, formatter, result.resent)
        terminal.print_message("resolved_resend_all", number=len(resent), by=by)
        for delivery in left:
            terminal.print_note("still_held", subject=formatter.subject(delivery))
        if resent:
            await warn_about_daemon(terminal, settings, store.queries)
    return int(bool(left) or are_paused)


def choose_held(
    deliveries: Collection[Delivery],
    held_for: str | None,
    formatter: Formatter,
    target: DeliveryTarget,
) -> Sequence[Delivery]:
    """Return the deliveries that are held for a reason, or for the only one there is.

    Raises CommandFailedError without any, or if there are several reasons and none is given.
    """
    held = [item for item in deliveries if item.state is State.HELD]
    reasons = Counter(item.reason or "" for item in held)
    if held_for is None and len(reasons) > 1:
        names = [
            f"{number} {formatter.reason(code)} (--held-for {code})"
            for code, number in sorted(reasons.items())
        ]
        listed = formatter.messages.translate("list_comma").join(names)
        raise CommandFailedError(
            "held_for_several", subject=target.text, reasons=listed
        )
    chosen = [item for item in held if held_for in {None, item.reason}]
    if not chosen:
        raise CommandFailedError("nothing_held", subject=target.text)
    return chosen


async def report_pauses(
    store: Store, formatter: Formatter, deliveries: Collection[Delivery]
) -> bool:
    """Print the pauses that keep these deliveries from being sent. Return True if there are any."""
    pauses = await store.queries.pauses()
    covering = {
        pause.scope: pause
        for delivery in deliveries
        for pause in pauses_covering(pauses, delivery)
    }
    for pause in covering.values():
        echo(formatter.pause("still_paused", pause), err=True)
    return bool(covering)
