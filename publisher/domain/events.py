"""What may happen to a delivery, and who may bring it. Outcomes and findings are events too."""

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
    """Under which user of the operating system a command ran; None is what is not known or not so.

    `login_uid` is the user who logged in, whatever `su` or `sudo` followed; `sudo_user` is the word of the environment.
    """

    uid: int
    user: str | None
    login_uid: int | None
    login_user: str | None
    sudo_user: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who brings an event: a stage under its own name, or a named person with the system user of the command."""

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
    """Its time has come, or its wait is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revised:
    """Staff changed the post. `has_started` says that a creating call of the occurrence has begun, or may have.

    `floors` is how many further floors the new rendition has.
    """

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
    """The next call is announced on disk; it may start now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The lease was given back without a call, until a next claim makes sense; `reason` is for people who ask.

    `is_excused`: a quota or a doubt keeps it back, which does not count as being late.
    """

    until: datetime | None = None
    reason: str | None = None
    extends_deadline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseExpired:
    """The worker is gone, or so slow that it counts as gone.

    `has_begun` is False only where it is proven that no byte of the creating call has left. `is_alone` is False where
    other deliveries with which a worker has died before ended with it: it need not be what killed this one. `is_dead`
    is False where the worker lives, and only could not write to its database or a file beside it.
    """

    may_have_started: bool = True
    is_only_suspect: bool = True
    has_worker_crashed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """Not wanted any more."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Too late to be sent. `reason`: `expired`, `too_late` before a first call, `superseded` by a later instant."""

    reason: str = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A rule demands a person."""

    reason: HoldReason


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsenceProven:
    """Several looks prove that the attempt left nothing. `may_resend` is the platform's trait."""

    can_resend: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetractionRequested:
    """A person wants what is live, or may be, taken down."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A person's decision on a delivery that is held, or that the platform is asked about.

    To `unknown` means: look, at `url` where the person named one. To `published` means: live by two people's word.
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
    **{answer: code for answer, code in results.RESULT_CODES.items() if answer is not results.Healthy},
}
"""The code of each event, by which the audit names it."""


def event_code(event: Event) -> str:
    """Return an event's code."""
    return EVENT_CODES[type(event)]
