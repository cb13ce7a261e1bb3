"""An answer of the 5xx class to a creating call counts as nothing done, and the call is made again.

Breaks I7 and I1 (F28, F29): `status` 502 with `acts` true leaves a live post behind; the delivery goes to `retrying`
with the reason `server_error`, and the next attempt makes a second one without a look between them.
"""

from adapters._http import LoginHttp
from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.post import SendRequest
from publisher.domain.results import NotSent, Unknown

_create = LoginHttp.create


async def _create_again(http: LoginHttp, call: HttpRequest, parcel: SendRequest) -> HttpResponse | NotSent | Unknown:
    answer = await _create(http, call, parcel)
    is_error = isinstance(answer, HttpResponse) and answer.status >= 500
    return NotSent(reason="server_error") if is_error else answer


def plant() -> None:
    LoginHttp.create = _create_again
