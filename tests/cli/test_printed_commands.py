"""Commands that messages name can be run as they are printed."""

import base64
import errno
import getpass
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from publisher.cli import COMMANDS, build_program, program_as_called, run_command
from publisher.cli.terminal import Terminal
from publisher.cli.workspace import create_workspace
from publisher.i18n import LANGUAGES, Messages, command_pattern, load_catalogue
from tests.cli.conftest import Run

WRAPPER = Path(__file__).parents[2] / "docs" / "examples" / "publisher.sh"
POST, ACCOUNT, TARGET = "refund", "beijing-weibo", "refund@beijing-weibo"
FACTS = {
    "subject": TARGET,
    "post": POST,
    "original": POST,
    "account": ACCOUNT,
    "argument": ACCOUNT,
    "url": "https://weibo.com/1/a",
    "number": "5",
    "permission": "view",
}
"""Facts with a form of their own; any other is one word."""
STANDS_FOR = {
    **dict.fromkeys(("TIME", "时间"), "2026-11-27"),
    **dict.fromkeys(("PERMISSION", "权限"), "view"),
    **dict.fromkeys(("ROLE", "角色"), "viewer"),
    **dict.fromkeys(("PUBLIC", "公钥"), base64.b64encode(bytes(32)).decode()),
}
"""Values for a blank with a required form; any other blank is taken as it is."""
NUMBERS = {"alerts": {"编号": "5", "ID": "5"}}
"""Blanks that stand for a number, by command."""
ACTION_OPTIONS = {
    ("assist", "done"): {"--by"},
    ("alerts", "dismiss"): {"--by"},
    ("audit", "accept"): {"--anchors", "--by", "--reason"},
    ("reload", "--confirm-removals"): {"--by"},
    ("doctor", "--confirm-clock"): {"--by"},
}
"""Options that a command requires only for one of its actions."""
END_OF_COMMAND = re.compile(r"[，。；：（）、|<\n]|[.,;:](?=\s|$)|[()]|\s{2,}|$")
"""Punctuation, a redirection, or a gap between columns."""
COMMAND = re.compile(rf"\bpublisher (?:-C \S+ )?({'|'.join(COMMANDS)})\b(?!-)")


DOCS = Path(__file__).parents[2] / "docs"
OPERATORS_PAGES = (
    "accounts.md",
    "approvals.md",
    "audit.md",
    "backups.md",
    "hosts.md",
    "monitoring.md",
    "operating.md",
    "secrets.md",
    "users.md",
)


class HalfCommandError(Exception):
    """A command in a text that cannot be run as it is printed."""


def texts_with_commands() -> Iterator[tuple[str, str]]:
    """Yield the code and the text of each message and hint that names a command."""
    for code, entry in load_catalogue().items():
        for lang in LANGUAGES:
            for text in (entry[lang], entry.get("hint", {}).get(lang, "")):
                if COMMAND.search(text):
                    yield f"{lang} {code}", text


def half_commands_of(text: str) -> list[str]:
    """Return the commands of a text that click refuses, each with its reason."""
    half = []
    text = re.sub(r"{(\w+)}", lambda found: FACTS.get(found[1], "word"), text)
    text = re.sub(r"\[|\]…?", "", text)  # of a synopsis
    for found in COMMAND.finditer(text):
        rest = text[found.end() :]
        ending = END_OF_COMMAND.search(
            re.sub(r'"[^"]*"', lambda quoted: "q" * len(quoted[0]), rest)
        )
        words = shlex.split(
            rest[: ending.start() if ending else None].replace("'", "’")
        )
        try:
            accept_longest(found[1], words)
        except HalfCommandError as error:
            half.append(str(error))
    return half


