"""Restrictions of an account in a forum: bans, captchas, closed forums, rate limits."""

from collections.abc import Mapping
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .responses import BANNED_CODE, BANNED_IN_FORUM_CODE, CAPTCHA_CODE, refuse
from .threads import get_forum_id, is_forum

TOO_FAST_CODE = "230871"
DEFAULT_LEVEL = 12
"""The level of each user, unless the setting `tieba_standing` names another."""
MIN_LEVEL = 3
BANNED_EVERYWHERE, BANNED_IN_FORUM = 2, 3
"""Values of `block_stat`, as the official app's dialogs read them."""


def get_restrictions(state: SimulatorState, account: str) -> Mapping[str, Any]:
    """Return an account's entry in the setting `tieba_standing`.

    `forum` limits a ban to one forum.
    """
    return state.behaviour.tieba_standing.get(account, {})


def get_level(state: SimulatorState, account: str) -> int:
    return int(get_restrictions(state, account).get("level", DEFAULT_LEVEL))


def check_ban(state: SimulatorState, request: ApiRequest) -> ApiResponse | None:
    """Refuse a banned account, then one that needs a captcha, with any solution that it sends."""
    restrictions = get_restrictions(state, request.account)
    block, forum = restrictions.get("block_stat"), restrictions.get("forum")
    if block == BANNED_EVERYWHERE:
        return refuse(request, BANNED_CODE, restrictions=restrictions)
    if block == BANNED_IN_FORUM and forum in (None, request.form.get("kw")):
        return refuse(request, BANNED_IN_FORUM_CODE, restrictions=restrictions)
    return (
        refuse(request, CAPTCHA_CODE, restrictions=restrictions)
        if restrictions.get("vcode_stat")
        else None
    )


def check_rate_limit(state: SimulatorState, request: ApiRequest) -> ApiResponse | None:
    """Refuse a write too soon after the account's last accepted one; refused calls do not count."""
    gap = state.behaviour.tieba_gap
    if not gap:
        return None
    now, last = state.now(), state.get_row("tieba_pace", request.account)
    if last and now < last["at"] + gap:
        return refuse(request, TOO_FAST_CODE)
    state.put_row("tieba_pace", request.account, {"at": now})
    return None


def check_forum_access(
    state: SimulatorState, request: ApiRequest
) -> ApiResponse | None:
    """Refuse by the setting `tieba_forums`.

    Refuse with 230274 for a forum name that does not match its id.
    """
    name = request.form.get("kw", "")
    if not is_forum(state, name) or request.form.get("fid") != str(get_forum_id(name)):
        return refuse(request, "230274")
    restrictions = state.behaviour.tieba_forums.get(name, {})
    checks = (
        (restrictions.get("closed"), "340001"),
        (restrictions.get("read_only"), "230705"),
        (request.account in restrictions.get("blacklist", ()), "400013"),
        (restrictions.get("followers_only"), "340012"),
        (
            restrictions.get("levels")
            and get_level(state, request.account) < MIN_LEVEL,
            "1990032",
        ),
    )
    code = next((code for is_refused, code in checks if is_refused), None)
    return refuse(request, code) if code else None
