"""Whether a text that a list shows may be one of ours. Pure.

Lists cut texts, write links and white space in their own way, and may lose a marker with what they cut. So likeness is
grounds to ask a person, never to adopt a post.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from html import unescape

from publisher.domain.rendition import Marker, fold

LEAST = 8
"""How many folded characters a beginning needs at least, where nothing says that the text was cut."""
TELLING = 60
"""So many folded characters at the start tell a text from any other, whatever follows."""
_ELLIPSES = ("…", "⋯", "..", "。。")
_MORE = ("展开全文", "查看全文", "阅读全文", "全文", "展开", "fulltext", "readmore")
"""What stands, folded, at the end of a text whose rest the platform offers; a longer one first."""
_LINK = re.compile(r"https?://[^\s<>\"'，。；！？、）】…]+|网页链接", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]+>")


class _Likeness(IntEnum):
    """How far one text is the beginning of another: not, too short to say, far enough to ask a person."""

    NONE = 0
    SHORT = 1
    ENOUGH = 2


@dataclass(frozen=True, slots=True)
class _Spelling:
    """A text as it is compared, and whether it says of itself that it was cut."""

    folded: str
    is_cut: bool

    def without(self, code: str) -> "_Spelling":
        return _Spelling(self.folded.replace(code, ""), self.is_cut) if code in self.folded else self


def is_alike(ours: Sequence[str], theirs: Sequence[str], marker: Marker) -> bool:
    """Whether two posts say the same, as far as a list shows it; both in the same parts, such as title and text.

    Tags, links and the marker count for nothing, an entity for its character. A beginning of ours is like ours where it
    has `LEAST` characters, or where an ellipsis or an offer of the full text says that it was cut. What goes on
    differently is not.
    """
    if _likeness(" ".join(ours), " ".join(theirs), marker) is _Likeness.ENOUGH:
        return True
    shown = [(our, their) for our, their in zip(ours, theirs, strict=True) if their.strip()]
    found = {_likeness(our, their, marker, may_go_on=False) for our, their in shown}
    return _Likeness.ENOUGH in found and _Likeness.NONE not in found


def says_our_words(ours: Sequence[str], theirs: str, marker: Marker) -> bool:
    """Whether a post says our words: all of them, or as far as a list shows it, which is an excerpt of some length.

    The last of `ours` is the text. Tags, links and the marker count for nothing.
    """
    whole, text, shown = (
        _without_links(" ".join(parts)).without(marker.folded).folded for parts in (ours, ours[-1:], (theirs,))
    )
    is_excerpt = len(shown) >= min(TELLING, len(text)) and shown in whole
    return bool(text) and (text in shown or is_excerpt)


def _likeness(ours: str, theirs: str, marker: Marker, *, may_go_on: bool = True) -> _Likeness:
    """Compare two texts from their start, in all spellings of both.

    A link or a marker may have been cut in the middle, so there is one with and one without each.
    """
    code, found = marker.folded, _Likeness.NONE
    for spell in (_as_it_stands, _without_links):
        our, their = spell(ours), spell(theirs)
        found = max(found, _compare(our, their, may_go_on=may_go_on))
        found = max(found, _compare(our.without(code), their.without(code), may_go_on=may_go_on))
    return found


def _compare(ours: _Spelling, theirs: _Spelling, *, may_go_on: bool) -> _Likeness:
    """Say how far the shorter text is the beginning of the longer one; theirs is the longer one only if it may be."""
    shorter, longer = sorted((ours, theirs), key=lambda spelling: len(spelling.folded))
    common = shorter.folded[:TELLING]
    is_continued = len(theirs.folded) > len(ours.folded) == len(common)
    if not longer.folded.startswith(common) or (is_continued and not may_go_on):
        return _Likeness.NONE
    is_same = bool(common) and ours.folded == theirs.folded
    return _Likeness.ENOUGH if is_same or shorter.is_cut or len(common) >= LEAST else _Likeness.SHORT


@lru_cache(maxsize=256)
def _as_it_stands(text: str) -> _Spelling:
    return _spelling(_without_markup(text))


@lru_cache(maxsize=256)
def _without_links(text: str) -> _Spelling:
    return _spelling(_LINK.sub(" ", _without_markup(text)))


def _without_markup(text: str) -> str:
    return unescape(_TAG.sub("", text))


def _spelling(text: str) -> _Spelling:
    folded = fold(text)
    more = next((more for more in _MORE if folded.endswith(more)), "")
    end = next((place for place in range(len(text), 0, -1) if text[place - 1].isalnum()), 0)
    return _Spelling(folded.removesuffix(more), bool(more) or any(mark in text[end:] for mark in _ELLIPSES))
