"""The rules for the database alone: I7, I12, I17, I18, I22."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from .decoder import instant_of, seconds
from .history import (
    ENDED,
    MICRO,
    AuditedAct,
    History,
    NotJudgedError,
    PersonAction,
    RecordedAttempt,
    RecordedDelivery,
    RecordedReadback,
    SimulatorLogEntry,
    Violation,
)
from .trace import Identity, recovered_calls, trace_of
from .transitions import STEPS

CLEAR = frozenset({"not_sent", "rate_limited", "busy", "credential_expired"})
"""Outcomes that permit another call without a readback: nothing was made."""
READBACKS_NEEDED = 2
WEIBO_LISTS = ("/2/statuses/user_timeline.json", "/2/statuses/user_timeline/biz.json")
"""The only lists that a Weibo readback reads. It cannot know a post missing from them."""
SAYS_GONE = frozenset({"deleted", "not_found"})
EMPTIED = "empty_list"
ENDS_A_DOUBT = frozenset({"published", "submitted", "rejected"})
"""Events that resolve an unknown outcome only once a readback has found the post."""
ADDED_LATE = "accounts_added_late"
"""The alert that a post does not go to accounts that were added once it had begun."""
PREFIX = b"publisher audit 1\n"
"""The first bytes of a hash of the chain."""
FIELDS = ("at", "role", "name", "event", "subject", "before", "after", "detail")
WRITTEN = {
    "approve": ("approval_given",),
    "unapprove": ("unapproved",),
    "pause": ("paused",),
    "resume": ("resumed",),
    "cancel": ("cancelled",),
    "retract": ("retraction_requested",),
    "resolve": ("resolved", "manual_task_cancelled"),
    "resend": ("resend_requested",),
    "send": ("send_requested",),
    "correct": ("correction_requested",),
}
"""The audit's events for an order of each kind."""
ADDED_LATE = "accounts_added_late"
"""The alert that accounts were added to a post too late to get it."""


def not_again_blindly(history: History) -> Iterator[Violation]:
    """I7: after an open outcome the next attempt needs proof of absence or a person's decision.

    Each part of a thread is judged by itself, and begins only once the part before it is known to
    be live. For a call that was recovered from a journal, the earlier knowledge of the database is
    lost.
    """
    parts: dict[tuple[int, int], list[RecordedAttempt]] = defaultdict(list)
    lists, endless, recovered = _lists(history), float("inf"), recovered_calls(history)
    heard = {
        call.attempt.id: call.recv.at
        for call in reversed(trace_of(history).calls)
        if call.attempt
    }
    for attempt in (
        one for attempts in history.attempts_of.values() for one in attempts
    ):
        parts[attempt.delivery, attempt.part].append(attempt)
    for (key, part), attempts in parts.items():
        delivery, alone = history.deliveries[key], 0
        readbacks = [
            f"readback:{readback.id}" for readback in history.readbacks_of.get(key, ())
        ]
        for what in (
            _begun_wrongly(
                history, delivery, parts.get((key, part - 1), []), attempts[0]
            )
            if part
            else ()
        ):
            yield Violation(
                delivery.subject,
                f"part {part} was {what}",
                (attempts[0].row, *readbacks),
            )
        for first, second in pairwise(attempts):
            is_recovered = (second.rendition, second.stamp) in recovered
            if (
                first.outcome in CLEAR
                or is_recovered
                or _decided(history, delivery, first, second)
            ):
                continue
            alone += 1
            faults = [*_not_shown(history, delivery, first, second, alone, lists)]
            if (
                heard.get(second.id, endless) - heard.get(first.id, -endless)
                <= _visibility_window(history, delivery) - history.settings.tolerance
            ):
                faults.append(
                    "sent again before the visibility window was over, by the platform's clock"
                )
            for what in faults:
                yield Violation(
                    delivery.subject, what, (first.row, second.row, *readbacks)
                )
    for call in trace_of(history).calls:
        if call.attempt and call.attempt.outcome == "not_sent":
            what = "written down as not sent, yet the platform received it"
            yield Violation(
                history.deliveries[call.attempt.delivery].subject,
                what,
                (call.attempt.row, call.where),
            )


