"""P8: a schedule of 10,000 posts: loaded, reloaded with a change, and loaded during a send."""

import asyncio
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from publisher.engine.planner import apply_schedule
from tests.bench.database import application
from tests.bench.figures import BenchOptions, Figure, RunCost, median
from tests.bench.platform import PlatformClient, run_platform
from tests.bench.workspace import (
    ACCEPTED,
    NO_BODY,
    STARTED,
    daemon,
    format_post,
    wait_for_event,
    workspace,
    write_schedule,
)

ACCOUNTS = 150
POSTS = 10_000
"""A file may have 4 MB: the rest is for the posts that are sent while it is loaded."""
SPREAD = timedelta(days=365)
"""The posts are spread over a year. Planning files only the next two days."""
SENT_INTERVAL = timedelta(milliseconds=50)
"""Between two posts that are sent while the schedule is loaded."""
START_SECONDS, BRIEF_START_SECONDS = 10, 30
"""Before the first of them, beside the time that accepting them takes."""
SENT_BEFORE_SECONDS, SENT_AFTER_SECONDS = 3, 5
"""How long posts are sent before and after the reload."""


class BarePost(BaseModel):
    """The keys that the file uses, checked for their types alone."""

    id: str
    kind: str
    template: str
    author: str
    level: str
    title: str
    at: datetime
    to: list[str]
    data: dict[str, Any]


class BareSchedule(BaseModel):
    post: list[BarePost]


def p8(options: BenchOptions) -> Iterator[Figure]:
    """Measure a first load and a reload, then the lateness of posts while a daemon reloads.

    The loads are in one process.
    """
    posts = options.choose(POSTS, 300)
    text = _year_of_posts(posts)
    changed = text.replace("凡自称客服", "凡是自称客服", 1)
    bare = RunCost.measure(lambda: BareSchedule.model_validate(tomllib.loads(text)))
    with run_platform() as platform, workspace(ACCOUNTS, platform.base_url) as folder:
        first, reload = asyncio.run(_load(folder, text, changed))
        yield Figure(
            id="P8",
            name=f"loading and planning {posts:,} posts, against tomllib + pydantic",
            value=first.processor_seconds / bare.processor_seconds,
            goal=1.5,
            parts={
                "CPU s": first.processor_seconds,
                "CPU s of tomllib + pydantic": bare.processor_seconds,
                "seconds": first.seconds,
            },
        )
        yield Figure(
            id="P8",
            name="a reload with one changed post, against the first load",
            value=reload.processor_seconds / first.processor_seconds,
            goal=0.5,
            parts={"CPU s": reload.processor_seconds, "seconds": reload.seconds},
        )
        worst, quiet = _delays_of_reload(
            options, platform, folder, (changed, text), reload.seconds
        )
    yield Figure(
        id="P8",
        name="a post's first byte during the reload, later than otherwise",
        value=(worst - quiet) * 1e3,
        goal=50,
        unit="ms",
        parts={"worst ms": worst * 1e3, "median ms before": quiet * 1e3},
    )


def _year_of_posts(posts: int) -> str:
    """Return posts to the accounts in turn, at equal intervals over a year from now."""
    now = datetime.now(UTC) + timedelta(hours=1)
    return "".join(
        format_post(
            f"post-{number}",
            now + SPREAD * number / posts,
            [f"a{number % ACCOUNTS}"],
            NO_BODY,
        )
        for number in range(posts)
    )


async def _load(folder: Path, *texts: str) -> Sequence[RunCost]:
    """Apply the versions of the schedule in turn; return the cost of each, with the renderer's."""
    costs = []
    async with application(folder, can_send=False) as opened:
        for text in texts:
            spent = RunCost.meter(with_children=True)
            await apply_schedule(opened.planner, text, "schedule.toml")
            costs.append(spent())
    return costs


def _delays_of_reload(
    options: BenchOptions,
    platform: PlatformClient,
    folder: Path,
    texts: tuple[str, str],
    reload_seconds: float,
) -> tuple[float, float]:
    """Send posts at short intervals while the daemon reloads a changed schedule.

    The first of the `texts` is accepted already. Return the seconds from due time to first byte:
    the worst during the reload, and the median before it.
    """
    accepted, changed = texts
    write_schedule(folder, accepted)
    with daemon(folder, options.publisher):
        wait_for_event(folder, STARTED)
        first_due = datetime.now(UTC) + timedelta(
            seconds=4 * reload_seconds
            + options.choose(START_SECONDS, BRIEF_START_SECONDS)
        )
        seconds = (
            SENT_BEFORE_SECONDS
            + options.choose(3, 1) * reload_seconds
            + SENT_AFTER_SECONDS
        )
        due = [
            first_due + SENT_INTERVAL * number
            for number in range(round(seconds / SENT_INTERVAL.total_seconds()))
        ]
        posts = [
            format_post(f"sent-{number}", at, [f"a{number % ACCOUNTS}"], NO_BODY)
            for number, at in enumerate(due)
        ]
        write_schedule(folder, accepted, *posts)
        wait_for_event(folder, ACCEPTED, timeout=seconds + 60)
        if datetime.now(UTC) > first_due:
            raise TimeoutError("the posts were accepted only after their time")
        before = round(SENT_BEFORE_SECONDS / SENT_INTERVAL.total_seconds())
        platform.wait_for(before, seconds + 60)
        write_schedule(folder, changed, *posts)
        wait_for_event(folder, ACCEPTED, timeout=seconds + 60, count=2)
        accepted_at = datetime.now(UTC)
        platform.wait_for(len(due), seconds + 60)
    numbered = {
        int(text.partition("sent-")[2].partition("期")[0]): at
        for at, _login, text in platform.published()
    }
    delays = [numbered[number] - at.timestamp() for number, at in enumerate(due)]
    during = [delay for delay, at in zip(delays, due, strict=True) if at < accepted_at][
        before:
    ]
    if len(during) == len(delays) - before:
        raise AssertionError("the reload took longer than posts were sent")
    return max(during), median(delays[:before])
