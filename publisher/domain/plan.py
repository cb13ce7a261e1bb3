"""What must be filed, changed or withdrawn so that the books match the schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from publisher.domain.account import AccountId
from publisher.domain.post import ONCE, At, Cron, Occurrence, OccurrenceKey, Post, PostId, Schedule, occurrence_of
from publisher.domain.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownOccurrence:
    """What the database holds of an occurrence. `has_started`: a creating call of it has begun, or may have.

    `open_accounts` are those whose delivery may still lead to a call, also after a doubt or a person's decision.
    `unnamed_accounts` would, but the schedule has ceased to name them, which is remembered; `dropped_accounts` are
    those whose delivery was cancelled for that. Nothing can come any more of one that `is_over`: for which accounts it
    was filed, and in which words, is not given.
    """

    due_at: datetime
    definition: str
    accounts: frozenset[AccountId]
    has_started: bool
    open_accounts: frozenset[AccountId]
    unnamed_accounts: frozenset[AccountId] = frozenset()
    dropped_accounts: frozenset[AccountId] = frozenset()
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPost:
    """What the books hold of a post. `in_force_since` is when its present timing was first accepted.

    `called` names occurrences that the books have lost, but for which a call was announced.
    """

    definition: str
    in_force_since: datetime
    occurrences: Mapping[str, KnownOccurrence] = field(default_factory=dict)
    is_withdrawn: bool = False
    is_scheduled: bool = True
    called: frozenset[str] = frozenset()


Known = Mapping[PostId, KnownPost]
Moments = Mapping[PostId, Sequence[datetime]]
"""The due instants of repeating posts inside the window, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From now to as far ahead as occurrences are filed."""

    now: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """Deliveries to write: one occurrence on these accounts, new (`is_new`) or in place of an older wording.

    `planned_at` is the instant that the schedule gives, where a person has the post sent at another one. `joins`: other
    accounts have that occurrence already.
    """

    post: Post
    occurrence: Occurrence
    accounts: tuple[AccountId, ...]
    is_new: bool
    planned_at: datetime | None = None
    joins: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Untargeted:
    """Accounts that a post does not name any more, for one occurrence."""

    key: OccurrenceKey
    accounts: tuple[AccountId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The difference between the schedule and the books."""

    filings: tuple[Filing, ...] = ()
    untargeted: tuple[Untargeted, ...] = ()
    dropped: tuple[PostId, ...] = ()
    problems: tuple[Problem, ...] = ()


def plan(schedule: Schedule, known: Known, window: Window, moments: Moments) -> Plan:
    """Compare the schedule with the books. Doing what it says, then planning again, gives an empty plan.

    Missed instants are made up for only in a round without an edit: an edit's own timing starts after it.
    """
    filings: list[Filing] = []
    untargeted: list[Untargeted] = []
    problems: list[Problem] = []
    for post in schedule.posts:
        books = known.get(post.id)
        if books is not None and books.is_withdrawn:
            continue
        for occurrence in _occurrences(post, books, window, moments.get(post.id, ())):
            held = books.occurrences.get(occurrence.key.label) if books else None
            if held is None:
                filings.append(Filing(post=post, occurrence=occurrence, accounts=post.accounts, is_new=True))
                continue
            if held.due_at != occurrence.due_at and (held.has_started or not held.open_accounts):
                problems.append(Problem(code="moved_after_start", facts={"post": post.id}))
                continue
            if held.is_over:
                continue
            if _last_call(post, occurrence) > window.now and held.dropped_accounts & set(post.accounts):
                problems.append(Problem(code="restored_after_removal", facts={"post": post.id}))
                continue
            filings += _changes(post, occurrence, held, window)
            lost = tuple(sorted(held.open_accounts - set(post.accounts)))
            untargeted += [Untargeted(key=occurrence.key, accounts=lost)] if lost else []
        if books is not None:
            untargeted += _struck_out(post, books, window, moments.get(post.id, ()))
    scheduled = {post.id for post in schedule.posts}
    dropped = tuple(
        post_id
        for post_id, books in known.items()
        if post_id not in scheduled and books.is_scheduled and not books.is_withdrawn
    )
    return Plan(filings=tuple(filings), untargeted=tuple(untargeted), dropped=dropped, problems=tuple(problems))


def _occurrences(post: Post, books: KnownPost | None, window: Window, moments: Sequence[datetime]) -> list[Occurrence]:
    if isinstance(post.timing, At):
        return _one_off(post, post.timing, books, window)
    repeating = _repeating(post, moments, window)
    started = {*books.occurrences, *books.called} if books else set()
    is_edited = books is not None and books.definition != post.definition
    missed = [] if is_edited else _newest_missed(repeating, started, window)
    return [item for item in repeating if item.due_at >= window.now or item.key.label in started] + missed


def _one_off(post: Post, at: At, books: KnownPost | None, window: Window) -> list[Occurrence]:
    held = books.occurrences.get(ONCE) if books else None
    if at.when is None:
        return [occurrence_of(post, ONCE, held.due_at if held else window.now)]
    if held is None and at.when > window.until:
        return []
    return [occurrence_of(post, ONCE, at.when)]


def _repeating(post: Post, moments: Sequence[datetime], window: Window) -> list[Occurrence]:
    return [occurrence_of(post, moment.isoformat(), moment) for moment in moments if moment <= window.until]


def _newest_missed(repeating: Sequence[Occurrence], started: set[str], window: Window) -> list[Occurrence]:
    """File the newest of the instants that passed, none before it: a week of silence is not made up in a minute."""
    passed = [item for item in repeating if item.due_at < window.now]
    return [item for item in passed[-1:] if item.key.label not in started]


def _struck_out(post: Post, books: KnownPost, window: Window, moments: Sequence[datetime]) -> list[Untargeted]:
    """Future instants filed under an earlier timing that the present one does not have."""
    kept = {ONCE} if isinstance(post.timing, At) else {moment.isoformat() for moment in moments}
    return [
        Untargeted(key=OccurrenceKey(post=post.id, label=label), accounts=tuple(sorted(held.open_accounts)))
        for label, held in books.occurrences.items()
        if held.open_accounts and window.now < held.due_at <= window.until and label not in kept
    ]


def _changes(post: Post, occurrence: Occurrence, held: KnownOccurrence, window: Window) -> list[Filing]:
    """An account that joins a post hears of what is still to come, not of what has passed."""
    is_past = _last_call(post, occurrence) < window.now
    added = () if is_past else tuple(account for account in post.accounts if account not in held.accounts)
    kept = tuple(account for account in post.accounts if account in held.open_accounts)
    back = tuple(account for account in post.accounts if account in held.unnamed_accounts)
    changes = []
    if added:
        changes.append(Filing(post=post, occurrence=occurrence, accounts=added, is_new=True, joins=True))
    is_changed = held.definition != post.definition or held.due_at != occurrence.due_at
    if revised := (kept + back if is_changed else back):
        changes.append(Filing(post=post, occurrence=occurrence, accounts=revised, is_new=False))
    return changes


def _last_call(post: Post, occurrence: Occurrence) -> datetime:
    """Give the instant until which staff may expect a change of the schedule to let something go out."""
    return occurrence.due_at if isinstance(post.timing, Cron) else occurrence.due_at + post.max_delay
