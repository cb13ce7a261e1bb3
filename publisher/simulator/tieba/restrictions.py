"""The restrictions of an account, and its rate limits."""

from collections.abc import Mapping
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .responses import BANNED_CODE, BANNED_IN_FORUM_CODE, CAPTCHA_CODE, refuse

DAY_SECONDS = 86_400
BEIJING_OFFSET_SECONDS = 8 * 3600
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


def check_rate_limit(
    state: SimulatorState, request: ApiRequest, action: str, gap: float, code: str
) -> ApiResponse | None:
    """Refuse a call within `gap` seconds of the last accepted one of its kind; refused calls do not count."""
    if not gap:
        return None
    key, now = f"{action}/{request.account}", state.now()
    last = state.get_row("tieba_pace", key)
    if last and now < last["at"] + gap:
        return refuse(request, code)
    state.put_row("tieba_pace", key, {"at": now})
    return None


def check_delete_quota(state: SimulatorState, request: ApiRequest) -> ApiResponse | None:
    """Refuse with 220034 above the deletions of a Beijing day; otherwise count this one."""
    cap = state.behaviour.tieba_deletes_per_day
    key = ("tieba", request.account, "delete", str(int((state.now() + BEIJING_OFFSET_SECONDS) // DAY_SECONDS)))
    if cap and state.quota_usage[key] >= cap:
        return refuse(request, "220034")
    state.quota_usage[key] += 1
    return None
