"""P3: how often the disk is asked to be sure, for one delivery of a burst.

Counted by strace where there is one: every fsync and fdatasync of the process, the database's checkpoints included.
Elsewhere the journal's calls are counted, and one for each commit, which is what SQLite does in WAL mode with
synchronous=FULL; its checkpoints are then left out.

Its own process: `python syncing.py FOLDER` delivers all that is filed there, and prints what it has counted itself.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine, event

from publisher.domain.post import SendRequest
from publisher.runtime.logs import configure_logging
from tests.bench.figures import Figure, median
from tests.bench.rig import double, schedule_of, workspace
from tests.bench.store import application, file_schedule, ripen_all
from tests.bench.throughput import ACCOUNTS, deliver_all

POSTS = 7
_CALLS = re.compile(r"\b(?:fsync|fdatasync)\(")


def p3(_publisher: Sequence[str], _runs: int) -> list[Figure]:
    """Count a burst's syncs, and time a lone intent: nothing gathers before it, so it waits for its own sync only."""
    deliveries = POSTS * ACCOUNTS
    with double() as platform, workspace(ACCOUNTS, platform.base_url) as folder:
        (folder / "schedule.toml").write_text(schedule_of(POSTS, None), "utf-8")
        asyncio.run(file_schedule(folder))
        counted, way = _counted(folder)
    with workspace(ACCOUNTS) as folder:
        (folder / "schedule.toml").write_text(schedule_of(1, None), "utf-8")
        asyncio.run(file_schedule(folder))
        lone = asyncio.run(_lone_intent(folder))
    return [
        Figure(id="P3", name=f"syncs per delivery, {deliveries} at once ({way})", value=counted / deliveries, goal=0.6),
        Figure(id="P3", name="a lone intent, committed and journalled", value=lone * 1000, goal=5.0, unit="ms"),
    ]


def _counted(folder: Path) -> tuple[int, str]:
    burst = [sys.executable, "-m", "tests.bench.syncing", str(folder)]
    strace = shutil.which("strace")
    if strace is None:
        return int(subprocess.run(burst, check=True, capture_output=True, text=True).stdout), "by commits"
    trace = folder / "trace"
    subprocess.run(
        [strace, "-f", "-e", "trace=fsync,fdatasync", "-o", str(trace), *burst], check=True, stdout=subprocess.DEVNULL
    )
    return len(_CALLS.findall(trace.read_text("utf-8", "replace"))), "by strace"


async def _lone_intent(folder: Path) -> float:
    async with application(folder, can_send=True) as opened:
        await ripen_all(opened.store.maintenance)
        seconds = []
        for lease in await opened.store.outbox.claim(ACCOUNTS):
            began = time.perf_counter()
            answer = await opened.store.outbox.record_intent(lease)
            seconds.append(time.perf_counter() - began)
            assert isinstance(answer, SendRequest)
        return median(seconds)


class Counter:
    """Counts what this process asks of the disk, as far as it can see."""

    def __init__(self) -> None:
        self.syncs = 0
        self._sync = os.fdatasync

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        self._sync(descriptor)

    def commit(self, _connection: object) -> None:
        self.syncs += 1


if __name__ == "__main__":
    counter = Counter()
    os.fdatasync = counter.sync
    event.listen(Engine, "commit", counter.commit)
    with Path(os.devnull).open("w", encoding="utf-8") as nobody:
        configure_logging(nobody)
        asyncio.run(deliver_all(Path(sys.argv[1])))
    sys.stdout.write(f"{counter.syncs}\n")
