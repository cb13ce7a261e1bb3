"""`reach`: how far what is live has come, read by read."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import click

from publisher.cli.context import has_database, load_workspace_settings, open_command_store
from publisher.cli.format import NO_VALUE, Formatter
from publisher.cli.framework import NonEmptyText, command, json_option
from publisher.cli.terminal import Terminal, echo
from publisher.cli.text_width import align_columns
from publisher.config import Settings
from publisher.domain.delivery import Delivery
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import PostId
from publisher.domain.reports import METRIC_NAMES
from publisher.store.monitor.monitor import MetricsPoint, Monitoring
from publisher.store.queries.queries import Queries


@command("reach")
@click.argument("post", metavar="[POST]", required=False, type=NonEmptyText())
@json_option
def reach(terminal: Terminal, post: str | None, *, as_json: bool) -> int:
    settings, readings, pruned = asyncio.run(_read(terminal, PostId(post) if post else None))
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if as_json:
        terminal.print_json(
            {"reach": [_as_json(*one, formatter) for one in _group_by_delivery(readings)], "pruned": pruned}
        )
        return 0
    if readings:
        echo("\n".join(align_columns(_table_rows(readings, formatter))))
    elif not pruned:
        terminal.print_message("no_reach_yet")
    if pruned:
        terminal.print_message("reach_pruned", number=pruned)
    return 0


async def _read(terminal: Terminal, post: PostId | None) -> tuple[Settings, Sequence[MetricsPoint], int]:
    """Give the readings, and of how many of the post's deliveries they are no longer kept."""
    settings = await load_workspace_settings(terminal)
    if not has_database(settings):
        if post is not None:
            raise NoSuchItemError("post", post)
        return settings, (), 0
    async with open_command_store(settings) as store:
        queries, pruned = Queries(store), 0
        if post is not None:
            if not await queries.has_post(post):
                raise NoSuchItemError("post", post)
            pruned = sum(item.is_pruned for item in await queries.deliveries(post))
        return settings, await Monitoring(store).metrics_series(post), pruned


def _group_by_delivery(readings: Sequence[MetricsPoint]) -> Iterator[tuple[Delivery, Sequence[MetricsPoint]]]:
    for _id, series in groupby(readings, key=lambda reading: reading.delivery.id):
        points = list(series)
        yield points[0].delivery, points


def _as_json(delivery: Delivery, series: Sequence[MetricsPoint], formatter: Formatter) -> dict[str, Any]:
    receipt = delivery.receipt
    return {
        "post": delivery.key.post,
        "occurrence": formatter.occurrence(delivery),
        "account": delivery.account,
        "platform": delivery.platform,
        "url": receipt.url if receipt else None,
        "live": formatter.iso(receipt.published_at if receipt else None),
        "series": [
            {"at": formatter.iso(point.at), **{name: getattr(point.reach, name) for name in METRIC_NAMES}}
            for point in series
        ],
    }


def _table_rows(readings: Sequence[MetricsPoint], formatter: Formatter) -> list[tuple[str, ...]]:
    """Lay the newest figures of each delivery out in columns, under a heading."""
    names = ("column_post", "column_account", *(f"column_{name}" for name in METRIC_NAMES), "column_as_of")
    rows = [tuple(formatter.messages.translate(name) for name in names)]
    for delivery, series in _group_by_delivery(readings):
        newest = series[-1]
        told = [getattr(newest.reach, name) for name in METRIC_NAMES]
        figures = [NO_VALUE if figure is None else str(figure) for figure in told]
        rows.append((delivery.key.post, delivery.account, *figures, formatter.time(newest.at)))
    return rows
