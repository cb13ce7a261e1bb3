"""Storms of one kind each, drawn from a name and a number: what no storm of everything ever met."""

import errno
from collections.abc import Mapping, Sequence
from datetime import timedelta
from io import FileIO
from random import Random

from publisher.simulator.faults import Fault
from publisher.store.db import intent_journal
from tests.chaos.mutants.patch import Patch
from tests.simulation.loop import dice_for
from tests.simulation.maintenance_scenarios import UPKEEP_STORMS
from tests.simulation.past import grow
from tests.simulation.platforms import EPOCH, LATE
from tests.simulation.scenarios import (
    HOUR,
    LOST,
    MADE,
    TITLES,
    Storm,
    Verdict,
    disturb,
    draw_shape,
    one_offs,
    pause_one_of,
    rule_something,
    standing,
    verdict_of,
)
from tests.simulation.simulation import Shape, Simulation, opened
from tests.simulation.workspace import Entry, Waits, identity_of, instant, platform_of

REFUSED_TWICE: Sequence[Fault] = ({"kind": "expire_token"}, {"kind": "expire_token"})


def run_storm(name: str, number: int, *, trace: bool = False) -> Verdict:
    """Live through one storm of a kind, and what comes after it."""
    seed, storm = f"{name}/{number}", STORMS[name]
    shape = storm.draw(dice_for(f"{seed}/shape"))
    with opened(seed, shape, storm.entries(dice_for(f"{seed}/entries"), shape), trace=trace) as simulation:
        storm.play(simulation)
        simulation.pass_time(max(0.0, shape.storm - simulation.loop.time()))
        simulation.calm_down()
        return verdict_of(simulation)


# --- an edit during a doubt ---


def _draw_edits(dice: Random) -> Shape:
    shape = draw_shape(dice, storm=240.0, pace=(1.5, 2.5))
    shape.accounts = tuple(sorted({*shape.accounts, "weibo-a", dice.choice(["weibo-b", "wechat-a"])}))
    return shape


def _edit_entries(dice: Random, shape: Shape) -> list[Entry]:
    entries = one_offs(dice, shape, number=dice.randint(2, 3), within=(5, 40))
    for entry in entries:
        entry.accounts = shape.accounts if dice.random() < 0.7 else entry.accounts
    return entries


def _play_edits(simulation: Simulation) -> None:
    """Let calls be lost, and the schedule be edited while nobody knows what became of them."""
    dice = simulation.dice
    for account in simulation.shape.accounts:
        spoilt = dice.choices([LOST, MADE, REFUSED_TWICE], [6, 1, 2], k=dice.randint(1, 3))
        simulation.platforms.mischief.own[identity_of(account)] = [dice.choice(kind) for kind in spoilt]
        if platform_of(account) == "weibo" and dice.random() < 0.3:
            simulation.platforms.mischief.own[identity_of(account)] = list(REFUSED_TWICE)
    for _ in range(dice.randint(1, 3)):
        state = dice.choice(["unknown", "unknown", "unknown", "submitted", "sending", "held"])
        if state == "sending":
            simulation.pass_time(dice.uniform(0, 10))
            simulation.cut_off("silence", simulation.shape.waits.deadline + 2.0)
        simulation.pass_until(lambda state=state: standing(simulation, state), 40)
        simulation.pass_time(dice.uniform(0, 3))
        _edit_what_is(simulation, state)
        if dice.random() < 0.8:
            simulation.pass_time(4)  # a file that was saved in two steps is whole by then
            simulation.order(simulation.reload())
        rule_something(simulation)
        simulation.pass_time(dice.uniform(5, 40))


def _edit_what_is(simulation: Simulation, state: str) -> None:
    """Change a post that has a delivery in that state, if any has: its title, the accounts it goes to, or all of it."""
    dice = simulation.dice
    entries = simulation.workspace.entries
    known = [(post, account) for post, account in standing(simulation, state) if post in entries]
    post, account = dice.choice(known or [(post, entries[post].accounts[0]) for post in sorted(entries)])
    entry = entries[post]
    others = tuple(one for one in entry.accounts if one != account)
    match dice.choice(["title", "title", "account", "strike"]):
        case "account" if others:
            simulation.edit(post, accounts=others)
        case "strike" if len(entries) > 1:
            simulation.strike(post)
        case _:
            simulation.edit(post, title=f"{entry.title}（改）")


