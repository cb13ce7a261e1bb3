"""The kill campaign: daemons die while they publish, and every post must still go out once.

Platforms answer wrongly, the network cuts, disks fill, daemons sleep, and people change their
minds. Every choice follows from the seed. The checker judges the artefacts of the run. The campaign
itself asks whether each delivery that waits for a person does so for one of its faults. A campaign
with approvals ends with the restore of an older database.
"""

import contextlib
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random

import click

from publisher.domain.post import find_family
from tests.alerts.receivers import Webhook, serving
from tests.chaos.approvers import Approvers, enrol
from tests.chaos.artefacts import RESENDS, save
from tests.chaos.changes import CampaignChanges
from tests.chaos.checker.history import WrongClock
from tests.chaos.expectations import Duty, Expectations, Task
from tests.chaos.faults import blanks, crowds, excerpts, provocation, rules
from tests.chaos.findings import CampaignFinding, check, write
from tests.chaos.kill_plan import (
    AHEAD,
    AT_A_START,
    COMMON_POINTS,
    EVE_SECONDS,
    FIRST_START,
    POINTS,
    RELOAD_POINTS,
    REQUIRED_DELIVERIES,
    REQUIRED_KILLS,
    REQUIRED_POINTS,
    RETRACT_POINTS,
    STEP,
    Deck,
    Kill,
)
from tests.chaos.metrics import figures_of, record, report
from tests.chaos.operators import People
from tests.chaos.options import CampaignOptions, options_of
from tests.chaos.platforms import CampaignPlatforms, start_platforms
from tests.chaos.publisher_process import DaemonError, PublisherProcess
from tests.chaos.store_reader import (
    CALLED_SINCE,
    KNOWN,
    LATE,
    LEFT,
    NEXT,
    NOT_LIVE,
    OPEN,
    SITUATIONS,
    STATES,
)
from tests.chaos.workspace import (
    HIDING,
    MANY,
    NAMED,
    UNUSED_TEMPLATE,
    USED_TEMPLATE,
    CampaignWorkspace,
    design,
)
from tests.postgres_server import start_postgres

MOODS = ("accept", "accept", "accept", "error", "redirect", "hang", "drip", "cut")
"""How the channel of alerts answers during the life of a daemon."""
LARGE = 40
"""Number of kills that gives a campaign time for every failpoint."""
COMPLETE, COMPLETE_IF_BUSY = 100, 300
"""Number of kills until every failpoint must have struck. Lives are short under a large load."""
WAVES = 4
PER_WAVE = 10000
MOMENT = "at a random moment"
FREEZE, FULL, CLOCK = "(slept)", "(disk full)", "(clock wrong)"
ENOUGH = 30
"""Number of kills that gives a campaign time for sleeps, full disks and wrong clocks."""
GATHERS = 2.0
"""Seconds without a daemon, so that posts fall due."""
LIVES, HANGS = 3.0, 7.0
"""Seconds of work of such a daemon, and of one that hangs for a name.

By the second time all calls to that platform wait.
"""
QUIET, MOST_LEFT = 3.0, 2
"""So many seconds a daemon may send nothing, though it could on so many accounts."""
MOST_TOLD = 40
AFTERWORK = 45.0
LAST_LASTS = 1.2
"""Factor for the length of the last wave over the measured one.

Else its posts end before the kills do.
"""
FIRST_GUESS = 5.0
"""Seconds from one kill to the next, until they have been measured."""
RETRACTIONS = 2
"""Posts that are taken down for each failpoint of a retraction."""
MOST_MORE = 12
"""Extra kills for required failpoints that have not struck."""
TRIES = 3
"""Lives until one dies in a retraction.

The deliveries that the last one had leased are put off for a while.
"""
GLANCE = 1.0
SOON, LATER = 2.5, 25.0
"""Seconds for a daemon to start and claim, and longest wait for a sleep before an instant."""
ACCEPT_SECONDS = 60.0
PER_SECOND = 100
"""Deliveries that are planned in a second at least."""
SHORTEST = 5.0
"""Shortest spread of a wave's due times, in seconds."""
MISSED_AHEAD, MISSED_BY = 12.0, 3.0
"""Seconds before an instant of the minutely post for planning, and after it until it is missed."""
STILL, LONGEST_REST = 75.0, 420.0
"""Longest wait of a campaign without any change, and in total, in seconds.

The first limit does not apply while a look is still to come.
"""
MICRO = 1_000_000
PATIENCE, QUICK = 2.5, 1.4
"""Seconds of work until a failpoint counts as not reached.

The second value is for busy lives. It is late enough for the first look at deliveries in doubt.
"""
MOST_LATE = 500
"""Deliveries that may be late before a life is calm."""
BUSY = 40
"""Deliveries for each kill that make calm lives seldom needed."""


