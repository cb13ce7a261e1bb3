"""Rebuild ICC colour profiles from the numbers that colours are computed with, without their texts.

Each byte is read a fixed number of times. Source: ICC.1:2022 (version 4.4), clauses 7 to 10, for
the offsets and constants below; ICC.1:2001-04 for descriptions of version 2.
"""

import struct
from collections.abc import Callable, Mapping
from math import prod
from typing import Final

MAX_REBUILT_BYTES: Final = 5 * 1024 * 1024
"""The maximum of a whole picture."""
HEADER_BYTES: Final = 128
_DEVICE_CLASSES: Final = frozenset({b"scnr", b"mntr", b"prtr", b"spac"})
_COLOUR_SPACES: Final = frozenset({b"RGB ", b"GRAY", b"CMYK"})
"""The colour spaces of JPEG and PNG."""
_CONNECTION_SPACES: Final = frozenset({b"XYZ ", b"Lab "})
_DATE: Final = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
_D50: Final = bytes.fromhex("0000f6d6 00010000 0000d32d")
_TEXTS: Final = {
    2: {
        b"desc": b"desc"
        + bytes(4)
        + struct.pack(">I", len("Colours") + 1)
        + b"Colours\0"
        + bytes(78),
        b"cprt": b"text" + bytes(4) + b"Not stated\0",
    },
    4: {
        name: b"mluc"
        + bytes(4)
        + struct.pack(">II4sII", 1, 12, b"enUS", 2 * len(text), 28)
        + text.encode("utf-16-be")
        for name, text in ((b"desc", "Colours"), (b"cprt", "Not stated"))
    },
}
"""The required description and copyright of profiles, by version.

They replace the maker's texts.
"""
_PARAMETER_COUNTS: Final = (1, 3, 4, 5, 7)
"""The count of parameters of a parametric curve, by its kind."""


class _InvalidProfileError(Exception):
    """A part of a profile violates the standard."""


def rebuild_profile(profile: bytes) -> bytes:
    """Return a profile of the same colours without texts, dates, makers and other extras.

    A colour needs none of these. A rebuilt profile is returned unchanged. The result is empty if
    the profile cannot be read, is invalid, is not one for pictures, or would exceed
    MAX_REBUILT_BYTES.
    """
    try:
        version = profile[8:10]
        kind = profile[12:16]
        space = profile[16:20]
        connection = profile[20:24]
        (size, intent) = struct.unpack_from(">I60xI", profile)
        is_whole = profile[36:40] == b"acsp" and 0 <= len(profile) - size < 4
        is_known = (
            kind in _DEVICE_CLASSES
            and space in _COLOUR_SPACES
            and connection in _CONNECTION_SPACES
        )
        if not is_whole or not is_known or version[0] not in _TEXTS or intent > 3:
            return b""
        tags = _rewrite_tags(profile)
    except (_InvalidProfileError, IndexError, struct.error):
        return b""
    # The header without programs, makers, models and hashes, which become zeros.
    head = bytes(4) + version + bytes(2) + kind + space + connection + _DATE + b"acsp"
    head += bytes(24) + struct.pack(">I", intent) + _D50 + bytes(48)
    at = HEADER_BYTES + 4 + 12 * len(tags)
    places: dict[
        bytes, int
    ] = {}  # equal tags share their data, as red, green and blue curves often do
    table = struct.pack(">I", len(tags))
    for name, value in tags.items():
        if value not in places:
            places[value] = at
            at += len(_padded(value))
        table += name + struct.pack(">II", places[value], len(value))
    rebuilt = struct.pack(">I", at) + head + table + b"".join(map(_padded, places))
    return rebuilt if at <= MAX_REBUILT_BYTES else b""


def _rewrite_tags(profile: bytes) -> Mapping[bytes, bytes]:
    """Return the tags to keep, each rewritten, in a fixed order."""
    (count,) = struct.unpack_from(">I", profile, HEADER_BYTES)
    listed: dict[bytes, tuple[int, int]] = {}
    for at in range(
        HEADER_BYTES + 4, HEADER_BYTES + 4 + 12 * min(count, len(profile)), 12
    ):
        name, start, size = struct.unpack_from(">4sII", profile, at)
        listed.setdefault(name, (start, size))
    tags = dict(_TEXTS[profile[8]])
    for name, rewrite in _TAG_WRITERS.items():
        if name in listed:
            start, size = listed[name]
            tags[name] = rewrite(profile[start : start + size])
    return tags


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)


