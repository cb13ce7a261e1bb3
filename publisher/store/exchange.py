"""One database file takes another's place: decided at one stroke, and finished by whoever comes next if need be."""

from datetime import datetime
from pathlib import Path

from publisher.store.journal import sync_folder
from publisher.world import World

READY = ".restoring-"
"""Marks the file that is to take the database's place; the instant of the decision follows."""
KEPT = ".kept-"
"""Marks the file that had its place before, with the same instant."""


def decide(incoming: Path, file: Path, at: datetime) -> Path:
    """From here on the exchange takes place, whatever dies. Returns where the present file will be kept."""
    instant = f"{at:%Y%m%dT%H%M%S%f}"
    incoming.rename(file.with_name(f"{file.name}{READY}{instant}"))
    sync_folder(file.parent)
    return file.with_name(f"{file.name}{KEPT}{instant}")


def finish(file: Path, world: World) -> None:
    """Carry out what was decided, if anything was. The old file keeps its log of newest changes by its side."""
    for ready in sorted(file.parent.glob("*" + READY + "*")):
        name, _, instant = ready.name.rpartition(READY)
        if name != file.name:
            continue
        for suffix in ("-wal", ""):
            part = file.with_name(file.name + suffix)
            if part.exists():
                part.rename(file.with_name(f"{file.name}{KEPT}{instant}{suffix}"))
        file.with_name(file.name + "-shm").unlink(missing_ok=True)
        world.die_here("restore.mid")
        ready.rename(file)
        sync_folder(file.parent)