# --- an outage longer than any limit ---

BEFORE, AFTER = 240.0, 3300.0
"""Seconds of a storm before an outage and after it."""
PERIOD = 20
"""Minutes from one occurrence to the next, where a post repeats."""


def _draw_outage(dice: Random) -> Shape:
    shape = draw_shape(dice, storm=BEFORE + dice.uniform(1, 3) * HOUR + AFTER, most=2, pace=(6.0, 10.0))
    shape.per_hour = dice.choice([1000, 1000, 12])
    return shape


def _outage_entries(dice: Random, shape: Shape) -> list[Entry]:
    entries = one_offs(dice, shape, number=dice.randint(2, 4), within=(60, shape.storm - AFTER))
    for entry in entries:
        if dice.random() < 0.25:
            entry.max_delay = "30m"
        elif dice.random() < 0.3:
            entry.expires = (entry.at or instant(EPOCH)) + timedelta(seconds=dice.uniform(600, 5400))
    for number in range(dice.choice([1, 1, 2])):
        repeating = Entry(id=f"r{number}", title=f"{TITLES[number]}每日提醒", accounts=shape.accounts, max_delay="1h")
        repeating.cron, repeating.until = f"*/{PERIOD} * * * *", instant(EPOCH + shape.storm - HOUR / 3)
        entries.append(repeating)
    return entries


def _play_outage(simulation: Simulation) -> None:
    """Let nothing get through, or no daemon run, for hours."""
    dice, length = simulation.dice, simulation.shape.storm - BEFORE - AFTER
    simulation.pass_time(BEFORE)
    if (kind := dice.choice(["refused", "no_name", "silence", "down"])) == "down":
        simulation.stop_for(length)
    else:
        simulation.cut_off(kind, length)
    simulation.pass_time(length, pace=dice.uniform(20, 40))


# --- a journal that cannot be written ---


def _draw_full(dice: Random) -> Shape:
    shape = draw_shape(dice, storm=dice.uniform(2400, 4200), pace=(2.0, 4.0))
    shape.create = dice.choice([0.0, 0.0, 0.2])
    return shape


def _full_entries(dice: Random, shape: Shape) -> list[Entry]:
    entries = one_offs(dice, shape, number=dice.randint(3, 6), within=(5, shape.storm - 600))
    for entry in entries:
        entry.max_delay = dice.choice(["6h", "10m"])
    return entries


def _play_full(simulation: Simulation) -> None:
    """Let the disk of the journal fill in the middle of a line, for up to forty minutes, and have room again."""
    dice = simulation.dice

    def take_a_part(file: FileIO, data: bytes) -> None:
        file.write(data[: dice.randrange(len(data))])
        raise OSError(errno.ENOSPC, "no room")

    simulation.pass_time(dice.uniform(0, 60))
    for _ in range(dice.randint(1, 2)):
        with Patch() as patch:
            patch.put(intent_journal, "_write_all", take_a_part)
            pace = dice.uniform(8, 16)
            simulation.pass_time(dice.uniform(600, 2400), pace=pace)
        simulation.pass_time(dice.uniform(60, 300))


# --- a clock that is wrong ---

AHEAD = (8 * HOUR, 8 * HOUR, 2 * HOUR, 1800.0, 240.0, 90.0, 30.0)
BEHIND = (-90.0, -1800.0, -8 * HOUR)


def _draw_clock(dice: Random) -> Shape:
    return draw_shape(dice, storm=500.0, pace=(1.5, 2.5))


def _clock_entries(dice: Random, shape: Shape) -> list[Entry]:
    soon = one_offs(dice, shape, number=dice.randint(2, 3), within=(5, 60))
    later = one_offs(dice, shape, number=dice.randint(1, 3), within=(600, 2.5 * HOUR))
    for number, entry in enumerate(later, len(soon) + 1):
        entry.id, entry.title = f"p{number}", f"{dice.choice(TITLES)}第{number:02d}期"
        entry.max_delay = dice.choice(["6h", "1h"])
    return [*soon, *later]


