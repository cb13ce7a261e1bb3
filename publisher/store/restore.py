"""An older database takes over: all that may have been sent since it was made is a doubt before it is used at all."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from publisher.domain.chain import Anchor
from publisher.domain.delivery import State
from publisher.domain.errors import RefusedError
from publisher.domain.events import Actor
from publisher.domain.post import At, Post
from publisher.store.backup import PART, Label, copy_database, genesis_of, label_in, read_label
from publisher.store.books import Books
from publisher.store.conditions import stands
from publisher.store.engine import Unit
from publisher.store.exchange import KEPT, READY
from publisher.store.journal import Contents, Intent, read_journal, write_journal
from publisher.store.ledger import clear_alerts, subject_of, tell, write_audit
from publisher.store.recovery import KEEPER, readopt, unknown_to
from publisher.store.rows import AUDIT, DELIVERY, PAUSE, STAMP, read_post, to_delivery
from publisher.store.setup import COPY
from publisher.world import World

LOST = "lost"
"""The stamp of a time of which no journal tells: until when, from when on, and whether new posts are to be doubted."""
RESTORED = "restored"
"""Why everything is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is left to tell of the calls since a copy was made; `since` is set where the journal cannot tell it all."""

    calls: Sequence[Intent]
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a restored database: calls it had lost, doubts without a call, and what waits for a person."""

    taken_at: datetime
    calls: int
    doubts: int
    unplaced: int


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
    incoming = file.with_name(f"{file.name}.incoming")
    for leftover in (incoming, *(incoming.with_name(incoming.name + end) for end in ("-wal", "-shm", "-journal", PART))):
        leftover.unlink(missing_ok=True)
    copy_database(source or file, incoming)
    return incoming, label


def recall(journal: Path, label: Label | None, begins_at: datetime, *, is_incomplete_fine: bool) -> Memory:
    """Read the journal, and see whether it tells of every call since a copy was made, or since `begins_at`.

    Raises RefusedError where it does not, unless that is fine: then what it cannot tell is doubted.
    """
    contents = read_journal(journal)
    flaw = _flaw(journal, contents, label)
    if flaw is None and not is_incomplete_fine:
        return Memory(calls=contents.intents)
    if flaw is not None and not is_incomplete_fine:
        raise RefusedError(flaw, journal=str(journal), line=str(next(iter(contents.damaged), 0)))
    return Memory(calls=contents.intents, since=datetime.fromisoformat(label.at) if label else begins_at)


def _flaw(journal: Path, contents: Contents, label: Label | None) -> str | None:
    if not journal.exists():
        return "journal_missing"
    if contents.damaged:
        return "journal_damaged"
    if label is None:
        return None
    is_cut = contents.kept_since is not None
    if label.newest is not None:
        return None if label.newest in contents.intents else "journal_other"
    return "journal_other" if is_cut and str(contents.kept_since) > label.at else None


def newest_entry(connection: Connection) -> datetime | None:
    """Give the instant of the newest entry of the audit: nothing is known of what came later."""
    return connection.scalar(select(func.max(AUDIT.c.at)))


def settle_restored(  # noqa: PLR0913, PLR0917 # who restored what, from where, and what it cut off
    books: Books, unit: Unit, memory: Memory, label: Label | None, cut: Anchor | None, by: Actor
) -> Settled:
    """Bring back what was lost, as doubts; pause everything until the person has seen to it; write it all down.

    Orders of people given since then are lost with it: what they had stopped must not go out before they look.
    """
    now, connection = books.world.now(), unit.connection
    begins_at = datetime.fromisoformat(label.at) if label else newest_entry(connection) or now
    lost = unknown_to(connection, memory.calls)
    connection.execute(delete(STAMP).where(STAMP.c.key == COPY))
    detail = {"taken_at": begins_at.isoformat(), "calls": len(lost), "cut": _cut(connection, cut)}
    write_audit(unit, now, by, event="Restored", subject="database", detail=detail)
    _pause(unit, by, now)
    brought = readopt(books, unit, lost, by)
    doubted = _doubt_since(books, unit, memory.since, by) if memory.since is not None else 0
    placed = sum(1 for call in lost for delivery in brought if delivery.key.post == call.post)
    facts = {"since": begins_at.isoformat(), "by": by.name}
    clear_alerts(unit, "database", now)
    tell(unit, now, "database_restored", "database", facts)
    return Settled(taken_at=begins_at, calls=len(lost), doubts=doubted, unplaced=max(0, len(lost) - placed))


