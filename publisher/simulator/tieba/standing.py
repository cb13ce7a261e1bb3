"""What the platform has against an account, and how fast it lets one write."""

from collections.abc import Mapping
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import BANNED, BANNED_HERE, CAPTCHA, refuse

DAY = 86_400
BEIJING = 8 * 3600
EVERYWHERE, IN_ONE_FORUM = 2, 3
"""Values of `block_stat`, as the official app's dialogs read them."""


def standing_of(world: World, account: str) -> Mapping[str, Any]:
    """The setting `tieba_standing`: block_stat, hide_stat, vcode_stat, days_tofree; `forum` limits a ban to one."""
    return world.settings.tieba_standing.get(account, {})


def barred(world: World, call: Call) -> Answer | None:
    """A ban comes before a captcha; a captcha is wanted whatever solution is sent."""
    standing = standing_of(world, call.account)
    block, forum = standing.get("block_stat"), standing.get("forum")
    if block == EVERYWHERE:
        return refuse(call, BANNED, standing=standing)
    if block == IN_ONE_FORUM and forum in (None, call.form.get("kw")):
        return refuse(call, BANNED_HERE, standing=standing)
    return refuse(call, CAPTCHA, standing=standing) if standing.get("vcode_stat") else None


def hasty(world: World, call: Call, what: str, gap: float, code: str) -> Answer | None:
    """Refuse what comes too soon after the last of its kind; each attempt counts only when it is let through."""
    if not gap:
        return None
    key, now = f"{what}/{call.account}", world.now()
    last = world.get("tieba_pace", key)
    if last and now < last["at"] + gap:
        return refuse(call, code)
    world.put("tieba_pace", key, {"at": now})
    return None


def used_up(world: World, call: Call) -> Answer | None:
    """220034 when the account has deleted as much as one may in a Beijing day; otherwise this one counts."""
    cap = world.settings.tieba_deletes_per_day
    key = ("tieba", call.account, "delete", str(int((world.now() + BEIJING) // DAY)))
    if cap and world.used[key] >= cap:
        return refuse(call, "220034")
    world.used[key] += 1
    return None
