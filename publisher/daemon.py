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

from publisher.app.application import Application, find_unreadable_secrets, open_application
from publisher.app.permissions import require_safe_permissions
from publisher.config import Settings
from publisher.domain.account import Mode
from publisher.domain.delivery import State, parse_manual_task
from publisher.domain.errors import InputError, Problem, PublisherError, RefusedError, ScheduleError
from publisher.domain.events import MAINTENANCE
from publisher.domain.post import Schedule
from publisher.engine.checkpoints import CheckpointTargets, build_checkpoint_targets, write_checkpoint
from publisher.engine.clock_check import ClockCheck
from publisher.engine.maintenance import expire_own_leases, run_maintenance, update_system_alerts
from publisher.engine.monitor import check_logins_due, monitor_due
from publisher.engine.planner import active_schedule, apply_schedule, plan_window
from publisher.engine.reconciler import reconcile_due
from publisher.engine.retractor import retract_due
from publisher.engine.sender import send_due
from publisher.i18n import Messages
from publisher.runtime.clock import Runtime
from publisher.runtime.logs import log
from publisher.schedule import SCHEDULE_READ_LIMITS
from publisher.store.db.database import ConcurrentUpdateError
from publisher.store.deliveries.retention import prune
from publisher.store.recovery.identity import can_plan
from publisher.store.recovery.journal_compaction import compact_journal
from publisher.store.recovery.setup import lock_process
from publisher.tomlfile import read_text

