"""An older database is migrated with all its data; a kill in the middle changes nothing.

There is one migration today. The tests add migrations of a later release.
"""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from publisher.domain.delivery import State
from publisher.domain.errors import RefusedError
from publisher.store.db.database import Database, open_engine
from publisher.store.db.intent_journal import IntentJournal
from publisher.store.recovery.setup import (
    MIGRATIONS_FOLDER,
    NEWEST_MIGRATION,
    migration_of,
    prepare_database,
)
from publisher.store.store import Store
from publisher.testing.builders import make_policy
from publisher.testing.fakes import FakeRuntime
from tests.store.later_release import NUMBERS, add_migrations

START = """
import asyncio, sys
from pathlib import Path
from publisher.store.recovery import setup
from publisher.runtime.clock import Runtime
from publisher.runtime.clock import parse_failpoints
if len(sys.argv) > 4:
    setup.MIGRATIONS_FOLDER, setup.NEWEST_MIGRATION = Path(sys.argv[4]), sys.argv[5]
runtime = Runtime(failpoints=parse_failpoints(sys.argv[3]))
asyncio.run(setup.prepare_database(sys.argv[1], "drill", Path(sys.argv[2]), runtime))
"""
AT = 1_795_568_400_000_000
DELIVERY = {
    "post": "p", "occurrence": "once", "account": "a", "platform": "fake", "login": "a",
    "state": "published", "version": 5,
    "revision_hash": "r", "content_hash": "d", "rendered_hash": "f",
    "scheduled_at": AT, "due_at": AT, "expires_at": AT, "max_delay": 1, "updated_at": AT,
    "is_urgent": 0, "attempts": 1, "fencing_token": 1, "readbacks": 0,
    "auth_failures": 0, "failures": 0, "worker_crashes": 0,
    "is_manually_confirmed": 0, "was_resent": 0, "kind": "warning", "marker": "K7QM-4R2T",
    "remote_id": "77", "url": "https://fake.example/77", "published_at": AT,
}  # fmt: skip
ATTEMPT = {
    "delivery": 1, "number": 1, "fencing_token": 1, "login": "a", "account": "a", "worker": "w",
    "rendered_hash": "f", "baseline_at": AT, "intended_at": AT, "ended_at": AT,
    "outcome": "published", "identity": "a", "method": "",
}  # fmt: skip


def insert(connection, table, row):
    blanks = ", ".join("?" * len(row))
    columns = ", ".join(row)
    connection.execute(
        f"INSERT INTO {table} ({columns}) VALUES ({blanks})",  # noqa: S608 # ours
        tuple(row.values()),
    )


def config(connection=None):
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS_FOLDER))
    made.attributes["connection"] = connection
    return made


@pytest.fixture
def later(tmp_path, monkeypatch):
    """Make this release a later one; return its folder of migrations."""
    return add_migrations(tmp_path / "migrations", monkeypatch)


class Old:
    """A database as the first release left it, with one published delivery in it."""

    def __init__(self, folder: Path) -> None:
        self.file, self.journal = folder / "publisher.db", folder / "intents.jsonl"
        self.url = f"sqlite:///{self.file}"
        self.journal.touch()
        engine = create_engine(self.url)
        with engine.connect() as connection:
            command.upgrade(config(connection), "head")
            connection.commit()
        engine.dispose()
        with sqlite3.connect(self.file) as connection:
            insert(
                connection, "database_info", {"key": "environment", "value": "drill"}
            )
            insert(connection, "delivery", DELIVERY)
            insert(connection, "attempt", ATTEMPT)
        connection.close()

    def start(self, failpoints: str, migrations: Path) -> int:
        line = [
            sys.executable,
            "-c",
            START,
            self.url,
            str(self.journal),
            failpoints,
            str(migrations),
            NUMBERS[-1],
        ]
        return subprocess.run(line, check=False, timeout=60).returncode

    async def is_complete(self) -> bool:
        """Migrate it, and return True if it holds its former data."""
        await prepare_database(self.url, "drill", self.journal, FakeRuntime())
        database = Database(
            open_engine(self.url), FakeRuntime(), IntentJournal(self.journal)
        )
        store = Store(database=database, policies={"a": make_policy("a")}, worker="w")
        [delivery] = await store.queries.deliveries()
        is_kept = (delivery.state, delivery.receipt.remote_id, delivery.attempts) == (
            State.PUBLISHED,
            "77",
            1,
        )
        is_sound = (await store.audit.verify(())).is_sound
        await database.close()
        return migration_of(self.url) == NUMBERS[-1] and is_kept and is_sound


async def test_a_database_of_an_earlier_version_is_migrated_with_its_data(
    tmp_path, later
):
    """After a migration, published posts are published and the audit chain is complete."""
    assert later.is_dir()
    assert await Old(tmp_path).is_complete()


@pytest.mark.long
@pytest.mark.parametrize("step", range(1, len(NUMBERS) + 1))
async def test_f12_a_kill_after_any_step_of_a_migration_leaves_the_database_as_it_was(
    tmp_path, later, step
):
    """Killed in the middle, it keeps the former version; the next start migrates it completely."""
    old = Old(tmp_path)
    assert old.start(f"migrate.mid:kill@{step}", later) == -signal.SIGKILL
    with sqlite3.connect(old.file) as connection:
        assert connection.execute(
            "SELECT version_num FROM alembic_version"
        ).fetchone() == ("0001",)
        names = {
            column
            for (_id, column, *_rest) in connection.execute(
                "PRAGMA table_info(delivery)"
            )
        }
    connection.close()
    assert not {name for name in names if name.startswith("new_")}
    assert await old.is_complete()


async def test_f84_a_damaged_database_of_an_earlier_version_is_refused_before_it_is_changed(
    tmp_path, later
):
    """A damaged older database is refused and stays unchanged, to the byte.

    The writes of a migration into a damaged file could not be undone.
    """
    assert later.is_dir()
    old = Old(tmp_path)
    data = bytearray(old.file.read_bytes())
    with sqlite3.connect(old.file) as connection:
        [page] = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'readback'"
        ).fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    data[(page - 1) * size : page * size] = bytes(range(256)) * (size // 256)
    old.file.write_bytes(data)
    with pytest.raises(RefusedError) as refused:
        await prepare_database(old.url, "drill", old.journal, FakeRuntime())
    assert refused.value.code == "database_corrupt"
    assert old.file.read_bytes() == data


@pytest.mark.long
def test_f12_a_kill_while_a_new_database_is_created_leaves_none(tmp_path):
    """The first start of all, killed in the middle, is simply repeated."""
    journal = tmp_path / "intents.jsonl"
    url = f"sqlite:///{tmp_path / 'publisher.db'}"
    line = [sys.executable, "-c", START, url, str(journal)]
    assert (
        subprocess.run(
            [*line, "migrate.mid:kill@1"], check=False, timeout=60
        ).returncode
        == -signal.SIGKILL
    )
    assert migration_of(url) is None
    assert subprocess.run([*line, ""], check=False, timeout=60).returncode == 0
    assert migration_of(url) == NEWEST_MIGRATION
