"""A post is sent however late it is, as long as it has not expired: better late than never.

Breaks I6 (F61, F63): after a downtime longer than `max_late` the first call is made all the same, where the delivery
should end `expired` (too_late) with an alert.
"""

from datetime import datetime

from publisher.domain.delivery import Delivery


def _never_too_late(_delivery: Delivery, _now: datetime) -> bool:
    return False


def plant() -> None:
    Delivery.is_too_late = _never_too_late
