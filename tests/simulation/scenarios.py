"""From a seed to a storm: its posts, its faults and their times, and people's actions."""

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from publisher.simulator.faults import Fault
from tests.chaos.checker.decoder import post_id
from tests.simulation.artefacts import violations
from tests.simulation.loop import rng_for
from tests.simulation.platforms import EPOCH, LATE
from tests.simulation.simulation import CRASH_FAILPOINTS, Shape, Simulation, opened
from tests.simulation.workspace import (
    IDENTITIES,
    SchedulePost,
    identity_of,
    instant,
    platform_of,
)

TITLES = ("警惕退款客服诈骗", "警惕刷单返利诈骗", "警惕冒充公检法", "警惕网络贷款诈骗")
LATER = timedelta(minutes=3)
HOUR = 3600.0
LOST: Sequence[Fault] = ({"kind": "drop_before"},)
MADE: Sequence[Fault] = (
    {"kind": "drop_after"},
    {"kind": "act_late", "seconds": LATE},
    {"kind": "no_id"},
    {"kind": "status", "code": 502, "acts": True},
)
FEW = 3
"""Calls of a login in an hour, in some storms.

Any further call must wait for the next hour.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedVerdict:
    """The result of one seed."""

    seed: str
    violations: Sequence[str]
    digest: str
    line: str
    """The result in one line."""


SetUp = tuple[Shape, list[SchedulePost]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """One kind of storm: its shape, its posts, and its events."""

    set_up: Callable[[Random, Random], SetUp]
    """Draw its shape by the first generator, and its posts by the second."""
    play: Callable[[Simulation], None]


def draw_shape(
    rng: Random, *, storm: float, most: int = 3, pace: tuple[float, float] = (1.0, 1.5)
) -> Shape:
    """Draw a shape with people and without any faults of its own."""
    accounts = tuple(sorted(rng.sample(sorted(IDENTITIES), rng.randint(1, most))))
    return Shape(
        accounts=accounts,
        storm=storm,
        pace=rng.uniform(*pace),
        skew=rng.uniform(-1, 1),
        command_times=[storm],
    )


def one_offs(
    rng: Random, shape: Shape, *, number: int, within: tuple[float, float]
) -> list[SchedulePost]:
    """Draw posts that are due once, each on some of the accounts."""
    entries = []
    for place in range(1, number + 1):
        accounts = tuple(
            sorted(rng.sample(shape.accounts, rng.randint(1, len(shape.accounts))))
        )
        due = instant(EPOCH + rng.uniform(*within))
        title = f"{rng.choice(TITLES)}第{place:02d}期"
        entries.append(
            SchedulePost(
                id=f"p{place}",
                title=title,
                accounts=accounts,
                at=due,
                urgent=rng.random() < 0.1,
            )
        )
    return entries


def standing(simulation: Simulation, *states: str) -> list[tuple[str, str]]:
    """Return post and account of the deliveries that are in one of these states."""
    marks = ", ".join("?" for _ in states)
    query = f"SELECT post, account FROM delivery WHERE state IN ({marks}) ORDER BY id"  # noqa: S608 # only marks
    return [(row["post"], row["account"]) for row in simulation.rows(query, *states)]


def shape_of(seed: str) -> Shape:
    """Draw a storm.

    About one in seventeen has no faults at all: then everything must be published.
    """
    rng = rng_for(f"{seed}/shape")
    accounts = tuple(sorted(rng.sample(sorted(IDENTITIES), rng.choice([1, 2, 2, 3]))))
    shape = Shape(
        accounts=accounts,
        storm=rng.uniform(90, 240),
        pace=rng.uniform(3, 10),
        skew=rng.uniform(-1, 1),
    )
    shape.per_hour = rng_for(f"{seed}/limits").choice([1000, 1000, FEW])
    if rng.random() < 0.06:
        return shape
    shape.create, shape.read, shape.other = rng.choice(
        [(0.1, 0.5, 0.0), (0.4, 0.2, 0.1), (0.7, 0.4, 0.1), (0.9, 0.6, 0.2)]
    )
    shape.connect = rng.choice([0.0, 0.0, 0.1])
    shape.crash_chance = rng.choice([0.0, 0.0, 0.003, 0.03])
    shape.at_failpoints = {
        name: rng.randint(1, 4)
        for name in rng.sample(CRASH_FAILPOINTS, rng.choice([0, 1, 2, 4]))
    }
    shape.kills = [rng.uniform(1, shape.storm) for _ in range(rng.choice([0, 0, 1, 2]))]
    shape.freezes = [
        (rng.uniform(1, shape.storm), rng.uniform(3, 40))
        for _ in range(rng.choice([0, 0, 1, 2]))
    ]
    shape.command_times = sorted(
        rng.uniform(5, shape.storm) for _ in range(rng.choice([0, 3, 6, 10]))
    )
    return shape


def entries_of(seed: str, shape: Shape) -> list[SchedulePost]:
    """Draw a schedule of posts that are due in the first part of the storm."""
    rng = rng_for(f"{seed}/entries")
    start, calm = (
        instant(EPOCH),
        not (shape.create or shape.command_times or shape.at_failpoints),
    )
    entries: list[SchedulePost] = []
    for number in range(1, rng.choice([2, 3, 4, 5]) + 1):
        accounts = tuple(
            sorted(rng.sample(shape.accounts, rng.randint(1, len(shape.accounts))))
        )
        due = start + timedelta(seconds=rng.uniform(3, shape.storm * 0.6))
        entry = SchedulePost(
            id=f"p{number}",
            title=f"{rng.choice(TITLES)}第{number:02d}期",
            accounts=accounts,
            at=due,
        )
        entry.urgent = rng.random() < 0.15
        if not calm and rng.random() < 0.12:
            entry.expires = due + timedelta(seconds=rng.uniform(30, 240))
        if not calm and rng.random() < 0.1:
            entry.max_delay = "20s"
        originals = [one for one in entries if one.at]
        if originals and rng.random() < 0.2:
            original = rng.choice(originals)
            entry.follows, entry.accounts = original.id, original.accounts
            entry.at = (original.at or start) + timedelta(seconds=rng.uniform(1, 60))
            entry.title = f"续报：{original.title}{number}"
        elif rng.random() < 0.2:
            entry.at, entry.cron = None, "*/2 * * * *"
            entry.until = start + timedelta(seconds=shape.storm * 0.8)
        entries.append(entry)
    if not any(entry.at for entry in entries):
        entries.append(
            SchedulePost(
                id="p9", title=f"{TITLES[0]}第09期", accounts=accounts, at=start + LATER
            )
        )
    return entries


def run_seed(
    seed: str, *, steps: int | None = None, trace: bool = False
) -> SeedVerdict:
    """Run one storm until nothing changes any more.

    With `steps`, run only so many of people's commands.
    """
    shape = shape_of(seed)
    shape.command_times = shape.command_times[:steps]
    with opened(seed, shape, entries_of(seed, shape), trace=trace) as simulation:
        for at in shape.command_times:
            simulation.pass_time(max(0.0, at - simulation.loop.time()))
            act(simulation)
        return finish(simulation)


def finish(simulation: Simulation) -> SeedVerdict:
    """Let the rest of the storm pass, and judge the result at rest."""
    simulation.pass_time(max(0.0, simulation.shape.storm - simulation.loop.time()))
    simulation.drain()
    found = violations(simulation)
    states = sorted(Counter(row["state"] for row in simulation.deliveries()).items())
    made = sum(
        1
        for line in simulation.log
        if line["kind"] == "act" and line["post_id"] and line["endpoint"]
    )
    result = ", ".join(f"{number} {state}" for state, number in states)
    line = f"seed {simulation.seed}: {result}; {made} made, {sum(simulation.crashes.values())} deaths"
    line += f", {simulation.loop.time() / HOUR:.1f} h" + (
        f"; {len(found)} VIOLATIONS" if found else ""
    )
    return SeedVerdict(
        seed=simulation.seed, violations=found, digest=simulation.digest(), line=line
    )


def pause_something(simulation: Simulation) -> None:
    account = simulation.rng.choice(simulation.shape.accounts)
    pause_one_of(
        simulation, account, simulation.rng.choice(sorted(simulation.workspace.every))
    )


def pause_one_of(simulation: Simulation, account: str, post: str) -> None:
    """Pause all, the platform, the account or the post."""
    scopes = [
        "all",
        f"platform:{platform_of(account)}",
        f"account:{account}",
        f"post:{post}",
    ]
    simulation.run_command(simulation.pause(simulation.rng.choice(scopes)))


def resume_something(simulation: Simulation) -> None:
    for row in simulation.rows("SELECT scope FROM pause ORDER BY scope")[:1]:
        simulation.run_command(simulation.resume(row["scope"]))


def cancel_something(simulation: Simulation) -> None:
    post = _open_post(simulation)
    simulation.run_command(simulation.cancel(post))


def retract_something(simulation: Simulation) -> None:
    post = _open_post(simulation)
    account = simulation.rng.choice([None, *simulation.workspace.every[post].accounts])
    simulation.run_command(simulation.retract(post, account))


def resolve_something(simulation: Simulation) -> None:
    simulation.resolve_held(most=2)


def resend_something(simulation: Simulation) -> None:
    ended = (
        row
        for row in simulation.deliveries()
        if row["state"] in ("failed", "expired", "removed")
    )
    for row in [*ended][:1]:
        simulation.run_command(simulation.resend(row["id"]))


def edit_something(simulation: Simulation) -> None:
    post, entry = _any_entry(simulation)
    match simulation.rng.randrange(3):
        case 0:
            simulation.edit(post, title=f"{entry.title}（改）")
        case 1 if entry.at is not None:
            simulation.edit(
                post, at=instant(simulation.now + simulation.rng.uniform(5, 60))
            )
        case _:
            accounts = tuple(
                sorted(simulation.rng.sample(simulation.shape.accounts, 1))
            )
            simulation.edit(post, accounts=accounts)


def drop_something(simulation: Simulation) -> None:
    simulation.drop_entry(_any_entry(simulation)[0])


def add_something(simulation: Simulation) -> None:
    number = len(simulation.workspace.every) + 10
    add_post(
        simulation,
        f"p{number}",
        simulation.shape.accounts,
        simulation.rng.uniform(5, 60),
    )


def add_post(
    simulation: Simulation,
    name: str,
    accounts: tuple[str, ...],
    after: float,
    **more: Any,
) -> None:
    """Add a post to the schedule that is due so many seconds from now, and save the file."""
    number = len(simulation.workspace.every) + 10
    title = f"{simulation.rng.choice(TITLES)}第{number:02d}期"
    entry = SchedulePost(
        id=name,
        title=title,
        accounts=accounts,
        at=instant(simulation.now + after),
        **more,
    )
    simulation.workspace.add(entry)
    simulation.save()


def post_by_hand(simulation: Simulation) -> None:
    """Post as a person does: another text, or ours without the marker."""
    account = simulation.rng.choice(simulation.shape.accounts)
    title, text = "今日天气", f"天气预报 {simulation.now:.0f}"
    if simulation.rng.random() < 0.4:
        for row in simulation.rows(
            "SELECT text FROM schedule ORDER BY id DESC LIMIT 1"
        ):
            with contextlib.suppress(IndexError):
                title = text = row["text"].split('title = "')[1].split('"')[0]
    simulation.platforms.post_by_hand(
        platform_of(account), identity_of(account), title, text
    )


def remove_something(simulation: Simulation) -> None:
    """Remove a post that was seen, as the platform does.

    No read distinguishes other posts from absent ones.
    """
    known = {post_id(row["remote_id"]) for row in simulation.deliveries()}
    live = [
        one
        for one in simulation.platforms.state.posts.values()
        if one.state == "live" and one.id in known
    ]
    if live:
        post = simulation.rng.choice(sorted(live, key=lambda one: one.id))
        simulation.platforms.state.remove_post(post, "platform")


def _open_post(simulation: Simulation) -> str:
    """Return a post that is being sent or live, if there is one."""
    moving = "('sending', 'claimed', 'unknown', 'submitted', 'retrying', 'published', 'held')"
    query = f"SELECT DISTINCT post FROM delivery WHERE state IN {moving} ORDER BY post"  # noqa: S608 # our own states
    rows = simulation.rows(query)
    every = simulation.workspace.every
    return simulation.rng.choice(
        [row["post"] for row in rows if row["post"] in every] or sorted(every)
    )


def _any_entry(simulation: Simulation) -> tuple[str, SchedulePost]:
    return simulation.rng.choice(
        sorted(simulation.workspace.entries.items(), key=lambda item: item[0])
    )


ACTIONS: Mapping[Callable[[Simulation], None], int] = {
    pause_something: 4,
    resume_something: 3,
    cancel_something: 2,
    retract_something: 3,
    resolve_something: 3,
    edit_something: 3,
    drop_something: 1,
    add_something: 1,
    resend_something: 2,
    post_by_hand: 3,
    remove_something: 2,
}
"""The actions of people and platforms, with weights."""


def act(simulation: Simulation) -> None:
    """Take one of the actions."""
    [action] = simulation.rng.choices([*ACTIONS], [*ACTIONS.values()])
    action(simulation)
