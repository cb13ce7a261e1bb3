"""Verify an audit chain: find entries that were altered, and entries that are lost."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from publisher.domain.audit_chain import (
    LOSS_ACCEPTED_EVENT,
    RESTORED_EVENT,
    AcceptedDataLoss,
    ChainEntry,
    ChainLoss,
    Checkpoint,
    SignatureCheck,
    parse_accepted_loss,
    parse_cut_checkpoints,
    parse_entries,
    parse_header,
    parse_time,
    reject_signature,
)

MAX_LISTED_BREAKS = 100
"""Number of breaks that are listed. The rest are only counted."""


class ChainDefect(StrEnum):
    """The kind of a break."""

    ALTERED = "altered"
    LOST = "lost"
    FORGED_CHECKPOINT = "forged_checkpoint"
    UNKNOWN_ATTEMPT = "unknown_attempt"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedLossEntry:
    """An accepted loss, and the facts of the entry that records it."""

    accepted_loss: AcceptedDataLoss
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainBreak:
    """A defect of the chain in the entries `sequence` to `until`.

    `ALTERED` entries do not stand as they were written, or never were. `LOST` entries are not there:
    their numbers are missing, or a checkpoint, a restore or an export's header proves that they
    were. `other` is the last entry that agrees with the checkpoints, where another chain goes on
    behind it. `loss` is the part proved by checkpoints. A person may accept it.
    """

    defect: ChainDefect
    sequence: int
    until: int
    other: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    loss: ChainLoss | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contradiction:
    """A checkpoint that the chain contradicts.

    It holds the contradicting entry, None beyond the end of the chain, and the last match before
    it.
    """

    checkpoint: Checkpoint
    entry: ChainEntry | None
    last_confirmed: int
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replacement:
    """The entry of a restored database, and the checkpoints lost with the earlier database.

    The entry itself names these checkpoints.
    """

    number: int
    entry: ChainEntry
    since: str
    checkpoints: Sequence[Checkpoint]


@dataclass(slots=True)
class ChainVerifier:
    """Verifies a chain in one pass over its entries and collects its breaks.

    `genesis` is the hash before the first entry; `first`, `previous` and `last` are given for a
    part of a chain. A loss counts as accepted only if `is_own_signature` accepts its signature.
    Memory is bounded by the checkpoints and by MAX_LISTED_BREAKS, not by the entries.
    """

    genesis: str | None
    first: int = 1
    previous: object = None
    last: int | None = None
    checkpoints: Iterable[Checkpoint] = ()
    is_own_signature: SignatureCheck = reject_signature
    entry_count: int = 0
    last_confirmed: int = 0
    breaks: list[ChainBreak] = field(default_factory=list)
    unlisted_breaks: int = 0
    accepted_losses: list[AcceptedLossEntry] = field(default_factory=list)
    _number: int = 0
    _head: object = None
    _newest_entry: ChainEntry | None = None
    _altered: int = 0
    _first_altered: ChainEntry | None = None
    _checkpoints: dict[int, dict[str, Checkpoint]] = field(default_factory=dict)
    _foreign_checkpoints: dict[str, list[Checkpoint]] = field(default_factory=dict)
    _contradictions: list[_Contradiction] = field(default_factory=list)
    _last_confirmed_at: str = ""
    _replacements: list[_Replacement] = field(default_factory=list)

    def verify(self, entries: Iterable[ChainEntry]) -> "ChainVerifier":
        self._number = self.first - 1
        self._head = self.genesis if self.first == 1 else self.previous
        for checkpoint in self.checkpoints:
            if checkpoint.chain == self.genesis:
                self._checkpoints.setdefault(checkpoint.sequence, {}).setdefault(
                    checkpoint.hash, checkpoint
                )
            else:
                self._foreign_checkpoints.setdefault(checkpoint.chain, []).append(
                    checkpoint
                )
        if self.genesis is None:
            self._report(ChainDefect.ALTERED, self.first)
        for entry in entries:
            self.entry_count += 1
            self._check_entry(entry)
        self._report_altered()
        if self.last is None:
            self._contradictions += [
                _Contradiction(
                    checkpoint=checkpoint,
                    entry=None,
                    last_confirmed=self._number,
                    since=self._newest_at,
                )
                for sequence, known in sorted(self._checkpoints.items())
                if sequence > self._number
                for checkpoint in known.values()
            ]
        elif (
            self.last > self._number
        ):  # the header of an export says that there was more, or less
            self._report(
                ChainDefect.LOST,
                self._number + 1,
                until=self.last,
                about=self._newest_entry,
            )
        elif self._number > self.last:
            self._report(ChainDefect.ALTERED, self.last + 1, until=self._number)
        self._report_losses()
        self.breaks.sort(key=lambda item: item.sequence)
        return self

    @property
    def is_sound(self) -> bool:
        return not self.breaks and not self.unlisted_breaks

    @property
    def head(self) -> tuple[int, object]:
        """The last entry's number and its hash."""
        return self._number, self._head

    @property
    def _newest_at(self) -> str:
        return self._newest_entry.facts["at"] if self._newest_entry else ""

    def report_unknown_attempt(self, subject: str, at: str) -> None:
        """Report an attempt that the journal holds and the audit does not."""
        self._report(
            ChainDefect.UNKNOWN_ATTEMPT,
            self._number,
            about={"subject": subject, "at": at},
        )

    def report_forged_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Report a checkpoint without a valid signature."""
        facts = {"at": checkpoint.at, "database": checkpoint.database}
        self._report(ChainDefect.FORGED_CHECKPOINT, checkpoint.sequence, about=facts)

    def _check_entry(self, entry: ChainEntry) -> None:
        if entry.sequence <= self._number or not entry.is_written_as(entry.sequence):
            self._first_altered = self._first_altered or entry
            self._altered += 1
            return
        is_next = entry.sequence == self._number + 1
        if is_next and not self._altered and entry.previous != self._head:
            # the entry before was rehashed, or the start replaced; this one holds the old hash
            place = self._number if self._newest_entry else self.first
            self._report(ChainDefect.ALTERED, place, about=self._newest_entry)
        self._report_altered()
        if entry.sequence > self._number + 1:
            self._report(
                ChainDefect.LOST,
                self._number + 1,
                until=entry.sequence - 1,
                about=self._newest_entry,
            )
        self._append(entry)

    def _report_altered(self) -> None:
        """Report the entries that do not stand as written, as one run up to the next that does."""
        if self._altered:
            begin = self._number + 1
            self._number += self._altered
            self._report(
                ChainDefect.ALTERED,
                begin,
                until=self._number,
                about=self._first_altered,
            )
        self._altered, self._first_altered = 0, None

    def _append(self, entry: ChainEntry) -> None:
        """Go on from an entry that stands as written, and compare it with the checkpoints."""
        if entry.event == RESTORED_EVENT:
            self._record_replacement(entry.sequence, entry)
        elif entry.event == LOSS_ACCEPTED_EVENT:
            accepted = parse_accepted_loss(entry.named["name"], entry.named["detail"])
            if accepted is not None and self.is_own_signature(
                accepted.signing_text, accepted.signature
            ):
                self.accepted_losses.append(
                    AcceptedLossEntry(accepted_loss=accepted, facts=entry.facts)
                )
        self._number, self._head, self._newest_entry = (
            entry.sequence,
            entry.hash,
            entry,
        )
        known = self._checkpoints.pop(entry.sequence, {})
        self._contradictions += [
            _Contradiction(
                checkpoint=checkpoint,
                entry=entry,
                last_confirmed=self.last_confirmed,
                since=self._last_confirmed_at,
            )
            for checkpoint in known.values()
            if checkpoint.hash != entry.hash
        ]
        if entry.hash in known:
            self.last_confirmed = entry.sequence
            self._last_confirmed_at = entry.facts["at"]

    def _record_replacement(self, number: int, entry: ChainEntry) -> None:
        """Store the entries that a restored database says were cut off, from its own number on."""
        time = parse_time(entry.named["at"])
        at = time.isoformat() if time else ""
        cut = [
            Checkpoint(
                database="",
                chain=str(self.genesis),
                sequence=sequence,
                hash=digest,
                at=at,
            )
            for sequence, digest in parse_cut_checkpoints(entry.named["detail"])
            if sequence >= number
        ]
        self._replacements.append(
            _Replacement(
                number=number, entry=entry, since=self._newest_at, checkpoints=cut
            )
        )

    def _is_accepted(self, checkpoint: Checkpoint) -> bool:
        return any(
            loss.covers(checkpoint)
            for item in self.accepted_losses
            for loss in item.accepted_loss.losses
        )

    def _report_losses(self) -> None:
        """Report entries proved by checkpoints and missing from the chain.

        Losses that a person has accepted are not reported.
        """
        remaining = [
            item
            for item in self._contradictions
            if not self._is_accepted(item.checkpoint)
        ]
        for replaced in self._replacements:
            cut = [
                checkpoint
                for checkpoint in replaced.checkpoints
                if not self._is_accepted(checkpoint)
            ]
            if not cut:
                continue
            loss = _make_loss(cut, replaced.number)
            explained = [item for item in remaining if loss.covers(item.checkpoint)]
            until = max((item.checkpoint.at for item in explained), default=loss.at)
            facts = {**replaced.entry.facts, "since": replaced.since, "until": until}
            self._report(
                ChainDefect.LOST,
                replaced.number,
                until=loss.until,
                about=facts,
                loss=loss,
            )
            remaining = [item for item in remaining if item not in explained]
        if rebuilt := [item for item in remaining if item.entry is not None]:
            first = rebuilt[0]
            loss = _make_loss(
                [item.checkpoint for item in rebuilt], first.last_confirmed + 1
            )
            self._report_loss(
                loss,
                first,
                until=first.checkpoint.sequence,
                other=first.last_confirmed,
            )
        if beyond := [item for item in remaining if item.entry is None]:
            loss = _make_loss([item.checkpoint for item in beyond], self._number + 1)
            self._report_loss(loss, beyond[0], until=loss.until)
        for checkpoints in self._foreign_checkpoints.values():
            if foreign := [
                checkpoint
                for checkpoint in checkpoints
                if not self._is_accepted(checkpoint)
            ]:
                last = foreign[-1]
                facts = {"at": last.at, "database": last.database}
                self._report(
                    ChainDefect.LOST,
                    1,
                    until=last.sequence,
                    about=facts,
                    loss=_make_loss(foreign, 1),
                )

    def _report_loss(
        self,
        loss: ChainLoss,
        first: _Contradiction,
        *,
        until: int,
        other: int | None = None,
    ) -> None:
        before = self._newest_entry if first.entry is None else None
        facts = {
            **(before.facts if before else {}),
            "since": first.since,
            "until": loss.at,
        }
        self._report(
            ChainDefect.LOST,
            loss.sequence,
            until=until,
            other=other,
            about=facts,
            loss=loss,
        )

    def _report(  # noqa: PLR0913 # what, where, and what it says
        self,
        defect: ChainDefect,
        sequence: int,
        *,
        until: int | None = None,
        other: int | None = None,
        about: ChainEntry | Mapping[str, str] | None = None,
        loss: ChainLoss | None = None,
    ) -> None:
        if len(self.breaks) >= MAX_LISTED_BREAKS:
            self.unlisted_breaks += 1
            return
        facts = about.facts if isinstance(about, ChainEntry) else about or {}
        self.breaks.append(
            ChainBreak(
                defect=defect,
                sequence=sequence,
                until=until or sequence,
                other=other,
                facts=facts,
                loss=loss,
            )
        )


def _make_loss(checkpoints: Sequence[Checkpoint], first: int) -> ChainLoss:
    """Return the loss that these checkpoints of one chain prove, from entry `first` on."""
    last = max(checkpoints, key=lambda checkpoint: checkpoint.sequence)
    at = max(checkpoint.at for checkpoint in checkpoints)
    return ChainLoss(
        chain=last.chain, sequence=first, until=last.sequence, hash=last.hash, at=at
    )


def verify_export(
    lines: Iterator[str],
    checkpoints: Iterable[Checkpoint] = (),
    is_ours: SignatureCheck = reject_signature,
) -> ChainVerifier | None:
    """Return the verifier of an export, checked against itself and the checkpoints within it.

    Return None if its header is invalid.
    """
    header = parse_header(next(lines, ""))
    if header is None:
        return None
    verifier = ChainVerifier(
        genesis=header.chain,
        first=header.first,
        previous=header.previous,
        last=header.last,
        checkpoints=[
            item
            for item in checkpoints
            if item.chain != header.chain or item.sequence <= header.last
        ],
        is_own_signature=is_ours,
    )
    return verifier.verify(parse_entries(lines))
