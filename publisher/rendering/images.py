"""Picture files, read and cleaned: judged by their content, never by their names."""

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
    """A file to be read as a picture. No link is followed below the folder `below`."""

    path: Path
    alt: str
    trusted_root: Path


def read_pictures(files: Sequence[PictureFile], renderer: Renderer) -> list[tuple[RenderedImage, bytes] | Problem]:
    """Read picture files and clean them: the bytes returned are those to preview, hash, keep and send.

    What is missing, a link, or cannot be used as clean_picture() says, is a problem with the file as its place.
    """
    return [_to_picture(file, _clean(file, renderer)) for file in files]


def _clean(file: PictureFile, renderer: Renderer) -> JobResult:
    try:
        with open_without_symlinks(file.path, file.trusted_root) as opened:
            data = opened.read(MAX_PICTURE_BYTES + 1)
    except OSError as error:
        return Problem(code="file_is_link" if error.errno == errno.ELOOP else "image_file_missing")
    return renderer.run([CleanPicture(data=data)])[0]


def _to_picture(file: PictureFile, result: JobResult) -> tuple[RenderedImage, bytes] | Problem:
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