def _begun_wrongly(
    history: History,
    delivery: RecordedDelivery,
    before: Sequence[RecordedAttempt],
    first: RecordedAttempt,
) -> Iterator[str]:
    """Yield faults at the start of a further part.

    The part before it must be known to be live, and both go out as one account.
    """
    if not _may_begin(history, delivery, before, first):
        yield "begun before the part before it was known to be published"
    if before and before[-1].identity != first.identity:
        yield "sent as another account of the platform than the part before it"


def _may_begin(
    history: History,
    delivery: RecordedDelivery,
    before: Sequence[RecordedAttempt],
    first: RecordedAttempt,
) -> bool:
    """True if the part before was seen, by its call or a readback, or a person has confirmed it."""
    numbers = {one.number for one in before}
    is_seen = any(
        readback.finding == "published"
        and readback.attempt in numbers
        and readback.at <= first.intended
        for readback in history.readbacks_of.get(delivery.id, ())
    )
    is_known = any(
        one.outcome == "published" and one.intended <= first.intended for one in before
    )
    return (
        is_known
        or is_seen
        or _decided(history, delivery, before[-1] if before else None, first)
    )


def _decided(
    history: History,
    delivery: RecordedDelivery,
    first: RecordedAttempt | None,
    second: RecordedAttempt,
) -> bool:
    acts, since = (
        history.acts_on.get(delivery.subject, ()),
        first.intended if first else 0.0,
    )
    return any(
        act.role == "person"
        and act.event == "resolved"
        and since <= act.at <= second.intended
        for act in acts
    )


def _lists(history: History) -> Mapping[Identity, Sequence[SimulatorLogEntry]]:
    """Give the lists that were asked for, by account."""
    found: dict[Identity, list[SimulatorLogEntry]] = defaultdict(list)
    for entry in history.log:
        if entry.kind == "recv" and entry.endpoint in WEIBO_LISTS:
            found[entry.platform, entry.account].append(entry)
    return found


def _not_shown(  # noqa: PLR0917 # one pair of attempts, and what is known beside it
    history: History,
    delivery: RecordedDelivery,
    first: RecordedAttempt,
    second: RecordedAttempt,
    alone: int,
    lists: Mapping[Identity, Sequence[SimulatorLogEntry]],
) -> Iterator[str]:
    """Yield the missing proofs of absence between two attempts."""
    readbacks = [
        one
        for one in history.readbacks_of.get(delivery.id, ())
        if one.attempt == first.number and one.at <= second.intended
    ]
    complete = [
        one
        for one in readbacks
        if one.finding == "not_found" and _reaches_back(history, one, first)
    ]
    if not history.policy_of(delivery).allows_second(delivery, first):
        yield "sent again where the platform allows none"
    if first.identity != second.identity:
        yield "sent again as another account of the platform"
    if first.method and second.method and first.method != second.method:
        yield "sent again in another way than the first call, which alone was judged"
    if alone > 1:
        yield "sent again a second time"
    if len(complete) < READBACKS_NEEDED:
        yield f"sent again after {len(complete)} complete readbacks"
    elif first.ended is None or max(
        one.at for one in complete
    ) <= first.ended + _visibility_window(history, delivery):
        yield "sent again before the visibility window was over"
    read = lists.get(history.identity_of(delivery), ())
    ends = [*(one.at for one in readbacks), second.intended][1:]
    for readback, end in zip(readbacks, ends, strict=True):
        since = [one for one in read if readback.at <= one.at < end]
        is_emptied = bool(since) and all(
            EMPTIED in (one.fault or "").split("+") for one in since
        )
        if readback in complete and is_emptied and _had_posts(history, delivery, end):
            yield "sent again after a list that the platform had emptied"
    if any(
        one.finding not in {"not_found", "rate_limited", "unknown"} for one in readbacks
    ):
        yield "sent again though a readback had found something"


