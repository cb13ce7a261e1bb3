"""Storms of pruning, of very many posts filed at once, and of a job that fails."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sqlalchemy import Engine, event

import publisher.daemon
import publisher.engine.reconciler
from publisher.store import retention
from publisher.store.plan import batches
from tests.chaos.mutants.patch import Patch
from tests.simulation import patched_runtime
from tests.simulation.artefacts import violations
from tests.simulation.patched_runtime import JOB_TIMES
from tests.simulation.platforms import CREATING, EPOCH
from tests.simulation.scenarios import (
    HOUR,
    LOST,
    MADE,
    TITLES,
    SetUp,
    Storm,
    add_post,
    draw_shape,
    one_offs,
    standing,
)
from tests.simulation.simulation import ENDED, Simulation
from tests.simulation.workspace import SchedulePost, identity_of, instant

DAY = 24 * HOUR

# --- what ended long ago is pruned ---

LONG_AGO = (401 * DAY, 500 * DAY)
"""Seconds without a daemon, long enough to prune everything that ended before them."""
PRUNE_TIMES = {"compact_journal": (10.0, 600.0), "prune": (20.0, 600.0)}
"""Jobs that run once a day otherwise."""
IN_SIGHT = 1
"""The number of live posts of an account that its list shows; older ones are out of sight."""


def _set_up_pruned(rng: Random, entry_rng: Random) -> SetUp:
    shape = draw_shape(rng, storm=300.0, pace=(1.5, 2.5))
    entries = one_offs(entry_rng, shape, number=entry_rng.randint(4, 6), within=(5, 90))
    entries[0].accounts = shape.accounts
    return shape, entries


def _play_pruned(simulation: Simulation) -> None:
    """End posts, and let a year pass.

    Prune them while they are in the schedule, with restarts and reloads.
    """
    rng = simulation.rng
    for account in simulation.shape.accounts:
        simulation.platforms.faults.own[identity_of(account)] = list(
            rng.choice([(), (), LOST, MADE[:1]])
        )
    simulation.pass_time(rng.uniform(60, 120))
    simulation.run_command(
        simulation.cancel(rng.choice(sorted(simulation.workspace.entries)))
    )
    simulation.drain()
    simulation.errors += violations(simulation)
    [last] = simulation.rows("SELECT max(id) AS id FROM delivery")
    if any(
        row["state"] not in ENDED
        for row in simulation.rows("SELECT state FROM delivery")
    ):
        return  # what a person has yet to decide about is no past
    held = _leave_one_held(simulation)
    simulation.past = range(1, last["id"] + 1)
    simulation.remember_past()
    simulation.old_versions = {
        row["id"]: row["text"]
        for row in simulation.rows("SELECT id, text FROM schedule")
    }
    rest = rng.uniform(*LONG_AGO)
    simulation.stop_for(rest)
    simulation.pass_time(rest)
    simulation.began_at = simulation.now
    before, waiting = (
        _count_past_rows(simulation),
        _past_alerts(simulation, only_waiting=True),
    )
    with Patch() as patch:
        patch.put(patched_runtime, "JOB_TIMES", {**JOB_TIMES, **PRUNE_TIMES})
        patch.put(retention, "MAX_OWNED_IDS", IN_SIGHT)
        _live_after_a_year(simulation)
    if _count_past_rows(simulation) != before:
        simulation.errors.append(
            f"what ended a year ago was {before} and is {_count_past_rows(simulation)}"
        )
    if (left := _past_alerts(simulation)) != waiting:
        simulation.errors.append(
            f"of the alerts of then {waiting} wait for a person, and {left} are there"
        )
    if not simulation.rows("SELECT id FROM delivery WHERE is_pruned"):
        simulation.errors.append("nothing was pruned")
    open_ones = "SELECT id FROM delivery WHERE state = 'held' AND is_pruned"
    if simulation.rows(open_ones) or not standing(simulation, "held"):
        simulation.errors.append(f"{held} waits for a person, and was pruned or ended")


def _leave_one_held(simulation: Simulation) -> str:
    """Hold a post for a person that never decides."""
    account = simulation.rng.choice(simulation.shape.accounts)
    simulation.platforms.faults.own[identity_of(account)] = [{"kind": "captcha"}]
    add_post(simulation, "held", (account,), 10.0)
    simulation.pass_until(lambda: standing(simulation, "held"), 120)
    return f"held@{account}"


def _live_after_a_year(simulation: Simulation) -> None:
    """Publish new posts, one of them a follow-up to an old one, with restarts and reloads."""
    rng, accounts = simulation.rng, simulation.shape.accounts
    simulation.resume_all()
    simulation.pass_until(
        lambda: simulation.rows("SELECT id FROM delivery WHERE is_pruned"), 120
    )
    for number in range(2):
        add_post(simulation, f"n{number}", accounts, rng.uniform(40, 80))
    if old := standing(simulation, "published"):
        post, account = rng.choice(old)
        add_post(simulation, "n9", (account,), rng.uniform(90, 120), follows=post)
    for _ in range(3):
        simulation.pass_time(rng.uniform(45, 90))
        rng.choice(
            [simulation.kill, lambda: simulation.run_command(simulation.reload())]
        )()
        if rng.random() < 0.5:
            simulation.edit(f"n{rng.randrange(2)}", title=f"{rng.choice(TITLES)}（改）")
    simulation.kill()
    simulation.pass_time(60)
    for name in ("n0", "n1"):
        if not simulation.rows("SELECT id FROM delivery WHERE post = ?", name):
            simulation.errors.append(f"{name} was not filed")


def _count_past_rows(simulation: Simulation) -> dict[str, int]:
    """Count the rows of the posts that ended long ago."""
    [filed] = simulation.rows(
        "SELECT count(*) AS number FROM delivery WHERE post GLOB 'p[0-9]*'"
    )
    [calls] = simulation.rows(
        "SELECT count(*) AS number FROM attempt WHERE delivery < ?",
        simulation.past.stop,
    )
    return {"deliveries": filed["number"], "calls": calls["number"]}


def _past_alerts(simulation: Simulation, *, only_waiting: bool = False) -> list[int]:
    """Return the numbers of the alerts about these posts, or of the open alerts.

    The open alerts do not include alerts about the end of a post.
    """
    return [
        row["id"]
        for row in simulation.rows(
            "SELECT id, code, cleared_at FROM alert WHERE subject GLOB 'p[0-9]*' ORDER BY id"
        )
        if not only_waiting
        or (row["cleared_at"] is None and row["code"].partition(".")[0] not in ENDED)
    ]


# --- very many posts are filed at once ---

PORTION = 2
"""Deliveries that are written in one transaction, instead of a thousand and a hundred."""
EACH = 0.25
"""Seconds that it takes to insert one."""
IN_TIME = 6.0
"""Maximum seconds until the call of a post that is sent now.

