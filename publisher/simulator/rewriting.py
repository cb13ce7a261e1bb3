"""How platforms change a text that was given to them."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

TAIL = " 网页链接 "
LENGTH, ENDING = 20, "…"
"""How much of a text is left by `shorten`, and what stands for the rest, unless the fault says otherwise."""


def _spaces(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _emoji(text: str) -> str:
    return "".join(each for each in text if ord(each) < 0x1F000 and each not in "\ufe0f\u200d")


def _punctuation(text: str) -> str:
    return text.translate(str.maketrans(",!?：，", "，！？:,"))


HOW: dict[str, Callable[[str], str]] = {
    "spaces": _spaces,
    "emoji": _emoji,
    "tail": lambda text: text and text + TAIL,
    "punctuation": _punctuation,
    "width": lambda text: unicodedata.normalize("NFKC", text),
    "short": lambda text: text[: max(len(text) // 2, 1)],
    "shorten": lambda text: _shorten(text, LENGTH, ENDING),
    "garble": lambda text: text[::-1],
}


def rewrite(fault: Mapping[str, Any], text: str) -> str:
    """The text after the platform had its way; an unknown way is a mistake of the rule and raises KeyError."""
    how = str(fault.get("how", "spaces"))
    if how == "shorten":
        return _shorten(text, int(fault.get("to", LENGTH)), str(fault.get("ending", ENDING)))
    return HOW[how](text)


def _shorten(text: str, length: int, ending: str) -> str:
    return text if len(text) <= length else text[:length] + ending
