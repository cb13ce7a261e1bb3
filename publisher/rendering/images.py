"""Read and clean picture files, by their content, never by their names."""

import errno
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final

from publisher.domain.errors import Location, Problem
from publisher.domain.post import RenderedImage
from publisher.rendering.image_formats import MAX_PICTURE_BYTES
from publisher.rendering.jobs import (
    MEDIA_TYPES,
    CleanedPicture,
    CleanPicture,
    JobResult,
    Renderer,
    ShrinkPicture,
    ShrunkPicture,
)
from publisher.runtime.bounded_dict import BoundedDict

MAX_POST_PIXELS: Final = 150_000_000
"""Of all pictures of a post together: a dozen as a telephone takes them.

The renderer decodes each of them once, and the texts of other posts wait meanwhile.
"""
MAX_SHRUNK_PIXELS: Final = 12_000_000
"""Of a picture that is shrunk as it is added: a telephone's picture keeps its size."""
MAX_KNOWN_PICTURES: Final = 1_000
MAX_THUMBNAIL_BYTES: Final = 64_000
MAX_THUMBNAIL_PIXELS: Final = 60_000
MAX_THUMBNAILS: Final = 300
FileState = tuple[int, int, int, int]
"""Device, inode, size and time of change of a file: while it is the same, so are its bytes."""
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFile:
    """A file to read as a picture. No symbolic link is followed below `trusted_root`."""

    path: Path
    alt: str
    trusted_root: Path


@dataclass(slots=True)
class CleanPictures:
    """Pictures that need no cleaning, or are the result of one.

    Each preview of a post would decode them again, for seconds.
    """

    _known: BoundedDict[bytes, CleanedPicture] = field(
        default_factory=lambda: BoundedDict(MAX_KNOWN_PICTURES)
    )
    _described: BoundedDict[tuple[Path, FileState], RenderedImage] = field(
        default_factory=lambda: BoundedDict(MAX_KNOWN_PICTURES)
    )

    _thumbnails: BoundedDict[bytes, bytes] = field(
        default_factory=lambda: BoundedDict(MAX_THUMBNAILS)
    )

    def describe(
        self, file: PictureFile, renderer: Renderer
    ) -> RenderedImage | Problem:
        """Return the result of `read_picture` without the bytes.

        A file that has not changed is not read again.
        """
        key = (
            (file.path, state) if (state := find_file_state(file)) is not None else None
        )
        if key is not None and (described := self._described.get(key)) is not None:
            return replace(described, alt=file.alt)
        found = read_picture(file, renderer, self)
        if isinstance(found, Problem):
            return found
        picture, _data = found
        if key is not None:
            self._described[key] = picture
        return picture

    def clean(self, data: bytes, renderer: Renderer) -> JobResult:
        """Clean a picture, unless it is known to be clean."""
        digest = hashlib.sha256(data).digest()
        if (known := self._known.get(digest)) is not None:
            return replace(known, data=data)
        [result] = renderer.run([CleanPicture(data=data)])
        if isinstance(result, CleanedPicture):
            digest = hashlib.sha256(result.data).digest()
            self._known[digest] = replace(result, data=b"")
        return result

    def shrink_to_thumbnail(self, data: bytes, renderer: Renderer) -> bytes | Problem:
        """Return a small picture in the format of a large one. It is made once, by its hash."""
        digest = hashlib.sha256(data).digest()
        if (known := self._thumbnails.get(digest)) is not None:
            return known
        job = ShrinkPicture(
            data=data, max_bytes=MAX_THUMBNAIL_BYTES, max_pixels=MAX_THUMBNAIL_PIXELS
        )
        result = _run_shrinking(job, renderer)
        if isinstance(result, Problem):
            return result
        self._thumbnails[digest] = result.data
        return result.data

    def shrink(
        self, data: bytes, max_bytes: int, renderer: Renderer
    ) -> ShrunkPicture | Problem:
        """Clean a picture, and shrink it to the limits of a post."""
        job = ShrinkPicture(
            data=data, max_bytes=max_bytes, max_pixels=MAX_SHRUNK_PIXELS
        )
        result = _run_shrinking(job, renderer)
        if isinstance(result, Problem):
            return result
        self._known[hashlib.sha256(result.data).digest()] = CleanedPicture(
            format=result.format, width=result.width, height=result.height, data=b""
        )
        return result


