"""When what a post needs is checked before it is due, and what a login's limits leave room for. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from publisher.domain.account import RateLimit
from publisher.domain.post import DeliveryId

PREFLIGHT_LEAD = timedelta(hours=24)
"""How long before a post is due what it needs is checked first."""
LAST_LEAD = timedelta(minutes=5)
"""How long before a post is due what it needs is checked last."""
CHECK_TOLERANCES = {
    PREFLIGHT_LEAD: timedelta(hours=6),
    timedelta(hours=1): timedelta(minutes=30),
    LAST_LEAD: timedelta(minutes=5),
}
"""The times before a post at which its login is checked, each with how much older the last proof that it works may be.

A check costs one of the few reads that some platforms allow a login in a day.
"""
RECHECK_INTERVALS = ((timedelta(hours=1), timedelta(minutes=5)), (PREFLIGHT_LEAD, timedelta(minutes=30)))
"""Pairs of the longest time to a login's next post, and how often the login is checked again while it does not work."""
CALL_CLEARANCE = timedelta(seconds=90)
"""Shortly before a post its login is not checked: a platform that hangs would keep the post waiting for its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginProof:
    """When a login was checked last, if that showed that it works, and when it published something last."""

    checked_at: datetime | None = None
    is_working: bool = False
    published_at: datetime | None = None


def needs_check(due_times: Sequence[datetime], proof: LoginProof, now: datetime) -> bool:
    """True if a login with posts due at these times, within PREFLIGHT_LEAD and at least one, should be checked now."""
    next_due_at = min(due_times)
    if next_due_at - now < CALL_CLEARANCE:
        return False
    if proof.checked_at is not None and not proof.is_working:
        interval = next(interval for lead, interval in RECHECK_INTERVALS if next_due_at - now <= lead)
        return now - proof.checked_at >= interval
    proved_at = max(filter(None, [proof.checked_at, proof.published_at]), default=None)
    return proved_at is None or any(
        due_at - lead <= now and proved_at < due_at - lead - tolerance
        for due_at in due_times
        for lead, tolerance in CHECK_TOLERANCES.items()
    )


def is_check_due(due_at: datetime, checked_at: datetime | None, now: datetime) -> bool:
    """True if one of the times before a post has come since something that it needs was checked last."""
    return checked_at is None or any(checked_at < due_at - lead <= now for lead in CHECK_TOLERANCES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCall:
    """A call that a delivery will need: when it is due, and until when it counts as in time."""

    delivery: DeliveryId
    due_at: datetime
    latest_at: datetime
    is_urgent: bool


def find_late_calls(calls: Iterable[ExpectedCall], sent: Sequence[datetime], limit: RateLimit) -> list[ExpectedCall]:
    """Return those of a login's expected calls for which its limits leave no room in time. `sent` is newest first."""
    made, late = list(sent), []
    for call in sorted(calls, key=lambda call: call.due_at):
        at = limit.next_allowed_at(made, call.due_at, is_urgent=call.is_urgent)
        if at > call.latest_at:
            late.append(call)
        else:
            made.insert(0, at)
    return late
