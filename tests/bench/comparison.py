"""P2: publisher beside a user's alternatives for the same job: speed, and effects of `kill -9`.

The job: many deliveries are enqueued durably, each is posted over a connection of its own, and each
result is stored durably. 64 are in flight, or the nearest setting. Peers run in environments of
their own, with pinned versions.
"""

import asyncio
import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from sqlalchemy import create_engine, text

from publisher.domain.delivery import FINAL_STATES, State
from tests.bench.database import accept_schedule, database_file, postgres
from tests.bench.figures import BenchOptions, Figure, SkippedError, median
from tests.bench.platform import PlatformClient, run_platform
from tests.bench.process import processor_seconds, running
from tests.bench.workspace import ROOT, format_posts, workspace, write_schedule
from tests.wait import wait_until

ACCOUNTS = 150
KILLS = 10
TIMEOUT_SECONDS = 300
CALLS_BEFORE_KILL = 20
KILL_LATENCY_SECONDS = 0.05
"""How long the platform takes to answer while processes are killed: calls are in flight then."""
START_TIMEOUT_SECONDS = 60
"""Seconds until a restarted worker has made its first calls, on a busy machine.

Without any call by then, all have been made.
"""
QUIET_SECONDS = 30
"""A job without a new call for so long is not going to make one: every recovery is faster."""
SHORT_TIMES = """
request_timeout = "1.5s"
lease_timeout = "2s"
visibility_window = "3s"
review_window = "4s"
first_check_after = "0.4s"
retry_first = "0.2s"
platform_clock_tolerance = "1s"
"""
"""Of publisher while it is killed, as short as the heartbeats of Procrastinate."""
_COUNT = "SELECT count(*) FROM delivery WHERE state"
_WAITING = f"{_COUNT} NOT IN ('{State.PUBLISHED}', {', '.join(map(repr, map(str, sorted(FINAL_STATES))))})"
"""Held deliveries, and ones that will be: unread unknown outcomes, and posts behind them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchJob:
    """One job to enqueue and work on: the command of its worker, and the count of stored results.

    `count_waiting` counts the deliveries for a person: neither sent nor given up, and nothing goes
    on by itself.
    """

    worker: Sequence[str | Path]
    count_stored: Callable[[], int]
    enqueue_seconds: float
    count_waiting: Callable[[], int] = lambda: 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A program of tests/bench/peers.

    `stored` counts its durable results. `pins` is its file of pinned versions. Without `pins` it
    runs in our own environment.
    """

    name: str
    module: str
    stored: str
    pins: str | None = None
    needs_postgres: bool = False

    @contextlib.contextmanager
    def enqueued(self, platform: PlatformClient, count: int) -> Iterator[BenchJob]:
        """Enqueue a job in a new database. Raises SkippedError if the peer is not installable."""
        python = install(self.pins) if self.pins else Path(sys.executable)
        with contextlib.ExitStack() as stack:
            if self.needs_postgres:
                url = stack.enter_context(postgres())()
            else:
                folder = stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="publisher-bench-peer-")
                )
                url = f"sqlite:///{folder}/jobs.db"
            program = [python, "-m", f"tests.bench.peers.{self.module}"]
            began = time.perf_counter()
            subprocess.run(
                [*program, "enqueue", url, platform.base_url, str(count)],
                check=True,
                cwd=ROOT,
            )
            seconds = time.perf_counter() - began
            worker = [*program, "work", url, platform.base_url]
            with counter(url, self.stored) as count_stored:
                yield BenchJob(
                    worker=worker, count_stored=count_stored, enqueue_seconds=seconds
                )


