"""The sample run: a simulation with a post for each scenario that the checker must judge.

Each post is named like its scenario.
"""

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from publisher.engine.decisions import Resolution
from publisher.simulator.faults import Fault
from tests.chaos.checker.artefacts import Artefacts, whole_lines
from tests.chaos.checker_tests.mutation import SampleRun
from tests.chaos.mutants.patch import Patch
from tests.simulation import patched_runtime
from tests.simulation.artefacts import artefacts_of
from tests.simulation.patched_runtime import JOB_TIMES
from tests.simulation.platforms import BUSY, CREATING, LISTING
from tests.simulation.simulation import ENDED, Shape, Simulation, opened
from tests.simulation.workspace import (
    SchedulePost,
    Waits,
    identity_of,
    instant,
    platform_of,
)

ACCOUNTS = ("tieba-a", "wechat-a", "weibo-a", "weibo-b")
WAITS = Waits(deadline=3, lease=5, visibility=20, review=24)
PACE, FAST = 4.0, 240.0
"""Slowness of jobs, as a multiple of a real daemon's, for times with posts and without."""
HOUR = 3600.0
LONGEST = 600.0
"""Seconds until a delivery must come into the next state."""
RETRY_AFTER = 7
"""Wait, in seconds, that each 429 of the run asks for."""
CLOCK_AHEAD = 8 * HOUR
LONG_TEXT = "凡自称客服要求转账退款的都是诈骗，请挂断电话。" * 200
"""More than one post of Tieba and one reply to it can hold."""
LOST: Fault = {"kind": "drop_before"}
MADE: Fault = {"kind": "drop_after"}
LATE: Fault = {"kind": "list_late", "seconds": 8}
TOO_MANY: Fault = {
    "kind": "status",
    "code": 429,
    "headers": {"Retry-After": str(RETRY_AFTER)},
}
EXPIRED: Fault = {"kind": "expire_token"}
EXCERPT: Fault = {"kind": "rewrite", "how": "excerpt", "characters": 9}
Faults = Sequence[tuple[Fault, ...]]
"""The faults of an account's calls, one call after the other."""
Action = Callable[[Simulation, str, str], object]
"""An action on a post of an account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostCourse:
    """The course of a post on an account.

    `creations`, `reads` and `deletions` are the faults of such calls. Each of `actions` follows
    once the delivery is in a state, until it is in one of `ends`. `others` are further accounts of
    the post, and `entry` has further fields in the schedule. The post is due after `due` seconds.
    An instant in `entry` is given as so many seconds after that.
    """

    account: str = "weibo-a"
    creations: Faults = ()
    reads: Faults = ()
    deletions: Faults = ()
    actions: Sequence[tuple[str, Action]] = ()
    others: tuple[str, ...] = ()
    ends: frozenset[str] = ENDED | {"held"}
    entry: Mapping[str, Any] = field(default_factory=dict)
    due: float = 1.0


@dataclass(slots=True)
class ScriptedFaults:
    """The faults of a scenario, in place of the simulator's rules."""

    waiting: dict[tuple[str, str], deque[tuple[Fault, ...]]] = field(
        default_factory=lambda: defaultdict(deque)
    )

    def load(self, scenario: PostCourse) -> None:
        for sort in ("creations", "reads", "deletions"):
            self.waiting[identity_of(scenario.account), sort] = deque(
                getattr(scenario, sort)
            )

    def collect_faults(
        self, _platform: str, account: str, endpoint: str
    ) -> tuple[Fault, ...]:
        is_creation = endpoint in CREATING or endpoint == "/c/c/post/add_pc"
        sort = (
            "creations"
            if is_creation
            else "reads"
            if endpoint in LISTING
            else "deletions"
        )
        waiting = self.waiting[account, sort]
        return waiting.popleft() if waiting else ()


def _command(name: str) -> Action:
    """Have a person give a command about the post."""
    return lambda simulation, post, _account: simulation.run_command(
        getattr(simulation, name)(post)
    )


def _event(name: str, *facts: object) -> Action:
    """Let something happen to all accounts."""
    return lambda simulation, _post, _account: getattr(simulation, name)(*facts)


