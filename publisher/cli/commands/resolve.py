"""`resolve`: what people decide about single deliveries."""

import asyncio

import click

from publisher.app.open_store import AccessMode
from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.format import Formatter, pauses_covering
from publisher.cli.framework import LocalizedChoice, LocalizedUsageError, PersonName, by_option, command, reason_option
from publisher.cli.snapshot import is_daemon_running
from publisher.cli.target import DeliveryTarget, TargetParam, find_deliveries
from publisher.cli.terminal import Terminal, echo
from publisher.domain.delivery import OPEN_STATES, Delivery, State
from publisher.domain.results import HoldReason
from publisher.engine.decisions import Resolution, can_be_resolved
from publisher.engine.decisions import resolve_delivery as apply_ruling
from publisher.store.deliveries.outbox import Outbox
from publisher.store.queries.queries import Queries


@command("resolve")
@click.argument("target", metavar="POST@ACCOUNT", type=TargetParam(wants_account=True))
@click.argument("ruling", metavar="|".join(Resolution), type=LocalizedChoice(*Resolution))
@click.argument("url", metavar="[URL]", required=False)
@by_option
@reason_option
@click.option("--second", metavar="NAME", type=PersonName(), help="opt_second")
def resolve(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    target: DeliveryTarget,
    ruling: str,
    url: str | None,
    *,
    by: str,
    reason: str,
    second: str | None,
) -> int:
    decided = Resolution(ruling)
    if decided is Resolution.PUBLISHED and not url:
        raise LocalizedUsageError("resolve_needs_url")
    if decided is not Resolution.PUBLISHED and url:
        raise LocalizedUsageError("resolve_takes_no_url", ruling=ruling)
    if decided is not Resolution.PUBLISHED and second:
        raise LocalizedUsageError("second_only_published")
    asyncio.run(_resolve(terminal, target, decided, {"by": by, "reason": reason, "url": url, "second": second}))
    return 0


async def _resolve(
    terminal: Terminal, target: DeliveryTarget, resolution: Resolution, order: dict[str, str | None]
) -> None:
    """Carry out a ruling. Only `cancel` can lead to no post, whatever the books have forgotten: it always works."""
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    access = AccessMode.READ if resolution is Resolution.CANCEL else AccessMode.COMMAND
    async with open_command_store(settings, access) as store:
        queries = Queries(store)
        held = (await find_deliveries(queries, target, settings.timezone, can_be_resolved))[0]
        by, reason = order["by"] or "", order["reason"] or ""
        outbox = Outbox(store)
        after = await apply_ruling(
            outbox, held, resolution, by=by, reason=reason, url=order["url"], second_person=order["second"]
        )
        pauses, runs = pauses_covering(await queries.pauses(), after), await is_daemon_running(queries)
    terminal.print_message(
        _result_code(resolution, after, is_manually_confirmed=bool(order["second"])),
        subject=formatter.subject(after),
        **order,
    )
    if resolution is Resolution.RESEND:
        for pause in pauses:
            echo(formatter.pause("still_paused", pause), err=True)
    if after.state in OPEN_STATES and not runs:
        terminal.print_note("no_daemon_hint")


def _result_code(resolution: Resolution, after: Delivery, *, is_manually_confirmed: bool) -> str:
    """Name the words for what a ruling led to: after a retraction nothing is sent, and nothing counts as failed."""
    if after.state is State.HELD and after.reason == HoldReason.EDITED:
        return "resolved_edited"
    ended = {
        State.RETRACTED: "resolved_retracted",
        State.RETRACTING: "resolved_retracting",
        State.CANCELLED: "resolved_cancel",
    }
    return ended.get(after.state) or (
        "resolved_published_by_people" if is_manually_confirmed else f"resolved_{resolution.value}"
    )
