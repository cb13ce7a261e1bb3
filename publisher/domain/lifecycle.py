"""The one table of what may happen to a delivery, and the one function that reads it.

`TRANSITIONS` is data: for each state and kind of event, where it may lead, who may bring it, and the small step that
decides. The diagram in the docs is drawn from it.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from publisher.domain.delivery import DESIRED_BY_PERSON, DESIRED_NO_SEND, WAITING_STATES, Delivery, DesiredState, State
from publisher.domain.errors import IllegalTransitionError
from publisher.domain.events import (
    AbsenceProven,
    Actor,
    AttemptStarted,
    BecameDue,
    Cancelled,
    Claimed,
    Event,
    Expired,
    Held,
    LeaseExpired,
    Released,
    Resolved,
    RetractionRequested,
    Revised,
    Role,
)
from publisher.domain.policy import (
    Timing,
    compute_jitter,
    next_check_at,
    next_crash_retry_at,
    next_delete_at,
    next_poll_at,
    next_retry_at,
)
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
"""A shorter `max_delay` is excused by no call that could not leave."""
MAX_WORKER_CRASHES = 2
MAX_AUTH_FAILURES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What a step may know besides the delivery and the event."""

    now: datetime
    timing: Timing
    by: Actor


Step = Callable[[Delivery, Any, StepContext], Delivery]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One line of the table: where it may lead, who may bring it, and the step that decides."""

    targets: frozenset[State]
    roles: frozenset[Role]
    step: Step


def advance(delivery: Delivery, event: Event, *, by: Actor, now: datetime, timing: Timing) -> Delivery:
    """Give the delivery as it stands after the event; the only place that decides.

    Raises IllegalStepError when the table has no such line or `by` may not bring the event.
    """
    rule = TRANSITIONS.get((delivery.state, type(event)))
    if rule is None or by.role not in rule.roles:
        raise IllegalTransitionError(f"{delivery.state} + {type(event).__name__} by {by.role}")
    after = rule.step(delivery, event, StepContext(now=now, timing=timing, by=by))
    if delivery.state is State.SENDING and after.state is not State.SENDING:
        after = _record_attempt_end(after, event)
    if after.state not in rule.targets:
        raise IllegalTransitionError(f"{delivery.state} + {type(event).__name__} -> {after.state}")
    return replace(after, version=delivery.version + 1, updated_at=now)


def _record_attempt_end(delivery: Delivery, event: Event) -> Delivery:
    """Note what the end of an attempt shows: whether its call can have begun, and that its worker is alive."""
    is_lapsed = isinstance(event, LeaseExpired)
    has_begun = event.may_have_started if isinstance(event, LeaseExpired) else not isinstance(event, NotSent)
    return replace(
        delivery,
        first_attempt_deadline=None if has_begun else delivery.first_attempt_deadline,
        worker_crashes=delivery.worker_crashes if is_lapsed else 0,
    )


def _on_became_due(delivery: Delivery, _event: BecameDue, _context: StepContext) -> Delivery:
    return replace(delivery, state=State.DUE, next_action_at=None)


def _on_revised(delivery: Delivery, event: Revised, context: StepContext) -> Delivery:
    """Take the new words before any call of the occurrence; after one, only what does not change them."""
    if event.has_started:
        edited = _record_edit(delivery, event)
        return edited if edited.desired is DesiredState.AS_PLANNED else _hold(edited, HoldReason.EDITED)
    return replace(
        _replace_content(delivery, event, context), state=State.PENDING, next_action_at=event.due_at, reason=None
    )


def _on_revised_while_held(delivery: Delivery, event: Revised, context: StepContext) -> Delivery:
    """Let the new words replace the old where nothing was sent of either; it stays held for whatever it was."""
    return _record_edit(delivery, event) if event.has_started else _replace_content(delivery, event, context)


def _on_revised_in_flight(delivery: Delivery, event: Revised, _context: StepContext) -> Delivery:
    return _record_edit(delivery, event)


def _replace_content(delivery: Delivery, event: Revised, context: StepContext) -> Delivery:
    """Take the words; the time for the first call starts again, from the edit where the instant has passed."""
    return replace(
        _replace_limits(delivery, event),
        rendered_hash=event.rendered_hash,
        extra_parts=event.extra_parts,
        due_at=event.due_at,
        first_attempt_deadline=max(event.due_at, context.now) + event.max_delay,
        desired=_merge_desired(delivery, DesiredState.AS_PLANNED),
    )


def _record_edit(delivery: Delivery, event: Revised) -> Delivery:
    is_same = event.rendered_hash == delivery.rendered_hash
    edited = _replace_limits(delivery, event)
    longer = event.max_delay - delivery.max_delay
    latest = edited.first_attempt_deadline and edited.first_attempt_deadline + longer
    desired = _merge_desired(delivery, DesiredState.AS_PLANNED if is_same else DesiredState.EDITED)
    return replace(edited, first_attempt_deadline=latest, desired=desired)


def _replace_limits(delivery: Delivery, event: Revised) -> Delivery:
    return replace(delivery, expires_at=event.expires_at, max_delay=event.max_delay, is_urgent=event.is_urgent)


def _merge_desired(delivery: Delivery, desired: DesiredState) -> DesiredState:
    """Return what the schedule says is wanted, unless people have ordered an end."""
    return delivery.desired if delivery.desired in DESIRED_BY_PERSON else desired


def _on_claimed(delivery: Delivery, _event: Claimed, _context: StepContext) -> Delivery:
    return replace(delivery, state=State.CLAIMED, fencing_token=delivery.fencing_token + 1, next_action_at=None)


def _on_attempt_started(delivery: Delivery, _event: AttemptStarted, _context: StepContext) -> Delivery:
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


def _on_released(delivery: Delivery, event: Released, context: StepContext) -> Delivery:
    freed = replace(delivery, reason=event.reason or delivery.reason)
    if event.until is not None and event.extends_deadline and freed.first_attempt_deadline is not None:
        freed = replace(freed, first_attempt_deadline=max(freed.first_attempt_deadline, event.until + freed.max_delay))
    return _return_to_waiting(freed, State.DUE, event.until, context)


def _on_lease_expired_before_call(delivery: Delivery, event: LeaseExpired, context: StepContext) -> Delivery:
    """Try it again a little later than what died with it: what kills its worker then dies with little besides."""
    if not event.has_worker_crashed:
        return _return_to_waiting(delivery, State.DUE, None, context)
    lapsed = replace(delivery, worker_crashes=delivery.worker_crashes + 1)
    if lapsed.worker_crashes >= MAX_WORKER_CRASHES and event.is_only_suspect and lapsed.desired not in DESIRED_NO_SEND:
        return _hold(lapsed, HoldReason.POISON)
    again = next_crash_retry_at(context.now, lapsed.worker_crashes, compute_jitter(lapsed.id, lapsed.fencing_token))
    return _return_to_waiting(lapsed, State.DUE, again, context)


def _on_lease_expired_during_call(delivery: Delivery, event: LeaseExpired, context: StepContext) -> Delivery:
    """Doubt a call that may have begun; one that provably has not leaves no doubt, and is tried again."""
    if not event.may_have_started:
        return _on_lease_expired_before_call(delivery, event, context)
    return _mark_unknown(
        replace(delivery, worker_crashes=delivery.worker_crashes + event.has_worker_crashed), "worker_lost", context
    )


def _on_cancelled(delivery: Delivery, event: Cancelled, context: StepContext) -> Delivery:
    return _finish(_record_cancellation(delivery, event, context), State.CANCELLED, event.reason, context)


def _on_expired(delivery: Delivery, event: Expired, context: StepContext) -> Delivery:
    return _finish(delivery, State.EXPIRED, event.reason, context)


def _on_held(delivery: Delivery, event: Held, _context: StepContext) -> Delivery:
    return _hold(delivery, event.reason)


def _record_cancellation(delivery: Delivery, _event: Cancelled, context: StepContext) -> Delivery:
    desired = DesiredState.NOT_TARGETED if context.by.role is Role.PLANNER else DesiredState.CANCELLED
    return replace(delivery, desired=max(delivery.desired, desired, key=lambda one: one.rank))


def _record_retraction(delivery: Delivery, event: RetractionRequested, _context: StepContext) -> Delivery:
    return replace(delivery, desired=DesiredState.RETRACTED, reason=event.reason)


def _retraction_reason(delivery: Delivery) -> str | None:
    """Return the reason as it stands where a retraction was ordered: what the platform says next does not end it."""
    return delivery.reason if delivery.is_retraction_requested else None


def _on_published(delivery: Delivery, event: Published, context: StepContext) -> Delivery:
    """Count what is live, the post itself or a further floor; as long as there are floors left, the next one is due."""
    is_floor = delivery.is_incomplete and delivery.state is not State.RETRACTING
    live = replace(
        delivery,
        state=State.RETRACTING if delivery.is_retraction_requested else State.PUBLISHED,
        receipt=delivery.receipt if is_floor else event.receipt,
        parts_done=min(delivery.parts_done + 1, delivery.extra_parts + 1),
        ticket=None,
        verified_at=context.now if event.is_text_confirmed else delivery.verified_at,
        reason=_retraction_reason(delivery),
        auth_failures=0,
        next_action_at=context.now if delivery.is_retraction_requested else None,
    )
    return _start_next_part(live, context) if live.is_incomplete and not live.is_retraction_requested else live


def _start_next_part(delivery: Delivery, context: StepContext) -> Delivery:
    """Make the next floor due: nothing of the last call counts for it."""
    fresh = replace(
        delivery,
        readbacks=0,
        failures=0,
        unknown_since=None,
        submitted_at=None,
        reported_url=None,
        was_resent=False,
    )
    return _return_to_waiting(fresh, State.DUE, None, context)


def _on_submitted(delivery: Delivery, event: Submitted, context: StepContext) -> Delivery:
    return replace(
        delivery,
        state=State.RETRACTING if delivery.is_retraction_requested else State.SUBMITTED,
        ticket=event.ticket,
        submitted_at=delivery.submitted_at or context.now,
        unknown_since=delivery.unknown_since or context.now,
        readbacks=delivery.readbacks + 1,
        next_action_at=next_poll_at(context.timing, delivery.readbacks, event.check_again_at, context.now),
        auth_failures=0,
        reason=_retraction_reason(delivery),
    )


def _on_rejected(delivery: Delivery, event: Rejected, context: StepContext) -> Delivery:
    return _finish(replace(delivery, ticket=None), State.FAILED, event.code, context)


def _on_rate_limited(delivery: Delivery, event: RateLimited, context: StepContext) -> Delivery:
    return _retry(delivery, "rate_limited", event.until, context)


def _on_busy(delivery: Delivery, event: Busy, context: StepContext) -> Delivery:
    return _retry(delivery, event.code, None, context)


def _on_not_sent(delivery: Delivery, event: NotSent, context: StepContext) -> Delivery:
    """Try again; what was tried in time is not late, so the time for the first call starts again with the next try.

    What may be late by less than a minute goes now or never.
    """
    waiting = _retry(delivery, event.reason, None, context)
    if (
        waiting.first_attempt_deadline is None
        or waiting.next_action_at is None
        or waiting.max_delay < MIN_EXTENDABLE_DELAY
    ):
        return waiting
    return replace(
        waiting, first_attempt_deadline=max(waiting.first_attempt_deadline, waiting.next_action_at + waiting.max_delay)
    )


def _on_credential_expired(delivery: Delivery, event: CredentialExpired, context: StepContext) -> Delivery:
    refused = replace(delivery, auth_failures=delivery.auth_failures + 1)
    if refused.auth_failures >= MAX_AUTH_FAILURES:
        return _hold_unless_retracting(refused, HoldReason.AUTH, context)
    return _return_to_waiting(replace(refused, reason=event.reason), State.RETRYING, context.now, context)


def _on_blocked(delivery: Delivery, event: Blocked, context: StepContext) -> Delivery:
    return _hold_unless_retracting(delivery, event.hold_reason, context)


def _on_unknown(delivery: Delivery, event: Unknown, context: StepContext) -> Delivery:
    return _mark_unknown(delivery, event.reason, context)


def _check_again(delivery: Delivery, event: ReadFailure | NotFound | AbsenceProven, context: StepContext) -> Delivery:
    since = delivery.unknown_since or context.now
    limit = event if isinstance(event, RateLimited) else None
    reason = event.reason if isinstance(event, Unknown) else "rate_limited" if limit else delivery.reason
    is_removal = delivery.state is State.RETRACTING and delivery.receipt is not None
    if is_removal:
        wait_until = _next_deletion_at(delivery, context)
    else:
        was_read = not isinstance(event, ReadFailure)
        wait_until = next_check_at(context.timing, delivery.readbacks + 1, since, context.now, was_read=was_read)
    if limit and limit.until:
        wait_until = max(wait_until, limit.until)
    return replace(
        delivery, readbacks=delivery.readbacks + 1, unknown_since=since, next_action_at=wait_until, reason=reason
    )


def _on_absence_proven(delivery: Delivery, event: AbsenceProven, context: StepContext) -> Delivery:
    """Resend once, at most; never while a ticket is out: a review ends when it ends, and no list tells."""
    if delivery.was_resent:
        return _hold(delivery, HoldReason.NOT_PUBLISHED_TWICE)
    if not event.can_resend or delivery.ticket is not None:
        return _hold(delivery, HoldReason.NOT_PUBLISHED)
    if context.now >= delivery.expires_at and delivery.desired not in DESIRED_NO_SEND:
        return _finish(delivery, State.EXPIRED, "expired", context)
    return _return_to_waiting(replace(delivery, was_resent=True, reason="absence_proven"), State.DUE, None, context)


def _on_possible_match(delivery: Delivery, event: PossibleMatch, _context: StepContext) -> Delivery:
    return replace(_hold(delivery, HoldReason.POSSIBLE_MATCH), reported_url=event.url)


def _on_deleted(delivery: Delivery, _event: Deleted, _context: StepContext) -> Delivery:
    return replace(delivery, state=State.REMOVED, reason="removed_on_platform", next_action_at=None)


def _on_retraction_requested(delivery: Delivery, event: RetractionRequested, context: StepContext) -> Delivery:
    return _start_retraction(replace(delivery, reason=event.reason), context)


def _on_retraction_requested_while_waiting(
    delivery: Delivery, event: RetractionRequested, context: StepContext
) -> Delivery:
    ordered = replace(delivery, desired=DesiredState.RETRACTED, reason=event.reason)
    return _finish(ordered, State.CANCELLED, event.reason, context)


def _start_retraction(delivery: Delivery, context: StepContext) -> Delivery:
    """Lead to retracting, unless nothing was ever sent, nor claimed by a person to be live: then it just ends."""
    is_untouched = not delivery.attempts and delivery.receipt is None and delivery.reported_url is None
    return replace(
        delivery,
        state=State.CANCELLED if is_untouched else State.RETRACTING,
        desired=DesiredState.RETRACTED,
        readbacks=0,
        unknown_since=delivery.unknown_since or context.now,
        next_action_at=None if is_untouched else context.now,
    )


def _on_retracted(delivery: Delivery, _event: Deleted, _context: StepContext) -> Delivery:
    return replace(delivery, state=State.RETRACTED, next_action_at=None)


def _on_absence_proven_while_retracting(delivery: Delivery, event: AbsenceProven, context: StepContext) -> Delivery:
    """Believe the lists, unless a ticket is out: what is under review may go live after them."""
    if delivery.ticket is not None:
        return _check_again(delivery, event, context)
    return replace(delivery, state=State.RETRACTED, next_action_at=None)


def _on_rejected_while_retracting(delivery: Delivery, event: Rejected, context: StepContext) -> Delivery:
    """Without a receipt no removal was asked for, so it is the post that was refused: nothing is left to take down."""
    if delivery.receipt is None:
        return replace(delivery, state=State.RETRACTED, ticket=None, next_action_at=None, reason=event.code)
    return _retry_deletion(delivery, event, context)


def _retry_deletion(delivery: Delivery, event: Rejected | PossibleMatch, context: StepContext) -> Delivery:
    reason = event.code if isinstance(event, Rejected) else HoldReason.POSSIBLE_MATCH.value
    return replace(
        delivery, readbacks=delivery.readbacks + 1, next_action_at=_next_deletion_at(delivery, context), reason=reason
    )


def _next_deletion_at(delivery: Delivery, context: StepContext) -> datetime:
    return next_delete_at(
        context.timing, delivery.readbacks, context.now, compute_jitter(delivery.id, delivery.readbacks)
    )


def _on_resolved(delivery: Delivery, event: Resolved, context: StepContext) -> Delivery:
    ruled = replace(
        delivery, reason=event.reason, reported_url=event.url, next_action_at=None, auth_failures=0, worker_crashes=0
    )
    match event.to:
        case State.DUE | State.RETRYING:
            was_resent = ruled.was_resent or ruled.unknown_since is not None
            freed = replace(ruled, first_attempt_deadline=None, ticket=None)
            released = replace(freed, was_resent=was_resent, resend_after_attempt=ruled.attempts)
            if delivery.reason == HoldReason.EDITED and ruled.desired is DesiredState.EDITED:
                released = replace(
                    released, desired=DesiredState.AS_PLANNED
                )  # asked about the edit, a person chose the old
            return _return_to_waiting(released, State.DUE, None, context)
        case State.UNKNOWN | State.SUBMITTED | State.RETRACTING:
            return _restart_checks(ruled, event.to, context)
        case State.PUBLISHED:
            if event.receipt is None:
                raise IllegalTransitionError("a ruling that it is live names no receipt")
            live = _on_published(ruled, Published(receipt=event.receipt), context)
            return live if live.state is State.HELD else replace(live, reason=event.reason)
        case State.FAILED if ruled.is_retraction_requested:
            return replace(ruled, state=State.RETRACTED, ticket=None)  # what was to be taken down is not live
        case State.CANCELLED if ruled.is_incomplete and not ruled.is_retraction_requested:
            return replace(ruled, state=State.PUBLISHED, ticket=None)  # the rest is not wanted; what is live stays
        case State.FAILED | State.EXPIRED if ruled.is_incomplete and not ruled.is_retraction_requested:
            return _hold(ruled, HoldReason.INCOMPLETE)
        case _:
            return replace(ruled, state=event.to)


def _on_resolved_while_retracting(delivery: Delivery, event: Resolved, context: StepContext) -> Delivery:
    """Take a person's word that it is gone or never came to be; else look for it, at the address they name."""
    ruled = replace(delivery, reason=event.reason, reported_url=event.url, receipt=delivery.receipt or event.receipt)
    match event.to:
        case State.FAILED:
            return replace(ruled, state=State.RETRACTED, ticket=None, next_action_at=None)
        case State.CANCELLED | State.DUE if delivery.receipt is None:
            return replace(ruled, state=State.CANCELLED, ticket=None, next_action_at=None)
        case State.CANCELLED | State.DUE | State.EXPIRED | State.REMOVED:
            raise IllegalTransitionError("what is live and to be taken down ends when it is gone")
        case _:
            return _start_retraction(ruled, context)


