"""Restore a database backup, or accept a restored shared database; settle it before use."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.engine import make_url

from publisher.app.adapters import build_policies
from publisher.app.open_store import build_worker_id, journal_path
from publisher.config import Settings
from publisher.domain.audit_chain import Checkpoint
from publisher.domain.delivery import Actor
from publisher.domain.errors import RefusedError
from publisher.engine.checkpoints import (
    append_checkpoint,
    build_checkpoint_targets,
    own_checkpoint_files,
    read_checkpoints,
)
from publisher.runtime.clock import Runtime
from publisher.secrets import SecretError
from publisher.store.db.database import Database, open_engine
from publisher.store.recovery.backup import (
    BackupInfo,
    RestoreSummary,
    checkpoints_to_compare,
    finish_restore,
    last_known_at,
    merge_wal,
    read_checkpoint,
    read_intents,
    remove_staging,
    stage_copy,
    staging_path,
)
from publisher.store.recovery.folder import file_lock, lock_process, take_over_folder
from publisher.store.recovery.setup import (
    check_integrity,
    commit_swap,
    finish_swaps,
    migrate,
    migration_of,
    read_copied_folder,
    repair_journal,
    require_own_journal,
)
from publisher.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreResult:
    """The findings of a restore, and the place of the replaced database; None if there was none.

    `checkpoint_error` is the reason that the checkpoint after it could not be written.
    """

    summary: RestoreSummary
    replaced_database: Path | None
    checkpoint_error: OSError | SecretError | None


async def restore(  # noqa: PLR0913, PLR0917 # what, where to, who, what is known of the audit, how much of the calls
    settings: Settings,
    runtime: Runtime,
    file: Path,
    source: Path | None,
    by: Actor,
    checkpoint_files: Sequence[Path] = (),
    *,
    allow_incomplete: bool = False,
) -> RestoreResult:
    """Replace the database by a backup, or accept the present one if `source` is None.

    The audit heads before and after are written as checkpoints. All is prepared in a copy. Until
    one atomic swap nothing has changed, and after it every start finishes an interrupted restore.
    `checkpoint_files` may know newer checkpoints than ours. The journal of a workspace that was
    copied while its daemon ran counts as incomplete. Raises RefusedError while a daemon runs, and
    for a file that must not be used; SettingsError; OSError.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(lock_process(settings.database, settings.workspace).release)
        stack.callback(remove_staging, staging_path(file))
        await asyncio.to_thread(file.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(finish_pending_restore, settings, runtime, file)
        newest_checkpoints = await asyncio.to_thread(
            _newest_checkpoints, settings, checkpoint_files
        )
        if (
            source is not None
            and (
                current_head := await asyncio.to_thread(read_checkpoint, file, runtime)
            )
            is not None
        ):
            await asyncio.to_thread(_write_checkpoint, settings, current_head)
            newest_checkpoints.append(current_head)
        incoming, label = await asyncio.to_thread(
            _prepare_copy, settings, file, source, newest_checkpoints, runtime
        )
        named_checkpoints = await asyncio.to_thread(
            checkpoints_to_compare, newest_checkpoints, file
        )
        url = (
            make_url(settings.database)
            .set(database=str(incoming))
            .render_as_string(hide_password=False)
        )
        await asyncio.to_thread(migrate, url, settings.environment.value, None, runtime)
        await asyncio.to_thread(check_integrity, url)
        copied = (
            await asyncio.to_thread(read_copied_folder, url) if source is None else None
        )
        is_incomplete = allow_incomplete or (
            copied is not None and not copied.was_stopped
        )
        summary, head = await _settle_database(
            settings,
            runtime,
            url,
            label,
            named_checkpoints,
            by,
            allow_incomplete=is_incomplete,
        )
        runtime.hit_failpoint_now("restore.before_commit")
        replaced_database = await asyncio.to_thread(
            _swap_in, settings, runtime, incoming, file
        )
        failure = await asyncio.to_thread(
            _write_checkpoint, settings, replace(head, database=file.name)
        )
        return RestoreResult(
            summary=summary,
            replaced_database=replaced_database,
            checkpoint_error=failure,
        )


async def take_over(
    settings: Settings,
    runtime: Runtime,
    file: Path | None,
    by: Actor,
    checkpoint_files: Sequence[Path] = (),
) -> RestoreResult | None:
    """Take over a copied workspace from its original, given a person's word that it has stopped.

    The person says that the original will not run again. If its daemon was stopped before the copy
    was made, nothing else changes, and None is returned. Otherwise it may have sent more since: the
    copy is accepted as an older database is, by `restore`. Raises RefusedError if the workspace is
    no copy, and as `restore` does.
    """
    if file is None or not await asyncio.to_thread(file.is_file):
        raise RefusedError("nothing_to_take_over")
    if (
        copied := await asyncio.to_thread(read_copied_folder, settings.database)
    ) is None:
        raise RefusedError("nothing_to_take_over")
    if not copied.was_stopped:
        return await restore(settings, runtime, file, None, by, checkpoint_files)
    with contextlib.ExitStack() as stack:
        stack.callback(lock_process(settings.database, settings.workspace).release)
        database = Database(open_engine(settings.database), runtime)
        try:
            await database.write(take_over_folder, file.parent, runtime.now(), by)
        finally:
            await database.close()
    return None


async def accept_current(
    settings: Settings,
    runtime: Runtime,
    by: Actor,
    checkpoint_files: Sequence[Path] = (),
    *,
    allow_incomplete: bool = False,
) -> RestoreResult:
    """Accept a shared database with a restored dump, and settle it in one transaction.

    Raises RefusedError while a daemon runs here or on another host, and for an incomplete journal;
    SettingsError; OSError.
    """
    journal = journal_path(settings)
    with contextlib.ExitStack() as stack:
        stack.callback(lock_process(settings.database, settings.workspace).release)
        if await asyncio.to_thread(migration_of, settings.database) is None:
            raise RefusedError(
                "nothing_to_accept", file=str(make_url(settings.database).database)
            )
        await asyncio.to_thread(
            migrate, settings.database, settings.environment.value, journal, runtime
        )
        named_checkpoints = checkpoints_to_compare(
            await asyncio.to_thread(_newest_checkpoints, settings, checkpoint_files),
            None,
        )
        summary, head = await _settle_database(
            settings,
            runtime,
            settings.database,
            None,
            named_checkpoints,
            by,
            allow_incomplete=allow_incomplete,
        )
        failure = await asyncio.to_thread(_write_checkpoint, settings, head)
        await asyncio.to_thread(
            repair_journal, journal, f"{runtime.now():%Y%m%dT%H%M%S%f}"
        )
        return RestoreResult(
            summary=summary, replaced_database=None, checkpoint_error=failure
        )


async def _settle_database(  # noqa: PLR0913, PLR0917 # which database, what is known of it, and who accepts it
    settings: Settings,
    runtime: Runtime,
    url: str,
    label: BackupInfo | None,
    named_checkpoints: Sequence[tuple[int, str]],
    by: Actor,
    *,
    allow_incomplete: bool,
) -> tuple[RestoreSummary, Checkpoint]:
    policies = await asyncio.to_thread(build_policies, settings)
    database = Database(open_engine(url), runtime)
    try:
        store = Store(
            database=database, policies=policies, worker=build_worker_id(settings)
        )
        begins_at = await database.read(last_known_at) or runtime.now()
        recovered = await asyncio.to_thread(
            read_intents,
            journal_path(settings),
            label,
            begins_at,
            allows_incomplete=allow_incomplete,
        )
        if database.is_shared and not allow_incomplete:
            await database.read(
                require_own_journal, store.worker, journal_path(settings)
            )
        summary = await database.write(
            finish_restore, store, recovered, label, named_checkpoints, by
        )
        head = await store.audit.read_checkpoint()
    finally:
        await database.close()
    if head is None:
        raise AssertionError  # the entry of the restore was just written
    return summary, head


def _write_checkpoint(
    settings: Settings, head: Checkpoint
) -> OSError | SecretError | None:
    """Write a checkpoint, or return the reason that it could not be written.

    A restore must not fail by it, and its own entry records the cut.
    """
    targets = build_checkpoint_targets(settings)
    try:
        append_checkpoint(targets, head, targets.load_key())
    except (OSError, SecretError) as error:
        return error
    return None


def _newest_checkpoints(settings: Settings, others: Sequence[Path]) -> list[Checkpoint]:
    """Return each file's last checkpoint, our own first, and earlier ones with a higher sequence.

    The latter exist if an older database was restored before. Raises OSError.
    """
    found: list[Checkpoint] = []
    for file in [*own_checkpoint_files(build_checkpoint_targets(settings)), *others]:
        last_sequence = 0
        for checkpoint in reversed(list(read_checkpoints(file))):
            if checkpoint.sequence > last_sequence:
                last_sequence = checkpoint.sequence
                found.append(checkpoint)
    return list(dict.fromkeys(found))


def finish_pending_restore(settings: Settings, runtime: Runtime, file: Path) -> None:
    """Finish a restore that had committed its swap before a crash, if there is one."""
    with file_lock(file):
        finish_swaps(file, journal_path(settings), runtime)


def _prepare_copy(
    settings: Settings,
    file: Path,
    source: Path | None,
    newest_checkpoints: Sequence[Checkpoint],
    runtime: Runtime,
) -> tuple[Path, BackupInfo | None]:
    if source is None and not file.is_file():
        journal = journal_path(settings)
        if not journal.exists():
            raise RefusedError("nothing_to_accept", file=str(file))
        # the database is lost without a backup: an empty one learns its calls from the journal
        migrate(settings.database, settings.environment.value, journal, runtime)
    with file_lock(file):
        return stage_copy(
            source,
            file,
            settings.environment.value,
            newest_checkpoints[0].chain if newest_checkpoints else None,
        )


def _swap_in(
    settings: Settings, runtime: Runtime, incoming: Path, file: Path
) -> Path | None:
    with file_lock(file):
        merge_wal(incoming)
        had_database = file.is_file()
        replaced_database = commit_swap(incoming, file, runtime.now())
        runtime.hit_failpoint_now("restore.after_commit")
        finish_swaps(file, journal_path(settings), runtime)
    return replaced_database if had_database else None
