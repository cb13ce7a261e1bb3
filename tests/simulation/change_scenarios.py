"""The storm `changes`: people make slips and put them right.

They also change the things that open deliveries depend on. Each step is a generator that yields the
seconds until it goes on. Several steps are under way at once, while new urgent warnings come into
the same file, daemons die, and platforms lose answers.
"""

import heapq
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from publisher.domain.errors import RefusedError
from publisher.simulator.faults import Fault
from tests.simulation.platforms import EPOCH
from tests.simulation.scenarios import (
    HOUR,
    LOST,
    MADE,
    TITLES,
    SetUp,
    Storm,
    draw_shape,
)
from tests.simulation.simulation import CRASH_FAILPOINTS, Simulation
from tests.simulation.workspace import (
    SPARE_IDENTITIES,
    SchedulePost,
    Waits,
    identity_of,
    instant,
    platform_of,
)

Step = Callable[["ChangeStorm"], Iterator[float]]

URGENT_ACCOUNT, CHANGED_ACCOUNT = "weibo-b", "weibo-c"
"""An account for urgent warnings only, without any fault, and one that changes hands."""
FOREIGN = "1400000009"
"""An account that is none of ours."""
URGENT_EVERY = (25.0, 45.0)
URGENT_SECONDS = 100.0
"""Maximum seconds from the file's saving to the call of an urgent warning.

The file is read twice a minute.
"""
STEPS_OF_A_STORM = 5
CALLED_AFTER = 40.0
"""Seconds until a post is due that is filed first."""
DUE_AFTER = 200.0
"""Seconds until a post with a slip is due.

The slip is put right before then.
"""
HIDDEN: Sequence[Fault | tuple[Fault, ...]] = (
    *LOST,
    ({"kind": "drop_after"}, {"kind": "list_late", "seconds": 20.0}),
)
"""Lost answers to calls that no list shows for a while."""
LONG_REVIEW, LONGEST_REVIEW = 130.0, 150
"""Seconds of a long review and of the longest one.

The long review lasts far longer than the visibility window.
"""
GLANCE_SECONDS = 0.5
BESIDE_SECONDS, STARTED_SECONDS = 10.0, 4.0
"""Seconds until a daemon beside another is refused, and seconds that the other has run."""
REFUSED_SECONDS = 40.0
"""Maximum seconds until the refusal of a daemon that must not start by the settings."""
MAX_TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class UrgentPost:
    """An urgent warning that was dropped into the file at an instant of the loop."""

    id: str
    title: str
    saved_at: float