This is less than planning all the others takes.
"""


def _set_up_portions(rng: Random, entry_rng: Random) -> SetUp:
    shape = draw_shape(rng, storm=300.0, pace=(1.0, 1.0))
    shape.accounts = tuple(sorted({"weibo-a", rng.choice(["weibo-b", "wechat-a"])}))
    entries = one_offs(entry_rng, shape, number=2, within=(100, 200))
    urgent = SchedulePost(
        id="u1",
        title=f"{TITLES[0]}紧急",
        accounts=(entry_rng.choice(shape.accounts),),
        urgent=True,
    )
    urgent.at = instant(EPOCH + 6 * HOUR)
    return shape, [*entries, urgent]


def _play_portions(simulation: Simulation) -> None:
    """Add many posts.

    While they are filed, send an urgent one, edit and remove others, and crash the daemon.
    """
    rng = simulation.rng
    simulation.pass_time(10)
    simulation.batch_size = PORTION
    with Patch() as patch, _writing_takes(simulation, EACH):
        patch.put(batches, "FIRST_BATCH_SIZE", PORTION)
        patch.put(batches, "NEXT_BATCH_SIZE", PORTION)
        for number in range(rng.randint(18, 21)):
            add_post(
                simulation,
                f"m{number}",
                simulation.shape.accounts,
                rng.uniform(60, 200),
            )
        if not simulation.pass_until(
            lambda: simulation.rows("SELECT id FROM delivery WHERE post GLOB 'm*'"), 60
        ):
            simulation.errors.append("the many were not filed")
        _send_meanwhile(simulation)
        dies = rng.random() < 0.5
        if dies:
            simulation.crash_plan.at_failpoints["plan.after_insert"] = rng.randint(1, 7)
        for step in rng.sample(CHANGES, rng.choice([0, 1, 2] if dies else [1, 2])):
            simulation.pass_time(rng.uniform(0, 0.5))
            step(simulation)
            if not dies:  # a newer version would end the planning before it dies
                simulation.run_command(simulation.reload())
        simulation.pass_time(40)


def _send_meanwhile(simulation: Simulation) -> None:
    """Send the urgent post now.

    The platform must receive it long before all the others are filed.
    """
    simulation.run_command(simulation.send("u1"))
    [account] = simulation.workspace.entries["u1"].accounts
    since, whose = simulation.now, identity_of(account)

    def is_called() -> bool:
        heard = (
            line
            for line in simulation.log
            if line["kind"] == "recv" and line["endpoint"] in CREATING
        )
        return any(line["account"] == whose and line["t"] > since for line in heard)

    if not simulation.pass_until(is_called, IN_TIME):
        simulation.errors.append(
            f"what was to go now did not go within {IN_TIME:.0f} s"
        )


def _edit_meanwhile(simulation: Simulation) -> None:
    entry = simulation.workspace.entries[
        simulation.rng.choice(["p1", _last_of_many(simulation)])
    ]
    simulation.edit(entry.id, title=f"{entry.title}（改）")


def _drop_meanwhile(simulation: Simulation) -> None:
    simulation.drop_entry(_last_of_many(simulation))


def _last_of_many(simulation: Simulation) -> str:
    """Return the post that is due, and so filed, last."""
    entries = simulation.workspace.entries.values()
    return max(
        (entry for entry in entries if entry.id.startswith("m")),
        key=lambda one: one.at or instant(EPOCH),
    ).id


CHANGES = (_edit_meanwhile, _drop_meanwhile)


@contextlib.contextmanager
def _writing_takes(simulation: Simulation, seconds: float) -> Iterator[None]:
    """Make each insert of a delivery take so many seconds, like a slow disk.

    Other writers wait.
    """

    def spend(
        _connection: Any,
        _cursor: Any,
        statement: str,
        rows: Any,
        _context: Any,
        is_many: bool,  # noqa: FBT001 # the face of a listener
    ) -> None:
        if statement.startswith("INSERT INTO delivery "):
            simulation.loop.extra_io_seconds += seconds * (len(rows) if is_many else 1)

    event.listen(Engine, "before_cursor_execute", spend)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", spend)


# --- one of the daemon's jobs fails every time ---


async def _fail(*_facts: object, **_named: object) -> None:
    raise KeyError("a mistake of ours")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenJob:
    """A function to replace by one that fails, its calling job, and a source of that job's work."""

    place: Any
    name: str
    job: str
    begin: Callable[[Simulation], None] = field(default=lambda _simulation: None)


