"""The delivery state machine: the table of transitions, and `advance`, its only reader.

`TRANSITIONS` is data. For each state and kind of event it holds the target states, the roles that
may bring the event, and the step that decides. The diagram in the docs is drawn from it. The table
stands at the end, after the steps. The steps follow the life of a delivery.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from publisher.domain.account import (
    MAX_COOLDOWN,
    Timing,
    compute_jitter,
    next_check_at,
    next_crash_retry_at,
    next_delete_at,
    next_poll_at,
    next_retry_at,
    next_review_check_at,
    review_ends_at,
)
from publisher.domain.approval import (
    AWAITING_APPROVAL,
    on_approval_missing,
    on_approved,
)
from publisher.domain.delivery import (
    DESIRED_BY_PERSON,
    DESIRED_NO_SEND,
    RESTORABLE_STATES,
    WAITING_STATES,
    AbsenceProven,
    Actor,
    ApprovalMissing,
    Approved,
    AttemptStarted,
    BecameDue,
    Cancelled,
    Claimed,
    Delivery,
    DesiredState,
    Event,
    Expired,
    Held,
    LeaseExpired,
    Released,
    Resolved,
    Restored,
    RetractionRequested,
    ReviewPossible,
    Revised,
    Role,
    SignInRenewed,
    State,
    StepContext,
)
from publisher.domain.errors import IllegalTransitionError
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    Deleted,
    HoldReason,
    NotFound,
    NotSent,
    PossibleMatch,
    Published,
    RateLimited,
    ReadFailure,
    Rejected,
    Submitted,
    Unknown,
)

MIN_EXTENDABLE_DELAY = timedelta(minutes=1)
"""A delivery with a shorter `max_delay` gets no extension when a call could not be sent."""
_REASONS_NOT_TO_SEND = {
    DesiredState.NOT_TARGETED: "target_removed",
    DesiredState.CORRECTED: "corrected",
    DesiredState.CANCELLED: "cancelled_by_person",
    DesiredState.RETRACTED: "cancelled_by_person",
}
"""Why a delivery ends that would otherwise wait for another call, by its desired state."""
MAX_WORKER_CRASHES = 2
MAX_AUTH_FAILURES = 2
Step = Callable[[Delivery, Any, StepContext], Delivery]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One row of the table: allowed target states, allowed roles, and the step that decides."""

    targets: frozenset[State]
    roles: frozenset[Role]
    step: Step


def advance(
    delivery: Delivery, event: Event, *, by: Actor, now: datetime, timing: Timing
) -> Delivery:
    """Return the delivery after the event.

    Raises IllegalTransitionError if the table has no row for state and event, or `by` may not bring
    the event.
    """
    rule = TRANSITIONS.get((delivery.state, type(event)))
    if rule is None or by.role not in rule.roles:
        raise IllegalTransitionError(
            f"{delivery.state} + {type(event).__name__} by {by.role}"
        )
    after = rule.step(delivery, event, StepContext(now=now, timing=timing, by=by))
    if after.state not in rule.targets:
        raise IllegalTransitionError(
            f"{delivery.state} + {type(event).__name__} -> {after.state}"
        )
    deadline, crashes = after.first_attempt_deadline, after.worker_crashes
    if delivery.state is State.SENDING and after.state is not State.SENDING:
        if isinstance(event, LeaseExpired):
            has_begun = event.may_have_started
        else:
            has_begun, crashes = not isinstance(event, NotSent), 0
        deadline = None if has_begun else deadline
    return replace(
        after,
        first_attempt_deadline=deadline,
        worker_crashes=crashes,
        version=delivery.version + 1,
        updated_at=now,
    )


def on_became_due(
    delivery: Delivery, _event: BecameDue, _context: StepContext
) -> Delivery:
    reason = None if delivery.reason == AWAITING_APPROVAL else delivery.reason
    return replace(delivery, state=State.DUE, next_action_at=None, reason=reason)


def on_revised(delivery: Delivery, event: Revised, context: StepContext) -> Delivery:
    """Replace the content before any call of the occurrence.

    After a call, apply only the changes that leave the content as it is.
    """
    if event.has_started:
        edited = record_edit(delivery, event, context)
        return (
            edited
            if edited.desired is DesiredState.AS_PLANNED
            else _hold(edited, HoldReason.EDITED)
        )
    return replace(
        _replace_content(delivery, event, context),
        state=State.PENDING,
        next_action_at=event.due_at,
        reason=None,
    )


def on_revised_while_held(
    delivery: Delivery, event: Revised, context: StepContext
) -> Delivery:
    """Replace the content if nothing was sent yet.

    The delivery stays held for its original reason.
    """
    return (
        record_edit(delivery, event, context)
        if event.has_started
        else _replace_content(delivery, event, context)
    )


