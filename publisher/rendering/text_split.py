"""Split a long text into parts, between paragraphs, lines or sentences. Pure."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from publisher.domain.account import Capabilities
from publisher.domain.post import Marker, format_part_prefix

_SPLIT_POINTS: Final = (
    re.compile(r"(?:\r?\n){2,}"),
    re.compile(r"\r?\n"),
    re.compile(r"(?<=[。！？；])(?![。！？；”’」』）])|(?<=[。！？；][”’」』）])"),
)
"""Where a text may be split, best places first: between paragraphs, lines, sentences.

A text is never split inside a sentence.
"""


def split_text(
    text: str, marker: Marker, capabilities: Capabilities, picture_count: int = 0
) -> Sequence[str]:
    """Split a text into as few parts as hold it, or return it whole.

    It is whole if it fits, or if even the most parts are too few. The first part has the pictures.
    """
    max_length = capabilities.text_limit * (capabilities.max_extra_parts + 1)
    first_limit = capabilities.text_limit_beside(picture_count)
    # Twice the length may still fit: half of it may be empty lines, which are dropped between
    # parts.
    if first_limit < capabilities.count_text(text) <= 2 * max_length:
        for total in range(2, capabilities.max_extra_parts + 2):
            if parts := _split_into(text, marker, total, capabilities, first_limit):
                return parts
    return (text,)


def _split_into(
    text: str, marker: Marker, total: int, capabilities: Capabilities, first_limit: int
) -> Sequence[str] | None:
    """Return exactly `total` parts, each as full as the split points allow.

    Return None if that is not possible.
    """
    line_end = "\r\n" if "\r\n" in text else "\n"
    parts: list[str] = []
    rest = text
    for number in range(1, total):
        head = (
            f"{format_part_prefix(marker, number, total)}{line_end}"
            if number > 1
            else ""
        )
        limit = capabilities.text_limit if parts else first_limit
        part = _take_first(rest, limit - capabilities.count_text(head), capabilities)
        if not part:
            return None
        parts.append(head + part)
        rest = rest[len(part) :].lstrip()
    parts.append(f"{format_part_prefix(marker, total, total)}{line_end}{rest}")
    return (
        parts
        if rest and capabilities.count_text(parts[-1]) <= capabilities.text_limit
        else None
    )


def _take_first(text: str, max_length: int, capabilities: Capabilities) -> str:
    """Return as much of a text as fits, up to a split point.

    A worse point is used if a better one wastes half of the room.
    """
    starts = []
    for split_point in _SPLIT_POINTS:
        ends = [match.start() for match in split_point.finditer(text)]
        fitting = bisect_right(
            ends, max_length, key=lambda end: capabilities.count_text(text[:end])
        )
        start = text[: ends[fitting - 1]] if fitting else ""
        if capabilities.count_text(start) * 2 >= max_length:
            return start
        starts.append(start)
    return max(starts, key=len)
