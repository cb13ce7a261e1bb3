"""The events of a delivery, and the actors that bring them. Outcomes and readback results are events too."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from publisher.domain import results
from publisher.domain.delivery import State
from publisher.domain.rendered import Fingerprint
from publisher.domain.results import HoldReason, Outcome, ReadbackResult, Receipt


class Role(StrEnum):
    PLANNER = "planner"
    MAINTENANCE = "maintenance"
    SENDER = "sender"
    RECONCILER = "reconciler"
    RETRACTOR = "retractor"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemUser:
    """The operating system user who ran a command; None for what is unknown or does not apply.

    `login_uid` is the user who logged in, before any `su` or `sudo`; `sudo_user` comes from the environment, unproven.
    """

    uid: int
    user: str | None
    login_uid: int | None
    login_user: str | None
    sudo_user: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The source of an event: a job under its own name, or a named person with the command's system user."""

    role: Role
    name: str
    system: SystemUser | None = None


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
    """Staff changed the post. `has_started`: a creating call of the occurrence has begun, or may have."""

    rendered_hash: Fingerprint
    due_at: datetime
    expires_at: datetime
    max_delay: timedelta
    is_urgent: bool
    has_started: bool
    extra_parts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A worker took the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """The intent of the next call is on disk; the call may start now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The lease was given back without a call, until `until`; `reason` is shown to people.

    `extends_deadline`: a rate limit or an unknown outcome blocks the delivery, which does not count as late.
    """

    until: datetime | None = None
    reason: str | None = None
    extends_deadline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseExpired:
    """The worker is gone, or so slow that it counts as gone.

    `may_have_started` is False only if no byte of the creating call has provably been sent. `is_only_suspect` is False
    if other deliveries that were in a crash before expired with it: this one need not be the cause.
    `has_worker_crashed` is False if the worker runs and only could not write to its database or a file beside it.
    """

    may_have_started: bool = True
    is_only_suspect: bool = True
    has_worker_crashed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The delivery is no longer wanted."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Too late to send. `reason`: `expired`, `too_late` before a first call, `superseded` by a later occurrence."""

    reason: str = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A rule requires a person's decision."""

    reason: HoldReason


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsenceProven:
    """Several readbacks prove that the attempt left nothing. `can_resend` is the platform's capability."""

    can_resend: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetractionRequested:
    """A person wants what is or may be published deleted."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A person's decision on a delivery that is held or being checked.

    To `unknown`: check again, at `url` if the person gave one. To `published`: two people confirmed it manually.
    """

    to: State
    reason: str
    url: str | None = None
    receipt: Receipt | None = None


Event = (
    BecameDue
    | Revised
    | Claimed
    | AttemptStarted
    | Released
    | LeaseExpired
    | Cancelled
    | Expired
    | Held
    | AbsenceProven
    | RetractionRequested
    | Resolved
    | Outcome
    | ReadbackResult
)

EVENT_CODES: Final[Mapping[type, str]] = {
    BecameDue: "became_due",
    Revised: "revised",
    Claimed: "claimed",
    AttemptStarted: "attempt_started",
    Released: "released",
    LeaseExpired: "lease_expired",
    Cancelled: "cancelled",
    Expired: "expired",
    Held: "held",
    AbsenceProven: "absence_proven",
    RetractionRequested: "retraction_requested",
    Resolved: "resolved",
    **{result: code for result, code in results.RESULT_CODES.items() if result is not results.Healthy},
}
"""The code of each event in the audit."""


def event_code(event: Event) -> str:
    return EVENT_CODES[type(event)]
