"""Clean JPEG, PNG and GIF files: keep the picture, rebuild the colour profile, drop the rest.

All other segments are dropped. Only clean_picture() decodes; elsewhere each byte is read a fixed
number of times. Sources: ITU-T T.81 annex B (JPEG), JFIF 1.02, ICC.1 annex B.4, PNG third edition,
GIF89a, Exif 2.32 (TIFF 6.0 for its directory).
"""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from publisher.domain.errors import InputError, Problem
from publisher.rendering.colour_profile import rebuild_profile

MAX_PICTURE_BYTES: Final = 5 * 1024 * 1024
"""No post has a bigger picture."""
MAX_PIXELS: Final = 40_000_000
MAX_ASPECT_RATIO: Final = 50
"""A long phone screenshot is about 1 to 20."""
MAX_PNG_DATA_BYTES: Final = 4 * MAX_PIXELS
"""Of the unpacked pixels. With 16 bits a colour a picture has half as many of them."""
MAX_JPEG_SCANS: Final = 100
MAX_SCANNED_PIXELS: Final = 12 * MAX_PIXELS
"""A progressive JPEG has about ten scans; each costs a pass over the whole picture."""
MAX_SEGMENTS: Final = 10_000
MAX_PROFILE_BYTES: Final = 1024 * 1024
"""Pillow decompresses no bigger ICC profile."""

_GIF_STARTS: Final = (b"GIF87a", b"GIF89a")
_JPEG_START: Final = b"\xff\xd8"
_PNG_START: Final = b"\x89PNG\r\n\x1a\n"

_JPEG_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""Neither a stuffed byte, a restart inside a scan, nor a fill byte."""
_TEM, _SOI, _EOI, _SOS, _APP0, _APP1, _APP2, _APP14 = (
    0x01,
    0xD8,
    0xD9,
    0xDA,
    0xE0,
    0xE1,
    0xE2,
    0xEE,
)
_FRAME_MARKERS: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
_KEPT_MARKERS: Final = _FRAME_MARKERS | {_SOS, 0xC4, 0xCC, 0xDB, 0xDD}
"""Frames, scans, and the tables for them."""
_ICC: Final = b"ICC_PROFILE\0"
_ICC_PART_BYTES: Final = 65_533 - len(_ICC) - 2
"""The most that one segment holds of a profile."""

_SAMPLES_BY_COLOUR_TYPE: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel, by PNG's colour type."""
_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_CRITICAL_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_COLOUR_CHUNK_LIMITS: Final = {
    b"PLTE": 768,
    b"tRNS": 256,
    b"gAMA": 4,
    b"cHRM": 32,
    b"sRGB": 1,
    b"sBIT": 4,
    b"cICP": 4,
    b"iCCP": MAX_PROFILE_BYTES,
}
"""Chunks that define the pixels' colours, and their greatest length."""

_UPRIGHT_ORIENTATION: Final = 1
_ORIENTATION_TAG: Final = 0x0112


@dataclass(frozen=True, slots=True, kw_only=True)
class StrippedPicture:
    """A picture without metadata.

    `orientation` is the value in its Exif, 1 to 8. If `is_padded`, its data has more bytes than its
    pixels need, and only re-encoding removes them.
    """

    format: str
    width: int
    height: int
    data: bytes
    orientation: int = _UPRIGHT_ORIENTATION
    is_padded: bool = False


def strip_metadata(data: bytes, max_pixels: int = MAX_PIXELS) -> StrippedPicture:
    """Return the picture with only the parts needed to show it.

    A stripped picture is returned unchanged. `max_pixels` is for a JPEG alone: its decoder can
    shrink it, all others have no more than MAX_PIXELS.

    Raises InputError, with a problem without location, if it is no PNG, JPEG or GIF, or is
    truncated or animated. It is also raised for too many pixels, too narrow a shape or too many
    scans.
    """
    try:
        if data.startswith(_JPEG_START):
            return _strip_jpeg(data, max_pixels)
        if data.startswith(_PNG_START):
            return _strip_png(data)
        if data.startswith(_GIF_STARTS):
            return _strip_gif(data)
    except (IndexError, struct.error, zlib.error):  # truncated
        raise picture_error("image_broken") from None
    raise picture_error("image_unknown_type")


def picture_error(code: str, **facts: str) -> InputError:
    """Return the error of one picture; the caller that knows its file adds the location."""
    return InputError([Problem(code=code, facts=facts)])