def _kill_at(failpoint: str, times: int = 1) -> Action:
    def action(simulation: Simulation, *_whose: str) -> None:
        for number in range(1, times + 1):
            simulation.crash_plan.at_failpoints[failpoint] = 1
            simulation.pass_until(
                lambda number=number: simulation.crashes[failpoint] == number, 60
            )

    return action


def _resume(simulation: Simulation, *_whose: str) -> None:
    simulation.resume_all()


def _pause(simulation: Simulation, post: str, _account: str) -> None:
    simulation.run_command(simulation.pause(f"post:{post}"))
    simulation.pass_time(6)
    _resume(simulation)


def _resolve(resolution: Resolution) -> Action:
    def action(simulation: Simulation, post: str, account: str) -> None:
        _resume(simulation)
        number = _delivery(simulation, post, account)["id"]
        simulation.run_command(simulation.resolve(number, resolution))

    return action


def _resend(simulation: Simulation, post: str, account: str) -> None:
    number = _delivery(simulation, post, account)["id"]
    simulation.run_command(simulation.resend(number))
    simulation.approve_all()


def _edit(simulation: Simulation, post: str, _account: str, **changes: Any) -> None:
    simulation.edit(
        post,
        **changes or {"title": f"{simulation.workspace.entries[post].title}（改）"},
    )
    simulation.pass_time(4)  # a file that was saved in two steps is whole by then
    simulation.run_command(simulation.reload())
    simulation.approve_all()


def _leave_out(simulation: Simulation, post: str, account: str) -> None:
    """Take the account out of the post, and add another one too late: it gets nothing."""
    _edit(simulation, post, account, accounts=("wechat-a",))


def _post_alike(simulation: Simulation, post: str, account: str) -> None:
    """Somebody posts the same text without its marker."""
    frozen = "SELECT body FROM rendered_post WHERE fingerprint = ?"
    body = json.loads(
        simulation.rows(frozen, _delivery(simulation, post, account)["rendered_hash"])[
            0
        ]["body"]
    )
    text = body["text"].replace(body["marker"]["code"], "")
    simulation.platforms.post_by_hand(
        platform_of(account), identity_of(account), "", text
    )


def _remove(simulation: Simulation, post: str, account: str) -> None:
    """Let the platform remove the post of a delivery."""
    for copy in simulation.copies(_delivery(simulation, post, account)):
        simulation.platforms.state.remove_post(copy, "platform")


def _remove_watched(simulation: Simulation, post: str, account: str) -> None:
    """The same, until the monitor has seen it twice, hours later."""
    _remove(simulation, post, account)
    while _delivery(simulation, post, account)["state"] != "removed":
        simulation.pass_time(60, pace=FAST)
    simulation.kill()  # the next daemon begins at this pace


def _boot_ahead(simulation: Simulation, *_whose: str) -> None:
    """The host starts with a clock that is hours ahead, and is set right after a while."""
    simulation.boot(CLOCK_AHEAD)
    simulation.pass_time(20)
    simulation.set_clock(0.0)


