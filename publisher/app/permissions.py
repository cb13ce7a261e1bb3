"""File permissions: other users that may change the workspace's files, or read its secrets."""

import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from publisher.config import MEDIA_FOLDER, SETTINGS_FILE, Environment, Settings
from publisher.domain.addresses import has_password
from publisher.domain.errors import Location, Problem, RefusedError, Severity
from publisher.secrets import AUDIT_KEY_NAME, KEY_NAME, USER_KEY_NAME, open_vault

MAX_LISTED_FILES = 20
"""How many files of a folder are listed; one command fixes all of them."""

KEY_SECRETS = (KEY_NAME, AUDIT_KEY_NAME, USER_KEY_NAME)
"""Secrets that belong to no account."""


def require_safe_permissions(settings: Settings) -> None:
    """Raise RefusedError in the live environment if others may wrongly change or read files."""
    loose = [
        problem for problem in find_unsafe_permissions(settings) if problem.is_error
    ]
    if loose:
        commands = dict.fromkeys(problem.facts["command"] for problem in loose)
        files = dict.fromkeys(problem.facts["file"] for problem in loose)
        raise RefusedError(
            "files_too_permissive", files="、".join(files), command="; ".join(commands)
        )


def find_unsafe_permissions(settings: Settings) -> Sequence[Problem]:
    """Return files that others may wrongly change or read, each with the command that fixes it.

    Only their owner may change settings, secrets and keys. The group may also change schedule,
    templates and pictures. In a drill these are warnings. Systems without POSIX modes have none.
    """
    if os.name != "posix":
        return ()
    severity = (
        Severity.ERROR if settings.environment is Environment.LIVE else Severity.WARNING
    )
    secrets = list_secret_files(settings)
    found = (*find_unsafe_secrets(settings, secrets), *find_unsafe_content(settings))
    return [
        Problem(
            code=one.code,
            severity=severity,
            location=Location(file=str(one.file)),
            facts={
                "file": str(one.file),
                "command": f"chmod {one.change} {shlex.quote(str(one.target or one.file))}",
            },
        )
        for one in found
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsafeFile:
    """A file or folder that others may change or read, and the change of mode that fixes it.

    The change is of `target` if given.
    """

    code: str
    file: Path
    change: str
    target: Path | None = None


def list_secret_files(settings: Settings) -> Sequence[Path]:
    """Return the files that may hold a secret or a key, whether they exist or not."""
    vault = open_vault(settings.workspace)
    folders = [
        Path(folder)
        for folder in (os.environ.get("CREDENTIALS_DIRECTORY"), settings.secrets_dir)
        if folder
    ]
    accounts = (account.secret for account in settings.accounts.values())
    names = sorted({*accounts, *settings.alerts.channels.values(), *KEY_SECRETS})
    return [
        *(folder / name for folder in folders for name in names),
        vault.file,
        vault.folder / KEY_NAME,
    ]


def find_unsafe_secrets(
    settings: Settings, secrets: Sequence[Path]
) -> Iterator[UnsafeFile]:
    """Yield settings, secrets and keys that others may change or read.

    The folders in which others may replace them are included.
    """
    workspace, settings_file = settings.workspace, settings.workspace / SETTINGS_FILE
    for file in (settings_file, *secrets):
        if _file_mode(file) & (stat.S_IWGRP | stat.S_IWOTH):
            yield UnsafeFile(code="file_changeable", file=file, change="go-w")
    for file in (
        *secrets,
        *([settings_file] if has_password(settings.database) else []),
    ):
        if _file_mode(file) & stat.S_IROTH:
            yield UnsafeFile(code="file_readable", file=file, change="o-r")
    for folder in dict.fromkeys(
        [workspace, *(file.parent for file in secrets if _file_mode(file))]
    ):
        mode = _file_mode(folder)
        if mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not mode & stat.S_ISVTX):
            yield UnsafeFile(code="folder_changeable", file=folder, change="go-w")


def find_unsafe_content(settings: Settings) -> Iterator[UnsafeFile]:
    """Yield the schedule, templates and pictures that any user may change.

    Also yield a folder in which any user may replace them. The workspace's own folder may not even
    be changed by its group.
    """
    schedule, staff = settings.schedule_file, settings.staff_folder
    if staff != settings.workspace and _file_mode(staff) & stat.S_IWOTH:
        yield UnsafeFile(code="folder_changeable", file=staff, change="o-w")
    if _file_mode(schedule) & stat.S_IWOTH:
        yield UnsafeFile(code="file_changeable", file=schedule, change="o-w")
    for folder in (settings.workspace / "templates", staff / MEDIA_FOLDER):
        below = (
            Path(parent) / name
            for parent, folders, files in os.walk(folder)
            for name in (*folders, *files)
        )
        own = (
            path for path in below if not path.is_symlink()
        )  # links are never followed
        loose = (
            path for path in chain([folder], own) if _file_mode(path) & stat.S_IWOTH
        )
        for file in islice(loose, MAX_LISTED_FILES):
            yield UnsafeFile(
                code="file_changeable", file=file, change="-R o-w", target=folder
            )


def _file_mode(path: Path) -> int:
    """Return a file's mode, following links; 0 if it does not exist or cannot be read."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0
