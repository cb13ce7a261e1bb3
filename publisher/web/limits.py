"""Limits and order of sign-in attempts, applied before a password hash or a database query."""

import asyncio
import contextlib
from bisect import insort
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from pyrate_limiter import Duration, InMemoryBucket, MonotonicClock, Rate, RateItem

from publisher.domain.errors import SignInError
from publisher.runtime.bounded_dict import BoundedDict

MAX_KEYS = 10_000
"""How many names and addresses are counted at once. The one that was quiet longest is forgotten."""
RATES_OF_ADDRESS = (Rate(30, Duration.MINUTE),)
"""A whole office may share an address."""
RATES_OF_NAME = (Rate(5, Duration.MINUTE),)
"""Of one name from one address: nobody elsewhere can use it up."""
MAX_WAITING = 100
"""How many sign-ins may wait for their turn, about five seconds.

If there are more, the last in order has to come again.
"""
MAX_KNOWN_ATTEMPTS = 10
"""How many attempts a minute a known address is preferred for.

An address is known once somebody has signed in from there.
"""
BUSY_SECONDS = 5


@dataclass(frozen=True, slots=True, order=True)
class Turn:
    """A place in the order of sign-ins.

    Addresses with an earlier sign-in come first, unless they flood too. Addresses with the fewest
    attempts in the last minute come next. Among equals the newest comes first. So a newcomer does
    not wait for a flood of others, and the sender that has waited longest may have gone.
    """

    is_last: bool
    attempts: int
    number: int
    begins: asyncio.Future[None] = field(compare=False)


@dataclass(slots=True)
class Limits:
    """Counts attempts of the last minute by key, and lets sign-ins be checked one at a time."""

    _waiting: list[Turn] = field(default_factory=list)
    _current: Turn | None = None
    _numbers: Iterator[int] = field(default_factory=partial(count, step=-1))
    _buckets: BoundedDict[str, InMemoryBucket] = field(
        default_factory=lambda: BoundedDict(MAX_KEYS)
    )
    _known: BoundedDict[str, None] = field(default_factory=lambda: BoundedDict(MAX_KEYS))
    """Addresses with an earlier successful sign-in."""
    _clock: MonotonicClock = field(default_factory=MonotonicClock)

    def require_attempt(self, address: str, name: str) -> None:
        """Count an attempt. Raises SignInError, with the seconds to wait, if it is one too many."""
        wait = self._count(f"address {address}", RATES_OF_ADDRESS)
        if wait := wait or self._count(f"name {name}\0{address}", RATES_OF_NAME):
            raise SignInError("sign_in_delayed", seconds=str(wait))

    @contextlib.asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait until a sign-in from an address may be checked, and block the others meanwhile.

        A flood waits for itself: each further attempt of an address comes after addresses with
        fewer attempts. Among equals the newest is first. Before all these come addresses with an
        earlier sign-in. Their preference lasts for at most MAX_KNOWN_ATTEMPTS attempts a minute.
        Raises SignInError if too many come before this one.
        """
        bucket = self._buckets.get(f"address {address}")
        attempts = bucket.count() if bucket is not None else 0
        is_last = address not in self._known or attempts > MAX_KNOWN_ATTEMPTS
        mine = Turn(
            is_last, attempts, next(self._numbers), asyncio.get_running_loop().create_future()
        )
        insort(self._waiting, mine)
        if len(self._waiting) > MAX_WAITING:
            last = self._waiting.pop()
            if not last.begins.done():
                last.begins.set_exception(SignInError("sign_in_delayed", seconds=str(BUSY_SECONDS)))
        self._begin_next()
        try:
            await mine.begins
            yield
        finally:
            if mine is self._current:
                self._current = None
                self._begin_next()
            elif mine in self._waiting:
                self._waiting.remove(mine)

    def _begin_next(self) -> None:
        if self._current is None and self._waiting:
            self._current = self._waiting.pop(0)
            if (
                not self._current.begins.done()
            ):  # else it was cancelled, and is about to end its turn
                self._current.begins.set_result(None)

    def note_success(self, address: str, name: str) -> None:
        """Forget the attempts of a name from an address.

        From now on the address is preferred, unless it floods.
        """
        self._buckets.pop(f"name {name}\0{address}", None)
        self._known[address] = None

    def _count(self, key: str, rates: tuple[Rate, ...]) -> int:
        bucket = self._buckets.get(key) or InMemoryBucket(list(rates))
        self._buckets[key] = bucket
        item = RateItem("attempt", self._clock.now())
        bucket.leak(item.timestamp)
        if bucket.put(item):
            return 0
        milliseconds = bucket.waiting(item)
        return max(1, -(-milliseconds // 1000)) if isinstance(milliseconds, int) else BUSY_SECONDS
