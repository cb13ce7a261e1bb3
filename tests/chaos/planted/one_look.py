"""One look that does not show the post proves that there is none, however soon it comes.

Breaks I7 (F25, F51): a second attempt follows one look, before the platform's settle time is over. A post that shows
late stands there twice (I1).
"""

from collections.abc import Sequence

from publisher.domain.delivery import Attempt, Look
from publisher.domain.outcome import Missing
from publisher.store import outbox


def _believes(looks: Sequence[Look], attempt: Attempt, *, is_settled: bool) -> bool:  # its face
    return any(look.attempt == attempt.number and isinstance(look.finding, Missing) for look in looks)


def plant() -> None:
    outbox.shows_absence = _believes
