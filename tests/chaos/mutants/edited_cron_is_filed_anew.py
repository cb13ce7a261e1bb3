"""The instants of an edited repeating post are named in Beijing's time, those of an untouched one in UTC.

Breaks I17 (F62, F69): after an edit of a repeating post whose next instants are filed, each of them is filed a second
time under another name (`…+08:00` beside `…+00:00`), and both go out.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from publisher.domain import plan
from publisher.domain.post import ONCE_OCCURRENCE, Occurrence, OccurrenceKey, OneTimeTrigger, Post

BEIJING = timezone(timedelta(hours=8))
_occurrences = plan.list_occurrences


def _named_locally(
    post: Post, store: plan.StoredPost | None, window: plan.PlanWindow, moments: Sequence[datetime]
) -> list[Occurrence]:
    found = _occurrences(post, store, window, moments)
    if store is None or store.content_hash == post.content_hash or isinstance(post.trigger, OneTimeTrigger):
        return found
    return [
        replace(item, key=replace(item.key, occurrence=item.due_at.astimezone(BEIJING).isoformat())) for item in found
    ]


def _struck_out(
    post: Post, store: plan.StoredPost, window: plan.PlanWindow, moments: Sequence[datetime]
) -> list[plan.RemovedTargets]:
    def is_kept(label: str) -> bool:
        if isinstance(post.trigger, OneTimeTrigger) or label == ONCE_OCCURRENCE:
            return isinstance(post.trigger, OneTimeTrigger) and label == ONCE_OCCURRENCE
        return datetime.fromisoformat(label) in moments

    return [
        plan.RemovedTargets(
            key=OccurrenceKey(post=post.id, occurrence=label), accounts=tuple(sorted(held.open_accounts))
        )
        for label, held in store.occurrences.items()
        if held.open_accounts and window.now < held.due_at <= window.until
        if not is_kept(label)
    ]


def plant() -> None:
    plan.list_occurrences = _named_locally
    plan.find_removed_times = _struck_out
