"""`reach`: how far what is live has come, read by read."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import click

from publisher.cli.narrating import NOT_TOLD, Narrator
from publisher.cli.shape import Said, command, json_option
from publisher.cli.terminal import Terminal, echo
from publisher.cli.widths import in_columns
from publisher.cli.workplace import books_of, has_books, settings_of
from publisher.domain.delivery import Delivery
from publisher.domain.errors import NoSuchError
from publisher.domain.inspection import FIGURES
from publisher.domain.post import PostId
from publisher.settings import Settings
from publisher.store.board import Board
from publisher.store.watches import Reading, Watches


@command("reach")
@click.argument("post", metavar="[POST]", required=False, type=Said())
@json_option
def reach(terminal: Terminal, post: str | None, *, as_json: bool) -> int:
    settings, readings, pruned = asyncio.run(_read(terminal, PostId(post) if post else None))
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    if as_json:
        terminal.show({"reach": [_as_document(*one, narrator) for one in _by_delivery(readings)], "pruned": pruned})
        return 0
    if readings:
        echo("\n".join(in_columns(_rows(readings, narrator))))
    elif not pruned:
        terminal.say("no_reach_yet")
    if pruned:
        terminal.say("reach_pruned", number=pruned)
    return 0


async def _read(terminal: Terminal, post: PostId | None) -> tuple[Settings, Sequence[Reading], int]:
    """Give the readings, and of how many of the post's deliveries they are no longer kept."""
    settings = await settings_of(terminal)
    if not has_books(settings):
        if post is not None:
            raise NoSuchError("post", post)
        return settings, (), 0
    async with books_of(settings) as books:
        board, pruned = Board(books), 0
        if post is not None:
            if not await board.has_post(post):
                raise NoSuchError("post", post)
            pruned = sum(item.is_pruned for item in await board.deliveries(post))
        return settings, await Watches(books).series(post), pruned


def _by_delivery(readings: Sequence[Reading]) -> Iterator[tuple[Delivery, Sequence[Reading]]]:
    for _id, series in groupby(readings, key=lambda reading: reading.delivery.id):
        points = list(series)
        yield points[0].delivery, points


def _as_document(delivery: Delivery, series: Sequence[Reading], narrator: Narrator) -> dict[str, Any]:
    receipt = delivery.receipt
    return {
        "post": delivery.key.post,
        "occurrence": narrator.occurrence(delivery),
        "account": delivery.account,
        "platform": delivery.platform,
        "url": receipt.url if receipt else None,
        "live": narrator.iso(receipt.live_at if receipt else None),
        "series": [
            {"at": narrator.iso(point.at), **{name: getattr(point.reach, name) for name in FIGURES}} for point in series
        ],
    }


def _rows(readings: Sequence[Reading], narrator: Narrator) -> list[tuple[str, ...]]:
    """Lay the newest figures of each delivery out in columns, under a heading."""
    names = ("column_post", "column_account", *(f"column_{name}" for name in FIGURES), "column_as_of")
    rows = [tuple(narrator.messages.say(name) for name in names)]
    for delivery, series in _by_delivery(readings):
        newest = series[-1]
        told = [getattr(newest.reach, name) for name in FIGURES]
        figures = [NOT_TOLD if figure is None else str(figure) for figure in told]
        rows.append((delivery.key.post, delivery.account, *figures, narrator.time(newest.at)))
    return rows
