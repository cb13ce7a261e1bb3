"""Commands take the name of a family for all its members."""

import re

import pytest

from publisher.domain.delivery import State
from tests.cli.conftest import BY, PUBLISHED, make_drill
from tests.cli.posts import in_days, warning, write_schedule
from tests.cli.test_approvals import REASON, add_users, due_in

SHANGHAI = """[post.region.310000]
title = "上海的标题"
"""
MEMBERS = ["refund.110000", "refund.310000"]


@pytest.fixture
def drill(tmp_path):
    """Return a drill workspace of two regions, 北京 and 上海."""
    return make_drill(tmp_path / "drill", "http://127.0.0.1:9", regions=2)


def family(when=None, words=SHANGHAI):
    to = '["beijing-weibo", "shanghai-weibo"]'
    return warning("refund", when or in_days(36), to) + words


@pytest.fixture
def filed(run, drill):
    """Return the drill with a family that is filed and due."""
    write_schedule(drill, family())
    sent = run("-C", drill, "send", "refund", "--by", "王")
    assert sent.code == 0, sent.err
    return drill


def list_states(run, folder, *more):
    deliveries = run("-C", folder, "status", *more, "--all", "--json").json[
        "deliveries"
    ]
    return {one["post"]: one["state"] for one in deliveries}


def test_a_familys_name_means_all_its_members(run, filed, deliver):
    """`status`, `why`, `retract` and `reach` are about each member, by its family's name."""
    assert list_states(run, filed, "refund") == dict.fromkeys(MEMBERS, State.DUE)
    deliver(PUBLISHED)
    why = run("-C", filed, "why", "refund").out
    assert all(f"{post}@" in why for post in MEMBERS)
    assert "refund.110000" not in run("-C", filed, "why", "refund@shanghai-weibo").out
    assert run("-C", filed, "reach", "refund").code == 0
    assert run("-C", filed, "retract", "refund", *BY).code == 0
    assert list_states(run, filed) == dict.fromkeys(MEMBERS, State.RETRACTING)


def test_a_family_is_paused_resumed_and_cancelled_by_its_name(run, filed):
    """A pause is one for all members, and for those to come; the name ends it."""
    assert run("-C", filed, "pause", "refund", "--by", "王").code == 0
    paused = run("-C", filed, "status", "--json").json["paused"]
    assert [one["scope"] for one in paused] == ["post:refund"]
    assert run("-C", filed, "pause", "refund.310000", "--by", "王").code == 0
    assert run("-C", filed, "resume", "refund", "--by", "王").code == 0
    assert run("-C", filed, "status", "--json").json["paused"] == []
    assert run("-C", filed, "cancel", "refund", *BY).code == 0
    assert list_states(run, filed) == dict.fromkeys(MEMBERS, State.CANCELLED)


@pytest.mark.parametrize("is_filed", [False, True])
def test_the_preview_of_a_family_has_the_texts_of_all_regions(run, drill, is_filed):
    """Each region's words are printed; an account chooses its region; the page has all."""
    write_schedule(drill, family())
    if is_filed:
        assert run("-C", drill, "send", "refund", "--by", "王").code == 0
    whole = run("-C", drill, "preview", "refund")
    assert whole.code == 0, whole.err
    assert "上海的标题" in whole.out
    assert whole.out.index("beijing-weibo（") < whole.out.index("shanghai-weibo（")
    found = run("-C", drill, "preview", "refund", "--json").json
    accounts = [one["account"] for one in found["rendered_posts"]]
    assert (found["post"], accounts) == ("refund", ["beijing-weibo", "shanghai-weibo"])
    [only] = run("-C", drill, "preview", "refund@shanghai-weibo", "--json").json[
        "rendered_posts"
    ]
    assert only["title"] == "上海的标题"
    unknown = run("-C", drill, "preview", "refund", "--account", "beijing-tieba")
    assert unknown.code == 4


def test_one_account_of_a_family_is_resolved_and_resent(run, filed, deliver):
    """POST@ACCOUNT finds the member of the account's region."""
    assert run("-C", filed, "cancel", "refund", *BY).code == 0
    answer = run("-C", filed, "resend", "refund@shanghai-weibo", *BY)
    assert (answer.code, "取消" in answer.err) != (4, True), answer.err
    member = run("-C", filed, "status", "refund.310000", "--json").json["deliveries"]
    assert {one["post"] for one in member} == {"refund.310000"}


