"""Verification and export of the audit log at the command line."""

import asyncio
import io
import json
import os
import pwd
import sqlite3

import pytest

from publisher.domain.audit_chain import hash_entry
from publisher.engine import decisions
from tests.cli.conftest import write_drill_checkpoint
from tests.cli.posts import warning, write_schedule

BY = ("--by", "王", "--reason", "试验")


@pytest.fixture
def drill_with_actions(run, drill):
    """Return a drill with actions of people, and one checkpoint after the last."""
    write_schedule(drill, warning("refund", to='["platform:weibo"]'))
    assert run("-C", drill, "send", "refund", "--by", "王").code == 0
    for _ in range(2):
        assert run("-C", drill, "pause", "--by", "王").code == 0
        assert run("-C", drill, "resume", "--by", "李").code == 0
    asyncio.run(write_drill_checkpoint(drill))
    return drill


def rebuild(folder, first):
    """Replace the person in the entries from the first on, and rebuild a consistent chain."""
    tamper(folder, "DROP TRIGGER audit_no_replace;")
    with sqlite3.connect(folder / "var" / "publisher.db") as connection:
        rows = connection.execute(
            "SELECT * FROM audit WHERE id >= ? ORDER BY id", [first]
        ).fetchall()
        previous = rows[0][-2]
        for number, at, role, _name, *rest in rows:
            digest = hash_entry(number, (at, role, "李", *rest[:-2]), previous)
            parts = ("李", previous, digest, number)
            connection.execute(
                "UPDATE audit SET name = ?, previous = ?, hash = ? WHERE id = ?", parts
            )
            previous = digest
    connection.close()


def tamper(folder, script):
    """Write into the database as an attacker would."""
    with sqlite3.connect(folder / "var" / "publisher.db") as connection:
        connection.executescript(
            "DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete;" + script
        )
    connection.close()


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
def test_a_complete_audit_log_is_reported_as_complete(run, drill_with_actions, lang):
    """Exit code 0, the number of entries, and the last one that the checkpoints confirm."""
    result = run("-C", drill_with_actions, "--lang", lang, "audit", "verify")
    entries = run("-C", drill_with_actions, "audit", "verify", "--json").json
    assert result.code == 0
    assert entries["ok"] is True
    assert entries["anchored"] == entries["last"] == entries["entries"]
    assert str(entries["last"]) in result.out


def test_tampering_ends_in_1_and_names_the_entry(run, drill_with_actions):
    """The exit code is 1; the text names the change, the entry and its content."""
    tamper(drill_with_actions, "UPDATE audit SET name = '张' WHERE id = 5")
    result = run("-C", drill_with_actions, "--lang", "en", "audit", "verify")
    assert result.code == 1
    assert "Entry 5 is not as it was written" in result.out
    assert "张" in result.out
    shown = run("-C", drill_with_actions, "audit", "verify", "--json")
    assert shown.code == 1
    [found] = shown.json["errors"]
    assert (found["code"], found["sequence"], found["name"]) == ("altered", 5, "张")
    assert found["at"].startswith("20")


def test_a_cut_end_is_detected_by_any_checkpoint(run, drill_with_actions, tmp_path):
    """A cut end is found by any checkpoint; without one the command says that it cannot know.

    Not even the checkpoint kept beside the database is present then.
    """
    tamper(
        drill_with_actions,
        "DELETE FROM audit WHERE id > (SELECT max(id) - 2 FROM audit)",
    )
    assert "条丢失" in run("-C", drill_with_actions, "audit", "verify").out
    own = drill_with_actions / "var" / "audit-anchors.log"
    kept = own.rename(tmp_path / "kept.log")
    assert "条丢失" in run("-C", drill_with_actions, "audit", "verify").out
    own.with_suffix(".newest").unlink()
    alone = run("-C", drill_with_actions, "audit", "verify")
    assert (alone.code, "看不出来" in alone.out, str(own.name) in alone.err) == (
        0,
        True,
        True,
    )
    assert run("-C", drill_with_actions, "audit", "verify", "--anchors", kept).code == 1


