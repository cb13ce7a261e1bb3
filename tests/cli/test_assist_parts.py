"""A text of several parts at the command line, with one part as a manual task."""

import json
import sqlite3

import pytest

from tests.cli.test_assist import assigned, assigned_once

__all__ = ["assigned", "assigned_once"]

THREAD = "https://tieba.baidu.com/p/10990000001"
SECOND = "（接上层，2/2）〔K7QM-4R2T〕\r\n余下的话。"


@pytest.fixture
def begun(assigned):
    """Return a drill whose Tieba post is published, with its second part assigned to a person."""
    database = sqlite3.connect(assigned / "var" / "publisher.db")
    [(account, name, body)] = database.execute(
        "SELECT d.account, r.fingerprint, r.body FROM delivery d"
        " JOIN rendered_post r ON r.fingerprint = d.rendered_hash"
        " WHERE d.platform = 'tieba'"
    ).fetchall()
    body = json.dumps({**json.loads(body), "extra_parts": [SECOND]})
    database.execute("UPDATE rendered_post SET body = ? WHERE fingerprint = ?", (body, name))
    database.execute(
        "UPDATE delivery SET extra_parts = 1, parts_done = 1, remote_id = '10990000001', url = ?, published_at = 1"
        " WHERE platform = 'tieba'",
        (THREAD,),
    )
    database.commit()
    database.close()
    return assigned, account


def change(folder, changes):
    database = sqlite3.connect(folder / "var" / "publisher.db")
    database.execute(f"UPDATE delivery SET {changes} WHERE platform = 'tieba'")  # noqa: S608 # the test's own words
    database.commit()
    database.close()


def test_a_person_gets_the_part_and_its_address(run, begun):
    """The part's own text without the post's title and pictures, and the address to reply under, in both languages."""
    folder, account = begun
    [row] = [row for row in run("-C", folder, "assist", "--json").json["tasks"] if row["account"] == account]
    assert (row["text"], row["floor"], row["pictures"]) == (SECOND, {"number": 2, "under": THREAD}, [])
    reported = run("-C", folder, "assist").out
    assert f"第 2 层，共 2 层：请在 {THREAD} 下面回复" in reported
    assert "余下的话" in reported
    assert f"part 2 of 2: reply under {THREAD}" in run("-C", folder, "--lang", "en", "assist").out


def test_status_and_why_show_the_progress(run, begun):
    """Which part is next while it waits, what to decide when it is held, and how it ended."""
    folder, account = begun
    target = f"refund@{account}"
    rows = {row["account"]: row for row in run("-C", folder, "status", "--json").json["deliveries"]}
    assert rows[account]["floors"] == {"live": 1, "total": 2}
    assert "第 2 层，共 2 层" in run("-C", folder, "status").out
    change(folder, "state = 'due', ticket = NULL")
    assert "接着发第 2 层" in run("-C", folder, "why", target).out
    assert "part 2 is next" in run("-C", folder, "--lang", "en", "why", target).out
    change(folder, "state = 'held', reason = 'not_published'")
    held = run("-C", folder, "why", target).out
    assert "（接上层，2/2）〔" in held
    assert "这里说的是第 2 层" in held
    change(folder, "reason = 'incomplete'")
    assert f"publisher resolve {target} cancel" in run("-C", folder, "why", target).out
    assert run("-C", folder, "resolve", target, "cancel", "--by", "王", "--reason", "够了").code == 0
    assert "只发布了 1 层，共 2 层" in run("-C", folder, "status").out
    assert "1 of 2 parts are published" in run("-C", folder, "--lang", "en", "why", target).out
