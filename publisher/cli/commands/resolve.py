"""`resolve` and `resend`: what people decide about single deliveries."""

import asyncio
from collections.abc import Callable

import click

from publisher.app.open_store import AccessMode
from publisher.cli.application_context import open_command_application
from publisher.cli.commands.status import is_daemon_running
from publisher.cli.context import load_workspace_settings, open_command_store
from publisher.cli.errors import CommandFailedError
from publisher.cli.format import Formatter, pauses_covering
from publisher.cli.framework import LocalizedChoice, LocalizedUsageError, PersonName, by_option, command, reason_option
from publisher.cli.target import DeliveryTarget, TargetParam, find_deliveries
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings
from publisher.domain.delivery import OPEN_STATES, Delivery, State
from publisher.domain.errors import NoSuchItemError
from publisher.domain.results import HoldReason
from publisher.engine.decisions import Resolution, can_be_resolved, named_person
from publisher.engine.decisions import resolve_delivery as apply_ruling
from publisher.engine.planner import resend_post
from publisher.store.deliveries.outbox import Outbox
from publisher.store.plan.posts import AuditAction
from publisher.store.queries.queries import Queries

RESENDABLE_STATES = frozenset({State.FAILED, State.EXPIRED, State.REMOVED})
"""What may be sent again as a new occurrence."""


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
        held = await _find_one(queries, target, settings, can_be_resolved)
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


@command("resend")
@click.argument("target", metavar="POST@ACCOUNT", type=TargetParam(wants_account=True))
@by_option
@reason_option
def resend(terminal: Terminal, target: DeliveryTarget, by: str, reason: str) -> int:
    asyncio.run(_resend(terminal, target, by, reason))
    return 0


async def _resend(terminal: Terminal, target: DeliveryTarget, by: str, reason: str) -> None:
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    async with open_command_application(settings) as application:
        old = await _find_one(
            application.queries, target, settings, lambda delivery: delivery.state in RESENDABLE_STATES
        )
        subject = formatter.subject(old)
        if old.state not in RESENDABLE_STATES:
            raise CommandFailedError("resend_not_ended", subject=subject, state=formatter.state(old.state))
        if old.account not in application.planner.post_renderer.accounts:
            raise NoSuchItemError("account", old.account)
        post = await application.post_store.get_post(old.key.post)
        if post is None:
            raise NoSuchItemError("post", old.key.post)
        action = AuditAction(event="resend_requested", subject=subject, by=named_person(by), detail={"reason": reason})
        await resend_post(application.planner, post, [old.account], [action])
        runs = await is_daemon_running(application.queries)
    terminal.print_message("resend_done", post=old.key.post, account=old.account)
    if not runs:
        terminal.print_note("no_daemon_hint")


async def _find_one(
    queries: Queries, target: DeliveryTarget, settings: Settings, is_wanted: Callable[[Delivery], bool]
) -> Delivery:
    """Give the one delivery that is meant: the newest wanted one, where the target names no instant."""
    found = await find_deliveries(queries, target, settings.timezone, is_wanted)
    return found[0]
