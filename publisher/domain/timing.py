"""How long to wait, and for how long to go on."""

from dataclasses import dataclass
from datetime import datetime, timedelta

MAX_FINAL_CHECK_DELAY = timedelta(minutes=1)
"""How long the last look that is needed may be away, where the platform can be read."""

CRASH_RETRY_SPREAD = timedelta(seconds=4)
"""What one death ended together is tried again one by one over this time, so that a killer dies the next time alone."""
MAX_CRASH_SPREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
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
    max_check_delay: timedelta = timedelta(minutes=15)
    retry_first: timedelta = timedelta(seconds=5)
    max_retry_delay: timedelta = timedelta(minutes=10)
    review_alert_after: timedelta = timedelta(minutes=30)
    review_hold_after: timedelta = timedelta(hours=2)
    unreadable_hold_after: timedelta = timedelta(hours=2)
    max_deletion_delay: timedelta = timedelta(hours=6)
    platform_clock_tolerance: timedelta = timedelta(minutes=2)

    @property
    def has_valid_order(self) -> bool:
        """A call ends before its lease, a lease before the settle time: else one call could overtake another."""
        return self.request_timeout < self.lease_timeout < self.visibility_window


def next_retry_at(timing: Timing, failures: int, now: datetime, jitter: float) -> datetime:
    """Give the instant of the next attempt: doubling waits with a cap; `jitter` in [0, 1) adds up to a quarter."""
    wait = min(timing.retry_first * 2.0 ** min(failures, 16), timing.max_retry_delay)
    return now + wait * (1 + jitter / 4)


def next_crash_retry_at(now: datetime, crashes: int, jitter: float) -> datetime:
    """Return when what a dead worker had is tried again: spread by `jitter`, and more widely with each death."""
    return now + CRASH_RETRY_SPREAD * min(crashes, MAX_CRASH_SPREADS) * jitter


def next_delete_at(timing: Timing, attempts: int, now: datetime, jitter: float) -> datetime:
    """Give the instant of the next try to take something down: waits grow fourfold, from seconds to hours."""
    wait = min(timing.retry_first * 4.0 ** min(attempts, 16), timing.max_deletion_delay)
    return now + wait * (1 + jitter / 4)


def next_check_at(
    timing: Timing, readbacks: int, unknown_since: datetime, now: datetime, *, was_read: bool = False
) -> datetime:
    """Give the instant of the next read in doubt: doubling waits, never sleeping past the end of the settle time.

    After that, a list that could be read leaves one look to take: it comes soon, however often reads failed before.
    """
    wait = min(timing.first_check_after * 2.0 ** min(readbacks, 16), timing.max_check_delay)
    settled_at = unknown_since + timing.visibility_window + timedelta(milliseconds=1)
    if now < settled_at:
        return min(now + wait, settled_at)
    return now + (min(wait, MAX_FINAL_CHECK_DELAY) if was_read else wait)


def next_poll_at(timing: Timing, readbacks: int, requested_at: datetime, now: datetime) -> datetime:
    """Give the instant of the next read of a review: when the adapter wants it, or sooner by our own patience."""
    return min(requested_at, now + min(timing.first_check_after * 2.0 ** min(readbacks, 16), timing.max_check_delay))


def compute_jitter(seed: int, count: int) -> float:
    """Spread retries without dice: the same delivery and try always wait the same."""
    return (seed * 2654435761 + count * 40503) % 1024 / 1024
