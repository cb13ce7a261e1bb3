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
    LOOKALIKE = "lookalike"
    CANNOT_CHECK = "cannot_check"
    CANNOT_RETRACT = "cannot_retract"
    ABSENT = "absent"
    ABSENT_TWICE = "absent_twice"
    LATE_ANSWER = "late_answer"
    NOT_SEEN = "not_seen"
    REVIEW = "review"
    HIDDEN = "hidden"
    TASK_UNDONE = "task_undone"
    TASK_TAKEN_BACK = "task_taken_back"
    POISON = "poison"
    FOREIGN_STATE = "foreign_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that a post is live: the platform's id, its address, and when the platform says it was made."""

    remote_id: str
    url: str
    live_at: datetime
    is_by_word: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """The number under which a platform still works on a post."""

    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Live. `has_seen_text` says that a read of the live post showed our own words, not only that it is there."""

    receipt: Receipt
    has_seen_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    ticket: Ticket
    look_again_at: datetime


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
    hold: HoldReason = HoldReason.ACCOUNT


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
    is_out_of_sight: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A complete read of the right list, back past the baseline, showed no post of ours.

    With `may_resend` False this post may not be sent again on that account's word alone, whatever its traits say.
    """

    back_to: datetime
    may_resend: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookalike:
    """Something on the account looks like ours but does not carry our marker."""

    remote_id: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
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
class Sighting:
    """A live post as its account's own list shows it, whoever made it."""

    remote_id: str
    url: str
    live_at: datetime
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The login works. `until` is when its credentials end, where the platform says so."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One person was shown the post. Nothing is live by it."""


Unread = RateLimited | Unknown
"""A read that brought nothing. A limit keeps back every call of the login until its end, reads as well."""
Outcome = Published | Submitted | Rejected | RateLimited | Busy | CredentialExpired | Blocked | NotSent | Unknown
Finding = Published | Submitted | Rejected | Missing | Lookalike | Gone | Unread
Removal = Gone | Rejected | Unread
Health = Ready | CredentialExpired | Blocked | Unread
Preview = Shown | Rejected | RateLimited | Busy | CredentialExpired | Blocked | NotSent | Unknown


CODES: Final[Mapping[type, str]] = {
    Published: "published",
    Submitted: "submitted",
    Rejected: "rejected",
    RateLimited: "rate_limited",
    Busy: "busy",
    CredentialExpired: "credential_expired",
    Blocked: "blocked",
    NotSent: "not_sent",
    Unknown: "unknown",
    Missing: "not_found",
    Lookalike: "possible_match",
    Gone: "deleted",
    Ready: "healthy",
}
"""The code of each answer, by which it is stored, logged and shown."""


def code_of(answer: Outcome | Finding | Removal | Health) -> str:
    """Return an answer's code."""
    return CODES[type(answer)]


def unread(trouble: NotSent | Unread) -> Unread:
    """Say of a read that brought no answer why nothing is learnt by it."""
    return trouble if isinstance(trouble, RateLimited) else Unknown(reason=trouble.reason)
