"""`why`: what happened, what happens next, and who must act where."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import click

from publisher.cli.context import has_database, load_workspace_settings, open_command_store
from publisher.cli.format import Formatter, manual_task_code, message_args, pauses_covering
from publisher.cli.framework import command
from publisher.cli.snapshot import StatusSnapshot, take_snapshot
from publisher.cli.target import DeliveryTarget, TargetParam, find_deliveries
from publisher.cli.terminal import Terminal, echo
from publisher.domain.delivery import DESIRED_NO_SEND, OPEN_STATES, WAITING_STATES, Delivery, DesiredState, State
from publisher.domain.errors import NoSuchItemError
from publisher.domain.rendered import derive_marker, format_part_prefix
from publisher.domain.results import Deleted, HoldReason, NotFound, Rejected
from publisher.store.queries.queries import Alert, AuditLine, DeliveryHistory, Queries

_READBACK_ROLES = frozenset({"reconciler", "retractor"})
"""Roles whose entries tell what a read showed, not what a call was answered."""
_STEP_BOUNDARY = re.compile(r"(?<=[；;])\s*(?=\d\. )")
"""Where the next of several numbered steps begins."""
_POST_EVENTS = frozenset({"cancelled", "retraction_requested", "send_requested", "correction_requested"})


@command("why")
@click.argument("target", metavar="POST[@ACCOUNT]", type=TargetParam())
def why(terminal: Terminal, target: DeliveryTarget) -> int:
    echo("\n\n".join(asyncio.run(_explain(terminal, target))))
    return 0


async def _explain(terminal: Terminal, target: DeliveryTarget) -> Sequence[str]:
    settings = await load_workspace_settings(terminal)
    if not has_database(settings):
        raise NoSuchItemError("post", target.post)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    async with open_command_store(settings) as store:
        queries = Queries(store)
        deliveries = await find_deliveries(queries, target, settings.timezone, lambda _: False)
        if not deliveries:
            return [terminal.translate("why_not_planned", post=target.post, days=settings.plan_days)]
        actions = [entry for entry in await queries.audit_history(target.post) if entry.event in _POST_EVENTS]
        snapshot = await take_snapshot(queries, target.post)
        histories = [await queries.delivery_history(delivery) for delivery in deliveries]
        return ["\n".join(_history_lines(history, actions, snapshot, formatter)) for history in histories]


def _history_lines(
    history: DeliveryHistory, actions: Sequence[AuditLine], snapshot: StatusSnapshot, formatter: Formatter
) -> Iterator[str]:
    """Tell one delivery, line by line."""
    delivery, say = history.delivery, formatter.messages.translate
    yield say("why_head", subject=formatter.subject(delivery), state=formatter.status(delivery))
    due, expires = formatter.time(delivery.due_at), formatter.time(delivery.expires_at)
    yield say("why_times", due=due, expires=expires, attempts=delivery.attempts)
    if delivery.reason:
        yield say("why_reason", reason=formatter.reason(delivery.reason))
    if delivery.receipt:
        yield say("why_url" if delivery.receipt.url else "why_url_unknown", url=delivery.receipt.url)
    yield from _retraction_lines(history, formatter)
    if parts := formatter.parts_progress(delivery):
        yield say("why_parts", floors=parts)
    if delivery.verified_at:
        yield say("why_verified", at=formatter.time(delivery.verified_at))
    yield say("why_history")
    told = {(entry.event, entry.name, entry.detail.get("reason")) for entry in history.audit_lines}
    since = [
        entry
        for entry in actions
        if history.audit_lines
        and entry.at >= history.audit_lines[0].at
        and (entry.event, entry.name, entry.detail.get("reason")) not in told
    ]
    yield from _past_lines(sorted([*history.audit_lines, *since], key=lambda entry: entry.at), formatter)
    if history.readbacks:
        yield say("why_readbacks", number=len(history.readbacks), at=formatter.time(history.readbacks[-1].at))
    if delivery.is_pruned:
        yield say("why_pruned")
    yield say("why_action" if delivery.state is State.HELD else "why_next")
    yield from (f"    {line}" for line in _next_lines(delivery, snapshot, formatter))


def _retraction_lines(history: DeliveryHistory, formatter: Formatter) -> Iterator[str]:
    """Tell the proof that a retraction is done; else that the post is still live, and what a person can do."""
    delivery, say = history.delivery, formatter.messages.translate
    shown = history.readbacks[-1].result if history.readbacks else None
    if delivery.state is State.RETRACTED and not delivery.attempts:
        yield say("why_deleted_unsent")
    elif delivery.state is State.RETRACTED:
        codes = {NotFound: "why_deleted_absent", Rejected: "why_deleted_rejected", Deleted: "why_deleted_confirmed"}
        yield say(codes.get(type(shown), "why_deleted_by_person"), at=formatter.time(delivery.updated_at))
    elif delivery.state is State.RETRACTING and delivery.receipt:
        is_refused = isinstance(shown, Rejected)
        yield say("why_still_published" if is_refused else "why_maybe_published", url=delivery.receipt.url)
        if is_refused:
            yield f"  {formatter.removal_steps(delivery.platform, delivery.receipt.url)}"


def _past_lines(entries: Sequence[AuditLine], formatter: Formatter) -> Iterator[str]:
    """Tell the audit; what repeats itself is told once, with its number."""
    for words, group in groupby(entries, key=lambda entry: format_event(entry, formatter)):
        told = list(group)
        times = formatter.messages.translate("event_times", words=words, times=len(told)) if len(told) > 1 else words
        yield f"    {formatter.time(told[0].at)}  {times}"


def format_event(entry: AuditLine, formatter: Formatter) -> str:
    """Put one entry of the audit into words."""
    messages = formatter.messages
    code = f"event_{entry.event}"
    if entry.role in _READBACK_ROLES and f"{code}_read" in messages.entries:
        code = f"{code}_read"
    after = formatter.state(State(entry.after)) if entry.after in frozenset(State) else ""
    reason = entry.detail.get("reason")
    facts = {**entry.detail, "reason": formatter.reason(str(reason) if reason else None), "after": after}
    words = messages.translate(code, **facts)
    return messages.translate("event_by", words=words, name=entry.name) if entry.role == "person" else words


_DESIRED_STATE_CODES = {
    **{
        (DesiredState.RETRACTED, state): "why_is_retracting"
        for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN)
    },
    **{(DesiredState.EDITED, state): "why_is_edited" for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN)},
    **{
        (DesiredState.NOT_TARGETED, state): "why_is_unscheduled"
        for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN)
    },
    (DesiredState.EDITED, State.PUBLISHED): "why_edited_published",
    **{(desired, State.PUBLISHED): "why_cancelled_published" for desired in DESIRED_NO_SEND},
}
"""What people want that differs from what happens, for those who ask about a delivery."""


def _next_lines(delivery: Delivery, snapshot: StatusSnapshot, formatter: Formatter) -> Iterator[str]:
    """Tell what comes next, and what a person has to do."""
    messages, facts = formatter.messages, message_args(delivery, formatter)
    marker = derive_marker(delivery.key, delivery.account)
    number, total = delivery.parts_done + 1, delivery.extra_parts + 1
    known = format_part_prefix(marker, number, total) if delivery.is_incomplete else marker.code
    if delivery.state is State.HELD:
        yield from _STEP_BOUNDARY.split(messages.hint(f"hold_{delivery.reason}", **facts, marker=known))
        if delivery.is_incomplete and delivery.reason != HoldReason.INCOMPLETE:
            yield messages.hint("part_at", **facts, number=number)
    elif delivery.is_incomplete and delivery.state in WAITING_STATES:
        yield messages.translate("why_next_part", **facts, number=number)
    else:
        yield messages.hint(manual_task_code(delivery) or f"state_{delivery.state.value}", **facts)
    if delivery.state in WAITING_STATES | {State.HELD}:
        for pause in pauses_covering(snapshot.pauses, delivery):
            yield formatter.pause("why_paused", pause)
            yield from filter(
                None,
                (_remedy_line(alert, formatter) for alert in snapshot.pause_alerts if alert.subject == pause.scope),
            )
        yield from (
            formatter.mode("why_mode_override", order)
            for order in snapshot.mode_overrides
            if order.account == delivery.account
        )
    if delivery.state in WAITING_STATES and delivery.follows:
        yield messages.translate("why_follows", follows=delivery.follows)
    if remark := _DESIRED_STATE_CODES.get((delivery.desired, delivery.state)):
        yield messages.translate(remark, **facts)
    if delivery.state in OPEN_STATES - {State.HELD} and not snapshot.is_running:
        yield messages.translate("why_no_daemon")


def _remedy_line(alert: Alert, formatter: Formatter) -> str:
    """Say what ends the trouble for which an account was stopped."""
    return formatter.remedy(alert.facts.get("reason"), alert.facts.get("said", ""))