def _play_clock(simulation: Simulation) -> None:
    """Let the host start with a wrong clock while calls are in doubt, or set it just before a death."""
    dice = simulation.dice
    for account in simulation.shape.accounts:
        spoilt = dice.choices([LOST, MADE], [2, 3], k=dice.randint(1, 3))
        simulation.platforms.mischief.own[identity_of(account)] = [dice.choice(kind) for kind in spoilt]
    for _ in range(dice.randint(1, 2)):
        doubted = dice.choice([("unknown",), ("unknown",), ("unknown", "sending"), ("claimed",)])
        simulation.pass_until(lambda doubted=doubted: standing(simulation, *doubted), 60)
        simulation.pass_time(0.0 if doubted == ("claimed",) else dice.uniform(0, 8))
        ahead = dice.choice([*AHEAD, *AHEAD, *BEHIND])
        match dice.choice(["boot", "boot", "before a death", "running"]):
            case "boot":
                simulation.boot(ahead)
            case "before a death":
                simulation.set_clock(ahead)
                simulation.pass_time(dice.uniform(0.05, 1.0))
                simulation.kill()
            case _:
                simulation.set_clock(ahead)
        simulation.pass_time(dice.uniform(20, 120))
        right = dice.uniform(-1, 1)
        if dice.random() < 0.3:
            simulation.boot(right)
        else:
            simulation.set_clock(right)
        if (doubts := standing(simulation, "unknown")) and dice.random() < 0.4:
            post, _account = dice.choice(doubts)  # as soon as the clock is right, before the daemon has seen that
            simulation.order(simulation.withdraw(post))
        simulation.pass_time(dice.uniform(30, 60))
        late = "SELECT post, account FROM delivery WHERE state = 'unknown' AND next_action_at > ?"
        for row in simulation.rows(late, (simulation.now + HOUR) * 1e6):
            simulation.wrong.append(f"{row['post']}@{row['account']} is in doubt, and is not read for hours")


# --- a slow turn before a stop ---

SLOW = Waits(deadline=30, lease=40, settle=90)


def _draw_slow(dice: Random) -> Shape:
    shape = draw_shape(dice, storm=320.0, pace=(1.5, 2.5))
    shape.waits, shape.read = SLOW, dice.choice([0.0, 0.3])
    return shape


def _slow_entries(dice: Random, shape: Shape) -> list[Entry]:
    entries = one_offs(dice, shape, number=dice.randint(3, 5), within=(5, 200))
    for entry in entries:
        if dice.random() < 0.4:
            entry.expires = (entry.at or instant(EPOCH)) + timedelta(seconds=dice.uniform(2, 20))
    return entries


def _play_slow(simulation: Simulation) -> None:
    """Let connections and turns take long, and people stop what waits for one."""
    dice = simulation.dice
    simulation.network.slowness = lambda: dice.uniform(3, 28) if dice.random() < 0.6 else 0.0
    simulation.platforms.mischief.lists.append({"kind": "delay", "seconds": 8})
    for account in simulation.shape.accounts:
        simulation.platforms.mischief.own[identity_of(account)] = [{"kind": "drop_after"}] * dice.choice([0, 1])
    for _ in range(4):
        if not simulation.pass_until(lambda: standing(simulation, "sending"), 80):
            return
        simulation.pass_time(dice.uniform(0.2, 4))
        _stop_what_is_sending(simulation)
        simulation.pass_time(dice.uniform(20, 35))
        simulation.resume_all()


def _stop_what_is_sending(simulation: Simulation) -> None:
    """Pause, withdraw or retract something of which a call is on its way, if it still is."""
    dice, sending = simulation.dice, standing(simulation, "sending")
    if not sending:
        return
    post, account = dice.choice(sending)
    match dice.choice(["pause", "pause", "cancel", "retract"]):
        case "pause":
            pause_one_of(simulation, account, post)
        case "cancel":
            simulation.order(simulation.withdraw(post))
        case _:
            simulation.order(simulation.retract(post, dice.choice([None, account])))


# --- lists that show items twice, and texts cut short ---