PEERS = (
    Peer(
        name="APScheduler + httpx + SQLModel",
        module="naive",
        stored="SELECT count(*) FROM naivejob WHERE remote_id IS NOT NULL",
    ),
    Peer(
        name="Huey + SQLite",
        module="huey_tasks",
        stored="SELECT count(*) FROM kv",
        pins="huey.txt",
    ),
    Peer(
        name="Procrastinate + PostgreSQL",
        module="procrastinate_tasks",
        stored=(
            "SELECT count(*) FROM procrastinate_jobs"
            " WHERE status = 'succeeded' AND task_name = 'post'"
        ),
        pins="procrastinate.txt",
        needs_postgres=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherSubject:
    """Publisher's daemon on SQLite, with up to 300 calls in flight.

    Its job is a schedule, accepted and filed.
    """

    command: Sequence[str]
    name: str = "publisher + SQLite"

    @contextlib.contextmanager
    def enqueued(
        self, platform: PlatformClient, count: int, limits: str = ""
    ) -> Iterator[BenchJob]:
        with workspace(ACCOUNTS, platform.base_url, limits=limits) as folder:
            recipients = [[f"a{number}"] for number in range(ACCOUNTS)]
            write_schedule(folder, format_posts(count, None, recipients))
            began = time.perf_counter()
            asyncio.run(accept_schedule(folder))
            seconds = time.perf_counter() - began
            url = f"sqlite:///{database_file(folder)}"
            with (
                counter(url, f"{_COUNT} = '{State.PUBLISHED}'") as stored,
                counter(url, _WAITING) as waiting,
            ):
                worker = [*self.command, "-C", folder, "run"]
                yield BenchJob(
                    worker=worker,
                    count_stored=stored,
                    enqueue_seconds=seconds,
                    count_waiting=waiting,
                )


@contextlib.contextmanager
def counter(url: str, query: str) -> Iterator[Callable[[], int]]:
    """Yield a function that asks a database for a number."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

    def count() -> int:
        with engine.connect() as connection:
            return int(connection.execute(text(query)).scalar_one())

    yield count
    engine.dispose()


def install(file: str) -> Path:
    """Return the Python of an environment with exactly these packages, made at first use.

    It is kept in the user's cache. Raises SkippedError if the packages cannot be installed.
    """
    pins = ROOT / "tests" / "bench" / "peers" / file
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        / "publisher-bench"
    )
    name = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    environment = cache / f"{pins.stem}-{name}"
    python = environment / "bin" / "python"
    made = environment / "made"
    if not made.exists():
        venv.create(environment, with_pip=True, clear=True, symlinks=True)
        command = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--requirement",
            pins,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise SkippedError(f"cannot install {file}: {reason}")
        made.touch()
    return python


def p2(options: BenchOptions) -> Iterator[Figure]:
    """Measure publisher and its peers in turn, then kill each while it works."""
    ours = PublisherSubject(command=options.publisher)
    subjects: list[PublisherSubject | Peer] = [ours]
    for peer in options.choose(PEERS, PEERS[:1]):
        try:
            if peer.pins:
                install(peer.pins)
            subjects.append(peer)
        except SkippedError as error:
            yield Figure(id="P2", name=peer.name, value=0, skipped=str(error))
    count, killed_count = options.choose(2000, 100), options.choose(600, 60)
    runs = [
        [measure_speed(subject, count) for subject in subjects]
        for _ in range(options.few_runs)
    ]
    speeds = [Speed.median(results) for results in zip(*runs, strict=True)]
    damages = [
        kill_repeatedly(subject, killed_count, options.choose(KILLS, 1))
        for subject in subjects
    ]
    for subject, speed, damage in zip(subjects, speeds, damages, strict=True):
        parts = {
            "CPU ms a delivery": speed.processor_ms,
            "enqueued/s": speed.enqueued_rate,
            **damage,
        }
        yield Figure(
            id="P2", name=subject.name, value=speed.rate, unit="/s", parts=parts
        )
    best = max(speeds[1:], key=lambda speed: speed.rate)
    yield Figure(
        id="P2",
        name="deliveries/s against the best peer",
        value=speeds[0].rate / best.rate,
        goal=1.5,
        is_minimum=True,
        parts={"deliveries/s": speeds[0].rate, "of the best peer": best.rate},
    )
    lost = damages[0]["lost"] + damages[0]["doubled"]
    name = f"lost or doubled by publisher, {damages[0]['kills']} kills over {killed_count} deliveries"
    yield Figure(id="P2", name=name, value=lost, goal=0, parts=damages[0])


@dataclass(frozen=True, slots=True)
class Speed:
    """Deliveries a second, processor milliseconds of one, and deliveries enqueued a second."""

    rate: float
    processor_ms: float
    enqueued_rate: float

    @classmethod
    def median(cls, results: Sequence["Speed"]) -> "Speed":
        return cls(
            *(median(values) for values in zip(*map(astuple, results), strict=True))
        )


def measure_speed(subject: PublisherSubject | Peer, count: int) -> Speed:
    """Let one worker do a job, and measure from the first call to the last, without its start.

    The processor time is that of the worker's processes, without a database server.
    """
    with (
        run_platform() as platform,
        subject.enqueued(platform, count) as job,
        start_worker(job) as process,
    ):
        platform.wait_for(1, TIMEOUT_SECONDS)
        before = processor_seconds(process.pid)
        calls = platform.wait_for(count, TIMEOUT_SECONDS)
        wait_until(
            lambda: job.count_stored() == count,
            TIMEOUT_SECONDS,
            f"the results of {subject.name}",
        )
        spent = processor_seconds(process.pid) - before
    if len(calls) != count:
        raise AssertionError(len(calls))
    return Speed(
        (count - 1) / (calls[-1] - calls[0]),
        spent / count * 1e3,
        count / job.enqueue_seconds,
    )


def kill_repeatedly(
    subject: PublisherSubject | Peer, count: int, kills: int
) -> Mapping[str, int]:
    """Kill the worker of a job so many times, and let the last one finish.

    Each kill comes after CALLS_BEFORE_KILL calls. Return the number of deliveries that never
    reached the platform, and of repeated calls. Return also the number of deliveries that wait for
    a person in the end, of deliveries without a result, and of kills during work.
    """
    settings = {"limits": SHORT_TIMES} if isinstance(subject, PublisherSubject) else {}
    killed = 0
    with (
        run_platform(KILL_LATENCY_SECONDS) as platform,
        subject.enqueued(platform, count, **settings) as job,
    ):
        with contextlib.suppress(TimeoutError):  # all calls are made
            while killed < kills:
                with start_worker(job) as process:
                    platform.wait_for(
                        len(platform.calls()) + CALLS_BEFORE_KILL, START_TIMEOUT_SECONDS
                    )
                    process.kill()
                    killed += 1
        with start_worker(job):
            wait_until(
                lambda: is_finished(platform, job, count),
                TIMEOUT_SECONDS,
                f"the end of {subject.name}",
            )
        texts = Counter((login, text) for _at, login, text in platform.published())
        unstored, waiting = count - job.count_stored(), job.count_waiting()
    doubled = texts.total() - len(texts)
    return {
        "lost": count - len(texts),
        "doubled": doubled,
        "waiting for a person": waiting,
        "without result": unstored,
        "kills": killed,
    }


def is_finished(platform: PlatformClient, job: BenchJob, count: int) -> bool:
    """Return True if all results are stored, or no call has come for QUIET_SECONDS."""
    return (
        job.count_stored() == count
        or time.time() - platform.calls()[-1] > QUIET_SECONDS
    )


def start_worker(
    job: BenchJob,
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    return running(job.worker, stderr=subprocess.DEVNULL, cwd=ROOT)
