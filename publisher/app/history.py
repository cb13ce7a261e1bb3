"""The history of a delivery, its next step, and the place to act: words of `why` and its page.

The words also name the person that must act.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from publisher.app.format import (
    PENDING_UNAPPROVED,
    Formatter,
    manual_task_code,
    message_args,
    pauses_covering,
)
from publisher.domain.approval import AWAITING_APPROVAL
from publisher.domain.delivery import (
    DESIRED_NO_SEND,
    OPEN_STATES,
    WAITING_STATES,
    Delivery,
    DesiredState,
    State,
)
from publisher.domain.post import Marker, format_part_prefix
from publisher.domain.results import Deleted, HoldReason, NotFound, Rejected
from publisher.store.queries.queries import AuditLine, DeliveryHistory
from publisher.store.queries.snapshot import StatusSnapshot
from publisher.store.system_alerts import TEXT_OUTDATED

READBACK_ROLES = frozenset({"reconciler", "retractor"})
"""Roles with audit entries that report a read-back, not the response to a call."""
STEP_BOUNDARY = re.compile(r"(?<=[；;])\s*(?=\d\. )")
"""The place before the next of several numbered steps."""
POST_EVENTS = frozenset(
    {
        "cancelled",
        "retraction_requested",
        "send_requested",
        "correction_requested",
        "texts_refreshed",
    }
)
"""Actions on a whole post that belong to the history of each of its deliveries."""
DESIRED_STATE_CODES = {
    **{
        (desired, state): code
        for desired, code in (
            (DesiredState.RETRACTED, "why_is_retracting"),
            (DesiredState.EDITED, "why_is_edited"),
            (DesiredState.CORRECTED, "why_is_corrected"),
            (DesiredState.NOT_TARGETED, "why_is_unscheduled"),
        )
        for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN)
    },
    (DesiredState.EDITED, State.PUBLISHED): "why_edited_published",
    **{
        (desired, State.PUBLISHED): "why_cancelled_published"
        for desired in DESIRED_NO_SEND - {DesiredState.CORRECTED}
    },
}
"""Remarks where the desired state differs from the present one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEvent:
    """One event, or several alike in a row. `state` is the resulting state, if there is one."""

    at: datetime
    text: str
    state: State | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The words about one delivery: state, causes, remarks on the history, and next steps."""

    facts: Sequence[str]
    events: Sequence[HistoryEvent]
    remarks: Sequence[str]
    next_steps: Sequence[str]


def explain_delivery(
    history: DeliveryHistory,
    actions: Sequence[AuditLine],
    snapshot: StatusSnapshot,
    formatter: Formatter,
) -> Explanation:
    """Return the words about one delivery; `actions` are the audit entries about its whole post."""
    return Explanation(
        facts=list(format_facts(history, formatter)),
        events=list(format_events(history, actions, formatter)),
        remarks=list(format_remarks(history, formatter)),
        next_steps=list(format_next_steps(history.delivery, snapshot, formatter)),
    )


def format_facts(history: DeliveryHistory, formatter: Formatter) -> Iterator[str]:
    delivery, translate = history.delivery, formatter.messages.translate
    due, expires = formatter.time(delivery.due_at), formatter.time(delivery.expires_at)
    calls = delivery.attempts - len(_manual_attempts(history))
    yield translate("why_times", due=due, expires=expires, calls=calls)
    if delivery.reason:
        yield translate("why_reason", reason=formatter.reason(delivery.reason))
    if delivery.state is State.HELD and delivery.reason == HoldReason.IDENTITY_CHANGED:
        named = [
            entry.detail for entry in history.audit_lines if "sent_as" in entry.detail
        ]
        yield from (f"  {translate('identities', **detail)}" for detail in named[-1:])
    if delivery.receipt:
        yield translate(
            "why_url" if delivery.receipt.url else "why_url_unknown",
            url=delivery.receipt.url,
        )
    yield from format_retraction(history, formatter)
    if parts := formatter.parts_progress(delivery):
        yield translate("why_parts", parts=parts)
    if delivery.verified_at:
        yield translate("why_verified", at=formatter.time(delivery.verified_at))


def _manual_attempts(history: DeliveryHistory) -> Collection[object]:
    return {attempt.number for attempt in history.attempts if attempt.is_manual}


def format_events(
    history: DeliveryHistory, actions: Sequence[AuditLine], formatter: Formatter
) -> Iterator[HistoryEvent]:
    entries, manual = list(history.audit_lines), _manual_attempts(history)
    if entries:
        # actions on the whole post since this delivery was filed,
        # unless they have an entry here too
        own = {
            (entry.event, entry.name, entry.detail.get("reason")) for entry in entries
        }
        entries += [
            entry
            for entry in actions
            if entry.at >= history.audit_lines[0].at
            and (entry.event, entry.name, entry.detail.get("reason")) not in own
        ]
    entries.sort(key=lambda entry: entry.at)
    for text, group in groupby(
        entries, key=lambda entry: format_event(entry, formatter, manual)
    ):
        first, *repeated = group
        line = (
            formatter.messages.translate(
                "event_times", words=text, times=len(repeated) + 1
            )
            if repeated
            else text
        )
        state = State(first.after) if first.after in frozenset(State) else None
        yield HistoryEvent(at=first.at, text=line, state=state)


def format_remarks(history: DeliveryHistory, formatter: Formatter) -> Iterator[str]:
    if history.readbacks:
        at = formatter.time(history.readbacks[-1].at)
        yield formatter.messages.translate(
            "why_readbacks", number=len(history.readbacks), at=at
        )
    if history.delivery.is_pruned:
        yield formatter.messages.translate("why_pruned")


def format_retraction(history: DeliveryHistory, formatter: Formatter) -> Iterator[str]:
    """Yield the proof of a retraction, else that the post is still published, with the remedy.

    The remedy is for a person.
    """
    delivery, translate = history.delivery, formatter.messages.translate
    newest = history.readbacks[-1].result if history.readbacks else None
    if delivery.state is State.RETRACTED and not delivery.attempts:
        yield translate("why_deleted_unsent")
    elif delivery.state is State.RETRACTED:
        codes = {
            NotFound: "why_deleted_absent",
            Rejected: "why_deleted_rejected",
            Deleted: "why_deleted_confirmed",
        }
        yield translate(
            codes.get(type(newest), "why_deleted_by_person"),
            at=formatter.time(delivery.updated_at),
        )
    elif delivery.state is State.RETRACTING and delivery.receipt:
        is_refused = isinstance(newest, Rejected)
        yield translate(
            "why_still_published" if is_refused else "why_maybe_published",
            url=delivery.receipt.url,
        )
        if is_refused:
            yield f"  {formatter.removal_steps(delivery.platform, delivery.receipt.url)}"


def format_event(
    entry: AuditLine, formatter: Formatter, manual_attempts: Collection[object] = ()
) -> str:
    """Return the text for one audit entry, with its actor."""
    text = describe_event(entry, formatter, manual_attempts)
    return (
        formatter.messages.translate("event_by", words=text, name=entry.name)
        if entry.role == "person"
        else text
    )


def describe_event(
    entry: AuditLine, formatter: Formatter, manual_attempts: Collection[object] = ()
) -> str:
    """Return the meaning of an audit entry.

    An attempt of `manual_attempts` was handed to a person, without a call.
    """
    messages, code = formatter.messages, f"event_{entry.event}"
    if entry.role in READBACK_ROLES:
        code = messages.first_known(f"{code}_read", code)
    if entry.detail.get("attempt") in manual_attempts:
        code = messages.first_known(f"{code}_manual", code)
    after = (
        formatter.state(State(entry.after)) if entry.after in frozenset(State) else ""
    )
    reason = entry.detail.get("reason")
    facts = {
        **entry.detail,
        "reason": formatter.reason(str(reason) if reason else None),
        "after": after,
    }
    return messages.translate(code, **facts)


def format_next_steps(
    delivery: Delivery, snapshot: StatusSnapshot, formatter: Formatter
) -> Iterator[str]:
    """Yield the next steps, and the tasks of a person."""
    messages, facts = formatter.messages, message_args(delivery, formatter)
    if delivery.state in OPEN_STATES and not snapshot.is_loaded(delivery.account):
        yield messages.translate("why_account_not_loaded", **facts)
        if delivery.state is not State.HELD:
            return
    yield from _format_state(delivery, snapshot, formatter)
    if until := snapshot.waits_until(delivery):
        yield messages.translate("why_sent_from", at=formatter.time(until))
    if delivery.state in WAITING_STATES | {State.HELD}:
        yield from _format_blockers(delivery, snapshot, formatter)
    if delivery.state in WAITING_STATES and any(
        alert.code == TEXT_OUTDATED for alert in snapshot.alerts
    ):
        yield messages.translate("why_text_outdated", **facts)
    if delivery.state in WAITING_STATES and delivery.follows:
        yield messages.translate("why_follows", follows=delivery.follows)
    if remark := DESIRED_STATE_CODES.get((delivery.desired, delivery.state)):
        yield messages.translate(remark, **facts)
    if delivery.state in OPEN_STATES - {State.HELD} and not snapshot.is_running:
        yield formatter.absent_daemon("why_no_daemon", snapshot.silent_since)


def _format_state(
    delivery: Delivery, snapshot: StatusSnapshot, formatter: Formatter
) -> Iterator[str]:
    """Yield the consequences of a delivery's state and reason."""
    messages, facts = formatter.messages, message_args(delivery, formatter)
    marker = Marker(code=delivery.marker)
    number, total = delivery.parts_done + 1, delivery.extra_parts + 1
    if delivery.state is State.HELD:
        sign = (
            format_part_prefix(marker, number, total)
            if delivery.is_incomplete
            else marker.code
        )
        yield from STEP_BOUNDARY.split(
            messages.hint(f"hold_{delivery.reason}", **facts, marker=sign)
        )
        if delivery.is_incomplete and delivery.reason != HoldReason.INCOMPLETE:
            yield messages.hint("part_at", **facts, number=number)
    elif delivery.is_incomplete and delivery.state in WAITING_STATES:
        yield messages.translate("why_next_part", **facts, number=number)
    elif snapshot.awaits_approval(delivery) or (
        delivery.reason == AWAITING_APPROVAL and delivery.state in WAITING_STATES
    ):
        latest = formatter.time(delivery.first_attempt_deadline or delivery.expires_at)
        yield messages.hint("reason_awaiting_approval", **facts, latest=latest)
    elif delivery.state is State.PENDING and delivery.key in snapshot.unapproved:
        yield messages.hint(PENDING_UNAPPROVED, **facts)
    else:
        yield messages.hint(
            manual_task_code(delivery) or f"state_{delivery.state.value}", **facts
        )


def _format_blockers(
    delivery: Delivery, snapshot: StatusSnapshot, formatter: Formatter
) -> Iterator[str]:
    """Yield the pauses and the change of mode that keep a delivery from being sent.

    The remedies are included.
    """
    for pause in pauses_covering(snapshot.pauses, delivery):
        yield formatter.pause("why_paused", pause)
        alerts = [
            alert for alert in snapshot.pause_alerts if alert.subject == pause.scope
        ]
        yield from filter(None, map(formatter.alert_remedy, alerts))
    for override in snapshot.mode_overrides:
        if override.account == delivery.account:
            yield formatter.mode("why_mode_override", override)