@dataclass(slots=True, kw_only=True)
class Campaign:
    """One run: its posts, its deaths and their results. Several publishers may share a database."""

    workspace: CampaignWorkspace
    publishers: Sequence[PublisherProcess]
    platforms: CampaignPlatforms
    dice: Random
    options: CampaignOptions
    waves: int
    receiver: Webhook | None = None
    """The channel of alerts, where people are notified."""
    wave_ends_at: float = 0.0
    wanted: dict[Duty, str] = field(default_factory=dict)
    reached: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    in_sending: int = 0
    calls_cut: int = 0
    spent: int = 0
    began_at: float = field(default_factory=time.monotonic)
    calm_since: float = 0.0
    outages: list[tuple[float, float]] = field(default_factory=list)
    people: People = field(init=False)
    changes: CampaignChanges = field(init=False)
    moods: Random = field(init=False)
    """Draws the answers of the alert channel only. With this a seed keeps its campaign."""
    approvers: Approvers = field(init=False)
    deck: Deck = field(init=False)
    dealing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.people = People(self, Random(self.dice.getrandbits(32)))  # noqa: S311 # repeatable
        self.changes = CampaignChanges(self, Random(f"changes of {self.options.seed}"))  # noqa: S311 # same
        self.approvers = Approvers(self.publisher)
        self.moods = Random(f"moods of {self.options.seed}")  # noqa: S311 # same
        points = tuple(self.options.at) or tuple(COMMON_POINTS)
        is_busy, is_brief = _is_busy(self.options), self.kills < LARGE
        self.deck = Deck(
            self.dice,
            is_brief,
            is_busy,
            is_plain=not self.is_rough,
            workers=len(self.publishers),
            is_shared=self.options.database != "sqlite",
            points=points,
            next_sleep=self.options.seed * STEP,
            required=tuple(COMMON_POINTS) if self.is_complete else (),
        )

    @property
    def publisher(self) -> PublisherProcess:
        return self.publishers[0]

    @property
    def clocks(self) -> Sequence[WrongClock]:
        """Return the times with a wrong clock of the hosts."""
        return [one for publisher in self.publishers for one in publisher.clocks]

    @property
    def kills(self) -> int:
        return self.options.kills

    @property
    def is_complete(self) -> bool:
        """Whether a daemon must have died at each of the required failpoints."""
        return is_complete(self.options)

    @property
    def has_changes(self) -> bool:
        """Whether people change files under the daemons."""
        return self.is_complete and self.is_rough

    @property
    def is_rough(self) -> bool:
        """True if everything may go wrong, not only a named failpoint and lost replies."""
        return not self.options.at and not self.options.plain

    @property
    def untouchable(self) -> set[str]:
        """Posts that people leave alone, because other actions depend on them."""
        follows = {
            name
            for entry in self.workspace.entries
            if entry.follows
            for name in (entry.id, entry.follows)
        }
        return follows | {
            entry.id for entry in self.workspace.entries if entry.withdrawn
        }

    def run(self) -> None:
        with (
            self.approvers.acting()
            if self.options.approvals
            else contextlib.nullcontext()
        ):
            self._run_waves()

    def _run_waves(self) -> None:
        with contextlib.ExitStack() as stack:
            for wave in range(self.waves):
                self._run_wave(wave, stack)
        self._drain()

    def _run_wave(self, wave: int, stack: contextlib.ExitStack) -> None:
        """Publish a wave while daemons die.

        From the first wave on, people change files until the stack is closed.
        """
        self._write(wave, (self.kills - self.spent) // (self.waves - wave))
        self._open(wave)
        if self.is_rough and wave % self._waves_a_plan == 0:
            self.people.plan()
        if wave > 0:
            self._withdraw_and_retract(wave)
        if wave < len(AT_ONCE) and self.is_rough and self.kills >= ENOUGH:
            AT_ONCE[wave](self)
        # not before: with a broken template no warning can be rendered
        if wave == 0 and self.has_changes:
            stack.enter_context(self.changes.acting())
        with ThreadPoolExecutor(len(self.publishers)) as pool:
            deaths = [
                pool.submit(self._die_on, wave, publisher)
                for publisher in self.publishers
            ]
        for ended in deaths:
            ended.result()

    def _die_on(self, wave: int, publisher: PublisherProcess) -> None:
        """Let one publisher die, again and again, while the others do the same."""
        while self._may_die(wave) and self._has_work(wave):
            is_first = publisher is self.publisher
            if is_first and self.is_rough:
                self.people.clear_up()
            store = publisher.store
            is_behind = (
                store.count(LATE.format(now=round(time.time() * MICRO))) > MOST_LATE
            )
            with self.dealing:
                soon = round((time.time() + SOON) * MICRO)
                situations = [
                    name for (name,) in store.rows(SITUATIONS.format(until=soon))
                ]
                dealt = self.deck.deal(
                    may_act=is_first, is_behind=is_behind, situations=situations
                )
                kill = self._on_the_eve(dealt)
                self._provoke(kill)
            if is_first and self.is_rough and not kill.action:
                is_reached = self._kill_beside_people(kill)
            else:
                is_reached = self._kill(kill, publisher)
            with self.dealing:
                self.deck.note_end(kill, is_reached=is_reached)

    def _may_die(self, wave: int) -> bool:
        """True if the wave has kills left. The last one has some more for required failpoints."""
        more = MOST_MORE if wave == self.waves - 1 and self.deck.owes else 0
        return self.spent < self.kills * (wave + 1) // self.waves + more

    def _provoke(self, kill: Kill) -> None:
        """Let a platform cause the failpoint soon, where ordinary work seldom passes it."""
        if self.is_complete and kill.deed == "kill" and kill.point:
            self.platforms.add_rules(provocation(kill.point))

    def _on_the_eve(self, kill: Kill) -> Kill:
        """Let a sleep on the eve of a due time begin before the next such post, or else anywhere.

        A daemon that only has to outlive such an instant dies a while after it.
        """
        if not kill.is_eve:
            return kill
        now = datetime.now(UTC)
        coming = [
            entry
            for entry in self.workspace.written
            if entry.id not in self.untouchable | self.people.touched
        ]
        dues = sorted(
            entry.due.replace(microsecond=0)
            for entry in coming
            if entry.due and (entry.tight or kill.action)
        )
        due = next(
            (due for due in dues if SOON < (due - now).total_seconds() < LATER), None
        )
        if due is None:
            return replace(kill, action="")
        if kill.deed == "kill":
            return replace(kill, after=(due - now).total_seconds() + kill.lasts)
        return replace(kill, asleep_at=due.timestamp() - EVE_SECONDS)

    def _kill_beside_people(self, kill: Kill) -> bool:
        """Let somebody act while the daemon lives and dies."""
        with ThreadPoolExecutor(1) as pool:
            acting = pool.submit(self.people.act)
            is_reached = self._kill(kill)
        acting.result()
        return is_reached

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began_at

    @property
    def task(self) -> Task:
        return Task(
            wanted=self.wanted,
            identities={
                account.id: account.identity
                for account in self.workspace.accounts.values()
            },
            follows={
                entry.id: entry.follows
                for entry in self.workspace.entries
                if entry.follows
            },
            edited=frozenset(self.people.edited),
            only_once=frozenset(
                one.id
                for one in self.workspace.accounts.values()
                if RESENDS[one.platform] is not True
            ),
            mass_sent=frozenset(self.workspace.mass_sent()),
            cut_beside_others=self.in_sending if len(self.publishers) > 1 else 0,
            hiding=frozenset(
                one.id
                for one in self.workspace.accounts.values()
                if one.platform == HIDING
            ),
        )

    def _write(self, wave: int, share: int) -> None:
        """Put a wave of posts into the schedule, due while so many kills last."""
        pace = self.seconds / self.spent if self.spent else FIRST_GUESS
        spread = pace * share * (LAST_LASTS if wave == self.waves - 1 else 1)
        if self.options.seconds:
            spread = max(SHORTEST, min(spread, self._ends_after(wave) - self.seconds))
        self.people.note_finished()
        self.workspace.write_wave(wave, timedelta(seconds=spread), self.dice)
        self.wave_ends_at = time.monotonic() + spread
        for entry in self.workspace.written:
            for account in entry.accounts:
                self.wanted.setdefault(
                    (entry.id_for(self.workspace.accounts[account]), account),
                    "published|expired" if entry.may_expire else "published",
                )

    def _has_work(self, wave: int) -> bool:
        """True if posts of the wave still fall due. The last wave gets more time for kills."""
        if self.options.seconds and self.seconds > self._ends_after(wave):
            return False
        return time.monotonic() < self.wave_ends_at + (
            AFTERWORK if wave == self.waves - 1 else 0
        )

    def _ends_after(self, wave: int) -> float:
        return self.options.seconds * (wave + 1) / self.waves

    def _open(self, wave: int) -> None:
        """Die while a new version of the schedule is read, then let it be read."""
        patience = ACCEPT_SECONDS + self.options.deliveries / self.waves / PER_SECOND
        if wave == 0 and self.kills >= LARGE:
            self._kill(Kill(point=FIRST_START), patience=patience)
        if wave == 0 and self.options.approvals:
            enrol(self.publisher)
        for point in self.dice.sample(
            RELOAD_POINTS, len(RELOAD_POINTS) if self._is_thorough(wave) else 1
        ):
            self._put_off()
            self._kill(Kill(point=point), patience=patience)
        for _ in range(TRIES):
            if not self._put_off() or self.publisher.file(patience, self.dice.random()):
                return
            # on this host, instants are over before a daemon has read of them
            self.workspace.ahead *= 2
        raise DaemonError("the schedule was refused each time")

    def _put_off(self) -> bool:
        """Put off posts that would soon be missed. Return True if any post is not planned yet."""
        rows = self.publisher.store.rows(KNOWN)
        known = {find_family(post) for (post,) in rows}
        self.workspace.put_off(known)
        return any(entry.id not in known for entry in self.workspace.written)

    def _is_thorough(self, wave: int) -> bool:
        has_time = self.options.deliveries < MANY and (
            self.kills >= COMPLETE or not self.is_complete
        )
        return self.kills >= LARGE and (wave == 0 or has_time)

    def _withdraw_and_retract(self, wave: int) -> None:
        """Withdraw a post that is not due yet, and retract some live ones, with deaths in between.

        A failpoint without a death during a retraction gets another wave.
        """
        if wave == 1:
            for entry in (entry for entry in self.workspace.written if entry.withdrawn):
                self.publisher.withdraw(entry.id)
                self.wanted.update(
                    {(entry.id, account): "cancelled" for account in entry.accounts}
                )
            points = self.dice.sample(RETRACT_POINTS, self._few(len(RETRACT_POINTS)))
        else:
            points = [
                point
                for point in RETRACT_POINTS
                if self.is_complete and not self.reached[point]
            ]
        live = self.people.live() if points else []
        chosen = self.dice.sample(live, min(len(points) * RETRACTIONS, len(live)))
        for number, point in enumerate(points):
            mine = chosen[number :: len(points)]
            for post, account in mine:
                self.publisher.retract(post, account)
                self.wanted[post, account] = "retracted"
                self.people.touched.add(post)
            any(self._kill(Kill(point=point)) for _ in range(TRIES if mine else 0))

    def _start_in_trouble(self) -> None:
        """Let a daemon start on a host that hangs for a name, and with a broken template.

        Planned posts must go out.
        """
        self._send_by(Kill(deed="name", after=HANGS), besides=NAMED)
        templates = (UNUSED_TEMPLATE, USED_TEMPLATE)
        for name in (
            templates if self.kills >= LARGE else (templates[self.options.seed % 2],)
        ):
            self._send_by(Kill(deed="template", after=LIVES, broken=name))

    def _start_wrongly(self) -> None:
        """Let a second daemon start beside the first.

        On a server, one with a wrong clock starts, and then one with a right clock.
        """
        if self.options.database == "sqlite":
            self._send_by(Kill(deed="second", after=LIVES))
        else:
            self.publisher.fail_by_clock(self.dice.choice(AHEAD))
            self._send_by(Kill(after=LIVES))

    def _start_by_mistake(self) -> None:
        """Let daemons start that must be refused.

        One is in a copy of the workspace, and one has another id for an account.
        """
        if not self.has_changes:
            return
        if self.options.database == "sqlite":
            self._send_by(Kill(deed="copy", after=LIVES))
        with self.workspace.lock:
            renamed = self.workspace.repeating_accounts[0]
            self.workspace.write_settings(renamed)
            try:
                self.publisher.fail_by_settings(renamed)
            finally:
                self.workspace.write_settings()

    def _send_by(self, kill: Kill, besides: str = "nobody") -> None:
        """Let a daemon live. It must send to platforms other than `besides` until its end.

        This holds as long as posts are due there. The daemon lives longer while the host is slow.
        """
        self.people.clear_up()
        time.sleep(GATHERS)  # posts fall due
        self._kill(replace(kill, after=kill.after * self.publisher.slowness))
        ended, store = time.time(), self.publisher.store
        left = store.rows(
            LEFT.format(until=round((ended - QUIET / 2) * MICRO), besides=besides)
        )
        called = store.count(
            CALLED_SINCE.format(since=round((ended - QUIET) * MICRO), besides=besides)
        )
        if len(left) >= MOST_LEFT and not called:
            what = AT_A_START.get(kill.deed, "after a wrong clock")
            raise DaemonError(
                f"{what}: nothing was sent for {QUIET:.0f} s, "
                f"though {len(left)} accounts had something due"
            )

    @property
    def _waves_a_plan(self) -> int:
        """Number of waves between two plans of people. More plans would hold up the deaths."""
        return self.waves // WAVES if self.kills >= LARGE else self.waves

    def _few(self, number: int) -> int:
        """A small campaign has no time for more than one."""
        return number if self.kills >= LARGE else 1

    def _kill(
        self,
        kill: Kill,
        publisher: PublisherProcess | None = None,
        patience: float | None = None,
    ) -> bool:
        victim = publisher or self.publisher
        self._let_receiver(self.moods.choice(MOODS))
        act = (
            partial(self.people.act_while_asleep, kill.action) if kill.action else None
        )
        is_reached = victim.die(kill, patience, act)
        left = victim.in_sending()
        with self.dealing:
            self.spent += 1
            self.reached[_told_as(kill, is_reached=is_reached)] += 1
            self.in_sending += left
            self.calls_cut += bool(left)
        fate = "reached" if is_reached else "-"
        where = kill.switch or f"{kill.deed} {kill.after:.2f}s"
        reported = (
            f"{self.spent:4} {self.seconds:6.0f}s {victim.folder.name:12} "
            f"{where:32} {fate:8} {left} sending"
        )
        click.echo(reported, err=True)
        return is_reached

    def _let_receiver(self, answer: str) -> None:
        if self.receiver is not None:
            self.receiver.answer = answer

    def _miss_some(self) -> None:
        """Let no daemon run while a post falls due that repeats each minute, twice."""
        first = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(
            minutes=1
        )
        if (first - datetime.now(UTC)).total_seconds() < MISSED_AHEAD:
            first += timedelta(minutes=1)
        last = first + timedelta(minutes=1)
        self.workspace.minutes = first, last
        self.workspace.write()
        if not self.publisher.file(
            ACCEPT_SECONDS + self.options.deliveries / PER_SECOND, 0.0
        ):
            raise DaemonError("the schedule with what repeats each minute was refused")
        began = time.time()
        # posts fall due with nobody to send them
        time.sleep(max(0.0, last.timestamp() + MISSED_BY - began))
        ended = time.time()
        self.outages.append((began, ended))
        self.publisher.interruptions.append(
            {"at": began, "until": ended, "kind": "down"}
        )

    def _drain(self) -> None:
        """Let nothing go wrong any more, and a last daemon of each worker finish."""
        self.fired = self.platforms.fired()
        if self.options.missed or (
            self.is_rough and self.kills >= LARGE and not self.options.seconds
        ):
            self._miss_some()
        self.platforms.calm()
        self._let_receiver(MOODS[0])
        self.calm_since = time.time()
        self._put_off()
        with contextlib.ExitStack() as stack:
            for publisher in self.publishers:
                stack.enter_context(publisher.running())
            self._await_rest()

    def findings(self, expectations: Expectations) -> Iterator[CampaignFinding]:
        """Yield unexpected findings about deliveries, the daemons' logs and the deaths."""
        yield from expectations.findings(self.platforms.log(), self.publisher.status())
        for complaint in (
            complaint
            for publisher in self.publishers
            for complaint in publisher.complaints()
        ):
            yield CampaignFinding(
                by="campaign",
                invariant="LOG",
                what=f"the daemon logged an error: {complaint}",
            )
        if self.has_changes:
            yield from self.changes.findings()
        complete = COMPLETE_IF_BUSY if _is_busy(self.options) else COMPLETE
        is_whole = (
            self.kills >= complete and not self.options.at and not self.options.seconds
        )
        if is_whole or self.is_complete:
            required = POINTS if is_whole else REQUIRED_POINTS
            for point in (point for point in required if not self.reached[point]):
                yield CampaignFinding(
                    by="campaign", invariant="POINT", what=f"nobody died at {point}"
                )

    def _await_rest(self) -> None:
        """Wait until every duty is at rest, or nothing moves for long after the last due time."""
        before, moved_at = {}, time.monotonic() + self.workspace.seconds_until_last_due
        last_due, latest = moved_at, moved_at + LONGEST_REST
        while time.monotonic() < min(moved_at + STILL, latest):
            time.sleep(GLANCE)  # what is looked at are others' databases and logs
            self.people.clear_up()
            store = self.publisher.store
            now = dict(store.rows(STATES))
            if sum(now.values()) >= len(self.wanted) and _is_at_rest(
                store.rows(OPEN), set(store.rows(NOT_LIVE))
            ):
                return
            until_next = store.count(NEXT) / MICRO - time.time()
            # what waits for hours waits by a wrong clock
            if now != before or 0 < until_next < LONGEST_REST:
                until_next = until_next if 0 < until_next < LONGEST_REST else 0.0
                before, moved_at = now, max(time.monotonic() + until_next, last_due)
                latest = max(latest, moved_at)


AT_ONCE = (
    Campaign._start_in_trouble,
    Campaign._start_wrongly,
    Campaign._start_by_mistake,
)
"""The first action of each of the first waves."""


def _is_at_rest(
    unfinished: Iterable[tuple[str, str, str, str | None]],
    held: Collection[tuple[str, str]],
) -> bool:
    """Whether all that has not ended is waiting for a post that a person has to decide on first."""
    return all(
        state in {"pending", "due"}
        and follows is not None
        and (follows, account) in held
        for _post, account, state, follows in unfinished
    )


def _told_as(kill: Kill, *, is_reached: bool) -> str:
    """Return the name of a daemon's end.

    A daemon that did not fall asleep, or had no full disk, was only killed.
    """
    if kill.deed == "full" and is_reached:
        return FULL
    if kill.deed == "clock":
        return CLOCK
    if kill.deed in AT_A_START:
        return AT_A_START[kill.deed]
    if kill.deed == "freeze" and (is_reached or kill.point is None):
        return FREEZE
    return kill.point if kill.point and is_reached else MOMENT


def main() -> int:
    options = options_of(sys.argv[1:])
    if options.sweep:
        from tests.chaos.sweep import sweep  # noqa: PLC0415 # it starts campaigns of its own

        return sweep(options)
    folder = Path(tempfile.mkdtemp(prefix="publisher-chaos-"))
    try:
        with (
            _database(options.database, folder) as database,
            serving(Webhook()) as receiver,
        ):
            findings = _run(options, folder, database, receiver)
    except DaemonError as error:
        findings = [CampaignFinding(by="campaign", invariant="BROKEN", what=str(error))]
    if options.json:
        write(options.json, findings)
    for finding in findings[:MOST_TOLD]:
        click.echo(f"VIOLATION  {finding}")
    if findings and not options.expect_violation and not options.json:
        click.echo(f"evidence   {folder}")
    else:
        shutil.rmtree(folder)
    if options.expect_violation:
        return int(not any(finding.invariant == "I1" for finding in findings))
    return int(bool(findings))


@contextlib.contextmanager
def _database(kind: str, folder: Path) -> Iterator[str | None]:
    """Yield the URL of the campaign's own PostgreSQL.

    It is None where each worker has its own file.
    """
    if kind == "sqlite":
        yield None
        return
    server = start_postgres(folder / "postgres", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def is_complete(options: CampaignOptions) -> bool:
    """Return True if a campaign is large enough for each required failpoint and kind of change."""
    is_large = (
        options.kills >= REQUIRED_KILLS and options.deliveries >= REQUIRED_DELIVERIES
    )
    return is_large and not options.at and not options.seconds


def _is_busy(options: CampaignOptions) -> bool:
    return options.deliveries >= BUSY * max(1, options.kills)


def _waves(options: CampaignOptions) -> int:
    return max(WAVES, options.deliveries // PER_WAVE) if options.kills >= LARGE else 2


def _run(
    options: CampaignOptions, folder: Path, database: str | None, receiver: Webhook
) -> list[CampaignFinding]:
    """Run a campaign in a folder, print its figures, and return its findings."""
    dice = Random(options.seed)  # noqa: S311 # repeatable on purpose
    waves, is_rough = _waves(options), not options.at and not options.plain
    folders = [folder / f"worker-{number}" for number in range(1, options.workers + 1)]
    workspace = design(folders, options.deliveries, waves, dice, is_rough=is_rough)
    platforms = start_platforms(
        folder / "platforms", options.seed, options.network if is_rough else 0.0
    )
    try:
        troubles = [
            *rules(dice, options.lost, options.deliveries, lost_only=not is_rough)
        ]
        if is_rough:
            named = [
                (account.platform, account.identity)
                for account in workspace.accounts.values()
            ]
            troubles += [
                *blanks(dice, named, options.lost),
                *crowds(dice, named, options.lost),
            ]
            troubles += excerpts(dice, named, options.lost)
        if is_rough and is_complete(options):
            workspace.add_spares()
        accepts_repeats = is_rough and options.seed % 2 == 1
        platforms.furnish(
            workspace.accounts.values(), troubles, accepts_repeats=accepts_repeats
        )
        workspace.needs_approval, workspace.alerts_url = options.approvals, receiver.url
        workspace.prepare(platforms.base_url, database)
        patience = options.patience or (QUICK if _is_busy(options) else PATIENCE)
        publishers = [
            PublisherProcess(worker, database, options.bug, patience)
            for worker in workspace.folders
        ]
        campaign = Campaign(
            workspace=workspace,
            publishers=publishers,
            platforms=platforms,
            receiver=receiver,
            dice=dice,
            options=options,
            waves=waves,
        )
        campaign.run()
        lasted, expectations = campaign.seconds, Expectations(campaign.task)
        findings = [*campaign.findings(expectations)]
        artefacts = options.artefacts or folder / "artefacts"
        save(artefacts, campaign)
    finally:
        network = platforms.close()
    findings += check(artefacts, needs_approval=options.approvals)
    if options.approvals:
        # it is a campaign of its own
        from tests.chaos.restored import restore_unapproved  # noqa: PLC0415

        findings += restore_unapproved(folder / "restored", options.bug)
    figures = figures_of(
        options, campaign, expectations, findings, lasted=lasted, network=network
    )
    report(figures, campaign)
    if options.record and not findings:
        record(options.record, figures)
    return findings


if __name__ == "__main__":
    sys.exit(main())
