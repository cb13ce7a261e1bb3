"""Creating and migrating a database, and refusing one that must not be used."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event, select
from sqlmodel import SQLModel

from publisher.app.open_store import journal_path
from publisher.config import parse_settings
from publisher.domain.errors import RefusedError
from publisher.store.db.database import Database, IntentNotJournaledError, open_engine
from publisher.store.db.intent_journal import IntentJournal, JournalRecord, read_records
from publisher.store.db.sqlite_files import SCHEMA, SCHEMA_HASHES, hash_schema
from publisher.store.db.tables import ADAPTER_STATE
from publisher.store.recovery.folder import lock_process
from publisher.store.recovery.setup import (
    NEWEST_MIGRATION,
    check_unchanged,
    prepare_database,
    repair_journal,
)
from publisher.testing.fakes import FakeRuntime

INTENT = JournalRecord(
    delivery=7,
    attempt=1,
    fencing_token=1,
    rendered_hash="f",
    at="2026-11-25T01:00:00+00:00",
    post="p",
    occurrence="once",
    account="a",
    part=0,
    identity="a",
    method="",
)


async def test_the_migrations_make_the_tables_of_the_code(database_url, tmp_path):
    """A migrated database is exactly the one that the row classes describe."""
    await prepare_database(
        database_url, "drill", tmp_path / "intents.jsonl", FakeRuntime()
    )
    engine = open_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        differences = compare_metadata(context, SQLModel.metadata)
        names = {index["name"] for index in _indexes(connection)}
    engine.dispose()
    unseen = {
        "due_by_login"
    }  # an index on an expression cannot be compared, only found
    assert [
        item for item in differences if getattr(item[1], "name", "") not in unseen
    ] == []
    assert unseen <= names


async def test_the_schema_is_known_by_its_hash(tmp_path):
    """A change of the tables or of their notation changes the schema hash.

    A restore accepts a backup by this hash.
    """
    file = tmp_path / "publisher.db"
    await prepare_database(
        f"sqlite:///{file}", "drill", tmp_path / "intents.jsonl", FakeRuntime()
    )
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("ANALYZE")
        assert (
            hash_schema(connection.execute(SCHEMA)) == SCHEMA_HASHES[NEWEST_MIGRATION]
        )


def _indexes(connection):
    query = (
        "SELECT name FROM sqlite_master WHERE type = 'index'"
        if connection.dialect.name == "sqlite"
        else "SELECT indexname AS name FROM pg_indexes"
    )
    return connection.exec_driver_sql(query).mappings().all()


async def test_f85_a_database_older_than_its_journal_is_refused(tmp_path):
    """A journal line unknown to a SQLite file stops the start; a shared database recovers it."""
    journal, database_url = (
        tmp_path / "intents.jsonl",
        f"sqlite:///{tmp_path / 'publisher.db'}",
    )
    await prepare_database(database_url, "drill", journal, FakeRuntime())
    writer = IntentJournal(journal)
    writer.append([INTENT])
    writer.close()
    with pytest.raises(RefusedError) as refused:
        await prepare_database(database_url, "drill", journal, FakeRuntime())
    assert refused.value.code == "database_older"


async def test_a_torn_journal_line_is_no_intent(tmp_path):
    """A line cut by a kill is skipped, and the next intent is on a line of its own."""
    journal = tmp_path / "intents.jsonl"
    journal.write_text('{"delivery":1,"att', encoding="utf-8")
    writer = IntentJournal(journal)
    writer.append([INTENT])
    writer.close()
    assert read_records(journal) == [INTENT]


async def test_f95_a_drill_database_is_not_used_live(database_url, tmp_path):
    """The environment is stored in each database when it is created."""
    await prepare_database(
        database_url, "drill", tmp_path / "intents.jsonl", FakeRuntime()
    )
    with pytest.raises(RefusedError) as refused:
        await prepare_database(
            database_url, "live", tmp_path / "intents.jsonl", FakeRuntime()
        )
    assert refused.value.code == "other_environment"


async def test_f84_a_corrupt_file_is_refused_and_left_alone(tmp_path):
    """A file that is no database any more is named, and not a byte of it changes."""
    file = tmp_path / "publisher.db"
    file.write_bytes(b"not a database at all" * 300)
    before = file.read_bytes()
    with pytest.raises(RefusedError) as refused:
        await prepare_database(
            f"sqlite:///{file}", "drill", tmp_path / "intents.jsonl", FakeRuntime()
        )
    assert refused.value.code == "database_corrupt"
    assert file.read_bytes() == before


async def test_f93_a_database_of_a_newer_version_is_refused(tmp_path):
    """A schema that this version does not know is not touched."""
    url = f"sqlite:///{tmp_path / 'publisher.db'}"
    await prepare_database(url, "drill", tmp_path / "intents.jsonl", FakeRuntime())
    with sqlite3.connect(tmp_path / "publisher.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(RefusedError) as refused:
        await prepare_database(url, "drill", tmp_path / "intents.jsonl", FakeRuntime())
    assert refused.value.code == "database_newer"
    with pytest.raises(RefusedError) as refused:
        check_unchanged(url, "drill", tmp_path / "intents.jsonl")
    assert refused.value.code == "database_newer"


async def test_f93_another_versions_tables_are_refused(database_url, tmp_path):
    """A pre-release used the same number of the migration, so the tables are compared."""
    journal = tmp_path / "intents.jsonl"
    await prepare_database(database_url, "drill", journal, FakeRuntime())
    await prepare_database(database_url, "drill", journal, FakeRuntime())
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE pause RENAME COLUMN reason TO why")
    engine.dispose()
    with pytest.raises(RefusedError) as refused:
        await prepare_database(database_url, "drill", journal, FakeRuntime())
    assert refused.value.code == "database_schema_differs"
    with pytest.raises(RefusedError) as refused:
        check_unchanged(database_url, "drill", journal)
    assert refused.value.code == "database_schema_differs"


async def test_sqlite_is_set_to_survive_a_power_cut(tmp_path):
    """WAL and full synchronisation are set on every connection."""
    url = f"sqlite:///{tmp_path / 'publisher.db'}"
    await prepare_database(url, "drill", tmp_path / "intents.jsonl", FakeRuntime())
    engine = open_engine(url)
    with engine.connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    engine.dispose()
    assert (mode, synchronous) == ("wal", 2)


HOLDER = """
import sys
from pathlib import Path
from publisher.store.recovery.folder import lock_process
held = lock_process(sys.argv[1], Path("."))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.long
def test_f79_a_second_daemon_on_the_same_file_is_refused_until_the_first_is_gone(
    tmp_path: Path,
):
    """The refusal names the holder's process; its death, however sudden, frees the file."""
    url = f"sqlite:///{tmp_path / 'publisher.db'}"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RefusedError) as refused:
            lock_process(url, tmp_path)
        assert (refused.value.code, refused.value.facts["pid"]) == (
            "second_daemon",
            str(holder.pid),
        )
        holder.kill()
    occupation = lock_process(url, tmp_path)
    assert json.loads((tmp_path / "publisher.db.lock").read_text())["pid"] != holder.pid
    occupation.release()


