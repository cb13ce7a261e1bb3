"""The meaning of each WeChat error code for a call.

A code that is not listed makes the outcome unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum

from publisher.domain.account import BEIJING, parse_retry_after
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    HoldReason,
    NotSent,
    RateLimited,
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


@dataclass(frozen=True, slots=True)
class WeChatErrorCode:
    """The meaning of some codes, its source, and the day the source was last read.

    `hold_reason` is why a blocked delivery is held. `limit_duration` is how long a limit lasts;
    None means until midnight in Beijing.
    """

    error_class: WeChatErrorClass
    source: str
    read_on: str
    hold_reason: HoldReason = HoldReason.ACCOUNT
    limit_duration: timedelta | None = None


# fmt: off
CODES: Mapping[int, WeChatErrorCode] = {
    code: meaning
    for meaning, codes in (
        (WeChatErrorCode(WeChatErrorClass.CREDENTIAL, RETURN_CODES, "2026-11-24"), (
            40001, 40014, 40125, 41001, 42001,
        )),
        (WeChatErrorCode(WeChatErrorClass.REJECTED, RETURN_CODES, "2026-11-24"), (
            40004, 40005, 40006, 40008, 40009, 40012, 40033, 40035, 40038, 40097, 40113, 40137,
            41005, 41006, 43002, 43003, 44001, 44002, 44003, 44004, 45001, 45002, 45003, 45004,
            45005, 45008, 45103, 47001, 47002,
        )),
        (WeChatErrorCode(WeChatErrorClass.REJECTED, DRAFT, "2026-11-24"), (45110,)),
        (WeChatErrorCode(WeChatErrorClass.REJECTED, SUBMIT, "2026-11-24"), (53503,)),
        (WeChatErrorCode(WeChatErrorClass.REJECTED, MASS_SEND, "2026-11-24"), (
            40066, 45028, 45067, 45159,
        )),
        (WeChatErrorCode(WeChatErrorClass.REJECTED, COMMENTS, "2026-11-24"), (45106, 88000)),
        (WeChatErrorCode(WeChatErrorClass.REJECTED, WECHATPY, "2026-11-24"), (45166, 53402)),
        (WeChatErrorCode(WeChatErrorClass.REJECTED, MCP_PUBLISHER, "2026-11-24"), (87014, 200001)),
        (WeChatErrorCode(WeChatErrorClass.RATE_LIMITED, WECHATPY, "2026-11-24",
                         limit_duration=timedelta(minutes=30)), (53501,)),
        (WeChatErrorCode(WeChatErrorClass.RATE_LIMITED, RETURN_CODES, "2026-11-24",
                         limit_duration=timedelta(hours=2)), (45102, 45501)),
        (WeChatErrorCode(WeChatErrorClass.RATE_LIMITED, LIMITS, "2026-11-24"), (45009,)),
        (WeChatErrorCode(WeChatErrorClass.BUSY, LIMITS, "2026-11-24"), (45011,)),
        (WeChatErrorCode(WeChatErrorClass.BUSY, MASS_SEND, "2026-11-24"), (45066,)),
        (WeChatErrorCode(WeChatErrorClass.BLOCKED, RETURN_CODES, "2026-11-24"), (
            48004, 48008, 50001, 50002, 50004, 50005, 61004, 61007,
        )),
        (WeChatErrorCode(WeChatErrorClass.BLOCKED, TOKEN, "2026-11-24"), (
            40164, 89501, 89503, 89506, 89507,
        )),
        (WeChatErrorCode(WeChatErrorClass.BLOCKED, WECHATPY, "2026-11-24"), (53500,)),
        (WeChatErrorCode(WeChatErrorClass.BLOCKED, RETURN_CODES, "2026-11-24",
                         hold_reason=HoldReason.AUTH), (40002, 40013, 40243, 41002, 41004)),
        (WeChatErrorCode(WeChatErrorClass.BLOCKED, SUBMIT, "2026-11-24",
                         hold_reason=HoldReason.CAPTCHA), (53504, 53505)),
        (WeChatErrorCode(WeChatErrorClass.BLOCKED, PUBLISH, "2026-11-24"), (48001,)),
        (WeChatErrorCode(WeChatErrorClass.BLOCKED, MASS_SEND, "2026-11-24"), (48003,)),
        (WeChatErrorCode(WeChatErrorClass.DUPLICATE, DRAFT, "2026-11-24"), (40007,)),
        (WeChatErrorCode(WeChatErrorClass.DUPLICATE, MASS_SEND, "2026-11-24"), (45065,)),
        (WeChatErrorCode(WeChatErrorClass.UNKNOWN, RETURN_CODES, "2026-11-24"), (
            -1, 40003, 40031, 40032, 46001,
        )),
        (WeChatErrorCode(WeChatErrorClass.UNKNOWN, MASS_SEND, "2026-11-24"), (40059, 40060, 40130)),
        (WeChatErrorCode(WeChatErrorClass.UNKNOWN, PUSH_SPEED, "2026-11-24"), (
            45083, 45084, 45085,
        )),
        (WeChatErrorCode(WeChatErrorClass.UNKNOWN, QUOTA, "2026-11-24"), (48006, 76021, 76022)),
        (WeChatErrorCode(WeChatErrorClass.UNKNOWN, COMMENTS, "2026-11-24"), (88001, 88002, 88008)),
        (WeChatErrorCode(WeChatErrorClass.UNKNOWN, WECHATPY, "2026-11-24"), (53404, 53502, 53600)),
    )
    for code in codes
}
# fmt: on
"""A code listed as UNKNOWN may mean that the call was accepted.

