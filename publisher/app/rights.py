"""The file rights that a process needs on its system, and the missing ones among them."""

import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from publisher.app.open_store import journal_path
from publisher.config import MEDIA_FOLDER, Settings
from publisher.domain.errors import Problem, RefusedError
from publisher.runtime.shared_files import is_shared
from publisher.secrets import SecretError, load_user_key, open_vault
from publisher.store.db.database import sqlite_file


def require_rights(settings: Settings, *, can_send: bool) -> None:
    """Raise RefusedError where this process cannot write the database, or, to send, the journal."""
    for problem in find_missing_database_rights(settings, can_send=can_send):
        raise RefusedError(problem.code, **problem.facts)


def find_missing_rights(settings: Settings) -> Sequence[Problem]:
    """Return the dashboard's rights that this process lacks, and the effects of the lack."""
    return [
        *find_missing_database_rights(settings, can_send=False),
        *find_missing_save_rights(settings),
        *find_missing_key(settings),
    ]


def find_missing_database_rights(
    settings: Settings, *, can_send: bool
) -> Iterator[Problem]:
    """Yield the path of a SQLite database that cannot be written, and an unusable journal.

    The path is a folder or a file. The journal is of no use to this process.
    """
    journal, file = journal_path(settings), sqlite_file(settings.database)
    places = [
        *([journal.parent, journal] if can_send else []),
        *([file.parent, file] if file is not None else []),
    ]
    for path in places:
        # what is missing is made there
        present = next(one for one in (path, *path.parents) if not is_missing(one))
        if not os.access(present, os.R_OK | os.W_OK):
            code = (
                "right_missing_var"
                if path in {journal.parent, journal}
                else "right_missing_database"
            )
            yield describe_missing_right(code, present)
            return
    if file is not None and not is_missing(journal) and not os.access(journal, os.R_OK):
        yield describe_missing_right("right_missing_journal", journal)


def find_missing_save_rights(settings: Settings) -> Iterator[Problem]:
    """Yield the obstacles to saving posts and pictures in this process.

    To save is to rename, in the file's folder.
    """
    file, media = settings.schedule_file, settings.staff_folder / MEDIA_FOLDER
    if not os.access(file.parent, os.R_OK | os.W_OK | os.X_OK):
        yield describe_missing_right("right_missing_save", file.parent)
    elif is_mounted(file):
        yield describe_missing_right("schedule_mounted", file)
    elif file.is_file() and not may_replace(file):
        yield describe_missing_right("schedule_not_shared", file)
    is_made = (
        os.access(file.parent, os.W_OK)
        and is_missing(media)
        and not is_shared(file.parent)
    )
    if not is_made and not os.access(media, os.R_OK | os.W_OK | os.X_OK):
        yield describe_missing_right("right_missing_pictures", media)


def find_missing_key(settings: Settings) -> Iterator[Problem]:
    """Yield the problem that this process cannot read the key of second factors, or make it."""
    try:
        load_user_key(open_vault(settings.workspace), settings.secrets_dir)
    except SecretError as error:
        if error.code != "secret_missing" or not os.access(
            settings.workspace / "var", os.W_OK | os.X_OK
        ):
            yield Problem(
                code="right_missing_key",
                facts={"user": own_name(), "places": ", ".join(error.places)},
            )


def may_replace(file: Path) -> bool:
    """Return True if this process may replace a file and keep its group and its owner's rights."""
    status, folder = file.stat(), file.parent.stat()
    is_sticky = bool(folder.st_mode & stat.S_ISVTX) and os.geteuid() not in {
        folder.st_uid,
        status.st_uid,
    }
    # a new file has the group of a setgid folder already
    groups = {
        os.getegid(),
        *os.getgroups(),
        *([folder.st_gid] if folder.st_mode & stat.S_ISGID else []),
    }
    keeps_owner = status.st_uid == os.geteuid() or status.st_mode & 0o060 == 0o060
    return os.geteuid() == 0 or (
        status.st_gid in groups and keeps_owner and not is_sticky
    )


def is_mounted(path: Path) -> bool:
    """Return True if a path is mounted by itself; no rename replaces it then.

    A container engine mounts single files so. The kernel lists this process's mounts, with blanks
    of a path in octal.
    """
    try:
        mounts = (
            Path("/proc/self/mountinfo")
            .read_text("utf-8", "surrogateescape")
            .splitlines()
        )
    except OSError:
        return False
    written = str(path).replace("\\", "\\134").replace(" ", "\\040")
    return any(line.split(" ")[4] == written for line in mounts)


def is_missing(path: Path) -> bool:
    """Return True if it is certain that there is no file of this path."""
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def describe_missing_right(code: str, path: Path) -> Problem:
    return Problem(code=code, facts={"file": str(path), "user": own_name()})


def own_name() -> str:
    """Return the name of the system user of this process, or the number of one without a name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
