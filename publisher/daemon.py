"""The daemon: starts each job at its interval.

The database holds the due work and its times.
"""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from publisher.app.application import (
    Application,
    find_missing_secrets,
    open_application,
)
from publisher.app.checks import build_checks
from publisher.app.format import Formatter
from publisher.app.offline import describe_loaded_files, find_newer_files
from publisher.app.permissions import require_safe_permissions
from publisher.app.rights import require_rights
from publisher.config import MEDIA_FOLDER, Settings
from publisher.domain.account import LoadedFiles, Mode
from publisher.domain.delivery import MAINTENANCE
from publisher.domain.errors import (
    InputError,
    Problem,
    PublisherError,
    RefusedError,
    ScheduleError,
)
from publisher.domain.post import Schedule
from publisher.engine.checkpoints import (
    build_checkpoint_targets,
    void_authority_if_older,
)
from publisher.engine.clock_check import ClockCheck
from publisher.engine.file_watch import FileWatch, watch_files
from publisher.engine.filed_texts import FiledTextCheck
from publisher.engine.job_scheduler import (
    Job,
    JobWatch,
    correct_job_times,
    schedule_jobs,
)
from publisher.engine.planner import (
    active_schedule,
    apply_schedule,
    find_next_planning,
    plan_window,
)
from publisher.engine.reconciler import reconcile_due, retract_due
from publisher.engine.sender import send_due
from publisher.i18n import Messages
from publisher.runtime.clock import ClockTrust, Runtime, handle_stop_signals
from publisher.runtime.files import find_file_owner
from publisher.runtime.logs import log
from publisher.runtime.service_manager import ServiceManager
from publisher.schedule.load import SCHEDULE_READ_LIMITS, list_ids_in_text
from publisher.store.database_identity import can_plan
from publisher.store.db.database import ConcurrentUpdateError
from publisher.store.deliveries.intents import PREPARE_AHEAD
from publisher.store.queries.queries import needs_person_now
from publisher.store.recovery.folder import ProcessLock, lock_process
from publisher.store.recovery.setup import claim_folder
from publisher.tomlfile.read import FileVersion, read_text
from publisher.web.http.callbacks import check_callbacks, serve_callbacks
from publisher.web.http.server import descriptor_limit
from publisher.web.http.supervisor import run_enabled_dashboard

MAX_SENDS = 2000
"""Maximum calls in flight, including calls prepared for their instant.

A login never has more than one.
"""
MAX_READBACKS = 500
"""Maximum reads in flight.

Reads of one login wait for one another, and equal questions are asked once.
"""
MAX_RETRACTIONS = 100
WORK_AHEAD = 2 * PREPARE_AHEAD
"""How long before a delivery needs a job the delivery jobs run at their own intervals."""
IDLE_INTERVAL_SECONDS = 60.0
"""How often the jobs run while no delivery needs them.

Problems found then, such as a journal that cannot be written, are reported before the next post is
due.
"""
SHUTDOWN_TIMEOUT_SECONDS = 25.0
"""How long calls in flight may still take after a stop is requested."""
ONCE_MAX_WAIT = timedelta(minutes=1)
"""How long a single run waits for a login that is in cooldown between two posts."""
FILE_QUIET_PERIOD = timedelta(seconds=1)
"""How long a file must be unchanged before it is read.

A half-written file may be valid by accident.
"""
FILE_WATCH_TIMEOUT_SECONDS = 60.0
"""After so long the watch of the file counts as working, and is restarted."""
FILE_WATCH_RETRY_SECONDS = 20.0
"""Least time from one start of the file watch to the next.

A watch that fails at once then does not fill the log.
"""
THREAD_SWITCH_SECONDS = 0.0005
"""How long a computing thread may keep another waiting, such as one that reads a schedule.

A call's intent waits at each of its statements. By Python's default of 5 ms it would take ten times
as long while a long schedule is read.
"""
REFUSED_FILE_PAUSE_SECONDS = (20.0, 300.0)
"""How soon, first and at the latest, a refused file that has not changed is read again.

Each wait is twice as long as the last. A missing part of it, such as a picture, may have come.
"""
MAX_PLAN_ATTEMPTS = 3
"""How often one run plans again because another host has activated a newer version."""
ONCE_JOBS = (
    "confirm_clock",
    "heartbeat",
    "reconcile",
    "retract",
    "run_maintenance",
    "send",
)
"""The jobs that a single run repeats, in this order."""


