"""Storms in which the daemon tidies up, files very much at once, or fails at one of its jobs."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sqlalchemy import Engine, event

import publisher.daemon
import publisher.engine.reconciler
from publisher.store.deliveries import retention
from publisher.store.plan import posts as batches
from tests.chaos.mutants.patch import Patch
from tests.simulation import patched_runtime
from tests.simulation.artefacts import violations
from tests.simulation.patched_runtime import BEATS
from tests.simulation.platforms import CREATING, EPOCH
from tests.simulation.scenarios import HOUR, LOST, MADE, TITLES, Storm, add_post, draw_shape, one_offs, standing
from tests.simulation.simulation import ENDED, Shape, Simulation
from tests.simulation.workspace import Entry, identity_of, instant

DAY = 24 * HOUR

# --- what ended long ago is pruned ---

LONG_AGO = (401 * DAY, 500 * DAY)
"""Seconds of a rest, after which what ended before it is kept no longer."""
TIDYING = {"compact_journal": (10.0, 600.0), "prune": (20.0, 600.0)}
"""Beats that come once a day otherwise."""
IN_SIGHT = 1
"""Newer live posts of an account, after which its list shows an older one no more."""


def _draw_pruned(dice: Random) -> Shape:
    return draw_shape(dice, storm=300.0, pace=(1.5, 2.5))


def _pruned_entries(dice: Random, shape: Shape) -> list[Entry]:
    entries = one_offs(dice, shape, number=dice.randint(4, 6), within=(5, 90))
    entries[0].accounts = shape.accounts
    return entries


def _play_pruned(simulation: Simulation) -> None:
    """Let posts end, and a year pass; prune them while they stand in the schedule, with restarts and reloads."""
    dice = simulation.dice
    for account in simulation.shape.accounts:
        simulation.platforms.mischief.own[identity_of(account)] = list(dice.choice([(), (), LOST, MADE[:1]]))
    simulation.pass_time(dice.uniform(60, 120))
    simulation.order(simulation.withdraw(dice.choice(sorted(simulation.workspace.entries))))
    simulation.calm_down()
    simulation.wrong += violations(simulation)
    [last] = simulation.rows("SELECT max(id) AS id FROM delivery")
    if any(row["state"] not in ENDED for row in simulation.rows("SELECT state FROM delivery")):
        return  # what a person has yet to decide about is no past
    held = _leave_one_held(simulation)
    simulation.past = range(1, last["id"] + 1)
    simulation.remember_past()
    simulation.old_versions = {row["id"]: row["text"] for row in simulation.rows("SELECT id, text FROM schedule")}
    rest = dice.uniform(*LONG_AGO)
    simulation.stop_for(rest)
    simulation.pass_time(rest)
    simulation.began_at = simulation.now
    before = _books_of_the_past(simulation)
    with Patch() as patch:
        patch.put(patched_runtime, "BEATS", {**BEATS, **TIDYING})
        patch.put(retention, "MAX_OWNED_IDS", IN_SIGHT)
        _live_after_a_year(simulation)
    if _books_of_the_past(simulation) != before:
        simulation.wrong.append(f"what ended a year ago was {before} and is {_books_of_the_past(simulation)}")
    if not simulation.rows("SELECT id FROM delivery WHERE is_pruned"):
        simulation.wrong.append("nothing was pruned")
    open_ones = "SELECT id FROM delivery WHERE state = 'held' AND is_pruned"
    if simulation.rows(open_ones) or not standing(simulation, "held"):
        simulation.wrong.append(f"{held} waits for a person, and was pruned or ended")


def _leave_one_held(simulation: Simulation) -> str:
    """Let a platform want a person's word for a post, which nobody gives."""
    account = simulation.dice.choice(simulation.shape.accounts)
    simulation.platforms.mischief.own[identity_of(account)] = [{"kind": "captcha"}]
    add_post(simulation, "held", (account,), 10.0)
    simulation.pass_until(lambda: standing(simulation, "held"), 120)
    return f"held@{account}"


def _live_after_a_year(simulation: Simulation) -> None:
    """Let new posts go out, one of which follows an old one, while daemons start again and the file is read again."""
    dice, accounts = simulation.dice, simulation.shape.accounts
    simulation.resume_all()
    simulation.pass_until(lambda: simulation.rows("SELECT id FROM delivery WHERE is_pruned"), 120)
    for number in range(2):
        add_post(simulation, f"n{number}", accounts, dice.uniform(40, 80))
    if old := standing(simulation, "published"):
        post, account = dice.choice(old)
        add_post(simulation, "n9", (account,), dice.uniform(90, 120), follows=post)
    for _ in range(3):
        simulation.pass_time(dice.uniform(45, 90))
        dice.choice([simulation.kill, lambda: simulation.order(simulation.reload())])()
        if dice.random() < 0.5:
            simulation.edit(f"n{dice.randrange(2)}", title=f"{dice.choice(TITLES)}（改）")
    simulation.kill()
    simulation.pass_time(60)
    for name in ("n0", "n1"):
        if not simulation.rows("SELECT id FROM delivery WHERE post = ?", name):
            simulation.wrong.append(f"{name} was not filed")


