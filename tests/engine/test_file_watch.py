"""The watch of the schedule file and of its pictures."""

import asyncio
import os
from contextlib import aclosing, asynccontextmanager

import pytest

from publisher.app.application import open_application
from publisher.config import parse_settings
from publisher.daemon import Daemon, watch_file_until_stopped
from publisher.engine import file_watch
from publisher.engine.file_watch import FileChanges, FileWatch, watch_files
from publisher.i18n import Messages
from publisher.testing.fakes import make_confirmed_runtime
from tests.engine.test_planner import SETTINGS, entry
from tests.wait import eventually

NOTHING = FileChanges(has_new_schedule=False, has_new_pictures=False)
SCHEDULE = FileChanges(has_new_schedule=True, has_new_pictures=False)
PICTURES = FileChanges(has_new_schedule=False, has_new_pictures=True)
SECONDS_TO_READ = 8
"""A second until the next look, during which the file becomes complete, and a slow machine."""


@pytest.fixture
def watch(tmp_path):
    """Return the watch of a folder with a schedule and a picture that have been seen."""
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.png").write_bytes(b"a")
    (tmp_path / "schedule.toml").write_text("one", "utf-8")
    watch = FileWatch(
        schedule_file=tmp_path / "schedule.toml", media_folder=tmp_path / "media"
    )
    assert watch.look(at_pictures=True) == SCHEDULE
    return watch


def write_in_place(file, text):
    file.write_text(text, "utf-8")


def replace_by_rename(file, text):
    """Save like an editor, with the time and size of the file before."""
    found = file.stat() if file.exists() else None
    new = file.with_name("new")
    new.write_text(text, "utf-8")
    if found is not None:
        os.utime(new, ns=(found.st_atime_ns, found.st_mtime_ns))
    new.replace(file)


def put_back(file, text):
    """Delete the file, and write it again."""
    file.unlink(missing_ok=True)
    file.write_text(text, "utf-8")


def replace_folder(file, text):
    """Put another folder in place of the file's folder, as a deployment does."""
    folder = file.parent
    folder.rename(folder.with_name("before"))
    folder.mkdir()
    file.write_text(text, "utf-8")


CHANGES = [write_in_place, replace_by_rename, put_back, replace_folder]


@pytest.mark.parametrize("change", CHANGES)
def test_every_kind_of_save_is_noticed_once(watch, change):
    """A file that is written, renamed, deleted or in a new folder is a change, one time."""
    change(watch.schedule_file, "two two")
    first, second = (watch.look(at_pictures=False) for _ in range(2))
    assert (first.has_new_schedule, second) == (True, NOTHING)


def test_a_rename_of_the_same_size_and_time_is_noticed(watch):
    """A renamed file is another one, although it is as long and as old."""
    replace_by_rename(watch.schedule_file, "two")
    assert watch.look(at_pictures=False) == SCHEDULE


def test_a_file_that_goes_and_comes_is_noticed_both_times(watch):
    """The daemon alerts people to a missing file, and reads it when it is back."""
    text = watch.schedule_file.read_text("utf-8")
    looks = []
    watch.schedule_file.unlink()
    looks += [watch.look(at_pictures=False), watch.look(at_pictures=False)]
    watch.schedule_file.write_text(text, "utf-8")
    looks += [watch.look(at_pictures=False), watch.look(at_pictures=False)]
    assert looks == [SCHEDULE, NOTHING, SCHEDULE, NOTHING]


def test_a_folder_that_goes_and_comes_is_no_error(watch):
    """The folder may be on another machine, or be replaced."""
    folder = watch.schedule_file.parent
    folder.rename(folder.with_name("away"))
    away = watch.look(at_pictures=True), watch.look(at_pictures=True)
    folder.with_name("away").rename(folder)
    back = watch.look(at_pictures=True), watch.look(at_pictures=True)
    both = FileChanges(has_new_schedule=True, has_new_pictures=True)
    assert (away, back) == ((both, NOTHING), (both, NOTHING))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "b.png").write_bytes(b"b"),
        lambda folder: (folder / "a.png").write_bytes(b"aa"),
        lambda folder: replace_by_rename(folder / "a.png", "b"),
        lambda folder: (folder / "a.png").unlink(),
    ],
    ids=["new", "in_place", "renamed", "gone"],
)
def test_every_change_of_a_picture_is_noticed(watch, change):
    """F75: also one that goes on in place, after a first part of it was there."""
    change(watch.media_folder)
    assert [watch.look(at_pictures=True) for _ in range(2)] == [PICTURES, NOTHING]