def _change_file(simulation: Simulation) -> None:
    add_post(simulation, "late", simulation.shape.accounts, 600.0)


def _lose_calls(simulation: Simulation) -> None:
    for account in simulation.shape.accounts:
        simulation.platforms.faults.own[identity_of(account)] = list(LOST)


def _retract_one(simulation: Simulation) -> None:
    simulation.pass_until(lambda: standing(simulation, "published"), 60)
    post, account = standing(simulation, "published")[0]
    simulation.run_command(simulation.retract(post, account))


BROKEN_JOBS = (
    BrokenJob(place=publisher.daemon, name="plan_window", job="plan"),
    BrokenJob(
        place=publisher.daemon,
        name="apply_schedule",
        job="read_schedule",
        begin=_change_file,
    ),
    BrokenJob(
        place=publisher.engine.reconciler,
        name="reconcile",
        job="reconcile",
        begin=_lose_calls,
    ),
    BrokenJob(
        place=publisher.engine.reconciler,
        name="retract_delivery",
        job="retract",
        begin=_retract_one,
    ),
)
STANDING = "SELECT id FROM alert WHERE code = ? AND cleared_at IS NULL AND facts LIKE ?"
ALERT_SECONDS, CLEAR_SECONDS = 600.0, 400.0
"""Seconds until a failing job raises its alert, and until the alert is cleared.

The second counts from the repair of the job.
"""


