"""Protocol Buffers written and read by hand.

They serve tests that must not trust the simulator's own code.
"""


def varint(value):
    pieces = bytearray()
    while value > 127:
        pieces.append(value % 128 + 128)
        value //= 128
    return bytes([*pieces, value])


def message(*fields):
    """Encode fields, each a number with an integer, a text or bytes."""
    written = b""
    for number, value in fields:
        if isinstance(value, int):
            written += varint(number * 8) + varint(value)
        else:
            payload = value if isinstance(value, bytes) else value.encode()
            written += varint(number * 8 + 2) + varint(len(payload)) + payload
    return written


def read_message(data):
    """Decode fields: all values of each number, integers or bytes."""
    found, rest = {}, data
    while rest:
        tag, rest = _number(rest)
        value, rest = _number(rest)
        if tag % 8 == 2:
            value, rest = rest[:value], rest[value:]
        found.setdefault(tag // 8, []).append(value)
    return found


def _number(data):
    size = next(place for place, byte in enumerate(data) if byte < 128) + 1
    return sum(
        (byte % 128) * 128**place for place, byte in enumerate(data[:size])
    ), data[size:]


def at(data, *path):
    """Return the first value at a path of field numbers through nested messages."""
    value = data
    for number in path:
        fields = value if isinstance(value, dict) else read_message(value)
        value = fields.get(number, [None])[0]
        if value is None:
            return None
    return value


def text_at(data, *path):
    value = at(data, *path)
    return value.decode() if isinstance(value, bytes) else value
