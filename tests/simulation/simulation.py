"""One run: publisher's daemon, the platforms and people, from one seed, in made-up time."""

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
from publisher.domain.errors import IllegalTransitionError, InputError, RefusedError
from publisher.domain.post import PostId
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.engine.planner import apply_schedule, resend_post, send_scheduled_now
from publisher.runtime.clock import FAILPOINT_NAMES, Runtime
from publisher.store.plan.posts import AuditAction
from publisher.store.recovery.setup import prepare_database
from tests.simulation.loop import Life, VirtualLoop, dice_for
from tests.simulation.network import Network
from tests.simulation.patched_runtime import Fate, Host, SimWorld, TrueTime, made_up, made_up_bytes
from tests.simulation.platforms import EPOCH, Platforms, open_platforms
from tests.simulation.workspace import Entry, Waits, Workspace, identity_of, instant, make_workspace, platform_of

ENDED = frozenset({"published", "retracted", "removed", "failed", "expired", "cancelled"})
LONGEST_CALM = 6 * 3600.0
MOST_RULINGS = 8
GLANCE = 0.25
"""Seconds between two looks at what is waited for."""
NEWER_RELEASE = 0.3
"""How often a dead daemon leaves a journal as a newer release writes it."""
RESTART = (0.2, 8.0)
"""Seconds until a dead daemon is started again."""
DEADLY = tuple(sorted(FAILPOINT_NAMES - {"migrate.mid"}))


@dataclass(slots=True, kw_only=True)
class Shape:
    """What a seed stands for: who publishes what, what goes wrong, and how long the storm lasts."""

    accounts: tuple[str, ...]
    storm: float
    create: float = 0.0
    read: float = 0.0
    other: float = 0.0
    connect: float = 0.0
    chance_of_death: float = 0.0
    appointed: dict[str, int] = field(default_factory=dict)
    kills: list[float] = field(default_factory=list)
    freezes: list[tuple[float, float]] = field(default_factory=list)
    orders: list[float] = field(default_factory=list)
    pace: float = 2.0
    skew: float = 0.0
    per_hour: int = 1000
    waits: Waits = field(default_factory=Waits)


