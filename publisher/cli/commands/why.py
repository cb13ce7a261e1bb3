"""`why`: what happened to a delivery, what comes next, and who must act where."""

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

import click

from publisher.cli.commands.approvals import format_task
from publisher.cli.context import (
    StatusSnapshot,
    has_database,
    load_workspace_settings,
    open_command_store,
    take_snapshot,
)
from publisher.cli.format import Formatter, manual_task_code, message_args, pauses_covering
from publisher.cli.framework import command
from publisher.cli.target import DeliveryTarget, find_deliveries, post_target
from publisher.cli.terminal import Terminal, echo
from publisher.domain.approval import AWAITING_APPROVAL
from publisher.domain.delivery import DESIRED_NO_SEND, OPEN_STATES, WAITING_STATES, Delivery, DesiredState, State
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import derive_marker, format_part_prefix
from publisher.domain.results import Deleted, HoldReason, NotFound, Rejected
from publisher.store.queries.queries import AuditLine, DeliveryHistory

READBACK_ROLES = frozenset({"reconciler", "retractor"})
"""Roles whose audit entries report what was read back, not the response to a call."""
STEP_BOUNDARY = re.compile(r"(?<=[；;])\s*(?=\d\. )")
"""The place before the next of several numbered steps."""
POST_EVENTS = frozenset({"cancelled", "retraction_requested", "send_requested", "correction_requested"})
DESIRED_STATE_CODES = {
    **{
        (desired, state): code
        for desired, code in (
            (DesiredState.RETRACTED, "why_is_retracting"),
            (DesiredState.EDITED, "why_is_edited"),
            (DesiredState.NOT_TARGETED, "why_is_unscheduled"),
        )
        for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN)
    },
    (DesiredState.EDITED, State.PUBLISHED): "why_edited_published",
    **{(desired, State.PUBLISHED): "why_cancelled_published" for desired in DESIRED_NO_SEND},
}
"""Remarks where the desired state differs from the present one."""


@command("why")
@click.argument("target", metavar="POST[@ACCOUNT]", type=post_target)
async def why(terminal: Terminal, target: DeliveryTarget) -> None:
    settings = await load_workspace_settings(terminal)
    if not has_database(settings):
        raise NoSuchItemError("post", target.post)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    async with open_command_store(settings) as store:
        queries = store.queries
        deliveries = await find_deliveries(queries, target, settings.timezone, lambda _: False)
        if not deliveries:
            terminal.print_message("why_not_planned", post=target.post, days=settings.plan_days)
            return
        actions = [entry for entry in await queries.audit_history(target.post) if entry.event in POST_EVENTS]
        snapshot = await take_snapshot(queries, target.post)
        histories = [await queries.delivery_history(delivery) for delivery in deliveries]
        tasks = await store.approvals.tasks(target.post) if settings.approval_rules.is_active else ()
    echo("\n\n".join("\n".join(format_history(history, actions, snapshot, formatter)) for history in histories))
    for task in tasks:
        if task.status.missing:
            echo(f"\n{format_task(task, formatter)}")


def format_history(
    history: DeliveryHistory, actions: Sequence[AuditLine], snapshot: StatusSnapshot, formatter: Formatter
) -> Iterator[str]:
    """Yield the lines about one delivery."""
    delivery, translate = history.delivery, formatter.messages.translate
    yield translate("why_head", subject=formatter.subject(delivery), state=formatter.status(delivery))
    due, expires = formatter.time(delivery.due_at), formatter.time(delivery.expires_at)
    manual = {attempt.number for attempt in history.attempts if attempt.is_manual}
    yield translate("why_times", due=due, expires=expires, calls=delivery.attempts - len(manual))
    if delivery.reason:
        yield translate("why_reason", reason=formatter.reason(delivery.reason))
    if delivery.receipt:
        yield translate("why_url" if delivery.receipt.url else "why_url_unknown", url=delivery.receipt.url)
    yield from format_retraction(history, formatter)
    if parts := formatter.parts_progress(delivery):
        yield translate("why_parts", parts=parts)
    if delivery.verified_at:
        yield translate("why_verified", at=formatter.time(delivery.verified_at))
    yield translate("why_history")
    entries = list(history.audit_lines)
    if entries:  # actions on the whole post since this delivery was filed, unless they have an entry here too
        own = {(entry.event, entry.name, entry.detail.get("reason")) for entry in entries}
        entries += [
            entry
            for entry in actions
            if entry.at >= history.audit_lines[0].at
            and (entry.event, entry.name, entry.detail.get("reason")) not in own
        ]
    entries.sort(key=lambda entry: entry.at)
    for text, group in groupby(entries, key=lambda entry: format_event(entry, formatter, manual)):
        first, *repeated = group
        line = translate("event_times", words=text, times=len(repeated) + 1) if repeated else text
        yield f"    {formatter.time(first.at)}  {line}"
    if history.readbacks:
        at = formatter.time(history.readbacks[-1].at)
        yield translate("why_readbacks", number=len(history.readbacks), at=at)
    if delivery.is_pruned:
        yield translate("why_pruned")
    yield translate("why_action" if delivery.state is State.HELD else "why_next")
    yield from (f"    {line}" for line in format_next_steps(delivery, snapshot, formatter))


