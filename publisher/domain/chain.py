"""The chain of the audit: each entry is bound to the one before it, and whatever is done to one of them shows."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from itertools import chain

from publisher.domain.loss import ACCEPTED, Acceptance, Loss, read_acceptance

PREFIX = b"publisher audit 1\n"
"""Begins whatever is hashed: no hash of anything else can be taken for one of these."""
FIELDS = ("at", "role", "name", "event", "subject", "before", "after", "detail")
"""What an entry holds, in the order that is hashed; `at` in microseconds since 1970, UTC."""
REACH = 1000
"""How far around its place an entry is looked for that does not fit there."""
SYSTEM = "system"
"""The key of an entry's detail under which stands who ran the command, as the operating system knows it."""
RESTORED = "restored"
"""The entry that announces that an older database was put in place."""
MOST = 100
"""So many breaks are told one by one, the rest are counted; and so many misfits are looked into."""


class Damage(StrEnum):
    """What was done to the chain."""

    GENESIS = "genesis"
    EDITED = "edited"
    MISSING = "missing"
    INSERTED = "inserted"
    MOVED = "moved"
    SWAPPED = "swapped"
    CUT = "cut"
    REBUILT = "rebuilt"
    REPLACED = "replaced"
    OTHER_CHAIN = "other_chain"
    FORGED_ANCHOR = "forged_anchor"
    UNKNOWN_CALL = "unknown_call"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One entry as it is stored: its number, its fields in the order that is hashed, and what binds it.

    Whoever tampers may store anything, so nothing is taken for granted about the types.
    """

    sequence: int
    fields: Sequence[object]
    previous: object
    hash: object

    def fits(self, number: int) -> bool:
        """Whether this is what was written as entry `number`."""
        return hash_of(number, self.fields, self.previous) == self.hash

    @property
    def facts(self) -> Mapping[str, str]:
        """Tell people which entry this is, as far as it can be believed."""
        named = dict(zip(FIELDS, self.fields, strict=False))
        told = {name: str(named.get(name, "?")) for name in ("at", "name", "event", "subject")}
        return {**told, "system": spell_system(named.get("detail"))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
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
class Accepted:
    """A loss that a person has accepted: which entry says so, and who that was."""

    acceptance: Acceptance
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """One place where the chain does not hold: the entries from `sequence` to `until`.

    `other` is the second place of a swap, where a moved entry stands, or the last anchor that still agrees. `loss` is
    what anchors know and the chain does not, which a person may accept.
    """

    damage: Damage
    sequence: int
    until: int
    other: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    loss: Loss | None = None


def _spell_odd(value: object) -> object:
    """Spell what no entry holds, so that it is never taken for something that one may hold."""
    return {"odd": value.hex() if isinstance(value, bytes) else repr(value)}


_encode = json.JSONEncoder(separators=(",", ":"), default=_spell_odd).encode


def hash_of(number: int, fields: Sequence[object], previous: object) -> str:
    """Bind an entry: SHA-256 over the prefix and a JSON array of its number, its fields and the hash before it."""
    return sha256(PREFIX + _encode([number, *fields, previous]).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Against:
    """An anchor that the chain contradicts: by which entry, None beyond the end; and what agreed last before it."""

    anchor: Anchor
    link: Link | None
    agreed: int
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replaced:
    """A restored database's entry: the anchors whose entries it says went with the one before it; `since` as above."""

    number: int
    link: Link
    since: str
    named: Sequence[Anchor]


IsOurs = Callable[[str, str], bool]
"""Whether a text bears a signature of this workspace."""


def no_key(_text: str, _signature: str) -> bool:
    """Know no key, so no signature is ours."""
    return False


