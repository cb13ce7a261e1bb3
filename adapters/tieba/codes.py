"""What each of Tieba's numbers says about a call that may have opened a thread.

Nothing of this is official. The meanings are those that clients in use have found; a number that is not listed proves
nothing. Old answers carry short numbers under `no` and long ones under `err_code`; neither is derived from the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    REFUSED = "refused"  # the words or the pictures; an edit is needed
    SLOW = "slow"  # too fast; ten minutes
    CLOSED = "closed"  # the forum takes nothing for some hours
    BUSY = "busy"  # nothing was done; come back
    SIGN_IN = "sign_in"
    ACCOUNT = "account"
    PERMISSION = "permission"
    CAPTCHA = "captcha"
    IN_REVIEW = "in_review"  # taken, and shown to nobody yet
    DOUBT = "doubt"


@dataclass(frozen=True, slots=True)
class Code:
    """One line of the table: what it means, who says so, and when that was last read."""

    kind: Kind
    source: str
    read: str


_APP = "n0099/open-tbclient, constants of the official app"
_2026 = "hakrelin/manga_uploader, notes on the 2026 PC site"
_OLD = "tianmingxiang/TieBaRobot, list of the former site"
_HASTE = "MoeNetwork/wmzz_post, issue 11"
_LOGIN = "iikira/BaiduPCS-Go, issues 183 and 470"
_SILENT = "hwdemtv/TiebaMecha, test of a banned account"
_READS = "zombie110year/tiebamd"
_CLEANING = "lc4t/clean-baidutieba, issue 2"

CODES: Mapping[int, Code] = {
    1: Code(Kind.SIGN_IN, _OLD, "2026-11-24"),
    4: Code(Kind.SIGN_IN, _OLD, "2026-11-24"),
    5: Code(Kind.CAPTCHA, _OLD, "2026-11-24"),
    6: Code(Kind.CAPTCHA, _OLD, "2026-11-24"),
    8: Code(Kind.ACCOUNT, _OLD, "2026-11-24"),
    9: Code(Kind.ACCOUNT, _OLD, "2026-11-24"),
    12: Code(Kind.ACCOUNT, _OLD, "2026-11-24"),
    13: Code(Kind.ACCOUNT, _OLD, "2026-11-24"),
    34: Code(Kind.SLOW, _OLD, "2026-11-24"),
    38: Code(Kind.CAPTCHA, _OLD, "2026-11-24"),
    39: Code(Kind.CAPTCHA, _OLD, "2026-11-24"),
    40: Code(Kind.CAPTCHA, _OLD, "2026-11-24"),
    101: Code(Kind.DOUBT, _2026, "2026-11-24"),
    257: Code(Kind.CAPTCHA, _OLD, "2026-11-24"),
    265: Code(Kind.SIGN_IN, _OLD, "2026-11-24"),
    269: Code(Kind.PERMISSION, _OLD, "2026-11-24"),
    271: Code(Kind.PERMISSION, _OLD, "2026-11-24"),
    273: Code(Kind.PERMISSION, _OLD, "2026-11-24"),
    274: Code(Kind.PERMISSION, _OLD, "2026-11-24"),
    308: Code(Kind.PERMISSION, _OLD, "2026-11-24"),
    706: Code(Kind.PERMISSION, _OLD, "2026-11-24"),
    2000: Code(Kind.REFUSED, _2026, "2026-11-24"),
    2007: Code(Kind.REFUSED, _2026, "2026-11-24"),
    2101: Code(Kind.SIGN_IN, _2026, "2026-11-24"),
    4010: Code(Kind.ACCOUNT, _OLD, "2026-11-24"),
    4011: Code(Kind.CAPTCHA, _OLD, "2026-11-24"),
    7001: Code(Kind.ACCOUNT, _2026, "2026-11-24"),
    100023: Code(Kind.SIGN_IN, _2026, "2026-11-24"),
    110000: Code(Kind.DOUBT, _2026, "2026-11-24"),
    110001: Code(Kind.DOUBT, _LOGIN, "2026-11-24"),
    110004: Code(Kind.DOUBT, _2026, "2026-11-24"),
    210009: Code(Kind.DOUBT, _CLEANING, "2026-11-24"),
    220011: Code(Kind.REFUSED, _2026, "2026-11-24"),
    220012: Code(Kind.ACCOUNT, _SILENT, "2026-11-24"),
    220015: Code(Kind.REFUSED, _APP, "2026-11-24"),
    220034: Code(Kind.SLOW, _2026, "2026-11-24"),
    224010: Code(Kind.ACCOUNT, _2026, "2026-11-24"),
    224011: Code(Kind.CAPTCHA, _2026, "2026-11-24"),
    227001: Code(Kind.ACCOUNT, _APP, "2026-11-24"),
    230004: Code(Kind.SIGN_IN, _2026, "2026-11-24"),
    230008: Code(Kind.IN_REVIEW, _2026, "2026-11-24"),
    230013: Code(Kind.ACCOUNT, _2026, "2026-11-24"),
    230020: Code(Kind.REFUSED, _2026, "2026-11-24"),
    230046: Code(Kind.REFUSED, _2026, "2026-11-24"),
    230265: Code(Kind.SIGN_IN, _2026, "2026-11-24"),
    230273: Code(Kind.PERMISSION, _2026, "2026-11-24"),
    230274: Code(Kind.PERMISSION, _2026, "2026-11-24"),
    230277: Code(Kind.PERMISSION, _2026, "2026-11-24"),
    230278: Code(Kind.PERMISSION, _2026, "2026-11-24"),
    230308: Code(Kind.PERMISSION, _2026, "2026-11-24"),
    230705: Code(Kind.CLOSED, _2026, "2026-11-24"),
    230808: Code(Kind.REFUSED, _2026, "2026-11-24"),
    230809: Code(Kind.REFUSED, _2026, "2026-11-24"),
    230810: Code(Kind.REFUSED, _2026, "2026-11-24"),
    230811: Code(Kind.REFUSED, _2026, "2026-11-24"),
    230812: Code(Kind.REFUSED, _2026, "2026-11-24"),
    230813: Code(Kind.REFUSED, _2026, "2026-11-24"),
    230814: Code(Kind.REFUSED, _2026, "2026-11-24"),
    230815: Code(Kind.REFUSED, _2026, "2026-11-24"),
    230871: Code(Kind.SLOW, _2026, "2026-11-24"),
    230889: Code(Kind.ACCOUNT, _2026, "2026-11-24"),
    230901: Code(Kind.PERMISSION, _2026, "2026-11-24"),
    230902: Code(Kind.REFUSED, _2026, "2026-11-24"),
    230961: Code(Kind.REFUSED, _2026, "2026-11-24"),
    230962: Code(Kind.REFUSED, _2026, "2026-11-24"),
    230963: Code(Kind.REFUSED, _2026, "2026-11-24"),
    232000: Code(Kind.REFUSED, _2026, "2026-11-24"),
    232001: Code(Kind.REFUSED, _2026, "2026-11-24"),
    232007: Code(Kind.REFUSED, _2026, "2026-11-24"),
    238010: Code(Kind.ACCOUNT, _APP, "2026-11-24"),
    239103: Code(Kind.SLOW, _READS, "2026-11-24"),
    260005: Code(Kind.SIGN_IN, _2026, "2026-11-24"),
    300000: Code(Kind.DOUBT, _2026, "2026-11-24"),
    340001: Code(Kind.PERMISSION, _2026, "2026-11-24"),
    340006: Code(Kind.PERMISSION, _2026, "2026-11-24"),
    340012: Code(Kind.PERMISSION, _2026, "2026-11-24"),
    340016: Code(Kind.ACCOUNT, _APP, "2026-11-24"),
    400013: Code(Kind.PERMISSION, _2026, "2026-11-24"),
    1130032: Code(Kind.DOUBT, _2026, "2026-11-24"),
    1990032: Code(Kind.PERMISSION, _APP, "2026-11-24"),
    1990043: Code(Kind.DOUBT, _2026, "2026-11-24"),
    2230201: Code(Kind.REFUSED, _2026, "2026-11-24"),
    2230204: Code(Kind.BUSY, _2026, "2026-11-24"),
    2230211: Code(Kind.REFUSED, _2026, "2026-11-24"),
    2260001: Code(Kind.DOUBT, _2026, "2026-11-24"),
    3250001: Code(Kind.ACCOUNT, _APP, "2026-11-24"),
    3250002: Code(Kind.ACCOUNT, _APP, "2026-11-24"),
    3250003: Code(Kind.ACCOUNT, _APP, "2026-11-24"),
    3250004: Code(Kind.ACCOUNT, _APP, "2026-11-24"),
    3250012: Code(Kind.CAPTCHA, _APP, "2026-11-24"),
    3250013: Code(Kind.ACCOUNT, _APP, "2026-11-24"),
    3250021: Code(Kind.CAPTCHA, _APP, "2026-11-24"),
    3250023: Code(Kind.CAPTCHA, _APP, "2026-11-24"),
    3250026: Code(Kind.ACCOUNT, _HASTE, "2026-11-24"),
    3300001: Code(Kind.REFUSED, _2026, "2026-11-24"),
    3300003: Code(Kind.REFUSED, _2026, "2026-11-24"),
}

GONE = frozenset({273, 230273})
"""Numbers of a thread that is not there (any more), in reads and in deletes; the nearest that clients have seen."""


TOO_MANY_READS = 239103
"""The number by which clients that read too fast are turned away."""
OF_THREAD = frozenset({271, 273, 706, 230273, 230277, 230278, 230901})
"""Numbers that stand against one thread alone: it is elsewhere, gone, closed to replies, or full."""


def name(code: int) -> str:
    """Give a code's key in the message catalogue."""
    return f"tieba_{code}"
