"""The instants of an edited repeating post are named in Beijing's time, those of an untouched one in UTC.

Breaks I17 (F62, F69): after an edit of a repeating post whose next instants are filed, each of them is filed a second
time under another name (`…+08:00` beside `…+00:00`), and both go out.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from publisher.domain import plan
from publisher.domain.post import ONCE, At, Occurrence, OccurrenceKey, Post

BEIJING = timezone(timedelta(hours=8))
_occurrences = plan._occurrences


def _named_locally(
    post: Post, books: plan.KnownPost | None, window: plan.Window, moments: Sequence[datetime]
) -> list[Occurrence]:
    found = _occurrences(post, books, window, moments)
    if books is None or books.definition == post.definition or isinstance(post.timing, At):
        return found
    return [replace(item, key=replace(item.key, label=item.due_at.astimezone(BEIJING).isoformat())) for item in found]


def _struck_out(
    post: Post, books: plan.KnownPost, window: plan.Window, moments: Sequence[datetime]
) -> list[plan.Untargeted]:
    def is_kept(label: str) -> bool:
        if isinstance(post.timing, At) or label == ONCE:
            return isinstance(post.timing, At) and label == ONCE
        return datetime.fromisoformat(label) in moments

    return [
        plan.Untargeted(key=OccurrenceKey(post=post.id, label=label), accounts=tuple(sorted(held.open_accounts)))
        for label, held in books.occurrences.items()
        if held.open_accounts and window.now < held.due_at <= window.until
        if not is_kept(label)
    ]


def plant() -> None:
    plan._occurrences = _named_locally
    plan._struck_out = _struck_out
