"""A long text on Tieba: several parts, one delivery, with kills between them."""

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.wait import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]

SENTENCE = "凡是自称客服、要求共享屏幕或者把钱转到“安全账户”的，都是诈骗，请立即挂断电话，拨打96110核实。"
POST = """
[[post]]
id = "long"
kind = "warning"
template = "warning"
author = "zhang"
level = "orange"
title = "警惕“退款客服”诈骗"
at = {at:%Y-%m-%dT%H:%M:%S}Z
max_delay = "6h"
to = ["beijing-tieba"]
body = '''
{body}
'''
[post.data]
summary = "退款原路退回，不用转账。"
"""
# Its instant is fixed: the text names the minute, and a preview may come in the next one.
LONG = POST.format(
    at=datetime.now(UTC),
    body="\n\n".join(f"其{number}，{SENTENCE * 9}" for number in range(1, 11)),
)
THREADS, PARTS = "/_sim/posts", "/_sim/posts?floors=1"


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def delivery_of(workspace):
    [delivery] = workspace.status()["deliveries"]
    return delivery


def creations(simulator):
    """Return the creations in the simulator's log: threads, and parts with their thread."""
    acts = [
        entry
        for entry in simulator.get("/_sim/log")
        if entry["kind"] == "act" and entry["post_id"]
    ]
    return [(entry["post_id"], entry.get("thread")) for entry in acts]


def previewed(workspace):
    [shown] = json.loads(workspace.publisher("preview", "long", "--json"))[
        "rendered_posts"
    ]
    return [shown, *shown["floors"]]


def received(simulator):
    return [item["text"] for item in simulator.get(PARTS)]


def test_every_part_that_was_previewed_arrives_once(workspace, simulator):
    """I3, I4: each part arrives once, byte by byte as previewed, in order, in one thread.

    An intent precedes each part.
    """
    workspace.write_schedule(LONG)
    assert "ok" in workspace.publisher("check", "--json")
    shown = previewed(workspace)
    assert len(shown) == 3
    assert all(item["length"] <= 2000 for item in shown)
    page = workspace.folder / "page.html"
    assert "第 3 层，共 3 层" in workspace.publisher(
        "preview", "long", "--html", str(page)
    )
    assert page.read_text("utf-8").count('data-testid="part-beijing-tieba-') == 2
    assert workspace.start("--once").wait(PATIENCE_SECONDS) == 0, workspace.log()
    delivery = delivery_of(workspace)
    assert (delivery["state"], delivery["attempts"]) == ("published", 3)
    assert delivery["floors"] == {"live": 3, "total": 3}
    [thread] = simulator.get(THREADS)
    assert (thread["id"], thread["url"]) == (delivery["remote_id"], delivery["url"])
    assert list(map(sha256, received(simulator))) == [item["sha256"] for item in shown]
    made = creations(simulator)
    assert [under for _, under in made] == [None, thread["id"], thread["id"]]
    announced = [
        json.loads(line)
        for line in (workspace.folder / "var" / "intents.jsonl")
        .read_text()
        .splitlines()
    ]
    assert [intent["attempt"] for intent in announced] == [1, 2, 3]
    assert "共 3 层，已全部发布" in workspace.publisher("why", "long")
    assert "3 parts, all of them published" in workspace.publisher(
        "--lang", "en", "status", "--today"
    )


def write_artefacts(folder, workspace, simulator, began):
    """Put the run's artefacts into a folder as docs/checker.md names them."""
    duty = {
        "post": "long",
        "occurrence": "once",
        "account": "beijing-tieba",
        "end": "published",
    }
    tieba = {
        "visibility_window": 3,
        "min_interval": 0.05,
        "per_hour": 1000,
        "per_day": 10000,
        "may_resend": False,
        "watch_every": 3600,
    }
    account = {
        "id": "beijing-tieba",
        "platform": "tieba",
        "identity": "beijing-tieba",
        "login": "tieba/beijing-tieba",
    }
    documents = {
        "log.jsonl": simulator.get("/_sim/log"),
        "posts.json": simulator.get(PARTS),
        "status.json": workspace.status(),
        "settings.json": {
            "environment": "drill",
            "rest_within": 60,
            "recover_within": 0,
            "platforms": {"tieba": tieba},
            "accounts": [account],
        },
        "plan.json": {
            "began_at": began.isoformat(),
            "ended_at": datetime.now(UTC).isoformat(),
            "duties": [duty],
        },
    }
    folder.mkdir()
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, ensure_ascii=False), "utf-8")
    shutil.copy(workspace.folder / "var" / "intents.jsonl", folder)
    with (
        closing(sqlite3.connect(workspace.folder / "var" / "publisher.db")) as source,
        closing(sqlite3.connect(folder / "publisher.db")) as target,
    ):
        source.backup(target)