def on_restored(delivery: Delivery, event: Restored, context: StepContext) -> Delivery:
    """Return to waiting as if it had never ended, with the content that the schedule has now.

    Where a call of the occurrence was made with another text, a person decides. Raises
    IllegalTransitionError if a call was made for this delivery, or a person has ended it.
    """
    if not delivery.is_restorable:
        raise IllegalTransitionError(
            "only what was never called, and ended by no person, comes back"
        )
    content, deadline = event.content, delivery.first_attempt_deadline
    waiting = replace(
        delivery, state=State.PENDING, desired=DesiredState.AS_PLANNED, reason=None
    )
    if content.has_started and content.rendered_hash != delivery.rendered_hash:
        return _hold(record_edit(waiting, content, context), HoldReason.EDITED)
    restored = replace(
        _replace_content(waiting, content, context),
        next_action_at=content.due_at,
        is_pruned=False,
    )
    if restored.is_due_when_approved:
        return restored
    latest = content.due_at + content.max_delay
    is_kept = deadline is not None and delivery.due_at == content.due_at
    return replace(
        restored,
        first_attempt_deadline=max(deadline, latest)
        if is_kept and deadline
        else latest,
    )


def _replace_content(
    delivery: Delivery, event: Revised, context: StepContext
) -> Delivery:
    """Replace the content, and restart the deadline of the first attempt.

    The deadline restarts at the due time, or now if that has passed.
    """
    deadline = max(event.due_at, context.now) + event.max_delay
    return replace(
        _replace_limits(delivery, event),
        rendered_hash=event.rendered_hash,
        extra_parts=event.extra_parts,
        kind=event.kind,
        due_at=event.due_at,
        first_attempt_deadline=event.expires_at
        if event.is_due_when_approved
        else deadline,
        is_due_when_approved=event.is_due_when_approved,
        desired=_merge_desired(delivery, DesiredState.AS_PLANNED),
    )


def record_edit(delivery: Delivery, event: Revised, context: StepContext) -> Delivery:
    """Note an edit without changing the content: a call may have been made with it.

    A delivery that can no longer wait for the end of a review is read at once.
    """
    is_same = event.rendered_hash == delivery.rendered_hash
    edited = _replace_limits(delivery, event)
    extension = event.max_delay - delivery.max_delay
    latest = edited.first_attempt_deadline and edited.first_attempt_deadline + extension
    desired = _merge_desired(
        delivery, DesiredState.AS_PLANNED if is_same else DesiredState.EDITED
    )
    has_no_time = delivery.is_due_when_approved or event.is_due_when_approved
    could_wait = (
        delivery.state is State.UNKNOWN
        and not _needs_person_before_review_end(delivery, context)
    )
    must_be_read = could_wait and _needs_person_before_review_end(edited, context)
    next_action_at = context.now if must_be_read else delivery.next_action_at
    return replace(
        edited,
        first_attempt_deadline=latest,
        desired=desired,
        is_due_when_approved=has_no_time,
        next_action_at=next_action_at,
    )


def _replace_limits(delivery: Delivery, event: Revised) -> Delivery:
    return replace(
        delivery,
        expires_at=event.expires_at,
        max_delay=event.max_delay,
        is_urgent=event.is_urgent,
    )


def _merge_desired(delivery: Delivery, desired: DesiredState) -> DesiredState:
    """Return the schedule's desired state, unless a person has cancelled or retracted it."""
    return delivery.desired if delivery.desired in DESIRED_BY_PERSON else desired


def on_claimed(delivery: Delivery, _event: Claimed, _context: StepContext) -> Delivery:
    return replace(
        delivery,
        state=State.CLAIMED,
        fencing_token=delivery.fencing_token + 1,
        next_action_at=None,
    )


def on_attempt_started(
    delivery: Delivery, _event: AttemptStarted, _context: StepContext
) -> Delivery:
    return replace(
        delivery,
        state=State.SENDING,
        attempts=delivery.attempts + 1,
        readbacks=0,
        unknown_since=None,
        submitted_at=None,
        ticket=None,
        reason=None,
    )


def on_released(delivery: Delivery, event: Released, context: StepContext) -> Delivery:
    freed = replace(delivery, reason=event.reason or delivery.reason)
    if (
        event.until is not None
        and event.extends_deadline
        and freed.first_attempt_deadline is not None
    ):
        freed = replace(
            freed,
            first_attempt_deadline=max(
                freed.first_attempt_deadline, event.until + freed.max_delay
            ),
        )
    return _return_to_waiting(freed, State.DUE, event.until, context)


