"""The calls that reached the platforms, each with its delivery and its attempt.

A post is known in two ways: by the marker that its frozen words name, and by its exact text. The
marker is taken from the rendition as it was stored. Its derivation is not known here.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from .decoder import seconds
from .history import (
    MICRO,
    History,
    PublishedCopy,
    RecordedAttempt,
    RecordedDelivery,
    SimulatorLogEntry,
    Words,
)

PARTS = frozenset({"/c/c/post/add_pc", "/c/c/post/add"})
"""Calls that may add a further part to a thread."""
CREATING = PARTS | frozenset(
    {
        "/2/statuses/share.json",
        "/2/statuses/update.json",
        "/2/statuses/upload.json",
        "/2/statuses/update/biz.json",
        "/2/statuses/upload_url_text/biz.json",
        "/proxy/article/publish.json",
        "/cgi-bin/freepublish/submit",
        "/cgi-bin/message/mass/sendall",
        "/cgi-bin/message/mass/send",
        "/c/c/thread/add_pc",
    }
)
"""Calls that may create a post. A part of a thread is not a post, but its call counts."""
KEYED = frozenset({"/cgi-bin/message/mass/sendall", "/cgi-bin/message/mass/send"})
"""Calls with a key of the platform's own: the same attempt may make them again."""
HELD_UP = 2.0
"""Most seconds after the caller's timeout until a busy platform begins to hear a call."""
SOURCE = re.compile(r'\bsrc="[^"]*"')
PICTURE = re.compile(r"\s*#\(pic,[^)]*\)\s*")
Identity = tuple[str, str]
"""A platform, and an account's own name there."""
Said = tuple[str, str]
"""A title, where there is one apart, and a text."""
Markers = Mapping[Identity, Sequence[tuple[str, RecordedDelivery]]]
Texts = Mapping[tuple[Identity, Said], RecordedDelivery]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatingCall:
    """A call that may create, and its attempt. `is_resend`: the attempt had made one before."""

    recv: SimulatorLogEntry
    reply: SimulatorLogEntry | None
    attempt: RecordedAttempt | None
    is_resend: bool

    @property
    def where(self) -> str:
        return f"log:{self.recv.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A post that one of our calls made, and its owner by each of the two keys."""

    act: SimulatorLogEntry
    copy: PublishedCopy | None
    call: CreatingCall | None
    by_marker: RecordedDelivery | None
    by_text: RecordedDelivery | None

    by_call: RecordedDelivery | None

    @property
    def owner(self) -> RecordedDelivery | None:
        return self.by_marker or self.by_text

    @property
    def is_part(self) -> bool:
        return self.act.endpoint in PARTS or (
            self.copy is not None and self.copy.thread is not None
        )

    @property
    def where(self) -> str:
        return f"log:{self.act.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    calls: Sequence[CreatingCall]
    creations: Sequence[Creation]


_KNOWN: WeakKeyDictionary[History, Trace] = WeakKeyDictionary()


def trace_of(history: History) -> Trace:
    """Follow every creating call and every post of a run; done once for each history."""
    if history not in _KNOWN:
        markers, texts = _keys(history)
        calls = _calls(history, markers)
        by_seq = {call.recv.seq: call for call in calls}
        _KNOWN[history] = Trace(
            calls=calls, creations=_creations(history, by_seq, markers, texts)
        )
    return _KNOWN[history]


def recovered_calls(history: History) -> set[tuple[str, int]]:
    """Return the calls, by text and instant, that an older database got from a journal.

    Calls that it could not place are included.
    """
    reported = [
        act.detail
        for act in history.audit
        if act.event in {"attempts_recovered", "attempt_orphaned"}
    ]
    calls = [call for detail in reported for call in detail.get("calls", [detail])]
    return {
        (call["rendered_hash"], round((seconds(call["at"]) or 0.0) * MICRO))
        for call in calls
    }


def live_copies(history: History, delivery: RecordedDelivery) -> Iterator[Creation]:
    """Yield the posts that were made for a delivery and are still shown."""
    for creation in trace_of(history).creations:
        is_its = (
            creation.owner or creation.by_call
        ) is delivery and not creation.is_part
        if (
            is_its
            and creation.copy
            and creation.copy.is_visible
            and not creation.copy.is_removed
        ):
            yield creation


def folded(text: str) -> str:
    """Return a text without the parts that platforms change: case, width, spaces, brackets."""
    return "".join(
        letter
        for letter in unicodedata.normalize("NFKC", text).casefold()
        if letter.isalnum()
    )


def sent_words(words: Words, part: int = 0) -> Said:
    """Return the title and text that a platform should have received, without picture addresses."""
    if part:
        return "", "".join(map(_plain, words.parts[part - 1 : part]))
    return (words.title if words.has_title_apart else "", _plain(words.text))


def received_words(copy: PublishedCopy) -> Said:
    return copy.title, _plain(copy.html or copy.text)


def _plain(text: str) -> str:
    return PICTURE.sub("", SOURCE.sub('src=""', text)).strip()


