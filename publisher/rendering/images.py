"""Read and clean picture files, by their content, never by their names."""

import errno
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from publisher.domain.errors import Location, Problem
from publisher.domain.rendered import RenderedImage
from publisher.rendering.image_formats import MAX_PICTURE_BYTES
from publisher.rendering.jobs import CleanedPicture, CleanPicture, JobResult, Renderer
from publisher.runtime.file_access import open_without_symlinks

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
