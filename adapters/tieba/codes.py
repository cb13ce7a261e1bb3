"""What each of Tieba's numbers says about a call that may have opened a thread.

Nothing of this is official. The meanings are those that clients in use have found; a number that is not listed proves
nothing. Old answers carry short numbers under `no` and long ones under `err_code`; neither is derived from the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class TiebaErrorClass(StrEnum):
    REJECTED = "rejected"  # the words or the pictures; an edit is needed
    RATE_LIMITED = "rate_limited"  # too fast; ten minutes
    FORUM_CLOSED = "forum_closed"  # the forum takes nothing for some hours
    BUSY = "busy"  # nothing was done; come back
    CREDENTIAL = "credential"
    ACCOUNT = "account"
    PERMISSION = "permission"
    CAPTCHA = "captcha"
    IN_REVIEW = "in_review"  # taken, and shown to nobody yet
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TiebaErrorCode:
    """One line of the table: what it means, who says so, and when that was last read."""

    error_class: TiebaErrorClass
    source: str
    read_on: str


_APP = "n0099/open-tbclient, constants of the official app"
_2026 = "hakrelin/manga_uploader, notes on the 2026 PC site"
_OLD = "tianmingxiang/TieBaRobot, list of the former site"
_HASTE = "MoeNetwork/wmzz_post, issue 11"
_LOGIN = "iikira/BaiduPCS-Go, issues 183 and 470"
_SILENT = "hwdemtv/TiebaMecha, test of a banned account"
_READS = "zombie110year/tiebamd"
_CLEANING = "lc4t/clean-baidutieba, issue 2"

CODES: Mapping[int, TiebaErrorCode] = {
    1: TiebaErrorCode(TiebaErrorClass.CREDENTIAL, _OLD, "2026-11-24"),
    4: TiebaErrorCode(TiebaErrorClass.CREDENTIAL, _OLD, "2026-11-24"),
    5: TiebaErrorCode(TiebaErrorClass.CAPTCHA, _OLD, "2026-11-24"),
    6: TiebaErrorCode(TiebaErrorClass.CAPTCHA, _OLD, "2026-11-24"),
    8: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _OLD, "2026-11-24"),
    9: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _OLD, "2026-11-24"),
    12: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _OLD, "2026-11-24"),
    13: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _OLD, "2026-11-24"),
    34: TiebaErrorCode(TiebaErrorClass.RATE_LIMITED, _OLD, "2026-11-24"),
    38: TiebaErrorCode(TiebaErrorClass.CAPTCHA, _OLD, "2026-11-24"),
    39: TiebaErrorCode(TiebaErrorClass.CAPTCHA, _OLD, "2026-11-24"),
    40: TiebaErrorCode(TiebaErrorClass.CAPTCHA, _OLD, "2026-11-24"),
    101: TiebaErrorCode(TiebaErrorClass.UNKNOWN, _2026, "2026-11-24"),
    257: TiebaErrorCode(TiebaErrorClass.CAPTCHA, _OLD, "2026-11-24"),
    265: TiebaErrorCode(TiebaErrorClass.CREDENTIAL, _OLD, "2026-11-24"),
    269: TiebaErrorCode(TiebaErrorClass.PERMISSION, _OLD, "2026-11-24"),
    271: TiebaErrorCode(TiebaErrorClass.PERMISSION, _OLD, "2026-11-24"),
    273: TiebaErrorCode(TiebaErrorClass.PERMISSION, _OLD, "2026-11-24"),
    274: TiebaErrorCode(TiebaErrorClass.PERMISSION, _OLD, "2026-11-24"),
    308: TiebaErrorCode(TiebaErrorClass.PERMISSION, _OLD, "2026-11-24"),
    706: TiebaErrorCode(TiebaErrorClass.PERMISSION, _OLD, "2026-11-24"),
    2000: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    2007: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    2101: TiebaErrorCode(TiebaErrorClass.CREDENTIAL, _2026, "2026-11-24"),
    4010: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _OLD, "2026-11-24"),
    4011: TiebaErrorCode(TiebaErrorClass.CAPTCHA, _OLD, "2026-11-24"),
    7001: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _2026, "2026-11-24"),
    100023: TiebaErrorCode(TiebaErrorClass.CREDENTIAL, _2026, "2026-11-24"),
    110000: TiebaErrorCode(TiebaErrorClass.UNKNOWN, _2026, "2026-11-24"),
    110001: TiebaErrorCode(TiebaErrorClass.UNKNOWN, _LOGIN, "2026-11-24"),
    110004: TiebaErrorCode(TiebaErrorClass.UNKNOWN, _2026, "2026-11-24"),
    210009: TiebaErrorCode(TiebaErrorClass.UNKNOWN, _CLEANING, "2026-11-24"),
    220011: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    220012: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _SILENT, "2026-11-24"),
    220015: TiebaErrorCode(TiebaErrorClass.REJECTED, _APP, "2026-11-24"),
    220034: TiebaErrorCode(TiebaErrorClass.RATE_LIMITED, _2026, "2026-11-24"),
    224010: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _2026, "2026-11-24"),
    224011: TiebaErrorCode(TiebaErrorClass.CAPTCHA, _2026, "2026-11-24"),
    227001: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _APP, "2026-11-24"),
    230004: TiebaErrorCode(TiebaErrorClass.CREDENTIAL, _2026, "2026-11-24"),
    230008: TiebaErrorCode(TiebaErrorClass.IN_REVIEW, _2026, "2026-11-24"),
    230013: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _2026, "2026-11-24"),
    230020: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    230046: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    230265: TiebaErrorCode(TiebaErrorClass.CREDENTIAL, _2026, "2026-11-24"),
    230273: TiebaErrorCode(TiebaErrorClass.PERMISSION, _2026, "2026-11-24"),
    230274: TiebaErrorCode(TiebaErrorClass.PERMISSION, _2026, "2026-11-24"),
    230277: TiebaErrorCode(TiebaErrorClass.PERMISSION, _2026, "2026-11-24"),
    230278: TiebaErrorCode(TiebaErrorClass.PERMISSION, _2026, "2026-11-24"),
    230308: TiebaErrorCode(TiebaErrorClass.PERMISSION, _2026, "2026-11-24"),
    230705: TiebaErrorCode(TiebaErrorClass.FORUM_CLOSED, _2026, "2026-11-24"),
    230808: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    230809: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    230810: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    230811: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    230812: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    230813: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    230814: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    230815: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    230871: TiebaErrorCode(TiebaErrorClass.RATE_LIMITED, _2026, "2026-11-24"),
    230889: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _2026, "2026-11-24"),
    230901: TiebaErrorCode(TiebaErrorClass.PERMISSION, _2026, "2026-11-24"),
    230902: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    230961: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    230962: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    230963: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    232000: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    232001: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    232007: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    238010: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _APP, "2026-11-24"),
    239103: TiebaErrorCode(TiebaErrorClass.RATE_LIMITED, _READS, "2026-11-24"),
    260005: TiebaErrorCode(TiebaErrorClass.CREDENTIAL, _2026, "2026-11-24"),
    300000: TiebaErrorCode(TiebaErrorClass.UNKNOWN, _2026, "2026-11-24"),
    340001: TiebaErrorCode(TiebaErrorClass.PERMISSION, _2026, "2026-11-24"),
    340006: TiebaErrorCode(TiebaErrorClass.PERMISSION, _2026, "2026-11-24"),
    340012: TiebaErrorCode(TiebaErrorClass.PERMISSION, _2026, "2026-11-24"),
    340016: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _APP, "2026-11-24"),
    400013: TiebaErrorCode(TiebaErrorClass.PERMISSION, _2026, "2026-11-24"),
    1130032: TiebaErrorCode(TiebaErrorClass.UNKNOWN, _2026, "2026-11-24"),
    1990032: TiebaErrorCode(TiebaErrorClass.PERMISSION, _APP, "2026-11-24"),
    1990043: TiebaErrorCode(TiebaErrorClass.UNKNOWN, _2026, "2026-11-24"),
    2230201: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    2230204: TiebaErrorCode(TiebaErrorClass.BUSY, _2026, "2026-11-24"),
    2230211: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    2260001: TiebaErrorCode(TiebaErrorClass.UNKNOWN, _2026, "2026-11-24"),
    3250001: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _APP, "2026-11-24"),
    3250002: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _APP, "2026-11-24"),
    3250003: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _APP, "2026-11-24"),
    3250004: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _APP, "2026-11-24"),
    3250012: TiebaErrorCode(TiebaErrorClass.CAPTCHA, _APP, "2026-11-24"),
    3250013: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _APP, "2026-11-24"),
    3250021: TiebaErrorCode(TiebaErrorClass.CAPTCHA, _APP, "2026-11-24"),
    3250023: TiebaErrorCode(TiebaErrorClass.CAPTCHA, _APP, "2026-11-24"),
    3250026: TiebaErrorCode(TiebaErrorClass.ACCOUNT, _HASTE, "2026-11-24"),
    3300001: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
    3300003: TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"),
}

THREAD_GONE_CODES = frozenset({273, 230273})
"""Numbers of a thread that is not there (any more), in reads and in deletes; the nearest that clients have seen."""


READ_LIMIT_CODE = 239103
"""The number by which clients that read too fast are turned away."""
THREAD_ONLY_CODES = frozenset({271, 273, 706, 230273, 230277, 230278, 230901})
"""Numbers that stand against one thread alone: it is elsewhere, gone, closed to replies, or full."""


def to_message_key(code: int) -> str:
    """Give a code's key in the message catalogue."""
    return f"tieba_{code}"
