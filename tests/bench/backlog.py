"""P11, P6: a hundred thousand open deliveries, in memory and in the way of an urgent post."""

import asyncio
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench.figures import Figure, percentile
from tests.bench.rig import POST, daemon, double, schedule_of, wait_for_words, workspace
from tests.bench.store import file_schedule

ACCOUNTS = 150
POSTS = 667
"""Posts to every account: 100,050 deliveries."""
LATENCY = 0.05
"""Seconds that the platform takes to answer."""
SETTLED = 30.0
"""Seconds until a daemon has read its schedule and planned."""
DRAINING = 150
"""Calls after which the backlog counts as being worked off."""
URGENT = "URGENT-POST"
MEGABYTE = 1024 * 1024


def p11(publisher: Sequence[str], _runs: int) -> list[Figure]:
    """Measure a daemon's memory with nothing to do, and with a hundred thousand deliveries to come."""
    with workspace(ACCOUNTS) as folder:
        (folder / "schedule.toml").write_text(schedule_of(1, _tomorrow()), "utf-8")
        asyncio.run(file_schedule(folder))
        idle = _resident(folder, publisher)
    with _backlog() as folder:
        laden = _resident(folder, publisher)
    return [
        Figure(id="P11", name="memory of a daemon with 150 accounts, idle", value=idle, goal=120, unit="MB"),
        Figure(id="P11", name="100,000 open deliveries, in addition", value=laden - idle, goal=60, unit="MB"),
    ]


def p6(publisher: Sequence[str], _runs: int) -> list[Figure]:
    """Measure from an urgent post's due time to its first bytes, while a backlog is being worked off."""
    with double(LATENCY, URGENT) as platform, _backlog(platform.base_url) as folder:
        _fall_due(folder)
        with daemon(folder, publisher):
            platform.wait_for(DRAINING, 120)
            file = folder / "urgent.toml"
            text = POST.format(id="urgent", number=1, at='"asap"', to='["all"]').replace("凡自称", f"{URGENT}凡自称")
            file.write_text(text.replace('author = "zhang"', 'author = "zhang"\nurgent = true'), "utf-8")
            subprocess.run([*publisher, "-C", folder, "send", file, "--by", "bench"], check=True, capture_output=True)
            until = time.monotonic() + 60
            while len(marked := platform.marked()) < ACCOUNTS and time.monotonic() < until:
                time.sleep(0.5)
        with closing(sqlite3.connect(folder / "var" / "publisher.db")) as connection:
            [(due_at,)] = connection.execute("SELECT DISTINCT due_at FROM delivery WHERE post = 'urgent'")
    delays = [at - due_at / 1e6 for at in marked]
    parts = {"accounts": len(delays), "p99 s": percentile(delays, 0.99)}
    name = "urgent post behind 100,000 others, first byte"
    return [Figure(id="P6", name=name, value=min(delays), goal=1, unit="s", parts=parts)]


@contextmanager
def _backlog(base_url: str = "http://127.0.0.1:1") -> Iterator[Path]:
    with workspace(ACCOUNTS, base_url) as folder:
        (folder / "schedule.toml").write_text(schedule_of(POSTS, _tomorrow()), "utf-8")
        filed = asyncio.run(file_schedule(folder))
        if filed != ACCOUNTS * POSTS:
            raise AssertionError(filed)
        yield folder


def _tomorrow() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


def _fall_due(folder: Path) -> None:
    """Let the whole backlog fall due at this instant."""
    now = int(time.time() * 1e6)
    with closing(sqlite3.connect(folder / "var" / "publisher.db")) as connection, connection:
        connection.execute("UPDATE delivery SET due_at = ?, next_action_at = ?, max_delay = 86400000000", (now, now))


def _resident(folder: Path, publisher: Sequence[str]) -> float:
    """Give the megabytes that a daemon at rest holds in memory."""
    with daemon(folder, publisher) as process:
        wait_for_words(folder, "own_leases_expired", 60)
        time.sleep(SETTLED)
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        return int(fields["VmRSS"].split()[0]) * 1024 / MEGABYTE
