"""A picture's bytes, made fit to go out: upright, and without what cameras and programs add."""

import struct
import zlib
from io import BytesIO
from typing import Final

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from publisher.domain.errors import InputError
from publisher.rendering.image_formats import MAX_PICTURE_BYTES, StrippedPicture, picture_error, strip_metadata

_UPRIGHT_TRANSFORMS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes upright what Exif's orientation says lies otherwise."""
_FOREIGN_FILE_SIGNATURES: Final = (
    ("PDF", (b"%pdf-",)),
    ("ZIP", (b"pk\x01\x02", b"pk\x05\x06")),
    ("RAR", (b"rar!\x1a\x07",)),
    ("7z", (b"7z\xbc\xaf\x27\x1c",)),
    ("HTML", (b"<html",)),
    ("HTML", (b"<!doctype",)),
    ("HTML", (b"<script",)),
    ("HTML", (b"<iframe",)),
    ("SVG", (b"<svg xmlns",)),
    ("PHP", (b"<?php",)),
)
"""What a file of another type is known by, in lower case; all of one line's marks stand in it."""


def clean_picture(data: bytes) -> StrippedPicture:
    """Return a picture upright, without metadata, all of which can be shown; encoded again only where it must be.

    A cleaned picture comes back unchanged. Raises InputError, with a problem that has no place yet, for what is no PNG,
    JPEG or GIF, is cut short or damaged, is animated, holds a file of another type, or is over a limit: 5 MB, and those
    of strip_metadata().
    """
    if len(data) > MAX_PICTURE_BYTES:
        raise _too_big_error()
    picture = strip_metadata(data)
    if encoded := _decode(picture):
        picture = strip_metadata(encoded)
    if len(picture.data) > MAX_PICTURE_BYTES:
        raise _too_big_error()
    lowered = picture.data.lower()
    for kind, marks in _FOREIGN_FILE_SIGNATURES:
        if all(mark in lowered for mark in marks):
            raise picture_error("image_holds_file", kind=kind)
    return picture


def _decode(picture: StrippedPicture) -> bytes | None:
    """Decode all of a picture; return it encoded again if it lies on its side or holds more than its pixels."""
    try:
        with Image.open(BytesIO(picture.data), formats=(picture.format,)) as image:
            image.load()
            if picture.orientation not in _UPRIGHT_TRANSFORMS and not picture.is_padded:
                return None
            turn = _UPRIGHT_TRANSFORMS.get(picture.orientation)
            return _encode(image, image.transpose(turn) if turn is not None else image, picture.format)
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error):
        raise picture_error("image_broken") from None


def _encode(original: Image.Image, image: Image.Image, format_name: str) -> bytes:
    """Encode an image as the original was: as finely, with its profile."""
    options = {"icc_profile": original.info.get("icc_profile")}
    if isinstance(original, JpegImageFile):
        options |= {"qtables": original.quantization, "subsampling": get_sampling(original)}
    buffer = BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def _too_big_error() -> InputError:
    return picture_error("image_too_big", limit=f"{MAX_PICTURE_BYTES // 1024 // 1024}")
