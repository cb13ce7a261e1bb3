"""Restore of an older database: whatever may have been sent since then becomes unknown before it is used."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select

from publisher.domain.audit_chain import RESTORED_EVENT, Checkpoint, parse_cut_checkpoints
from publisher.domain.delivery import Actor
from publisher.domain.errors import RefusedError
from publisher.store.audit.append import AUDIT_BROKEN, clear_alerts, raise_alert, write_audit
from publisher.store.base import BaseStore
from publisher.store.db.database import Transaction
from publisher.store.db.intent_journal import JournalRecord, read_journal
from publisher.store.db.tables import AUDIT, DATABASE_INFO, PAUSE, WORKER
from publisher.store.recovery.backup import (
    BackupInfo,
    copy_database,
    genesis_of,
    read_backup_info,
    restore_details,
    stored_backup_info,
)
from publisher.store.recovery.recover import (
    accept_restored,
    accepted_until,
    mark_waiting_unresolved,
    missing_from,
    orphaned_attempts,
    recover,
    workers_to_compare,
)
from publisher.store.recovery.setup import BACKUP_KEY

RESTORE_PAUSE_REASON = "restored"
"""Reason of the pause of everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredIntents:
    """The journalled attempts since a backup; `since` is set where the journal may not hold all of them."""

    records: Sequence[JournalRecord]
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreSummary:
    """Result of a restore: lost attempts, deliveries unknown without an attempt, and orphans left to a person.

    `workers_to_compare` are the other workers whose journals are still to be compared.
    """

    taken_at: datetime
    recovered: int
    unresolved: int
    orphaned: int
    workers_to_compare: Sequence[str] = ()


def stage_copy(
    source: Path | None, file: Path, environment: str, expected_chain: str | None
) -> tuple[Path, BackupInfo | None]:
    """Copy a backup, or the database itself, to a staging file beside the database. Returns the copy and its label.

    Raises RefusedError when the backup is not ours, damaged, of another environment, or of another audit chain.
    """
    info = read_backup_info(source) if source is not None else stored_backup_info(file)
    if source is not None and info is not None:
        if info.environment != environment:
            raise RefusedError("other_environment", stamped=info.environment, wanted=environment)
        expected = genesis_of(file) or expected_chain
        if expected is not None and expected != info.chain:
            raise RefusedError("backup_of_another", file=str(source))
    incoming = staging_path(file)
    remove_staging(incoming)
    copy_database(source or file, incoming)
    return incoming, info


def staging_path(file: Path) -> Path:
    """Return the path of the copy in which a restored database is prepared."""
    return file.with_name(f"{file.name}.incoming")


def remove_staging(staging: Path) -> None:
    """Remove an unused copy, and whatever is left from preparing one."""
    for suffix in ("", "-wal", "-shm", "-journal", ".setup"):
        staging.with_name(staging.name + suffix).unlink(missing_ok=True)


def read_intents(
    journal: Path, info: BackupInfo | None, begins_at: datetime, *, allows_incomplete: bool
) -> RecoveredIntents:
    """Read the journal, and check that it holds every attempt since a backup, or since `begins_at`.

    Raises RefusedError where it does not, unless `allows_incomplete`: then what it may lack becomes unknown.
    """
    contents = read_journal(journal)
    taken_at = datetime.fromisoformat(info.at) if info else begins_at
    newest, complete_since = info.newest_record if info else None, contents.complete_since
    problem = None
    if not journal.exists():
        problem = "journal_missing"
    elif contents.damaged_lines:
        problem = "journal_damaged"
    elif complete_since is not None and complete_since > taken_at:
        problem = "journal_mismatch"
    elif newest is not None and newest not in contents.records:
        is_compacted = complete_since is not None and datetime.fromisoformat(newest.at) <= complete_since
        problem = None if is_compacted else "journal_mismatch"
    if problem is not None and not allows_incomplete:
        raise RefusedError(problem, journal=str(journal), line=str(next(iter(contents.damaged_lines), 0)))
    return RecoveredIntents(records=contents.records, since=taken_at if allows_incomplete else None)


