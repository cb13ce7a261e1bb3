"""Pictures are sent without metadata of cameras and programs, and as nothing but pictures."""

import struct
import zlib
from io import BytesIO
from random import Random

import pytest
from PIL import Image, ImageCms, PngImagePlugin

from publisher.domain.errors import InputError
from publisher.rendering.colour_profile import rebuild_profile
from publisher.rendering.image_formats import (
    MAX_ASPECT_RATIO,
    MAX_JPEG_SCANS,
    MAX_SEGMENTS,
    clean_picture,
    strip_metadata,
)
from tests.unit.rendering.rendering_fixtures import read_picture

AUTHOR = b"Zhang San of the Canary Street station"
ZIP = b"PK\x03\x04" + AUTHOR + b"PK\x01\x02" + b"PK\x05\x06" + bytes(18)
PROFILE = rebuild_profile(
    ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
)
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_HEAD = 33
"""Bytes up to the end of IHDR."""


def scene(size=(64, 48), mode="RGB"):
    return Image.effect_mandelbrot(size, (-2, -1.5, 1, 1.5), 100).convert(mode)


def encoded(kind, image=None, **options):
    buffer = BytesIO()
    (image or scene(mode="P" if kind == "GIF" else "RGB")).save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation=1):
    """Return Exif data with an author, a place, and the camera's orientation."""
    tags = Image.Exif()
    tags[0x0112], tags[0x013B] = orientation, AUTHOR.decode()
    tags.get_ifd(0x8825).update({1: "N", 2: (39.0, 54.0, 27.0), 0x1B: AUTHOR})
    return tags.tobytes()


def chunk(name, body):
    return (
        struct.pack(">I", len(body))
        + name
        + body
        + struct.pack(">I", zlib.crc32(name + body))
    )


def segment(code, payload):
    return struct.pack(">BBH", 0xFF, code, len(payload) + 2) + payload


def gif_comment(said):
    return b"\x21\xfe" + bytes([len(said)]) + said + b"\0"


def after_head(png, *chunks):
    return png[:PNG_HEAD] + b"".join(chunks) + png[PNG_HEAD:]


def before_frame(gif, block):
    at = gif.index(b"\x2c", 13 + (6 << (gif[10] & 7)))
    return gif[:at] + block + gif[at:]


def tagged_png(orientation=1):
    said = PngImagePlugin.PngInfo()
    said.add_text("Author", AUTHOR.decode())
    said.add_itxt("XML:com.adobe.xmp", AUTHOR.decode())
    said.add_text("Comment", AUTHOR.decode(), zip=True)
    png = encoded("PNG", pnginfo=said, exif=exif(orientation))
    profile = AUTHOR + b"\0\0" + zlib.compress(PROFILE)
    return (
        after_head(
            png,
            chunk(b"iCCP", profile),
            chunk(b"prVt", AUTHOR),
            chunk(b"tIME", bytes(7)),
        )
        + AUTHOR
    )


def tagged_jpeg(orientation=1):
    jpeg = encoded(
        "JPEG", exif=exif(orientation), comment=AUTHOR, icc_profile=PROFILE, quality=90
    )
    head, rest = (
        segment(0xE0, jpeg[6:18] + b"\1\x0c" + AUTHOR),
        jpeg[20:],
    )  # a thumbnail of 1 by 12
    thumbnail = segment(0xE0, b"JFXX\0\x10" + AUTHOR)
    others = segment(0xED, b"Photoshop 3.0\0" + AUTHOR) + segment(
        0xE1, b"http://ns.adobe.com/xap/1.0/\0" + AUTHOR
    )
    table = segment(0xDB, b"\0" + (AUTHOR * 2)[:64])  # meaningless after the last scan
    return (
        jpeg[:2]
        + head
        + thumbnail
        + others
        + AUTHOR
        + rest[:-2]
        + table
        + jpeg[-2:]
        + AUTHOR
        + ZIP
    )


def tagged_gif():
    return (
        before_frame(
            encoded("GIF"),
            gif_comment(AUTHOR) + b"\x21\xff\x0bXMP DataXMP" + gif_comment(AUTHOR)[2:],
        )
        + AUTHOR
    )


TAGGED = {"png": tagged_png(), "jpeg": tagged_jpeg(), "gif": tagged_gif()}


def pixels(data):
    with Image.open(BytesIO(data)) as image:
        return image.convert("RGB").tobytes()


def code_of(data, refuse=clean_picture):
    """Return the code of the one problem that a picture is refused with."""
    with pytest.raises(InputError) as caught:
        refuse(data)
    (problem,) = caught.value.problems
    return problem.code


