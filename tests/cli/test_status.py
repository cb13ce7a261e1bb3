"""`status`: the display of deliveries, pauses and the database, to people and to programs."""

import re
import socket
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from publisher.cli.context import report_database_errors
from publisher.cli.errors import CommandFailedError
from publisher.domain.results import Unknown
from publisher.i18n import LANGUAGES, Messages
from publisher.store.queries import snapshot
from tests.cli.conftest import BY, CAPTCHA, PUBLISHED, TO_WEIBO
from tests.cli.posts import warning, write_schedule

HEADINGS = {
    "zh_CN": ["内容", "标题", "账号", "状态", "尝试次数", "计划时间", "说明"],
    "en": ["Post", "Title", "Account", "State", "Attempts", "Due", "Remarks"],
}


def documented_keys():
    """Return the keys in the manual's two `status --json` tables, each with its column."""
    text = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text("utf-8")
    section = re.search(
        r"^## The columns and keys of `status`.*?(?=^##)",
        text,
        re.MULTILINE | re.DOTALL,
    )[0]
    document, delivery = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    return [
        dict(re.findall(r"^\| `(\w+)` \| (?:([^|]*) \|)?", table, re.MULTILINE))
        for table in (document, delivery)
    ]


DOCUMENTED = documented_keys()
"""The keys of the document, then the keys of a delivery."""


def documented_heading(key, language):
    """Return the column heading of a delivery's key; in the manual both languages share a cell."""
    return DOCUMENTED[1][key].split(maxsplit=1)[LANGUAGES.index(language)]


def test_status_before_anything_makes_no_database(run, drill):
    """`status` in a workspace that never ran shows an empty table and creates no file."""
    shown = run("-C", drill, "status", "--json").json
    assert shown == {
        "daemon": {"running": False},
        "paused": [],
        "deliveries": [],
        "has_older": False,
        "missed": [],
        "alerts": [],
        "modes": [],
    }
    assert list((drill / "var").iterdir()) == []


def test_status_has_the_promised_shape(run, due_post, deliver):
    """Document and delivery have the documented keys; times have an offset; one-offs say `once`.

    The offset is that of the workspace.
    """
    deliver(PUBLISHED)
    shown = run("-C", due_post, "status", "refund", "--json").json
    row = shown["deliveries"][0]
    assert [sorted(shown), sorted(row)] == [sorted(table) for table in DOCUMENTED]
    assert (row["occurrence"], row["state"], row["attempts"], row["remote_id"]) == (
        "once",
        "published",
        1,
        "1",
    )
    assert row["due"].endswith("+08:00")


def test_status_as_a_table_speaks_chinese(run, due_post, deliver):
    """The table shows the states' names, and says that no daemon runs."""
    deliver(PUBLISHED)
    shown = run("-C", due_post, "status", "--today").out
    assert "已发布" in shown
    assert "没有运行" in shown
    assert "https://weibo.com/1/a" in shown


def test_a_daemon_that_fell_silent_is_not_said_to_have_stopped(
    run, due_post, run_on_database, monkeypatch
):
    """It may run and find no room to write: people are sent to the disk first.

    One that has stopped in order is said not to run.
    """

    async def start(application):
        await application.store.actions.register_worker()

    async def stop(application):
        await application.store.actions.deregister_worker()

    monkeypatch.setattr(snapshot, "HEARTBEAT_TIMEOUT", timedelta(0))
    run_on_database(start)
    for command in (("status",), ("why", "refund"), ("doctor",)):
        said = run("-C", due_post, "--lang", "en", *command)
        assert "df -h" in said.out + said.err, command
        assert "not running" not in said.out + said.err
        assert "No daemon runs" not in said.out + said.err
    run_on_database(stop)
    shown = run("-C", due_post, "--lang", "en", "status").out
    assert ("not running" in shown, "df -h" in shown) == (True, False)


