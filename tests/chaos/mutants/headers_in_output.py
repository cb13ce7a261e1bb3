"""A call that failed is printed for anyone who looks after the server, with all that helps to understand it.

Breaks I19: after any trouble on the way (reset, timeout, no connection) the daemon's output holds a Weibo account's
access token, as its headers are printed past the log, which would have struck it out.
"""

import sys
from typing import Any

from adapters._http import LoginHttp
from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.results import NotSent, Unknown

_call = LoginHttp._call


async def _call_and_print(
    http: LoginHttp, call: HttpRequest, progress: Any, cap: int, **options: bool
) -> HttpResponse | NotSent | Unknown:
    answer = await _call(http, call, progress, cap, **options)
    if not isinstance(answer, HttpResponse):
        sys.stderr.write(f"{call.url} {answer.reason} {dict(call.headers)}\n")
    return answer


def plant() -> None:
    LoginHttp._call = _call_and_print
