"""The rules for events at forbidden times: I6, I14, I15, I16, I20."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from .history import (
    AuditedAct,
    History,
    NotJudgedError,
    Outage,
    PersonAction,
    RecordedAttempt,
    RecordedDelivery,
    Violation,
)
from .trace import CreatingCall, live_copies, trace_of

HOUR, DAY = 3600.0, 86400.0
GRACE = 1.0
"""Seconds until an action to stop must take effect."""
ORDERED = 0.001
"""Smallest difference of two transactions, in seconds."""
STOPPED = frozenset({"retraction_requested", "cancelled"})
FREE = frozenset({"not_sent", "published", "submitted"})
"""Outcomes of a call that keep no other back for longer than its min_interval."""
NOW_OR_NEVER = 60.0
"""Seconds: a shorter `max_delay` is excused by nothing but limits and doubts."""
TOO_MANY, ASKED_TO_WAIT, HEARD_WITHIN = 429, frozenset({"rate_limited", "busy"}), 2.0
"""A status, its possible outcomes, and the seconds until an answer is recorded as heard."""
LONGEST_RETRY = 750.0
"""Seconds between two tries to reach a platform at most."""
MOST_DELAY = 5.0
"""Most seconds of delay in the slowest hundredth by a fault elsewhere."""


def only_in_its_window(history: History) -> Iterator[Violation]:
    """I6: no call is before its time or after its expiry. The first is not late, unless released.

    A first call is late after the delay that staff allowed. The platforms' clock and a request's
    first byte count: its body may come much later, if its sender sleeps. Of a repeating post, the
    instants that an outage has covered are made up for once.
    """
    slack, begun = history.settings.tolerance + history.settings.clock_error, set[int]()
    for call, delivery in _calls_with_owner(history):
        due, expires, max_delay = _window(history, delivery)
        began, evidence = call.recv.began, (call.where, delivery.row)
        is_first = delivery.id not in begun
        begun.add(delivery.id)
        if began < due - slack and not _released(history, delivery, began + slack):
            yield Violation(delivery.subject, "a call before its time", evidence)
        if began > expires + slack:
            yield Violation(delivery.subject, "a call after its expiry", evidence)
        is_late = is_first and began > due + max_delay + slack
        if is_late and not (
            _released(history, delivery, began) or _kept_back(history, delivery, call)
        ):
            yield Violation(delivery.subject, "called too late", evidence)
    yield from _made_up_for(history)


def _kept_back(
    history: History, delivery: RecordedDelivery, call: CreatingCall
) -> bool:
    """True if limits, a doubt or the way there kept the login from calling: that is not late.

    A post that may be late by less than a minute goes now or never. A missing way does not excuse
    it.
    """
    others = (
        one
        for one in history.attempts
        if one.login == delivery.login and one is not call.attempt
    )
    before = [one for one in others if one.intended < call.recv.began]
    due, _expires, max_delay = _window(history, delivery)
    longest = max_delay + LONGEST_RETRY
    tries = [
        one
        for one in before
        if due - history.settings.tolerance <= one.intended
        and call.recv.began - one.intended <= longest
    ]
    no_way = [
        one
        for one in tries
        if one.outcome == "not_sent" and one.detail.get("reason") != "never_started"
    ]
    is_limited = any(one.outcome not in FREE for one in before) or _was_full(
        history, delivery, [*before]
    )
    return is_limited or (max_delay >= NOW_OR_NEVER and bool(no_way))


def _was_full(
    history: History, delivery: RecordedDelivery, before: Sequence[RecordedAttempt]
) -> bool:
    """Whether its login had made as many calls within an hour as it may, before it was too late."""
    policy = history.settings.accounts.get(delivery.account)
    most = policy.per_hour if policy else None
    calls = sorted(
        one.intended for one in before if one.outcome != "not_sent" and not one.part
    )
    pairs = zip(calls, calls[(most or 1) - 1 :], strict=False)
    return most is not None and any(
        last - first < HOUR and last + HOUR > delivery.due for first, last in pairs
    )


def _made_up_for(history: History) -> Iterator[Violation]:
    """Yield instants that an outage covered and that went out though it covered a later one too."""
    first: dict[int, CreatingCall] = {}
    for call, delivery in _calls_with_owner(history):
        first.setdefault(delivery.id, call)
    for older, newer in (
        pair
        for _outage, missed in missed_occurrences(history)
        for pair in pairwise(missed)
    ):
        call = first.get(older.id)
        latest = newer.due + history.settings.clock_error
        if (
            call
            and call.recv.began > latest
            and not _released(history, older, call.recv.began)
        ):
            what = f"missed and sent, though {newer.label} was missed as well"
            yield Violation(older.subject, what, (call.where, older.row, newer.row))


def missed_occurrences(
    history: History,
) -> Iterator[tuple[Outage, Sequence[RecordedDelivery]]]:
    """Yield the instants of repeating posts that each outage covered, by account, oldest first."""
    repeating = [
        one
        for one in history.deliveries.values()
        if one.label != "once" and not _is_ordered(history, one)
    ]
    for outage in history.plan.outages:
        missed: dict[tuple[str, str], list[RecordedDelivery]] = defaultdict(list)
        for one in sorted(repeating, key=lambda one: one.due):
            if outage.begins <= one.due <= outage.ends and covers(outage.scope, one):
                missed[one.post, one.account].append(one)
        yield from ((outage, found) for found in missed.values())


def _is_ordered(history: History, delivery: RecordedDelivery) -> bool:
    """Whether it is an occurrence that a person has ordered."""
    acts = history.acts_on.get(f"{delivery.post}@{delivery.account}", ())
    return any(act.event == "resend_requested" for act in acts)


def _calls_with_owner(
    history: History,
) -> Iterator[tuple[CreatingCall, RecordedDelivery]]:
    for call in trace_of(history).calls:
        if call.attempt and call.attempt.delivery in history.deliveries:
            yield call, history.deliveries[call.attempt.delivery]


def _window(history: History, delivery: RecordedDelivery) -> tuple[float, float, float]:
    """Return the demanded window, or that of the database where the demand is not known.

    The database also counts after a person has sent the post sooner.
    """
    is_hastened = any(
        act.event == "send_requested" for act in history.acts_on.get(delivery.post, ())
    )
    duty = None if is_hastened else history.duty_of(delivery)
    own = (delivery.due, delivery.expires, delivery.max_delay)
    said = (duty.due, duty.expires, duty.max_delay) if duty else (None, None, None)
    due, expires, max_delay = (
        mine if theirs is None else theirs
        for mine, theirs in zip(own, said, strict=True)
    )
    return due, expires, max_delay


def _released(history: History, delivery: RecordedDelivery, until: float) -> bool:
    """Whether a person has let it go, or sent it sooner, by then."""
    acts = [
        *history.acts_on.get(delivery.subject, ()),
        *history.acts_on.get(delivery.post, ()),
    ]
    return any(
        act.role == "person"
        and act.event in {"resolved", "send_requested"}
        and act.at <= until
        for act in acts
    )


def pause_holds(history: History) -> Iterator[Violation]:
    """I14: within a second of a pause, calls of its scope end. No intent comes after the pause.

    A call counts at its first byte.
    """
    standing = pauses(history)
    for call, delivery in _calls_with_owner(history):
        for scope, begins, ends, evidence in standing:
            late = begins + GRACE + history.settings.tolerance < call.recv.began < ends
            if late and covers(scope, delivery):
                yield Violation(
                    delivery.subject,
                    f"a call while {scope} was paused",
                    (call.where, evidence),
                )
    for scope, begins, ends, evidence in _audited_pauses(history.audit):
        for delivery, attempt in _announced_after(history, begins, ends):
            if covers(scope, delivery):
                yield Violation(
                    delivery.subject,
                    f"an intent while {scope} was paused",
                    (attempt.row, evidence),
                )


def _announced_after(
    history: History, begins: float, ends: float
) -> Iterator[tuple[RecordedDelivery, RecordedAttempt]]:
    """Yield the attempts of a time.

    Yield none where instants are too inexact to separate an action from its neighbours.
    """
    for attempt in history.attempts if history.is_exact else ():
        if (
            begins + ORDERED < attempt.intended < ends
            and attempt.delivery in history.deliveries
        ):
            yield history.deliveries[attempt.delivery], attempt


def covers(scope: str, delivery: RecordedDelivery) -> bool:
    """Whether a scope, `all`, `platform:P`, `account:A` or `post:P`, holds a delivery."""
    own = {
        "all",
        f"platform:{delivery.platform}",
        f"account:{delivery.account}",
        f"post:{delivery.post}",
    }
    return scope in own


Pause = tuple[str, float, float, str]
"""Scope, from, to, evidence."""


def pauses(history: History) -> Sequence[Pause]:
    """Return every pause, by the audit and by the people that ordered it."""
    by_people = [
        action for action in history.actions if action.kind in {"pause", "resume"}
    ]
    return [*_audited_pauses(history.audit), *_requested_pauses(by_people)]


def _audited_pauses(audit: Sequence[AuditedAct]) -> Iterator[Pause]:
    for place, act in enumerate(audit):
        if act.event == "paused":
            later = (
                one.at
                for one in audit[place:]
                if one.event == "resumed" and one.subject == act.subject
            )
            yield act.subject, act.at, next(later, float("inf")), act.row


def _requested_pauses(actions: Sequence[PersonAction]) -> Iterator[Pause]:
    for place, action in enumerate(actions):
        if action.kind == "pause" and action.scope:
            later = (
                one.asked
                for one in actions[place:]
                if one.kind == "resume" and one.scope == action.scope
            )
            yield (
                action.scope,
                action.at,
                next(later, float("inf")),
                f"actions:{action.line}",
            )


def limits_are_kept(history: History) -> Iterator[Violation]:
    """I15: no hour or day has more calls than a login may make, and intervals and rests are kept.

    A further part belongs to its post and counts in no window or interval. Only a rest holds for
    it too.
    """
    by_login = {one.login: one for one in history.settings.accounts.values()}
    called: dict[str, list[CreatingCall]] = defaultdict(list)
    for call in trace_of(history).calls:
        if call.attempt and not call.is_resend and not call.attempt.part:
            called[call.attempt.login].append(call)
    for login, calls in called.items():
        known = by_login.get(login)
        if known is None:
            continue
        for name, window, most in (
            ("hour", HOUR, known.per_hour),
            ("day", DAY, known.per_day),
        ):
            yield from _crowded(
                login,
                name,
                window,
                most,
                calls,
                max(GRACE, history.settings.clock_error),
            )
        yield from _hurried(history, login, known.min_interval, calls)
    yield from _restless(history)
    yield from _hasty(history)


def _crowded(  # noqa: PLR0917 # one login, one window
    login: str,
    name: str,
    window: float,
    most: int | None,
    calls: Sequence[CreatingCall],
    slack: float,
) -> Iterator[Violation]:
    """Yield windows with too many calls.

    The window is taken a little short: two clocks and a network lie between the database and the
    platform.
    """
    for place, first in enumerate(calls):
        last = place + (most or 0)
        if (
            most
            and last < len(calls)
            and calls[last].recv.at - first.recv.at < window - slack
        ):
            yield Violation(
                login,
                f"more than {most} calls within one {name}",
                (first.where, calls[last].where),
            )


def _hurried(
    history: History,
    login: str,
    min_interval: float | None,
    calls: Sequence[CreatingCall],
) -> Iterator[Violation]:
    attempts = sorted(
        {call.attempt.id: call.attempt for call in calls if call.attempt}.values(),
        key=lambda a: a.intended,
    )
    for first, second in pairwise(attempts):
        if min_interval and second.intended - first.intended < min_interval - min(
            history.settings.tolerance, min_interval / 10
        ):
            what = f"two calls within {second.intended - first.intended:.3f} s"
            yield Violation(login, what, (first.row, second.row))


def _restless(history: History) -> Iterator[Violation]:
    """Yield calls in a rest that the platform asked for, a day at most, counted from its answer.

    An answer may come after its lease.
    """
    late = {
        (act.subject, act.detail.get("until")): act.at
        for act in history.audit
        if act.event == "late_outcome_recorded"
    }
    for attempt in history.attempts:
        asked = attempt.detail.get("until")
        if attempt.until is None or attempt.ended is None:
            continue
        delivery = history.deliveries.get(attempt.delivery)
        heard = late.get((delivery.subject if delivery else "", asked), attempt.ended)
        rest = min(attempt.until, heard + DAY)
        for later in history.attempts:
            if (
                later.login == attempt.login
                and heard < later.intended < rest - _slack(history)
                and _called(history, later)
            ):
                yield Violation(
                    attempt.login,
                    "a call before the platform's rest was over",
                    (attempt.row, later.row),
                )


def _slack(history: History) -> float:
    """Return the possible difference of two clocks for one instant that was computed from each."""
    return history.settings.tolerance if history.is_exact else 0.0


def _hasty(history: History) -> Iterator[Violation]:
    """Yield calls too soon after a 429 that was heard. It asks for a known wait.

    The platforms' clock counts.
    """
    wait = history.settings.retry_after
    asked: dict[tuple[str, str], list[CreatingCall]] = defaultdict(list)
    for call in trace_of(history).calls if wait else ():
        before = asked[call.recv.platform, call.recv.account]
        for earlier in before:
            at, ended = (
                (earlier.reply.at, earlier.attempt.ended)
                if earlier.reply and earlier.attempt
                else (0.0, None)
            )
            is_heard = ended is not None and ended <= min(
                call.recv.began, at + HEARD_WITHIN
            )
            if (
                is_heard
                and call.recv.began < at + (wait or 0.0) - history.settings.tolerance
            ):
                what = f"called {call.recv.began - at:.1f} s after a 429, not {wait}"
                yield Violation(call.recv.account, what, (earlier.where, call.where))
        if (
            call.reply
            and call.reply.status == TOO_MANY
            and call.attempt
            and call.attempt.outcome in ASKED_TO_WAIT
        ):
            before.append(call)


def _called(history: History, attempt: RecordedAttempt) -> bool:
    return any(call.attempt is attempt for call in trace_of(history).calls)


def retract_wins(history: History) -> Iterator[Violation]:
    """I16: after an action to retract or cancel no call starts; live posts go, or are shown red."""
    ordered = _retractions(history)
    for call, delivery in _calls_with_owner(history):
        began = call.recv.began - GRACE - history.settings.tolerance
        if delivery.id in ordered and began > ordered[delivery.id][0]:
            evidence = (call.where, ordered[delivery.id][1])
            yield Violation(
                delivery.subject, "a call after its retraction was ordered", evidence
            )
        for act in history.acts_on.get(delivery.subject, ()):
            if (
                act.event == "cancelled"
                and began > act.at
                and not _came_back(history, act, call.recv.began)
            ):
                yield Violation(
                    delivery.subject,
                    "a call after it was withdrawn",
                    (call.where, act.row),
                )
    for act in (
        act for acts in history.acts_on.values() for act in acts if act.event in STOPPED
    ):
        for delivery, attempt in _announced_after(history, act.at, float("inf")):
            if delivery.subject == act.subject and not _came_back(
                history, act, attempt.intended
            ):
                yield Violation(
                    act.subject,
                    f"an intent after it was {act.event}",
                    (attempt.row, act.row),
                )
    for delivery in (history.deliveries[key] for key in ordered):
        is_red = delivery.state in {"retracting", "held"} and any(
            alert.cleared is None
            for alert in history.alerts_on.get(delivery.subject, ())
        )
        for creation in (
            ()
            if is_red or delivery.is_manually_confirmed
            else live_copies(history, delivery)
        ):
            where = (creation.where, delivery.row, ordered[delivery.id][1])
            yield Violation(
                delivery.subject, "live though retracted, and not in red", where
            )


def _came_back(history: History, stop: AuditedAct, at: float) -> bool:
    """True if the schedule had cancelled it, and has named it again before that instant."""
    acts = history.acts_on.get(stop.subject, ())
    slack = history.settings.tolerance
    return stop.event == "cancelled" and any(
        act.event in {"reinstated", "revised"}
        and act.id > stop.id
        and act.at <= at + slack
        for act in acts
    )


def _retractions(history: History) -> dict[int, tuple[float, str]]:
    """When a retraction was ordered of each delivery that stood then, and where that is written."""
    found: dict[int, tuple[float, str]] = {}
    for delivery in history.deliveries.values():
        acts = history.acts_on.get(delivery.subject, ())
        reported = [
            (act.at, act.row) for act in acts if act.event == "retraction_requested"
        ]
        planned_at = next((act.at for act in acts if act.event == "planned"), 0.0)
        reported += [
            (action.at, f"actions:{action.line}")
            for action in history.actions
            if action.kind == "retract"
            and action.post == delivery.post
            and action.at >= planned_at
            if action.account in {None, delivery.account}
        ]
        if reported:
            found[delivery.id] = min(reported)
    return found


def faults_stay_local(history: History) -> Iterator[Violation]:
    """I20: during a fault elsewhere, the slowest hundredth is at most five seconds later."""
    calm = sorted(one["delay"] for one in history.timings if not one["during_fault"])
    during = sorted(one["delay"] for one in history.timings if one["during_fault"])
    if not calm or not during:
        raise NotJudgedError(
            "timings.jsonl has no delays of both kinds, in calm and during a fault"
        )
    later = _p99(during) - _p99(calm)
    if later > MOST_DELAY:
        yield Violation(
            "healthy accounts", f"delayed by {later:.1f} s (p99)", ("timings",)
        )


def _p99(values: Sequence[float]) -> float:
    return values[min(len(values) - 1, int(len(values) * 0.99))]
