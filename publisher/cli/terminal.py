"""Where a command was started, and how it speaks to who started it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from publisher.domain.characters import escape_forbidden
from publisher.i18n import Messages


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Write a text to the terminal, which obeys nothing in it: control and invisible characters are spelled out."""
    click.echo(escape_forbidden(text), err=err, nl=nl)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """Answers go to standard output; diagnostics and progress to standard error."""

    messages: Messages
    workspace: Path

    def translate(self, code: str, /, **facts: object) -> str:
        return self.messages.translate(code, **facts)

    def print_message(self, code: str, /, **facts: object) -> None:
        """Answer in words."""
        echo(self.translate(code, **facts))

    def print_note(self, code: str, /, **facts: object) -> None:
        """Tell beside the answer."""
        echo(self.translate(code, **facts), err=True)

    def print_json(self, value: Any) -> None:  # noqa: ANN401 # any JSON value
        """Answer with one JSON document."""
        echo(json.dumps(value, ensure_ascii=False, indent=2))

    @property
    def can_draw_progress(self) -> bool:
        """Whether progress may be drawn: somebody is watching standard error."""
        return sys.stderr.isatty()


@contextmanager
def hidden_input() -> Iterator[None]:
    """Let a terminal not show what is typed or pasted, as for a password; a pipe, or a system without it, stays."""
    if not sys.stdin.isatty() or sys.platform == "win32":
        yield
        return
    import termios  # noqa: PLC0415 # there is none on Windows

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    hidden = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(number, termios.TCSAFLUSH, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSAFLUSH, before)
        click.echo(err=True)


def display_path(path: str | Path) -> str:
    """Name a file as seen from the current folder, where it lies below it."""
    found = Path(path)
    here = Path.cwd()
    return str(found.relative_to(here)) if found.is_relative_to(here) else str(found)