def _calls(history: History, markers: Markers) -> list[CreatingCall]:
    acts = {
        entry.call: entry
        for entry in history.log
        if entry.kind == "act" and entry.post_id and entry.call
    }
    replies = {
        entry.call: entry
        for entry in history.log
        if entry.kind == "reply" and entry.call
    }
    attempts = _attempts_of(history)
    used: set[int] = set()
    calls = []
    for recv in sorted(
        (entry for entry in history.log if _may_create(entry)),
        key=lambda entry: entry.seq,
    ):
        act, reply = acts.get(recv.seq), replies.get(recv.seq)
        owner = _marked(history.copies.get(act.post_id or "") if act else None, markers)
        like_it = attempts[recv.platform, recv.account, recv.endpoint in PARTS]
        under_way = _under_way(recv, like_it, history.settings.tolerance)
        if (
            owner
            and under_way
            and all(attempt.delivery != owner.id for attempt in under_way)
        ):
            under_way = _held_up(recv, like_it, used, owner) or under_way
        attempt = _best(under_way, used, owner)
        is_resend = attempt is not None and attempt.id in used
        used |= {attempt.id} if attempt else set()
        calls.append(
            CreatingCall(recv=recv, reply=reply, attempt=attempt, is_resend=is_resend)
        )
    return calls


def _may_create(entry: SimulatorLogEntry) -> bool:
    return entry.kind == "recv" and entry.endpoint in CREATING and bool(entry.account)


def _attempts_of(
    history: History,
) -> Mapping[tuple[str, str, bool], list[RecordedAttempt]]:
    """Return the attempts by account on the platform, oldest first, with further parts apart."""
    found: dict[tuple[str, str, bool], list[RecordedAttempt]] = defaultdict(list)
    for attempt in sorted(history.attempts, key=lambda one: (one.intended, one.id)):
        if delivery := history.deliveries.get(attempt.delivery):
            found[(*history.identity_of(delivery), attempt.part > 0)].append(attempt)
    return found


def _under_way(
    recv: SimulatorLogEntry, attempts: Sequence[RecordedAttempt], tolerance: float
) -> Sequence[RecordedAttempt]:
    """Return the attempts under way when the call came.

    If there are none, return the ones with near enough edges.
    """
    for slack in (0.0, tolerance):
        found = [
            attempt
            for attempt in attempts
            if attempt.intended - slack <= recv.at
            and (attempt.ended is None or recv.began <= attempt.ended + slack)
        ]
        if found:
            return found
    return []


def _held_up(
    recv: SimulatorLogEntry,
    attempts: Sequence[RecordedAttempt],
    used: set[int],
    owner: RecordedDelivery,
) -> Sequence[RecordedAttempt]:
    """Return the attempts of the delivery that had just ended in doubt when the call came."""
    own = [
        attempt
        for attempt in attempts
        if attempt.delivery == owner.id and attempt.id not in used
    ]
    doubts = [
        one for one in own if one.ended is not None and one.outcome in {None, "unknown"}
    ]
    return [
        one
        for one in doubts
        if one.intended <= recv.at and recv.began <= (one.ended or 0.0) + HELD_UP
    ]


def _best(
    attempts: Sequence[RecordedAttempt], used: set[int], owner: RecordedDelivery | None
) -> RecordedAttempt | None:
    """Return the best attempt: for the delivery itself, then without a call, then the newest."""
    own = [
        attempt for attempt in attempts if owner and attempt.delivery == owner.id
    ] or attempts
    chosen = [attempt for attempt in own if attempt.id not in used] or own
    return chosen[-1] if chosen else None


def _creations(
    history: History, calls: Mapping[int, CreatingCall], markers: Markers, texts: Texts
) -> list[Creation]:
    found = []
    for act in history.log:
        if act.kind != "act" or not act.post_id or act.endpoint is None:
            continue
        copy = history.copies.get(act.post_id)
        thread = history.copies.get(copy.thread) if copy and copy.thread else None
        known_by, call = thread or copy, calls.get(act.call or 0)
        found.append(
            Creation(
                act=act,
                copy=copy,
                call=call,
                by_marker=_marked(known_by, markers),
                by_text=_worded(known_by, texts),
                by_call=history.deliveries.get(call.attempt.delivery)
                if call and call.attempt
                else None,
            )
        )
    return found


def _keys(history: History) -> tuple[Markers, Texts]:
    """Return markers and exact texts of all deliveries, by account, for present and tried words."""
    markers: dict[Identity, list[tuple[str, RecordedDelivery]]] = defaultdict(list)
    texts: dict[tuple[Identity, Said], RecordedDelivery] = {}
    for delivery in history.deliveries.values():
        tried = {
            attempt.rendition for attempt in history.attempts_of.get(delivery.id, ())
        }
        for fingerprint in {delivery.rendition, *tried} & history.words.keys():
            words, identity = history.words[fingerprint], history.identity_of(delivery)
            markers[identity].append((folded(words.marker), delivery))
            texts[identity, sent_words(words)] = delivery
    return markers, texts


def _marked(copy: PublishedCopy | None, markers: Markers) -> RecordedDelivery | None:
    if copy is None:
        return None
    text = folded(f"{copy.title} {copy.text} {copy.html}")
    return next(
        (
            owner
            for code, owner in markers.get((copy.platform, copy.account), ())
            if code in text
        ),
        None,
    )


def _worded(copy: PublishedCopy | None, texts: Texts) -> RecordedDelivery | None:
    return (
        texts.get(((copy.platform, copy.account), received_words(copy)))
        if copy
        else None
    )
