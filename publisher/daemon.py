"""APScheduler as a metronome: each beat calls one verb. The database plans; nothing is scheduled here but looking."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from sqlalchemy.exc import SQLAlchemyError
from watchfiles import awatch

from publisher.anchoring import Mooring, anchor
from publisher.clock_check import ClockCheck
from publisher.delivering import deliver_due
from publisher.domain.account import Mode
from publisher.domain.delivery import State
from publisher.domain.errors import InputError, PublisherError, RefusedError, ScheduleError
from publisher.domain.events import KEEPER
from publisher.domain.post import Schedule
from publisher.domain.problem import Problem
from publisher.domain.task import task_of
from publisher.keeping import heed, keep, settle_the_dead
from publisher.messages import Messages
from publisher.planning import plan_ahead, reload, schedule_in_force
from publisher.reconciling import reconcile_due
from publisher.retracting import retract_due
from publisher.schedule import SCHEDULE_LIMITS
from publisher.settings import Settings
from publisher.store.engine import OvertakenError
from publisher.store.home import may_plan
from publisher.store.retention import prune
from publisher.store.setup import occupy
from publisher.store.shortening import shorten_journal
from publisher.telemetry import log
from publisher.tomlfile import read_text
from publisher.watching import probe_due, watch_due
from publisher.wiring.application import Application, open_application, unreadable_secrets
from publisher.wiring.mooring import mooring_of
from publisher.wiring.permissions import refuse_loose_files
from publisher.world import World

AT_ONCE = 300
"""Calls in flight at most; a login never has more than one."""
READS_AT_ONCE = 500
"""Reads at most, together: those of one login wait for one another, and what asks the same is asked once."""
REMOVALS_AT_ONCE = 100
WATCHED_AT_ONCE = 10
"""Accounts whose live posts are read again together: never enough to hold up the ending of a doubt."""
GRACE = 25.0
"""Seconds that calls in flight are given to end after a stop is asked for."""
WORTH_WAITING = timedelta(minutes=1)
"""How long a single run waits for a login that rests between two posts."""
REST = timedelta(seconds=1)
"""How long a file must have lain still before it is read: a half-written one may be valid by accident."""
CLOCKS_APART = timedelta(seconds=10)
"""Hosts whose clocks differ more do not work together: each would end the other's leases, and doubts, too soon."""
CLOCK_SECONDS = 1.0
"""How often the beats are compared with the clock."""
WATCH_SECONDS = 60.0
"""After so long without a change watching counts as working, and is begun again."""
WATCH_PAUSE = 20.0
"""Seconds from one beginning to the next at least, so that watching that fails at once does not fill the log."""
UNSETTLED = (State.SENDING, State.SUBMITTED, State.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What tells one state of a file from the next."""

    changed_at: datetime
    size: int
    number: int


@dataclass(slots=True)
class Daemon:
    """One running daemon: its application, the schedule it plans from, and whether it has been asked to stop."""

    application: Application
    schedule_file: Path
    messages: Messages
    began_at: datetime
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    schedule: Schedule | None = None
    read_version: int | None = None
    has_read: bool = False
    is_displaced: bool = False
    read_mark: Mark | None = None
    first_mark: Mark | None = None
    has_waited: bool = False
    beats: set[asyncio.Task[None]] = field(default_factory=set)
    mooring: Mooring = field(init=False)
    clock_check: ClockCheck = field(init=False)

    def __post_init__(self) -> None:
        application = self.application
        self.mooring = mooring_of(application.settings)
        self.clock_check = ClockCheck(
            checkups=application.checkups, orders=application.orders, adapters=application.adapters
        )

    async def confirm_clock(self) -> None:
        """Have the clock confirmed if it is in doubt; then plan at once what has waited for that."""
        if await self.clock_check.confirm() and self.has_waited:
            self.has_waited = False
            await self.read_schedule()
            await self.plan()

    async def deliver(self) -> int:
        return await deliver_due(self.application.outbox, self.application.adapters, AT_ONCE, self.stopping)

    async def look(self) -> int:
        application = self.application
        return await reconcile_due(application.outbox, application.adapters, READS_AT_ONCE, self.stopping.is_set)

    async def retract(self) -> int:
        return await retract_due(self.application.outbox, self.application.adapters, REMOVALS_AT_ONCE)

    async def watch(self) -> None:
        if self.application.world.is_clock_confirmed():
            await watch_due(self.application.watches, self.application.adapters, WATCHED_AT_ONCE)

    async def probe(self) -> None:
        if self.application.world.is_clock_confirmed():
            await probe_due(self.application.checkups, self.application.adapters, WATCHED_AT_ONCE)

    async def keep(self) -> None:
        await heed(self.application.alarms)
        await keep(self.application.rounds)

    async def anchor(self) -> None:
        await anchor(self.application.audit, self.mooring)

    async def shorten(self) -> None:
        await shorten_journal(self.application.outbox.books)

    async def prune(self) -> None:
        kept_for = timedelta(days=self.application.settings.days_kept)
        pruned = await prune(self.application.outbox.books, kept_for)
        if pruned.deliveries or pruned.pictures:
            log.info("pruned", **asdict(pruned))

    async def sign(self) -> None:
        """Give a sign of life; stop where an older database was put in place under us, which a person must accept."""
        if not await self.application.orders.beat():
            self.is_displaced = True
            self.stopping.set()

    async def prepare(self) -> None:
        """Do before the first call what file and settings ask for; what time alone brings within reach may wait."""
        await self.read_schedule()
        if await self.application.registry.basis() != self.application.planner.basis:
            await self.plan()

    async def plan(self) -> None:
        """File what has come within reach, from the version of the schedule that is in force now."""
        if not await self._may_plan():
            return
        version = await self.application.registry.version()
        try:
            if version != self.read_version:
                self.schedule = None  # an old version must never be planned from once there is a newer one
                self.schedule = await schedule_in_force(self.application.planner, str(self.schedule_file))
                self.read_version = version
            if self.schedule is not None:
                await plan_ahead(self.application.planner, self.schedule, version)
                await self.application.registry.note_basis(self.application.planner.basis)
        except OvertakenError:  # another host has put a newer version in force, from which to plan
            await self.plan()
        except ScheduleError as error:  # the settings or templates have changed under the accepted schedule
            await self._refuse(error)

    async def _may_plan(self) -> bool:
        """Whether the clock is confirmed, and every host that is waited for has told what it has sent."""
        if not self.application.world.is_clock_confirmed():
            self.has_waited = True
            return False
        return await may_plan(self.application.registry.books.database)

    async def read_schedule(self) -> None:
        """Put the file in force if it has changed and is whole; else the last good version stays, and it is told."""
        mark = await asyncio.to_thread(_mark_of, self.schedule_file)
        if (self.has_read and mark == self.read_mark) or not await self._may_plan():
            return
        if mark is not None:
            world = self.application.world
            await world.sleep_until(min(mark.changed_at, world.now()) + REST)
            if await asyncio.to_thread(_mark_of, self.schedule_file) != mark or not await self._may_plan():
                return
        self.has_read, self.read_mark = True, mark
        self.first_mark = self.first_mark or mark
        try:
            await self._put_in_force()
        except BaseException as error:
            self.has_read = False  # what was in the way, such as a missing picture, may go without the file changing
            if not isinstance(error, (InputError, RefusedError)):
                raise
            await self._refuse(error)

    async def watch_file(self) -> None:
        """Read the schedule again when its file has changed, until it lies still for a while.

        Where watching fails, the beat still reads it.
        """
        watching = awatch(
            self.schedule_file.parent,
            recursive=False,
            stop_event=self.stopping,
            debounce=600,
            rust_timeout=int(WATCH_SECONDS * 1000),
            yield_on_timeout=True,
        )
        async with contextlib.aclosing(watching) as rounds:
            async for changes in rounds:
                if not changes:
                    return
                if any(Path(path).name == self.schedule_file.name for _change, path in changes):
                    await _safely(self, self.read_schedule)
                    await _safely(self, self.plan)

    async def _put_in_force(self) -> None:
        text = await asyncio.to_thread(read_text, self.schedule_file, SCHEDULE_LIMITS, ScheduleError)
        if text == await self.application.registry.schedule_text():
            await self.application.registry.confirm()
            return
        if self.read_mark == self.first_mark and await self.application.registry.is_superseded(text):
            raise RefusedError("schedule_superseded")
        filed = await reload(self.application.planner, text, str(self.schedule_file))
        log.info("schedule_accepted", filed=filed)

    async def show_templates(self) -> None:
        """Alert people to templates with a fault: what is filed goes out, what needs them anew is refused."""
        reason = self._words_of(self.application.planner.press.templates.problems)
        if reason:
            log.warning("templates_faulty", reason=reason)
        await self.application.alarms.show_templates(reason)

    def _words_of(self, problems: Sequence[Problem]) -> str:
        """Put problems into words, a line each; what concerns several instants of a post alike is said once."""
        return "\n".join(dict.fromkeys(map(self.messages.tell, problems)))

    async def _refuse(self, error: InputError | RefusedError) -> None:
        if isinstance(error, InputError):
            reason = self._words_of(error.problems)
        else:
            reason = self.messages.say(error.code, **error.facts)
        log.warning("reload_refused", reason=reason)
        await self.application.registry.refuse(reason)


class Pulse(BaseTrigger):  # type: ignore[misc] # the library has no types
    """A beat so many seconds after the last one; a clock that was set ahead lets none be made up for."""

    def __init__(self, first: float, seconds: float) -> None:
        self.pause = timedelta(seconds=seconds)
        self.longest = timedelta(seconds=max(first, seconds))

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        return now + self.pause


Beside = Callable[[Application], contextlib.AbstractAsyncContextManager[None]]


async def run(
    settings: Settings,
    world: World,
    *,
    once: bool = False,
    ready: Callable[[], None] | None = None,
    beside: Beside | None = None,
) -> int:
    """Run the daemon until it is asked to stop, or, with `once`, until all that is due now is settled.

    `beside` is what runs in the same process as long as the daemon does, unless that ends by itself.

    Returns 0, or with `once` 1 when something was held, failed or expired. Raises RefusedError where going on would
    be unsafe, SettingsError where settings are wrong.
    """
    refuse_loose_files(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(occupy(settings.database, settings.workspace).end)
        application = await stack.enter_async_context(open_application(settings, world, sends=True))
        daemon = Daemon(application, settings.workspace / "schedule.toml", Messages(settings.lang), world.now())
        stack.push_async_callback(daemon.clock_check.stop)
        _stop_on_signals(daemon)
        apart = await application.alarms.clock_apart()
        if abs(apart) > CLOCKS_APART:
            raise RefusedError("clock_apart", **await application.alarms.tell_clock_apart(apart))
        await daemon.clock_check.confirm()
        lapsed = await settle_the_dead(application.rounds)
        log.info("recovered", leases=lapsed)
        if not await application.orders.sign_on():
            raise RefusedError("database_put_back")
        by_hand = [order.account for order in await application.modes.ordered() if order.mode is not Mode.API]
        for account, error in unreadable_secrets(settings, by_hand).items():
            await application.orders.stop_account(account, KEEPER, error.code)
        await daemon.show_templates()
        await _prepare(daemon)
        _spare_the_collector()
        if ready is not None:
            ready()
        if once:
            trouble = await _run_once(daemon)
        else:
            async with beside(application) if beside else contextlib.nullcontext():
                trouble = await _run_on(daemon)
        if daemon.is_displaced:
            raise RefusedError("database_put_back")
        await _safely(daemon, daemon.anchor)
        await application.orders.leave()
        return trouble


async def _prepare(daemon: Daemon) -> None:
    """Prepare for the first call; where a mistake of ours prevents it, what is filed goes out all the same.

    The beats try again, and alert people. Raises what the database, a file or a refusal raises.
    """
    try:
        await daemon.prepare()
    except (PublisherError, SQLAlchemyError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 # new posts alone are concerned
        log.exception("prepare_failed", error=type(error).__name__)


def _spare_the_collector() -> None:
    """Set aside what start-up made for good: walking through it all would stop a burst of calls for 0.1 s."""
    gc.collect()
    gc.freeze()


async def _run_on(daemon: Daemon) -> int:
    scheduler = AsyncIOScheduler(timezone="UTC")
    beats = [
        (daemon.confirm_clock, 0.0, 1.0),
        (daemon.keep, 0.0, 1.0),
        (daemon.deliver, 0.1, 0.5),
        (daemon.look, 0.2, 1.0),
        (daemon.retract, 0.3, 1.0),
        (daemon.read_schedule, 20.0, 20.0),
        (daemon.plan, 2.0, 60.0),
        (daemon.sign, 5.0, 5.0),
        (daemon.probe, 5.0, 30.0),
        (daemon.watch, 30.0, 15.0),
        (daemon.anchor, 10.0, 300.0),
        (daemon.shorten, 120.0, 86400.0),
        (daemon.prune, 180.0, 86400.0),
    ]  # each verb, the seconds to its first beat, and those between two: what ripens is delivered right after
    now = datetime.now(UTC)
    for verb, first, seconds in beats:
        scheduler.add_job(
            _beat,
            Pulse(first, seconds),
            args=(daemon, verb),
            next_run_time=now + timedelta(seconds=first),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
    scheduler.start()
    clock = asyncio.create_task(_follow_clock(scheduler))
    watch = asyncio.create_task(_keep_watching(daemon))
    await daemon.stopping.wait()
    log.info("stopping")
    clock.cancel()
    scheduler.pause()  # to shut it down would cancel beats, even one that has only been asked for
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE):
            await asyncio.wait([watch])
            await asyncio.wait(daemon.beats or [watch])
    return 0


async def _follow_clock(scheduler: AsyncIOScheduler) -> None:
    """Let beats that a clock set back has moved far into the future come at once."""
    while True:
        await asyncio.sleep(CLOCK_SECONDS)
        now = datetime.now(UTC)
        for job in scheduler.get_jobs():
            if job.next_run_time > now + job.trigger.longest:
                job.modify(next_run_time=now)


async def _beat(daemon: Daemon, verb: Callable[[], Awaitable[int | None]]) -> None:
    """Run one verb; what goes wrong is logged, and tried again at the next beat."""
    task = asyncio.create_task(_safely(daemon, verb))
    daemon.beats.add(task)
    task.add_done_callback(daemon.beats.discard)
    with contextlib.suppress(asyncio.CancelledError):  # when the loop is closed, if it has outlasted the grace
        await task


async def _safely(daemon: Daemon, verb: Callable[[], Awaitable[int | None]]) -> None:
    """Run one verb; a failed one must not end the daemon, and people are alerted to one that fails every time."""
    await daemon.application.alarms.jobs.run(verb.__name__, verb(), event="beat_failed")


async def _keep_watching(daemon: Daemon) -> None:
    """Watch the schedule's file until the daemon stops: whenever that has ended or failed, it is begun again."""
    while not daemon.stopping.is_set():
        again_at = asyncio.get_running_loop().time() + WATCH_PAUSE
        await _safely(daemon, daemon.watch_file)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(again_at):
                await daemon.stopping.wait()


async def _run_once(daemon: Daemon) -> int:
    """Do all that is due now, then follow it until nothing is in doubt."""
    await daemon.plan()
    while not daemon.stopping.is_set():
        for verb in (daemon.confirm_clock, daemon.sign, daemon.look, daemon.retract, daemon.keep, daemon.deliver):
            with contextlib.suppress(
                ExceptionGroup
            ):  # single deliveries failed, which is logged: time ends their doubt
                await verb()
        if await _is_settled(daemon):
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(daemon.stopping.wait(), timeout=0.5)
    alerts = await daemon.application.board.alerts()
    return int(any(alert.at >= daemon.began_at and alert.code != "task_waiting" for alert in alerts))


async def _is_settled(daemon: Daemon) -> bool:
    """Whether nothing is in doubt but what people have in hand, and nothing due may go within the next minute.

    A clock in doubt lets nobody say, until people are alerted that it stays so.
    """
    if not daemon.application.world.is_clock_confirmed():
        return daemon.application.alarms.has_clock_alert
    if any(not task_of(item.ticket) for item in await daemon.application.board.deliveries(states=UNSETTLED)):
        return False
    next_at = await daemon.application.outbox.next_move()
    return next_at is None or next_at > daemon.application.world.now() + WORTH_WAITING


def _mark_of(file: Path) -> Mark | None:
    try:
        found = file.stat()
    except OSError:
        return None
    changed_at = datetime.fromtimestamp(found.st_mtime, UTC)
    return Mark(changed_at=changed_at, size=found.st_size, number=found.st_ino)


def _stop_on_signals(daemon: Daemon) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stopping.set)
