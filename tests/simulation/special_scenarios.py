"""Storms of one kind each, drawn from a name and a number.

They have conditions that the general storms never meet.
"""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from io import FileIO
from random import Random

from publisher.engine.decisions import Resolution
from publisher.simulator.faults import Fault
from publisher.store.db import intent_journal
from tests.chaos.mutants.patch import Patch
from tests.simulation.alert_scenarios import ALERT_STORMS
from tests.simulation.approval_scenarios import APPROVAL_STORMS
from tests.simulation.change_scenarios import CHANGE_STORMS
from tests.simulation.loop import rng_for
from tests.simulation.maintenance_scenarios import MAINTENANCE_STORMS
from tests.simulation.past import grow
from tests.simulation.platforms import EPOCH, LATE, LONG_REVIEW
from tests.simulation.scenarios import (
    HOUR,
    LOST,
    MADE,
    TITLES,
    SeedVerdict,
    SetUp,
    Storm,
    act,
    draw_shape,
    finish,
    one_offs,
    pause_one_of,
    resolve_something,
    standing,
)
from tests.simulation.simulation import Shape, Simulation, opened
from tests.simulation.workspace import (
    SchedulePost,
    Waits,
    identity_of,
    instant,
    platform_of,
)

REFUSED_TWICE: Sequence[Fault] = ({"kind": "expire_token"}, {"kind": "expire_token"})


def run_storm(name: str, number: int, *, trace: bool = False) -> SeedVerdict:
    """Run one storm of a kind until nothing changes any more."""
    seed, storm = f"{name}/{number}", STORMS[name]
    shape, entries = storm.set_up(rng_for(f"{seed}/shape"), rng_for(f"{seed}/entries"))
    with opened(seed, shape, entries, trace=trace) as simulation:
        storm.play(simulation)
        return finish(simulation)


# --- an edit while the outcome is unknown ---


def _set_up_edits(rng: Random, entry_rng: Random) -> SetUp:
    shape = draw_shape(rng, storm=240.0, pace=(1.5, 2.5))
    shape.accounts = tuple(
        sorted({*shape.accounts, "weibo-a", rng.choice(["weibo-b", "wechat-a"])})
    )
    entries = one_offs(entry_rng, shape, number=entry_rng.randint(2, 3), within=(5, 40))
    for entry in entries:
        entry.accounts = shape.accounts if entry_rng.random() < 0.7 else entry.accounts
    return shape, entries


def _play_edits(simulation: Simulation) -> None:
    """Lose calls, and edit the schedule while their outcome is unknown."""
    rng = simulation.rng
    for account in simulation.shape.accounts:
        kinds = rng.choices([LOST, MADE, REFUSED_TWICE], [6, 1, 2], k=rng.randint(1, 3))
        simulation.platforms.faults.own[identity_of(account)] = [
            rng.choice(kind) for kind in kinds
        ]
        if platform_of(account) == "weibo" and rng.random() < 0.3:
            simulation.platforms.faults.own[identity_of(account)] = list(REFUSED_TWICE)
    for _ in range(rng.randint(1, 3)):
        state = rng.choice(
            ["unknown", "unknown", "unknown", "submitted", "sending", "held"]
        )
        if state == "sending":
            simulation.pass_time(rng.uniform(0, 10))
            simulation.disconnect("silence", simulation.shape.waits.deadline + 2.0)
        simulation.pass_until(lambda state=state: standing(simulation, state), 40)
        simulation.pass_time(rng.uniform(0, 3))
        _edit_what_is(simulation, state)
        if rng.random() < 0.8:
            simulation.pass_time(
                4
            )  # a file that was saved in two steps is whole by then
            simulation.run_command(simulation.reload())
        resolve_something(simulation)
        simulation.pass_time(rng.uniform(5, 40))


def _edit_what_is(simulation: Simulation, state: str) -> None:
    """Edit or remove a post that has a delivery in that state, if any has.

    An edit changes its title or accounts.
    """
    rng = simulation.rng
    entries = simulation.workspace.entries
    known = [
        (post, account)
        for post, account in standing(simulation, state)
        if post in entries
    ]
    post, account = rng.choice(
        known or [(post, entries[post].accounts[0]) for post in sorted(entries)]
    )
    entry = entries[post]
    others = tuple(one for one in entry.accounts if one != account)
    match rng.choice(["title", "title", "account", "strike"]):
        case "account" if others:
            simulation.edit(post, accounts=others)
        case "strike" if len(entries) > 1:
            simulation.drop_entry(post)
        case _:
            simulation.edit(post, title=f"{entry.title}（改）")


