"""How often a login may speak, and what is kept back for urgent posts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from math import ceil

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
BEIJING = timezone(timedelta(hours=8))


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationLimit:
    """How many posts that notify followers a platform takes from an account; None is no limit.

    Days and months are those of `zone`, the platform's own, wherever the workspace is.
    """

    per_day: int | None = None
    per_month: int | None = None
    zone: tzinfo = BEIJING


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """Calls that may create a post, per login: a gap between two, and most in any hour and any day.

    `reserve` is the share of both that only urgent posts may use. Windows slide, so that no fixed window of the
    platform's, wherever it starts, can hold more. A further floor belongs to its post: it counts in no window, and
    follows the login's last call after `floor_gap`, where that is shorter than the gap between two posts.
    """

    min_interval: timedelta
    per_hour: int
    per_day: int
    urgent_share: float = 0.2
    part_interval: timedelta | None = None

    def next_allowed_at(self, sent: Sequence[datetime], now: datetime, *, is_urgent: bool) -> datetime:
        """Give the earliest instant from `now` on at which one more call keeps every limit. `sent` is newest first."""
        allowed = now
        if sent:
            allowed = max(allowed, sent[0] + self.min_interval)
        for window, most in ((HOUR, self.per_hour), (DAY, self.per_day)):
            usable = most if is_urgent else most - self.reserved_for_urgent(most)
            if len(sent) >= usable:
                allowed = max(allowed, sent[usable - 1] + window)
        return allowed

    @property
    def effective_part_interval(self) -> timedelta:
        """How long a login rests between two floors of a post."""
        return self.min_interval if self.part_interval is None else min(self.min_interval, self.part_interval)

    @property
    def always_allowed_calls(self) -> int:
        """How many calls can never fill a window, whoever makes them."""
        return min(most - self.reserved_for_urgent(most) for most in (self.per_hour, self.per_day))

    def reserved_for_urgent(self, limit: int) -> int:
        """How many of `most` calls only urgent posts may use; at least one is always left for the others."""
        return min(ceil(limit * self.urgent_share), limit - 1)
