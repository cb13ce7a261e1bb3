"""A picture that is too large for a platform is shrunk: upright, without metadata, never enlarged."""

import struct
from io import BytesIO

import pytest
from PIL import Image

from publisher.domain.errors import InputError
from publisher.rendering.image_formats import MAX_PIXELS
from publisher.rendering.picture_shrinker import MAX_ORIGINAL_PIXELS, shrink_picture
from tests.unit.rendering.test_image_cleaner import (
    AUTHOR,
    PROFILE,
    chunk,
    encoded,
    exif,
    scene,
    tagged_png,
)

LIMITS = {"max_bytes": 20_000, "max_pixels": 60_000}
SIZE = (600, 400)


def read(data):
    return Image.open(BytesIO(data))


def noise(mode="RGB"):
    """Return a picture that compresses badly."""
    return Image.effect_noise(SIZE, 60).convert(mode)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("PNG", mode) for mode in ("RGB", "RGBA", "P", "L", "LA", "1")),
        *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
        *(("GIF", mode) for mode in ("P", "L")),
    ],
)
def test_a_large_picture_fits_afterwards_in_its_own_format(kind, mode):
    """Bytes and pixels are within the limits, the shape is the same, and its original's size known."""
    shrunk, original = shrink_picture(encoded(kind, noise(mode)), **LIMITS)
    image = read(shrunk.data)
    assert (original, shrunk.format, image.format) == (SIZE, kind, kind)
    assert len(shrunk.data) <= LIMITS["max_bytes"]
    assert image.width * image.height <= LIMITS["max_pixels"]
    assert image.width / image.height == pytest.approx(1.5, abs=0.02)
    assert shrink_picture(shrunk.data, **LIMITS) == (shrunk, image.size)


def test_a_transparent_corner_stays_transparent():
    """The colours that are left do not shine through where nothing was."""
    image = scene(SIZE, "RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 300, 200))
    shrunk, _original = shrink_picture(encoded("PNG", image), **LIMITS)
    assert read(shrunk.data).convert("RGBA").getpixel((5, 5))[3] == 0


def test_a_small_picture_is_only_cleaned():
    """Nothing is enlarged, and a clean picture keeps its bytes."""
    data = encoded("PNG", scene((30, 20)))
    assert shrink_picture(data, **LIMITS)[0].data == data
    assert AUTHOR not in shrink_picture(tagged_png(), **LIMITS)[0].data


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_shrunk_picture_stands_upright_without_its_place(orientation):
    """The camera's orientation is applied, its place and author are gone, the profile stays."""
    left = Image.new("RGB", SIZE, "blue")
    left.paste("red", (0, 0, 300, 400))
    data = encoded(
        "JPEG", left, exif=exif(orientation), icc_profile=PROFILE, quality=95
    )
    shrunk, original = shrink_picture(data, max_bytes=20_000, max_pixels=6_000)
    image = read(shrunk.data).convert("RGB")
    red = {1: (0.1, 0.5), 3: (0.9, 0.5), 6: (0.5, 0.1), 8: (0.5, 0.9)}[orientation]
    place = int(red[0] * image.width), int(red[1] * image.height)
    assert original == (SIZE if orientation in {1, 3} else SIZE[::-1])
    assert (image.width > image.height) == (orientation in {1, 3})
    assert image.getpixel(place)[0] > 200
    assert AUTHOR not in shrunk.data
    assert shrunk.orientation == 1
    assert read(shrunk.data).info["icc_profile"] == PROFILE


def bomb_png(side):
    """Return a file of a few bytes that says it is a square of so many pixels."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bomb_jpeg(side):
    data = bytearray(encoded("JPEG", scene((16, 16))))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        bomb_png(int(MAX_PIXELS**0.5) + 1),
        bomb_png(2**20),
        bomb_jpeg(int(MAX_ORIGINAL_PIXELS**0.5) + 1),
        bomb_jpeg(60_000),
    ],
    ids=["png", "huge png", "jpeg", "huge jpeg"],
)
def test_more_pixels_than_are_decoded_are_refused_by_the_header(data):
    """The pixels of a bomb are never touched: these files have none."""
    with pytest.raises(InputError) as caught:
        shrink_picture(data, **LIMITS)
    assert caught.value.problems[0].code == "image_too_many_pixels"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_a_damaged_large_picture_is_refused(kind):
    """A file that ends early is no picture."""
    data = encoded(kind, noise("P" if kind == "GIF" else "RGB"))
    with pytest.raises(InputError):
        shrink_picture(data[: len(data) // 2], **LIMITS)
