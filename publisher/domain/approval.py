"""Approvals of the exact content of an occurrence, required before it may be sent. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

from publisher.domain.account import AccountId
from publisher.domain.characters import name_skeleton
from publisher.domain.delivery import (
    ApprovalMissing,
    Approved,
    Delivery,
    State,
    StepContext,
)
from publisher.domain.kinds import PostKind
from publisher.domain.post import Fingerprint, fingerprint

AWAITING_APPROVAL = "awaiting_approval"
"""Why a delivery waits at its time: an approval of its content is missing."""
NOT_APPROVED = "not_approved"
"""Why a delivery expired: it was still not approved when it became too late."""
REMINDER_LEAD = timedelta(hours=24)
"""How long before its time an unapproved occurrence raises an alert, if filed before that."""
LAST_REMINDER_LEAD = timedelta(hours=2)
"""The same lead for content filed later: its approvers have hardly seen it yet."""
MAX_ADVANCE = timedelta(hours=1)
"""How far an occurrence may be brought forward from its approved time without new approvals."""
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

    def lacks_second(self, kind: PostKind) -> bool:
        """Return True for a kind that two people should approve, and fewer do."""
        return kind.traits.needs_two and len(self.chain_for(kind)) < 2

    @property
    def is_active(self) -> bool:
        """True if any kind of post needs an approval."""
        return bool(self.default) or any(self.by_kind.values())


NO_APPROVALS = ApprovalRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One person's approval, at one stage of a chain, of the content with this fingerprint.

    `chain` is the hash of the chain at that time. If the settings have changed since, the approval
    no longer counts. `scheduled_at` is the time of the occurrence in the schedule at that time.
    `is_emergency`: an officer on duty released the content without the chain, and the chain must
    follow.
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
    """The content for one account of an occurrence: the post's kind, and a hash.

    The hash covers final text and pictures.
    """

    account: AccountId
    kind: str
    rendered_hash: Fingerprint


Writers = Mapping[str, Collection[str]]
"""The people that have written or saved a post since it began.

Each comes with the presentations approved since their last save.
"""

LEFT_OUT = ""
"""Stands in the place of a presentation for words that the post's text does not have yet.

