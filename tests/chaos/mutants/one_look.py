"""One look that does not show the post proves that there is none, however soon it comes.

Breaks I7 (F25, F51): a second attempt follows one look, before the platform's settle time is over. A post that shows
late stands there twice (I1).
"""

from collections.abc import Sequence

from publisher.domain.delivery import Attempt, Readback
from publisher.domain.results import NotFound
from publisher.store.deliveries import outbox


def _believes(looks: Sequence[Readback], attempt: Attempt, *, is_window_over: bool) -> bool:  # its face
    return any(look.attempt == attempt.number and isinstance(look.result, NotFound) for look in looks)


def plant() -> None:
    outbox.proves_absent = _believes
