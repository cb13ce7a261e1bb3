"""The duty to put one occurrence on one account, and what has been tried and seen for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from publisher.domain.account import AccountId, LoginId, Platform
from publisher.domain.post import OccurrenceKey, PostId
from publisher.domain.rendered import DeliveryId, Fingerprint
from publisher.domain.results import ReadbackResult, Receipt, Ticket

WorkerId = NewType("WorkerId", str)


class State(StrEnum):
    PENDING = "pending"
    DUE = "due"
    RETRYING = "retrying"
    CLAIMED = "claimed"
    SENDING = "sending"
    SUBMITTED = "submitted"
    UNKNOWN = "unknown"
    RETRACTING = "retracting"
    HELD = "held"
    PUBLISHED = "published"
    RETRACTED = "retracted"
    REMOVED = "removed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class DesiredState(StrEnum):
    """What people want of a delivery, in rising order: each outweighs those before it.

    It is written in any open state, also while the platform's answer is out, and judged whenever the delivery would
    wait for another call. `EDITED`: the schedule has other words by now, though a call may have been made with these.
    `NOT_HERE`: the schedule does not name this account, or the post, any more. The last two are orders of people.
    """

    AS_PLANNED = "as_planned"
    EDITED = "edited"
    NOT_TARGETED = "unscheduled"
    CANCELLED = "cancelled"
    RETRACTED = "taken_down"

    @property
    def rank(self) -> int:
        return list(DesiredState).index(self)


DESIRED_NO_SEND = frozenset({DesiredState.NOT_TARGETED, DesiredState.CANCELLED, DesiredState.RETRACTED})
"""No further call may be made."""
DESIRED_BY_PERSON = frozenset({DesiredState.CANCELLED, DesiredState.RETRACTED})
"""Ordered by people: no edit of the schedule takes it back."""

WAITING_STATES = frozenset({State.PENDING, State.DUE, State.CLAIMED, State.RETRYING})
"""No call is out: it may still be cancelled, expire or be stopped. What floors are done of it are live."""
CHECKED_STATES = frozenset({State.SUBMITTED, State.UNKNOWN, State.RETRACTING})
"""The platform must be read before anything else happens."""
FINAL_STATES = frozenset({State.RETRACTED, State.REMOVED, State.FAILED, State.EXPIRED, State.CANCELLED})
"""Never left again; to send once more a person orders a new occurrence."""
OPEN_STATES = frozenset(State) - FINAL_STATES - {State.PUBLISHED}
REVISABLE_STATES = OPEN_STATES - {State.RETRACTING}
"""Where an edit of the schedule changes a delivery, or is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One row of the plan, and where it stands.

    `next_at` is when a stage should look at it again. `doubt_since` is the end of the attempt in doubt: the settle
    clock. `refusals` counts sign-in refusals in a row, `failures` refusals that cost a wait, `deaths` workers that died
    while they worked on it, since its last answered call. `last_first_call_at` is the latest instant at which its first
    creating call may begin; None once one has begun, or a person has let it go. `was_resent` says that a proven absence
    has already been answered by a second call, `ordered_after` after which attempt a person ordered another one; 0:
    after none. `floors` is how many further floors its text takes after the post itself, nearly always none; each is a
    call of its own, and `floors_done` counts the calls that are known to be live: with 0 nothing is, with more than
    `floors` all of it. `receipt` is the post's own; the counters of a call are the present floor's. One
    that `is_pruned` ended so long ago that its texts, reads and figures are no longer kept.
    """

    id: DeliveryId
    key: OccurrenceKey
    account: AccountId
    platform: Platform
    login: LoginId
    state: State
    version: int
    rendered_hash: Fingerprint
    due_at: datetime
    expires_at: datetime
    max_delay: timedelta
    updated_at: datetime
    is_urgent: bool = False
    follows: PostId | None = None
    reason: str | None = None
    next_action_at: datetime | None = None
    attempts: int = 0
    fencing_token: int = 0
    readbacks: int = 0
    auth_failures: int = 0
    failures: int = 0
    worker_crashes: int = 0
    unknown_since: datetime | None = None
    submitted_at: datetime | None = None
    verified_at: datetime | None = None
    receipt: Receipt | None = None
    ticket: Ticket | None = None
    reported_url: str | None = None
    was_resent: bool = False
    desired: DesiredState = DesiredState.AS_PLANNED
    first_attempt_deadline: datetime | None = None
    extra_parts: int = 0
    parts_done: int = 0
    resend_after_attempt: int = 0
    is_pruned: bool = False

    @property
    def is_incomplete(self) -> bool:
        """Whether some of it is live and some is not, as far as is known."""
        return 0 < self.parts_done <= self.extra_parts

    @property
    def is_retraction_requested(self) -> bool:
        """True if people want what is live of it taken down."""
        return self.desired is DesiredState.RETRACTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call that may create a post, or the further floor `floor` of one.

    `ended_at` is its reply, its deadline, or when its death was noticed.
    """

    number: int
    fencing_token: int
    intended_at: datetime
    ended_at: datetime | None
    baseline_at: datetime
    part: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readback:
    """One stored read of the account, and what it showed."""

    attempt: int
    at: datetime
    result: ReadbackResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right of one worker to work on a delivery until `until`; `epoch` tells it from earlier rights."""

    delivery: DeliveryId
    account: AccountId
    login: LoginId
    fencing_token: int
    due_at: datetime
    until: datetime
