"""A short kill campaign, a planted bug that a campaign must catch, and a judge that must report violations."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import judge

ROOT = Path(__file__).parents[2]


def campaign(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.chaos.campaign", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def judged(folder: Path, *options: str) -> dict[str, dict[str, object]]:
    """Run a campaign that must succeed, judge its folder, and return the result of each invariant."""
    done = campaign("--artefacts", str(folder), *options)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    command = [sys.executable, "-m", "tests.chaos.checker", str(folder), "--json"]
    verdict = subprocess.run(command, capture_output=True, check=False, cwd=ROOT)
    assert verdict.returncode in {0, 1}, verdict.stderr
    return {one["id"]: one for one in json.loads(verdict.stdout)["invariants"]}


def test_every_post_goes_out_once_though_the_daemon_dies_again_and_again(tmp_path):
    """A daemon killed eight times while replies get lost makes no post twice and loses none (F13, F24).

    The log, the database, the journal and the audit agree (I1-I4, I6-I19, I21, I22).
    """
    found = judged(tmp_path / "run", "--seed", "3", "--deliveries", "60", "--kills", "8", "--lost", "0.1")
    assert {name: one["violations"] for name, one in found.items() if one["verdict"] == "violated"} == {}


def test_a_campaign_catches_a_daemon_that_writes_its_intents_too_late(tmp_path):
    """A daemon that writes its intent after the call makes posts twice, and a small campaign detects it (I1, I3)."""
    small = ("--seed", "3", "--deliveries", "40", "--kills", "8", "--at", "http.after_reply")
    found = judged(tmp_path / "run", *small, "--bug", "intent_after_call", "--expect-violation")
    assert found["I1"]["violations"]
    assert found["I3"]["violations"]


@pytest.mark.parametrize("options", [("--workers", "2"), ("--bug", "none"), ("--kills", "few")])
@pytest.mark.smoke
def test_a_campaign_that_cannot_be_run_says_so(options):
    """What is not available, or no option at all, ends with 2 before anything is started."""
    assert campaign(*options).returncode == 2


JUDGE = vars(judge)
TITLE = "警惕“退款客服”诈骗第0001期"
DUTY = ("post-0001", "weibo-01")


def verdict(*, made, state="published", reason=None, claimed="1", account="weibo-01", fault=None):
    """Judge one duty, given the ids of the posts on its account and its line in the status."""
    task = JUDGE["Task"](wanted={DUTY: "published"}, identities={"weibo-01": "140", "weibo-02": "141"})
    posts = [{"id": name, "account": "140", "title": "", "text": TITLE, "removed": False} for name in made]
    log = [{"kind": "act", "endpoint": "/2/statuses/share.json", "post_id": name} for name in made]
    log.append({"kind": "recv", "t": 1.0, "account": "140", "endpoint": "/2/statuses/share.json", "fault": fault})
    row = {
        "post": "post-0001",
        "occurrence": "once",
        "account": account,
        "state": state,
        "reason": reason,
        "remote_id": claimed,
    }
    return JUDGE["judge"](task, log, posts, [row])


@pytest.mark.smoke
def test_the_judge_finds_nothing_wrong_with_one_copy_where_it_should_be():
    """One post, created once, published under its own id, is no violation; an expected hold is only counted."""
    assert verdict(made=["1"]).violations == []
    held = verdict(made=[], state="held", reason="not_published_twice", claimed=None)
    assert (held.violations, dict(held.held)) == ([], {"not_published_twice": 1})


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("doubles", {"made": ["1", "2"]}),
        ("lost", {"made": [], "account": "weibo-02"}),
        ("lost", {"made": ["1"], "state": "failed", "reason": "code"}),
        ("lost", {"made": ["1"], "state": "failed", "reason": "weibo_20020", "fault": "api_error"}),
        ("lost", {"made": ["1"], "state": "unknown", "reason": "timeout", "claimed": None}),
        ("lost", {"made": [], "state": "held", "reason": "possible_match", "claimed": None}),
        ("wrong", {"made": ["1"], "state": "held", "reason": "not_published_twice", "claimed": None}),
        ("wrong", {"made": ["1"], "claimed": "2"}),
        ("wrong", {"made": []}),
    ],
)
@pytest.mark.smoke
def test_the_judge_reports_violations(kind, found):
    """A doubled, a missing, an unfinished, a wrongly held and a wrongly reported post each are a violation."""
    assert getattr(verdict(**found), kind)
