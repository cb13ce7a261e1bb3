"""What the platform has against an account, read before anything is written. Pure.

`c/s/pc/sync` is the 2026 PC site's own; clients read `anti.tbs` and `user.is_login` in it. The numbers of `block_stat`,
`hide_stat` and `vcode_stat` are those of the official app's dialogs (n0099/open-tbclient, `AntiHelper`); all read on
2026-11-24.
"""

from collections.abc import Mapping

from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.results import Blocked, HoldReason

from .api import (
    Json,
    RequestFailure,
    decode_body,
    get_account_flags,
    get_error_code,
    get_object,
    is_posting_hidden,
    to_int,
)
from .signature import sign_pc_form

BANNED_EVERYWHERE = 2
"""As `block_stat`; 3 is a ban in one forum, which need not be ours: there the write itself is refused."""


def encode_account_status(host: str, cookies: Mapping[str, str]) -> HttpRequest:
    return HttpRequest(method="GET", url=f"{host}/c/s/pc/sync", query=sign_pc_form({}), cookies=cookies)


def decode_account_status(response: HttpResponse | RequestFailure, identity: str) -> Blocked | None:
    """Tell what a person must see to first; None where nothing is said against the account, or nothing can be read."""
    body = decode_body(response)
    if not isinstance(body, Mapping) or get_error_code(body) != 0:
        return None
    stranger = _find_other_identity(get_object(body, "user"), identity)
    if stranger is not None:
        return Blocked(code="tieba_other_session", reason=stranger, hold_reason=HoldReason.WRONG_ACCOUNT)
    anti = get_account_flags(body)
    if to_int(anti.get("block_stat")) == BANNED_EVERYWHERE:
        return Blocked(code="tieba_banned", reason="")
    if is_posting_hidden(body):
        return Blocked(code="tieba_hidden", reason="")
    if to_int(anti.get("vcode_stat")) == 1:
        return Blocked(code="tieba_captcha", reason="", hold_reason=HoldReason.CAPTCHA)
    return None


def _find_other_identity(user: Json, identity: str) -> str | None:
    """Give whose session it is where that is surely somebody else: like is compared with like only."""
    keys = ("portrait",) if identity.startswith("tb.") else ("name", "name_show")
    names = [str(user[key]).partition("?")[0] for key in keys if user.get(key)]
    return names[0] if names and identity not in names else None
