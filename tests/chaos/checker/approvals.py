"""Approvals by person and text, read from the audit alone: I5.

The order of its entries is the order of the transactions.
"""

import hashlib
import json
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from .history import (
    Approvable,
    AuditedAct,
    History,
    NotJudgedError,
    PersonAction,
    RecordedAttempt,
    RecordedDelivery,
    Violation,
)
from .trace import recovered_calls

GIVEN, INTENDED, RESOLVED = "approval_given", "attempt_started", "resolved"
SAVED = "post_saved"
SAVE_FAILED = "post_save_failed"
ACCEPTED = "schedule_accepted"
REFRESHED = "texts_refreshed"
TAKEN_BACK = frozenset({"unapproved", "returned", "approval_ended"})
"""Entries that end the full approval of their post. No content counts as approved by everybody."""
ENDS_ALL_OF_A_POST = frozenset({"unapproved", "changed_outside", "changed_by_person"})
"""Entries that end every earlier approval of their post, or of their occurrence of it."""
ENDS_ONE = "approval_ended"
ENDS_EVERYTHING = frozenset({"approvals_voided", "restored", "database_moved"})
"""Entries that end every earlier approval.

An older database may have brought back an approval that was ended.
"""
SENT_AHEAD = frozenset({"send_requested", "correction_requested"})
"""Entries of a named person that sends a post before its time."""
MOST_ADVANCE = 3600.0
"""Most seconds of an occurrence before the time for which it was approved."""
OFFICERS_NEEDED = 2
PEOPLE_WHO_CONFIRM = 2


@dataclass(frozen=True, slots=True)
class Yes:
    """One person's approval, as an entry of the audit says it."""

    person: str
    stage: str
    fingerprint: str
    is_emergency: bool
    row: str
    scheduled: float | None = None


@dataclass(slots=True)
class Given:
    """The approvals that count at the present audit entry, by the name of their occurrence."""

    history: History
    by_name: dict[str, list[Yes]] = field(default_factory=lambda: defaultdict(list))
    sent_ahead: set[str] = field(default_factory=set)

    def read(self, act: AuditedAct) -> None:
        if act.event in SENT_AHEAD:
            self.sent_ahead |= {act.subject, act.detail.get("correction", act.subject)}
        if act.event == GIVEN:
            detail = act.detail
            is_emergency = bool(detail.get("is_emergency"))
            scheduled = (
                datetime.fromisoformat(detail["scheduled_at"]).timestamp()
                if "scheduled_at" in detail
                else None
            )
            yes = Yes(
                act.name,
                detail["stage"],
                detail["fingerprint"],
                is_emergency,
                act.row,
                scheduled,
            )
            self.by_name[act.subject].append(yes)
        elif act.event in ENDS_EVERYTHING:
            self.by_name.clear()
        elif act.event in ENDS_ALL_OF_A_POST:
            for name in [
                name
                for name in self.by_name
                if name.partition("#")[0] == act.subject or name == act.subject
            ]:
                del self.by_name[name]
        elif act.event == ENDS_ONE:
            left = [
                yes
                for yes in self.by_name[act.subject]
                if _same(yes.person) != _same(act.detail["of"])
            ]
            self.by_name[act.subject] = left

    def counted(self, delivery: RecordedDelivery, at: float) -> Sequence[Yes]:
        """Return the approvals of a delivery's occurrence, without ones for a much later time."""
        yeses, settings = self.by_name[_name_of(delivery)], self.history.settings
        if delivery.post in self.sent_ahead:
            return yeses
        latest = at + MOST_ADVANCE + settings.tolerance + settings.clock_error
        return [
            yes for yes in yeses if yes.scheduled is None or yes.scheduled <= latest
        ]


