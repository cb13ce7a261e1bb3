"""To spare the platform's daily reads, a doubt is looked at once, when all has settled, and that look is believed.

Breaks I7 (section on absence: at least two complete looks): a second attempt follows an `unknown` one after a single
stored look. A list that is late once, cut or served from an old copy doubles the post.
"""

from datetime import datetime, timedelta

from publisher.domain import absence, lifecycle
from publisher.domain.patience import Patience


def _when_settled(patience: Patience, _looks: int, doubt_since: datetime, now: datetime) -> datetime:
    settled_at = doubt_since + patience.visibility_window + timedelta(milliseconds=1)
    return settled_at if now < settled_at else now + patience.first_check_after


def plant() -> None:
    lifecycle.next_look = _when_settled
    absence.LOOKS_NEEDED = 1