def test_an_ordinary_post_of_the_same_name_is_meant_too(run, drill):
    """A post that has become a family: its name means the old one and the new ones."""
    write_schedule(drill, warning("refund", due_in(3), '["beijing-weibo"]'))
    assert run("-C", drill, "reload").code == 0
    write_schedule(drill, family(due_in(3)))
    assert run("-C", drill, "reload").code == 0
    assert list(list_states(run, drill, "refund")) == ["refund", *MEMBERS]


@pytest.fixture
def ask(run, drill, monkeypatch):
    """Return a function that gives a command about a family that needs two approvals."""
    settings = drill / "publisher.toml"
    settings.write_text(
        'approval_preset = "two persons"\n' + settings.read_text("utf-8"), "utf-8"
    )
    write_schedule(drill, family(due_in(3)))
    tokens = add_users(drill)

    def run_as(*arguments, by=None):
        monkeypatch.setenv("PUBLISHER_TOKEN", tokens.get(by, ""))
        return run(
            "-C", drill, "--lang", "en", *arguments, *(("--by", by) if by else ())
        )

    assert run_as("reload").code == 0
    return run_as


def find_fingerprint(ask):
    [family] = ask("approvals", "refund", "--json").json["families"]
    assert family["posts"] == MEMBERS
    return family["fingerprint"]


def count_approvals(ask):
    return {
        task["post"]: sum(len(stage["approved_by"]) for stage in task["stages"])
        for task in ask("approvals", "refund", "--json").json["approvals"]
    }


def test_one_yes_approves_a_family(ask):
    """The hash of all members' contents approves all of them; the listing names it."""
    fingerprint = find_fingerprint(ask)
    listed = ask("approvals", "refund").out
    assert f"publisher approve refund --fingerprint {fingerprint[:16]}" in listed
    assert f"regions of refund: {fingerprint}" in ask("preview", "refund", by="li").out
    answer = ask("approve", "refund", "--fingerprint", fingerprint[:16], by="li")
    assert answer.code == 0, answer.err
    assert count_approvals(ask) == dict.fromkeys(MEMBERS, 1)
    assert ask("unapprove", "refund", *REASON, by="he").code == 0
    assert count_approvals(ask) == dict.fromkeys(MEMBERS, 0)


def test_two_officers_release_a_family_by_its_name(ask):
    """One command of each officer releases all members; the approvals follow afterwards."""
    for name in ("zhang", "li"):
        assert ask("duty", "add", name, by="root").code == 0
    seen = find_fingerprint(ask)
    emergency = ("--fingerprint", seen, "--emergency", "--reason", "flood")
    for name in ("li", "zhang"):
        done = ask("approve", "refund", *emergency, by=name)
        assert done.code == 0, done.err
    tasks = ask("approvals", "--json").json["approvals"]
    assert [task["is_emergency"] for task in tasks] == [True, True]


def test_a_family_of_which_one_has_changed_is_not_approved(ask, drill):
    """The yes is refused as a whole, and names the member."""
    fingerprint = find_fingerprint(ask)
    write_schedule(drill, family(due_in(3), SHANGHAI.replace("的标题", "的新标题")))
    assert ask("reload").code == 0
    answer = ask("approve", "refund", "--fingerprint", fingerprint, by="li")
    assert answer.code != 0
    assert "refund." in answer.err
    assert count_approvals(ask) == dict.fromkeys(MEMBERS, 0)


def test_one_region_is_approved_and_stopped_by_its_own_people_alone(ask):
    """A person with a role for one account acts on its member, and is named the others."""
    fingerprint = find_fingerprint(ask)
    answer = ask("approve", "refund", "--fingerprint", fingerprint, by="north")
    assert answer.code != 0
    assert count_approvals(ask) == dict.fromkeys(MEMBERS, 0)
    stopped = ask("cancel", "refund", *REASON, by="city")
    assert stopped.code == 0, stopped.err
    assert re.search(r"Left alone.*refund\.310000", stopped.err)