def _slice_exactly(data: bytes, at: int, size: int) -> bytes:
    """Return exactly `size` bytes. Raises _InvalidProfileError if there are fewer."""
    part = data[at : at + size]
    if len(part) < size:
        raise _InvalidProfileError
    return part


def _require_type(data: bytes, *types: bytes) -> bytes:
    """Return the type of a tag's data if it is one of these, with the four zeros after it."""
    if data[:4] not in types:
        raise _InvalidProfileError
    return data[:4] + bytes(4)


def _rewrite_numbers(kind: bytes, size: int) -> Callable[[bytes], bytes]:
    """Return a function that rewrites a tag of this type with numbers of a fixed size."""
    return lambda data: _require_type(data, kind) + _slice_exactly(data, 8, size)


def _rewrite_curve(data: bytes, at: int = 0) -> bytes:
    """Return a curve, sampled or parametric."""
    start = _require_type(data[at : at + 4], b"curv", b"para")
    if start[:4] == b"curv":
        (count,) = struct.unpack_from(">I", data, at + 8)
        return start + _slice_exactly(data, at + 8, 4 + 2 * count)
    (kind,) = struct.unpack_from(">H", data, at + 8)
    return (
        start
        + struct.pack(">HH", kind, 0)
        + _slice_exactly(data, at + 12, 4 * _PARAMETER_COUNTS[kind])
    )


def _rewrite_table(data: bytes) -> bytes:
    """Return a transform by tables: of 8 or 16 bits, or of version 4."""
    start = _require_type(data, b"mft1", b"mft2", b"mAB ", b"mBA ")
    channels = _slice_exactly(data, 8, 2)
    across, out = channels
    if not (1 <= across <= 4 and 1 <= out <= 4):
        raise _InvalidProfileError
    if start[:4] in {b"mAB ", b"mBA "}:
        return (
            start
            + channels
            + bytes(2)
            + _rewrite_elements(
                data, across, out, is_to_connection=start[:4] == b"mAB "
            )
        )
    points = data[10]
    if start[:4] == b"mft1":
        size = 36 + 256 * across + points**across * out + 256 * out
    else:
        entries, exits = struct.unpack_from(">HH", data, 48)
        size = 40 + 2 * (entries * across + points**across * out + exits * out)
    return start + channels + bytes((points, 0)) + _slice_exactly(data, 12, size)


def _rewrite_elements(
    data: bytes, across: int, out: int, *, is_to_connection: bool
) -> bytes:
    """Return the offsets of curves, matrix and table of version 4, and the data's elements."""
    inner = out if is_to_connection else across
    outer = across if is_to_connection else out
    parts: tuple[Callable[[int], bytes], ...] = (
        lambda at: _rewrite_curves(data, at, inner),
        lambda at: _slice_exactly(data, at, 48),
        lambda at: _rewrite_curves(data, at, inner),
        lambda at: _rewrite_grid(data, at, across, out),
        lambda at: _rewrite_curves(data, at, outer),
    )
    places, body = b"", b""
    for at, part in zip(struct.unpack_from(">5I", data, 12), parts, strict=True):
        places += struct.pack(">I", 32 + len(body) if at else 0)
        body += part(at) if at else b""
    return places + body


def _rewrite_curves(data: bytes, at: int, count: int) -> bytes:
    curves = b""
    for _ in range(count):
        curves += _padded(_rewrite_curve(data, at + len(curves)))
    return curves


def _rewrite_grid(data: bytes, at: int, across: int, out: int) -> bytes:
    points = _slice_exactly(data, at, across)
    precision = data[at + 16]
    if precision not in {1, 2}:
        raise _InvalidProfileError
    values = _slice_exactly(data, at + 20, prod(points) * out * precision)
    return _padded(points + bytes(16 - across) + bytes((precision, 0, 0, 0)) + values)


_TAG_WRITERS: Final[Mapping[bytes, Callable[[bytes], bytes]]] = {
    **dict.fromkeys(
        (b"wtpt", b"bkpt", b"rXYZ", b"gXYZ", b"bXYZ", b"lumi"),
        _rewrite_numbers(b"XYZ ", 12),
    ),
    **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC", b"kTRC"), _rewrite_curve),
    **dict.fromkeys(
        (b"A2B0", b"A2B1", b"A2B2", b"B2A0", b"B2A1", b"B2A2"), _rewrite_table
    ),
    b"chad": _rewrite_numbers(b"sf32", 36),
    b"cicp": _rewrite_numbers(b"cicp", 4),
}
"""The tags that colours are computed with, and the function that rewrites each."""
