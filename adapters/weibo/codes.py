"""The meaning of each Weibo error code for a call that may have created a post.

The codes are from the open platform's wiki page Error_code and from clients that met them. Their
meaning for the call is our interpretation. A code that is not listed proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class WeiboErrorClass(StrEnum):
    REJECTED = "rejected"  # text or picture; an edit is needed
    # a window of the rate limit is full; windows end on the full hour
    HOURLY_LIMIT = "hourly_limit"
    COOLDOWN = (
        "rate_limited"  # the account has posted too much; rate-limited for an hour
    )
    BUSY = (
        "busy"  # its text asks for a retry; a name such as "busy" alone proves nothing
    )
    CREDENTIAL = "credential"
    ACCOUNT = "account"
    CAPTCHA = "captcha"
    # created, but not visible: for one or two minutes, or until a review is over
    ACCEPTED = "accepted"
    DUPLICATE = (
        "duplicate"  # Weibo claims that the same text exists: a copy may be published
    )
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class WeiboErrorCode:
    """The meaning of some codes, its source, and the day the source was last read."""

    error_class: WeiboErrorClass
    source: str
    read_on: str


_WIKI = "wiki Error_code"
_CLIENTS = "clients in use"
_OAUTH = "wiki OAuth2 error codes"
_ARTICLE = "wiki Toutiao/api"

# fmt: off
CODES: Mapping[int, WeiboErrorCode] = {
    code: meaning
    for meaning, codes in (
        (WeiboErrorCode(WeiboErrorClass.REJECTED, _WIKI, "2026-11-24"), (
            10017, 10018, 20005, 20006, 20008, 20012, 20013, 20018, 20020, 20021, 21602,
        )),
        (WeiboErrorCode(WeiboErrorClass.REJECTED, _CLIENTS, "2026-11-24"), (20049,)),
        (WeiboErrorCode(WeiboErrorClass.HOURLY_LIMIT, _WIKI, "2026-11-24"), (10022, 10023, 10024)),
        (WeiboErrorCode(WeiboErrorClass.COOLDOWN, _WIKI, "2026-11-24"), (20016, 20022)),
        (WeiboErrorCode(WeiboErrorClass.COOLDOWN, _ARTICLE, "2026-11-25"), (11001,)),
        (WeiboErrorCode(WeiboErrorClass.BUSY, _WIKI, "2026-11-24"), (20014,)),
        (WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _WIKI, "2026-11-24"), (
            10006, 21301, 21302, 21303, 21314, 21315, 21316, 21317, 21319,
        )),
        (WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _CLIENTS, "2026-11-24"), (20033, 21332)),
        (WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _OAUTH, "2026-11-24"), (21325, 21327, 21330)),
        (WeiboErrorCode(WeiboErrorClass.ACCOUNT, _WIKI, "2026-11-24"), (
            10004, 10013, 20003, 20015, 20102,
        )),
        (WeiboErrorCode(WeiboErrorClass.ACCOUNT, _CLIENTS, "2026-11-24"), (20023,)),
        (WeiboErrorCode(WeiboErrorClass.ACCOUNT, _WIKI, "2026-11-24"), (
            10005, 10007, 10008, 10012, 10014, 10016, 10020, 10021, 20001, 20002, 20007, 20009,
            20104, 20109, 20121, 21320, 21321,
        )),
        (WeiboErrorCode(WeiboErrorClass.ACCOUNT, _WIKI, "2026-11-25"), (
            21305, 21306, 21307, 21308, 21309, 21310, 21311, 21312, 21313, 21501, 21504,
        )),
        (WeiboErrorCode(WeiboErrorClass.ACCOUNT, _CLIENTS, "2026-11-24"), (20112, 21337)),
        (WeiboErrorCode(WeiboErrorClass.ACCOUNT, _OAUTH, "2026-11-24"), (
            21322, 21323, 21324, 21326, 21328, 21329,
        )),
        (WeiboErrorCode(WeiboErrorClass.CAPTCHA, _WIKI, "2026-11-24"), (20031,)),
        (WeiboErrorCode(WeiboErrorClass.ACCEPTED, _WIKI, "2026-11-24"), (20032,)),
        (WeiboErrorCode(WeiboErrorClass.ACCEPTED, _CLIENTS, "2026-12-01"), (20053,)),
        (WeiboErrorCode(WeiboErrorClass.DUPLICATE, _WIKI, "2026-11-24"), (20017, 20019, 20111)),
        (WeiboErrorCode(WeiboErrorClass.UNKNOWN, _WIKI, "2026-11-24"), (
            10001, 10002, 10003, 10009, 10010, 10011,
        )),
        (WeiboErrorCode(WeiboErrorClass.UNKNOWN, _WIKI, "2026-11-25"), (20101,)),
        (WeiboErrorCode(WeiboErrorClass.UNKNOWN, _CLIENTS, "2026-11-24"), (10025, 21405, 23201)),
        (WeiboErrorCode(WeiboErrorClass.UNKNOWN, _OAUTH, "2026-11-24"), (21331,)),
        (WeiboErrorCode(WeiboErrorClass.UNKNOWN, _ARTICLE, "2026-11-25"), (11002, 11003)),
    )
    for code in codes
}
# fmt: on

LOGIN_LIMIT_CODES = frozenset({10022, 10023})
"""Limits on every call of an IP address or a user; 10024 limits one endpoint only."""
NO_SUCH_POST = 20101
"""Means "deleted" in responses to a deletion or read.

In a response to a creating call it proves nothing.
"""
BAD_PARAMETER = 10017
"""Means a missing link.

With `appkey` in its text, it means that no safe domain is approved for the app.
"""


def to_message_key(code: int) -> str:
    """Return a code's key in the message catalogue."""
    return f"weibo_{code}"
