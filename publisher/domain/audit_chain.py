"""The audit hash chain as it is written: entries, checkpoints, accepted losses and exports.

Each entry contains the hash of the one before it, so that `audit_verifier` detects any later
change.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, cast

ENTRY_HASH_PREFIX = b"publisher audit 1\n"
"""Prefix of the hashed bytes, so that no hash of anything else passes for an entry's."""
ENTRY_FIELDS = ("at", "role", "name", "event", "subject", "before", "after", "detail")
"""The fields of an entry in hash order; `at` in microseconds since 1970, UTC."""
SYSTEM_USER_KEY = "system"
"""The key in an entry's detail for the operating system user of the command."""
SIGN_IN_KEY = "sign_in"
"""The key in an entry's detail for the proof of the person's name, such as a password."""
RESTORED_EVENT = "restored"
"""The event that records the restore of an older database."""
OLDER_DATABASE_EVENT = "older_database_found"
"""The event that records that a checkpoint knows entries missing from the database."""
LOSS_ACCEPTED_EVENT = "loss_accepted"
"""The event of a person's acceptance of a loss of entries."""
LOSS_SIGNATURE_PREFIX = "publisher audit loss 1\n"
"""Prefix of the signed text, so that no signature of anything else passes for an acceptance."""
CHECKPOINT_SIGNATURE_PREFIX = "publisher audit anchor 1\n"
EXPORT_FORMAT = "publisher audit 1"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHECKPOINT_START = '{"database"'
"""The first characters of a checkpoint line."""

SignatureCheck = Callable[[str, str], bool]
"""Called with text and signature; returns True if this workspace signed the text."""


def reject_signature(_text: str, _signature: str) -> bool:
    """Reject every signature, for verifying without a key."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainEntry:
    """One stored entry: its number, its fields in hash order, the hash before it and its own hash.

    An attacker may store values of any type, so nothing is assumed about the types.
    """

    sequence: int
    fields: Sequence[object]
    previous: object
    hash: object

    def is_written_as(self, number: int) -> bool:
        """True if this was written as entry `number`."""
        return hash_entry(number, self.fields, self.previous) == self.hash

    @property
    def event(self) -> object:
        return self.fields[3]

    @property
    def named(self) -> Mapping[str, object]:
        """The fields by their names."""
        return dict(zip(ENTRY_FIELDS, self.fields, strict=True))

    @property
    def facts(self) -> Mapping[str, str]:
        """Message arguments that identify this entry, as far as its fields can be trusted."""
        named = self.named
        facts = {name: str(named[name]) for name in ("at", "name", "event", "subject")}
        return {**facts, "system": format_system_user(named["detail"])}


_encode_hashed = json.JSONEncoder(
    separators=(",", ":"),
    # No entry holds such a value; the wrapper keeps it from passing for one that an entry may hold.
    default=lambda value: {
        "odd": value.hex() if isinstance(value, bytes) else repr(value)
    },
).encode


def hash_entry(number: int, fields: Sequence[object], previous: object) -> str:
    """Return the entry's hash.

    It is SHA-256 of the prefix and a JSON array of number, fields and the hash before it.
    """
    return sha256(
        ENTRY_HASH_PREFIX + _encode_hashed([number, *fields, previous]).encode()
    ).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The chain head at one instant, recorded outside the database.

    `chain` is the genesis hash of the chain. `signature` covers all other fields. It is None for
    checkpoints from before signing.
    """

    database: str
    chain: str
    sequence: int
    hash: str
    at: str
    signature: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLoss:
    """The lost entries `sequence` to `until` of a chain, as known from checkpoints up to `at`.

    `hash` is the hash of the last entry.
    """

    chain: str
    sequence: int
    until: int
    hash: str
    at: str

    def covers(self, checkpoint: Checkpoint) -> bool:
        """True if a checkpoint proves nothing beyond this loss."""
        is_within = (
            checkpoint.chain == self.chain
            and self.sequence <= checkpoint.sequence <= self.until
        )
        is_last = (checkpoint.sequence, checkpoint.hash) == (self.until, self.hash)
        return is_within and (checkpoint.at <= self.at or is_last)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedDataLoss:
    """Losses that a person has examined and accepted.

    `signature` covers the person's name, reason and losses.
    """

    name: str
    reason: str
    losses: Sequence[ChainLoss]
    signature: str = ""

    @property
    def signing_text(self) -> str:
        return LOSS_SIGNATURE_PREFIX + _to_json(
            [self.name, self.reason, [asdict(loss) for loss in self.losses]]
        )

    @property
    def detail(self) -> Mapping[str, object]:
        """Return the detail field of the audit entry."""
        losses = [asdict(loss) for loss in self.losses]
        return {"reason": self.reason, "losses": losses, "signature": self.signature}


