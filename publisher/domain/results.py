"""Results from a platform: call outcomes, readback results, deletion results, login health."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from publisher.domain.account import Timing

MANUAL_CHECK_INTERVAL = timedelta(hours=1)
"""How often the account is read for a task that nobody has reported done.

The task may be done nevertheless.
"""


class HoldReason(StrEnum):
    """Why a delivery waits for a person."""

    AUTH = "auth"
    CAPTCHA = "captcha"
    ACCOUNT = "account"
    WRONG_ACCOUNT = "wrong_account"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 # a reason
    IDENTITY_CHANGED = "identity_changed"
    EDITED = "edited"
    INCOMPLETE = "incomplete"
    IMAGE_MISSING = "image_missing"
    POSSIBLE_MATCH = "possible_match"
    UNCHECKABLE = "uncheckable"
    UNDELETABLE = "undeletable"
    NOT_PUBLISHED = "not_published"
    REVIEW_TIMEOUT = "review_timeout"
    REVIEW_POSSIBLE = "review_possible"
    HIDDEN = "hidden"
    MANUAL_TASK_UNREPORTED = "manual_task_unreported"
    POISON = "poison"
    UNKNOWN_STATE = "unknown_state"


REFUSED_HOLD_REASONS = frozenset(
    {
        HoldReason.ACCOUNT,
        HoldReason.AUTH,
        HoldReason.WRONG_SECRET,
    }
)
"""The reasons that leave no doubt: the call was refused, and nothing is to be looked for.

Others may be about a post that is there, as `wrong_account` and `hidden` are.
"""


class TransportReason(StrEnum):
    """Why a call brought no usable response: the platforms' common reasons of NotSent and Unknown.

    The HTTP client gives all but the last two. Adapters give these two for a complete response.
    Adapters may write any of them as a plain string.
    """

    HOST_NOT_ALLOWED = "host_not_allowed"
    IN_COOLDOWN = "in_cooldown"
    STOPPED = "stopped"
    LEASE_USED_UP = "lease_used_up"
    CLOCK_UNCONFIRMED_AT_SEND = "clock_unconfirmed_at_send"
    NOT_RECORDED = "not_recorded"
    DNS_FAILED = "dns_failed"
    DNS_TIMEOUT = "dns_timeout"
    CONNECT_FAILED = "connect_failed"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS_FAILED = "tls_failed"
    TIMEOUT = "timeout"
    RESET = "reset"
    RESPONSE_TRUNCATED = "response_truncated"
    BODY_TOO_LARGE = "body_too_large"
    RESPONSE_ENCODED = "response_encoded"
    REDIRECTED = "redirected"
    SERVER_ERROR = "server_error"
    BAD_RESPONSE = "bad_response"

    __repr__ = (
        str.__repr__
    )  # in messages of the conformance kit it reads as authors write it


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that a post is published.

    It holds the platform's id, its address, and the platform's time of publication.
    """

    remote_id: str
    url: str
    published_at: datetime
    is_manually_confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualTask:
    """A manual post.

    `url`, `reported_by` and `done_at` are a person's report, and prove nothing by themselves.
    """

    assigned_at: datetime
    url: str | None = None
    reported_by: str | None = None
    done_at: datetime | None = None

    def is_report_overdue(self, timing: Timing, now: datetime) -> bool:
        """True if it was reported done so long ago that a readback should have found it."""
        return (
            self.done_at is not None and now > self.done_at + timing.visibility_window
        )

    def next_check_at(self, timing: Timing, now: datetime) -> datetime:
        """Return the time of the next readback.

        Readbacks come at a fixed interval while the task is open, with doubling waits once it is
        reported.
        """
        if self.done_at is None:
            return now + MANUAL_CHECK_INTERVAL
        wait = max(
            timing.first_check_after, min(now - self.done_at, timing.max_check_delay)
        )
        visible_at = self.done_at + timing.visibility_window + timedelta(milliseconds=1)
        return min(now + wait, visible_at) if now < visible_at else now + wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """The awaited party of a submitted post.

    It is the platform, by its own reference to the post, or a person's manual task.
    """

    payload: str = ""
    manual_task: ManualTask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The post is published.

    `is_text_confirmed`: a read showed our own text, not only that a post exists.
    """

    receipt: Receipt
    is_text_confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    ticket: Ticket
    check_again_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Rejected permanently; nothing was created."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimited:
    """Rejected for now; nothing was created or read.

    `until` is None if the platform gave no time.
    """

    code: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Rejected for now, with a code that is documented as having no effect.

    No attempt follows before `until`.
    """

    code: str
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialExpired:
    """The credentials were rejected before any effect.

    The adapter has already renewed them once if it can.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """A person must act on the platform.

    Nothing was created unless `hold_reason` says otherwise.
    """

    code: str
    reason: str
    hold_reason: HoldReason = HoldReason.ACCOUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """The transport or the call record proves that no byte of the creating request was sent.

    With `until` the platform still prepares a part of the post, such as a video. That is no
    failure, and the next attempt comes then.
    """

    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Anything else; nothing is inferred from it.

    `is_duplicate`: the platform says that it already has this content, so nothing is sent again.
    `is_beyond_list`: no readable list shows the post now, and further readbacks are unlikely to.
    """

    reason: str
    is_duplicate: bool = False
    is_beyond_list: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFound:
    """A complete read of the right list, back to before the baseline, showed no post of ours.

    With `can_resend` False this read alone does not allow a resend, even if the platform's
    capabilities do.
    """

    covered_since: datetime
    can_resend: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PossibleMatch:
    """A post on the account has a similar text, but not our marker."""

    remote_id: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """The platform confirms that the post is no longer published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Metrics of a published post.

    A metric is None if the platform does not report it. `url` is set if first known here.
    """

    reads: int | None = None
    reposts: int | None = None
    comments: int | None = None
    likes: int | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedPost:
    """A published post as its account's list shows it, ours or external."""

    remote_id: str
    url: str
    published_at: datetime
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy:
    """The login works. `credentials_expire_at` is set if the platform reports it.

    So is `identity`, the platform's own and only name for the account. Where the settings may name
    it otherwise, two accounts that are the same are recognised by it.
    """

    credentials_expire_at: datetime | None = None
    identity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewSent:
    """One person received a preview. Nothing was published."""


