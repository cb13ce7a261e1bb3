"""A database knows its folder, and one process at a time holds it (F79, F103)."""

import contextlib
import fcntl
import json
import os
import shutil
import threading
from dataclasses import replace

import pytest
from sqlalchemy.exc import DBAPIError

from publisher.domain.errors import RefusedError
from publisher.store.db.database import Database, open_engine
from publisher.store.plan.actions import OperatorActions
from publisher.store.recovery.folder import FolderIdentity, file_lock, lock_process
from publisher.store.recovery.setup import (
    check_folder,
    claim_folder,
    prepare_database,
    prepare_file,
    read_copied_folder,
)
from publisher.store.store import Store
from publisher.testing.fakes import START_TIME, FakeRuntime


def url_of(folder):
    return f"sqlite:///{folder / 'publisher.db'}"


async def run_daemon_in(folder, *, stops):
    """Create a database that a daemon has used, and has left in an orderly way if it `stops`."""
    folder.mkdir()
    runtime = FakeRuntime()
    await prepare_database(url_of(folder), "drill", folder / "intents.jsonl", runtime)
    claim_folder(url_of(folder))
    database = Database(open_engine(url_of(folder)), runtime)
    actions = OperatorActions(
        Store(database=database, policies={}, worker="host:first")
    )
    await actions.register_worker()
    if stops:
        await actions.deregister_worker()
    await database.close()


def refusal_of(action, *arguments):
    with pytest.raises(RefusedError) as refused:
        action(*arguments)
    return refused.value


@pytest.mark.parametrize("stops", [True, False], ids=["stopped", "running"])
async def test_f103_a_copy_is_refused_and_named(tmp_path, stops):
    """The refusal names the place of the original, its last time there, and the copy's place.

    A command is refused as well.
    """
    first, second = tmp_path / "first", tmp_path / "second"
    await run_daemon_in(first, stops=stops)
    shutil.copytree(first, second)
    refused = refusal_of(check_folder, url_of(second))
    assert (refused.code, refused.facts["there_path"], refused.facts["here_path"]) == (
        "workspace_copied",
        str(first),
        str(second),
    )
    assert refused.facts["last"] == START_TIME.isoformat(timespec="seconds")
    assert read_copied_folder(url_of(second)).was_stopped is stops
    with pytest.raises(RefusedError):
        await prepare_database(
            url_of(second), "drill", second / "intents.jsonl", FakeRuntime()
        )
    check_folder(url_of(first))


async def test_f103_a_copy_that_came_back_in_place_of_the_original_is_refused(tmp_path):
    """A folder backup in place of the original is refused: it knows less than the original."""
    folder, kept = tmp_path / "folder", tmp_path / "kept"
    await run_daemon_in(folder, stops=True)
    folder.rename(kept)
    shutil.copytree(kept, folder)
    assert refusal_of(check_folder, url_of(folder)).code == "workspace_copied"


async def test_a_folder_that_is_renamed_needs_nobody(tmp_path):
    """A rename keeps the inode, and so does another path to it, as in a container."""
    await run_daemon_in(tmp_path / "first", stops=True)
    (tmp_path / "first").rename(tmp_path / "second")
    check_folder(url_of(tmp_path / "second"))
    (tmp_path / "link").symlink_to(tmp_path / "second")
    check_folder(url_of(tmp_path / "link"))


async def test_a_database_that_no_daemon_has_used_may_be_copied(tmp_path):
    """A prepared workspace is no copy of a running one."""
    (tmp_path / "first").mkdir()
    await prepare_database(
        url_of(tmp_path / "first"), "drill", tmp_path / "intents.jsonl", FakeRuntime()
    )
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    check_folder(url_of(tmp_path / "second"))


def test_f103_two_disks_may_use_one_inode_number(tmp_path):
    """An inode generation decides where it exists; path, device and machine never do.

    Some file systems give inodes a generation.
    """
    here = FolderIdentity.read(tmp_path)
    here = replace(here, generation=7)
    assert here.is_same(
        replace(
            here,
            path="/elsewhere",
            device=here.device + 1,
            host="other",
            machine="other",
        )
    )
    assert here.is_same(replace(here, generation=None))
    assert not here.is_same(replace(here, generation=8))
    assert not here.is_same(replace(here, inode=here.inode + 1))


def test_f79_a_removed_lock_file_lets_no_second_daemon_in(tmp_path):
    """F79: the folder stays locked without its lock file, and the first daemon creates it again.

    The next refusal names the first daemon.
    """
    held = lock_process(url_of(tmp_path), tmp_path)
    (tmp_path / "publisher.db.lock").unlink()
    assert refusal_of(lock_process, url_of(tmp_path), tmp_path).facts["pid"] == "?"
    assert held.restore_file()
    assert not held.restore_file()
    refused = refusal_of(lock_process, url_of(tmp_path), tmp_path)
    assert (refused.code, refused.facts["pid"]) == (
        "second_daemon",
        str(json.loads((tmp_path / "publisher.db.lock").read_text())["pid"]),
    )
    held.release()
    lock_process(url_of(tmp_path), tmp_path).release()


def test_f79_a_shared_database_locks_the_folder_of_its_workspace(tmp_path):
    """F79: the lock file of a workspace may be removed as well."""
    held = lock_process("postgresql://h/d", tmp_path)
    (tmp_path / "var" / "daemon.lock").unlink()
    assert (
        refusal_of(lock_process, "postgresql://h/d", tmp_path).code == "second_daemon"
    )
    held.release()