def _visibility_window(history: History, delivery: RecordedDelivery) -> float:
    """Return the seconds that must lie between two calls, the first with an unknown outcome.

    Where lists show nothing that is under review, the longest review must be over as well.
    """
    policy = history.policy_of(delivery)
    if policy.visibility_window is None:
        raise NotJudgedError(
            f"settings.json names no visibility window for {delivery.account}"
        )
    return max(policy.visibility_window, policy.review)


def _had_posts(history: History, delivery: RecordedDelivery, until: float) -> bool:
    """True if the account had ever shown a post by then. Else an emptied list of it is right."""
    identity = history.identity_of(delivery)
    return any(
        entry.kind == "visible"
        and entry.at <= until
        and (entry.platform, entry.account) == identity
        for entry in history.log
    )


def _reaches_back(
    history: History, readback: RecordedReadback, attempt: RecordedAttempt
) -> bool:
    """True if a readback reaches back before the call.

    A list that was read whole names the baseline itself.
    """
    found = seconds(readback.detail.get("covered_since"))
    return found is not None and (
        round(found * MICRO) == attempt.baseline or history.true(found) <= attempt.since
    )


def legal_steps(history: History) -> Iterator[Violation]:
    """I12: each step stands in the table, with its role. Versions grow by one; ends stay ends.

    The resolution of an unknown outcome was stored as a readback first. A removed post needs two
    readbacks.
    """
    for acts in history.acts_on.values():
        for act in acts:
            if act.before is None:
                continue
            to, who = STEPS.get((act.before, act.event), (frozenset(), frozenset()))
            if act.before in ENDED and not (
                act.event == "reinstated" and _was_untouched(history, act)
            ):
                yield _step(act, f"{act.before} was left by {act.event}")
            elif act.after not in to:
                yield _step(
                    act, f"no such step: {act.before} + {act.event} -> {act.after}"
                )
            elif act.role not in who:
                yield _step(
                    act, f"{act.event} from {act.before} was brought by {act.role}"
                )
        yield from _comes_back(acts)
    restored = {
        subject
        for subject, acts in history.acts_on.items()
        if any(act.event == "reinstated" for act in acts)
    }
    back = {
        delivery.id
        for delivery in history.deliveries.values()
        if delivery.subject in restored
    }
    for past in (
        past
        for past in history.earlier
        if past.before != past.after and past.id not in back
    ):
        what = f"ended before the run as {past.before}, and is {past.after}"
        yield Violation(f"delivery {past.id}", what, (f"delivery:{past.id}",))
    for delivery in history.deliveries.values():
        yield from _versions(history, delivery)
        yield from _unseen(history, delivery)


def _comes_back(acts: Sequence[AuditedAct]) -> Iterator[Violation]:
    """A delivery that comes back was ended by no person."""
    for number, act in enumerate(acts):
        if act.event != "reinstated":
            continue
        ended_by = next(
            (one.role for one in reversed(acts[:number]) if one.after in ENDED), None
        )
        if ended_by == "person":
            yield _step(act, "came back though a person had ended it")


def _unseen(history: History, delivery: RecordedDelivery) -> Iterator[Violation]:
    readbacks = history.readbacks_of.get(delivery.id, ())
    for act in history.acts_on.get(delivery.subject, ()):
        if act.before == "unknown" and act.event in ENDS_A_DOUBT:
            until = act.at + history.settings.tolerance
            number = act.detail.get("attempt")
            if not any(
                (readback.finding, readback.attempt) == (act.event, number)
                and readback.at <= until
                for readback in readbacks
            ):
                yield _step(
                    act,
                    f"{act.event} resolved an unknown outcome, and no readback has seen it",
                )
        if act.event == "deleted" and act.after == "removed":
            until = act.at + history.settings.tolerance
            if (
                len(
                    [
                        readback
                        for readback in readbacks
                        if readback.finding in SAYS_GONE and readback.at <= until
                    ]
                )
                < READBACKS_NEEDED
            ):
                yield _step(act, "removed by a single word that it is gone")


