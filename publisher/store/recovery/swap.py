"""One database file takes another's place: decided at one stroke, and finished by whoever comes next if need be."""

from datetime import datetime
from pathlib import Path

from publisher.runtime.clock import Runtime
from publisher.store.db.intent_journal import read_journal, sync_directory, write_journal

READY_INFIX = ".restoring-"
"""Marks the file that is to take the database's place; the instant of the decision follows."""
KEPT_INFIX = ".kept-"
"""Marks the file that had its place before, with the same instant."""


def commit_swap(incoming: Path, file: Path, at: datetime) -> Path:
    """From here on the exchange takes place, whatever dies. Returns where the present file will be kept."""
    instant = f"{at:%Y%m%dT%H%M%S%f}"
    incoming.rename(file.with_name(f"{file.name}{READY_INFIX}{instant}"))
    sync_directory(file.parent)
    return file.with_name(f"{file.name}{KEPT_INFIX}{instant}")


def pending_swaps(file: Path) -> list[Path]:
    """Give the files that are to take a database's place, the first decision first."""
    return sorted(ready for ready in file.parent.glob("*" + READY_INFIX + "*") if _parse_name(ready)[0] == file.name)


def finish_swaps(file: Path, journal: Path, runtime: Runtime) -> None:
    """Carry out what was decided, if anything was. The old file keeps its log of newest changes by its side.

    The journal is mended on the way: not before the decision, or a death would leave the old file with a journal that
    looks whole; not after the exchange, or the next start would refuse what was decided.
    """
    for ready in pending_swaps(file):
        instant = _parse_name(ready)[1]
        for suffix in ("-wal", ""):
            part = file.with_name(file.name + suffix)
            if part.exists():
                part.rename(file.with_name(f"{file.name}{KEPT_INFIX}{instant}{suffix}"))
        file.with_name(file.name + "-shm").unlink(missing_ok=True)
        runtime.hit_failpoint_now("restore.mid")
        repair_journal(journal, instant)
        ready.rename(file)
        sync_directory(file.parent)


def _parse_name(ready: Path) -> tuple[str, str]:
    """Give the name of the database whose place a file is to take, and the instant of the decision."""
    name, _, instant = ready.name.rpartition(READY_INFIX)
    return name, instant


def repair_journal(journal: Path, instant: str) -> None:
    """Leave a journal that can be gone on with: one is made where none was, and damage is set aside with its lines."""
    contents = read_journal(journal)
    if journal.exists() and not contents.damaged_lines:
        return
    journal.parent.mkdir(parents=True, exist_ok=True)
    if journal.exists():
        journal.with_name(f"{journal.name}{KEPT_INFIX}{instant}").write_bytes(journal.read_bytes())
    write_journal(journal, contents.records, contents.complete_since)
