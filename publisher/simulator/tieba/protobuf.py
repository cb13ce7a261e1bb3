"""Protocol Buffers on the wire, as far as Tieba's app uses them: varints and length-delimited fields.

A shape names the fields of one message and gives their numbers; what a shape does not name is not sent and not read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Shape = Mapping[str, "int | tuple[int, Shape]"]
"""Field name to field number, or to number and inner shape."""

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10
SIZES = {FIXED64: 8, FIXED32: 4}


def encode(shape: Shape, value: Mapping[str, Any]) -> bytes:
    """Write what the shape knows of a value; a list is a repeated field."""
    return b"".join(_field(field, value[name]) for name, field in shape.items() if value.get(name) is not None)


def _field(field: int | tuple[int, Shape], value: object) -> bytes:
    number, inner = field if isinstance(field, tuple) else (field, {})
    return b"".join(_one(number, inner, each) for each in (value if isinstance(value, list) else [value]))


def _one(number: int, inner: Shape, value: object) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3 | VARINT) + _varint(value)
    payload = encode(inner, value) if isinstance(value, Mapping) else str(value).encode()
    return _varint(number << 3 | LENGTH) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    pieces = bytearray()
    while value > 0x7F:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    pieces.append(value)
    return bytes(pieces)


def decode(shape: Shape, data: bytes) -> dict[str, Any]:
    """Read a message; ValueError for bytes that are none. Of a repeated field the last one counts."""
    names = {field[0] if isinstance(field, tuple) else field: name for name, field in shape.items()}
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        name = names.get(number)
        if name is not None:
            field = shape[name]
            found[name] = _read(field[1] if isinstance(field, tuple) else None, value)
    return found


def _read(inner: Shape | None, value: int | bytes) -> object:
    if inner is not None:
        if isinstance(value, int):
            raise ValueError("a message is expected")
        return decode(inner, value)
    return value if isinstance(value, int) else value.decode()


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(data):
        tag, place = _number(data, place)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("no field has the number 0")
        value, place = _value(kind, data, place)
        yield number, value


def _value(kind: int, data: bytes, place: int) -> tuple[int | bytes, int]:
    if kind == VARINT:
        return _number(data, place)
    if kind == LENGTH:
        size, place = _number(data, place)
    elif kind in SIZES:
        size = SIZES[kind]
    else:
        raise ValueError("an unknown wire type")
    if place + size > len(data):
        raise ValueError("the message is cut short")
    value = data[place : place + size]
    return (value if kind == LENGTH else int.from_bytes(value, "little")), place + size


def _number(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(data[place : place + LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, place + count + 1
    raise ValueError("the message is cut short")
