"""What each of a receiver's refusals says about a call that may have created a post.

The codes are those of docs/adapters.md, section webhook: a receiver answers `{"error": CODE}` with a status of the
400s. A code that is not listed proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    REFUSED = "refused"  # the words or pictures; an edit is needed
    REST = "rest"  # too many; come back later
    BUSY = "busy"  # nothing was done; come back
    SIGN_IN = "sign_in"
    ACCOUNT = "account"
    PERMISSION = "permission"
    CAPTCHA = "captcha"  # a person must do something at the receiver's


@dataclass(frozen=True, slots=True)
class Code:
    """One line of the table: what it means, who says so, and when that was last read."""

    kind: Kind
    source: str
    read: str


_PAGE = "docs/adapters.md, webhook"

CODES: Mapping[str, Code] = {
    "account_closed": Code(Kind.ACCOUNT, _PAGE, "2026-11-25"),
    "bad_signature": Code(Kind.SIGN_IN, _PAGE, "2026-11-25"),
    "busy": Code(Kind.BUSY, _PAGE, "2026-11-25"),
    "forbidden": Code(Kind.PERMISSION, _PAGE, "2026-11-25"),
    "person_needed": Code(Kind.CAPTCHA, _PAGE, "2026-11-25"),
    "rate_limited": Code(Kind.REST, _PAGE, "2026-11-25"),
    "refused": Code(Kind.REFUSED, _PAGE, "2026-11-25"),
    "stale": Code(Kind.SIGN_IN, _PAGE, "2026-11-25"),
    "too_large": Code(Kind.REFUSED, _PAGE, "2026-11-25"),
    "unknown_account": Code(Kind.PERMISSION, _PAGE, "2026-11-25"),
}

NO_SUCH_POST = "no_such_post"
"""The answer to a read or removal of what is not there; it repeats the name that was asked for."""


def name(code: str) -> str:
    """Give a code's key in the message catalogue."""
    return f"webhook_{code}"
