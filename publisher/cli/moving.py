"""`move-database`: from SQLite to a PostgreSQL database of one's own."""

import asyncio
import contextlib

import click

from publisher.cli.shape import Said, WordedUsageError, by_option, command
from publisher.cli.terminal import Terminal
from publisher.cli.trouble import FailedError
from publisher.cli.workplace import database_trouble, has_books, settings_of
from publisher.reviewing import person
from publisher.settings import has_password, is_server
from publisher.store.engine import sqlite_file
from publisher.store.moving import move
from publisher.store.setup import occupy, prepare
from publisher.wiring.books import journal_path
from publisher.world import World


@command("move-database")
@click.argument("url", metavar="URL", type=Said())
@by_option
def move_database(terminal: Terminal, url: str, by: str) -> int:
    if not is_server(url):
        raise WordedUsageError("not_postgres")
    if has_password(url):
        raise WordedUsageError("password_in_url")
    rows = asyncio.run(_migrate(terminal, url, by))
    terminal.say("moved_done", rows=rows)
    return 0


async def _migrate(terminal: Terminal, url: str, by: str) -> int:
    """Move all books; gives the number of rows."""
    settings, world = await settings_of(terminal), World()
    if sqlite_file(settings.database) is None:
        raise FailedError("already_shared")
    if not has_books(settings):
        raise FailedError("nothing_to_move")
    with contextlib.ExitStack() as stack, database_trouble():
        stack.callback(occupy(settings.database, settings.workspace).end)
        for database in (settings.database, url):
            await prepare(database, settings.environment.value, journal_path(settings), world)
        return sum((await move(settings.database, url, world, person(by))).values())