# --- an outage longer than any limit ---

BEFORE, AFTER = 240.0, 3300.0
"""Seconds of a storm before an outage and after it."""
PERIOD = 20
"""Minutes from one occurrence to the next, where a post repeats."""


def _set_up_outage(rng: Random, entry_rng: Random) -> SetUp:
    shape = draw_shape(
        rng, storm=BEFORE + rng.uniform(1, 3) * HOUR + AFTER, most=2, pace=(6.0, 10.0)
    )
    shape.per_hour = rng.choice([1000, 1000, 12])
    entries = one_offs(
        entry_rng,
        shape,
        number=entry_rng.randint(2, 4),
        within=(60, shape.storm - AFTER),
    )
    for entry in entries:
        if entry_rng.random() < 0.25:
            entry.max_delay = "30m"
        elif entry_rng.random() < 0.3:
            entry.expires = (entry.at or instant(EPOCH)) + timedelta(
                seconds=entry_rng.uniform(600, 5400)
            )
    for number in range(entry_rng.choice([1, 1, 2])):
        repeating = SchedulePost(
            id=f"r{number}",
            title=f"{TITLES[number]}每日提醒",
            accounts=shape.accounts,
            max_delay="1h",
        )
        repeating.cron, repeating.until = (
            f"*/{PERIOD} * * * *",
            instant(EPOCH + shape.storm - HOUR / 3),
        )
        entries.append(repeating)
    return shape, entries


def _play_outage(simulation: Simulation) -> None:
    """Make every connection fail, or stop the daemon, for hours."""
    rng, length = simulation.rng, simulation.shape.storm - BEFORE - AFTER
    simulation.pass_time(BEFORE)
    if (kind := rng.choice(["refused", "no_name", "silence", "down"])) == "down":
        simulation.stop_for(length)
    else:
        simulation.disconnect(kind, length)
    simulation.pass_time(length, pace=rng.uniform(20, 40))


# --- a journal that cannot be written ---


def _set_up_full(rng: Random, entry_rng: Random) -> SetUp:
    shape = draw_shape(rng, storm=rng.uniform(2400, 4200), pace=(2.0, 4.0))
    shape.create = rng.choice([0.0, 0.0, 0.2])
    entries = one_offs(
        entry_rng, shape, number=entry_rng.randint(3, 6), within=(5, shape.storm - 600)
    )
    for entry in entries:
        entry.max_delay = entry_rng.choice(["6h", "10m"])
    return shape, entries


def _play_full(simulation: Simulation) -> None:
    """Fill the journal's disk in the middle of a line, and free it again.

    It stays full for up to forty minutes.
    """
    rng = simulation.rng

    def take_a_part(file: FileIO, data: bytes) -> None:
        file.write(data[: rng.randrange(len(data))])
        raise OSError(errno.ENOSPC, "no room")

    simulation.pass_time(rng.uniform(0, 60))
    for _ in range(rng.randint(1, 2)):
        with Patch() as patch:
            patch.put(intent_journal, "_write_all", take_a_part)
            pace = rng.uniform(8, 16)
            simulation.pass_time(rng.uniform(600, 2400), pace=pace)
        simulation.pass_time(rng.uniform(60, 300))


# --- a clock that is wrong ---

AHEAD = (8 * HOUR, 8 * HOUR, 2 * HOUR, 1800.0, 240.0, 90.0, 30.0)
BEHIND = (-90.0, -1800.0, -8 * HOUR)
CLOCK_SECONDS = 90.0
"""Additional seconds until a right clock counts as confirmed: a slow daemon asks seldom."""


def _set_up_clock(rng: Random, entry_rng: Random) -> SetUp:
    shape = draw_shape(rng, storm=500.0, pace=(1.5, 2.5))
    soon = one_offs(entry_rng, shape, number=entry_rng.randint(2, 3), within=(5, 60))
    later = one_offs(
        entry_rng, shape, number=entry_rng.randint(1, 3), within=(600, 2.5 * HOUR)
    )
    for number, entry in enumerate(later, len(soon) + 1):
        entry.id, entry.title = (
            f"p{number}",
            f"{entry_rng.choice(TITLES)}第{number:02d}期",
        )
        entry.max_delay = entry_rng.choice(["6h", "1h"])
    return shape, [*soon, *later]