def test_pictures_are_looked_at_only_where_they_matter(watch):
    """While the schedule is accepted, a new picture changes nothing.

    A new schedule is seen with the pictures of that moment: what comes while it is read is new.
    """
    (watch.media_folder / "b.png").write_bytes(b"b")
    assert watch.look(at_pictures=False) == NOTHING
    write_in_place(watch.schedule_file, "two two")
    assert watch.look(at_pictures=False).has_new_schedule
    assert watch.look(at_pictures=True) == NOTHING
    (watch.media_folder / "c.png").write_bytes(b"c")
    assert watch.look(at_pictures=True) == PICTURES


def test_changes_during_failures_are_noticed_later(watch, monkeypatch):
    """A failed look has seen nothing."""

    def refuse(_folder):
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(file_watch, "read_versions", refuse)
        write_in_place(watch.schedule_file, "two two")
        for _ in range(2):
            with pytest.raises(PermissionError):
                watch.look(at_pictures=False)
    assert watch.look(at_pictures=False) == SCHEDULE


async def test_it_looks_until_a_stop(watch, monkeypatch):
    """Nothing is yielded after a stop, and a look without a change is reported as such."""
    monkeypatch.setattr(file_watch, "LOOK_INTERVAL_SECONDS", 0.01)
    stop, seen = asyncio.Event(), []
    async with (
        asyncio.timeout(20),
        aclosing(watch_files(watch, stop, lambda: True)) as looks,
    ):
        async for changes in looks:
            seen.append(changes)
            if len(seen) == 2:
                write_in_place(watch.schedule_file, "two two")
            if len(seen) == 4:
                stop.set()
    assert seen == [NOTHING, NOTHING, SCHEDULE, NOTHING]


@asynccontextmanager
async def watching_daemon(folder):
    """Yield a daemon that only watches its file, by the real clock."""
    settings, runtime = (
        parse_settings(SETTINGS, workspace=folder),
        make_confirmed_runtime(),
    )
    async with open_application(settings, runtime, can_send=False) as application:
        file = folder / "schedule.toml"
        daemon = Daemon(application, file, Messages(settings.lang), runtime.now())
        watching = asyncio.create_task(watch_file_until_stopped(daemon))
        yield daemon
        daemon.stop_requested.set()
        await watching


def write_old(file, text):
    """Write a file that counts as complete at once."""
    file.write_text(text, "utf-8")
    os.utime(file, (0, 0))


async def is_active(daemon, text):
    return await daemon.application.store.posts.active_schedule_text() == text


@pytest.mark.long
@pytest.mark.parametrize("change", CHANGES)
async def test_a_save_is_read_in_about_a_second(tmp_path, change):
    """However the file is saved, it is read once it is a second old and was looked at."""
    folder = tmp_path / "folder"
    folder.mkdir()
    async with watching_daemon(folder) as daemon:
        write_old(daemon.schedule_file, entry("p"))
        await eventually(lambda: is_active(daemon, entry("p")), 60)
        change(daemon.schedule_file, entry("q"))
        await eventually(lambda: is_active(daemon, entry("q")), SECONDS_TO_READ)


async def test_a_schedule_that_is_gone_is_an_alert_until_it_is_back(
    tmp_path, monkeypatch
):
    """The daemon goes on without its file, and reads it again when it is back."""
    monkeypatch.setattr(file_watch, "LOOK_INTERVAL_SECONDS", 0.01)
    file, kept = tmp_path / "schedule.toml", tmp_path / "kept"
    async with watching_daemon(tmp_path) as daemon:
        write_old(file, entry("p"))
        await eventually(lambda: is_active(daemon, entry("p")), 60)
        alerts = daemon.application.store.queries.alerts
        file.rename(kept)
        await eventually(alerts, 60)
        kept.rename(file)

        async def is_over():
            return not await alerts()

        await eventually(is_over, 60)
        assert await is_active(daemon, entry("p"))
