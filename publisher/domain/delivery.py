"""Deliveries and manual posts.

A delivery is one occurrence for one account, with its attempts, readbacks and events.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NewType

from publisher.domain.account import AccountId, LoginId, Platform, Timing
from publisher.domain.kinds import PostKind
from publisher.domain.post import DeliveryId, Fingerprint, OccurrenceKey, PostId
from publisher.domain.results import (
    MANUAL_CHECK_INTERVAL,
    RESULT_CODES,
    Healthy,
    HoldReason,
    ManualTask,
    Outcome,
    ReadbackResult,
    Receipt,
    Ticket,
)

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
    """The state that people want of a delivery, in rising order: each overrides the ones before it.

    It is set in any open state, also while a call is in flight. It is applied whenever the delivery
    would wait for another call. `EDITED`: the schedule has new content, though a call may have been
    made with the old. `NOT_TARGETED`: the schedule no longer names this account or the post.
    `CORRECTED`: a correction of the post was ordered, so its text is known to be wrong. The last
    two are ordered by people.
    """

    AS_PLANNED = "as_planned"
    EDITED = "edited"
    NOT_TARGETED = "unscheduled"
    CORRECTED = "corrected"
    CANCELLED = "cancelled"
    RETRACTED = "taken_down"

    @property
    def rank(self) -> int:
        return list(DesiredState).index(self)


DESIRED_BY_PERSON = frozenset(
    {DesiredState.CORRECTED, DesiredState.CANCELLED, DesiredState.RETRACTED}
)
"""Ordered by people: no edit of the schedule reverts it."""
DESIRED_NO_SEND = DESIRED_BY_PERSON | {DesiredState.NOT_TARGETED}
"""No further call may be made."""

WORDS_REPLACED = "words_replaced"
"""The reason of a delivery that is withdrawn until its new text is rendered."""
WAITING_STATES = frozenset({State.PENDING, State.DUE, State.CLAIMED, State.RETRYING})
"""States without a call in flight: the delivery may be cancelled, expire or be held.

Some parts may be published.
"""
CHECKED_STATES = frozenset({State.SUBMITTED, State.UNKNOWN, State.RETRACTING})
"""The platform must be read before anything else happens."""
MAYBE_PUBLISHED_STATES = frozenset(
    {State.PUBLISHED, State.SUBMITTED, State.UNKNOWN, State.HELD, State.SENDING}
)
"""States of a delivery with something to delete by a retraction, or possibly so."""
FINAL_STATES = frozenset(
    {State.RETRACTED, State.REMOVED, State.FAILED, State.EXPIRED, State.CANCELLED}
)
"""States that are never left, unless the planner restores a delivery that was never called.

