"""What each of Weibo's error codes says about a call that may have created a post.

The codes are those of the open platform's wiki page Error_code and of clients that met them; what each means for the
call is our reading. A code that is not listed proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class WeiboErrorClass(StrEnum):
    REJECTED = "rejected"  # the words or the picture; an edit is needed
    HOURLY_LIMIT = "hourly_limit"  # a window of the rate limit is full; windows end on the full hour
    COOLDOWN = "rate_limited"  # the account has said too much; rate_limited an hour
    BUSY = "busy"  # asks to try again by its own words; names such as "busy" alone prove nothing
    CREDENTIAL = "credential"
    ACCOUNT = "account"
    PERMISSION = "permission"
    CAPTCHA = "captcha"
    ACCEPTED = "accepted"  # done, but not visible for one or two minutes
    DUPLICATE = "duplicate"  # these words are said to be there already: a copy may be live
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class WeiboErrorCode:
    """One line of the table: what it means, who says so, and when that was last read."""

    error_class: WeiboErrorClass
    source: str
    read_on: str


_WIKI = "wiki Error_code"
_CLIENTS = "clients in use"
_OAUTH = "wiki OAuth2 error codes"
_ARTICLE = "wiki Toutiao/api"

CODES: Mapping[int, WeiboErrorCode] = {
    10001: WeiboErrorCode(WeiboErrorClass.UNKNOWN, _WIKI, "2026-11-24"),
    10002: WeiboErrorCode(WeiboErrorClass.UNKNOWN, _WIKI, "2026-11-24"),
    10003: WeiboErrorCode(WeiboErrorClass.UNKNOWN, _WIKI, "2026-11-24"),
    10004: WeiboErrorCode(WeiboErrorClass.ACCOUNT, _WIKI, "2026-11-24"),
    10005: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    10006: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _WIKI, "2026-11-24"),
    10007: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    10008: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    10009: WeiboErrorCode(WeiboErrorClass.UNKNOWN, _WIKI, "2026-11-24"),
    10010: WeiboErrorCode(WeiboErrorClass.UNKNOWN, _WIKI, "2026-11-24"),
    10011: WeiboErrorCode(WeiboErrorClass.UNKNOWN, _WIKI, "2026-11-24"),
    10012: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    10013: WeiboErrorCode(WeiboErrorClass.ACCOUNT, _WIKI, "2026-11-24"),
    10014: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    10016: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    10017: WeiboErrorCode(WeiboErrorClass.REJECTED, _WIKI, "2026-11-24"),
    10018: WeiboErrorCode(WeiboErrorClass.REJECTED, _WIKI, "2026-11-24"),
    10020: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    10021: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    10022: WeiboErrorCode(WeiboErrorClass.HOURLY_LIMIT, _WIKI, "2026-11-24"),
    10023: WeiboErrorCode(WeiboErrorClass.HOURLY_LIMIT, _WIKI, "2026-11-24"),
    10024: WeiboErrorCode(WeiboErrorClass.HOURLY_LIMIT, _WIKI, "2026-11-24"),
    10025: WeiboErrorCode(WeiboErrorClass.UNKNOWN, _CLIENTS, "2026-11-24"),
    11001: WeiboErrorCode(WeiboErrorClass.COOLDOWN, _ARTICLE, "2026-11-25"),
    11002: WeiboErrorCode(WeiboErrorClass.UNKNOWN, _ARTICLE, "2026-11-25"),
    11003: WeiboErrorCode(WeiboErrorClass.UNKNOWN, _ARTICLE, "2026-11-25"),
    20001: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    20002: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    20003: WeiboErrorCode(WeiboErrorClass.ACCOUNT, _WIKI, "2026-11-24"),
    20005: WeiboErrorCode(WeiboErrorClass.REJECTED, _WIKI, "2026-11-24"),
    20006: WeiboErrorCode(WeiboErrorClass.REJECTED, _WIKI, "2026-11-24"),
    20007: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    20008: WeiboErrorCode(WeiboErrorClass.REJECTED, _WIKI, "2026-11-24"),
    20009: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    20012: WeiboErrorCode(WeiboErrorClass.REJECTED, _WIKI, "2026-11-24"),
    20013: WeiboErrorCode(WeiboErrorClass.REJECTED, _WIKI, "2026-11-24"),
    20014: WeiboErrorCode(WeiboErrorClass.BUSY, _WIKI, "2026-11-24"),
    20015: WeiboErrorCode(WeiboErrorClass.ACCOUNT, _WIKI, "2026-11-24"),
    20016: WeiboErrorCode(WeiboErrorClass.COOLDOWN, _WIKI, "2026-11-24"),
    20017: WeiboErrorCode(WeiboErrorClass.DUPLICATE, _WIKI, "2026-11-24"),
    20018: WeiboErrorCode(WeiboErrorClass.REJECTED, _WIKI, "2026-11-24"),
    20019: WeiboErrorCode(WeiboErrorClass.DUPLICATE, _WIKI, "2026-11-24"),
    20020: WeiboErrorCode(WeiboErrorClass.REJECTED, _WIKI, "2026-11-24"),
    20021: WeiboErrorCode(WeiboErrorClass.REJECTED, _WIKI, "2026-11-24"),
    20022: WeiboErrorCode(WeiboErrorClass.COOLDOWN, _WIKI, "2026-11-24"),
    20023: WeiboErrorCode(WeiboErrorClass.ACCOUNT, _CLIENTS, "2026-11-24"),
    20031: WeiboErrorCode(WeiboErrorClass.CAPTCHA, _WIKI, "2026-11-24"),
    20032: WeiboErrorCode(WeiboErrorClass.ACCEPTED, _WIKI, "2026-11-24"),
    20033: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _CLIENTS, "2026-11-24"),
    20049: WeiboErrorCode(WeiboErrorClass.REJECTED, _CLIENTS, "2026-11-24"),
    20101: WeiboErrorCode(WeiboErrorClass.UNKNOWN, _WIKI, "2026-11-25"),
    20102: WeiboErrorCode(WeiboErrorClass.ACCOUNT, _WIKI, "2026-11-24"),
    20104: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    20109: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    20111: WeiboErrorCode(WeiboErrorClass.DUPLICATE, _WIKI, "2026-11-24"),
    20112: WeiboErrorCode(WeiboErrorClass.PERMISSION, _CLIENTS, "2026-11-24"),
    20121: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    21301: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _WIKI, "2026-11-24"),
    21302: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _WIKI, "2026-11-24"),
    21303: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _WIKI, "2026-11-24"),
    21305: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-25"),
    21306: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-25"),
    21307: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-25"),
    21308: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-25"),
    21309: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-25"),
    21310: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-25"),
    21311: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-25"),
    21312: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-25"),
    21313: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-25"),
    21314: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _WIKI, "2026-11-24"),
    21315: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _WIKI, "2026-11-24"),
    21316: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _WIKI, "2026-11-24"),
    21317: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _WIKI, "2026-11-24"),
    21319: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _WIKI, "2026-11-24"),
    21320: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    21321: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-24"),
    21322: WeiboErrorCode(WeiboErrorClass.PERMISSION, _OAUTH, "2026-11-24"),
    21323: WeiboErrorCode(WeiboErrorClass.PERMISSION, _OAUTH, "2026-11-24"),
    21324: WeiboErrorCode(WeiboErrorClass.PERMISSION, _OAUTH, "2026-11-24"),
    21325: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _OAUTH, "2026-11-24"),
    21326: WeiboErrorCode(WeiboErrorClass.PERMISSION, _OAUTH, "2026-11-24"),
    21327: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _OAUTH, "2026-11-24"),
    21328: WeiboErrorCode(WeiboErrorClass.PERMISSION, _OAUTH, "2026-11-24"),
    21329: WeiboErrorCode(WeiboErrorClass.PERMISSION, _OAUTH, "2026-11-24"),
    21330: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _OAUTH, "2026-11-24"),
    21331: WeiboErrorCode(WeiboErrorClass.UNKNOWN, _OAUTH, "2026-11-24"),
    21332: WeiboErrorCode(WeiboErrorClass.CREDENTIAL, _CLIENTS, "2026-11-24"),
    21337: WeiboErrorCode(WeiboErrorClass.PERMISSION, _CLIENTS, "2026-11-24"),
    21405: WeiboErrorCode(WeiboErrorClass.UNKNOWN, _CLIENTS, "2026-11-24"),
    21501: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-25"),
    21504: WeiboErrorCode(WeiboErrorClass.PERMISSION, _WIKI, "2026-11-25"),
    21602: WeiboErrorCode(WeiboErrorClass.REJECTED, _WIKI, "2026-11-24"),
    23201: WeiboErrorCode(WeiboErrorClass.UNKNOWN, _CLIENTS, "2026-11-24"),
}

LOGIN_LIMIT_CODES = frozenset({10022, 10023})
"""Numbers of limits that stand against every call of an address or a user; 10024 stands against one kind of call."""
NO_SUCH_POST = 20101
"""Says "gone" when taking down and when reading; as an answer to a creating call it says nothing."""
BAD_PARAMETER = 10017
"""Means a missing link, or, with `appkey` in its text, that no safe domain is approved for the app."""


def to_message_key(code: int) -> str:
    """Give a code's key in the message catalogue."""
    return f"weibo_{code}"
