"""Families in a plan: no account gets the words of a family twice, under two ids. Pure.

An ordinary post that becomes a family, and an account with another region, have new ids. What was
called under an old one, or may have been, is never filed under a new one.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from publisher.domain.account import AccountId
from publisher.domain.errors import Problem
from publisher.domain.plan import LateAccounts, Plan, PlannedDeliveries, StoredPosts
from publisher.domain.post import (
    MEMBER_MARK,
    ONCE_OCCURRENCE,
    OccurrenceKey,
    OneTimeTrigger,
    PostId,
    Schedule,
    find_family,
    make_occurrence,
)

FAMILY_CHANGED = "family_changed"
"""The problem that an account has a post under another id of its family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyConflict:
    """A delivery that may not be filed: its account has the words under the id `other`."""

    key: OccurrenceKey
    account: AccountId
    other: PostId


def keep_members(changes: Plan, schedule: Schedule, stored: StoredPosts) -> Plan:
    """Return a plan in which settings alone take no member of a family out of the schedule.

    The entry is still the one that named its accounts: they have left the settings, or have another
    region. So they are lost accounts, which may come back.
    """
    unchanged = {
        find_family(post.id)
        for post in schedule.posts
        if MEMBER_MARK in post.id
        and (found := stored.get(post.id)) is not None
        and found.is_scheduled
        and not found.is_retargeted
    }
    kept = {
        post
        for post in changes.removed_posts
        if MEMBER_MARK in post and find_family(post) in unchanged
    }
    if not kept:
        return changes
    return replace(
        changes,
        removed_posts=tuple(one for one in changes.removed_posts if one not in kept),
        removed_targets=tuple(
            replace(target, by_settings=True) if target.key.post in kept else target
            for target in changes.removed_targets
        ),
    )


def list_candidates(
    changes: Plan, schedule: Schedule, now: datetime
) -> Sequence[PlannedDeliveries]:
    """Return the deliveries of a plan that may be in conflict, also for late accounts."""
    late = {item.post: item.accounts for item in changes.late_accounts}
    added = [
        PlannedDeliveries(
            post=post,
            occurrence=make_occurrence(post, ONCE_OCCURRENCE, now),
            accounts=late[post.id],
            is_new=True,
        )
        for post in schedule.posts
        if post.id in late
    ]
    return [*changes.planned, *added]


def without_conflicts(
    changes: Plan,
    conflicts: Collection[FamilyConflict],
    stored: StoredPosts,
    now: datetime,
) -> Plan:
    """Return a plan without the deliveries that are in conflict, and their problems instead.

    A member that came into force after its own time is not filed either. Where settings alone have
    made it, that is no problem: years of posts are over.
    """
    found = {(one.key, one.account): one.other for one in conflicts}
    families = group_stored_posts(stored)
    planned = []
    late, problems = settle_late_accounts(changes, found)
    for item in changes.planned:
        key, post = item.occurrence.key, item.post
        others = {
            account: found[key, account]
            for account in item.accounts
            if (key, account) in found
        }
        kept = tuple(one for one in item.accounts if one not in others)
        siblings = families.get(find_family(post.id), set()) - {post.id}
        if siblings and comes_after_its_time(item, stored, now):
            others = {
                account: other
                for account, other in others.items()
                if (MEMBER_MARK in other) != (MEMBER_MARK in post.id)
            }
            is_by_settings = any(
                not stored[one].is_retargeted and stored[one].is_scheduled
                for one in siblings
            )
            if kept and not is_by_settings:
                late.append(LateAccounts(post=post.id, accounts=kept))
            kept = ()
        if kept:
            planned.append(replace(item, accounts=kept))
        problems += _list_problems(post.id, item.accounts, others)
    return replace(
        changes,
        planned=tuple(planned),
        left_out=tuple(problems),
        late_accounts=tuple(late),
    )


def settle_late_accounts(
    changes: Plan, found: Mapping[tuple[OccurrenceKey, AccountId], PostId]
) -> tuple[list[LateAccounts], list[Problem]]:
    """Return the accounts that are only late, and the problems of the others, in conflict."""
    late, problems = [], [*changes.left_out]
    for item in changes.late_accounts:
        key = OccurrenceKey(post=item.post, occurrence=ONCE_OCCURRENCE)
        others = {
            account: found[key, account]
            for account in item.accounts
            if (key, account) in found
        }
        problems += _list_problems(item.post, item.accounts, others)
        if kept := tuple(one for one in item.accounts if one not in others):
            late.append(replace(item, accounts=kept))
    return late, problems


def group_stored_posts(stored: StoredPosts) -> Mapping[str, set[PostId]]:
    families: dict[str, set[PostId]] = defaultdict(set)
    for post in stored:
        families[find_family(post)].add(post)
    return families


def comes_after_its_time(
    item: PlannedDeliveries, stored: StoredPosts, now: datetime
) -> bool:
    """Return True if a one-time post came into force when it could not be sent any more."""
    if not item.is_new or not isinstance(item.post.trigger, OneTimeTrigger):
        return False
    known = stored.get(item.post.id)
    since = known.active_since if known is not None else now
    return item.occurrence.due_at + item.post.max_delay < since


def _list_problems(
    post: PostId, accounts: Sequence[AccountId], others: Mapping[AccountId, PostId]
) -> Iterator[Problem]:
    for other in sorted(set(others.values())):
        named = "、".join(one for one in accounts if others.get(one) == other)
        facts = {"post": post, "account": named, "other": other, "key": "id"}
        yield Problem(code=FAMILY_CHANGED, facts=facts)
