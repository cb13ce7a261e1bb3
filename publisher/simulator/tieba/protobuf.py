"""The Protocol Buffers wire format, as Tieba's app uses it: varints and length-delimited fields.

A schema maps the field names of one message to their numbers. Other fields are neither sent nor
read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

MessageSchema = Mapping[str, "int | tuple[int, MessageSchema]"]
"""Field name to field number, or to number and inner schema."""

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}


def encode(schema: MessageSchema, value: Mapping[str, Any]) -> bytes:
    """Encode the fields that the schema names; a list is a repeated field."""
    pieces = []
    for name, field in schema.items():
        number, inner_schema = field if isinstance(field, tuple) else (field, {})
        given = value.get(name)
        for each in (
            given if isinstance(given, list) else [] if given is None else [given]
        ):
            if isinstance(each, int):
                pieces.append(
                    _encode_varint(number << 3 | VARINT) + _encode_varint(each)
                )
                continue
            payload = (
                encode(inner_schema, each)
                if isinstance(each, Mapping)
                else str(each).encode()
            )
            pieces.append(
                _encode_varint(number << 3 | LENGTH)
                + _encode_varint(len(payload))
                + payload
            )
    return b"".join(pieces)


def _encode_varint(value: int) -> bytes:
    value &= 2**64 - 1
    pieces = bytearray()
    while value > 0x7F:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    pieces.append(value)
    return bytes(pieces)


def decode(schema: MessageSchema, data: bytes) -> dict[str, Any]:
    """Decode a message; of a repeated field the last one counts.

    Raises ValueError for an invalid message.
    """
    names = {
        field[0] if isinstance(field, tuple) else field: name
        for name, field in schema.items()
    }
    found: dict[str, Any] = {}
    for number, value in _iter_fields(data):
        name = names.get(number)
        if name is None:
            continue
        field = schema[name]
        if isinstance(value, bytes):
            found[name] = (
                decode(field[1], value) if isinstance(field, tuple) else value.decode()
            )
        elif isinstance(field, tuple):
            raise ValueError("a message is expected")  # noqa: TRY004 # malformed input, not a caller's mistake
        else:
            found[name] = value
    return found


def _iter_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("no field has the number 0")
        if kind == VARINT:
            value, position = _read_varint(data, position)
            yield number, value
            continue
        if kind == LENGTH:
            size, position = _read_varint(data, position)
        elif kind in FIXED_SIZES:
            size = FIXED_SIZES[kind]
        else:
            raise ValueError("an unknown wire type")
        payload = data[position : position + size]
        if len(payload) < size:
            raise ValueError("the message is cut short")
        yield number, payload if kind == LENGTH else int.from_bytes(payload, "little")
        position += size


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(data[position : position + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position + count + 1
    raise ValueError("the message is cut short")