def _check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    if not width or not height:
        raise picture_error("image_broken")
    if width * height > max_pixels:
        raise picture_error(
            "image_too_many_pixels", width=f"{width}", height=f"{height}"
        )
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise picture_error(
            "image_too_narrow",
            width=f"{width}",
            height=f"{height}",
            limit=f"{MAX_ASPECT_RATIO}",
        )


def _strip_jpeg(data: bytes, max_pixels: int) -> StrippedPicture:
    """Keep tables, frame and scans, and the headers needed.

    The headers are JFIF, Adobe's colour transform and the profile.
    """
    headers: list[tuple[int, bytes]] = []
    body: list[bytes] = []
    width = height = scans = end = 0
    is_padded = False
    for code, payload, scan in _jpeg_segments(data):
        if code in _FRAME_MARKERS:
            if width:
                raise picture_error("image_broken")
            height, width = struct.unpack_from(">HH", payload, 1)
            _check_size(width, height, max_pixels)
        if code == _SOS:
            scans += 1
            most = min(MAX_JPEG_SCANS, MAX_SCANNED_PIXELS // (width * height or 1))
            if scans > most:
                raise picture_error("image_too_many_scans", limit=f"{most}")
            is_padded |= len(scan) > _max_data_bytes(width, height, 4 * payload[0])
        if code in _KEPT_MARKERS:
            body += (_jpeg_segment(code, payload), scan)
            end = len(body) if code == _SOS else end
        elif not scans:  # decoders ignore a header after a scan
            headers.append((code, payload))
    if not width or not scans:
        raise picture_error("image_broken")
    exif = _jpeg_headers(headers, _APP1, b"Exif\0", 6)
    head = [
        _jpeg_segment(_APP0, each[:12] + b"\0\0")
        for each in _jpeg_headers(headers, _APP0, b"JFIF\0", 14)[:1]
    ]
    head += _jpeg_profile(_jpeg_headers(headers, _APP2, _ICC, len(_ICC) + 2))
    for each in _jpeg_headers(headers, _APP14, b"Adobe", 12)[-1:]:
        head.append(_jpeg_segment(_APP14, b"Adobe\0\x64\0\0\0\0" + each[11:12]))
    return StrippedPicture(
        format="JPEG",
        width=width,
        height=height,
        data=b"".join((_JPEG_START, *head, *body[:end], b"\xff\xd9")),
        orientation=_exif_orientation(exif[0][6:]) if exif else _UPRIGHT_ORIENTATION,
        is_padded=is_padded,
    )


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield each segment's code, payload, and the scan that follows it, up to the end of the image.

    Raises InputError if there is no end, or too many segments. Bytes between segments are skipped.
    """
    at = len(_JPEG_START)
    for _ in range(MAX_SEGMENTS):
        marker = _JPEG_MARKER.search(data, at)
        if marker is None:
            break
        code, at = marker[0][1], marker.end()
        if code == _EOI:
            return
        if code == _TEM:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        payload = data[at + 2 : at + length]
        if code == _SOI or length < 2 or len(payload) < length - 2:
            break
        at += length
        scan = b""
        if code == _SOS and (follower := _JPEG_MARKER.search(data, at)):
            scan = data[at : follower.start()].rstrip(b"\xff")
            at = follower.start()
        yield code, payload, scan
    raise picture_error("image_broken")


def _jpeg_headers(
    headers: Iterable[tuple[int, bytes]], wanted: int, start: bytes, least: int
) -> list[bytes]:
    """Return the payloads of the headers with this code, start and minimum length."""
    return [
        each
        for code, each in headers
        if code == wanted and each.startswith(start) and len(each) >= least
    ]


def _jpeg_profile(parts: list[bytes]) -> list[bytes]:
    """Return the segments of the rebuilt profile in order; none if it is incomplete."""
    at = len(_ICC)
    parts = sorted(parts, key=lambda part: part[at])
    if len(parts) > 255:
        return []
    if [part[at : at + 2] for part in parts] != [
        bytes((n, len(parts))) for n in range(1, len(parts) + 1)
    ]:
        return []
    profile = rebuild_profile(b"".join(part[at + 2 :] for part in parts))
    rebuilt = [
        profile[start : start + _ICC_PART_BYTES]
        for start in range(0, len(profile), _ICC_PART_BYTES)
    ]
    return [
        _jpeg_segment(_APP2, _ICC + bytes((n, len(rebuilt))) + part)
        for n, part in enumerate(rebuilt, 1)
    ]


def _jpeg_segment(code: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(payload) + 2) + payload


def _strip_png(data: bytes) -> StrippedPicture:
    """Keep header, colours, pixels and end.

    Decoders ignore colour chunks after the first pixels.
    """
    header = exif = b""
    colours: dict[bytes, bytes] = {}
    pixels: list[bytes] = []
    for name, body in _png_chunks(data):
        if name == b"IHDR":
            header = body
            _check_size(*struct.unpack_from(">II", header))
        elif name == b"acTL" and int.from_bytes(body[:4]) != 1:
            raise picture_error("image_animated")
        elif name == b"eXIf":
            exif = exif or body
        elif name == b"IDAT":
            pixels.append(body)
        elif len(body) <= _COLOUR_CHUNK_LIMITS.get(name, -1) and not pixels:
            colours.setdefault(name, body)
    if b"iCCP" in colours:
        colours[b"iCCP"] = _png_profile(colours[b"iCCP"])
    chunks = [
        (b"IHDR", header),
        *colours.items(),
        *((b"IDAT", body) for body in pixels),
    ]
    kept = [_png_chunk(name, body) for name, body in chunks if body]
    width, height = struct.unpack_from(">II", header)
    return StrippedPicture(
        format="PNG",
        width=width,
        height=height,
        data=b"".join((_PNG_START, *kept, _png_chunk(b"IEND", b""))),
        orientation=_exif_orientation(exif),
        is_padded=_has_spare_bytes(header, pixels),
    )


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each chunk's name and body up to the end of the image.

    Raises InputError if there is no end, too many chunks, or a wrong checksum of a critical chunk.
    """
    at = len(_PNG_START)
    for _ in range(MAX_SEGMENTS):
        length, name = struct.unpack_from(">I4s", data, at)
        chunk = data[at : at + length + 12]
        body = chunk[8:-4]
        is_first, at = at == len(_PNG_START), at + length + 12
        is_damaged = name in _CRITICAL_CHUNKS and chunk != _png_chunk(name, body)
        if at > len(data) or is_damaged or is_first != (name == b"IHDR"):
            break
        if name == b"IEND":
            return
        yield name, body
    raise picture_error("image_broken")


def _png_chunk(name: bytes, body: bytes) -> bytes:
    return (
        struct.pack(">I", len(body))
        + name
        + body
        + struct.pack(">I", zlib.crc32(name + body))
    )


def _png_profile(body: bytes) -> bytes:
    """Return the body of the rebuilt profile's chunk, with a neutral name.

    It is empty if the profile cannot be used.
    """
    _name, _, packed = body.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        profile = rebuild_profile(inflate.decompress(packed[1:], MAX_PROFILE_BYTES))
    except zlib.error:
        return b""
    rebuilt = b"icc\0\0" + zlib.compress(profile, 9)
    is_readable = inflate.eof and packed[:1] == b"\0"
    is_readable_again = max(len(profile), len(rebuilt)) < MAX_PROFILE_BYTES
    return rebuilt if profile and is_readable and is_readable_again else b""


def _has_spare_bytes(header: bytes, pixels: list[bytes]) -> bool:
    """Return True if a PNG's data is longer than its pixels need.

    Raises InputError if it is shorter, or longer than MAX_PNG_DATA_BYTES.
    """
    width, height, depth, colour, packing, filtering, interlace = struct.unpack(
        ">IIBBBBB", header
    )
    if (
        colour not in _SAMPLES_BY_COLOUR_TYPE
        or depth not in {1, 2, 4, 8, 16}
        or packing
        or filtering
        or interlace > 1
    ):
        raise picture_error("image_broken")
    wanted = total = 0
    for left, top, across, down in _ADAM7 if interlace else ((0, 0, 1, 1),):
        columns, rows = (
            (width - left + across - 1) // across,
            (height - top + down - 1) // down,
        )
        if (
            columns > 0 and rows > 0
        ):  # each row of each pass has one byte more than its samples
            wanted += rows * (
                1 + (columns * depth * _SAMPLES_BY_COLOUR_TYPE[colour] + 7) // 8
            )
    if wanted > MAX_PNG_DATA_BYTES:
        raise picture_error(
            "image_too_many_pixels", width=f"{width}", height=f"{height}"
        )
    inflate = zlib.decompressobj()
    for body in pixels:
        for at in range(
            0, len(body), 16_384
        ):  # one piece decompresses to 17 MB at most
            if inflate.eof or total > wanted:
                return True
            total += len(inflate.decompress(body[at : at + 16_384]))
    if total < wanted or not inflate.eof:
        raise picture_error("image_broken")
    return total > wanted or bool(inflate.unused_data)


def _strip_gif(data: bytes) -> StrippedPicture:
    """Keep screen, palette and the one frame with its transparency."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _palette_bytes(flags)
    screen = data[:at]
    control = frame = b""
    is_padded = False
    for _ in range(MAX_SEGMENTS):
        if data[at] == 0x3B and frame:
            whole = screen + frame + b";"
            return StrippedPicture(
                format="GIF",
                width=width,
                height=height,
                data=whole,
                is_padded=is_padded,
            )
        if data[at] == 0x21:
            end = _after_blocks(data, at + 2)
            # a plain text extension consumes the graphic control before it
            if data[at + 1] in {
                0xF9,
                0x01,
            }:
                control = (
                    data[at:end] if data[at + 1] == 0xF9 and end - at == 8 else b""
                )
        elif data[at] == 0x2C:
            if frame:
                raise picture_error("image_animated")
            left, top, across, down, flags = struct.unpack_from("<HHHHB", data, at + 1)
            width, height = max(width, left + across), max(height, top + down)
            _check_size(width, height)
            start = at + 11 + _palette_bytes(flags)
            end = _after_blocks(data, start)
            frame = control + data[at:end]
            is_padded = end - start > _max_data_bytes(across, down, 1)
        else:
            break
        at = end
    raise picture_error("image_broken")


def _palette_bytes(flags: int) -> int:
    return 6 << (flags & 7) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """Return the end of a GIF's run of blocks. Raises IndexError if there is none."""
    while size := data[at]:
        at += size + 1
    return at + 1


def _max_data_bytes(width: int, height: int, per_pixel: int) -> int:
    """Return the maximum size of pixel data, including the padding of a JPEG's last blocks."""
    return 1024 + per_pixel * (width + 32) * (height + 32)


def _exif_orientation(tiff: bytes) -> int:
    """Return the orientation of the first directory, 1 to 8; upright if it cannot be read."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return _UPRIGHT_ORIENTATION
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, _number, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == _ORIENTATION_TAG:
                return (
                    value
                    if kind == 3 and value in range(1, 9)
                    else _UPRIGHT_ORIENTATION
                )
    except struct.error:
        pass
    return _UPRIGHT_ORIENTATION


UPRIGHT_TRANSFORMS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transform that turns a picture upright, by its Exif orientation."""
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
"""Signatures of other file types, in lower case; a file has all marks of its line."""


def clean_picture(data: bytes) -> StrippedPicture:
    """Return a picture upright and without metadata that decodes completely.

    It is re-encoded only if needed. A cleaned picture is returned unchanged. Raises InputError,
    with a problem without location, if it is no PNG, JPEG or GIF, or is truncated, damaged or
    animated. It is also raised if the picture contains a file of another type, or exceeds 5 MB or a
    limit of strip_metadata().
    """
    too_big = picture_error(
        "image_too_big", limit=f"{MAX_PICTURE_BYTES // 1024 // 1024}"
    )
    if len(data) > MAX_PICTURE_BYTES:
        raise too_big
    picture = strip_metadata(data)
    try:
        with Image.open(BytesIO(picture.data), formats=(picture.format,)) as image:
            image.load()
            turn = UPRIGHT_TRANSFORMS.get(picture.orientation)
            if turn is not None or picture.is_padded:
                options = {"icc_profile": image.info.get("icc_profile")}
                if isinstance(image, JpegImageFile):  # as finely as the original
                    options |= {
                        "qtables": image.quantization,
                        "subsampling": get_sampling(image),
                    }
                buffer = BytesIO()
                upright = image.transpose(turn) if turn is not None else image
                upright.save(buffer, picture.format, **options)
                picture = strip_metadata(buffer.getvalue())
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
    if len(picture.data) > MAX_PICTURE_BYTES:
        raise too_big
    lowered = picture.data.lower()
    for kind, marks in _FOREIGN_FILE_SIGNATURES:
        if all(mark in lowered for mark in marks):
            raise picture_error("image_holds_file", kind=kind)
    return picture