@dataclass(slots=True)
class Verification:
    """Walks along a chain, one entry at a time, and says where it does not hold.

    `genesis` is what the first entry must be bound to; `first`, `previous` and `last` are given for a part of a chain.
    A loss counts as accepted only where `is_ours` knows the signature. Memory is bounded by the anchors and by MOST,
    not by the entries.
    """

    genesis: str | None
    first: int = 1
    previous: object = None
    last: int | None = None
    anchors: Iterable[Anchor] = ()
    is_ours: IsOurs = no_key
    seen: int = 0
    agreed: int = 0
    breaks: list[Break] = field(default_factory=list)
    untold: int = 0
    accepted: list[Accepted] = field(default_factory=list)
    _number: int = 0
    _head: object = None
    _newest: Link | None = None
    _shift: int = 0
    _strays: list[tuple[int, Link]] = field(default_factory=list)
    _misfits: list[tuple[int, Link, Damage]] = field(default_factory=list)
    _searched: int = 0
    _outside: dict[int, dict[str, Anchor]] = field(default_factory=dict)
    _strangers: dict[str, list[Anchor]] = field(default_factory=dict)
    _against: list[_Against] = field(default_factory=list)
    _agreed_at: str = ""
    _replaced: list[_Replaced] = field(default_factory=list)

    def walk(self, links: Iterable[Link]) -> "Verification":
        """Inspect all of a chain."""
        self._number = self.first - 1
        self._head = self.genesis if self.first == 1 else self.previous
        self._take_anchors()
        if self.genesis is None:
            self._tell(Damage.GENESIS, 0)
        for link, following in _with_next(links):
            self.seen += 1
            self._step(link, following)
        self._settle(None)
        self._name_misfits()
        self._compare_end()
        self._tell_losses()
        self.breaks.sort(key=lambda item: item.sequence)
        return self

    @property
    def is_sound(self) -> bool:
        return not self.breaks and not self.untold

    @property
    def head(self) -> tuple[int, object]:
        """Give the last entry's number and its hash."""
        return self._number, self._head

    def report_missing(self, subject: str, at: str) -> None:
        """Tell of a call that was announced outside the database, and of which the audit knows nothing."""
        self._tell(Damage.UNKNOWN_CALL, self._number, about={"subject": subject, "at": at})

    def report_forged(self, anchor: Anchor) -> None:
        """Tell of an anchor that does not bear the signature which it must."""
        self._tell(Damage.FORGED_ANCHOR, anchor.sequence, about={"at": anchor.at, "database": anchor.database})

    def _take_anchors(self) -> None:
        for anchor in self.anchors:
            if anchor.chain == self.genesis:
                self._outside.setdefault(anchor.sequence, {}).setdefault(anchor.hash, anchor)
            else:
                self._strangers.setdefault(anchor.chain, []).append(anchor)

    def _step(self, link: Link, following: Link | None) -> None:
        number = self._number_of(link, following)
        if number is None:
            self._strays.append((self._number + 1 + len(self._strays), link))
            if len(self._strays) > MOST:  # too long a run to wait for its end: it counts as changed where it stands
                self._settle(None)
                self._head = link.hash
            return
        is_next = number == self._number + 1 and not self._strays
        self._settle(number)
        if is_next and link.previous != self._head:  # its own hash was made anew, but this one remembers the old
            self._tell(Damage.EDITED if self._newest else Damage.GENESIS, self._number, about=self._newest)
        shift = link.sequence - number
        if is_next and shift != self._shift:  # right in all but the number that it bears
            self._tell(Damage.EDITED, number, about=link)
            goes_on = following is not None and following.sequence - number - 1 == shift
            shift = shift if goes_on else self._shift
        if link.fields[3] == RESTORED:
            self._note_replaced(number, link)
        elif link.fields[3] == ACCEPTED:
            self._note_accepted(link)
        self._number, self._head, self._shift, self._newest = number, link.hash, shift, link
        self._compare(number, link)

    def _number_of(self, link: Link, following: Link | None) -> int | None:
        """Find out as which entry this one was written, None where nothing near fits."""
        done, slot = self._number, self._number + 1 + len(self._strays)
        if link.fits(slot):
            return slot
        for number in {link.sequence, link.sequence - self._shift} - {slot}:
            if number > done and link.fits(number):
                return number
        if self._strays and link.previous == self._head and link.fits(done + 1):
            return done + 1
        if self._searched >= MOST:
            return None
        self._searched += 1
        near = (number for number in range(done + 1, done + 1 + REACH) if link.fits(number))
        found = next(near, None)
        goes_on = found is not None and (following is None or following.fits(found + 1))
        return found if goes_on else None

    def _settle(self, number: int | None) -> None:
        """Say of what lies between the last entry that fitted and this one whether it was changed, put in or lost."""
        between = len(self._strays) if number is None else number - self._number - 1
        for position, (slot, link) in enumerate(self._strays):
            self._note_misfit(slot, link, Damage.EDITED if position < between else Damage.INSERTED)
        if number is not None and between > len(self._strays):
            self._tell(Damage.MISSING, self._number + 1 + len(self._strays), until=number - 1, about=self._newest)
        if number is None:
            self._number += between
        self._strays.clear()

    def _note_misfit(self, slot: int, link: Link, damage: Damage) -> None:
        if len(self._misfits) < MOST:
            self._misfits.append((slot, link, damage))
        else:
            self.untold += 1

    def _name_misfits(self) -> None:
        """Tell what was changed from what was only moved, and find the two halves of a swap."""
        homes = {slot: self._home_of(slot, link) for slot, link, _damage in self._misfits}
        told: set[int] = set()
        for slot, link, damage in self._misfits:
            home = homes.get(slot)
            if slot in told:
                continue
            if home is None:
                self._tell(damage, slot, about=link)
            elif homes.get(home) == slot:
                told.add(home)
                self._tell(Damage.SWAPPED, min(slot, home), other=max(slot, home), about=link)
            else:
                self._tell(Damage.MOVED, home, other=slot, about=link)
                self._forget_missing(home)

    def _home_of(self, slot: int, link: Link) -> int | None:
        """Find the empty or wrongly filled place to which an entry belongs, as a whole row or with its fields alone."""
        others = [(other, its_link) for other, its_link, _damage in self._misfits if other != slot]
        lost = [range(item.sequence, item.until + 1)[:REACH] for item in self.breaks if item.damage is Damage.MISSING]
        beyond = range(self._number + 1, self._number + 1 + MOST)
        places = chain((other for other, _link in others), *lost, beyond)
        whole = next((number for number in places if link.fits(number)), None)
        if whole is not None:
            return whole
        alike = (other for other, its in others if hash_of(other, link.fields, its.previous) == its.hash)
        return next(alike, None)

    def _forget_missing(self, number: int) -> None:
        """An entry that only stands elsewhere is not lost as well."""
        alone = [
            item
            for item in self.breaks
            if item.damage is Damage.MISSING and (item.sequence, item.until) == (number, number)
        ]
        for item in alone:
            self.breaks.remove(item)

    def _note_replaced(self, number: int, link: Link) -> None:
        """Remember which entries a restored database says that it has cut off: from its own number on."""
        chain, at = str(self.genesis), _instant(link.fields[0])
        named = [
            Anchor(database="", chain=chain, sequence=sequence, hash=digest, at=at)
            for sequence, digest in cuts_of(link.fields[7])
            if sequence >= number
        ]
        since = self._newest.facts["at"] if self._newest else ""
        self._replaced.append(_Replaced(number=number, link=link, since=since, named=named))

    def _note_accepted(self, link: Link) -> None:
        acceptance = read_acceptance(link.fields[2], link.fields[7])
        if acceptance is not None and self.is_ours(acceptance.text, acceptance.signature):
            self.accepted.append(Accepted(acceptance=acceptance, facts=link.facts))

    def _is_accepted(self, anchor: Anchor) -> bool:
        return any(_covers(loss, anchor) for item in self.accepted for loss in item.acceptance.losses)

    def _compare(self, number: int, link: Link) -> None:
        known = self._outside.pop(number, {})
        for anchor in known.values():
            if anchor.hash != link.hash:
                self._against.append(_Against(anchor=anchor, link=link, agreed=self.agreed, since=self._agreed_at))
        if link.hash in known:
            self.agreed, self._agreed_at = number, link.facts["at"]

    def _compare_end(self) -> None:
        """An anchor beyond the last entry, or what a part says of itself, proves that there was more."""
        if self.last is None:
            since = self._newest.facts["at"] if self._newest else ""
            self._against += [
                _Against(anchor=anchor, link=None, agreed=self._number, since=since)
                for sequence, known in sorted(self._outside.items())
                if sequence > self._number
                for anchor in known.values()
            ]
        elif self.last > self._number:
            self._tell(Damage.CUT, self._number + 1, until=self.last, about=self._newest)
        elif self._number > self.last:
            self._tell(Damage.INSERTED, self.last + 1, until=self._number)

    def _tell_losses(self) -> None:
        """Tell what anchors know and the chain does not, unless a person has accepted that."""
        left = [item for item in self._against if not self._is_accepted(item.anchor)]
        for replaced in self._replaced:
            left = self._tell_replaced(replaced, left)
        rebuilt = [item for item in left if item.link is not None]
        if rebuilt:
            first = rebuilt[0]
            loss = _loss_of([item.anchor for item in rebuilt], first.agreed + 1)
            self._tell_loss(Damage.REBUILT, loss, first, until=first.anchor.sequence, other=first.agreed)
        if beyond := [item for item in left if item.link is None]:
            loss = _loss_of([item.anchor for item in beyond], self._number + 1)
            self._tell_loss(Damage.CUT, loss, beyond[0], until=loss.until)
        for anchors in self._strangers.values():
            strange = [anchor for anchor in anchors if not self._is_accepted(anchor)]
            if strange:
                last = strange[-1]
                facts = {"at": last.at, "database": last.database}
                self._tell(Damage.OTHER_CHAIN, last.sequence, about=facts, loss=_loss_of(strange, 1))

    def _tell_replaced(self, replaced: _Replaced, left: list[_Against]) -> list[_Against]:
        """Tell what went with a database that was replaced, as its entry says. Returns what that does not explain."""
        named = [anchor for anchor in replaced.named if not self._is_accepted(anchor)]
        if not named:
            return left
        loss = _loss_of(named, replaced.number)
        explained = [item for item in left if _covers(loss, item.anchor)]
        till = max((item.anchor.at for item in explained), default=loss.at)
        facts = {**replaced.link.facts, "since": replaced.since, "till": till}
        self._tell(Damage.REPLACED, replaced.number, until=loss.until, about=facts, loss=loss)
        return [item for item in left if item not in explained]

    def _tell_loss(self, damage: Damage, loss: Loss, first: _Against, *, until: int, other: int | None = None) -> None:
        about = first.link or self._newest
        facts = {**(about.facts if about else {}), "since": first.since, "till": loss.at}
        self._tell(damage, loss.sequence, until=until, other=other, about=facts, loss=loss)

    def _tell(  # noqa: PLR0913 # what, where, and what it says
        self,
        damage: Damage,
        sequence: int,
        *,
        until: int | None = None,
        other: int | None = None,
        about: Link | Mapping[str, str] | None = None,
        loss: Loss | None = None,
    ) -> None:
        if len(self.breaks) >= MOST:
            self.untold += 1
            return
        told = about.facts if isinstance(about, Link) else about or {}
        self.breaks.append(
            Break(damage=damage, sequence=sequence, until=until or sequence, other=other, facts=told, loss=loss)
        )


