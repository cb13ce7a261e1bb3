"""Portions of a plan: what is rendered and filed before another change gets its turn. Pure."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime

from publisher.domain.plan import (
    Plan,
    PlannedDeliveries,
    RemovedTargets,
    is_ordered_occurrence,
)
from publisher.domain.post import CronTrigger, OccurrenceKey, Post, PostId, Schedule

LONG_TEXT = 2000
"""How many characters of a post take as much time as one more text."""


def count_texts(item: PlannedDeliveries) -> int:
    """Return the number of texts to render, where each long one counts as several."""
    return len(item.accounts) * (1 + _count_characters(item.post) // LONG_TEXT)


def _count_characters(post: Post) -> int:
    written = (post.title, post.body, *post.text_by_platform.values())
    return sum(map(len, written)) + sum(
        len(repr(value)) for value in post.data.values()
    )


def take_portion(plan: Plan, max_texts: int, now: datetime) -> Plan:
    """Return the part of a plan to render and file together: the whole plan if it is small.

    Only later occurrences of repeating posts are left out, beyond `max_texts`: each post's next
    one stays, and everything that is due. The next comparison of the schedule with the database
    plans the rest. Until then an occurrence that was filed with replaced words is withdrawn. Urgent
    posts come first, then the earliest due.
    """
    later = _find_later(plan.planned, now)
    later.sort(key=lambda item: (not item.post.is_urgent, item.occurrence.due_at))
    room = max_texts - sum(map(count_texts, plan.planned))
    withdrawn: list[RemovedTargets] = []
    left_for_later: set[OccurrenceKey] = set()
    while room < 0 and later:
        item = later.pop()
        room += count_texts(item)
        left_for_later.add(item.occurrence.key)
        if not item.is_new:
            withdrawn.append(
                RemovedTargets(
                    key=item.occurrence.key,
                    accounts=item.accounts,
                    due_at=item.occurrence.due_at,
                    is_withdrawn=True,
                )
            )
    return replace(
        without_occurrences(plan, left_for_later),
        removed_targets=(*plan.removed_targets, *withdrawn),
    )


def _find_later(
    planned: Sequence[PlannedDeliveries], now: datetime
) -> list[PlannedDeliveries]:
    """Return the future occurrences of repeating posts, without the next one of each."""
    future = [
        item
        for item in planned
        if isinstance(item.post.trigger, CronTrigger)
        and not is_ordered_occurrence(item.occurrence.key.occurrence)
        and not item.is_late_addition
        and item.occurrence.due_at > now
    ]
    next_due: dict[PostId, datetime] = {}
    for item in future:
        due_at = item.occurrence.due_at
        next_due[item.post.id] = min(due_at, next_due.get(item.post.id, due_at))
    return [item for item in future if item.occurrence.due_at > next_due[item.post.id]]


def without_occurrences(plan: Plan, keys: AbstractSet[OccurrenceKey]) -> Plan:
    """Return a plan that files and revises nothing of these occurrences."""
    planned = tuple(item for item in plan.planned if item.occurrence.key not in keys)
    return replace(plan, planned=planned)


def without_left_out_posts(schedule: Schedule, changes: Plan) -> Schedule:
    """Return a schedule without the posts that stay as they are stored.

    Their follow-ups go by the stored state.
    """
    return Schedule(
        posts=tuple(
            post for post in schedule.posts if post.id not in changes.left_out_posts
        )
    )
