"""One run: publisher's daemon, the platforms and people, from one seed, in simulated time."""

import asyncio
import atexit
import contextlib
import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from publisher.app.application import open_application
from publisher.app.open_store import open_store
from publisher.config import Settings, load_settings
from publisher.daemon import run
from publisher.domain.delivery import State
from publisher.domain.errors import (
    ApprovalError,
    IllegalTransitionError,
    InputError,
    PublisherError,
    RefusedError,
    SettingsError,
)
from publisher.domain.post import PostId
from publisher.engine.corrections import send_correction
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.engine.planner import (
    apply_schedule,
    resend_post,
    send_scheduled_now,
)
from publisher.engine.post_change import PostChange, SavedEdit, Writer
from publisher.engine.schedule_editor import read_entry, read_schedule_text, save_post
from publisher.runtime.clock import FAILPOINT_NAMES, Runtime
from publisher.store.plan.posts import AuditAction
from publisher.store.recovery.setup import prepare_database
from publisher.testing.builders import unlimited_approver
from tests.simulation.channels import Channels
from tests.simulation.loop import Process, VirtualLoop, rng_for
from tests.simulation.network import SimulatedNetwork
from tests.simulation.patched_runtime import (
    CrashPlan,
    SimulatedHost,
    SimulatedRuntime,
    TrueTime,
    patched,
    seeded_bytes,
)
from tests.simulation.platforms import EPOCH, StormPlatforms, open_platforms
from tests.simulation.workspace import (
    SchedulePost,
    SimulatedWorkspace,
    Waits,
    identity_of,
    instant,
    make_workspace,
    platform_of,
)

ENDED = frozenset(
    {"published", "retracted", "removed", "failed", "expired", "cancelled"}
)
MAX_DRAIN_SECONDS = 6 * 3600.0
MAX_RESOLUTIONS = 8
POLL_SECONDS = 0.25
"""Seconds between two checks of a condition that is waited for."""
NEWER_RELEASE_CHANCE = 0.3
"""The share of crashes with a journal that looks as if a newer release had written it."""
RESTART_SECONDS = (0.2, 8.0)
"""Seconds until a daemon that has crashed is started again, at least and at most."""
APPROVERS = ("li", "wang")
"""The approvers that approve everything on request; one more approver does not."""
CRASH_FAILPOINTS = tuple(sorted(FAILPOINT_NAMES - {"migrate.mid"}))


@dataclass(slots=True, kw_only=True)
class Shape:
    """The meaning of a seed: the accounts, the faults, and the storm's length in seconds."""

    accounts: tuple[str, ...]
    storm: float
    create: float = 0.0
    read: float = 0.0
    other: float = 0.0
    connect: float = 0.0
    crash_chance: float = 0.0
    at_failpoints: dict[str, int] = field(default_factory=dict)
    kills: list[float] = field(default_factory=list)
    freezes: list[tuple[float, float]] = field(default_factory=list)
    command_times: list[float] = field(default_factory=list)
    pace: float = 2.0
    skew: float = 0.0
    per_hour: int = 1000
    needs_approval: bool = False
    notifies: bool = False
    """True if people are notified of alerts."""
    waits: Waits = field(default_factory=Waits)


