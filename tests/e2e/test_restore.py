"""A backup is restored after the loss of the machine.

Posts are sent, a backup is made, and more posts are sent before the loss.
"""

import json
import shutil
import signal
import sqlite3

import pytest

from tests.wait import PATIENCE_SECONDS

POST = """
[[post]]
id = "{id}"
kind = "warning"
template = "warning"
author = "zhang"
level = "orange"
title = "警惕“退款客服”诈骗第{id}期"
at = "asap"
to = ["all"]
body = "接到**退款**电话，请先挂断。"
[post.data]
summary = "自称客服、要求转账的，是诈骗。退款原路退回，不用转账。"
"""
FINAL_STATES = {"published", "held"}


def made(simulator):
    """Return every post as its account and title; each may be there once."""
    found = [
        (item["account"], item["title"] or item["text"][:60])
        for item in simulator.get("/_sim/posts")
    ]
    assert len(found) == len(set(found)), found
    return found


def write(workspace, *names):
    workspace.write_schedule("".join(POST.format(id=name) for name in names))


@pytest.fixture
def broken_workspace(workspace, simulator, wait_until):
    """Return a workspace that was backed up after its first post.

    It was killed in the middle of the third.
    """
    write(workspace, "p01")
    daemon = workspace.start()
    wait_until(lambda: set(workspace.states().values()) == {"published"})
    workspace.publisher("backup", str(workspace.folder / "kept.db"))
    write(workspace, "p01", "p02")
    wait_until(lambda: len(simulator.get("/_sim/posts")) == 12)
    write(workspace, "p01", "p02", "p03")
    wait_until(lambda: len(simulator.get("/_sim/posts")) >= 13)
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    return workspace


def reconcile_restored(workspace, simulator, wait_until):
    """Start again, reconcile while everything is paused, then resume.

    Each post is published once, and explained. Return the people that replaced entries of the audit
    log, as far as the checkpoints show it.
    """
    before = len(made(simulator))
    daemon = workspace.start()
    doubts = {"unknown", "sending"}
    wait_until(
        lambda: (
            len(workspace.states()) == 18
            and not doubts & set(workspace.states().values())
        )
    )
    assert len(made(simulator)) == before
    workspace.publisher("resume", "--by", "li")
    wait_until(lambda: set(workspace.states().values()) <= FINAL_STATES)
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(PATIENCE_SECONDS) == 0
    posts = made(simulator)
    published = [
        item
        for item in workspace.status()["deliveries"]
        if item["state"] == "published"
    ]
    assert {item["remote_id"] for item in published} <= {
        item["id"] for item in simulator.get("/_sim/posts")
    }
    assert len(published) == len(posts)
    held = {
        item["platform"]
        for item in workspace.status()["deliveries"]
        if item["state"] == "held"
    }
    assert held <= {
        "tieba",
        "wechat",
    }  # an absence, once proven, is for a person to judge
    verified = json.loads(workspace.publisher("audit", "verify", "--json", check=None))
    assert {item["code"] for item in verified["errors"]} <= {"lost"}, verified
    return [item["name"] for item in verified["errors"]]


def test_f85_after_a_restore_nothing_is_doubled_and_everything_is_explained(
    broken_workspace, simulator, wait_until
):
    """After a restore each post ends as it should.

    Some posts are in the backup, some only in the journal, and some were never sent.
    """
    said = broken_workspace.publisher(
        "--lang",
        "en",
        "restore",
        str(broken_workspace.folder / "kept.db"),
        "--by",
        "li",
    )
    assert "Everything is paused" in said
    assert reconcile_restored(broken_workspace, simulator, wait_until) == ["li"]


def test_f85_an_old_copy_restored_by_hand_is_accepted_by_name_and_reconciled(
    broken_workspace, simulator, wait_until
):
    """The start refuses it with 3 and names the command; the command needs nothing else."""
    file = broken_workspace.folder / "var" / "publisher.db"
    shutil.copy(broken_workspace.folder / "kept.db", file)
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    # as a snapshot of the machine, which has no backup metadata
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM database_info WHERE key = 'backup'")
    connection.close()
    assert broken_workspace.start().wait(PATIENCE_SECONDS) == 3
    assert " restore --accept-current --by" in broken_workspace.log()
    broken_workspace.publisher("restore", "--accept-current", "--by", "li")
    assert reconcile_restored(broken_workspace, simulator, wait_until) in ([], ["li"])


def test_f85_without_its_journal_every_post_is_searched_on_the_platforms(
    broken_workspace, simulator, wait_until
):
    """The whole machine is lost except the backup: slow, and still nothing twice."""
    shutil.rmtree(broken_workspace.folder / "var")
    kept = str(broken_workspace.folder / "kept.db")
    broken_workspace.publisher("restore", kept, "--by", "li", check=3)
    broken_workspace.publisher("restore", kept, "--without-journal", "--by", "li")
    assert reconcile_restored(broken_workspace, simulator, wait_until) in ([], ["li"])


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("restore.before_commit", marks=pytest.mark.extra),
        pytest.param("restore.after_commit", marks=pytest.mark.extra),
        "restore.mid",
    ],
)
def test_a_killed_restore_has_not_begun_or_is_finished(
    broken_workspace, simulator, wait_until, place
):
    """Wherever it is killed, repeating it, or just starting, leads to the same end."""
    broken_workspace.environment["PUBLISHER_FAILPOINTS"] = f"{place}:kill"
    broken_workspace.publisher(
        "restore",
        str(broken_workspace.folder / "kept.db"),
        "--by",
        "li",
        check=-signal.SIGKILL,
    )
    del broken_workspace.environment["PUBLISHER_FAILPOINTS"]
    if place == "restore.before_commit":
        broken_workspace.publisher(
            "restore", str(broken_workspace.folder / "kept.db"), "--by", "li"
        )
    assert reconcile_restored(broken_workspace, simulator, wait_until) in ([], ["li"])
