"""Manual tasks at the command line, and changes of an account's mode."""

import json
import re
import shutil
import sqlite3
import subprocess
import tomllib
from pathlib import Path

import pytest

from publisher.cli import run_command
from publisher.store.recovery.setup import claim_folder
from tests.cli.conftest import make_drill, publisher_command
from tests.cli.posts import warning, write_schedule

BY = ("--by", "王", "--reason", "试验")
REFUND = "refund@beijing-weibo"
URL = "https://weibo.com/1/a"


def set_manual(drill, platforms, mode="assisted"):
    """Set these platforms to manual posting, without link or accepted risk, and keep no secret."""
    file = drill / "publisher.toml"
    text = file.read_text("utf-8")
    parts = text.split("[[account]]")
    for place, part in enumerate(parts[1:], 1):
        if tomllib.loads(part)["platform"] in platforms:
            parts[place] = f'\nmode = "{mode}"' + re.sub(
                r"(?m)^(?:link_template|accept_risk|mode) = .*\n", "", part
            )
    file.write_text("[[account]]".join(parts), "utf-8")
    for secret in (drill / "secrets").iterdir():
        secret.unlink()


@pytest.fixture(scope="module")
def assigned_once(tmp_path_factory):
    """Return a drill with manual posting on every platform and one assigned task, to be copied."""
    folder = make_drill(
        tmp_path_factory.mktemp("assigned") / "drill", "http://127.0.0.1:9"
    )
    set_manual(folder, {"weibo", "wechat", "tieba"})
    write_schedule(folder, warning("refund", to='["all"]'))
    assert run_command(["-C", str(folder), "check"]) == 0
    assert run_command(["-C", str(folder), "send", "refund", "--by", "王"]) == 0
    command = publisher_command("-C", folder, "run", "--once")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        # no platform is asked for the time: a person confirms the clock
        while running.poll() is None:
            run_command(["-C", str(folder), "doctor", "--confirm-clock", "--by", "王"])
        assert running.stderr
        assert running.returncode == 0, running.stderr.read()
    return folder


@pytest.fixture
def assigned(assigned_once, tmp_path):
    """Return a copy of such a drill."""
    folder = Path(shutil.copytree(assigned_once, tmp_path / "drill"))
    claim_folder(f"sqlite:///{folder / 'var' / 'publisher.db'}")
    return folder


@pytest.mark.long
def test_a_single_run_assigns_tasks_and_ends(run, assigned):
    """`run --once` assigns tasks and ends, needing no secret, call or wait for open tasks."""
    shown = run("-C", assigned, "status", "--json").json
    assert {row["state"] for row in shown["deliveries"]} == {"submitted"}
    assert {row["reason"] for row in shown["deliveries"]} == {"manual_task_open"}
    assert ({alert["code"] for alert in shown["alerts"]}, shown["paused"]) == (
        {"manual_task_waiting"},
        [],
    )
    assert run("-C", assigned, "status").out.count("等待人工发布") >= 3


@pytest.mark.long
def test_the_counts_call_a_manual_task_as_its_row_does(run, assigned):
    """Nothing is said to be accepted by the platform where a person is to post it."""
    [counts] = [
        line
        for line in run("-C", assigned, "status").out.splitlines()
        if line.startswith("共 ")
    ]
    assert "等待人工发布 3" in counts
    assert "平台已受理" not in counts


def test_the_history_of_a_manual_task_names_no_call(run, assigned):
    """`why` says that a person was asked to post, not that the platform was called or accepted."""
    history = run("-C", assigned, "--lang", "en", "why", REFUND).out
    assert "handed to a person; the platform is not called" in history
    assert "waits to be posted manually" in history
    assert "calls so far: 0" in history
    assert "the call begins" not in history
    assert "accepted by the platform" not in history


def test_the_list_contains_what_a_person_needs(run, assigned):
    """The list has the exact text, pictures as files, an article as a page, deadline and wait.

    The wait is the time since the task was assigned.
    """
    tasks = {
        row["platform"]: row
        for row in run("-C", assigned, "assist", "--json").json["tasks"]
    }
    with sqlite3.connect(assigned / "var" / "publisher.db") as connection:
        frozen = [
            json.loads(body)
            for (body,) in connection.execute("SELECT body FROM rendered_post")
        ]
    connection.close()
    assert {row["account"]: row["text"] for row in tasks.values()} == {
        body["account"]: body["text"] for body in frozen
    }
    for row in tasks.values():
        assert row["marker"] in row["text"]
        assert row["deadline"].endswith("+08:00")
        assert (row["waiting_seconds"] >= 0, row["reported"], row["paused"]) == (
            True,
            None,
            False,
        )
        assert row["folder"] == str(
            assigned / "var" / "assist" / f"refund@{row['account']}"
        )
    article = tasks["wechat"]
    page = (
        assigned / "var" / "assist" / f"refund@{article['account']}" / "article.html"
    ).read_text("utf-8")
    assert article["article"].endswith("article.html")
    assert "media:" not in page
    assert article["pictures"]
    for row in tasks.values():
        for picture in row["pictures"]:
            assert (assigned / picture).stat().st_size > 0