def _covers(loss: Loss, anchor: Anchor) -> bool:
    return loss.covers(anchor.chain, anchor.sequence, anchor.hash, anchor.at)


def _loss_of(anchors: Sequence[Anchor], first: int) -> Loss:
    """Give the loss of all that these anchors of one chain know, from entry `first` on."""
    last = max(anchors, key=lambda anchor: anchor.sequence)
    at = max(anchor.at for anchor in anchors)
    return Loss(chain=last.chain, sequence=first, until=last.sequence, hash=last.hash, at=at)


def _instant(microseconds: object) -> str:
    """Write an entry's instant as anchors write theirs; nothing for what is none."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(str(microseconds)))).isoformat()
    except (ValueError, OverflowError):
        return ""


def spell_system(detail: object) -> str:
    """Spell the system user that an entry's detail names; nothing where it names none."""
    try:
        system = json.loads(str(detail))[SYSTEM]
        uids = (("uid", "uid", "user"), ("login uid", "login_uid", "login_user"))
        told = [f"{word} {system[uid]} {system[user] or '?'}" for word, uid, user in uids if system[uid] is not None]
        return ", ".join([*told, *([f"sudo {system['sudo_user']}"] if system["sudo_user"] else [])])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def cuts_of(detail: object) -> list[tuple[int, str]]:
    """Read from a restored database's entry which anchors it cut off, each by its number and its hash."""
    try:
        return [(int(cut["sequence"]), str(cut["hash"])) for cut in json.loads(str(detail))["cut"]]
    except (ValueError, TypeError, KeyError):
        return []


def _with_next(links: Iterable[Link]) -> Iterator[tuple[Link, Link | None]]:
    """Give each link with the one after it."""
    held: deque[Link] = deque()
    for link in links:
        held.append(link)
        if len(held) > 1:
            yield held.popleft(), link
    if held:
        yield held.popleft(), None
