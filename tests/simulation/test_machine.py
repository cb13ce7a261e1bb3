"""The same simulation, driven step by step by Hypothesis.

It looks for the shortest story that breaks a promise.
"""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from publisher.simulator.faults import REWRITES
from tests.simulation.artefacts import violations
from tests.simulation.platforms import LAG, LATE
from tests.simulation.scenarios import TITLES, remove_something
from tests.simulation.simulation import CRASH_FAILPOINTS, Shape, opened
from tests.simulation.workspace import (
    IDENTITIES,
    SchedulePost,
    identity_of,
    instant,
    platform_of,
)

ACCOUNTS = st.sampled_from(sorted(IDENTITIES))
MOST_POSTS = 4
KINDS = st.sampled_from([
    {"kind": "drop_after"},
    {"kind": "drop_before"},
    {"kind": "act_late", "seconds": LATE},
    {"kind": "delay", "seconds": LATE, "when": "before"},
    {"kind": "delay", "seconds": LATE},
    {"kind": "status", "code": 502, "acts": True},
    {"kind": "status", "code": 429, "headers": {"Retry-After": "20"}},
    {"kind": "no_id"},
    {"kind": "expire_token"},
    {"kind": "captcha"},
    {"kind": "wrong_account"},
    {"kind": "list_late", "seconds": LAG},
    {"kind": "review", "seconds": LATE, "verdict": "refuse"},
    *({"kind": "rewrite", "how": how} for how in sorted(REWRITES)),
])  # fmt: skip


class Newsroom(RuleBasedStateMachine):
    """Staff, platforms and a daemon that dies.

    At the end it grows calm and every promise is checked.
    """

    @initialize(
        accounts=st.lists(ACCOUNTS, min_size=1, max_size=2, unique=True),
        seed=st.integers(0, 2**16),
    )
    def begin(self, accounts, seed):
        self.accounts = tuple(sorted(accounts))
        self.begun = opened(
            f"machine-{seed}",
            Shape(accounts=self.accounts, storm=0.0, pace=4.0, create=0.0),
            [],
        )
        self.simulation = self.begun.__enter__()
        # people take part: not everything need end as published
        self.simulation.shape.command_times = [0.0]
        self.add(after=5, urgent=False)

    @precondition(lambda self: len(self.simulation.workspace.every) < MOST_POSTS)
    @rule(after=st.sampled_from([2, 15, 60]), urgent=st.booleans())
    def add(self, after, urgent):
        number = len(self.simulation.workspace.every) + 1
        due = instant(self.simulation.now) + timedelta(seconds=after)
        entry = SchedulePost(
            id=f"p{number}",
            title=f"{TITLES[0]}第{number:02d}期",
            accounts=self.accounts,
            at=due,
        )
        entry.urgent = urgent
        self.simulation.workspace.add(entry)
        self.simulation.save()

    @rule(seconds=st.sampled_from([1, 5, 20, 70]))
    def pass_time(self, seconds):
        self.simulation.pass_time(seconds)

    @rule()
    def kill(self):
        self.simulation.kill()

    @rule(name=st.sampled_from(CRASH_FAILPOINTS))
    def appoint_a_death(self, name):
        self.simulation.crash_plan.at_failpoints[name] = 1

    @rule(seconds=st.sampled_from([8, 30]))
    def freeze(self, seconds):
        self.simulation.freeze(seconds)

    @rule(fault=KINDS)
    def spoil_the_next_call(self, fault):
        self.simulation.platforms.faults.once.append(fault)

    @rule(chance=st.sampled_from([0.0, 0.6]))
    def spoil_reads(self, chance):
        self.simulation.platforms.faults.read = chance

    @rule(
        scope=st.sampled_from(["all", "platform:weibo", "account:weibo-a", "post:p1"])
    )
    def pause(self, scope):
        self.simulation.run_command(self.simulation.pause(scope))

    @rule()
    def resume(self):
        self.simulation.resume_all()

    @rule(which=st.integers(0, MOST_POSTS))
    def cancel(self, which):
        self.simulation.run_command(self.simulation.cancel(self.post(which)))

    @rule(which=st.integers(0, MOST_POSTS))
    def retract(self, which):
        self.simulation.run_command(self.simulation.retract(self.post(which)))

    @rule()
    def rule_what_is_held(self):
        self.simulation.resolve_held()

    @rule()
    def resend(self):
        ended = (
            "SELECT id FROM delivery WHERE state IN ('failed', 'expired', 'removed')"
            " ORDER BY id LIMIT 1"
        )
        for row in self.simulation.rows(ended):
            self.simulation.run_command(self.simulation.resend(row["id"]))

    @rule(which=st.integers(0, MOST_POSTS))
    def edit(self, which):
        entry = self.simulation.workspace.every[self.post(which)]
        self.simulation.edit(entry.id, title=f"{entry.title}改")

    @rule()
    def post_by_hand(self):
        account = self.accounts[0]
        self.simulation.platforms.post_by_hand(
            platform_of(account), identity_of(account), "今日天气", "晴"
        )

    @rule()
    def remove(self):
        remove_something(self.simulation)

    def post(self, which):
        posts = sorted(self.simulation.workspace.every)
        return posts[which % len(posts)]

    def teardown(self):
        if not hasattr(self, "simulation"):
            return
        try:
            self.simulation.drain()
            found = violations(self.simulation)
        finally:
            self.begun.__exit__(None, None, None)
        assert not found, found


TestNewsroom = Newsroom.TestCase
"""Nothing that Hypothesis can think of breaks a promise."""
TestNewsroom.pytestmark = [pytest.mark.long]
TestNewsroom.settings = settings(
    max_examples=15,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
