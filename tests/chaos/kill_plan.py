"""Where and when the daemon dies, all of it chosen by the seed."""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from random import Random

RELOAD_POINTS = ("reload.after_read", "plan.after_insert", "reload.before_commit")
RETRACT_POINTS = ("retract.before_call", "retract.after_call")
FIRST_START = "migrate.mid"
SENDING = {
    "claim.after_commit": 3,
    "token.after_refresh": 6,
    "media.after_upload": 3,
    "step.after_commit": 6,
    "intent.before_commit": 4,
    "intent.after_commit": 4,
    "journal.after_append": 4,
    "http.after_connect": 10,
    "http.mid_body": 10,
    "http.after_body": 10,
    "http.after_reply": 10,
}
READING = {
    "submitted.after_poll": 6,
    "reconcile.before_read": 6,
    "reconcile.after_read": 6,
    "reconcile.before_commit": 6,
}
RECORDING = {
    "outcome.before_commit": 10,
    "outcome.after_commit": 10,
    "audit.before_append": 40,
}
COMMON_POINTS = {**SENDING, **READING, **RECORDING}
"""The failpoints of ordinary work, and the latest passing for a strike in a usual campaign."""
REQUIRED_POINTS = (*COMMON_POINTS, *RETRACT_POINTS)
"""The failpoints of sending, reading, recording and retracting that must strike.

A campaign of REQUIRED_KILLS and REQUIRED_DELIVERIES or more must have killed a daemon at each of
them.
"""
REQUIRED_KILLS, REQUIRED_DELIVERIES = 40, 600
SITUATION = {
    "token.after_refresh": "wechat_due",
    "step.after_commit": "wechat_due",
    "submitted.after_poll": "submitted",
    **dict.fromkeys(READING.keys() - {"submitted.after_poll"}, "unknown"),
}
"""The situation that lets a daemon pass one of these. Others are passed wherever posts are due."""
POINTS = (FIRST_START, *RELOAD_POINTS, *COMMON_POINTS, *RETRACT_POINTS)
LONG = (2.8, 3.6)
"""Seconds: longer than a lease, and over before the visibility window ends."""
OVER = (2.9, 3.3)
"""Seconds: just longer than a lease. Others have ended it, and hardly ever looked for its call."""
DEEP = (10.0, 11.0)
"""Seconds: others have shown the absence of its call by then, and made another."""
SHORT = (1.0, 1.2)
EVE_SECONDS, ON_THE_EVE = 1.0, 2.7
"""Seconds before an instant until a daemon with claims for it falls asleep, and its sleep.

It wakes with its lease still its own. By then the shortest-lived posts have expired, and actions
have long been in force.
"""
AWAKE = 5.5
"""Seconds that a daemon without sleep outlives such an instant: time for another try.

The first try may be refused.
"""
AHEAD = (8 * 3600.0, 8 * 3600.0, 3 * 3600.0, -8 * 3600.0)
"""Seconds that a host's clock is ahead.

They are more than a campaign lasts, so that each instant shows its clock.
"""
WRONG_LASTS = (2.5, 5.0)
"""Seconds of a daemon's life under such a clock: time for looks that show an absence too soon."""
FULL = (0.8, 1.6)
"""Seconds without growth of any file."""
AT_A_START = {
    "name": "(name hangs)",
    "template": "(template broken)",
    "second": "(second daemon)",
    "copy": "(copy started)",
}
"""Actions at a start. Each must leave a daemon that sends."""
TROUBLES = {"kill": 0.82, "freeze": 0.12, "full": 0.04, "clock": 0.02}
TROUBLES_IF_BUSY = {"kill": 0.93, "freeze": 0.04, "full": 0.02, "clock": 0.01}
TROUBLES_IN_BRIEF = {"kill": 0.38, "freeze": 0.5, "full": 0.05, "clock": 0.07}
"""Events in a life before its end, with their shares. Very many lives need only small shares."""
MOMENT_SHARE = 0.2
UNAIMED_SHARE = 0.2
"""The share of lives that end in another way while required failpoints have not struck yet."""
SOONEST, LATEST, LATEST_IF_BUSY = 0.2, 2.5, 1.0
"""Seconds from the start of work to a kill without a failpoint."""
BRIEF = 0.3
"""How much earlier the passings come where there is little work."""
LATER_IF_BUSY, EACH_CALL = 20, ("http.", "outcome.", "audit.")
"""Factor that delays the passings of each call under a large load.

A life must do its share of the work first.
"""
CALM_AFTER, SELDOM_CALM = 0.6, 0.25
CALM = 4.0
"""Least seconds of a calm life after a failpoint: time to answer a proven absence.

That may be done once. Without it each post in doubt would be hit a second time, and then a person
has to decide. A campaign of many posts needs it seldom, as each life hits other posts. It does need
it, as most of its work is done then.
"""
CATCH_UP = 8.0
"""Seconds of a life while very much is late.

Posts still fall due, and all late ones are leased at the next death. Without calm a campaign falls
behind more and more.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One death: at the nth passing of a failpoint, or some seconds after the start of work.

    With the deed `freeze` the daemon falls asleep there for `lasts` seconds. With `full` no file
    may grow for so long. The daemon dies a while after that. With `clock` the host's clock is
    `ahead` by so many seconds all its life. With `name` the name server hangs for one platform's
    host, and with `template` the template `broken` has a fault. With `second` another daemon is
    started on its databases, and with `copy` one in a copy of its workspace.

    `action` is an action that somebody gives while it sleeps. `is_eve` means that it falls asleep
    shortly before a post is due, at the instant `asleep_at` by the clock, or that it outlives that
    instant.
    """

    point: str | None = None
    nth: int = 1
    after: float = 0.0
    deed: str = "kill"
    lasts: float = 0.0
    ahead: float = 0.0
    action: str = ""
    broken: str = ""
    is_eve: bool = False
    asleep_at: float = 0.0

    @property
    def switch(self) -> str:
        return f"{self.point}:{self.deed}@{self.nth}" if self.point else ""


