"""A live display: lines at the end of a terminal's output, drawn again in place."""

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from publisher.cli.terminal import set_style, text_width, write_sequences
from publisher.domain.characters import escape_forbidden

_ERASE_BELOW = "\x1b[J"
_CUT_LINES, _BREAK_LINES = "\x1b[?7l", "\x1b[?7h"
"""A terminal cuts lines at its edge, or breaks them, as by default.

Only lines that are cut take as many rows as were counted.
"""
_PART_GAP = "  "


class LiveDisplay(io.TextIOBase):
    """A display of lines on a terminal. As a stream it prints text above them."""

    encoding = "utf-8"

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._lines: Sequence[str] = ()
        self._shown_number = 0
        self._rest = ""

    def show(self, lines: Sequence[str]) -> None:
        """Draw lines in place of the last ones, if they differ.

        More than fit the terminal are left out: it cannot draw above its top.
        """
        if lines != self._lines:
            self._lines = lines
            self._draw()

    def write(self, text: str) -> int:
        """Print complete lines above the display. A command in them is not broken."""
        above, newline, rest = (self._rest + text).rpartition("\n")
        self._rest = rest
        if newline:
            self._draw(above + newline)
        return len(text)

    def isatty(self) -> bool:
        return True

    def finish(self) -> None:
        """Draw all lines a last time, also more than fit."""
        self._draw(is_last=True)

    def _draw(self, above: str = "", *, is_last: bool = False) -> None:
        lines, room = self._lines, max(1, shutil.get_terminal_size().lines - 1)
        if len(lines) > room and not is_last:
            lines = [*lines[: room - 1], "…"]
        up = f"\x1b[{self._shown_number}A" if self._shown_number else ""
        shown = "".join(f"{line}\n" for line in lines)
        text = f"\r{up}{_ERASE_BELOW}{above}{_CUT_LINES}{shown}{_BREAK_LINES}"
        write_sequences(text, self._terminal)
        self._shown_number = len(lines)


def can_draw() -> bool:
    """True if standard output is a terminal that moves its cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


@contextlib.contextmanager
def live_display() -> Iterator[LiveDisplay]:
    """Yield a display on standard output. What is printed meanwhile goes above it."""
    display = LiveDisplay(sys.stdout)
    with contextlib.ExitStack() as stack:
        stack.callback(display.finish)
        stack.enter_context(contextlib.redirect_stdout(display))
        if sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(display))
        yield display


def wrap_parts(parts: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    """Yield lines of escaped parts, each a text and its style. No part is broken."""
    line, used = "", 0
    for raw, style in parts:
        text = escape_forbidden(raw)
        if line and used + text_width(text) > width:
            yield line.rstrip()
            line, used = "", 0
        line += set_style(text, style) + _PART_GAP
        used += text_width(text + _PART_GAP)
    yield line.rstrip()