@pytest.mark.parametrize("data", TAGGED.values(), ids=TAGGED)
def test_f75_nothing_is_sent_but_the_picture(data):
    """Author, place, comments, previews and bytes after the end are gone.

    Every pixel is as it was.
    """
    assert AUTHOR in data
    cleaned = clean_picture(data).data
    for mark in (
        AUTHOR,
        b"Exif",
        b"eXIf",
        b"GPS",
        b"xap",
        b"XMP",
        b"Photoshop",
        b"JFXX",
        b"tIME",
        b"zTXt",
        b"PK",
    ):
        assert mark not in cleaned
    assert pixels(cleaned) == pixels(data)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_colour_profile_is_kept(kind):
    """The cleaned picture is shown with the same colours."""
    with Image.open(BytesIO(clean_picture(TAGGED[kind]).data)) as image:
        assert image.info["icc_profile"] == PROFILE


def test_a_colour_profile_in_several_segments_is_kept_whole_or_not_at_all():
    """Its segments are sent in order; with one missing the profile is useless, and dropped."""
    half = len(PROFILE) // 2
    first, second = (
        b"ICC_PROFILE\0" + head + part
        for head, part in ((b"\1\2", PROFILE[:half]), (b"\2\2", PROFILE[half:]))
    )
    jpeg = encoded("JPEG")
    whole = jpeg[:2] + segment(0xE2, second) + segment(0xE2, first) + jpeg[2:]
    with Image.open(BytesIO(clean_picture(whole).data)) as image:
        assert image.info["icc_profile"] == PROFILE
    assert clean_picture(jpeg[:2] + segment(0xE2, first) + jpeg[2:]).data == jpeg
    assert (
        clean_picture(
            jpeg[:-2] + segment(0xE2, first) + segment(0xE2, second) + jpeg[-2:]
        ).data
        == jpeg
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("tagged", [tagged_jpeg, tagged_png], ids=["jpeg", "png"])
def test_a_picture_is_sent_upright(tagged, orientation):
    """The orientation in Exif is applied, and then dropped."""
    turns = {2: [0], 3: [3], 4: [1], 5: [5], 6: [4], 7: [6], 8: [2]}
    wanted = scene()
    for turn in turns.get(orientation, []):
        wanted = wanted.transpose(Image.Transpose(turn))
    cleaned = clean_picture(tagged(orientation))
    assert (cleaned.width, cleaned.height) == wanted.size
    with Image.open(BytesIO(cleaned.data)) as image:
        assert image.size == wanted.size
        assert image.info["icc_profile"] == PROFILE
        near = zip(
            image.convert("L").resize((8, 8)).tobytes(),
            wanted.convert("L").resize((8, 8)).tobytes(),
            strict=True,
        )
        assert max(abs(one - other) for one, other in near) < 8
    assert clean_picture(cleaned.data).data == cleaned.data


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_of_any_mode_is_turned(mode):
    """It keeps its mode."""
    image = Image.new(mode, (9, 5)) if mode == "I;16" else scene((9, 5), mode)
    cleaned = clean_picture(encoded("PNG", image, exif=exif(6)))
    with Image.open(BytesIO(cleaned.data)) as turned:
        assert (turned.size, turned.mode) == ((5, 9), mode)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"subsampling": 0},
        {"quality": 5},
        {"restart_marker_rows": 1},
    ],
)
def test_a_jpeg_of_any_mode_is_turned(mode, options):
    """It keeps its mode and quality, and about its length."""
    data = encoded("JPEG", scene((200, 100), mode), exif=exif(6), **options)
    cleaned = clean_picture(data).data
    with Image.open(BytesIO(data)) as image, Image.open(BytesIO(cleaned)) as turned:
        assert (turned.size, turned.mode) == ((100, 200), mode)
        assert turned.quantization == image.quantization
    assert len(cleaned) < 1.2 * len(data) + 300


PLAIN = {
    "png": encoded("PNG"),
    "png with a palette": encoded("PNG", scene(mode="P"), transparency=0),
    "png of 16 bits": encoded("PNG", Image.new("I;16", (9, 9), 40_000)),
    "jpeg": encoded("JPEG"),
    "progressive jpeg": encoded("JPEG", progressive=True),
    "jpeg for print": encoded("JPEG", scene(mode="CMYK")),
    "gif": encoded("GIF"),
    "gif with transparency": encoded("GIF", transparency=0),
}


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_a_picture_without_metadata_is_sent_unchanged(data):
    """Nothing is encoded again without need.

    The hash of the file is the hash of the sent bytes.
    """
    assert clean_picture(data).data == data


@pytest.mark.parametrize("data", TAGGED.values(), ids=TAGGED)
def test_cleaning_twice_changes_nothing(data):
    """A cleaned picture is not changed again."""
    cleaned = clean_picture(data)
    assert clean_picture(cleaned.data) == cleaned


