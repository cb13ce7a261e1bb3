"""Each instant of a repeating post goes out once its time has come, however many were missed.

Breaks I6 (F63): after an outage over two instants both go out, one right after the other, where only the newest may.
"""

from publisher.domain.post import ONCE_OCCURRENCE
from publisher.store.plan import posts

_delivery_row = posts.delivery_row


def _never_missed(*facts: object) -> dict[str, object]:
    row = _delivery_row(*facts)
    return row if row["occurrence"] == ONCE_OCCURRENCE else {**row, "first_attempt_deadline": None}


def plant() -> None:
    posts.delivery_row = _never_missed