Sleep = tuple[Kill, tuple[float, float]]
"""The action of a daemon, and the bounds of its sleep in seconds."""


def _sleep(
    lasts: tuple[float, float],
    point: str | None = None,
    action: str = "",
    *,
    is_eve: bool = False,
) -> Sleep:
    return Kill(point=point, deed="freeze", action=action, is_eve=is_eve), lasts


ANYWHERE = _sleep(LONG)
SLEEPS: Sequence[Sleep] = (
    ANYWHERE,
    _sleep(LONG, "claim.after_commit"),
    _sleep(LONG, "intent.before_commit"),
    _sleep(SHORT, "http.after_body", "retract_sending"),
    _sleep((ON_THE_EVE, ON_THE_EVE), action="retract_claimed", is_eve=True),
    _sleep((ON_THE_EVE, ON_THE_EVE), is_eve=True),
    _sleep((ON_THE_EVE, ON_THE_EVE), action="pause_all", is_eve=True),
    (Kill(is_eve=True), (AWAKE, AWAKE)),
    _sleep(LONG, "http.after_connect"),
    _sleep(LONG, "http.mid_body"),
    _sleep(DEEP, "intent.after_commit"),
    _sleep(DEEP, "journal.after_append"),
    _sleep(OVER, "http.after_reply"),
    _sleep(OVER, "http.after_body"),
    _sleep(LONG, "outcome.before_commit"),
    _sleep(LONG, "reconcile.before_commit"),
)
"""Sleeps of a daemon and their controls: place, duration and actions.

Each comes once before any comes again.
"""
TOGETHER = _sleep(OVER, "http.after_reply")
"""Every other sleep with several workers: with an answer not written down, the lease is lost."""
STEP = 3
"""Step between the first sleeps of two seeds. A few short campaigns in a row meet all of them."""