def _run_shrinking(job: ShrinkPicture, renderer: Renderer) -> ShrunkPicture | Problem:
    [result] = renderer.run([job])
    if not isinstance(result, ShrunkPicture | Problem):
        raise TypeError(type(result).__name__)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class PostPictures:
    """The pictures of a post, with a problem for each unusable one.

    Their media type and bytes are kept by hash.
    """

    shown: Sequence[RenderedImage]
    media: Mapping[str, tuple[str, bytes]]
    problems: Sequence[Problem]


def read_pictures(
    files: Sequence[PictureFile],
    renderer: Renderer,
    known: CleanPictures,
    *,
    with_media: bool,
) -> PostPictures:
    """Read the pictures of a post, or only describe them. A problem names the key of the post.

    No picture is read beyond MAX_POST_PIXELS.
    """
    shown: list[RenderedImage] = []
    media: dict[str, tuple[str, bytes]] = {}
    problems: list[Problem] = []
    for number, file in enumerate(files):
        key = f"images.{number}.file"
        if sum(each.width * each.height for each in shown) > MAX_POST_PIXELS:
            facts = {"key": key, "limit": f"{MAX_POST_PIXELS // 1_000_000}"}
            problems.append(Problem(code="images_too_many_pixels", facts=facts))
            break
        found = (
            read_picture(file, renderer, known)
            if with_media
            else known.describe(file, renderer)
        )
        if isinstance(found, Problem):
            name = file.path.relative_to(file.trusted_root.parent).as_posix()
            facts = {**found.facts, "file": name, "key": key}
            problems.append(replace(found, location=None, facts=facts))
        elif isinstance(found, RenderedImage):
            shown.append(found)
        else:
            picture, data = found
            shown.append(picture)
            media[picture.sha256] = (picture.media_type, data)
    return PostPictures(shown=shown, media=media, problems=problems)


def read_picture(
    file: PictureFile, renderer: Renderer, known: CleanPictures | None = None
) -> tuple[RenderedImage, bytes] | Problem:
    """Read and clean a picture file; the returned bytes are for preview, hash, store and send.

    A file that is missing, is a link, or is refused by clean_picture() becomes a problem with the
    file as its location.
    """
    try:
        with open_without_symlinks(file.path, file.trusted_root) as opened:
            data = opened.read(MAX_PICTURE_BYTES + 1)
    except OSError as error:
        result: JobResult = Problem(
            code="file_is_link" if error.errno == errno.ELOOP else "image_file_missing"
        )
    else:
        result = (known or CleanPictures()).clean(data, renderer)
    if isinstance(result, Problem):
        facts = {"file": file.path.name, **result.facts}
        return replace(result, location=Location(file=str(file.path)), facts=facts)
    if not isinstance(result, CleanedPicture):
        raise TypeError(type(result).__name__)
    picture = RenderedImage(
        sha256=hashlib.sha256(result.data).hexdigest(),
        media_type=MEDIA_TYPES[result.format],
        size=len(result.data),
        width=result.width,
        height=result.height,
        alt=file.alt,
    )
    return picture, result.data


def find_file_state(file: PictureFile) -> FileState | None:
    """Return the state of a picture's file; None if it cannot be opened."""
    try:
        with open_without_symlinks(file.path, file.trusted_root) as opened:
            status = os.fstat(opened.fileno())
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns


def open_without_symlinks(path: Path, trusted_root: Path) -> BinaryIO:
    """Open a regular file for reading; links are allowed on the path to `trusted_root`, not below.

    Raises OSError: ELOOP if a step below is a link, EINVAL if the file is not a regular one.
    """
    descriptor = os.open(trusted_root, os.O_RDONLY)
    for step in path.relative_to(trusted_root).parts:
        # Each step is opened inside the one before, so that a folder renamed meanwhile leads
        # nowhere else.
        try:
            deeper = os.open(step, _OPEN_FLAGS, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = deeper
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
    return os.fdopen(descriptor, "rb")
