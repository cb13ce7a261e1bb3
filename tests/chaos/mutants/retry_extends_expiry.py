"""A post that had to wait for reasons not its own gets as much longer to hold true.

Breaks I6 (F26, F44, F73): `_retry` moves `expires_at` behind the next try. Calls reach the platform after the `expires`
that staff wrote, and what should end `expired` is published late; the row itself looks consistent.
"""

from dataclasses import replace
from datetime import datetime

from publisher.domain import lifecycle
from publisher.domain.delivery import Delivery

_retry = lifecycle._retry


def _retry_with_more_time(
    delivery: Delivery, reason: str, until: datetime | None, moment: lifecycle.StepContext
) -> Delivery:
    after = _retry(delivery, reason, until, moment)
    if after.next_action_at is None:
        return after
    return replace(after, expires_at=max(after.expires_at, after.next_action_at + after.max_delay))


def plant() -> None:
    lifecycle._retry = _retry_with_more_time
