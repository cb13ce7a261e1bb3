"""The live display: lines that are drawn again in place, and other text above them."""

import io
import re
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest
import structlog

from publisher.cli.live_display import LiveDisplay, can_draw, live_display, wrap_parts
from publisher.cli.terminal import echo, text_width
from publisher.runtime.logs import configure_command_logging, log

PIECE = re.compile(r"\x1b\[(\??)(\d*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen(io.StringIO):
    """A terminal of some columns and rows. Rows that have left at the top cannot change."""

    def __init__(self, columns=40, rows=24):
        super().__init__()
        self.columns, self.height = columns, rows
        self.rows, self.row = [""], 0
        self.breaks = True

    def isatty(self):
        return True

    def write(self, text):
        for private, number, order, move, letters in PIECE.findall(text):
            if order == "A":
                self.row = max(self.row - int(number), len(self.rows) - self.height, 0)
            elif order == "J":
                del self.rows[self.row + 1 :]
                self.rows[self.row] = ""
            elif private and number == "7":
                self.breaks = order == "h"
            elif move == "\n":
                self.go_down()
            elif letters:
                self.print_letters(letters)
        return len(text)

    def go_down(self):
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append("")

    def print_letters(self, letters):
        for letter in letters:
            if text_width(self.rows[self.row] + letter) > self.columns:
                if not self.breaks:
                    continue
                self.go_down()
            self.rows[self.row] += letter


@pytest.fixture
def screen(monkeypatch):
    """Return a terminal of the size that programs are given."""
    screen = Screen()
    monkeypatch.setenv("COLUMNS", str(screen.columns))
    monkeypatch.setenv("LINES", str(screen.height))
    return screen


@contextmanager
def displaying(screen):
    """Yield a display on a terminal that standard output and standard error lead to."""
    with redirect_stdout(screen), redirect_stderr(screen), live_display() as display:
        yield display


def test_lines_are_drawn_in_place_and_messages_stand_above(screen):
    """Each line is there once, as it was drawn last. A message keeps its order above."""
    with displaying(screen) as display:
        display.show(["名称  状态", "one   到期"])
        echo("first message")
        display.show(["名称  状态", "one   已发布", "two   到期"])
        echo("second message")
        display.show(["名称  状态", "one   已发布"])
    with redirect_stdout(screen):
        echo("at the end")
    assert screen.rows == [
        "first message",
        "second message",
        "名称  状态",
        "one   已发布",
        "at the end",
        "",
    ]


def test_a_warning_of_the_log_is_not_drawn_over(screen):
    """What is logged or written to standard error stands above the lines too."""
    with displaying(screen) as display:
        display.show(["one"])
        kept = structlog.get_config()
        configure_command_logging()
        log.warning("database_unavailable")
        structlog.configure(**kept)
        echo("an error", err=True)
        display.show(["two"])
    *warning, error, line, end = screen.rows
    assert any(
        words in "".join(warning) for words in ("database_unavailable", "数据库连不上")
    )
    assert (error, line, end) == ("an error", "two", "")


def test_lines_wider_than_the_terminal_are_cut_and_messages_are_broken(screen):
    """A line takes one row, or it would not be found again; a message loses nothing."""
    with displaying(screen) as display:
        display.show(["警" * 30, "x" * 100])
        echo("y" * 50)
        display.show(["x" * 100, "警" * 30])
    assert screen.rows == ["y" * 40, "y" * 10, "x" * 40, "警" * 20, ""]
    assert screen.breaks


def test_more_lines_than_rows_are_left_out_until_the_end(screen):
    """A terminal draws nothing above its top. At the end all lines are shown once."""
    lines = [f"line {number}" for number in range(30)]
    with displaying(screen) as display:
        display.show(lines)
        display.show(lines[::-1])
        assert screen.rows == [*lines[:7:-1], "…", ""]
        display.show(lines)
    assert screen.rows == [*lines, ""]


def test_unchanged_lines_are_not_drawn_again():
    """A person can mark and copy a link above them."""
    screen = io.StringIO()
    display = LiveDisplay(screen)
    display.show(["one"])
    drawn = screen.getvalue()
    display.show(["one"])
    assert screen.getvalue() == drawn


def test_incomplete_text_waits_for_the_end_of_its_line():
    """A program may write a line in parts."""
    screen = io.StringIO()
    display = LiveDisplay(screen)
    display.write("a wa")
    assert screen.getvalue() == ""
    display.write("rning\nand")
    assert "a warning\n" in screen.getvalue()
    assert "and" not in screen.getvalue()


@pytest.mark.parametrize(
    ("term", "is_live"), [("xterm-256color", True), ("dumb", False), ("unknown", False)]
)
def test_a_terminal_without_a_cursor_gets_plain_lines(
    screen, monkeypatch, term, is_live
):
    """Some editors and consoles show escape sequences as text, and say so by TERM."""
    monkeypatch.setenv("TERM", term)
    with redirect_stdout(screen):
        assert can_draw() is is_live
    with redirect_stdout(io.StringIO()):
        assert not can_draw()


def test_a_part_is_never_broken(monkeypatch):
    """Parts fill a line, and go on in the next one; a part that is too wide has its own."""
    monkeypatch.setenv("NO_COLOR", "1")
    parts = [("已发布 3", "green"), ("到期 2", ""), ("x" * 20, ""), ("到期 2", "red")]
    assert list(wrap_parts(parts, 16)) == ["已发布 3  到期 2", "x" * 20, "到期 2"]
    assert list(wrap_parts([], 16)) == [""]


def test_f66_a_part_cannot_control_a_terminal(monkeypatch):
    """F66: escape sequences in a part are shown as text."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert list(wrap_parts([("\x1b[2J", "green")], 16)) == ["\\u001b[2J"]