def parse_accepted_loss(name: object, detail: object) -> AcceptedDataLoss | None:
    """Parse an acceptance from its entry. Return None if it is malformed."""
    try:
        parsed = json.loads(str(detail))
        losses = [ChainLoss(**loss) for loss in parsed["losses"]]
        reason, signature = str(parsed["reason"]), str(parsed["signature"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not all(map(_has_declared_types, losses)):
        return None
    return AcceptedDataLoss(
        name=str(name), reason=reason, losses=losses, signature=signature
    )


def format_system_user(detail: object) -> str:
    """Format the system user in an entry's detail; empty if there is none."""
    try:
        system = json.loads(str(detail))[SYSTEM_USER_KEY]
        uids = (("uid", "uid", "user"), ("login uid", "login_uid", "login_user"))
        named = [
            f"{word} {system[uid]} {system[user] or '?'}"
            for word, uid, user in uids
            if system[uid] is not None
        ]
        return ", ".join(
            [*named, *([f"sudo {system['sudo_user']}"] if system["sudo_user"] else [])]
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def parse_cut_checkpoints(detail: object) -> list[tuple[int, str]]:
    """Return number and hash of the checkpoints cut off, by a restored database's entry."""
    try:
        return [
            (int(cut["sequence"]), str(cut["hash"]))
            for cut in json.loads(str(detail))["cut"]
        ]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return []


def format_checkpoint(checkpoint: Checkpoint) -> str:
    return _to_json(
        {name: value for name, value in asdict(checkpoint).items() if value is not None}
    )


def checkpoint_signing_text(checkpoint: Checkpoint) -> str:
    """Return the signed text: all other fields, after a prefix that no other signed text has."""
    return CHECKPOINT_SIGNATURE_PREFIX + format_checkpoint(
        replace(checkpoint, signature=None)
    )


def parse_checkpoint(line: str) -> Checkpoint | None:
    """Return the checkpoint in a line, skipping any syslog prefix.

    Return None if the line is incomplete or not a checkpoint.
    """
    try:
        checkpoint = Checkpoint(
            **json.loads(line[max(0, line.find(_CHECKPOINT_START)) :])
        )
    except (ValueError, TypeError, RecursionError):
        return None
    return checkpoint if _has_declared_types(checkpoint) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportHeader:
    """The first line of an export: its chain, its first and last entry, and the hash before them.

    An export is JSON lines that can be verified without the original database.
    """

    format: str
    database: str
    chain: str
    first: int
    last: int
    previous: str


def format_header(header: ExportHeader) -> str:
    return _to_json(asdict(header))


def parse_header(line: str) -> ExportHeader | None:
    """Parse the first line. Return None if it is not an export header or was changed."""
    try:
        header = ExportHeader(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None
    is_canonical = _has_declared_types(header) and format_header(
        header
    ) == line.removesuffix("\n")
    if not is_canonical or header.format != EXPORT_FORMAT:
        return None
    is_start = header.first == 1 and header.previous == header.chain
    return header if header.first > 1 or is_start else None


def format_entry(entry: ChainEntry) -> str:
    """Return the entry as a JSON line. The form is canonical, so any changed byte is detected."""
    row = {
        "sequence": entry.sequence,
        "time": format_time(entry.named["at"]),
        **entry.named,
    }
    return _to_json({**row, "previous": entry.previous, "hash": entry.hash})


def parse_entries(lines: Iterable[str]) -> Iterator[ChainEntry]:
    """Yield the entries after the header.

    A line that is not in canonical form becomes an entry that fits nowhere.
    """
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
            entry = ChainEntry(
                sequence=0, fields=(None,) * len(ENTRY_FIELDS), previous=None, hash=None
            )
        yield entry


def parse_time(microseconds: object) -> datetime | None:
    """Return an entry's time; None for a value that is no time."""
    try:
        return EPOCH + timedelta(microseconds=int(str(microseconds)))
    except (ValueError, OverflowError):
        return None


def format_time(microseconds: object) -> str:
    """Format an entry's time in ISO 8601. A value that is no time is returned as it is."""
    time = parse_time(microseconds)
    return (
        str(microseconds) if time is None else time.isoformat(timespec="microseconds")
    )


def _has_declared_types(row: ChainLoss | Checkpoint | ExportHeader) -> bool:
    """True if each field has the type that its class declares.

    The fields were read from JSON that anybody may have written.
    """
    return all(
        isinstance(getattr(row, item.name), cast("Any", item.type))
        for item in fields(row)
    )


def _to_json(value: object) -> str:
    # The default wraps what no valid entry holds, such as bytes, so that it does not pass for a
    # valid value.
    return json.dumps(
        value,
        ensure_ascii=False,
        separators=(",", ":"),
        default=lambda odd: {"odd": repr(odd)},
    )
