"""The duty to put one occurrence on one account, and what has been tried and seen for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from publisher.domain.account import AccountId, LoginId, Platform
from publisher.domain.outcome import Finding, Receipt, Ticket
from publisher.domain.post import OccurrenceKey, PostId
from publisher.domain.rendition import DeliveryId, Fingerprint

WorkerId = NewType("WorkerId", str)


class State(StrEnum):
    PENDING = "pending"
    DUE = "due"
    RETRY_WAIT = "retry_wait"
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


WAITING = frozenset({State.PENDING, State.DUE, State.CLAIMED, State.RETRY_WAIT})
"""No call is out: it may still be cancelled, expire or be stopped. What floors are done of it are live."""
ASKING = frozenset({State.SUBMITTED, State.UNKNOWN, State.RETRACTING})
"""The platform must be read before anything else happens."""
ENDED = frozenset({State.RETRACTED, State.REMOVED, State.FAILED, State.EXPIRED, State.CANCELLED})
"""Never left again; to send once more a person orders a new occurrence."""
OPEN = frozenset(State) - ENDED - {State.PUBLISHED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One row of the plan, and where it stands.

    `next_at` is when a stage should look at it again. `doubt_since` is the end of the attempt in doubt: the settle
    clock. `refusals` counts sign-in refusals in a row, `failures` refusals that cost a wait, `deaths` workers lost
    with it in hand. `was_resent` says that a proven absence has already been answered by a second call. `floors` is
    how many further floors its text takes after the post itself, nearly always none; each is a call of its own, and
    `floors_done` counts the calls that are known to be live: with 0 nothing is, with more than `floors` all of it.
    `receipt` is the post's own; all but the clocks of a call starts anew with each floor.
    """

    id: DeliveryId
    key: OccurrenceKey
    account: AccountId
    platform: Platform
    login: LoginId
    state: State
    version: int
    rendition: Fingerprint
    due_at: datetime
    expires_at: datetime
    max_late: timedelta
    updated_at: datetime
    is_urgent: bool = False
    follows: PostId | None = None
    reason: str | None = None
    next_at: datetime | None = None
    attempts: int = 0
    epoch: int = 0
    looks: int = 0
    refusals: int = 0
    failures: int = 0
    deaths: int = 0
    doubt_since: datetime | None = None
    submitted_at: datetime | None = None
    verified_at: datetime | None = None
    receipt: Receipt | None = None
    ticket: Ticket | None = None
    claimed_url: str | None = None
    was_claimed: bool = False
    was_resent: bool = False
    is_withdrawn: bool = False
    is_retract_ordered: bool = False
    floors: int = 0
    floors_done: int = 0

    @property
    def is_incomplete(self) -> bool:
        """Whether some of it is live and some is not, as far as is known."""
        return 0 < self.floors_done <= self.floors

    def is_too_late(self, now: datetime) -> bool:
        """Whether its first claim comes later than staff allowed."""
        return not self.was_claimed and now > self.due_at + self.max_late


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call that may create a post, or the further floor `floor` of one.

    `ended_at` is its reply, its deadline, or when its death was noticed.
    """

    number: int
    epoch: int
    intended_at: datetime
    ended_at: datetime | None
    since: datetime
    floor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One stored read of the account, and what it showed."""

    attempt: int
    at: datetime
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right of one worker to work on a delivery until `until`; `epoch` tells it from earlier rights."""

    delivery: DeliveryId
    account: AccountId
    login: LoginId
    epoch: int
    due_at: datetime
    until: datetime