def _draw_lists(dice: Random) -> Shape:
    shape = draw_shape(dice, storm=260.0, pace=(1.0, 3.0))
    shape.accounts = tuple(sorted({*shape.accounts, "weibo-a"}))
    return shape


def _list_entries(dice: Random, shape: Shape) -> list[Entry]:
    """Draw posts of which a short excerpt does not show the marker."""
    entries = one_offs(dice, shape, number=dice.randint(2, 4), within=(5, 90))
    for entry in entries:
        entry.title = f"关于近期多发的{entry.title}提醒"
    return entries


def _play_lists(simulation: Simulation) -> None:
    """Let calls be lost on platforms whose lists show no more than excerpts, or the same item twice."""
    dice, mischief = simulation.dice, simulation.platforms.mischief
    if (how := dice.choice(["excerpt", "excerpt", "twice", "again", "both"])) in ("excerpt", "both"):
        cut = {"characters": dice.choice([20, 24, 28, 50]), "ending": dice.choice(["…", "...全文", ""])}
        mischief.lists.append({"kind": "rewrite", "how": "excerpt", **cut})
    if how != "excerpt":
        mischief.lists.append({"kind": "reorder", "how": how if how != "both" else dice.choice(["twice", "again"])})
    for account in simulation.shape.accounts:
        spoilt = dice.choices([LOST, MADE], [1, 4], k=dice.randint(1, 3))
        mischief.own[identity_of(account)] = [dice.choice(kind) for kind in spoilt]
        for _ in range(dice.choice([0, 2, 12])):
            simulation.platforms.post_by_hand(
                platform_of(account), identity_of(account), "值班安排", "本周值班安排已更新"
            )
    if dice.random() < 0.4:
        simulation.loop.call_later(dice.uniform(5, 100), simulation.kill)


# --- a second submit that succeeds ---


OVER_A_SUBMIT = ("http.mid_body", "http.after_body", "http.after_reply", "outcome.before_commit", "step.after_commit")
"""Where a death leaves a submitted draft in doubt, or one that was made and not submitted."""


def _draw_repeats(dice: Random) -> Shape:
    shape = draw_shape(dice, storm=260.0, pace=(1.0, 3.0))
    shape.accounts = tuple(sorted({"wechat-a", *shape.accounts[: dice.choice([0, 0, 1])]}))
    shape.create, shape.read, shape.other = dice.choice([(0.0, 0.2, 0.1), (0.2, 0.2, 0.1), (0.6, 0.3, 0.2)])
    shape.chance_of_death = dice.choice([0.0, 0.003, 0.01])
    shape.appointed = {name: dice.randint(1, 3) for name in dice.sample(OVER_A_SUBMIT, 3)}
    shape.kills = [dice.uniform(5, 200) for _ in range(dice.choice([0, 1, 2, 4]))]
    shape.freezes = [(dice.uniform(5, 200), dice.uniform(11, 40)) for _ in range(dice.choice([0, 0, 1]))]
    return shape


def _repeat_entries(dice: Random, shape: Shape) -> list[Entry]:
    entries = one_offs(dice, shape, number=dice.randint(3, 5), within=(5, 160))
    for entry in entries:
        entry.urgent = dice.random() < 0.4
    return entries


def _play_repeats(simulation: Simulation) -> None:
    """Let a platform make another post of every repeated call, and the daemon die over its own."""
    settings = simulation.platforms.world.behaviour
    settings.wechat_repeats, settings.wechat_consume = "accept", "finish"
    settings.wechat_review_seconds = simulation.dice.choice([0.3, 10.0, LATE])
    for at in simulation.shape.kills:
        simulation.loop.call_later(at, simulation.kill)
    for at, seconds in simulation.shape.freezes:
        simulation.loop.call_later(at, simulation.freeze, seconds)


# --- a long past ---

PAST = 3000


def _draw_past(dice: Random) -> Shape:
    shape = draw_shape(dice, storm=360.0, pace=(2.0, 4.0))
    shape.create, shape.read, shape.other = dice.choice([(0.1, 0.2, 0.0), (0.4, 0.2, 0.1)])
    shape.chance_of_death = dice.choice([0.0, 0.003, 0.01])
    shape.kills = [dice.uniform(130, 300) for _ in range(dice.choice([0, 1, 2]))]
    return shape


