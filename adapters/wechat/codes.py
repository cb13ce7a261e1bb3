"""What each of WeChat's error codes means for a call: one line per code.

A code that is not listed is a doubt.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum

from publisher.domain.account import BEIJING
from publisher.domain.policy import parse_retry_after
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    HoldReason,
    NotSent,
    RateLimited,
    ReadFailure,
    Rejected,
    Unknown,
)

from .api import ApiError, ErrorResponse, TooManyRequests, UnreadableResponse

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

SYSTEM_BUSY_CODE = -1
NO_SUCH_MEDIA = 40007
NO_SUCH_ARTICLE = 53600
HTTP_RATE_LIMIT_CODE = "wechat_http_429"


class WeChatErrorClass(StrEnum):
    CREDENTIAL = "credential"
    REJECTED = "rejected"
    RATE_LIMITED = "rate_limited"
    BUSY = "busy"
    BLOCKED = "blocked"
    DUPLICATE = "duplicate"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeChatErrorCode:
    """One code: its kind, who says so, and when that was read.

    `hold` is why a blocked delivery waits; `wait` is how long a limit lasts, None meaning until midnight in Beijing.
    """

    error_class: WeChatErrorClass
    source: str
    read_on: str
    hold_reason: HoldReason = HoldReason.ACCOUNT
    limit_duration: timedelta | None = None


# fmt: off
CODES = {
    -1: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=RETURN_CODES, read_on="2026-11-24"),
    40001: WeChatErrorCode(error_class=WeChatErrorClass.CREDENTIAL, source=RETURN_CODES, read_on="2026-11-24"),
    40002: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=RETURN_CODES, read_on="2026-11-24", hold_reason=HoldReason.AUTH),
    40003: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=RETURN_CODES, read_on="2026-11-24"),
    40004: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    40005: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    40006: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    40007: WeChatErrorCode(error_class=WeChatErrorClass.DUPLICATE, source=DRAFT, read_on="2026-11-24"),
    40008: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    40009: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    40012: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    40013: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=RETURN_CODES, read_on="2026-11-24", hold_reason=HoldReason.AUTH),
    40014: WeChatErrorCode(error_class=WeChatErrorClass.CREDENTIAL, source=RETURN_CODES, read_on="2026-11-24"),
    40031: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=RETURN_CODES, read_on="2026-11-24"),
    40032: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=RETURN_CODES, read_on="2026-11-24"),
    40033: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    40035: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    40038: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    40059: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=MASS_SEND, read_on="2026-11-24"),
    40060: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=MASS_SEND, read_on="2026-11-24"),
    40066: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=MASS_SEND, read_on="2026-11-24"),
    40097: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    40113: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    40125: WeChatErrorCode(error_class=WeChatErrorClass.CREDENTIAL, source=RETURN_CODES, read_on="2026-11-24"),
    40130: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=MASS_SEND, read_on="2026-11-24"),
    40137: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    40164: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=TOKEN, read_on="2026-11-24"),
    40243: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=RETURN_CODES, read_on="2026-11-24", hold_reason=HoldReason.AUTH),
    41001: WeChatErrorCode(error_class=WeChatErrorClass.CREDENTIAL, source=RETURN_CODES, read_on="2026-11-24"),
    41002: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=RETURN_CODES, read_on="2026-11-24", hold_reason=HoldReason.AUTH),
    41004: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=RETURN_CODES, read_on="2026-11-24", hold_reason=HoldReason.AUTH),
    41005: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    41006: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    42001: WeChatErrorCode(error_class=WeChatErrorClass.CREDENTIAL, source=RETURN_CODES, read_on="2026-11-24"),
    43002: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    43003: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    44001: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    44002: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    44003: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    44004: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    45001: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    45002: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    45003: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    45004: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    45005: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    45008: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    45009: WeChatErrorCode(error_class=WeChatErrorClass.RATE_LIMITED, source=LIMITS, read_on="2026-11-24"),
    45011: WeChatErrorCode(error_class=WeChatErrorClass.BUSY, source=LIMITS, read_on="2026-11-24"),
    45028: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=MASS_SEND, read_on="2026-11-24"),
    45065: WeChatErrorCode(error_class=WeChatErrorClass.DUPLICATE, source=MASS_SEND, read_on="2026-11-24"),
    45066: WeChatErrorCode(error_class=WeChatErrorClass.BUSY, source=MASS_SEND, read_on="2026-11-24"),
    45067: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=MASS_SEND, read_on="2026-11-24"),
    45083: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=PUSH_SPEED, read_on="2026-11-24"),
    45084: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=PUSH_SPEED, read_on="2026-11-24"),
    45085: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=PUSH_SPEED, read_on="2026-11-24"),
    45102: WeChatErrorCode(error_class=WeChatErrorClass.RATE_LIMITED, source=RETURN_CODES, read_on="2026-11-24", limit_duration=timedelta(hours=2)),
    45103: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    45106: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=COMMENTS, read_on="2026-11-24"),
    45110: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=DRAFT, read_on="2026-11-24"),
    45159: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=MASS_SEND, read_on="2026-11-24"),
    45166: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=WECHATPY, read_on="2026-11-24"),
    45501: WeChatErrorCode(error_class=WeChatErrorClass.RATE_LIMITED, source=RETURN_CODES, read_on="2026-11-24", limit_duration=timedelta(hours=2)),
    46001: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=RETURN_CODES, read_on="2026-11-24"),
    47001: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    47002: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=RETURN_CODES, read_on="2026-11-24"),
    48001: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=PUBLISH, read_on="2026-11-24", hold_reason=HoldReason.PERMISSION),
    48003: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=MASS_SEND, read_on="2026-11-24", hold_reason=HoldReason.PERMISSION),
    48004: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=RETURN_CODES, read_on="2026-11-24"),
    48006: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=QUOTA, read_on="2026-11-24"),
    48008: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=RETURN_CODES, read_on="2026-11-24", hold_reason=HoldReason.PERMISSION),
    50001: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=RETURN_CODES, read_on="2026-11-24", hold_reason=HoldReason.PERMISSION),
    50002: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=RETURN_CODES, read_on="2026-11-24"),
    50004: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=RETURN_CODES, read_on="2026-11-24"),
    50005: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=RETURN_CODES, read_on="2026-11-24"),
    53402: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=WECHATPY, read_on="2026-11-24"),
    53404: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=WECHATPY, read_on="2026-11-24"),
    53500: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=WECHATPY, read_on="2026-11-24"),
    53501: WeChatErrorCode(error_class=WeChatErrorClass.RATE_LIMITED, source=WECHATPY, read_on="2026-11-24", limit_duration=timedelta(minutes=30)),
    53502: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=WECHATPY, read_on="2026-11-24"),
    53503: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=SUBMIT, read_on="2026-11-24"),
    53504: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=SUBMIT, read_on="2026-11-24", hold_reason=HoldReason.CAPTCHA),
    53505: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=SUBMIT, read_on="2026-11-24", hold_reason=HoldReason.CAPTCHA),
    53600: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=WECHATPY, read_on="2026-11-24"),
    61004: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=RETURN_CODES, read_on="2026-11-24", hold_reason=HoldReason.PERMISSION),
    61007: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=RETURN_CODES, read_on="2026-11-24", hold_reason=HoldReason.PERMISSION),
    76021: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=QUOTA, read_on="2026-11-24"),
    76022: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=QUOTA, read_on="2026-11-24"),
    87014: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=MCP_PUBLISHER, read_on="2026-11-24"),
    88000: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=COMMENTS, read_on="2026-11-24"),
    88001: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=COMMENTS, read_on="2026-11-24"),
    88002: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=COMMENTS, read_on="2026-11-24"),
    88008: WeChatErrorCode(error_class=WeChatErrorClass.UNKNOWN, source=COMMENTS, read_on="2026-11-24"),
    89501: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=TOKEN, read_on="2026-11-24"),
    89503: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=TOKEN, read_on="2026-11-24"),
    89506: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=TOKEN, read_on="2026-11-24"),
    89507: WeChatErrorCode(error_class=WeChatErrorClass.BLOCKED, source=TOKEN, read_on="2026-11-24"),
    200001: WeChatErrorCode(error_class=WeChatErrorClass.REJECTED, source=MCP_PUBLISHER, read_on="2026-11-24"),
}
# fmt: on
"""Those listed as unknown may each stand for a call that was taken, or belong to calls that we never make."""

FailureOutcome = Rejected | RateLimited | Busy | CredentialExpired | Blocked | NotSent | Unknown
"""What may be said when nothing is known to be live."""


def interpret_create_error(trouble: ErrorResponse, now: datetime) -> FailureOutcome:
    """Say what trouble means as the answer to the creating call: whatever is not listed is a doubt."""
    match trouble:
        case ApiError():
            return _interpret_code(trouble, now)
        case TooManyRequests(retry_after=header):
            return RateLimited(code=HTTP_RATE_LIMIT_CODE, until=parse_retry_after(header, now))
        case UnreadableResponse(reason=reason):
            return Unknown(reason=reason)


def interpret_fetch_error(trouble: ErrorResponse, now: datetime) -> FailureOutcome:
    """Say what trouble means before the creating call: nothing was made, so where it is a doubt it is tried again."""
    if isinstance(trouble, ApiError) and trouble.code == SYSTEM_BUSY_CODE:
        return Busy(code=to_message_key(trouble.code), reason=trouble.message)
    outcome = interpret_create_error(trouble, now)
    return NotSent(reason=outcome.reason) if isinstance(outcome, Unknown) else outcome


def to_unread(outcome: FailureOutcome) -> ReadFailure:
    """Say what a read that was not done shows: a 429 stands against all calls, a limit by code against one kind."""
    is_limit = isinstance(outcome, RateLimited) and outcome.code == HTTP_RATE_LIMIT_CODE
    return outcome if isinstance(outcome, RateLimited) and is_limit else Unknown(reason=get_reason(outcome))


def get_reason(outcome: FailureOutcome) -> str:
    """Give the code by which an outcome is put into words."""
    match outcome:
        case Rejected() | RateLimited() | Busy() | Blocked():
            return outcome.code
        case CredentialExpired() | NotSent() | Unknown():
            return outcome.reason


def to_message_key(code: int) -> str:
    """Give the key of a code in the message catalogue."""
    return f"wechat_{code}"


def get_next_midnight(now: datetime) -> datetime:
    """Give the instant at which the next day begins in Beijing."""
    return datetime.combine(now.astimezone(BEIJING).date() + timedelta(days=1), time(), BEIJING)


def _interpret_code(error: ApiError, now: datetime) -> FailureOutcome:
    word = to_message_key(error.code)
    meaning = CODES.get(error.code)
    if meaning is None:
        return Unknown(reason=word)
    match meaning.error_class:
        case WeChatErrorClass.CREDENTIAL:
            return CredentialExpired(reason=word)
        case WeChatErrorClass.REJECTED:
            return Rejected(code=word, reason=error.message)
        case WeChatErrorClass.RATE_LIMITED:
            return RateLimited(
                code=word, until=now + meaning.limit_duration if meaning.limit_duration else get_next_midnight(now)
            )
        case WeChatErrorClass.BUSY:
            return Busy(code=word, reason=error.message)
        case WeChatErrorClass.BLOCKED:
            return Blocked(code=word, reason=error.message, hold_reason=meaning.hold_reason)
        case WeChatErrorClass.DUPLICATE:
            return Unknown(reason=word, is_duplicate=True)
        case WeChatErrorClass.UNKNOWN:
            return Unknown(reason=word)
