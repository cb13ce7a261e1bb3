"""Prove from readbacks that an attempt left no post or that a post is gone; compare texts. Pure.

Several readbacks are needed. Lists truncate texts, rewrite links and white space, and may cut off
the marker. A similar text is therefore a reason to ask a person, never to accept a post as ours.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from functools import lru_cache
from html import unescape

from publisher.domain.delivery import Attempt, Readback
from publisher.domain.post import Marker, normalize
from publisher.domain.results import NotFound, ReadFailure

MIN_READBACKS = 2
MAX_KEPT_CHARACTERS = 32_768
"""Longer texts, which no post of ours has, are compared without being kept."""


def proves_absent(
    readbacks: Sequence[Readback], attempt: Attempt, *, is_window_over: bool
) -> bool:
    """Return True if the readbacks, oldest first, prove that the attempt created nothing.

    All must hold: the attempt has ended; at least two readbacks of this attempt were complete and
    reached back to before the call; the newest is one of them and, by `is_window_over`, began after
    the platform's visibility window; and every readback showed absence or failed.
    """
    own = [readback for readback in readbacks if readback.attempt == attempt.number]
    complete = [
        readback
        for readback in own
        if isinstance(readback.result, NotFound)
        and readback.result.covered_since <= attempt.baseline_at
    ]
    return (
        attempt.ended_at is not None
        and is_window_over
        and len(complete) >= MIN_READBACKS
        and complete[-1] is own[-1]
        and all(isinstance(readback.result, NotFound | ReadFailure) for readback in own)
    )


def is_confirmed(
    readbacks: Sequence[Readback],
    predicate: Callable[[Readback], bool],
    min_span: timedelta,
) -> bool:
    """Return True if the newest readbacks all satisfy `predicate` over more than `min_span`.

    Failed reads are skipped. A single readback proves nothing: it may come from a replica of the
    platform that lags or fails.
    """
    agreeing: list[Readback] = []
    for readback in reversed(readbacks):
        if isinstance(readback.result, ReadFailure):
            continue
        if not predicate(readback):
            break
        agreeing.append(readback)
    return bool(agreeing) and agreeing[0].at - agreeing[-1].at > min_span


MIN_PREFIX_CHARS = 8
"""Minimum length of a matching prefix, in normalized characters, of an unmarked text.

A marked text is marked as truncated.
"""
DISTINCTIVE_PREFIX_CHARS = 60
"""Length in normalized characters of a prefix that identifies a text, with any ending."""
_ELLIPSES = ("…", "⋯", "..", "。。")
_READ_MORE_LABELS = (
    "展开全文",
    "查看全文",
    "阅读全文",
    "全文",
    "展开",
    "fulltext",
    "readmore",
)
"""Normalized labels at the end of a truncated text with a rest to open; longer ones first.

