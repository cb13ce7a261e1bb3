"""`resolve`: a person decides about one delivery."""

import click

from publisher.app.format import Formatter, pauses_covering
from publisher.app.open_store import AccessMode
from publisher.cli.authentication import authenticate
from publisher.cli.context import load_workspace_settings, open_command_store, warn_if_no_daemon
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import LocalizedUsageError, by_option, choice, command, reason_option
from publisher.cli.target import DeliveryTarget, delivery_target, find_deliveries
from publisher.cli.terminal import Terminal, echo
from publisher.domain.delivery import OPEN_STATES, Delivery, State
from publisher.domain.results import HoldReason
from publisher.engine.decisions import Resolution, can_be_resolved, resolve_delivery

CONFIRM = "confirm"
RULINGS = (*Resolution, CONFIRM)
"""What a person may decide; the last one is a second person's, on what the first has said."""


@command("resolve")
@click.argument("target", metavar="POST@ACCOUNT", type=delivery_target)
@click.argument("ruling", metavar="|".join(RULINGS), type=choice(*RULINGS))
@click.argument("url", metavar="[URL]", required=False)
@by_option
@reason_option
async def resolve(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    target: DeliveryTarget,
    ruling: str,
    url: str | None,
    *,
    by: str,
    reason: str,
) -> None:
    is_confirmed = ruling == CONFIRM
    resolution = Resolution.PUBLISHED if is_confirmed else Resolution(ruling)
    require_url(ruling, url)
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    # `cancel` can lead to no post, whatever the database has lost: it must always work
    access = AccessMode.READ if resolution is Resolution.CANCEL else AccessMode.COMMAND
    async with open_command_store(settings, access) as store:
        queries = store.queries
        [held] = await find_deliveries(queries, target, settings.timezone, can_be_resolved)
        person = await authenticate(terminal, settings, store, command="resolve", by=by, accounts=[held.account])
        first, subject = None, formatter.subject(held)
        if is_confirmed:
            request = await store.actions.confirmation_request(held.id)
            if request is None:
                raise CommandFailedError("nothing_to_confirm", subject=subject)
            url, first = request.url, request.by
        elif resolution is Resolution.PUBLISHED and url and can_be_resolved(held):
            await store.actions.request_confirmation(held.id, url, person, reason)
            terminal.print_message("resolve_requested", subject=subject, by=by)
            if not held.attempts:  # no call was made that could be looked for
                return
        after = await resolve_delivery(store, held, resolution, by=person, reason=reason, url=url, second_person=first)
        if is_confirmed or resolution is not Resolution.PUBLISHED:
            await store.actions.end_confirmation_request(held.id)
        code = resolution_message(resolution, after, is_manually_confirmed=is_confirmed)
        terminal.print_message(code, subject=subject, by=by, reason=reason, url=url, second=first)
        if resolution is Resolution.RESEND:
            for pause in pauses_covering(await queries.pauses(), after):
                echo(formatter.pause("still_paused", pause), err=True)
        if after.state in OPEN_STATES:
            await warn_if_no_daemon(terminal, queries)


def require_url(ruling: str, url: str | None) -> None:
    """Raise LocalizedUsageError unless there is an address exactly where the decision needs one."""
    if ruling == Resolution.PUBLISHED and not url:
        raise LocalizedUsageError("resolve_needs_url")
    if ruling != Resolution.PUBLISHED and url:
        raise LocalizedUsageError("resolve_takes_no_url", ruling=ruling)


def resolution_message(resolution: Resolution, after: Delivery, *, is_manually_confirmed: bool) -> str:
    """Return the message for the result: a retraction that was asked for earlier goes before the decision."""
    match after.state:
        case State.HELD if after.reason == HoldReason.EDITED:
            return "resolved_edited"
        case State.RETRACTED:
            return "resolved_retracted"
        case State.RETRACTING:
            return "resolved_retracting"
        case State.CANCELLED:
            return "resolved_cancel"
        case _:
            return "resolved_published_by_people" if is_manually_confirmed else f"resolved_{resolution.value}"