def interlaced(size, spare=b""):
    """Return a white PNG in seven passes, with bytes after its pixels."""
    rows = b""
    for left, top, across, down in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        columns, lines = -(-(size[0] - left) // across), -(-(size[1] - top) // down)
        rows += (b"\0" + b"\xff" * columns) * lines if columns > 0 else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 1))
    return (
        PNG_START
        + head
        + chunk(b"IDAT", zlib.compress(rows + spare))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (8, 8), (17, 9)])
def test_an_interlaced_picture_is_counted_correctly(size):
    """It has neither too few bytes nor too many."""
    assert clean_picture(interlaced(size)).data == interlaced(size)


def test_bytes_hidden_behind_the_pixels_of_a_png_are_dropped():
    """In the packed pixels or after them, they are not shown; the picture is encoded again."""
    png = PLAIN["png"]
    at = png.index(b"IDAT")
    (length,) = struct.unpack_from(">I", png, at - 4)
    packed = png[at + 4 : at + 4 + length]
    rest = png[at + 8 + length :]
    for hidden in (
        packed + AUTHOR,
        zlib.compress(zlib.decompress(packed) + AUTHOR * 9, 0),
    ):
        cleaned = clean_picture(png[: at - 4] + chunk(b"IDAT", hidden) + rest).data
        assert AUTHOR not in cleaned
        assert pixels(cleaned) == pixels(png)
        assert clean_picture(cleaned).data == cleaned
    assert (
        AUTHOR
        not in clean_picture(
            png[: at - 4] + chunk(b"IDAT", packed) + chunk(b"IDAT", AUTHOR) + rest
        ).data
    )


@pytest.mark.parametrize("kind", ["jpeg", "gif"])
def test_bytes_hidden_in_a_scan_far_longer_than_the_picture_are_dropped(kind):
    """No decoder shows them; the picture is encoded again."""
    data = PLAIN[kind]
    if kind == "jpeg":
        padded = data[:-2] + AUTHOR * 9_000 + data[-2:]
    else:
        padded = (
            data[:-2]
            + b"".join(bytes([len(AUTHOR)]) + AUTHOR for _ in range(9_000))
            + data[-2:]
        )
    cleaned = clean_picture(padded).data
    assert AUTHOR not in cleaned
    assert clean_picture(cleaned).data == cleaned


def scanned(scans):
    """Return a progressive JPEG with its last scan repeated up to this number."""
    jpeg = encoded("JPEG", scene((16, 16)), progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * (scans - jpeg.count(b"\xff\xda")) + jpeg[-2:]


def animated_png(frames):
    return after_head(PLAIN["png"], chunk(b"acTL", struct.pack(">II", frames, 0)))


def claimed_gif(width, height):
    """Return a GIF with its one frame far outside its screen."""
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
        + b"\x2c"
        + struct.pack("<HHHHB", 9, 9, width, height, 0)
        + b"\2\0;"
    )


def claimed_jpeg(width, height):
    return (
        b"\xff\xd8"
        + segment(0xC0, b"\x08" + struct.pack(">HH", height, width) + b"\1\1\x11\0")
        + b"\xff\xd9"
    )


def claimed_scans(width, height, scans):
    """Return a JPEG of this size with empty scans."""
    one = segment(0xDA, b"\1\1\0\0\x3f\0") + b"\0"
    return claimed_jpeg(width, height)[:-2] + one * scans + b"\xff\xd9"


def claimed_png(width, height, depth=1, colour=0):
    head = chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    )
    return PNG_START + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