def _play_clock(simulation: Simulation) -> None:
    """Restart the host with a wrong clock while outcomes are unknown.

    Or set its clock right before a crash.
    """
    rng = simulation.rng
    for account in simulation.shape.accounts:
        kinds = rng.choices([LOST, MADE], [2, 3], k=rng.randint(1, 3))
        simulation.platforms.faults.own[identity_of(account)] = [
            rng.choice(kind) for kind in kinds
        ]
    for _ in range(rng.randint(1, 2)):
        states = rng.choice(
            [("unknown",), ("unknown",), ("unknown", "sending"), ("claimed",)]
        )
        simulation.pass_until(lambda states=states: standing(simulation, *states), 60)
        simulation.pass_time(0.0 if states == ("claimed",) else rng.uniform(0, 8))
        ahead = rng.choice([*AHEAD, *AHEAD, *BEHIND])
        match rng.choice(["boot", "boot", "before a death", "running"]):
            case "boot":
                simulation.boot(ahead)
            case "before a death":
                simulation.set_clock(ahead)
                simulation.pass_time(rng.uniform(0.05, 1.0))
                simulation.kill()
            case _:
                simulation.set_clock(ahead)
        simulation.pass_time(rng.uniform(20, 120))
        right = rng.uniform(-1, 1)
        if rng.random() < 0.3:
            simulation.boot(right)
        else:
            simulation.set_clock(right)
        if (unknown := standing(simulation, "unknown")) and rng.random() < 0.4:
            # as soon as the clock is right, before the daemon has seen that
            post, _account = rng.choice(unknown)
            simulation.run_command(simulation.cancel(post))
        simulation.pass_time(rng.uniform(30, 60))
        late = "SELECT post, account FROM delivery WHERE state = 'unknown' AND next_action_at > ?"
        simulation.pass_until(
            lambda late=late: not simulation.rows(late, (simulation.now + HOUR) * 1e6),
            CLOCK_SECONDS,
        )
        for row in simulation.rows(late, (simulation.now + HOUR) * 1e6):
            simulation.errors.append(
                f"{row['post']}@{row['account']} is in doubt, and is not read for hours"
            )


# --- a stop while a call waits ---

SLOW = Waits(deadline=30, lease=40, visibility=90, review=130)


def _set_up_slow(rng: Random, entry_rng: Random) -> SetUp:
    shape = draw_shape(rng, storm=320.0, pace=(1.5, 2.5))
    shape.waits, shape.read = SLOW, rng.choice([0.0, 0.3])
    entries = one_offs(
        entry_rng, shape, number=entry_rng.randint(3, 5), within=(5, 200)
    )
    for entry in entries:
        if entry_rng.random() < 0.4:
            entry.expires = (entry.at or instant(EPOCH)) + timedelta(
                seconds=entry_rng.uniform(2, 20)
            )
    return shape, entries


def _play_slow(simulation: Simulation) -> None:
    """Slow down connections and reads, and stop deliveries that are being sent."""
    rng = simulation.rng
    simulation.network.connect_delay = lambda: (
        rng.uniform(3, 28) if rng.random() < 0.6 else 0.0
    )
    simulation.platforms.faults.lists.append({"kind": "delay", "seconds": 8})
    for account in simulation.shape.accounts:
        simulation.platforms.faults.own[identity_of(account)] = [
            {"kind": "drop_after"}
        ] * rng.choice([0, 1])
    for _ in range(4):
        if not simulation.pass_until(lambda: standing(simulation, "sending"), 80):
            return
        simulation.pass_time(rng.uniform(0.2, 4))
        _stop_sending(simulation)
        simulation.pass_time(rng.uniform(20, 35))
        simulation.resume_all()


def _stop_sending(simulation: Simulation) -> None:
    """Pause, cancel or retract something that is being sent, if there still is any."""
    rng, sending = simulation.rng, standing(simulation, "sending")
    if not sending:
        return
    post, account = rng.choice(sending)
    match rng.choice(["pause", "pause", "cancel", "retract"]):
        case "pause":
            pause_one_of(simulation, account, post)
        case "cancel":
            simulation.run_command(simulation.cancel(post))
        case _:
            simulation.run_command(
                simulation.retract(post, rng.choice([None, account]))
            )


# --- lists that show items twice, and texts cut short ---