@dataclass(slots=True)
class Writers:
    """The people that saved the words of each post, from its beginning or its last full approval.

    A save counts once its schedule, or one made on top of it, is in force.
    """

    given: Given
    ever: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    present: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    waiting: list[AuditedAct] = field(default_factory=list)

    def read(self, act: AuditedAct) -> None:
        post = act.subject.partition("#")[0]
        if act.event == GIVEN:
            self._clear(post)
        elif act.event == SAVED:
            self.waiting.append(act)
        elif act.event == SAVE_FAILED:
            self.waiting = [
                one
                for one in self.waiting
                if (one.subject, one.name) != (act.subject, act.name)
            ]
        elif act.event == ACCEPTED:
            self._accept(act.detail["sha256"])
        elif act.event == REFRESHED:
            self._add(post, act.name)
        elif act.event in TAKEN_BACK:
            self.present[post] |= self.ever[post]
        elif act.event in ENDS_EVERYTHING:
            for name, people in self.ever.items():
                self.present[name] |= people

    def _accept(self, schedule: str) -> None:
        """Count the saves up to the one that made this schedule. Changes by others are unknown."""
        made = [
            number
            for number, one in enumerate(self.waiting, 1)
            if one.detail["schedule"] == schedule
        ]
        number = max(made, default=0)
        accepted, self.waiting = self.waiting[:number], self.waiting[number:]
        for post in {one.subject for one in accepted}:
            self._clear(post)
        for one in accepted:
            self._add(one.subject, one.name, *one.detail.get("file_owners", ()))

    def _add(self, post: str, *people: str | None) -> None:
        self.ever[post] |= {one for one in people if one}
        self.present[post] |= {one for one in people if one}

    def _clear(self, post: str) -> None:
        """Forget the writers of a text that has every approval: others have read it."""
        history = self.given.history
        if not self.present[post]:
            return
        for delivery in (
            one for one in history.deliveries.values() if one.post == post
        ):
            yeses = self.given.by_name[_name_of(delivery)]
            for shown in (
                one
                for one in history.approvables
                if (one.post, one.label) == (post, delivery.label)
            ):
                of_it = [yes for yes in yeses if yes.fingerprint == shown.fingerprint]
                if of_it and not [
                    *_stages_missing(
                        history, delivery, shown, of_it, self.present[post]
                    )
                ]:
                    self.present[post].clear()


def approved_by_people(history: History) -> Iterator[Violation]:
    """I5: before each intent all its approvals were given, over exactly its whole occurrence.

    Each is by a permitted person. None is by its author, or by anyone that saved it since it began
    or was last approved by all. None is given twice, and none has ended before. None is for a time
    more than an hour after the call, unless a person sent the post ahead. A publication known by
    people's word alone needs the word of two of them.
    """
    if not any(history.settings.stages.values()):
        raise NotJudgedError("settings.json asks for no approvals")
    given = Given(history)
    writers = Writers(given)
    attempts = {(one.delivery, one.number): one for one in history.attempts}
    deliveries = {one.subject: one for one in history.deliveries.values()}
    for act in history.audit:
        given.read(act)
        writers.read(act)
        delivery = deliveries.get(act.subject)
        if delivery is None or act.event not in {INTENDED, RESOLVED}:
            continue
        if act.event == RESOLVED:
            yield from _confirmed_by_two(history, delivery, act)
        elif (
            attempt := attempts.get((delivery.id, act.detail.get("attempt", 0)))
        ) is not None:
            counted = given.counted(delivery, attempt.intended)
            yield from _approved(
                history, delivery, attempt, act, counted, writers.present[delivery.post]
            )
    yield from _approved_again(history)


def _name_of(delivery: RecordedDelivery) -> str:
    return (
        delivery.post
        if delivery.label == "once"
        else f"{delivery.post}#{delivery.label}"
    )


def _approved(  # noqa: PLR0917 # an intent, and what is known of its approvals
    history: History,
    delivery: RecordedDelivery,
    attempt: RecordedAttempt,
    act: AuditedAct,
    yeses: Sequence[Yes],
    writers: Collection[str],
) -> Iterator[Violation]:
    """Yield the missing approvals of an intent, if the content it sends was not approved."""
    if not history.settings.stages_of(delivery.kind):
        return
    lacks = {"nobody had approved what it sends"}
    for fingerprint in dict.fromkeys(yes.fingerprint for yes in yeses):
        of_it = [yes for yes in yeses if yes.fingerprint == fingerprint]
        texts = [
            one
            for one in history.approvables
            if (one.post, one.label) == (delivery.post, delivery.label)
        ]
        shown = next((one for one in texts if one.fingerprint == fingerprint), None)
        if shown is None or shown.renditions.get(delivery.account) != attempt.rendition:
            lacks |= {"what was approved is not what it sends"}
            continue
        lacks = {*_missing(history, delivery, shown, of_it, writers)}
        if not lacks:
            return
    evidence = (attempt.row, act.row, *(yes.row for yes in yeses))
    yield Violation(delivery.subject, "; ".join(sorted(lacks)), evidence)


def _missing(
    history: History,
    delivery: RecordedDelivery,
    shown: Approvable,
    yeses: Sequence[Yes],
    writers: Collection[str],
) -> Iterator[str]:
    """Yield the missing approvals of a content."""
    if shown.fingerprint not in _fingerprints(history, shown):
        yield "the fingerprint that was approved is not that of all its texts"
    if not _is_released(history, delivery, shown, yeses):
        yield from _stages_missing(history, delivery, shown, yeses, writers)