def _restart_checks(delivery: Delivery, to: State, context: StepContext) -> Delivery:
    """Look once more; where a retraction is wanted, only to take down what is found."""
    if delivery.is_retraction_requested or to is State.RETRACTING:
        return _start_retraction(delivery, context)
    return replace(
        delivery,
        state=to,
        readbacks=0,
        unknown_since=context.now,  # the person's word starts the patience anew; absence is reckoned from the attempt
        submitted_at=context.now if to is State.SUBMITTED else delivery.submitted_at,
        next_action_at=context.now,
    )


def _hold(delivery: Delivery, reason: HoldReason) -> Delivery:
    return replace(delivery, state=State.HELD, reason=reason.value, next_action_at=None)


def _hold_unless_retracting(delivery: Delivery, reason: HoldReason, context: StepContext) -> Delivery:
    """Ask a person, unless one has said already that what is live of it is to go."""
    if delivery.is_incomplete and delivery.is_retraction_requested:
        return _start_retraction(delivery, context)
    return _hold(delivery, reason)


def _finish(delivery: Delivery, state: State, reason: str | None, context: StepContext) -> Delivery:
    """End it, unless some of it is live: nothing that stands on a platform is forgotten."""
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


def _retry(delivery: Delivery, reason: str, until: datetime | None, context: StepContext) -> Delivery:
    jitter = compute_jitter(delivery.id, delivery.failures)
    soonest = next_retry_at(context.timing, delivery.failures, context.now, jitter)
    waiting = replace(delivery, reason=reason, failures=delivery.failures + 1, auth_failures=0)
    return _return_to_waiting(waiting, State.RETRYING, max(soonest, until or soonest), context)


