"""`resolve`: a person decides about one delivery."""

import click

from publisher.app.open_store import AccessMode
from publisher.cli.authentication import authenticate
from publisher.cli.context import load_workspace_settings, open_command_store, warn_if_no_daemon
from publisher.cli.format import Formatter, pauses_covering
from publisher.cli.framework import LocalizedUsageError, by_option, choice, command, person_name, reason_option
from publisher.cli.target import DeliveryTarget, delivery_target, find_deliveries
from publisher.cli.terminal import Terminal, echo
from publisher.domain.delivery import OPEN_STATES, Delivery, State
from publisher.domain.results import HoldReason
from publisher.engine.decisions import Resolution, can_be_resolved, resolve_delivery


@command("resolve")
@click.argument("target", metavar="POST@ACCOUNT", type=delivery_target)
@click.argument("ruling", metavar="|".join(Resolution), type=choice(*Resolution))
@click.argument("url", metavar="[URL]", required=False)
@by_option
@reason_option
@click.option("--second", metavar="NAME", type=person_name, help="opt_second")
async def resolve(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    target: DeliveryTarget,
    ruling: str,
    url: str | None,
    *,
    by: str,
    reason: str,
    second: str | None,
) -> None:
    resolution = Resolution(ruling)
    if resolution is Resolution.PUBLISHED and not url:
        raise LocalizedUsageError("resolve_needs_url")
    if resolution is not Resolution.PUBLISHED and url:
        raise LocalizedUsageError("resolve_takes_no_url", ruling=ruling)
    if resolution is not Resolution.PUBLISHED and second:
        raise LocalizedUsageError("second_only_published")
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    # `cancel` can lead to no post, whatever the database has lost: it must always work
    access = AccessMode.READ if resolution is Resolution.CANCEL else AccessMode.COMMAND
    async with open_command_store(settings, access) as store:
        queries = store.queries
        [held] = await find_deliveries(queries, target, settings.timezone, can_be_resolved)
        person = await authenticate(terminal, settings, store, command="resolve", by=by, accounts=[held.account])
        after = await resolve_delivery(store, held, resolution, by=person, reason=reason, url=url, second_person=second)
        code = resolution_message(resolution, after, is_manually_confirmed=bool(second))
        terminal.print_message(code, subject=formatter.subject(after), by=by, reason=reason, url=url, second=second)
        if resolution is Resolution.RESEND:
            for pause in pauses_covering(await queries.pauses(), after):
                echo(formatter.pause("still_paused", pause), err=True)
        if after.state in OPEN_STATES:
            await warn_if_no_daemon(terminal, queries)


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
