"""Keep a picture that a person uploads for a post: cleaned by the limited process, in media/ beside the schedule."""

import asyncio
import hashlib
import os
from pathlib import Path

from publisher.config import MEDIA_FOLDER
from publisher.domain.errors import Problem
from publisher.engine.planner import Planner
from publisher.rendering.image_formats import MAX_PICTURE_BYTES
from publisher.rendering.jobs import MEDIA_TYPES, CleanedPicture, CleanPicture
from publisher.runtime.shared_files import open_plain, share

SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif"}


async def keep_picture(planner: Planner, data: bytes) -> str | Problem:
    """Return the path of a picture as a post names it, or what is wrong with it. Equal pictures are one file.

    Raises OSError if it cannot be written.
    """
    if len(data) > MAX_PICTURE_BYTES:
        return Problem(code="image_too_big", facts={"limit": str(MAX_PICTURE_BYTES // 2**20)})
    return await asyncio.to_thread(_keep, planner, data)


def _keep(planner: Planner, data: bytes) -> str | Problem:
    [cleaned] = planner.post_renderer.templates.renderer.run([CleanPicture(data=data)])
    if isinstance(cleaned, Problem):
        return cleaned
    if not isinstance(cleaned, CleanedPicture):
        raise TypeError(type(cleaned).__name__)
    digest = hashlib.sha256(cleaned.data).hexdigest()
    name = f"{planner.now:%Y-%m}-{digest[:12]}{SUFFIXES[MEDIA_TYPES[cleaned.format]]}"
    folder = planner.post_renderer.staff_folder / MEDIA_FOLDER
    if not folder.is_dir():
        folder.mkdir()
        share(folder)
    write_new(folder / name, cleaned.data)
    return f"{MEDIA_FOLDER}/{name}"


def write_new(file: Path, data: bytes) -> None:
    """Write a file that nobody sees before it is whole."""
    if file.is_file():
        return
    temporary = file.with_name(f".{file.name}.new")
    with open(temporary, "wb", opener=open_plain) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    share(temporary)
    temporary.replace(file)
