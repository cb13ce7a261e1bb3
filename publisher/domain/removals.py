"""How much a plan takes from open posts, and when a person is asked. Pure.

It takes by the schedule or by the settings alone.
"""

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from publisher.domain.account import AccountId
from publisher.domain.plan import Plan, PlannedDeliveries, StoredPost, StoredPosts
from publisher.domain.post import ONCE_OCCURRENCE, PostId, find_family

FREE_REMOVALS = 3
FREE_REMOVAL_SHARE = 0.2
"""A new version may drop this many open posts, or this share of them, without confirmation."""


def needs_confirmation(removed: int, open_posts: int) -> bool:
    """True if a person must confirm that a new version drops so many of the open posts.

    A new version that drops many may be cut short.
    """
    return removed > max(FREE_REMOVALS, FREE_REMOVAL_SHARE * open_posts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Removals:
    """The posts that lose something by a plan, out of the `open_posts`. A family counts as one.

    Nothing is left of the posts `by_schedule`. They have left the schedule, or name no account any
    more, and nobody has saved that by itself. The posts `by_settings` lose accounts although their
    entries are the same. `is_everything`: the lost posts are all that is open.
    """

    open_posts: int
    by_schedule: tuple[str, ...]
    by_settings: tuple[str, ...]
    is_everything: bool
    taken: tuple[str, ...]

    @property
    def must_ask_about_schedule(self) -> bool:
        return needs_confirmation(len(self.by_schedule), self.open_posts)

    @property
    def must_ask_about_settings(self) -> bool:
        """True if a person must confirm the loss by the settings: much, or everything."""
        return self.is_everything or needs_confirmation(
            len(self.by_settings), self.open_posts
        )


def find_removals(
    changes: Plan, stored: StoredPosts, saved: AbstractSet[PostId] = frozenset()
) -> Removals:
    """Return the posts that lose something by a plan. People changed each `saved` post by itself.

    A post is open if it is scheduled and something of it is still to come. It is filed and open,
    not filed yet, or repeating.
    """
    open_posts = {
        post_id
        for post_id, found in stored.items()
        if found.is_scheduled and not found.is_cancelled and _has_more_to_come(found)
    }
    removed = {post_id for post_id in changes.removed_posts if post_id in open_posts}
    emptied = _find_emptied(changes, stored)
    planned = {item.occurrence.key.post for item in changes.planned}
    by_settings = {
        target.key.post for target in changes.removed_targets if target.by_settings
    }
    lost_accounts = {
        target.key.post
        for target in changes.removed_targets
        if target.by_settings or not target.is_time
    }
    vanishing = removed | (emptied & open_posts) - by_settings
    staying = _name_families((open_posts - vanishing) | planned)
    return Removals(
        open_posts=len(_name_families(open_posts)),
        by_schedule=tuple(
            post for post in _name_families(vanishing - saved) if post not in staying
        ),
        by_settings=_name_families(by_settings),
        is_everything=bool(by_settings)
        and by_settings & emptied >= open_posts - removed,
        taken=_name_families((lost_accounts | emptied) & open_posts),
    )


def _name_families(posts: Iterable[PostId]) -> tuple[str, ...]:
    return tuple(sorted(set(map(find_family, posts))))


def _has_more_to_come(post: StoredPost) -> bool:
    is_open = any(occurrence.open_accounts for occurrence in post.occurrences.values())
    return is_open or set(post.occurrences) != {ONCE_OCCURRENCE}


def _find_emptied(changes: Plan, stored: StoredPosts) -> AbstractSet[PostId]:
    """Return the posts that lose all their open deliveries, and get no other."""
    taken: dict[PostId, set[tuple[str, AccountId]]] = defaultdict(set)
    for target in changes.removed_targets:
        taken[target.key.post] |= {
            (target.key.occurrence, account) for account in target.accounts
        }
    planned = {item.occurrence.key.post for item in changes.planned}
    return {
        post_id
        for post_id, lost in taken.items()
        if post_id not in planned
        and lost
        >= {
            (name, one)
            for name, found in stored[post_id].occurrences.items()
            for one in found.open_accounts
        }
    }


def without_settings_changes(changes: Plan, stored: StoredPosts) -> Plan:
    """Return a plan without changes that come from this host's settings alone.

    It neither takes nor gives back by them.
    """
    kept = [_without_restored(item, stored) for item in changes.planned]
    return replace(
        changes,
        planned=tuple(item for item in kept if item.accounts),
        removed_targets=tuple(
            target for target in changes.removed_targets if not target.by_settings
        ),
    )


def without_unknown_accounts(changes: Plan, accounts: AbstractSet[AccountId]) -> Plan:
    """Return a plan that leaves deliveries filed for accounts outside the settings.

    Such accounts may come back.
    """
    gone = set(changes.removed_posts)
    targets = (
        target
        if target.key.post in gone
        else replace(
            target,
            accounts=tuple(
                account for account in target.accounts if account in accounts
            ),
        )
        for target in changes.removed_targets
    )
    return replace(
        changes, removed_targets=tuple(target for target in targets if target.accounts)
    )


def _without_restored(
    item: PlannedDeliveries, stored: StoredPosts
) -> PlannedDeliveries:
    """Return planned deliveries without the ones that come back with an unchanged entry."""
    post = stored.get(item.post.id)
    occurrence = post.occurrences.get(item.occurrence.key.occurrence) if post else None
    if (
        item.is_new
        or post is None
        or occurrence is None
        or post.is_retargeted
        or not post.is_scheduled
    ):
        return item
    kept = tuple(
        account
        for account in item.accounts
        if account not in occurrence.restorable_accounts
    )
    return replace(item, accounts=kept)
