"""Limits of sign-in attempts, and their order, before a password hash or a database query.

Also a limit of what one user orders.
"""

import asyncio
import contextlib
import math
import time
from bisect import insort
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from publisher.domain.errors import SignInError
from publisher.runtime.bounded_dict import BoundedDict

MAX_KEYS = 10_000
"""How many names and addresses are counted at once. The one that was quiet longest is forgotten."""
WINDOW_SECONDS = 60.0
"""How long an attempt counts."""
MAX_ATTEMPTS_OF_ADDRESS = 30
"""A whole office may share an address."""
MAX_ATTEMPTS_OF_NAME = 5
"""Of one name from one address: nobody elsewhere can use it up."""
MAX_ACTIONS_OF_SESSION = 300
"""How many actions of a session a minute are carried out, checks of what is being typed included.

Each may leave an entry in the audit for good.
"""
MAX_ACTIONS_OF_USER = 3 * MAX_ACTIONS_OF_SESSION
"""More than one session has: the owner of a stolen session signs in again, and can act."""
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
    _attempts: BoundedDict[str, deque[float]] = field(
        default_factory=lambda: BoundedDict(MAX_KEYS)
    )
    """The instants of the admitted attempts by key, the oldest first."""
    _known: BoundedDict[str, None] = field(
        default_factory=lambda: BoundedDict(MAX_KEYS)
    )
    """Addresses with an earlier successful sign-in."""
    _monotonic: Callable[[], float] = time.monotonic

    def require_attempt(self, address: str, name: str) -> None:
        """Count an attempt. Raises SignInError, with the seconds to wait, if it is one too many."""
        wait = self._count(f"address {address}", MAX_ATTEMPTS_OF_ADDRESS)
        if wait := wait or self._count(f"name {name}\0{address}", MAX_ATTEMPTS_OF_NAME):
            raise SignInError("sign_in_delayed", seconds=str(wait))

    def count_actions(self, user: str, session: str, number: int, lane: str) -> int:
        """Count actions of a session and return 0, or return the seconds until the next may be.

        Each `lane` has its own numbers. No act, however large, counts for its user more than a
        session has.
        """
        number = min(number, MAX_ACTIONS_OF_SESSION)
        return self._count(
            f"session {session}{lane}", MAX_ACTIONS_OF_SESSION, number
        ) or self._count(f"user {user}\0{lane}", MAX_ACTIONS_OF_USER, number)

    @contextlib.asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait until a sign-in from an address may be checked, and block the others meanwhile.

        A flood waits for itself: each further attempt of an address comes after addresses with
        fewer attempts. Among equals the newest is first. Before all these come addresses with an
        earlier sign-in. Their preference lasts for at most MAX_KNOWN_ATTEMPTS attempts a minute.
        Raises SignInError if too many come before this one.
        """
        attempts = len(self._attempts.get(f"address {address}", ()))
        is_last = address not in self._known or attempts > MAX_KNOWN_ATTEMPTS
        mine = Turn(
            is_last,
            attempts,
            next(self._numbers),
            asyncio.get_running_loop().create_future(),
        )
        insort(self._waiting, mine)
        if len(self._waiting) > MAX_WAITING:
            last = self._waiting.pop()
            if not last.begins.done():
                last.begins.set_exception(
                    SignInError("sign_in_delayed", seconds=str(BUSY_SECONDS))
                )
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
            # else it was cancelled, and is about to end its turn
            if not self._current.begins.done():
                self._current.begins.set_result(None)

    def note_success(self, address: str, name: str) -> None:
        """Forget the attempts of a name from an address.

        From now on the address is preferred, unless it floods.
        """
        self._attempts.pop(f"name {name}\0{address}", None)
        self._known[address] = None

    def _count(self, key: str, most: int, number: int = 1) -> int:
        """Count attempts and return 0, or return the seconds until another one is admitted."""
        now = self._monotonic()
        attempts = self._attempts[key] = self._attempts.get(key, deque())
        while attempts and attempts[0] + WINDOW_SECONDS <= now:
            attempts.popleft()
        if len(attempts) >= most:
            return max(1, math.ceil(attempts[0] + WINDOW_SECONDS - now))
        attempts.extend([now] * number)
        return 0