def _was_untouched(history: History, restored: AuditedAct) -> bool:
    """True if the schedule or time, but no person, ended the restored delivery.

    No call can have begun for it.
    """
    before = [
        act for act in history.acts_on.get(restored.subject, ()) if act.id < restored.id
    ]
    ends = [act for act in before if act.after == restored.before]
    started = max(
        sum(act.event == "attempt_started" for act in before),
        restored.detail.get("attempt") or 0,
    )
    ids = [
        delivery.id
        for delivery in history.deliveries.values()
        if started and delivery.subject == restored.subject
    ]
    tries = [
        one
        for number in ids
        for one in history.attempts_of.get(number, ())
        if one.intended <= restored.at
    ]
    unsent = sum(one.outcome == "not_sent" for one in tries)
    return bool(ends) and ends[-1].role != "person" and started <= unsent == len(tries)


def _step(act: AuditedAct, what: str) -> Violation:
    return Violation(act.subject, what, (act.row,))


def _versions(history: History, delivery: RecordedDelivery) -> Iterator[Violation]:
    """An action to send or to correct moves all waiting deliveries of a post, and is one entry."""
    acts = [
        act
        for act in history.acts_on.get(delivery.subject, ())
        if "version" in act.detail
    ]
    sent = [
        act.id
        for act in history.acts_on.get(delivery.post, ())
        if act.event == "send_requested"
    ]
    sent += [
        act.id
        for act in history.audit
        if act.event == "correction_requested" and _is_by(act, delivery.post)
    ]
    known = [
        (0, 1),
        *((act.id, act.detail["version"]) for act in acts),
        (float("inf"), delivery.version),
    ]
    for (before, first), (after, second) in pairwise(known):
        least = 0 if after == float("inf") else 1
        most = least + sum(before < number < after for number in sent)
        if not least <= second - first <= most:
            evidence = (
                delivery.row,
                *(
                    f"audit:{number}"
                    for number in (before, after)
                    if 0 < number < float("inf")
                ),
            )
            yield Violation(
                delivery.subject, f"version {first}, then {second}", evidence
            )


def _is_by(act: AuditedAct, correction: str) -> bool:
    return act.detail.get("correction") == correction


def once_each(history: History) -> Iterator[Violation]:
    """I17: no instant of a post is planned twice for an account, and none that nobody asked for."""
    found: dict[tuple[str, str, str], list[RecordedDelivery]] = defaultdict(list)
    for delivery in history.deliveries.values():
        found[delivery.post, instant_of(delivery.label), delivery.account].append(
            delivery
        )
    for (post, instant, account), same in found.items():
        if len(same) > 1:
            evidence = tuple(one.row for one in same)
            yield Violation(
                f"{post}@{account}",
                f"{instant} was planned {len(same)} times",
                evidence,
            )
    asked = {
        (duty.post, instant_of(duty.occurrence), duty.account)
        for duty in history.plan.duties
    }
    for (post, instant, account), (delivery, *_more) in found.items():
        is_asked = (post, instant, account) in asked or history.duty_of(
            delivery
        ) is not None
        if not is_asked and not _ordered_again(history, delivery):
            yield Violation(
                delivery.subject, "planned, and nobody asked for it", (delivery.row,)
            )


def _ordered_again(history: History, delivery: RecordedDelivery) -> bool:
    by_order = any(
        action.kind in {"resend", "send"}
        and action.post == delivery.post
        and action.account in {None, delivery.account}
        for action in history.actions
    )
    events = {"resend_requested", "send_requested"}
    return by_order or any(
        act.event in events and _is_about(act, delivery.post, delivery.account)
        for act in history.audit
    )


