"""The one table of what may happen to a delivery, and the one function that reads it.

`TRANSITIONS` is data: for each state and kind of event, where it may lead, who may bring it, and the small step that
decides. The diagram in the docs is drawn from it.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from publisher.domain.delivery import ORDERED, UNWANTED, WAITING, Delivery, Desired, State
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
    Unread,
)
from publisher.domain.patience import (
    Patience,
    after_death,
    jitter_for,
    next_look,
    next_poll,
    next_removal,
    next_try,
)

NOW_OR_NEVER = timedelta(minutes=1)
"""A shorter `max_delay` is excused by no call that could not leave."""
MOST_DEATHS = 2
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
    if delivery.state is State.SENDING and after.state is not State.SENDING:
        after = _after_attempt(after, event)
    if after.state not in rule.to:
        raise IllegalStepError(f"{delivery.state} + {type(event).__name__} -> {after.state}")
    return replace(after, version=delivery.version + 1, updated_at=now)


def _after_attempt(delivery: Delivery, event: Event) -> Delivery:
    """Note what the end of an attempt shows: whether its call can have begun, and that its worker is alive."""
    is_lapsed = isinstance(event, LeaseLapsed)
    has_begun = event.has_begun if isinstance(event, LeaseLapsed) else not isinstance(event, NotSent)
    return replace(
        delivery,
        last_first_call_at=None if has_begun else delivery.last_first_call_at,
        deaths=delivery.deaths if is_lapsed else 0,
    )


def _ripened(delivery: Delivery, _event: Ripened, _moment: Moment) -> Delivery:
    return replace(delivery, state=State.DUE, next_at=None)


def _revised(delivery: Delivery, event: Revised, moment: Moment) -> Delivery:
    """Take the new words before any call of the occurrence; after one, only what does not change them."""
    if event.has_started:
        edited = _edit_remembered(delivery, event)
        return edited if edited.desired is Desired.AS_FILED else _held(edited, HoldReason.EDITED)
    return replace(_with_new_words(delivery, event, moment), state=State.PENDING, next_at=event.due_at, reason=None)


def _revised_held(delivery: Delivery, event: Revised, moment: Moment) -> Delivery:
    """Let the new words replace the old where nothing was sent of either; it stays held for whatever it was."""
    return _edit_remembered(delivery, event) if event.has_started else _with_new_words(delivery, event, moment)


def _remember_edit(delivery: Delivery, event: Revised, _moment: Moment) -> Delivery:
    return _edit_remembered(delivery, event)


def _with_new_words(delivery: Delivery, event: Revised, moment: Moment) -> Delivery:
    """Take the words; the time for the first call starts again, from the edit where the instant has passed."""
    return replace(
        _with_new_limits(delivery, event),
        rendition=event.rendition,
        floors=event.floors,
        due_at=event.due_at,
        last_first_call_at=max(event.due_at, moment.now) + event.max_delay,
        desired=_at_least(delivery, Desired.AS_FILED),
    )


def _edit_remembered(delivery: Delivery, event: Revised) -> Delivery:
    is_same = event.rendition == delivery.rendition
    edited = _with_new_limits(delivery, event)
    longer = event.max_delay - delivery.max_delay
    latest = edited.last_first_call_at and edited.last_first_call_at + longer
    desired = _at_least(delivery, Desired.AS_FILED if is_same else Desired.EDITED)
    return replace(edited, last_first_call_at=latest, desired=desired)


def _with_new_limits(delivery: Delivery, event: Revised) -> Delivery:
    return replace(delivery, expires_at=event.expires_at, max_delay=event.max_delay, is_urgent=event.is_urgent)


def _at_least(delivery: Delivery, desired: Desired) -> Desired:
    """Return what the schedule says is wanted, unless people have ordered an end."""
    return delivery.desired if delivery.desired in ORDERED else desired


def _claimed(delivery: Delivery, _event: Claimed, _moment: Moment) -> Delivery:
    return replace(delivery, state=State.CLAIMED, epoch=delivery.epoch + 1, next_at=None)


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
    freed = replace(delivery, reason=event.reason or delivery.reason)
    if event.until is not None and event.is_excused and freed.last_first_call_at is not None:
        freed = replace(freed, last_first_call_at=max(freed.last_first_call_at, event.until + freed.max_delay))
    return _back_to_waiting(freed, State.DUE, event.until, moment)


def _claim_lapsed(delivery: Delivery, event: LeaseLapsed, moment: Moment) -> Delivery:
    """Try it again a little later than what died with it: what kills its worker then dies with little besides."""
    if not event.is_dead:
        return _back_to_waiting(delivery, State.DUE, None, moment)
    lapsed = replace(delivery, deaths=delivery.deaths + 1)
    if lapsed.deaths >= MOST_DEATHS and event.is_alone and lapsed.desired not in UNWANTED:
        return _held(lapsed, HoldReason.POISON)
    again = after_death(moment.now, lapsed.deaths, jitter_for(lapsed.id, lapsed.epoch))
    return _back_to_waiting(lapsed, State.DUE, again, moment)


def _call_lapsed(delivery: Delivery, event: LeaseLapsed, moment: Moment) -> Delivery:
    """Doubt a call that may have begun; one that provably has not leaves no doubt, and is tried again."""
    if not event.has_begun:
        return _claim_lapsed(delivery, event, moment)
    return _doubt(replace(delivery, deaths=delivery.deaths + event.is_dead), "worker_gone", moment)


def _cancelled(delivery: Delivery, event: Withdrawn, moment: Moment) -> Delivery:
    return _ended(_remember_withdrawal(delivery, event, moment), State.CANCELLED, event.reason, moment)


def _expired(delivery: Delivery, event: ExpiryPassed, moment: Moment) -> Delivery:
    return _ended(delivery, State.EXPIRED, event.reason, moment)


def _stopped(delivery: Delivery, event: Stopped, _moment: Moment) -> Delivery:
    return _held(delivery, event.reason)


def _remember_withdrawal(delivery: Delivery, _event: Withdrawn, moment: Moment) -> Delivery:
    desired = Desired.NOT_HERE if moment.by.role is Role.PLANNER else Desired.CANCELLED
    return replace(delivery, desired=max(delivery.desired, desired, key=lambda one: one.rank))


def _remember_retraction(delivery: Delivery, event: RetractOrdered, _moment: Moment) -> Delivery:
    return replace(delivery, desired=Desired.TAKEN_DOWN, reason=event.reason)


def _why_ordered_down(delivery: Delivery) -> str | None:
    """Return the reason as it stands where a retraction was ordered: what the platform says next does not end it."""
    return delivery.reason if delivery.is_ordered_down else None


def _live(delivery: Delivery, event: Published, moment: Moment) -> Delivery:
    """Count what is live, the post itself or a further floor; as long as there are floors left, the next one is due."""
    is_floor = delivery.is_incomplete and delivery.state is not State.RETRACTING
    live = replace(
        delivery,
        state=State.RETRACTING if delivery.is_ordered_down else State.PUBLISHED,
        receipt=delivery.receipt if is_floor else event.receipt,
        floors_done=min(delivery.floors_done + 1, delivery.floors + 1),
        ticket=None,
        verified_at=moment.now if event.has_seen_text else delivery.verified_at,
        reason=_why_ordered_down(delivery),
        refusals=0,
        next_at=moment.now if delivery.is_ordered_down else None,
    )
    return _next_floor(live, moment) if live.is_incomplete and not live.is_ordered_down else live


def _next_floor(delivery: Delivery, moment: Moment) -> Delivery:
    """Make the next floor due: nothing of the last call counts for it."""
    fresh = replace(
        delivery,
        looks=0,
        failures=0,
        doubt_since=None,
        submitted_at=None,
        claimed_url=None,
        was_resent=False,
    )
    return _back_to_waiting(fresh, State.DUE, None, moment)


def _in_review(delivery: Delivery, event: Submitted, moment: Moment) -> Delivery:
    return replace(
        delivery,
        state=State.RETRACTING if delivery.is_ordered_down else State.SUBMITTED,
        ticket=event.ticket,
        submitted_at=delivery.submitted_at or moment.now,
        doubt_since=delivery.doubt_since or moment.now,
        looks=delivery.looks + 1,
        next_at=next_poll(moment.patience, delivery.looks, event.look_again_at, moment.now),
        refusals=0,
        reason=_why_ordered_down(delivery),
    )


def _refused(delivery: Delivery, event: Rejected, moment: Moment) -> Delivery:
    return _ended(replace(delivery, ticket=None), State.FAILED, event.code, moment)


def _rate_limited(delivery: Delivery, event: RateLimited, moment: Moment) -> Delivery:
    return _retry(delivery, "rate_limited", event.until, moment)


def _busy(delivery: Delivery, event: Busy, moment: Moment) -> Delivery:
    return _retry(delivery, event.code, None, moment)


def _not_sent(delivery: Delivery, event: NotSent, moment: Moment) -> Delivery:
    """Try again; what was tried in time is not late, so the time for the first call starts again with the next try.

    What may be late by less than a minute goes now or never.
    """
    waiting = _retry(delivery, event.reason, None, moment)
    if waiting.last_first_call_at is None or waiting.next_at is None or waiting.max_delay < NOW_OR_NEVER:
        return waiting
    return replace(waiting, last_first_call_at=max(waiting.last_first_call_at, waiting.next_at + waiting.max_delay))


def _sign_in_refused(delivery: Delivery, event: CredentialExpired, moment: Moment) -> Delivery:
    refused = replace(delivery, refusals=delivery.refusals + 1)
    if refused.refusals >= MOST_REFUSALS:
        return _held_unless_ordered_down(refused, HoldReason.AUTH, moment)
    return _back_to_waiting(replace(refused, reason=event.reason), State.RETRYING, moment.now, moment)


def _blocked(delivery: Delivery, event: Blocked, moment: Moment) -> Delivery:
    return _held_unless_ordered_down(delivery, event.hold, moment)


def _outcome_unknown(delivery: Delivery, event: Unknown, moment: Moment) -> Delivery:
    return _doubt(delivery, event.reason, moment)


def _look_again(delivery: Delivery, event: Unread | Missing | AbsenceShown, moment: Moment) -> Delivery:
    since = delivery.doubt_since or moment.now
    limit = event if isinstance(event, RateLimited) else None
    reason = event.reason if isinstance(event, Unknown) else "rate_limited" if limit else delivery.reason
    is_removal = delivery.state is State.RETRACTING and delivery.receipt is not None
    if is_removal:
        wait_until = _next_removal(delivery, moment)
    else:
        was_read = not isinstance(event, Unread)
        wait_until = next_look(moment.patience, delivery.looks + 1, since, moment.now, was_read=was_read)
    if limit and limit.until:
        wait_until = max(wait_until, limit.until)
    return replace(delivery, looks=delivery.looks + 1, doubt_since=since, next_at=wait_until, reason=reason)


def _absent(delivery: Delivery, event: AbsenceShown, moment: Moment) -> Delivery:
    """Resend once, at most; never while a ticket is out: a review ends when it ends, and no list tells."""
    if delivery.was_resent:
        return _held(delivery, HoldReason.ABSENT_TWICE)
    if not event.may_resend or delivery.ticket is not None:
        return _held(delivery, HoldReason.ABSENT)
    if moment.now >= delivery.expires_at and delivery.desired not in UNWANTED:
        return _ended(delivery, State.EXPIRED, "expired", moment)
    return _back_to_waiting(replace(delivery, was_resent=True, reason="absence_shown"), State.DUE, None, moment)


def _lookalike(delivery: Delivery, event: Lookalike, _moment: Moment) -> Delivery:
    return replace(_held(delivery, HoldReason.LOOKALIKE), claimed_url=event.url)


def _disappeared(delivery: Delivery, _event: Gone, _moment: Moment) -> Delivery:
    return replace(delivery, state=State.REMOVED, reason="removed_on_platform", next_at=None)


def _retract(delivery: Delivery, event: RetractOrdered, moment: Moment) -> Delivery:
    return _take_down(replace(delivery, reason=event.reason), moment)


def _retract_waiting(delivery: Delivery, event: RetractOrdered, moment: Moment) -> Delivery:
    ordered = replace(delivery, desired=Desired.TAKEN_DOWN, reason=event.reason)
    return _ended(ordered, State.CANCELLED, event.reason, moment)


def _take_down(delivery: Delivery, moment: Moment) -> Delivery:
    """Lead to retracting, unless nothing was ever sent, nor claimed by a person to be live: then it just ends."""
    is_untouched = not delivery.attempts and delivery.receipt is None and delivery.claimed_url is None
    return replace(
        delivery,
        state=State.CANCELLED if is_untouched else State.RETRACTING,
        desired=Desired.TAKEN_DOWN,
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
    return replace(delivery, looks=delivery.looks + 1, next_at=_next_removal(delivery, moment), reason=reason)


def _next_removal(delivery: Delivery, moment: Moment) -> datetime:
    return next_removal(moment.patience, delivery.looks, moment.now, jitter_for(delivery.id, delivery.looks))


def _ruled(delivery: Delivery, event: Ruled, moment: Moment) -> Delivery:
    ruled = replace(delivery, reason=event.reason, claimed_url=event.url, next_at=None, refusals=0, deaths=0)
    match event.to:
        case State.DUE | State.RETRYING:
            was_resent = ruled.was_resent or ruled.doubt_since is not None
            freed = replace(ruled, last_first_call_at=None, ticket=None)
            released = replace(freed, was_resent=was_resent, ordered_after=ruled.attempts)
            if delivery.reason == HoldReason.EDITED and ruled.desired is Desired.EDITED:
                released = replace(released, desired=Desired.AS_FILED)  # asked about the edit, a person chose the old
            return _back_to_waiting(released, State.DUE, None, moment)
        case State.UNKNOWN | State.SUBMITTED | State.RETRACTING:
            return _asked_again(ruled, event.to, moment)
        case State.PUBLISHED:
            if event.receipt is None:
                raise IllegalStepError("a ruling that it is live names no receipt")
            live = _live(ruled, Published(receipt=event.receipt), moment)
            return live if live.state is State.HELD else replace(live, reason=event.reason)
        case State.FAILED if ruled.is_ordered_down:
            return replace(ruled, state=State.RETRACTED, ticket=None)  # what was to be taken down is not live
        case State.CANCELLED if ruled.is_incomplete and not ruled.is_ordered_down:
            return replace(ruled, state=State.PUBLISHED, ticket=None)  # the rest is not wanted; what is live stays
        case State.FAILED | State.EXPIRED if ruled.is_incomplete and not ruled.is_ordered_down:
            return _held(ruled, HoldReason.INCOMPLETE)
        case _:
            return replace(ruled, state=event.to)


def _ruled_retracting(delivery: Delivery, event: Ruled, moment: Moment) -> Delivery:
    """Take a person's word that it is gone or never came to be; else look for it, at the address they name."""
    ruled = replace(delivery, reason=event.reason, claimed_url=event.url, receipt=delivery.receipt or event.receipt)
    match event.to:
        case State.FAILED:
            return replace(ruled, state=State.RETRACTED, ticket=None, next_at=None)
        case State.CANCELLED | State.DUE if delivery.receipt is None:
            return replace(ruled, state=State.CANCELLED, ticket=None, next_at=None)
        case State.CANCELLED | State.DUE | State.EXPIRED | State.REMOVED:
            raise IllegalStepError("what is live and to be taken down ends when it is gone")
        case _:
            return _take_down(ruled, moment)


