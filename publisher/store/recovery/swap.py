"""Swap of the database file for another one: committed by one rename, and finished at the next start after a crash."""

from datetime import datetime
from pathlib import Path

from publisher.runtime.clock import Runtime
from publisher.store.db.intent_journal import read_journal, sync_directory, write_journal

READY_INFIX = ".restoring-"
"""Marks the file that is to replace the database; the instant of the commit follows."""
KEPT_INFIX = ".kept-"
"""Marks the replaced file, with the same instant."""


def commit_swap(incoming: Path, file: Path, at: datetime) -> Path:
    """Commit to a swap: it is finished even after a crash. Returns where the present file will be kept."""
    instant = f"{at:%Y%m%dT%H%M%S%f}"
    incoming.rename(file.with_name(f"{file.name}{READY_INFIX}{instant}"))
    sync_directory(file.parent)
    return file.with_name(f"{file.name}{KEPT_INFIX}{instant}")


def pending_swaps(file: Path) -> list[Path]:
    """Return the files that are to replace a database, the earliest commit first."""
    ready = file.parent.glob(f"*{READY_INFIX}*")
    return sorted(one for one in ready if one.name.rpartition(READY_INFIX)[0] == file.name)


def finish_swaps(file: Path, journal: Path, runtime: Runtime) -> None:
    """Finish the committed swaps, if any. The old file keeps its write-ahead log beside it.

    The journal is repaired in between. Before the commit, a crash would leave the old file with a journal that looks
    complete; after the last rename, the next start would refuse the swap.
    """
    for ready in pending_swaps(file):
        instant = ready.name.rpartition(READY_INFIX)[2]
        for suffix in ("-wal", ""):
            part = file.with_name(file.name + suffix)
            if part.exists():
                part.rename(file.with_name(f"{file.name}{KEPT_INFIX}{instant}{suffix}"))
        file.with_name(file.name + "-shm").unlink(missing_ok=True)
        runtime.hit_failpoint_now("restore.mid")
        repair_journal(journal, instant)
        ready.rename(file)
        sync_directory(file.parent)


def repair_journal(journal: Path, instant: str) -> None:
    """Leave a journal that can be appended to: create a missing one, and keep a copy of a damaged one."""
    contents = read_journal(journal)
    if journal.exists() and not contents.damaged_lines:
        return
    journal.parent.mkdir(parents=True, exist_ok=True)
    if journal.exists():
        journal.with_name(f"{journal.name}{KEPT_INFIX}{instant}").write_bytes(journal.read_bytes())
    write_journal(journal, contents.records, contents.complete_since)
