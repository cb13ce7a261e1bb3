"""Approvals: which people must say yes to the exact content of an occurrence before it may be sent. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

from publisher.domain.account import AccountId
from publisher.domain.characters import name_skeleton
from publisher.domain.delivery import ApprovalMissing, Approved, Delivery, State, StepContext
from publisher.domain.post import Fingerprint, fingerprint

AWAITING_APPROVAL = "awaiting_approval"
"""Why a delivery waits at its time: not everyone who must approve its content has done so."""
NOT_APPROVED = "not_approved"
"""Why a delivery expired: it was still not approved when it became too late."""
REMINDER_LEAD = timedelta(hours=24)
"""How long before its time an occurrence that is not approved raises an alert, if it was filed before that."""
LAST_REMINDER_LEAD = timedelta(hours=2)
"""The same for what was filed later: its approvers have hardly seen it yet."""
MAX_ADVANCE = timedelta(hours=1)
"""How far an occurrence may be brought forward, from the time that it was approved for, without new approvals."""
AFTER_REVIEW_PERIOD = timedelta(hours=24)
"""How long after an emergency release the regular approvals must have been given."""
MIN_FINGERPRINT_LENGTH = 16
"""How many leading characters of a fingerprint identify it: 64 bits."""
MIN_EMERGENCY_OFFICERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of a chain: `people` different persons of a role must approve.

    `includes_proofreading`: with a yes a person confirms to have proofread the text as well.
    """

    name: str
    role: str = "approver"
    people: int = 1
    includes_proofreading: bool = False


Chain = tuple[Stage, ...]
"""The stages of one kind of post, in order. An empty one needs no approval."""


class ApprovalPreset(StrEnum):
    """The chains that need no definition, by their name in the settings."""

    NONE = "none"
    TWO_PERSONS = "two persons"
    THREE_REVIEWS = "三审三校"