def _set_up_failing(rng: Random, entry_rng: Random) -> SetUp:
    """Draw posts, the last of them entering the planning window during the storm."""
    shape = draw_shape(rng, storm=300.0, most=2, pace=(1.0, 1.5))
    entries = one_offs(entry_rng, shape, number=3, within=(5, 20))
    entries += one_offs(entry_rng, shape, number=2, within=(100, 250))
    for number, entry in enumerate(entries, 1):
        entry.id, entry.title = (
            f"p{number}",
            f"{entry_rng.choice(TITLES)}第{number:02d}期",
        )
    far = SchedulePost(
        id="far",
        title=f"{TITLES[1]}以后",
        accounts=shape.accounts,
        at=instant(EPOCH + 2 * DAY + 90),
    )
    return shape, [*entries, far]


def _play_failing(simulation: Simulation) -> None:
    """Make one job fail for a while, by a bug or a broken template.

    People are alerted until it works again.
    """
    rng = simulation.rng
    broken = rng.choice([*BROKEN_JOBS, None])
    if broken is None:
        _break_template(simulation)
    else:
        _break_job(simulation, broken)
    simulation.drop_entry("far")
    simulation.pass_time(30)


def _break_job(simulation: Simulation, broken: BrokenJob) -> None:
    reported = ("job_failing", f'%"job": "{broken.job}"%')
    with Patch() as patch:
        patch.put(broken.place, broken.name, _fail)
        broken.begin(simulation)
        _await_alerts(simulation, [reported], 1)
        if simulation.rng.random() < 0.5:
            simulation.kill()
        simulation.pass_time(simulation.rng.uniform(20, 90))
        _await_alerts(simulation, [reported], 1)
    _await_alerts(simulation, [reported], 0)


def _break_template(simulation: Simulation) -> None:
    """Break the template of all posts while the daemon starts.

    Filed posts are sent, and new ones wait.
    """
    reported = [("templates_invalid", "%"), ("reload_refused", "%")]
    simulation.pass_time(10)
    simulation.workspace.break_template("warning")
    simulation.kill()
    _await_alerts(simulation, reported, 2)
    simulation.pass_time(simulation.rng.uniform(20, 90))
    simulation.workspace.restore_template("warning")
    simulation.kill()
    _await_alerts(simulation, reported, 0)
    if not simulation.pass_until(
        lambda: simulation.rows("SELECT id FROM delivery WHERE post = 'far'"),
        CLEAR_SECONDS,
    ):
        simulation.errors.append(
            "what could not be rendered is not filed, though its template is corrected"
        )


def _await_alerts(
    simulation: Simulation, alerts: list[tuple[str, str]], number: int
) -> None:
    """Wait until so many of these alerts stand: all of them, or none."""

    def is_reached() -> bool:
        return (
            sum(bool(simulation.rows(STANDING, *alert)) for alert in alerts) == number
        )

    if not simulation.pass_until(
        is_reached, ALERT_SECONDS if number else CLEAR_SECONDS
    ):
        simulation.errors.append(f"{number} of these alerts should stand: {alerts}")


MAINTENANCE_STORMS: Mapping[str, Storm] = {
    "pruned": Storm(set_up=_set_up_pruned, play=_play_pruned),
    "portions": Storm(set_up=_set_up_portions, play=_play_portions),
    "failing": Storm(set_up=_set_up_failing, play=_play_failing),
}
"""The kinds of storms of this module, by name."""
