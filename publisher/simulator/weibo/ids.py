"""Weibo's ids: a post's id contains its second, its URL contains the id in base 62."""

from publisher.simulator.state import SimulatorState

from .text import to_base62

ID_EPOCH_SECONDS = 515483463
"""`unix = (mid >> 22) + 515483463` gives the second of the sample on open.weibo.com wiki 2/statuses/share."""
SECOND_BITS = 22


class PostIdGenerator:
    """Generates post ids that grow within a second and never repeat."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state
        self._second = 0
        self._last = 0

    def next(self, now: float) -> str:
        if int(now) != self._second:
            self._second, self._last = int(now), 0
        while True:
            self._last += 1
            mid = str(((self._second - ID_EPOCH_SECONDS) << SECOND_BITS) + self._last)
            if mid not in self._state.posts:
                return mid


def encode_bid(mid: str) -> str:
    """Return the id as a post's URL shows it: groups of seven digits from the right, four characters each."""
    groups: list[str] = []
    while mid:
        mid, group = mid[:-7], mid[-7:]
        groups.insert(0, to_base62(int(group), 4 if mid else 1))
    return "".join(groups)


def to_uid_number(identity: str) -> int:
    """Return the identity as the integer that responses carry beside the text."""
    if identity.isascii() and identity.isdigit():
        return int(identity)
    return 1_000_000_000 + int.from_bytes(identity.encode()[-4:], "big") % 9_000_000_000
