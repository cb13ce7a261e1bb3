"""Limits of a post's demands on the renderer, counted before the work.

A few kilobytes can take it seconds.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Final

from publisher.domain.post import Post

MAX_BODY_LINES: Final = 2_000
MAX_MARKS: Final = 5_000
MAX_TABLE_CELLS: Final = 2_000
"""Maximum cells of the tables in a body, as cells make it costly.

A table of a few kilobytes may have 65,000 cells, as short rows are filled up.
"""
MAX_FIELD_CHARACTERS: Final = 20_000
"""For the data of a post together, and for its text for one platform."""
_MARKS: Final = re.compile(r"[*_`\[\]<>&!~\\#]|(?:[-+]|\b\d{1,9}[.)])(?=[ \t])")
"""Characters that may be marks, and markers of lists: nested ones take the longest."""
_DELIMITERS: Final = frozenset("|:- \t")
"""The characters of the line under the head of a table."""


def find_excess(post: Post) -> tuple[str, str, Mapping[str, str]] | None:
    """Return the part of a post that would take the renderer too long, None if nothing would.

    It is returned as its key, and a problem's code and facts. It is counted before any work begins.
    """
    lines, marks, cells = measure_body(post.body)
    if cells > MAX_TABLE_CELLS:
        return (
            "body",
            "post_table_too_big",
            {"number": str(cells), "limit": str(MAX_TABLE_CELLS)},
        )
    if lines > MAX_BODY_LINES or marks > MAX_MARKS:
        limits = {"lines": str(MAX_BODY_LINES), "marks": str(MAX_MARKS)}
        return "body", "post_body_too_costly", limits
    sizes = {f"data.{name}": len(str(value)) for name, value in post.data.items()}
    own = {
        f"text.{platform}": len(text)
        for platform, text in post.text_by_platform.items()
    }
    if (
        sum(sizes.values()) > MAX_FIELD_CHARACTERS
        or max(own.values(), default=0) > MAX_FIELD_CHARACTERS
    ):
        longest = max({**sizes, **own}.items(), key=itemgetter(1))[0]
        return longest, "post_field_too_long", {"limit": str(MAX_FIELD_CHARACTERS)}
    return None


@lru_cache(maxsize=16)
def measure_body(body: str) -> tuple[int, int, int]:
    """Return a Markdown body's lines, the characters that may be marks, and its table cells.

    The number of cells is the most that the tables may have.
    """
    lines, cells, columns = body.splitlines(), 0, 0
    for line in lines:
        text = line.strip(" \t>")
        if not text:
            columns = 0
        elif "|" in text and "-" in text and not set(text) - _DELIMITERS:
            columns = text.count("|") + 1
            cells += 2 * columns
        else:
            cells += columns
    return len(lines), len(_MARKS.findall(body)), cells
