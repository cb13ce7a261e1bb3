"""Output to the terminal. A Chinese character takes two of its columns."""

import getpass
import json
import os
import shutil
import signal
import sys
import termios
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any, TextIO

import click

from publisher.domain.characters import escape_forbidden
from publisher.domain.delivery import State
from publisher.i18n import Messages
from publisher.runtime.logs import is_stderr_json, log

_MAX_FIRST_COLUMN_WIDTH = 30
_COLUMN_GAP = 2
STATE_STYLES: Mapping[State, str] = {
    State.PUBLISHED: "green",
    State.HELD: "bold yellow",
    State.UNKNOWN: "yellow",
    State.RETRACTING: "bold red",
    State.FAILED: "bold red",
    State.EXPIRED: "red",
    State.REMOVED: "red",
}


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text with control and invisible characters escaped.

    So a terminal obeys nothing in it.
    """
    click.echo(escape_forbidden(text), err=err, nl=nl)


def write_sequences(text: str, terminal: TextIO) -> None:
    """Write text with escape sequences of ours. Text of others in it is escaped before."""
    click.echo(text, file=terminal, nl=False, color=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """Results go to standard output; notes and progress to standard error."""

    messages: Messages
    workspace: Path

    def translate(self, code: str, /, **facts: object) -> str:
        return self.messages.translate(code, **facts)

    def print_message(self, code: str, /, **facts: object) -> None:
        echo(self.translate(code, **facts))

    def print_note(self, code: str, /, **facts: object) -> None:
        """Print a note to standard error.

        Where that is a log of JSON lines, the note is one: the event `code` with its facts.
        """
        message = self.translate(code, **facts)
        if is_stderr_json():
            log.info(code, **{**facts, "message": message})
        else:
            echo(message, err=True)

    def print_error(
        self, message: str, hint: str, code: str, *, shows_code: bool = False
    ) -> None:
        """Print an error with its hint to standard error, or as an event of a log that is JSON."""
        if is_stderr_json():
            log.error(code, message=message, **({"hint": hint} if hint else {}))
            return
        if shows_code:
            message = self.translate("message_with_code", message=message, code=code)
        echo(message, err=True)
        if hint:
            echo(f"    {hint}", err=True)

    def print_table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        styled_column: str | None = None,
        styles: Sequence[str] = (),
    ) -> None:
        """Print rows below the headings `column_NAME`.

        On a terminal the cells of `styled_column` have the styles, one for each row. If a line
        would not fit, the cells after them stand below it. No cell is broken, so that an address or
        a command in it can be copied.
        """
        heading = [self.translate(f"column_{column}") for column in columns]
        lines = list(align_columns([heading, *rows]))
        if styled_column is None or not sys.stdout.isatty():
            echo("\n".join(lines))
            return
        styled = columns.index(styled_column)
        is_narrow = max(map(text_width, lines)) > shutil.get_terminal_size().columns
        shown = [row[: styled + 1] if is_narrow else row for row in (heading, *rows)]
        for row, style, cells in zip(
            (heading, *rows), ("bold", *styles), pad_cells(shown), strict=True
        ):
            parts = [escape_forbidden(cell) for cell in cells]
            if row is heading:
                parts = [set_style(part, style) for part in parts]
            else:
                parts[styled] = set_style(parts[styled], style)
            click.echo("".join(parts).rstrip())
            if is_narrow and row is not heading:
                named = zip(heading[styled + 1 : -1], row[styled + 1 : -1], strict=True)
                details = [*(f"{name} {cell}" for name, cell in named), row[-1]]
                echo(f"    {self.translate('list_comma').join(filter(None, details))}")

    def print_json(self, value: Any) -> None:  # noqa: ANN401 # any JSON value
        echo(json.dumps(value, ensure_ascii=False, indent=2))


@contextmanager
def hidden_input() -> Iterator[None]:
    """Turn off the terminal's echo, as for a password, if there is one.

    ^C ends a read from standard input at once; asyncio's own handler would put that off until the
    line is complete.
    """
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        number = sys.stdin.fileno()
        before = termios.tcgetattr(number)
        hidden = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
        termios.tcsetattr(number, termios.TCSAFLUSH, hidden)
    try:
        yield
    finally:
        if is_terminal:
            termios.tcsetattr(number, termios.TCSAFLUSH, before)
            click.echo(err=True)
        signal.signal(signal.SIGINT, interrupt)


def has_terminal() -> bool:
    """Return True if a person can be asked.

    This holds also while standard input or standard error is a file.
    """
    return sys.stdin.isatty() or sys.stderr.isatty()


def ask_hidden(prompt: str) -> str:
    """Ask for a password or a code on the terminal. ^C ends it at once.

    Without a terminal the answer is the next line of standard input; "" at its end.
    """
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if not has_terminal():
            return sys.stdin.readline().rstrip("\r\n")
        return getpass.getpass(f"{escape_forbidden(prompt)} ")
    except EOFError:
        return ""
    finally:
        signal.signal(signal.SIGINT, interrupt)


def display_path(path: str | Path) -> str:
    """Return a path relative to the current folder where it lies below that, else as it is.

    Below the root every path does, and would only lose its slash.
    """
    full, current = Path(path), Path.cwd()
    if current == Path(current.root) or not full.is_relative_to(current):
        return str(full)
    return str(full.relative_to(current))


def text_width(text: str) -> int:
    return (
        len(text)
        if text.isascii()
        else sum(
            2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text
        )
    )


def shorten(text: str, width: int) -> str:
    """Return a text cut to so many columns, with an ellipsis where something is missing."""
    if text_width(text) <= width:
        return text
    while text_width(text) > width - 1:
        text = text[:-1]
    return f"{text}…"


def align_columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows as lines with cells padded to columns."""
    for cells in pad_cells(rows):
        yield "".join(cells).rstrip()


