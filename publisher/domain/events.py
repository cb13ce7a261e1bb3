"""What may happen to a delivery, and who may bring it. Outcomes and findings are events too."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from publisher.domain import outcome
from publisher.domain.delivery import State
from publisher.domain.outcome import Finding, HoldReason, Outcome, Receipt
from publisher.domain.rendition import Fingerprint


class Role(StrEnum):
    PLANNER = "planner"
    KEEPER = "keeper"
    DELIVERER = "deliverer"
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
KEEPER = Actor(role=Role.KEEPER, name="keeper")
DELIVERER = Actor(role=Role.DELIVERER, name="deliverer")
RECONCILER = Actor(role=Role.RECONCILER, name="reconciler")
RETRACTOR = Actor(role=Role.RETRACTOR, name="retractor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ripened:
    """Its time has come, or its wait is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revised:
    """Staff changed the post. `has_started` says that a creating call of the occurrence has begun, or may have.

    `floors` is how many further floors the new rendition has.
    """

    rendition: Fingerprint
    due_at: datetime
    expires_at: datetime
    max_delay: timedelta
    is_urgent: bool
    has_started: bool
    floors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A worker took the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentWritten:
    """The next call is announced on disk; it may start now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The lease was given back without a call, until a next claim makes sense; `reason` is for people who ask.

    `is_excused`: a quota or a doubt keeps it back, which does not count as being late.
    """

    until: datetime | None = None
    reason: str | None = None
    is_excused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseLapsed:
    """The worker is gone, or so slow that it counts as gone.

    `has_begun` is False only where it is proven that no byte of the creating call has left. `is_alone` is False where
    other deliveries with which a worker has died before ended with it: it need not be what killed this one. `is_dead`
    is False where the worker lives, and only could not write to its database or a file beside it.
    """

    has_begun: bool = True
    is_alone: bool = True
    is_dead: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """Not wanted any more."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryPassed:
    """Too late to be sent. `reason`: `expired`, `too_late` before a first call, `superseded` by a later instant."""

    reason: str = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A rule demands a person."""

    reason: HoldReason


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsenceShown:
    """Several looks prove that the attempt left nothing. `may_resend` is the platform's trait."""

    may_resend: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetractOrdered:
    """A person wants what is live, or may be, taken down."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """A person's decision on a delivery that is held, or that the platform is asked about.

    To `unknown` means: look, at `url` where the person named one. To `published` means: live by two people's word.
    """

    to: State
    reason: str
    url: str | None = None
    receipt: Receipt | None = None


Event = (
    Ripened
    | Revised
    | Claimed
    | IntentWritten
    | Released
    | LeaseLapsed
    | Withdrawn
    | ExpiryPassed
    | Stopped
    | AbsenceShown
    | RetractOrdered
    | Ruled
    | Outcome
    | Finding
)

CODES: Final[Mapping[type, str]] = {
    Ripened: "became_due",
    Revised: "revised",
    Claimed: "claimed",
    IntentWritten: "attempt_started",
    Released: "released",
    LeaseLapsed: "lease_expired",
    Withdrawn: "cancelled",
    ExpiryPassed: "expired",
    Stopped: "held",
    AbsenceShown: "absence_proven",
    RetractOrdered: "retraction_requested",
    Ruled: "resolved",
    **{answer: code for answer, code in outcome.CODES.items() if answer is not outcome.Ready},
}
"""The code of each event, by which the audit names it."""


def code_of(event: Event) -> str:
    """Return an event's code."""
    return CODES[type(event)]
