"""Uploaded pictures of posts: cleaned by the limited process, kept in media/ while in use."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import threading
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from publisher.config import MEDIA_FOLDER
from publisher.domain.errors import Problem, ScheduleError
from publisher.engine.planner import Planner
from publisher.rendering.image_formats import MAX_PICTURE_BYTES
from publisher.rendering.jobs import MEDIA_TYPES
from publisher.runtime.files import put_in_place, write_beside
from publisher.runtime.shared_files import is_plain, share
from publisher.schedule.load import SCHEDULE_READ_LIMITS
from publisher.store.people.drafts import PICTURE_PATH, UPLOAD_GRACE
from publisher.tomlfile.read import read_unchanged

SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif"}
DIGEST_DIGITS = 12
MAX_UPLOAD_BYTES = 20 * 2**20
"""Of a picture as it is uploaded: a large one is shrunk."""
_WRITING = threading.Lock()
"""Two people may send the same picture at once."""
MIN_FREE_BYTES = 512 * 2**20
"""So much of the disk stays free of pictures: database, journal and schedule need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPicture:
    """The path of an uploaded picture, and the bytes and pixels it had before it was shrunk."""

    path: str
    is_shrunk: bool
    original_bytes: int
    original_width: int
    original_height: int


async def keep_picture(
    planner: Planner, data: bytes, user: str
) -> KeptPicture | Problem:
    """Keep a picture for a post, shrunk to what all platforms take; or return its problem.

    Equal pictures are one file. Raises RefusedError if the user has uploaded too much, and OSError
    if it cannot be written.
    """
    if len(data) > MAX_UPLOAD_BYTES:
        return Problem(
            code="image_too_big", facts={"limit": str(MAX_UPLOAD_BYTES // 2**20)}
        )
    uploads, folder = planner.store.uploads, planner.post_renderer.staff_folder
    await uploads.require_room(user, len(data))
    if await asyncio.to_thread(is_disk_low, folder, len(data)):
        return Problem(code="upload_disk_low")
    renderer, max_bytes = planner.post_renderer, find_max_bytes(planner)
    cleaned = await asyncio.to_thread(
        renderer.clean_pictures.shrink,
        data,
        max_bytes,
        renderer.templates.renderer,
    )
    if isinstance(cleaned, Problem):
        return cleaned
    digest = hashlib.sha256(cleaned.data).hexdigest()[:DIGEST_DIGITS]
    path = f"{MEDIA_FOLDER}/{planner.now:%Y-%m}-{digest}{SUFFIXES[MEDIA_TYPES[cleaned.format]]}"
    await uploads.record(user, path, len(cleaned.data))
    await asyncio.to_thread(write_new, folder / path, cleaned.data)
    original = cleaned.original_width, cleaned.original_height
    return KeptPicture(
        path=path,
        is_shrunk=len(data) > max_bytes or (cleaned.width, cleaned.height) != original,
        original_bytes=len(data),
        original_width=cleaned.original_width,
        original_height=cleaned.original_height,
    )


def find_max_bytes(planner: Planner) -> int:
    """Return the size of a picture that the calls of all accounts take."""
    policies = planner.store.policies.values()
    limits = [each.capabilities.max_picture_bytes for each in policies]
    return min((limit for limit in limits if limit), default=MAX_PICTURE_BYTES)


def is_disk_low(folder: Path, size: int) -> bool:
    """Return True if a file of this size would leave too little room on the disk of a folder."""
    return shutil.disk_usage(folder).free - size < MIN_FREE_BYTES


def write_new(file: Path, data: bytes) -> None:
    """Write a file that nobody sees before it is whole; one that is there already counts as new."""
    if not file.parent.is_dir():
        file.parent.mkdir()
        share(file.parent)
    if file.is_file():
        with contextlib.suppress(OSError):  # it is another user's
            os.utime(file)
        return
    with _WRITING:
        new = write_beside(file, data)
        share(new)
        put_in_place(new, file)


async def remove_unused_pictures(planner: Planner, schedule_file: Path) -> int:
    """Delete uploaded pictures that nothing has named for UPLOAD_GRACE; return how many.

    Drafts, stored posts, the schedule in force and that in the file may name them, so no save may
    happen meanwhile: the caller has the file's lock. Files that staff have put there, and links,
    stay: of an upload the name has the hash. Raises ScheduleError without the file, and OSError.
    """
    text = await asyncio.to_thread(
        read_unchanged, schedule_file, SCHEDULE_READ_LIMITS, ScheduleError
    )
    used = await planner.store.uploads.find_used() | set(PICTURE_PATH.findall(text))
    folder, before = planner.post_renderer.staff_folder, planner.now - UPLOAD_GRACE
    return await asyncio.to_thread(_remove_all, folder, before, used)


def _remove_all(folder: Path, before: datetime, used: Collection[str]) -> int:
    number = 0
    for file in (folder / MEDIA_FOLDER).glob("*"):
        path = f"{MEDIA_FOLDER}/{file.name}"
        if (
            path not in used
            and PICTURE_PATH.fullmatch(path)
            and is_upload(file, before)
        ):
            file.unlink()
            number += 1
    return number


def is_upload(file: Path, before: datetime) -> bool:
    """Return True if a file is older than an instant, and has the content that its name says."""
    status = file.lstat()
    if (
        not is_plain(status)
        or status.st_mtime >= before.timestamp()
        or status.st_size > MAX_PICTURE_BYTES
    ):
        return False
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return digest.startswith(file.stem.rpartition("-")[2])
