"""The duty to put one occurrence on one account, and what has been tried and seen for it."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from publisher.domain.account import AccountId, LoginId, Platform
from publisher.domain.policy import Timing
from publisher.domain.post import OccurrenceKey, PostId
from publisher.domain.rendered import DeliveryId, Fingerprint
from publisher.domain.results import HoldReason, ReadbackResult, Receipt, Ticket

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


MANUAL_CHECK_INTERVAL = timedelta(hours=1)
"""How often the account is read for a task that nobody has reported done: it may have been done all the same."""
MAX_LAST_REMINDER_LEAD = timedelta(minutes=30)
"""How long before its expiry a task is called to mind for the last time, or a sixth of its time where that is less."""
_TICKET_PREFIX = "task:"


class ReminderKind(StrEnum):
    """Why people are told of an open task again; each is the code of its alert."""

    HALF_TIME = "manual_task_half_time"
    LAST_CALL = "manual_task_expiring"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualTask:
    """What is known of a task. `url`, `by` and `done_at` are a person's report, which proves nothing by itself."""

    assigned_at: datetime
    url: str | None = None
    reported_by: str | None = None
    done_at: datetime | None = None

    @property
    def ticket(self) -> Ticket:
        facts = {
            "handed_at": self.assigned_at.isoformat(),
            "url": self.url,
            "by": self.reported_by,
            "done_at": self.done_at.isoformat() if self.done_at else None,
        }
        return Ticket(payload=_TICKET_PREFIX + json.dumps(facts, ensure_ascii=False, separators=(",", ":")))

    def with_report(self, url: str, by: str, at: datetime) -> "ManualTask":
        return replace(self, url=url, reported_by=by, done_at=at)

    def is_report_overdue(self, timing: Timing, now: datetime) -> bool:
        """Whether it was reported done so long ago that it should have been seen."""
        return self.done_at is not None and now > self.done_at + timing.visibility_window

    def next_check_at(self, timing: Timing, now: datetime) -> datetime:
        """Give the instant of the next read: seldom while it is open, by doubling waits once it is reported done."""
        if self.done_at is None:
            return now + MANUAL_CHECK_INTERVAL
        wait = max(timing.first_check_after, min(now - self.done_at, timing.max_check_delay))
        settled_at = self.done_at + timing.visibility_window + timedelta(milliseconds=1)
        return min(now + wait, settled_at) if now < settled_at else now + wait


def parse_manual_task(ticket: Ticket | None) -> ManualTask | None:
    """Read a ticket that we gave to a person; None for a platform's."""
    if ticket is None or not ticket.payload.startswith(_TICKET_PREFIX):
        return None
    facts = json.loads(ticket.payload.removeprefix(_TICKET_PREFIX))
    return ManualTask(
        assigned_at=datetime.fromisoformat(facts["handed_at"]),
        url=facts["url"],
        reported_by=facts["by"],
        done_at=datetime.fromisoformat(facts["done_at"]) if facts["done_at"] else None,
    )


def make_manual_timing(timing: Timing) -> Timing:
    """Give the waits between two reads for a task: a person takes longer than a platform."""
    return replace(timing, first_check_after=MANUAL_CHECK_INTERVAL, max_check_delay=MANUAL_CHECK_INTERVAL)


def due_reminder(task: ManualTask, expires_at: datetime, now: datetime) -> ReminderKind | None:
    """Say of what people must be reminded by now; nothing once they have reported."""
    if task.done_at is not None or now >= expires_at:
        return None
    whole = expires_at - task.assigned_at
    if now >= expires_at - min(MAX_LAST_REMINDER_LEAD, whole / 6):
        return ReminderKind.LAST_CALL
    return ReminderKind.HALF_TIME if now >= task.assigned_at + whole / 2 else None


def find_hold_reason(task: ManualTask, delivery: Delivery, timing: Timing, now: datetime) -> HoldReason | None:
    """Say why a task must be ruled on now: it is not wanted any more, its time is over, or its report proved wrong."""
    if task.done_at is not None:
        is_over = now >= max(delivery.expires_at, task.done_at + 2 * timing.visibility_window)
        return HoldReason.REPORT_NOT_CONFIRMED if is_over else None
    if delivery.desired in DESIRED_NO_SEND:
        return HoldReason.MANUAL_TASK_CANCELLED
    return HoldReason.MANUAL_TASK_OVERDUE if now >= delivery.expires_at else None
