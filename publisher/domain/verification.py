"""When several reads together prove that an attempt left no post, or that a post is not live any more.

Whether a text that a list shows may be one of ours. Pure.

Lists cut texts, write links and white space in their own way, and may lose a marker with what they cut. So likeness is
grounds to ask a person, never to adopt a post.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from functools import lru_cache
from html import unescape

from publisher.domain.delivery import Attempt, Readback
from publisher.domain.rendered import Marker, normalize
from publisher.domain.results import NotFound, ReadFailure

MIN_READBACKS = 2


def proves_absent(readbacks: Sequence[Readback], attempt: Attempt, *, is_window_over: bool) -> bool:
    """Return True if the looks, oldest first, prove that the attempt created nothing.

    All must hold: the attempt is over; at least two looks of this attempt were complete and reached back past the
    instant before the call; the newest is one of them and, as `is_settled` says, began after everything the platform
    may still do late has had its time; and no look showed anything else than absence or a failed read.
    """
    own = [look for look in readbacks if look.attempt == attempt.number]
    complete = [
        look for look in own if isinstance(look.result, NotFound) and look.result.covered_since <= attempt.baseline_at
    ]
    return (
        attempt.ended_at is not None
        and is_window_over
        and len(complete) >= MIN_READBACKS
        and complete[-1] is own[-1]
        and all(isinstance(look.result, NotFound | ReadFailure) for look in own)
    )


def is_confirmed(readbacks: Sequence[Readback], predicate: Callable[[Readback], bool], min_span: timedelta) -> bool:
    """Return True if the newest looks all say so, the first and the last of them further apart than `apart`.

    A single answer may be a stray one, of a copy of the platform's that lags or fails. Failed reads are passed over.
    """
    saying: list[Readback] = []
    for look in reversed(readbacks):
        if isinstance(look.result, ReadFailure):
            continue
        if not predicate(look):
            break
        saying.append(look)
    return bool(saying) and saying[0].at - saying[-1].at > min_span


MIN_PREFIX_CHARS = 8
"""How many folded characters a beginning needs at least, where nothing says that the text was cut."""
DISTINCTIVE_PREFIX_CHARS = 60
"""So many folded characters at the start tell a text from any other, whatever follows."""
_ELLIPSES = ("…", "⋯", "..", "。。")
_READ_MORE_LABELS = ("展开全文", "查看全文", "阅读全文", "全文", "展开", "fulltext", "readmore")
"""What stands, folded, at the end of a text whose rest the platform offers; a longer one first."""
_LINK = re.compile(r"https?://[^\s<>\"'，。；！？、）】…]+|网页链接", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]+>")


class _Similarity(IntEnum):
    """How far one text is the beginning of another: not, too short to say, far enough to ask a person."""

    NONE = 0
    SHORT = 1
    ENOUGH = 2


@dataclass(frozen=True, slots=True)
class _ComparedText:
    """A text as it is compared, and whether it says of itself that it was cut."""

    normalized: str
    is_cut: bool

    def without(self, code: str) -> "_ComparedText":
        return _ComparedText(self.normalized.replace(code, ""), self.is_cut) if code in self.normalized else self


def is_similar(ours: Sequence[str], theirs: Sequence[str], marker: Marker) -> bool:
    """Whether two posts say the same, as far as a list shows it; both in the same parts, such as title and text.

    Tags, links and the marker count for nothing, an entity for its character. A beginning of ours is like ours where it
    has `LEAST` characters, or where an ellipsis or an offer of the full text says that it was cut. What goes on
    differently is not.
    """
    if _find_similarity(" ".join(ours), " ".join(theirs), marker) is _Similarity.ENOUGH:
        return True
    shown = [(our, their) for our, their in zip(ours, theirs, strict=True) if their.strip()]
    found = {_find_similarity(our, their, marker, is_longer_allowed=False) for our, their in shown}
    return _Similarity.ENOUGH in found and _Similarity.NONE not in found


def matches_text(ours: Sequence[str], theirs: str, marker: Marker) -> bool:
    """Whether a post says our words: all of them, or as far as a list shows it, which is an excerpt of some length.

    The last of `ours` is the text. Tags, links and the marker count for nothing.
    """
    whole, text, shown = (
        _to_compared_text_without_links(" ".join(parts)).without(marker.normalized).normalized
        for parts in (ours, ours[-1:], (theirs,))
    )
    is_excerpt = len(shown) >= min(DISTINCTIVE_PREFIX_CHARS, len(text)) and shown in whole
    return bool(text) and (text in shown or is_excerpt)


def _find_similarity(ours: str, theirs: str, marker: Marker, *, is_longer_allowed: bool = True) -> _Similarity:
    """Compare two texts from their start, in all spellings of both.

    A link or a marker may have been cut in the middle, so there is one with and one without each.
    """
    code, found = marker.normalized, _Similarity.NONE
    for spell in (_to_compared_text, _to_compared_text_without_links):
        our, their = spell(ours), spell(theirs)
        found = max(found, _compare_prefixes(our, their, is_longer_allowed=is_longer_allowed))
        found = max(
            found, _compare_prefixes(our.without(code), their.without(code), is_longer_allowed=is_longer_allowed)
        )
    return found


def _compare_prefixes(ours: _ComparedText, theirs: _ComparedText, *, is_longer_allowed: bool) -> _Similarity:
    """Say how far the shorter text is the beginning of the longer one; theirs is the longer one only if it may be."""
    shorter, longer = sorted((ours, theirs), key=lambda spelling: len(spelling.normalized))
    common = shorter.normalized[:DISTINCTIVE_PREFIX_CHARS]
    is_continued = len(theirs.normalized) > len(ours.normalized) == len(common)
    if not longer.normalized.startswith(common) or (is_continued and not is_longer_allowed):
        return _Similarity.NONE
    is_same = bool(common) and ours.normalized == theirs.normalized
    return _Similarity.ENOUGH if is_same or shorter.is_cut or len(common) >= MIN_PREFIX_CHARS else _Similarity.SHORT


@lru_cache(maxsize=256)
def _to_compared_text(text: str) -> _ComparedText:
    return _make_compared_text(_without_markup(text))


@lru_cache(maxsize=256)
def _to_compared_text_without_links(text: str) -> _ComparedText:
    return _make_compared_text(_LINK.sub(" ", _without_markup(text)))


def _without_markup(text: str) -> str:
    return unescape(_TAG.sub("", text))


def _make_compared_text(text: str) -> _ComparedText:
    folded = normalize(text)
    more = next((more for more in _READ_MORE_LABELS if folded.endswith(more)), "")
    end = next((place for place in range(len(text), 0, -1) if text[place - 1].isalnum()), 0)
    return _ComparedText(folded.removesuffix(more), bool(more) or any(mark in text[end:] for mark in _ELLIPSES))
