"""Shapes in which one and the same answer may come: clients have met all of them.

Numbers of jobs as numbers or as text, JSON that calls itself text, slashes escaped.
"""

import json
from collections.abc import Callable

from publisher.simulator.call import Answer, Call
from publisher.simulator.log import to_json
from publisher.simulator.world import Settings, World

NUMBERS = ("publish_id", "msg_id", "msg_data_id")


def shaped(world: World, handler: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
    """The same handler, its JSON in the shape that the settings ask for."""
    return lambda call: in_shape(world.settings, handler(call))


def in_shape(settings: Settings, answer: Answer) -> Answer:
    if (settings.wechat_ids, settings.wechat_type, settings.wechat_slashes) == ("own", "json", "plain"):
        return answer
    if answer.body[:1] != b"{":
        return answer
    value = json.loads(answer.body)
    for name in NUMBERS if settings.wechat_ids != "own" else ():
        if name in value:
            value[name] = str(value[name]) if settings.wechat_ids == "text" else int(value[name])
    body = to_json(value).replace(b"/", b"\\/") if settings.wechat_slashes == "escaped" else to_json(value)
    return Answer(body, answer.status, "text/plain" if settings.wechat_type == "text" else answer.type, answer.headers)
