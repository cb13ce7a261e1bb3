"""An older database takes over: all that may have been sent since it was made is a doubt before it is used at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select

from publisher.domain.chain import RESTORED, Anchor, cuts_of
from publisher.domain.errors import RefusedError
from publisher.domain.events import Actor
from publisher.store.backup import Label, copy_database, genesis_of, label_in, read_label, restorings_in
from publisher.store.books import Books
from publisher.store.engine import Unit
from publisher.store.home import accepted_until, awaited, move_in
from publisher.store.journal import Contents, Intent, read_journal
from publisher.store.ledger import AUDIT_BROKEN, clear_alerts, tell, write_audit
from publisher.store.lost_time import doubt_waiting
from publisher.store.recovery import readopt, unknown_to, unplaced
from publisher.store.rows import AUDIT, DATABASE_INFO, PAUSE, WORKER
from publisher.store.setup import COPY

PAUSED_FOR = "restored"
"""Why everything is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is left to tell of the calls since a copy was made; `since` is set where the journal cannot tell it all."""

    calls: Sequence[Intent]
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a restored database: calls it had lost, doubts without a call, and what waits for a person.

    `awaited` are the other workers on it whose journals are still to be compared.
    """

    taken_at: datetime
    calls: int
    doubts: int
    unplaced: int
    awaited: Sequence[str] = ()


def copy_in(source: Path | None, file: Path, environment: str, chain: str | None) -> tuple[Path, Label | None]:
    """Copy a backup, or the database itself, to beside the database. Returns the copy and its label.

    Raises RefusedError when it is none of ours, damaged, of another environment, or of another chain than `chain`.
    """
    label = read_label(source) if source is not None else label_in(file)
    if source is not None and label is not None:
        if label.environment != environment:
            raise RefusedError("other_environment", stamped=label.environment, wanted=environment)
        expected = genesis_of(file) or chain
        if expected is not None and expected != label.chain:
            raise RefusedError("backup_of_another", file=str(source))
    incoming = incoming_of(file)
    discard(incoming)
    copy_database(source or file, incoming)
    return incoming, label


def incoming_of(file: Path) -> Path:
    """Name the copy in which a restored database is made ready."""
    return file.with_name(f"{file.name}.incoming")


def discard(incoming: Path) -> None:
    """Leave nothing of a copy that did not come to be used, or of the making of one that did."""
    for end in ("", "-wal", "-shm", "-journal", ".setup"):
        incoming.with_name(incoming.name + end).unlink(missing_ok=True)


def recall(journal: Path, label: Label | None, begins_at: datetime, *, is_incomplete_fine: bool) -> Memory:
    """Read the journal, and see whether it tells of every call since a copy was made, or since `begins_at`.

    Raises RefusedError where it does not, unless that is fine: then what it cannot tell is doubted.
    """
    contents = read_journal(journal)
    taken_at = datetime.fromisoformat(label.at) if label else begins_at
    flaw = _flaw(journal, contents, label, taken_at)
    if flaw is not None and not is_incomplete_fine:
        raise RefusedError(flaw, journal=str(journal), line=str(next(iter(contents.damaged), 0)))
    return Memory(calls=contents.intents, since=taken_at if is_incomplete_fine else None)


def _flaw(journal: Path, contents: Contents, label: Label | None, taken_at: datetime) -> str | None:
    """Say why a journal cannot tell of all calls since then; None where it can."""
    if not journal.exists():
        return "journal_missing"
    if contents.damaged:
        return "journal_damaged"
    newest, kept_since = label.newest if label else None, contents.kept_since
    if kept_since is not None and kept_since > taken_at:
        return "journal_other"
    if newest is None or newest in contents.intents:
        return None
    is_left_out = kept_since is not None and datetime.fromisoformat(newest.at) <= kept_since
    return None if is_left_out else "journal_other"


def anchors_to_name(newest: Sequence[Anchor], file: Path | None) -> list[tuple[int, str]]:
    """Give the newest anchors outside, and those that earlier restorings of the present file cut off."""
    earlier = [cut for detail in restorings_in(file) for cut in cuts_of(detail)] if file is not None else []
    return [*dict.fromkeys([*earlier, *((last.sequence, last.hash) for last in newest)])]


def known_until(connection: Connection) -> datetime | None:
    """Give the instant up to which a database without a label knows what was sent; None where it knows nothing.

    A daemon's last sign of life in it, or what was written before. People may have stopped posts in it since. One that
    was accepted, and in which workers are awaited, knows no more than it did then.
    """
    first, last = connection.execute(select(func.min(AUDIT.c.at), func.max(AUDIT.c.at))).one()
    beat: datetime | None = connection.scalar(select(func.max(WORKER.c.beat_at)))
    until: datetime | None = min(beat, last) if beat and last else first
    accepted = accepted_until(connection)
    return min(until, accepted) if until and accepted else until


def settle_restored(  # noqa: PLR0913, PLR0917 # who restored what, from where, and what it cut off
    books: Books, unit: Unit, memory: Memory, label: Label | None, anchors: Sequence[tuple[int, str]], by: Actor
) -> Settled:
    """Bring back what was lost, as doubts; pause everything until the person has seen to it; write it all down.

    Orders of people given since then are lost with it: what they had stopped must not go out before they look.
    Raises RefusedError while another worker lives on a shared database.
    """
    now, connection = books.world.now(), unit.connection
    begins_at = datetime.fromisoformat(label.at) if label else known_until(connection) or now
    if books.database.is_shared:
        move_in(unit, books.worker, now, begins_at, waits_for_others=memory.since is None)
    lost = unknown_to(connection, memory.calls)
    connection.execute(delete(DATABASE_INFO).where(DATABASE_INFO.c.key == COPY))
    cut = _cut(connection, anchors)
    told = [{"sequence": number, "hash": digest} for number, digest in cut]
    detail = {"taken_at": begins_at.isoformat(), "calls": len(lost), "cut": told}
    write_audit(unit, now, by, event=RESTORED, subject="database", detail=detail)
    if cut:
        clear_alerts(unit, AUDIT_BROKEN, now)
        tell(unit, now, AUDIT_BROKEN, AUDIT_BROKEN, {"reason": str(max(cut)[0])})
    _pause(unit, by, now)
    brought = {delivery.id for delivery in readopt(books, unit, lost, by)}
    doubts = doubt_waiting(books, unit, memory.since, by, besides=brought) if memory.since is not None else 0
    clear_alerts(unit, "all", now)
    tell(unit, now, "database_restored", "all", {"since": begins_at.isoformat(timespec="seconds"), "by": by.name})
    stray = len(set(lost) & set(unplaced(connection)))
    missing = awaited(connection)
    return Settled(taken_at=begins_at, calls=len(lost), doubts=doubts, unplaced=stray, awaited=missing)


def _cut(connection: Connection, anchors: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Name those anchors outside of whose entries this database holds another, or none."""
    rows = connection.execute(select(AUDIT.c.id, AUDIT.c.hash).where(AUDIT.c.id.in_([number for number, _ in anchors])))
    held = {(row.id, row.hash) for row in rows}
    return [(number, digest) for number, digest in anchors if (number, digest) not in held]


def _pause(unit: Unit, by: Actor, now: datetime) -> None:
    unit.connection.execute(delete(PAUSE).where(PAUSE.c.scope == "all"))
    unit.connection.execute(insert(PAUSE).values(scope="all", at=now, by=by.name, reason=PAUSED_FOR))
    write_audit(unit, now, by, event="paused", subject="all", detail={"reason": PAUSED_FOR})
