"""An older database takes over: all that may have been sent since it was made is a doubt before it is used at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select

from publisher.domain.audit_chain import RESTORED_EVENT, Checkpoint, parse_cut_checkpoints
from publisher.domain.errors import RefusedError
from publisher.domain.events import Actor
from publisher.store.audit.append import AUDIT_BROKEN, clear_alerts, raise_alert, write_audit
from publisher.store.db.database import Transaction
from publisher.store.db.intent_journal import JournalContents, JournalRecord, read_journal
from publisher.store.db.mappers import AUDIT, DATABASE_INFO, PAUSE, WORKER
from publisher.store.recovery.backup import (
    BackupInfo,
    copy_database,
    genesis_of,
    read_backup_info,
    restore_details,
    stored_backup_info,
)
from publisher.store.recovery.identity import accept_restored, accepted_until, workers_to_compare
from publisher.store.recovery.recover import mark_waiting_unresolved, missing_from, orphaned_attempts, recover
from publisher.store.recovery.setup import BACKUP_KEY
from publisher.store.store import Store

RESTORE_PAUSE_REASON = "restored"
"""Why everything is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredIntents:
    """What is left to tell of the calls since a copy was made; `since` is set where the journal cannot tell it all."""

    records: Sequence[JournalRecord]
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreSummary:
    """What became of a restored database: calls it had lost, doubts without a call, and what waits for a person.

    `awaited` are the other workers on it whose journals are still to be compared.
    """

    taken_at: datetime
    recovered: int
    unresolved: int
    orphaned: int
    workers_to_compare: Sequence[str] = ()


def stage_copy(
    source: Path | None, file: Path, environment: str, expected_chain: str | None
) -> tuple[Path, BackupInfo | None]:
    """Copy a backup, or the database itself, to beside the database. Returns the copy and its label.

    Raises RefusedError when it is none of ours, damaged, of another environment, or of another chain than `chain`.
    """
    label = read_backup_info(source) if source is not None else stored_backup_info(file)
    if source is not None and label is not None:
        if label.environment != environment:
            raise RefusedError("other_environment", stamped=label.environment, wanted=environment)
        expected = genesis_of(file) or expected_chain
        if expected is not None and expected != label.chain:
            raise RefusedError("backup_of_another", file=str(source))
    incoming = staging_path(file)
    remove_staging(incoming)
    copy_database(source or file, incoming)
    return incoming, label


def staging_path(file: Path) -> Path:
    """Name the copy in which a restored database is made ready."""
    return file.with_name(f"{file.name}.incoming")


def remove_staging(staging: Path) -> None:
    """Leave nothing of a copy that did not come to be used, or of the making of one that did."""
    for end in ("", "-wal", "-shm", "-journal", ".setup"):
        staging.with_name(staging.name + end).unlink(missing_ok=True)


def read_intents(
    journal: Path, info: BackupInfo | None, begins_at: datetime, *, allows_incomplete: bool
) -> RecoveredIntents:
    """Read the journal, and see whether it tells of every call since a copy was made, or since `begins_at`.

    Raises RefusedError where it does not, unless that is fine: then what it cannot tell is doubted.
    """
    contents = read_journal(journal)
    taken_at = datetime.fromisoformat(info.at) if info else begins_at
    flaw = _journal_problem(journal, contents, info, taken_at)
    if flaw is not None and not allows_incomplete:
        raise RefusedError(flaw, journal=str(journal), line=str(next(iter(contents.damaged_lines), 0)))
    return RecoveredIntents(records=contents.records, since=taken_at if allows_incomplete else None)


def _journal_problem(
    journal: Path, contents: JournalContents, info: BackupInfo | None, taken_at: datetime
) -> str | None:
    """Say why a journal cannot tell of all calls since then; None where it can."""
    if not journal.exists():
        return "journal_missing"
    if contents.damaged_lines:
        return "journal_damaged"
    newest, kept_since = info.newest_record if info else None, contents.complete_since
    if kept_since is not None and kept_since > taken_at:
        return "journal_mismatch"
    if newest is None or newest in contents.records:
        return None
    is_left_out = kept_since is not None and datetime.fromisoformat(newest.at) <= kept_since
    return None if is_left_out else "journal_mismatch"