The platform offers the rest.
"""
_LINK = re.compile(r"https?://[^\s<>\"'，。；！？、）】…]+|网页链接", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]+>")


class _Similarity(IntEnum):
    """How far one text is a prefix of another: not, too short to decide, enough to ask a person."""

    NONE = 0
    SHORT = 1
    ENOUGH = 2


@dataclass(frozen=True, slots=True)
class _ComparedText:
    """A normalized text, and whether an ellipsis or a "read more" label marks it as truncated."""

    normalized: str
    is_cut: bool

    def without(self, code: str) -> "_ComparedText":
        return (
            _ComparedText(self.normalized.replace(code, ""), self.is_cut)
            if code in self.normalized
            else self
        )


def is_similar(ours: Sequence[str], theirs: Sequence[str], marker: Marker) -> bool:
    """Return True if two posts have the same text, as far as a list shows it.

    Both come in the same parts, such as title and text. Tags, links and the marker are ignored; an
    entity counts as its character. A prefix of our text is similar if it has `MIN_PREFIX_CHARS`
    characters, or if an ellipsis or a "read more" label marks it as truncated. A text that
    continues differently is not similar, and nothing is similar to a post without any.
    """
    own = _to_compared_text(" ".join(ours), has_links=True).without(marker.normalized)
    if not own.normalized:
        return False
    if _find_similarity(" ".join(ours), " ".join(theirs), marker) is _Similarity.ENOUGH:
        return True
    shown = [
        (our, their) for our, their in zip(ours, theirs, strict=True) if their.strip()
    ]
    found = {
        _find_similarity(our, their, marker, is_longer_allowed=False)
        for our, their in shown
    }
    return _Similarity.ENOUGH in found and _Similarity.NONE not in found


def matches_text(ours: Sequence[str], theirs: str, marker: Marker) -> bool:
    """Return True if a post contains our whole text, or an excerpt long enough to identify it.

    The last of `ours` is the text. Tags, links and the marker are ignored.
    """
    whole, text, shown = (
        _to_compared_text(" ".join(parts), has_links=False)
        .without(marker.normalized)
        .normalized
        for parts in (ours, ours[-1:], (theirs,))
    )
    is_excerpt = (
        len(shown) >= min(DISTINCTIVE_PREFIX_CHARS, len(text)) and shown in whole
    )
    return bool(text) and (text in shown or is_excerpt)


def _find_similarity(
    ours: str, theirs: str, marker: Marker, *, is_longer_allowed: bool = True
) -> _Similarity:
    """Return the highest similarity of two texts, compared with and without links and marker.

    A link or a marker may have been cut in the middle, so each is compared both ways.
    """
    pairs = []
    for has_links in (True, False):
        our = _to_compared_text(ours, has_links=has_links)
        their = _to_compared_text(theirs, has_links=has_links)
        pairs += [
            (our, their),
            (our.without(marker.normalized), their.without(marker.normalized)),
        ]
    return max(
        _compare_prefixes(our, their, is_longer_allowed=is_longer_allowed)
        for our, their in pairs
    )


def _compare_prefixes(
    ours: _ComparedText, theirs: _ComparedText, *, is_longer_allowed: bool
) -> _Similarity:
    """Return how far the shorter text is a prefix of the longer one.

    Theirs may only be longer if allowed.
    """
    shorter, longer = sorted(
        (ours, theirs), key=lambda compared: len(compared.normalized)
    )
    common = shorter.normalized[:DISTINCTIVE_PREFIX_CHARS]
    is_continued = len(theirs.normalized) > len(ours.normalized) == len(common)
    if not longer.normalized.startswith(common) or (
        is_continued and not is_longer_allowed
    ):
        return _Similarity.NONE
    is_same = bool(common) and ours.normalized == theirs.normalized
    return (
        _Similarity.ENOUGH
        if is_same or shorter.is_cut or len(common) >= MIN_PREFIX_CHARS
        else _Similarity.SHORT
    )


def _to_compared_text(text: str, *, has_links: bool) -> _ComparedText:
    """Return a text without tags, and without links unless `has_links`."""
    make = (
        _make_compared_text if len(text) > MAX_KEPT_CHARACTERS else _keep_compared_text
    )
    return make(text, has_links=has_links)


def _make_compared_text(text: str, *, has_links: bool) -> _ComparedText:
    text = unescape(_TAG.sub("", text))
    if not has_links:
        text = _LINK.sub(" ", text)
    normalized = normalize(text)
    label = next(
        (label for label in _READ_MORE_LABELS if normalized.endswith(label)), ""
    )
    end = next(
        (
            position
            for position in range(len(text), 0, -1)
            if text[position - 1].isalnum()
        ),
        0,
    )
    is_cut = bool(label) or any(ellipsis in text[end:] for ellipsis in _ELLIPSES)
    return _ComparedText(normalized.removesuffix(label), is_cut)


_keep_compared_text = lru_cache(maxsize=512)(_make_compared_text)