The version in force has these words. No approval of that text covers them.
"""


def name_presentation(chain: Chain, kind: str, template: str, platform: str) -> str:
    """Return the name of a presentation, the way a text was shown to people.

    An approval covers the text in this presentation only, not in another one.
    """
    return f"{hash_chain(chain)[:MIN_FINGERPRINT_LENGTH]} {kind} {template} {platform}"


def find_barred(writers: Writers, shown: Collection[str]) -> frozenset[str]:
    """Return the writers of a text, without the ones approved in all these presentations.

    The words of a left-out writer were approved in every one of them.
    """
    return frozenset(
        person
        for person, approved in writers.items()
        if not set(shown) <= set(approved)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingStage:
    """A stage that still needs a number of people."""

    stage: Stage
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalStatus:
    """The approval status of an occurrence: its fingerprint, its chain and all approvals in force.

    An approval in force has not been ended. `scheduled_at` is its time in the schedule, None once
    none of it is open. An approval by one of the `barred` does not count. Barred are the author and
    everyone with a save since the post began, or since a text of it had every approval. `quoted`
    are the writers of unapproved words in the original, whose title the content quotes: they give
    no approval, but an earlier one counts. `presentations` are the ones that show the present text
    of the post.
    """

    fingerprint: Fingerprint
    chain: Chain
    approvals: Sequence[Approval] = ()
    author: str = ""
    barred: frozenset[str] = frozenset()
    quoted: frozenset[str] = frozenset()
    scheduled_at: datetime | None = None
    presentations: frozenset[str] = frozenset()

    @property
    def in_time(self) -> list[Approval]:
        """The approvals that were not given for a time too far after the present one."""
        return [
            approval
            for approval in self.approvals
            if approval.covers_time(self.scheduled_at)
        ]

    @property
    def missing(self) -> list[MissingStage]:
        """The stages that are not complete, in order."""
        return missing_stages(self.chain, self.in_time, self.fingerprint, self.barred)

    @property
    def counted(self) -> list[Approval]:
        """The valid approvals of this content and chain, oldest first.

        A valid approval comes from a person with the right to give it.
        """
        chain = hash_chain(self.chain)
        barred = set(map(name_skeleton, self.barred))
        return [
            approval
            for approval in sorted(self.in_time, key=lambda one: one.at)
            if (approval.fingerprint, approval.chain, approval.is_emergency)
            == (self.fingerprint, chain, False)
            and name_skeleton(approval.person) not in barred
        ]

    @property
    def is_emergency(self) -> bool:
        """True if the author and another officer have released exactly this content.

        Both are on duty.
        """
        people = {
            name_skeleton(approval.person)
            for approval in self.in_time
            if approval.is_emergency and approval.fingerprint == self.fingerprint
        }
        return (
            name_skeleton(self.author) in people
            and len(people) >= MIN_EMERGENCY_OFFICERS
        )

    @property
    def is_approved(self) -> bool:
        """True if this content may be sent."""
        return not self.missing or self.is_emergency

    def has_approved(self, person: str) -> bool:
        """True if a person has already approved this content in its present chain.

        An approval in another chain does not count.
        """
        return any(
            name_skeleton(approval.person) == name_skeleton(person)
            for approval in self.counted
        )

    def is_barred(self, person: str) -> bool:
        """True if a person has written words of the content that have not had every approval."""
        return name_skeleton(person) in set(
            map(name_skeleton, self.barred | self.quoted)
        )


def is_covered(approved_at: datetime | None, scheduled_at: datetime | None) -> bool:
    """True unless an occurrence was brought forward too far from its approved time.

    The limit is MAX_ADVANCE.
    """
    return (
        approved_at is None
        or scheduled_at is None
        or scheduled_at >= approved_at - MAX_ADVANCE
    )


@lru_cache(maxsize=64)
def hash_chain(chain: Chain) -> Fingerprint:
    """Return the hash of a chain: approvals given under another one do not count."""
    return fingerprint([asdict(stage) for stage in chain])


def hash_rules(rules: ApprovalRules) -> Fingerprint:
    """Return the hash of the chains of all kinds."""
    return fingerprint([asdict(rules)])


def hash_renditions(renditions: Iterable[Rendition]) -> Fingerprint:
    """Return the fingerprint of an occurrence, over the content for each of its accounts."""
    return fingerprint(
        sorted([item.account, item.kind, item.rendered_hash] for item in renditions)
    )


def choose_reminder_lead(due_at: datetime, filed_at: datetime | None) -> timedelta:
    """Return how long before its time an occurrence raises an alert.

    Its content was filed at `filed_at`, if that is known.
    """
    is_old = filed_at is None or filed_at <= due_at - REMINDER_LEAD
    return REMINDER_LEAD if is_old else LAST_REMINDER_LEAD


def hash_family(members: Iterable[tuple[str, Fingerprint]]) -> Fingerprint:
    """Return the hash of the contents of several members of a family, by name and hash."""
    return fingerprint(sorted(members))


def is_fingerprint_of(text: str, whole: Fingerprint) -> bool:
    """True if a typed text is a fingerprint or its beginning.

    A beginning has at least MIN_FINGERPRINT_LENGTH characters.
    """
    typed = text.strip().lower()
    return len(typed) >= MIN_FINGERPRINT_LENGTH and whole.startswith(typed)


def missing_stages(
    chain: Chain,
    approvals: Sequence[Approval],
    content: Fingerprint,
    barred: Collection[str],
) -> list[MissingStage]:
    """Return the stages that still need people, in order.

    Only approvals of exactly this content and chain count. Each person counts once in the whole
    chain, and nobody barred counts. Names that look alike are the same person.
    """
    chain_hash = hash_chain(chain)
    counted = set(map(name_skeleton, barred))
    given: dict[str, int] = {}
    for approval in sorted(approvals, key=lambda one: one.at):
        person = name_skeleton(approval.person)
        is_current = (
            approval.fingerprint == content
            and approval.chain == chain_hash
            and not approval.is_emergency
        )
        if is_current and person not in counted:
            counted.add(person)
            given[approval.stage] = given.get(approval.stage, 0) + 1
    return [
        MissingStage(stage=stage, people=stage.people - given.get(stage.name, 0))
        for stage in chain
        if given.get(stage.name, 0) < stage.people
    ]


def on_approval_missing(
    delivery: Delivery, event: ApprovalMissing, _context: StepContext
) -> Delivery:
    """Wait for the missing approvals.

    A delivery with a call already made keeps its place in the queue, and is tried again.
    """
    waiting = replace(delivery, reason=AWAITING_APPROVAL)
    if delivery.attempts and delivery.state is not State.PENDING:
        return replace(waiting, state=State.DUE, next_action_at=event.until)
    latest = (
        delivery.expires_at
        if delivery.is_due_when_approved
        else delivery.first_attempt_deadline
    )
    return replace(
        waiting,
        state=State.PENDING,
        next_action_at=event.until,
        first_attempt_deadline=latest,
    )


def on_approved(delivery: Delivery, event: Approved, context: StepContext) -> Delivery:
    """Become due at the planned time.

    Become due now if that time has passed, or if the approval decides the time.
    """
    approved = replace(
        delivery, reason=None, next_action_at=max(delivery.due_at, context.now)
    )
    if not delivery.is_due_when_approved:
        return approved
    return replace(
        approved,
        due_at=context.now,
        next_action_at=context.now,
        expires_at=event.expires_at,
        first_attempt_deadline=context.now + delivery.max_delay,
    )