@dataclass(eq=False)
class Simulation:
    """A run that is driven step by step. Use it as `with opened(…) as simulation`."""

    seed: str
    shape: Shape
    loop: VirtualLoop
    rng: Random
    workspace: SimulatedWorkspace
    platforms: StormPlatforms
    host: SimulatedHost
    crash_plan: CrashPlan
    settings: Settings
    network: SimulatedNetwork
    true_time: TrueTime
    channels: Channels
    """Where people are notified of alerts, if they are."""
    interruptions: list[dict[str, Any]] = field(default_factory=list)
    """Kills, freezes and changes of the clock, as the checker reads them."""
    outages: list[dict[str, Any]] = field(default_factory=list)
    """Times without any call that reached a platform, or without a running daemon."""
    clocks: list[tuple[float, float]] = field(default_factory=list)
    """True instants, and by how many seconds the host's clock was ahead from each on."""
    errors: list[str] = field(default_factory=list)
    broken_promises: list[str] = field(default_factory=list)
    """The findings of a storm's own judge, each with the number of the promise."""
    crashes: Counter[str] = field(default_factory=Counter)
    process: Process = field(
        default_factory=lambda: Process(name="none", ended_by="never started")
    )
    is_over: bool = False
    pace: float = 2.0
    starts: int = 0
    restart_after: float = 0.0
    """The earliest loop time for a new start of a daemon."""
    connect_failure: str | None = None
    """How every attempt to connect fails; None if it does not."""
    past: range = range(0)
    """The numbers of the deliveries that ended before the run began.

    `remembered` holds the facts that were known of them.
    """
    remembered: Sequence[sqlite3.Row] = ()
    began_at: float = EPOCH
    """The start of the judged part of the platforms' log."""
    calm_since: float = 0.0
    commands: list[dict[str, Any]] = field(default_factory=list)
    batch_size: int = 1000
    """The number of new deliveries that are filed in one transaction with their schedule."""
    expects_refusals: bool = False
    """True if a daemon may refuse to start, because of people's changes."""
    refusals: list[PublisherError] = field(default_factory=list)
    """Why daemons have refused to start."""
    settings_error: SettingsError | None = None
    """Why the settings as last saved cannot be read."""
    old_versions: Mapping[int, str] = field(default_factory=dict)
    """The texts of accepted schedules that the database no longer has, by number."""

    # --- processes ---

    def new_runtime(self) -> SimulatedRuntime:
        """Return the runtime of a new process, with a clock that is not confirmed yet."""
        return SimulatedRuntime(
            loop=self.loop,
            crash_plan=self.crash_plan,
            host=self.host,
            on_crash=self.on_crash,
        )

    async def supervise(self) -> None:
        """Restart the daemon whenever it has ended, as the system's supervisor does."""
        rng = rng_for(f"{self.seed}/releases")
        while not self.is_over:
            self.starts += 1
            process = self.process = Process(name=f"life-{self.starts}", can_crash=True)
            ended = asyncio.Event()
            process.exit_callbacks.append(ended.set)
            task = self.loop.live(process, self._run_daemon())
            task.add_done_callback(lambda _task, ended=ended: ended.set())
            await ended.wait()
            if process.has_ended:
                self.crashes[process.ended_by or "?"] += 1
                self.interrupt("killed")
            elif task.done() and not task.cancelled() and task.exception() is not None:
                if not self._may_refuse(task.exception()):
                    self.errors.append(
                        f"the daemon ended by itself: {task.exception()!r}"
                    )
                    self.is_over = True
                    return
                self.interrupt("killed")
            if rng.random() < NEWER_RELEASE_CHANCE:
                self.workspace.add_journal_key()
            await asyncio.sleep(
                max(
                    self.rng.uniform(*RESTART_SECONDS),
                    self.restart_after - self.loop.time(),
                )
            )

    def _run_daemon(self) -> Coroutine[Any, Any, object]:
        """Return the work of a daemon under the settings as they were saved last."""
        if self.settings_error is not None:
            return _refuse(self.settings_error)
        return run(self.settings, self.new_runtime())

    def _may_refuse(self, error: BaseException | None) -> bool:
        """Record an expected refusal to start; return False for any other end of a daemon."""
        if not self.expects_refusals or not isinstance(
            error, RefusedError | SettingsError
        ):
            return False
        self.refusals.append(error)
        return True

    def save_settings(self) -> None:
        """Save the settings. Commands follow them at once, the daemon from its next start on."""
        self.workspace.write_settings()
        try:
            loaded = self.loop.run_until_complete(
                self.loop.live(None, load_settings(self.workspace.folder))
            )
        except SettingsError as error:
            self.settings_error = error
        else:
            self.settings_error, self.settings = (
                None,
                replace(loaded, users_needed=None),
            )

    def start_beside(self, folder: Path, seconds: float) -> BaseException | None:
        """Run another daemon in a folder for so many seconds.

        Return the error that ended it before, or None.
        """
        settings = self.loop.run_until_complete(
            self.loop.live(None, load_settings(folder))
        )
        process = Process(name="beside")
        task = self.loop.live(
            process, run(replace(settings, users_needed=None), self.new_runtime())
        )
        self.pass_until(task.done, seconds)
        error = task.exception() if task.done() and not task.cancelled() else None
        self.loop.kill(process, "end")
        return error

    def note_supervisor_end(self, task: "asyncio.Task[None]") -> None:
        """Report a supervisor that failed: in a run without a daemon no promise would be broken."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(f"the supervisor failed: {error!r}")

    def kill(self) -> None:
        """Kill the daemon between two of its callbacks."""
        self.loop.kill(self.process, "kill")

    def stop_for(self, seconds: float) -> None:
        """Kill the daemon, and start it again after so many seconds."""
        self.restart_after = self.loop.time() + seconds
        self.outages.append(
            {"scope": "all", "from": self.now, "to": self.now + seconds}
        )
        self.interrupt("down")
        self.kill()

    def disconnect(self, connect_failure: str, seconds: float) -> None:
        """Make every attempt to connect fail in this way for so many seconds."""
        self.connect_failure = connect_failure
        self.outages.append(
            {"scope": "all", "from": self.now, "to": self.now + seconds}
        )
        self.loop.call_later(seconds, setattr, self, "connect_failure", None)

    def boot(self, ahead: float) -> None:
        """Restart the host, with a clock that is so many seconds ahead."""
        self.kill()
        self.host.booted_at = self.loop.time()
        self.set_clock(ahead)

    def set_clock(self, ahead: float) -> None:
        """Set the host's clock so many seconds ahead of the true time."""
        self.host.ahead = ahead
        self.clocks.append((self.now, ahead))
        self.interrupt("clock")

    def ahead_at(self, instant: float) -> float:
        """Return how many seconds the host's clock was ahead at a true instant."""
        return next(
            (ahead for since, ahead in reversed(self.clocks) if since <= instant),
            self.shape.skew,
        )

    def freeze(self, seconds: float) -> None:
        """Freeze the daemon for so many seconds."""
        process = self.process
        if not process.has_ended and not process.is_frozen:
            self.interrupt("frozen")
            process.is_frozen = True
            self.loop.call_later(seconds, self.loop.thaw, process)

    def on_crash(self, name: str) -> None:
        """Leave a torn line now and then, as a crash in the middle of writing the journal does."""
        if name == "intent.after_commit" and self.rng.random() < 0.5:
            self.workspace.tear_journal(self.rng.random())

    def interrupt(self, kind: str) -> None:
        self.interruptions.append({"at": self.now, "kind": kind})

    # --- time ---

    @property
    def now(self) -> float:
        return EPOCH + self.loop.time()

    def pass_time(self, seconds: float, *, pace: float | None = None) -> None:
        """Let time pass.

        The daemon's jobs run `pace` times as seldom as usual, or as the shape says.
        """
        self.pace = pace or self.shape.pace
        self.loop.run_until_complete(self.loop.live(None, asyncio.sleep(seconds)))
        self.pace = self.shape.pace

    def pass_until(self, is_so: Callable[[], object], most: float) -> bool:
        """Let time pass until the condition holds; return True if it does.

        At most so many seconds pass.
        """
        until = self.loop.time() + most
        while not (found := bool(is_so())) and self.loop.time() < until:
            self.pass_time(POLL_SECONDS)
        return found

    def drain(self) -> None:
        """End all faults, and let time pass until nothing changes any more.

        Meanwhile people resolve the held deliveries.
        """
        self.calm_since = self.now
        if self.clocks:
            self.set_clock(self.shape.skew)
        self.platforms.faults.clear()
        self.channels.broken.clear()
        self.shape.connect, self.connect_failure = 0.0, None
        self.network.connect_delay = lambda: 0.0
        self.crash_plan.chance = 0.0
        self.crash_plan.at_failpoints.clear()
        self.workspace.write(instant(self.now))
        self.pass_time(45)
        self.resume_all()
        self.approve_rest()
        until = self.loop.time() + MAX_DRAIN_SECONDS
        for _ in range(MAX_RESOLUTIONS):
            self._wait_for_rest(until)
            for post in sorted(
                self.platforms.state.posts.values(), key=lambda one: one.id
            ):
                if post.state == "review" and post.review.get("due") is None:
                    self.platforms.state.decide_review(post, "pass")
            self.resume_all()
            has_resolved = not self.is_over and bool(self.resolve_held())
            self.approve_rest()
            if not has_resolved:
                break
        self._wait_for_rest(until)

    def _wait_for_rest(self, until: float) -> None:
        pace, rounds = self.shape.pace, 0
        while not self.is_over and self.loop.time() < until and not self.is_at_rest():
            self.pass_time(15 * pace, pace=pace)
            rounds += 1
            if rounds > 4:
                pace = min(pace * 1.5, 60.0)
        self.pass_time(5)

    def is_at_rest(self) -> bool:
        """Return True if every delivery has ended, is held, or waits for one that is."""
        rows = self.rows("SELECT * FROM delivery")
        is_read = bool(rows) or bool(
            self.rows("SELECT id FROM alert WHERE code = 'reload_refused'")
        )
        return is_read and all(
            row["state"] in ENDED
            or row["state"] == "held"
            or row["id"] in follows_held(rows)
            or self.is_stuck_retracting(row)
            for row in rows
        )

    def is_stuck_retracting(self, row: sqlite3.Row) -> bool:
        """True if a row is to be retracted after its review ended without a notice.

        The review has ended on the platform.
        """
        copies = [post for post in self.copies(row) if post.state in ("live", "review")]
        return bool(
            row["state"] == "retracting" and row["ticket"] is not None and not copies
        )

    def stop(self) -> None:
        """End the daemon and its supervisor."""
        self.is_over = True
        self.loop.kill(self.process, "end")

    # --- the database and the platforms ---

    def rows(self, query: str, *facts: object) -> list[sqlite3.Row]:
        """Read from the database, without the product's code."""
        with contextlib.closing(sqlite3.connect(self.workspace.database)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(query, facts).fetchall()

    def deliveries(self) -> list[sqlite3.Row]:
        """Return the deliveries of the run, without the ones of the past."""
        return self.rows(
            "SELECT * FROM delivery WHERE id < ? OR id >= ? ORDER BY id",
            self.past.start,
            self.past.stop,
        )

    def remember_past(self) -> None:
        """Keep the present rows of the past deliveries, for the checker."""
        columns = "id, post, occurrence, account, state, attempts, remote_id"
        query = f"SELECT {columns} FROM delivery WHERE id >= ? AND id < ? ORDER BY id"  # noqa: S608 # names of columns
        self.remembered = self.rows(query, self.past.start, self.past.stop)

    @property
    def log(self) -> list[dict[str, Any]]:
        """Return the platforms' log."""
        return list(json.loads(self.platforms.state.event_log.read_since(0)))

    def digest(self) -> str:
        """Return a hash of the whole history: the platforms' log, and every audit entry."""
        reported = hashlib.sha256(self.platforms.state.event_log.read_since(0))
        for row in self.rows("SELECT * FROM audit ORDER BY id"):
            reported.update(repr(tuple(row)).encode())
        return reported.hexdigest()

    def copies(self, delivery: sqlite3.Row, *, everywhere: bool = False) -> list[Any]:
        """Return the posts of a delivery, oldest first.

        There are none if its text, and so its marker, is no longer kept. Posts on accounts other
        than its own are left out, unless `everywhere` asks for them.
        """
        kept = self.rows(
            "SELECT body FROM rendered_post WHERE fingerprint = ?",
            delivery["rendered_hash"],
        )
        marker = json.loads(kept[0]["body"])["marker"]["code"] if kept else None
        found = [
            post
            for post in self.platforms.state.posts.values()
            if (everywhere or post.account == identity_of(delivery["account"]))
            and not post.extra.get("by_hand")
            and marker is not None
            and any(marker in text for text in _texts_of(post))
        ]
        return sorted(found, key=lambda post: (post.created, post.id))

    # --- people ---

    def run_command(self, command: Coroutine[Any, Any, None]) -> None:
        """Run a person's command in a process of its own; it may be refused."""
        with contextlib.suppress(
            RefusedError, IllegalTransitionError, InputError, ApprovalError
        ):
            self.loop.run_until_complete(
                self.loop.live(Process(name="person"), command)
            )

    def resume_all(self) -> None:
        for row in self.rows("SELECT scope FROM pause ORDER BY scope"):
            self.run_command(self.resume(row["scope"]))

    def resolve_held(self, most: int = 1000) -> list[sqlite3.Row]:
        """Resolve held deliveries, at most so many; return them."""
        held = self.rows(
            "SELECT id FROM delivery WHERE state = 'held' ORDER BY id LIMIT ?", most
        )
        for row in held:
            self.run_command(self.rule(row["id"]))
        return held

    async def pause(self, scope: str) -> None:
        with self._record("pause", "li", scope=scope):
            async with open_store(self.settings, self.new_runtime()) as store:
                await store.actions.pause(scope, named_person("li"), "drill")

    async def resume(self, scope: str) -> None:
        with self._record("resume", "li", scope=scope):
            async with open_store(self.settings, self.new_runtime()) as store:
                await store.actions.resume(scope, named_person("li"))

    async def cancel(self, post: str) -> None:
        with self._record("cancel", "li", post=post):
            async with open_store(self.settings, self.new_runtime()) as store:
                await store.actions.cancel_post(
                    PostId(post), named_person("li"), "not wanted"
                )

    async def retract(self, post: str, account: str | None = None) -> None:
        with self._record("retract", "li", post=post, account=account):
            async with open_store(self.settings, self.new_runtime()) as store:
                await store.actions.retract(
                    PostId(post), account, named_person("li"), "wrong"
                )  # type: ignore[arg-type]

    def approve_rest(self) -> None:
        """Let people approve the waiting tasks, where posts need approval."""
        if self.shape.needs_approval and not self.is_over:
            self.approve_all()

    def approve_all(self) -> None:
        """Let people approve all that waits for them."""
        for person in APPROVERS:
            self.run_command(self.approve(person))

    async def approve(self, by: str, post: str | None = None) -> None:
        """Approve the displayed content of each occurrence, where permitted.

        With a post, approve only the occurrences of this post.
        """
        async with open_store(self.settings, self.new_runtime()) as store:
            for task in await store.approvals.tasks(PostId(post) if post else None):
                approver = unlimited_approver(by)
                with (
                    contextlib.suppress(ApprovalError),
                    self._record("approve", by, post=task.key.post),
                ):
                    shown = task.status.fingerprint
                    await store.approvals.approve(
                        task.key.post, shown, approver, named_person(by)
                    )

    async def unapprove(self, post: str) -> None:
        async with open_store(self.settings, self.new_runtime()) as store:
            with self._record("unapprove", "li", post=post):
                await store.approvals.unapprove(
                    PostId(post), None, named_person("li"), "wrong number"
                )

    @contextlib.contextmanager
    def _record(self, kind: str, by: str, **target: str | None) -> Iterator[None]:
        """Record a person's command for the checker, unless it is refused."""
        asked = self.now
        yield
        self.commands.append(
            {"kind": kind, "by": by, "asked_at": asked, "at": self.now, **target}
        )

    async def reload(self) -> None:
        """Read the schedule now, as `publisher reload` does."""
        async with open_application(
            self.settings, self.new_runtime(), can_send=False
        ) as application:
            file = self.workspace.schedule
            await apply_schedule(
                application.planner, file.read_text("utf-8"), str(file)
            )

    async def send(self, post: str) -> None:
        """Send a post of the schedule now, as `publisher send` does."""
        async with open_application(
            self.settings, self.new_runtime(), can_send=False
        ) as application:
            filed = await application.store.posts.get_post(PostId(post))
            if filed is None:
                return
            act = AuditAction(
                event="send_requested", subject=post, by=named_person("li")
            )
            with self._record("send", "li", post=post):
                await send_scheduled_now(application.planner, filed, act)
                await application.store.maintenance.promote_requested([filed.id])

    async def correct(self, correction: str) -> None:
        """Send a correction of the schedule now, as `publisher correct` does."""
        async with open_application(
            self.settings, self.new_runtime(), can_send=False
        ) as application:
            filed = await application.store.posts.get_post(PostId(correction))
            if filed is None:
                return
            await send_correction(
                application.planner, filed, named_person("li"), is_new=False
            )
            await application.store.maintenance.promote_requested([filed.id])

    async def resend(self, number: int) -> None:
        """File a new occurrence for one that failed, as `publisher resend` does."""
        async with open_application(
            self.settings, self.new_runtime(), can_send=False
        ) as application:
            [old] = [
                item
                for item in await application.store.queries.deliveries()
                if item.id == number
            ]
            post = await application.store.posts.get_post(old.key.post)
            if post is None or old.state not in {
                State.FAILED,
                State.EXPIRED,
                State.REMOVED,
            }:
                return
            act = AuditAction(
                event="resend_requested",
                subject=f"{old.key.post}@{old.account}",
                by=named_person("wang"),
            )
            with self._record("resend", "wang", post=old.key.post, account=old.account):
                await resend_post(application.planner, post, [old.account], [act])

    async def rule(self, number: int, if_absent: Resolution | None = None) -> None:
        """Resolve a held delivery as a careful person does.

        Look at the platform first, and wait if it may lag. A missing post is resolved as
        `if_absent` says, or at random.
        """
        [row] = self.rows("SELECT * FROM delivery WHERE id = ?", number)
        [last] = self.rows(
            "SELECT max(id) AS id FROM attempt WHERE delivery = ?", number
        )
        if (
            last["id"]
            and self.now
            < self.true_time.of_attempt(last["id"]) + self.shape.waits.visibility + 20
        ):
            return
        copies = [post for post in self.copies(row) if post.state in ("live", "review")]
        if any(post.state == "review" for post in copies):
            return
        if row["reason"] == "undeletable":
            for post in copies:
                self.platforms.state.remove_post(post, "owner")
            copies = []
        resolution, more = (
            self._choose(row, copies)
            if copies or if_absent is None
            else (if_absent, {})
        )
        await self.resolve(number, resolution, **more)

    async def resolve(self, number: int, resolution: Resolution, **more: str) -> None:
        """Decide about a held delivery, as `publisher resolve` does."""
        async with open_store(self.settings, self.new_runtime()) as store:
            [held] = [
                item for item in await store.queries.deliveries() if item.id == number
            ]
            if first := more.get("second_person"):
                await store.actions.request_confirmation(
                    held.id, more["url"], named_person(first), "seen"
                )
            with self._record(
                "resolve", "zhao", post=held.key.post, account=held.account
            ):
                await resolve_delivery(
                    store,
                    held,
                    resolution,
                    by=named_person("zhao"),
                    reason="looked",
                    **more,
                )

    def _choose(
        self, held: sqlite3.Row, copies: Sequence[Any]
    ) -> tuple[Resolution, dict[str, str]]:
        if copies:
            url = {"url": f"https://example.com/{copies[-1].id}"}
            again = held["reason"] in (
                "possible_match",
                "uncheckable",
            )
            return Resolution.PUBLISHED, url | (
                {"second_person": "qian"} if again else {}
            )
        if held["reason"] == "undeletable":
            return Resolution.NOT_PUBLISHED, {}
        if held["attempts"] == 0 and self.rng.random() < 0.5:
            return Resolution.RESEND, {}
        return self.rng.choice(
            [
                Resolution.RESEND,
                Resolution.RESEND,
                Resolution.NOT_PUBLISHED,
                Resolution.CANCEL,
            ]
        ), {}

    def edit(self, post: str, **changes: Any) -> None:
        """Change an entry of the schedule and save the file."""
        entry = self.workspace.entries.get(post)
        if entry is not None:
            self.workspace.add(replace(entry, **changes))
            self.workspace.edited.add(post)
            self.save()

    async def save_by(self, person: str, post: str, **changes: Any) -> None:
        """Save an entry of the schedule for a person, as the dashboard does."""
        async with open_application(
            self.settings, self.new_runtime(), can_send=False
        ) as application:
            planner, file = application.planner, self.workspace.schedule
            schedule = await read_schedule_text(planner, file)
            base = await read_entry(schedule, PostId(post))
            entry = {**base, **changes}
            change = PostChange(
                post=PostId(post), entry=entry, base=base, base_sha256=schedule.sha256
            )
            writer = Writer(
                actor=named_person(person),
                may_write=lambda _accounts: True,
                may_target=lambda _names: True,
            )
            if isinstance(await save_post(planner, file, change, writer), SavedEdit):
                self.workspace.take_over(
                    replace(self.workspace.entries[post], **changes), instant(self.now)
                )

    def drop_entry(self, post: str) -> None:
        """Remove an entry from the schedule and save the file."""
        if len(self.workspace.entries) > 1 and self.workspace.entries.pop(post, None):
            self.workspace.edited.add(post)
            self.save()

    def save(self) -> None:
        """Save the schedule, sometimes in two steps.

        The first step leaves half a file.
        """
        if self.rng.random() < 0.2:
            self.workspace.write(instant(self.now), cut=True)
            self.loop.call_later(3.0, lambda: self.workspace.write(instant(self.now)))
        else:
            self.workspace.write(instant(self.now))


async def _refuse(error: PublisherError) -> None:
    raise error


def _texts_of(post: Any) -> tuple[str, str]:
    """Return all texts of a post, forwards and backwards.

    The texts from before the platform changed them are included.
    """
    words = f"{json.dumps(post.extra, ensure_ascii=False)} {post.title} {post.text} {post.html}"
    return words, words[::-1]


def follows_held(rows: Sequence[sqlite3.Row]) -> set[int]:
    """Return the ids of due deliveries that follow a held one, directly or through others."""
    stuck = {(row["post"], row["account"]) for row in rows if row["state"] == "held"}
    waiting: set[int] = set()
    for _ in rows:  # a chain is no longer than all of them
        found = [
            row
            for row in rows
            if row["state"] == "due" and (row["follows"], row["account"]) in stuck
        ]
        stuck |= {(row["post"], row["account"]) for row in found}
        waiting |= {row["id"] for row in found}
    return waiting


@cache
def migrated_database() -> Path:
    """Return a database at the newest migration, created once per process."""
    folder = Path(tempfile.mkdtemp(prefix="publisher-sim-empty-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "publisher.db"
    with seeded_bytes("empty"):
        asyncio.run(
            prepare_database(
                f"sqlite:///{file}", "drill", folder / "intents.jsonl", Runtime()
            )
        )
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file


@contextlib.contextmanager
def opened(
    seed: str, shape: Shape, entries: Sequence[SchedulePost], *, trace: bool = False
) -> Iterator[Simulation]:
    """Yield a run with a daemon that is about to start."""
    loop = VirtualLoop(rng_for(f"{seed}/loop"))
    platforms = open_platforms(loop, rng_for(f"{seed}/mischief"))
    connect = rng_for(f"{seed}/connect")
    network = SimulatedNetwork(loop, platforms.application, rng_for(f"{seed}/network"))
    empty = migrated_database()
    kind = {"needs_approval": shape.needs_approval, "notifies": shape.notifies}
    workspace = make_workspace(
        shape.accounts, shape.per_hour, shape.waits, empty, **kind
    )
    channels = Channels(loop=loop, now=lambda: EPOCH + loop.time())
    true_time = TrueTime(lambda: EPOCH + loop.time())
    crash_plan = CrashPlan(
        rng_for(f"{seed}/fate"), shape.crash_chance, dict(shape.at_failpoints)
    )
    try:
        with patched(
            loop,
            network,
            seed,
            lambda: simulation.pace,
            true_time,
            channels=channels,
            notifies=shape.notifies,
            trace=trace,
        ):
            settings = loop.run_until_complete(
                loop.live(None, load_settings(workspace.folder))
            )
            simulation = Simulation(
                seed=seed,
                shape=shape,
                loop=loop,
                rng=rng_for(f"{seed}/people"),
                workspace=workspace,
                platforms=platforms,
                host=SimulatedHost(ahead=shape.skew),
                crash_plan=crash_plan,
                settings=replace(
                    settings, users_needed=None
                ),  # nobody signs in here: people act on the store
                network=network,
                true_time=true_time,
                channels=channels,
                pace=shape.pace,
            )
            network.connect_failure = lambda: (
                simulation.connect_failure
                or (
                    connect.choice(["refused", "no_name", "silence"])
                    if connect.random() < shape.connect
                    else None
                )
            )
            faults = platforms.faults
            faults.create, faults.read, faults.other = (
                shape.create,
                shape.read,
                shape.other,
            )
            for account in shape.accounts:
                platforms.add_older_post(platform_of(account), identity_of(account))
            for entry in entries:
                workspace.add(entry)
            workspace.write(instant(simulation.now - 5))
            loop.live(None, simulation.supervise()).add_done_callback(
                simulation.note_supervisor_end
            )
            for at in shape.kills:
                loop.call_later(at, simulation.kill)
            for at, seconds in shape.freezes:
                loop.call_later(at, simulation.freeze, seconds)
            yield simulation
            simulation.stop()
    finally:
        loop.close()
        workspace.remove()