@dataclass(slots=True)
class ChangeStorm:
    """The state of the storm that its steps share, and the facts for the judge at the end."""

    simulation: Simulation
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    urgent_posts: list[UrgentPost] = field(default_factory=list)
    put_right: list[str] = field(default_factory=list)
    """Posts with a slip that was put right before any call."""
    not_before: dict[str, float] = field(default_factory=dict)
    """Posts, each with its earliest permitted instant of creation."""
    not_after: dict[str, float] = field(default_factory=dict)
    """Posts, each with the latest permitted instant of a call: a platform may act on it later."""
    not_running: list[tuple[float, float]] = field(default_factory=list)
    """Times, by the loop, without any daemon that could start or trust its clock."""

    @property
    def rng(self) -> Random:
        return self.simulation.rng

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts of ordinary posts."""
        return tuple(
            one
            for one in self.simulation.shape.accounts
            if one not in (URGENT_ACCOUNT, CHANGED_ACCOUNT)
        )

    def find(self, promise: str, what: str) -> None:
        """Note a broken promise."""
        self.simulation.broken_promises.append(f"{promise}: {what}")

    # --- the schedule ---

    def new_entry(
        self, name: str, accounts: Sequence[str], after: float, **more: Any
    ) -> str:
        """Add a post that is due so many seconds from now, and save the file."""
        number = next(self.numbers)
        entry = SchedulePost(
            id=f"{name}-{number}",
            title=f"{self.rng.choice(TITLES)}第{number:02d}期",
            accounts=tuple(accounts),
            at=None if "cron" in more else instant(self.simulation.now + after),
            **more,
        )
        self.simulation.workspace.add(entry)
        self.save()
        return entry.id

    def entry(self, post: str) -> SchedulePost:
        return self.simulation.workspace.every[post]

    def edit(self, post: str, **changes: Any) -> None:
        """Change an entry and save the file; one that was removed comes back."""
        workspace = self.simulation.workspace
        workspace.add(replace(workspace.every[post], **changes))
        workspace.edited.add(post)
        self.save()

    def remove(self, post: str) -> None:
        self.simulation.workspace.entries.pop(post, None)
        self.simulation.workspace.edited.add(post)
        self.save()

    def save(self) -> None:
        """Save the file; now and then somebody has it read at once."""
        self.simulation.workspace.write(instant(self.simulation.now))

    def drop_urgent(self) -> None:
        """Write a new urgent warning into the file."""
        post = self.new_entry("urgent", (URGENT_ACCOUNT,), 0.0, urgent=True)
        self.urgent_posts.append(
            UrgentPost(
                id=post,
                title=self.entry(post).title,
                saved_at=self.simulation.loop.time(),
            )
        )

    # --- waiting ---

    def until(self, is_so: Callable[[], object], most: float) -> Iterator[float]:
        """Wait until something is so, at most so many seconds."""
        end = self.simulation.loop.time() + most
        while not is_so() and self.simulation.loop.time() < end:
            yield GLANCE_SECONDS

    def until_planned(self, post: str) -> Iterator[float]:
        """Wait until the post is filed."""
        yield from self.until(lambda: self.states(post), 120.0)

    def until_state(self, post: str, *states: str) -> Iterator[float]:
        yield from self.until(lambda: set(self.states(post)) & set(states), 90.0)

    def states(self, post: str) -> list[str]:
        return [
            row["state"]
            for row in self.simulation.rows(
                "SELECT state FROM delivery WHERE post = ?", post
            )
        ]

    def slip(self) -> float:
        """Return how long a slip lasts: until it is noticed at once, or after the file was read."""
        return self.rng.choice([5.0, self.rng.uniform(40, 90)])

    # --- settings ---

    def change_account(
        self, name: str, *, restarts: bool = True, **changes: Any
    ) -> None:
        """Change the table of an account, or its secret.

        Restart the daemon by the new settings.
        """
        tables = self.simulation.workspace.accounts
        tables[name] = replace(tables[name], **changes)
        self.save_settings(restarts=restarts)

    def save_settings(self, *, restarts: bool = True) -> None:
        self.simulation.save_settings()
        if restarts:
            self.simulation.kill()

    def open_outcome(
        self, name: str, account: str, *faults: Fault | tuple[Fault, ...], **more: Any
    ) -> Generator[float, None, str]:
        """Let a post be called on an account with these faults; return the post.

        Wait until its outcome is open.
        """
        post = self.new_entry(name, (account,), CALLED_AFTER, **more)
        yield from self.until_planned(post)
        due = self.entry(post).at or instant(EPOCH)
        yield max(0.0, due.timestamp() - self.simulation.now - 1.5)
        self.lose(account, *faults)
        yield from self.until_state(post, "unknown", "submitted")
        return post

    def lose(self, account: str, *faults: Fault | tuple[Fault, ...]) -> None:
        """Let the next calls of an account fail in these ways."""
        self.simulation.platforms.faults.own.setdefault(
            identity_of(account), []
        ).extend(faults)


# --- slips in the schedule, and their repair ---


def _delete_and_put_back(changes: ChangeStorm) -> Iterator[float]:
    """A post is deleted from the file by mistake, and put back."""
    post = changes.new_entry("deleted", changes.accounts, DUE_AFTER)
    yield from changes.until_planned(post)
    changes.remove(post)
    yield changes.slip()
    changes.edit(post)
    changes.put_right.append(post)


def _leave_account_out(changes: ChangeStorm) -> Iterator[float]:
    """An account is taken out of `to` by mistake, and put back."""
    post = changes.new_entry("left-out", changes.accounts, DUE_AFTER)
    yield from changes.until_planned(post)
    changes.edit(post, accounts=changes.accounts[1:])
    yield changes.slip()
    changes.edit(post, accounts=changes.accounts)
    changes.put_right.append(post)


def _mistake_date(changes: ChangeStorm) -> Iterator[float]:
    """A date is wrong by weeks, and put right."""
    post = changes.new_entry("date", changes.accounts, DUE_AFTER)
    right = changes.entry(post).at or instant(EPOCH)
    yield from changes.until_planned(post)
    changes.edit(post, at=right + timedelta(days=changes.rng.choice([20, 30])))
    yield changes.slip()
    changes.edit(post, at=right)
    changes.put_right.append(post)


def _move_into_past(changes: ChangeStorm) -> Iterator[float]:
    """The hour of a post that is filed is wrong by five: it must not go out at once."""
    post = changes.new_entry("past", changes.accounts, DUE_AFTER, max_delay="30m")
    right = changes.entry(post).at or instant(EPOCH)
    changes.not_before[post] = right.timestamp()
    yield from changes.until_planned(post)
    changes.edit(post, at=right - timedelta(hours=5))
    yield changes.rng.choice([changes.slip(), URGENT_SECONDS + 30.0])
    changes.edit(post, at=right)
    changes.put_right.append(post)


def _move_cron(changes: ChangeStorm) -> Iterator[float]:
    """The time of a repeating post is moved to another hour, and back."""
    yield from _break_cron(changes, lambda post: changes.edit(post, cron="30 3 * * *"))


def _delete_cron(changes: ChangeStorm) -> Iterator[float]:
    """A repeating post is deleted, and put back."""
    yield from _break_cron(changes, changes.remove)


def _break_cron(changes: ChangeStorm, slip: Callable[[str], None]) -> Iterator[float]:
    post = changes.new_entry("cron", changes.accounts[:1], 0.0, cron="*/5 * * * *")
    changes.edit(post, until=instant(EPOCH + changes.simulation.shape.storm + HOUR))
    yield from changes.until_planned(post)
    slip(post)
    yield changes.slip()
    changes.edit(post, cron="*/5 * * * *")
    changes.put_right.append(post)


def _change_form(changes: ChangeStorm) -> Iterator[float]:
    """A post gets words for its region, or loses them, once an account was called.

    Another account waits. The entry may be put back as it was.
    """
    account, waiting = changes.rng.sample(changes.accounts, 2)
    own, common = changes.rng.choice([("本地版", None), (None, "本地版")])
    post = changes.new_entry(
        "form", (account,), CALLED_AFTER, region_title=common, max_delay="2h"
    )
    changes.simulation.workspace.reshaped.add(post)
    filed = f"{post}.110000" if common else post
    yield from changes.until_planned(filed)
    due = changes.entry(post).at or instant(EPOCH)
    yield max(0.0, due.timestamp() - changes.simulation.now - 1.5)
    changes.lose(account, *changes.rng.choice([[], [changes.rng.choice(LOST)]]))
    ended = ("published", "unknown", "submitted", "sending")
    yield from changes.until_state(filed, *ended)
    changes.edit(post, region_title=own, accounts=(account, waiting))
    yield changes.rng.choice([changes.slip(), 150.0])
    if changes.rng.random() < 0.5:
        changes.edit(post, region_title=common)
    yield 60.0


# --- the ground under an open outcome changes ---


def _make_urgent(changes: ChangeStorm) -> Iterator[float]:
    """A routine article is in review, its answer lost; then it is made urgent.

    Another interface sends urgent articles.
    """
    behaviour = changes.simulation.platforms.state.behaviour
    usual = (
        behaviour.wechat_review_seconds,
        behaviour.wechat_consume,
        behaviour.wechat_repeats,
    )
    behaviour.wechat_review_seconds = 2 * LONG_REVIEW
    # its draft stands, and can be sent again
    behaviour.wechat_consume, behaviour.wechat_repeats = (
        "finish",
        "accept",
    )
    post = yield from changes.open_outcome(
        "made-urgent", "wechat-a", {"kind": "drop_after"}
    )
    changes.edit(post, urgent=True)
    yield changes.rng.uniform(190, 240)
    (
        behaviour.wechat_review_seconds,
        behaviour.wechat_consume,
        behaviour.wechat_repeats,
    ) = usual


def _swap_identity(changes: ChangeStorm) -> Iterator[float]:
    """An account gets another's identity while an outcome on it is open, and is put right.

    The identity is none of ours.
    """
    yield from changes.open_outcome(
        "swapped", CHANGED_ACCOUNT, changes.rng.choice(HIDDEN)
    )
    changes.change_account(CHANGED_ACCOUNT, identity=FOREIGN)
    yield changes.rng.uniform(220, 280)
    changes.change_account(CHANGED_ACCOUNT, identity=identity_of(CHANGED_ACCOUNT))
    yield 30.0


def _swap_secret(changes: ChangeStorm) -> Iterator[float]:
    """An account is given the secret of another of ours while a post for it falls due."""
    post = changes.new_entry("secret", (CHANGED_ACCOUNT,), 60.0)
    yield from changes.until_planned(post)
    changes.change_account(
        CHANGED_ACCOUNT,
        token_of=identity_of(URGENT_ACCOUNT),
        restarts=changes.rng.random() < 0.5,
    )
    yield 100.0
    changes.change_account(CHANGED_ACCOUNT, token_of=None, restarts=False)
    yield 5.0
    changes.simulation.resume_all()


def _rename_account(changes: ChangeStorm) -> Iterator[float]:
    """An account gets another id in the settings: no daemon may start by them."""
    yield from changes.open_outcome(
        "renamed", CHANGED_ACCOUNT, changes.rng.choice(LOST)
    )
    workspace, refused = changes.simulation.workspace, len(changes.simulation.refusals)
    began = changes.simulation.loop.time()
    workspace.accounts[CHANGED_ACCOUNT] = replace(
        workspace.accounts[CHANGED_ACCOUNT], id="weibo-z"
    )
    changes.save_settings()
    yield from changes.until(
        lambda: len(changes.simulation.refusals) > refused, REFUSED_SECONDS
    )
    if len(changes.simulation.refusals) == refused:
        changes.find("I17", "a daemon started though an account has another id")
    workspace.accounts[CHANGED_ACCOUNT] = replace(
        workspace.accounts[CHANGED_ACCOUNT], id=CHANGED_ACCOUNT
    )
    changes.save_settings()
    yield 20.0
    changes.not_running.append((began, changes.simulation.loop.time()))


def _shrink_group(changes: ChangeStorm) -> Iterator[float]:
    """A group loses accounts in the settings by mistake, and regains them."""
    workspace = changes.simulation.workspace
    workspace.group = changes.accounts
    changes.save_settings()
    yield 15.0
    post = changes.new_entry(
        "grouped", changes.accounts, DUE_AFTER + 60, names_group=True
    )
    yield from changes.until_planned(post)
    workspace.edited.add(post)
    workspace.group = changes.accounts[:1]
    changes.save_settings()
    yield changes.slip()
    workspace.group = changes.accounts
    changes.save_settings()
    changes.put_right.append(post)
    yield 20.0


def _change_profile(changes: ChangeStorm) -> Iterator[float]:
    """The permissions of an account change while an outcome on it is open, and change back."""
    yield from changes.open_outcome(
        "profile", "wechat-a", changes.rng.choice(MADE), urgent=True
    )
    changes.change_account("wechat-a", own="")
    yield changes.rng.uniform(60, 120)
    changes.change_account("wechat-a", own=None)
    yield 20.0


def _start_copy(changes: ChangeStorm) -> Iterator[float]:
    """The workspace is copied while calls are under way, and a daemon is started in the copy."""
    for account in changes.accounts:
        changes.new_entry("copied", (account,), 20.0)
    yield 60.0
    folder = changes.simulation.workspace.folder
    copy = Path(f"{folder}-copy")
    shutil.copytree(folder, copy)
    try:
        yield changes.rng.choice([0.0, 30.0])
        yield from _start_beside(
            changes, copy, "a copy of the workspace works beside the original"
        )
    finally:
        shutil.rmtree(copy)


def _remove_lock(changes: ChangeStorm) -> Iterator[float]:
    """Somebody tidies the lock file away, and a second daemon is started in the same folder."""
    folder = changes.simulation.workspace.folder
    (folder / "var" / "publisher.db.lock").unlink(missing_ok=True)
    yield 2.0
    yield from _start_beside(
        changes, folder, "a second daemon works in the folder of the first"
    )


def _start_beside(changes: ChangeStorm, folder: Path, what: str) -> Iterator[float]:
    """Start a daemon beside the running one.

    It must be refused, unless the first one dies meanwhile.
    """
    simulation = changes.simulation
    for _ in range(MAX_TRIES):
        first = simulation.process
        yield STARTED_SECONDS
        if first.has_ended or first is not simulation.process:
            continue
        error = simulation.start_beside(folder, BESIDE_SECONDS)
        if first.has_ended:
            continue
        if not isinstance(error, RefusedError):
            changes.find("I13", f"{what}: {error!r}")
        return


def _correct_unknown(changes: ChangeStorm) -> Iterator[float]:
    """A post is corrected while its outcome is unknown: its wrong words must not be sent again."""
    account = changes.rng.choice(
        [one for one in changes.accounts if platform_of(one) == "weibo"]
    )
    original = yield from changes.open_outcome(
        "original", account, changes.rng.choice(changes.rng.choice([LOST, MADE]))
    )
    correction = changes.new_entry(
        "correction", (account,), 5 * HOUR, follows=original, corrects=True
    )
    changes.simulation.run_command(changes.simulation.reload())
    changes.simulation.run_command(changes.simulation.correct(correction))
    changes.not_after[original] = changes.simulation.now + 1.0
    changes.simulation.workspace.edited |= {original, correction}
    yield 60.0


def _review_for_long(changes: ChangeStorm) -> Iterator[float]:
    """Weibo holds a post for a review that outlasts the visibility window.

    It says so, or loses its answer.
    """
    account = changes.rng.choice(
        [one for one in changes.accounts if platform_of(one) == "weibo"]
    )
    review: Fault = {"kind": "review", "seconds": LONG_REVIEW, "announce": True}
    how = changes.rng.choice([(review,), (review, {"kind": "drop_after"})])
    yield from changes.open_outcome(
        "reviewed", account, how, urgent=changes.rng.random() < 0.3
    )
    yield 150.0


def _set_clock(changes: ChangeStorm) -> Iterator[float]:
    """The host's clock is set while an outcome is open, and set right."""
    simulation = changes.simulation
    yield from changes.open_outcome(
        "clock",
        changes.accounts[-1],
        changes.rng.choice(changes.rng.choice([LOST, MADE])),
    )
    began = simulation.loop.time()
    simulation.set_clock(changes.rng.choice([1800.0, 8 * HOUR, -90.0]))
    yield changes.rng.uniform(20, 40)
    simulation.set_clock(changes.rng.uniform(-1, 1))
    yield 90.0
    changes.not_running.append((began, simulation.loop.time()))


