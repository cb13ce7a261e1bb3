"""Watch of the schedule file and of its pictures. It also works in folders of other machines."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from publisher.tomlfile.read import FileVersion

LOOK_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChanges:
    """The changes since the look before."""

    has_new_schedule: bool
    has_new_pictures: bool


@dataclass(slots=True, kw_only=True)
class FileWatch:
    """The last seen versions of a schedule file and of the pictures in a folder.

    After a failed look they are kept, so that the next one notices the changes of both.
    """

    schedule_file: Path
    media_folder: Path
    _schedule: FileVersion | None = None
    _pictures: Mapping[str, FileVersion | None] | None = None

    def look(self, *, at_pictures: bool) -> FileChanges:
        """Return the changes since the last look; an unread file counts as changed.

        The first look at the pictures only notes them. A new schedule is noticed together with its
        pictures, so that later ones are changes. Raises OSError for an unreadable folder.
        """
        schedule = FileVersion.read(self.schedule_file)
        has_new_schedule, has_new_pictures = schedule != self._schedule, False
        if at_pictures or has_new_schedule:
            pictures = read_versions(self.media_folder)
            has_new_pictures = self._pictures not in (None, pictures)
            self._pictures = pictures
        self._schedule = schedule
        return FileChanges(
            has_new_schedule=has_new_schedule, has_new_pictures=has_new_pictures
        )


def read_versions(folder: Path) -> Mapping[str, FileVersion | None]:
    """Return the version of each file of a folder by name, and nothing while there is none."""
    try:
        return {file.name: FileVersion.read(file) for file in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return {}


async def watch_files(
    watch: FileWatch, stop_requested: asyncio.Event, needs_pictures: Callable[[], bool]
) -> AsyncGenerator[FileChanges]:
    """Look again and again until a stop, and yield the changes, also if there are none."""
    while not stop_requested.is_set():
        yield await asyncio.to_thread(watch.look, at_pictures=needs_pictures())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop_requested.wait(), LOOK_INTERVAL_SECONDS)
