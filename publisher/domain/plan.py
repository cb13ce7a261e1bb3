"""Compare the schedule with the database: deliveries to insert, revise or cancel. Pure."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from publisher.domain.account import AccountId
from publisher.domain.approval import NO_APPROVALS, ApprovalRules
from publisher.domain.errors import Problem
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    CronTrigger,
    EvergreenTrigger,
    Occurrence,
    OccurrenceKey,
    OneTimeTrigger,
    Post,
    PostId,
    Schedule,
    format_delivery_name,
    make_occurrence,
)

CRON_LOOKBACK = timedelta(days=40)
"""How far back the occurrences of recurring posts are compared with the schedule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOccurrence:
    """An occurrence in the database. `has_started`: one of its creating calls may have begun.

    `open_accounts` have a delivery that may still lead to a call, also after an unknown outcome or
    a person's decision. `untargeted_accounts` have one too, but the schedule no longer names them.
    The delivery of `cancelled_accounts` was cancelled for that reason after a call. The delivery of
    `restorable_accounts` was cancelled before any call. `orphaned_accounts` were cancelled before
    any call too, with the post that they follow. `expired_accounts` have expired before any call;
    each comes with the content that it was last compared with. An occurrence that `is_finished`
    leads to no further call; its accounts and content are not loaded. One that
    `is_due_when_approved` has no time of its own: it `awaits_approval` until then.
    """

    due_at: datetime
    content_hash: str
    accounts: frozenset[AccountId]
    has_started: bool
    open_accounts: frozenset[AccountId]
    untargeted_accounts: frozenset[AccountId] = frozenset()
    cancelled_accounts: frozenset[AccountId] = frozenset()
    restorable_accounts: frozenset[AccountId] = frozenset()
    orphaned_accounts: frozenset[AccountId] = frozenset()
    expired_accounts: Mapping[AccountId, str] = field(default_factory=dict)
    is_finished: bool = False
    is_due_when_approved: bool = False
    awaits_approval: bool = False

    @property
    def wanted_accounts(self) -> frozenset[AccountId]:
        """The accounts that a schedule may still move to another time: nothing was sent to them."""
        return (
            self.open_accounts | self.restorable_accounts | self.expired_accounts.keys()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPost:
    """A post in the database. `active_since` is when its present timing was first accepted.

    Nothing more is filed of a post that `is_cancelled`: people have cancelled, retracted or
    corrected it. `accepted` is the post as it was last accepted, if its entry in the schedule is
    another one now. `is_retargeted`: the entry's time or accounts differ from the last ones that
    all of it was planned by. `attempted_occurrences` are missing from the database, but the journal
    holds an attempt for them. `live_deliveries` are the open or published deliveries of the single
    occurrence and of ordered occurrences, by occurrence and account. They are known if something of
    the post could come back.
    """

    content_hash: str
    active_since: datetime
    occurrences: Mapping[str, StoredOccurrence] = field(default_factory=dict)
    is_cancelled: bool = False
    is_scheduled: bool = True
    attempted_occurrences: frozenset[str] = frozenset()
    live_deliveries: frozenset[tuple[str, AccountId]] = frozenset()
    accepted: Post | None = None
    is_retargeted: bool = False

    def is_fully_planned(self, post: Post) -> bool:
        """True if every delivery of the post is stored, with the text of the schedule.

        This includes all deliveries that the post will ever have.
        """
        if self.content_hash != post.content_hash or not isinstance(
            post.trigger, OneTimeTrigger
        ):
            return False
        once = self.occurrences.get(ONCE_OCCURRENCE)
        if once is None or once.is_finished:
            return once is not None
        has_its_text = once.content_hash == post.content_hash or not once.open_accounts
        lost = once.cancelled_accounts | once.restorable_accounts
        return has_its_text and once.accounts - lost >= set(post.accounts)


StoredPosts = Mapping[PostId, StoredPost]
DueTimes = Mapping[PostId, Sequence[datetime]]
"""The due times of repeating posts inside the window, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanWindow:
    """The period of stored occurrences, from now on; longer for posts that need approval.

    Such a post is stored at once if it is due once, and until `approvable_until` if it repeats.
    """

    now: datetime
    until: datetime
    approvable_until: datetime | None = None
    approval_rules: ApprovalRules = NO_APPROVALS

    def end_for(self, post: Post) -> datetime | None:
        """Return until when the occurrences of a post are stored; None if all of them are."""
        if self.approvable_until is None or not self.approval_rules.chain_for(
            post.kind
        ):
            return self.until
        return (
            None
            if isinstance(post.trigger, OneTimeTrigger)
            else max(self.until, self.approvable_until)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDeliveries:
    """Deliveries to write: one occurrence on these accounts, new (`is_new`) or revised.

    `scheduled_at` is the due time in the schedule if a person sends the post at another time.
    `is_late_addition`: other accounts already have the occurrence.
    """

    post: Post
    occurrence: Occurrence
    accounts: tuple[AccountId, ...]
    is_new: bool
    scheduled_at: datetime | None = None
    is_late_addition: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedTargets:
    """Accounts that a post no longer names, or all accounts of an occurrence off the schedule.

    In the first case they belong to one occurrence. `by_settings`: the entry is still the one that
    named them, so only the settings have changed. `is_time`: the post has another time instead.
    `is_withdrawn`: the words are replaced, and new ones follow.
    """

    key: OccurrenceKey
    accounts: tuple[AccountId, ...]
    due_at: datetime | None = None
    by_settings: bool = False
    is_time: bool = False
    is_withdrawn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LateAccounts:
    """Accounts added to a post when it was already due, or called elsewhere.

    They do not get the post.
    """

    post: PostId
    accounts: tuple[AccountId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The difference between the schedule and the database.

    Each problem of `left_out` concerns one post compared with its stored state, or one of its
    deliveries if it names an account. That post or delivery stays as it is stored. The rest of the
    schedule comes into force. The `late_accounts` get nothing, unless a person asks for it.
    """

    planned: tuple[PlannedDeliveries, ...] = ()
    removed_targets: tuple[RemovedTargets, ...] = ()
    removed_posts: tuple[PostId, ...] = ()
    left_out: tuple[Problem, ...] = ()
    late_accounts: tuple[LateAccounts, ...] = ()

    @property
    def left_out_posts(self) -> frozenset[PostId]:
        return _find_left_out_posts(self.left_out)


def _find_left_out_posts(left_out: Sequence[Problem]) -> frozenset[PostId]:
    return frozenset(
        PostId(problem.facts["post"])
        for problem in left_out
        if "account" not in problem.facts
    )


def plan(
    schedule: Schedule, stored: StoredPosts, window: PlanWindow, due_times: DueTimes
) -> Plan:
    """Compare the schedule with the database; planning again after applying gives an empty plan.

    Missed due times are made up for only if the post was not edited. The timing of an edit starts
    after it.
    """
    planned: list[PlannedDeliveries] = []
    removed_targets: list[RemovedTargets] = []
    left_out: list[Problem] = []
    late_accounts: list[LateAccounts] = []
    for post in schedule.posts:
        stored_post, times = stored.get(post.id), due_times.get(post.id, ())
        if stored_post is not None and stored_post.is_cancelled:
            left_out += (
                [_edited_after_end(post)] if _is_changed(post, stored_post) else []
            )
            continue
        occurrences = list_occurrences(post, stored_post, window, times)
        if stored_post is None:
            planned += [_plan_new(post, occurrence) for occurrence in occurrences]
        elif conflict := find_conflict(post, stored_post, window, occurrences):
            left_out.append(conflict)
        else:
            for occurrence in occurrences:
                existing = stored_post.occurrences.get(occurrence.key.occurrence)
                planned += _find_changes(post, occurrence, stored_post, window)
                removed_targets += _find_removed_accounts(
                    post, occurrence, existing, stored_post
                )
            planned += restore_ordered(post, stored_post, window, planned)
            removed_targets += find_removed_times(post, stored_post, window, times)
            left_out += find_unrestorable(post, stored_post, window, occurrences)
            if late := find_late_accounts(post, stored_post, window, occurrences):
                late_accounts.append(LateAccounts(post=post.id, accounts=late))
    left_out_posts = _find_left_out_posts(left_out)
    planned += restore_follow_ups(schedule, stored, window, planned, left_out_posts)
    scheduled = {post.id for post in schedule.posts}
    removed_posts = tuple(
        post_id
        for post_id, stored_post in stored.items()
        if post_id not in scheduled
        and stored_post.is_scheduled
        and not stored_post.is_cancelled
    )
    removed_targets += [
        target
        for post_id in removed_posts
        for target in _list_targets(post_id, stored[post_id])
    ]
    return Plan(
        planned=tuple(planned),
        removed_targets=tuple(removed_targets),
        removed_posts=removed_posts,
        left_out=tuple(left_out),
        late_accounts=tuple(late_accounts),
    )


def find_conflict(
    post: Post,
    stored: StoredPost,
    window: PlanWindow,
    occurrences: Sequence[Occurrence],
) -> Problem | None:
    """Return the first reason why a post cannot be changed as the schedule says, or None."""
    if _is_changed(post, stored) and is_over(post, stored, window, occurrences):
        return _edited_after_end(post)
    if any(
        is_moved_into_past(post, occurrence, stored, window)
        for occurrence in occurrences
    ):
        return Problem(code="moved_into_past", facts={"post": post.id, "key": "at"})
    for occurrence in occurrences:
        existing = stored.occurrences.get(occurrence.key.occurrence)
        if existing is None:
            continue
        if existing.due_at != occurrence.due_at and (
            existing.has_started or not existing.wanted_accounts
        ):
            return Problem(code="moved_after_start", facts={"post": post.id})
    is_put_back = not stored.is_scheduled or stored.content_hash != post.content_hash
    once = stored.occurrences.get(ONCE_OCCURRENCE)
    if (
        not is_put_back
        or once is None
        or once.open_accounts
        or not isinstance(post.trigger, OneTimeTrigger)
    ):
        return None
    is_too_late = not any(
        can_be_restored(post, occurrence, window) for occurrence in occurrences
    )
    lost = once.restorable_accounts - find_sent_elsewhere(
        post, ONCE_OCCURRENCE, stored.live_deliveries
    )
    if is_too_late and lost & set(post.accounts):
        return Problem(code="restored_too_late", facts={"post": post.id})
    return None


def _edited_after_end(post: Post) -> Problem:
    return Problem(code="edited_after_end", facts={"post": post.id})


def is_over(
    post: Post,
    stored: StoredPost,
    window: PlanWindow,
    occurrences: Sequence[Occurrence],
) -> bool:
    """Return True if nothing of a post is to come, by its stored state and by the schedule."""
    if isinstance(post.trigger, CronTrigger):
        until = post.trigger.until
        is_ended = until is not None and until < window.now
        return is_ended and not any(map(_is_open, stored.occurrences.values()))
    once = stored.occurrences.get(ONCE_OCCURRENCE)
    if once is None or not isinstance(post.trigger, OneTimeTrigger):
        return False
    if _is_open(once):
        return False
    may_follow = any(window.now < occurrence.expires_at for occurrence in occurrences)
    lost = once.restorable_accounts | (
        once.orphaned_accounts if may_follow else frozenset()
    )
    for occurrence in occurrences:
        lost |= find_restorable(post, occurrence, once, window)
    return not (
        lost - find_sent_elsewhere(post, ONCE_OCCURRENCE, stored.live_deliveries)
    ) & set(post.accounts)


def _is_open(stored: StoredOccurrence) -> bool:
    return bool(stored.open_accounts or stored.untargeted_accounts)


def _is_changed(post: Post, stored: StoredPost) -> bool:
    """Return True if a post that is over says something else, or has another time.

    The end of a repeating post is no change. Other accounts are no change: some may have left the
    settings.
    """
    if stored.accepted is None:
        return False
    has_other_time = stored.accepted.trigger != post.trigger
    if isinstance(post.trigger, CronTrigger) and has_other_time:
        return False
    return has_other_time or stored.accepted.content_hash != post.content_hash


def is_moved_into_past(
    post: Post, occurrence: Occurrence, stored: StoredPost, window: PlanWindow
) -> bool:
    """Return True if a one-time post gets a time that is already too late for sending it."""
    if (
        not isinstance(post.trigger, OneTimeTrigger)
        or _latest_call_at(post, occurrence) >= window.now
    ):
        return False
    if existing := stored.occurrences.get(occurrence.key.occurrence):
        return existing.due_at != occurrence.due_at
    return stored.accepted is not None and stored.accepted.trigger != post.trigger


def find_late_accounts(
    post: Post,
    stored: StoredPost,
    window: PlanWindow,
    occurrences: Sequence[Occurrence],
) -> tuple[AccountId, ...]:
    """Return the accounts that were added to a one-time post too late to get it."""
    [occurrence] = (
        occurrences
        if isinstance(post.trigger, OneTimeTrigger) and len(occurrences) == 1
        else [None]
    )
    existing = stored.occurrences.get(ONCE_OCCURRENCE)
    if occurrence is None or existing is None:
        return ()
    if not existing.is_finished and _can_be_joined(occurrence, existing, window):
        return ()
    is_running = (
        existing.open_accounts or _latest_call_at(post, occurrence) >= window.now
    )
    if is_running and not existing.is_finished:
        known = set(existing.accounts)
    else:
        # years of posts are over: a new account of the settings concerns none of them, an edit of
        # `to` asks for one
        known = set(stored.accepted.accounts if stored.accepted else post.accounts)
    return tuple(account for account in post.accounts if account not in known)


def _can_be_joined(
    occurrence: Occurrence, stored: StoredOccurrence, window: PlanWindow
) -> bool:
    """Return True if an added account gets the occurrence.

    The occurrence is not due, and no other account was called.
    """
    if stored.has_started:
        return False
    return stored.awaits_approval or max(stored.due_at, occurrence.due_at) > window.now


def find_unrestorable(
    post: Post,
    stored: StoredPost,
    window: PlanWindow,
    occurrences: Sequence[Occurrence],
) -> list[Problem]:
    """Return the deliveries that the schedule wants again and that stay as they ended.

    A call was made for them, or the account has another delivery of the post, by the order of a
    person.
    """
    problems = []
    for occurrence in occurrences:
        name = occurrence.key.occurrence
        existing = stored.occurrences.get(name)
        if existing is None or not can_be_restored(post, occurrence, window):
            continue
        sent = find_sent_elsewhere(post, name, stored.live_deliveries)
        reasons = {
            "restored_after_call": existing.cancelled_accounts - sent,
            "restored_after_order": find_restorable(post, occurrence, existing, window)
            & sent,
        }
        for code, accounts in reasons.items():
            for account in sorted(accounts & set(post.accounts)):
                subject = format_delivery_name(post.id, name, account)
                facts = {
                    "post": post.id,
                    "account": account,
                    "subject": subject,
                    "key": "to",
                }
                problems.append(Problem(code=code, facts=facts))
    return problems


def find_sent_elsewhere(
    post: Post, occurrence: str, live_deliveries: AbstractSet[tuple[str, AccountId]]
) -> frozenset[AccountId]:
    """Return the accounts with a delivery of an occurrence that may not come back.

    Another delivery of the post is in its place. For a post that is due once, any other delivery
    counts. For an ordered occurrence of another post, a newer order counts.
    """
    is_one_time = isinstance(post.trigger, OneTimeTrigger)
    is_ordered = is_ordered_occurrence(occurrence)
    return frozenset(
        account
        for other, account in live_deliveries
        if other != occurrence
        and (
            is_one_time
            or (is_ordered and is_ordered_occurrence(other) and other > occurrence)
        )
    )


def is_ordered_occurrence(name: str) -> bool:
    """Return True if a person has ordered an occurrence: its name has a fraction of a second."""
    return "." in name


def find_restorable(
    post: Post, occurrence: Occurrence, stored: StoredOccurrence, window: PlanWindow
) -> frozenset[AccountId]:
    """Return the accounts with a delivery that comes back.

    It ended before any call and could still be sent in time. An expired delivery comes back by an
    edit alone.
    """
    if not can_be_restored(post, occurrence, window):
        return frozenset()
    is_moved = stored.due_at != occurrence.due_at
    edited = {
        account
        for account, content in stored.expired_accounts.items()
        if content != post.content_hash
    }
    expired = stored.expired_accounts.keys() if is_moved else edited
    return stored.restorable_accounts | (
        expired if isinstance(post.trigger, OneTimeTrigger) else frozenset()
    )


def can_be_restored(post: Post, occurrence: Occurrence, window: PlanWindow) -> bool:
    """Return True if a delivery that comes back now could still be sent in time."""
    latest = occurrence.due_at + post.max_delay
    is_due_when_approved = (
        isinstance(post.trigger, OneTimeTrigger) and post.trigger.at is None
    )
    if is_due_when_approved and window.approval_rules.chain_for(post.kind):
        latest = occurrence.expires_at
    return window.now < min(latest, occurrence.expires_at)


def restore_ordered(
    post: Post,
    stored: StoredPost,
    window: PlanWindow,
    planned: Sequence[PlannedDeliveries],
) -> list[PlannedDeliveries]:
    """Return the deliveries that people had ordered of a post, and that come back with it.

    Of a post that is due once an account gets one: that of the schedule, else the newest order.
    """
    restored = []
    live = set(stored.live_deliveries)
    live |= {
        (one.occurrence.key.occurrence, name)
        for one in planned
        if one.post.id == post.id
        for name in one.accounts
    }
    for name, existing in sorted(stored.occurrences.items(), reverse=True):
        occurrence = make_occurrence(post, name, existing.due_at)
        if not is_ordered_occurrence(name) or not can_be_restored(
            post, occurrence, window
        ):
            continue
        wanted = existing.restorable_accounts - find_sent_elsewhere(post, name, live)
        if accounts := tuple(account for account in post.accounts if account in wanted):
            restored.append(
                PlannedDeliveries(
                    post=post, occurrence=occurrence, accounts=accounts, is_new=False
                )
            )
            live |= {(name, account) for account in accounts}
    return restored


def restore_follow_ups(
    schedule: Schedule,
    stored: StoredPosts,
    window: PlanWindow,
    planned: Sequence[PlannedDeliveries],
    left_out_posts: AbstractSet[PostId],
) -> list[PlannedDeliveries]:
    """Return the deliveries that were cancelled with their original, where that comes back."""
    coming = {
        (item.occurrence.key.post, account)
        for item in planned
        for account in item.accounts
    }
    restored = []
    for post in schedule.posts:
        stored_post = stored.get(post.id)
        if (
            stored_post is None
            or stored_post.is_cancelled
            or post.follows is None
            or post.id in left_out_posts
        ):
            continue
        original = stored.get(post.follows)
        occurrences = original.occurrences.values() if original else ()
        open_accounts = {
            account
            for occurrence in occurrences
            for account in occurrence.open_accounts
        }
        open_accounts |= {
            account for account in post.accounts if (post.follows, account) in coming
        }
        for name, existing in stored_post.occurrences.items():
            occurrence = make_occurrence(post, name, existing.due_at)
            wanted = existing.orphaned_accounts & open_accounts
            wanted -= find_sent_elsewhere(post, name, stored_post.live_deliveries)
            accounts = tuple(account for account in post.accounts if account in wanted)
            if accounts and window.now < occurrence.expires_at:
                restored.append(
                    PlannedDeliveries(
                        post=post,
                        occurrence=occurrence,
                        accounts=accounts,
                        is_new=False,
                    )
                )
    return restored


def list_occurrences(
    post: Post,
    stored: StoredPost | None,
    window: PlanWindow,
    due_times: Sequence[datetime],
) -> list[Occurrence]:
    if isinstance(post.trigger, OneTimeTrigger):
        existing = stored.occurrences.get(ONCE_OCCURRENCE) if stored else None
        if post.trigger.at is None:
            return [
                make_occurrence(
                    post, ONCE_OCCURRENCE, find_immediate_time(post, existing, window)
                )
            ]
        end = window.end_for(post)
        if existing is None and end is not None and post.trigger.at > end:
            return []
        return [make_occurrence(post, ONCE_OCCURRENCE, post.trigger.at)]
    end = window.end_for(post) or window.until
    repeating = [
        make_occurrence(post, moment.isoformat(), moment)
        for moment in due_times
        if moment <= end
    ]
    started = {*stored.occurrences, *stored.attempted_occurrences} if stored else set()
    is_edited = stored is not None and stored.content_hash != post.content_hash
    # Of the missed times only the newest is sent: a week of silence is not made up in a minute.
    newest_missed = (
        []
        if is_edited
        else [item for item in repeating if item.due_at < window.now][-1:]
    )
    return [
        *(
            item
            for item in repeating
            if item.due_at >= window.now or item.key.occurrence in started
        ),
        *(item for item in newest_missed if item.key.occurrence not in started),
    ]


def find_immediate_time(
    post: Post, existing: StoredOccurrence | None, window: PlanWindow
) -> datetime:
    """Return when a post without a time is due.

    It is due now, unless it was filed without a time before, or was called.
    """
    if existing is None:
        return window.now
    needs_approval = bool(window.approval_rules.chain_for(post.kind))
    had_time = existing.due_at > window.now or (
        needs_approval and not existing.is_due_when_approved
    )
    can_move = existing.open_accounts and not existing.has_started
    return window.now if can_move and had_time else existing.due_at


def find_removed_times(
    post: Post, stored: StoredPost, window: PlanWindow, due_times: Sequence[datetime]
) -> list[RemovedTargets]:
    """Return the future occurrences that an earlier timing stored and the present one lacks."""
    if isinstance(
        post.trigger, EvergreenTrigger
    ):  # people have ordered them, not the schedule
        return []
    is_one_time = isinstance(post.trigger, OneTimeTrigger)
    kept = (
        {ONCE_OCCURRENCE}
        if is_one_time
        else {moment.isoformat() for moment in due_times}
    )
    end = window.end_for(post)
    return [
        replace(target, by_settings=not stored.is_retargeted, is_time=True)
        for target in _list_targets(post.id, stored)
        if target.due_at is not None
        and window.now < target.due_at
        and (end is None or target.due_at <= end)
        and target.key.occurrence not in kept
    ]


def _list_targets(post: PostId, stored: StoredPost) -> list[RemovedTargets]:
    """Return all that is open of a post, as to be removed."""
    return [
        RemovedTargets(
            key=OccurrenceKey(post=post, occurrence=name),
            accounts=tuple(sorted(one.open_accounts)),
            due_at=one.due_at,
        )
        for name, one in stored.occurrences.items()
        if one.open_accounts
    ]


def _plan_new(post: Post, occurrence: Occurrence) -> PlannedDeliveries:
    return PlannedDeliveries(
        post=post, occurrence=occurrence, accounts=post.accounts, is_new=True
    )


def _find_removed_accounts(
    post: Post,
    occurrence: Occurrence,
    stored: StoredOccurrence | None,
    stored_post: StoredPost,
) -> list[RemovedTargets]:
    """Return the accounts of an occurrence that the post no longer names."""
    removed = tuple(sorted(stored.open_accounts - set(post.accounts))) if stored else ()
    if stored is None or not removed:
        return []
    by_settings = not stored_post.is_retargeted
    return [
        RemovedTargets(
            key=occurrence.key,
            accounts=removed,
            due_at=stored.due_at,
            by_settings=by_settings,
        )
    ]


def _find_changes(
    post: Post, occurrence: Occurrence, stored_post: StoredPost, window: PlanWindow
) -> list[PlannedDeliveries]:
    """Return new and revised deliveries of an occurrence.

    An added account gets no occurrence that is due or was called.
    """
    stored = stored_post.occurrences.get(occurrence.key.occurrence)
    if stored is None:
        return [_plan_new(post, occurrence)]
    if stored.is_finished:
        return []
    can_join = _can_be_joined(occurrence, stored, window)
    added = tuple(
        account
        for account in post.accounts
        if can_join and account not in stored.accounts
    )
    kept = tuple(
        account for account in post.accounts if account in stored.open_accounts
    )
    restorable = find_restorable(post, occurrence, stored, window)
    sent = find_sent_elsewhere(
        post, occurrence.key.occurrence, stored_post.live_deliveries
    )
    wanted_again = stored.untargeted_accounts | (restorable - sent)
    restored = tuple(account for account in post.accounts if account in wanted_again)
    changes = []
    if added:
        changes.append(
            PlannedDeliveries(
                post=post,
                occurrence=occurrence,
                accounts=added,
                is_new=True,
                is_late_addition=True,
            )
        )
    is_changed = (
        stored.content_hash != post.content_hash or stored.due_at != occurrence.due_at
    )
    if revised := (kept + restored if is_changed else restored):
        changes.append(
            PlannedDeliveries(
                post=post, occurrence=occurrence, accounts=revised, is_new=False
            )
        )
    return changes


def _latest_call_at(post: Post, occurrence: Occurrence) -> datetime:
    """Return the latest time that a change of the schedule may still lead to a send."""
    return (
        occurrence.due_at
        if isinstance(post.trigger, CronTrigger)
        else occurrence.due_at + post.max_delay
    )
