"""The growth of daily costs with the past, and the capacity of a PostgreSQL with more workers."""

import argparse
import sys
from collections.abc import Mapping, Sequence

import click
import psutil
import psycopg

from tests.bench.database import postgres
from tests.bench.history import BRIEF_PASTS, CHECK, PASTS, START, costs_after
from tests.bench.workers import ACCOUNTS, IN_FLIGHT, LATENCY_SECONDS, deliver_together
from tests.report import IMAGES, Plot, write_plots, write_table

WORKERS, BRIEF_WORKERS = (1, 2, 3, 4, 6), (1, 2)
POSTS, BRIEF_POSTS = 8, 1
STARTS = (START, CHECK)


def measure_growth(
    pasts: Sequence[int], *, is_recorded: bool
) -> Sequence[Mapping[str, str]]:
    """Measure the queries of people and of the daemon on each past, in processor time."""
    costs = {rows: costs_after(rows) for rows in pasts}
    table = [
        {
            "past deliveries": f"{rows:,}",
            **{f"{name}, ms": f"{cost * 1e3:.3g}" for name, cost in measured.items()},
        }
        for rows, measured in costs.items()
    ]
    if is_recorded:
        write_table("growth", table)
        write_plots(IMAGES / "growth.svg", plot_growth(costs))
    return table


def plot_growth(costs: Mapping[int, Mapping[str, float]]) -> Sequence[Plot]:
    """Plot the costs by past deliveries: queries as a ratio, a start in milliseconds."""
    base = costs[min(costs)]
    ratios = {
        name: [(rows, costs[rows][name] / base[name]) for rows in costs]
        for name in base
        if name not in STARTS
    }
    starts = {
        name: [(rows, costs[rows][name] * 1e3) for rows in costs] for name in STARTS
    }
    return [
        Plot(title=title, x_title="past deliveries", series=series, is_logarithmic=True)
        for title, series in (
            (f"Cost against that at {min(costs):,}", ratios),
            ("A start, ms", starts),
        )
    ]


def measure_workers(
    counts: Sequence[int], posts: int, *, is_recorded: bool
) -> Sequence[Mapping[str, str]]:
    """Let more and more workers deliver the same posts.

    The platform takes its time, so a worker alone waits for it.
    """
    table, reached = [], []
    with postgres() as create_database:
        for count in counts:
            url = create_database()
            before = _server_seconds(url)
            cost = deliver_together(count, posts, url)
            deliveries = posts * ACCOUNTS
            reached.append(deliveries / cost.seconds)
            figures = (
                reached[-1],
                count * IN_FLIGHT / LATENCY_SECONDS,
                cost.processor_seconds / deliveries * 1e3,
                (_server_seconds(url) - before) / deliveries * 1e3,
            )
            names = (
                "deliveries/s",
                "the platform allows",
                "CPU ms each, workers",
                "CPU ms each, PostgreSQL",
            )
            table.append(
                {"workers": f"{count}"}
                | {n: f"{f:.3g}" for n, f in zip(names, figures, strict=True)}
            )
    if is_recorded:
        allowed = [(count, count * IN_FLIGHT / LATENCY_SECONDS) for count in counts]
        series = {
            "reached": list(zip(counts, reached, strict=True)),
            "the platform allows": allowed,
        }
        write_table("workers", table)
        write_plots(
            IMAGES / "workers.svg",
            [Plot(title="Deliveries a second", x_title="workers", series=series)],
        )
    return table


def _server_seconds(url: str) -> float:
    """Return the processor seconds that a server and all of its sessions have used."""
    with psycopg.connect(url) as connection:
        [(session,)] = connection.execute("SELECT pg_backend_pid()")
        server = psutil.Process(session).parent()
        times = [process.cpu_times() for process in (server, *server.children())]
    ended = times[0].children_user + times[0].children_system
    return ended + sum(one.user + one.system for one in times)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/growth", description=__doc__)
    parser.add_argument(
        "--brief", action="store_true", help="small sizes, which prove nothing"
    )
    parser.add_argument("--only", choices=["past", "workers"])
    parser.add_argument(
        "--record", action="store_true", help="write the figures into docs/scaling.md"
    )
    given = parser.parse_args()
    tables = []
    if given.only != "workers":
        tables.append(
            measure_growth(
                BRIEF_PASTS if given.brief else PASTS, is_recorded=given.record
            )
        )
    if given.only != "past":
        sizes = (BRIEF_WORKERS, BRIEF_POSTS) if given.brief else (WORKERS, POSTS)
        tables.append(measure_workers(*sizes, is_recorded=given.record))
    for table in tables:
        for row in table:
            click.echo(", ".join(f"{name} {figure}" for name, figure in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