def _set_up_lists(rng: Random, entry_rng: Random) -> SetUp:
    """Draw posts with a short excerpt that does not show the marker."""
    shape = draw_shape(rng, storm=260.0, pace=(1.0, 3.0))
    shape.accounts = tuple(sorted({*shape.accounts, "weibo-a"}))
    entries = one_offs(entry_rng, shape, number=entry_rng.randint(2, 4), within=(5, 90))
    for entry in entries:
        entry.title = f"关于近期多发的{entry.title}提醒"
    return shape, entries


def _play_lists(simulation: Simulation) -> None:
    """Lose calls on platforms with lists that show only excerpts, or an item twice."""
    rng, faults = simulation.rng, simulation.platforms.faults
    if (how := rng.choice(["excerpt", "excerpt", "twice", "again", "both"])) in (
        "excerpt",
        "both",
    ):
        cut = {
            "characters": rng.choice([20, 24, 28, 50]),
            "ending": rng.choice(["…", "...全文", ""]),
        }
        faults.lists.append({"kind": "rewrite", "how": "excerpt", **cut})
    if how != "excerpt":
        faults.lists.append(
            {
                "kind": "reorder",
                "how": how if how != "both" else rng.choice(["twice", "again"]),
            }
        )
    for account in simulation.shape.accounts:
        kinds = rng.choices([LOST, MADE], [1, 4], k=rng.randint(1, 3))
        faults.own[identity_of(account)] = [rng.choice(kind) for kind in kinds]
        for _ in range(rng.choice([0, 2, 12])):
            simulation.platforms.post_by_hand(
                platform_of(account),
                identity_of(account),
                "值班安排",
                "本周值班安排已更新",
            )
    if rng.random() < 0.4:
        simulation.loop.call_later(rng.uniform(5, 100), simulation.kill)


# --- a second submit that succeeds ---


OVER_A_SUBMIT = (
    "http.mid_body",
    "http.after_body",
    "http.after_reply",
    "outcome.before_commit",
    "step.after_commit",
)
"""Where a crash leaves a submission unknown, or a draft that is not submitted."""


def _set_up_repeats(rng: Random, entry_rng: Random) -> SetUp:
    shape = draw_shape(rng, storm=260.0, pace=(1.0, 3.0))
    shape.accounts = tuple(
        sorted({"wechat-a", *shape.accounts[: rng.choice([0, 0, 1])]})
    )
    shape.create, shape.read, shape.other = rng.choice(
        [(0.0, 0.2, 0.1), (0.2, 0.2, 0.1), (0.6, 0.3, 0.2)]
    )
    shape.crash_chance = rng.choice([0.0, 0.003, 0.01])
    shape.at_failpoints = {
        name: rng.randint(1, 3) for name in rng.sample(OVER_A_SUBMIT, 3)
    }
    shape.kills = [rng.uniform(5, 200) for _ in range(rng.choice([0, 1, 2, 4]))]
    shape.freezes = [
        (rng.uniform(5, 200), rng.uniform(11, 40)) for _ in range(rng.choice([0, 0, 1]))
    ]
    entries = one_offs(
        entry_rng, shape, number=entry_rng.randint(3, 5), within=(5, 160)
    )
    for entry in entries:
        entry.urgent = entry_rng.random() < 0.4
    return shape, entries


def _play_repeats(simulation: Simulation) -> None:
    """Let the platform create another post for every repeated call.

    Crash the daemon during its own calls.
    """
    settings = simulation.platforms.state.behaviour
    settings.wechat_repeats, settings.wechat_consume = "accept", "finish"
    settings.wechat_review_seconds = simulation.rng.choice([0.3, 10.0, LATE])


# --- a lost answer, and a review that hides the post ---

SHORT_LIFE = 95.0
"""Minimum seconds for a person to find a post missing, and to send it again."""


def _set_up_reviews(rng: Random, entry_rng: Random) -> SetUp:
    shape = draw_shape(rng, storm=320.0, pace=(1.0, 3.0))
    shape.accounts = tuple(sorted({"weibo-a", *shape.accounts[: rng.choice([0, 1])]}))
    shape.read = rng.choice([0.0, 0.0, 0.2])
    shape.kills = [rng.uniform(5, 200) for _ in range(rng.choice([0, 1, 2]))]
    entries = one_offs(
        entry_rng, shape, number=entry_rng.randint(2, 5), within=(20, 120)
    )
    for entry in entries:
        entry.urgent = entry_rng.random() < 0.3
    return shape, [*_draw_short_lives(entry_rng, shape), *entries]