def link_file(first: Path, second: Path) -> str:
    (second / "var").mkdir()
    (second / "var" / "publisher.db").symlink_to(first / "var" / "publisher.db")
    return "sqlite:///var/publisher.db"


def link_folder(first: Path, second: Path) -> str:
    (second / "data").symlink_to(first / "var")
    return "sqlite:///data/publisher.db"


def chain_links(first: Path, second: Path) -> str:
    (second / "one.db").symlink_to("two.db")
    (second / "two.db").symlink_to(first / "var" / "publisher.db")
    return "sqlite:///one.db"


def go_round(first: Path, second: Path) -> str:
    return f"sqlite:///../{second.name}/../{first.name}/var/publisher.db"


@pytest.mark.parametrize("spell", [link_file, link_folder, chain_links, go_round])
@pytest.mark.parametrize("exists", [True, False], ids=["a file", "no file yet"])
def test_f79_one_file_under_two_names_has_one_daemon(tmp_path: Path, spell, exists):
    """Every spelling of one database file in the settings takes the same lock."""
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "var").mkdir(parents=True)
    second.mkdir()
    if exists:
        (first / "var" / "publisher.db").touch()
    plain = parse_settings("# the usual database\n", workspace=first)
    other = parse_settings(f'database = "{spell(first, second)}"', workspace=second)
    held = lock_process(plain.database, plain.workspace)
    with pytest.raises(RefusedError) as refused:
        lock_process(other.database, other.workspace)
    held.release()
    assert refused.value.code == "second_daemon"