MAX_SENDS = 300
"""Calls in flight at most; a login never has more than one."""
MAX_READBACKS = 500
"""Reads at most, together: those of one login wait for one another, and what asks the same is asked once."""
MAX_RETRACTIONS = 100
MAX_MONITORED_ACCOUNTS = 10
"""Accounts whose live posts are read again together: never enough to hold up the ending of a doubt."""
SHUTDOWN_TIMEOUT_SECONDS = 25.0
"""Seconds that calls in flight are given to end after a stop is asked for."""
ONCE_MAX_WAIT = timedelta(minutes=1)
"""How long a single run waits for a login that rests between two posts."""
FILE_QUIET_PERIOD = timedelta(seconds=1)
"""How long a file must have lain still before it is read: a half-written one may be valid by accident."""
MAX_CLOCK_SKEW = timedelta(seconds=10)
"""Hosts whose clocks differ more do not work together: each would end the other's leases, and doubts, too soon."""
JOB_TIME_CHECK_SECONDS = 1.0
"""How often the beats are compared with the clock."""
FILE_WATCH_TIMEOUT_SECONDS = 60.0
"""After so long without a change watching counts as working, and is begun again."""
FILE_WATCH_RETRY_SECONDS = 20.0
"""Seconds from one beginning to the next at least, so that watching that fails at once does not fill the log."""
UNSETTLED_STATES = (State.SENDING, State.SUBMITTED, State.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVersion:
    """What tells one state of a file from the next."""

    modified_at: datetime
    size: int
    inode: int


@dataclass(slots=True)
class Daemon:
    """One running daemon: its application, the schedule it plans from, and whether it has been asked to stop."""

    application: Application
    schedule_file: Path
    messages: Messages
    started_at: datetime
    stop_requested: asyncio.Event = field(default_factory=asyncio.Event)
    schedule: Schedule | None = None
    schedule_version: int | None = None
    has_read_file: bool = False
    is_database_replaced: bool = False
    read_file_version: FileVersion | None = None
    first_file_version: FileVersion | None = None
    has_waited_for_clock: bool = False
    running_jobs: set[asyncio.Task[None]] = field(default_factory=set)
    checkpoint_targets: CheckpointTargets = field(init=False)
    clock_check: ClockCheck = field(init=False)

    def __post_init__(self) -> None:
        application = self.application
        self.checkpoint_targets = build_checkpoint_targets(application.settings)
        self.clock_check = ClockCheck(
            login_health=application.login_health,
            operator_actions=application.operator_actions,
            adapters=application.adapters,
        )

    async def confirm_clock(self) -> None:
        """Have the clock confirmed if it is in doubt; then plan at once what has waited for that."""
        if await self.clock_check.confirm() and self.has_waited_for_clock:
            self.has_waited_for_clock = False
            await self.read_schedule()
            await self.plan()

    async def send(self) -> int:
        return await send_due(self.application.outbox, self.application.adapters, MAX_SENDS, self.stop_requested)

    async def reconcile(self) -> int:
        application = self.application
        return await reconcile_due(application.outbox, application.adapters, MAX_READBACKS, self.stop_requested.is_set)

    async def retract(self) -> int:
        return await retract_due(self.application.outbox, self.application.adapters, MAX_RETRACTIONS)

    async def monitor(self) -> None:
        if self.application.runtime.is_clock_confirmed():
            await monitor_due(self.application.monitoring, self.application.adapters, MAX_MONITORED_ACCOUNTS)

    async def check_logins(self) -> None:
        if self.application.runtime.is_clock_confirmed():
            await check_logins_due(self.application.login_health, self.application.adapters, MAX_MONITORED_ACCOUNTS)

    async def run_maintenance(self) -> None:
        await update_system_alerts(self.application.system_alerts)
        await run_maintenance(self.application.maintenance)

    async def write_checkpoint(self) -> None:
        await write_checkpoint(self.application.audit, self.checkpoint_targets)

    async def compact_journal(self) -> None:
        await compact_journal(self.application.outbox.store)

    async def prune(self) -> None:
        kept_for = timedelta(days=self.application.settings.days_kept)
        pruned = await prune(self.application.outbox.store, kept_for)
        if pruned.deliveries or pruned.pictures:
            log.info("pruned", **asdict(pruned))

    async def heartbeat(self) -> None:
        """Give a sign of life; stop where an older database was put in place under us, which a person must accept."""
        if not await self.application.operator_actions.heartbeat():
            self.is_database_replaced = True
            self.stop_requested.set()

    async def load_initial_schedule(self) -> None:
        """Do before the first call what file and settings ask for; what time alone brings within reach may wait."""
        await self.read_schedule()
        if await self.application.post_store.config_hash() != self.application.planner.config_hash:
            await self.plan()

    async def plan(self) -> None:
        """File what has come within reach, from the version of the schedule that is in force now."""
        if not await self._can_plan():
            return
        version = await self.application.post_store.schedule_version()
        try:
            if version != self.schedule_version:
                self.schedule = None  # an old version must never be planned from once there is a newer one
                self.schedule = await active_schedule(self.application.planner, str(self.schedule_file))
                self.schedule_version = version
            if self.schedule is not None:
                await plan_window(self.application.planner, self.schedule, version)
                await self.application.post_store.set_config_hash(self.application.planner.config_hash)
        except ConcurrentUpdateError:  # another host has put a newer version in force, from which to plan
            await self.plan()
        except ScheduleError as error:  # the settings or templates have changed under the accepted schedule
            await self._record_rejection(error)

    async def _can_plan(self) -> bool:
        """Whether the clock is confirmed, and every host that is waited for has told what it has sent."""
        if not self.application.runtime.is_clock_confirmed():
            self.has_waited_for_clock = True
            return False
        return await can_plan(self.application.post_store.store.database)

    async def read_schedule(self) -> None:
        """Put the file in force if it has changed and is whole; else the last good version stays, and it is told."""
        version = await asyncio.to_thread(_file_version, self.schedule_file)
        if (self.has_read_file and version == self.read_file_version) or not await self._can_plan():
            return
        if version is not None:
            runtime = self.application.runtime
            await runtime.sleep_until(min(version.modified_at, runtime.now()) + FILE_QUIET_PERIOD)
            if await asyncio.to_thread(_file_version, self.schedule_file) != version or not await self._can_plan():
                return
        self.has_read_file, self.read_file_version = True, version
        self.first_file_version = self.first_file_version or version
        try:
            await self._activate_schedule()
        except BaseException as error:
            self.has_read_file = (
                False  # what was in the way, such as a missing picture, may go without the file changing
            )
            if not isinstance(error, (InputError, RefusedError)):
                raise
            await self._record_rejection(error)

    async def watch_schedule_file(self) -> None:
        """Read the schedule again when its file has changed, until it lies still for a while.

        Where watching fails, the beat still reads it.
        """
        watching = awatch(
            self.schedule_file.parent,
            recursive=False,
            stop_event=self.stop_requested,
            debounce=600,
            rust_timeout=int(FILE_WATCH_TIMEOUT_SECONDS * 1000),
            yield_on_timeout=True,
        )
        async with contextlib.aclosing(watching) as batches:
            async for changes in batches:
                if not changes:
                    return
                if any(Path(path).name == self.schedule_file.name for _change, path in changes):
                    await _run_logging_errors(self, self.read_schedule)
                    await _run_logging_errors(self, self.plan)

    async def _activate_schedule(self) -> None:
        text = await asyncio.to_thread(read_text, self.schedule_file, SCHEDULE_READ_LIMITS, ScheduleError)
        if text == await self.application.post_store.active_schedule_text():
            await self.application.post_store.clear_rejection()
            return
        if self.read_file_version == self.first_file_version and await self.application.post_store.is_old_schedule(
            text
        ):
            raise RefusedError("schedule_superseded")
        filed = await apply_schedule(self.application.planner, text, str(self.schedule_file))
        log.info("schedule_accepted", filed=filed)

    async def report_template_problems(self) -> None:
        """Alert people to templates with a fault: what is filed goes out, what needs them anew is refused."""
        reason = self._format_problems(self.application.planner.post_renderer.templates.problems)
        if reason:
            log.warning("templates_invalid", reason=reason)
        await self.application.system_alerts.set_template_alert(reason)

    def _format_problems(self, problems: Sequence[Problem]) -> str:
        """Put problems into words, a line each; what concerns several instants of a post alike is said once."""
        return "\n".join(dict.fromkeys(map(self.messages.format_problem, problems)))

    async def _record_rejection(self, error: InputError | RefusedError) -> None:
        if isinstance(error, InputError):
            reason = self._format_problems(error.problems)
        else:
            reason = self.messages.translate(error.code, **error.facts)
        log.warning("reload_refused", reason=reason)
        await self.application.post_store.record_rejection(reason)


class MonotonicTrigger(BaseTrigger):  # type: ignore[misc] # the library has no types
    """A beat so many seconds after the last one; a clock that was set ahead lets none be made up for."""

    def __init__(self, first_seconds: float, seconds: float) -> None:
        self.interval = timedelta(seconds=seconds)
        self.max_wait = timedelta(seconds=max(first_seconds, seconds))

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        return now + self.interval


SidecarFactory = Callable[[Application], contextlib.AbstractAsyncContextManager[None]]


async def run(
    settings: Settings,
    runtime: Runtime,
    *,
    once: bool = False,
    on_ready: Callable[[], None] | None = None,
    sidecar: SidecarFactory | None = None,
) -> int:
    """Run the daemon until it is asked to stop, or, with `once`, until all that is due now is settled.

    `beside` is what runs in the same process as long as the daemon does, unless that ends by itself.

    Returns 0, or with `once` 1 when something was held, failed or expired. Raises RefusedError where going on would
    be unsafe, SettingsError where settings are wrong.
    """
    require_safe_permissions(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(lock_process(settings.database, settings.workspace).release)
        application = await stack.enter_async_context(open_application(settings, runtime, can_send=True))
        daemon = Daemon(application, settings.workspace / "schedule.toml", Messages(settings.lang), runtime.now())
        stack.push_async_callback(daemon.clock_check.stop)
        _stop_on_signals(daemon)
        skew = await application.system_alerts.measure_clock_skew()
        if abs(skew) > MAX_CLOCK_SKEW:
            raise RefusedError("clock_skew", **await application.system_alerts.alert_clock_skew(skew))
        await daemon.clock_check.confirm()
        expired_leases = await expire_own_leases(application.maintenance)
        log.info("own_leases_expired", leases=expired_leases)
        if not await application.operator_actions.register_worker():
            raise RefusedError("database_replaced")
        manual_accounts = [
            order.account for order in await application.mode_overrides.list_overrides() if order.mode is not Mode.API
        ]
        for account, error in find_unreadable_secrets(settings, manual_accounts).items():
            await application.operator_actions.pause_account(account, MAINTENANCE, error.code)
        await daemon.report_template_problems()
        await _try_initial_load(daemon)
        _freeze_gc()
        if on_ready is not None:
            on_ready()
        if once:
            exit_code = await _run_once(daemon)
        else:
            async with sidecar(application) if sidecar else contextlib.nullcontext():
                exit_code = await _run_until_stopped(daemon)
        if daemon.is_database_replaced:
            raise RefusedError("database_replaced")
        await _run_logging_errors(daemon, daemon.write_checkpoint)
        await application.operator_actions.deregister_worker()
        return exit_code


async def _try_initial_load(daemon: Daemon) -> None:
    """Prepare for the first call; where a mistake of ours prevents it, what is filed goes out all the same.

    The beats try again, and alert people. Raises what the database, a file or a refusal raises.
    """
    try:
        await daemon.load_initial_schedule()
    except (PublisherError, SQLAlchemyError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 # new posts alone are concerned
        log.exception("initial_load_failed", error=type(error).__name__)


def _freeze_gc() -> None:
    """Set aside what start-up made for good: walking through it all would stop a burst of calls for 0.1 s."""
    gc.collect()
    gc.freeze()


async def _run_until_stopped(daemon: Daemon) -> int:
    scheduler = AsyncIOScheduler(timezone="UTC")
    jobs = [
        (daemon.confirm_clock, 0.0, 1.0),
        (daemon.run_maintenance, 0.0, 1.0),
        (daemon.send, 0.1, 0.5),
        (daemon.reconcile, 0.2, 1.0),
        (daemon.retract, 0.3, 1.0),
        (daemon.read_schedule, 20.0, 20.0),
        (daemon.plan, 2.0, 60.0),
        (daemon.heartbeat, 5.0, 5.0),
        (daemon.check_logins, 5.0, 30.0),
        (daemon.monitor, 30.0, 15.0),
        (daemon.write_checkpoint, 10.0, 300.0),
        (daemon.compact_journal, 120.0, 86400.0),
        (daemon.prune, 180.0, 86400.0),
    ]  # each verb, the seconds to its first beat, and those between two: what ripens is delivered right after
    now = datetime.now(UTC)
    for run_job, first, seconds in jobs:
        scheduler.add_job(
            _run_job,
            MonotonicTrigger(first, seconds),
            args=(daemon, run_job),
            next_run_time=now + timedelta(seconds=first),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
    scheduler.start()
    clock_task = asyncio.create_task(_fix_job_times(scheduler))
    watch_task = asyncio.create_task(_watch_file_until_stopped(daemon))
    await daemon.stop_requested.wait()
    log.info("stopping")
    clock_task.cancel()
    scheduler.pause()  # to shut it down would cancel beats, even one that has only been asked for
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SHUTDOWN_TIMEOUT_SECONDS):
            await asyncio.wait([watch_task])
            await asyncio.wait(daemon.running_jobs or [watch_task])
    return 0


async def _fix_job_times(scheduler: AsyncIOScheduler) -> None:
    """Let beats that a clock set back has moved far into the future come at once."""
    while True:
        await asyncio.sleep(JOB_TIME_CHECK_SECONDS)
        now = datetime.now(UTC)
        for job in scheduler.get_jobs():
            if job.next_run_time > now + job.trigger.max_wait:
                job.modify(next_run_time=now)


async def _run_job(daemon: Daemon, job: Callable[[], Awaitable[int | None]]) -> None:
    """Run one verb; what goes wrong is logged, and tried again at the next beat."""
    task = asyncio.create_task(_run_logging_errors(daemon, job))
    daemon.running_jobs.add(task)
    task.add_done_callback(daemon.running_jobs.discard)
    with contextlib.suppress(asyncio.CancelledError):  # when the loop is closed, if it has outlasted the grace
        await task


async def _run_logging_errors(daemon: Daemon, job: Callable[[], Awaitable[int | None]]) -> None:
    """Run one verb; a failed one must not end the daemon, and people are alerted to one that fails every time."""
    await daemon.application.system_alerts.jobs.run(job.__name__, job(), event="job_failed")


async def _watch_file_until_stopped(daemon: Daemon) -> None:
    """Watch the schedule's file until the daemon stops: whenever that has ended or failed, it is begun again."""
    while not daemon.stop_requested.is_set():
        again_at = asyncio.get_running_loop().time() + FILE_WATCH_RETRY_SECONDS
        await _run_logging_errors(daemon, daemon.watch_schedule_file)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(again_at):
                await daemon.stop_requested.wait()


async def _run_once(daemon: Daemon) -> int:
    """Do all that is due now, then follow it until nothing is in doubt."""
    await daemon.plan()
    while not daemon.stop_requested.is_set():
        for job in (
            daemon.confirm_clock,
            daemon.heartbeat,
            daemon.reconcile,
            daemon.retract,
            daemon.run_maintenance,
            daemon.send,
        ):
            with contextlib.suppress(
                ExceptionGroup
            ):  # single deliveries failed, which is logged: time ends their doubt
                await job()
        if await _is_idle(daemon):
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(daemon.stop_requested.wait(), timeout=0.5)
    alerts = await daemon.application.queries.alerts()
    return int(any(alert.at >= daemon.started_at and alert.code != "manual_task_waiting" for alert in alerts))


async def _is_idle(daemon: Daemon) -> bool:
    """Whether nothing is in doubt but what people have in hand, and nothing due may go within the next minute.

    A clock in doubt lets nobody say, until people are alerted that it stays so.
    """
    if not daemon.application.runtime.is_clock_confirmed():
        return daemon.application.system_alerts.has_clock_alert
    if any(
        not parse_manual_task(item.ticket)
        for item in await daemon.application.queries.deliveries(states=UNSETTLED_STATES)
    ):
        return False
    next_at = await daemon.application.outbox.next_due_at()
    return next_at is None or next_at > daemon.application.runtime.now() + ONCE_MAX_WAIT


def _file_version(file: Path) -> FileVersion | None:
    try:
        found = file.stat()
    except OSError:
        return None
    changed_at = datetime.fromtimestamp(found.st_mtime, UTC)
    return FileVersion(modified_at=changed_at, size=found.st_size, inode=found.st_ino)


def _stop_on_signals(daemon: Daemon) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop_requested.set)
