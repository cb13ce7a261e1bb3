"""Variants of the same JSON response; clients have seen all of them.

Job ids as numbers or as text, JSON with a text content type, escaped slashes.
"""

import json
from collections.abc import Callable

from publisher.simulator.log import to_json
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import Behaviour, SimulatorState

ID_KEYS = ("publish_id", "msg_id", "msg_data_id")


def with_variant(
    state: SimulatorState, handler: Callable[[ApiRequest], ApiResponse]
) -> Callable[[ApiRequest], ApiResponse]:
    """Wrap a handler so that its JSON follows the settings."""
    return lambda request: apply_variant(state.behaviour, handler(request))


def apply_variant(behaviour: Behaviour, response: ApiResponse) -> ApiResponse:
    if (behaviour.wechat_ids, behaviour.wechat_type, behaviour.wechat_slashes) == ("own", "json", "plain"):
        return response
    if response.body[:1] != b"{":
        return response
    value = json.loads(response.body)
    for name in ID_KEYS if behaviour.wechat_ids != "own" else ():
        if name in value:
            value[name] = str(value[name]) if behaviour.wechat_ids == "text" else int(value[name])
    body = to_json(value).replace(b"/", b"\\/") if behaviour.wechat_slashes == "escaped" else to_json(value)
    return ApiResponse(
        body,
        response.status,
        "text/plain" if behaviour.wechat_type == "text" else response.content_type,
        response.headers,
    )
