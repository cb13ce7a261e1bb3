"""P10: the wait of a person at the command line."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from tests.bench.database import accept_schedule
from tests.bench.figures import BenchOptions, Figure, RunCost, measure_in_turn
from tests.bench.workspace import format_posts, workspace, write_schedule

IMPORT = (sys.executable, "-c", "import sqlmodel")
ACCOUNTS = 150
POSTS = 100
RECIPIENTS = [
    [f"a{number}", f"a{number + 1}", f"a{number + 2}"]
    for number in range(0, ACCOUNTS - 2, 3)
]
"""Three accounts for each post: 300 deliveries."""


REGIONS = 50
FAMILY_POSTS = 40
REGION = """
[region.{code}]
name = "第{code}区"
police = "第{code}区公安局"
hotline = "110"
tip_line = "12377"
tip_link = "https://example.gov.cn/tips"
"""
OWN_WORDS = """[post.region.{code}]
data.summary = "凡自称客服要求转账退款的都是诈骗，第{code}区请挂断"
"""


def p10(options: BenchOptions) -> Iterator[Figure]:
    """Measure the processor time of commands."""
    yield from measure_commands(options)
    yield measure_families(options)


def measure_families(options: BenchOptions) -> Figure:
    """Measure `check` of families against ordinary posts: as many texts, for 50 regions."""
    costs = []
    codes = [str(110001 + number) for number in range(REGIONS)]
    day = datetime.now(UTC) + timedelta(days=1)
    own = "".join(OWN_WORDS.format(code=code) for code in codes)
    with workspace(ACCOUNTS) as folder:
        settings = folder / "publisher.toml"
        text, *accounts = settings.read_text("utf-8").split("\n[[account]]")
        accounts = [
            account.replace('"110000"', f'"{codes[number % REGIONS]}"')
            for number, account in enumerate(accounts)
        ]
        text += "".join(REGION.format(code=code) for code in codes)
        settings.write_text("\n[[account]]".join([text, *accounts]), "utf-8")
        posts = format_posts(FAMILY_POSTS, day, [["all"]])
        check = (*options.publisher, "-C", str(folder), "check")
        families = posts.replace("\n[[post]]", f"\n{own}[[post]]") + own
        for written in (posts, families.replace(own, "", 1)):
            write_schedule(folder, written)
            RunCost.of_command(check)
            [cost] = measure_in_turn(options.runs, partial(RunCost.of_command, check))
            costs.append(cost.processor_seconds)
    return Figure(
        id="P10",
        name="publisher check, 40 families for 50 regions, against ordinary posts",
        value=costs[1] / costs[0],
        goal=1.3,
        parts={"CPU s": costs[1], "CPU s of ordinary posts": costs[0]},
    )


def measure_commands(options: BenchOptions) -> Iterator[Figure]:
    """Measure the processor time of `--help`, `check` and `status` against an import of the ORM."""
    with workspace(ACCOUNTS) as folder:
        write_schedule(
            folder,
            format_posts(POSTS, datetime.now(UTC) + timedelta(days=1), RECIPIENTS),
        )
        asyncio.run(accept_schedule(folder))
        here = (*options.publisher, "-C", folder)
        commands = (
            IMPORT,
            (*options.publisher, "--help"),
            (*here, "check"),
            (*here, "status"),
        )
        for command in commands:  # the first run compiles modules
            RunCost.of_command(command)
        base, *costs = measure_in_turn(
            options.runs,
            *(partial(RunCost.of_command, command) for command in commands),
        )
    names = (
        "publisher --help",
        "publisher check, 100 posts",
        "publisher status, 300 deliveries",
    )
    for name, cost, goal in zip(names, costs, (0.5, 2, 1.5), strict=True):
        yield Figure(
            id="P10",
            name=f"{name}, against import sqlmodel",
            value=cost.processor_seconds / base.processor_seconds,
            goal=goal,
            parts={
                "CPU s": cost.processor_seconds,
                "CPU s of the import": base.processor_seconds,
            },
        )
