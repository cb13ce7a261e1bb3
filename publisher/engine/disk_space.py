"""The free space on the disks of this host that publisher writes to."""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from publisher.config import Settings
from publisher.store.db.database import sqlite_file
from publisher.store.store import Store

DISK_LOW = "disk_low"
"""Code of the alert; it is one for each disk of a host."""
LOW_BYTES, LOW_SHARE = 2**30, 0.10
"""Below both a disk is low: one gigabyte is much on a small disk."""
VERY_LOW_BYTES = 200 * 2**20
"""Below this a disk is low, whatever its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpace:
    """The disk below a folder, with its free bytes for this user, and its size in bytes."""

    folder: Path
    device: int
    free: int
    total: int

    @property
    def is_low(self) -> bool:
        is_small = self.free < LOW_BYTES and self.free < LOW_SHARE * self.total
        return is_small or self.free < VERY_LOW_BYTES


def measure_disks(settings: Settings) -> Mapping[str, DiskSpace]:
    """Return the disk of each place that is there: `database`, `journal` and `staff`.

    A database on a server has no place here.
    """
    database = sqlite_file(settings.database)
    places = {
        "database": database.parent if database is not None else None,
        "journal": settings.workspace / "var",
        "staff": settings.staff_folder,
    }
    found = {}
    for name, folder in places.items():
        if folder is not None and folder.is_dir():
            usage, device = shutil.disk_usage(folder), folder.stat().st_dev
            found[name] = DiskSpace(
                folder=folder, device=device, free=usage.free, total=usage.total
            )
    return found


async def check_disks(store: Store, settings: Settings) -> int:
    """Keep an alert for each low disk of this host. Return the number changed."""
    disks = await asyncio.to_thread(measure_disks, settings)
    low = {disk.device: disk for disk in disks.values() if disk.is_low}
    wanted = {
        str(disk.folder): {
            "folder": str(disk.folder),
            "free": str(disk.free // 2**20),
            "share": str(100 * disk.free // disk.total),
        }
        for disk in low.values()
    }
    return await store.system_alerts.keep_host_alerts(DISK_LOW, wanted)
