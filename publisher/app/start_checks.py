"""What `run` would refuse at its start, found by `check` beforehand. Changes nothing."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from publisher.config import Settings
from publisher.domain.errors import Problem, RefusedError, Severity
from publisher.runtime.clock import Runtime
from publisher.store.queries.known_posts import has_database
from publisher.tomlfile.validate import KeyPath, UnlocatedProblem

REGION_CODES = frozenset({"region_without_police", "region_without_tip_line"})
LIMIT_CODES = frozenset({
    "visibility_window_too_short", "review_window_too_short",
    "platform_clock_tolerance_too_short", "timings_out_of_order",
})  # fmt: skip
DATABASE_CODES = frozenset({
    "database_moved", "database_is_copy", "database_replaced", "database_older",
    "database_lost", "database_newer", "database_empty", "database_schema_differs",
    "database_not_compared", "journal_missing", "journal_damaged", "workspace_copied",
})  # fmt: skip


def find_start_problems(settings: Settings) -> Sequence[Problem]:
    """Return the reasons for which a daemon of these settings would not start or not work.

    A right that this process lacks is a warning: the daemon may run as another user.
    """
    found = [*settings.locate_problems(find_missing_files(settings))]
    if has_database(settings.database):
        return [*found, *asyncio.run(find_refusals(settings))]
    return [*found, *find_loss(settings), *filter(None, [settings.users_needed])]


def find_loss(settings: Settings) -> Iterator[Problem]:
    """Yield the refusal of a database that is gone, although its journal knows calls."""
    journal = settings.workspace / "var" / "intents.jsonl"
    if not journal.exists():
        return
    from publisher.store.db.database import sqlite_file  # noqa: PLC0415 # as below
    from publisher.store.recovery.setup import require_not_lost  # noqa: PLC0415

    if (file := sqlite_file(settings.database)) is None:
        return
    try:
        require_not_lost(file, journal)
    except RefusedError as error:
        yield Problem(code=error.code, facts=error.facts)


def find_missing_files(settings: Settings) -> Iterator[UnlocatedProblem]:
    """Yield the named files that are missing, and the folders in which none can be made."""
    own_folder = settings.workspace / "var"
    folder = (settings.workspace / settings.audit.checkpoint_file).parent
    if folder != own_folder and not folder.is_dir():
        yield UnlocatedProblem(
            path=("audit", "checkpoint_file"),
            code="checkpoint_folder_missing",
            facts={"file": str(folder)},
        )
    ca_file = settings.alerts.ca_file
    if ca_file is not None and not (settings.workspace / ca_file).is_file():
        yield UnlocatedProblem(
            path=("alerts", "ca_file"),
            code="ca_file_missing",
            facts={"file": str(settings.workspace / ca_file)},
        )


async def find_refusals(settings: Settings) -> Sequence[Problem]:
    """Return the refusals of a database, and of approvals that no user of it could give.

    A server that does not answer here is a warning: the daemon may have its password from elsewhere.
    """
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 # most checks are made without a database

    from publisher.app.open_store import journal_path, open_unchecked_store  # noqa: PLC0415
    from publisher.app.rights import find_missing_database_rights  # noqa: PLC0415
    from publisher.store.recovery.setup import (  # noqa: PLC0415
        check_unchanged,
        migration_of,
        require_not_emptied,
    )

    problems = [
        replace(problem, severity=Severity.WARNING)
        for problem in find_missing_database_rights(settings, can_send=True)
    ]
    url, journal = settings.database, journal_path(settings)
    try:
        await asyncio.to_thread(
            check_unchanged, url, settings.environment.value, journal
        )
        has_users = False
        if await asyncio.to_thread(migration_of, url) is not None:
            async with open_unchecked_store(settings, Runtime()) as store:
                has_users = store is not None and await store.users.exist()
        if settings.users_needed is not None and not has_users:
            await asyncio.to_thread(require_not_emptied, url, journal)
            problems.append(settings.users_needed)
    except RefusedError as error:
        return [*problems, Problem(code=error.code, facts=error.facts)]
    except (SQLAlchemyError, OSError) as error:
        if not settings.database.startswith("sqlite"):
            problems.append(report_unread_database(error))
    return problems


def report_unread_database(error: Exception) -> Problem:
    """Return the warning that nothing was compared with the database, with the reason."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return Problem(
        code="database_not_compared",
        facts={"reason": lines[0] if lines else type(error).__name__},
        severity=Severity.WARNING,
    )


def locate_in_settings(
    settings: Settings, problems: Iterable[Problem]
) -> Iterator[Problem]:
    """Yield problems, each with its line of publisher.toml where it is about one."""
    for problem in problems:
        path = None if problem.location else find_path(settings, problem)
        if path is None:
            yield problem
            continue
        unlocated = UnlocatedProblem(path=path, code=problem.code, facts=problem.facts)
        [located] = settings.locate_problems([unlocated])
        yield replace(problem, location=located.location)


def find_path(settings: Settings, problem: Problem) -> KeyPath | None:
    """Return the key of publisher.toml that a problem is about; None if it is about none."""
    facts: Mapping[str, str] = problem.facts
    if problem.code in LIMIT_CODES:
        return ("limits", facts["platform"])
    if problem.code == "other_environment":
        return ("environment",)
    if problem.code in DATABASE_CODES:
        return ("database",)
    if problem.code not in REGION_CODES:
        return None
    if facts["region"] in settings.regions:
        return ("region", facts["region"])
    ids = [str(account) for account in settings.accounts]
    return ("account", ids.index(facts["account"]), "id")


def count_accounts(settings_file: Path, settings: Settings | None) -> int:
    """Return how many accounts are written, even if some of them are broken."""
    if settings is not None:
        return len(settings.accounts)
    try:
        lines = settings_file.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError):
        return 0
    return sum(
        line.strip().replace(" ", "").startswith("[[account]]") for line in lines
    )
