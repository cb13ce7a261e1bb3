"""`reach`: the metrics of published posts, reading by reading."""

from collections.abc import Sequence
from itertools import groupby

import click

from publisher.app.format import NO_VALUE, Formatter
from publisher.cli.context import (
    has_database,
    load_workspace_settings,
    open_command_store,
)
from publisher.cli.framework import command, json_option, one_line
from publisher.cli.target import find_posts
from publisher.cli.terminal import Terminal
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import PostId
from publisher.domain.reports import METRIC_NAMES
from publisher.store.queries.queries import MetricsPoint


@command("reach")
@click.argument("post", metavar="[POST]", required=False, type=one_line)
@json_option
async def reach(terminal: Terminal, post: PostId | None, *, as_json: bool) -> None:
    settings = await load_workspace_settings(terminal)
    readings: Sequence[MetricsPoint] = ()
    pruned = 0  # deliveries of the post whose readings are no longer kept
    if has_database(settings):
        async with open_command_store(settings) as store:
            queries = store.queries
            if post is not None:
                for one in await find_posts(queries, post):
                    deliveries = await queries.deliveries(one)
                    pruned += sum(delivery.is_pruned for delivery in deliveries)
            readings = await store.queries.metrics_series(post)
    elif post is not None:
        raise NoSuchItemError("post", post)
    all_series = [
        list(points)
        for _id, points in groupby(readings, key=lambda point: point.delivery.id)
    ]
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if as_json:
        terminal.print_json(
            {
                "reach": [series_as_json(series, formatter) for series in all_series],
                "pruned": pruned,
            }
        )
        return
    if all_series:
        rows = []
        for series in all_series:
            delivery, newest = series[0].delivery, series[-1]
            values = [getattr(newest.reach, name) for name in METRIC_NAMES]
            cells = [NO_VALUE if value is None else str(value) for value in values]
            rows.append(
                (delivery.key.post, delivery.account, *cells, formatter.time(newest.at))
            )
        terminal.print_table(("post", "account", *METRIC_NAMES, "as_of"), rows)
    elif not pruned:
        terminal.print_message("no_reach_yet")
    if pruned:
        terminal.print_message("reach_pruned", number=pruned)


def series_as_json(
    series: Sequence[MetricsPoint], formatter: Formatter
) -> dict[str, object]:
    delivery, receipt = series[0].delivery, series[0].delivery.receipt
    return {
        **formatter.key_as_json(delivery),
        "url": receipt.url if receipt else None,
        "live": formatter.iso(receipt.published_at if receipt else None),
        "series": [
            {
                "at": formatter.iso(point.at),
                **{name: getattr(point.reach, name) for name in METRIC_NAMES},
            }
            for point in series
        ],
    }
