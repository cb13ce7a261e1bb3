"""The ends of deliveries and their alerts: I2, I9, I10."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from .decoder import instant_of
from .history import (
    ENDED,
    AuditedAct,
    Duty,
    History,
    NotJudgedError,
    PersonAction,
    RecordedDelivery,
    Violation,
)
from .notices import people_are_notified
from .trace import live_copies, trace_of
from .transitions import STATES
from .windows import NOW_OR_NEVER, covers, missed_occurrences, pauses

ALERT_SECONDS = 60.0
"""Seconds until trouble must be reported."""
TROUBLE = frozenset({"held", "failed", "expired"})
MISSED = "occurrences_missed"
"""The alert that reports all missed instants of a repeating post."""
DEMANDED = frozenset(
    {
        "not_published",
        "account",
        "auth",
        "uncheckable",
        "undeletable",
        "captcha",
        "edited",
        "unknown_state",
        "hidden",
        "identity_changed",
        "image_missing",
        "possible_match",
        "poison",
        "review_timeout",
        "manual_task_unreported",
        "wrong_account",
        "wrong_secret",
    }
)
"""The holds that a rule of the failure model demands."""
HIDDEN = "review_possible"
"""The hold of a post that a review may hide.

It applies to urgent posts, to posts that expire before the review's end, and to posts that later
ones have pushed off a short list.
"""
PUSHED_OFF = 4
"""So many later calls on its account push a post off the shortest list, with the one before it."""
NOTHING_TRIED = frozenset({"never_started", "journal_write_failed"})
"""Reasons of attempts that were not even begun."""
CRASHES_NEEDED = 2
"""So many crashes of a worker hold a delivery as their cause."""
MOST_CALLS = 2
"""So many calls are made without a person, the second after a proven absence."""
NO_SECOND = frozenset({"duplicate", "review"})
"""Faults that forbid another call after a proven absence, on any platform."""
STOPS = frozenset({"cancel", "retract"})
"""Orders of a person that keep a delivery from being published."""


def nothing_ends_silently(history: History) -> Iterator[Violation]:
    """I2: each plan is in the database, ends with a reason, or waits for an alerted person."""
    for duty in (
        duty
        for duty in history.plan.duties
        if not duty.every and duty.key not in history.past
    ):
        if duty.key not in history.by_key and not _was_stopped(history, duty, None):
            yield Violation(
                f"{duty.post}@{duty.account}",
                "planned, and not in the database",
                ("plan",),
            )
    for delivery in history.deliveries.values():
        if delivery.state not in STATES:
            yield _about(delivery, f"a state that nobody knows: {delivery.state}")
        elif delivery.state in ENDED - {"retracted"} and not delivery.reason:
            yield _about(delivery, f"{delivery.state} without a reason")
        elif delivery.state == "held" and not (
            delivery.reason and _is_shown_red(history, delivery)
        ):
            yield _about(delivery, "held without a reason or an open alert")
        elif delivery.state not in {*ENDED, "published", "held"} and _is_stuck(
            history, delivery
        ):
            yield _about(
                delivery, f"still {delivery.state} after the faults have stopped"
            )
    yield from _misshown(history)


def _about(delivery: RecordedDelivery, what: str) -> Violation:
    return Violation(delivery.subject, what, (delivery.row,))


def _is_shown_red(history: History, delivery: RecordedDelivery) -> bool:
    """True if people are alerted. A hold by a person needs no alert to that person."""
    acts = [
        act
        for act in history.acts_on.get(delivery.subject, ())
        if act.after == "held" != act.before
    ]
    alerts = history.alerts_on.get(delivery.subject, ())
    return any(alert.cleared is None for alert in alerts) or bool(
        acts and acts[-1].role == "person"
    )


def _is_stuck(history: History, delivery: RecordedDelivery) -> bool:
    plan, within = history.plan, history.settings.rest_within
    if plan.ended is None or within is None:
        raise NotJudgedError("plan.json names no end, or settings.json no rest_within")
    since = max(plan.faults_ended or 0.0, delivery.due, _entered(history, delivery))
    waits_rightly = delivery.state in {"pending", "due", "claimed", "retrying"} and (
        _is_paused(history, delivery)
        or _awaits_original(history, delivery)
        or _rests(delivery, plan.ended)
    )
    return (
        plan.ended - since > within
        and not waits_rightly
        and not _may_still_appear(history, delivery)
    )


def _may_still_appear(history: History, delivery: RecordedDelivery) -> bool:
    """True if a post to delete is shown red, and its review ended silently.

    No list proves its end.
    """
    is_asked = (
        delivery.state == "retracting"
        and delivery.has_ticket
        and "posts" in history.given
    )
    return (
        is_asked
        and _is_shown_red(history, delivery)
        and not any(live_copies(history, delivery))
    )


def _entered(history: History, delivery: RecordedDelivery) -> float:
    """Since when it stands in its state: looking at it again and again is no progress."""
    acts = reversed(history.acts_on.get(delivery.subject, ()))
    return next(
        (act.at for act in acts if act.after == delivery.state != act.before),
        delivery.updated,
    )


def _is_paused(history: History, delivery: RecordedDelivery) -> bool:
    standing: dict[str, bool] = {}
    for act in history.audit:
        if act.event in {"paused", "resumed"}:
            standing[act.subject] = act.event == "paused"
    return any(
        is_paused and covers(scope, delivery) for scope, is_paused in standing.items()
    )


def _awaits_original(history: History, delivery: RecordedDelivery) -> bool:
    """A post that follows another goes out only where that one is live."""
    originals = [
        one
        for one in history.deliveries.values()
        if (one.post, one.account) == (delivery.follows, delivery.account)
    ]
    return delivery.follows is not None and not any(
        one.state == "published" for one in originals
    )


def _rests(delivery: RecordedDelivery, ended: float) -> bool:
    return (
        delivery.next is not None
        and delivery.next > ended
        and delivery.next <= delivery.expires
    )


def _misshown(history: History) -> Iterator[Violation]:
    by_instant = {
        (post, instant_of(label), account): one
        for (post, label, account), one in history.by_key.items()
    }
    for row in history.status:
        delivery = by_instant.get(
            (row["post"], instant_of(row["occurrence"]), row["account"])
        )
        if delivery is None or delivery.state != row["state"]:
            subject = f"{row['post']}@{row['account']}"
            stored = delivery.state if delivery else "nothing"
            what = f"staff are shown {row['state']}, the database says {stored}"
            yield Violation(
                subject, what, ("status", delivery.row if delivery else "delivery")
            )


def nothing_is_lost(history: History) -> Iterator[Violation]:
    """I9: each post was published if its time allowed, or had its planned end. Reasons are true."""
    recover, ended = history.settings.recover_within, history.plan.ended
    if recover is None or ended is None:
        raise NotJudgedError(
            "settings.json names no recover_within, or plan.json no end"
        )
    for delivery in history.deliveries.values():
        yield from _falsely_ended(history, delivery)
        duty = history.duty_of(delivery)
        if (
            duty is None
            or not duty.ends
            or delivery.state in duty.ends
            or _is_excused(history, delivery, duty)
        ):
            continue
        if (
            "published" not in duty.ends
            or _worked(history, delivery, duty, ended) >= recover
        ):
            what = f"{delivery.state} ({delivery.reason}), not {' or '.join(sorted(duty.ends))}"
            yield Violation(delivery.subject, what, (delivery.row, "plan"))
    yield from _not_made_up_for(history, recover)


def _falsely_ended(history: History, delivery: RecordedDelivery) -> Iterator[Violation]:
    """Yield ends by a rule without its cause.

    The causes are a refusal, two crashes, a later instant, and a time without tries.
    """
    acts = [
        act
        for act in history.acts_on.get(delivery.subject, ())
        if act.after != act.before and act.role != "person"
    ]
    for act in acts:
        reason = act.detail.get("reason")
        if act.after == "failed" and not _was_refused(history, delivery):
            what = f"failed ({reason}), though no platform refused it"
        elif (
            act.after == "held"
            and reason == "poison"
            and _crashes(history, act.at) < CRASHES_NEEDED
        ):
            what = "held for crashes that never were"
        elif (
            act.after == "expired"
            and reason == "superseded"
            and not _was_overtaken(history, delivery, act.at)
        ):
            what = "ended for a later instant that had not come"
        elif (
            act.after == "expired"
            and reason == "too_late"
            and _was_tried_in_time(history, delivery, act.at)
        ):
            what = "tried in time, and expired as too late"
        elif (
            act.after == "expired"
            and act.before == "unknown"
            and _was_left_to_expire(history, delivery, act.at)
        ):
            what = "absent or under review, and expired with nobody asked in time"
        else:
            continue
        yield Violation(delivery.subject, what, (act.row, delivery.row))


def _was_refused(history: History, delivery: RecordedDelivery) -> bool:
    refused = any(
        attempt.outcome == "rejected"
        for attempt in history.attempts_of.get(delivery.id, ())
    )
    return refused or any(
        readback.finding == "rejected"
        for readback in history.readbacks_of.get(delivery.id, ())
    )


def _crashes(history: History, until: float) -> float:
    """Count the daemons that had died by then; without end where nobody wrote that down."""
    if "interruptions" not in history.given:
        return float("inf")
    return sum(one.kind == "killed" and one.at < until for one in history.interruptions)


def _was_overtaken(history: History, delivery: RecordedDelivery, at: float) -> bool:
    until = at + history.settings.tolerance + history.settings.clock_error
    same = (
        one
        for one in history.deliveries.values()
        if (one.post, one.account) == (delivery.post, delivery.account)
    )
    return any(delivery.due < one.due <= until for one in same if one.label != "once")


def _was_tried_in_time(history: History, delivery: RecordedDelivery, at: float) -> bool:
    """True if no way was found before, and only outages kept the daemon from more tries since.

    While a machine cannot write its journal nothing is tried. That is as if no daemon ran.
    """
    tries = [
        one
        for one in history.attempts_of.get(delivery.id, ())
        if one.outcome == "not_sent"
    ]
    tries = [one for one in tries if one.detail.get("reason") not in NOTHING_TRIED]
    if (
        not tries
        or delivery.max_delay < NOW_OR_NEVER
        or "interruptions" not in history.given
    ):
        return False
    stops = [(one.at, one.until) for one in history.interruptions]
    stops += [
        (begins, ends)
        for scope, begins, ends, _evidence in pauses(history)
        if covers(scope, delivery)
    ]
    return not any(begins < at and tries[0].intended < ends for begins, ends in stops)


def _was_left_to_expire(
    history: History, delivery: RecordedDelivery, at: float
) -> bool:
    """True if only a review could hide it until after its end, and a timely read was not enough.

    Changes by people since that read may have given it another end.
    """
    acts = [act for act in history.acts_on.get(delivery.subject, ()) if act.at < at]
    own = [one for one in history.attempts_of.get(delivery.id, ()) if one.intended < at]
    if not own or own[-1].ended is None:
        return False
    last, slack = (
        own[-1].ended,
        history.settings.tolerance + history.settings.clock_error,
    )
    since = max([last, *(act.at for act in acts if act.role in {"person", "planner"})])
    reads = [
        act.at
        for act in acts
        if (act.event, act.after) == (HIDDEN, "unknown") and act.at > since
    ]
    is_over_before = (
        delivery.expires + slack <= last + history.policy_of(delivery).review
    )
    return is_over_before and any(one < delivery.expires - slack for one in reads)


def _not_made_up_for(history: History, recover: float) -> Iterator[Violation]:
    """Yield the newest missed instants of outages, unless they or the next ones went out."""
    for outage, missed in missed_occurrences(history):
        newest = missed[-1]
        until = outage.ends + recover
        same = (
            one
            for one in history.deliveries.values()
            if (one.post, one.account) == (newest.post, newest.account)
        )
        later = [one.state for one in same if newest.due <= one.due <= until]
        if until < newest.due + newest.max_delay and not {"published", "held"} & {
            *later
        }:
            what = f"missed in an outage, and {newest.state} ({newest.reason}) after it"
            yield Violation(newest.subject, what, (newest.row, "plan"))


def _worked(
    history: History, delivery: RecordedDelivery, duty: Duty, ended: float
) -> float:
    """For so many seconds of its time its account worked and was not paused."""
    begins = delivery.due if duty.due is None else duty.due
    ends = min(delivery.expires if duty.expires is None else duty.expires, ended)
    marks = {begins, ends}
    outages = [
        (one.begins, one.ends)
        for one in history.plan.outages
        if covers(one.scope, delivery)
    ]
    outages += [
        (since, to)
        for scope, since, to, _evidence in pauses(history)
        if covers(scope, delivery)
    ]
    marks |= {mark for outage in outages for mark in outage if begins < mark < ends}
    spans = pairwise(sorted(marks)) if begins < ends else ()
    return sum(
        to - since
        for since, to in spans
        if not any(first <= since and to <= last for first, last in outages)
    )


def _is_excused(history: History, delivery: RecordedDelivery, duty: Duty) -> bool:
    """True for a refusal, a demanded hold, a stop by a person, or a live post removed by others."""
    if delivery.state == "held" and delivery.reason == HIDDEN:
        return _may_be_hidden(history, delivery)
    if delivery.state == "held":
        return delivery.reason in DEMANDED and (
            delivery.reason != "not_published"
            or _had_second(history, delivery)
            or _allows_no_second(history, delivery)
        )
    if delivery.follows and (
        delivery.state in {"due", "pending"}
        or delivery.reason == "original_not_published"
    ):
        return _awaits_original(history, delivery)
    if delivery.state == "expired" and delivery.reason == "superseded":
        return delivery.label != "once"
    if delivery.state == "cancelled" and delivery.reason == "removed_from_schedule":
        return _was_left_out(history, delivery)
    is_refused = delivery.state == "failed" and _was_refused(history, delivery)
    is_taken = delivery.state == "removed" and delivery.remote_id is not None
    return is_refused or is_taken or _was_stopped(history, duty, delivery)


def _may_be_hidden(history: History, delivery: RecordedDelivery) -> bool:
    """True if the platform hides reviewed posts, and no wait for proof of absence was possible."""
    policy, own = history.policy_of(delivery), history.attempts_of.get(delivery.id, ())
    if delivery.is_urgent or not own or not policy.hides_reviews:
        return delivery.is_urgent and policy.hides_reviews
    last = max(own, key=lambda one: one.intended)
    later = [
        one
        for one in history.attempts
        if one.login == delivery.login and one.intended > last.intended
    ]
    is_over_at = (
        float("inf")
        if last.ended is None
        else last.ended + policy.review + history.settings.tolerance
    )
    return len(later) >= PUSHED_OFF or delivery.expires <= is_over_at


def _was_left_out(history: History, delivery: RecordedDelivery) -> bool:
    """True if an accepted version left it out, and its return was refused with an alert.

    A half-saved file leaves posts out in this way.
    """
    accepted = {version.sha256 for version in history.versions}
    key = (delivery.post, delivery.label, delivery.account)
    is_left_out = any(
        one.sha256 in accepted and key not in one.duties for one in history.plan.issues
    )
    return is_left_out and any(
        alert.code == "reload_refused" for alert in history.alerts
    )


def _allows_no_second(history: History, delivery: RecordedDelivery) -> bool:
    """True if the platform allows no second call, or its answer to this delivery forbade it."""
    calls = (
        call for call in trace_of(history).calls if call.recv.fault and call.attempt
    )
    own = (
        call.recv.fault
        for call in calls
        if call.attempt and call.attempt.delivery == delivery.id
    )
    return not history.policy_of(delivery).allows_second(delivery) or any(
        NO_SECOND & set((fault or "").split("+")) for fault in own
    )


def _had_second(history: History, delivery: RecordedDelivery) -> bool:
    """True if one part of the delivery has had all the calls that are made without a person."""
    calls = Counter(one.part for one in history.attempts_of.get(delivery.id, ()))
    return max(calls.values(), default=0) >= MOST_CALLS


def _was_stopped(
    history: History, duty: Duty, delivery: RecordedDelivery | None
) -> bool:
    """True if a person ordered it not to be live, corrected it, or decided on its end."""
    acts: Sequence[AuditedAct] = [
        *history.acts_on.get(duty.post, ()),
        *history.acts_on.get(delivery.subject if delivery else "", ()),
    ]
    by_audit = any(
        # by a person, or by the schedule once a correction's time has come
        act.event == "correction_requested"
        or (act.role == "person" and act.event in {"cancelled", "retraction_requested"})
        or (act.role == "person" and act.event == "resolved" and act.after in ENDED)
        for act in acts
    )
    return by_audit or any(
        _concerns(action, duty.post, duty.account) for action in history.actions
    )


def _concerns(action: PersonAction, post: str, account: str) -> bool:
    return (
        action.kind in STOPS
        and action.post == post
        and action.account in {None, account}
    )


def trouble_raises_alert(history: History) -> Iterator[Violation]:
    """I10: each hold, failure or expiry without a person's action has an alert within a minute.

    Where there are channels, people are notified of each alert.
    """
    yield from people_are_notified(history)
    for act in (act for acts in history.acts_on.values() for act in acts):
        if act.after not in TROUBLE or act.after == act.before or act.role == "person":
            continue
        alerts = [
            one
            for one in history.alerts_on.get(act.subject, ())
            if one.code.split(".")[0] == act.after
        ]
        # one alert stands for all missed instants of a post
        if act.after == "expired" and "#" in act.subject:
            same = history.alerts_on.get(act.subject.partition("#")[0], ())
            alerts += [one for one in same if one.code == MISSED]
        reported = any(
            act.at <= alert.at + history.settings.tolerance
            and alert.at <= act.at + ALERT_SECONDS
            for alert in alerts
        )
        if not reported:
            yield Violation(
                act.subject, f"{act.after}, and no alert was raised", (act.row,)
            )
