"""How platforms change a text that was given to them, and what their lists show."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

LINK_TAIL = " 网页链接 "
EXCERPT_CHARACTERS, EXCERPT_ENDING = 30, "…"
FIELDS_BESIDE_TEXT = frozenset({"url_objects", "annotations"})
"""What an excerpt leaves out besides most of the text."""


def _collapse_spaces(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _remove_emoji(text: str) -> str:
    return "".join(each for each in text if ord(each) < 0x1F000 and each not in "\ufe0f\u200d")


def _swap_punctuation(text: str) -> str:
    return text.translate(str.maketrans(",!?：，", "，！？:,"))


def cut_excerpt(text: str, characters: int = EXCERPT_CHARACTERS, ending: str = EXCERPT_ENDING) -> str:
    """Return the first characters of a text, and what stands in place of the rest."""
    return text if len(text) <= characters else text[:characters] + ending


REWRITES: dict[str, Callable[[str], str]] = {
    "spaces": _collapse_spaces,
    "emoji": _remove_emoji,
    "tail": lambda text: text and text + LINK_TAIL,
    "punctuation": _swap_punctuation,
    "width": lambda text: unicodedata.normalize("NFKC", text),
    "short": lambda text: text[: max(len(text) // 2, 1)],
    "garble": lambda text: text[::-1],
    "excerpt": cut_excerpt,
}


def rewrite(fault: Mapping[str, Any], text: str) -> str:
    """Return the text after the platform had its way; an unknown way is a mistake of the rule and raises KeyError."""
    how = str(fault.get("how", "spaces"))
    if how == "excerpt":
        return cut_excerpt(
            text, int(fault.get("characters", EXCERPT_CHARACTERS)), str(fault.get("ending", EXCERPT_ENDING))
        )
    return REWRITES[how](text)


def _repeat_each(items: Sequence[T]) -> list[T]:
    return [item for item in items for _ in range(2)]


REORDERINGS: dict[str, Callable[[Sequence[Any]], list[Any]]] = {
    "reverse": lambda items: list(items[::-1]),
    "twice": _repeat_each,
    "again": lambda items: [*items, *items],
}
"""How a list comes back: the oldest first, each item twice in a row, or all of it a second time after its end."""
