"""In which language a call speaks to Tieba: the app's forms or messages, the PC site's, the former site's reads."""

from enum import Enum

from publisher.simulator.call import Call

from .protobuf import decode
from .shapes import MESSAGES

PART = "data"
"""The one part of a message's multipart body."""


class Dialect(Enum):
    FORM = "app form"
    MESSAGE = "app protobuf"
    PC = "new PC site"
    FORMER = "former web site"


PC_CALLS = frozenset({"/c/u/feed/myThread", "/c/s/pc/sync"})


def dialect_of(call: Call) -> Dialect:
    if call.endpoint.startswith(("/f/", "/dc/")):
        return Dialect.FORMER
    if call.endpoint.endswith("_pc") or call.endpoint in PC_CALLS:
        return Dialect.PC
    is_message = call.headers.get("x_bd_data_type") == "protobuf" or call.query.get("format") == "protobuf"
    return Dialect.MESSAGE if is_message else Dialect.FORM


def unpack(call: Call) -> Call:
    """Put a message's fields where a form's would stand; what is no message leaves the form empty."""
    if dialect_of(call) is not Dialect.MESSAGE:
        return call
    call.form = {}
    message, part = MESSAGES.get(call.endpoint), call.files.get(PART)
    if message is None or part is None or call.query.get("cmd") != message.cmd:
        return call
    try:
        fields = decode({"data": (1, message.request)}, part.data).get("data", {})
    except ValueError:
        return call
    common = fields.pop("common", {})
    call.form = {name: str(value) for name, value in {**common, **fields}.items()}
    return call
