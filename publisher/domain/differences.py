"""Differences of two texts or lists, found in bounded time. Pure."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

MAX_COMPARISONS = 2**12
"""Maximum pairs of items to compare.

The time grows faster than their number, up to its power of one and a half.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part that two sequences share, or a part of one that replaces a part of the other.

    Either side may be empty.
    """

    is_same: bool
    before: slice
    after: slice


def compare_sequences(
    before: Sequence[Hashable], after: Sequence[Hashable]
) -> Iterator[Span]:
    """Yield the parts of two sequences in their order.

    A difference that is long on both sides is one part.
    """
    start = _count_common(before, after)
    end = _count_common(before[start:][::-1], after[start:][::-1])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if start:
        yield Span(is_same=True, before=slice(0, start), after=slice(0, start))
    if len(old) * len(new) <= MAX_COMPARISONS:
        codes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    else:
        codes = [("replace", 0, len(old), 0, len(new))]
    for tag, i1, i2, j1, j2 in codes:
        places = slice(start + i1, start + i2), slice(start + j1, start + j2)
        yield Span(is_same=tag == "equal", before=places[0], after=places[1])
    if end:
        places = (
            slice(len(before) - end, len(before)),
            slice(len(after) - end, len(after)),
        )
        yield Span(is_same=True, before=places[0], after=places[1])


def _count_common(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Return how many items two sequences have in common at their start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next(
        (number for number, (first, second) in pairs if first != second),
        min(len(one), len(other)),
    )
