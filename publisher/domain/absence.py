"""When several reads together prove that an attempt left no post, or that a post is not live any more."""

from collections.abc import Callable, Sequence
from datetime import timedelta

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


def is_confirmed(looks: Sequence[Look], says_so: Callable[[Look], bool], apart: timedelta) -> bool:
    """Return True if the newest looks all say so, the first and the last of them further apart than `apart`.

    A single answer may be a stray one, of a copy of the platform's that lags or fails. Failed reads are passed over.
    """
    saying: list[Look] = []
    for look in reversed(looks):
        if isinstance(look.finding, Unread):
            continue
        if not says_so(look):
            break
        saying.append(look)
    return bool(saying) and saying[0].at - saying[-1].at > apart
