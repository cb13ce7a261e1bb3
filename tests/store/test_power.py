"""A power failure: the intent is on the disk before the first byte of a call is sent."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from publisher.domain.delivery import State, WorkerId
from publisher.store.db.database import Database, open_engine
from publisher.store.db.intent_journal import read_records
from publisher.store.db.tables import ATTEMPT
from publisher.store.recovery.setup import prepare_database
from publisher.store.store import Store
from publisher.testing.builders import make_policy
from publisher.testing.fakes import FakeRuntime

WORKER = """
import asyncio, sys
from pathlib import Path
from publisher.domain.delivery import WorkerId
from publisher.store.store import Store
from publisher.store.db.database import Database, open_engine
from publisher.store.db.intent_journal import IntentJournal
from publisher.store.deliveries.outbox import Outbox
from publisher.store.plan.posts import PostStore
from publisher.store.deliveries.maintenance import Maintenance
from publisher.store.recovery.setup import prepare_database
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeRuntime

async def main(folder, point):
    runtime = FakeRuntime(failpoints={point: ("freeze", 1)} if point else {})
    url, journal = f"sqlite:///{folder / 'publisher.db'}", folder / "intents.jsonl"
    await prepare_database(url, "drill", journal, runtime)
    database = Database(open_engine(url), runtime, IntentJournal(journal))
    store = Store(database=database, policies={"a": make_policy("a")}, worker=WorkerId("w"))
    outbox = store.outbox
    await store.posts.register_logins()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await outbox.claim(1)
    await outbox.record_intent(lease)
    print("request", flush=True)
    await store.database.close()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def cut_power(folder: Path, copy: Path, point: str) -> None:
    """Kill a worker at a failpoint, and copy the files on disk then, without unsynced data."""
    folder.mkdir()
    copy.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), point], stdout=subprocess.PIPE
    ) as worker:
        _pid, status = os.waitpid(worker.pid, os.WUNTRACED)
        for file in folder.iterdir():
            if not file.name.endswith("-shm"):
                shutil.copy(file, copy)
        worker.kill()
        assert worker.stdout.read() == b""
    assert os.WIFSTOPPED(status), status


async def store_after_power_cut(tmp_path: Path, point: str) -> Store:
    """Open the database that a power cut at a failpoint leaves."""
    folder = tmp_path / "after"
    cut_power(tmp_path / "before", folder, point)
    url, runtime = f"sqlite:///{folder / 'publisher.db'}", FakeRuntime()
    await prepare_database(url, "drill", folder / "intents.jsonl", runtime)
    return Store(
        database=Database(open_engine(url), runtime),
        policies={"a": make_policy("a")},
        worker=WorkerId("w"),
    )


@pytest.mark.parametrize(
    ("point", "lines"),
    [
        ("intent.after_commit", 0),
        pytest.param("journal.after_append", 1, marks=pytest.mark.long),
    ],
)
async def test_f16_after_the_intent_the_disk_knows_of_the_call(tmp_path, point, lines):
    """F16: the files on disk know the attempt, and the call that may have followed is unknown."""
    store = await store_after_power_cut(tmp_path, point)
    attempts = await store.database.read(
        lambda connection: connection.execute(select(ATTEMPT)).mappings().all()
    )
    assert [(row["number"], row["ended_at"]) for row in attempts] == [(1, None)]
    assert len(read_records(tmp_path / "after" / "intents.jsonl")) == lines
    assert await store.maintenance.expire_own_leases() == 1
    assert set(Counter(item.state for item in await store.queries.deliveries())) == {
        State.UNKNOWN
    }
    await store.database.close()


@pytest.mark.long
async def test_f16_before_the_intent_is_committed_the_disk_knows_of_no_call(tmp_path):
    """F16: after an earlier power cut the disk has only a claim, and the delivery is due again."""
    store = await store_after_power_cut(tmp_path, "intent.before_commit")
    assert await store.maintenance.expire_own_leases() == 1
    assert set(Counter(item.state for item in await store.queries.deliveries())) == {
        State.DUE
    }
    await store.database.close()


async def test_f16_sqlite_waits_for_the_disk_on_every_connection(tmp_path):
    """F16: the connection for intents has full synchronisation, and nothing turns it off later."""
    url = f"sqlite:///{tmp_path / 'publisher.db'}"
    await prepare_database(url, "drill", tmp_path / "intents.jsonl", FakeRuntime())
    database = Database(open_engine(url), FakeRuntime())
    asked = await database.write(
        lambda unit: unit.connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    )
    assert asked == 2
    await database.close()


@pytest.mark.long
@pytest.mark.skipif(
    shutil.which("strace") is None,
    reason="NO STRACE: the system's own calls are not watched",
)
def test_f16_both_files_are_synced_before_the_request_is_returned(tmp_path):
    """F16: the database's log is synced, then the journal, and only then a call may begin."""
    trace = tmp_path / "trace"
    folder = tmp_path / "books"
    folder.mkdir()
    watched = [
        "strace",
        "-f",
        "-y",
        "-o",
        str(trace),
        "-e",
        "trace=fsync,fdatasync,write,pwrite64",
    ]
    command = [*watched, sys.executable, "-c", WORKER, str(folder), ""]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode and "ptrace" in done.stderr:
        pytest.skip("NO STRACE: processes may not be watched here")
    assert done.stdout == "request\n", done.stderr
    assert order_of(trace.read_text(errors="replace")) == [
        "database",
        "journal",
        "request",
    ]


def order_of(trace: str) -> list[str]:
    """Return the order of the last syncs of the database and the journal, and the later events.

    The database's sync is that of its log before the journal's line.
    """
    happened = []
    for line in trace.splitlines():
        if "sync(" in line and "publisher.db-wal" in line:
            happened.append("database")
        elif "write(" in line and "intents.jsonl" in line:
            happened.append("line")
        elif "sync(" in line and "intents.jsonl" in line:
            happened.append("journal")
        elif "write(1" in line and "request" in line:
            happened.append("request")
    at = happened.index("line")
    return [happened[at - 1], *happened[at + 1 :][:2]]
