"""The campaign's own code.

Its draws follow from the seed, and it reports every hold that nothing explains.
"""

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
    """Return a function that gives the definitions of a module of the campaign."""
    return lambda name: vars(import_module(f"tests.chaos.{name}"))


def test_a_campaign_knows_every_kind_of_fault_that_the_simulator_has(chaos):
    """No kind of the simulator's faults is left out, and the same seed draws the same rules."""
    rules = chaos("faults")["rules"]
    drawn = list(rules(dice(1), 0.05, 1000))
    assert {rule["fault"]["kind"] for rule in drawn} == FAULT_KINDS
    assert drawn == list(rules(dice(1), 0.05, 1000))
    assert drawn != list(rules(dice(2), 0.05, 1000))


def test_delays_of_a_campaign_end_before_the_visibility_window(chaos):
    """An act and a listing that are late together stay within the drill's declaration.

    Otherwise doubles would be our fault.
    """
    troubles = chaos("faults")
    assert 'visibility_window = "4s"' in chaos("workspace")["LIMITS"]
    assert troubles["ACT_LATE"] + troubles["LIST_LATE"] < 4


@pytest.mark.parametrize("is_brief", [True, False])
def test_deaths_sleeps_and_full_disks_follow_from_the_seed(chaos, is_brief):
    """The same seed deals the same lives.

    A long deck holds kills, sleeps longer than a lease, and full disks.
    """
    kills = chaos("kill_plan")
    decks = [kills["Deck"](dice(7), is_brief=is_brief) for _ in range(2)]
    first, second = ([deck.deal() for _ in range(300)] for deck in decks)
    assert list(map(str, first)) == list(map(str, second))
    assert {kill.deed for kill in first} == {"clock", "freeze", "full", "kill"}
    assert max(kill.lasts for kill in first) > 2


def lives(kills, seed, reaches):
    """Deal lives as a campaign does, until each required failpoint has struck.

    Return the points in their order.
    """
    deck = kills["Deck"](dice(seed), required=tuple(kills["COMMON_POINTS"]))
    dealt = []
    while deck.owes and len(dealt) < 100:
        kill = deck.deal(situations=["unknown", "submitted", "wechat_due"])
        dealt.append(kill.point)
        deck.note_end(kill, is_reached=kill.point is not None and reaches(kill, dealt))
    return dealt


def test_each_required_failpoint_is_aimed_at_until_it_has_struck(chaos):
    """Required failpoints strike within some thirty lives.

    A failpoint that was not reached is dealt again, earlier.
    """
    kills = chaos("kill_plan")
    for seed in range(1, 20):
        dealt = lives(kills, seed, lambda _kill, _dealt: True)
        assert set(kills["COMMON_POINTS"]) <= set(dealt)
        assert len(dealt) < 40
    missed = lives(
        kills,
        7,
        lambda kill, dealt: (
            kill.point != "media.after_upload" or dealt.count(kill.point) > 2
        ),
    )
    assert missed.count("media.after_upload") == 3


def test_a_failpoint_waits_for_its_situation(chaos):
    """Where no outcome is unknown no failpoint of reading is dealt, as long as others are left."""
    kills = chaos("kill_plan")
    deck = kills["Deck"](dice(1), required=("reconcile.after_read", "http.after_body"))
    first = next(kill for kill in iter(deck.deal, None) if kill.point in deck.required)
    assert first.point == "http.after_body"


def unexpected(chaos, *, log, row, only_once=frozenset()):
    """Return the unexpected findings of a campaign of one duty, from the log and status."""
    expectations = chaos("expectations")
    task = expectations["Task"](
        wanted={DUTY: "published"}, identities={"weibo-01": "140"}, only_once=only_once
    )
    shown = {
        "post": "post-0001",
        "occurrence": "once",
        "account": "weibo-01",
        "remote_id": None,
        **row,
    }
    return [*expectations["Expectations"](task).findings(log, [shown])]


def call(t, fault):
    return {
        "seq": 1,
        "t": t,
        "kind": "recv",
        "account": "140",
        "endpoint": SHARE,
        "post_id": None,
        "fault": fault,
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
def test_what_a_platform_stops_is_excused_only_where_it_did(
    chaos, state, reason, fault
):
    """A hold or a refusal is no loss where its fault struck the account.

    It is a loss anywhere else.
    """
    row = {"state": state, "reason": reason, "attempts": 1}
    assert unexpected(chaos, log=[call(1, fault)], row=row) == []
    assert [
        one.invariant
        for one in unexpected(chaos, log=[call(1, "drop_before")], row=row)
    ] == ["I9"]


@pytest.mark.parametrize(
    ("reason", "fault"), [("code", "api_error"), ("weibo_20020", "drop_before")]
)
def test_a_refusal_needs_a_code_that_refuses_and_a_fault_that_refused(
    chaos, reason, fault
):
    """Another code, or a fault of another kind, has lost the post."""
    row = {"state": "failed", "reason": reason}
    assert [
        one.invariant for one in unexpected(chaos, log=[call(1, fault)], row=row)
    ] == ["I9"]


def test_a_fault_explains_one_hold_and_no_more(chaos):
    """A hold by a captcha uses up the captcha that it had."""
    expectations = chaos("expectations")
    other = ("post-0002", "weibo-01")
    task = expectations["Task"](
        wanted={DUTY: "published", other: "published"}, identities={"weibo-01": "140"}
    )
    rows = [
        {"post": post, "account": account, "state": "held", "reason": "captcha"}
        for post, account in (DUTY, other)
    ]
    expected = expectations["Expectations"](task)
    assert len([*expected.findings([call(1, "captcha")], rows)]) == 1
    assert dict(expected.held) == {"captcha": 2}


def test_an_absence_is_held_without_a_fault_only_where_no_other_call_is_allowed(chaos):
    """On a platform that allows a second call, a daemon that makes none has lost the post."""
    row = {"state": "held", "reason": "not_published", "attempts": 1}
    assert unexpected(chaos, log=[], row=row)
    assert unexpected(chaos, log=[], row=row, only_once={"weibo-01"}) == []
    assert unexpected(chaos, log=[], row=row | {"attempts": 2}) == []


def test_a_recorded_run_replaces_its_own_line_and_no_other(
    chaos, tmp_path, monkeypatch
):
    """A recorded run replaces its own line and no other.

    The page keeps the text around the table, and one line for each run.
    """
    figures = chaos("metrics")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{figures['BEGIN']}\n{figures['END']}\nafter\n", "utf-8")
    for run, seconds in (("one", "1"), ("two", "2"), ("one", "3")):
        figures["record"](
            page,
            dict.fromkeys(figures["COLUMNS"], "") | {"run": run, "seconds": seconds},
        )
    lines = page.read_text("utf-8").splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| ")] == [
        "run",
        "---",
        "two",
        "one",
    ]


@pytest.mark.long
@pytest.mark.parametrize("words", [("--bug", "none"), ("--seeds", "few")])
def test_a_bug_that_nobody_planted_cannot_be_run(words):
    """An unknown name ends with 2 before anything is started."""
    command = [sys.executable, "-m", "tests.chaos.campaign", *words]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