def _past_entries(dice: Random, shape: Shape) -> list[Entry]:
    """Draw posts of which some are live, on every account, before the past is made by their example."""
    first = Entry(id="p0", title=f"{TITLES[0]}第00期", accounts=shape.accounts, at=instant(EPOCH + 5))
    repeating = Entry(id="r0", title=f"{TITLES[1]}每日提醒", accounts=shape.accounts)
    repeating.cron, repeating.until = "*/1 * * * *", instant(EPOCH + shape.storm - 60)
    return [first, repeating, *one_offs(dice, shape, number=dice.randint(2, 4), within=(130, 260))]


def _play_past(simulation: Simulation) -> None:
    """Let some posts go out, add thousands that ended long ago, and then begin the storm."""
    mischief, shape = simulation.platforms.mischief, simulation.shape
    mischief.create = mischief.read = mischief.other = simulation.fate.chance = 0.0
    simulation.pass_time(90)
    simulation.kill()
    grow(simulation, PAST)
    mischief.create, mischief.read, mischief.other = shape.create, shape.read, shape.other
    simulation.fate.chance = shape.chance_of_death
    for at in shape.kills:
        simulation.loop.call_later(at - simulation.loop.time(), simulation.kill)
    for _ in range(simulation.dice.choice([0, 2, 4])):
        simulation.pass_time(simulation.dice.uniform(10, 50))
        disturb(simulation)


# --- reads that call gone what is live ---

SPELL = 80.0
"""Seconds for which a platform says so at most: less than its lists may lag."""


def _draw_gone(dice: Random) -> Shape:
    shape = draw_shape(dice, storm=2.2 * HOUR, most=2, pace=(1.5, 3.0))
    shape.accounts = tuple(sorted({"wechat-a", dice.choice(["weibo-a", "tieba-a"])}))
    return shape


def _gone_entries(dice: Random, shape: Shape) -> list[Entry]:
    entries = one_offs(dice, shape, number=dice.randint(2, 4), within=(5, 90))
    for entry in entries:
        entry.urgent = dice.random() < 0.4
    return entries


def _play_gone(simulation: Simulation) -> None:
    """Let platforms call gone for a while what they have just made, and what is watched hours later."""
    dice = simulation.dice
    for account in simulation.shape.accounts:
        spoilt = dice.choices([LOST, MADE], [1, 4], k=dice.randint(1, 3))
        simulation.platforms.mischief.own[identity_of(account)] = [dice.choice(kind) for kind in spoilt]
    for _ in range(3):
        simulation.pass_until(lambda: standing(simulation, "unknown", "submitted"), 60)
        _call_gone(simulation, dice.uniform(3, SPELL))
        simulation.pass_time(dice.uniform(20, 60))
    [turn] = simulation.rows("SELECT max(next_action_at) AS at FROM monitor_schedule")
    simulation.pass_time(max(0.0, turn["at"] / 1e6 - simulation.now - 5), pace=dice.uniform(20, 40))
    _call_gone(simulation, SPELL)


def _call_gone(simulation: Simulation, seconds: float) -> None:
    lists = simulation.platforms.mischief.lists
    lists.append({"kind": "gone"})
    simulation.pass_time(seconds)
    lists.clear()


STORMS: Mapping[str, Storm] = {
    "edits": Storm(draw=_draw_edits, entries=_edit_entries, play=_play_edits),
    "slow": Storm(draw=_draw_slow, entries=_slow_entries, play=_play_slow),
    "outage": Storm(draw=_draw_outage, entries=_outage_entries, play=_play_outage),
    "full": Storm(draw=_draw_full, entries=_full_entries, play=_play_full),
    "lists": Storm(draw=_draw_lists, entries=_list_entries, play=_play_lists),
    "repeats": Storm(draw=_draw_repeats, entries=_repeat_entries, play=_play_repeats),
    "past": Storm(draw=_draw_past, entries=_past_entries, play=_play_past),
    "gone": Storm(draw=_draw_gone, entries=_gone_entries, play=_play_gone),
    "clock": Storm(draw=_draw_clock, entries=_clock_entries, play=_play_clock),
    **UPKEEP_STORMS,
}
"""The kinds of storms, by name."""