def pad_cells(rows: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Yield the cells of each row, padded to columns."""
    widths = [max(map(text_width, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield [
            cell + " " * (width - text_width(cell) + _COLUMN_GAP)
            for cell, width in zip(row, widths, strict=True)
        ]


def set_style(text: str, style: str) -> str:
    """Return a padded cell in a style such as `bold red`.

    An empty style changes nothing, nor does any style with NO_COLOR.
    """
    if not style or os.environ.get("NO_COLOR"):
        return text
    bare, colour = text.rstrip(), style.removeprefix("bold").strip()
    return click.style(bare, fg=colour or None, bold=style.startswith("bold")) + " " * (
        len(text) - len(bare)
    )


def wrap_text(text: str, width: int) -> Iterator[str]:
    """Yield lines of at most `width` columns, broken between words or Chinese characters."""
    starts = [
        0,
        *(
            place
            for place in range(1, len(text))
            if can_break(text[place - 1], text[place])
        ),
    ]
    line = ""
    for start, end in pairwise([*starts, len(text)]):
        piece = text[start:end]
        if line and text_width(line + piece.rstrip()) > width:
            yield line.rstrip()
            line = ""
        line += piece if line else piece.lstrip()
    if line.strip():
        yield line.rstrip()


def can_break(before: str, after: str) -> bool:
    """True if a line may break here: not before closing punctuation, not after opening."""
    if unicodedata.category(after) in {"Pe", "Pf", "Po"} or unicodedata.category(
        before
    ) in {
        "Ps",
        "Pi",
    }:
        return False
    return before == " " or text_width(before) == 2 or text_width(after) == 2


class ColumnHelp(click.HelpFormatter):
    """Click's help formatter, measured in terminal columns."""

    def write_heading(self, heading: str) -> None:
        """Write a heading without click's colon: the catalogue's headings have one."""
        self.write(f"{' ' * self.current_indent}{heading}\n")

    def write_text(self, text: str) -> None:
        indent = " " * self.current_indent
        for paragraph in text.splitlines():
            for line in (
                wrap_text(paragraph, self.width - self.current_indent)
                if paragraph.strip()
                else [""]
            ):
                self.write(f"{indent}{line}".rstrip() + "\n")

    def write_dl(
        self,
        rows: Iterable[tuple[str | None, str | None]],
        col_max: int = _MAX_FIRST_COLUMN_WIDTH,
        col_spacing: int = _COLUMN_GAP,
    ) -> None:
        pairs: Sequence[tuple[str, str]] = [
            (first or "", second or "") for first, second in rows
        ]
        first_width = min(
            max((text_width(first) for first, _ in pairs), default=0), col_max
        )
        indent = " " * self.current_indent
        room = max(self.width - self.current_indent - first_width - col_spacing, 10)
        for first, second in pairs:
            lines = list(wrap_text(second, room))
            if text_width(first) > first_width:
                self.write(f"{indent}{first}\n")
                first = ""  # noqa: PLW2901 # the rest of the row goes below it
            for left, right in zip_longest([first], lines, fillvalue=""):
                blank = " " * (first_width - text_width(left) + col_spacing)
                self.write(f"{indent}{left}{blank}{right}".rstrip() + "\n")
