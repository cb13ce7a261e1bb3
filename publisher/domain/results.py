"""What a platform told us: outcomes of a call, findings of a read, the fate of a removal, the health of a login."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final


class HoldReason(StrEnum):
    """Why a delivery waits for a person."""

    AUTH = "auth"
    CAPTCHA = "captcha"
    ACCOUNT = "account"
    PERMISSION = "permission"
    WRONG_ACCOUNT = "wrong_account"
    EDITED = "edited"
    INCOMPLETE = "incomplete"
    IMAGE_MISSING = "image_missing"
    POSSIBLE_MATCH = "possible_match"
    UNCHECKABLE = "uncheckable"
    UNDELETABLE = "undeletable"
    NOT_PUBLISHED = "not_published"
    NOT_PUBLISHED_TWICE = "not_published_twice"
    LATE_RESPONSE = "late_response"
    REPORT_NOT_CONFIRMED = "report_not_confirmed"
    REVIEW_TIMEOUT = "review_timeout"
    HIDDEN = "hidden"
    MANUAL_TASK_OVERDUE = "manual_task_overdue"
    MANUAL_TASK_CANCELLED = "manual_task_revoked"
    POISON = "poison"
    UNKNOWN_STATE = "unknown_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that a post is live: the platform's id, its address, and when the platform says it was made."""

    remote_id: str
    url: str
    published_at: datetime
    is_manually_confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """The number under which a platform still works on a post."""

    payload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Live. `has_seen_text` says that a read of the live post showed our own words, not only that it is there."""

    receipt: Receipt
    is_text_confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    ticket: Ticket
    check_again_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Refused for good; nothing was made."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimited:
    """Refused for now; nothing was made, or nothing read. `until` is None where the platform named no time."""

    code: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Refused for now by a code that is listed as having done nothing."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialExpired:
    """The sign-in was refused before anything was done; the adapter has renewed it once where it can."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """A person must act on the platform; nothing was made unless `hold` says otherwise."""

    code: str
    reason: str
    hold_reason: HoldReason = HoldReason.ACCOUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """The transport proves that no byte of the creating request left."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Anything else. A guess is never made from here.

    `is_duplicate` says that the platform claims to have these words already: nothing is sent again after that.
    `is_out_of_sight` says that nothing which can be read shows the post now, and that more looks will hardly show it.
    """

    reason: str
    is_duplicate: bool = False
    is_beyond_list: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFound:
    """A complete read of the right list, back past the baseline, showed no post of ours.

    With `may_resend` False this post may not be sent again on that account's word alone, whatever its traits say.
    """

    covered_since: datetime
    can_resend: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PossibleMatch:
    """Something on the account looks like ours but does not carry our marker."""

    remote_id: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """The post is not live any more, by the platform's own word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a live post has come; None where the platform does not tell. `url` is its address, if told only now."""

    reads: int | None = None
    reposts: int | None = None
    comments: int | None = None
    likes: int | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedPost:
    """A live post as its account's own list shows it, whoever made it."""

    remote_id: str
    url: str
    published_at: datetime
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy:
    """The login works. `until` is when its credentials end, where the platform says so."""

    credentials_expire_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewSent:
    """One person was shown the post. Nothing is live by it."""


ReadFailure = RateLimited | Unknown
"""A read that brought nothing. A limit keeps back every call of the login until its end, reads as well."""
Outcome = Published | Submitted | Rejected | RateLimited | Busy | CredentialExpired | Blocked | NotSent | Unknown
ReadbackResult = Published | Submitted | Rejected | NotFound | PossibleMatch | Deleted | ReadFailure
DeletionResult = Deleted | Rejected | ReadFailure
HealthCheckResult = Healthy | CredentialExpired | Blocked | ReadFailure
PreviewResult = PreviewSent | Rejected | RateLimited | Busy | CredentialExpired | Blocked | NotSent | Unknown


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
"""The code of each answer, by which it is stored, logged and shown."""


def result_code(answer: Outcome | ReadbackResult | DeletionResult | HealthCheckResult) -> str:
    """Return an answer's code."""
    return RESULT_CODES[type(answer)]


def to_read_failure(failure: NotSent | ReadFailure) -> ReadFailure:
    """Say of a read that brought no answer why nothing is learnt by it."""
    return failure if isinstance(failure, RateLimited) else Unknown(reason=failure.reason)