def on_lease_expired_before_call(
    delivery: Delivery, event: LeaseExpired, context: StepContext
) -> Delivery:
    """Retry after a spread delay.

    A delivery that crashes its worker then takes few others down with it.
    """
    if not event.has_worker_crashed:
        return _return_to_waiting(delivery, State.DUE, None, context)
    expired = replace(delivery, worker_crashes=delivery.worker_crashes + 1)
    is_suspect = expired.worker_crashes >= MAX_WORKER_CRASHES and event.is_only_suspect
    if is_suspect and expired.desired not in DESIRED_NO_SEND:
        return _hold(expired, HoldReason.POISON)
    jitter = compute_jitter(expired.id, expired.fencing_token)
    retry_at = next_crash_retry_at(context.now, expired.worker_crashes, jitter)
    return _return_to_waiting(expired, State.DUE, retry_at, context)


def on_lease_expired_during_call(
    delivery: Delivery, event: LeaseExpired, context: StepContext
) -> Delivery:
    """Mark the outcome unknown if the call may have begun; retry if it provably has not."""
    if not event.may_have_started:
        return on_lease_expired_before_call(delivery, event, context)
    return _mark_unknown(
        replace(
            delivery, worker_crashes=delivery.worker_crashes + event.has_worker_crashed
        ),
        "worker_lost",
        context,
    )


def on_cancelled(
    delivery: Delivery, event: Cancelled, context: StepContext
) -> Delivery:
    """End as cancelled.

    A delivery cancelled by a job without an order may come back if it was never called.
    """
    is_ordered = (
        context.by.role is not Role.MAINTENANCE
        or event.is_corrected
        or not delivery.is_uncalled
    )
    ordered = record_cancellation(delivery, event, context) if is_ordered else delivery
    return _finish(ordered, State.CANCELLED, event.reason, context)


def on_expired(delivery: Delivery, event: Expired, context: StepContext) -> Delivery:
    return _finish(delivery, State.EXPIRED, event.reason, context)


def on_held(delivery: Delivery, event: Held, _context: StepContext) -> Delivery:
    return _hold(delivery, event.reason)


def record_cancellation(
    delivery: Delivery, event: Cancelled, context: StepContext
) -> Delivery:
    desired = event.desired_by(context.by.role)
    return replace(
        delivery, desired=max(delivery.desired, desired, key=lambda one: one.rank)
    )


def record_retraction(
    delivery: Delivery, event: RetractionRequested, _context: StepContext
) -> Delivery:
    return replace(delivery, desired=DesiredState.RETRACTED, reason=event.reason)


def _retraction_reason(delivery: Delivery) -> str | None:
    """Return the present reason if a retraction was ordered, else None.

    A platform result does not end the order.
    """
    return delivery.reason if delivery.is_retraction_requested else None


def on_published(
    delivery: Delivery, event: Published, context: StepContext
) -> Delivery:
    """Count a published part, the post itself or a further one.

    While parts are left, make the next one due.
    """
    is_extra_part = delivery.is_incomplete and delivery.state is not State.RETRACTING
    published = replace(
        delivery,
        state=State.RETRACTING if delivery.is_retraction_requested else State.PUBLISHED,
        receipt=delivery.receipt if is_extra_part else event.receipt,
        parts_done=min(delivery.parts_done + 1, delivery.extra_parts + 1),
        ticket=None,
        verified_at=context.now if event.is_text_confirmed else delivery.verified_at,
        reason=_retraction_reason(delivery),
        auth_failures=0,
        next_action_at=context.now if delivery.is_retraction_requested else None,
    )
    if not published.is_incomplete or published.is_retraction_requested:
        return published
    next_part = (
        replace(  # counters and reports of the last call do not count for the next part
            published,
            readbacks=0,
            failures=0,
            unknown_since=None,
            submitted_at=None,
            reported_url=None,
            was_resent=False,
        )
    )
    return _return_to_waiting(next_part, State.DUE, None, context)


def on_submitted(
    delivery: Delivery, event: Submitted, context: StepContext
) -> Delivery:
    return replace(
        delivery,
        state=State.RETRACTING if delivery.is_retraction_requested else State.SUBMITTED,
        ticket=event.ticket,
        submitted_at=delivery.submitted_at or context.now,
        unknown_since=delivery.unknown_since or context.now,
        readbacks=delivery.readbacks
        + (delivery.state is not State.SENDING),  # the call itself is no read
        next_action_at=next_poll_at(
            context.timing, delivery.readbacks, event.check_again_at, context.now
        ),
        auth_failures=0,
        reason=_retraction_reason(delivery),
    )


def on_rejected(delivery: Delivery, event: Rejected, context: StepContext) -> Delivery:
    """End as failed.

    If the post was edited meanwhile, hold it instead: the new text was never offered.
    """
    rejected = replace(delivery, ticket=None)
    if rejected.desired is DesiredState.EDITED and not rejected.is_incomplete:
        return _hold(rejected, HoldReason.EDITED)
    return _finish(rejected, State.FAILED, event.code, context)