def _return_to_waiting(delivery: Delivery, state: State, until: datetime | None, context: StepContext) -> Delivery:
    """Lead back to a state from which a call may come, if people still want this very text to go out."""
    if delivery.desired in DESIRED_NO_SEND:
        reason = "target_removed" if delivery.desired is DesiredState.NOT_TARGETED else "cancelled_by_person"
        return _finish(delivery, State.CANCELLED, reason, context)
    if delivery.desired is DesiredState.EDITED:
        return _hold(delivery, HoldReason.EDITED)
    wait = until if until is not None and (until > context.now or state is State.RETRYING) else None
    return replace(delivery, state=state, next_action_at=wait)


TransitionRow = tuple[AbstractSet[State], type, AbstractSet[State], AbstractSet[Role], Step]
"""From any of these states, a kind of event leads to one of those, if one of these brings it."""

_S = State
_PLANNER, _MAINTENANCE, _SENDER = {Role.PLANNER}, {Role.MAINTENANCE}, {Role.SENDER}
_RECONCILER, _RETRACTOR, _PERSON = {Role.RECONCILER}, {Role.RETRACTOR}, {Role.PERSON}
_JOB_ROLES = set(Role) - _PERSON
_STARTED_WAITING = WAITING_STATES - {_S.PENDING}
"""Where it waits with some of its floors live, if it has any."""
_PARTLY_PUBLISHED = {_S.HELD, _S.RETRACTING}
"""Where it goes instead of ending when some of its floors are live."""
_AFTER_FAILURE = {_S.RETRYING, _S.CANCELLED} | _PARTLY_PUBLISHED
_AFTER_PART = {_S.PUBLISHED, _S.DUE, _S.HELD}
"""Where it goes when one floor more is live: all of it, the next one, or a person who is asked about the rest."""

