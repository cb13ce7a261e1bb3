"""The restrictions of an account, and its rate limits."""

from collections.abc import Mapping
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .responses import BANNED_CODE, BANNED_IN_FORUM_CODE, CAPTCHA_CODE, refuse

TOO_FAST_CODE = "230871"
BANNED_EVERYWHERE, BANNED_IN_FORUM = 2, 3
"""Values of `block_stat`, as the official app's dialogs read them."""


def get_restrictions(state: SimulatorState, account: str) -> Mapping[str, Any]:
    """Return an account's entry in the setting `tieba_standing`; `forum` limits a ban to one forum."""
    return state.behaviour.tieba_standing.get(account, {})


def check_ban(state: SimulatorState, request: ApiRequest) -> ApiResponse | None:
    """Refuse a banned account, then one that needs a captcha, whatever solution it sends."""
    restrictions = get_restrictions(state, request.account)
    block, forum = restrictions.get("block_stat"), restrictions.get("forum")
    if block == BANNED_EVERYWHERE:
        return refuse(request, BANNED_CODE, restrictions=restrictions)
    if block == BANNED_IN_FORUM and forum in (None, request.form.get("kw")):
        return refuse(request, BANNED_IN_FORUM_CODE, restrictions=restrictions)
    return refuse(request, CAPTCHA_CODE, restrictions=restrictions) if restrictions.get("vcode_stat") else None


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
