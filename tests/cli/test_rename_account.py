"""F97: an account with an id that was changed in publisher.toml, at the command line."""

import json

import pytest

from publisher.domain.post import OccurrenceKey, derive_marker
from tests.cli.conftest import PUBLISHED, TO_WEIBO
from tests.cli.posts import warning, write_schedule
from tests.cli.test_correct import CORRECTION

OLD, NEW = "beijing-weibo", "capital-weibo"
BY = ("--by", "王", "--reason", "统一命名")


@pytest.fixture
def renamed(due_post, deliver):
    """Return a drill with a post published under an old id; the files name the new one.

    The files are publisher.toml and the schedule.
    """
    deliver(PUBLISHED)
    for name in ("publisher.toml", "schedule.toml"):
        file = due_post / name
        file.write_text(
            file.read_text("utf-8").replace(f'"{OLD}"', f'"{NEW}"'), "utf-8"
        )
    return due_post


@pytest.mark.parametrize(
    "command",
    [("send", "refund", "--by", "王"), ("reload",), ("run", "--once")],
    ids=" ".join,
)
def test_f97_what_files_or_sends_is_refused_under_another_id(run, renamed, command):
    """Exit code 3, with both ids and both ways out; nothing is filed."""
    refused = run("-C", renamed, *command)
    assert refused.code == 3
    assert all(
        word in refused.err
        for word in (OLD, NEW, f"publisher rename-account {OLD} {NEW}")
    )
    rows = run("-C", renamed, "status", "--json").json["deliveries"]
    assert [(row["account"], row["state"]) for row in rows] == [(OLD, "published")]


@pytest.mark.parametrize(
    "command", [("status",), ("why", "refund"), ("pause", "--by", "王")], ids=" ".join
)
def test_people_can_see_and_stop_all_the_same(run, renamed, command):
    """Reading and stopping work under any id."""
    assert run("-C", renamed, *command).code == 0


def test_f97_after_the_renaming_nothing_is_sent_again(run, renamed):
    """The post is known under the new id, and its history begins under the old one."""
    done = run("-C", renamed, "rename-account", OLD, NEW, *BY)
    assert (done.code, "1 条记录已转过去" in done.out) == (0, True)
    assert run("-C", renamed, "reload").code == 0
    rows = run("-C", renamed, "status", "--json").json["deliveries"]
    assert [(row["account"], row["state"]) for row in rows] == [(NEW, "published")]
    why = run("-C", renamed, "why", f"refund@{NEW}")
    assert (why.code, "已发布" in why.out) == (0, True)
    write_schedule(
        renamed, warning("refund", to=TO_WEIBO), warning("next", to=TO_WEIBO)
    )
    assert run("-C", renamed, "send", "next", "--by", "王").code == 0
    assert run("-C", renamed, "audit", "verify").code == 0


def test_f97_a_correction_may_not_carry_the_number_of_its_original(run, renamed):
    """A correction may not carry its original's number, or readbacks would find the correction.

    The number followed from the former id, and readbacks still look for it.
    """
    assert run("-C", renamed, "rename-account", OLD, NEW, *BY).code == 0
    number = derive_marker(OccurrenceKey(post="refund", occurrence="once"), OLD).code
    correction = CORRECTION.format(
        id="fix", follows="refund", when='at = "asap"', to=TO_WEIBO
    )
    write_schedule(
        renamed,
        warning("refund", to=TO_WEIBO),
        correction.replace("95188", f"95188（{number}）"),
    )
    refused = run("-C", renamed, "reload")
    assert (refused.code, number in refused.err) == (1, True)


def test_a_renaming_to_an_unknown_account_is_an_error(run, renamed):
    """A renaming to an unknown id exits 4, and exits 3 while publisher.toml has the old id.

    An unknown id is one that publisher.toml does not have.
    """
    assert run("-C", renamed, "rename-account", OLD, "nobody", *BY).code == 4
    file = renamed / "publisher.toml"
    entry = (
        file.read_text("utf-8")
        .replace(f'"{NEW}"', f'"{OLD}"')
        .partition("[[account]]")[2]
        .partition("[[account]]")[0]
    )
    file.write_text(
        file.read_text("utf-8")
        + "\n[[account]]"
        + entry.replace('identity = "', 'identity = "9'),
        "utf-8",
    )
    refused = run("-C", renamed, "rename-account", OLD, NEW, *BY)
    assert (refused.code, "还有账号" in refused.err) == (3, True)


def test_the_refusal_is_told_in_both_languages(run, renamed):
    """With the way out."""
    english = run("-C", renamed, "--lang", "en", "reload")
    assert "the database knows as beijing-weibo" in english.err
    assert json.loads(run("-C", renamed, "accounts", "--json").out)
