"""The changes between two contents of an occurrence: by words, numbers and dates, each once."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from publisher.domain.account import AccountId, Platform
from publisher.domain.differences import compare_sequences
from publisher.domain.post import RenderedPost
from publisher.rendering.markdown import article_lines

SENTENCE = re.compile(r".*?(?:[。！？；\n]|[.!?;](?!\w))|.+", re.DOTALL)
WORD = re.compile(
    r"""https?://[^\s，。；！？、（）【】“”]+
    | (?:\d+(?:[.,:：/~～–-]\d+)*[年月日号时点分秒万亿元%％℃]*)+
    | (?:[〇零一二两三四五六七八九十百千万亿]+[年月日号时分秒元])+
    | [A-Za-z]+(?:[-._@]?[A-Za-z0-9]+)*
    | .""",
    re.VERBOSE | re.DOTALL,
)
"""A link, a number with its unit, a date, a Latin word, or a single character."""
BOUNDARY = re.compile(r"[^\w]")
MARKUP = re.compile(r"<[^>]*>")
CONTEXT_CHARACTERS = 30
"""How much unchanged text is shown before and after a difference."""
MAX_BRIDGE_CHARACTERS = 2
"""An equal part this short between two differences is shown as a part of them."""
FIELDS = ("title", "summary", "text", "markup", "link", "images", "cover")
DESCRIBED_FIELDS = frozenset({"markup", "cover"})
"""Fields with no words for people: only that they have changed is said."""


class PieceKind(StrEnum):
    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a text that is the same in both versions, or in one of them only."""

    kind: PieceKind
    text: str