EARLIER = "earlier"
"""The post that ended before the run."""
SHARED: Mapping[str, PostCourse] = {
    EARLIER: PostCourse(actions=[("pending", _command("cancel"))], due=60.0),
    "plain": PostCourse(others=("tieba-a", "wechat-a", "weibo-b")),
    "poison": PostCourse(
        actions=[("pending", _kill_at("claim.after_commit", times=2))]
    ),
    "found-after-death": PostCourse(
        actions=[("pending", _kill_at("outcome.before_commit"))]
    ),
    "not-sent": PostCourse(actions=[("pending", _event("disconnect", "refused", 6.0))]),
    "edited": PostCourse(
        creations=[(TOO_MANY,)], others=("weibo-b",), actions=[("retrying", _edit)]
    ),
    "expired": PostCourse(
        actions=[("pending", _event("stop_for", 60.0))],
        entry={"expires": 20.0},
        due=10.0,
    ),
    "missed": PostCourse(
        actions=[("pending", _event("stop_for", 150.0))],
        entry={"cron": "*/1 * * * *", "until": 150.0},
    ),
    "clock-ahead": PostCourse(
        account="weibo-b", creations=[(MADE, LATE)], actions=[("unknown", _boot_ahead)]
    ),
}
"""Scenarios that concern all accounts, played one after the other."""
SEPARATE: Mapping[str, PostCourse] = {
    "busy": PostCourse(
        account="weibo-b", creations=[({"kind": "api_error", "code": BUSY["weibo"]},)]
    ),
    "rewritten": PostCourse(creations=[({"kind": "rewrite", "how": "punctuation"},)]),
    "rate-limited": PostCourse(account="weibo-b", creations=[(TOO_MANY,)]),
    "credential-expired": PostCourse(creations=[(EXPIRED,)]),
    "found": PostCourse(creations=[(MADE, LATE)], reads=[(TOO_MANY,), (LOST,)]),
    "absent": PostCourse(account="weibo-b", creations=[(LOST,)]),
    "absent-twice": PostCourse(creations=[(LOST,), (LOST,)]),
    "refused": PostCourse(
        account="weibo-b", creations=[({"kind": "api_error", "code": 20020},)]
    ),
    "refused-by-review": PostCourse(
        account="wechat-a",
        creations=[({"kind": "review", "seconds": 6, "verdict": "refuse"},)],
    ),
    "blocked": PostCourse(
        creations=[({"kind": "captcha"},)],
        actions=[("held", _resolve(Resolution.RESEND))],
    ),
    "signed-out": PostCourse(
        account="weibo-b",
        creations=[(EXPIRED,), (EXPIRED,)],
        actions=[("held", _resume)],
    ),
    **{
        f"alike-{resolution}": PostCourse(
            account="weibo-b",
            creations=[(LOST,)],
            actions=[("unknown", _post_alike), ("held", _resolve(resolution))],
        )
        for resolution in (
            Resolution.RESEND,
            Resolution.NOT_PUBLISHED,
            Resolution.CANCEL,
        )
    },
    "cancelled": PostCourse(actions=[("pending", _command("cancel"))], due=60.0),
    "retracted": PostCourse(
        deletions=[({"kind": "api_error", "code": 20112},)],
        actions=[("published", _command("retract"))],
    ),
    "retracted-unknown": PostCourse(
        account="weibo-b",
        creations=[(MADE,)],
        actions=[("unknown", _command("retract"))],
    ),
    "removed-unknown": PostCourse(
        creations=[(MADE,)],
        reads=[(EXCERPT,)],
        actions=[("held", _remove), ("held", _resolve(Resolution.RESEND))],
    ),
    "mass-sent": PostCourse(
        account="wechat-a", creations=[(EXPIRED,)], entry={"urgent": True}
    ),
    "paused": PostCourse(actions=[("pending", _pause)]),
    "sent-now": PostCourse(
        account="tieba-a", actions=[("pending", _command("send"))], due=20 * HOUR
    ),
    "revised": PostCourse(account="tieba-a", actions=[("pending", _edit)], due=20.0),
    "parts": PostCourse(
        account="tieba-a",
        creations=[
            (MADE, LATE),
            (MADE, LATE),
            ({"kind": "api_error", "code": 2230204},),
        ],
        entry={"body": LONG_TEXT},
    ),
    "part-absent": PostCourse(
        account="tieba-a", creations=[(), (LOST,)], entry={"body": LONG_TEXT}
    ),
    "edited-unknown": PostCourse(
        creations=[(LOST,)],
        actions=[("unknown", _edit), ("held", _resolve(Resolution.RESEND))],
    ),
    "left-out": PostCourse(
        account="weibo-b", creations=[(LOST,)], actions=[("unknown", _leave_out)]
    ),
    "later": PostCourse(account="tieba-a", due=20 * HOUR, ends=frozenset({"pending"})),
}
"""Scenarios that concern one account, played beside the ones of other accounts."""
WATCHED: Mapping[str, PostCourse] = {
    "removed": PostCourse(
        actions=[("published", _remove_watched), ("removed", _resend)]
    ),
}
"""Scenarios that take hours, played at last."""


