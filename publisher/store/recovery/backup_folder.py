"""A folder of backups: each is named by its time, and the oldest ones are removed."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from publisher.domain.errors import RefusedError
from publisher.store.recovery.backup import PART_SUFFIX, read_backup_label

UNFINISHED_AFTER = timedelta(days=1)
"""The age of a part file that no backup writes any more."""
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_NAME_TIME = r"\d{8}T\d{6}Z"


def name_backup(folder: Path, source: Path, at: datetime) -> Path:
    """Return the file for a backup of a database made at an instant, in UTC."""
    return folder / f"{source.stem}-{at:{_TIME_FORMAT}}.db"


def remove_old_backups(made: Path, source: Path, number: int) -> Sequence[Path]:
    """Keep a new backup, and the newest others of its database, up to a number in all.

    Return the removed files. A file counts by its name and by its label: it is never one of another
    database, of another tool, or one that cannot be read. The remains of backups that were
    interrupted long ago are removed as well. Raises OSError.
    """
    chain = read_backup_label(made).chain
    others = [
        file
        for file in _list_files(made.parent, source, "")
        if file != made and _is_of_chain(file, chain)
    ]
    newest_first = sorted(others, key=lambda file: file.name, reverse=True)
    removed = [*newest_first[number - 1 :], *_list_remains(made, source)]
    for file in removed:
        file.unlink(missing_ok=True)
    return removed


def _list_files(folder: Path, source: Path, suffix: str) -> Iterator[Path]:
    """Yield the regular files in a folder with the name of a backup of this database."""
    name = re.compile(
        f"{re.escape(source.stem)}-{_NAME_TIME}{re.escape('.db' + suffix)}"
    )
    for file in folder.iterdir():
        if name.fullmatch(file.name) and file.is_file() and not file.is_symlink():
            yield file


def _list_remains(made: Path, source: Path) -> Sequence[Path]:
    oldest = made.stat().st_mtime - UNFINISHED_AFTER.total_seconds()
    return [
        file
        for file in _list_files(made.parent, source, PART_SUFFIX)
        if file.stat().st_mtime < oldest
    ]


def _is_of_chain(file: Path, chain: str) -> bool:
    try:
        return read_backup_label(file).chain == chain
    except (RefusedError, OSError):
        return False