FRAMES = {"append_images": [Image.new("L", (64, 48), 200)], "save_all": True}
REFUSED = {
    "a pixel by 40 million": (claimed_png(1, 40_000_000), "image_too_narrow"),
    "a narrow jpeg": (claimed_jpeg(1, MAX_ASPECT_RATIO + 1), "image_too_narrow"),
    "a large jpeg": (claimed_jpeg(65_000, 65_000), "image_too_many_pixels"),
    "a frame beyond the screen": (claimed_gif(65_000, 65_000), "image_too_many_pixels"),
    "no width": (claimed_jpeg(0, 8), "image_broken"),
    "77,000 scans": (scanned(77_000), "image_too_many_scans"),
    "more scans than a large jpeg needs": (
        claimed_scans(6000, 6000, 14),
        "image_too_many_scans",
    ),
    "16 bits a colour": (claimed_png(6000, 6000, 16, 6), "image_too_many_pixels"),
    "a scan too many": (scanned(MAX_JPEG_SCANS + 1), "image_too_many_scans"),
    "an animated gif": (encoded("GIF", scene(mode="P"), **FRAMES), "image_animated"),
    "an animated png": (encoded("PNG", **FRAMES), "image_animated"),
    "a png that says it is animated": (animated_png(2), "image_animated"),
    "an animated webp": (encoded("WEBP", **FRAMES), "image_unknown_type"),
    "a zip in a scan": (
        PLAIN["jpeg"][:-2] + ZIP + PLAIN["jpeg"][-2:],
        "image_holds_file",
    ),
    "a web page in a scan": (
        PLAIN["jpeg"][:-2] + b"<SCRIPT>x()</SCRIPT>" + PLAIN["jpeg"][-2:],
        "image_holds_file",
    ),
    "a pdf in a palette": (
        after_head(PLAIN["png"], chunk(b"PLTE", b"%PDF-1.7 obj")),
        "image_holds_file",
    ),
    "a zip in a gif": (
        PLAIN["gif"][:-2] + bytes([len(ZIP)]) + ZIP + PLAIN["gif"][-2:],
        "image_holds_file",
    ),
    "no end": (PLAIN["jpeg"][:-2], "image_broken"),
    "no trailer": (PLAIN["gif"][:-1], "image_broken"),
    "too few pixels": (claimed_png(20, 20), "image_broken"),
    "too many segments": (
        b"\xff\xd8" + segment(0xFE, b"") * (MAX_SEGMENTS + 1) + PLAIN["jpeg"][2:],
        "image_broken",
    ),
    "too many chunks": (
        after_head(PLAIN["png"], chunk(b"teXt", b"") * (MAX_SEGMENTS + 1)),
        "image_broken",
    ),
    "two pictures in one": (PLAIN["jpeg"][:-2] + PLAIN["jpeg"], "image_broken"),
    "a wrong checksum": (
        PLAIN["png"][:-13] + b"\0" + PLAIN["png"][-12:],
        "image_broken",
    ),
}


@pytest.mark.parametrize(("data", "code"), REFUSED.values(), ids=REFUSED)
def test_f75_a_file_that_is_no_plain_picture_is_refused(data, code):
    """Each file that is no plain picture is refused with its reason.

    No pixel is decoded, except where the file may be of another type as well.
    """
    assert code_of(data) == code
    if code != "image_holds_file":
        assert code_of(data, strip_metadata) == code


def test_the_greatest_number_of_scans_is_accepted():
    """The limit itself is accepted."""
    assert (
        clean_picture(scanned(MAX_JPEG_SCANS)).data.count(b"\xff\xda") == MAX_JPEG_SCANS
    )


def test_a_phones_picture_of_two_views_is_sent_as_the_first():
    """A phone's additions to a picture, another view of it or its depth, are dropped."""
    phone = encoded("MPO", save_all=True, append_images=[scene((20, 10))])
    assert b"MPF" in phone
    assert clean_picture(phone).data == PLAIN["jpeg"]


def test_a_png_of_one_frame_is_no_animation():
    """The animation chunks are dropped."""
    assert clean_picture(animated_png(1)).data == PLAIN["png"]


def test_a_refused_picture_is_named(tmp_path):
    """The problem names the refused file and the limit."""
    path = tmp_path / "a.jpg"
    path.write_bytes(scanned(MAX_JPEG_SCANS + 1))
    with pytest.raises(InputError) as caught:
        read_picture(path, "图")
    (problem,) = caught.value.problems
    assert (problem.location.file, dict(problem.facts)) == (
        str(path),
        {"file": "a.jpg", "limit": f"{MAX_JPEG_SCANS}"},
    )


def repaired(data):
    """Return the data with the checksum of each chunk corrected, if it is a PNG."""
    at, parts = 8, [data[:8]]
    while data.startswith(PNG_START) and at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            break
        parts.append(chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join(parts) + data[at:]


@pytest.mark.parametrize("name", [*TAGGED, *PLAIN])
def test_f75_a_damaged_picture_is_refused_or_cleaned(name):
    """Bytes changed, cut, doubled or inserted anywhere: it is refused, or cleaned correctly."""
    random = Random(name)  # noqa: S311 # repeatable on purpose
    whole = (TAGGED | PLAIN)[name]
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            at, length = random.randrange(len(data)), random.randint(0, 40)
            match random.randrange(5):
                case 0:
                    data[at] = random.choice((0, 1, 0x7F, 0xFF, random.randrange(256)))
                case 1:
                    del data[at : at + length]
                case 2:
                    data[at:at] = data[at : at + length]
                case 3:
                    data[at:at] = random.randbytes(length)
                case _:
                    data[at : at + 2] = random.choice(
                        (b"\xff\xda", b"\xff\xd9", b"\xff\xfe", b"\0\0", b"\xff\xff")
                    )
        try:
            cleaned = clean_picture(repaired(bytes(data)))
        except InputError:
            continue
        assert clean_picture(cleaned.data).data == cleaned.data