_ROWS: tuple[TransitionRow, ...] = (
    ({_S.PENDING, _S.RETRYING}, BecameDue, {_S.DUE}, _MAINTENANCE, _on_became_due),
    *(
        ({state}, Revised, {state, _S.PENDING, _S.HELD}, _PLANNER, _on_revised)
        for state in (_S.PENDING, _S.DUE, _S.CLAIMED)
    ),
    ({_S.RETRYING}, Revised, {_S.RETRYING, _S.PENDING, _S.HELD}, _PLANNER, _on_revised),
    ({_S.HELD}, Revised, {_S.HELD}, _PLANNER, _on_revised_while_held),
    *(({state}, Revised, {state}, _PLANNER, _on_revised_in_flight) for state in (_S.SENDING, _S.SUBMITTED, _S.UNKNOWN)),
    ({_S.DUE}, Claimed, {_S.CLAIMED}, _SENDER, _on_claimed),
    ({_S.CLAIMED}, AttemptStarted, {_S.SENDING}, _SENDER, _on_attempt_started),
    ({_S.CLAIMED}, Released, {_S.DUE}, _SENDER, _on_released),
    ({_S.CLAIMED}, LeaseExpired, {_S.DUE, _S.HELD}, _MAINTENANCE, _on_lease_expired_before_call),
    ({_S.PENDING}, Cancelled, {_S.CANCELLED}, _PLANNER | _MAINTENANCE | _PERSON, _on_cancelled),
    ({_S.PENDING}, Expired, {_S.EXPIRED}, _MAINTENANCE | _SENDER, _on_expired),
    (_STARTED_WAITING, Cancelled, {_S.CANCELLED, _S.HELD}, _PLANNER | _MAINTENANCE | _PERSON, _on_cancelled),
    (_STARTED_WAITING, Expired, {_S.EXPIRED, _S.HELD}, _MAINTENANCE | _SENDER, _on_expired),
    (
        _STARTED_WAITING,
        RetractionRequested,
        {_S.RETRACTING, _S.CANCELLED},
        _PERSON,
        _on_retraction_requested_while_waiting,
    ),
    (WAITING_STATES, Held, {_S.HELD}, _JOB_ROLES, _on_held),
    ({_S.SENDING}, Published, _AFTER_PART | {_S.RETRACTING}, _SENDER, _on_published),
    ({_S.SENDING}, Submitted, {_S.SUBMITTED, _S.RETRACTING}, _SENDER, _on_submitted),
    ({_S.SENDING}, Rejected, {_S.FAILED} | _PARTLY_PUBLISHED, _SENDER, _on_rejected),
    ({_S.SENDING}, RateLimited, _AFTER_FAILURE, _SENDER, _on_rate_limited),
    ({_S.SENDING}, Busy, _AFTER_FAILURE, _SENDER, _on_busy),
    ({_S.SENDING}, NotSent, _AFTER_FAILURE, _SENDER, _on_not_sent),
    ({_S.SENDING}, CredentialExpired, _AFTER_FAILURE, _SENDER, _on_credential_expired),
    ({_S.SENDING}, Blocked, _PARTLY_PUBLISHED, _SENDER, _on_blocked),
    ({_S.SENDING}, Unknown, {_S.UNKNOWN, _S.RETRACTING}, _SENDER, _on_unknown),
    (
        {_S.SENDING},
        LeaseExpired,
        {_S.UNKNOWN, _S.DUE, _S.CANCELLED} | _PARTLY_PUBLISHED,
        _MAINTENANCE,
        _on_lease_expired_during_call,
    ),
    *(
        ({state}, Cancelled, {state}, _PLANNER | _PERSON, _record_cancellation)
        for state in (_S.SENDING, _S.SUBMITTED, _S.UNKNOWN, _S.HELD)
    ),
    ({_S.SENDING}, RetractionRequested, {_S.SENDING}, _PERSON, _record_retraction),
    ({_S.SUBMITTED, _S.UNKNOWN}, Published, _AFTER_PART, _RECONCILER, _on_published),
    ({_S.UNKNOWN, _S.SUBMITTED}, Submitted, {_S.SUBMITTED}, _RECONCILER, _on_submitted),
    ({_S.SUBMITTED, _S.UNKNOWN}, Rejected, {_S.FAILED, _S.HELD}, _RECONCILER, _on_rejected),
    ({_S.SUBMITTED}, Unknown, {_S.SUBMITTED}, _RECONCILER, _check_again),
    ({_S.SUBMITTED}, RateLimited, {_S.SUBMITTED}, _RECONCILER, _check_again),
    ({_S.SUBMITTED}, NotFound, {_S.SUBMITTED}, _RECONCILER, _check_again),
    ({_S.SUBMITTED}, AbsenceProven, {_S.SUBMITTED}, _RECONCILER, _check_again),
    ({_S.SUBMITTED, _S.UNKNOWN}, Deleted, {_S.REMOVED}, _RECONCILER, _on_deleted),
    ({_S.UNKNOWN}, Unknown, {_S.UNKNOWN}, _RECONCILER, _check_again),
    ({_S.UNKNOWN}, RateLimited, {_S.UNKNOWN}, _RECONCILER, _check_again),
    ({_S.UNKNOWN}, NotFound, {_S.UNKNOWN}, _RECONCILER, _check_again),
    ({_S.UNKNOWN}, AbsenceProven, {_S.DUE, _S.EXPIRED, _S.CANCELLED, _S.HELD}, _RECONCILER, _on_absence_proven),
    ({_S.SUBMITTED, _S.UNKNOWN}, PossibleMatch, {_S.HELD}, _RECONCILER, _on_possible_match),
    ({_S.SUBMITTED, _S.UNKNOWN}, Held, {_S.HELD}, _RECONCILER | _MAINTENANCE, _on_held),
    ({_S.RETRACTING}, Resolved, {_S.RETRACTING, _S.RETRACTED, _S.CANCELLED}, _PERSON, _on_resolved_while_retracting),
    (
        {_S.HELD, _S.SUBMITTED, _S.UNKNOWN},
        Resolved,
        frozenset(State) - {_S.PENDING, _S.CLAIMED, _S.SENDING},
        _PERSON,
        _on_resolved,
    ),
    ({_S.PUBLISHED, _S.SUBMITTED}, RetractionRequested, {_S.RETRACTING}, _PERSON, _on_retraction_requested),
    ({_S.UNKNOWN, _S.HELD}, RetractionRequested, {_S.RETRACTING, _S.CANCELLED}, _PERSON, _on_retraction_requested),
    ({_S.PUBLISHED}, Deleted, {_S.REMOVED}, _RECONCILER, _on_deleted),
    ({_S.RETRACTING}, Deleted, {_S.RETRACTED}, _RETRACTOR, _on_retracted),
    ({_S.RETRACTING}, AbsenceProven, {_S.RETRACTED, _S.RETRACTING}, _RETRACTOR, _on_absence_proven_while_retracting),
    ({_S.RETRACTING}, Published, {_S.RETRACTING}, _RETRACTOR, _on_published),
    ({_S.RETRACTING}, Submitted, {_S.RETRACTING}, _RETRACTOR, _on_submitted),
    ({_S.RETRACTING}, Unknown, {_S.RETRACTING}, _RETRACTOR, _check_again),
    ({_S.RETRACTING}, RateLimited, {_S.RETRACTING}, _RETRACTOR, _check_again),
    ({_S.RETRACTING}, NotFound, {_S.RETRACTING}, _RETRACTOR, _check_again),
    ({_S.RETRACTING}, Rejected, {_S.RETRACTING, _S.RETRACTED}, _RETRACTOR, _on_rejected_while_retracting),
    ({_S.RETRACTING}, PossibleMatch, {_S.HELD}, _RETRACTOR, _on_possible_match),
    ({_S.RETRACTING}, Held, {_S.HELD}, _RETRACTOR, _on_held),
)

TRANSITIONS: Mapping[tuple[State, type], Transition] = {
    (state, event): Transition(targets=frozenset(to), roles=frozenset(who), step=step)
    for states, event, to, who, step in _ROWS
    for state in states
}
"""Every legal step; ended states have no line, so they never revert."""
