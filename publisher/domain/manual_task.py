"""A task: a delivery in a person's hands, to be posted by hand. Its ticket says so, and keeps what was reported."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from publisher.domain.delivery import DESIRED_NO_SEND, Delivery
from publisher.domain.results import HoldReason, Ticket
from publisher.domain.timing import Timing

MANUAL_CHECK_INTERVAL = timedelta(hours=1)
"""How often the account is read for a task that nobody has reported done: it may have been done all the same."""
MAX_LAST_REMINDER_LEAD = timedelta(minutes=30)
"""How long before its expiry a task is called to mind for the last time, or a sixth of its time where that is less."""
_TICKET_PREFIX = "task:"


class ReminderKind(StrEnum):
    """Why people are told of an open task again; each is the code of its alert."""

    HALF_TIME = "manual_task_half_time"
    LAST_CALL = "manual_task_expiring"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualTask:
    """What is known of a task. `url`, `by` and `done_at` are a person's report, which proves nothing by itself."""

    assigned_at: datetime
    url: str | None = None
    reported_by: str | None = None
    done_at: datetime | None = None

    @property
    def ticket(self) -> Ticket:
        facts = {
            "handed_at": self.assigned_at.isoformat(),
            "url": self.url,
            "by": self.reported_by,
            "done_at": self.done_at.isoformat() if self.done_at else None,
        }
        return Ticket(payload=_TICKET_PREFIX + json.dumps(facts, ensure_ascii=False, separators=(",", ":")))

    def with_report(self, url: str, by: str, at: datetime) -> "ManualTask":
        return replace(self, url=url, reported_by=by, done_at=at)

    def is_report_overdue(self, timing: Timing, now: datetime) -> bool:
        """Whether it was reported done so long ago that it should have been seen."""
        return self.done_at is not None and now > self.done_at + timing.visibility_window

    def next_check_at(self, timing: Timing, now: datetime) -> datetime:
        """Give the instant of the next read: seldom while it is open, by doubling waits once it is reported done."""
        if self.done_at is None:
            return now + MANUAL_CHECK_INTERVAL
        wait = max(timing.first_check_after, min(now - self.done_at, timing.max_check_delay))
        settled_at = self.done_at + timing.visibility_window + timedelta(milliseconds=1)
        return min(now + wait, settled_at) if now < settled_at else now + wait


def parse_manual_task(ticket: Ticket | None) -> ManualTask | None:
    """Read a ticket that we gave to a person; None for a platform's."""
    if ticket is None or not ticket.payload.startswith(_TICKET_PREFIX):
        return None
    facts = json.loads(ticket.payload.removeprefix(_TICKET_PREFIX))
    return ManualTask(
        assigned_at=datetime.fromisoformat(facts["handed_at"]),
        url=facts["url"],
        reported_by=facts["by"],
        done_at=datetime.fromisoformat(facts["done_at"]) if facts["done_at"] else None,
    )


def make_manual_timing(timing: Timing) -> Timing:
    """Give the waits between two reads for a task: a person takes longer than a platform."""
    return replace(timing, first_check_after=MANUAL_CHECK_INTERVAL, max_check_delay=MANUAL_CHECK_INTERVAL)


def due_reminder(task: ManualTask, expires_at: datetime, now: datetime) -> ReminderKind | None:
    """Say of what people must be reminded by now; nothing once they have reported."""
    if task.done_at is not None or now >= expires_at:
        return None
    whole = expires_at - task.assigned_at
    if now >= expires_at - min(MAX_LAST_REMINDER_LEAD, whole / 6):
        return ReminderKind.LAST_CALL
    return ReminderKind.HALF_TIME if now >= task.assigned_at + whole / 2 else None


def find_hold_reason(task: ManualTask, delivery: Delivery, timing: Timing, now: datetime) -> HoldReason | None:
    """Say why a task must be ruled on now: it is not wanted any more, its time is over, or its report proved wrong."""
    if task.done_at is not None:
        is_over = now >= max(delivery.expires_at, task.done_at + 2 * timing.visibility_window)
        return HoldReason.REPORT_NOT_CONFIRMED if is_over else None
    if delivery.desired in DESIRED_NO_SEND:
        return HoldReason.MANUAL_TASK_CANCELLED
    return HoldReason.MANUAL_TASK_OVERDUE if now >= delivery.expires_at else None
