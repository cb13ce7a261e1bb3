"""P4, P13, P12: what a long history, a sudden death and a long plan cost."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from publisher.domain.post import SendRequest
from publisher.store.db.intent_journal import JOURNAL_RETENTION, write_journal
from tests.bench.figures import Figure, median, percentile
from tests.bench.rig import daemon, double, schedule_of, wait_for_words, workspace
from tests.bench.store import application, file_schedule, ripen_all

ACCOUNTS = 150
SMALL, LARGE = 1_000, 1_000_000
ROUNDS = 7
OPEN_POSTS = 70
"""Posts to every account that are due while the daemon is dead: 10,500 deliveries."""
PATIENCE = 60.0
SETTLED, WATCHED = 20.0, 60.0
"""Seconds until a daemon has read its schedule, and of the watch that follows."""
TICKS = os.sysconf("SC_CLK_TCK")

PAST = """
WITH RECURSIVE past(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM past WHERE n < :rows)
INSERT INTO delivery (
    post, occurrence, account, platform, login, state, version, revision_hash, content_hash, rendered_hash,
    scheduled_at, due_at, expires_at, max_delay, updated_at, is_urgent, attempts, fencing_token, readbacks,
    auth_failures, failures, worker_crashes, remote_id, url, published_at, is_manually_confirmed, was_resent, desired)
SELECT 'past-' || (n / :accounts), 'once', 'a' || (n % :accounts), 'weibo', 'weibo/a' || (n % :accounts), 'published',
    5, 'r', 'd', 'f', :then + n, :then + n, :then + n, 0, :then + n, 0, 1, 1, 0, 0, 0, 0, '1' || n, 'https://example.cn',
    :then + n, 0, 0, 'as_planned' FROM past
"""
TRIED = """
INSERT INTO attempt (
    delivery, number, fencing_token, login, account, worker, rendered_hash, baseline_at, intended_at, ended_at, outcome,
    detail)
SELECT id, 1, 1, login, account, 'w', 'f', due_at, due_at, due_at, 'published', '{}' FROM delivery
WHERE state = 'published'
"""


def p4(_publisher: Sequence[str], runs: int, large: int = LARGE) -> list[Figure]:
    """Measure claiming and announcing a post on every account, on top of a short and a long history."""
    short = median([asyncio.run(announce(SMALL)) for _ in range(runs)])
    long = asyncio.run(announce(large))
    parts = {f"us at {SMALL:,}": short * 1e6, f"us at {large:,}": long * 1e6}
    name = f"claim + intend, {large:,} past deliveries / {SMALL:,}"
    return [Figure(id="P4", name=name, value=long / short, goal=1.5, parts=parts)]


async def announce(rows: int) -> float:
    """Give the seconds that one delivery takes to be claimed and announced, the median of several rounds."""
    with workspace(ACCOUNTS) as folder:
        (folder / "schedule.toml").write_text(schedule_of(ROUNDS, None), "utf-8")
        await file_schedule(folder)
        fill(folder, rows)
        seconds = []
        async with application(folder, can_send=True) as opened:
            await ripen_all(opened.store.maintenance)
            for _ in range(ROUNDS):
                began = time.perf_counter()
                leases = await opened.store.outbox.claim(ACCOUNTS)
                answers = await asyncio.gather(*(opened.store.outbox.record_intent(lease) for lease in leases))
                seconds.append((time.perf_counter() - began) / ACCOUNTS)
                if [type(answer) for answer in answers] != [SendRequest] * ACCOUNTS:
                    raise AssertionError(answers)
                _publish(folder)
        return median(seconds)


def fill(folder: Path, rows: int) -> None:
    """Add so many past deliveries with their attempts, spread over the accounts, and the journal as it is by then.

    They are so long ago that their lines have been left out of it.
    """
    then = datetime.now(UTC) - 2 * JOURNAL_RETENTION
    facts = {"rows": rows, "accounts": ACCOUNTS, "then": int(then.timestamp() * 1e6)}
    with sqlite3.connect(folder / "var" / "publisher.db") as connection:
        connection.execute(PAST, facts)
        connection.execute(TRIED)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    write_journal(folder / "var" / "intents.jsonl", (), then + timedelta(microseconds=rows))


def _publish(folder: Path) -> None:
    """End the announced calls, as if all had gone well."""
    with sqlite3.connect(folder / "var" / "publisher.db") as connection:
        connection.execute(
            "UPDATE delivery SET state = 'published', version = version + 1, remote_id = '9' || id,"
            " published_at = due_at WHERE state = 'sending'"
        )
    connection.close()


def p13(publisher: Sequence[str], runs: int) -> list[Figure]:
    """Measure from a kill in the middle of a backlog to the first call of the next daemon."""
    seconds = [_revive(publisher) for _ in range(runs)]
    name = "kill -9 to first call after restart, 10,000 open"
    return [Figure(id="P13", name=name, value=median(seconds), goal=3.0, unit="s", parts={"worst": max(seconds)})]


def _revive(publisher: Sequence[str]) -> float:
    with double() as platform, workspace(ACCOUNTS, platform.base_url) as folder:
        (folder / "schedule.toml").write_text(schedule_of(OPEN_POSTS, None), "utf-8")
        asyncio.run(file_schedule(folder))
        with daemon(folder, publisher) as process:
            platform.wait_for(1, 60, glance=0.05)
            process.kill()
            process.wait()
        killed_at = time.time()
        with daemon(folder, publisher):
            while not (later := [at for at in platform.calls()[0] if at > killed_at]):
                if time.time() > killed_at + PATIENCE:
                    raise TimeoutError("no call after the restart")
                time.sleep(0.05)
        return percentile(later, 0) - killed_at


def p12(publisher: Sequence[str], _runs: int) -> list[Figure]:
    """Measure the processor time of a daemon that has nothing to do but 10,000 posts to come."""
    at = datetime.now(UTC) + timedelta(days=1)
    with workspace(3) as folder:
        (folder / "schedule.toml").write_text(schedule_of(10_000, at, [["a0"], ["a1"], ["a2"]]), "utf-8")
        asyncio.run(file_schedule(folder))
        with daemon(folder, publisher) as process:
            wait_for_words(folder, "own_leases_expired", 60)
            time.sleep(SETTLED)
            began, before = time.monotonic(), _processor_seconds(process.pid)
            time.sleep(WATCHED)
            share = (_processor_seconds(process.pid) - before) / (time.monotonic() - began)
    name = "processor of an idle daemon, 10,000 future posts"
    return [Figure(id="P12", name=name, value=share * 100, goal=0.5, unit="%")]


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
