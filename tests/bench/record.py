"""The output of a recorded run: the tables of docs/performance.md, its plots, and their figures."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.database import postgres_version
from tests.bench.figures import Figure
from tests.report import (
    ROOT,
    Bars,
    Plot,
    describe_machine,
    format_table,
    write_plots,
    write_recorded,
)

PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images" / "performance"
DATA = IMAGES / "figures.json"
Entry = Mapping[str, Any]
BARS = (
    (
        "Calls a second, 64 in flight",
        "throughput",
        {
            "publisher, PostgreSQL": ("P1", "PostgreSQL", "deliveries/s"),
            "publisher, SQLite": ("P1", "SQLite", "deliveries/s"),
            "the same HTTP client alone": ("P1", "SQLite", "bare calls/s"),
            "raw sockets": ("P1b", "", "raw calls/s"),
        },
    ),
    (
        "Due at one instant: ms until the last first byte",
        "instant",
        {
            "publisher, 150 accounts": ("P5", " 150 ", "last ms"),
            "the same HTTP client alone, 150": ("P5", " 150 ", "bare last ms"),
            "publisher, 1,500 accounts": ("P5", " 1,500 ", "last ms"),
            "the same HTTP client alone, 1,500": ("P5", " 1,500 ", "bare last ms"),
        },
    ),
)
"""Title and file of each plot, and the place of its values.

A place is a figure, a part of its name, and the name of the part.
"""


def record(figures: Sequence[Figure]) -> None:
    """Write figures to the page. Figures of other ids stay as recorded before."""
    recorded = (
        f"{describe_machine().removesuffix('.')}, PostgreSQL {postgres_version()}."
    )
    measured = {figure.id for figure in figures}
    older = json.loads(DATA.read_text("utf-8")) if DATA.exists() else []
    entries: list[Entry] = [
        *(entry for entry in older if entry["id"] not in measured),
        *({**figure.as_json(), "recorded": recorded} for figure in figures),
    ]
    entries.sort(key=lambda entry: (int(entry["id"].strip("Pb")), entry["id"]))
    IMAGES.mkdir(parents=True, exist_ok=True)
    DATA.write_text(json.dumps(entries, ensure_ascii=False, indent=1) + "\n", "utf-8")
    compared = [
        entry for entry in entries if entry["id"] == "P2" and entry["unit"] == "/s"
    ]
    ratios = [entry for entry in entries if entry not in compared]
    write_recorded(
        PAGE,
        "bench",
        f"{format_table(list(map(_row, ratios)))}\n\n{_describe_runs(entries)}",
    )
    if compared:
        write_recorded(
            PAGE, "bench --only P2", format_table(list(map(_peer_row, compared)))
        )
    _draw(entries)


def _row(entry: Entry) -> Mapping[str, str]:
    parts = "; ".join(
        f"{name} {_number(value)}" for name, value in entry["parts"].items()
    )
    return {
        "id": entry["id"],
        "figure": entry["name"],
        "measured": entry["skipped"]
        or f"{_number(entry['value'])} {entry['unit']}".strip(),
        "goal": entry["bound"],
        "": entry["verdict"].lower(),
        "parts": parts,
    }


def _peer_row(entry: Entry) -> Mapping[str, str]:
    return {"": entry["name"], "deliveries/s": _number(entry["value"])} | {
        name: _number(value) for name, value in entry["parts"].items()
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _describe_runs(entries: Sequence[Entry]) -> str:
    """Return where the figures were recorded; usually all in one run."""
    runs: dict[str, list[str]] = {}
    for entry in entries:
        ids = runs.setdefault(entry["recorded"], [])
        ids += [entry["id"]] if entry["id"] not in ids else []
    if len(runs) == 1:
        return next(iter(runs))
    return "\n".join(
        f"- {', '.join(ids)}: {recorded}" for recorded, ids in runs.items()
    )


def _draw(entries: Sequence[Entry]) -> None:
    """Draw each plot, as far as its figures were recorded."""
    for title, image, places in BARS:
        values = {label: _find_part(entries, *place) for label, place in places.items()}
        _write_bars(
            image, title, {label: value for label, value in values.items() if value}
        )
    compared = {
        entry["name"]: entry["value"]
        for entry in entries
        if entry["unit"] == "/s" and entry["value"]
    }
    _write_bars("peers", "Deliveries a second", compared)
    series = {}
    for entry in entries:
        points = [
            (float(name.removeprefix("ms at ").replace(",", "")), value)
            for name, value in entry["parts"].items()
            if name.startswith("ms at ")
        ]
        if points and entry["bound"]:
            series[entry["name"].partition(",")[0]] = [
                (rows, value / points[0][1]) for rows, value in points
            ]
    if series:
        title = "Cost on top of a past, against the shortest"
        plot = Plot(
            title=title, x_title="past deliveries", series=series, is_logarithmic=True
        )
        write_plots(IMAGES / "past.svg", [plot])


def _find_part(
    entries: Sequence[Entry], figure_id: str, name: str, part: str
) -> float | None:
    found = [
        entry["parts"].get(part)
        for entry in entries
        if entry["id"] == figure_id and name in entry["name"]
    ]
    return found[0] if found else None


def _write_bars(image: str, title: str, values: Mapping[str, float]) -> None:
    if values:
        write_plots(IMAGES / f"{image}.svg", [Bars(title=title, values=values)])
