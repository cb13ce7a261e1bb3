"""Forums and the numbers of threads and floors."""

import zlib

from publisher.simulator.world import Account, World

FIRST_THREAD = 10_990_000_000
FLOOR_OFFSET = 139_010_000_000


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


class ThreadIds:
    def __init__(self, world: World) -> None:
        self._world = world
        self._last = FIRST_THREAD

    def next(self) -> str:
        while True:
            self._last += 1
            if str(self._last) not in self._world.posts:
                return str(self._last)


def uid(account: Account) -> int:
    return 1_000_000 + zlib.crc32(account.identity.encode()) % 5_000_000_000
