"""A file put beside the database by another user makes SQLite touch only its own file."""

import contextlib
import os
import sqlite3
import struct
from pathlib import Path

import pytest

from publisher.domain.errors import RefusedError
from publisher.store.db.database import open_engine, open_read_only_engine
from publisher.store.db.sqlite_files import connect_sqlite
from publisher.store.queries.known_posts import read_known_posts
from publisher.store.recovery.backup import copy_database, genesis_of
from publisher.store.recovery.setup import check_integrity, migrate, migration_of
from publisher.testing.fakes import FakeRuntime

PAGE_BYTES, SECTOR_BYTES = 4096, 512
PENDING_BYTE_PAGE = 2**30 // PAGE_BYTES + 1
JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")


def rollback_journal(database, super_journal=b""):
    """Return a journal that changes no page and that SQLite rolls back.

    It may end in a super-journal's name.
    """
    header = JOURNAL_MAGIC + struct.pack(
        ">5I", 0, 1, database.stat().st_size // PAGE_BYTES, SECTOR_BYTES, PAGE_BYTES
    )
    if not super_journal:
        return header.ljust(SECTOR_BYTES, b"\0")
    checksum = sum(super_journal)
    name = (
        struct.pack(">I", PENDING_BYTE_PAGE)
        + super_journal
        + struct.pack(">2I", len(super_journal), checksum)
    )
    return header.ljust(SECTOR_BYTES, b"\0") + name + JOURNAL_MAGIC


@pytest.fixture
def shared(tmp_path):
    """Return a database in a folder that two users share, beside a file of one of them."""
    folder = tmp_path / "db"
    folder.mkdir()
    folder.chmod(0o2770)
    with contextlib.closing(sqlite3.connect(folder / "publisher.db")) as connection:
        connection.execute("CREATE TABLE one (two)")
    (tmp_path / "intents.jsonl").write_text("kept\n", "ascii")
    return folder / "publisher.db"


def url_of(file):
    return f"sqlite:///{file}"


def begin(engine):
    with engine.connect():
        pass


OPENINGS = {
    "daemon": lambda file: begin(open_engine(url_of(file))),
    "health": lambda file: begin(open_read_only_engine(url_of(file))),
    "set_up": lambda file: migrate(url_of(file), "drill", None, FakeRuntime()),
    "integrity": lambda file: check_integrity(url_of(file)),
    "migration": lambda file: migration_of(url_of(file)),
    "backup": lambda file: copy_database(file, file.with_name("copy.db")),
    "restore": genesis_of,
}


def test_sqlite_deletes_what_a_crafted_journal_names(shared):
    """The attack: without our check SQLite deletes a file of the user that opens the database."""
    journal, kept = (
        shared.with_name("publisher.db-journal"),
        shared.parents[1] / "intents.jsonl",
    )
    journal.write_bytes(rollback_journal(shared, os.fsencode(kept)))
    with contextlib.closing(sqlite3.connect(shared)) as connection:
        connection.execute("SELECT * FROM one").fetchall()
    assert not kept.exists()


@pytest.mark.parametrize("opening", OPENINGS.values(), ids=OPENINGS)
def test_a_journal_that_names_another_file_is_refused_at_every_opening(shared, opening):
    """Every opening refuses the journal, and the named file stays.

    The first opening may be in any part of publisher.
    """
    journal, kept = (
        shared.with_name("publisher.db-journal"),
        shared.parents[1] / "intents.jsonl",
    )
    journal.write_bytes(rollback_journal(shared, os.fsencode(kept)))
    with pytest.raises(RefusedError) as refused:
        opening(shared)
    assert (refused.value.code, refused.value.facts) == (
        "database_journal_unsafe",
        {"file": str(journal)},
    )
    assert kept.exists()


def test_a_check_of_a_schedule_leaves_the_named_file(shared):
    """It goes on without the database, as where none answers."""
    journal, kept = (
        shared.with_name("publisher.db-journal"),
        shared.parents[1] / "intents.jsonl",
    )
    journal.write_bytes(rollback_journal(shared, os.fsencode(kept)))
    assert read_known_posts(url_of(shared)) is None
    assert kept.exists()


def test_a_running_daemon_looks_at_every_new_connection(shared):
    """The file may be put there at any time, and a pool opens connections later."""
    engine = open_engine(url_of(shared))
    with engine.connect():
        shared.with_name("publisher.db-journal").write_bytes(
            rollback_journal(shared, b"/nowhere")
        )
        with pytest.raises(RefusedError, match="database_journal_unsafe"):
            begin(engine)
    engine.dispose()


def test_an_unfinished_migration_is_rolled_back(shared):
    """A journal without another file's name is left by a crash, and SQLite uses it."""
    shared.with_name("publisher.db-journal").write_bytes(rollback_journal(shared))
    with contextlib.closing(connect_sqlite(shared)) as connection:
        assert connection.execute("SELECT * FROM one").fetchall() == []
    assert not shared.with_name("publisher.db-journal").exists()


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("kind", ["symlink_to", "hardlink_to", "folder"])
def test_nothing_but_a_plain_file_is_opened_beside_the_database(shared, suffix, kind):
    """A link would lead to a file of another user."""
    companion = shared.with_name(f"publisher.db{suffix}")
    if kind == "folder":
        companion.mkdir()
    else:
        getattr(companion, kind)(shared.parents[1] / "intents.jsonl")
    with pytest.raises(RefusedError) as refused:
        begin(open_engine(url_of(shared)))
    assert (refused.value.code, refused.value.facts) == (
        "database_linked",
        {"file": str(companion)},
    )
    assert (shared.parents[1] / "intents.jsonl").read_text("ascii") == "kept\n"


def test_the_files_beside_the_end_of_a_link_count(tmp_path, shared):
    """SQLite looks for them beside the real file, wherever an operator's link is."""
    link = tmp_path / "publisher.db"
    link.symlink_to(shared)
    shared.with_name("publisher.db-journal").write_bytes(
        rollback_journal(shared, b"/nowhere")
    )
    with pytest.raises(RefusedError, match="database_journal_unsafe"):
        begin(open_engine(url_of(link)))


def test_the_check_ends_no_lock_of_an_open_connection(shared):
    """The check examines the index without opening it, so no lock of a connection ends.

    Closing a file ends the locks that the process has on it.
    """
    engine = open_engine(url_of(shared))
    with engine.begin() as writer:
        writer.exec_driver_sql("INSERT INTO one VALUES (1)")
        with engine.connect() as reader:
            assert (
                reader.execution_options(reads_only=True)
                .exec_driver_sql("SELECT * FROM one")
                .fetchall()
                == []
            )
        locked = Path("/proc/locks").read_text("ascii")
        assert f":{shared.with_name('publisher.db-shm').stat().st_ino} " in locked
    engine.dispose()