STEPS: Mapping[str, Step] = {
    "delete_and_put_back": _delete_and_put_back,
    "swap_identity": _swap_identity,
    "make_urgent": _make_urgent,
    "start_copy": _start_copy,
    "leave_account_out": _leave_account_out,
    "review_for_long": _review_for_long,
    "move_into_past": _move_into_past,
    "swap_secret": _swap_secret,
    "mistake_date": _mistake_date,
    "correct_unknown": _correct_unknown,
    "rename_account": _rename_account,
    "move_cron": _move_cron,
    "shrink_group": _shrink_group,
    "remove_lock": _remove_lock,
    "change_profile": _change_profile,
    "delete_cron": _delete_cron,
    "set_clock": _set_clock,
    "change_form": _change_form,
}
"""The steps of people.

A storm has STEPS_OF_A_STORM of them, and storms in a row have all.
"""


# --- the storm ---


def _set_up_changes(rng: Random, _entry_rng: Random) -> SetUp:
    shape = draw_shape(rng, storm=600.0, pace=(1.0, 1.5))
    others = rng.choice([("weibo-a", "wechat-a"), ("weibo-a", "wechat-a", "tieba-a")])
    shape.waits = Waits(review=LONGEST_REVIEW)
    shape.accounts = tuple(sorted({*others, URGENT_ACCOUNT, CHANGED_ACCOUNT}))
    shape.crash_chance = rng.choice([0.0, 0.0, 0.002])
    shape.at_failpoints = {
        name: rng.randint(1, 4)
        for name in rng.sample(CRASH_FAILPOINTS, rng.choice([0, 1, 2]))
    }
    shape.kills = [rng.uniform(5, 300) for _ in range(rng.choice([0, 1, 2]))]
    first = SchedulePost(
        id="first",
        title=f"{TITLES[0]}第00期",
        accounts=shape.accounts,
        at=instant(EPOCH + 8),
    )
    return shape, [first]


