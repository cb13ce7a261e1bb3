"""Read and clean picture files, by their content, never by their names."""

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from publisher.domain.errors import Location, Problem
from publisher.domain.post import RenderedImage
from publisher.rendering.image_formats import MAX_PICTURE_BYTES
from publisher.rendering.jobs import CleanedPicture, CleanPicture, JobResult, Renderer

_NOFOLLOW_FLAG = getattr(os, "O_NOFOLLOW", 0)
_FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NOFOLLOW_FLAG
_FILE_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | _NOFOLLOW_FLAG
_MEDIA_TYPES: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFile:
    """A file to read as a picture. No symbolic link is followed below `trusted_root`."""

    path: Path
    alt: str
    trusted_root: Path


def read_pictures(files: Sequence[PictureFile], renderer: Renderer) -> list[tuple[RenderedImage, bytes] | Problem]:
    """Read and clean picture files: the returned bytes are those to preview, hash, store and send.

    A file that is missing, is a link, or is refused by clean_picture() becomes a problem with the file as its location.
    """
    return [_read_picture(file, renderer) for file in files]


def _read_picture(file: PictureFile, renderer: Renderer) -> tuple[RenderedImage, bytes] | Problem:
    try:
        with open_without_symlinks(file.path, file.trusted_root) as opened:
            data = opened.read(MAX_PICTURE_BYTES + 1)
    except OSError as error:
        result: JobResult = Problem(code="file_is_link" if error.errno == errno.ELOOP else "image_file_missing")
    else:
        [result] = renderer.run([CleanPicture(data=data)])
    if isinstance(result, Problem):
        facts = {"file": file.path.name, **result.facts}
        return replace(result, location=Location(file=str(file.path)), facts=facts)
    if not isinstance(result, CleanedPicture):
        raise TypeError(type(result).__name__)
    picture = RenderedImage(
        sha256=hashlib.sha256(result.data).hexdigest(),
        media_type=_MEDIA_TYPES[result.format],
        size=len(result.data),
        width=result.width,
        height=result.height,
        alt=file.alt,
    )
    return picture, result.data


def open_without_symlinks(path: Path, trusted_root: Path) -> BinaryIO:
    """Open a regular file for reading. Links are allowed on the path to `trusted_root` and not below it.

    Raises OSError: ELOOP if a step below is a link, EINVAL if the file is not a regular one.
    """
    steps = path.relative_to(trusted_root).parts
    if any(trusted_root.joinpath(*steps[:depth]).is_symlink() for depth in range(1, len(steps) + 1)):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if os.open in os.supports_dir_fd:
        # Each step is opened inside the one before, so that a folder renamed meanwhile leads nowhere else.
        descriptor = os.open(trusted_root, os.O_RDONLY)
        for depth, step in enumerate(steps, start=1):
            try:
                deeper = os.open(step, _FILE_FLAGS if depth == len(steps) else _FOLDER_FLAGS, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = deeper
    else:
        descriptor = os.open(path, _FILE_FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
    return os.fdopen(descriptor, "rb")