def checkpoints_to_compare(newest: Sequence[Checkpoint], file: Path | None) -> list[tuple[int, str]]:
    """Give the newest anchors outside, and those that earlier restorings of the present file cut off."""
    earlier = (
        [cut for detail in restore_details(file) for cut in parse_cut_checkpoints(detail)] if file is not None else []
    )
    return [*dict.fromkeys([*earlier, *((last.sequence, last.hash) for last in newest)])]


def last_known_at(connection: Connection) -> datetime | None:
    """Give the instant up to which a database without a label knows what was sent; None where it knows nothing.

    A daemon's last sign of life in it, or what was written before. People may have stopped posts in it since. One that
    was accepted, and in which workers are awaited, knows no more than it did then.
    """
    first, last = connection.execute(select(func.min(AUDIT.c.at), func.max(AUDIT.c.at))).one()
    beat: datetime | None = connection.scalar(select(func.max(WORKER.c.heartbeat_at)))
    until: datetime | None = min(beat, last) if beat and last else first
    accepted = accepted_until(connection)
    return min(until, accepted) if until and accepted else until


def finish_restore(  # noqa: PLR0913, PLR0917 # who restored what, from where, and what it cut off
    store: Store,
    transaction: Transaction,
    intents: RecoveredIntents,
    info: BackupInfo | None,
    checkpoints: Sequence[tuple[int, str]],
    by: Actor,
) -> RestoreSummary:
    """Bring back what was lost, as doubts; pause everything until the person has seen to it; write it all down.

    Orders of people given since then are lost with it: what they had stopped must not go out before they look.
    Raises RefusedError while another worker lives on a shared database.
    """
    now, connection = store.runtime.now(), transaction.connection
    begins_at = datetime.fromisoformat(info.at) if info else last_known_at(connection) or now
    if store.database.is_shared:
        accept_restored(transaction, store.worker, now, begins_at, awaits_others=intents.since is None)
    lost = missing_from(connection, intents.records)
    connection.execute(delete(DATABASE_INFO).where(DATABASE_INFO.c.key == BACKUP_KEY))
    cut = _truncated_entries(connection, checkpoints)
    told = [{"sequence": number, "hash": digest} for number, digest in cut]
    detail = {"taken_at": begins_at.isoformat(), "calls": len(lost), "cut": told}
    write_audit(transaction, now, by, event=RESTORED_EVENT, subject="database", detail=detail)
    if cut:
        clear_alerts(transaction, AUDIT_BROKEN, now)
        raise_alert(transaction, now, AUDIT_BROKEN, AUDIT_BROKEN, {"reason": str(max(cut)[0])})
    _pause_everything(transaction, by, now)
    brought = {delivery.id for delivery in recover(store, transaction, lost, by)}
    doubts = (
        mark_waiting_unresolved(store, transaction, intents.since, by, exclude=brought)
        if intents.since is not None
        else 0
    )
    clear_alerts(transaction, "all", now)
    raise_alert(
        transaction, now, "database_restored", "all", {"since": begins_at.isoformat(timespec="seconds"), "by": by.name}
    )
    stray = len(set(lost) & set(orphaned_attempts(connection)))
    missing = workers_to_compare(connection)
    return RestoreSummary(
        taken_at=begins_at, recovered=len(lost), unresolved=doubts, orphaned=stray, workers_to_compare=missing
    )


def _truncated_entries(connection: Connection, checkpoints: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Name those anchors outside of whose entries this database holds another, or none."""
    rows = connection.execute(
        select(AUDIT.c.id, AUDIT.c.hash).where(AUDIT.c.id.in_([number for number, _ in checkpoints]))
    )
    held = {(row.id, row.hash) for row in rows}
    return [(number, digest) for number, digest in checkpoints if (number, digest) not in held]


def _pause_everything(transaction: Transaction, by: Actor, now: datetime) -> None:
    transaction.connection.execute(delete(PAUSE).where(PAUSE.c.scope == "all"))
    transaction.connection.execute(insert(PAUSE).values(scope="all", at=now, by=by.name, reason=RESTORE_PAUSE_REASON))
    write_audit(transaction, now, by, event="paused", subject="all", detail={"reason": RESTORE_PAUSE_REASON})