def _play_changes(simulation: Simulation) -> None:
    """Let people take some of the steps at once, while urgent warnings come into the file.

    Then judge the urgent warnings.
    """
    changes, number = ChangeStorm(simulation), int(simulation.seed.rpartition("/")[2])
    simulation.expects_refusals = True
    for identity in (FOREIGN, *SPARE_IDENTITIES.values()):
        platform = "wechat" if identity.startswith("wx") else "weibo"
        simulation.platforms.add_older_post(platform, identity)
    names, first = list(STEPS), (number - 1) * STEPS_OF_A_STORM
    chosen = [names[(first + place) % len(names)] for place in range(STEPS_OF_A_STORM)]
    under_way: list[tuple[float, int, Iterator[float]]] = [
        (5.0, -1, _drop_urgent_posts(changes))
    ]
    under_way += [
        (changes.rng.uniform(15, 60), place, STEPS[name](changes))
        for place, name in enumerate(chosen)
    ]
    heapq.heapify(under_way)
    while len(under_way) > 1 or under_way[0][1] >= 0:
        at, place, step = heapq.heappop(under_way)
        simulation.pass_time(max(0.0, at - simulation.loop.time()))
        if (pause := next(step, None)) is not None:
            heapq.heappush(under_way, (simulation.loop.time() + pause, place, step))
    simulation.pass_time(URGENT_SECONDS)
    _judge_urgent_posts(changes)
    simulation.drain()
    _judge_corrected_posts(changes)
    _judge_reshaped_posts(changes)
    _judge_rest(changes)


