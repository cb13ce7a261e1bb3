"""File permissions: which other users may change or read the workspace's files, and which rights this process lacks."""

import os
import pwd
import shlex
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from publisher.app.open_store import journal_path
from publisher.config import MEDIA_FOLDER, SETTINGS_FILE, Environment, Settings
from publisher.domain.addresses import has_password
from publisher.domain.errors import Location, Problem, RefusedError, Severity
from publisher.runtime.shared_files import is_shared
from publisher.secrets import AUDIT_KEY_NAME, KEY_NAME, USER_KEY_NAME, SecretError, Vault, load_user_key
from publisher.store.db.database import sqlite_file

MAX_LISTED_FILES = 20
"""How many files of a folder are listed; one command fixes all of them."""

KEY_SECRETS = (KEY_NAME, AUDIT_KEY_NAME, USER_KEY_NAME)
"""Secrets that belong to no account."""


def require_safe_permissions(settings: Settings) -> None:
    """Raise RefusedError in the live environment if others may change or read what they must not."""
    loose = [problem for problem in find_unsafe_permissions(settings) if problem.is_error]
    if loose:
        commands = dict.fromkeys(problem.facts["command"] for problem in loose)
        files = dict.fromkeys(problem.facts["file"] for problem in loose)
        raise RefusedError("files_too_permissive", files="、".join(files), command="; ".join(commands))


def find_unsafe_permissions(settings: Settings) -> Sequence[Problem]:
    """Return files that others may change or read and must not, each with the command that fixes it.

    Only their owner may change settings, secrets and keys; the group may also change schedule, templates and pictures.
    In a drill these are warnings. Systems without POSIX modes have none.
    """
    if os.name != "posix":
        return ()
    severity = Severity.ERROR if settings.environment is Environment.LIVE else Severity.WARNING
    secrets = list_secret_files(settings)
    found = (*find_unsafe_secrets(settings, secrets), *find_unsafe_content(settings))
    return [
        Problem(
            code=one.code,
            severity=severity,
            location=Location(file=str(one.file)),
            facts={"file": str(one.file), "command": f"chmod {one.change} {shlex.quote(str(one.target or one.file))}"},
        )
        for one in found
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsafeFile:
    """A file or folder that others may change or read, and the change of mode that fixes it, of `target` if given."""

    code: str
    file: Path
    change: str
    target: Path | None = None


def list_secret_files(settings: Settings) -> Sequence[Path]:
    """Return the files that may hold a secret or a key, whether they exist or not."""
    vault = Vault(folder=settings.workspace / "var")
    folders = [Path(folder) for folder in (os.environ.get("CREDENTIALS_DIRECTORY"), settings.secrets_dir) if folder]
    accounts = (account.secret for account in settings.accounts.values())
    names = sorted({*accounts, *settings.alerts.channels.values(), *KEY_SECRETS})
    return [*(folder / name for folder in folders for name in names), vault.file, vault.folder / KEY_NAME]


def find_unsafe_secrets(settings: Settings, secrets: Sequence[Path]) -> Iterator[UnsafeFile]:
    """Yield settings, secrets and keys that others may change or read, and folders in which others may replace them."""
    workspace, settings_file = settings.workspace, settings.workspace / SETTINGS_FILE
    for file in (settings_file, *secrets):
        if _file_mode(file) & (stat.S_IWGRP | stat.S_IWOTH):
            yield UnsafeFile(code="file_changeable", file=file, change="go-w")
    for file in (*secrets, *([settings_file] if has_password(settings.database) else [])):
        if _file_mode(file) & stat.S_IROTH:
            yield UnsafeFile(code="file_readable", file=file, change="o-r")
    for folder in dict.fromkeys([workspace, *(file.parent for file in secrets if _file_mode(file))]):
        mode = _file_mode(folder)
        if mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not mode & stat.S_ISVTX):
            yield UnsafeFile(code="folder_changeable", file=folder, change="go-w")


