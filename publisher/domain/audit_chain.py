"""The chain of the audit: each entry is bound to the one before it, and whatever is done to one of them shows."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from itertools import chain

LOSS_ACCEPTED_EVENT = "loss_accepted"
"""The entry by which a person accepts what was lost."""
LOSS_SIGNATURE_PREFIX = "publisher audit loss 1\n"
"""Begins what is signed: a signature of anything else is none of an acceptance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLoss:
    """The entries from `sequence` to `until` of a chain, as anchors written up to `at` know them.

    `hash` is that of the last of them.
    """

    chain: str
    sequence: int
    until: int
    hash: str
    at: str

    def covers(self, chain: str, sequence: int, digest: str, at: str) -> bool:
        """True if an anchor of that entry tells of nothing but what is in this loss."""
        is_within = chain == self.chain and self.sequence <= sequence <= self.until
        return is_within and (at <= self.at or (sequence, digest) == (self.until, self.hash))


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedDataLoss:
    """Losses that a person has looked into and accepted; `signature` is over the person's name, reason and losses."""

    name: str
    reason: str
    losses: Sequence[ChainLoss]
    signature: str = ""

    @property
    def signing_text(self) -> str:
        """Give what is signed."""
        losses = [asdict(loss) for loss in self.losses]
        return LOSS_SIGNATURE_PREFIX + json.dumps(
            [self.name, self.reason, losses], ensure_ascii=False, separators=(",", ":")
        )

    @property
    def detail(self) -> Mapping[str, object]:
        """Give the detail of the entry."""
        losses = [asdict(loss) for loss in self.losses]
        return {"reason": self.reason, "losses": losses, "signature": self.signature}


