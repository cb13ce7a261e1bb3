"""The client type of a call: the app by form or by Protocol Buffers, the PC site, the former site."""

from enum import Enum

from publisher.simulator.request import ApiRequest

from .protobuf import decode
from .protobuf_schemas import MESSAGE_TYPES

MESSAGE_PART = "data"
"""The only part of a message's multipart body."""


class ClientType(Enum):
    APP_FORM = "app form"
    APP_PROTOBUF = "app protobuf"
    PC_SITE = "new PC site"
    FORMER_SITE = "former web site"


PC_PATHS = frozenset({"/c/u/feed/myThread", "/c/s/pc/sync"})


def get_client_type(request: ApiRequest) -> ClientType:
    if request.endpoint.startswith(("/f/", "/dc/")):
        return ClientType.FORMER_SITE
    if request.endpoint.endswith("_pc") or request.endpoint in PC_PATHS:
        return ClientType.PC_SITE
    return ClientType.APP_PROTOBUF if request.endpoint in MESSAGE_TYPES else ClientType.APP_FORM


def decode_app_message(request: ApiRequest) -> ApiRequest:
    """Decode a message's fields into the request's form; an invalid message leaves the form empty."""
    if get_client_type(request) is not ClientType.APP_PROTOBUF:
        return request
    request.form = {}
    message, part = MESSAGE_TYPES.get(request.endpoint), request.files.get(MESSAGE_PART)
    if message is None or part is None or request.query.get("cmd") != message.cmd:
        return request
    try:
        fields = decode({"data": (1, message.request)}, part.data).get("data", {})
    except ValueError:
        return request
    common = fields.pop("common", {})
    request.form = {name: str(value) for name, value in {**common, **fields}.items()}
    return request
