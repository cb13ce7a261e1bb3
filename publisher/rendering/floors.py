"""A text too long for one post, as floors: the post itself, and what goes on under it. Pure."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from publisher.domain.account import Traits
from publisher.domain.rendition import Marker, floor_sign

_BORDERS: Final = (
    re.compile(r"(?:\r?\n){2,}"),
    re.compile(r"\r?\n"),
    re.compile(r"(?<=[。！？；])(?![。！？；”’」』）])|(?<=[。！？；][”’」』）])"),
)
"""Where a text may be parted, the best places first: between paragraphs, lines, sentences. Never inside a sentence."""


def in_floors(text: str, marker: Marker, traits: Traits) -> Sequence[str]:
    """Part a text into as few floors as hold it; whole where it fits, or where even the most floors do not hold it."""
    most = traits.text_limit * (traits.most_floors + 1)
    if traits.text_limit < traits.measure(text) <= 2 * most:  # half of it may be empty lines, which go at borders
        for total in range(2, traits.most_floors + 2):
            if floors := _parted(text, marker, total, traits):
                return floors
    return (text,)


def _parted(text: str, marker: Marker, total: int, traits: Traits) -> Sequence[str] | None:
    """Give exactly so many floors, each as full as its borders allow; None where that does not do."""
    line_end = "\r\n" if "\r\n" in text else "\n"
    floors, rest = [], text
    for number in range(1, total):
        head = f"{floor_sign(marker, number, total)}{line_end}" if number > 1 else ""
        part = _start(rest, traits.text_limit - traits.measure(head), traits)
        if not part:
            return None
        floors.append(head + part)
        rest = rest[len(part) :].lstrip()
    floors.append(f"{floor_sign(marker, total, total)}{line_end}{rest}")
    return floors if rest and traits.measure(floors[-1]) <= traits.text_limit else None


def _start(text: str, room: int, traits: Traits) -> str:
    """Give as much of a text as there is room for, up to a border: a lesser border where a better one wastes half."""
    starts = []
    for border in _BORDERS:
        ends = [match.start() for match in border.finditer(text)]
        fitting = bisect_right(ends, room, key=lambda end: traits.measure(text[:end]))
        start = text[: ends[fitting - 1]] if fitting else ""
        if traits.measure(start) * 2 >= room:
            return start
        starts.append(start)
    return max(starts, key=len)