def test_daemons_of_hosts_with_one_name_are_shown_with_their_workspaces(
    run, due_post, run_on_database
):
    """A host with a name of its own is called by it alone."""

    async def start(application):
        await application.store.actions.register_worker()

    run_on_database(start)
    host = socket.gethostname()
    assert f"host {host}," in run("-C", due_post, "--lang", "en", "status").out
    with closing(sqlite3.connect(due_post / "var" / "publisher.db")) as connection:
        connection.execute(
            "CREATE TEMP TABLE other AS SELECT * FROM worker LIMIT 1"
        ).execute("UPDATE other SET id = ?", (f"{host}:/srv/second",))
        connection.execute("INSERT INTO worker SELECT * FROM other")
        connection.commit()
    shown = run("-C", due_post, "--lang", "en", "status").out
    assert f"host {host}:/srv/second," in shown
    assert f"host {host}:{due_post}," in shown


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_full_disk_is_named_and_not_the_address_of_the_database(lang):
    """A command that finds no room says so, with the database's file."""
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    with (
        pytest.raises(CommandFailedError) as failed,
        report_database_errors("sqlite:////srv/var/publisher.db"),
    ):
        raise OperationalError("INSERT", {}, full)
    messages = Messages(lang)
    words = messages.translate(failed.value.code, **failed.value.facts)
    assert "/srv/var/publisher.db" in words
    assert "df -h" in messages.hint(failed.value.code, **failed.value.facts)


def test_what_has_ended_is_counted_and_listed_on_request(run, due_post, deliver):
    """By default only open deliveries have a row; programs also get recently ended ones.

    Recently ended are the ones of the last days.
    """
    assert run("-C", due_post, "status").out.splitlines()[1].startswith("内容")
    deliver(PUBLISHED)
    shown = run("-C", due_post, "status").out
    assert "已发布 1" in shown
    assert "https://weibo.com/1/a" not in shown
    assert "publisher status --today" in shown
    for arguments in (
        ("refund",),
        ("--today",),
        ("--all",),
        ("--today", "--account", "beijing-weibo"),
    ):
        assert "https://weibo.com/1/a" in run("-C", due_post, "status", *arguments).out
    assert len(run("-C", due_post, "status", "--json").json["deliveries"]) == 1


@pytest.mark.parametrize(
    ("urgent", "is_shown"),
    [("", True), ("urgent = true\n", False)],
    ids=["routine", "urgent"],
)
def test_what_waits_for_its_login_shows_until_when(
    run, drill, deliver, urgent, *, is_shown
):
    """A due post held back by login limits has its earliest time, unless it overtakes.

    `status` and `why` show the time.
    """
    settings = drill / "publisher.toml"
    limits = re.sub(
        r"(\[limits.weibo\]\n.*\n)per_hour = \d+",
        r"\1per_hour = 2",
        settings.read_text("utf-8"),
    )
    settings.write_text(limits, "utf-8")
    for name, more in (("first", ""), ("second", urgent)):
        write_schedule(drill, warning(name, f'at = "asap"\n{more}', TO_WEIBO))
        assert run("-C", drill, "send", name, "--by", "王").code == 0
        if name == "first":
            deliver(PUBLISHED)
    row = run("-C", drill, "status", "second", "--json").json["deliveries"][0]
    assert (row["next_try"] is not None) is is_shown
    for arguments in (("status",), ("why", "second")):
        assert ("最早" in run("-C", drill, *arguments).out) is is_shown


def test_what_waits_for_its_login_but_lacks_approvals_waits_for_those(
    run, drill, deliver
):
    """After a restore has voided approvals, no time is named at which nothing will be sent."""
    settings = drill / "publisher.toml"
    text = re.sub(
        r"(\[limits.weibo\]\n.*\n)per_hour = \d+",
        r"\1per_hour = 2",
        settings.read_text("utf-8"),
    )
    settings.write_text(text, "utf-8")
    for name in ("first", "second"):
        write_schedule(drill, warning(name, 'at = "asap"', TO_WEIBO))
        assert run("-C", drill, "send", name, "--by", "王").code == 0
        if name == "first":
            deliver(PUBLISHED)
    settings.write_text(f'approval_preset = "two persons"\n{text}', "utf-8")
    status = run("-C", drill, "status", "second", "--json").json["deliveries"][0]
    assert (status["state"], status["next_try"]) == ("due", None)
    for arguments, awaits in (
        (("status",), "等待审批"),
        (("why", "second"), "还没有批完"),
    ):
        shown = run("-C", drill, *arguments).out
        assert awaits in shown
        assert "最早" not in shown