def test_a_checkpoint_kept_elsewhere_detects_a_recomputed_chain(
    run, drill_with_actions, tmp_path
):
    """A checkpoint kept elsewhere detects a recomputed chain and a changed checkpoint file.

    Of several files, one without checkpoints is named.
    """
    kept, other = tmp_path / "kept.log", tmp_path / "other.log"
    kept.write_bytes((drill_with_actions / "var" / "audit-anchors.log").read_bytes())
    other.write_text("你好\n", "utf-8")
    both = ("--anchors", other, "--anchors", kept)
    whole = run("-C", drill_with_actions, "audit", "verify", *both, "--json")
    assert (whole.code, whole.json["anchored"]) == (0, whole.json["last"])
    assert (whole.json["signed"], whole.json["unsigned"]) == (2, 0)
    assert "other.log" in whole.err
    assert "kept.log" not in whole.err
    rebuild(drill_with_actions, 5)
    for name in ("log", "newest"):
        (drill_with_actions / "var" / f"audit-anchors.{name}").unlink()
    assert run("-C", drill_with_actions, "audit", "verify").code == 0
    found = run("-C", drill_with_actions, "audit", "verify", *both, "--json")
    assert (found.code, [item["code"] for item in found.json["errors"]]) == (
        1,
        ["lost"],
    )


def test_an_export_is_verified_without_a_database(run, drill_with_actions, tmp_path):
    """The file is verified alone, agrees with the checkpoints, and any change to it is detected."""
    file = tmp_path / "audit.jsonl"
    assert run("-C", drill_with_actions, "audit", "export", file).code == 0
    elsewhere = tmp_path / "nowhere"
    anchors = drill_with_actions / "var" / "audit-anchors.log"
    result = run(
        "-C",
        elsewhere,
        "audit",
        "verify",
        "--file",
        file,
        "--anchors",
        anchors,
        "--json",
    )
    assert (result.code, result.json["ok"]) == (0, True)
    lines = file.read_text("utf-8").splitlines(keepends=True)
    entry = json.loads(lines[1])
    assert {"sequence", "time", "name", "event", "subject", "previous", "hash"} <= set(
        entry
    )
    file.write_text("".join(lines[:-1]), "utf-8")
    assert "条丢失" in run("-C", elsewhere, "audit", "verify", "--file", file).out
    file.write_text("".join([lines[0], *lines[2:]]), "utf-8")
    assert "第 1 条丢失" in run("-C", elsewhere, "audit", "verify", "--file", file).out
    file.write_text("".join(lines).replace("王", "张"), "utf-8")
    assert run("-C", elsewhere, "audit", "verify", "--file", file).code == 1
    file.write_text("".join(lines[1:]), "utf-8")
    assert run("-C", elsewhere, "audit", "verify", "--file", file).code == 1


def test_an_export_of_a_span_verifies_from_its_first_entry(
    run, drill_with_actions, tmp_path
):
    """Days are in the workspace's time zone, the last one included; no other day is in it."""
    tamper(drill_with_actions, "UPDATE audit SET at = 0 WHERE id <= 3")
    file = tmp_path / "part.jsonl"
    assert (
        run(
            "-C", drill_with_actions, "audit", "export", "--from", "2026-01-01", file
        ).code
        == 0
    )
    title, first = (
        json.loads(line) for line in file.read_text("utf-8").splitlines()[:2]
    )
    assert (title["first"], first["sequence"], title["previous"]) == (
        4,
        4,
        first["previous"],
    )
    assert run("audit", "verify", "--file", file).code == 0
    assert (
        run(
            "-C",
            drill_with_actions,
            "audit",
            "export",
            "--to",
            "1970-01-01",
            tmp_path / "old.jsonl",
        ).code
        == 0
    )
    old = (tmp_path / "old.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["sequence"] for line in old[1:]] == [1, 2, 3]


def test_an_export_never_overwrites(run, drill_with_actions, tmp_path):
    """An existing file stays as it is."""
    file = tmp_path / "audit.jsonl"
    file.write_text("mine", "utf-8")
    assert run("-C", drill_with_actions, "audit", "export", file).code == 1
    assert file.read_text("utf-8") == "mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "x"),
        ("export",),
        ("export", "-", "--json"),
        ("export", "x", "--from", "soon"),
        ("burn",),
    ],
)
def test_wrong_usage_ends_in_2(run, drill, arguments):
    """Contradictory options are reported, and nothing is done."""
    assert run("-C", drill, "audit", *arguments).code == 2


