"""Tieba's statements about a session: its user, and its account's restrictions. Pure.

`c/s/pc/sync` is the 2026 PC site's own; clients read `anti.tbs` and `user.is_login` in it. The
numbers of `block_stat`, `hide_stat` and `vcode_stat` come from the official app's dialogs
(n0099/open-tbclient, `AntiHelper`). All were read on 2026-11-24.
"""

from collections.abc import Mapping, Sequence

from adapters.tieba import api, post_list
from adapters.tieba.codes import to_message_key
from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    HoldReason,
    ReadFailure,
    Unknown,
)

BANNED_EVERYWHERE = 2
"""A `block_stat`.

3 is a ban in one forum, but that need not be ours. There the write itself is refused.
"""
UNNAMED = Unknown(reason="tieba_session_unnamed")


def encode_account_status(host: str, cookies: Mapping[str, str]) -> HttpRequest:
    return HttpRequest(
        method="GET",
        url=f"{host}/c/s/pc/sync",
        query=api.sign_pc_form({}),
        cookies=cookies,
    )


def decode_portrait(response: HttpResponse | api.RequestFailure) -> str | None:
    """Return the portrait of the session's account, None if the response has none.

    Tieba knows the account by it. A user name may be missing and a shown name change. Each account
    has one portrait, also where settings name another.
    """
    body = api.decode_body(response)
    user = (
        api.get_object(body, "user")
        if isinstance(body, Mapping) and api.get_error_code(body) == 0
        else {}
    )
    return str(user.get("portrait") or "").partition("?")[0] or None


def decode_account_status(
    response: HttpResponse | api.RequestFailure, identity: str
) -> Blocked | None:
    """Return the block of the account.

    Return None if nothing blocks it, or the response cannot be read.
    """
    body = api.decode_body(response)
    if not isinstance(body, Mapping) or api.get_error_code(body) != 0:
        return None
    names, anti = _get_comparable_names(body, identity), api.get_account_flags(body)
    if names and identity not in names:
        return Blocked(
            code="tieba_other_session",
            reason=names[0],
            hold_reason=HoldReason.WRONG_SECRET,
        )
    if api.to_int(anti.get("block_stat")) == BANNED_EVERYWHERE:
        return Blocked(code="tieba_banned", reason="")
    if api.is_posting_hidden(body):
        return Blocked(code="tieba_hidden", reason="")
    if api.to_int(anti.get("vcode_stat")) == 1:
        return Blocked(code="tieba_captcha", reason="", hold_reason=HoldReason.CAPTCHA)
    return None


def find_unnamed(
    response: HttpResponse | api.RequestFailure, identity: str
) -> CredentialExpired | ReadFailure | None:
    """Return why the response does not name the session's user, or None if it does."""
    body = api.decode_body(response)
    if not isinstance(body, Mapping):
        return body
    if (code := api.get_error_code(body)) != 0:
        return Unknown(reason="bad_response" if code is None else to_message_key(code))
    return None if _get_comparable_names(body, identity) else UNNAMED


def _get_comparable_names(body: api.Json, identity: str) -> Sequence[str]:
    """Return the names of the session's account, of the same kind as the identity.

    The kind is a portrait or a user name.
    """
    user = api.get_object(body, "user")
    keys = ("portrait",) if identity.startswith("tb.") else ("name", "name_show")
    return [str(user[key]).partition("?")[0] for key in keys if user.get(key)]


def decode_own_number(
    response: HttpResponse | api.RequestFailure, identity: str
) -> int | None:
    """Return the number of the session's account.

    Return None if it is not our account, or not given.
    """
    body = api.decode_body(response)
    user = api.get_object(body, "user") if isinstance(body, Mapping) else {}
    return (
        (api.to_int(user.get("id")) or None)
        if identity in post_list.get_names(user)
        else None
    )
