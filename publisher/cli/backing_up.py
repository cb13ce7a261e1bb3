"""`backup` and `restore`: a copy of the database that is kept, and an older one in the present one's place."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from publisher.anchoring import anchors_of
from publisher.cli.shape import Said, WordedUsageError, by_option, command
from publisher.cli.terminal import Terminal, shown_path
from publisher.cli.trouble import FailedError
from publisher.cli.workplace import database_trouble, has_books, settings_of, world_of
from publisher.reviewing import person
from publisher.store.backup import Label, make_backup
from publisher.store.engine import sqlite_file
from publisher.wiring.books import journal_path
from publisher.wiring.restoring import Restoration, accept, finish_decided
from publisher.wiring.restoring import restore as put_back


@command("backup")
@click.argument("target", metavar="FILE", type=Said())
def backup(terminal: Terminal, target: str) -> int:
    label = asyncio.run(_backup(terminal, Path(target)))
    size = Path(target).stat().st_size // 1024
    terminal.say("backup_done", file=target, at=label.at, entries=label.entries, size=size)
    terminal.note("backup_beside")
    return 0


async def _backup(terminal: Terminal, target: Path) -> Label:
    settings = await settings_of(terminal)
    file = sqlite_file(settings.database)
    if file is None:
        raise FailedError("backup_postgres")
    if not has_books(settings):
        raise FailedError("backup_nothing_yet")
    world = world_of(settings)
    await asyncio.to_thread(finish_decided, settings, world, file)
    return await asyncio.to_thread(make_backup, file, target, journal_path(settings), world)


@command("restore")
@click.argument("source", metavar="[FILE]", required=False, type=Said())
@click.option("--accept-current", "is_this", is_flag=True, help="opt_this")
@click.option("--without-journal", is_flag=True, help="opt_without_journal")
@click.option("--anchors", metavar="FILE", multiple=True, type=Said(), help="opt_newer_anchors")
@by_option
def restore(  # noqa: PLR0913 # one argument an option
    terminal: Terminal, source: str | None, by: str, anchors: Sequence[str], *, is_this: bool, without_journal: bool
) -> int:
    if (source is None) is not is_this:
        raise WordedUsageError("restore_wants_one")
    named = [Path(name) for name in anchors]
    done = asyncio.run(_restore(terminal, Path(source) if source else None, by, named, is_without=without_journal))
    settled = done.settled
    facts = {"at": settled.taken_at.isoformat(timespec="seconds"), "calls": settled.calls, "doubts": settled.doubts}
    terminal.say("restore_done", **facts)
    if settled.unplaced:
        terminal.say("restore_unplaced", number=settled.unplaced)
    if done.kept is not None:
        terminal.say("restore_kept", file=shown_path(done.kept))
    if settled.awaited:
        terminal.say("restore_awaits", workers="\n".join(f"  {worker}" for worker in settled.awaited))
    terminal.say("restore_what_now")
    return 0


async def _restore(
    terminal: Terminal, source: Path | None, by: str, anchors: Sequence[Path], *, is_without: bool
) -> Restoration:
    settings = await settings_of(terminal)
    file = sqlite_file(settings.database)
    if file is None and source is not None:
        raise FailedError("restore_postgres")
    for one in anchors:
        if next(anchors_of(one), None) is None:
            raise FailedError("audit_anchors_unread", file=shown_path(one))
    with database_trouble():
        world = world_of(settings)
        if file is None:
            return await accept(settings, world, person(by), anchors, is_incomplete_fine=is_without)
        return await put_back(settings, world, file, source, person(by), anchors, is_incomplete_fine=is_without)