def _is_about(act: AuditedAct, post: str | None, account: str | None) -> bool:
    """True if an entry is about a post and an account. None means any account.

    Its subject is `POST`, `POST@ACCOUNT` or `POST#INSTANT@ACCOUNT`.
    """
    name, _, place = act.subject.partition("@")
    return name.split("#")[0] == post and (account is None or place in {"", account})


def audit_is_whole(history: History) -> Iterator[Violation]:
    """I18: each change of state and each action is written once, without a gap; the chain holds."""
    for delivery in history.deliveries.values():
        yield from _missing_entries(delivery, history.acts_on.get(delivery.subject, ()))
    yield from _unwritten(history)
    yield from _chain(history)


def _missing_entries(
    delivery: RecordedDelivery, acts: Sequence[AuditedAct]
) -> Iterator[Violation]:
    state, evidence = None, delivery.row
    for act in (act for act in acts if act.after is not None):
        if act.before != state:
            what = f"{state or 'nothing'}, then an entry from {act.before or 'nothing'}"
            yield Violation(delivery.subject, what, (evidence, act.row))
        state, evidence = act.after, act.row
    if state != delivery.state:
        what = f"the audit ends in {state or 'nothing'}, the row says {delivery.state}"
        yield Violation(delivery.subject, what, (evidence, delivery.row))


def _unwritten(history: History) -> Iterator[Violation]:
    used: set[int] = set()
    for action in history.actions:
        act = next(
            (
                act
                for act in history.audit
                if act.id not in used and _records(history, act, action)
            ),
            None,
        )
        if act is None:
            evidence = (f"actions:{action.line}",)
            yield Violation(
                _target(action),
                f"{action.kind} by {action.by} is not in the audit",
                evidence,
            )
        else:
            used.add(act.id)


def _target(action: PersonAction) -> str:
    return (
        action.scope or f"{action.post}@{action.account}"
        if action.account or action.scope
        else str(action.post)
    )


def _records(history: History, act: AuditedAct, action: PersonAction) -> bool:
    slack = history.settings.tolerance
    is_then = action.asked - slack <= act.at <= action.at + slack
    is_it = (
        act.subject == action.scope
        if action.scope
        else _is_about(act, action.post, action.account)
    )
    is_so = (
        act.event in WRITTEN.get(action.kind, ())
        and act.name == action.by
        and act.role == "person"
    )
    return is_so and is_then and is_it


def _chain(history: History) -> Iterator[Violation]:
    """Each entry of a chain must fit its number and its predecessor, up to the last anchor."""
    if not history.audit or "hash" not in history.audit[0].columns:
        return
    if history.is_exact and not any(
        one.kind == "clock" for one in history.interruptions
    ):
        for first, second in pairwise(history.audit):
            if first.columns["at"] > second.columns["at"] + MICRO:
                yield Violation(
                    second.subject, "older than the entry before it", (second.row,)
                )
    hashes = {0: history.database_info.get("audit_genesis")}
    for number, act in enumerate(history.audit, 1):
        text = [
            number,
            *(act.columns[name] for name in FIELDS),
            act.columns["previous"],
        ]
        found = hashlib.sha256(
            PREFIX + json.dumps(text, separators=(",", ":")).encode()
        ).hexdigest()
        expected = hashes[number - 1]
        if (
            act.id != number
            or found != act.columns["hash"]
            or expected not in {None, act.columns["previous"]}
        ):
            yield Violation(
                act.subject, f"the chain breaks at entry {number}", (act.row,)
            )
            return
        hashes[number] = found
    for line, anchor in enumerate(history.anchors, 1):
        is_of_this_chain = anchor.get("chain") in {None, hashes[0]}
        if hashes.get(anchor["sequence"]) != anchor["hash"] or not is_of_this_chain:
            what = f"entry {anchor['sequence']} is not what was anchored"
            yield Violation(
                "audit", what, (f"anchors:{line}", f"audit:{anchor['sequence']}")
            )