def test_the_checker_judges_the_calls_of_all_parts(workspace, simulator, tmp_path):
    """I1, I3, I4, I6, I7, I13: the calls of all parts violate nothing.

    A part without an intent is detected (I3).
    """
    began = datetime.now(UTC)
    workspace.write_schedule(LONG)
    assert workspace.start("--once").wait(PATIENCE_SECONDS) == 0, workspace.log()
    run = tmp_path / "run"
    write_artefacts(run, workspace, simulator, began)
    command = [sys.executable, "-m", "tests.chaos.checker", str(run), "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT
    )
    found = {one["id"]: one["verdict"] for one in json.loads(done.stdout)["invariants"]}
    assert done.returncode == 0, done.stdout
    assert {found[name] for name in ("I1", "I3", "I4", "I6", "I7", "I13")} == {"kept"}
    with closing(sqlite3.connect(run / "publisher.db")) as connection, connection:
        assert connection.execute("DELETE FROM attempt WHERE part = 2").rowcount == 1
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT
    )
    [intents] = [
        one for one in json.loads(done.stdout)["invariants"] if one["id"] == "I3"
    ]
    assert "a call without an attempt" in {one["what"] for one in intents["violations"]}


@pytest.mark.parametrize(
    "point",
    [
        # the thread was found by reading, and is not yet recorded
        "reconcile.before_commit:kill@1",
        # the thread is recorded, its first part only claimed
        pytest.param("claim.after_commit:kill@2", marks=pytest.mark.extra),
        pytest.param("http.mid_body:kill@2", marks=pytest.mark.extra),
        pytest.param("http.after_reply:kill@2", marks=pytest.mark.extra),
        pytest.param("outcome.after_commit:kill@2", marks=pytest.mark.extra),
    ],
)
def test_a_kill_between_two_parts_doubles_none_and_loses_none(
    workspace, simulator, point
):
    """F01, F03, F04, F05: a kill between two parts doubles none and loses none.

    The next daemon continues from the last recorded part.
    """
    workspace.write_schedule(LONG)
    died = workspace.start("--once", PUBLISHER_FAILPOINTS=point)
    assert died.wait(PATIENCE_SECONDS) == -9, workspace.log()
    shown = previewed(workspace)
    assert workspace.start("--once").wait(PATIENCE_SECONDS) in {0, 1}, workspace.log()
    delivery = delivery_of(workspace)
    # the part was never created, and Tieba allows no second call
    if point.startswith("http.mid_body"):
        assert (delivery["state"], delivery["reason"]) == ("held", "not_published"), (
            workspace.publisher("why", "long")
        )
        assert "第 2 层，共 3 层" in workspace.publisher("why", "long")
        workspace.publisher(
            "resolve",
            "long@beijing-tieba",
            "resend",
            "--by",
            "li",
            "--reason",
            "看过，没有",
        )
        assert workspace.start("--once").wait(PATIENCE_SECONDS) == 0, workspace.log()
        delivery = delivery_of(workspace)
    assert delivery["state"] == "published", (
        workspace.publisher("why", "long") + workspace.log()
    )
    assert list(map(sha256, received(simulator))) == [item["sha256"] for item in shown]
    assert len(creations(simulator)) == 3
    assert len(simulator.get(THREADS)) == 1


def test_an_incomplete_text_is_decided_by_a_person(workspace, simulator):
    """F45, F72, F77: a text rejected and cancelled halfway is held as incomplete.

    A person decides: an order deletes the thread.
    """
    workspace.write_schedule(LONG)
    refusal = {
        "platform": "tieba",
        "endpoint": "/c/c/post/add_pc",
        "fault": {"kind": "api_error", "code": 220015},
    }
    simulator.post("/_sim/faults", refusal)
    assert workspace.start("--once").wait(PATIENCE_SECONDS) == 1, workspace.log()
    delivery = delivery_of(workspace)
    assert (delivery["state"], delivery["reason"]) == ("held", "incomplete"), (
        workspace.log()
    )
    assert delivery["floors"] == {"live": 1, "total": 3}
    workspace.publisher("cancel", "long", "--by", "li", "--reason", "不发了")
    assert delivery_of(workspace)["state"] == "held"
    reported = [alert["code"] for alert in workspace.status()["alerts"]]
    assert "held.incomplete" in reported
    workspace.publisher("retract", "long", "--by", "li", "--reason", "删掉")
    assert workspace.start("--once").wait(PATIENCE_SECONDS) == 0, workspace.log()
    assert delivery_of(workspace)["state"] == "retracted"
    assert [item["visible"] for item in simulator.get(PARTS)] == [False]
