"""What each of Weibo's error codes says about a call that may have created a post.

The codes are those of the open platform's wiki page Error_code and of clients that met them; what each means for the
call is our reading. A code that is not listed proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    REFUSED = "refused"  # the words or the picture; an edit is needed
    NEXT_HOUR = "next_hour"  # a window of the rate limit is full; windows end on the full hour
    REST = "rest"  # the account has said too much; rest an hour
    BUSY = "busy"  # asks to try again by its own words; names such as "busy" alone prove nothing
    SIGN_IN = "sign_in"
    ACCOUNT = "account"
    PERMISSION = "permission"
    CAPTCHA = "captcha"
    ACCEPTED = "accepted"  # done, but not visible for one or two minutes
    DUPLICATE = "duplicate"  # these words are said to be there already: a copy may be live
    DOUBT = "doubt"


@dataclass(frozen=True, slots=True)
class Code:
    """One line of the table: what it means, who says so, and when that was last read."""

    kind: Kind
    source: str
    read: str


_WIKI = "wiki Error_code"
_CLIENTS = "clients in use"
_OAUTH = "wiki OAuth2 error codes"
_ARTICLE = "wiki Toutiao/api"

CODES: Mapping[int, Code] = {
    10001: Code(Kind.DOUBT, _WIKI, "2026-11-24"),
    10002: Code(Kind.DOUBT, _WIKI, "2026-11-24"),
    10003: Code(Kind.DOUBT, _WIKI, "2026-11-24"),
    10004: Code(Kind.ACCOUNT, _WIKI, "2026-11-24"),
    10005: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    10006: Code(Kind.SIGN_IN, _WIKI, "2026-11-24"),
    10007: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    10008: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    10009: Code(Kind.DOUBT, _WIKI, "2026-11-24"),
    10010: Code(Kind.DOUBT, _WIKI, "2026-11-24"),
    10011: Code(Kind.DOUBT, _WIKI, "2026-11-24"),
    10012: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    10013: Code(Kind.ACCOUNT, _WIKI, "2026-11-24"),
    10014: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    10016: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    10017: Code(Kind.REFUSED, _WIKI, "2026-11-24"),
    10018: Code(Kind.REFUSED, _WIKI, "2026-11-24"),
    10020: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    10021: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    10022: Code(Kind.NEXT_HOUR, _WIKI, "2026-11-24"),
    10023: Code(Kind.NEXT_HOUR, _WIKI, "2026-11-24"),
    10024: Code(Kind.NEXT_HOUR, _WIKI, "2026-11-24"),
    10025: Code(Kind.DOUBT, _CLIENTS, "2026-11-24"),
    11001: Code(Kind.REST, _ARTICLE, "2026-11-25"),
    11002: Code(Kind.DOUBT, _ARTICLE, "2026-11-25"),
    11003: Code(Kind.DOUBT, _ARTICLE, "2026-11-25"),
    20001: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    20002: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    20003: Code(Kind.ACCOUNT, _WIKI, "2026-11-24"),
    20005: Code(Kind.REFUSED, _WIKI, "2026-11-24"),
    20006: Code(Kind.REFUSED, _WIKI, "2026-11-24"),
    20007: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    20008: Code(Kind.REFUSED, _WIKI, "2026-11-24"),
    20009: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    20012: Code(Kind.REFUSED, _WIKI, "2026-11-24"),
    20013: Code(Kind.REFUSED, _WIKI, "2026-11-24"),
    20014: Code(Kind.BUSY, _WIKI, "2026-11-24"),
    20015: Code(Kind.ACCOUNT, _WIKI, "2026-11-24"),
    20016: Code(Kind.REST, _WIKI, "2026-11-24"),
    20017: Code(Kind.DUPLICATE, _WIKI, "2026-11-24"),
    20018: Code(Kind.REFUSED, _WIKI, "2026-11-24"),
    20019: Code(Kind.DUPLICATE, _WIKI, "2026-11-24"),
    20020: Code(Kind.REFUSED, _WIKI, "2026-11-24"),
    20021: Code(Kind.REFUSED, _WIKI, "2026-11-24"),
    20022: Code(Kind.REST, _WIKI, "2026-11-24"),
    20023: Code(Kind.ACCOUNT, _CLIENTS, "2026-11-24"),
    20031: Code(Kind.CAPTCHA, _WIKI, "2026-11-24"),
    20032: Code(Kind.ACCEPTED, _WIKI, "2026-11-24"),
    20033: Code(Kind.SIGN_IN, _CLIENTS, "2026-11-24"),
    20049: Code(Kind.REFUSED, _CLIENTS, "2026-11-24"),
    20101: Code(Kind.DOUBT, _WIKI, "2026-11-25"),
    20102: Code(Kind.ACCOUNT, _WIKI, "2026-11-24"),
    20104: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    20109: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    20111: Code(Kind.DUPLICATE, _WIKI, "2026-11-24"),
    20112: Code(Kind.PERMISSION, _CLIENTS, "2026-11-24"),
    20121: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    21301: Code(Kind.SIGN_IN, _WIKI, "2026-11-24"),
    21302: Code(Kind.SIGN_IN, _WIKI, "2026-11-24"),
    21303: Code(Kind.SIGN_IN, _WIKI, "2026-11-24"),
    21305: Code(Kind.PERMISSION, _WIKI, "2026-11-25"),
    21306: Code(Kind.PERMISSION, _WIKI, "2026-11-25"),
    21307: Code(Kind.PERMISSION, _WIKI, "2026-11-25"),
    21308: Code(Kind.PERMISSION, _WIKI, "2026-11-25"),
    21309: Code(Kind.PERMISSION, _WIKI, "2026-11-25"),
    21310: Code(Kind.PERMISSION, _WIKI, "2026-11-25"),
    21311: Code(Kind.PERMISSION, _WIKI, "2026-11-25"),
    21312: Code(Kind.PERMISSION, _WIKI, "2026-11-25"),
    21313: Code(Kind.PERMISSION, _WIKI, "2026-11-25"),
    21314: Code(Kind.SIGN_IN, _WIKI, "2026-11-24"),
    21315: Code(Kind.SIGN_IN, _WIKI, "2026-11-24"),
    21316: Code(Kind.SIGN_IN, _WIKI, "2026-11-24"),
    21317: Code(Kind.SIGN_IN, _WIKI, "2026-11-24"),
    21319: Code(Kind.SIGN_IN, _WIKI, "2026-11-24"),
    21320: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    21321: Code(Kind.PERMISSION, _WIKI, "2026-11-24"),
    21322: Code(Kind.PERMISSION, _OAUTH, "2026-11-24"),
    21323: Code(Kind.PERMISSION, _OAUTH, "2026-11-24"),
    21324: Code(Kind.PERMISSION, _OAUTH, "2026-11-24"),
    21325: Code(Kind.SIGN_IN, _OAUTH, "2026-11-24"),
    21326: Code(Kind.PERMISSION, _OAUTH, "2026-11-24"),
    21327: Code(Kind.SIGN_IN, _OAUTH, "2026-11-24"),
    21328: Code(Kind.PERMISSION, _OAUTH, "2026-11-24"),
    21329: Code(Kind.PERMISSION, _OAUTH, "2026-11-24"),
    21330: Code(Kind.SIGN_IN, _OAUTH, "2026-11-24"),
    21331: Code(Kind.DOUBT, _OAUTH, "2026-11-24"),
    21332: Code(Kind.SIGN_IN, _CLIENTS, "2026-11-24"),
    21337: Code(Kind.PERMISSION, _CLIENTS, "2026-11-24"),
    21405: Code(Kind.DOUBT, _CLIENTS, "2026-11-24"),
    21501: Code(Kind.PERMISSION, _WIKI, "2026-11-25"),
    21504: Code(Kind.PERMISSION, _WIKI, "2026-11-25"),
    21602: Code(Kind.REFUSED, _WIKI, "2026-11-24"),
    23201: Code(Kind.DOUBT, _CLIENTS, "2026-11-24"),
}

OF_LOGIN = frozenset({10022, 10023})
"""Numbers of limits that stand against every call of an address or a user; 10024 stands against one kind of call."""
NO_SUCH_POST = 20101
"""Says "gone" when taking down and when reading; as an answer to a creating call it says nothing."""
BAD_PARAMETER = 10017
"""Means a missing link, or, with `appkey` in its text, that no safe domain is approved for the app."""


def name(code: int) -> str:
    """Give a code's key in the message catalogue."""
    return f"weibo_{code}"
