"""The meaning of each Tieba error code for a call that may have created a post.

Nothing of this is official: the meanings were found by clients in use. A code that is not listed
proves nothing. Old responses carry short codes under `no` and long ones under `err_code`. Neither
is derived from the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class TiebaErrorClass(StrEnum):
    REJECTED = "rejected"  # text or pictures; an edit is needed
    RATE_LIMITED = "rate_limited"  # too fast; ten minutes
    FORUM_CLOSED = "forum_closed"  # the forum accepts nothing for some hours
    BUSY = "busy"  # nothing was done; retry
    CREDENTIAL = "credential"
    ACCOUNT = "account"
    CAPTCHA = "captcha"
    IN_REVIEW = "in_review"  # accepted, but not visible to anybody yet
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TiebaErrorCode:
    """The meaning of some codes, its source, and the day the source was last read."""

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

# fmt: off
CODES: Mapping[int, TiebaErrorCode] = {
    code: meaning
    for meaning, codes in (
        (TiebaErrorCode(TiebaErrorClass.REJECTED, _APP, "2026-11-24"), (220015,)),
        (TiebaErrorCode(TiebaErrorClass.REJECTED, _2026, "2026-11-24"), (
            2000, 2007, 220011, 230020, 230046, 230808, 230809, 230810, 230811, 230812, 230813,
            230814, 230815, 230902, 230961, 230962, 230963, 232000, 232001, 232007, 2230201,
            2230211, 3300001, 3300003,
        )),
        (TiebaErrorCode(TiebaErrorClass.RATE_LIMITED, _2026, "2026-11-24"), (220034, 230871)),
        (TiebaErrorCode(TiebaErrorClass.RATE_LIMITED, _OLD, "2026-11-24"), (34,)),
        (TiebaErrorCode(TiebaErrorClass.RATE_LIMITED, _READS, "2026-11-24"), (239103,)),
        (TiebaErrorCode(TiebaErrorClass.FORUM_CLOSED, _2026, "2026-11-24"), (230705,)),
        (TiebaErrorCode(TiebaErrorClass.BUSY, _2026, "2026-11-24"), (2230204,)),
        (TiebaErrorCode(TiebaErrorClass.CREDENTIAL, _2026, "2026-11-24"), (
            2101, 100023, 230004, 230265, 260005,
        )),
        (TiebaErrorCode(TiebaErrorClass.CREDENTIAL, _OLD, "2026-11-24"), (1, 4, 265)),
        (TiebaErrorCode(TiebaErrorClass.ACCOUNT, _APP, "2026-11-24"), (
            227001, 238010, 340016, 3250001, 3250002, 3250003, 3250004, 3250013,
        )),
        (TiebaErrorCode(TiebaErrorClass.ACCOUNT, _2026, "2026-11-24"), (
            7001, 224010, 230013, 230889,
        )),
        (TiebaErrorCode(TiebaErrorClass.ACCOUNT, _OLD, "2026-11-24"), (8, 9, 12, 13, 4010)),
        (TiebaErrorCode(TiebaErrorClass.ACCOUNT, _HASTE, "2026-11-24"), (3250026,)),
        (TiebaErrorCode(TiebaErrorClass.ACCOUNT, _SILENT, "2026-11-24"), (220012,)),
        (TiebaErrorCode(TiebaErrorClass.ACCOUNT, _APP, "2026-11-24"), (1990032,)),
        (TiebaErrorCode(TiebaErrorClass.ACCOUNT, _2026, "2026-11-24"), (
            230273, 230274, 230277, 230278, 230308, 230901, 340001, 340006, 340012, 400013,
        )),
        (TiebaErrorCode(TiebaErrorClass.ACCOUNT, _OLD, "2026-11-24"), (
            269, 271, 273, 274, 308, 706,
        )),
        (TiebaErrorCode(TiebaErrorClass.CAPTCHA, _APP, "2026-11-24"), (3250012, 3250021, 3250023)),
        (TiebaErrorCode(TiebaErrorClass.CAPTCHA, _2026, "2026-11-24"), (224011,)),
        (TiebaErrorCode(TiebaErrorClass.CAPTCHA, _OLD, "2026-11-24"), (
            5, 6, 38, 39, 40, 257, 4011,
        )),
        (TiebaErrorCode(TiebaErrorClass.IN_REVIEW, _2026, "2026-11-24"), (230008,)),
        (TiebaErrorCode(TiebaErrorClass.UNKNOWN, _2026, "2026-11-24"), (
            101, 110000, 110004, 300000, 1130032, 1990043, 2260001,
        )),
        (TiebaErrorCode(TiebaErrorClass.UNKNOWN, _LOGIN, "2026-11-24"), (110001,)),
        (TiebaErrorCode(TiebaErrorClass.UNKNOWN, _CLEANING, "2026-11-24"), (210009,)),
    )
    for code in codes
}
# fmt: on

THREAD_GONE_CODES = frozenset({273, 230273})
"""Codes of a thread that does not exist (any more), in reads and deletions.

They are the nearest that clients have seen.
"""
READ_LIMIT_CODE = 239103
"""The code that clients get when they read too fast."""
THREAD_ONLY_CODES = frozenset({271, 273, 706, 230273, 230277, 230278, 230901})
"""Codes that concern one thread alone: it is elsewhere, deleted, closed to replies, or full."""


def to_message_key(code: int) -> str:
    """Return a code's key in the message catalogue."""
    return f"tieba_{code}"
