"""A post is sent however late it is, as long as it has not expired: better late than never.

Breaks I6 (F61, F63): after a downtime longer than `max_delay` the first call is made all the same, where the delivery
should end `expired` (too_late) with an alert.
"""

from publisher.store.plan import posts

_delivery_row = posts.delivery_row


def _never_too_late(*facts: object) -> dict[str, object]:
    return {**_delivery_row(*facts), "first_attempt_deadline": None}


def plant() -> None:
    posts.delivery_row = _never_too_late