def format_retraction(history: DeliveryHistory, formatter: Formatter) -> Iterator[str]:
    """Yield the proof that a retraction is done, else that the post is still published and what a person can do."""
    delivery, translate = history.delivery, formatter.messages.translate
    newest = history.readbacks[-1].result if history.readbacks else None
    if delivery.state is State.RETRACTED and not delivery.attempts:
        yield translate("why_deleted_unsent")
    elif delivery.state is State.RETRACTED:
        codes = {NotFound: "why_deleted_absent", Rejected: "why_deleted_rejected", Deleted: "why_deleted_confirmed"}
        yield translate(codes.get(type(newest), "why_deleted_by_person"), at=formatter.time(delivery.updated_at))
    elif delivery.state is State.RETRACTING and delivery.receipt:
        is_refused = isinstance(newest, Rejected)
        yield translate("why_still_published" if is_refused else "why_maybe_published", url=delivery.receipt.url)
        if is_refused:
            yield f"  {formatter.removal_steps(delivery.platform, delivery.receipt.url)}"


def format_event(entry: AuditLine, formatter: Formatter, manual_attempts: Collection[object] = ()) -> str:
    """Return the text for one audit entry; an attempt of `manual_attempts` was handed to a person, without a call."""
    messages, code = formatter.messages, f"event_{entry.event}"
    if entry.role in READBACK_ROLES:
        code = messages.first_known(f"{code}_read", code)
    if entry.detail.get("attempt") in manual_attempts:
        code = messages.first_known(f"{code}_manual", code)
    after = formatter.state(State(entry.after)) if entry.after in frozenset(State) else ""
    reason = entry.detail.get("reason")
    facts = {**entry.detail, "reason": formatter.reason(str(reason) if reason else None), "after": after}
    text = messages.translate(code, **facts)
    return messages.translate("event_by", words=text, name=entry.name) if entry.role == "person" else text


def format_next_steps(  # noqa: C901, PLR0912 # a flat list of what may be said
    delivery: Delivery, snapshot: StatusSnapshot, formatter: Formatter
) -> Iterator[str]:
    """Yield what comes next, and what a person has to do."""
    messages, facts = formatter.messages, message_args(delivery, formatter)
    marker = derive_marker(delivery.key, delivery.account)
    number, total = delivery.parts_done + 1, delivery.extra_parts + 1
    if delivery.state is State.HELD:
        sign = format_part_prefix(marker, number, total) if delivery.is_incomplete else marker.code
        yield from STEP_BOUNDARY.split(messages.hint(f"hold_{delivery.reason}", **facts, marker=sign))
        if delivery.is_incomplete and delivery.reason != HoldReason.INCOMPLETE:
            yield messages.hint("part_at", **facts, number=number)
    elif delivery.is_incomplete and delivery.state in WAITING_STATES:
        yield messages.translate("why_next_part", **facts, number=number)
    elif delivery.reason == AWAITING_APPROVAL and delivery.state in WAITING_STATES:
        latest = formatter.time(delivery.first_attempt_deadline or delivery.expires_at)
        yield messages.hint("reason_awaiting_approval", **facts, latest=latest)
    else:
        yield messages.hint(manual_task_code(delivery) or f"state_{delivery.state.value}", **facts)
    if until := snapshot.waits_until(delivery):
        yield messages.translate("why_sent_from", at=formatter.time(until))
    if delivery.state in WAITING_STATES | {State.HELD}:
        for pause in pauses_covering(snapshot.pauses, delivery):
            yield formatter.pause("why_paused", pause)
            alerts = [alert for alert in snapshot.pause_alerts if alert.subject == pause.scope]
            yield from filter(None, map(formatter.alert_remedy, alerts))
        for override in snapshot.mode_overrides:
            if override.account == delivery.account:
                yield formatter.mode("why_mode_override", override)
    if delivery.state in WAITING_STATES and delivery.follows:
        yield messages.translate("why_follows", follows=delivery.follows)
    if remark := DESIRED_STATE_CODES.get((delivery.desired, delivery.state)):
        yield messages.translate(remark, **facts)
    if delivery.state in OPEN_STATES - {State.HELD} and not snapshot.is_running:
        yield messages.translate("why_no_daemon")
