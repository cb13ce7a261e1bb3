"""Forums, and the ids of forums, threads, replies and users."""

import zlib
from itertools import count

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedAccount, SimulatorState

from .responses import refuse

FIRST_THREAD_ID = 10_990_000_001
FIRST_REPLY_ID = 160_000_000_001
FIRST_POST_ID_OFFSET = 139_010_000_000
DEFAULT_LEVEL = 12
"""The level of each user, unless the setting `tieba_standing` names another."""
MIN_LEVEL = 3


def get_forum_id(name: str) -> int:
    """Return a forum's id, the same for the same name in every simulator."""
    return 1000 + zlib.crc32(name.encode()) % 90_000_000


def is_forum(state: SimulatorState, name: str) -> bool:
    """True for any name in open mode, else for the forums of the registered accounts."""
    if not name:
        return False
    return state.behaviour.open or any(
        name in each.forums for each in state.accounts.values() if each.platform == "tieba"
    )


def get_first_post_id(tid: str) -> str:
    """Return the id of a thread's first post."""
    return str(int(tid) + FIRST_POST_ID_OFFSET)


class IdSequence:
    """Generates unused ids for threads or for replies."""

    def __init__(self, state: SimulatorState, first: int) -> None:
        self._state = state
        self._numbers = count(first)

    def next(self) -> str:
        return next(name for name in map(str, self._numbers) if name not in self._state.posts)


def get_uid(account: SimulatedAccount) -> int:
    return 1_000_000 + zlib.crc32(account.identity.encode()) % 5_000_000_000


def get_level(state: SimulatorState, account: str) -> int:
    return int(state.behaviour.tieba_standing.get(account, {}).get("level", DEFAULT_LEVEL))


def check_forum_access(state: SimulatorState, request: ApiRequest) -> ApiResponse | None:
    """Refuse by the setting `tieba_forums`, and with 230274 for a forum name that does not match its id."""
    name = request.form.get("kw", "")
    fid = get_forum_id(name)
    if not is_forum(state, name) or request.form.get("fid") != str(fid):
        return refuse(request, "230274")
    restrictions = state.behaviour.tieba_forums.get(name, {})
    for condition, code in (
        (restrictions.get("closed"), "340001"),
        (restrictions.get("read_only"), "230705"),
        (request.account in restrictions.get("blacklist", ()), "400013"),
        (restrictions.get("followers_only"), "340012"),
        (restrictions.get("levels") and get_level(state, request.account) < MIN_LEVEL, "1990032"),
    ):
        if condition:
            return refuse(request, code)
    return None
