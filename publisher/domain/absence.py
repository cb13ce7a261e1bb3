"""When several reads together prove that an attempt left no post."""

from collections.abc import Sequence
from datetime import timedelta

from publisher.domain.delivery import Attempt, Look
from publisher.domain.outcome import Missing, Unread

LOOKS_NEEDED = 2


def shows_absence(looks: Sequence[Look], attempt: Attempt, settle: timedelta) -> bool:
    """Tell whether the looks prove that the attempt created nothing.

    All must hold: the attempt is over; at least two looks of this attempt were complete and reached back past the
    instant before the call; the last of them came after everything the platform may still do late has had its time;
    and no look showed anything else than absence or a failed read.
    """
    if attempt.ended_at is None:
        return False
    own = [look for look in looks if look.attempt == attempt.number]
    complete = [look for look in own if isinstance(look.finding, Missing) and look.finding.back_to <= attempt.since]
    return (
        len(complete) >= LOOKS_NEEDED
        and max(look.at for look in complete) > attempt.ended_at + settle
        and all(isinstance(look.finding, Missing | Unread) for look in own)
    )