def test_verifying_before_anything_makes_no_database(run, drill):
    """A check of nothing is no success: the backup that it should find was perhaps refused."""
    verified = run("-C", drill, "audit", "verify")
    assert (verified.code, "没有可核对的" in verified.out) == (1, True)
    assert not run("-C", drill, "audit", "verify", "--json").json["ok"]
    assert run("-C", drill, "audit", "export", "-").code == 1
    assert list((drill / "var").iterdir()) == []


def test_every_action_of_a_person_has_its_entry(run, drill_with_actions, monkeypatch):
    """Every action has its entry under the person's name, including changes of secrets.

    Secrets are changed outside the database.
    """
    secret = '{"app_key": "1", "app_secret": "2", "access_token": "3"}'
    monkeypatch.setattr("sys.stdin", io.StringIO(secret))
    assert (
        run(
            "-C", drill_with_actions, "secret", "set", "weibo-beijing", "--by", "赵"
        ).code
        == 0
    )
    assert run("-C", drill_with_actions, "secret", "rotate").code == 0
    assert (
        run(
            "-C", drill_with_actions, "secret", "remove", "weibo-beijing", "--by", "赵"
        ).code
        == 0
    )
    assert run("-C", drill_with_actions, "cancel", "refund", *BY).code == 0
    database = sqlite3.connect(drill_with_actions / "var" / "publisher.db")
    query = "SELECT event, name FROM audit WHERE role = 'person' AND after IS NULL ORDER BY id"
    found = database.execute(query).fetchall()
    text = "".join(map(str, database.execute("SELECT * FROM audit").fetchall()))
    database.close()
    assert [event for event, _name in found] == [
        "send_requested", "paused", "resumed", "paused", "resumed",
        "secret_stored", "secrets_rotated", "secret_removed", "cancelled",
    ]  # fmt: skip
    assert found[5] == ("secret_stored", "赵")
    assert "app_secret" not in text
    assert run("-C", drill_with_actions, "audit", "verify").code == 0


@pytest.mark.parametrize(
    "login", ["0", "4294967295", None], ids=["root", "no login", "not kept here"]
)
def test_a_persons_entry_says_which_system_user_acted(run, drill, monkeypatch, login):
    """User, login and sudo are in every entry of an action, since a name is only a claim.

    They are bound into the chain.
    """
    kept = drill / "loginuid"
    if login is not None:
        kept.write_text(login, "ascii")
    monkeypatch.setattr(decisions, "LOGINUID_FILE", kept)
    monkeypatch.setenv("SUDO_USER", "chen\x1b")
    write_schedule(drill, warning("refund", to='["platform:weibo"]'))
    assert run("-C", drill, "send", "refund", "--by", "王").code == 0
    assert run("-C", drill, "cancel", "refund", *BY).code == 0
    file = drill / "audit.jsonl"
    assert run("-C", drill, "audit", "export", file).code == 0
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()[1:]]
    name = pwd.getpwuid(os.getuid()).pw_name
    expected = {
        "uid": os.getuid(),
        "user": name,
        "login_uid": None,
        "login_user": None,
        "sudo_user": ascii("chen\x1b"),
    }
    if login == "0":
        expected |= {"login_uid": 0, "login_user": pwd.getpwuid(0).pw_name}
    reported = [
        (line["event"], line["role"], json.loads(line["detail"]).get("system"))
        for line in lines
    ]
    assert {event for event, role, _system in reported if role == "person"} == {
        "send_requested",
        "cancelled",
    }
    assert all(
        system == (expected if role == "person" else None)
        for _event, role, system in reported
    )
    assert run("audit", "verify", "--file", file).code == 0


def test_a_changed_system_user_is_found_and_shown(run, drill_with_actions):
    """A changed system user is found by the hash; table and JSON show it beside the name."""
    tamper(
        drill_with_actions,
        "UPDATE audit SET detail = replace(detail, '\"uid\": ', '\"uid\": 77') WHERE id = 5",
    )
    assert f"王 [uid 77{os.getuid()}" in run(
        "-C", drill_with_actions, "audit", "verify"
    ).out.replace("李", "王")
    [found] = run("-C", drill_with_actions, "audit", "verify", "--json").json["errors"]
    assert (found["code"], found["sequence"]) == ("altered", 5)
    assert found["system"].startswith(f"uid 77{os.getuid()}")
