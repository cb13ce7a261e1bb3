"""Export format of the audit: JSON lines that can be verified without the database they came from."""

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
"""The first characters of a checkpoint line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportHeader:
    """The first line: the chain, the first and last entry of this part, and the hash before the first."""

    format: str
    database: str
    chain: str
    first: int
    last: int
    previous: str


def format_header(header: ExportHeader) -> str:
    return _to_json(asdict(header))


def format_entry(entry: ChainEntry) -> str:
    """Return the entry as a JSON line. The form is canonical, so any changed byte is detected."""
    named = dict(zip(ENTRY_FIELDS, entry.fields, strict=True))
    time = format_time(named["at"])
    return _to_json({"sequence": entry.sequence, "time": time, **named, "previous": entry.previous, "hash": entry.hash})


def parse_header(line: str) -> ExportHeader | None:
    """Parse the first line. Return None if it is not an export header or was changed."""
    try:
        header = ExportHeader(**json.loads(line))
    except (ValueError, TypeError):
        return None
    has_types = all(
        isinstance(getattr(header, item.name), item.type) for item in fields(header) if isinstance(item.type, type)
    )
    is_intact = has_types and header.format == EXPORT_FORMAT and format_header(header) == line.removesuffix("\n")
    is_valid = is_intact and (header.first > 1 or (header.first == 1 and header.previous == header.chain))
    return header if is_valid else None


def verify_export(
    lines: Iterator[str], checkpoints: Iterable[Checkpoint] = (), is_ours: SignatureCheck = reject_signature
) -> ChainVerifier | None:
    """Verify an export against itself and the checkpoints within it. Return None if its header is invalid."""
    header = parse_header(next(lines, ""))
    if header is None:
        return None
    within = [item for item in checkpoints if item.chain != header.chain or item.sequence <= header.last]
    verifier = ChainVerifier(
        genesis=header.chain,
        first=header.first,
        previous=header.previous,
        last=header.last,
        checkpoints=within,
        is_own_signature=is_ours,
    )
    return verifier.verify(parse_entries(lines))


def parse_entries(lines: Iterable[str]) -> Iterator[ChainEntry]:
    """Yield the entries after the header. A line that is not in canonical form becomes an entry that fits nowhere."""
    for line in lines:
        text = line.removesuffix("\n")
        try:
            row = json.loads(text)
            entry = ChainEntry(
                sequence=row["sequence"],
                fields=tuple(row[name] for name in ENTRY_FIELDS),
                previous=row["previous"],
                hash=row["hash"],
            )
            is_valid = isinstance(entry.sequence, int) and format_entry(entry) == text
        except (ValueError, TypeError, KeyError, RecursionError):
            is_valid = False
        if not is_valid:
            entry = ChainEntry(sequence=0, fields=(None,) * len(ENTRY_FIELDS), previous=None, hash=None)
        yield entry


def format_checkpoint(checkpoint: Checkpoint) -> str:
    return _to_json({name: value for name, value in asdict(checkpoint).items() if value is not None})


def checkpoint_signing_text(checkpoint: Checkpoint) -> str:
    """Return the signed text: all other fields, after a prefix that no other signed text has."""
    return CHECKPOINT_SIGNATURE_PREFIX + format_checkpoint(replace(checkpoint, signature=None))


def parse_checkpoint(line: str) -> Checkpoint | None:
    """Parse a checkpoint line, skipping any syslog prefix. Return None if it is incomplete or not a checkpoint."""
    try:
        checkpoint = Checkpoint(**json.loads(line[max(0, line.find(_CHECKPOINT_START)) :]))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (checkpoint.database, checkpoint.chain, checkpoint.hash, checkpoint.at, checkpoint.signature or "")
    is_valid = isinstance(checkpoint.sequence, int) and all(isinstance(text, str) for text in texts)
    return checkpoint if is_valid else None


def format_time(microseconds: object) -> str:
    """Format an entry's time in ISO 8601. A value that is no time is returned as it is."""
    try:
        return (EPOCH + timedelta(microseconds=int(str(microseconds)))).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return str(microseconds)


def _to_json(row: Mapping[str, object]) -> str:
    # The default wraps what no valid entry holds, such as bytes, so that it does not pass for a valid value.
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=lambda value: {"odd": repr(value)})
