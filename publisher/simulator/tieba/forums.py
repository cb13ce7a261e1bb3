"""Forums, and the numbers of forums, threads, floors and people."""

import zlib
from itertools import count

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Account, World

from .answers import refuse

FIRST_THREAD = 10_990_000_001
FIRST_FLOOR = 160_000_000_001
FLOOR_OFFSET = 139_010_000_000
LEVEL = 12
"""Everybody's level, unless the setting `tieba_standing` names another."""
LOWEST_LEVEL = 3


def forum_id(name: str) -> int:
    """A forum's number, the same for the same name wherever the simulator runs."""
    return 1000 + zlib.crc32(name.encode()) % 90_000_000


def exists(world: World, name: str) -> bool:
    """In open mode every forum does, else those that an account was given."""
    if not name:
        return False
    return world.settings.open or any(
        name in each.forums for each in world.accounts.values() if each.platform == "tieba"
    )


def floor_id(thread: str) -> str:
    """The number of a thread's first floor."""
    return str(int(thread) + FLOOR_OFFSET)


class Numbers:
    """Numbers for threads, or for floors, that the world has not seen yet."""

    def __init__(self, world: World, first: int) -> None:
        self._world = world
        self._numbers = count(first)

    def next(self) -> str:
        return next(name for name in map(str, self._numbers) if name not in self._world.posts)


def uid(account: Account) -> int:
    return 1_000_000 + zlib.crc32(account.identity.encode()) % 5_000_000_000


def level(world: World, account: str) -> int:
    return int(world.settings.tieba_standing.get(account, {}).get("level", LEVEL))


def closed_to(world: World, call: Call) -> Answer | None:
    """Who may write in a forum, by the setting `tieba_forums`; 230274 for a name and a number that do not fit."""
    name = call.form.get("kw", "")
    fid = forum_id(name)
    if not exists(world, name) or call.form.get("fid") != str(fid):
        return refuse(call, "230274")
    state = world.settings.tieba_forums.get(name, {})
    for condition, code in (
        (state.get("closed"), "340001"),
        (state.get("read_only"), "230705"),
        (call.account in state.get("blacklist", ()), "400013"),
        (state.get("followers_only"), "340012"),
        (state.get("levels") and level(world, call.account) < LOWEST_LEVEL, "1990032"),
    ):
        if condition:
            return refuse(call, code)
    return None
