"""Seeded storms in simulated time.

Under the product's rules nothing breaks; with one rule broken, something does.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.artefacts import LISTED, WATCH_EVERY
from tests.chaos.mutants import MODULES
from tests.chaos.mutants import plant as plant_mutant
from tests.simulation.artefacts import violations
from tests.simulation.mutants import MUTANTS, plant
from tests.simulation.platforms import EPOCH
from tests.simulation.run import report
from tests.simulation.scenarios import TITLES, run_seed
from tests.simulation.simulation import Shape, opened
from tests.simulation.special_scenarios import STORMS, run_storm
from tests.simulation.workspace import SchedulePost, identity_of, instant, platform_of

MOST_FOR_A_MUTANT = 12
SEEN_WITHIN = 60.0
"""The checker's maximum seconds from the due time of an account to its read."""
RUN = Path(__file__).with_name("run.py")


def seeds(number, *, extra):
    """Return the seeds from 1 to a number as parameters; scripts/test-extra runs the last ones."""
    first_extra = number - extra + 1
    return [
        pytest.param(seed, marks=pytest.mark.extra if seed >= first_extra else ())
        for seed in range(1, number + 1)
    ]


@pytest.mark.long
@pytest.mark.parametrize("seed", seeds(36, extra=24))
def test_nothing_breaks_in_a_storm(seed):
    """No storm breaks I1-I4, I6-I10, I12-I18, I21 or I22.

    It has deaths, lost replies, late posts, bad reads, and people.
    """
    verdict = run_seed(str(seed))
    assert not verdict.violations, report(verdict)


@pytest.mark.long
@pytest.mark.parametrize("seed", seeds(2, extra=1))
@pytest.mark.parametrize(
    "storm",
    [
        pytest.param(storm, marks=pytest.mark.extra if storm == "past" else ())
        for storm in STORMS
    ],
)
def test_nothing_breaks_in_a_storm_of_one_kind(storm, seed):
    """A storm of one kind breaks no promise.

    The kinds are edits in doubt, slow turns, outages, short lists, repeats, wrong clocks, and a
    long past.
    """
    verdict = run_storm(storm, seed)
    assert not verdict.violations, report(verdict)


@pytest.mark.long
@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_found(name):
    """With one rule broken, a seed breaks a promise that the rule keeps, and names its replay."""
    mutant = MUTANTS[name]
    for seed in dict.fromkeys((mutant.seed, *range(1, MOST_FOR_A_MUTANT + 1))):
        with plant(name):
            verdict = (
                run_storm(mutant.storm, seed) if mutant.storm else run_seed(str(seed))
            )
        if mutant.promises & {found.partition(":")[0] for found in verdict.violations}:
            kind = f"--storm {mutant.storm} " if mutant.storm else ""
            assert (
                f"replay: .venv/bin/python tests/simulation/run.py {kind}--seed {seed}"
                in report(verdict)
            )
            return
    pytest.fail(
        f"{name} was not noticed by seed {mutant.seed}, nor by the first {MOST_FOR_A_MUTANT}"
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("account", "made"),
    [
        pytest.param("wechat-a", 1, id="one"),
        pytest.param("weibo-a", LISTED["weibo"] + 1, id="one more than a list shows"),
    ],
)
def test_i11_posts_by_hand_are_seen_in_time_at_a_slow_pace(account, made):
    """The monitor keeps I11 at a slow pace: posts by hand are seen in time.

    It is not slowed down so far that a sound program reads an account later than I11 allows.
    """
    shape = Shape(accounts=(account,), storm=60.0, pace=1.0, command_times=[60.0])
    entry = SchedulePost(
        id="p1",
        title=f"{TITLES[0]}第1期",
        accounts=shape.accounts,
        at=instant(EPOCH + 20),
    )
    with opened("by hand", shape, [entry]) as simulation:
        simulation.pass_time(60)
        for _ in range(made):
            simulation.platforms.post_by_hand(
                platform_of(account), identity_of(account), "今日天气", "晴"
            )
        simulation.pass_time(WATCH_EVERY + SEEN_WITHIN, pace=50.0)
        seen = simulation.rows(
            "SELECT remote_id FROM observed_post WHERE NOT predates_monitoring"
        )
        found = violations(simulation)
    assert (len(seen), found) == (min(made, LISTED[platform_of(account)]), [])


def calm_run():
    """Run a time without faults.

    Return the published posts with their words, and the alerts.
    """
    shape = Shape(accounts=("tieba-a", "wechat-a", "weibo-a", "weibo-b"), storm=90.0)
    due = instant(EPOCH + 20)
    entries = [
        SchedulePost(
            id=f"p{n}", title=f"{TITLES[n]}第{n}期", accounts=shape.accounts, at=due
        )
        for n in range(3)
    ]
    with opened("calm", shape, entries) as simulation:
        simulation.pass_time(shape.storm)
        simulation.drain()
        states = Counter(row["state"] for row in simulation.deliveries())
        words = sorted(
            (post["account"], post["title"], post["text"])
            for post in simulation.platforms.posts()
        )
        return (
            states,
            words,
            [
                row["code"]
                for row in simulation.rows("SELECT code FROM alert ORDER BY id")
            ],
        )


@pytest.fixture(scope="module")
def calm():
    """Return the result of a calm run of a sound program.

    Everything is published, without any alert.
    """
    states, words, alerts = calm_run()
    assert (states, alerts) == ({"published": 12}, [])
    return states, words, alerts


@pytest.mark.parametrize("name", MODULES)
def test_every_mutant_of_the_campaign_fits_the_program(name):
    """Every mutant replaces what is there, by a function that is called in the same way."""
    with plant_mutant(name):
        pass


@pytest.mark.long
@pytest.mark.parametrize("name", MODULES)
def test_no_mutant_of_the_campaign_shows_without_faults(calm, name):
    """Every mutant publishes the same posts in the same words, without an alert.

    It takes a fault to notice one.
    """
    with plant_mutant(name):
        assert calm_run() == calm


@pytest.mark.long
@pytest.mark.parametrize(
    "storm", [None, pytest.param("lists", marks=pytest.mark.extra)]
)
def test_one_seed_gives_one_history(storm):
    """One seed gives one history, byte for byte, in another process too (I25).

    The history is the platforms' log and the whole audit.
    """

    def digest(hashing):
        command = [
            sys.executable,
            str(RUN),
            "--seed",
            "7",
            "--digest",
            *(("--storm", storm) if storm else ()),
        ]
        done = subprocess.run(
            command,
            env={"PYTHONHASHSEED": hashing},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr[-2000:]
        return done.stdout.splitlines()[1]

    def here():
        return (run_storm(storm, 7) if storm else run_seed("7")).digest

    assert here() == here() == digest("1") == digest("2")