def on_rate_limited(
    delivery: Delivery, event: RateLimited, context: StepContext
) -> Delivery:
    return _retry(delivery, "rate_limited", event.until, context)


def on_busy(delivery: Delivery, event: Busy, context: StepContext) -> Delivery:
    return _retry(
        delivery,
        event.code,
        event.until and min(event.until, context.now + MAX_COOLDOWN),
        context,
    )


def on_not_sent(delivery: Delivery, event: NotSent, context: StepContext) -> Delivery:
    """Retry, and extend the first attempt's deadline: an attempt made in time is not late.

    The extension counts from the retry. A delivery with a `max_delay` under a minute gets no
    extension.
    """
    if event.until is None:
        waiting = _retry(delivery, event.reason, None, context)
    else:
        # the platform still prepares, which is no failure: longer waits would only delay the post
        until = min(
            max(event.until, context.now + context.timing.retry_first),
            context.now + MAX_COOLDOWN,
        )
        prepared = replace(delivery, reason=event.reason, auth_failures=0)
        waiting = _return_to_waiting(prepared, State.RETRYING, until, context)
    deadline, retry_at = waiting.first_attempt_deadline, waiting.next_action_at
    if deadline is None or retry_at is None or waiting.max_delay < MIN_EXTENDABLE_DELAY:
        return waiting
    return replace(
        waiting, first_attempt_deadline=max(deadline, retry_at + waiting.max_delay)
    )


def on_credential_expired(
    delivery: Delivery, event: CredentialExpired, context: StepContext
) -> Delivery:
    refused = replace(delivery, auth_failures=delivery.auth_failures + 1)
    if refused.auth_failures >= MAX_AUTH_FAILURES:
        return _hold_unless_retracting(refused, HoldReason.AUTH, context)
    return _return_to_waiting(
        replace(refused, reason=event.reason), State.RETRYING, context.now, context
    )


def on_sign_in_renewed(
    delivery: Delivery, _event: SignInRenewed, context: StepContext
) -> Delivery:
    """Try again where nothing but the sign-in was refused, as if it had been retried all along.

    What is partly published, or held for anything else, still waits for a person.
    """
    if delivery.reason != HoldReason.AUTH or delivery.parts_done:
        return delivery
    again = replace(delivery, auth_failures=0)
    return _return_to_waiting(again, State.RETRYING, context.now, context)


def on_blocked(delivery: Delivery, event: Blocked, context: StepContext) -> Delivery:
    return _hold_unless_retracting(delivery, event.hold_reason, context)


def on_unknown(delivery: Delivery, event: Unknown, context: StepContext) -> Delivery:
    return _mark_unknown(delivery, event.reason, context)


def check_again(
    delivery: Delivery,
    event: ReadFailure | NotFound | AbsenceProven,
    context: StepContext,
) -> Delivery:
    since = delivery.unknown_since or context.now
    limit = event if isinstance(event, RateLimited) else None
    reason = (
        event.reason
        if isinstance(event, Unknown)
        else "rate_limited"
        if limit
        else delivery.reason
    )
    if delivery.state is State.RETRACTING and delivery.receipt is not None:
        wait_until = _next_deletion_at(delivery, context)
    elif delivery.is_review_possible:  # one more failed read changes nothing
        reason = delivery.reason
        wait_until = next_review_check_at(context.timing, since, context.now)
    else:
        was_read = not isinstance(event, ReadFailure)
        wait_until = next_check_at(
            context.timing,
            delivery.readbacks + 1,
            since,
            context.now,
            was_read=was_read,
        )
    if limit and limit.until:
        wait_until = max(wait_until, limit.until)
    return replace(
        delivery,
        readbacks=delivery.readbacks + 1,
        unknown_since=since,
        next_action_at=wait_until,
        reason=reason,
    )


def on_absence_proven(
    delivery: Delivery, event: AbsenceProven, context: StepContext
) -> Delivery:
    """Resend at most once, and never while a ticket is open.

    With an open ticket, no list shows whether a review has ended.
    """
    if delivery.was_resent or not event.can_resend or delivery.ticket is not None:
        return _hold(delivery, HoldReason.NOT_PUBLISHED)
    if context.now >= delivery.expires_at and delivery.desired not in DESIRED_NO_SEND:
        return _finish(delivery, State.EXPIRED, "expired", context)
    return _return_to_waiting(
        replace(delivery, was_resent=True, reason="absence_proven"),
        State.DUE,
        None,
        context,
    )


def on_review_possible(
    delivery: Delivery, _event: ReviewPossible, context: StepContext
) -> Delivery:
    """Wait for the end of the longest review, or hold at once if that is too late.

    A person then looks for the post.
    """
    if _needs_person_before_review_end(delivery, context):
        return _hold(delivery, HoldReason.REVIEW_POSSIBLE)
    since = delivery.unknown_since or context.now
    return replace(
        delivery,
        readbacks=delivery.readbacks + 1,
        unknown_since=since,
        next_action_at=next_review_check_at(context.timing, since, context.now),
        reason=_retraction_reason(delivery) or HoldReason.REVIEW_POSSIBLE.value,
    )