def find_unsafe_content(settings: Settings) -> Iterator[UnsafeFile]:
    """Yield the schedule, templates and pictures that any user may change, and a folder in which any may replace them.

    The workspace's own folder may not even be changed by its group.
    """
    schedule, staff = settings.schedule_file, settings.staff_folder
    if staff != settings.workspace and _file_mode(staff) & stat.S_IWOTH:
        yield UnsafeFile(code="folder_changeable", file=staff, change="o-w")
    if _file_mode(schedule) & stat.S_IWOTH:
        yield UnsafeFile(code="file_changeable", file=schedule, change="o-w")
    for folder in (settings.workspace / "templates", staff / MEDIA_FOLDER):
        below = (Path(parent) / name for parent, folders, files in os.walk(folder) for name in (*folders, *files))
        own = (path for path in below if not path.is_symlink())  # links are never followed
        loose = (path for path in chain([folder], own) if _file_mode(path) & stat.S_IWOTH)
        for file in islice(loose, MAX_LISTED_FILES):
            yield UnsafeFile(code="file_changeable", file=file, change="-R o-w", target=folder)


def _file_mode(path: Path) -> int:
    """Return a file's mode, following links; 0 if it does not exist or cannot be read."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def require_rights(settings: Settings, *, can_send: bool) -> None:
    """Raise RefusedError where this process cannot write the database, or, to send, the journal."""
    for problem in find_missing_database_rights(settings, can_send=can_send):
        raise RefusedError(problem.code, **problem.facts)


def find_missing_rights(settings: Settings) -> Sequence[Problem]:
    """Return which rights this process lacks that the dashboard needs, and what it cannot do without them."""
    return [
        *find_missing_database_rights(settings, can_send=False),
        *find_missing_save_rights(settings),
        *find_missing_key(settings),
    ]


def find_missing_database_rights(settings: Settings, *, can_send: bool) -> Iterator[Problem]:
    """Yield the folder or file of a SQLite database that cannot be written, and a journal of no use to this process."""
    journal, file = journal_path(settings), sqlite_file(settings.database)
    places = [*([journal.parent, journal] if can_send else []), *([file.parent, file] if file is not None else [])]
    for path in places:
        present = next(one for one in (path, *path.parents) if not is_missing(one))  # what is missing is made there
        if not os.access(present, os.R_OK | os.W_OK):
            code = "right_missing_var" if path in {journal.parent, journal} else "right_missing_database"
            yield describe_missing_right(code, present)
            return
    if file is not None and not is_missing(journal) and not os.access(journal, os.R_OK):
        yield describe_missing_right("right_missing_journal", journal)


def find_missing_save_rights(settings: Settings) -> Iterator[Problem]:
    """Yield what prevents this process from saving posts and pictures. To save is to rename, in the file's folder."""
    file, media = settings.schedule_file, settings.staff_folder / MEDIA_FOLDER
    if not os.access(file.parent, os.R_OK | os.W_OK | os.X_OK):
        yield describe_missing_right("right_missing_save", file.parent)
    elif is_mounted(file):
        yield describe_missing_right("schedule_mounted", file)
    elif file.is_file() and not may_replace(file):
        yield describe_missing_right("schedule_not_shared", file)
    is_made = os.access(file.parent, os.W_OK) and is_missing(media) and not is_shared(file.parent)
    if not is_made and not os.access(media, os.R_OK | os.W_OK | os.X_OK):
        yield describe_missing_right("right_missing_pictures", media)


def find_missing_key(settings: Settings) -> Iterator[Problem]:
    """Yield the problem that this process cannot read the key of second factors, or make it."""
    try:
        load_user_key(Vault(folder=settings.workspace / "var"), settings.secrets_dir)
    except SecretError as error:
        if error.code != "secret_missing" or not os.access(settings.workspace / "var", os.W_OK | os.X_OK):
            yield Problem(code="right_missing_key", facts={"user": own_name(), "places": ", ".join(error.places)})


def may_replace(file: Path) -> bool:
    """Return True if this process may put a new file in a file's place, with its owner or the rights of its group."""
    status, folder = file.stat(), file.parent.stat()
    is_own = os.geteuid() in {0, status.st_uid}
    is_sticky = bool(folder.st_mode & stat.S_ISVTX) and os.geteuid() != folder.st_uid
    is_shared = status.st_gid in {os.getegid(), *os.getgroups()} and status.st_mode & 0o060 == 0o060
    return is_own or (is_shared and not is_sticky)


def is_mounted(path: Path) -> bool:
    """Return True if a path is mounted by itself, as a container engine does with a single file: no rename replaces it.

    The kernel lists this process's mounts, with blanks of a path in octal.
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
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
