"""Portions of a plan: what is rendered and filed before another change gets its turn. Pure."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime

from publisher.domain.plan import Plan
from publisher.domain.post import OccurrenceKey, OneTimeTrigger, PostId


def take_portion(plan: Plan, max_texts: int) -> Plan:
    """Return the part of a plan to render and file together: the whole plan if it is small.

    Only later occurrences of repeating posts are left out, beyond `max_texts`: each post's next
    one and every change of filed deliveries stay. The next comparison of the schedule with the
    database plans the rest. Urgent posts come first, then the earliest due.
    """
    next_due: dict[PostId, datetime] = {}
    for item in plan.planned:
        if item.is_new:
            due_at = item.occurrence.due_at
            next_due[item.post.id] = min(due_at, next_due.get(item.post.id, due_at))
    later = [
        item
        for item in plan.planned
        if item.is_new
        and not item.is_late_addition
        and not isinstance(item.post.trigger, OneTimeTrigger)
        and item.occurrence.due_at > next_due[item.post.id]
    ]
    later.sort(key=lambda item: (not item.post.is_urgent, item.occurrence.due_at))
    room = max_texts - sum(len(item.accounts) for item in plan.planned)
    left_for_later: set[OccurrenceKey] = set()
    while room < 0 and later:
        item = later.pop()
        room += len(item.accounts)
        left_for_later.add(item.occurrence.key)
    return without_occurrences(plan, left_for_later)


def without_occurrences(plan: Plan, keys: AbstractSet[OccurrenceKey]) -> Plan:
    """Return a plan that files and revises nothing of these occurrences."""
    planned = tuple(item for item in plan.planned if item.occurrence.key not in keys)
    return replace(plan, planned=planned)
