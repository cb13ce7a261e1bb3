"""What each of a receiver's refusals says about a call that may have created a post.

The codes are those of docs/adapters.md, section webhook: a receiver answers `{"error": CODE}` with a status of the
400s. A code that is not listed proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class WebhookErrorClass(StrEnum):
    REJECTED = "rejected"  # the words or pictures; an edit is needed
    RATE_LIMITED = "rate_limited"  # too many; come back later
    BUSY = "busy"  # nothing was done; come back
    CREDENTIAL = "credential"
    ACCOUNT = "account"
    PERMISSION = "permission"
    CAPTCHA = "captcha"  # a person must do something at the receiver's


@dataclass(frozen=True, slots=True)
class WebhookErrorCode:
    """One line of the table: what it means, who says so, and when that was last read."""

    error_class: WebhookErrorClass
    source: str
    read_on: str


_PAGE = "docs/adapters.md, webhook"

CODES: Mapping[str, WebhookErrorCode] = {
    "account_closed": WebhookErrorCode(WebhookErrorClass.ACCOUNT, _PAGE, "2026-11-25"),
    "bad_signature": WebhookErrorCode(WebhookErrorClass.CREDENTIAL, _PAGE, "2026-11-25"),
    "busy": WebhookErrorCode(WebhookErrorClass.BUSY, _PAGE, "2026-11-25"),
    "forbidden": WebhookErrorCode(WebhookErrorClass.PERMISSION, _PAGE, "2026-11-25"),
    "person_needed": WebhookErrorCode(WebhookErrorClass.CAPTCHA, _PAGE, "2026-11-25"),
    "rate_limited": WebhookErrorCode(WebhookErrorClass.RATE_LIMITED, _PAGE, "2026-11-25"),
    "refused": WebhookErrorCode(WebhookErrorClass.REJECTED, _PAGE, "2026-11-25"),
    "stale": WebhookErrorCode(WebhookErrorClass.CREDENTIAL, _PAGE, "2026-11-25"),
    "too_large": WebhookErrorCode(WebhookErrorClass.REJECTED, _PAGE, "2026-11-25"),
    "unknown_account": WebhookErrorCode(WebhookErrorClass.PERMISSION, _PAGE, "2026-11-25"),
}

NO_SUCH_POST = "no_such_post"
"""The answer to a read or removal of what is not there; it repeats the name that was asked for."""


def to_message_key(code: str) -> str:
    """Give a code's key in the message catalogue."""
    return f"webhook_{code}"
