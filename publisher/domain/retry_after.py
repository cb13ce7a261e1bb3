"""How long a server asks to be left alone: HTTP's Retry-After."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER = timedelta(days=366)
MAX_COOLDOWN = timedelta(days=1)
"""A platform that asks for more is asked again after this."""
_MAX_DIGITS = 20


def parse_retry_after(header: str | None, now: datetime) -> datetime | None:
    """Read the header, seconds or a date, as an instant, a year ahead at most.

    None when it is absent, past or unreadable.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
        return now + min(timedelta(seconds=min(int(text), 10**9)), MAX_RETRY_AFTER) if int(text) else None
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(until, now + MAX_RETRY_AFTER) if until > now else None