def test_problems_are_listed_alone(run, due_post, deliver):
    """Deliveries waiting for a person or missing on the platform are listed alone.

    Another account has none, and an unknown account is an error.
    """
    assert (
        run("-C", due_post, "status", "--problems", "--json").json["deliveries"] == []
    )
    deliver(CAPTCHA)
    [row] = run("-C", due_post, "status", "--problems", "--json").json["deliveries"]
    assert (row["state"], row["title"]) == ("held", "警惕“退款客服”诈骗")
    wechat = run(
        "-C", due_post, "status", "--problems", "--account", "beijing-wechat", "--json"
    ).json
    assert wechat["deliveries"] == []
    assert run("-C", due_post, "status", "--account", "nobody").code == 4


def test_alerts_come_before_everything_else(run, due_post, deliver):
    """Alerts come first in `status`, before everything else."""
    deliver(CAPTCHA)
    assert run("-C", due_post, "status").out.startswith("提醒：\n")


def test_monitoring_reads_the_exit_code(run, due_post, deliver, run_on_database):
    """The exit code is 1 without a daemon, 0 with one, and 1 once something is held.

    Without the option it is always 0.
    """

    async def beat(application):
        await application.store.actions.register_worker()

    def exit_codes():
        return [
            run("-C", due_post, "status", *arguments).code
            for arguments in ((), ("--exit-code",))
        ]

    assert exit_codes() == [0, 1]
    run_on_database(beat)
    assert exit_codes() == [0, 0]
    deliver(CAPTCHA)
    assert exit_codes() == [0, 1]
    assert run("-C", due_post, "status", "--watch", "--json").code == 2


@pytest.mark.parametrize(("language", "headings"), HEADINGS.items())
def test_every_column_of_status_is_documented(language, headings):
    """The table in the manual names the columns in their order, in both languages."""
    shown = [
        documented_heading(key, language)
        for key, column in DOCUMENTED[1].items()
        if column
    ]
    assert list(dict.fromkeys(shown)) == headings


@pytest.mark.parametrize(("language", "headings"), HEADINGS.items())
def test_status_shows_the_attempts_after_the_state(
    run, due_post, deliver, language, headings
):
    """0 before the first call, then the number of calls, in the table as in JSON."""

    def attempts_shown():
        lines = [
            re.split(r"\s{2,}", line)
            for line in run(
                "-C", due_post, "--lang", language, "status"
            ).out.splitlines()
        ]
        assert [cells for cells in lines if cells[0] == headings[0]] == [headings]
        [row] = [cells for cells in lines if cells[0] == "refund"]
        [delivery] = run("-C", due_post, "status", "--json").json["deliveries"]
        assert row[headings.index(documented_heading("attempts", language))] == str(
            delivery["attempts"]
        )
        return delivery["state"], delivery["attempts"]

    assert attempts_shown() == ("due", 0)
    deliver(CAPTCHA)
    assert attempts_shown() == ("held", 1)
    assert (
        run("-C", due_post, "resolve", "refund@beijing-weibo", "resend", *BY).code == 0
    )
    assert run("-C", due_post, "resume", "beijing-weibo", "--by", "王").code == 0
    deliver(Unknown(reason="timeout"))
    assert attempts_shown() == ("unknown", 2)


def test_status_colours_the_state_on_a_terminal(run, due_post, deliver, monkeypatch):
    """The state's cell has its colour, and no other cell has; with NO_COLOR none has."""
    deliver(CAPTCHA)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    shown = run("-C", due_post, "--lang", "en", "status").out
    assert re.findall(r"\x1b\[33m\x1b\[1m([^\x1b]*)\x1b", shown) == [
        "waiting for a person"
    ]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run("-C", due_post, "--lang", "en", "status").out


