"""^C, and a terminal that is closed."""

import io
import os
import pty
import re
import select
import signal
import subprocess
from pathlib import Path

import pytest

from publisher.cli import EXIT_INTERRUPTED
from publisher.secrets import Vault
from tests.cli.conftest import publisher_command

pytestmark = pytest.mark.long
PATIENCE = 60


def begin_on_terminal() -> None:
    """Make the terminal controlling, and let ^C interrupt.

    A shell's background jobs ignore ^C.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    terminal = next(number for number in (0, 2) if os.isatty(number))
    os.close(os.open(os.ttyname(terminal), os.O_RDWR))


def start_on_terminal(
    *arguments: str | Path,
    redirects_output: bool = False,
    given: Path | None = None,
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a command with its own controlling terminal; return it and our end of the terminal.

    With `given`, its standard input is that file.
    """
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "rb", 0) if given is None else given.open("rb") as read:
        process = subprocess.Popen(
            publisher_command("--lang", "en", *arguments),
            stdin=read,
            stdout=subprocess.DEVNULL if redirects_output else theirs,
            stderr=subprocess.DEVNULL if redirects_output else theirs,
            start_new_session=True,
            preexec_fn=begin_on_terminal,  # noqa: PLW1509 # nothing else runs
        )
    if given is not None:
        os.close(theirs)
    return process, ours


def read_until(terminal: int, pattern: str) -> str:
    """Return the output up to a match; fail if the command ends before."""
    shown = ""
    while not re.search(pattern, shown):
        assert select.select([terminal], [], [], PATIENCE)[0], shown
        # raises OSError once the command has ended
        shown += os.read(terminal, 4096).decode(errors="replace")
    return shown


def type_line(terminal: int, text: str) -> None:
    """Type a line, as a person does."""
    os.write(terminal, f"{text}\n".encode())


def read_rest(terminal: int) -> str:
    shown = b""
    try:
        while part := os.read(terminal, 4096):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return shown.decode(errors="replace")


@pytest.mark.parametrize(
    ("arguments", "waits_for"),
    [
        (("secret", "set", "new-secret"), "Ctrl-D"),
        (("login", "beijing-weibo"), "paste the whole"),
        (("status", "--watch"), "Daemon"),
    ],
)
def test_an_interrupt_ends_a_command_at_once(
    drill: Path, arguments: tuple[str, ...], waits_for: str
):
    """^C at a prompt or in a repeated table ends the command with the shells' exit code.

    It shows no traceback.
    """
    (drill / "secrets" / "beijing-weibo").unlink()
    Vault(folder=drill / "var").write(
        "beijing-weibo", {"app_key": "1", "app_secret": "2"}
    )
    process, terminal = start_on_terminal("-C", drill, *arguments)
    shown = read_until(terminal, waits_for)
    os.write(terminal, b"\x03")
    shown += read_rest(terminal)
    assert process.wait(PATIENCE) == EXIT_INTERRUPTED, shown
    assert "Traceback" not in shown
    assert "never retrieved" not in shown


@pytest.mark.parametrize("command", ["run", "simulate"])
def test_a_closed_terminal_ends_a_daemon_in_order(drill: Path, command: str):
    """A daemon or simulator on a closed terminal stops as on SIGTERM, not by the signal."""
    port = ("--listen", "127.0.0.1:0") if command == "simulate" else ()
    process, terminal = start_on_terminal("-C", drill, command, *port)
    read_until(terminal, r"http://|pid \d+|process \d+")
    process.send_signal(signal.SIGHUP)
    shown = read_rest(terminal)
    assert process.wait(PATIENCE) == 0, shown


def test_a_daemon_on_a_terminal_speaks_to_a_person(drill: Path):
    """`run` on a terminal prints readable lines in the operator's language and time, no JSON.

    Stopping is one of the lines.
    """
    process, terminal = start_on_terminal("-C", drill, "run")
    shown = read_until(terminal, r"http://|pid \d+|process \d+")
    os.write(terminal, b"\x03")
    shown += read_rest(terminal)
    assert process.wait(PATIENCE) == 0
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  Stopping", shown)
    assert "{" not in shown
    assert '"event"' not in shown


def test_nohup_is_respected(drill: Path):
    """A command that ignores the signal of a closed terminal already, as nohup sets it, goes on."""
    with subprocess.Popen(
        publisher_command("--lang", "en", "simulate", "--listen", "127.0.0.1:0"),
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # noqa: PLW1509 # nothing else runs
    ) as process:
        assert process.stdout
        assert b"http://" in process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def add_user(run, drill, monkeypatch, password):
    """Add an administrator and operator with this password."""
    added = run(
        "-C", drill, "user", "add", "zhang", "--role", "admin", "--role", "operator"
    )
    [link] = re.findall(r"^http\S+/setup#[\w-]{43}$", added.out, re.MULTILINE)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{link}\n{password}\n"))
    assert run("-C", drill, "user", "activate").code == 0


@pytest.mark.parametrize("redirects_output", [False, True])
def test_a_password_is_asked_for_on_the_terminal_and_not_shown(
    run, drill, monkeypatch, redirects_output
):
    """The prompt names the person, and the password is not echoed, even with output to a file.

    The file gets all output.
    """
    add_user(run, drill, monkeypatch, "correct horse battery")
    process, terminal = start_on_terminal(
        "-C", drill, "resume", "--by", "zhang", redirects_output=redirects_output
    )
    shown = read_until(terminal, "Password of zhang")
    type_line(terminal, "correct horse battery")
    shown += read_rest(terminal)
    assert (process.wait(PATIENCE), "horse" in shown) == (0, False), shown


def test_a_secret_is_piped_in_while_the_password_is_typed(run, drill, monkeypatch):
    """Standard input has the secret, so the password is asked for on the terminal, not shown."""
    add_user(run, drill, monkeypatch, "correct horse battery")
    given = drill / "given.json"
    given.write_text('{"url": "wecombot://4711-canary"}', "utf-8")
    process, terminal = start_on_terminal(
        "-C", drill, "secret", "set", "alert-duty", "--by", "zhang", given=given
    )
    shown = read_until(terminal, "Password of zhang")
    type_line(terminal, "correct horse battery")
    shown += read_rest(terminal)
    assert process.wait(PATIENCE) == 0, shown
    assert "horse" not in shown
    assert "canary" not in shown
    assert Vault(folder=drill / "var").read("alert-duty") == {
        "url": "wecombot://4711-canary"
    }


def test_enter_alone_pauses_without_sign_in(run, drill, monkeypatch):
    """The owner stops everything at the prompt by Enter; ^C there ends it and changes nothing."""
    add_user(run, drill, monkeypatch, "correct horse battery")
    process, terminal = start_on_terminal("-C", drill, "pause", "--by", "zhang")
    read_until(terminal, "Enter alone")
    os.write(terminal, b"\x03")
    read_rest(terminal)
    assert process.wait(PATIENCE) == EXIT_INTERRUPTED
    assert run("-C", drill, "status", "--json").json["paused"] == []
    process, terminal = start_on_terminal("-C", drill, "pause", "--by", "zhang")
    read_until(terminal, "Enter alone")
    type_line(terminal, "")
    read_rest(terminal)
    assert process.wait(PATIENCE) == 0
    assert [
        alert["code"] for alert in run("-C", drill, "alerts", "--json").json["alerts"]
    ] == ["break_glass"]
