"""Variants of the same JSON response; clients have seen all of them.

`error_code` and ids as numbers or as text, ids at the top or inside `data`, UTF-8 under a header that says GBK.
"""

import json
from collections.abc import Callable

from publisher.simulator.request import JSON_CONTENT_TYPE, ApiRequest, ApiResponse
from publisher.simulator.state import Behaviour, SimulatorState

ID_KEYS = ("tid", "pid")


def with_variant(
    state: SimulatorState, handler: Callable[[ApiRequest], ApiResponse]
) -> Callable[[ApiRequest], ApiResponse]:
    """Wrap a handler so that its JSON follows the settings."""
    return lambda request: apply_variant(state.behaviour, handler(request))


def apply_variant(behaviour: Behaviour, response: ApiResponse) -> ApiResponse:
    if response.content_type != JSON_CONTENT_TYPE:
        return response
    if behaviour.tieba_types != "own" or behaviour.tieba_ids_in != "top":
        value = json.loads(response.body)
        ids = {name: value[name] for name in ID_KEYS if name in value}
        if ids and behaviour.tieba_ids_in == "data":
            value = {**{name: each for name, each in value.items() if name not in ids}, "data": ids}
        response = ApiResponse.from_json(_convert_types(value, behaviour.tieba_types), response.status)
    if behaviour.tieba_charset == "gbk":
        return ApiResponse(response.body, response.status, "text/html; charset=GBK", response.headers)
    return response


def _convert_types(value: object, types: str) -> object:
    if isinstance(value, dict):
        return {name: _convert_types(each, types) for name, each in value.items()}
    if isinstance(value, list):
        return [_convert_types(each, types) for each in value]
    if types == "text" and isinstance(value, int):
        return str(value)
    if types == "numbers" and isinstance(value, str) and value.isdecimal():
        return int(value)
    return value
