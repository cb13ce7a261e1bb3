"""Pictures are judged by their content."""

import hashlib
import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image

from publisher.domain.errors import InputError
from publisher.rendering.child import RenderWorker
from publisher.rendering.images import CleanPictures, PictureFile
from publisher.rendering.images import read_picture as read_picture_file
from tests.unit.rendering.rendering_fixtures import read_picture


def drawn(kind: str, size: tuple[int, int] = (60, 40)) -> bytes:
    buffer = BytesIO()
    Image.effect_mandelbrot(size, (-2, -1.5, 1, 1.5), 100).convert("RGB").save(
        buffer, kind
    )
    return buffer.getvalue()


def claimed(width: int, height: int) -> bytes:
    """Return a PNG with a head that promises a size missing from its body."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"")
    chunks = [
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
        for part in (head, body, b"IEND")
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("GIF", "image/gif")],
)
def test_type_is_known_by_content(tmp_path, kind, media_type):
    """A picture's type, size and hash come from its bytes, not from its name."""
    path = tmp_path / "picture.txt"
    path.write_bytes(drawn(kind))
    picture, data = read_picture(path, "图")
    assert data == path.read_bytes()
    assert (picture.media_type, picture.width, picture.height, picture.alt) == (
        media_type,
        60,
        40,
        "图",
    )
    assert (picture.sha256, picture.size) == (
        hashlib.sha256(data).hexdigest(),
        len(data),
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (drawn("PNG")[:-200], "image_broken"),
        (drawn("JPEG")[:-200], "image_broken"),
        (drawn("BMP"), "image_unknown_type"),
        (b"<svg/>", "image_unknown_type"),
        (b"", "image_unknown_type"),
        (claimed(7000, 7000), "image_too_many_pixels"),
        (claimed(10_000, 10_000), "image_too_many_pixels"),
        (claimed(40_000, 40_000), "image_too_many_pixels"),
        (drawn("PNG") + b"x" * 5 * 1024 * 1024, "image_too_big"),
    ],
)
def test_bad_pictures_are_refused(tmp_path, content, code):
    """F75: a cut, foreign or too big picture is refused with the file's name.

    It may be too big in bytes or pixels.
    """
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_picture(path, "图")
    (problem,) = caught.value.problems
    assert problem.code == code
    assert problem.location.file == str(path)


def test_missing_picture_is_refused(tmp_path):
    """F75: a picture that is missing, or a folder, is refused and named."""
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InputError) as caught:
            read_picture(path, "图")
        assert [problem.code for problem in caught.value.problems] == [
            "image_file_missing"
        ]


def test_a_picture_in_which_nothing_is_cleaned_is_decoded_once(tmp_path):
    """A picture that was found clean, by its bytes, is not decoded a second time.

    Each preview of a post reads its pictures.
    """

    class CountingWorker(RenderWorker):
        runs = 0

        def run(self, jobs):
            self.runs += len(jobs)
            return super().run(jobs)

    worker, known, found = CountingWorker(), CleanPictures(), []
    exif = Image.Exif()
    exif[0x010E] = "place"
    dirty = BytesIO()
    Image.new("RGB", (9, 9)).save(dirty, "JPEG", exif=exif)
    for name, data in (
        ("clean.png", drawn("PNG")),
        ("dirty.jpg", dirty.getvalue()),
        ("broken.png", b"x"),
    ):
        (tmp_path / name).write_bytes(data)
        file = PictureFile(path=tmp_path / name, alt="图", trusted_root=tmp_path)
        before = worker.runs
        first, second = (read_picture_file(file, worker, known) for _ in range(2))
        found.append((first == second, worker.runs - before))
    assert found == [(True, 1), (True, 2), (True, 2)]


def test_f90_the_result_of_cleaning_is_not_decoded(tmp_path):
    """A picture that was cleaned at its upload costs no preview a second decoding."""
    worker, known, dirty = RenderWorker(), CleanPictures(), BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "place"
    Image.new("RGB", (9, 9)).save(dirty, "JPEG", exif=exif)
    cleaned = known.clean(dirty.getvalue(), worker)

    class Idle(RenderWorker):
        def run(self, jobs):
            raise AssertionError(jobs)

    assert known.clean(cleaned.data, Idle()) == cleaned
