"""Storms with two people's approval for every post.

The approvers change their minds, and some people may not approve.
"""

from collections.abc import Mapping
from datetime import timedelta
from random import Random

from tests.simulation.scenarios import (
    LOST,
    MADE,
    SetUp,
    Storm,
    cancel_something,
    draw_shape,
    edit_something,
    one_offs,
    pause_something,
    resume_something,
    standing,
)
from tests.simulation.simulation import APPROVERS, CRASH_FAILPOINTS, Simulation
from tests.simulation.workspace import AUTHOR, identity_of

WEAK, TEMPTING, REWRITTEN = "p1", "p2", "p3"
"""Posts with wrong approvals.

One person and its author approve the first. A single person approves the second again and again.
The third is approved by the writer of its words, before another person saved its date.
"""
REWRITER, MOVER = "chen", "sun"
UNWATCHED = frozenset({WEAK, TEMPTING, REWRITTEN})
"""Posts that nobody else approves before the storm is over."""


def _set_up_approvals(rng: Random, entry_rng: Random) -> SetUp:
    shape = draw_shape(rng, storm=260.0, pace=(1.5, 2.5))
    shape.accounts = tuple(
        sorted({*shape.accounts, "weibo-a", rng.choice(["weibo-b", "wechat-a"])})
    )
    shape.needs_approval = True
    shape.crash_chance = rng.choice([0.0, 0.003, 0.01])
    shape.at_failpoints = {
        name: rng.randint(1, 4)
        for name in rng.sample(CRASH_FAILPOINTS, rng.choice([0, 1, 3]))
    }
    shape.kills = [rng.uniform(5, 240) for _ in range(rng.choice([0, 1, 2, 3]))]
    shape.freezes = [
        (rng.uniform(5, 200), rng.uniform(3, 20)) for _ in range(rng.choice([0, 0, 1]))
    ]
    entries = one_offs(
        entry_rng, shape, number=entry_rng.randint(5, 7), within=(15, 200)
    )
    for entry in entries:
        entry.accounts = shape.accounts if entry_rng.random() < 0.6 else entry.accounts
    return shape, entries


def _play_approvals(simulation: Simulation) -> None:
    """Let people approve, and take back approvals, until the storm is over.

    They also edit, cancel and pause posts that others have approved.
    """
    rng = simulation.rng
    for account in simulation.shape.accounts:
        kinds = rng.choices([LOST, MADE, ()], [1, 1, 2], k=rng.randint(1, 3))
        simulation.platforms.faults.own[identity_of(account)] = [
            rng.choice(kind) for kind in kinds if kind
        ]
    simulation.pass_time(rng.uniform(4, 8))
    _rewrite_and_move(simulation)
    while simulation.loop.time() < simulation.shape.storm:
        _approve_some(simulation)
        _approve_wrongly(simulation)
        if rng.random() < 0.6:
            simulation.pass_until(lambda: standing(simulation, "due", "claimed"), 20)
        change = rng.choices(
            [
                _unapprove_some,
                edit_something,
                pause_something,
                resume_something,
                cancel_something,
                _wait,
            ],
            [4, 3, 1, 2, 0.3, 3],
        )
        change[0](simulation)
        if rng.random() < 0.7:
            simulation.pass_time(
                4
            )  # a file that was saved in two steps is whole by then
            simulation.run_command(simulation.reload())
        simulation.pass_time(rng.uniform(1, 12))


def _wait(simulation: Simulation) -> None:
    simulation.pass_time(simulation.rng.uniform(1, 8))


def _approve_some(simulation: Simulation) -> None:
    """Let one approver, or both, approve some of the posts."""
    for post in sorted(set(simulation.workspace.every) - UNWATCHED):
        for person in simulation.rng.sample(
            APPROVERS, simulation.rng.choice([0, 1, 2, 2])
        ):
            simulation.run_command(simulation.approve(person, post))


def _rewrite_and_move(simulation: Simulation) -> None:
    """Let a person write the words of a post, and another one save its date."""
    entry = simulation.workspace.entries[REWRITTEN]
    later = {"at": entry.at + timedelta(seconds=5)} if entry.at else {}
    for person, changes in (
        (REWRITER, {"title": f"{entry.title}（又改）"}),
        (MOVER, later),
    ):
        simulation.run_command(simulation.save_by(person, REWRITTEN, **changes))
        simulation.run_command(simulation.reload())


def _approve_wrongly(simulation: Simulation) -> None:
    """Let people approve wrongly.

    The author, or the writer of the words, approves beside one other person, and one person
    approves for two.
    """
    tries = (
        (APPROVERS[0], WEAK),
        (AUTHOR, WEAK),
        (APPROVERS[1], TEMPTING),
        (APPROVERS[1], TEMPTING),
        (APPROVERS[0], REWRITTEN),
        (REWRITER, REWRITTEN),
    )
    for person, post in tries:
        if post in simulation.workspace.every:
            simulation.run_command(simulation.approve(person, post))


def _unapprove_some(simulation: Simulation) -> None:
    """End the approvals of a post that is about to be sent, or of any post."""
    near = [
        post for post, _account in standing(simulation, "due", "claimed", "retrying")
    ]
    post = simulation.rng.choice(near or sorted(simulation.workspace.every))
    simulation.run_command(simulation.unapprove(post))


APPROVAL_STORMS: Mapping[str, Storm] = {
    "approvals": Storm(set_up=_set_up_approvals, play=_play_approvals)
}
"""The kinds of storms of this module, by name."""
