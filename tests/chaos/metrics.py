"""The figures of a campaign: reported, and written between the two marks of a docs page."""

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tests.chaos.expectations import UNDER_REVIEW, Expectations
from tests.chaos.findings import CampaignFinding
from tests.chaos.kill_plan import AT_A_START, POINTS
from tests.chaos.options import CampaignOptions
from tests.chaos.publisher_process import ROOT

if TYPE_CHECKING:
    from tests.chaos.campaign import Campaign

BEGIN, END = (
    "<!-- recorded by scripts/chaos --record: begin -->",
    "<!-- recorded: end -->",
)
COLUMNS = (
    "run",
    "deliveries",
    "kills",
    "calls cut open",
    "sleeps, full disks",
    "doubled",
    "lost",
    "wrong",
    "waiting for a person",
    "held, by rule",
    "seconds",
    "commit",
)
DOUBLED, LOST = frozenset({"I1"}), frozenset({"I2", "I9"})
UNEXPECTED = frozenset({"HELD", "LOG", "POINT", "NONE", "CHANGE"})
"""Findings that say nothing of a post."""
Figures = Mapping[str, str]


def figures_of(
    options: CampaignOptions,
    campaign: "Campaign",
    expectations: Expectations,
    findings: Sequence[CampaignFinding],
    *,
    lasted: float,
    network: Counter[str],
) -> Figures:
    """Gather the figures for the report of a run."""
    published = sum(state == "published" for state in campaign.wanted.values())
    from_campaign = campaign.reached
    checked = Counter(
        finding.invariant for finding in findings if finding.by == "checker"
    )
    return {
        "run": f"`{_command(options)}`",
        "deliveries": f"{len(campaign.wanted)}, of them {published} to be published",
        "kills": f"{campaign.spent}, {campaign.calls_cut} with calls open",
        "calls cut open": str(campaign.in_sending),
        "sleeps, full disks": f"{from_campaign['(slept)']}, {from_campaign['(disk full)']}",
        "creations": str(expectations.created),
        "doubled": str(sum(one.invariant in DOUBLED for one in findings)),
        "lost": str(sum(one.invariant in LOST for one in findings)),
        "wrong": str(
            sum(one.invariant not in DOUBLED | LOST | UNEXPECTED for one in findings)
        ),
        "refused": f"{expectations.refused} by the platforms, each explained by a fault",
        "wrong clocks, outages": f"{from_campaign['(clock wrong)']}, {len(campaign.outages)}",
        "at a start": ", ".join(
            f"{what} {from_campaign[what]}" for what in AT_A_START.values()
        ),
        "waiting for a person": (
            f"{expectations.held.total()}, {expectations.held[UNDER_REVIEW]} possibly under review"
        ),
        "held, share": f"{100 * expectations.held.total() / max(1, len(campaign.wanted)):.1f} %",
        "held, by rule": ", ".join(
            f"{reason} {number}" for reason, number in sorted(expectations.held.items())
        )
        or "0",
        "checker": ", ".join(
            f"{name} {number}" for name, number in sorted(checked.items())
        )
        or "nothing violated",
        "seconds": str(round(lasted)),
        "workers": f"{len(campaign.publishers)}, on {options.database}",
        "starts": str(sum(publisher.starts for publisher in campaign.publishers)),
        "network": ", ".join(
            f"{fate} {number}" for fate, number in sorted(network.items())
        )
        or "direct",
        "faults": ", ".join(
            f"{kind} {number}"
            for kind, number in sorted(campaign.fired.items())
            if number
        )
        or "0",
        "people": ", ".join(
            f"{kind} {number}"
            for kind, number in sorted(Counter(campaign.people.done).items())
        ),
        "commit": _commit(),
    }


def _command(options: CampaignOptions) -> str:
    words = [
        f"--seed {options.seed}",
        f"--kills {options.kills}",
        f"--deliveries {options.deliveries}",
    ]
    if options.database != "sqlite":
        words.append(f"--database {options.database} --workers {options.workers}")
    if options.approvals:
        words.append("--approvals")
    return " ".join(words)


def _commit() -> str:
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
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def report(figures: Figures, campaign: "Campaign") -> None:
    for name, figure in figures.items():
        click.echo(f"{name:18} {figure}")
    for point in [*POINTS, "at a random moment"]:
        click.echo(f"  killed {campaign.reached[point]:4} {point}")


def record(page: Path, figures: Figures) -> None:
    """Write a run into the page's table; a run of the same name is replaced."""
    put_row(page, (BEGIN, END), COLUMNS, [figures[column] for column in COLUMNS])


def put_row(
    page: Path,
    marks: tuple[str, str],
    columns: Sequence[str],
    cells: Sequence[str],
    *,
    is_sorted: bool = False,
) -> None:
    """Put a row into the table between two marks of a page.

    It replaces one with the same first cell.
    """
    before, _, rest = page.read_text("utf-8").partition(marks[0])
    table, _, after = rest.partition(marks[1])
    rows = {line.split(" | ")[0]: line for line in table.strip().splitlines()[2:]}
    rows.pop(f"| {cells[0]}", None)
    rows[f"| {cells[0]}"] = _row(cells)
    lines = sorted(rows.values()) if is_sorted else rows.values()
    page.write_text(
        before
        + "\n".join(
            [marks[0], _row(columns), _row(["---"] * len(columns)), *lines, marks[1]]
        )
        + after,
        "utf-8",
    )


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
