"""How things end, and who is alerted: I2, I9, I10."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from .history import ENDED, Act, Delivery, Duty, History, NotJudgedError, Order, Violation
from .shaping import instant_of
from .steps import STATES
from .timed import covers, pauses
from .tracing import trace_of

TELL_WITHIN = 60.0
"""Seconds within which trouble must be reported."""
TROUBLE = frozenset({"held", "failed", "expired"})
MISSED = "occurrences_missed"
"""The alert that reports all missed instants of a repeating post."""
DEMANDED = frozenset(
    {
        "not_published",
        "not_published_twice",
        "account",
        "auth",
        "uncheckable",
        "undeletable",
        "captcha",
        "edited",
        "unknown_state",
        "hidden",
        "image_missing",
        "late_response",
        "possible_match",
        "report_not_confirmed",
        "permission",
        "poison",
        "review_timeout",
        "manual_task_revoked",
        "manual_task_overdue",
        "wrong_account",
    }
)
"""The holds that a rule of the failure model demands."""
NO_SECOND = frozenset({"duplicate", "review"})
"""Faults after which a proven absence may not be answered by another call, on any platform."""
STOPS = frozenset({"cancel", "retract"})
"""What a person may do to keep a delivery from being published."""


def nothing_ends_silently(history: History) -> Iterator[Violation]:
    """I2: what was planned stands in the database, ends with a reason, or waits for a person who is alerted."""
    for duty in history.plan.duties:
        if duty.key not in history.by_key and not _was_stopped(history, duty, None):
            yield Violation(subject=f"{duty.post}@{duty.account}", what="planned, and in no book", evidence=("plan",))
    for delivery in history.deliveries.values():
        if delivery.state not in STATES:
            yield _about(delivery, f"a state that nobody knows: {delivery.state}")
        elif delivery.state in ENDED - {"retracted"} and not delivery.reason:
            yield _about(delivery, f"{delivery.state} without a reason")
        elif delivery.state == "held" and not (delivery.reason and _is_shown_red(history, delivery)):
            yield _about(delivery, "held without a reason or an open alert")
        elif delivery.state not in {*ENDED, "published", "held"} and _is_stuck(history, delivery):
            yield _about(delivery, f"still {delivery.state} after the faults have stopped")
    yield from _misshown(history)


def _about(delivery: Delivery, what: str) -> Violation:
    return Violation(subject=delivery.subject, what=what, evidence=(delivery.row,))


def _is_shown_red(history: History, delivery: Delivery) -> bool:
    """What a person has put on hold needs no alert to that person."""
    acts = [act for act in history.acts_on.get(delivery.subject, ()) if act.after == "held" != act.before]
    alerts = history.alerts_on.get(delivery.subject, ())
    return any(alert.cleared is None for alert in alerts) or bool(acts and acts[-1].role == "person")


def _is_stuck(history: History, delivery: Delivery) -> bool:
    plan, within = history.plan, history.settings.rest_within
    if plan.ended is None or within is None:
        raise NotJudgedError("plan.json names no end, or settings.json no rest_within")
    since = max(plan.faults_ended or 0.0, delivery.due, _entered(history, delivery))
    waits_rightly = delivery.state in {"pending", "due", "claimed", "retrying"} and (
        _is_paused(history, delivery) or _awaits_original(history, delivery) or _rests(delivery, plan.ended)
    )
    return plan.ended - since > within and not waits_rightly


def _entered(history: History, delivery: Delivery) -> float:
    """Since when it stands in its state: looking at it again and again is no progress."""
    acts = reversed(history.acts_on.get(delivery.subject, ()))
    return next((act.at for act in acts if act.after == delivery.state != act.before), delivery.updated)


def _is_paused(history: History, delivery: Delivery) -> bool:
    standing: dict[str, bool] = {}
    for act in history.audit:
        if act.event in {"paused", "resumed"}:
            standing[act.subject] = act.event == "paused"
    return any(is_paused and covers(scope, delivery) for scope, is_paused in standing.items())


def _awaits_original(history: History, delivery: Delivery) -> bool:
    """A post that follows another goes out only where that one is live."""
    originals = [
        one for one in history.deliveries.values() if (one.post, one.account) == (delivery.follows, delivery.account)
    ]
    return delivery.follows is not None and not any(one.state == "published" for one in originals)


def _rests(delivery: Delivery, ended: float) -> bool:
    return delivery.next is not None and delivery.next > ended and delivery.next <= delivery.expires


def _misshown(history: History) -> Iterator[Violation]:
    by_instant = {(post, instant_of(label), account): one for (post, label, account), one in history.by_key.items()}
    for row in history.status:
        delivery = by_instant.get((row["post"], instant_of(row["occurrence"]), row["account"]))
        if delivery is None or delivery.state != row["state"]:
            subject = f"{row['post']}@{row['account']}"
            what = f"staff are shown {row['state']}, the books say {delivery.state if delivery else 'nothing'}"
            yield Violation(subject=subject, what=what, evidence=("status", delivery.row if delivery else "delivery"))


def nothing_is_lost(history: History) -> Iterator[Violation]:
    """I9: what could go out in its time was published, and what was to end otherwise did."""
    recover, ended = history.settings.recover_within, history.plan.ended
    if recover is None or ended is None:
        raise NotJudgedError("settings.json names no recover_within, or plan.json no end")
    for duty in history.plan.duties:
        delivery = history.by_key.get(duty.key)
        if delivery is None or duty.end in {None, delivery.state} or _is_excused(history, delivery, duty):
            continue
        if duty.end != "published" or _worked(history, delivery, duty, ended) >= recover:
            what = f"{delivery.state} ({delivery.reason}), not {duty.end}"
            yield Violation(subject=delivery.subject, what=what, evidence=(delivery.row, "plan"))


def _worked(history: History, delivery: Delivery, duty: Duty, ended: float) -> float:
    """For so many seconds of its time its account worked and was not paused."""
    begins = delivery.due if duty.due is None else duty.due
    ends = min(delivery.expires if duty.expires is None else duty.expires, ended)
    marks = {begins, ends}
    outages = [(one.begins, one.ends) for one in history.plan.outages if covers(one.scope, delivery)]
    outages += [(since, to) for scope, since, to, _evidence in pauses(history) if covers(scope, delivery)]
    marks |= {mark for outage in outages for mark in outage if begins < mark < ends}
    spans = pairwise(sorted(marks))
    return sum(to - since for since, to in spans if not any(first <= since and to <= last for first, last in outages))


def _is_excused(history: History, delivery: Delivery, duty: Duty) -> bool:
    """The content was refused, a rule demands a hold, a person stopped it, or it was live and others took it down."""
    if delivery.state == "held":
        return delivery.reason in DEMANDED and (
            delivery.reason != "not_published" or _allows_no_second(history, delivery)
        )
    if delivery.follows and (delivery.state in {"due", "pending"} or delivery.reason == "original_not_published"):
        return _awaits_original(history, delivery)
    refused = any(attempt.outcome == "rejected" for attempt in history.attempts_of.get(delivery.id, ()))
    refused |= any(look.finding == "rejected" for look in history.looks_of.get(delivery.id, ()))
    is_taken = delivery.state == "removed" and delivery.remote_id is not None
    return (delivery.state == "failed" and refused) or is_taken or _was_stopped(history, duty, delivery)


def _allows_no_second(history: History, delivery: Delivery) -> bool:
    """Whether the platform allows no other call at all, or its answer to one of this delivery's has forbidden it."""
    terms = history.settings.accounts.get(delivery.account)
    if terms is None:
        raise NotJudgedError(f"settings.json does not name the account {delivery.account}")
    calls = (call for call in trace_of(history).calls if call.recv.fault and call.attempt)
    own = (call.recv.fault for call in calls if call.attempt and call.attempt.delivery == delivery.id)
    return not terms.allows_second(delivery) or any(NO_SECOND & set((fault or "").split("+")) for fault in own)