class Place(NamedTuple):
    """A field of a platform, and the accounts with the same differences there."""

    field: str
    platform: Platform
    accounts: tuple[AccountId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChange:
    """The differences that stand in these fields of these accounts, in the first field's text."""

    pieces: Sequence[Piece]
    fields: Sequence[str]
    accounts: Sequence[AccountId]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentChanges:
    """The differences between two contents of an occurrence."""

    texts: Sequence[TextChange]
    added_accounts: Sequence[AccountId]
    removed_accounts: Sequence[AccountId]

    @property
    def number_of_accounts(self) -> int:
        return len({account for change in self.texts for account in change.accounts})


@dataclass(slots=True, kw_only=True, eq=False)
class Part:
    """A part of two texts, its neighbours in the new one, and its places if it differs."""

    removed: str
    added: str
    before: str = ""
    after: str = ""
    places: list[Place] = field(default_factory=list)

    @property
    def is_same(self) -> bool:
        return self.removed == self.added

    def equals(self, other: "Part") -> bool:
        """Return True for the same words between the same words, as far as a page shows them.

        Other words before them may give them another meaning, and then each is listed.
        """
        return (self.removed, self.added, self.before, self.after) == (
            other.removed,
            other.added,
            other.before,
            other.after,
        )


def compare_contents(
    before: Iterable[RenderedPost],
    after: Iterable[RenderedPost],
    articles: Collection[AccountId] = (),
) -> ContentChanges:
    """Return the changes between two contents, each difference once with its places.

    `articles` are the accounts with the HTML of an article as their text.
    """
    old, new = (
        {rendered.account: rendered for rendered in contents}
        for contents in (before, after)
    )
    return ContentChanges(
        texts=_list_changes(_compare_accounts(old, new, articles)),
        added_accounts=sorted(new.keys() - old.keys()),
        removed_accounts=sorted(old.keys() - new.keys()),
    )


def _compare_accounts(
    old: Mapping[AccountId, RenderedPost],
    new: Mapping[AccountId, RenderedPost],
    articles: Collection[AccountId],
) -> Sequence[tuple[Place, Sequence[Part]]]:
    """Return the places with differences, and the text of the first account there."""
    grouped: dict[
        tuple[int, Platform, tuple[tuple[str, str], ...]],
        tuple[Sequence[Part], list[AccountId]],
    ] = {}
    for account in sorted(old.keys() & new.keys()):
        if old[account] == new[account]:
            continue
        before, after = (
            dict(list_fields(each[account], is_article=account in articles))
            for each in (old, new)
        )
        for number, name in enumerate(FIELDS):
            texts = before.get(name, ""), after.get(name, "")
            if texts[0] == texts[1]:
                continue
            parts = split_texts(*texts)
            differences = tuple(
                (part.removed, part.added) for part in parts if not part.is_same
            )
            key = (number, new[account].platform, differences)
            grouped.setdefault(key, (parts, []))[1].append(account)
    return [
        (Place(FIELDS[number], platform, tuple(accounts)), parts)
        for (number, platform, _differences), (parts, accounts) in sorted(
            grouped.items(),
            key=lambda item: (*item[0][:2], -len(item[1][1]), item[1][1]),
        )
    ]


def _list_changes(
    found: Sequence[tuple[Place, Sequence[Part]]],
) -> Sequence[TextChange]:
    """Return each difference once, in the first text that has it."""
    earlier: list[tuple[str, Part]] = []
    for place, parts in found:
        apart = place.field if place.field in DESCRIBED_FIELDS else ""
        own = [part for part in parts if not part.is_same]
        known = [part for field, part in earlier if field == apart]
        for part in own:
            first = next((one for one in known if one.equals(part)), part)
            first.places.append(place)
            if first is not part:
                known.remove(first)
        earlier += [(apart, part) for part in own if part.places]
    changes = []
    for _place, parts in found:
        for places in dict.fromkeys(tuple(part.places) for part in parts):
            if places:
                pieces = make_pieces(
                    parts, [part for part in parts if tuple(part.places) == places]
                )
                changes.append(
                    TextChange(
                        pieces=pieces,
                        fields=list(dict.fromkeys(place.field for place in places)),
                        accounts=sorted(
                            {one for place in places for one in place.accounts}
                        ),
                    )
                )
    return changes


def list_fields(
    rendered: RenderedPost, *, is_article: bool
) -> Iterator[tuple[str, str]]:
    """Yield the visible parts of a rendered post by field; an article's markup is one of them."""
    text = article_lines(rendered.text) if is_article else rendered.text
    yield "title", rendered.title
    yield "summary", rendered.summary
    yield "text", "\n".join([text, *rendered.extra_parts])
    if is_article:
        yield "markup", "".join(MARKUP.findall(rendered.text))
    yield "link", rendered.link or ""
    yield (
        "images",
        "\n".join(f"{image.alt} [{image.sha256[:16]}]" for image in rendered.images),
    )
    crops = (text for image in rendered.images for text in image.crops.values())
    yield "cover", " ".join(filter(None, crops))


def compare_texts(before: str, after: str) -> Sequence[Piece]:
    """Return the equal and the different parts of two texts. Only near equal parts are kept."""
    parts = split_texts(before, after)
    return make_pieces(parts, [part for part in parts if not part.is_same])


def split_texts(before: str, after: str) -> Sequence[Part]:
    """Return the equal and the different parts of two texts in order.

    Whole sentences are compared first, and then the words of the different ones.
    """
    parts: list[Part] = []
    old, new = SENTENCE.findall(before), SENTENCE.findall(after)
    for span in compare_sequences(old, new):
        removed, added = "".join(old[span.before]), "".join(new[span.after])
        if span.is_same:
            _add_part(parts, removed, added)
            continue
        words_before, words_after = WORD.findall(removed), WORD.findall(added)
        for inner in compare_sequences(words_before, words_after):
            _add_part(
                parts,
                "".join(words_before[inner.before]),
                "".join(words_after[inner.after]),
            )
    place = 0
    for part in parts:
        end = place + len(part.added)
        part.before = after[max(place - CONTEXT_CHARACTERS, 0) : place]
        part.after = after[end : end + CONTEXT_CHARACTERS]
        place = end
    return parts


def _add_part(parts: list[Part], removed: str, added: str) -> None:
    """Add a part, to the last one if that is of the same kind.

    A short equal part between two differences becomes a part of them.
    """
    part = Part(removed=removed, added=added)
    if len(parts) > 1 and parts[-1].is_same and not part.is_same:
        bridge = parts[-1].added
        if len(bridge) <= MAX_BRIDGE_CHARACTERS and not BOUNDARY.search(bridge):
            parts[-2:] = [_join(parts[-2], parts[-1])]
    if parts and parts[-1].is_same == part.is_same:
        part = _join(parts.pop(), part)
    parts.append(part)


def _join(one: Part, other: Part) -> Part:
    return Part(removed=one.removed + other.removed, added=one.added + other.added)


def make_pieces(parts: Sequence[Part], shown: Collection[Part]) -> Sequence[Piece]:
    """Return a text with the shown differences. Of what is the same only the near parts are kept.

    Another difference, which is shown elsewhere, is left out.
    """
    pieces: list[Piece] = []
    for part in parts:
        if part in shown:
            _add_piece(pieces, PieceKind.REMOVED, part.removed)
            _add_piece(pieces, PieceKind.ADDED, part.added)
        else:
            _add_piece(pieces, PieceKind.SAME, part.added if part.is_same else "…")
    return [_shorten(piece, number, len(pieces)) for number, piece in enumerate(pieces)]


def _add_piece(pieces: list[Piece], kind: PieceKind, text: str) -> None:
    """Add a piece, to the last one if that is of the same kind."""
    if pieces and pieces[-1].kind is kind:
        text = pieces.pop().text + text
    if text:
        pieces.append(Piece(kind=kind, text=text))


def _shorten(piece: Piece, number: int, total: int) -> Piece:
    """Return a piece without the parts far from any difference, or on another line."""
    text, most = piece.text, CONTEXT_CHARACTERS
    if piece.kind is not PieceKind.SAME or len(text) <= 2 * most:
        return piece
    before = "" if number == 0 else text[:most].partition("\n")[0]
    after = "" if number == total - 1 else text[-most:].rpartition("\n")[2]
    return Piece(kind=PieceKind.SAME, text=f"{before}…{after}")
