"""Every older database comes up with all that it holds, and a death in the middle leaves it as it was."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from publisher.domain.delivery import State
from publisher.domain.errors import RefusedError
from publisher.store.audit import Audit
from publisher.store.board import Board
from publisher.store.books import Books
from publisher.store.engine import Database, open_engine
from publisher.store.journal import Journal
from publisher.store.setup import HEAD, MIGRATIONS, prepare, version_of
from publisher.testing.builders import terms_of
from publisher.testing.fakes import StillWorld

START = """
import asyncio, sys
from pathlib import Path
from publisher.store.setup import prepare
from publisher.world import World, read_failpoints
asyncio.run(prepare(sys.argv[1], "drill", Path(sys.argv[2]), World(failpoints=read_failpoints(sys.argv[3]))))
"""
AT = 1_795_568_400_000_000
DELIVERY = {
    "post": "p", "label": "once", "account": "a", "platform": "fake", "login": "a", "state": "published", "version": 5,
    "revision": "r", "definition": "d", "rendition": "f", "planned_at": AT, "due_at": AT, "expires_at": AT,
    "max_late": 1, "updated_at": AT, "is_urgent": 0, "attempts": 1, "epoch": 1, "looks": 0, "refusals": 0,
    "failures": 0, "deaths": 0, "is_by_word": 0, "was_resent": 0, "remote_id": "77", "url": "https://fake.example/77",
    "live_at": AT,
}  # fmt: skip
FLAGS = {"was_claimed": 1, "is_withdrawn": 0, "is_retract_ordered": 0}
"""Columns of earlier versions, in place of which one says what is wanted."""
ATTEMPT = {
    "delivery": 1, "number": 1, "epoch": 1, "login": "a", "account": "a", "worker": "w", "rendition": "f", "since": AT,
    "intended_at": AT, "ended_at": AT, "outcome": "published",
}  # fmt: skip
ENTRY = {"at": AT, "role": "planner", "name": "x", "event": "filed", "subject": "p@a", "detail": "{}"}


def insert(connection, table, row):
    blanks = ", ".join("?" * len(row))
    columns = ", ".join(row)
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({blanks})", tuple(row.values()))  # noqa: S608 # ours


def config(connection=None):
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    made.attributes["connection"] = connection
    return made


VERSIONS = [step.revision for step in reversed([*ScriptDirectory.from_config(config()).walk_revisions()])]


class Old:
    """A database as an earlier version left it, with one published delivery in it."""

    def __init__(self, folder: Path, version: str) -> None:
        self.file, self.journal = folder / "publisher.db", folder / "intents.jsonl"
        self.url = f"sqlite:///{self.file}"
        self.journal.touch()
        engine = create_engine(self.url)
        with engine.connect() as connection:
            command.upgrade(config(connection), version)
            connection.commit()
        engine.dispose()
        with sqlite3.connect(self.file) as connection:
            insert(connection, "stamp", {"key": "environment", "value": "drill"})
            insert(connection, "delivery", DELIVERY | (FLAGS if version < "0010" else {}))
            insert(connection, "attempt", ATTEMPT)
            if version < "0004":  # from then on an entry is bound to the one before
                insert(connection, "audit", ENTRY)
        connection.close()

    def start(self, failpoints: str) -> int:
        line = [sys.executable, "-c", START, self.url, str(self.journal), failpoints]
        return subprocess.run(line, check=False, timeout=60).returncode

    async def is_whole(self) -> bool:
        """Bring it up, and say whether it holds what it held."""
        await prepare(self.url, "drill", self.journal, StillWorld())
        database = Database(open_engine(self.url), StillWorld(), Journal(self.journal))
        books = Books(database=database, terms={"a": terms_of("a")}, worker="w")
        [delivery] = await Board(books).deliveries()
        is_kept = (delivery.state, delivery.receipt.remote_id, delivery.attempts) == (State.PUBLISHED, "77", 1)
        is_sound = (await Audit(books).verify(())).is_sound
        await database.close()
        return version_of(self.url) == HEAD and is_kept and is_sound


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_database_of_each_earlier_version_comes_up_with_its_data(tmp_path, version):
    """Whatever version wrote it: what was published is published, and its audit is a whole chain."""
    assert await Old(tmp_path, version).is_whole()


def steps_of_an_upgrade(folder, version, number):
    """Count what SQLite does, in hundreds of its steps, to bring up so many deliveries and their texts."""
    old = Old(folder, version)
    spent = 0

    def step():
        nonlocal spent
        spent += 1

    with sqlite3.connect(old.file) as connection:
        for one in range(number):
            insert(connection, "rendition", {"fingerprint": f"f{one}", "revision": "r", "account": "a", "body": "{}"})
            insert(
                connection, "delivery", DELIVERY | {"post": f"p{one}", "rendition": f"f{one}", "remote_id": f"r{one}"}
            )
    connection.close()
    engine = create_engine(old.url)
    with engine.connect() as opened:
        opened.connection.driver_connection.set_progress_handler(step, 100)
        command.upgrade(config(opened), "head")
    engine.dispose()
    return spent


def test_i24_an_upgrade_of_ten_times_as_much_takes_ten_times_as_long(tmp_path):
    """No step of it looks at all deliveries for each of them: nothing is sent until it is over."""
    few, many = (tmp_path / name for name in ("few", "many"))
    few.mkdir()
    many.mkdir()
    base = steps_of_an_upgrade(few, "0012", 200)
    assert steps_of_an_upgrade(many, "0012", 2000) < 15 * base


@pytest.mark.parametrize("step", range(1, len(VERSIONS)))
async def test_f12_a_death_after_any_step_of_an_upgrade_leaves_the_database_as_it_was(tmp_path, step):
    """Killed in the middle, it stands at the version from before; the next start brings it up as a whole."""
    old = Old(tmp_path, VERSIONS[0])
    assert old.start(f"migrate.mid:kill@{step}") == -signal.SIGKILL
    with sqlite3.connect(old.file) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (VERSIONS[0],)
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert not names & {"account_mode", "watch"}
    assert await old.is_whole()


async def test_f84_a_damaged_database_of_an_earlier_version_is_refused_before_it_is_changed(tmp_path):
    """What an upgrade would write into a damaged file could not be undone: it stays as it is, to the byte."""
    old = Old(tmp_path, VERSIONS[-2])
    data = bytearray(old.file.read_bytes())
    with sqlite3.connect(old.file) as connection:
        [page] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'look'").fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    data[(page - 1) * size : page * size] = bytes(range(256)) * (size // 256)
    old.file.write_bytes(data)
    with pytest.raises(RefusedError) as refused:
        await prepare(old.url, "drill", old.journal, StillWorld())
    assert refused.value.code == "database_corrupt"
    assert old.file.read_bytes() == data


def test_f12_a_death_while_a_new_database_is_made_leaves_none(tmp_path):
    """The first start of all, killed in the middle, is simply done again."""
    journal = tmp_path / "intents.jsonl"
    url = f"sqlite:///{tmp_path / 'publisher.db'}"
    line = [sys.executable, "-c", START, url, str(journal)]
    assert subprocess.run([*line, "migrate.mid:kill@2"], check=False, timeout=60).returncode == -signal.SIGKILL
    assert version_of(url) is None
    assert subprocess.run([*line, ""], check=False, timeout=60).returncode == 0
    assert version_of(url) == HEAD