def _was_stopped(history: History, duty: Duty, delivery: Delivery | None) -> bool:
    """Whether a person has ordered that it shall not be live, or has decided on its end."""
    acts: Sequence[Act] = [
        *history.acts_on.get(duty.post, ()),
        *history.acts_on.get(delivery.subject if delivery else "", ()),
    ]
    by_audit = any(
        act.role == "person"
        and (act.event in {"cancelled", "retraction_requested"} or (act.event == "resolved" and act.after in ENDED))
        for act in acts
    )
    return by_audit or any(_concerns(order, duty.post, duty.account) for order in history.orders)


def _concerns(order: Order, post: str, account: str) -> bool:
    return order.kind in STOPS and order.post == post and order.account in {None, account}


def trouble_is_told(history: History) -> Iterator[Violation]:
    """I10: what becomes held, failed or expired without a person's doing has an alert within a minute."""
    for act in history.audit:
        if act.after not in TROUBLE or act.after == act.before or act.role == "person":
            continue
        alerts = [one for one in history.alerts_on.get(act.subject, ()) if one.code.split(".")[0] == act.after]
        if act.after == "expired" and "#" in act.subject:  # one alert stands for all missed instants of a post
            same = history.alerts_on.get(act.subject.partition("#")[0], ())
            alerts += [one for one in same if one.code == MISSED]
        reported = any(
            act.at <= alert.at + history.settings.tolerance and alert.at <= act.at + TELL_WITHIN for alert in alerts
        )
        if not reported:
            yield Violation(subject=act.subject, what=f"{act.after}, and nobody was told", evidence=(act.row,))
