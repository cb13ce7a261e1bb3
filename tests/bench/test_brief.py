"""The benchmark runs: a very small run of every figure, without goals."""

import dataclasses
import json
import subprocess
import sys

import pytest

from tests.bench import record
from tests.bench.figures import Figure
from tests.bench.main import FIGURES

TIMEOUT_SECONDS = 300


@pytest.mark.extra
@pytest.mark.long(seconds=35)
@pytest.mark.parametrize("name", FIGURES)
def test_a_brief_run_measures_each_figure(tmp_path, name):
    """A figure that is asked for is measured or, where this machine lacks something, skipped."""
    command = [
        sys.executable,
        "-m",
        "tests.bench.main",
        "--brief",
        "--json",
        tmp_path / "figures",
        "--only",
        name,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "figures").read_text("utf-8"))
    assert name in {figure["id"] for figure in figures}
    assert all(
        figure["parts"] or figure["skipped"] or figure["value"] for figure in figures
    )


def test_a_recorded_figure_replaces_the_older_one_of_its_id(tmp_path, monkeypatch):
    """The page has the new value, and the older ones of other figures; the plots are drawn."""
    page = tmp_path / "performance.md"
    marks = ("bench", "bench --only P2")
    page.write_text(
        "\n".join(
            f"<!-- recorded by scripts/{name} --record: begin -->\n<!-- recorded: end -->"
            for name in marks
        )
    )
    for name, value in (
        ("PAGE", page),
        ("IMAGES", tmp_path),
        ("DATA", tmp_path / "figures.json"),
    ):
        monkeypatch.setattr(record, name, value)
    monkeypatch.setattr(record, "postgres_version", lambda: "18")
    memory = Figure(id="P11", name="memory", value=111, goal=120, unit="MiB")
    peer = Figure(id="P2", name="publisher", value=222, unit="/s", parts={"lost": 0})
    past = Figure(
        id="P4",
        name="claim",
        value=1.25,
        goal=1.5,
        parts={"ms at 1,000": 4, "ms at 10,000": 5},
    )
    record.record([memory, peer, past])
    record.record([dataclasses.replace(memory, value=133)])
    text = page.read_text("utf-8")
    assert "| P11 | memory | 133 MiB | <= 120 MiB | missed |" in text
    assert "| publisher | 222 | 0 |" in text
    assert "111" not in text
    assert {file.name for file in tmp_path.glob("*.svg")} == {"peers.svg", "past.svg"}
