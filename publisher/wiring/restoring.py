"""An older database put in the present one's place, settled before it is used."""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from publisher.anchoring import last_anchor
from publisher.domain.chain import Anchor
from publisher.domain.errors import RefusedError
from publisher.domain.events import Actor
from publisher.settings import Settings
from publisher.store.backup import Label, fold_in
from publisher.store.books import Books
from publisher.store.engine import Database, open_engine
from publisher.store.exchange import decide, finish
from publisher.store.restore import (
    Settled,
    anchors_to_name,
    copy_in,
    discard,
    incoming_of,
    known_until,
    recall,
    settle_restored,
)
from publisher.store.setup import bring_up, check_whole, occupy, turn
from publisher.telemetry import log
from publisher.wiring.books import journal_path, worker_of
from publisher.wiring.mooring import mooring_of
from publisher.wiring.terms import terms_of
from publisher.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """How a database was restored, and where the one before it is kept; None where there was none."""

    settled: Settled
    kept: Path | None


async def restore(  # noqa: PLR0913 # what, where to, who, and how much is known
    settings: Settings, world: World, file: Path, source: Path | None, by: Actor, *, is_incomplete_fine: bool = False
) -> Restoration:
    """Put a backup in the database's place, or accept the present one as it stands where `source` is None.

    All is prepared in a copy: until that takes the database's place at one stroke, nothing has changed, and from then
    on every start finishes what a death may have left. Raises RefusedError while a daemon runs, and for a file that
    must not be used; SettingsError; OSError.
    """
    terms = await asyncio.to_thread(terms_of, settings)
    with contextlib.ExitStack() as stack:
        stack.callback(occupy(settings.database, settings.workspace).end)
        stack.callback(discard, incoming_of(file))
        last = await asyncio.to_thread(last_anchor, mooring_of(settings).file)
        incoming, label = await asyncio.to_thread(_copy, settings, world, file, source, last)
        anchors = await asyncio.to_thread(anchors_to_name, last, file)
        url = make_url(settings.database).set(database=str(incoming)).render_as_string(hide_password=False)
        await asyncio.to_thread(bring_up, url, settings.environment.value, None, world)
        await asyncio.to_thread(check_whole, url)
        database = Database(open_engine(url), world)
        try:
            books = Books(database=database, terms=terms, worker=worker_of(settings))
            begins_at = await database.read(known_until) or world.now()
            memory = await asyncio.to_thread(
                recall, journal_path(settings), label, begins_at, is_incomplete_fine=is_incomplete_fine
            )
            settled = await database.write(lambda unit: settle_restored(books, unit, memory, label, anchors, by))
        finally:
            await database.close()
        world.die_here("restore.before_commit")
        kept = await asyncio.to_thread(_exchange, settings, world, incoming, file)
        log.warning("database_restored", calls=settled.calls, doubts=settled.doubts, unplaced=settled.unplaced)
        return Restoration(settled=settled, kept=kept)


def finish_decided(settings: Settings, world: World, file: Path) -> None:
    """Carry out what a restore had decided before it died, if anything."""
    with turn(file):
        finish(file, journal_path(settings), world)


def _copy(
    settings: Settings, world: World, file: Path, source: Path | None, last: Anchor | None
) -> tuple[Path, Label | None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    finish_decided(settings, world, file)
    with turn(file):
        if source is None and not file.is_file():
            raise RefusedError("nothing_to_accept", file=str(file))
        return copy_in(source, file, settings.environment.value, last.chain if last else None)


def _exchange(settings: Settings, world: World, incoming: Path, file: Path) -> Path | None:
    with turn(file):
        fold_in(incoming)
        had_one = file.is_file()
        kept = decide(incoming, file, world.now())
        world.die_here("restore.after_commit")
        finish(file, journal_path(settings), world)
    return kept if had_one else None
