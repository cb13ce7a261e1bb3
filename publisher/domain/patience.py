"""How long to wait, and for how long to go on."""

from dataclasses import dataclass
from datetime import datetime, timedelta

LAST_LOOK = timedelta(minutes=1)
"""How long the last look that is needed may be away, where the platform can be read."""

DEATH_SPREAD = timedelta(seconds=4)
"""What one death ended together is tried again one by one over this time, so that a killer dies the next time alone."""
MOST_SPREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """All waits of one platform.

    `request_timeout` bounds one whole call, `lease_timeout` the right to make it, `visibility_window` the time after
    which the platform has surely done and shown all it will. `first_check_after` is the first pause before reading in
    doubt. `review_alert` and `review_hold` bound a review; `blind_hold` bounds a doubt that cannot be read.
    `removal_most` is the longest pause before a removal that does not succeed is asked for again: it may go on for
    ever, and a day's calls are few. `platform_clock_tolerance` covers clocks that disagree.
    """

    request_timeout: timedelta = timedelta(seconds=20)
    lease_timeout: timedelta = timedelta(seconds=40)
    visibility_window: timedelta = timedelta(minutes=10)
    first_check_after: timedelta = timedelta(seconds=30)
    look_most: timedelta = timedelta(minutes=15)
    retry_first: timedelta = timedelta(seconds=5)
    retry_most: timedelta = timedelta(minutes=10)
    review_alert: timedelta = timedelta(minutes=30)
    review_hold: timedelta = timedelta(hours=2)
    blind_hold: timedelta = timedelta(hours=2)
    removal_most: timedelta = timedelta(hours=6)
    platform_clock_tolerance: timedelta = timedelta(minutes=2)

    @property
    def is_ordered(self) -> bool:
        """A call ends before its lease, a lease before the settle time: else one call could overtake another."""
        return self.request_timeout < self.lease_timeout < self.visibility_window


def next_try(patience: Patience, failures: int, now: datetime, jitter: float) -> datetime:
    """Give the instant of the next attempt: doubling waits with a cap; `jitter` in [0, 1) adds up to a quarter."""
    wait = min(patience.retry_first * 2.0 ** min(failures, 16), patience.retry_most)
    return now + wait * (1 + jitter / 4)


def after_death(now: datetime, deaths: int, jitter: float) -> datetime:
    """Return when what a dead worker had is tried again: spread by `jitter`, and more widely with each death."""
    return now + DEATH_SPREAD * min(deaths, MOST_SPREADS) * jitter


def next_removal(patience: Patience, tries: int, now: datetime, jitter: float) -> datetime:
    """Give the instant of the next try to take something down: waits grow fourfold, from seconds to hours."""
    wait = min(patience.retry_first * 4.0 ** min(tries, 16), patience.removal_most)
    return now + wait * (1 + jitter / 4)


def next_look(
    patience: Patience, looks: int, doubt_since: datetime, now: datetime, *, was_read: bool = False
) -> datetime:
    """Give the instant of the next read in doubt: doubling waits, never sleeping past the end of the settle time.

    After that, a list that could be read leaves one look to take: it comes soon, however often reads failed before.
    """
    wait = min(patience.first_check_after * 2.0 ** min(looks, 16), patience.look_most)
    settled_at = doubt_since + patience.visibility_window + timedelta(milliseconds=1)
    if now < settled_at:
        return min(now + wait, settled_at)
    return now + (min(wait, LAST_LOOK) if was_read else wait)


def next_poll(patience: Patience, looks: int, wanted: datetime, now: datetime) -> datetime:
    """Give the instant of the next read of a review: when the adapter wants it, or sooner by our own patience."""
    return min(wanted, now + min(patience.first_check_after * 2.0 ** min(looks, 16), patience.look_most))


def jitter_for(seed: int, count: int) -> float:
    """Spread retries without dice: the same delivery and try always wait the same."""
    return (seed * 2654435761 + count * 40503) % 1024 / 1024