def _books_of_the_past(simulation: Simulation) -> dict[str, int]:
    """Count what the database has of the posts that ended long ago."""
    counted = {}
    for name, table, column in (("deliveries", "delivery", "post"), ("alerts", "alert", "subject")):
        query = f"SELECT count(*) AS number FROM {table} WHERE {column} GLOB 'p[0-9]*'"  # noqa: S608 # our own names
        counted[name] = simulation.rows(query)[0]["number"]
    query = "SELECT count(*) AS number FROM attempt WHERE delivery < ?"
    return {**counted, "calls": simulation.rows(query, simulation.past.stop)[0]["number"]}


# --- very much is filed at once ---

PORTION = 2
"""Deliveries that are written together, in place of a thousand and a hundred."""
EACH = 0.25
"""Seconds that it takes to write one."""
IN_TIME = 6.0
"""Seconds within which a post that is sent now is called, whatever is being filed: less than all of that takes."""


def _draw_portions(dice: Random) -> Shape:
    shape = draw_shape(dice, storm=300.0, pace=(1.0, 1.0))
    shape.accounts = tuple(sorted({"weibo-a", dice.choice(["weibo-b", "wechat-a"])}))
    return shape


def _portion_entries(dice: Random, shape: Shape) -> list[Entry]:
    entries = one_offs(dice, shape, number=2, within=(100, 200))
    urgent = Entry(id="u1", title=f"{TITLES[0]}紧急", accounts=(dice.choice(shape.accounts),), urgent=True)
    urgent.at = instant(EPOCH + 6 * HOUR)
    return [*entries, urgent]


def _play_portions(simulation: Simulation) -> None:
    """Add many posts; while they are filed send an urgent one, edit and strike others, and let the daemon die."""
    dice = simulation.dice
    simulation.pass_time(10)
    simulation.together = PORTION
    with Patch() as patch, _writing_takes(simulation, EACH):
        patch.put(batches, "FIRST_BATCH_SIZE", PORTION)
        patch.put(batches, "NEXT_BATCH_SIZE", PORTION)
        for number in range(dice.randint(18, 21)):
            add_post(simulation, f"m{number}", simulation.shape.accounts, dice.uniform(60, 200))
        if not simulation.pass_until(lambda: _filed(simulation), 60):
            simulation.wrong.append("the many were not filed")
        _send_meanwhile(simulation)
        dies = dice.random() < 0.5
        if dies:
            simulation.fate.appointed["plan.after_insert"] = dice.randint(1, 7)
        for step in dice.sample(CHANGES, dice.choice([0, 1, 2] if dies else [1, 2])):
            simulation.pass_time(dice.uniform(0, 0.5))
            step(simulation)
            if not dies:  # a newer version would end the filing in which it shall die
                simulation.order(simulation.reload())
        simulation.pass_time(40)


def _filed(simulation: Simulation) -> list[Any]:
    return simulation.rows("SELECT id FROM delivery WHERE post GLOB 'm*'")


def _send_meanwhile(simulation: Simulation) -> None:
    """Send the urgent post now: the platform must have heard of it long before all the others are filed."""
    simulation.order(simulation.send("u1"))
    [account] = simulation.workspace.entries["u1"].accounts
    since, whose = simulation.now, identity_of(account)

    def is_called() -> bool:
        heard = (line for line in simulation.log if line["kind"] == "recv" and line["endpoint"] in CREATING)
        return any(line["account"] == whose and line["t"] > since for line in heard)

    if not simulation.pass_until(is_called, IN_TIME):
        simulation.wrong.append(f"what was to go now did not go within {IN_TIME:.0f} s")


def _edit_meanwhile(simulation: Simulation) -> None:
    entry = simulation.workspace.entries[simulation.dice.choice(["p1", _last_of_many(simulation)])]
    simulation.edit(entry.id, title=f"{entry.title}（改）")


def _strike_meanwhile(simulation: Simulation) -> None:
    simulation.strike(_last_of_many(simulation))


def _last_of_many(simulation: Simulation) -> str:
    """Name the post that is due, and so filed, last."""
    entries = simulation.workspace.entries.values()
    return max((entry for entry in entries if entry.id.startswith("m")), key=lambda one: one.at or instant(EPOCH)).id


CHANGES = (_edit_meanwhile, _strike_meanwhile)


@contextlib.contextmanager
def _writing_takes(simulation: Simulation, seconds: float) -> Iterator[None]:
    """Let each new delivery take so long to write, as a slow disk does; anyone who else writes waits."""

    def spend(_connection: Any, _cursor: Any, statement: str, rows: Any, _context: Any, is_many: bool) -> None:  # noqa: FBT001 # its face
        if statement.startswith("INSERT INTO delivery "):
            simulation.loop.spent += seconds * (len(rows) if is_many else 1)

    event.listen(Engine, "before_cursor_execute", spend)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", spend)


# --- one of the daemon's jobs fails every time ---


