"""When a live post is worth another reading of its reach."""

from datetime import datetime, timedelta

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
READ_INTERVALS_BY_AGE = ((_DAY, 3 * _HOUR), (7 * _DAY, _DAY), (30 * _DAY, 7 * _DAY))
"""Up to which age a post is read how often: much happens on the first day, little after a week."""
MAX_METRICS_AGE = READ_INTERVALS_BY_AGE[-1][0]
"""A post that is older is not read any more."""


def needs_metrics(published_at: datetime, last_read_at: datetime | None, now: datetime, first_after: timedelta) -> bool:
    """Whether a post live since `live_at` should be read again; the first figures come `first_after` it went live."""
    age = now - published_at
    if last_read_at is None:
        return first_after <= age <= MAX_METRICS_AGE
    pace = next((pace for oldest, pace in READ_INTERVALS_BY_AGE if age <= oldest), None)
    return pace is not None and now - last_read_at >= pace
