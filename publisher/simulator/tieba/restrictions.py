"""What the platform has against an account, and how fast it lets one write."""

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
    """The setting `tieba_standing`: block_stat, hide_stat, vcode_stat, days_tofree; `forum` limits a ban to one."""
    return state.behaviour.tieba_standing.get(account, {})


def check_ban(state: SimulatorState, request: ApiRequest) -> ApiResponse | None:
    """A ban comes before a captcha; a captcha is wanted whatever solution is sent."""
    restrictions = get_restrictions(state, request.account)
    block, forum = restrictions.get("block_stat"), restrictions.get("forum")
    if block == BANNED_EVERYWHERE:
        return refuse(request, BANNED_CODE, standing=restrictions)
    if block == BANNED_IN_FORUM and forum in (None, request.form.get("kw")):
        return refuse(request, BANNED_IN_FORUM_CODE, standing=restrictions)
    return refuse(request, CAPTCHA_CODE, standing=restrictions) if restrictions.get("vcode_stat") else None


def check_rate_limit(
    state: SimulatorState, request: ApiRequest, action: str, gap: float, code: str
) -> ApiResponse | None:
    """Refuse what comes too soon after the last of its kind; each attempt counts only when it is let through."""
    if not gap:
        return None
    key, now = f"{action}/{request.account}", state.now()
    last = state.get_row("tieba_pace", key)
    if last and now < last["at"] + gap:
        return refuse(request, code)
    state.put_row("tieba_pace", key, {"at": now})
    return None


def check_delete_quota(state: SimulatorState, request: ApiRequest) -> ApiResponse | None:
    """220034 when the account has deleted as much as one may in a Beijing day; otherwise this one counts."""
    cap = state.behaviour.tieba_deletes_per_day
    key = ("tieba", request.account, "delete", str(int((state.now() + BEIJING_OFFSET_SECONDS) // DAY_SECONDS)))
    if cap and state.quota_usage[key] >= cap:
        return refuse(request, "220034")
    state.quota_usage[key] += 1
    return None