def checkpoints_to_compare(newest: Sequence[Checkpoint], file: Path | None) -> list[tuple[int, str]]:
    """Return the newest external checkpoints, and those that earlier restores of the present file cut off."""
    details = restore_details(file) if file is not None else []
    cut = [checkpoint for detail in details for checkpoint in parse_cut_checkpoints(detail)]
    return [*dict.fromkeys([*cut, *((checkpoint.sequence, checkpoint.hash) for checkpoint in newest)])]


def last_known_at(connection: Connection) -> datetime | None:
    """Return the instant up to which a database without a label knows what was sent; None where it knows nothing.

    That is the last heartbeat or audit entry, whichever is earlier: people may have cancelled posts since the last
    heartbeat. An accepted database that still waits for workers knows no more than when it was accepted.
    """
    first, last = connection.execute(select(func.min(AUDIT.c.at), func.max(AUDIT.c.at))).one()
    heartbeat_at: datetime | None = connection.scalar(select(func.max(WORKER.c.heartbeat_at)))
    until: datetime | None = min(heartbeat_at, last) if heartbeat_at and last else first
    accepted = accepted_until(connection)
    return min(until, accepted) if until and accepted else until


def finish_restore(  # noqa: PLR0913, PLR0917 # who restored what, from where, and what it cut off
    store: BaseStore,
    transaction: Transaction,
    intents: RecoveredIntents,
    info: BackupInfo | None,
    checkpoints: Sequence[tuple[int, str]],
    by: Actor,
) -> RestoreSummary:
    """Recover lost attempts as unknown, pause everything until a person has looked at it, and record the restore.

    Actions of people since then are lost as well: what they stopped must not be sent before they look.
    Raises RefusedError while another worker is alive on a shared database.
    """
    now, connection = store.runtime.now(), transaction.connection
    begins_at = datetime.fromisoformat(info.at) if info else last_known_at(connection) or now
    if store.database.is_shared:
        accept_restored(transaction, store.worker, now, begins_at, awaits_others=intents.since is None)
    lost = missing_from(connection, intents.records)
    connection.execute(delete(DATABASE_INFO).where(DATABASE_INFO.c.key == BACKUP_KEY))
    named = select(AUDIT.c.id, AUDIT.c.hash).where(AUDIT.c.id.in_([number for number, _ in checkpoints]))
    held = {(row.id, row.hash) for row in connection.execute(named)}
    cut = [checkpoint for checkpoint in checkpoints if checkpoint not in held]
    cut_entries = [{"sequence": number, "hash": digest} for number, digest in cut]
    detail = {"taken_at": begins_at.isoformat(), "calls": len(lost), "cut": cut_entries}
    write_audit(transaction, now, by, event=RESTORED_EVENT, subject="database", detail=detail)
    if cut:
        clear_alerts(transaction, AUDIT_BROKEN, now)
        raise_alert(transaction, now, AUDIT_BROKEN, AUDIT_BROKEN, {"reason": str(max(cut)[0])})
    connection.execute(delete(PAUSE).where(PAUSE.c.scope == "all"))
    connection.execute(insert(PAUSE).values(scope="all", at=now, by=by.name, reason=RESTORE_PAUSE_REASON))
    write_audit(transaction, now, by, event="paused", subject="all", detail={"reason": RESTORE_PAUSE_REASON})
    recovered = {delivery.id for delivery in recover(store, transaction, lost, by)}
    unresolved = 0
    if intents.since is not None:
        unresolved = mark_waiting_unresolved(store, transaction, intents.since, by, exclude=recovered)
    clear_alerts(transaction, "all", now)
    facts = {"since": begins_at.isoformat(timespec="seconds"), "by": by.name}
    raise_alert(transaction, now, "database_restored", "all", facts)
    return RestoreSummary(
        taken_at=begins_at,
        recovered=len(lost),
        unresolved=unresolved,
        orphaned=len(set(lost) & set(orphaned_attempts(connection))),
        workers_to_compare=workers_to_compare(connection),
    )
