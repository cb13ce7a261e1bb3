"""A plan in batches, each a transaction of its own: other writers get their turn in between.

The first one is written with the schedule version. Content that a person waits for comes first:
urgent posts, then the earliest due. After a crash the next planning run finds the missing part. An
occurrence is never split.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from publisher.domain.account import AccountId
from publisher.domain.plan import Plan, PlannedDeliveries, RemovedTargets
from publisher.domain.post import (
    OccurrenceKey,
    PostId,
    RenderedRevision,
    find_family,
)

FIRST_BATCH_SIZE = 1000
"""New deliveries committed together with their schedule version.

That is about half a second of work on slow hardware.
"""
NEXT_BATCH_SIZE = 100
"""New deliveries in each later batch: about a twentieth of a second of work on slow hardware."""
CHANGE_SIZE = 5
"""As how many new deliveries one counts that is revised or cancelled."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedOccurrence:
    """Planned deliveries of one occurrence with their final texts, ready to be written."""

    planned: PlannedDeliveries
    revision: RenderedRevision

    def without(
        self, refused: AbstractSet[tuple[OccurrenceKey, AccountId]]
    ) -> "RenderedOccurrence":
        """Return the same occurrence without the refused accounts."""
        key = self.planned.occurrence.key
        kept = [one for one in self.planned.accounts if (key, one) not in refused]
        if len(kept) == len(self.planned.accounts):
            return self
        texts = [one for one in self.revision.rendered_posts if one.account in kept]
        return RenderedOccurrence(
            planned=replace(self.planned, accounts=tuple(kept)),
            revision=replace(self.revision, rendered_posts=tuple(texts)),
        )


@dataclass(slots=True, kw_only=True)
class PlanBatch:
    """The part of a plan that one transaction writes.

    The last one `is_last`: after it the whole plan is written.
    """

    rendered: list[RenderedOccurrence] = field(default_factory=list)
    removed_targets: list[RemovedTargets] = field(default_factory=list)
    removed_posts: list[PostId] = field(default_factory=list)
    is_last: bool = False


@dataclass(slots=True, kw_only=True)
class OccurrenceChange:
    """The plan's changes of one occurrence.

    `unschedules` means that it unschedules its post, and is the post's last change.
    """

    key: OccurrenceKey
    follows: PostId | None = None
    is_urgent: bool = False
    due_at: datetime = _LONG_AGO
    rendered: list[RenderedOccurrence] = field(default_factory=list)
    removed_targets: list[RemovedTargets] = field(default_factory=list)
    unschedules: bool = False

    @property
    def turn(self) -> tuple[bool, datetime, bool]:
        """Urgent changes come first, then the earliest due."""
        return not self.is_urgent, self.due_at, bool(self.rendered)

    @property
    def size(self) -> int:
        new = sum(
            len(item.planned.accounts) for item in self.rendered if item.planned.is_new
        )
        changed = sum(
            len(item.planned.accounts)
            for item in self.rendered
            if not item.planned.is_new
        )
        removed = sum(len(target.accounts) for target in self.removed_targets)
        return new + CHANGE_SIZE * (changed + removed + self.unschedules)


def split_into_batches(
    plan: Plan, rendered: Sequence[RenderedOccurrence]
) -> Sequence[PlanBatch]:
    """Split a plan into batches; there is always at least one.

    Urgent posts come first, then the earliest due. An occurrence never precedes the one it follows,
    nor a removed one of its own post.
    """
    batches, size, limit = [PlanBatch()], 0, FIRST_BATCH_SIZE
    for change in _list_changes(plan, rendered):
        size += change.size
        batch = batches[-1]
        if size > limit and (
            batch.rendered or batch.removed_targets or batch.removed_posts
        ):
            limit, size = NEXT_BATCH_SIZE, change.size
            batches.append(batch := PlanBatch())
        batch.rendered += change.rendered
        batch.removed_targets += change.removed_targets
        batch.removed_posts += [change.key.post] if change.unschedules else []
    batches[-1].is_last = True
    return batches


def join_batches(batches: Sequence[PlanBatch]) -> PlanBatch:
    """Return one batch for all that several have."""
    return PlanBatch(
        rendered=[item for batch in batches for item in batch.rendered],
        removed_targets=[
            target for batch in batches for target in batch.removed_targets
        ],
        removed_posts=[post for batch in batches for post in batch.removed_posts],
        is_last=True,
    )


def _list_changes(
    plan: Plan, rendered: Sequence[RenderedOccurrence]
) -> Iterator[OccurrenceChange]:
    """Yield the changes of all occurrences, in write order."""
    changes: dict[OccurrenceKey, OccurrenceChange] = {}
    for item in rendered:
        planned = item.planned
        change = changes.setdefault(
            planned.occurrence.key, OccurrenceChange(key=planned.occurrence.key)
        )
        change.rendered.append(item)
        change.follows, change.is_urgent = planned.post.follows, planned.post.is_urgent
        change.due_at = planned.occurrence.due_at
    for target in plan.removed_targets:
        change = changes.setdefault(target.key, OccurrenceChange(key=target.key))
        change.removed_targets.append(target)
        if not change.rendered:
            change.due_at = target.due_at or _LONG_AGO
    ordered = sorted(changes.values(), key=lambda change: change.turn)
    first_turns = {
        find_family(change.key.post): change.turn for change in reversed(ordered)
    }
    # An occurrence that has moved, also to another id of its family, is taken out before it is
    # filed again: both must never be able to be sent.
    ordered.sort(
        key=lambda change: (
            change.turn
            if change.rendered
            else (*first_turns[find_family(change.key.post)][:2], False)
        )
    )
    last = {change.key.post: change for change in ordered}
    for post in plan.removed_posts:
        if post in last:
            last[post].unschedules = True
        else:
            ordered.insert(
                0,
                OccurrenceChange(
                    key=OccurrenceKey(post=post, occurrence=""), unschedules=True
                ),
            )
    return _originals_first(ordered)


def _originals_first(changes: Sequence[OccurrenceChange]) -> Iterator[OccurrenceChange]:
    """Yield changes in their order, but each after the changes of the post that its own follows."""
    by_post: dict[PostId, list[OccurrenceChange]] = defaultdict(list)
    for change in changes:
        by_post[change.key.post].append(change)
    yielded: set[OccurrenceKey] = set()
    for change in changes:
        chain = [change]
        posts = [change.key.post]
        while (originals := by_post.get(chain[-1].follows or PostId(""))) and originals[
            0
        ].key.post not in posts:
            chain.append(originals[0])
            posts.append(originals[0].key.post)
        for one in [
            *(one for post in reversed(posts[1:]) for one in by_post.pop(post)),
            change,
        ]:
            if one.key not in yielded:
                yielded.add(one.key)
                yield one