def _needs_person_before_review_end(delivery: Delivery, context: StepContext) -> bool:
    """Return True if a wanted post is urgent or expires before the longest review ends."""
    if delivery.desired in DESIRED_NO_SEND or context.now >= delivery.expires_at:
        return False
    since = delivery.unknown_since or context.now
    return delivery.is_urgent or delivery.expires_at <= review_ends_at(
        context.timing, since
    )


def on_possible_match(
    delivery: Delivery, event: PossibleMatch, _context: StepContext
) -> Delivery:
    return replace(_hold(delivery, HoldReason.POSSIBLE_MATCH), reported_url=event.url)


def on_deleted(delivery: Delivery, _event: Deleted, _context: StepContext) -> Delivery:
    return replace(
        delivery, state=State.REMOVED, reason="removed_on_platform", next_action_at=None
    )


def on_retraction_requested(
    delivery: Delivery, event: RetractionRequested, context: StepContext
) -> Delivery:
    return _start_retraction(replace(delivery, reason=event.reason), context)


def on_retraction_while_waiting(
    delivery: Delivery, event: RetractionRequested, context: StepContext
) -> Delivery:
    return _finish(
        record_retraction(delivery, event, context),
        State.CANCELLED,
        event.reason,
        context,
    )


def _start_retraction(delivery: Delivery, context: StepContext) -> Delivery:
    """Start retracting. End as cancelled if nothing was ever sent and no person reported a URL."""
    is_over = delivery.is_untouched
    return replace(
        delivery,
        state=State.CANCELLED if is_over else State.RETRACTING,
        desired=DesiredState.RETRACTED,
        readbacks=0,
        unknown_since=delivery.unknown_since or context.now,
        next_action_at=None if is_over else context.now,
    )


def on_retracted(
    delivery: Delivery, _event: Deleted, _context: StepContext
) -> Delivery:
    return replace(delivery, state=State.RETRACTED, next_action_at=None)


def on_absence_proven_while_retracting(
    delivery: Delivery, event: AbsenceProven, context: StepContext
) -> Delivery:
    """Accept the proof of absence, unless a ticket is open.

    A post under review may be published later.
    """
    if delivery.ticket is not None:
        return check_again(delivery, event, context)
    return replace(delivery, state=State.RETRACTED, next_action_at=None)


def on_rejected_while_retracting(
    delivery: Delivery, event: Rejected, context: StepContext
) -> Delivery:
    """Retry the deletion.

    Without a receipt the post itself was rejected, so there is nothing to delete.
    """
    if delivery.receipt is None:
        return replace(
            delivery,
            state=State.RETRACTED,
            ticket=None,
            next_action_at=None,
            reason=event.code,
        )
    next_at = _next_deletion_at(delivery, context)
    return replace(
        delivery,
        readbacks=delivery.readbacks + 1,
        next_action_at=next_at,
        reason=event.code,
    )


def _next_deletion_at(delivery: Delivery, context: StepContext) -> datetime:
    jitter = compute_jitter(delivery.id, delivery.readbacks)
    return next_delete_at(context.timing, delivery.readbacks, context.now, jitter)


def on_resolved(delivery: Delivery, event: Resolved, context: StepContext) -> Delivery:
    resolved = replace(
        delivery,
        reason=event.reason,
        reported_url=event.url,
        next_action_at=None,
        auth_failures=0,
        worker_crashes=0,
    )
    match event.to:
        case State.DUE | State.RETRYING:
            released = replace(
                resolved,
                first_attempt_deadline=None,
                ticket=None,
                was_resent=resolved.was_resent or resolved.unknown_since is not None,
                resend_after_attempt=resolved.attempts,
            )
            if (
                delivery.reason == HoldReason.EDITED
                and resolved.desired is DesiredState.EDITED
            ):
                # The person was asked about the edit and chose the old content.
                released = replace(released, desired=DesiredState.AS_PLANNED)
            return _return_to_waiting(released, State.DUE, None, context)
        case State.RETRACTING | State.UNKNOWN | State.SUBMITTED:
            # Waits restart from the decision; absence counts from the attempt.
            resolved = replace(resolved, unknown_since=context.now)
            if event.to is State.RETRACTING or resolved.is_retraction_requested:
                return _start_retraction(resolved, context)
            return replace(
                resolved,
                state=event.to,
                readbacks=0,
                submitted_at=context.now
                if event.to is State.SUBMITTED
                else resolved.submitted_at,
                next_action_at=context.now,
            )
        case State.PUBLISHED:
            if event.receipt is None:
                raise IllegalTransitionError(
                    "a resolution to published without a receipt"
                )
            published = on_published(
                resolved, Published(receipt=event.receipt), context
            )
            return (
                published
                if published.state is State.HELD
                else replace(published, reason=event.reason)
            )
        case State.FAILED if resolved.is_retraction_requested:
            # nothing is published, nothing to delete
            return replace(resolved, state=State.RETRACTED, ticket=None)
        case State.CANCELLED if (
            resolved.is_incomplete and not resolved.is_retraction_requested
        ):
            return replace(
                resolved, state=State.PUBLISHED, ticket=None
            )  # the published parts stay
        case State.FAILED | State.EXPIRED if (
            resolved.is_incomplete and not resolved.is_retraction_requested
        ):
            return _hold(resolved, HoldReason.INCOMPLETE)
        case _:
            is_final_word = (
                event.to in RESTORABLE_STATES and not resolved.is_retraction_requested
            )
            # no edit brings it back
            desired = DesiredState.CANCELLED if is_final_word else resolved.desired
            return replace(resolved, state=event.to, desired=desired)


