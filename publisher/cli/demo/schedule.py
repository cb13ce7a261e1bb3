"""The shipped schedule, brought forward so that one can watch it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import tomlkit
from tomlkit.items import AoT

REPLACED_TIME_KEYS = ("cron", "from", "until", "days", "expires")
"""Keys that belong to the times which a demonstration replaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSchedule:
    """When the posts of a demonstration are due: the first at `start`, the last `spread` later.

    `start` is a time of the workspace's zone, without offset. With `only_warning` just one warning to all remains.
    """

    start: datetime
    spread: timedelta
    is_single_warning: bool = False


def shift_schedule(text: str, demo_schedule: DemoSchedule) -> str:
    """Rewrite a schedule to a timetable. The order of its posts stays: follow-ups come after their originals."""
    document = tomlkit.parse(text)
    posts = document["post"]
    if not isinstance(posts, AoT):
        raise TypeError(posts)
    if demo_schedule.is_single_warning:
        _keep_first_warning(posts)
    step = demo_schedule.spread / max(len(posts) - 1, 1)
    for position, post in enumerate(posts):
        for key in REPLACED_TIME_KEYS:
            post.pop(key, None)
        post["at"] = (demo_schedule.start + step * position).replace(microsecond=0)
    return tomlkit.dumps(document)


def _keep_first_warning(posts: AoT) -> None:
    """Leave the first warning that goes to all."""
    kept_index = next(index for index, post in enumerate(posts) if post["kind"] == "warning" and post["to"] == ["all"])
    for index in reversed(range(len(posts))):
        if index != kept_index:
            del posts[index]
