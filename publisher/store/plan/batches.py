"""A planning round in portions: what changes or joins what is filed comes first, and with it what is new, to a bound.

Of very much the rest follows, and between portions others get their turn. A new occurrence that a death keeps from
being filed is filed by the next round, as one whose time has just come within reach.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from publisher.domain.plan import PlannedDeliveries
from publisher.domain.post import PostId
from publisher.domain.rendered import RenderedRevision

FIRST_BATCH_SIZE = 1000
"""New deliveries that come into force with their version, in one transaction: half a second's work where it is slow."""
NEXT_BATCH_SIZE = 100
"""Deliveries of what is left that are written together: a twentieth of a second's work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedOccurrence:
    """A filing with its final texts, ready to be written."""

    planned: PlannedDeliveries
    revision: RenderedRevision


def split_into_batches(rendered: Sequence[RenderedOccurrence]) -> Sequence[Sequence[RenderedOccurrence]]:
    """Part drafts, at least into one portion. An occurrence is never parted, nor does it come before what it follows.

    What is urgent comes first, then what is due first.
    """
    ordered = list(_originals_first(sorted(rendered, key=_sort_key)))
    together = max((number for number, item in enumerate(ordered, 1) if not _can_be_deferred(item)), default=0)
    portions = [ordered[:together]]
    size, most = 0, FIRST_BATCH_SIZE
    for item in ordered[together:]:
        size += len(item.planned.accounts)
        if size > most and portions[-1]:
            most = NEXT_BATCH_SIZE
            portions.append([])
            size = len(item.planned.accounts)
        portions[-1].append(item)
    return portions


def _can_be_deferred(rendered: RenderedOccurrence) -> bool:
    """Whether it may be filed later than the version of the schedule that names it comes into force."""
    return rendered.planned.is_new and not rendered.planned.is_late_addition


def _sort_key(rendered: RenderedOccurrence) -> tuple[object, ...]:
    return _can_be_deferred(rendered), not rendered.planned.post.is_urgent, rendered.planned.occurrence.due_at


def _originals_first(rendered: Sequence[RenderedOccurrence]) -> Iterator[RenderedOccurrence]:
    """Give drafts in their order, but each after those of the post that its own follows."""
    left: dict[PostId, list[RenderedOccurrence]] = defaultdict(list)
    for item in rendered:
        left[item.planned.post.id].append(item)
    given: set[int] = set()
    for item in rendered:
        chain = [item.planned.post]
        while (originals := left.get(chain[-1].follows or PostId(""))) and originals[0].planned.post not in chain:
            chain.append(originals[0].planned.post)
        for one in [*(one for post in reversed(chain[1:]) for one in left.pop(post.id)), item]:
            if id(one) not in given:
                given.add(id(one))
                yield one