def parse_accepted_loss(name: object, detail: object) -> AcceptedDataLoss | None:
    """Read an acceptance from its entry; None where none of ours is written so."""
    try:
        told = json.loads(str(detail))
        losses = [ChainLoss(**loss) for loss in told["losses"]]
        acceptance = AcceptedDataLoss(
            name=str(name), reason=str(told["reason"]), losses=losses, signature=str(told["signature"])
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    texts = (text for loss in losses for text in (loss.chain, loss.hash, loss.at))
    numbers = (number for loss in losses for number in (loss.sequence, loss.until))
    is_ours = all(isinstance(text, str) for text in texts) and all(isinstance(number, int) for number in numbers)
    return acceptance if is_ours else None


ENTRY_HASH_PREFIX = b"publisher audit 1\n"
"""Begins whatever is hashed: no hash of anything else can be taken for one of these."""
ENTRY_FIELDS = ("at", "role", "name", "event", "subject", "before", "after", "detail")
"""What an entry holds, in the order that is hashed; `at` in microseconds since 1970, UTC."""
MAX_SEARCH_DISTANCE = 1000
"""How far around its place an entry is looked for that does not fit there."""
SYSTEM_USER_KEY = "system"
"""The key of an entry's detail under which stands who ran the command, as the operating system knows it."""
RESTORED_EVENT = "restored"
"""The entry that announces that an older database was put in place."""
MAX_LISTED_BREAKS = 100
"""So many breaks are told one by one, the rest are counted; and so many misfits are looked into."""


class ChainDefect(StrEnum):
    """What was done to the chain."""

    GENESIS = "genesis"
    EDITED = "edited"
    MISSING = "missing"
    INSERTED = "inserted"
    MOVED = "moved"
    SWAPPED = "swapped"
    CUT = "truncated"
    REBUILT = "rewritten"
    REPLACED = "replaced"
    OTHER_CHAIN = "other_chain"
    FORGED_CHECKPOINT = "forged_checkpoint"
    UNKNOWN_ATTEMPT = "unknown_attempt"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainEntry:
    """One entry as it is stored: its number, its fields in the order that is hashed, and what binds it.

    Whoever tampers may store anything, so nothing is taken for granted about the types.
    """

    sequence: int
    fields: Sequence[object]
    previous: object
    hash: object

    def is_written_as(self, number: int) -> bool:
        """Whether this is what was written as entry `number`."""
        return hash_entry(number, self.fields, self.previous) == self.hash

    @property
    def facts(self) -> Mapping[str, str]:
        """Tell people which entry this is, as far as it can be believed."""
        named = dict(zip(ENTRY_FIELDS, self.fields, strict=False))
        told = {name: str(named.get(name, "?")) for name in ("at", "name", "event", "subject")}
        return {**told, "system": format_system_user(named.get("detail"))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What the head of a chain was at an instant, as written down outside; `chain` is the chain's genesis.

    `signature` is over all the rest; None before anchors were signed.
    """

    database: str
    chain: str
    sequence: int
    hash: str
    at: str
    signature: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedLossEntry:
    """A loss that a person has accepted: which entry says so, and who that was."""

    accepted_loss: AcceptedDataLoss
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainBreak:
    """One place where the chain does not hold: the entries from `sequence` to `until`.

    `other` is the second place of a swap, where a moved entry stands, or the last anchor that still agrees. `loss` is
    what anchors know and the chain does not, which a person may accept.
    """

    defect: ChainDefect
    sequence: int
    until: int
    other: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    loss: ChainLoss | None = None


def _encode_unexpected(value: object) -> object:
    """Spell what no entry holds, so that it is never taken for something that one may hold."""
    return {"odd": value.hex() if isinstance(value, bytes) else repr(value)}


_encode = json.JSONEncoder(separators=(",", ":"), default=_encode_unexpected).encode


def hash_entry(number: int, fields: Sequence[object], previous: object) -> str:
    """Bind an entry: SHA-256 over the prefix and a JSON array of its number, its fields and the hash before it."""
    return sha256(ENTRY_HASH_PREFIX + _encode([number, *fields, previous]).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contradiction:
    """An anchor that the chain contradicts: by which entry, None beyond the end; and what agreed last before it."""

    checkpoint: Checkpoint
    entry: ChainEntry | None
    last_confirmed: int
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replacement:
    """A restored database's entry: the anchors whose entries it says went with the one before it; `since` as above."""

    number: int
    entry: ChainEntry
    since: str
    checkpoints: Sequence[Checkpoint]


SignatureCheck = Callable[[str, str], bool]
"""Whether a text bears a signature of this workspace."""


def reject_signature(_text: str, _signature: str) -> bool:
    """Know no key, so no signature is ours."""
    return False


@dataclass(slots=True)
class ChainVerifier:
    """Walks along a chain, one entry at a time, and says where it does not hold.

    `genesis` is what the first entry must be bound to; `first`, `previous` and `last` are given for a part of a chain.
    A loss counts as accepted only where `is_ours` knows the signature. Memory is bounded by the anchors and by MOST,
    not by the entries.
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
    _offset: int = 0
    _unmatched: list[tuple[int, ChainEntry]] = field(default_factory=list)
    _mismatches: list[tuple[int, ChainEntry, ChainDefect]] = field(default_factory=list)
    _searched: int = 0
    _checkpoints: dict[int, dict[str, Checkpoint]] = field(default_factory=dict)
    _foreign_checkpoints: dict[str, list[Checkpoint]] = field(default_factory=dict)
    _contradictions: list[_Contradiction] = field(default_factory=list)
    _last_confirmed_at: str = ""
    _replacements: list[_Replacement] = field(default_factory=list)

    def verify(self, entries: Iterable[ChainEntry]) -> "ChainVerifier":
        """Inspect all of a chain."""
        self._number = self.first - 1
        self._head = self.genesis if self.first == 1 else self.previous
        self._index_checkpoints()
        if self.genesis is None:
            self._report(ChainDefect.GENESIS, 0)
        for link, following in _pair_with_next(entries):
            self.entry_count += 1
            self._check_entry(link, following)
        self._classify_unmatched(None)
        self._report_mismatches()
        self._compare_end()
        self._report_losses()
        self.breaks.sort(key=lambda item: item.sequence)
        return self

    @property
    def is_sound(self) -> bool:
        return not self.breaks and not self.unlisted_breaks

    @property
    def head(self) -> tuple[int, object]:
        """Give the last entry's number and its hash."""
        return self._number, self._head

    def report_unknown_attempt(self, subject: str, at: str) -> None:
        """Tell of a call that was announced outside the database, and of which the audit knows nothing."""
        self._report(ChainDefect.UNKNOWN_ATTEMPT, self._number, about={"subject": subject, "at": at})

    def report_forged_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Tell of an anchor that does not bear the signature which it must."""
        self._report(
            ChainDefect.FORGED_CHECKPOINT,
            checkpoint.sequence,
            about={"at": checkpoint.at, "database": checkpoint.database},
        )

    def _index_checkpoints(self) -> None:
        for anchor in self.checkpoints:
            if anchor.chain == self.genesis:
                self._checkpoints.setdefault(anchor.sequence, {}).setdefault(anchor.hash, anchor)
            else:
                self._foreign_checkpoints.setdefault(anchor.chain, []).append(anchor)

    def _check_entry(self, entry: ChainEntry, following: ChainEntry | None) -> None:
        number = self._find_number(entry, following)
        if number is None:
            self._unmatched.append((self._number + 1 + len(self._unmatched), entry))
            if (
                len(self._unmatched) > MAX_LISTED_BREAKS
            ):  # too long a run to wait for its end: it counts as changed where it stands
                self._classify_unmatched(None)
                self._head = entry.hash
            return
        is_next = number == self._number + 1 and not self._unmatched
        self._classify_unmatched(number)
        if is_next and entry.previous != self._head:  # its own hash was made anew, but this one remembers the old
            self._report(
                ChainDefect.EDITED if self._newest_entry else ChainDefect.GENESIS,
                self._number,
                about=self._newest_entry,
            )
        shift = entry.sequence - number
        if is_next and shift != self._offset:  # right in all but the number that it bears
            self._report(ChainDefect.EDITED, number, about=entry)
            goes_on = following is not None and following.sequence - number - 1 == shift
            shift = shift if goes_on else self._offset
        if entry.fields[3] == RESTORED_EVENT:
            self._record_replacement(number, entry)
        elif entry.fields[3] == LOSS_ACCEPTED_EVENT:
            self._record_accepted_loss(entry)
        self._number, self._head, self._offset, self._newest_entry = number, entry.hash, shift, entry
        self._compare_checkpoints(number, entry)

    def _find_number(self, entry: ChainEntry, following: ChainEntry | None) -> int | None:
        """Find out as which entry this one was written, None where nothing near fits."""
        done, slot = self._number, self._number + 1 + len(self._unmatched)
        if entry.is_written_as(slot):
            return slot
        for number in {entry.sequence, entry.sequence - self._offset} - {slot}:
            if number > done and entry.is_written_as(number):
                return number
        if self._unmatched and entry.previous == self._head and entry.is_written_as(done + 1):
            return done + 1
        if self._searched >= MAX_LISTED_BREAKS:
            return None
        self._searched += 1
        near = (number for number in range(done + 1, done + 1 + MAX_SEARCH_DISTANCE) if entry.is_written_as(number))
        found = next(near, None)
        goes_on = found is not None and (following is None or following.is_written_as(found + 1))
        return found if goes_on else None

    def _classify_unmatched(self, number: int | None) -> None:
        """Say of what lies between the last entry that fitted and this one whether it was changed, put in or lost."""
        between = len(self._unmatched) if number is None else number - self._number - 1
        for position, (slot, link) in enumerate(self._unmatched):
            self._add_mismatch(slot, link, ChainDefect.EDITED if position < between else ChainDefect.INSERTED)
        if number is not None and between > len(self._unmatched):
            self._report(
                ChainDefect.MISSING, self._number + 1 + len(self._unmatched), until=number - 1, about=self._newest_entry
            )
        if number is None:
            self._number += between
        self._unmatched.clear()

    def _add_mismatch(self, slot: int, entry: ChainEntry, defect: ChainDefect) -> None:
        if len(self._mismatches) < MAX_LISTED_BREAKS:
            self._mismatches.append((slot, entry, defect))
        else:
            self.unlisted_breaks += 1

    def _report_mismatches(self) -> None:
        """Tell what was changed from what was only moved, and find the two halves of a swap."""
        homes = {slot: self._find_origin(slot, link) for slot, link, _damage in self._mismatches}
        told: set[int] = set()
        for slot, link, damage in self._mismatches:
            home = homes.get(slot)
            if slot in told:
                continue
            if home is None:
                self._report(damage, slot, about=link)
            elif homes.get(home) == slot:
                told.add(home)
                self._report(ChainDefect.SWAPPED, min(slot, home), other=max(slot, home), about=link)
            else:
                self._report(ChainDefect.MOVED, home, other=slot, about=link)
                self._drop_missing(home)

    def _find_origin(self, slot: int, entry: ChainEntry) -> int | None:
        """Find the empty or wrongly filled place to which an entry belongs, as a whole row or with its fields alone."""
        others = [(other, its_link) for other, its_link, _damage in self._mismatches if other != slot]
        lost = [
            range(item.sequence, item.until + 1)[:MAX_SEARCH_DISTANCE]
            for item in self.breaks
            if item.defect is ChainDefect.MISSING
        ]
        beyond = range(self._number + 1, self._number + 1 + MAX_LISTED_BREAKS)
        places = chain((other for other, _link in others), *lost, beyond)
        whole = next((number for number in places if entry.is_written_as(number)), None)
        if whole is not None:
            return whole
        alike = (other for other, its in others if hash_entry(other, entry.fields, its.previous) == its.hash)
        return next(alike, None)

    def _drop_missing(self, number: int) -> None:
        """An entry that only stands elsewhere is not lost as well."""
        alone = [
            item
            for item in self.breaks
            if item.defect is ChainDefect.MISSING and (item.sequence, item.until) == (number, number)
        ]
        for item in alone:
            self.breaks.remove(item)

    def _record_replacement(self, number: int, entry: ChainEntry) -> None:
        """Remember which entries a restored database says that it has cut off: from its own number on."""
        chain, at = str(self.genesis), _format_instant(entry.fields[0])
        named = [
            Checkpoint(database="", chain=chain, sequence=sequence, hash=digest, at=at)
            for sequence, digest in parse_cut_checkpoints(entry.fields[7])
            if sequence >= number
        ]
        since = self._newest_entry.facts["at"] if self._newest_entry else ""
        self._replacements.append(_Replacement(number=number, entry=entry, since=since, checkpoints=named))

    def _record_accepted_loss(self, entry: ChainEntry) -> None:
        acceptance = parse_accepted_loss(entry.fields[2], entry.fields[7])
        if acceptance is not None and self.is_own_signature(acceptance.signing_text, acceptance.signature):
            self.accepted_losses.append(AcceptedLossEntry(accepted_loss=acceptance, facts=entry.facts))

    def _is_accepted(self, checkpoint: Checkpoint) -> bool:
        return any(_is_covered(loss, checkpoint) for item in self.accepted_losses for loss in item.accepted_loss.losses)

    def _compare_checkpoints(self, number: int, entry: ChainEntry) -> None:
        known = self._checkpoints.pop(number, {})
        for anchor in known.values():
            if anchor.hash != entry.hash:
                self._contradictions.append(
                    _Contradiction(
                        checkpoint=anchor,
                        entry=entry,
                        last_confirmed=self.last_confirmed,
                        since=self._last_confirmed_at,
                    )
                )
        if entry.hash in known:
            self.last_confirmed, self._last_confirmed_at = number, entry.facts["at"]

    def _compare_end(self) -> None:
        """An anchor beyond the last entry, or what a part says of itself, proves that there was more."""
        if self.last is None:
            since = self._newest_entry.facts["at"] if self._newest_entry else ""
            self._contradictions += [
                _Contradiction(checkpoint=anchor, entry=None, last_confirmed=self._number, since=since)
                for sequence, known in sorted(self._checkpoints.items())
                if sequence > self._number
                for anchor in known.values()
            ]
        elif self.last > self._number:
            self._report(ChainDefect.CUT, self._number + 1, until=self.last, about=self._newest_entry)
        elif self._number > self.last:
            self._report(ChainDefect.INSERTED, self.last + 1, until=self._number)

    def _report_losses(self) -> None:
        """Tell what anchors know and the chain does not, unless a person has accepted that."""
        left = [item for item in self._contradictions if not self._is_accepted(item.checkpoint)]
        for replaced in self._replacements:
            left = self._report_replacement(replaced, left)
        rebuilt = [item for item in left if item.entry is not None]
        if rebuilt:
            first = rebuilt[0]
            loss = _make_loss([item.checkpoint for item in rebuilt], first.last_confirmed + 1)
            self._report_loss(
                ChainDefect.REBUILT, loss, first, until=first.checkpoint.sequence, other=first.last_confirmed
            )
        if beyond := [item for item in left if item.entry is None]:
            loss = _make_loss([item.checkpoint for item in beyond], self._number + 1)
            self._report_loss(ChainDefect.CUT, loss, beyond[0], until=loss.until)
        for anchors in self._foreign_checkpoints.values():
            strange = [anchor for anchor in anchors if not self._is_accepted(anchor)]
            if strange:
                last = strange[-1]
                facts = {"at": last.at, "database": last.database}
                self._report(ChainDefect.OTHER_CHAIN, last.sequence, about=facts, loss=_make_loss(strange, 1))

    def _report_replacement(self, replaced: _Replacement, left: list[_Contradiction]) -> list[_Contradiction]:
        """Tell what went with a database that was replaced, as its entry says. Returns what that does not explain."""
        named = [anchor for anchor in replaced.checkpoints if not self._is_accepted(anchor)]
        if not named:
            return left
        loss = _make_loss(named, replaced.number)
        explained = [item for item in left if _is_covered(loss, item.checkpoint)]
        till = max((item.checkpoint.at for item in explained), default=loss.at)
        facts = {**replaced.entry.facts, "since": replaced.since, "till": till}
        self._report(ChainDefect.REPLACED, replaced.number, until=loss.until, about=facts, loss=loss)
        return [item for item in left if item not in explained]

    def _report_loss(
        self, defect: ChainDefect, loss: ChainLoss, first: _Contradiction, *, until: int, other: int | None = None
    ) -> None:
        about = first.entry or self._newest_entry
        facts = {**(about.facts if about else {}), "since": first.since, "till": loss.at}
        self._report(defect, loss.sequence, until=until, other=other, about=facts, loss=loss)

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
        told = about.facts if isinstance(about, ChainEntry) else about or {}
        self.breaks.append(
            ChainBreak(defect=defect, sequence=sequence, until=until or sequence, other=other, facts=told, loss=loss)
        )


def _is_covered(loss: ChainLoss, checkpoint: Checkpoint) -> bool:
    return loss.covers(checkpoint.chain, checkpoint.sequence, checkpoint.hash, checkpoint.at)


def _make_loss(checkpoints: Sequence[Checkpoint], first: int) -> ChainLoss:
    """Give the loss of all that these anchors of one chain know, from entry `first` on."""
    last = max(checkpoints, key=lambda anchor: anchor.sequence)
    at = max(anchor.at for anchor in checkpoints)
    return ChainLoss(chain=last.chain, sequence=first, until=last.sequence, hash=last.hash, at=at)


def _format_instant(microseconds: object) -> str:
    """Write an entry's instant as anchors write theirs; nothing for what is none."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(str(microseconds)))).isoformat()
    except (ValueError, OverflowError):
        return ""


def format_system_user(detail: object) -> str:
    """Spell the system user that an entry's detail names; nothing where it names none."""
    try:
        system = json.loads(str(detail))[SYSTEM_USER_KEY]
        uids = (("uid", "uid", "user"), ("login uid", "login_uid", "login_user"))
        told = [f"{word} {system[uid]} {system[user] or '?'}" for word, uid, user in uids if system[uid] is not None]
        return ", ".join([*told, *([f"sudo {system['sudo_user']}"] if system["sudo_user"] else [])])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def parse_cut_checkpoints(detail: object) -> list[tuple[int, str]]:
    """Read from a restored database's entry which anchors it cut off, each by its number and its hash."""
    try:
        return [(int(cut["sequence"]), str(cut["hash"])) for cut in json.loads(str(detail))["cut"]]
    except (ValueError, TypeError, KeyError):
        return []


def _pair_with_next(entries: Iterable[ChainEntry]) -> Iterator[tuple[ChainEntry, ChainEntry | None]]:
    """Give each link with the one after it."""
    held: deque[ChainEntry] = deque()
    for link in entries:
        held.append(link)
        if len(held) > 1:
            yield held.popleft(), link
    if held:
        yield held.popleft(), None