@pytest.mark.parametrize("exists", [True, False], ids=["a file", "no file yet"])
@pytest.mark.parametrize("spell", [link_file, link_folder])
def test_f84_the_journal_is_not_on_the_disk_of_the_database(
    tmp_path: Path, spell, exists
):
    """With the disk not mounted, the journal shows calls unknown to an empty database."""
    disk, workspace = tmp_path / "disk", tmp_path / "workspace"
    (disk / "var").mkdir(parents=True)
    workspace.mkdir()
    if exists:
        (disk / "var" / "publisher.db").touch()
    settings = parse_settings(
        f'database = "{spell(disk, workspace)}"', workspace=workspace
    )
    assert journal_path(settings) == workspace / "var" / "intents.jsonl"


def test_f79_a_database_with_a_second_hard_link_is_refused(tmp_path: Path):
    """A database with two hard links is refused; with one link again it starts.

    SQLite keeps a separate log for each name, so two names would damage the file.
    """
    file, other = tmp_path / "publisher.db", tmp_path / "other.db"
    file.touch()
    other.hardlink_to(file)
    with pytest.raises(RefusedError) as refused:
        lock_process(f"sqlite:///{file}", tmp_path)
    assert (refused.value.code, refused.value.facts) == (
        "database_linked",
        {"file": str(file)},
    )
    other.unlink()
    lock_process(f"sqlite:///{file}", tmp_path).release()


async def open_database(tmp_path):
    url = f"sqlite:///{tmp_path / 'publisher.db'}"
    await prepare_database(url, "drill", tmp_path / "intents.jsonl", FakeRuntime())
    return Database(
        open_engine(url), FakeRuntime(), IntentJournal(tmp_path / "intents.jsonl")
    )


def note(key):
    def operation(unit):
        row = {"login": "l", "key": key, "value": key, "at": FakeRuntime().now()}
        unit.connection.execute(ADAPTER_STATE.insert().values(row))
        return key

    return operation


async def test_writes_that_gather_share_one_commit(tmp_path):
    """Many writes at once share few transactions, and each is done when its caller goes on."""

    database = await open_database(tmp_path)
    commits = []

    event.listen(database.engine, "commit", lambda _connection: commits.append(1))
    done = await asyncio.gather(
        *(database.write(note(str(number))) for number in range(60))
    )
    assert done == [str(number) for number in range(60)]
    assert len(commits) <= 3
    await database.close()


async def test_one_failed_write_does_not_fail_its_group(tmp_path):
    """In a group, the one that fails gets its error, the others are committed."""

    database = await open_database(tmp_path)
    await database.write(note("taken"))
    results = await asyncio.gather(
        *(database.write(note(key)) for key in ("a", "taken", "b")),
        return_exceptions=True,
    )
    assert [results[0], results[2]] == ["a", "b"]
    assert isinstance(results[1], Exception)
    keys = await database.read(
        lambda connection: set(connection.scalars(select(ADAPTER_STATE.c.key)))
    )
    assert keys == {"a", "b", "taken"}
    await database.close()


class FullDisk(IntentJournal):
    """A journal on a full disk."""

    def append(self, intents):
        raise OSError(28, "No space left on device")


async def test_f82_no_call_starts_when_the_journal_cannot_be_written(tmp_path):
    """The caller gets the error instead of a request; writes without an intent are not affected."""

    database = await open_database(tmp_path)
    database.journal.close()
    database.journal = FullDisk(tmp_path / "other.jsonl")

    def announce(unit):
        unit.journal_records.append(INTENT)

    results = await asyncio.gather(
        database.write(announce), database.write(note("a")), return_exceptions=True
    )
    assert isinstance(results[0], IntentNotJournaledError)
    assert results[1] == "a"
    await database.close()


def test_f16_a_damaged_journal_is_kept_through_a_power_cut(tmp_path, monkeypatch):
    """F16: the copy and its name are synced before the repaired journal takes the old one's place.

    No other record of the damaged lines is left then.
    """
    journal, steps, fsync = tmp_path / "intents.jsonl", [], os.fsync
    journal.write_bytes(b"damaged\n")

    def record_sync(descriptor):
        steps.append(
            (Path(f"/proc/self/fd/{descriptor}").readlink().name, journal.read_bytes())
        )
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record_sync)
    repair_journal(journal, "20261125")
    kept = tmp_path / "intents.jsonl.kept-20261125"
    assert (kept.read_bytes(), journal.read_bytes()) == (b"damaged\n", b"")
    assert [name for name, content in steps if content] == [
        f".{kept.name}.new",
        tmp_path.name,
        ".intents.jsonl.new",
    ]
