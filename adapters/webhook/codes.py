"""The meaning of each refusal of a receiver for a call that may have created a post.

The codes are in docs/adapters.md, section webhook: a receiver answers `{"error": CODE}` with a 4xx
status. A code that is not listed proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class WebhookErrorClass(StrEnum):
    REJECTED = "rejected"  # text or pictures; an edit is needed
    RATE_LIMITED = "rate_limited"
    BUSY = "busy"  # nothing was done; retry
    CREDENTIAL = "credential"
    ACCOUNT = "account"
    CAPTCHA = "captcha"  # a person must act on the receiver's site


@dataclass(frozen=True, slots=True)
class WebhookErrorCode:
    """The meaning of some codes, its source, and the day the source was last read."""

    error_class: WebhookErrorClass
    source: str
    read_on: str


_PAGE = "docs/adapters.md, webhook"

# fmt: off
CODES: Mapping[str, WebhookErrorCode] = {
    code: meaning
    for meaning, codes in (
        (WebhookErrorCode(WebhookErrorClass.REJECTED, _PAGE, "2026-11-25"), (
            "refused", "too_large",
        )),
        (WebhookErrorCode(WebhookErrorClass.RATE_LIMITED, _PAGE, "2026-11-25"), ("rate_limited",)),
        (WebhookErrorCode(WebhookErrorClass.BUSY, _PAGE, "2026-11-25"), ("busy",)),
        (WebhookErrorCode(WebhookErrorClass.CREDENTIAL, _PAGE, "2026-11-25"), (
            "bad_signature", "stale",
        )),
        (WebhookErrorCode(WebhookErrorClass.ACCOUNT, _PAGE, "2026-11-25"), (
            "account_closed", "forbidden", "unknown_account",
        )),
        (WebhookErrorCode(WebhookErrorClass.CAPTCHA, _PAGE, "2026-11-25"), ("person_needed",)),
    )
    for code in codes
}
# fmt: on

NO_SUCH_POST = "no_such_post"
"""The code of a read or deletion of a post that does not exist.

The refusal repeats the requested name.
"""


def to_message_key(code: str) -> str:
    """Return a code's key in the message catalogue."""
    return f"webhook_{code}"
