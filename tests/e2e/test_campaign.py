"""The campaign's own code: what it draws follows from the seed, and its judge reports everything unexplained."""

import subprocess
import sys
from importlib import import_module
from random import Random

import pytest

from publisher.simulator.faults import FAULT_KINDS

pytestmark = pytest.mark.smoke

DUTY = ("post-0001", "weibo-01")
SHARE = "/2/statuses/share.json"


def dice(seed):
    return Random(seed)  # noqa: S311 # repeatable on purpose


@pytest.fixture
def chaos():
    """Return a function that returns what a module of the campaign defines."""
    return lambda name: vars(import_module(f"tests.chaos.{name}"))


def test_a_campaign_knows_every_kind_of_fault_that_the_simulator_has(chaos):
    """No kind of the simulator's faults is left out, and the same seed draws the same rules."""
    rules = chaos("faults")["rules"]
    drawn = list(rules(dice(1), 0.05, 1000))
    assert {rule["fault"]["kind"] for rule in drawn} == FAULT_KINDS
    assert drawn == list(rules(dice(1), 0.05, 1000))
    assert drawn != list(rules(dice(2), 0.05, 1000))


def test_delays_of_a_campaign_end_before_the_visibility_window(chaos):
    """A delayed effect plus a delayed list stay within the drill's visibility window, or doubles would be our fault."""
    troubles = chaos("faults")
    assert 'visibility_window = "4s"' in chaos("workspace")["LIMITS"]
    assert troubles["ACT_LATE"] + troubles["LIST_LATE"] < 4


@pytest.mark.parametrize("is_brief", [True, False])
def test_deaths_sleeps_and_full_disks_follow_from_the_seed(chaos, is_brief):
    """The same seed draws the same runs; a long run has kills, sleeps longer than a lease, and full disks."""
    kills = chaos("kill_plan")
    decks = [kills["Deck"](dice(7), is_brief=is_brief) for _ in range(2)]
    first, second = ([deck.deal() for _ in range(300)] for deck in decks)
    assert list(map(str, first)) == list(map(str, second))
    assert {kill.deed for kill in first} == {"clock", "freeze", "full", "kill"}
    assert max(kill.lasts for kill in first) > 2


def judged(chaos, *, log, row, believed=(), only_once=frozenset()):
    """Judge one duty without a copy, given the log and what the status says."""
    judge = chaos("judge")
    task = judge["Task"](wanted={DUTY: "published"}, identities={"weibo-01": "140"}, only_once=only_once)
    shown = {"post": "post-0001", "occurrence": "once", "account": "weibo-01", "remote_id": None, **row}
    return judge["judge"](task, log, [], [shown], heard=[("140", 10.1)], believed=believed)


def call(t, fault=None, kind="recv", status=None):
    return {
        "seq": 1,
        "t": t,
        "kind": kind,
        "account": "140",
        "endpoint": SHARE,
        "post_id": None,
        "fault": fault,
        "status": status,
    }


@pytest.mark.parametrize(
    ("state", "reason", "fault"),
    [
        ("held", "captcha", "captcha"),
        ("held", "auth", "expire_token"),
        ("held", "not_published", "duplicate"),
        ("failed", "weibo_20020", "api_error"),
    ],
)
def test_what_a_platform_stops_is_excused_only_where_it_did(chaos, state, reason, fault):
    """A hold or a rejection is no loss where its fault hit the account, and is one anywhere else."""
    row = {"state": state, "reason": reason}
    assert judged(chaos, log=[call(1, fault)], row=row).violations == []
    assert judged(chaos, log=[call(1, "drop_before")], row=row).lost


def test_an_absence_is_held_without_a_fault_only_where_no_other_call_is_allowed(chaos):
    """On a platform that allows a second call, a daemon that makes none has lost the post."""
    row = {"state": "held", "reason": "not_published"}
    assert judged(chaos, log=[], row=row).lost
    assert judged(chaos, log=[], row=row, only_once={"weibo-01"}).violations == []


@pytest.mark.parametrize(("after", "is_early"), [(2.0, True), (3.2, False)])
def test_a_call_within_the_wait_that_a_429_asked_for_is_seen(chaos, after, is_early):
    """The next creating call of an account that got a Retry-After comes after the wait (F26)."""
    log = [call(10, kind="reply", status=429), call(10 + after)]
    row = {"state": "held", "reason": "not_published"}
    assert bool(judged(chaos, log=log, row=row).early) is is_early


@pytest.mark.parametrize(("outcome", "is_wrong"), [("published", True), ("blocked", False)])
def test_an_answer_in_another_accounts_name_must_not_be_believed(chaos, outcome, is_wrong):
    """The last call before an answer that named another account must not count as published (F38)."""
    log = [call(4.9), call(5, "list_late+wrong_account", "reply", 200)]
    row = {"state": "held", "reason": "not_published"}
    calls = [("140", 3.9, "published"), ("140", 4.8, outcome), ("140", 5.2, "published")]
    assert bool(judged(chaos, log=log, row=row, believed=calls).wrong) is is_wrong


def test_a_recorded_run_replaces_its_own_line_and_no_other(chaos, tmp_path, monkeypatch):
    """The page keeps the text around the table, and one line for each run."""
    figures = chaos("metrics")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{figures['BEGIN']}\n{figures['END']}\nafter\n", "utf-8")
    for run, seconds in (("one", "1"), ("two", "2"), ("one", "3")):
        figures["record"](page, dict.fromkeys(figures["COLUMNS"], "") | {"run": run, "seconds": seconds})
    lines = page.read_text("utf-8").splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| ")] == ["run", "---", "two", "one"]


@pytest.mark.parametrize("words", [("--bug", "none"), ("--seeds", "few")])
def test_a_bug_that_nobody_planted_cannot_be_run(words):
    """An unknown name ends with 2 before anything is started."""
    command = [sys.executable, "-m", "tests.chaos.campaign", *words]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
