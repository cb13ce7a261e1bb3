"""A text too long for one post, as floors: the post itself, and what goes on under it. Pure."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from publisher.domain.account import Capabilities
from publisher.domain.rendered import Marker, format_part_prefix

_SPLIT_POINTS: Final = (
    re.compile(r"(?:\r?\n){2,}"),
    re.compile(r"\r?\n"),
    re.compile(r"(?<=[。！？；])(?![。！？；”’」』）])|(?<=[。！？；][”’」』）])"),
)
"""Where a text may be parted, the best places first: between paragraphs, lines, sentences. Never inside a sentence."""


def split_text(text: str, marker: Marker, capabilities: Capabilities) -> Sequence[str]:
    """Part a text into as few floors as hold it; whole where it fits, or where even the most floors do not hold it."""
    max_length = capabilities.text_limit * (capabilities.max_extra_parts + 1)
    if (
        capabilities.text_limit < capabilities.count_text(text) <= 2 * max_length
    ):  # half of it may be empty lines, which go at borders
        for total in range(2, capabilities.max_extra_parts + 2):
            if parts := _split_into(text, marker, total, capabilities):
                return parts
    return (text,)


def _split_into(text: str, marker: Marker, total: int, capabilities: Capabilities) -> Sequence[str] | None:
    """Give exactly so many floors, each as full as its borders allow; None where that does not do."""
    line_end = "\r\n" if "\r\n" in text else "\n"
    parts, rest = [], text
    for number in range(1, total):
        head = f"{format_part_prefix(marker, number, total)}{line_end}" if number > 1 else ""
        part = _take_first(rest, capabilities.text_limit - capabilities.count_text(head), capabilities)
        if not part:
            return None
        parts.append(head + part)
        rest = rest[len(part) :].lstrip()
    parts.append(f"{format_part_prefix(marker, total, total)}{line_end}{rest}")
    return parts if rest and capabilities.count_text(parts[-1]) <= capabilities.text_limit else None


def _take_first(text: str, max_length: int, capabilities: Capabilities) -> str:
    """Give as much of a text as there is room for, up to a border: a lesser border where a better one wastes half."""
    starts = []
    for border in _SPLIT_POINTS:
        ends = [match.start() for match in border.finditer(text)]
        fitting = bisect_right(ends, max_length, key=lambda end: capabilities.count_text(text[:end]))
        start = text[: ends[fitting - 1]] if fitting else ""
        if capabilities.count_text(start) * 2 >= max_length:
            return start
        starts.append(start)
    return max(starts, key=len)
