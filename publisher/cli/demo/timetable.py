"""The shipped schedule, brought forward so that one can watch it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import tomlkit
from tomlkit.items import AoT

FIXED_TIMES = ("cron", "from", "until", "days", "expires")
"""Keys that belong to the times which a demonstration replaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """When the posts of a demonstration are due: the first at `start`, the last `spread` later.

    `start` is a time of the workspace's zone, without offset. With `only_warning` just one warning to all remains.
    """

    start: datetime
    spread: timedelta
    only_warning: bool = False


def brought_forward(text: str, timetable: Timetable) -> str:
    """Rewrite a schedule to a timetable. The order of its posts stays: follow-ups come after their originals."""
    document = tomlkit.parse(text)
    posts = document["post"]
    if not isinstance(posts, AoT):
        raise TypeError(posts)
    if timetable.only_warning:
        _keep_one(posts)
    step = timetable.spread / max(len(posts) - 1, 1)
    for position, post in enumerate(posts):
        for key in FIXED_TIMES:
            post.pop(key, None)
        post["at"] = (timetable.start + step * position).replace(microsecond=0)
    return tomlkit.dumps(document)


def _keep_one(posts: AoT) -> None:
    """Leave the first warning that goes to all."""
    kept = next(index for index, post in enumerate(posts) if post["kind"] == "warning" and post["to"] == ["all"])
    for index in reversed(range(len(posts))):
        if index != kept:
            del posts[index]