@dataclass(eq=False)
class Simulation:
    """A run that can be driven step by step. Use it as `with opened(…) as simulation`."""

    seed: str
    shape: Shape
    loop: VirtualLoop
    dice: Random
    workspace: Workspace
    platforms: Platforms
    host: Host
    fate: Fate
    settings: Settings
    network: Network
    true_time: TrueTime
    interruptions: list[dict[str, Any]] = field(default_factory=list)
    """What happened to the daemon and to its clock, and when."""
    outages: list[dict[str, Any]] = field(default_factory=list)
    """Times in which no call got through, or no daemon ran."""
    clocks: list[tuple[float, float]] = field(default_factory=list)
    """From which true instant on the host's clock was how many seconds ahead."""
    wrong: list[str] = field(default_factory=list)
    deaths: Counter[str] = field(default_factory=Counter)
    life: Life | None = None
    is_over: bool = False
    pace: float = 2.0
    lives: int = 0
    starts_at: float = 0.0
    """No daemon starts before."""
    trouble: str | None = None
    """What becomes of every attempt to connect."""
    past: range = range(0)
    """The numbers of deliveries that ended before the run began, and what was known of them."""
    remembered: Sequence[sqlite3.Row] = ()
    began_at: float = EPOCH
    """Since when it is judged what the platforms saw."""
    calm_since: float = 0.0
    orders: list[dict[str, Any]] = field(default_factory=list)
    together: int = 1000
    """So many new deliveries are filed in one transaction with their schedule."""
    old_versions: Mapping[int, str] = field(default_factory=dict)
    """The texts of accepted schedules that the database do not keep any more, by number."""

    # --- lives ---

    def new_world(self) -> SimWorld:
        """Give a process its world; what it comes to know of its clock ends with it."""
        return SimWorld(loop=self.loop, fate=self.fate, host=self.host, fell=self.fell)

    async def keep_alive(self) -> None:
        """Start the daemon again whenever it has ended, as the system's supervisor does."""
        dice = dice_for(f"{self.seed}/releases")
        while not self.is_over:
            self.lives += 1
            life = self.life = Life(name=f"life-{self.lives}", is_mortal=True)
            gone = asyncio.get_running_loop().create_future()
            life.ends.append(lambda gone=gone: gone.done() or gone.set_result(None))
            task = self.loop.live(life, run(self.settings, self.new_world()))
            task.add_done_callback(lambda _task, gone=gone: gone.done() or gone.set_result(None))
            await gone
            if life.is_dead:
                self.deaths[life.died_at or "?"] += 1
                self.interrupt("killed")
            elif task.done() and not task.cancelled() and task.exception() is not None:
                self.wrong.append(f"the daemon ended by itself: {task.exception()!r}")
                self.is_over = True
                return
            if dice.random() < NEWER_RELEASE:
                self.workspace.enrich_journal()
            await asyncio.sleep(max(self.dice.uniform(*RESTART), self.starts_at - self.loop.time()))

    def note_end(self, task: "asyncio.Task[None]") -> None:
        """A supervisor that fails would leave a run in which nothing happens, and so nothing is wrong."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.wrong.append(f"the supervisor failed: {error!r}")

    def kill(self) -> None:
        """Kill the daemon where it stands."""
        if self.life is not None and not self.life.is_dead:
            self.loop.kill(self.life, "kill")

    def stop_for(self, seconds: float) -> None:
        """Kill the daemon, and let nobody start it for a while."""
        self.starts_at = self.loop.time() + seconds
        self.outages.append({"scope": "all", "from": self.now, "to": self.now + seconds})
        self.interrupt("down")
        self.kill()

    def cut_off(self, trouble: str, seconds: float) -> None:
        """Let no call get through for a while."""
        self.trouble = trouble
        self.outages.append({"scope": "all", "from": self.now, "to": self.now + seconds})
        self.loop.call_later(seconds, setattr, self, "trouble", None)

    def boot(self, ahead: float) -> None:
        """Let the host start again, with a clock that is so much ahead."""
        self.kill()
        self.host.booted_at = self.loop.time()
        self.set_clock(ahead)

    def set_clock(self, ahead: float) -> None:
        """Set the host's clock."""
        self.host.ahead = ahead
        self.clocks.append((self.now, ahead))
        self.interrupt("clock")

    def ahead_at(self, instant: float) -> float:
        """Say how many seconds the host's clock was ahead at a true instant."""
        return next((ahead for since, ahead in reversed(self.clocks) if since <= instant), self.shape.skew)

    def freeze(self, seconds: float) -> None:
        """Stop the daemon for a while; the world goes on."""
        life = self.life
        if life is not None and not life.is_dead and not life.is_frozen:
            self.interrupt("frozen")
            life.is_frozen = True
            self.loop.call_later(seconds, self.loop.thaw, life)

    def fell(self, name: str) -> None:
        """A death in the middle of writing the journal leaves a torn line."""
        if name == "intent.after_commit" and self.dice.random() < 0.5:
            self.workspace.tear_journal(self.dice.random())

    def interrupt(self, kind: str) -> None:
        self.interruptions.append({"at": self.now, "kind": kind})

    # --- time ---

    @property
    def now(self) -> float:
        return EPOCH + self.loop.time()

    def pass_time(self, seconds: float, *, pace: float | None = None) -> None:
        """Let time pass; with `pace` the daemon's jobs come as many times more seldom as it says."""
        self.pace = pace or self.shape.pace
        self.loop.run_until_complete(self.loop.live(None, asyncio.sleep(seconds)))
        self.pace = self.shape.pace

    def pass_until(self, is_so: Callable[[], object], most: float) -> bool:
        """Let time pass until something is so, but no more than so many seconds; gives whether it is."""
        until = self.loop.time() + most
        while not (found := bool(is_so())) and self.loop.time() < until:
            self.pass_time(GLANCE)
        return found

    def calm_down(self) -> None:
        """End the storm; then let time pass, and people rule, until everything has come to rest."""
        self.calm_since = self.now
        if self.clocks:
            self.set_clock(self.shape.skew)
        self.platforms.mischief.clear()
        self.shape.connect, self.trouble = 0.0, None
        self.network.slowness = lambda: 0.0
        self.fate.chance = 0.0
        self.fate.appointed.clear()
        self.workspace.write(instant(self.now))
        self.pass_time(45)
        self.resume_all()
        until = self.loop.time() + LONGEST_CALM
        for _ in range(MOST_RULINGS):
            self._wait_for_rest(until)
            for post in sorted(self.platforms.world.posts.values(), key=lambda one: one.id):
                if post.state == "review" and post.review.get("due") is None:
                    self.platforms.world.decide_review(post, "pass")
            self.resume_all()
            if self.is_over or not self.rule_held():
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
        """Whether nothing moves any more, but what a person must decide, or what waits for such a thing."""
        rows = self.rows("SELECT * FROM delivery")
        is_told = bool(rows) or bool(self.rows("SELECT id FROM alert WHERE code = 'reload_refused'"))
        return is_told and all(
            row["state"] in ENDED
            or row["state"] == "held"
            or row["id"] in following_held(rows)
            or self.is_left_red(row)
            for row in rows
        )

    def is_left_red(self, row: sqlite3.Row) -> bool:
        """Whether it is to be taken down, but is under a review that the platform ended without a word."""
        copies = [post for post in self.copies(row) if post.state in ("live", "review")]
        return bool(row["state"] == "retracting" and row["ticket"] is not None and not copies)

    def stop(self) -> None:
        """End the daemon in order."""
        self.is_over = True
        if self.life is not None:
            self.loop.kill(self.life, "end")

    # --- what stands where ---

    def rows(self, query: str, *facts: object) -> list[sqlite3.Row]:
        """Ask the database, without the product."""
        with contextlib.closing(sqlite3.connect(self.workspace.database)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(query, facts).fetchall()

    def deliveries(self) -> list[sqlite3.Row]:
        """Give the deliveries of the run; what ended before it is none of its own."""
        return self.rows("SELECT * FROM delivery WHERE id < ? OR id >= ? ORDER BY id", self.past.start, self.past.stop)

    def remember_past(self) -> None:
        """Note how what ended before the run stands now."""
        columns = "id, post, occurrence, account, state, attempts, remote_id"
        query = f"SELECT {columns} FROM delivery WHERE id >= ? AND id < ? ORDER BY id"  # noqa: S608 # names of columns
        self.remembered = self.rows(query, self.past.start, self.past.stop)

    @property
    def log(self) -> list[dict[str, Any]]:
        """Give what the platforms saw."""
        return list(json.loads(self.platforms.world.event_log.read_since(0)))

    def digest(self) -> str:
        """Name the whole history: what the platforms saw, and every entry of the audit."""
        reported = hashlib.sha256(self.platforms.world.event_log.read_since(0))
        for row in self.rows("SELECT * FROM audit ORDER BY id"):
            reported.update(repr(tuple(row)).encode())
        return reported.hexdigest()

    def copies(self, delivery: sqlite3.Row) -> list[Any]:
        """Give what the platforms ever made of a delivery, in the order of its making, by its marker if kept."""
        kept = self.rows("SELECT body FROM rendered_post WHERE fingerprint = ?", delivery["rendered_hash"])
        marker = json.loads(kept[0]["body"])["marker"]["code"] if kept else None
        found = [
            post
            for post in self.platforms.world.posts.values()
            if post.account == identity_of(delivery["account"])
            and not post.extra.get("by_hand")
            and marker is not None
            and any(marker in text for text in _words_of(post))
        ]
        return sorted(found, key=lambda post: (post.created, post.id))

    # --- people ---

    def order(self, command: Coroutine[Any, Any, None]) -> None:
        """Run a person's command in a process of its own; it may be refused."""
        with contextlib.suppress(RefusedError, IllegalTransitionError, InputError):
            self.loop.run_until_complete(self.loop.live(Life(name="person"), command))

    def resume_all(self) -> None:
        for row in self.rows("SELECT scope FROM pause ORDER BY scope"):
            self.order(self.resume(row["scope"]))

    def rule_held(self, most: int = 1000) -> list[sqlite3.Row]:
        """Decide about what is held, so many deliveries at most; return them."""
        held = self.rows("SELECT id FROM delivery WHERE state = 'held' ORDER BY id LIMIT ?", most)
        for row in held:
            self.order(self.rule(row["id"]))
        return held

    async def pause(self, scope: str) -> None:
        with self._written_down("pause", "li", scope=scope):
            async with open_store(self.settings, self.new_world()) as store:
                await store.actions.pause(scope, named_person("li"), "drill")

    async def resume(self, scope: str) -> None:
        with self._written_down("resume", "li", scope=scope):
            async with open_store(self.settings, self.new_world()) as store:
                await store.actions.resume(scope, named_person("li"))

    async def withdraw(self, post: str) -> None:
        with self._written_down("cancel", "li", post=post):
            async with open_store(self.settings, self.new_world()) as store:
                await store.actions.cancel_post(PostId(post), named_person("li"), "not wanted")

    async def retract(self, post: str, account: str | None = None) -> None:
        with self._written_down("retract", "li", post=post, account=account):
            async with open_store(self.settings, self.new_world()) as store:
                await store.actions.retract(PostId(post), account, named_person("li"), "wrong")  # type: ignore[arg-type]

    @contextlib.contextmanager
    def _written_down(self, kind: str, by: str, **target: str | None) -> Iterator[None]:
        """Note what a person does, unless it is refused."""
        asked = self.now
        yield
        self.orders.append({"kind": kind, "by": by, "asked_at": asked, "at": self.now, **target})

    async def reload(self) -> None:
        """Have the schedule read now, as `publisher reload` does."""
        async with open_application(self.settings, self.new_world(), can_send=False) as application:
            file = self.workspace.schedule
            await apply_schedule(application.planner, file.read_text("utf-8"), str(file))

    async def send(self, post: str) -> None:
        """Have a post of the schedule sent now, as `publisher send` does."""
        async with open_application(self.settings, self.new_world(), can_send=False) as application:
            filed = await application.store.posts.get_post(PostId(post))
            if filed is None:
                return
            act = AuditAction(event="send_requested", subject=post, by=named_person("li"))
            with self._written_down("send", "li", post=post):
                await send_scheduled_now(application.planner, filed, act)
                await application.store.maintenance.promote_requested([filed.id])

    async def resend(self, number: int) -> None:
        """Order a new occurrence for one that ended badly, as `publisher resend` does."""
        async with open_application(self.settings, self.new_world(), can_send=False) as application:
            [old] = [item for item in await application.store.queries.deliveries() if item.id == number]
            post = await application.store.posts.get_post(old.key.post)
            if post is None or old.state not in {State.FAILED, State.EXPIRED, State.REMOVED}:
                return
            act = AuditAction(
                event="resend_requested", subject=f"{old.key.post}@{old.account}", by=named_person("wang")
            )
            with self._written_down("resend", "wang", post=old.key.post, account=old.account):
                await resend_post(application.planner, post, [old.account], [act])

    async def rule(self, number: int) -> None:
        """Decide about a held delivery as a careful person does: look at the platform first, and wait if it may lag."""
        [row] = self.rows("SELECT * FROM delivery WHERE id = ?", number)
        [last] = self.rows("SELECT max(id) AS id FROM attempt WHERE delivery = ?", number)
        if last["id"] and self.now < self.true_time.of_attempt(last["id"]) + self.shape.waits.settle + 20:
            return
        copies = [post for post in self.copies(row) if post.state in ("live", "review")]
        if any(post.state == "review" for post in copies):
            return
        if row["reason"] == "undeletable":
            for post in copies:
                self.platforms.world.remove_post(post, "owner")
            copies = []
        ruling, more = self._choose(row, copies)
        await self.resolve(number, ruling, **more)

    async def resolve(self, number: int, ruling: Resolution, **more: str) -> None:
        """Decide about a held delivery, as `publisher resolve` does."""
        async with open_store(self.settings, self.new_world()) as store:
            [held] = [item for item in await store.queries.deliveries() if item.id == number]
            with self._written_down("resolve", "zhao", post=held.key.post, account=held.account):
                await resolve_delivery(store, held, ruling, by="zhao", reason="looked", **more)

    def _choose(self, held: sqlite3.Row, copies: Sequence[Any]) -> tuple[Resolution, dict[str, str]]:
        if copies:
            url = {"url": f"https://example.com/{copies[-1].id}"}
            again = held["reason"] in ("report_not_confirmed", "possible_match", "uncheckable")
            return Resolution.PUBLISHED, url | ({"second_person": "qian"} if again else {})
        if held["reason"] == "undeletable":
            return Resolution.NOT_PUBLISHED, {}
        if held["attempts"] == 0 and self.dice.random() < 0.5:
            return Resolution.RESEND, {}
        return self.dice.choice([Resolution.RESEND, Resolution.RESEND, Resolution.NOT_PUBLISHED, Resolution.CANCEL]), {}

    def edit(self, post: str, **changes: Any) -> None:
        """Change an entry of the schedule and save the file."""
        entry = self.workspace.entries.get(post)
        if entry is not None:
            self.workspace.add(replace(entry, **changes))
            self.workspace.edited.add(post)
            self.save()

    def strike(self, post: str) -> None:
        """Take an entry out of the schedule."""
        if len(self.workspace.entries) > 1 and self.workspace.entries.pop(post, None):
            self.workspace.edited.add(post)
            self.save()

    def save(self) -> None:
        """Save the schedule, now and then in two steps, the first of which leaves half a file."""
        if self.dice.random() < 0.2:
            self.workspace.write(instant(self.now), cut=True)
            self.loop.call_later(3.0, lambda: self.workspace.write(instant(self.now)))
        else:
            self.workspace.write(instant(self.now))


def _words_of(post: Any) -> tuple[str, str]:
    """Give all words of a post, those that were sent before the platform had its way too, forwards and backwards."""
    words = f"{json.dumps(post.extra, ensure_ascii=False)} {post.title} {post.text} {post.html}"
    return words, words[::-1]


def following_held(rows: Sequence[sqlite3.Row]) -> set[int]:
    """Name what is due but waits for a post that a person must decide about, or for another that does."""
    stuck = {(row["post"], row["account"]) for row in rows if row["state"] == "held"}
    waiting: set[int] = set()
    for _ in rows:  # a chain is no longer than all of them
        found = [row for row in rows if row["state"] == "due" and (row["follows"], row["account"]) in stuck]
        stuck |= {(row["post"], row["account"]) for row in found}
        waiting |= {row["id"] for row in found}
    return waiting


@cache
def empty_database() -> Path:
    """Give a database that stands at the newest migration, made once."""
    folder = Path(tempfile.mkdtemp(prefix="publisher-sim-empty-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "publisher.db"
    with made_up_bytes("empty"):
        asyncio.run(prepare_database(f"sqlite:///{file}", "drill", folder / "intents.jsonl", Runtime()))
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file


@contextlib.contextmanager
def opened(seed: str, shape: Shape, entries: Sequence[Entry], *, trace: bool = False) -> Iterator[Simulation]:
    """Give a run whose daemon is about to start."""
    loop = VirtualLoop(dice_for(f"{seed}/loop"))
    platforms = open_platforms(loop, dice_for(f"{seed}/mischief"))
    connect = dice_for(f"{seed}/connect")
    network = Network(loop, platforms.application, dice_for(f"{seed}/network"))
    workspace = make_workspace(shape.accounts, shape.per_hour, shape.waits, empty_database())
    true_time = TrueTime(lambda: EPOCH + loop.time())
    fate = Fate(dice_for(f"{seed}/fate"), shape.chance_of_death, dict(shape.appointed))
    try:
        with made_up(loop, network, seed, lambda: simulation.pace, true_time, trace=trace):
            settings = loop.run_until_complete(loop.live(None, load_settings(workspace.folder)))
            simulation = Simulation(
                seed=seed,
                shape=shape,
                loop=loop,
                dice=dice_for(f"{seed}/people"),
                workspace=workspace,
                platforms=platforms,
                host=Host(ahead=shape.skew),
                fate=fate,
                settings=settings,
                network=network,
                true_time=true_time,
                pace=shape.pace,
            )
            network.troubles = lambda: (
                simulation.trouble
                or (connect.choice(["refused", "no_name", "silence"]) if connect.random() < shape.connect else None)
            )
            mischief = platforms.mischief
            mischief.create, mischief.read, mischief.other = shape.create, shape.read, shape.other
            for account in shape.accounts:
                platforms.furnish(platform_of(account), identity_of(account))
            for entry in entries:
                workspace.add(entry)
            workspace.write(instant(simulation.now - 5))
            loop.live(None, simulation.keep_alive()).add_done_callback(simulation.note_end)
            yield simulation
            simulation.stop()
    finally:
        loop.close()
        workspace.remove()
