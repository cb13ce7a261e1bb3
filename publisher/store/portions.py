"""A planning round in portions: what changes or joins what is filed comes first, and with it what is new, to a bound.

Of very much the rest follows, and between portions others get their turn. A new occurrence that a death keeps from
being filed is filed by the next round, as one whose time has just come within reach.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from publisher.domain.plan import Filing
from publisher.domain.post import PostId
from publisher.domain.rendition import Revision

TOGETHER = 1000
"""New deliveries that come into force with their version, in one transaction: half a second's work where it is slow."""
PORTION = 100
"""Deliveries of what is left that are written together: a twentieth of a second's work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A filing with its final texts, ready to be written."""

    filing: Filing
    revision: Revision


def in_portions(drafts: Sequence[Draft]) -> Sequence[Sequence[Draft]]:
    """Part drafts, at least into one portion. An occurrence is never parted, nor does it come before what it follows.

    What is urgent comes first, then what is due first.
    """
    ordered = list(_originals_first(sorted(drafts, key=_rank)))
    together = max((number for number, draft in enumerate(ordered, 1) if not _is_apart(draft)), default=0)
    portions = [ordered[:together]]
    size, most = 0, TOGETHER
    for draft in ordered[together:]:
        size += len(draft.filing.accounts)
        if size > most and portions[-1]:
            most = PORTION
            portions.append([])
            size = len(draft.filing.accounts)
        portions[-1].append(draft)
    return portions


def _is_apart(draft: Draft) -> bool:
    """Whether it may be filed later than the version of the schedule that names it comes into force."""
    return draft.filing.is_new and not draft.filing.joins


def _rank(draft: Draft) -> tuple[object, ...]:
    return _is_apart(draft), not draft.filing.post.is_urgent, draft.filing.occurrence.due_at


def _originals_first(drafts: Sequence[Draft]) -> Iterator[Draft]:
    """Give drafts in their order, but each after those of the post that its own follows."""
    left: dict[PostId, list[Draft]] = defaultdict(list)
    for draft in drafts:
        left[draft.filing.post.id].append(draft)
    given: set[int] = set()
    for draft in drafts:
        chain = [draft.filing.post]
        while (originals := left.get(chain[-1].follows or PostId(""))) and originals[0].filing.post not in chain:
            chain.append(originals[0].filing.post)
        for one in [*(one for post in reversed(chain[1:]) for one in left.pop(post.id)), draft]:
            if id(one) not in given:
                given.add(id(one))
                yield one
