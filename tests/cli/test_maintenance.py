"""Templates and the database's schema, at the command line."""

import sqlite3
from contextlib import closing

import pytest

from publisher.rendering.child import RenderWorker
from publisher.rendering.templates import load_templates, shipped_templates
from publisher.store.recovery.setup import NEWEST_MIGRATION
from tests.store.later_release import NUMBERS, add_migrations

SHIPPED = load_templates([shipped_templates()], RenderWorker())
ORIGINAL = """
[[post]]
id = "id-of-the-original"
kind = "warning"
template = "warning"
author = "zhang"
title = "警惕“退款客服”诈骗"
at = "asap"
to = ["all"]
[post.data]
summary = "不转账"
"""


def test_templates_are_listed_with_their_origin(run, drill):
    """Shipped, own and mixed templates are distinguished, each with its required fields."""
    own = drill / "templates" / "flash"
    own.mkdir()
    own.joinpath("default.txt").write_text("{{ post.title }}", "utf-8")
    (drill / "templates" / "warning").mkdir()
    page = drill / "templates" / "warning" / "weibo.txt"
    page.write_text("{{ marker }} {{ region.tip_line }}", "utf-8")
    rows = {
        row["name"]: row
        for row in run("-C", drill, "templates", "--json").json["templates"]
    }
    assert set(rows) == {*SHIPPED.names, "flash"}
    assert rows["flash"]["own"] == ["default.txt"]
    assert rows["warning"]["own"] == ["weibo.txt"]
    assert rows["bulletin"]["own"] == []
    assert rows["correction"]["needs"].keys() == {"wrong", "right"}
    reported = run("-C", drill, "templates").out
    assert "其中用工作区的：weibo.txt" in reported
    assert "right, wrong" in reported
    assert run("-C", drill, "templates", "nothing").code == 4


def test_f74_templates_are_listed_although_one_has_a_fault(run, drill):
    """F74: the others are shown, the problem is reported with its file, and the exit code is 1."""
    own = drill / "templates" / "flash"
    own.mkdir()
    own.joinpath("default.txt").write_text("{% if %}", "utf-8")
    listed = run("-C", drill, "templates")
    assert (listed.code, run("-C", drill, "templates", "warning").code) == (1, 0)
    assert "warning" in listed.out
    assert "default.txt:1:" in listed.err


@pytest.mark.parametrize("name", SHIPPED.names)
def test_a_pasted_sample_is_refused_until_it_has_an_id_and_recipients(run, drill, name):
    """Everything printed may be appended; nothing publishes without id, author and recipients."""
    shown = run("-C", drill, "--lang", "en", "templates", name)
    file = drill / "schedule.toml"
    file.write_text(f"{ORIGINAL}\n{shown.out}", "utf-8")
    refused = run("-C", drill, "check", "--json")
    assert refused.code == 1
    assert {(each["path"], each["severity"]) for each in refused.json["problems"]} == {
        ("post[1].id", "error"),
        ("post[1].to", "error"),
        ("post[1].author", "warning"),
    }
    assert run("-C", drill, "send", "change-me", "--by", "王").code != 0
    file.write_text(
        file.read_text("utf-8")
        .replace("change-me", "mine")
        .replace("to = []", 'to = ["all"]'),
        "utf-8",
    )
    checked = run("-C", drill, "check")
    assert checked.code == 0, checked.err + checked.out


def test_migrate_says_from_where_to_where(run, drill):
    """`migrate` distinguishes a new, a current and an older database; a damaged one is refused.

    A damaged database is not changed.
    """
    assert NEWEST_MIGRATION in run("-C", drill, "migrate").out
    assert "没有变化" in run("-C", drill, "migrate").out
    file = drill / "var" / "publisher.db"
    file.write_bytes(b"no database" * 1000)
    assert run("-C", drill, "migrate").code == 3


def test_migrate_upgrades_an_older_database(run, drill, tmp_path, monkeypatch):
    """The database of an earlier version is migrated to this one's, and both are named."""
    run("-C", drill, "migrate")
    add_migrations(tmp_path / "migrations", monkeypatch)
    monkeypatch.setattr("publisher.cli.commands.migrate.NEWEST_MIGRATION", NUMBERS[-1])
    reported = run("-C", drill, "migrate").out
    assert NEWEST_MIGRATION in reported
    assert NUMBERS[-1] in reported
    with closing(sqlite3.connect(drill / "var" / "publisher.db")) as connection:
        assert connection.execute(
            "SELECT version_num FROM alembic_version"
        ).fetchone() == (NUMBERS[-1],)


@pytest.mark.parametrize(
    ("lang", "words"), [("zh_CN", "预发布版"), ("en", "pre-release")]
)
def test_a_database_of_an_earlier_pre_release_is_called_so(run, due_post, lang, words):
    """A missing table's message gives its origin and the remedy, and does not doubt the address."""
    with closing(sqlite3.connect(due_post / "var" / "publisher.db")) as connection:
        connection.execute("DROP TABLE pause")
    for command in (("status",), ("pause", "--by", "王"), ("run", "--once")):
        reported = run("-C", due_post, "--lang", lang, *command)
        assert (
            reported.code,
            words in reported.err,
            "publisher init" in reported.err,
        ) == (
            3,
            True,
            True,
        )
        assert "Traceback" not in reported.err