def test_a_picture_that_is_gone_is_named(run, assigned):
    """A picture that is no longer stored is named by its description, and not left out."""
    described = run("-C", assigned, "assist").out
    [picture] = set(re.findall(r"图片：.*?（(.*)）", described))
    with sqlite3.connect(assigned / "var" / "publisher.db") as connection:
        connection.execute("DELETE FROM media")
    connection.close()
    shown = run("-C", assigned, "assist").out
    assert f"图片：{picture}（数据库中已没有这张图片" in shown
    tasks = run("-C", assigned, "assist", "--json").json["tasks"]
    assert not any(row["pictures"] for row in tasks)
    assert any(row["missing_pictures"] for row in tasks)


def test_the_list_warns_of_what_can_never_be_verified(run, assigned):
    """WeChat lists no mass sends, so a person is warned before posting one."""
    result = run("-C", assigned, "assist").out
    tasks = run("-C", assigned, "assist", "--json").json["tasks"]
    assert (
        result.count("群发通知")
        == sum(row["platform"] == "wechat" for row in tasks)
        > 0
    )


def test_the_list_is_readable_for_people(run, assigned):
    """Each task gives the place to post, the text to copy, the deadline and the way to report."""
    reported = run("-C", assigned, "assist").out
    text = next(
        row["text"]
        for row in run("-C", assigned, "assist", "--json").json["tasks"]
        if row["platform"] == "weibo"
    )
    assert text in reported
    assert f"publisher assist done {REFUND} 网址 --by 姓名" in reported
    assert "3 条" in reported
    english = run("-C", assigned, "--lang", "en", "assist").out
    assert "Copy the text between the lines" in english


def test_an_empty_list_is_reported(run, drill):
    """Without database, or without tasks, the list is empty and no database is created."""
    assert "没有等待人工发布" in run("-C", drill, "assist").out
    assert run("-C", drill, "assist", "--json").json == {"tasks": []}
    assert list((drill / "var").iterdir()) == []


def test_a_report_is_recorded_and_shown(run, assigned):
    """The report is shown until it is verified; the task stays open and the delivery submitted."""
    reported = run("-C", assigned, "assist", "done", REFUND, URL, "--by", "王")
    assert (reported.code, "没有运行" in reported.err) == (0, True)
    row = next(
        row
        for row in run("-C", assigned, "assist", "--json").json["tasks"]
        if row["platform"] == "weibo"
    )
    assert (row["reported"]["url"], row["reported"]["by"]) == (URL, "王")
    delivery = next(
        row
        for row in run("-C", assigned, "status", "--json").json["deliveries"]
        if row["platform"] == "weibo"
    )
    assert (delivery["state"], delivery["reason"]) == (
        "submitted",
        "manual_task_checking",
    )
    why = run("-C", assigned, "why", REFUND).out
    assert "报告已人工发布" in why
    assert "请勿重发" in why


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("done",), 2),
        (("done", REFUND), 2),
        (("done", REFUND, URL), 2),
        (("done", REFUND, "weibo.com/1/a", "--by", "王"), 2),
        (("done", "refund", URL, "--by", "王"), 2),
        (("finished", REFUND, URL, "--by", "王"), 2),
        (("done", "nothing@beijing-weibo", URL, "--by", "王"), 4),
        (("done", "refund@no-one", URL, "--by", "王"), 4),
    ],
)
def test_an_impossible_report_is_refused(run, assigned, arguments, code):
    """Wrong usage ends with 2, an unknown delivery with 4; nothing is recorded."""
    assert run("-C", assigned, "assist", *arguments).code == code
    assert all(
        row["reported"] is None
        for row in run("-C", assigned, "assist", "--json").json["tasks"]
    )


def test_two_people_end_a_task_that_cannot_be_read(run, assigned):
    """Two confirmations publish it and end the task; a report that comes later says so."""
    for ruling, name in (("published", "王"), ("confirm", "李")):
        url = [URL] if ruling == "published" else []
        resolved = run(
            "-C",
            assigned,
            "resolve",
            REFUND,
            ruling,
            *url,
            "--by",
            name,
            "--reason",
            "试验",
        )
        assert resolved.code == 0, resolved.err
    row = next(
        row
        for row in run("-C", assigned, "status", "--json").json["deliveries"]
        if row["platform"] == "weibo"
    )
    assert (row["state"], row["url"], row["verified_at"]) == ("published", URL, None)
    again = run("-C", assigned, "assist", "done", REFUND, URL, "--by", "王")
    assert (again.code, "已经记为已发布" in again.out) == (0, True)


