"""A part of the audit as a file of JSON lines, which can be verified without the database it came from."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta

from publisher.domain.audit_chain import (
    ENTRY_FIELDS,
    ChainEntry,
    ChainVerifier,
    Checkpoint,
    SignatureCheck,
    reject_signature,
)

EXPORT_FORMAT = "publisher audit 1"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CHECKPOINT_SIGNATURE_PREFIX = "publisher audit anchor 1\n"
_CHECKPOINT_START = '{"database"'
"""How an anchor begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportHeader:
    """The first line: which chain this is a part of, from which entry to which, and the hash before the first."""

    format: str
    database: str
    chain: str
    first: int
    last: int
    previous: str


def format_header(header: ExportHeader) -> str:
    return _to_json(asdict(header))


def format_entry(entry: ChainEntry) -> str:
    """Spell an entry. Each has one spelling only, so that a changed byte shows even where it changes no meaning."""
    named = dict(zip(ENTRY_FIELDS, entry.fields, strict=True))
    time = format_time(named["at"])
    return _to_json({"sequence": entry.sequence, "time": time, **named, "previous": entry.previous, "hash": entry.hash})


def parse_header(line: str) -> ExportHeader | None:
    """Read a first line; None where it is none of ours, or was changed."""
    try:
        title = ExportHeader(**json.loads(line))
    except (ValueError, TypeError):
        return None
    wanted = {item.name: item.type for item in fields(ExportHeader)}
    has_types = all(isinstance(getattr(title, name), kind) for name, kind in wanted.items() if isinstance(kind, type))
    is_whole = has_types and title.format == EXPORT_FORMAT and format_header(title) == line.removesuffix("\n")
    starts_well = is_whole and (title.first > 1 or (title.first == 1 and title.previous == title.chain))
    return title if starts_well else None


def verify_export(
    lines: Iterator[str], checkpoints: Iterable[Checkpoint] = (), is_ours: SignatureCheck = reject_signature
) -> ChainVerifier | None:
    """Verify a part by itself and by the anchors that lie in it; None where its first line is none of ours."""
    title = parse_header(next(lines, ""))
    if title is None:
        return None
    within = [anchor for anchor in checkpoints if anchor.chain != title.chain or anchor.sequence <= title.last]
    verification = ChainVerifier(
        genesis=title.chain,
        first=title.first,
        previous=title.previous,
        last=title.last,
        checkpoints=within,
        is_own_signature=is_ours,
    )
    return verification.verify(parse_entries(lines))


def parse_entries(lines: Iterable[str]) -> Iterator[ChainEntry]:
    """Read the lines behind the title. One that nobody of us wrote becomes an entry that fits nowhere."""
    for line in lines:
        text = line.removesuffix("\n")
        try:
            row = json.loads(text)
            link = ChainEntry(
                sequence=row["sequence"],
                fields=tuple(row[name] for name in ENTRY_FIELDS),
                previous=row["previous"],
                hash=row["hash"],
            )
            is_ours = isinstance(link.sequence, int) and format_entry(link) == text
        except (ValueError, TypeError, KeyError, RecursionError):
            is_ours = False
        yield link if is_ours else ChainEntry(sequence=0, fields=(None,) * len(ENTRY_FIELDS), previous=None, hash=None)


def format_checkpoint(checkpoint: Checkpoint) -> str:
    return _to_json({name: value for name, value in asdict(checkpoint).items() if value is not None})


def checkpoint_signing_text(checkpoint: Checkpoint) -> str:
    """Give what an anchor's signature is over: all the rest, behind words that begin nothing else that is signed."""
    return CHECKPOINT_SIGNATURE_PREFIX + format_checkpoint(replace(checkpoint, signature=None))


def parse_checkpoint(line: str) -> Checkpoint | None:
    """Read an anchor's line, whatever a system log has put before it; None for one that was torn, or is none."""
    try:
        anchor = Checkpoint(**json.loads(line[max(0, line.find(_CHECKPOINT_START)) :]))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (anchor.database, anchor.chain, anchor.hash, anchor.at, anchor.signature or "")
    is_ours = isinstance(anchor.sequence, int) and all(isinstance(text, str) for text in texts)
    return anchor if is_ours else None


def format_time(microseconds: object) -> str:
    """Write an entry's instant for people; a value that is none as it is."""
    try:
        return (EPOCH + timedelta(microseconds=int(str(microseconds)))).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return str(microseconds)


def _to_json(row: Mapping[str, object]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=_encode_unexpected)


def _encode_unexpected(value: object) -> object:
    """Spell what no entry of ours holds, such as bytes, without making it look like one that does."""
    return {"odd": repr(value)}