ReadFailure = RateLimited | Unknown
"""A read without a result. A rate limit stops every call of the login until its end, reads too."""
Outcome = (
    Published
    | Submitted
    | Rejected
    | RateLimited
    | Busy
    | CredentialExpired
    | Blocked
    | NotSent
    | Unknown
)
ReadbackResult = (
    Published | Submitted | Rejected | NotFound | PossibleMatch | Deleted | ReadFailure
)
DeletionResult = Deleted | Rejected | ReadFailure
HealthCheckResult = Healthy | CredentialExpired | Blocked | ReadFailure
PreviewResult = (
    PreviewSent
    | Rejected
    | RateLimited
    | Busy
    | CredentialExpired
    | Blocked
    | NotSent
    | Unknown
)


RESULT_CODES: Final[Mapping[type, str]] = {
    Published: "published",
    Submitted: "submitted",
    Rejected: "rejected",
    RateLimited: "rate_limited",
    Busy: "busy",
    CredentialExpired: "credential_expired",
    Blocked: "blocked",
    NotSent: "not_sent",
    Unknown: "unknown",
    NotFound: "not_found",
    PossibleMatch: "possible_match",
    Deleted: "deleted",
    Healthy: "healthy",
}
"""The code of each result, used to store, log and show it."""


def result_code(
    result: Outcome | ReadbackResult | DeletionResult | HealthCheckResult,
) -> str:
    return RESULT_CODES[type(result)]


def drop_details(outcome: Outcome) -> Outcome:
    """Return an outcome without the platform's words.

    It is Unknown if the outcome rests on these words, as on an id or a ticket.
    """
    match outcome:
        case Rejected() | Blocked():
            return replace(outcome, reason="")
        case Busy():
            return replace(outcome, reason="", until=None)
        case RateLimited():
            return replace(outcome, until=None)
        case CredentialExpired():
            return CredentialExpired(reason=TransportReason.BAD_RESPONSE)
        case NotSent():
            return NotSent(reason=TransportReason.BAD_RESPONSE)
        case Unknown():
            return replace(outcome, reason=TransportReason.BAD_RESPONSE)
        case _:
            return Unknown(reason=TransportReason.BAD_RESPONSE)


def to_read_failure(failure: NotSent | ReadFailure) -> ReadFailure:
    """Return a failed read as a read failure: a rate limit as it is, anything else as Unknown."""
    return (
        failure if isinstance(failure, RateLimited) else Unknown(reason=failure.reason)
    )
