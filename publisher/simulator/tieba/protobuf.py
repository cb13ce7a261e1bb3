"""Protocol Buffers on the wire, as far as Tieba's app uses them: varints and length-delimited fields.

A shape names the fields of one message and gives their numbers; what a shape does not name is not sent and not read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

MessageSchema = Mapping[str, "int | tuple[int, MessageSchema]"]
"""Field name to field number, or to number and inner shape."""

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}


def encode(schema: MessageSchema, value: Mapping[str, Any]) -> bytes:
    """Write what the shape knows of a value; a list is a repeated field."""
    return b"".join(_encode_field(field, value[name]) for name, field in schema.items() if value.get(name) is not None)


def _encode_field(field: int | tuple[int, MessageSchema], value: object) -> bytes:
    number, inner = field if isinstance(field, tuple) else (field, {})
    return b"".join(_encode_value(number, inner, each) for each in (value if isinstance(value, list) else [value]))


def _encode_value(number: int, inner_schema: MessageSchema, value: object) -> bytes:
    if isinstance(value, int):
        return _encode_varint(number << 3 | VARINT) + _encode_varint(value)
    payload = encode(inner_schema, value) if isinstance(value, Mapping) else str(value).encode()
    return _encode_varint(number << 3 | LENGTH) + _encode_varint(len(payload)) + payload


def _encode_varint(value: int) -> bytes:
    value &= 2**64 - 1
    pieces = bytearray()
    while value > 0x7F:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    pieces.append(value)
    return bytes(pieces)


def decode(schema: MessageSchema, data: bytes) -> dict[str, Any]:
    """Read a message; ValueError for bytes that are none. Of a repeated field the last one counts."""
    names = {field[0] if isinstance(field, tuple) else field: name for name, field in schema.items()}
    found: dict[str, Any] = {}
    for number, value in _iter_fields(data):
        name = names.get(number)
        if name is not None:
            field = schema[name]
            found[name] = _decode_value(field[1] if isinstance(field, tuple) else None, value)
    return found


def _decode_value(inner_schema: MessageSchema | None, value: int | bytes) -> object:
    if inner_schema is not None:
        if isinstance(value, int):
            raise ValueError("a message is expected")
        return decode(inner_schema, value)
    return value if isinstance(value, int) else value.decode()


def _iter_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(data):
        tag, place = _read_varint(data, place)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("no field has the number 0")
        value, place = _read_value(kind, data, place)
        yield number, value


def _read_value(kind: int, data: bytes, place: int) -> tuple[int | bytes, int]:
    if kind == VARINT:
        return _read_varint(data, place)
    if kind == LENGTH:
        size, place = _read_varint(data, place)
    elif kind in FIXED_SIZES:
        size = FIXED_SIZES[kind]
    else:
        raise ValueError("an unknown wire type")
    if place + size > len(data):
        raise ValueError("the message is cut short")
    value = data[place : place + size]
    return (value if kind == LENGTH else int.from_bytes(value, "little")), place + size


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(data[place : place + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, place + count + 1
    raise ValueError("the message is cut short")
