"""How platforms change a text, and how their lists order posts."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LINK_TAIL = " 网页链接 "
EXCERPT_CHARACTERS, EXCERPT_ENDING = 30, "…"
FIELDS_BESIDE_TEXT = frozenset({"url_objects", "annotations"})
"""Fields that an excerpt omits."""


def cut_excerpt(text: str, characters: int = EXCERPT_CHARACTERS, ending: str = EXCERPT_ENDING) -> str:
    """Return the first characters of a text, and the ending if something was cut off."""
    return text if len(text) <= characters else text[:characters] + ending


REWRITES: dict[str, Callable[[str], str]] = {
    "spaces": lambda text: re.sub(r"\s+", " ", text).strip(),
    "emoji": lambda text: "".join(each for each in text if ord(each) < 0x1F000 and each not in "\ufe0f\u200d"),
    "tail": lambda text: text and text + LINK_TAIL,
    "punctuation": lambda text: text.translate(str.maketrans(",!?：，", "，！？:,")),
    "width": lambda text: unicodedata.normalize("NFKC", text),
    "short": lambda text: text[: max(len(text) // 2, 1)],
    "garble": lambda text: text[::-1],
    "excerpt": cut_excerpt,
}


def rewrite(fault: Mapping[str, Any], text: str) -> str:
    """Return the text as the platform changes it; raises KeyError for an unknown `how`."""
    how = str(fault.get("how", "spaces"))
    if how != "excerpt":
        return REWRITES[how](text)
    characters, ending = fault.get("characters", EXCERPT_CHARACTERS), fault.get("ending", EXCERPT_ENDING)
    return cut_excerpt(text, int(characters), str(ending))


REORDERINGS: dict[str, Callable[[Sequence[Any]], list[Any]]] = {
    "reverse": lambda items: list(items[::-1]),
    "twice": lambda items: [item for item in items for _ in range(2)],
    "again": lambda items: [*items, *items],
}
"""The order of a list: oldest first, each item twice in a row, or the whole list a second time after its end."""