def _asked_again(delivery: Delivery, to: State, moment: Moment) -> Delivery:
    """Look once more; where a retraction is wanted, only to take down what is found."""
    if delivery.is_ordered_down or to is State.RETRACTING:
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


def _held_unless_ordered_down(delivery: Delivery, reason: HoldReason, moment: Moment) -> Delivery:
    """Ask a person, unless one has said already that what is live of it is to go."""
    if delivery.is_incomplete and delivery.is_ordered_down:
        return _take_down(delivery, moment)
    return _held(delivery, reason)


def _ended(delivery: Delivery, state: State, reason: str | None, moment: Moment) -> Delivery:
    """End it, unless some of it is live: nothing that stands on a platform is forgotten."""
    if delivery.is_incomplete:
        return _held_unless_ordered_down(delivery, HoldReason.INCOMPLETE, moment)
    return replace(delivery, state=state, reason=reason, next_at=None)


def _doubt(delivery: Delivery, reason: str, moment: Moment) -> Delivery:
    return replace(
        delivery,
        state=State.RETRACTING if delivery.is_ordered_down else State.UNKNOWN,
        reason=reason,
        looks=0,
        doubt_since=moment.now,
        next_at=next_look(moment.patience, 0, moment.now, moment.now),
    )


def _retry(delivery: Delivery, reason: str, until: datetime | None, moment: Moment) -> Delivery:
    jitter = jitter_for(delivery.id, delivery.failures)
    soonest = next_try(moment.patience, delivery.failures, moment.now, jitter)
    waiting = replace(delivery, reason=reason, failures=delivery.failures + 1, refusals=0)
    return _back_to_waiting(waiting, State.RETRYING, max(soonest, until or soonest), moment)


