"""How often anybody may try to sign in: counted in memory, before a password is hashed or the database is asked."""

from collections import OrderedDict
from dataclasses import dataclass, field

from pyrate_limiter import Duration, InMemoryBucket, MonotonicClock, Rate, RateItem

from publisher.domain.errors import SignInError

MAX_KEYS = 10_000
"""How many names and addresses are counted at once; the one that was quiet longest is forgotten first."""
RATES_OF_ADDRESS = (Rate(30, Duration.MINUTE),)
"""A whole office may share an address."""
RATES_OF_NAME = (Rate(5, Duration.MINUTE),)
"""Of one name from one address: nobody elsewhere can use it up."""
MAX_WAITING = 20
"""How many sign-ins may wait until their password is hashed, one at a time; further ones are to come again."""
BUSY_SECONDS = 5


@dataclass(slots=True)
class Limits:
    """Counts attempts of the last minute by key. `waiting` is the number of sign-ins being checked."""

    waiting: int = 0
    _buckets: OrderedDict[str, InMemoryBucket] = field(default_factory=OrderedDict)
    _clock: MonotonicClock = field(default_factory=MonotonicClock)

    def require_attempt(self, address: str, name: str) -> None:
        """Count an attempt. Raises SignInError, with the seconds until the next may be made, if it is one too many."""
        wait = BUSY_SECONDS if self.waiting >= MAX_WAITING else 0
        wait = wait or self._count(f"address {address}", RATES_OF_ADDRESS)
        if wait := wait or self._count(f"name {name}\0{address}", RATES_OF_NAME):
            raise SignInError("sign_in_delayed", seconds=str(wait))

    def forget_attempts(self, address: str, name: str) -> None:
        """Forget the attempts of a name from an address, once one was right."""
        self._buckets.pop(f"name {name}\0{address}", None)

    def _count(self, key: str, rates: tuple[Rate, ...]) -> int:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = InMemoryBucket(list(rates))
            while len(self._buckets) > MAX_KEYS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        item = RateItem("attempt", self._clock.now())
        bucket.leak(item.timestamp)
        if bucket.put(item):
            return 0
        milliseconds = bucket.waiting(item)
        return max(1, -(-milliseconds // 1000)) if isinstance(milliseconds, int) else BUSY_SECONDS
