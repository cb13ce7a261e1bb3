"""How often refused tokens are replaced. All processes that speak for a login share the count, in its notes.

A note holds no token, only the first letters of its hash: what several processes were refused is one refusal.
"""

import hashlib
import json
from datetime import datetime, timedelta

MAX_RENEWALS = 2
RENEWAL_WINDOW = timedelta(minutes=5)
"""More refused tokens than this in so short a time: someone else keeps ending ours."""
FORCED_RENEWAL_INTERVAL = timedelta(seconds=30)
"""Sooner after another WeChat forces nothing; for so long whoever forced one is waited for."""


def fingerprint_token(token: str) -> str:
    """Name a token by what does not tell it."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def record_refused(noted: str | None, mark: str, now: datetime) -> str:
    """Add a refused token to the note, unless there are too many; once, whoever else was refused it."""
    recent = _recent_refused(noted, now)
    return json.dumps(recent if _exceeds_renewal_limit(recent, mark) else {mark: now.timestamp(), **recent})


def is_contested(noted: str | None, mark: str, now: datetime) -> bool:
    """Whether so many other tokens were refused lately that another one is a person's matter."""
    return _exceeds_renewal_limit(_recent_refused(noted, now), mark)


def record_forced(noted: str | None, now: datetime) -> str:
    """Add a forced renewal to the note, unless it may not be made."""
    recent = _recent_forced(noted, now)
    is_free = not was_just_forced(noted, now) and not is_force_limit_reached(noted, now)
    return json.dumps([*recent, now.timestamp()] if is_free else recent)


def was_just_forced(noted: str | None, now: datetime) -> bool:
    """Whether a renewal was forced so shortly ago that it may still be under way."""
    return any(at > (now - FORCED_RENEWAL_INTERVAL).timestamp() for at in _recent_forced(noted, now))


def is_force_limit_reached(noted: str | None, now: datetime) -> bool:
    """Whether no further renewal may be forced for a while."""
    return len(_recent_forced(noted, now)) >= MAX_RENEWALS


def _exceeds_renewal_limit(recent: dict[str, float], mark: str) -> bool:
    return mark not in recent and len(recent) >= MAX_RENEWALS


def _recent_refused(noted: str | None, now: datetime) -> dict[str, float]:
    since = (now - RENEWAL_WINDOW).timestamp()
    return {mark: at for mark, at in json.loads(noted or "{}").items() if at > since}


def _recent_forced(noted: str | None, now: datetime) -> list[float]:
    since = (now - RENEWAL_WINDOW).timestamp()
    return [at for at in json.loads(noted or "[]") if at > since]