def on_resolved_while_retracting(
    delivery: Delivery, event: Resolved, context: StepContext
) -> Delivery:
    """Accept a person's statement that the post is gone or never existed.

    Otherwise check again, at the URL they give.
    """
    resolved = replace(
        delivery,
        reason=event.reason,
        reported_url=event.url,
        receipt=delivery.receipt or event.receipt,
    )
    match event.to:
        case State.FAILED:
            return replace(
                resolved, state=State.RETRACTED, ticket=None, next_action_at=None
            )
        case State.CANCELLED | State.DUE if delivery.receipt is None:
            return replace(
                resolved, state=State.CANCELLED, ticket=None, next_action_at=None
            )
        case State.CANCELLED | State.DUE | State.EXPIRED | State.REMOVED:
            raise IllegalTransitionError(
                "a published post that people want deleted ends only when it is gone"
            )
        case _:
            return _start_retraction(
                replace(resolved, unknown_since=context.now), context
            )


def _hold(delivery: Delivery, reason: HoldReason) -> Delivery:
    return replace(delivery, state=State.HELD, reason=reason.value, next_action_at=None)


def _hold_unless_retracting(
    delivery: Delivery, reason: HoldReason, context: StepContext
) -> Delivery:
    """Hold for a person, or start retracting if a person has already ordered it.

    A retraction deletes the published parts.
    """
    if delivery.is_incomplete and delivery.is_retraction_requested:
        return _start_retraction(delivery, context)
    return _hold(delivery, reason)


def _finish(
    delivery: Delivery, state: State, reason: str | None, context: StepContext
) -> Delivery:
    """End the delivery, or hold it if parts are published: nothing on a platform is forgotten."""
    if delivery.is_incomplete:
        return _hold_unless_retracting(delivery, HoldReason.INCOMPLETE, context)
    return replace(delivery, state=state, reason=reason, next_action_at=None)


def _mark_unknown(delivery: Delivery, reason: str, context: StepContext) -> Delivery:
    return replace(
        delivery,
        state=State.RETRACTING if delivery.is_retraction_requested else State.UNKNOWN,
        reason=reason,
        readbacks=0,
        unknown_since=context.now,
        next_action_at=next_check_at(context.timing, 0, context.now, context.now),
    )


def _retry(
    delivery: Delivery, reason: str, until: datetime | None, context: StepContext
) -> Delivery:
    jitter = compute_jitter(delivery.id, delivery.failures)
    soonest = next_retry_at(context.timing, delivery.failures, context.now, jitter)
    waiting = replace(
        delivery, reason=reason, failures=delivery.failures + 1, auth_failures=0
    )
    return _return_to_waiting(
        waiting, State.RETRYING, max(soonest, until or soonest), context
    )


def _return_to_waiting(
    delivery: Delivery, state: State, until: datetime | None, context: StepContext
) -> Delivery:
    """Return to a state before a call, if this exact content is still wanted."""
    if delivery.desired in DESIRED_NO_SEND:
        return _finish(
            delivery, State.CANCELLED, _REASONS_NOT_TO_SEND[delivery.desired], context
        )
    if delivery.desired is DesiredState.EDITED:
        return _hold(delivery, HoldReason.EDITED)
    wait = (
        until
        if until is not None and (until > context.now or state is State.RETRYING)
        else None
    )
    return replace(delivery, state=state, next_action_at=wait)


