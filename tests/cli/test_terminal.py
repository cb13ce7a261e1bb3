"""No text that is shown can control a terminal."""

import ast
import csv
import json
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import structlog

import publisher.cli
from publisher.app.format import Formatter
from publisher.cli.commands.report import build_report, write_csv
from publisher.cli.terminal import Terminal, echo
from publisher.domain.account import AccountId, Platform
from publisher.i18n import Messages
from publisher.runtime.logs import configure_command_logging, log
from tests.cli.posts import warning, write_schedule

ATTACK = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u200b\rx"
SPELLED = "\\u001b[2J\\u001b]0;owned\\u0007\\u009b31m\\u202e\\u200b\\rx"


def test_f66_shown_text_cannot_control_a_terminal(capsys):
    """Escapes, C1 controls, bidi marks and a lone carriage return are escaped, on both streams."""
    echo(f"微博说：{ATTACK}\n第二行")
    echo(ATTACK, err=True)
    shown = capsys.readouterr()
    assert shown.out == f"微博说：{SPELLED}\n第二行\n"
    assert shown.err == f"{SPELLED}\n"


def test_f66_json_has_the_same_text_and_cannot_control_a_terminal(capsys):
    """A program that parses the JSON gets the exact characters; a human reader gets none."""
    Terminal(messages=Messages(), workspace=Path()).print_json({"reason": ATTACK})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"reason": ATTACK}
    assert not set(shown) & set("\x1b\x07\x9b\u202e\u200b\r")


def test_f66_check_names_what_it_found_and_never_shows_it(run, workspace):
    """File, line, column, code point and name; exit code 1."""
    write_schedule(workspace, warning().replace("退款客服", "退款\u202e客服"))
    found = run("-C", workspace, "--lang", "en", "check")
    assert found.code == 1
    assert "schedule.toml:8:15:" in found.out
    assert "U+202E RIGHT-TO-LEFT OVERRIDE" in found.out
    assert "\u202e" not in found.out + found.err


def test_f66_facts_of_a_region_are_checked_like_texts(run, workspace):
    """The name of the police, a tip line, a link: they are in every text."""
    file = workspace / "publisher.toml"
    file.write_text(
        file.read_text("utf-8")
        + '\n[region.x]\nname = "北\\u200b京"\ntip_line = "123\u200b77"\n',
        "utf-8",
    )
    found = run("-C", workspace, "--lang", "en", "check", "--json")
    assert found.code == 1
    (problem,) = [
        each for each in found.json["problems"] if each["code"] == "invisible_character"
    ]
    assert problem["file"].endswith("publisher.toml")
    assert "U+200B ZERO WIDTH SPACE" in problem["message"]


def test_f66_arguments_cannot_control_a_terminal(run, workspace):
    """A wrong argument is repeated in the error, escaped."""
    refused = run("-C", workspace, "why", ATTACK)
    assert refused.code
    assert not set(refused.out + refused.err) & set("\x1b\x07\x9b\u202e\u200b\r")


def test_f66_a_log_line_cannot_control_a_terminal(capsys):
    """Names and fields of an event, at any depth."""
    kept = structlog.get_config()
    configure_command_logging()
    log.warning(
        "reply", result=ATTACK, deep={"k\x1b": [ATTACK]}, thing=ValueError(ATTACK)
    )
    structlog.configure(**kept)
    shown = capsys.readouterr().err
    assert "owned" in shown
    assert not set(shown) & set("\x1b\x07\x9b\u202e\u200b\r")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_a_report_has_no_formula_for_a_spreadsheet(tmp_path, start):
    """A cell that would be a formula is text: it has a prefix."""
    account = AccountId(f"{start}HYPERLINK(1)\x1b")
    drawn = build_report(
        date(2027, 1, 1), date(2027, 1, 2), (), {}, {account: Platform("x")}
    )
    write_csv(
        tmp_path / "r.csv",
        drawn,
        Formatter(messages=Messages(), timezone=ZoneInfo("Asia/Shanghai")),
    )
    rows = [*csv.reader((tmp_path / "r.csv").read_text("utf-8-sig").splitlines())]
    assert f"'{start}HYPERLINK(1)\\u001b" in [row[0] for row in rows if row]


def test_only_one_place_writes_to_the_terminal():
    """Output that bypasses it would let a platform's text through."""
    folder = Path(publisher.cli.__file__).parent
    calls = [
        f"{path.relative_to(folder)}:{node.lineno}"
        for path in folder.rglob("*.py")
        if path.name != "terminal.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"click.echo", "click.secho", "print"}
    ]
    assert calls == []
