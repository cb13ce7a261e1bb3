"""To spare the platform's daily reads, a doubt is looked at once, when all has settled, and that look is believed.

Breaks I7 (section on absence: at least two complete looks): a second attempt follows an `unknown` one after a single
stored look. A list that is late once, cut or served from an old copy doubles the post.
"""

from datetime import datetime, timedelta

from publisher.domain import lifecycle, verification
from publisher.domain.account import Timing


def _when_settled(timing: Timing, _looks: int, unknown_since: datetime, now: datetime) -> datetime:
    settled_at = unknown_since + timing.visibility_window + timedelta(milliseconds=1)
    return settled_at if now < settled_at else now + timing.first_check_after


def plant() -> None:
    lifecycle.next_check_at = _when_settled
    verification.MIN_READBACKS = 1