_S = State
_PLANNER, _MAINTENANCE, _SENDER = {Role.PLANNER}, {Role.MAINTENANCE}, {Role.SENDER}
_RECONCILER, _RETRACTOR, _PERSON = {Role.RECONCILER}, {Role.RETRACTOR}, {Role.PERSON}
_JOB_ROLES = set(Role) - _PERSON
_STARTED_WAITING = WAITING_STATES - {_S.PENDING}
"""States of a waiting delivery, possibly with some parts published."""
_PARTLY_PUBLISHED = {_S.HELD, _S.RETRACTING}
"""Targets instead of an end state while some parts are published."""
_AFTER_FAILURE = {_S.RETRYING, _S.CANCELLED} | _PARTLY_PUBLISHED
_AFTER_PART = {_S.PUBLISHED, _S.DUE, _S.HELD}
"""Targets after one more published part: complete, next part due, or held.

A delivery is held for a decision about the rest.
"""

_ROWS: tuple[
    tuple[AbstractSet[State], type, AbstractSet[State], AbstractSet[Role], Step], ...
] = (
    ({_S.PENDING, _S.RETRYING}, BecameDue, {_S.DUE}, _MAINTENANCE, on_became_due),
    *(
        ({state}, Revised, {state, _S.PENDING, _S.HELD}, _PLANNER, on_revised)
        for state in (_S.PENDING, _S.DUE, _S.CLAIMED)
    ),
    ({_S.RETRYING}, Revised, {_S.RETRYING, _S.PENDING, _S.HELD}, _PLANNER, on_revised),
    ({_S.HELD}, Revised, {_S.HELD}, _PLANNER, on_revised_while_held),
    *(
        ({state}, Revised, {state}, _PLANNER, record_edit)
        for state in (_S.SENDING, _S.SUBMITTED, _S.UNKNOWN)
    ),
    (RESTORABLE_STATES, Restored, {_S.PENDING, _S.HELD}, _PLANNER, on_restored),
    ({_S.PENDING}, ApprovalMissing, {_S.PENDING}, _MAINTENANCE, on_approval_missing),
    ({_S.CLAIMED}, ApprovalMissing, {_S.PENDING, _S.DUE}, _SENDER, on_approval_missing),
    ({_S.PENDING}, Approved, {_S.PENDING}, _PERSON, on_approved),
    ({_S.DUE}, Claimed, {_S.CLAIMED}, _SENDER, on_claimed),
    ({_S.CLAIMED}, AttemptStarted, {_S.SENDING}, _SENDER, on_attempt_started),
    ({_S.CLAIMED}, Released, {_S.DUE}, _SENDER, on_released),
    (
        {_S.CLAIMED},
        LeaseExpired,
        {_S.DUE, _S.HELD},
        _MAINTENANCE,
        on_lease_expired_before_call,
    ),
    (
        {_S.PENDING},
        Cancelled,
        {_S.CANCELLED},
        _PLANNER | _MAINTENANCE | _PERSON,
        on_cancelled,
    ),
    ({_S.PENDING}, Expired, {_S.EXPIRED}, _MAINTENANCE | _SENDER, on_expired),
    (
        _STARTED_WAITING,
        Cancelled,
        {_S.CANCELLED, _S.HELD},
        _PLANNER | _MAINTENANCE | _PERSON,
        on_cancelled,
    ),
    (
        _STARTED_WAITING,
        Expired,
        {_S.EXPIRED, _S.HELD},
        _MAINTENANCE | _SENDER,
        on_expired,
    ),
    (
        _STARTED_WAITING,
        RetractionRequested,
        {_S.RETRACTING, _S.CANCELLED},
        _PERSON,
        on_retraction_while_waiting,
    ),
    (WAITING_STATES, Held, {_S.HELD}, _JOB_ROLES, on_held),
    ({_S.SENDING}, Published, _AFTER_PART | {_S.RETRACTING}, _SENDER, on_published),
    ({_S.SENDING}, Submitted, {_S.SUBMITTED, _S.RETRACTING}, _SENDER, on_submitted),
    ({_S.SENDING}, Rejected, {_S.FAILED} | _PARTLY_PUBLISHED, _SENDER, on_rejected),
    ({_S.SENDING}, RateLimited, _AFTER_FAILURE, _SENDER, on_rate_limited),
    ({_S.SENDING}, Busy, _AFTER_FAILURE, _SENDER, on_busy),
    ({_S.SENDING}, NotSent, _AFTER_FAILURE, _SENDER, on_not_sent),
    ({_S.SENDING}, CredentialExpired, _AFTER_FAILURE, _SENDER, on_credential_expired),
    ({_S.SENDING}, Blocked, _PARTLY_PUBLISHED, _SENDER, on_blocked),
    ({_S.SENDING}, Unknown, {_S.UNKNOWN, _S.RETRACTING}, _SENDER, on_unknown),
    (
        {_S.SENDING},
        LeaseExpired,
        {_S.UNKNOWN, _S.DUE, _S.CANCELLED} | _PARTLY_PUBLISHED,
        _MAINTENANCE,
        on_lease_expired_during_call,
    ),
    *(
        ({state}, Cancelled, {state}, _PLANNER | _PERSON, record_cancellation)
        for state in (_S.SENDING, _S.SUBMITTED, _S.UNKNOWN, _S.HELD)
    ),
    ({_S.SENDING}, RetractionRequested, {_S.SENDING}, _PERSON, record_retraction),
    ({_S.SUBMITTED, _S.UNKNOWN}, Published, _AFTER_PART, _RECONCILER, on_published),
    ({_S.UNKNOWN, _S.SUBMITTED}, Submitted, {_S.SUBMITTED}, _RECONCILER, on_submitted),
    (
        {_S.SUBMITTED, _S.UNKNOWN},
        Rejected,
        {_S.FAILED, _S.HELD},
        _RECONCILER,
        on_rejected,
    ),
    *(
        ({state}, event, {state}, role, check_again)
        for state, role in (
            (_S.SUBMITTED, _RECONCILER),
            (_S.UNKNOWN, _RECONCILER),
            (_S.RETRACTING, _RETRACTOR),
        )
        for event in (Unknown, RateLimited, NotFound)
    ),
    ({_S.SUBMITTED}, AbsenceProven, {_S.SUBMITTED}, _RECONCILER, check_again),
    (
        {_S.UNKNOWN},
        ReviewPossible,
        {_S.UNKNOWN, _S.HELD},
        _RECONCILER,
        on_review_possible,
    ),
    ({_S.SUBMITTED, _S.UNKNOWN}, Deleted, {_S.REMOVED}, _RECONCILER, on_deleted),
    (
        {_S.UNKNOWN},
        AbsenceProven,
        {_S.DUE, _S.EXPIRED, _S.CANCELLED, _S.HELD},
        _RECONCILER,
        on_absence_proven,
    ),
    (
        {_S.SUBMITTED, _S.UNKNOWN},
        PossibleMatch,
        {_S.HELD},
        _RECONCILER,
        on_possible_match,
    ),
    ({_S.SUBMITTED, _S.UNKNOWN}, Held, {_S.HELD}, _RECONCILER | _MAINTENANCE, on_held),
    (
        {_S.RETRACTING},
        Resolved,
        {_S.RETRACTING, _S.RETRACTED, _S.CANCELLED},
        _PERSON,
        on_resolved_while_retracting,
    ),
    (
        {_S.HELD, _S.SUBMITTED, _S.UNKNOWN},
        Resolved,
        frozenset(State) - {_S.PENDING, _S.CLAIMED, _S.SENDING},
        _PERSON,
        on_resolved,
    ),
    (
        {_S.HELD},
        SignInRenewed,
        {_S.HELD, _S.RETRYING, _S.CANCELLED},
        _RECONCILER,
        on_sign_in_renewed,
    ),
    (
        {_S.PUBLISHED, _S.SUBMITTED},
        RetractionRequested,
        {_S.RETRACTING},
        _PERSON,
        on_retraction_requested,
    ),
    (
        {_S.UNKNOWN, _S.HELD},
        RetractionRequested,
        {_S.RETRACTING, _S.CANCELLED},
        _PERSON,
        on_retraction_requested,
    ),
    ({_S.PUBLISHED}, Deleted, {_S.REMOVED}, _RECONCILER, on_deleted),
    ({_S.RETRACTING}, Deleted, {_S.RETRACTED}, _RETRACTOR, on_retracted),
    (
        {_S.RETRACTING},
        AbsenceProven,
        {_S.RETRACTED, _S.RETRACTING},
        _RETRACTOR,
        on_absence_proven_while_retracting,
    ),
    ({_S.RETRACTING}, ReviewPossible, {_S.RETRACTING}, _RETRACTOR, on_review_possible),
    ({_S.RETRACTING}, Published, {_S.RETRACTING}, _RETRACTOR, on_published),
    ({_S.RETRACTING}, Submitted, {_S.RETRACTING}, _RETRACTOR, on_submitted),
    (
        {_S.RETRACTING},
        Rejected,
        {_S.RETRACTING, _S.RETRACTED},
        _RETRACTOR,
        on_rejected_while_retracting,
    ),
    ({_S.RETRACTING}, PossibleMatch, {_S.HELD}, _RETRACTOR, on_possible_match),
    ({_S.RETRACTING}, Held, {_S.HELD}, _RETRACTOR, on_held),
)
"""Source states, event, target states, roles that may bring it, step."""

TRANSITIONS: Mapping[tuple[State, type], Transition] = {
    (state, event): Transition(targets=frozenset(to), roles=frozenset(who), step=step)
    for states, event, to, who, step in _ROWS
    for state in states
}
"""Every legal transition.

Final states have one row, for a delivery that was never called. Otherwise they are never left.
"""