@dataclass(slots=True)
class Deck:
    """Deals deaths. A failpoint that was not reached is dealt again, at an earlier passing.

    `is_brief` is for a campaign of little work: its passings come earlier, and no life is calm.
    `is_busy` is for one of much work in each life: calm is seldom needed, but more often the more
    `workers` die beside one another. `next_sleep` is the place in SLEEPS of the sleep to be dealt
    next.
    """

    dice: Random
    is_brief: bool = False
    is_busy: bool = False
    is_plain: bool = False
    workers: int = 1
    is_shared: bool = False
    """True if the database is on a server. By its clock a daemon with a wrong one is refused."""
    points: Sequence[str] = tuple(COMMON_POINTS)
    next_sleep: int = 0
    required: Sequence[str] = ()
    """Failpoints that are dealt before all others, until each has struck once."""
    _owed: deque[str] = field(default_factory=deque)
    _missed: set[str] = field(default_factory=set)
    _struck: set[str] = field(default_factory=set)
    _last: Kill = field(default_factory=Kill)
    _round: deque[str] = field(default_factory=deque)
    _again: deque[Kill] = field(default_factory=deque)
    _sleeps: int = 0

    def __post_init__(self) -> None:
        owed = list(self.required)
        self.dice.shuffle(owed)
        self._owed.extend(sorted(owed, key=lambda point: point not in SITUATION))

    @property
    def owes(self) -> bool:
        """True if a required failpoint has not struck yet."""
        return bool(self._owed)

    def deal(
        self,
        *,
        may_act: bool = True,
        is_behind: bool = False,
        situations: Collection[str] = (),
    ) -> Kill:
        """Deal the next death. `situations` are the ones of SITUATION in the database now."""
        if is_behind:
            self._last = Kill(after=CATCH_UP)
        elif self._owed and self.dice.random() >= UNAIMED_SHARE:
            self._last = self._aim(situations)
        else:
            self._last = self._deal(may_act=may_act)
        return self._last

    def _aim(self, situations: Collection[str]) -> Kill:
        """Deal a required failpoint: the rarest that the situation allows."""
        point = next(
            (
                one
                for one in self._owed
                if SITUATION.get(one, one) in {one, *situations}
            ),
            self._owed[0],
        )
        self._owed.remove(point)
        is_rare = point in SITUATION or point in self._missed
        return Kill(
            point=point,
            nth=1
            if is_rare
            else self.dice.randint(1, ceil(COMMON_POINTS[point] * BRIEF)),
        )

    def _deal(self, *, may_act: bool) -> Kill:
        calm = SELDOM_CALM * self.workers if self.is_busy else CALM_AFTER
        if self._last.point and not self.is_brief and self.dice.random() < calm:
            return Kill(
                after=CALM
                + self.dice.uniform(SOONEST, LATEST_IF_BUSY if self.is_busy else LATEST)
            )
        if not self.is_plain and (trouble := self._trouble(may_act=may_act)):
            return trouble
        if self.dice.random() < MOMENT_SHARE:
            return Kill(
                after=self.dice.uniform(
                    SOONEST, LATEST_IF_BUSY if self.is_busy else LATEST
                )
            )
        if (
            self._again
            and self.dice.random() < 0.5
            and (may_act or not self._again[0].action)
        ):
            return self._again.popleft()
        if not self._round:
            points = list(self.points)
            self.dice.shuffle(points)
            self._round.extend(points)
        point = self._round.popleft()
        is_later = self.is_busy and point.startswith(EACH_CALL)
        factor = BRIEF if self.is_brief else LATER_IF_BUSY if is_later else 1
        return Kill(
            point=point, nth=self.dice.randint(1, ceil(COMMON_POINTS[point] * factor))
        )

    def _trouble(self, *, may_act: bool) -> Kill | None:
        """Deal another trouble than a plain death, now and then."""
        shares = (
            TROUBLES_IN_BRIEF
            if self.is_brief
            else TROUBLES_IF_BUSY
            if self.is_busy
            else TROUBLES
        )
        after = self.dice.uniform(SOONEST, LATEST_IF_BUSY if self.is_busy else LATEST)
        match self.dice.choices(list(shares), list(shares.values()))[0]:
            case "freeze":
                return self._sleep(after, may_act=may_act)
            case "full":
                return Kill(after=after, deed="full", lasts=self.dice.uniform(*FULL))
            case "clock" if not self.is_shared:
                return Kill(
                    after=self.dice.uniform(*WRONG_LASTS),
                    deed="clock",
                    ahead=self.dice.choice(AHEAD),
                )
            case _:
                return None

    def _sleep(self, after: float, *, may_act: bool) -> Kill:
        """Deal the next sleep. One with an action waits for a publisher that gets actions."""
        sleep, lasts = SLEEPS[self.next_sleep % len(SLEEPS)]
        self._sleeps += 1
        if self.workers > 1 and self._sleeps % 2 == 0:
            sleep, lasts = TOGETHER
        elif sleep.action and not may_act:
            sleep, lasts = ANYWHERE
        else:
            self.next_sleep += 1
        nth = (
            self.dice.randint(1, ceil(COMMON_POINTS[sleep.point] * BRIEF))
            if sleep.point
            else 1
        )
        return replace(sleep, nth=nth, after=after, lasts=self.dice.uniform(*lasts))

    def note_end(self, kill: Kill, *, is_reached: bool) -> None:
        """Remove a reached failpoint from the required ones, or deal a missed one again."""
        if is_reached:
            if kill.deed == "kill" and kill.point:
                self._struck.add(kill.point)
                self._owed = deque(point for point in self._owed if point != kill.point)
        elif kill.point in self.required and kill.point not in self._struck:
            self._missed.add(kill.point)
            if kill.point not in self._owed:
                self._owed.append(kill.point)
        elif kill.point in COMMON_POINTS:
            self._again.append(
                replace(kill, nth=kill.nth // 4 if self.is_busy and kill.nth > 4 else 1)
            )
