"""Picture files, read and cleaned: judged by their content, never by their names."""

import errno
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from publisher.domain.problem import Place, Problem
from publisher.domain.rendition import Picture
from publisher.file_access import open_unlinked
from publisher.rendering.jobs import CleanedPicture, CleanPicture, Renderer, Result
from publisher.rendering.picture_formats import MAX_BYTES

_MEDIA_TYPES: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFile:
    """A file to be read as a picture. No link is followed below the folder `below`."""

    path: Path
    alt: str
    below: Path


def read_pictures(files: Sequence[PictureFile], renderer: Renderer) -> list[tuple[Picture, bytes] | Problem]:
    """Read picture files and clean them: the bytes returned are those to preview, hash, keep and send.

    What is missing, a link, or cannot be used as clean_picture() says, is a problem with the file as its place.
    """
    return [_picture(file, _cleaned(file, renderer)) for file in files]


def _cleaned(file: PictureFile, renderer: Renderer) -> Result:
    try:
        with open_unlinked(file.path, file.below) as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        return Problem(code="file_is_link" if error.errno == errno.ELOOP else "picture_missing")
    return renderer.run([CleanPicture(data=data)])[0]


def _picture(file: PictureFile, result: Result) -> tuple[Picture, bytes] | Problem:
    if isinstance(result, Problem):
        facts = {"file": file.path.name, **result.facts}
        return replace(result, place=Place(file=str(file.path)), facts=facts)
    if not isinstance(result, CleanedPicture):
        raise TypeError(type(result).__name__)
    picture = Picture(
        sha256=hashlib.sha256(result.data).hexdigest(),
        media_type=_MEDIA_TYPES[result.format],
        size=len(result.data),
        width=result.width,
        height=result.height,
        alt=file.alt,
    )
    return picture, result.data
