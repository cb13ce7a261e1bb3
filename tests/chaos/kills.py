"""Where and when the daemon dies, all of it chosen by the seed."""

from collections import deque
from dataclasses import dataclass, field, replace
from math import ceil
from random import Random

RELOAD_POINTS = ("reload.after_read", "plan.after_insert", "reload.before_commit")
RETRACT_POINTS = ("retract.before_call", "retract.after_call")
FIRST_START = "migrate.mid"
COMMON_POINTS = {
    "claim.after_commit": 6,
    "token.after_refresh": 12,
    "media.after_upload": 6,
    "step.after_commit": 12,
    "intent.before_commit": 8,
    "intent.after_commit": 8,
    "journal.after_append": 8,
    "http.after_connect": 20,
    "http.mid_body": 20,
    "http.after_body": 20,
    "http.after_reply": 20,
    "outcome.before_commit": 20,
    "outcome.after_commit": 20,
    "submitted.after_poll": 12,
    "reconcile.before_read": 12,
    "reconcile.after_read": 12,
    "reconcile.before_commit": 12,
    "audit.before_append": 80,
}
"""The failpoints that ordinary work passes, and the latest passing at which one may strike."""
POINTS = (FIRST_START, *RELOAD_POINTS, *COMMON_POINTS, *RETRACT_POINTS)
MOMENT_SHARE = 0.2
SOONEST, LATEST = 0.2, 3.0
"""Seconds after the start of work at which a kill without a failpoint strikes."""
BRIEF = 0.3
"""How much earlier the passings come where there is little work."""
CALM_SHARE = 0.3
CALM = 5.0
"""So long some lives last at least: time to answer a proven absence once. Without them each post in doubt would be hit
a second time, and then a person has to decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One death: at the nth passing of a failpoint, or so many seconds after the daemon has begun to work."""

    point: str | None = None
    nth: int = 1
    after: float = 0.0

    @property
    def switch(self) -> str:
        return f"{self.point}:kill@{self.nth}" if self.point else ""


@dataclass(slots=True)
class Deck:
    """Deals deaths. A failpoint that was not reached is dealt again, at an earlier passing.

    `is_brief` is for a campaign of little work: its passings come earlier, and no life is calm.
    """

    dice: Random
    is_brief: bool = False
    _round: deque[str] = field(default_factory=deque)
    _again: deque[Kill] = field(default_factory=deque)

    def deal(self) -> Kill:
        fate = self.dice.random()
        if fate < MOMENT_SHARE + (0.0 if self.is_brief else CALM_SHARE):
            calm = CALM if fate >= MOMENT_SHARE else 0.0
            return Kill(after=calm + self.dice.uniform(SOONEST, LATEST))
        if self._again and self.dice.random() < 0.5:
            return self._again.popleft()
        if not self._round:
            points = list(COMMON_POINTS)
            self.dice.shuffle(points)
            self._round.extend(points)
        point = self._round.popleft()
        return Kill(point=point, nth=self.dice.randint(1, ceil(COMMON_POINTS[point] * (BRIEF if self.is_brief else 1))))

    def put_back(self, kill: Kill) -> None:
        if kill.point in COMMON_POINTS:
            self._again.append(replace(kill, nth=max(1, kill.nth // 3)))