def accept_longest(name: str, words: list[str]) -> None:
    """Parse as many of the words as click takes; the rest is prose, without an option."""
    reason, stands_for = "", STANDS_FOR | NUMBERS.get(name, {})
    required = {
        option for word in words for option in ACTION_OPTIONS.get((name, word), ())
    }
    for count in range(len(words), -1, -1):
        arguments = [stands_for.get(word, word) for word in words[:count]]
        if not required <= set(arguments) or any(
            word.startswith("-") for word in words[count:]
        ):
            break
        try:
            parse(name, arguments)
        except click.exceptions.Exit:  # --help
            return
        except click.UsageError as error:
            reason = reason or str(error)
        else:
            return
    raise HalfCommandError(f"publisher {name} {' '.join(words)}: {reason}")


def parse(name: str, arguments: list[str]) -> None:
    command = getattr(
        import_module(f"publisher.cli.commands.{name.replace('-', '_')}"),
        name.replace("-", "_"),
    )
    root = click.Context(
        build_program(),
        info_name="publisher",
        obj=Terminal(messages=Messages(), workspace=Path()),
    )
    with root:
        command.make_context(name, list(arguments), parent=root)


def test_a_command_in_a_message_is_whole(capsys: pytest.CaptureFixture[str]):
    """Every command in a message has its arguments, its required options and no unknown ones."""
    texts = list(texts_with_commands())
    assert texts
    assert {
        code: half for code, text in texts if (half := half_commands_of(text))
    } == {}


@pytest.mark.parametrize("page", OPERATORS_PAGES)
def test_a_command_in_the_operators_pages_is_whole(page: str):
    """Every command in a shell block of these pages can be run as it is printed."""
    text = (DOCS / page).read_text("utf-8")
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    commands = "\n".join(blocks)
    assert COMMAND.search(commands)
    assert half_commands_of(commands) == []


@pytest.mark.parametrize(
    "half",
    [
        "Then publisher resume.",
        "请用 publisher resend 重发。",
        "publisher resend {post} --by NAME --reason WHY",
        "publisher resend {subject} --by NAME",
        "publisher resolve {subject} absent --by NAME --reason WHY",
        "publisher cancel {post} --by NAME --reason WHY --now",
        "publisher assist done {subject} URL",
    ],
)
def test_half_a_command_is_found(half: str):
    """A command without target or option, or with an unknown one, is reported."""
    assert len(half_commands_of(half)) == 1


def test_every_command_is_recognised_in_texts():
    """The catalogue knows the program's commands, so that it can print them as they were called."""
    assert all(
        command_pattern().search(f"publisher {name} x")[1] == name for name in COMMANDS
    )
    assert not command_pattern().search(
        "a fault of publisher or its settings; publisher.toml"
    )


def test_messages_name_the_program_and_folder_as_called():
    """A command in a message begins like the command that printed it.

    The exception is a command for a workspace of its own.
    """
    messages = Messages("en", ".venv/bin/publisher", "-C work")
    assert "starts: .venv/bin/publisher -C work run" in messages.translate(
        "no_daemon_hint"
    )
    made = messages.translate("drill_made", folder="new")
    assert ".venv/bin/publisher -C new run" in made
    assert "-C work" not in made.replace("-C work simulate", "")


def test_a_folder_with_braces_or_spaces_is_printed_as_it_is(run: Run, drill: Path):
    """A folder's name is quoted for the shell, and never taken for a blank of the message."""
    odd = drill.rename(drill.with_name("a {post} b"))
    assert f"publisher -C '{odd}' run" in run("--lang", "en", "-C", odd, "status").out