PRESET_CHAINS: Final[Mapping[ApprovalPreset, Chain]] = {
    ApprovalPreset.NONE: (),
    ApprovalPreset.TWO_PERSONS: (Stage(name="审核", people=2),),
    ApprovalPreset.THREE_REVIEWS: (
        Stage(name="初审", includes_proofreading=True),
        Stage(name="复审", includes_proofreading=True),
        Stage(name="终审", includes_proofreading=True),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRules:
    """The chain of each kind of post; `default` is that of every kind without its own."""

    default: Chain = ()
    by_kind: Mapping[str, Chain] = field(default_factory=dict)

    def chain_for(self, kind: str) -> Chain:
        return self.by_kind.get(kind, self.default)

    @property
    def is_active(self) -> bool:
        """True if any kind of post needs an approval."""
        return bool(self.default) or any(self.by_kind.values())


NO_APPROVALS = ApprovalRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One person's yes, at one stage of a chain, to the content with this fingerprint.

    `chain` is the hash of the chain as it was then: where the settings have changed since, the yes no longer counts.
    `scheduled_at` is the time of the occurrence in the schedule as it was then.
    `is_emergency`: an officer on duty released the content without the chain, which must follow.
    """

    person: str
    stage: str
    chain: Fingerprint
    fingerprint: Fingerprint
    at: datetime
    scheduled_at: datetime | None = None
    is_emergency: bool = False

    def covers_time(self, scheduled_at: datetime | None) -> bool:
        return is_covered(self.scheduled_at, scheduled_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """What one account of an occurrence gets: the kind of the post, and the hash of final text and pictures."""

    account: AccountId
    kind: str
    rendered_hash: Fingerprint


Writers = Mapping[str, Collection[str]]
"""All who have written or saved a post since it began, each with the presentations approved since their last save."""

LEFT_OUT = ""
"""In the place of a presentation: words that the version in force has, and that are not in the post's text yet.

No approval of that text is one of them.
"""


def name_presentation(chain: Chain, kind: str, template: str, platform: str) -> str:
    """Return the name of a way in which people saw a text: they have not approved what it says in another one."""
    return f"{hash_chain(chain)[:MIN_FINGERPRINT_LENGTH]} {kind} {template} {platform}"


def find_barred(writers: Writers, shown: Collection[str]) -> frozenset[str]:
    """Return the writers of a text in these presentations, but for those whose words were approved in all of them."""
    return frozenset(person for person, approved in writers.items() if not set(shown) <= set(approved))


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingStage:
    """A stage that still needs a number of people."""

    stage: Stage
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalStatus:
    """What an occurrence is approved by: its fingerprint, its chain, and all approvals that have not been ended.

    `scheduled_at` is its time in the schedule; None once none of it is open. An approval by one of the `barred` does
    not count: the author, and all who saved the post since it began, or since a text of it had every approval.
    `presentations` are those that show the present text of the post.
    """

    fingerprint: Fingerprint
    chain: Chain
    approvals: Sequence[Approval] = ()
    author: str = ""
    barred: frozenset[str] = frozenset()
    scheduled_at: datetime | None = None
    presentations: frozenset[str] = frozenset()

    @property
    def in_time(self) -> list[Approval]:
        """The approvals that were not given for a time too far after the present one."""
        return [approval for approval in self.approvals if approval.covers_time(self.scheduled_at)]

    @property
    def missing(self) -> list[MissingStage]:
        """The stages that are not complete, in order."""
        return missing_stages(self.chain, self.in_time, self.fingerprint, self.barred)

    @property
    def counted(self) -> list[Approval]:
        """The approvals of this content and chain by people who may give one, oldest first."""
        chain = hash_chain(self.chain)
        return [
            approval
            for approval in sorted(self.in_time, key=lambda one: one.at)
            if (approval.fingerprint, approval.chain, approval.is_emergency) == (self.fingerprint, chain, False)
            and not self.is_barred(approval.person)
        ]

    @property
    def is_emergency(self) -> bool:
        """True if the author and another officer, both on duty, have released exactly this content."""
        people = {
            name_skeleton(approval.person)
            for approval in self.in_time
            if approval.is_emergency and approval.fingerprint == self.fingerprint
        }
        return name_skeleton(self.author) in people and len(people) >= MIN_EMERGENCY_OFFICERS

    @property
    def is_approved(self) -> bool:
        """True if this content may be sent."""
        return not self.missing or self.is_emergency

    def has_approved(self, person: str) -> bool:
        """True if a person has already said yes to this content in its chain: a yes in another one does not count."""
        return any(name_skeleton(approval.person) == name_skeleton(person) for approval in self.counted)

    def is_barred(self, person: str) -> bool:
        """True if a person wrote the post, or saved it since its text had every approval."""
        return name_skeleton(person) in set(map(name_skeleton, self.barred))


def is_covered(approved_at: datetime | None, scheduled_at: datetime | None) -> bool:
    """True unless an occurrence was brought forward, from the time it was approved for, by more than MAX_ADVANCE."""
    return approved_at is None or scheduled_at is None or scheduled_at >= approved_at - MAX_ADVANCE


@lru_cache(maxsize=64)
def hash_chain(chain: Chain) -> Fingerprint:
    """Return the hash of a chain: approvals given under another one do not count."""
    return fingerprint([asdict(stage) for stage in chain])


def hash_rules(rules: ApprovalRules) -> Fingerprint:
    """Return the hash of the chains of all kinds."""
    return fingerprint([asdict(rules)])


def hash_renditions(renditions: Iterable[Rendition]) -> Fingerprint:
    """Return the fingerprint of an occurrence: of what every one of its accounts gets."""
    return fingerprint(sorted([item.account, item.kind, item.rendered_hash] for item in renditions))


def choose_reminder_lead(due_at: datetime, filed_at: datetime | None) -> timedelta:
    """Return how long before its time an occurrence raises an alert; its content was filed at an instant, if known."""
    is_old = filed_at is None or filed_at <= due_at - REMINDER_LEAD
    return REMINDER_LEAD if is_old else LAST_REMINDER_LEAD


def is_fingerprint_of(text: str, whole: Fingerprint) -> bool:
    """True if a typed text is a fingerprint, or its first MIN_FINGERPRINT_LENGTH or more characters."""
    typed = text.strip().lower()
    return len(typed) >= MIN_FINGERPRINT_LENGTH and whole.startswith(typed)


def missing_stages(
    chain: Chain, approvals: Sequence[Approval], content: Fingerprint, barred: Collection[str]
) -> list[MissingStage]:
    """Return the stages that still need people, in order.

    Only approvals of exactly this content and chain count, each person once in the whole chain, and nobody who is
    barred. Names that look alike are the same person.
    """
    chain_hash = hash_chain(chain)
    counted = set(map(name_skeleton, barred))
    given: dict[str, int] = {}
    for approval in sorted(approvals, key=lambda one: one.at):
        person = name_skeleton(approval.person)
        is_current = approval.fingerprint == content and approval.chain == chain_hash and not approval.is_emergency
        if is_current and person not in counted:
            counted.add(person)
            given[approval.stage] = given.get(approval.stage, 0) + 1
    return [
        MissingStage(stage=stage, people=stage.people - given.get(stage.name, 0))
        for stage in chain
        if given.get(stage.name, 0) < stage.people
    ]


def on_approval_missing(delivery: Delivery, event: ApprovalMissing, _context: StepContext) -> Delivery:
    """Wait for the missing approvals. What a call was made for keeps its place in the queue, and is tried again."""
    waiting = replace(delivery, reason=AWAITING_APPROVAL)
    if delivery.attempts and delivery.state is not State.PENDING:
        return replace(waiting, state=State.DUE, next_action_at=event.until)
    latest = delivery.expires_at if delivery.is_due_when_approved else delivery.first_attempt_deadline
    return replace(waiting, state=State.PENDING, next_action_at=event.until, first_attempt_deadline=latest)


def on_approved(delivery: Delivery, event: Approved, context: StepContext) -> Delivery:
    """Become due at the planned time; now if that has passed, or if the approval decides the time."""
    approved = replace(delivery, reason=None, next_action_at=max(delivery.due_at, context.now))
    if not delivery.is_due_when_approved:
        return approved
    return replace(
        approved,
        due_at=context.now,
        next_action_at=context.now,
        expires_at=event.expires_at,
        first_attempt_deadline=context.now + delivery.max_delay,
    )
