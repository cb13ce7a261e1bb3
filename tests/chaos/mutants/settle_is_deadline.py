"""Absence is shown once the call's own deadline has passed again, long before the platform's settle time.

Breaks I7 (F25, F39, F51): the last look that counts is earlier than the attempt's end plus the declared settle time.
With `act_late` or `list_late` longer than the deadline, but within the settle time, the post stands there twice (I1).
"""

from datetime import timedelta

from sqlalchemy import RowMapping

from publisher.domain.delivery import Delivery
from publisher.store.deliveries.outbox import Outbox


def _has_settled_soon(outbox: Outbox, delivery: Delivery, attempt: RowMapping, began: float) -> bool:
    world, deadline = outbox.runtime, outbox.store.timing(delivery.account).request_timeout
    began_at = world.now() - timedelta(seconds=world.monotonic() - began)
    return attempt["ended_at"] is not None and began_at > attempt["ended_at"] + deadline


def plant() -> None:
    Outbox.is_visibility_window_over = _has_settled_soon
