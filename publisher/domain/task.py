"""A task: a delivery in a person's hands, to be posted by hand. Its ticket says so, and keeps what was reported."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from publisher.domain.delivery import UNWANTED, Delivery
from publisher.domain.outcome import HoldReason, Ticket
from publisher.domain.patience import Patience

LOOK_EVERY = timedelta(hours=1)
"""How often the account is read for a task that nobody has reported done: it may have been done all the same."""
LAST_CALL = timedelta(minutes=30)
"""How long before its expiry a task is called to mind for the last time, or a sixth of its time where that is less."""
_MARK = "task:"


class Reminder(StrEnum):
    """Why people are told of an open task again; each is the code of its alert."""

    HALF_TIME = "task_half_time"
    LAST_CALL = "task_last_call"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is known of a task. `url`, `by` and `done_at` are a person's report, which proves nothing by itself."""

    handed_at: datetime
    url: str | None = None
    by: str | None = None
    done_at: datetime | None = None

    @property
    def ticket(self) -> Ticket:
        facts = {
            "handed_at": self.handed_at.isoformat(),
            "url": self.url,
            "by": self.by,
            "done_at": self.done_at.isoformat() if self.done_at else None,
        }
        return Ticket(number=_MARK + json.dumps(facts, ensure_ascii=False, separators=(",", ":")))

    def done(self, url: str, by: str, at: datetime) -> "Task":
        return replace(self, url=url, by=by, done_at=at)

    def is_overdue(self, patience: Patience, now: datetime) -> bool:
        """Whether it was reported done so long ago that it should have been seen."""
        return self.done_at is not None and now > self.done_at + patience.visibility_window

    def next_look(self, patience: Patience, now: datetime) -> datetime:
        """Give the instant of the next read: seldom while it is open, by doubling waits once it is reported done."""
        if self.done_at is None:
            return now + LOOK_EVERY
        wait = max(patience.first_check_after, min(now - self.done_at, patience.look_most))
        settled_at = self.done_at + patience.visibility_window + timedelta(milliseconds=1)
        return min(now + wait, settled_at) if now < settled_at else now + wait


def task_of(ticket: Ticket | None) -> Task | None:
    """Read a ticket that we gave to a person; None for a platform's."""
    if ticket is None or not ticket.number.startswith(_MARK):
        return None
    facts = json.loads(ticket.number.removeprefix(_MARK))
    return Task(
        handed_at=datetime.fromisoformat(facts["handed_at"]),
        url=facts["url"],
        by=facts["by"],
        done_at=datetime.fromisoformat(facts["done_at"]) if facts["done_at"] else None,
    )


def waits_of_tasks(patience: Patience) -> Patience:
    """Give the waits between two reads for a task: a person takes longer than a platform."""
    return replace(patience, first_check_after=LOOK_EVERY, look_most=LOOK_EVERY)


def reminder_due(task: Task, expires_at: datetime, now: datetime) -> Reminder | None:
    """Say of what people must be reminded by now; nothing once they have reported."""
    if task.done_at is not None or now >= expires_at:
        return None
    whole = expires_at - task.handed_at
    if now >= expires_at - min(LAST_CALL, whole / 6):
        return Reminder.LAST_CALL
    return Reminder.HALF_TIME if now >= task.handed_at + whole / 2 else None


def why_hold(task: Task, delivery: Delivery, patience: Patience, now: datetime) -> HoldReason | None:
    """Say why a task must be ruled on now: it is not wanted any more, its time is over, or its report proved wrong."""
    if task.done_at is not None:
        is_over = now >= max(delivery.expires_at, task.done_at + 2 * patience.visibility_window)
        return HoldReason.NOT_SEEN if is_over else None
    if delivery.desired in UNWANTED:
        return HoldReason.TASK_TAKEN_BACK
    return HoldReason.TASK_UNDONE if now >= delivery.expires_at else None