def test_an_error_names_the_program_and_the_folder(
    drill: Path, capsys: pytest.CaptureFixture[str]
):
    """The commands in an error begin like the failed one, with its program and its option -C."""
    run_command(
        ["-C", str(drill), "audit", "verify", "--key", "no key"], "bin/publisher"
    )
    assert f"bin/publisher -C {drill} audit key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "original", "shown"),
    [
        (
            ["/usr/lib/publisher/__main__.py", "status"],
            ["python3", "-P", "-m", "publisher", "status"],
            "python3 -P -m publisher",
        ),
        (["-c"], ["python3", "-c", "pass"], "publisher"),
    ],
)
def test_a_module_is_called_as_such(
    argv: list[str], original: list[str], shown: str, monkeypatch: pytest.MonkeyPatch
):
    """`python -m publisher` is named with its interpreter.

    Without a program file the plain name is printed.
    """
    monkeypatch.setattr("sys.argv", argv)
    monkeypatch.setattr("sys.orig_argv", original)
    assert program_as_called() == shown


def test_a_script_is_plain_only_where_the_shell_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A script on PATH is `publisher`; another one is named by its path as it was typed."""
    script = tmp_path / "my env" / "publisher"
    script.parent.mkdir()
    script.touch(0o755)
    monkeypatch.setattr("sys.argv", [str(script)])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program_as_called() == f"'{script}'"
    monkeypatch.setenv("PATH", str(script.parent))
    assert program_as_called() == "publisher"


@pytest.mark.long
def test_the_wrapper_is_the_command_that_messages_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The shipped wrapper, with other paths in it, runs the program in its workspace.

    The program then finds the workspace without `-C`, and names itself as the wrapper.
    """
    release, folder = tmp_path / "release", tmp_path / "workspace"
    program, wrapper = release / ".venv" / "bin" / "publisher", tmp_path / "publisher"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -P -m publisher "$@"\n', "utf-8"
    )
    program.chmod(0o755)
    text = WRAPPER.read_text("utf-8")
    for name, value in (
        ("USER", getpass.getuser()),
        ("RELEASE", release),
        ("WORKSPACE", folder),
    ):
        text = re.sub(rf"(PUBLISHER_{name})=\S+", rf"\1={value}", text, count=1)
    wrapper.write_text(text, "utf-8")
    wrapper.chmod(0o755)

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [wrapper, "--lang", "en", *arguments],
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    call("init", str(folder))
    assert "publisher user add NAME" in call("user", "list")
    added = call("user", "add", "zhang", "--role", "admin")
    assert "into publisher user activate" in added


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("simulate", "--state", "{taken}"),
            "{taken}: a file or folder of that name exists already",
        ),
        (
            ("simulate", "--listen", "127.0.0.1:{port}"),
            "127.0.0.1:{port}: that address and port are in use",
        ),
        (
            ("simulate", "--listen", "no-host.invalid:1"),
            "no-host.invalid:1: there is no such host",
        ),
        (("init", "{taken}/work"), "a part of the path is no folder"),
    ],
)
def test_an_error_of_the_system_says_what_and_what_to_do(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], said: str
):
    """A refusal of the system names the file or address, the cause in our words, and the remedy."""
    taken = tmp_path / "taken"
    taken.touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        facts = {"taken": str(taken), "port": str(server.getsockname()[1])}
        result = run(
            "--lang", "en", *(argument.format_map(facts) for argument in arguments)
        )
    first, hint = result.err.splitlines()
    assert result.code == 1
    assert said.format_map(facts) in first
    assert hint.startswith("    ")


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A workspace that does not fit names the file that was written when the disk was full."""

    def refuse(_file: Path, _mode: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(OSError, match="secrets/a"):
        create_workspace(tmp_path / "work", {"secrets/a": b"{}"})


def test_a_database_that_does_not_answer_is_named_without_its_password(
    run: Run, drill: Path
):
    """A wrong database address is shown with host, port and checks, but without its password."""
    settings = drill / "publisher.toml"
    address = 'database = "postgresql://user:canary@127.0.0.1:1/posts"\n'
    settings.write_text(address + settings.read_text("utf-8"), "utf-8")
    shown = run("--lang", "en", "-C", drill, "status").err
    assert (
        "The database postgresql://user:***@127.0.0.1:1/posts does not answer" in shown
    )
    assert "Check file, or host, port" in shown
    assert "canary" not in shown