@dataclass(slots=True)
class Daemon:
    """One running daemon: its application, its jobs and the schedule it plans from.

    It also knows if it is asked to stop.
    """

    application: Application
    schedule_file: Path
    messages: Messages
    started_at: datetime
    stop_requested: asyncio.Event = field(default_factory=asyncio.Event)
    schedule: Schedule | None = None
    schedule_version: int | None = None
    planned_basis: tuple[tuple[int, int, Sequence[str]], ClockTrust] | None = None
    """The inputs of the last complete plan."""
    next_planning_at: float = 0.0
    """Until when, in monotonic seconds, that plan stays complete."""
    has_read_file: bool = False
    refused_file_pause: float = 0.0
    """The seconds from the last refusal of the file to its next reading."""
    read_refused_file_at: float = 0.0
    """When that is, in monotonic seconds."""
    refusal: RefusedError | None = None
    read_file_version: FileVersion | None = None
    first_file_version: FileVersion | None = None
    has_waited_for_clock: bool = False
    process_lock: ProcessLock | None = None
    """The lock of this workspace, kept in place by the heartbeat."""
    has_work: bool = field(default=True, init=False)
    """True if a delivery needed one of the jobs when the database was last asked."""
    last_sending: float = field(default=float("-inf"), init=False)
    """When deliveries to send were looked for last, in monotonic seconds."""
    running_jobs: set[asyncio.Task[None]] = field(default_factory=set)
    loaded_files: LoadedFiles = field(init=False)
    """The files read at its start."""
    service_manager: ServiceManager = field(default_factory=ServiceManager)
    jobs: Mapping[str, Job] = field(init=False)
    job_watch: JobWatch = field(init=False)
    clock_check: ClockCheck = field(init=False)
    file_watch: FileWatch = field(init=False)

    def __post_init__(self) -> None:
        self.loaded_files = describe_loaded_files(self.application.settings)
        self.clock_check = ClockCheck(
            store=self.application.store, adapters=self.application.adapters
        )
        self.file_watch = FileWatch(
            schedule_file=self.schedule_file,
            media_folder=self.schedule_file.parent / MEDIA_FOLDER,
        )
        self.jobs = {job.name: job for job in build_jobs(self)}
        self.job_watch = JobWatch(
            self.jobs.values(), self.interval_of, self.application.runtime.monotonic
        )

    def interval_of(self, job: Job) -> float:
        """Return the seconds from one run of a job to the next."""
        if self.has_work or job.idle_interval_seconds is None:
            return job.interval_seconds
        return job.idle_interval_seconds

    async def confirm_clock(self) -> None:
        """Try to confirm an unconfirmed clock.

        Plan at once all that has waited for that; then update the alerts.
        """
        try:
            if await self.clock_check.confirm() and self.has_waited_for_clock:
                self.has_waited_for_clock = False
                await self.read_schedule()
                await self.plan()
        finally:
            await self.application.store.system_alerts.update()

    async def send(self) -> int:
        """Ask the database if a delivery needs a job, and send all that is due.

        While none does, nothing more is asked than once in IDLE_INTERVAL_SECONDS. The first one
        that does is not kept waiting for the maintenance job.
        """
        app = self.application
        was_idle = not self.has_work
        now = self.application.runtime.monotonic()
        self.has_work = await app.store.maintenance.has_work(WORK_AHEAD)
        if not self.has_work and now < self.last_sending + IDLE_INTERVAL_SECONDS:
            return 0
        self.last_sending = now
        if self.has_work and was_idle:
            await self.run_logged("run_maintenance", app.store.maintenance.run)
        limit = min(
            MAX_SENDS, descriptor_limit() // 2
        )  # each call in flight has a connection
        return await send_due(
            app.store, app.adapters, limit, self.stop_requested, app.credentials
        )

    async def heartbeat(self) -> None:
        """Record that this worker runs; stop if another process has its place.

        It also stops if an older database was put in place. A lock file that was deleted is created
        again.
        """
        try:
            if not await self.application.store.actions.heartbeat():
                self.refusal = RefusedError("database_replaced")
            elif self.process_lock is not None and await asyncio.to_thread(
                self.process_lock.restore_file
            ):
                log.warning("lock_file_restored", file=self.process_lock.locked.name)
        except RefusedError as error:
            self.refusal = error
        if self.refusal is not None:
            self.stop_requested.set()

    async def load_initial_schedule(self) -> None:
        """Apply the file and the settings before the first call.

        Deliveries that come due by time alone may wait for their job.
        """
        await self.read_schedule()
        if (
            await self.application.store.posts.config_hash()
            != self.application.planner.config_hash
        ):
            await self.plan()

    async def try_initial_load(self) -> None:
        """Load the schedule before the first call; our bugs there must not stop filed posts.

        The jobs try again, and alert people. Raises errors of the database and of files, and
        refusals.
        """
        try:
            await self.load_initial_schedule()
        except (PublisherError, SQLAlchemyError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 # new posts alone are concerned
            log.exception("initial_load_failed", error=type(error).__name__)

    async def plan(self) -> None:
        """File the deliveries that have come within the planning window, from the active version.

        The version is the active schedule version. Nothing is compared while nothing can have come
        within the window.
        """
        for _ in range(MAX_PLAN_ATTEMPTS):
            # another host has activated a newer version
            with contextlib.suppress(ConcurrentUpdateError):
                return await self.plan_active_version()
        log.warning("plan_overtaken")  # the next run plans from what is active then
        return None

    async def plan_active_version(self) -> None:
        """Plan from the version that is active now.

        Raises ConcurrentUpdateError if a newer one is activated.
        """
        if not await self._can_plan():
            return
        planner, runtime = self.application.planner, self.application.runtime
        post_store = self.application.store.posts
        basis = await post_store.plan_basis(), runtime.clock_trust
        if basis == self.planned_basis and runtime.monotonic() < self.next_planning_at:
            return
        (version, _newest_entry, _settings), _trust = basis
        try:
            if version != self.schedule_version:
                # an old version must never be planned from once there is a newer one
                self.schedule = None
                self.schedule = await active_schedule(planner, self.schedule_file.name)
                self.schedule_version = version
            if self.schedule is not None:
                complete_until = (
                    runtime.monotonic()
                    + find_next_planning(planner, self.schedule).total_seconds()
                )
                await plan_window(planner, self.schedule, version)
                await post_store.set_config_hash(planner.config_hash)
                # only a complete one counts
                self.planned_basis, self.next_planning_at = (
                    basis,
                    complete_until,
                )
        # the settings or templates have changed under the accepted schedule
        except ScheduleError as error:
            await self._record_rejection(error)

    async def _can_plan(self) -> bool:
        """Return True if the clock is confirmed and every awaited host has reported its sends."""
        if not self.application.runtime.is_clock_confirmed():
            self.has_waited_for_clock = True
            return False
        return await can_plan(self.application.store.database)

    async def read_schedule(self) -> None:
        """Activate a changed schedule file.

        If it is invalid, alert people and keep the last good version.
        """
        runtime = self.application.runtime
        version = await asyncio.to_thread(FileVersion.read, self.schedule_file)
        is_same = version == self.read_file_version
        if is_same and (
            self.has_read_file or runtime.monotonic() < self.read_refused_file_at
        ):
            return
        if not await self._can_plan():
            return
        if version is not None:
            await runtime.sleep_until(
                min(version.modified_at, runtime.now()) + FILE_QUIET_PERIOD
            )
            if (
                await asyncio.to_thread(FileVersion.read, self.schedule_file) != version
                or not await self._can_plan()
            ):
                return
        self.has_read_file, self.read_file_version = True, version
        self.first_file_version = self.first_file_version or version
        post_store, text = self.application.store.posts, ""
        try:
            text = await asyncio.to_thread(
                read_text, self.schedule_file, SCHEDULE_READ_LIMITS, ScheduleError
            )
            if text == await post_store.active_schedule_text():
                await post_store.clear_rejection()
                return
            if version == self.first_file_version and await post_store.is_old_schedule(
                text
            ):
                host = self.application.store.worker.partition(":")[0]
                raise RefusedError("schedule_superseded", host=host)  # noqa: TRY301 # handled like every other refusal of the file
            owner = await asyncio.to_thread(find_file_owner, self.schedule_file)
            applied = await apply_schedule(
                self.application.planner,
                text,
                self.schedule_file.name,
                file_owner=owner,
            )
        except BaseException as error:  # also one that was cancelled is read again
            # the cause, such as a missing picture, may go without the file changing
            self.has_read_file = False
            if not isinstance(error, (InputError, RefusedError)):
                raise
            self.postpone_refused_file(is_same=is_same)
            await self._record_rejection(error, text)
        else:
            log.info(
                "schedule_accepted",
                filed=applied.filed,
                left_out=[item.facts["post"] for item in applied.left_out],
            )

    def postpone_refused_file(self, *, is_same: bool) -> None:
        """Set when a refused file is read again.

        It is soon if the file is new, and later each time if it is the same.
        """
        shortest, longest = REFUSED_FILE_PAUSE_SECONDS
        self.refused_file_pause = (
            min(max(2 * self.refused_file_pause, shortest), longest)
            if is_same
            else shortest
        )
        self.read_refused_file_at = (
            self.application.runtime.monotonic() + self.refused_file_pause
        )

    async def watch_schedule_file(self) -> None:
        """Read the schedule when its file changes.

        A refused file is read again when a picture comes, too. The watch ends after
        FILE_WATCH_TIMEOUT_SECONDS, once nothing changes. If it fails, the job `read_schedule` still
        reads the file.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + FILE_WATCH_TIMEOUT_SECONDS
        looks = watch_files(
            self.file_watch, self.stop_requested, lambda: not self.has_read_file
        )
        async with contextlib.aclosing(looks):
            async for changes in looks:
                has_pictures = changes.has_new_pictures and not self.has_read_file
                if has_pictures:
                    self.read_refused_file_at = 0.0
                if has_pictures or changes.has_new_schedule:
                    await self.run_logged("read_schedule", self.read_schedule)
                    await self.run_logged("plan", self.plan)
                elif loop.time() >= ends_at:
                    return

    async def report_template_problems(self) -> None:
        """Alert people to templates with an error.

        Filed posts go out; new ones that need them are refused.
        """
        reason = self._format_problems(
            self.application.planner.post_renderer.templates.problems
        )
        if reason:
            log.warning("templates_invalid", reason=reason)
        await self.application.store.system_alerts.set_template_alert(reason)

    def _format_problems(
        self, problems: Sequence[Problem], posts: Sequence[str] = ()
    ) -> str:
        """Format problems as text, one a line.

        A problem that several occurrences of a post share appears once.
        """
        return "\n".join(
            dict.fromkeys(
                self.messages.format_problem(problem, posts) for problem in problems
            )
        )

    async def check_files(self) -> None:
        """Alert people to settings and templates that were changed after this daemon read them."""
        changed = await asyncio.to_thread(
            find_newer_files, self.application.settings.workspace, self.loaded_files
        )
        formatter = Formatter(
            messages=self.messages, timezone=self.application.settings.timezone
        )
        await self.application.store.system_alerts.set_files_alert(
            formatter.newer_files(changed, self.started_at)
        )

    async def _record_rejection(
        self, error: InputError | RefusedError, text: str = ""
    ) -> None:
        """Alert people to the problems of a schedule file's text or of the version in force."""
        if isinstance(error, InputError):
            posts = (
                await asyncio.to_thread(list_ids_in_text, text, self.schedule_file.name)
                if text
                else ()
            )
            reason = self._format_problems(error.problems, posts)
        else:
            reason = self.messages.translate(error.code, **error.facts)
        log.warning("reload_refused", reason=reason)
        await self.application.store.posts.record_rejection(reason)

    async def run_logged(
        self, name: str, work: Callable[[], Awaitable[int | None]]
    ) -> None:
        """Await a job's work.

        An error is logged and does not end the daemon; repeated errors alert people.
        """
        await self.application.store.system_alerts.jobs.run(
            name, work, event="job_failed"
        )

    async def run_job(self, job: Job) -> None:
        """Run one job in a task of its own; a stop waits for it.

        The end of each heartbeat shows the service manager that the jobs run.
        """
        self.job_watch.note_start(job.name)
        task = asyncio.create_task(self.run_logged(job.name, job.run), name=job.name)
        self.running_jobs.add(task)
        task.add_done_callback(self.running_jobs.discard)
        # when the loop is closed, if it outlasts the shutdown
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if job.name == "heartbeat":
            self.report_alive()

    def report_alive(self) -> None:
        """Tell the service manager that the jobs run, unless one of them is not started any more.

        Its watchdog then restarts this process, as it does while the heartbeat hangs.
        """
        running = {task.get_name() for task in self.running_jobs}
        if late := self.job_watch.find_late(running):
            log.error("jobs_not_started", jobs=late)
        else:
            self.service_manager.report_alive()


def build_jobs(daemon: Daemon) -> Sequence[Job]:
    """Return the jobs of a daemon.

    The first times let newly due deliveries be sent right after.
    """
    app, store, stop = (
        daemon.application,
        daemon.application.store,
        daemon.stop_requested,
    )
    # imported now, not at a post
    _ = (
        store.outbox,
        store.audit,
        store.monitoring,
        store.login_health,
        store.silence,
    )

    async def reconcile() -> int:
        return await reconcile_due(store, app.adapters, MAX_READBACKS, stop)

    async def retract() -> int:
        return await retract_due(store, app.adapters, MAX_RETRACTIONS, stop)

    async def check_arrivals() -> int:
        return await check_callbacks(app, daemon.started_at)

    filed_texts = FiledTextCheck(
        planner=app.planner,
        is_current=lambda: (
            not find_newer_files(app.settings.workspace, daemon.loaded_files)
        ),
    )
    return (
        Job("confirm_clock", daemon.confirm_clock, 0.0, 1.0),
        Job("run_maintenance", store.maintenance.run, 0.0, 1.0, IDLE_INTERVAL_SECONDS),
        Job("send", daemon.send, 0.1, 0.5),
        Job("reconcile", reconcile, 0.2, 1.0, IDLE_INTERVAL_SECONDS),
        Job("retract", retract, 0.3, 1.0, IDLE_INTERVAL_SECONDS),
        Job("read_schedule", daemon.read_schedule, 2.0, 20.0),
        Job("plan", daemon.plan, 2.0, 60.0),
        Job("heartbeat", daemon.heartbeat, 5.0, 5.0),
        Job("check_files", daemon.check_files, 15.0, 30.0),
        Job("check_filed_texts", filed_texts.run, 10.0, 10.0),
        Job("check_callbacks", check_arrivals, 50.0, 300.0),
        *build_checks(app, daemon.messages),
    )


async def run(
    settings: Settings,
    runtime: Runtime,
    *,
    once: bool = False,
    report: Callable[..., None] = lambda *_code, **_facts: None,
) -> int:
    """Run the daemon until it is asked to stop, or, with `once`, until all that is due is settled.

    `report` is called with a message code and its facts: when the daemon has started, and whether
    it listens for callbacks. Returns 0, or with `once` 1 when something needs a person. Raises
    RefusedError if going on would be unsafe, SettingsError if settings are wrong.
    """
    require_safe_permissions(settings)
    require_rights(settings, can_send=True)
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    service_manager = ServiceManager.take_from(os.environ)
    async with contextlib.AsyncExitStack() as stack:
        process_lock = lock_process(settings.database, settings.workspace)
        stack.callback(process_lock.release)
        application = await stack.enter_async_context(
            open_application(settings, runtime, can_send=True)
        )
        await asyncio.to_thread(claim_folder, settings.database)
        daemon = Daemon(
            application, settings.schedule_file, Messages(settings.lang), runtime.now()
        )
        daemon.process_lock = process_lock
        daemon.service_manager = service_manager
        stack.push_async_callback(daemon.clock_check.stop)
        handle_stop_signals(daemon.stop_requested.set)
        await register(daemon)
        await prepare_first_calls(daemon)
        freeze_gc()
        report(
            "run_started",
            workspace=settings.workspace,
            environment=settings.environment.value,
            pid=os.getpid(),
        )
        service_manager.report_ready()
        if once:
            exit_code = await run_once(daemon)
        else:
            set_alert = application.store.system_alerts.set_dashboard_alert
            async with (
                serve_callbacks(application, report),
                run_enabled_dashboard(settings, set_alert),
            ):
                await run_until_stopped(daemon)
            exit_code = 0
        if daemon.refusal is not None:
            raise daemon.refusal
        await daemon.run_logged("write_checkpoint", daemon.jobs["write_checkpoint"].run)
        await application.store.actions.deregister_worker()
        return exit_code


async def register(daemon: Daemon) -> None:
    """Make this daemon a worker of the database, and expire the leases of its previous process.

    Raises RefusedError where its clock is too far from the server's, or the database is another
    one.
    """
    store = daemon.application.store
    await store.system_alerts.check_clock_skew()
    await daemon.clock_check.confirm()
    if not await store.actions.register_worker(daemon.loaded_files):
        raise RefusedError("database_replaced")
    await void_authority_if_older(
        store.audit, build_checkpoint_targets(daemon.application.settings)
    )
    # the process lock and the registration prove that the previous process is gone
    expired_leases = await store.maintenance.expire_own_leases()
    log.info("own_leases_expired", leases=expired_leases)


async def prepare_first_calls(daemon: Daemon) -> None:
    """Load the data that calls need, and file the deliveries of the schedule.

    The accounts without their secret are paused. An alert that asked for this start ends.
    """
    settings, store = daemon.application.settings, daemon.application.store
    await store.outbox.preload()
    manual_accounts = [
        order.account
        for order in await store.queries.mode_overrides()
        if order.mode is not Mode.API
    ]
    for account, error in find_missing_secrets(settings, manual_accounts).items():
        await store.actions.pause_account(
            settings.accounts[account], MAINTENANCE, error.code
        )
    await daemon.report_template_problems()
    await daemon.check_files()
    await daemon.try_initial_load()


async def run_once(daemon: Daemon) -> int:
    """Do all that is due now until no outcome is unknown.

    Return 1 if something needs a person, else 0.
    """
    await daemon.plan()
    while not daemon.stop_requested.is_set():
        for name in ONCE_JOBS:
            # single deliveries failed, which is logged; time resolves them
            with contextlib.suppress(ExceptionGroup):
                await daemon.jobs[name].run()
        if await daemon.application.is_idle(ONCE_MAX_WAIT):
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(daemon.stop_requested.wait(), timeout=0.5)
    notify = daemon.jobs["notify"]
    await daemon.run_logged("notify", notify.run_last or notify.run)
    new = [
        alert
        for alert in await daemon.application.store.queries.alerts()
        if alert.at >= daemon.started_at
    ]
    return int(
        any(needs_person_now(alert, daemon.application.runtime.now()) for alert in new)
    )


async def run_until_stopped(daemon: Daemon) -> None:
    """Run all jobs at their intervals until a stop is requested.

    Then wait for the jobs that have begun.
    """
    scheduler = schedule_jobs(daemon.jobs.values(), daemon.interval_of, daemon.run_job)
    scheduler.start()
    clock_task = asyncio.create_task(correct_job_times(scheduler))
    watch_task = asyncio.create_task(watch_file_until_stopped(daemon))
    await daemon.stop_requested.wait()
    log.info("stopping")
    daemon.service_manager.report_stopping()
    clock_task.cancel()
    scheduler.pause()  # a shutdown would cancel jobs, even one that has only been submitted
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SHUTDOWN_TIMEOUT_SECONDS):
            await asyncio.wait([watch_task])
            await asyncio.wait(daemon.running_jobs or [watch_task])


async def watch_file_until_stopped(daemon: Daemon) -> None:
    """Watch the schedule file until the daemon stops.

    A watch that has ended or failed is restarted.
    """
    while not daemon.stop_requested.is_set():
        again_at = asyncio.get_running_loop().time() + FILE_WATCH_RETRY_SECONDS
        await daemon.run_logged("watch_schedule_file", daemon.watch_schedule_file)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(again_at):
                await daemon.stop_requested.wait()


def freeze_gc() -> None:
    """Exclude start-up objects from garbage collection.

    A full collection would pause a burst of calls for 0.1 s.
    """
    gc.collect()
    gc.freeze()
