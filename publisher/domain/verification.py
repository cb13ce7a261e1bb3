"""When several reads together prove that an attempt left no post, or that a post is not live any more."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from publisher.domain.delivery import Attempt, Readback
from publisher.domain.results import NotFound, ReadFailure

MIN_READBACKS = 2


def proves_absent(readbacks: Sequence[Readback], attempt: Attempt, *, is_window_over: bool) -> bool:
    """Return True if the looks, oldest first, prove that the attempt created nothing.

    All must hold: the attempt is over; at least two looks of this attempt were complete and reached back past the
    instant before the call; the newest is one of them and, as `is_settled` says, began after everything the platform
    may still do late has had its time; and no look showed anything else than absence or a failed read.
    """
    own = [look for look in readbacks if look.attempt == attempt.number]
    complete = [
        look for look in own if isinstance(look.result, NotFound) and look.result.covered_since <= attempt.baseline_at
    ]
    return (
        attempt.ended_at is not None
        and is_window_over
        and len(complete) >= MIN_READBACKS
        and complete[-1] is own[-1]
        and all(isinstance(look.result, NotFound | ReadFailure) for look in own)
    )


def is_confirmed(readbacks: Sequence[Readback], predicate: Callable[[Readback], bool], min_span: timedelta) -> bool:
    """Return True if the newest looks all say so, the first and the last of them further apart than `apart`.

    A single answer may be a stray one, of a copy of the platform's that lags or fails. Failed reads are passed over.
    """
    saying: list[Readback] = []
    for look in reversed(readbacks):
        if isinstance(look.result, ReadFailure):
            continue
        if not predicate(look):
            break
        saying.append(look)
    return bool(saying) and saying[0].at - saying[-1].at > min_span
