"""When the needs of a post are checked, and how much a login's limits leave. Pure.

The needs are checked before the post is due.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from publisher.domain.account import RateLimit
from publisher.domain.post import DeliveryId

PREFLIGHT_LEAD = timedelta(hours=24)
"""How long before a post is due its needs are checked first."""
LAST_LEAD = timedelta(minutes=5)
"""How long before a post is due its needs are checked last."""
CHECK_TOLERANCES = {
    PREFLIGHT_LEAD: timedelta(hours=6),
    timedelta(hours=1): timedelta(minutes=30),
    LAST_LEAD: timedelta(minutes=5),
}
"""The lead times before a post for checks of its login, each with an added age of proof.

The age is how much older the last proof that the login works may be. A check costs one of the few
daily reads that some platforms allow a login.
"""
RECHECK_INTERVALS = (
    (timedelta(hours=1), timedelta(minutes=5)),
    (PREFLIGHT_LEAD, timedelta(minutes=30)),
)
"""Pairs of the longest time to a login's next post and a recheck interval.

The login is checked again at this interval while it does not work.
"""
CALL_CLEARANCE = timedelta(seconds=90)
"""The time before a post without a check of its login.

A platform that hangs would keep the post waiting for its answer.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginProof:
    """The last check of a login, its result, and the login's last publication."""

    checked_at: datetime | None = None
    is_working: bool = False
    published_at: datetime | None = None


def needs_check(
    due_times: Sequence[datetime], proof: LoginProof, now: datetime
) -> bool:
    """True if a login with posts due at these times should be checked now.

    There is at least one, and all are within PREFLIGHT_LEAD.
    """
    next_due_at = min(due_times)
    if next_due_at - now < CALL_CLEARANCE:
        return False
    if proof.checked_at is not None and not proof.is_working:
        interval = next(
            interval
            for lead, interval in RECHECK_INTERVALS
            if next_due_at - now <= lead
        )
        return now - proof.checked_at >= interval
    proved_at = max(filter(None, [proof.checked_at, proof.published_at]), default=None)
    return proved_at is None or any(
        due_at - lead <= now and proved_at < due_at - lead - tolerance
        for due_at in due_times
        for lead, tolerance in CHECK_TOLERANCES.items()
    )


def is_check_due(due_at: datetime, checked_at: datetime | None, now: datetime) -> bool:
    """True if a check time before a post has come since the last check of something it needs."""
    return checked_at is None or any(
        checked_at < due_at - lead <= now for lead in CHECK_TOLERANCES
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCall:
    """A call that a delivery will need: when it is due, and until when it counts as in time."""

    delivery: DeliveryId
    due_at: datetime
    latest_at: datetime
    is_urgent: bool


def find_late_calls(
    calls: Iterable[ExpectedCall], sent: Sequence[datetime], limit: RateLimit
) -> list[ExpectedCall]:
    """Return a login's expected calls without room in its limits in time.

    `sent` is newest first.
    """
    made, late = list(sent), []
    for call in sorted(calls, key=lambda call: call.due_at):
        at = limit.next_allowed_at(made, call.due_at, is_urgent=call.is_urgent)
        if at > call.latest_at:
            late.append(call)
        else:
            made.insert(0, at)
    return late