It may also belong to calls that we never make.
"""

FailureOutcome = (
    Rejected | RateLimited | Busy | CredentialExpired | Blocked | NotSent | Unknown
)
"""The outcomes of a call that is not known to have published anything."""


def interpret_create_error(error: ErrorResponse, now: datetime) -> FailureOutcome:  # noqa: C901 # one flat table
    """Return the outcome of a creating call that got this error.

    A code that is not listed makes it unknown.
    """
    match error:
        case TooManyRequests(retry_after=header):
            return RateLimited(
                code=HTTP_RATE_LIMIT_CODE, until=parse_retry_after(header, now)
            )
        case UnreadableResponse(reason=reason):
            return Unknown(reason=reason)
    key, meaning = to_message_key(error.code), CODES.get(error.code)
    if meaning is None:
        return Unknown(reason=key)
    match meaning.error_class:
        case WeChatErrorClass.CREDENTIAL:
            return CredentialExpired(reason=key)
        case WeChatErrorClass.REJECTED:
            return Rejected(code=key, reason=error.message)
        case WeChatErrorClass.RATE_LIMITED:
            until = (
                now + meaning.limit_duration
                if meaning.limit_duration
                else get_next_midnight(now)
            )
            return RateLimited(code=key, until=until)
        case WeChatErrorClass.BUSY:
            return Busy(code=key, reason=error.message)
        case WeChatErrorClass.BLOCKED:
            return Blocked(
                code=key, reason=error.message, hold_reason=meaning.hold_reason
            )
        case WeChatErrorClass.DUPLICATE:
            return Unknown(reason=key, is_duplicate=True)
        case WeChatErrorClass.UNKNOWN:
            return Unknown(reason=key)


def interpret_fetch_error(error: ErrorResponse, now: datetime) -> FailureOutcome:
    """Return the outcome of an attempt with this error before the creating call.

    Unknown becomes NotSent.
    """
    if isinstance(error, ApiError) and error.code == SYSTEM_BUSY_CODE:
        return Busy(code=to_message_key(error.code), reason=error.message)
    outcome = interpret_create_error(error, now)
    return NotSent(reason=outcome.reason) if isinstance(outcome, Unknown) else outcome


def get_reason(outcome: FailureOutcome) -> str:
    """Return the message key of an outcome."""
    match outcome:
        case Rejected() | RateLimited() | Busy() | Blocked():
            return outcome.code
        case CredentialExpired() | NotSent() | Unknown():
            return outcome.reason


def to_message_key(code: int) -> str:
    """Return a code's key in the message catalogue."""
    return f"wechat_{code}"


def get_next_midnight(now: datetime) -> datetime:
    """Return the start of the next day in Beijing."""
    return datetime.combine(
        now.astimezone(BEIJING).date() + timedelta(days=1), time(), BEIJING
    )