def test_a_task_is_taken_back_by_a_resolution(run, assigned):
    """`cancel` ends a task, `resend` makes it due again, and neither can be reported then.

    It is due in the account's present mode.
    """
    assert run("-C", assigned, "resolve", REFUND, "cancel", *BY).code == 0
    late = run("-C", assigned, "assist", "done", REFUND, URL, "--by", "王")
    assert (late.code, "不在人工手里" in late.err) == (1, True)
    assert (
        run("-C", assigned, "resolve", "refund@beijing-wechat", "resend", *BY).code == 0
    )
    states = {
        row["account"]: row["state"]
        for row in run("-C", assigned, "status", "--json").json["deliveries"]
    }
    assert (states["beijing-weibo"], states["beijing-wechat"]) == ("cancelled", "due")


def test_a_paused_task_says_so(run, assigned):
    """During a pause the task says that nobody should post it."""
    assert (
        run(
            "-C", assigned, "pause", "beijing-weibo", "--by", "王", "--reason", "核实"
        ).code
        == 0
    )
    assert "请先不要发布" in run("-C", assigned, "assist").out


def test_a_mode_override_is_set_shown_and_lifted(run, drill):
    """`status` and `why` show the order with person and reason, and `settings` ends it."""
    write_schedule(drill, warning("refund", to='["platform:weibo"]'))
    assert run("-C", drill, "send", "refund", "--by", "王").code == 0
    reported = run("-C", drill, "mode", "beijing-weibo", "off", *BY)
    assert (reported.code, "停用（off）" in reported.out) == (0, True)
    [order] = run("-C", drill, "status", "--json").json["modes"]
    assert (order["account"], order["mode"], order["by"], order["reason"]) == (
        "beijing-weibo",
        "off",
        "王",
        "试验",
    )
    assert "publisher mode beijing-weibo settings" in run("-C", drill, "status").out
    assert "停用（off）" in run("-C", drill, "why", REFUND).out
    assert run("-C", drill, "mode", "beijing-weibo", "settings", *BY).code == 0
    assert run("-C", drill, "status", "--json").json["modes"] == []


def test_modes_that_cannot_work_are_refused(run, drill):
    """Modes that cannot work are refused.

    Examples are automatic posting without permission, any mode on an account that is off, and
    unknown accounts.
    """
    set_manual(drill, {"weibo"})
    set_manual(drill, {"wechat"}, "off")
    assert "link_template" in run("-C", drill, "mode", "beijing-weibo", "api", *BY).err
    refused = [
        run("-C", drill, "mode", *arguments, *BY).code
        for arguments in (
            ("beijing-weibo", "api"),
            ("beijing-wechat", "assisted"),
            ("no-one", "off"),
            ("beijing-weibo", "on"),
        )
    ]
    assert refused == [1, 1, 4, 2]
    assert run("-C", drill, "mode", "beijing-weibo", "off").code == 2


THREAD = "https://tieba.baidu.com/p/10990000001"
SECOND = "（接上层，2/2）〔K7QM-4R2T〕\r\n余下的话。"


@pytest.fixture
def begun(assigned):
    """Return a drill with a published Tieba post and its second part assigned to a person."""
    database = sqlite3.connect(assigned / "var" / "publisher.db")
    [(account, name, body)] = database.execute(
        "SELECT d.account, r.fingerprint, r.body FROM delivery d"
        " JOIN rendered_post r ON r.fingerprint = d.rendered_hash"
        " WHERE d.platform = 'tieba'"
    ).fetchall()
    body = json.dumps({**json.loads(body), "extra_parts": [SECOND]})
    database.execute(
        "UPDATE rendered_post SET body = ? WHERE fingerprint = ?", (body, name)
    )
    database.execute(
        "UPDATE delivery SET extra_parts = 1, parts_done = 1,"
        " remote_id = '10990000001', url = ?, published_at = 1"
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
    """A person gets the part's own text and the address to reply under, in both languages.

    The post's title and pictures are left out.
    """
    folder, account = begun
    [row] = [
        row
        for row in run("-C", folder, "assist", "--json").json["tasks"]
        if row["account"] == account
    ]
    assert (row["text"], row["floor"], row["pictures"]) == (
        SECOND,
        {"number": 2, "under": THREAD},
        [],
    )
    reported = run("-C", folder, "assist").out
    assert f"第 2 层，共 2 层：请在 {THREAD} 下面回复" in reported
    assert "余下的话" in reported
    assert (
        f"part 2 of 2: reply under {THREAD}"
        in run("-C", folder, "--lang", "en", "assist").out
    )


def test_status_and_why_show_the_progress(run, begun):
    """`status` and `why` show the next part, the decision about a held one, and how it ended."""
    folder, account = begun
    target = f"refund@{account}"
    rows = {
        row["account"]: row
        for row in run("-C", folder, "status", "--json").json["deliveries"]
    }
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
    assert (
        run(
            "-C", folder, "resolve", target, "cancel", "--by", "王", "--reason", "够了"
        ).code
        == 0
    )
    assert "只发布了 1 层，共 2 层" in run("-C", folder, "status", "--today").out
    assert (
        "1 of 2 parts are published"
        in run("-C", folder, "--lang", "en", "why", target).out
    )