@pytest.mark.parametrize(("columns", "is_below"), [("60", True), ("400", False)])
def test_no_cell_is_broken_on_a_narrow_terminal(
    run, due_post, monkeypatch, columns, *, is_below
):
    """A remark that does not fit stands below its row, and its command stays in one piece."""
    run("-C", due_post, "pause", "beijing-weibo", "--by", "王")
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    lines = run("-C", due_post, "status").out.splitlines()
    [row] = [place for place, line in enumerate(lines) if line.startswith("refund ")]
    [remark] = [
        place for place, line in enumerate(lines) if "，恢复：publisher resume" in line
    ]
    assert lines[remark].endswith("publisher resume beijing-weibo --by 姓名")
    assert (remark > row) is is_below


@pytest.mark.parametrize("scope", ["all", "platform:weibo", "beijing-weibo", "refund"])
def test_status_says_that_a_pause_delays_what_is_due(run, due_post, scope):
    """A pause shows a code for machines, and a text and command for people, in both languages.

    This holds for any scope of the pause.
    """
    assert (
        run("-C", due_post, "status", "--json").json["deliveries"][0]["reason"] is None
    )
    assert run("-C", due_post, "pause", scope, "--by", "王").code == 0
    [row] = run("-C", due_post, "status", "--json").json["deliveries"]
    assert (row["state"], row["reason"]) == ("due", "paused")
    command = f"publisher resume {scope} --by"
    [reported] = [
        line
        for line in run("-C", due_post, "status").out.splitlines()
        if line.startswith("refund ")
    ]
    assert f"恢复：{command}" in reported
    [reported] = [
        line
        for line in run("-C", due_post, "--lang", "en", "status").out.splitlines()
        if line.startswith("refund ")
    ]
    assert f"to lift it: {command}" in reported


def test_a_pause_of_something_else_is_no_reason(run, due_post):
    """Another platform's pause delays nothing here."""
    assert run("-C", due_post, "pause", "platform:wechat", "--by", "王").code == 0
    assert (
        run("-C", due_post, "status", "--json").json["deliveries"][0]["reason"] is None
    )


def test_a_foreign_database_is_refused(run, due_post):
    """A drill's database is refused in live operation, a damaged one always, with exit code 3."""
    settings = (due_post / "publisher.toml").read_text("utf-8")
    (due_post / "publisher.toml").write_text(
        settings.replace('"drill"', '"live"'), "utf-8"
    )
    refused = run("-C", due_post, "status")
    assert refused.code == 3
    assert "drill" in refused.err
    (due_post / "publisher.toml").write_text(settings, "utf-8")
    for path in (due_post / "var").glob("publisher.db*"):
        path.write_bytes(b"no database" * 1000)
    assert run("-C", due_post, "status").code == 3


def test_a_silent_database_is_reported(run, drill):
    """A database server that does not answer ends in a message and exit code 1."""
    settings = (drill / "publisher.toml").read_text("utf-8")
    (drill / "publisher.toml").write_text(
        f'database = "postgresql://nobody@127.0.0.1:9/x"\n{settings}', "utf-8"
    )
    reported = run("-C", drill, "status")
    assert reported.code == 1
    assert "没有应答" in reported.err
    assert run("-C", drill, "check").code == 0


def test_i24_old_ended_deliveries_are_shown_only_on_request(run, due_post, deliver):
    """Open deliveries stay in `status` at any age; ended ones only for some days, with a note."""
    deliver(PUBLISHED)
    with sqlite3.connect(due_post / "var" / "publisher.db") as database:
        database.execute(
            "UPDATE delivery SET due_at = due_at - 8 * 86400000000 WHERE id = 1"
        )
    kept = run("-C", due_post, "status", "--json").json
    assert (kept["deliveries"], kept["has_older"]) == ([], True)
    assert "status --all" in run("-C", due_post, "status").out
    for arguments in (("--all",), ("refund",)):
        shown = run("-C", due_post, "status", *arguments, "--json").json
        assert (len(shown["deliveries"]), shown["has_older"]) == (1, False)
    with sqlite3.connect(due_post / "var" / "publisher.db") as database:
        database.execute("UPDATE delivery SET state = 'held' WHERE id = 1")
    shown = run("-C", due_post, "status", "--json").json
    assert (len(shown["deliveries"]), shown["has_older"]) == (1, False)
