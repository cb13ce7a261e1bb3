"""A day goes wrong: posts go out, a backup is made, more go out, the machine dies, and the backup is put back."""

import json
import shutil
import signal
import sqlite3

import pytest

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
SETTLED = {"published", "held"}


def made(simulator):
    """Give every post on every account as its account and title; each may be there once."""
    found = [(item["account"], item["title"] or item["text"][:60]) for item in simulator.get("/_sim/posts")]
    assert len(found) == len(set(found)), found
    return found


def write(workspace, *names):
    workspace.write_schedule("".join(POST.format(id=name) for name in names))


@pytest.fixture
def gone_wrong(workspace, simulator, wait_until):
    """Give a workspace that was backed up after its first post and killed in the middle of the third."""
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


def settle(workspace, simulator, wait_until):
    """Start again, let all be read while everything is paused, then resume: each post is out once, and explained.

    Gives who has replaced entries of the audit, as far as an anchor knows of them.
    """
    before = len(made(simulator))
    daemon = workspace.start()
    doubts = {"unknown", "sending"}
    wait_until(lambda: len(workspace.states()) == 18 and not doubts & set(workspace.states().values()))
    assert len(made(simulator)) == before
    workspace.publisher("resume", "--by", "li")
    wait_until(lambda: set(workspace.states().values()) <= SETTLED)
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(40) == 0
    posts = made(simulator)
    published = [item for item in workspace.status()["deliveries"] if item["state"] == "published"]
    assert {item["remote_id"] for item in published} <= {item["id"] for item in simulator.get("/_sim/posts")}
    assert len(published) == len(posts)
    held = {item["platform"] for item in workspace.status()["deliveries"] if item["state"] == "held"}
    assert held <= {"tieba", "wechat"}  # where an absence, once shown, is for a person to judge
    verified = json.loads(workspace.publisher("audit", "verify", "--json", check=None))
    assert {item["damage"] for item in verified["breaks"]} <= {"replaced"}, verified
    return [item["name"] for item in verified["breaks"]]


def test_f85_after_a_restore_nothing_is_doubled_and_everything_is_explained(gone_wrong, simulator, wait_until):
    """What the backup knows, what only the journal knows, and what was never sent: each ends as it should."""
    said = gone_wrong.publisher("--lang", "en", "restore", str(gone_wrong.folder / "kept.db"), "--by", "li")
    assert "Everything is paused" in said
    assert settle(gone_wrong, simulator, wait_until) == ["li"]


def test_f85_an_old_copy_put_back_by_hand_is_accepted_by_name_and_settled(gone_wrong, simulator, wait_until):
    """The start refuses it with 3 and names the command; the command needs nothing else."""
    file = gone_wrong.folder / "var" / "publisher.db"
    shutil.copy(gone_wrong.folder / "kept.db", file)
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    with sqlite3.connect(file) as connection:  # as a snapshot of the machine, which bears no label
        connection.execute("DELETE FROM database_info WHERE key = 'backup'")
    connection.close()
    assert gone_wrong.start().wait(30) == 3
    assert "publisher restore --accept-current" in gone_wrong.log()
    gone_wrong.publisher("restore", "--accept-current", "--by", "li")
    assert settle(gone_wrong, simulator, wait_until) in ([], ["li"])


def test_f85_without_its_journal_all_is_looked_for_on_the_platforms(gone_wrong, simulator, wait_until):
    """The whole machine is lost but for the backup: slow, and still nothing twice."""
    shutil.rmtree(gone_wrong.folder / "var")
    kept = str(gone_wrong.folder / "kept.db")
    gone_wrong.publisher("restore", kept, "--by", "li", check=3)
    gone_wrong.publisher("restore", kept, "--without-journal", "--by", "li")
    assert settle(gone_wrong, simulator, wait_until) in ([], ["li"])


@pytest.mark.parametrize("place", ["restore.before_commit", "restore.after_commit", "restore.mid"])
def test_a_restore_that_is_killed_is_as_if_it_had_not_begun_or_is_finished(gone_wrong, simulator, wait_until, place):
    """Wherever it dies, repeating it, or just starting, leads to the same end."""
    gone_wrong.environment["PUBLISHER_FAILPOINTS"] = f"{place}:kill"
    gone_wrong.publisher("restore", str(gone_wrong.folder / "kept.db"), "--by", "li", check=-signal.SIGKILL)
    del gone_wrong.environment["PUBLISHER_FAILPOINTS"]
    if place == "restore.before_commit":
        gone_wrong.publisher("restore", str(gone_wrong.folder / "kept.db"), "--by", "li")
    assert settle(gone_wrong, simulator, wait_until) in ([], ["li"])