def _drop_urgent_posts(changes: ChangeStorm) -> Iterator[float]:
    while True:
        changes.drop_urgent()
        yield changes.rng.uniform(*URGENT_EVERY)


# --- the judge ---


def _judge_urgent_posts(changes: ChangeStorm) -> None:
    """Find urgent warnings that were kept back."""
    made = {
        post.text: post.created - EPOCH
        for post in changes.simulation.platforms.state.posts.values()
    }
    for urgent in changes.urgent_posts:
        called_at = min(
            (at for text, at in made.items() if urgent.title in text),
            default=float("inf"),
        )
        excused = sum(
            max(0.0, min(called_at, ends) - max(urgent.saved_at, begins))
            for begins, ends in changes.not_running
        )
        if called_at > urgent.saved_at + URGENT_SECONDS + excused:
            changes.find(
                "I22",
                f"{urgent.id} was kept back:"
                f" saved at {urgent.saved_at:.0f}, called at {called_at:.0f}",
            )


def _judge_corrected_posts(changes: ChangeStorm) -> None:
    """Find calls for a post after its correction."""
    for row in changes.simulation.rows(
        "SELECT post, delivery.account, intended_at FROM attempt"
        " JOIN delivery ON delivery.id = attempt.delivery"
    ):
        latest = changes.not_after.get(row["post"], float("inf"))
        if row["intended_at"] / 1e6 > latest:
            name = f"{row['post']}@{row['account']}"
            changes.find("I16", f"{name} was called after it was corrected")


