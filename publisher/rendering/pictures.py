"""Pictures are judged by their content, never by their names."""

import errno
import hashlib
import warnings
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError

from publisher.domain.errors import InputError
from publisher.domain.problem import Place, Problem
from publisher.domain.rendition import Picture
from publisher.file_access import open_unlinked

MAX_BYTES: Final = 5 * 1024 * 1024
"""No platform of ours takes a bigger picture."""
MAX_PIXELS: Final = 40_000_000
_MEDIA_TYPES: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif"}


def read_picture(path: Path, alt: str, *, below: Path | None = None) -> tuple[Picture, bytes]:
    """Read a picture file that every part of which can be shown.

    No link is followed below the folder `below`, which is the picture's own where it is not given.

    Raises InputError when it is missing or a link, is no PNG, JPEG or GIF, is cut short, or is over 5 MB or 40 million
    pixels.
    """
    try:
        with open_unlinked(path, below or path.parent) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refusal(path, "file_is_link" if error.errno == errno.ELOOP else "picture_missing") from None
    if len(data) > MAX_BYTES:
        raise _refusal(path, "picture_too_big", limit=f"{MAX_BYTES // 1024 // 1024}")
    media_type, width, height = _examine(path, data)
    sha256 = hashlib.sha256(data).hexdigest()
    picture = Picture(sha256=sha256, media_type=media_type, size=len(data), width=width, height=height, alt=alt)
    return picture, data


def _examine(path: Path, data: bytes) -> tuple[str, int, int]:
    """Tell a picture's type, width and height, having decoded all of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=tuple(_MEDIA_TYPES)) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise _refusal(path, "picture_too_many_pixels", width=f"{width}", height=f"{height}")
                image.load()
                return _MEDIA_TYPES[str(image.format)], width, height
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise _refusal(path, "picture_too_many_pixels", width="?", height="?") from None
    except UnidentifiedImageError:
        raise _refusal(path, "picture_unknown_type") from None
    except (OSError, SyntaxError, ValueError):
        raise _refusal(path, "picture_broken") from None


def _refusal(path: Path, code: str, **facts: str) -> InputError:
    return InputError([Problem(code=code, place=Place(file=str(path)), facts={"file": path.name, **facts})])
