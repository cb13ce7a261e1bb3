"""What the platform has against an account, read before anything is written. Pure.

`c/s/pc/sync` is the 2026 PC site's own; clients read `anti.tbs` and `user.is_login` in it. The numbers of `block_stat`,
`hide_stat` and `vcode_stat` are those of the official app's dialogs (n0099/open-tbclient, `AntiHelper`); all read on
2026-11-24.
"""

from collections.abc import Mapping

from publisher.contract import Call, Reply
from publisher.domain.outcome import Blocked, HoldReason

from .signing import pc_form
from .wire import Json, Trouble, anti_of, as_number, code_of, hides, part, read_body

BANNED_EVERYWHERE = 2
"""As `block_stat`; 3 is a ban in one forum, which need not be ours: there the write itself is refused."""


def encode_standing(host: str, cookies: Mapping[str, str]) -> Call:
    return Call(method="GET", url=f"{host}/c/s/pc/sync", query=pc_form({}), cookies=cookies)


def decode_standing(reply: Reply | Trouble, identity: str) -> Blocked | None:
    """Tell what a person must see to first; None where nothing is said against the account, or nothing can be read."""
    body = read_body(reply)
    if not isinstance(body, Mapping) or code_of(body) != 0:
        return None
    stranger = _stranger(part(body, "user"), identity)
    if stranger is not None:
        return Blocked(code="tieba_other_session", reason=stranger, hold=HoldReason.WRONG_ACCOUNT)
    anti = anti_of(body)
    if as_number(anti.get("block_stat")) == BANNED_EVERYWHERE:
        return Blocked(code="tieba_banned", reason="")
    if hides(body):
        return Blocked(code="tieba_hidden", reason="")
    if as_number(anti.get("vcode_stat")) == 1:
        return Blocked(code="tieba_captcha", reason="", hold=HoldReason.CAPTCHA)
    return None


def _stranger(user: Json, identity: str) -> str | None:
    """Give whose session it is where that is surely somebody else: like is compared with like only."""
    keys = ("portrait",) if identity.startswith("tb.") else ("name", "name_show")
    names = [str(user[key]).partition("?")[0] for key in keys if user.get(key)]
    return names[0] if names and identity not in names else None
