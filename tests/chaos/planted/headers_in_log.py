"""A call that failed is logged with all that helps to understand it, its headers included.

Breaks I19: after any trouble on the way (reset, timeout, no connection) the log holds `OAuth2` and a Weibo account's
access token, which the log's own redaction does not know in that place.
"""

from typing import Any

from adapters._http import LoginHttp
from publisher.contract import Call, Reply
from publisher.domain.outcome import NotSent, Unknown
from publisher.telemetry import log

_call = LoginHttp._call


async def _call_and_tell(http: LoginHttp, call: Call, progress: Any, cap: int) -> Reply | NotSent | Unknown:
    answer = await _call(http, call, progress, cap)
    if not isinstance(answer, Reply):
        log.warning("call_failed", url=call.url, reason=answer.reason, headers=str(dict(call.headers)))
    return answer


def plant() -> None:
    LoginHttp._call = _call_and_tell
