"""The results of a recorded run in the docs.

They are a table between two marks of a page, and line plots as SVG files.
"""

import math
import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE, IMAGES = ROOT / "docs" / "scaling.md", ROOT / "docs" / "images" / "scaling"

WIDTH, HEIGHT = 380, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 28, 34, 54
COLORS = ("#1f6fb4", "#d1602a", "#3a8f4d", "#8b55a5", "#777777")
TICKS = 4

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Series of points by name, from zero upwards.

    With `is_logarithmic` x has a tick for each power of ten.
    """

    title: str
    x_title: str
    series: Mapping[str, Points]
    is_logarithmic: bool = False

    def draw(self) -> str:
        points = [point for line in self.series.values() for point in line]
        xs = [self._scale(x) for x, _y in points]
        left, right = min(xs), max(*xs, min(xs) + 1e-9)
        step = _round_up(max(y for _x, y in points) / TICKS)
        top = step * math.ceil(max(y for _x, y in points) / step)

        def place(x: float, y: float) -> str:
            across = (self._scale(x) - left) / (right - left) * (WIDTH - LEFT - RIGHT)
            return f"{LEFT + across:.1f},{HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM):.1f}"

        parts = [
            _text(LEFT, 18, self.title, "start", 'font-weight="bold"'),
            _text(WIDTH / 2, HEIGHT - 22, self.x_title),
        ]
        for number in range(round(top / step) + 1):
            x, y = place(self._unscale(left), number * step).split(",")
            parts.append(f'<path d="M{x} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
            parts.append(_text(LEFT - 6, float(y) + 4, f"{number * step:g}", "end"))
        for x_value in self._x_ticks(left, right):
            x = place(x_value, 0).split(",")[0]
            parts.append(_text(float(x), HEIGHT - BOTTOM + 15, f"{x_value:,.10g}"))
        for number, (name, line) in enumerate(self.series.items()):
            color = COLORS[number % len(COLORS)]
            path = " ".join(place(x, y) for x, y in line)
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>'
            )
            parts.append(
                _text(
                    LEFT + number * 320 / len(self.series),
                    HEIGHT - 6,
                    name,
                    "start",
                    f'fill="{color}"',
                )
            )
        return "\n".join(parts)

    def _scale(self, x: float) -> float:
        return math.log10(x) if self.is_logarithmic else x

    def _unscale(self, x: float) -> float:
        return 10**x if self.is_logarithmic else x

    def _x_ticks(self, left: float, right: float) -> Sequence[float]:
        if self.is_logarithmic:
            return [
                10**power
                for power in range(math.ceil(left - 1e-9), math.floor(right + 1e-9) + 1)
            ]
        step = _round_up((right - left) / 8)
        return [
            number * step
            for number in range(math.ceil(left / step), math.floor(right / step) + 1)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A bar for each value by name, from zero."""

    title: str
    values: Mapping[str, float]

    def draw(self) -> str:
        parts = [_text(8, 18, self.title, "start", 'font-weight="bold"')]
        room = (HEIGHT - TOP) / len(self.values)
        for number, (name, value) in enumerate(self.values.items()):
            y = TOP + number * room
            width = value / max(self.values.values()) * (WIDTH - 80)
            parts.append(_text(8, y + 11, name, "start"))
            color = COLORS[0] if name.startswith("publisher") else COLORS[-1]
            parts.append(
                f'<rect x="8" y="{y + 15:.1f}"'
                f' width="{width:.1f}" height="{room - 24:.1f}" fill="{color}"/>'
            )
            parts.append(
                _text(14 + width, y + 15 + room / 2 - 8, f"{value:,.4g}", "start")
            )
        return "\n".join(parts)


def write_plots(file: Path, plots: Sequence[Plot | Bars], columns: int = 2) -> None:
    """Write plots beside and below each other."""
    rows = math.ceil(len(plots) / columns)
    size = f"{WIDTH * min(columns, len(plots))} {HEIGHT * rows}"
    body = "\n".join(
        f'<g transform="translate({number % columns * WIDTH} {number // columns * HEIGHT})">\n'
        f"{plot.draw()}\n</g>"
        for number, plot in enumerate(plots)
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}"'
        ' font-family="sans-serif" font-size="11">'
    )
    file.write_text(
        f'{head}\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n',
        "utf-8",
    )


def write_table(name: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Replace the text between the marks of a script in docs/scaling.md.

    The new text is a table and the place of its recording.
    """
    write_recorded(PAGE, name, f"{format_table(rows)}\n\n{describe_machine()}")


def format_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return a table in Markdown; the keys of the first row are its head."""
    lines = [
        list(rows[0]),
        ["---"] * len(rows[0]),
        *(list(row.values()) for row in rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write_recorded(page: Path, name: str, text: str) -> None:
    """Replace the text between the marks of a script in a page."""
    begin, end = (
        f"<!-- recorded by scripts/{name} --record: begin -->",
        "<!-- recorded: end -->",
    )
    head, _mark, rest = page.read_text("utf-8").partition(begin)
    _old, _mark, tail = rest.partition(end)
    page.write_text(f"{head}{begin}\n{text}\n{end}{tail}", "utf-8")


def describe_machine() -> str:
    """Return a line with the machine, the versions, the date and the commit."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    command = [
        "git",
        "-C",
        str(ROOT),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=8",
        "--exclude=*",
    ]
    commit = (
        subprocess.run(
            command, capture_output=True, text=True, check=False
        ).stdout.strip()
        or "unknown"
    )
    return (
        f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), {memory:.0f} GB, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}."
    )


def _round_up(value: float) -> float:
    """Return the next of 1, 2 and 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(value)) if value > 0 else 1
    return (
        next(
            factor * power
            for factor in (1, 2, 5, 10)
            if factor * power >= value * (1 - 1e-9)
        )
        if value > 0
        else 1
    )


def _text(
    x: float, y: float, words: str, anchor: str = "middle", style: str = 'fill="#333"'
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {style}'
    return f"<text {place}>{escape(words)}</text>"
