"""Shapes in which one and the same answer may come: clients have met all of them.

`error_code` and ids as numbers or as text, ids at the top or inside `data`, UTF-8 under a header that says GBK.
"""

import json
from collections.abc import Callable

from publisher.simulator.call import JSON_TYPE, Answer, Call
from publisher.simulator.world import Settings, World

IDS = ("tid", "pid")


def moody(world: World, handler: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
    """The same handler, its JSON in the shape that the settings ask for."""
    return lambda call: in_mood(world.settings, handler(call))


def in_mood(settings: Settings, answer: Answer) -> Answer:
    if answer.type != JSON_TYPE:
        return answer
    if settings.tieba_types != "own" or settings.tieba_ids_in != "top":
        value = json.loads(answer.body)
        if settings.tieba_ids_in == "data":
            value = _moved(value)
        answer = Answer.of(_retyped(value, settings.tieba_types), answer.status)
    if settings.tieba_charset == "gbk":
        return Answer(answer.body, answer.status, "text/html; charset=GBK", answer.headers)
    return answer


def _moved(value: dict[str, object]) -> dict[str, object]:
    ids = {name: value[name] for name in IDS if name in value}
    return {**{name: each for name, each in value.items() if name not in ids}, "data": ids} if ids else value


def _retyped(value: object, types: str) -> object:
    if isinstance(value, dict):
        return {name: _retyped(each, types) for name, each in value.items()}
    if isinstance(value, list):
        return [_retyped(each, types) for each in value]
    if types == "text" and isinstance(value, int):
        return str(value)
    if types == "numbers" and isinstance(value, str) and value.isdecimal():
        return int(value)
    return value