def _draw_short_lives(rng: Random, shape: Shape) -> list[SchedulePost]:
    """Draw posts that come first and expire before their review ends.

    They come before all others, and some have a follow-up.
    """
    entries: list[SchedulePost] = []
    for number in range(1, rng.choice([1, 1, 2]) + 1):
        due, title = rng.uniform(6, 14), f"{rng.choice(TITLES)}第{number:02d}期"
        short = SchedulePost(
            id=f"short{number}",
            title=title,
            accounts=("weibo-a",),
            at=instant(EPOCH + due),
        )
        short.expires = instant(
            EPOCH + due + rng.uniform(SHORT_LIFE, shape.waits.review)
        )
        entries.append(short)
        if rng.random() < 0.5:
            follow_up = replace(
                short,
                id=f"update{number}",
                title=f"续报：{title}",
                follows=short.id,
                expires=None,
            )
            entries.append(
                replace(follow_up, at=instant(EPOCH + due + rng.uniform(5, 100)))
            )
    return entries


def _play_reviews(simulation: Simulation) -> None:
    """Lose answers on Weibo while the post is under review.

    Edit, retract and fill up the list meanwhile. A post with a short life is lost before it is
    made. A person looks for it, and sends it again.
    """
    rng, faults = simulation.rng, simulation.platforms.faults
    for account in simulation.shape.accounts:
        calls: list[Fault | tuple[Fault, ...]] = []
        for _ in range(rng.randint(2, 4)):
            review = {
                "seconds": rng.uniform(40, LONG_REVIEW),
                "verdict": rng.choice(["pass", "pass", "refuse"]),
            }
            hidden: tuple[Fault, ...] = (
                {"kind": "review", **review},
                {"kind": "drop_after"},
            )
            calls.append(
                rng.choice(
                    [
                        hidden,
                        hidden,
                        hidden,
                        {"kind": "drop_before"},
                        {"kind": "drop_after"},
                    ]
                )
            )
        faults.own[identity_of(account)] = calls
    short = [
        post for post, entry in simulation.workspace.entries.items() if entry.expires
    ]
    faults.own[identity_of("weibo-a")][:0] = [*LOST] * len(short)
    for _ in range(rng.randint(1, 3)):
        simulation.pass_until(lambda: standing(simulation, "unknown"), 80)
        _resend_hidden(simulation, rng.uniform(0, 90))
        for post, account in standing(simulation, "unknown")[:1]:
            match rng.choice(["urgent", "shorten", "retract", "others", "none"]):
                case "urgent":
                    simulation.edit(post, urgent=True)
                case "shorten":
                    _shorten_life(simulation, post)
                case "retract":
                    simulation.run_command(
                        simulation.retract(post, rng.choice([None, account]))
                    )
                case "others":
                    for _ in range(rng.choice([2, 6])):
                        simulation.platforms.post_by_hand(
                            platform_of(account),
                            identity_of(account),
                            "值班安排",
                            "本周值班安排已更新",
                        )
                case _:
                    resolve_something(simulation)
    _resend_hidden(simulation, simulation.shape.waits.review)


def _resend_hidden(simulation: Simulation, seconds: float) -> None:
    """Let time pass, while a person resends missing posts.

    The person looks for the posts that a review may hide.
    """
    until = simulation.loop.time() + seconds
    while simulation.loop.time() < until:
        simulation.pass_time(1.0)
        for row in simulation.rows(
            "SELECT id FROM delivery WHERE state = 'held' AND reason = 'review_possible'"
        ):
            simulation.run_command(simulation.rule(row["id"], Resolution.RESEND))


def _shorten_life(simulation: Simulation, post: str) -> None:
    """Let a post with an unknown outcome expire before its review ends."""
    query = (
        "SELECT unknown_since AS at FROM delivery WHERE state = 'unknown' AND post = ?"
    )
    since = max(row["at"] / 1e6 for row in simulation.rows(query, post))
    expires = since + simulation.rng.uniform(SHORT_LIFE, simulation.shape.waits.review)
    if simulation.now < expires:
        simulation.edit(post, expires=instant(expires))


# --- a long past ---

PAST = 3000