async def _stumble(*_facts: object, **_named: object) -> None:
    raise KeyError("a mistake of ours")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A function that fails whenever it is called, what gives it work, and the job that fails by it."""

    place: Any
    name: str
    job: str
    begin: Callable[[Simulation], None] = field(default=lambda _simulation: None)


def _change_file(simulation: Simulation) -> None:
    add_post(simulation, "late", simulation.shape.accounts, 600.0)


def _lose_calls(simulation: Simulation) -> None:
    for account in simulation.shape.accounts:
        simulation.platforms.mischief.own[identity_of(account)] = list(LOST)


def _retract_one(simulation: Simulation) -> None:
    simulation.pass_until(lambda: standing(simulation, "published"), 60)
    post, account = standing(simulation, "published")[0]
    simulation.order(simulation.retract(post, account))


MISTAKES = (
    Mistake(place=publisher.daemon, name="plan_window", job="plan"),
    Mistake(place=publisher.daemon, name="apply_schedule", job="read_schedule", begin=_change_file),
    Mistake(place=publisher.engine.reconciler, name="reconcile", job="reconcile", begin=_lose_calls),
    Mistake(place=publisher.engine.reconciler, name="retract_delivery", job="retract", begin=_retract_one),
)
STANDING = "SELECT id FROM alert WHERE code = ? AND cleared_at IS NULL AND facts LIKE ?"
TOLD_AFTER, OVER_AFTER = 600.0, 400.0
"""Seconds within which a job that fails is reported, and within which that ends when it works again."""


def _draw_failing(dice: Random) -> Shape:
    return draw_shape(dice, storm=300.0, most=2, pace=(1.0, 1.5))


def _failing_entries(dice: Random, shape: Shape) -> list[Entry]:
    """Draw posts of which the last comes within the planner's reach while the storm lasts."""
    entries = one_offs(dice, shape, number=3, within=(5, 20)) + one_offs(dice, shape, number=2, within=(100, 250))
    for number, entry in enumerate(entries, 1):
        entry.id, entry.title = f"p{number}", f"{dice.choice(TITLES)}第{number:02d}期"
    far = Entry(id="far", title=f"{TITLES[1]}以后", accounts=shape.accounts, at=instant(EPOCH + 2 * DAY + 90))
    return [*entries, far]


def _play_failing(simulation: Simulation) -> None:
    """Let one job fail for a while, by a bug or a broken template: people are alerted until it works again."""
    dice = simulation.dice
    mistake = dice.choice([*MISTAKES, None])
    if mistake is None:
        _break_template(simulation)
    else:
        _make_a_mistake(simulation, mistake)
    simulation.strike("far")
    simulation.pass_time(30)


def _make_a_mistake(simulation: Simulation, mistake: Mistake) -> None:
    reported = ("job_failing", f'%"job": "{mistake.job}"%')
    with Patch() as patch:
        patch.put(mistake.place, mistake.name, _stumble)
        mistake.begin(simulation)
        _await_alerts(simulation, [reported])
        if simulation.dice.random() < 0.5:
            simulation.kill()
        simulation.pass_time(simulation.dice.uniform(20, 90))
        _await_alerts(simulation, [reported])
    _await_end(simulation, [reported])


def _break_template(simulation: Simulation) -> None:
    """Let the template of all posts be broken while the daemon starts: what is filed goes, what comes near waits."""
    reported = [("templates_invalid", "%"), ("reload_refused", "%")]
    simulation.pass_time(10)
    simulation.workspace.break_template("warning")
    simulation.kill()
    _await_alerts(simulation, reported)
    simulation.pass_time(simulation.dice.uniform(20, 90))
    simulation.workspace.mend_template("warning")
    simulation.kill()
    _await_end(simulation, reported)
    if not simulation.pass_until(lambda: simulation.rows("SELECT id FROM delivery WHERE post = 'far'"), OVER_AFTER):
        simulation.wrong.append("what could not be rendered is not filed, though its template is corrected")


def _await_alerts(simulation: Simulation, reported: list[tuple[str, str]]) -> None:
    for code, facts in reported:
        if not simulation.pass_until(lambda code=code, facts=facts: simulation.rows(STANDING, code, facts), TOLD_AFTER):
            simulation.wrong.append(f"no alert {code} was raised: {facts}")


def _await_end(simulation: Simulation, reported: list[tuple[str, str]]) -> None:
    for code, facts in reported:
        if not simulation.pass_until(
            lambda code=code, facts=facts: not simulation.rows(STANDING, code, facts), OVER_AFTER
        ):
            simulation.wrong.append(f"{code} {facts} stands, though it works again")


UPKEEP_STORMS: Mapping[str, Storm] = {
    "pruned": Storm(draw=_draw_pruned, entries=_pruned_entries, play=_play_pruned),
    "portions": Storm(draw=_draw_portions, entries=_portion_entries, play=_play_portions),
    "failing": Storm(draw=_draw_failing, entries=_failing_entries, play=_play_failing),
}
"""The kinds of storms of this module, by name."""