def _judge_reshaped_posts(changes: ChangeStorm) -> None:
    """Find accounts that got the words of a family under two ids."""
    for post in sorted(changes.simulation.workspace.reshaped):
        made = Counter[str]()
        for row in changes.simulation.deliveries():
            if row["post"].partition(".")[0] == post:
                made[row["account"]] += len(changes.simulation.copies(row))
        for account, copies in made.items():
            if copies > 1:
                changes.find("I1", f"{post}@{account} was made {copies} times")


def _judge_rest(changes: ChangeStorm) -> None:
    """Find posts on wrong accounts, posts too early or too late, and lost repaired posts.

    A repaired post had a slip that was put right.
    """
    simulation = changes.simulation
    for row in simulation.deliveries():
        for post in simulation.copies(row, everywhere=True):
            name = f"{row['post']}@{row['account']}"
            if post.account != identity_of(row["account"]):
                changes.find("I8", f"{name} was made on {post.account}")
            if post.created < changes.not_before.get(row["post"], 0.0) - 2.0:
                changes.find("I6", f"{name} was made too early")
    for row in simulation.rows(
        "SELECT facts FROM alert WHERE code = 'reload_refused' AND cleared_at IS NULL"
    ):
        changes.find("I22", f"the file is refused to the end: {row['facts']}")
    decided = {
        (one["post"], one["account"])
        for one in simulation.commands
        if one["kind"] == "resolve"
    }
    for post in changes.put_right:
        filed = {
            row["account"]: row
            for row in simulation.deliveries()
            if row["post"] == post
        }
        for account in changes.entry(post).accounts:
            row = filed.get(account)
            is_lost = row is None or (
                row["state"] in ("cancelled", "expired") and not row["attempts"]
            )
            if is_lost and (post, account) not in decided:
                state = row["state"] if row else "not filed"
                changes.find(
                    "I9", f"{post}@{account} was put right and is lost: {state}"
                )


CHANGE_STORMS: Mapping[str, Storm] = {
    "changes": Storm(set_up=_set_up_changes, play=_play_changes)
}
"""The kind of storm of this module, by name."""