def test_f79_a_daemon_whose_lock_file_became_anothers_is_refused(tmp_path):
    """F79: where a file system locks no folders, the first daemon notices the second, and stops."""
    held = lock_process(url_of(tmp_path), tmp_path)
    (tmp_path / "publisher.db.lock").unlink()
    with (tmp_path / "publisher.db.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert refusal_of(held.restore_file).code == "second_daemon"
    held.release()


def test_f79_where_folders_cannot_be_locked_the_file_is(tmp_path, monkeypatch):
    """F79: if the folder cannot be locked, the lock file is locked.

    An example is a network file system with the workspace of a shared database.
    """
    lock = fcntl.flock

    def lock_files_only(file, operation):
        if isinstance(file, int):
            raise OSError(9, "Bad file descriptor")
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_files_only)
    held = lock_process(url_of(tmp_path), tmp_path)
    assert refusal_of(lock_process, url_of(tmp_path), tmp_path).code == "second_daemon"
    held.release()


def test_a_set_up_whose_lock_file_was_removed_during_the_wait_locks_the_next_one(
    tmp_path, monkeypatch
):
    """A process that waited for a deleted lock file waits for its successor.

    A deleted file serializes nobody any more.
    """
    file, order = tmp_path / "publisher.db", []
    flock, is_asking = fcntl.flock, threading.Event()

    def note_and_lock(descriptor, operation):
        if threading.current_thread() is waiter:
            is_asking.set()
        flock(descriptor, operation)

    def wait_for_turn():
        with file_lock(file):
            order.append("waiter")

    with (tmp_path / "publisher.db.setup").open("a") as deleted:
        fcntl.flock(deleted, fcntl.LOCK_EX)
        waiter = threading.Thread(target=wait_for_turn)
        monkeypatch.setattr(fcntl, "flock", note_and_lock)
        waiter.start()
        assert is_asking.wait(60)
        (tmp_path / "publisher.db.setup").unlink()
        with file_lock(file):
            fcntl.flock(deleted, fcntl.LOCK_UN)
            waiter.join(0.05)  # time in which it must not go in
            order.append("holder")
    waiter.join(60)
    assert order == ["holder", "waiter"]


@pytest.fixture
def shared(tmp_path):
    """Return a folder that two users share, beside the encrypted store of one of them."""
    (tmp_path / "vault.json").write_text("kept", "ascii")
    (tmp_path / "vault.json").chmod(0o600)
    folder = tmp_path / "db"
    folder.mkdir()
    folder.chmod(0o2770)
    yield folder
    assert (tmp_path / "vault.json").read_text("ascii") == "kept"
    assert (tmp_path / "vault.json").stat().st_mode & 0o777 == 0o600


def enter_set_up(folder):
    with file_lock(folder / "publisher.db"):
        pass


def prepare(folder):
    prepare_file(
        folder / "publisher.db", folder.parent / "intents.jsonl", FakeRuntime()
    )


def lock(folder):
    lock_process(url_of(folder), folder).release()


@pytest.mark.parametrize("kind", ["symlink_to", "hardlink_to"])
@pytest.mark.parametrize(
    ("name", "use"), [("publisher.db.setup", enter_set_up), ("publisher.db.lock", lock)]
)
def test_a_link_in_place_of_a_lock_file_is_refused(shared, name, use, kind):
    """A link in place of a lock file is refused; its target is neither written nor opened.

    The dashboard's user may put the link there. Its target is not opened to the group.
    """
    getattr(shared / name, kind)(shared.parent / "vault.json")
    refused = refusal_of(use, shared)
    assert (refused.code, refused.facts) == (
        "database_linked",
        {"file": str(shared / name)},
    )


@pytest.mark.parametrize("use", [enter_set_up, prepare, lock])
def test_a_link_in_place_of_a_shared_database_is_refused(shared, use):
    """SQLite would follow it, and the file that it leads to would be opened to the group."""
    (shared / "publisher.db").symlink_to(shared.parent / "vault.json")
    assert refusal_of(use, shared).code == "database_linked"


def test_a_link_that_a_swap_has_put_in_place_is_refused(shared):
    """The file that is to replace the database is found by its name."""
    (shared / "publisher.db.restoring-1").symlink_to(shared.parent / "vault.json")
    assert refusal_of(prepare, shared).code == "database_linked"


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
async def test_sqlite_follows_no_link_in_place_of_its_own_files(shared, suffix):
    """SQLite fails on another user's link in place of its own files; the link's target stays.

    SQLite opens these files by name beside the database.
    """
    (shared / f"publisher.db{suffix}").symlink_to(shared.parent / "vault.json")
    with contextlib.suppress(DBAPIError, RefusedError):
        await prepare_database(
            url_of(shared), "drill", shared.parent / "intents.jsonl", FakeRuntime()
        )
        with open_engine(url_of(shared)).begin() as connection:
            connection.exec_driver_sql("CREATE TABLE one (two)")


def test_an_operators_link_in_a_folder_of_their_own_leads_to_the_database(tmp_path):
    """A database may be on another disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "other.db").touch()
    (tmp_path / "publisher.db").symlink_to(tmp_path / "disk" / "other.db")
    prepare(tmp_path)
    lock(tmp_path)
    assert (tmp_path / "publisher.db").readlink() == tmp_path / "disk" / "other.db"


def test_f79_a_planted_holder_does_not_hold_up_the_refusal(shared):
    """F79: any content of a shared folder's lock files leaves the second daemon refused by name."""
    held = lock_process(url_of(shared), shared)
    (shared / "a.lock").write_text('["neither"]', "ascii")
    (shared / "b.lock").symlink_to(shared.parent / "vault.json")
    os.mkfifo(shared / "c.lock")
    assert refusal_of(lock_process, url_of(shared), shared).facts["pid"] == str(
        os.getpid()
    )
    held.release()
