"""A part of the audit as a file of JSON lines, which can be verified without the database it came from."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta

from publisher.domain.chain import FIELDS, Anchor, IsOurs, Link, Verification, no_key

FORMAT = "publisher audit 1"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ANCHOR_PREFIX = "publisher audit anchor 1\n"
_ANCHOR = '{"database"'
"""How an anchor begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Title:
    """The first line: which chain this is a part of, from which entry to which, and the hash before the first."""

    format: str
    database: str
    chain: str
    first: int
    last: int
    previous: str


def spell_title(title: Title) -> str:
    return _spell(asdict(title))


def spell_link(link: Link) -> str:
    """Spell an entry. Each has one spelling only, so that a changed byte shows even where it changes no meaning."""
    named = dict(zip(FIELDS, link.fields, strict=True))
    time = time_of(named["at"])
    return _spell({"sequence": link.sequence, "time": time, **named, "previous": link.previous, "hash": link.hash})


def read_title(line: str) -> Title | None:
    """Read a first line; None where it is none of ours, or was changed."""
    try:
        title = Title(**json.loads(line))
    except (ValueError, TypeError):
        return None
    wanted = {item.name: item.type for item in fields(Title)}
    has_types = all(isinstance(getattr(title, name), kind) for name, kind in wanted.items() if isinstance(kind, type))
    is_whole = has_types and title.format == FORMAT and spell_title(title) == line.removesuffix("\n")
    starts_well = is_whole and (title.first > 1 or (title.first == 1 and title.previous == title.chain))
    return title if starts_well else None


def verify_excerpt(
    lines: Iterator[str], anchors: Iterable[Anchor] = (), is_ours: IsOurs = no_key
) -> Verification | None:
    """Verify a part by itself and by the anchors that lie in it; None where its first line is none of ours."""
    title = read_title(next(lines, ""))
    if title is None:
        return None
    within = [anchor for anchor in anchors if anchor.chain != title.chain or anchor.sequence <= title.last]
    verification = Verification(
        genesis=title.chain,
        first=title.first,
        previous=title.previous,
        last=title.last,
        anchors=within,
        is_ours=is_ours,
    )
    return verification.walk(read_links(lines))


def read_links(lines: Iterable[str]) -> Iterator[Link]:
    """Read the lines behind the title. One that nobody of us wrote becomes an entry that fits nowhere."""
    for line in lines:
        text = line.removesuffix("\n")
        try:
            row = json.loads(text)
            link = Link(
                sequence=row["sequence"],
                fields=tuple(row[name] for name in FIELDS),
                previous=row["previous"],
                hash=row["hash"],
            )
            is_ours = isinstance(link.sequence, int) and spell_link(link) == text
        except (ValueError, TypeError, KeyError, RecursionError):
            is_ours = False
        yield link if is_ours else Link(sequence=0, fields=(None,) * len(FIELDS), previous=None, hash=None)


def spell_anchor(anchor: Anchor) -> str:
    return _spell({name: value for name, value in asdict(anchor).items() if value is not None})


def signed_text(anchor: Anchor) -> str:
    """Give what an anchor's signature is over: all the rest, behind words that begin nothing else that is signed."""
    return ANCHOR_PREFIX + spell_anchor(replace(anchor, signature=None))


def read_anchor(line: str) -> Anchor | None:
    """Read an anchor's line, whatever a system log has put before it; None for one that was torn, or is none."""
    try:
        anchor = Anchor(**json.loads(line[max(0, line.find(_ANCHOR)) :]))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (anchor.database, anchor.chain, anchor.hash, anchor.at, anchor.signature or "")
    is_ours = isinstance(anchor.sequence, int) and all(isinstance(text, str) for text in texts)
    return anchor if is_ours else None


def time_of(microseconds: object) -> str:
    """Write an entry's instant for people; a value that is none as it is."""
    try:
        return (EPOCH + timedelta(microseconds=int(str(microseconds)))).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return str(microseconds)


def _spell(row: Mapping[str, object]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=_spell_odd)


def _spell_odd(value: object) -> object:
    """Spell what no entry of ours holds, such as bytes, without making it look like one that does."""
    return {"odd": repr(value)}
