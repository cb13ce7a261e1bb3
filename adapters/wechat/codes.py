"""What each of WeChat's error codes means for a call: one line per code.

A code that is not listed is a doubt.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum

from publisher.domain.outcome import (
    Blocked,
    Busy,
    CredentialExpired,
    HoldReason,
    NotSent,
    RateLimited,
    Rejected,
    Unknown,
    Unread,
)
from publisher.domain.quota import BEIJING
from publisher.domain.retry_after import retry_at

from .wire import Limited, Refused, Trouble, Unreadable

RETURN_CODES = "developers.weixin.qq.com, global return codes, with the names of wechatpy and WxJava"
TOKEN = "developers.weixin.qq.com, Get_access_token; users' reports of the address list"  # noqa: S105
DRAFT = "developers.weixin.qq.com, draft/add and draft/get, and staff answers on 40007"
SUBMIT = "developers.weixin.qq.com, Publish, codes of freepublish/submit"
PUBLISH = "developers.weixin.qq.com, Publish, note of July 2025 on unverified accounts"
LIMITS = "developers.weixin.qq.com, API_Call_Limits; the reset at midnight in Beijing is our reading"
MASS_SEND = "developers.weixin.qq.com, Batch_Sends and sendall, and users' reports"
PUSH_SPEED = "developers.weixin.qq.com, speed of mass sends"
QUOTA = "developers.weixin.qq.com, get_api_quota and clear_quota"
COMMENTS = "developers.weixin.qq.com, Image_Comments_Management_Interface"
WECHATPY = "wechatpy 2.0.0a26, constants"
MCP_PUBLISHER = "wechat-mcp-publisher 0.2.1, error table"

BUSY_CODE = -1
NO_SUCH_MEDIA = 40007
NO_SUCH_ARTICLE = 53600
HTTP_LIMIT = "wechat_http_429"


class Kind(StrEnum):
    CREDENTIAL = "credential"
    REJECTED = "rejected"
    RATE_LIMITED = "rate_limited"
    BUSY = "busy"
    BLOCKED = "blocked"
    DUPLICATE = "duplicate"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """One code: its kind, who says so, and when that was read.

    `hold` is why a blocked delivery waits; `wait` is how long a limit lasts, None meaning until midnight in Beijing.
    """

    kind: Kind
    source: str
    seen: str
    hold: HoldReason = HoldReason.ACCOUNT
    wait: timedelta | None = None


# fmt: off
CODES = {
    -1: Meaning(kind=Kind.UNKNOWN, source=RETURN_CODES, seen="2026-11-24"),
    40001: Meaning(kind=Kind.CREDENTIAL, source=RETURN_CODES, seen="2026-11-24"),
    40002: Meaning(kind=Kind.BLOCKED, source=RETURN_CODES, seen="2026-11-24", hold=HoldReason.AUTH),
    40003: Meaning(kind=Kind.UNKNOWN, source=RETURN_CODES, seen="2026-11-24"),
    40004: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    40005: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    40006: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    40007: Meaning(kind=Kind.DUPLICATE, source=DRAFT, seen="2026-11-24"),
    40008: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    40009: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    40012: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    40013: Meaning(kind=Kind.BLOCKED, source=RETURN_CODES, seen="2026-11-24", hold=HoldReason.AUTH),
    40014: Meaning(kind=Kind.CREDENTIAL, source=RETURN_CODES, seen="2026-11-24"),
    40031: Meaning(kind=Kind.UNKNOWN, source=RETURN_CODES, seen="2026-11-24"),
    40032: Meaning(kind=Kind.UNKNOWN, source=RETURN_CODES, seen="2026-11-24"),
    40033: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    40035: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    40038: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    40059: Meaning(kind=Kind.UNKNOWN, source=MASS_SEND, seen="2026-11-24"),
    40060: Meaning(kind=Kind.UNKNOWN, source=MASS_SEND, seen="2026-11-24"),
    40066: Meaning(kind=Kind.REJECTED, source=MASS_SEND, seen="2026-11-24"),
    40097: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    40113: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    40125: Meaning(kind=Kind.CREDENTIAL, source=RETURN_CODES, seen="2026-11-24"),
    40130: Meaning(kind=Kind.UNKNOWN, source=MASS_SEND, seen="2026-11-24"),
    40137: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    40164: Meaning(kind=Kind.BLOCKED, source=TOKEN, seen="2026-11-24"),
    40243: Meaning(kind=Kind.BLOCKED, source=RETURN_CODES, seen="2026-11-24", hold=HoldReason.AUTH),
    41001: Meaning(kind=Kind.CREDENTIAL, source=RETURN_CODES, seen="2026-11-24"),
    41002: Meaning(kind=Kind.BLOCKED, source=RETURN_CODES, seen="2026-11-24", hold=HoldReason.AUTH),
    41004: Meaning(kind=Kind.BLOCKED, source=RETURN_CODES, seen="2026-11-24", hold=HoldReason.AUTH),
    41005: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    41006: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    42001: Meaning(kind=Kind.CREDENTIAL, source=RETURN_CODES, seen="2026-11-24"),
    43002: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    43003: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    44001: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    44002: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    44003: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    44004: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    45001: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    45002: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    45003: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    45004: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    45005: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    45008: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    45009: Meaning(kind=Kind.RATE_LIMITED, source=LIMITS, seen="2026-11-24"),
    45011: Meaning(kind=Kind.BUSY, source=LIMITS, seen="2026-11-24"),
    45028: Meaning(kind=Kind.REJECTED, source=MASS_SEND, seen="2026-11-24"),
    45065: Meaning(kind=Kind.DUPLICATE, source=MASS_SEND, seen="2026-11-24"),
    45066: Meaning(kind=Kind.BUSY, source=MASS_SEND, seen="2026-11-24"),
    45067: Meaning(kind=Kind.REJECTED, source=MASS_SEND, seen="2026-11-24"),
    45083: Meaning(kind=Kind.UNKNOWN, source=PUSH_SPEED, seen="2026-11-24"),
    45084: Meaning(kind=Kind.UNKNOWN, source=PUSH_SPEED, seen="2026-11-24"),
    45085: Meaning(kind=Kind.UNKNOWN, source=PUSH_SPEED, seen="2026-11-24"),
    45102: Meaning(kind=Kind.RATE_LIMITED, source=RETURN_CODES, seen="2026-11-24", wait=timedelta(hours=2)),
    45103: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    45106: Meaning(kind=Kind.REJECTED, source=COMMENTS, seen="2026-11-24"),
    45110: Meaning(kind=Kind.REJECTED, source=DRAFT, seen="2026-11-24"),
    45159: Meaning(kind=Kind.REJECTED, source=MASS_SEND, seen="2026-11-24"),
    45166: Meaning(kind=Kind.REJECTED, source=WECHATPY, seen="2026-11-24"),
    45501: Meaning(kind=Kind.RATE_LIMITED, source=RETURN_CODES, seen="2026-11-24", wait=timedelta(hours=2)),
    46001: Meaning(kind=Kind.UNKNOWN, source=RETURN_CODES, seen="2026-11-24"),
    47001: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    47002: Meaning(kind=Kind.REJECTED, source=RETURN_CODES, seen="2026-11-24"),
    48001: Meaning(kind=Kind.BLOCKED, source=PUBLISH, seen="2026-11-24", hold=HoldReason.PERMISSION),
    48003: Meaning(kind=Kind.BLOCKED, source=MASS_SEND, seen="2026-11-24", hold=HoldReason.PERMISSION),
    48004: Meaning(kind=Kind.BLOCKED, source=RETURN_CODES, seen="2026-11-24"),
    48006: Meaning(kind=Kind.UNKNOWN, source=QUOTA, seen="2026-11-24"),
    48008: Meaning(kind=Kind.BLOCKED, source=RETURN_CODES, seen="2026-11-24", hold=HoldReason.PERMISSION),
    50001: Meaning(kind=Kind.BLOCKED, source=RETURN_CODES, seen="2026-11-24", hold=HoldReason.PERMISSION),
    50002: Meaning(kind=Kind.BLOCKED, source=RETURN_CODES, seen="2026-11-24"),
    50004: Meaning(kind=Kind.BLOCKED, source=RETURN_CODES, seen="2026-11-24"),
    50005: Meaning(kind=Kind.BLOCKED, source=RETURN_CODES, seen="2026-11-24"),
    53402: Meaning(kind=Kind.REJECTED, source=WECHATPY, seen="2026-11-24"),
    53404: Meaning(kind=Kind.UNKNOWN, source=WECHATPY, seen="2026-11-24"),
    53500: Meaning(kind=Kind.BLOCKED, source=WECHATPY, seen="2026-11-24"),
    53501: Meaning(kind=Kind.RATE_LIMITED, source=WECHATPY, seen="2026-11-24", wait=timedelta(minutes=30)),
    53502: Meaning(kind=Kind.UNKNOWN, source=WECHATPY, seen="2026-11-24"),
    53503: Meaning(kind=Kind.REJECTED, source=SUBMIT, seen="2026-11-24"),
    53504: Meaning(kind=Kind.BLOCKED, source=SUBMIT, seen="2026-11-24", hold=HoldReason.CAPTCHA),
    53505: Meaning(kind=Kind.BLOCKED, source=SUBMIT, seen="2026-11-24", hold=HoldReason.CAPTCHA),
    53600: Meaning(kind=Kind.UNKNOWN, source=WECHATPY, seen="2026-11-24"),
    61004: Meaning(kind=Kind.BLOCKED, source=RETURN_CODES, seen="2026-11-24", hold=HoldReason.PERMISSION),
    61007: Meaning(kind=Kind.BLOCKED, source=RETURN_CODES, seen="2026-11-24", hold=HoldReason.PERMISSION),
    76021: Meaning(kind=Kind.UNKNOWN, source=QUOTA, seen="2026-11-24"),
    76022: Meaning(kind=Kind.UNKNOWN, source=QUOTA, seen="2026-11-24"),
    87014: Meaning(kind=Kind.REJECTED, source=MCP_PUBLISHER, seen="2026-11-24"),
    88000: Meaning(kind=Kind.REJECTED, source=COMMENTS, seen="2026-11-24"),
    88001: Meaning(kind=Kind.UNKNOWN, source=COMMENTS, seen="2026-11-24"),
    88002: Meaning(kind=Kind.UNKNOWN, source=COMMENTS, seen="2026-11-24"),
    88008: Meaning(kind=Kind.UNKNOWN, source=COMMENTS, seen="2026-11-24"),
    89501: Meaning(kind=Kind.BLOCKED, source=TOKEN, seen="2026-11-24"),
    89503: Meaning(kind=Kind.BLOCKED, source=TOKEN, seen="2026-11-24"),
    89506: Meaning(kind=Kind.BLOCKED, source=TOKEN, seen="2026-11-24"),
    89507: Meaning(kind=Kind.BLOCKED, source=TOKEN, seen="2026-11-24"),
    200001: Meaning(kind=Kind.REJECTED, source=MCP_PUBLISHER, seen="2026-11-24"),
}
# fmt: on
"""Those listed as unknown may each stand for a call that was taken, or belong to calls that we never make."""

NotDone = Rejected | RateLimited | Busy | CredentialExpired | Blocked | NotSent | Unknown
"""What may be said when nothing is known to be live."""


def judge_create(trouble: Trouble, now: datetime) -> NotDone:
    """Say what trouble means as the answer to the creating call: whatever is not listed is a doubt."""
    match trouble:
        case Refused():
            return _judge(trouble, now)
        case Limited(retry_after=header):
            return RateLimited(code=HTTP_LIMIT, until=retry_at(header, now))
        case Unreadable(reason=reason):
            return Unknown(reason=reason)


def judge_ask(trouble: Trouble, now: datetime) -> NotDone:
    """Say what trouble means before the creating call: nothing was made, so where it is a doubt it is tried again."""
    if isinstance(trouble, Refused) and trouble.code == BUSY_CODE:
        return Busy(code=word_for(trouble.code), reason=trouble.message)
    outcome = judge_create(trouble, now)
    return NotSent(reason=outcome.reason) if isinstance(outcome, Unknown) else outcome


def doubt_of(outcome: NotDone) -> Unread:
    """Say what a read that was not done shows: a 429 stands against all calls, a limit by code against one kind."""
    is_limit = isinstance(outcome, RateLimited) and outcome.code == HTTP_LIMIT
    return outcome if isinstance(outcome, RateLimited) and is_limit else Unknown(reason=reason_of(outcome))


def reason_of(outcome: NotDone) -> str:
    """Give the code by which an outcome is put into words."""
    match outcome:
        case Rejected() | RateLimited() | Busy() | Blocked():
            return outcome.code
        case CredentialExpired() | NotSent() | Unknown():
            return outcome.reason


def word_for(code: int) -> str:
    """Give the key of a code in the message catalogue."""
    return f"wechat_{code}"


def next_midnight(now: datetime) -> datetime:
    """Give the instant at which the next day begins in Beijing."""
    return datetime.combine(now.astimezone(BEIJING).date() + timedelta(days=1), time(), BEIJING)


def _judge(refused: Refused, now: datetime) -> NotDone:
    word = word_for(refused.code)
    meaning = CODES.get(refused.code)
    if meaning is None:
        return Unknown(reason=word)
    match meaning.kind:
        case Kind.CREDENTIAL:
            return CredentialExpired(reason=word)
        case Kind.REJECTED:
            return Rejected(code=word, reason=refused.message)
        case Kind.RATE_LIMITED:
            return RateLimited(code=word, until=now + meaning.wait if meaning.wait else next_midnight(now))
        case Kind.BUSY:
            return Busy(code=word, reason=refused.message)
        case Kind.BLOCKED:
            return Blocked(code=word, reason=refused.message, hold=meaning.hold)
        case Kind.DUPLICATE:
            return Unknown(reason=word, is_duplicate=True)
        case Kind.UNKNOWN:
            return Unknown(reason=word)