To send again, a person orders a new occurrence.
"""
RESTORABLE_STATES = frozenset({State.EXPIRED, State.CANCELLED})
"""Where a delivery may have ended before any call, because of the schedule or of time."""
OPEN_STATES = frozenset(State) - FINAL_STATES - {State.PUBLISHED}
REVISABLE_STATES = OPEN_STATES - {State.RETRACTING}
"""States that let an edit of the schedule change a delivery or be recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One occurrence for one account, and its status."""

    id: DeliveryId
    key: OccurrenceKey
    account: AccountId
    """The account's present id: it may have been renamed since."""
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
    """When a job handles it again."""
    attempts: int = 0
    """The number of committed intents. It never falls.

    A call that never started counts, and so does a manual task.
    """
    fencing_token: int = 0
    readbacks: int = 0
    """The reads and deletions that were tried since the last attempt."""
    auth_failures: int = 0
    """Rejected logins in a row."""
    failures: int = 0
    """Calls of the present part that were refused for now, or could not be sent."""
    worker_crashes: int = 0
    """Workers in a row that crashed while they handled it."""
    unknown_since: datetime | None = None
    """The end of the attempt with an unknown outcome. The visibility window counts from there."""
    submitted_at: datetime | None = None
    verified_at: datetime | None = None
    receipt: Receipt | None = None
    """The receipt of the post's own first part."""
    ticket: Ticket | None = None
    reported_url: str | None = None
    was_resent: bool = False
    """True if proven absence has already led to a second call."""
    desired: DesiredState = DesiredState.AS_PLANNED
    first_attempt_deadline: datetime | None = None
    """The latest start of its first creating call.

    It is None once a person has released the delivery, or once an attempt has ended that may have
    sent something.
    """
    extra_parts: int = 0
    """The number of further parts of its text, nearly always 0. Each part is a call of its own."""
    parts_done: int = 0
    """Published parts. At 0 nothing is published, above `extra_parts` everything is."""
    resend_after_attempt: int = 0
    """The attempt after which a person ordered another one; 0 if none."""
    is_pruned: bool = False
    """True if its texts, readbacks and metrics are deleted."""
    kind: str = PostKind.WARNING.value
    """The post's kind when the text was rendered."""
    is_due_when_approved: bool = False
    """True if it has no time of its own: its last approval makes it due."""
    marker: str = ""
    """The code of the marker in its text."""

    @property
    def manual_task(self) -> ManualTask | None:
        """The manual task that the delivery waits for.

        It is None if a platform works on the delivery, or nobody does.
        """
        return self.ticket.manual_task if self.ticket else None

    @property
    def is_incomplete(self) -> bool:
        """True if some parts are published and some are not, as far as is known."""
        return 0 < self.parts_done <= self.extra_parts

    @property
    def is_review_possible(self) -> bool:
        """True if nothing but a review can hide the post any more.

        It needs no place in its account's list.
        """
        return self.state is State.UNKNOWN and self.reason == HoldReason.REVIEW_POSSIBLE

    @property
    def can_be_resent(self) -> bool:
        """True if a person may order it once more, as a new occurrence.

        It ended unpublished, or was removed.
        """
        is_stopped = (
            self.state is State.CANCELLED and self.desired is DesiredState.CORRECTED
        )
        return is_stopped or self.state in {State.FAILED, State.EXPIRED, State.REMOVED}

    @property
    def is_retraction_requested(self) -> bool:
        """True if people want the published parts deleted."""
        return self.desired is DesiredState.RETRACTED

    @property
    def is_untouched(self) -> bool:
        """True if no attempt was ever made, and no person reported a URL."""
        return not self.attempts and self.receipt is None and self.reported_url is None

    @property
    def may_have_been_called(self) -> bool:
        """True unless each of its attempts, if any, is known to have sent nothing."""
        return self.attempts > 0 and (
            self.first_attempt_deadline is None or self.state is State.SENDING
        )

    @property
    def is_uncalled(self) -> bool:
        """True if no call can have begun and neither platform nor person has reported a post."""
        has_report = (
            self.receipt is not None
            or self.ticket is not None
            or self.reported_url is not None
        )
        return not (self.may_have_been_called or has_report)

    @property
    def is_restorable(self) -> bool:
        """True if it ended before any call, by the schedule or by time, and so may come back."""
        return (
            self.state in RESTORABLE_STATES
            and self.is_uncalled
            and self.desired not in DESIRED_BY_PERSON
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call that may create a post, or part `part` of one; a manual task if `is_manual`.

    In a manual task, a person was asked to post instead. `ended_at` is the time of its response,
    its deadline, or the time at which its loss was noticed. `identity` is the account's own on the
    platform when the call was intended. `method` is the adapter's word for the way it was made.
    Both may be different by now, and only these values say where its post is. `method` is empty for
    a manual task, and where nobody knows it any more.
    """

    number: int
    fencing_token: int
    intended_at: datetime
    ended_at: datetime | None
    baseline_at: datetime
    identity: str = ""
    method: str = ""
    part: int = 0
    is_manual: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Readback:
    """One stored read of the account, and its result."""

    attempt: int
    at: datetime
    result: ReadbackResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right of one worker to handle a delivery until `until`.

    The fencing token rises with each lease.
    """

    delivery: DeliveryId
    account: AccountId
    login: LoginId
    fencing_token: int
    due_at: datetime
    until: datetime

    def has_current_fencing_token(self, delivery: Delivery) -> bool:
        """True if no later lease of the delivery was taken.

        The holder of an earlier lease may no longer change the delivery.
        """
        return self.fencing_token == delivery.fencing_token


class Role(StrEnum):
    PLANNER = "planner"
    MAINTENANCE = "maintenance"
    SENDER = "sender"
    RECONCILER = "reconciler"
    RETRACTOR = "retractor"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemUser:
    """The operating system user of a command; None for parts unknown or not applicable.

    `login_uid` is the user of the login, before any `su` or `sudo`. `sudo_user` comes from the
    environment, unproven.
    """

    uid: int
    user: str | None
    login_uid: int | None
    login_user: str | None
    sudo_user: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The source of an event: a job under its own name, or a named person with a system user.

    The system user is the one of the command. `sign_in` is the proof of the name, such as a
    password. It is None where nobody has to sign in.
    """

    role: Role
    name: str
    system: SystemUser | None = None
    sign_in: str | None = None


PLANNER = Actor(role=Role.PLANNER, name="planner")
MAINTENANCE = Actor(role=Role.MAINTENANCE, name="maintenance")
SENDER = Actor(role=Role.SENDER, name="sender")
RECONCILER = Actor(role=Role.RECONCILER, name="reconciler")
RETRACTOR = Actor(role=Role.RETRACTOR, name="retractor")


@dataclass(frozen=True, slots=True, kw_only=True)
class BecameDue:
    """The due time has come, or the wait is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revised:
    """A change of the post by staff.

    `has_started`: a creating call of the occurrence has begun, or may have. `is_due_when_approved`:
    it has no time of its own any more.
    """

    rendered_hash: Fingerprint
    due_at: datetime
    expires_at: datetime
    max_delay: timedelta
    is_urgent: bool
    has_started: bool
    extra_parts: int = 0
    kind: str = PostKind.WARNING.value
    is_due_when_approved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The schedule wants a delivery again that it had removed, or that expired, before any call."""

    content: Revised


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalMissing:
    """The delivery's time has come, but an approval of its content is missing.

    The approvals are checked again at `until`.
    """

    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """The last missing approval was given. `expires_at` applies to a post due when approved."""

    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A worker took the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """The intent of the next call is on disk; the call may start now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The lease was given back without a call, until `until`; `reason` is shown to people.

    `extends_deadline`: a rate limit or an unknown outcome blocks the delivery, and it does not
    count as late.
    """

    until: datetime | None = None
    reason: str | None = None
    extends_deadline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseExpired:
    """The worker is gone, or so slow that it counts as gone.

    `may_have_started` is False only if no byte of the creating call has provably been sent.
    `is_only_suspect` is False if other deliveries that were in a crash before expired with it: this
    one need not be the cause. `has_worker_crashed` is False if the worker runs and only could not
    write to its database or a file beside it.
    """

    may_have_started: bool = True
    is_only_suspect: bool = True
    has_worker_crashed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The delivery is not wanted any more. `is_corrected`: a correction of its post was ordered."""

    reason: str
    is_corrected: bool = False

    def desired_by(self, role: Role) -> DesiredState:
        """Return the state desired of a delivery that cannot end now."""
        if self.is_corrected:
            return DesiredState.CORRECTED
        return (
            DesiredState.NOT_TARGETED
            if role is Role.PLANNER
            else DesiredState.CANCELLED
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Too late to send.

    `reason` is `expired`, `too_late` before a first call, or `superseded` by a later occurrence.
    """

    reason: str = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A rule requires a person's decision. `facts` go into the alert and the audit."""

    reason: HoldReason
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsenceProven:
    """Several readbacks prove that the attempt left nothing.

    `can_resend` is the platform's capability.
    """

    can_resend: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPossible:
    """Several readbacks show that the attempt left nothing.

    Only the platform's review may still hide a post.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class RetractionRequested:
    """A person wants the post deleted, whether it is published or only may be."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A person's decision on a delivery that is held or being checked.

    To `unknown`: check again, at `url` if the person gave one. To `published`: two people confirmed
    it manually.
    """

    to: State
    reason: str
    url: str | None = None
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInRenewed:
    """The secret that the platform refused is replaced, and its login works again."""


Event = (
    BecameDue
    | Revised
    | Restored
    | ApprovalMissing
    | Approved
    | Claimed
    | AttemptStarted
    | Released
    | LeaseExpired
    | Cancelled
    | Expired
    | Held
    | AbsenceProven
    | ReviewPossible
    | RetractionRequested
    | Resolved
    | SignInRenewed
    | Outcome
    | ReadbackResult
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """The input of a step besides the delivery and the event."""

    now: datetime
    timing: Timing
    by: Actor


EVENT_CODES: Final[Mapping[type, str]] = {
    BecameDue: "became_due",
    Revised: "revised",
    Restored: "reinstated",
    ApprovalMissing: "approval_missing",
    Approved: "approved",
    Claimed: "claimed",
    AttemptStarted: "attempt_started",
    Released: "released",
    LeaseExpired: "lease_expired",
    Cancelled: "cancelled",
    Expired: "expired",
    Held: "held",
    AbsenceProven: "absence_proven",
    ReviewPossible: "review_possible",
    RetractionRequested: "retraction_requested",
    Resolved: "resolved",
    SignInRenewed: "sign_in_renewed",
    **{result: code for result, code in RESULT_CODES.items() if result is not Healthy},
}
"""The code of each event in the audit."""


def event_code(event: Event) -> str:
    return EVENT_CODES[type(event)]


MAX_LAST_REMINDER_LEAD = timedelta(minutes=30)
"""How long before expiry the last reminder of a task is sent.

It is a sixth of the task's time if that is less.
"""


class ReminderKind(StrEnum):
    """The reminders of an open task; each value is the code of its alert."""

    HALF_TIME = "manual_task_half_time"
    LAST_CALL = "manual_task_expiring"


def make_manual_timing(timing: Timing) -> Timing:
    """Return the timing of a manual task: a person takes longer than a platform."""
    return replace(
        timing,
        first_check_after=MANUAL_CHECK_INTERVAL,
        max_check_delay=MANUAL_CHECK_INTERVAL,
    )


def due_reminder(
    task: ManualTask, expires_at: datetime, now: datetime
) -> ReminderKind | None:
    """Return the reminder that is due by now, or None; there is none after a report."""
    if task.done_at is not None or now >= expires_at:
        return None
    whole = expires_at - task.assigned_at
    if now >= expires_at - min(MAX_LAST_REMINDER_LEAD, whole / 6):
        return ReminderKind.LAST_CALL
    return ReminderKind.HALF_TIME if now >= task.assigned_at + whole / 2 else None


def find_hold_reason(
    task: ManualTask, delivery: Delivery, timing: Timing, now: datetime
) -> HoldReason | None:
    """Return why a person must decide on a task now, None if not yet.

    The task is over without a report, or its report was not confirmed in time.
    """
    if task.done_at is not None:
        is_over = now >= max(
            delivery.expires_at, task.done_at + 2 * timing.visibility_window
        )
        return HoldReason.POSSIBLE_MATCH if is_over else None
    is_over = delivery.desired in DESIRED_NO_SEND or now >= delivery.expires_at
    return HoldReason.MANUAL_TASK_UNREPORTED if is_over else None