def _cut(connection: Connection, anchor: Anchor | None) -> Mapping[str, object] | None:
    """Name the newest anchor outside, where this database does not hold the entry that it is about."""
    if anchor is None or connection.scalar(select(AUDIT.c.hash).where(AUDIT.c.id == anchor.sequence)) == anchor.hash:
        return None
    return {"sequence": anchor.sequence, "hash": anchor.hash}


def _pause(unit: Unit, by: Actor, now: datetime) -> None:
    unit.connection.execute(delete(PAUSE).where(PAUSE.c.scope == "all"))
    unit.connection.execute(insert(PAUSE).values(scope="all", at=now, by=by.name, reason=RESTORED))
    write_audit(unit, now, by, event="Paused", subject="all", detail={"reason": RESTORED})


def _doubt_since(books: Books, unit: Unit, since: datetime, by: Actor) -> int:
    """Doubt all that may have been sent since then; there is no journal to say which it was."""
    now = books.world.now()
    lost = {"since": since.isoformat(), "until": now.isoformat(), "new": True}
    unit.connection.execute(delete(STAMP).where(STAMP.c.key == LOST))
    unit.connection.execute(insert(STAMP).values(key=LOST, value=json.dumps(lost)))
    waiting = stands(DELIVERY, State.PENDING, State.DUE, State.CLAIMED, State.RETRY_WAIT)
    due = or_(waiting & (DELIVERY.c.due_at <= now), stands(DELIVERY, State.SENDING, State.UNKNOWN))
    rows = unit.connection.execute(select(DELIVERY).where(due)).mappings()
    return len(readopt(books, unit, [_imagined(row, since) for row in map(dict, rows)], by))


def _imagined(row: Mapping[str, object], since: datetime) -> Intent:
    return Intent(
        delivery=int(str(row["id"])),
        attempt=int(str(row["attempts"])) + 1,
        epoch=int(str(row["epoch"])) + 1,
        rendition=str(row["rendition"]),
        at=since.isoformat(),
        post=str(row["post"]),
        label=str(row["label"]),
        account=str(row["account"]),
    )


def doubt_filed(books: Books, unit: Unit, posts: Iterable[tuple[str, str]], *, is_new_version: bool) -> None:
    """Doubt what is filed anew where no journal tells whether it was sent already.

    That is what was due in that time; and whatever is to go at once the first time that the schedule is read since.
    """
    written = unit.connection.scalar(select(STAMP.c.value).where(STAMP.c.key == LOST))
    if written is None:
        return
    lost = json.loads(written)
    until = datetime.fromisoformat(lost["until"])
    for post, label in posts:
        mine = (DELIVERY.c.post == post, DELIVERY.c.label == label, stands(DELIVERY, State.PENDING))
        rows = unit.connection.execute(select(DELIVERY).where(*mine, DELIVERY.c.attempts == 0)).mappings().all()
        is_meant = lost["new"] and _goes_at_once(unit.connection, post)
        calls = [_imagined(row, datetime.fromisoformat(lost["since"])) for row in map(dict, rows)
                 if is_meant or row["due_at"] <= until]  # fmt: skip
        readopt(books, unit, calls, KEEPER)
    if is_new_version:
        forget_new(unit)


def forget_new(unit: Unit) -> None:
    """The schedule as it is has been read: what comes into it from now on was never sent."""
    written = unit.connection.scalar(select(STAMP.c.value).where(STAMP.c.key == LOST))
    if written is not None and json.loads(written)["new"]:
        value = json.dumps({**json.loads(written), "new": False})
        unit.connection.execute(update(STAMP).where(STAMP.c.key == LOST).values(value=value))