def all_or_nothing(history: History) -> Iterator[Violation]:
    """I22: after each reload exactly the duties of its version are planned, and no unasked delivery.

    The rest of a very large version may follow, unless it is dropped before. An account that is
    added to a post after its start gets nothing, if people are alerted to that.
    """
    if not history.plan.issues:
        raise NotJudgedError(
            "plan.json does not say which duties belong to which version of the schedule"
        )
    issues = {one.sha256: one.duties for one in history.plan.issues}
    planned_at = _planned_at(history)
    latest = (
        issues.get(history.versions[-1].sha256, frozenset())
        if history.versions
        else frozenset()
    )
    asked: set[tuple[str, str, str]] = set()
    for version in history.versions:
        evidence = (f"schedule:{version.id}",)
        is_whole = (
            not version.text
            or hashlib.sha256(version.text.encode()).hexdigest() == version.sha256
        )
        if not is_whole or version.sha256 not in issues:
            yield Violation("schedule", "in force is what nobody handed out", evidence)
            return
        planned_before = {key for key, at in planned_at.items() if at < version.at}
        is_large = (
            len(issues[version.sha256] - planned_before) > history.settings.together
        )
        duties = issues[version.sha256] - history.past
        asked |= duties
        then = (
            {*planned_at, *(duties - latest)}
            if is_large
            else {key for key, at in planned_at.items() if at <= version.at}
        )
        missing = (
            key for key in duties - then if not _was_stopped(history, key, version.at)
        )
        for key in sorted(
            key for key in missing if not _was_added_late(history, key, version.at)
        ):
            yield Violation(
                "@".join((key[0], key[2])), "left out of its version", evidence
            )
    asked |= {key for one in history.plan.issues for key in one.later}
    for key in sorted(planned_at.keys() - asked):
        duty = history.duty_of(history.by_key[key])
        if not (duty and duty.every) and not _ordered_again(
            history, history.by_key[key]
        ):
            yield Violation(
                history.by_key[key].subject,
                "planned without any version",
                (history.by_key[key].row,),
            )


def _was_stopped(history: History, key: tuple[str, str, str], at: float) -> bool:
    """True if by then a person had cancelled the whole post, or a correction had been ordered."""
    return any(
        act.at <= at
        and (
            act.event == "correction_requested"
            or (act.event == "cancelled" and act.role == "person")
        )
        for act in history.acts_on.get(key[0], ())
    )


def _was_added_late(history: History, key: tuple[str, str, str], at: float) -> bool:
    """True if another account of the post was due, called or over by then, and an alert says so.

    The alert is looked up by its post alone. Accounts that are added later still replace the ones
    that it names.
    """
    latest = at + history.settings.tolerance
    is_said = any(
        alert.code == ADDED_LATE and (alert.reopenings or alert.at <= latest)
        for alert in history.alerts_on.get(key[0], ())
    )
    others = (
        one
        for one in history.by_key.values()
        if (one.post, one.label) == key[:2] and one.account != key[2]
    )
    return is_said and any(_has_begun(history, one, latest) for one in others)


def _has_begun(history: History, delivery: RecordedDelivery, at: float) -> bool:
    return (
        delivery.due <= at
        or any(
            attempt.intended <= at
            for attempt in history.attempts_of.get(delivery.id, ())
        )
        or any(
            act.after in ENDED and act.at <= at
            for act in history.acts_on.get(delivery.subject, ())
        )
    )


def _planned_at(history: History) -> Mapping[tuple[str, str, str], float]:
    """When each delivery was planned; at the very end where the audit does not say."""
    found = {}
    for key, delivery in history.by_key.items():
        acts = history.acts_on.get(delivery.subject, ())
        found[key] = next(
            (act.at for act in acts if act.event == "planned"), float("inf")
        )
    return found
