"""An older database put in the present one's place, settled before it is used."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.engine import make_url

from publisher.anchoring import anchors_of, own_files, write_head
from publisher.domain.chain import Anchor
from publisher.domain.errors import RefusedError
from publisher.domain.events import Actor
from publisher.settings import Settings
from publisher.store.audit import Audit
from publisher.store.backup import Label, fold_in, head_of
from publisher.store.books import Books
from publisher.store.engine import Database, open_engine
from publisher.store.exchange import decide, finish, mend
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
from publisher.store.setup import bring_up, check_whole, must_be_own, occupy, turn, version_of
from publisher.telemetry import log
from publisher.vault import SecretError
from publisher.wiring.books import journal_path, worker_of
from publisher.wiring.mooring import mooring_of
from publisher.wiring.terms import terms_of
from publisher.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """How a database was restored, and where the one before it is kept; None where there was none."""

    settled: Settled
    kept: Path | None


async def restore(  # noqa: PLR0913, PLR0917 # what, where to, who, what is known of the audit, how much of the calls
    settings: Settings,
    world: World,
    file: Path,
    source: Path | None,
    by: Actor,
    anchors: Sequence[Path] = (),
    *,
    is_incomplete_fine: bool = False,
) -> Restoration:
    """Put a backup in the database's place, or accept the present one as it stands where `source` is None.

    The heads of the audit before and after are written down outside. All is prepared in a copy: until that takes the
    database's place at one stroke, nothing has changed, and from then on every start finishes what a death may have
    left. `anchors` are files that may know newer ones than ours. Raises RefusedError while a daemon runs, and for a
    file that must not be used; SettingsError; OSError.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(occupy(settings.database, settings.workspace).end)
        stack.callback(discard, incoming_of(file))
        await asyncio.to_thread(finish_decided, settings, world, file)
        newest = await asyncio.to_thread(_newest, settings, anchors)
        if source is not None and (cut := await asyncio.to_thread(head_of, file, world)) is not None:
            await asyncio.to_thread(_checkpoint, settings, cut)
            newest.append(cut)
        incoming, label = await asyncio.to_thread(_copy, settings, world, file, source, newest)
        named = await asyncio.to_thread(anchors_to_name, newest, file)
        url = make_url(settings.database).set(database=str(incoming)).render_as_string(hide_password=False)
        await asyncio.to_thread(bring_up, url, settings.environment.value, None, world)
        await asyncio.to_thread(check_whole, url)
        settled, head = await _settle(settings, world, url, label, named, by, is_incomplete_fine=is_incomplete_fine)
        world.die_here("restore.before_commit")
        kept = await asyncio.to_thread(_exchange, settings, world, incoming, file)
        await asyncio.to_thread(_checkpoint, settings, replace(head, database=file.name))
        return Restoration(settled=settled, kept=kept)


async def accept(
    settings: Settings, world: World, by: Actor, anchors: Sequence[Path] = (), *, is_incomplete_fine: bool = False
) -> Restoration:
    """Accept a shared database into which a dump was put back: it is settled where it stands, in one transaction.

    Raises RefusedError while a daemon runs here or on another host, and for a journal that cannot tell all;
    SettingsError; OSError.
    """
    journal = journal_path(settings)
    with contextlib.ExitStack() as stack:
        stack.callback(occupy(settings.database, settings.workspace).end)
        if await asyncio.to_thread(version_of, settings.database) is None:
            raise RefusedError("nothing_to_accept", file=str(make_url(settings.database).database))
        await asyncio.to_thread(bring_up, settings.database, settings.environment.value, journal, world)
        named = anchors_to_name(await asyncio.to_thread(_newest, settings, anchors), None)
        settled, head = await _settle(
            settings, world, settings.database, None, named, by, is_incomplete_fine=is_incomplete_fine
        )
        await asyncio.to_thread(_checkpoint, settings, head)
        await asyncio.to_thread(mend, journal, f"{world.now():%Y%m%dT%H%M%S%f}")
        return Restoration(settled=settled, kept=None)


async def _settle(  # noqa: PLR0913, PLR0917 # which database, what is known of it, and who accepts it
    settings: Settings,
    world: World,
    url: str,
    label: Label | None,
    named: Sequence[tuple[int, str]],
    by: Actor,
    *,
    is_incomplete_fine: bool,
) -> tuple[Settled, Anchor]:
    terms = await asyncio.to_thread(terms_of, settings)
    database = Database(open_engine(url), world)
    try:
        books = Books(database=database, terms=terms, worker=worker_of(settings))
        begins_at = await database.read(known_until) or world.now()
        memory = await asyncio.to_thread(
            recall, journal_path(settings), label, begins_at, is_incomplete_fine=is_incomplete_fine
        )
        if database.is_shared and not is_incomplete_fine:
            await database.read(lambda connection: must_be_own(connection, books.worker, journal_path(settings)))
        settled = await database.write(lambda unit: settle_restored(books, unit, memory, label, named, by))
        head = await Audit(books).head()
    finally:
        await database.close()
    if head is None:
        raise AssertionError  # the entry of the restore was just written
    log.warning("database_restored", calls=settled.calls, doubts=settled.doubts, unplaced=settled.unplaced)
    return settled, head


def _checkpoint(settings: Settings, head: Anchor) -> None:
    """Write a head down outside. Trouble is logged: a restore must not hang on it, and its own entry names the cut."""
    mooring = mooring_of(settings)
    try:
        write_head(mooring, head, mooring.key())
    except (OSError, SecretError) as error:
        log.error("audit_anchor_failed", error=type(error).__name__, number=getattr(error, "errno", None))


def _newest(settings: Settings, others: Sequence[Path]) -> list[Anchor]:
    """Give the last anchor of each file, our own first, and those before it that reach further. Raises OSError.

    There are such where an older database was put in place before.
    """
    found: list[Anchor] = []
    for file in [*own_files(mooring_of(settings)), *others]:
        reach = 0
        for anchor in reversed(list(anchors_of(file))):
            if anchor.sequence > reach:
                reach = anchor.sequence
                found.append(anchor)
    return list(dict.fromkeys(found))


def finish_decided(settings: Settings, world: World, file: Path) -> None:
    """Carry out what a restore had decided before it died, if anything."""
    with turn(file):
        finish(file, journal_path(settings), world)


def _copy(
    settings: Settings, world: World, file: Path, source: Path | None, newest: Sequence[Anchor]
) -> tuple[Path, Label | None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    finish_decided(settings, world, file)
    with turn(file):
        if source is None and not file.is_file():
            raise RefusedError("nothing_to_accept", file=str(file))
        return copy_in(source, file, settings.environment.value, newest[0].chain if newest else None)


def _exchange(settings: Settings, world: World, incoming: Path, file: Path) -> Path | None:
    with turn(file):
        fold_in(incoming)
        had_one = file.is_file()
        kept = decide(incoming, file, world.now())
        world.die_here("restore.after_commit")
        finish(file, journal_path(settings), world)
    return kept if had_one else None
