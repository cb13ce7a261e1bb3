"""Shrink pictures to a number of bytes and of pixels: never enlarged, in the format they have."""

import math
import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

from PIL import Image

from publisher.rendering.image_formats import (
    MAX_PICTURE_BYTES,
    UPRIGHT_TRANSFORMS,
    StrippedPicture,
    clean_picture,
    picture_error,
    strip_metadata,
)

MAX_ORIGINAL_PIXELS: Final = 80_000_000
"""Of a JPEG, which is decoded at the size it is shrunk to. Phones' cameras have 50 million."""
JPEG_QUALITY: Final = 85
MAX_TRIES: Final = 8
FIRST_SIDEWAYS_ORIENTATION: Final = 5
"""From this Exif orientation on, width and height change places."""
_PALETTE_MODES: Final = frozenset({"P", "1"})


def shrink_picture(
    data: bytes, max_bytes: int, max_pixels: int
) -> tuple[StrippedPicture, tuple[int, int]]:
    """Return a picture as clean_picture() does, within these limits, and its original's size.

    A picture within them is only cleaned. Raises InputError as clean_picture() does, before
    anything is decoded for too many pixels.
    """
    original = strip_metadata(data, MAX_ORIGINAL_PIXELS)
    size = original.width, original.height
    if original.orientation >= FIRST_SIDEWAYS_ORIENTATION:
        size = original.height, original.width
    if len(data) <= MAX_PICTURE_BYTES and math.prod(size) <= max_pixels:
        cleaned = clean_picture(data)
        if len(cleaned.data) <= max_bytes:
            return cleaned, size
    try:
        shrunk = _encode_within(original, size, max_bytes, max_pixels)
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        IndexError,
        struct.error,
        zlib.error,
    ):
        raise picture_error("image_broken") from None
    return clean_picture(shrunk), size


def _encode_within(
    original: StrippedPicture, size: tuple[int, int], max_bytes: int, max_pixels: int
) -> bytes:
    """Return the encoded picture, smaller with each try until it has at most `max_bytes`."""
    scale = min(1.0, math.sqrt(max_pixels / math.prod(size)))
    with Image.open(BytesIO(original.data), formats=(original.format,)) as image:
        image.draft(None, (_scaled(image.width, scale), _scaled(image.height, scale)))
        image.load()
        options = {"icc_profile": image.info.get("icc_profile")}
        is_palette = image.mode in _PALETTE_MODES
        colours = _to_colours(image)
    if (turn := UPRIGHT_TRANSFORMS.get(original.orientation)) is not None:
        colours = colours.transpose(turn)
    for _ in range(MAX_TRIES):
        smaller = colours.resize(
            (_scaled(size[0], scale), _scaled(size[1], scale)),
            Image.Resampling.LANCZOS,
        )
        if is_palette and original.format == "PNG":
            smaller = smaller.quantize(method=Image.Quantize.FASTOCTREE)
        data = _encode(smaller, original.format, options)
        if len(data) <= max_bytes:
            return data
        scale *= min(0.9, 0.97 * math.sqrt(max_bytes / len(data)))
    raise picture_error("image_too_big", limit=f"{max_bytes // 1_000_000}")


def _scaled(length: int, scale: float) -> int:
    return max(1, math.floor(length * scale))


def _to_colours(image: Image.Image) -> Image.Image:
    """Return a picture whose pixels can be averaged: with colours in place of a palette."""
    if "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode in _PALETTE_MODES:
        return image.convert("RGB" if image.mode == "P" else "L")
    return image


def _encode(image: Image.Image, kind: str, options: Mapping[str, Any]) -> bytes:
    buffer = BytesIO()
    quality = {"quality": JPEG_QUALITY} if kind == "JPEG" else {}
    image.save(buffer, kind, **options, **quality)
    return buffer.getvalue()