def _stages_missing(
    history: History,
    delivery: RecordedDelivery,
    shown: Approvable,
    yeses: Sequence[Yes],
    writers: Collection[str],
) -> Iterator[str]:
    """Yield the stages that a content has not passed by people other than its writers."""
    counted = {
        _same(name) for name in (*shown.barred, *writers, *_authors(history, delivery))
    }
    given: dict[str, int] = defaultdict(int)
    for yes in yeses:
        if (
            not yes.is_emergency
            and _same(yes.person) not in counted
            and _may(history, yes)
        ):
            counted.add(_same(yes.person))
            given[yes.stage] += 1
    for stage in history.settings.stages_of(delivery.kind):
        if given[stage.name] < stage.people:
            yield f"{stage.name} had {given[stage.name]} of {stage.people} approvals"


def _is_released(
    history: History,
    delivery: RecordedDelivery,
    shown: Approvable,
    yeses: Sequence[Yes],
) -> bool:
    """Whether the author and another officer on duty have released it in an emergency."""
    officers = history.settings.officers
    people = {
        _same(yes.person)
        for yes in yeses
        if yes.is_emergency
        and (officers is None or yes.person in officers)
        and yes.fingerprint == shown.fingerprint
    }
    has_author = any(_same(name) in people for name in _authors(history, delivery))
    return has_author and len(people) >= OFFICERS_NEEDED


def _authors(history: History, delivery: RecordedDelivery) -> Sequence[str]:
    duty = history.duty_of(delivery)
    return [duty.author] if duty and duty.author else []


def _may(history: History, yes: Yes) -> bool:
    if history.settings.approvers is None:
        return True
    stages = history.settings.approvers.get(yes.person)
    return stages is not None and (not stages or yes.stage in stages)


def _same(name: str) -> str:
    """Return one spelling for all spellings of a name."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def _fingerprints(history: History, shown: Approvable) -> set[str]:
    """Give the fingerprint of all that an occurrence sends, for each kind that its post has had."""
    kinds = {
        one.kind for one in history.deliveries.values() if one.post == shown.post
    } | set(history.settings.stages)
    return {_fingerprint(shown.renditions, kind) for kind in kinds}


def _fingerprint(renditions: Mapping[str, str], kind: str) -> str:
    """Return a hash over account, kind and text of all accounts.

    Each text is named by the hash of its own words.
    """
    lines = sorted(
        [account, kind, rendition] for account, rendition in renditions.items()
    )
    return hashlib.sha256(
        json.dumps(lines, ensure_ascii=False, separators=(",", ":")).encode()
    ).hexdigest()


def _approved_again(history: History) -> Iterator[Violation]:
    """After `unapprove` was answered, each call needs people that were asked again since.

    Only the actions show this. The rule therefore holds even if an older database was put in place.
    """
    recovered = recovered_calls(history)
    approvals = [one for one in history.actions if one.kind == "approve"]
    for action in (one for one in history.actions if one.kind == "unapprove"):
        for delivery in (
            one for one in history.deliveries.values() if one.post == action.post
        ):
            stages = history.settings.stages_of(delivery.kind)
            for attempt in history.attempts_of.get(delivery.id, ()):
                is_later = attempt.intended > action.at + history.settings.tolerance
                if not is_later or (attempt.rendition, attempt.stamp) in recovered:
                    continue
                people = {
                    one.by for one in approvals if _is_between(one, action, attempt)
                }
                if len(people) < sum(stage.people for stage in stages):
                    what = (
                        "sent after its approvals were ended, "
                        f"and {len(people)} had approved it again"
                    )
                    yield Violation(
                        delivery.subject, what, (attempt.row, f"actions:{action.line}")
                    )


def _is_between(
    approval: PersonAction, end: PersonAction, attempt: RecordedAttempt
) -> bool:
    return (
        approval.post == end.post
        and approval.at >= end.asked
        and approval.asked <= attempt.intended
    )


def _confirmed_by_two(
    history: History, delivery: RecordedDelivery, act: AuditedAct
) -> Iterator[Violation]:
    """A post that only people report as published, and nobody has seen, needs the word of two."""
    if act.after != "published" or not delivery.is_manually_confirmed:
        return
    people = {
        _same(act.name),
        *(_same(name) for name in _requested_by(history, delivery, act)),
    }
    if len(people) < PEOPLE_WHO_CONFIRM:
        yield Violation(
            delivery.subject,
            "published by the word of one person",
            (delivery.row, act.row),
        )


def _requested_by(
    history: History, delivery: RecordedDelivery, act: AuditedAct
) -> Sequence[str]:
    """Return the people that requested a decision of another person: the entry before it.

    Only entries on the same delivery count.
    """
    asked = [
        one
        for one in history.acts_on.get(delivery.subject, ())
        if one.event == "confirmation_requested"
    ]
    return [one.name for one in asked if one.id < act.id][-1:]
