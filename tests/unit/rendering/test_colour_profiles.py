"""A colour profile is sent with only the numbers that colours need.

No text about its author or tools is sent.
"""

import struct
import zlib
from io import BytesIO
from random import Random

import pytest
from PIL import Image, ImageCms

from publisher.rendering.colour_profile import MAX_REBUILT_BYTES, rebuild_profile
from publisher.rendering.image_formats import MAX_PROFILE_BYTES, clean_picture

AUTHOR = b"Author: Wang, GPS 39.9 N 116.4 E, C02XK0AAJGH5"
SRGB = ImageCms.createProfile("sRGB")
RANDOM = Random(7)  # noqa: S311 # repeatable on purpose
MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}


def fixed(*values):
    """Return numbers in the signed 16.16 format of profiles."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def xyz(*values):
    return b"XYZ \0\0\0\0" + fixed(*values)


def curve(*samples):
    return b"curv\0\0\0\0" + struct.pack(f">I{len(samples)}H", len(samples), *samples)


def parametric(kind, *values):
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0x4142) + fixed(*values)


def table_of_8_bits(across, out, points=2):
    clut = RANDOM.randbytes(points**across * out)
    line = bytes(range(256))
    return (
        b"mft1\0\0\0\0"
        + bytes((across, out, points, 65))
        + IDENTITY
        + line * across
        + clut
        + line * out
    )


def table_of_16_bits(across, out, points=3):
    clut = RANDOM.randbytes(points**across * out * 2)
    line = struct.pack(">2H", 0, 65535)
    head = (
        b"mft2\0\0\0\0"
        + bytes((across, out, points, 65))
        + IDENTITY
        + struct.pack(">2H", 2, 2)
    )
    return head + line * across + clut + line * out


def table_of_version_4(kind, across, out, precision):
    """Return curves, matrix, curves, table and curves, in an order of their own.

    There is text between them.
    """
    inner, outer = (out, across) if kind == b"mAB " else (across, out)
    clut = bytes([2] * across + [65] * (16 - across) + [precision, 65, 65, 65])
    clut += RANDOM.randbytes(2**across * out * precision)
    matrix = fixed(0.9, 0.1, 0, 0, 1, 0, 0.1, 0, 0.9, 0, 0.01, 0)
    parts = [
        parametric(0, 1.1) * inner,
        matrix,
        curve(0, 65535) * inner,
        clut,
        parametric(3, 2, 1, 0, 0.5, 0.1) * outer,
    ]
    body, places = b"", {}
    for number in (3, 0, 4, 1, 2):
        body += AUTHOR + bytes(-len(AUTHOR) % 4)
        places[number] = 32 + len(body)
        body += parts[number] + bytes(-len(parts[number]) % 4)
    return (
        kind
        + b"\0\0\0\0"
        + bytes((across, out))
        + b"AA"
        + struct.pack(">5I", *map(places.get, range(5)))
        + body
    )


IDENTITY = fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
D50 = (0.9642, 1.0, 0.8249)
PRIMARIES = {
    b"wtpt": xyz(*D50),
    b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
    b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
    b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
}
CURVES = dict.fromkeys(
    (b"rTRC", b"gTRC", b"bTRC"),
    curve(*(round((n / 255) ** 1.9 * 65535) for n in range(256))),
)
WORDS = {
    b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(AUTHOR) + 1) + AUTHOR + bytes(79),
    b"cprt": b"text\0\0\0\0" + AUTHOR + b"\0",
    b"mmod": b"mmod\0\0\0\0" + AUTHOR,
    b"dmdd": b"desc\0\0\0\0" + struct.pack(">I", len(AUTHOR) + 1) + AUTHOR + bytes(79),
    b"Wang": b"text\0\0\0\0" + AUTHOR * 1000,
}


def profile(tags, *, version=2, kind=b"mntr", space=b"RGB ", connection=b"XYZ "):
    """Return a profile with text in every field that may hold some."""
    body, table = b"", b""
    tags = {**WORDS, **tags}
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        data = value + AUTHOR
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = (
        b"Wang"
        + bytes((version, 0x20, 0, 0))
        + kind
        + space
        + connection
        + struct.pack(">6H", 2026, 11, 24, 9, 30, 1)
    )
    head += (
        b"acspWang\0\0\0\0WangC02X"
        + bytes(8)
        + struct.pack(">I", 0)
        + fixed(*D50)
        + b"Wang"
        + AUTHOR[:44]
    )
    assert len(head) == 124
    return (
        struct.pack(">I", start + len(body))
        + head
        + struct.pack(">I", len(tags))
        + table
        + body
    )


MATRIX = profile({**PRIMARIES, **CURVES})
PROFILES = {
    "screen": MATRIX,
    "screen of version 4": profile(
        {
            **PRIMARIES,
            **dict.fromkeys(
                (b"rTRC", b"gTRC", b"bTRC"),
                parametric(3, 2.4, 0.9479, 0.0521, 0.0774, 0.0405),
            ),
            b"chad": b"sf32\0\0\0\0"
            + fixed(1.05, 0.02, -0.05, 0.03, 0.99, -0.02, -0.01, 0.02, 0.75),
            b"cicp": b"cicp\0\0\0\0\x0c\x0d\0\1",
        },
        version=4,
    ),
    "one gamma": profile(
        {**PRIMARIES, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(563))}
    ),
    "grey": profile(
        {b"wtpt": xyz(*D50), b"kTRC": curve(0, 9000, 65535)}, space=b"GRAY"
    ),
    "print of 8 bits": profile(
        {
            b"wtpt": xyz(*D50),
            b"A2B0": table_of_8_bits(4, 3),
            b"B2A0": table_of_8_bits(3, 4),
        },
        kind=b"prtr",
        space=b"CMYK",
        connection=b"Lab ",
    ),
    "print of 16 bits": profile(
        {b"wtpt": xyz(*D50), b"A2B0": table_of_16_bits(4, 3)},
        kind=b"prtr",
        space=b"CMYK",
        connection=b"Lab ",
    ),
    "print of version 4": profile(
        {
            b"wtpt": xyz(*D50),
            b"A2B0": table_of_version_4(b"mAB ", 3, 3, 1),
            b"A2B1": table_of_version_4(b"mAB ", 3, 3, 2),
            b"B2A0": table_of_version_4(b"mBA ", 3, 3, 2),
        },
        version=4,
        kind=b"prtr",
        connection=b"Lab ",
    ),
    "Pillow's own": ImageCms.ImageCmsProfile(SRGB).tobytes(),
}


def shown(data, intent):
    """Return the appearance of random pixels with a profile."""
    mode = MODES[data[16:20]]
    size = 1600 * len(Image.new(mode, (1, 1)).getbands())
    pixels = Image.frombytes(mode, (40, 40), Random(1).randbytes(size))  # noqa: S311
    opened = ImageCms.ImageCmsProfile(BytesIO(data))
    return ImageCms.profileToProfile(
        pixels, opened, SRGB, renderingIntent=intent, outputMode="RGB"
    ).tobytes()


def encoded(kind, data):
    buffer = BytesIO()
    Image.new("RGB", (20, 20), (200, 30, 60)).save(buffer, kind, icc_profile=data)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_f75_no_text_of_a_profile_is_sent(kind):
    """No text of a profile is in the picture.

    Texts are descriptions, rights, a screen's serial number, unknown tags and the header's makers.
    """
    picture = encoded(kind, MATRIX)
    cleaned = clean_picture(picture)
    with Image.open(BytesIO(cleaned.data)) as image:
        kept = image.info["icc_profile"]
    for mark in (b"Wang", b"GPS", b"C02X", b"mmod", b"Author"):
        assert mark in MATRIX
        assert mark not in kept
        assert mark not in cleaned.data
    assert kept == rebuild_profile(MATRIX)
    assert clean_picture(cleaned.data) == cleaned


@pytest.mark.long
@pytest.mark.parametrize("data", PROFILES.values(), ids=PROFILES)
def test_a_rebuilt_profile_shows_the_same_colours(data):
    """Every pixel looks the same by each rendering intent, without any text of the author.

    Text between tables is gone as well.
    """
    rebuilt = rebuild_profile(data)
    assert [shown(rebuilt, intent) for intent in range(4)] == [
        shown(data, intent) for intent in range(4)
    ]
    assert rebuild_profile(rebuilt) == rebuilt
    for mark in (b"Wang", b"GPS", b"C02X", AUTHOR[-8:], b"AA", b"lcms"):
        assert mark not in rebuilt
    assert ImageCms.getProfileDescription(BytesIO(rebuilt)).strip() == "Colours"


def test_a_profile_has_a_fixed_date():
    """Its creation time is a fixed date, so that equal colours are equal bytes."""
    later = MATRIX[:24] + struct.pack(">6H", 2027, 1, 2, 3, 4, 5) + MATRIX[36:]
    assert rebuild_profile(later) == rebuild_profile(MATRIX)


LAST_CURVE = MATRIX.rindex(b"curv")
UNSOUND = {
    "nothing": b"",
    "words": AUTHOR * 9,
    "half": MATRIX[: len(MATRIX) // 2],
    "another size": MATRIX + bytes(9),
    "no signature": MATRIX.replace(b"acsp", b"Wang"),
    "a link of devices": profile({}, kind=b"link"),
    "colours of no picture": profile({}, space=b"Lab "),
    "version 5": profile({**PRIMARIES, **CURVES}, version=5),
    "a curve of text": profile(
        {**PRIMARIES, **CURVES, b"gTRC": b"text\0\0\0\0" + AUTHOR}
    ),
    "a curve that goes on beyond the end": MATRIX[: LAST_CURVE + 8]
    + b"\xff" * 4
    + MATRIX[LAST_CURVE + 12 :],
    "a kind of curve that nobody knows": profile(
        {**PRIMARIES, **CURVES, b"gTRC": parametric(9, 1)}
    ),
    "a table for nine inks": profile(
        {b"A2B0": b"mft2\0\0\0\0" + bytes((9, 3, 255, 0)) + bytes(99)}
    ),
    "more tags than bytes": MATRIX[:128] + b"\xff" * 4 + MATRIX[132:],
}


@pytest.mark.parametrize("data", UNSOUND.values(), ids=UNSOUND)
def test_an_invalid_profile_is_dropped(data):
    """Nothing of it is sent, and the picture has no profile."""
    assert rebuild_profile(data) == b""
    assert b"iCCP" not in clean_picture(encoded("PNG", data)).data
    assert b"ICC_PROFILE" not in clean_picture(encoded("JPEG", data)).data


def test_tags_with_one_shared_curve_make_no_long_profile():
    """However often a long curve is named, it is written once; different ones, up to the limit."""
    line = curve(*[7] * 500_000)
    assert (
        len(rebuild_profile(profile({**PRIMARIES, **dict.fromkeys(CURVES, line)})))
        < len(line) + 1000
    )
    several = {name: curve(*[number] * 900_000) for number, name in enumerate(CURVES)}
    assert sum(map(len, several.values())) > MAX_REBUILT_BYTES
    assert rebuild_profile(profile({**PRIMARIES, **several})) == b""


def png_with(data):
    body = b"x\0\0" + zlib.compress(data)
    chunk = (
        struct.pack(">I", len(body))
        + b"iCCP"
        + body
        + struct.pack(">I", zlib.crc32(b"iCCP" + body))
    )
    return PLAIN_PNG[:33] + chunk + PLAIN_PNG[33:]


PLAIN_PNG = encoded("PNG", None)
GREY = rebuild_profile(profile({b"kTRC": curve()}, space=b"GRAY"))


@pytest.mark.parametrize("spare", [-4, 0, 4, 300, 700])
@pytest.mark.parametrize("is_noise", [True, False])
def test_a_profile_near_the_limit_of_a_png_is_kept_or_dropped(spare, *, is_noise):
    """A profile that no reader would inflate is dropped, and a clean picture stays.

    It stays even if packing makes it longer.
    """
    count = (MAX_PROFILE_BYTES - len(GREY) - spare) // 2
    noise = Random(3).randbytes(2 * count)  # noqa: S311
    samples = struct.unpack(f">{count}H", noise) if is_noise else [0] * count
    data = rebuild_profile(profile({b"kTRC": curve(*samples)}, space=b"GRAY"))
    assert len(data) == MAX_PROFILE_BYTES - spare
    cleaned = clean_picture(png_with(data))
    assert clean_picture(cleaned.data) == cleaned
    if spare in {-4, 0, 700}:
        assert (b"iCCP" in cleaned.data) == (spare > 0)


@pytest.mark.parametrize("name", PROFILES)
def test_f75_a_damaged_profile_is_dropped_or_rebuilt(name):
    """Bytes changed, cut or inserted anywhere: it is dropped, or rebuilt correctly."""
    random = Random(name)  # noqa: S311 # repeatable on purpose
    for _ in range(400):
        data = bytearray(PROFILES[name])
        for _ in range(random.randint(1, 3)):
            at = (
                random.randrange(len(data))
                if random.random() < 0.5
                else random.randrange(min(400, len(data)))
            )
            data[at] = random.choice((0, 1, 2, 4, 0x7F, 0xFF, random.randrange(256)))
        if random.random() < 0.2:
            del data[random.randrange(len(data)) :]
            data[:4] = struct.pack(">I", len(data))
        rebuilt = rebuild_profile(bytes(data))
        assert rebuild_profile(rebuilt) == rebuilt
