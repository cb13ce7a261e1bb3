"""A call that failed is printed for whoever looks after the server, with all that helps to understand it.

Breaks I19: after any trouble on the way (reset, timeout, no connection) the daemon's output holds a Weibo account's
access token, as its headers are printed past the log, which would have struck it out.
"""

import sys
from typing import Any

from adapters._http import LoginHttp
from publisher.contract import Call, Reply
from publisher.domain.outcome import NotSent, Unknown

_call = LoginHttp._call


async def _call_and_print(
    http: LoginHttp, call: Call, progress: Any, cap: int, **options: bool
) -> Reply | NotSent | Unknown:
    answer = await _call(http, call, progress, cap, **options)
    if not isinstance(answer, Reply):
        sys.stderr.write(f"{call.url} {answer.reason} {dict(call.headers)}\n")
    return answer


def plant() -> None:
    LoginHttp._call = _call_and_print