def _back_to_waiting(delivery: Delivery, state: State, until: datetime | None, moment: Moment) -> Delivery:
    """Lead back to a state from which a call may come, if people still want this very text to go out."""
    if delivery.desired in UNWANTED:
        reason = "target_removed" if delivery.desired is Desired.NOT_HERE else "withdrawn"
        return _ended(delivery, State.CANCELLED, reason, moment)
    if delivery.desired is Desired.EDITED:
        return _held(delivery, HoldReason.EDITED)
    wait = until if until is not None and (until > moment.now or state is State.RETRYING) else None
    return replace(delivery, state=state, next_at=wait)


Row = tuple[AbstractSet[State], type, AbstractSet[State], AbstractSet[Role], Step]
"""From any of these states, a kind of event leads to one of those, if one of these brings it."""

_S = State
_PLANNER, _KEEPER, _DELIVERER = {Role.PLANNER}, {Role.KEEPER}, {Role.DELIVERER}
_RECONCILER, _RETRACTOR, _PERSON = {Role.RECONCILER}, {Role.RETRACTOR}, {Role.PERSON}
_STAGES = set(Role) - _PERSON
_BEGUN = WAITING - {_S.PENDING}
"""Where it waits with some of its floors live, if it has any."""
_PARTLY_LIVE = {_S.HELD, _S.RETRACTING}
"""Where it goes instead of ending when some of its floors are live."""
_BACK = {_S.RETRYING, _S.CANCELLED} | _PARTLY_LIVE
_UP = {_S.PUBLISHED, _S.DUE, _S.HELD}
"""Where it goes when one floor more is live: all of it, the next one, or a person who is asked about the rest."""