def simulate() -> SampleRun:
    """Play all scenarios, and return the artefacts of the run."""
    shape = Shape(
        accounts=ACCOUNTS, storm=0.0, pace=PACE, waits=WAITS, needs_approval=True
    )
    with Patch() as patch, opened("sample", shape, []) as simulation:
        patch.put(patched_runtime, "JOB_TIMES", {**JOB_TIMES, "monitor": (30.0, 0.5)})
        faults = ScriptedFaults()
        simulation.platforms.state.fault_rules = faults
        simulation.pass_time(35)
        _play_all(simulation, faults, SHARED)
        simulation.past = range(1, 2)
        simulation.remember_past()
        of_accounts = (
            {name: one for name, one in SEPARATE.items() if one.account == name_}
            for name_ in ACCOUNTS
        )
        _play_all(simulation, faults, *of_accounts)
        for account in ACCOUNTS:
            simulation.platforms.post_by_hand(
                platform_of(account), identity_of(account), "门卫值班表", "门卫值班表"
            )
        _play_all(simulation, faults, WATCHED)
        simulation.calm_since = simulation.now
        simulation.pass_time(60)
        return _complete(artefacts_of(simulation), simulation)


def _play_all(
    simulation: Simulation, faults: ScriptedFaults, *queues: Mapping[str, PostCourse]
) -> None:
    """Play the scenarios of each queue one after the other, and the queues beside each other."""
    playing = [_play(simulation, faults, queue) for queue in queues]
    while playing:
        simulation.pass_time(1.0)
        playing = [one for one in playing if next(one, False)]


def _play(
    simulation: Simulation, faults: ScriptedFaults, scenarios: Mapping[str, PostCourse]
) -> Iterator[bool]:
    """Play scenarios; yield True as long as something has yet to come."""
    for name, scenario in scenarios.items():
        faults.load(scenario)
        _add_post(simulation, name, scenario)
        for states, action in [
            *(({state}, action) for state, action in scenario.actions),
            (scenario.ends, None),
        ]:
            latest = simulation.loop.time() + LONGEST
            while (
                state := _delivery(simulation, name, scenario.account)["state"]
            ) not in states:
                assert simulation.loop.time() < latest, (
                    f"{name} is {state}, not {states}"
                )
                yield True
            if action is not None:
                action(simulation, name, scenario.account)


def _add_post(simulation: Simulation, name: str, scenario: PostCourse) -> None:
    due = simulation.now + scenario.due
    entry = SchedulePost(
        id=name,
        title=f"警惕诈骗第{len(simulation.workspace.every):02d}期",
        accounts=(scenario.account, *scenario.others),
        at=None if "cron" in scenario.entry else instant(due),
        **{
            key: instant(due + value) if isinstance(value, float) else value
            for key, value in scenario.entry.items()
        },
    )
    simulation.workspace.add(entry)
    simulation.workspace.write(instant(simulation.now))
    simulation.run_command(simulation.reload())
    simulation.approve_all()


def _delivery(simulation: Simulation, post: str, account: str) -> Any:
    return simulation.rows(
        "SELECT * FROM delivery WHERE post = ? AND account = ? ORDER BY id",
        post,
        account,
    )[-1]


def _complete(run: Artefacts, simulation: Simulation) -> SampleRun:
    """Add artefacts of other runs: measurements, connections, status pages, and a second run."""
    rows, plan = run.rows or {}, run.documents["plan"]
    plan["clocks"] = [
        {"from": begins, "to": ends, "ahead": ahead}
        for (begins, ahead), (ends, _ahead) in pairwise(simulation.clocks)
        if ahead
    ]
    run.documents["settings"] |= {
        "clock_error": 0,
        "retry_after": RETRY_AFTER,
        "bounds": {"rss": 100_000},
    }
    run.documents["status"] = [
        {name: row[name] for name in ("post", "occurrence", "account", "state")}
        for row in rows["delivery"]
        if row["post"] != EARLIER
    ]
    run.lists |= {
        "timings": [
            {"delay": number / 20, "during_fault": number % 2 == 0}
            for number in range(20)
        ],
        "metrics": [{"rss": 50_000}],
        "connections": [{"host": "127.0.0.1", "port": 8710}],
        "anchors": [
            value
            for _line, value in whole_lines(
                simulation.workspace.folder / "var" / "audit-anchors.log"
            )
        ],
    }
    return SampleRun(
        lists=run.lists,
        documents=run.documents,
        rows=rows,
        journals=run.journals,
        leaks=[],
        replay=deepcopy(run),
    )
