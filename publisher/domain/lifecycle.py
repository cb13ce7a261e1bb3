"""The one table of what may happen to a delivery, and the one function that reads it.

`TRANSITIONS` is data: for each state and kind of event, where it may lead, who may bring it, and the small step that
decides. The diagram in the docs is drawn from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from publisher.domain.delivery import WAITING, Delivery, State
from publisher.domain.errors import IllegalStepError
from publisher.domain.events import (
    AbsenceShown,
    Actor,
    Claimed,
    Event,
    ExpiryPassed,
    IntentWritten,
    LeaseLapsed,
    Released,
    RetractOrdered,
    Revised,
    Ripened,
    Role,
    Ruled,
    Stopped,
    Withdrawn,
)
from publisher.domain.outcome import (
    Blocked,
    Busy,
    CredentialExpired,
    Gone,
    HoldReason,
    Lookalike,
    Missing,
    NotSent,
    Published,
    RateLimited,
    Rejected,
    Submitted,
    Unknown,
)
from publisher.domain.patience import Patience, jitter_for, next_look, next_poll, next_try

MOST_DEATHS = 3
MOST_REFUSALS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a step may know besides the delivery and the event."""

    now: datetime
    patience: Patience
    by: Actor


Step = Callable[[Delivery, Any, Moment], Delivery]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of the table: where it may lead, who may bring it, and the step that decides."""

    to: frozenset[State]
    who: frozenset[Role]
    step: Step


def advance(delivery: Delivery, event: Event, *, by: Actor, now: datetime, patience: Patience) -> Delivery:
    """Give the delivery as it stands after the event; the only place that decides.

    Raises IllegalStepError when the table has no such line or `by` may not bring the event.
    """
    rule = TRANSITIONS.get((delivery.state, type(event)))
    if rule is None or by.role not in rule.who:
        raise IllegalStepError(f"{delivery.state} + {type(event).__name__} by {by.role}")
    after = rule.step(delivery, event, Moment(now=now, patience=patience, by=by))
    if after.state not in rule.to:
        raise IllegalStepError(f"{delivery.state} + {type(event).__name__} -> {after.state}")
    return replace(after, version=delivery.version + 1, updated_at=now)


def _ripened(delivery: Delivery, _event: Ripened, _moment: Moment) -> Delivery:
    return replace(delivery, state=State.DUE, next_at=None)


def _revised(delivery: Delivery, event: Revised, _moment: Moment) -> Delivery:
    if event.rendition == delivery.rendition and (event.has_started or delivery.attempts):
        return replace(delivery, expires_at=event.expires_at, max_late=event.max_late, is_urgent=event.is_urgent)
    if event.has_started or delivery.attempts:
        return _held(delivery, HoldReason.EDITED)
    return replace(
        delivery,
        state=State.PENDING,
        rendition=event.rendition,
        due_at=event.due_at,
        next_at=event.due_at,
        expires_at=event.expires_at,
        max_late=event.max_late,
        is_urgent=event.is_urgent,
        reason=None,
    )


def _claimed(delivery: Delivery, _event: Claimed, _moment: Moment) -> Delivery:
    return replace(delivery, state=State.CLAIMED, epoch=delivery.epoch + 1, was_claimed=True, next_at=None)


def _intended(delivery: Delivery, _event: IntentWritten, _moment: Moment) -> Delivery:
    return replace(
        delivery,
        state=State.SENDING,
        attempts=delivery.attempts + 1,
        looks=0,
        doubt_since=None,
        submitted_at=None,
        ticket=None,
        reason=None,
    )


def _released(delivery: Delivery, event: Released, moment: Moment) -> Delivery:
    return _back_to_waiting(delivery, State.DUE, event.until, moment)


def _claim_lapsed(delivery: Delivery, _event: LeaseLapsed, moment: Moment) -> Delivery:
    deaths = delivery.deaths + 1
    if deaths >= MOST_DEATHS:
        return _held(replace(delivery, deaths=deaths), HoldReason.POISON)
    return _back_to_waiting(replace(delivery, deaths=deaths), State.DUE, None, moment)


def _call_lapsed(delivery: Delivery, _event: LeaseLapsed, moment: Moment) -> Delivery:
    return _doubt(replace(delivery, deaths=delivery.deaths + 1), "worker_gone", moment)


def _cancelled(delivery: Delivery, event: Withdrawn, _moment: Moment) -> Delivery:
    return replace(delivery, state=State.CANCELLED, reason=event.reason, next_at=None, is_withdrawn=True)


def _expired(delivery: Delivery, event: ExpiryPassed, _moment: Moment) -> Delivery:
    return replace(delivery, state=State.EXPIRED, reason=event.reason, next_at=None)


def _stopped(delivery: Delivery, event: Stopped, _moment: Moment) -> Delivery:
    return _held(delivery, event.reason)


def _remember_withdrawal(delivery: Delivery, _event: Withdrawn, _moment: Moment) -> Delivery:
    return replace(delivery, is_withdrawn=True)


def _remember_retraction(delivery: Delivery, _event: RetractOrdered, _moment: Moment) -> Delivery:
    return replace(delivery, is_retract_ordered=True)


def _live(delivery: Delivery, event: Published, moment: Moment) -> Delivery:
    seen = moment.now if event.has_seen_text else delivery.verified_at
    return replace(
        delivery,
        state=State.RETRACTING if delivery.is_retract_ordered else State.PUBLISHED,
        receipt=event.receipt,
        ticket=None,
        verified_at=seen,
        reason=None,
        refusals=0,
        next_at=moment.now if delivery.is_retract_ordered else None,
    )


def _in_review(delivery: Delivery, event: Submitted, moment: Moment) -> Delivery:
    return replace(
        delivery,
        state=State.RETRACTING if delivery.is_retract_ordered else State.SUBMITTED,
        ticket=event.ticket,
        submitted_at=delivery.submitted_at or moment.now,
        doubt_since=delivery.doubt_since or moment.now,
        looks=delivery.looks + 1,
        next_at=next_poll(moment.patience, delivery.looks, event.look_again_at, moment.now),
        refusals=0,
        reason=None,
    )


def _refused(delivery: Delivery, event: Rejected, _moment: Moment) -> Delivery:
    return replace(delivery, state=State.FAILED, reason=event.code, next_at=None, ticket=None)


def _rate_limited(delivery: Delivery, event: RateLimited, moment: Moment) -> Delivery:
    return _retry(delivery, "rate_limited", event.until, moment)


def _busy(delivery: Delivery, event: Busy, moment: Moment) -> Delivery:
    return _retry(delivery, event.code, None, moment)


def _not_sent(delivery: Delivery, event: NotSent, moment: Moment) -> Delivery:
    return _retry(delivery, event.reason, None, moment)


def _sign_in_refused(delivery: Delivery, event: CredentialExpired, moment: Moment) -> Delivery:
    refused = replace(delivery, refusals=delivery.refusals + 1)
    if refused.refusals >= MOST_REFUSALS:
        return _held(refused, HoldReason.AUTH)
    return _back_to_waiting(replace(refused, reason=event.reason), State.RETRY_WAIT, moment.now, moment)


def _blocked(delivery: Delivery, event: Blocked, _moment: Moment) -> Delivery:
    return _held(delivery, event.hold)


def _outcome_unknown(delivery: Delivery, event: Unknown, moment: Moment) -> Delivery:
    return _doubt(delivery, event.reason, moment)


def _look_again(delivery: Delivery, event: Unknown | Missing | AbsenceShown, moment: Moment) -> Delivery:
    since = delivery.doubt_since or moment.now
    reason = event.reason if isinstance(event, Unknown) else delivery.reason
    wait_until = next_look(moment.patience, delivery.looks + 1, since, moment.now)
    return replace(delivery, looks=delivery.looks + 1, doubt_since=since, next_at=wait_until, reason=reason)


def _absent(delivery: Delivery, event: AbsenceShown, moment: Moment) -> Delivery:
    """Resend once, at most; never while a ticket is out: a review ends when it ends, and no list tells."""
    if delivery.was_resent:
        return _held(delivery, HoldReason.ABSENT_TWICE)
    if not event.may_resend or delivery.ticket is not None:
        return _held(delivery, HoldReason.ABSENT)
    if moment.now >= delivery.expires_at and not delivery.is_withdrawn:
        return replace(delivery, state=State.EXPIRED, reason="expired", next_at=None)
    return _back_to_waiting(replace(delivery, was_resent=True, reason="absence_shown"), State.DUE, None, moment)


def _lookalike(delivery: Delivery, event: Lookalike, _moment: Moment) -> Delivery:
    return replace(_held(delivery, HoldReason.LOOKALIKE), claimed_url=event.url)


def _disappeared(delivery: Delivery, _event: Gone, _moment: Moment) -> Delivery:
    return replace(delivery, state=State.REMOVED, reason="removed_on_platform", next_at=None)


def _retract(delivery: Delivery, event: RetractOrdered, moment: Moment) -> Delivery:
    return _take_down(replace(delivery, reason=event.reason), moment)


def _take_down(delivery: Delivery, moment: Moment) -> Delivery:
    """Lead to retracting, unless nothing was ever sent, nor claimed by a person to be live: then it just ends."""
    is_untouched = not delivery.attempts and delivery.receipt is None and delivery.claimed_url is None
    return replace(
        delivery,
        state=State.CANCELLED if is_untouched else State.RETRACTING,
        is_retract_ordered=True,
        looks=0,
        doubt_since=delivery.doubt_since or moment.now,
        next_at=None if is_untouched else moment.now,
    )


def _retracted(delivery: Delivery, _event: Gone, _moment: Moment) -> Delivery:
    return replace(delivery, state=State.RETRACTED, next_at=None)


def _nothing_to_retract(delivery: Delivery, event: AbsenceShown, moment: Moment) -> Delivery:
    """Believe the lists, unless a ticket is out: what is under review may go live after them."""
    if delivery.ticket is not None:
        return _look_again(delivery, event, moment)
    return replace(delivery, state=State.RETRACTED, next_at=None)


def _refused_retracting(delivery: Delivery, event: Rejected, moment: Moment) -> Delivery:
    """Without a receipt no removal was asked for, so it is the post that was refused: nothing is left to take down."""
    if delivery.receipt is None:
        return replace(delivery, state=State.RETRACTED, ticket=None, next_at=None, reason=event.code)
    return _still_live(delivery, event, moment)


def _still_live(delivery: Delivery, event: Rejected | Lookalike, moment: Moment) -> Delivery:
    reason = event.code if isinstance(event, Rejected) else HoldReason.LOOKALIKE.value
    again = next_try(moment.patience, delivery.looks, moment.now, jitter_for(delivery.id, delivery.looks))
    return replace(delivery, looks=delivery.looks + 1, next_at=again, reason=reason)


def _ruled(delivery: Delivery, event: Ruled, moment: Moment) -> Delivery:
    ruled = replace(delivery, reason=event.reason, claimed_url=event.url, next_at=None, refusals=0)
    match event.to:
        case State.DUE | State.RETRY_WAIT:
            was_resent = ruled.was_resent or ruled.doubt_since is not None
            released = replace(ruled, was_resent=was_resent, was_claimed=True, ticket=None)
            return _back_to_waiting(released, State.DUE, None, moment)
        case State.UNKNOWN | State.SUBMITTED | State.RETRACTING:
            return _asked_again(ruled, event.to, moment)
        case State.PUBLISHED:
            if event.receipt is None:
                raise IllegalStepError("a ruling that it is live names no receipt")
            return replace(_live(ruled, Published(receipt=event.receipt), moment), reason=event.reason)
        case _:
            return replace(ruled, state=event.to)


def _asked_again(delivery: Delivery, to: State, moment: Moment) -> Delivery:
    """Look once more; where a retraction is wanted, only to take down what is found."""
    if delivery.is_retract_ordered or to is State.RETRACTING:
        return _take_down(delivery, moment)
    return replace(
        delivery,
        state=to,
        looks=0,
        doubt_since=moment.now,  # the person's word starts the patience anew; absence is reckoned from the attempt
        submitted_at=moment.now if to is State.SUBMITTED else delivery.submitted_at,
        next_at=moment.now,
    )


def _held(delivery: Delivery, reason: HoldReason) -> Delivery:
    return replace(delivery, state=State.HELD, reason=reason.value, next_at=None)


def _doubt(delivery: Delivery, reason: str, moment: Moment) -> Delivery:
    return replace(
        delivery,
        state=State.RETRACTING if delivery.is_retract_ordered else State.UNKNOWN,
        reason=reason,
        looks=0,
        doubt_since=moment.now,
        next_at=next_look(moment.patience, 0, moment.now, moment.now),
    )


def _retry(delivery: Delivery, reason: str, until: datetime | None, moment: Moment) -> Delivery:
    jitter = jitter_for(delivery.id, delivery.failures)
    soonest = next_try(moment.patience, delivery.failures, moment.now, jitter)
    waiting = replace(delivery, reason=reason, failures=delivery.failures + 1, refusals=0)
    return _back_to_waiting(waiting, State.RETRY_WAIT, max(soonest, until or soonest), moment)


def _back_to_waiting(delivery: Delivery, state: State, until: datetime | None, moment: Moment) -> Delivery:
    """Lead back to a state from which a call may come, unless a person has said meanwhile that none may."""
    if delivery.is_withdrawn or delivery.is_retract_ordered:
        return replace(delivery, state=State.CANCELLED, next_at=None)
    wait = until if until is not None and (until > moment.now or state is State.RETRY_WAIT) else None
    return replace(delivery, state=state, next_at=wait)


def _table() -> Mapping[tuple[State, type], Rule]:
    s = State
    planner, keeper, deliverer = {Role.PLANNER}, {Role.KEEPER}, {Role.DELIVERER}
    reconciler, retractor, person = {Role.RECONCILER}, {Role.RETRACTOR}, {Role.PERSON}
    stages = planner | keeper | deliverer | reconciler | retractor
    back = {s.RETRY_WAIT, s.CANCELLED}
    rows: list[tuple[set[State] | frozenset[State], type, set[State] | frozenset[State], set[Role], Step]] = [
        ({s.PENDING, s.RETRY_WAIT}, Ripened, {s.DUE}, keeper, _ripened),
        *(({state}, Revised, {state, s.PENDING, s.HELD}, planner, _revised) for state in (s.PENDING, s.DUE, s.CLAIMED)),
        ({s.RETRY_WAIT}, Revised, {s.RETRY_WAIT, s.HELD}, planner, _revised),
        ({s.DUE}, Claimed, {s.CLAIMED}, deliverer, _claimed),
        ({s.CLAIMED}, IntentWritten, {s.SENDING}, deliverer, _intended),
        ({s.CLAIMED}, Released, {s.DUE, s.CANCELLED}, deliverer, _released),
        ({s.CLAIMED}, LeaseLapsed, {s.DUE, s.CANCELLED, s.HELD}, keeper, _claim_lapsed),
        (WAITING, Withdrawn, {s.CANCELLED}, planner | keeper | person, _cancelled),
        (WAITING, ExpiryPassed, {s.EXPIRED}, keeper | deliverer, _expired),
        (WAITING, Stopped, {s.HELD}, stages, _stopped),
        ({s.SENDING}, Published, {s.PUBLISHED, s.RETRACTING}, deliverer, _live),
        ({s.SENDING}, Submitted, {s.SUBMITTED, s.RETRACTING}, deliverer, _in_review),
        ({s.SENDING}, Rejected, {s.FAILED}, deliverer, _refused),
        ({s.SENDING}, RateLimited, back, deliverer, _rate_limited),
        ({s.SENDING}, Busy, back, deliverer, _busy),
        ({s.SENDING}, NotSent, back, deliverer, _not_sent),
        ({s.SENDING}, CredentialExpired, back | {s.HELD}, deliverer, _sign_in_refused),
        ({s.SENDING}, Blocked, {s.HELD}, deliverer, _blocked),
        ({s.SENDING}, Unknown, {s.UNKNOWN, s.RETRACTING}, deliverer, _outcome_unknown),
        ({s.SENDING}, LeaseLapsed, {s.UNKNOWN, s.RETRACTING}, keeper, _call_lapsed),
        *(
            ({state}, Withdrawn, {state}, planner | person, _remember_withdrawal)
            for state in (s.SENDING, s.SUBMITTED, s.UNKNOWN, s.HELD)
        ),
        ({s.SENDING}, RetractOrdered, {s.SENDING}, person, _remember_retraction),
        ({s.SUBMITTED, s.UNKNOWN}, Published, {s.PUBLISHED}, reconciler, _live),
        ({s.UNKNOWN, s.SUBMITTED}, Submitted, {s.SUBMITTED}, reconciler, _in_review),
        ({s.SUBMITTED, s.UNKNOWN}, Rejected, {s.FAILED}, reconciler, _refused),
        ({s.SUBMITTED}, Unknown, {s.SUBMITTED}, reconciler, _look_again),
        ({s.SUBMITTED}, Missing, {s.SUBMITTED}, reconciler, _look_again),
        ({s.SUBMITTED}, AbsenceShown, {s.SUBMITTED}, reconciler, _look_again),
        ({s.SUBMITTED, s.UNKNOWN}, Gone, {s.REMOVED}, reconciler, _disappeared),
        ({s.UNKNOWN}, Unknown, {s.UNKNOWN}, reconciler, _look_again),
        ({s.UNKNOWN}, Missing, {s.UNKNOWN}, reconciler, _look_again),
        ({s.UNKNOWN}, AbsenceShown, {s.DUE, s.EXPIRED, s.CANCELLED, s.HELD}, reconciler, _absent),
        ({s.SUBMITTED, s.UNKNOWN}, Lookalike, {s.HELD}, reconciler, _lookalike),
        ({s.SUBMITTED, s.UNKNOWN}, Stopped, {s.HELD}, reconciler | keeper, _stopped),
        ({s.HELD}, Ruled, frozenset(State) - {s.PENDING, s.CLAIMED, s.SENDING}, person, _ruled),
        ({s.PUBLISHED, s.SUBMITTED}, RetractOrdered, {s.RETRACTING}, person, _retract),
        ({s.UNKNOWN, s.HELD}, RetractOrdered, {s.RETRACTING, s.CANCELLED}, person, _retract),
        ({s.PUBLISHED}, Gone, {s.REMOVED}, reconciler, _disappeared),
        ({s.RETRACTING}, Gone, {s.RETRACTED}, retractor, _retracted),
        ({s.RETRACTING}, AbsenceShown, {s.RETRACTED, s.RETRACTING}, retractor, _nothing_to_retract),
        ({s.RETRACTING}, Published, {s.RETRACTING}, retractor, _live),
        ({s.RETRACTING}, Submitted, {s.RETRACTING}, retractor, _in_review),
        ({s.RETRACTING}, Unknown, {s.RETRACTING}, retractor, _look_again),
        ({s.RETRACTING}, Missing, {s.RETRACTING}, retractor, _look_again),
        ({s.RETRACTING}, Rejected, {s.RETRACTING, s.RETRACTED}, retractor, _refused_retracting),
        ({s.RETRACTING}, Lookalike, {s.HELD}, retractor, _lookalike),
    ]
    return {
        (state, event): Rule(to=frozenset(to), who=frozenset(who), step=step)
        for states, event, to, who, step in rows
        for state in states
    }


TRANSITIONS = _table()
"""Every legal step; ended states have no line, so they never revert."""
