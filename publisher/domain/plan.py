"""What must be filed, changed or withdrawn so that the books match the schedule."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from publisher.domain.account import AccountId
from publisher.domain.delivery import FINAL_STATES, Delivery, State
from publisher.domain.errors import Problem
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    CronTrigger,
    Occurrence,
    OccurrenceKey,
    OneTimeTrigger,
    Post,
    PostId,
    Schedule,
    make_occurrence,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOccurrence:
    """What the database holds of an occurrence. `has_started`: a creating call of it has begun, or may have.

    `open_accounts` are those whose delivery may still lead to a call, also after a doubt or a person's decision.
    `unnamed_accounts` would, but the schedule has ceased to name them, which is remembered; `dropped_accounts` are
    those whose delivery was cancelled for that. Nothing can come any more of one that `is_over`: for which accounts it
    was filed, and in which words, is not given.
    """

    due_at: datetime
    content_hash: str
    accounts: frozenset[AccountId]
    has_started: bool
    open_accounts: frozenset[AccountId]
    untargeted_accounts: frozenset[AccountId] = frozenset()
    cancelled_accounts: frozenset[AccountId] = frozenset()
    is_finished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPost:
    """What the books hold of a post. `in_force_since` is when its present timing was first accepted.

    `called` names occurrences that the books have lost, but for which a call was announced.
    """

    content_hash: str
    active_since: datetime
    occurrences: Mapping[str, StoredOccurrence] = field(default_factory=dict)
    is_cancelled: bool = False
    is_scheduled: bool = True
    attempted_occurrences: frozenset[str] = frozenset()


StoredPosts = Mapping[PostId, StoredPost]
DueTimes = Mapping[PostId, Sequence[datetime]]
"""The due instants of repeating posts inside the window, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanWindow:
    """From now to as far ahead as occurrences are filed."""

    now: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDeliveries:
    """Deliveries to write: one occurrence on these accounts, new (`is_new`) or in place of an older wording.

    `planned_at` is the instant that the schedule gives, where a person has the post sent at another one. `joins`: other
    accounts have that occurrence already.
    """

    post: Post
    occurrence: Occurrence
    accounts: tuple[AccountId, ...]
    is_new: bool
    scheduled_at: datetime | None = None
    is_late_addition: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedTargets:
    """Accounts that a post does not name any more, for one occurrence."""

    key: OccurrenceKey
    accounts: tuple[AccountId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The difference between the schedule and the books."""

    planned: tuple[PlannedDeliveries, ...] = ()
    removed_targets: tuple[RemovedTargets, ...] = ()
    removed_posts: tuple[PostId, ...] = ()
    problems: tuple[Problem, ...] = ()


def plan(schedule: Schedule, stored: StoredPosts, window: PlanWindow, due_times: DueTimes) -> Plan:
    """Compare the schedule with the books. Doing what it says, then planning again, gives an empty plan.

    Missed instants are made up for only in a round without an edit: an edit's own timing starts after it.
    """
    filings: list[PlannedDeliveries] = []
    untargeted: list[RemovedTargets] = []
    problems: list[Problem] = []
    for post in schedule.posts:
        books = stored.get(post.id)
        if books is not None and books.is_cancelled:
            continue
        for occurrence in _list_occurrences(post, books, window, due_times.get(post.id, ())):
            held = books.occurrences.get(occurrence.key.occurrence) if books else None
            if held is None:
                filings.append(PlannedDeliveries(post=post, occurrence=occurrence, accounts=post.accounts, is_new=True))
                continue
            if held.due_at != occurrence.due_at and (held.has_started or not held.open_accounts):
                problems.append(Problem(code="moved_after_start", facts={"post": post.id}))
                continue
            if held.is_finished:
                continue
            if _latest_call_at(post, occurrence) > window.now and held.cancelled_accounts & set(post.accounts):
                problems.append(Problem(code="restored_after_removal", facts={"post": post.id}))
                continue
            filings += _find_changes(post, occurrence, held, window)
            lost = tuple(sorted(held.open_accounts - set(post.accounts)))
            untargeted += [RemovedTargets(key=occurrence.key, accounts=lost)] if lost else []
        if books is not None:
            untargeted += _find_removed_times(post, books, window, due_times.get(post.id, ()))
    scheduled = {post.id for post in schedule.posts}
    dropped = tuple(
        post_id
        for post_id, books in stored.items()
        if post_id not in scheduled and books.is_scheduled and not books.is_cancelled
    )
    return Plan(
        planned=tuple(filings), removed_targets=tuple(untargeted), removed_posts=dropped, problems=tuple(problems)
    )


def _list_occurrences(
    post: Post, stored: StoredPost | None, window: PlanWindow, due_times: Sequence[datetime]
) -> list[Occurrence]:
    if isinstance(post.trigger, OneTimeTrigger):
        return _list_one_time(post, post.trigger, stored, window)
    repeating = _list_repeating(post, due_times, window)
    started = {*stored.occurrences, *stored.attempted_occurrences} if stored else set()
    is_edited = stored is not None and stored.content_hash != post.content_hash
    missed = [] if is_edited else _find_newest_missed(repeating, started, window)
    return [item for item in repeating if item.due_at >= window.now or item.key.occurrence in started] + missed


def _list_one_time(
    post: Post, trigger: OneTimeTrigger, stored: StoredPost | None, window: PlanWindow
) -> list[Occurrence]:
    held = stored.occurrences.get(ONCE_OCCURRENCE) if stored else None
    if trigger.at is None:
        return [make_occurrence(post, ONCE_OCCURRENCE, held.due_at if held else window.now)]
    if held is None and trigger.at > window.until:
        return []
    return [make_occurrence(post, ONCE_OCCURRENCE, trigger.at)]


def _list_repeating(post: Post, due_times: Sequence[datetime], window: PlanWindow) -> list[Occurrence]:
    return [make_occurrence(post, moment.isoformat(), moment) for moment in due_times if moment <= window.until]


def _find_newest_missed(repeating: Sequence[Occurrence], started: set[str], window: PlanWindow) -> list[Occurrence]:
    """File the newest of the instants that passed, none before it: a week of silence is not made up in a minute."""
    passed = [item for item in repeating if item.due_at < window.now]
    return [item for item in passed[-1:] if item.key.occurrence not in started]


def _find_removed_times(
    post: Post, stored: StoredPost, window: PlanWindow, due_times: Sequence[datetime]
) -> list[RemovedTargets]:
    """Future instants filed under an earlier timing that the present one does not have."""
    kept = (
        {ONCE_OCCURRENCE} if isinstance(post.trigger, OneTimeTrigger) else {moment.isoformat() for moment in due_times}
    )
    return [
        RemovedTargets(key=OccurrenceKey(post=post.id, occurrence=label), accounts=tuple(sorted(held.open_accounts)))
        for label, held in stored.occurrences.items()
        if held.open_accounts and window.now < held.due_at <= window.until and label not in kept
    ]


def _find_changes(
    post: Post, occurrence: Occurrence, stored: StoredOccurrence, window: PlanWindow
) -> list[PlannedDeliveries]:
    """An account that joins a post hears of what is still to come, not of what has passed."""
    is_past = _latest_call_at(post, occurrence) < window.now
    added = () if is_past else tuple(account for account in post.accounts if account not in stored.accounts)
    kept = tuple(account for account in post.accounts if account in stored.open_accounts)
    back = tuple(account for account in post.accounts if account in stored.untargeted_accounts)
    changes = []
    if added:
        changes.append(
            PlannedDeliveries(post=post, occurrence=occurrence, accounts=added, is_new=True, is_late_addition=True)
        )
    is_changed = stored.content_hash != post.content_hash or stored.due_at != occurrence.due_at
    if revised := (kept + back if is_changed else back):
        changes.append(PlannedDeliveries(post=post, occurrence=occurrence, accounts=revised, is_new=False))
    return changes


def _latest_call_at(post: Post, occurrence: Occurrence) -> datetime:
    """Give the instant until which staff may expect a change of the schedule to let something go out."""
    return occurrence.due_at if isinstance(post.trigger, CronTrigger) else occurrence.due_at + post.max_delay


class SkipReason(StrEnum):
    """Why an account gets no correction."""

    NOT_SENT_YET = "not_sent_yet"
    NEVER_PUBLISHED = "never_published"
    DELETED = "deleted"
    NOT_TARGETED = "not_targeted"
    SWITCHED_OFF = "account_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionPlan:
    """What becomes of a correction, account by account.

    `goes`: the original is live there. `waits`: it may be, and the correction goes once that is known. `corrected`:
    the correction is live there already. `spared` says why the rest gets none.
    """

    send_now: tuple[AccountId, ...] = ()
    waiting: tuple[AccountId, ...] = ()
    corrected: tuple[AccountId, ...] = ()
    skipped: Mapping[SkipReason, tuple[AccountId, ...]] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[AccountId, ...]:
        return (*self.send_now, *self.waiting)


_UNRESOLVED_STATES = frozenset({State.CLAIMED, State.SENDING, State.SUBMITTED, State.UNKNOWN, State.RETRACTING})
_DELETED_STATES = frozenset({State.RETRACTED, State.REMOVED})


def plan_correction(
    originals: Sequence[Delivery],
    corrections: Sequence[Delivery],
    *,
    targeted: Collection[AccountId],
    active: Collection[AccountId],
) -> CorrectionPlan:
    """Say where a correction goes, from the deliveries of the original and those that the correction has already.

    `addressed` are the accounts that the correction's own entry names, `speaking` those that are not switched off.
    """
    accounts = list(dict.fromkeys([*(delivery.account for delivery in originals), *targeted]))
    corrected = {delivery.account for delivery in corrections if delivery.state is State.PUBLISHED}
    goes: list[AccountId] = []
    waits: list[AccountId] = []
    spared: dict[SkipReason, tuple[AccountId, ...]] = {}
    for account in accounts:
        standing = _find_original_state([delivery for delivery in originals if delivery.account == account])
        if account in corrected:
            continue
        if not isinstance(standing, SkipReason) and account not in active:
            standing = SkipReason.SWITCHED_OFF
        if isinstance(standing, SkipReason):
            spared[standing] = (*spared.get(standing, ()), account)
        else:
            (goes if standing is State.PUBLISHED else waits).append(account)
    return CorrectionPlan(
        send_now=tuple(goes),
        waiting=tuple(waits),
        corrected=tuple(account for account in accounts if account in corrected),
        skipped=spared,
    )


def _find_original_state(deliveries: Sequence[Delivery]) -> State | SkipReason:
    """Say whether the original is live on an account, may be, or why it is not."""
    states = {delivery.state for delivery in deliveries}
    if State.PUBLISHED in states:
        return State.PUBLISHED
    if states & _UNRESOLVED_STATES or any(
        delivery.state is State.HELD and delivery.attempts for delivery in deliveries
    ):
        return State.UNKNOWN
    if states - FINAL_STATES:
        return SkipReason.NOT_SENT_YET
    if states & _DELETED_STATES:
        return SkipReason.DELETED
    return SkipReason.NEVER_PUBLISHED if states else SkipReason.NOT_TARGETED