def _set_up_past(rng: Random, entry_rng: Random) -> SetUp:
    """Draw posts, some of them live on every account, before the past is copied from them."""
    shape = draw_shape(rng, storm=360.0, pace=(2.0, 4.0))
    shape.create, shape.read, shape.other = rng.choice(
        [(0.1, 0.2, 0.0), (0.4, 0.2, 0.1)]
    )
    shape.crash_chance = rng.choice([0.0, 0.003, 0.01])
    shape.kills = [rng.uniform(130, 300) for _ in range(rng.choice([0, 1, 2]))]
    first = SchedulePost(
        id="p0",
        title=f"{TITLES[0]}第00期",
        accounts=shape.accounts,
        at=instant(EPOCH + 5),
    )
    repeating = SchedulePost(
        id="r0", title=f"{TITLES[1]}每日提醒", accounts=shape.accounts
    )
    repeating.cron, repeating.until = "*/1 * * * *", instant(EPOCH + shape.storm - 60)
    return shape, [
        first,
        repeating,
        *one_offs(entry_rng, shape, number=entry_rng.randint(2, 4), within=(130, 260)),
    ]


def _play_past(simulation: Simulation) -> None:
    """Publish some posts, add thousands that ended long ago, and then begin the storm."""
    faults, shape = simulation.platforms.faults, simulation.shape
    faults.create = faults.read = faults.other = simulation.crash_plan.chance = 0.0
    simulation.pass_time(90)
    simulation.kill()
    grow(simulation, PAST)
    faults.create, faults.read, faults.other = shape.create, shape.read, shape.other
    simulation.crash_plan.chance = shape.crash_chance
    for _ in range(simulation.rng.choice([0, 2, 4])):
        simulation.pass_time(simulation.rng.uniform(10, 50))
        act(simulation)


# --- reads that report live posts as deleted ---

SPELL = 80.0
"""Maximum seconds of such reports from a platform: less than its lists may lag."""


def _set_up_gone(rng: Random, entry_rng: Random) -> SetUp:
    shape = draw_shape(rng, storm=2.2 * HOUR, most=2, pace=(1.5, 3.0))
    shape.accounts = tuple(sorted({"wechat-a", rng.choice(["weibo-a", "tieba-a"])}))
    entries = one_offs(entry_rng, shape, number=entry_rng.randint(2, 4), within=(5, 90))
    for entry in entries:
        entry.urgent = entry_rng.random() < 0.4
    return shape, entries


def _play_gone(simulation: Simulation) -> None:
    """Let platforms report new posts as deleted for a while.

    Hours later, let them report monitored posts as deleted.
    """
    rng = simulation.rng
    for account in simulation.shape.accounts:
        kinds = rng.choices([LOST, MADE], [1, 4], k=rng.randint(1, 3))
        simulation.platforms.faults.own[identity_of(account)] = [
            rng.choice(kind) for kind in kinds
        ]
    for _ in range(3):
        simulation.pass_until(lambda: standing(simulation, "unknown", "submitted"), 60)
        _call_gone(simulation, rng.uniform(3, SPELL))
        simulation.pass_time(rng.uniform(20, 60))
    [turn] = simulation.rows("SELECT max(next_action_at) AS at FROM monitor_schedule")
    simulation.pass_time(
        max(0.0, turn["at"] / 1e6 - simulation.now - 5), pace=rng.uniform(20, 40)
    )
    _call_gone(simulation, SPELL)


def _call_gone(simulation: Simulation, seconds: float) -> None:
    lists = simulation.platforms.faults.lists
    lists.append({"kind": "gone"})
    simulation.pass_time(seconds)
    lists.clear()


STORMS: Mapping[str, Storm] = {
    "edits": Storm(set_up=_set_up_edits, play=_play_edits),
    "slow": Storm(set_up=_set_up_slow, play=_play_slow),
    "outage": Storm(set_up=_set_up_outage, play=_play_outage),
    "full": Storm(set_up=_set_up_full, play=_play_full),
    "lists": Storm(set_up=_set_up_lists, play=_play_lists),
    "repeats": Storm(set_up=_set_up_repeats, play=_play_repeats),
    "reviews": Storm(set_up=_set_up_reviews, play=_play_reviews),
    "past": Storm(set_up=_set_up_past, play=_play_past),
    "gone": Storm(set_up=_set_up_gone, play=_play_gone),
    "clock": Storm(set_up=_set_up_clock, play=_play_clock),
    **MAINTENANCE_STORMS,
    **APPROVAL_STORMS,
    **ALERT_STORMS,
    **CHANGE_STORMS,
}
"""The kinds of storms, by name."""