_ROWS: tuple[Row, ...] = (
    ({_S.PENDING, _S.RETRYING}, Ripened, {_S.DUE}, _KEEPER, _ripened),
    *(
        ({state}, Revised, {state, _S.PENDING, _S.HELD}, _PLANNER, _revised)
        for state in (_S.PENDING, _S.DUE, _S.CLAIMED)
    ),
    ({_S.RETRYING}, Revised, {_S.RETRYING, _S.PENDING, _S.HELD}, _PLANNER, _revised),
    ({_S.HELD}, Revised, {_S.HELD}, _PLANNER, _revised_held),
    *(({state}, Revised, {state}, _PLANNER, _remember_edit) for state in (_S.SENDING, _S.SUBMITTED, _S.UNKNOWN)),
    ({_S.DUE}, Claimed, {_S.CLAIMED}, _DELIVERER, _claimed),
    ({_S.CLAIMED}, IntentWritten, {_S.SENDING}, _DELIVERER, _intended),
    ({_S.CLAIMED}, Released, {_S.DUE}, _DELIVERER, _released),
    ({_S.CLAIMED}, LeaseLapsed, {_S.DUE, _S.HELD}, _KEEPER, _claim_lapsed),
    ({_S.PENDING}, Withdrawn, {_S.CANCELLED}, _PLANNER | _KEEPER | _PERSON, _cancelled),
    ({_S.PENDING}, ExpiryPassed, {_S.EXPIRED}, _KEEPER | _DELIVERER, _expired),
    (_BEGUN, Withdrawn, {_S.CANCELLED, _S.HELD}, _PLANNER | _KEEPER | _PERSON, _cancelled),
    (_BEGUN, ExpiryPassed, {_S.EXPIRED, _S.HELD}, _KEEPER | _DELIVERER, _expired),
    (_BEGUN, RetractOrdered, {_S.RETRACTING, _S.CANCELLED}, _PERSON, _retract_waiting),
    (WAITING, Stopped, {_S.HELD}, _STAGES, _stopped),
    ({_S.SENDING}, Published, _UP | {_S.RETRACTING}, _DELIVERER, _live),
    ({_S.SENDING}, Submitted, {_S.SUBMITTED, _S.RETRACTING}, _DELIVERER, _in_review),
    ({_S.SENDING}, Rejected, {_S.FAILED} | _PARTLY_LIVE, _DELIVERER, _refused),
    ({_S.SENDING}, RateLimited, _BACK, _DELIVERER, _rate_limited),
    ({_S.SENDING}, Busy, _BACK, _DELIVERER, _busy),
    ({_S.SENDING}, NotSent, _BACK, _DELIVERER, _not_sent),
    ({_S.SENDING}, CredentialExpired, _BACK, _DELIVERER, _sign_in_refused),
    ({_S.SENDING}, Blocked, _PARTLY_LIVE, _DELIVERER, _blocked),
    ({_S.SENDING}, Unknown, {_S.UNKNOWN, _S.RETRACTING}, _DELIVERER, _outcome_unknown),
    ({_S.SENDING}, LeaseLapsed, {_S.UNKNOWN, _S.DUE, _S.CANCELLED} | _PARTLY_LIVE, _KEEPER, _call_lapsed),
    *(
        ({state}, Withdrawn, {state}, _PLANNER | _PERSON, _remember_withdrawal)
        for state in (_S.SENDING, _S.SUBMITTED, _S.UNKNOWN, _S.HELD)
    ),
    ({_S.SENDING}, RetractOrdered, {_S.SENDING}, _PERSON, _remember_retraction),
    ({_S.SUBMITTED, _S.UNKNOWN}, Published, _UP, _RECONCILER, _live),
    ({_S.UNKNOWN, _S.SUBMITTED}, Submitted, {_S.SUBMITTED}, _RECONCILER, _in_review),
    ({_S.SUBMITTED, _S.UNKNOWN}, Rejected, {_S.FAILED, _S.HELD}, _RECONCILER, _refused),
    ({_S.SUBMITTED}, Unknown, {_S.SUBMITTED}, _RECONCILER, _look_again),
    ({_S.SUBMITTED}, RateLimited, {_S.SUBMITTED}, _RECONCILER, _look_again),
    ({_S.SUBMITTED}, Missing, {_S.SUBMITTED}, _RECONCILER, _look_again),
    ({_S.SUBMITTED}, AbsenceShown, {_S.SUBMITTED}, _RECONCILER, _look_again),
    ({_S.SUBMITTED, _S.UNKNOWN}, Gone, {_S.REMOVED}, _RECONCILER, _disappeared),
    ({_S.UNKNOWN}, Unknown, {_S.UNKNOWN}, _RECONCILER, _look_again),
    ({_S.UNKNOWN}, RateLimited, {_S.UNKNOWN}, _RECONCILER, _look_again),
    ({_S.UNKNOWN}, Missing, {_S.UNKNOWN}, _RECONCILER, _look_again),
    ({_S.UNKNOWN}, AbsenceShown, {_S.DUE, _S.EXPIRED, _S.CANCELLED, _S.HELD}, _RECONCILER, _absent),
    ({_S.SUBMITTED, _S.UNKNOWN}, Lookalike, {_S.HELD}, _RECONCILER, _lookalike),
    ({_S.SUBMITTED, _S.UNKNOWN}, Stopped, {_S.HELD}, _RECONCILER | _KEEPER, _stopped),
    ({_S.RETRACTING}, Ruled, {_S.RETRACTING, _S.RETRACTED, _S.CANCELLED}, _PERSON, _ruled_retracting),
    (
        {_S.HELD, _S.SUBMITTED, _S.UNKNOWN},
        Ruled,
        frozenset(State) - {_S.PENDING, _S.CLAIMED, _S.SENDING},
        _PERSON,
        _ruled,
    ),
    ({_S.PUBLISHED, _S.SUBMITTED}, RetractOrdered, {_S.RETRACTING}, _PERSON, _retract),
    ({_S.UNKNOWN, _S.HELD}, RetractOrdered, {_S.RETRACTING, _S.CANCELLED}, _PERSON, _retract),
    ({_S.PUBLISHED}, Gone, {_S.REMOVED}, _RECONCILER, _disappeared),
    ({_S.RETRACTING}, Gone, {_S.RETRACTED}, _RETRACTOR, _retracted),
    ({_S.RETRACTING}, AbsenceShown, {_S.RETRACTED, _S.RETRACTING}, _RETRACTOR, _nothing_to_retract),
    ({_S.RETRACTING}, Published, {_S.RETRACTING}, _RETRACTOR, _live),
    ({_S.RETRACTING}, Submitted, {_S.RETRACTING}, _RETRACTOR, _in_review),
    ({_S.RETRACTING}, Unknown, {_S.RETRACTING}, _RETRACTOR, _look_again),
    ({_S.RETRACTING}, RateLimited, {_S.RETRACTING}, _RETRACTOR, _look_again),
    ({_S.RETRACTING}, Missing, {_S.RETRACTING}, _RETRACTOR, _look_again),
    ({_S.RETRACTING}, Rejected, {_S.RETRACTING, _S.RETRACTED}, _RETRACTOR, _refused_retracting),
    ({_S.RETRACTING}, Lookalike, {_S.HELD}, _RETRACTOR, _lookalike),
    ({_S.RETRACTING}, Stopped, {_S.HELD}, _RETRACTOR, _stopped),
)

TRANSITIONS: Mapping[tuple[State, type], Rule] = {
    (state, event): Rule(to=frozenset(to), who=frozenset(who), step=step)
    for states, event, to, who, step in _ROWS
    for state in states
}
"""Every legal step; ended states have no line, so they never revert."""
