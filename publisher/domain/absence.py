"""When several reads together prove that an attempt left no post."""

from collections.abc import Sequence

from publisher.domain.delivery import Attempt, Look
from publisher.domain.outcome import Missing, Unread

LOOKS_NEEDED = 2


def shows_absence(looks: Sequence[Look], attempt: Attempt, *, is_settled: bool) -> bool:
    """Return True if the looks, oldest first, prove that the attempt created nothing.

    All must hold: the attempt is over; at least two looks of this attempt were complete and reached back past the
    instant before the call; the newest is one of them and, as `is_settled` says, began after everything the platform
    may still do late has had its time; and no look showed anything else than absence or a failed read.
    """
    own = [look for look in looks if look.attempt == attempt.number]
    complete = [look for look in own if isinstance(look.finding, Missing) and look.finding.back_to <= attempt.since]
    return (
        attempt.ended_at is not None
        and is_settled
        and len(complete) >= LOOKS_NEEDED
        and complete[-1] is own[-1]
        and all(isinstance(look.finding, Missing | Unread) for look in own)
    )
