"""Bringing a database up: migrated, stamped, and never older than what was done."""

import asyncio
import fcntl
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, create_engine, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError

from publisher.domain.errors import RefusedError
from publisher.store.engine import is_corrupt, sqlite_file
from publisher.store.journal import newest_intents
from publisher.store.rows import ATTEMPT, STAMP
from publisher.world import World

HEAD = "0005"
"""The newest migration; a database that stands there needs no Alembic, which costs a start its time."""
MIGRATIONS = Path(__file__).parent / "migrations"


async def prepare(url: str, environment: str, journal: Path, world: World) -> None:
    """Create or migrate the database, and refuse what must not be used.

    Raises RefusedError: a corrupt file, a database of another environment, one older than its journal, or one made
    by a newer version.
    """
    await asyncio.to_thread(_prepare, url, environment, journal, world)


def _prepare(url: str, environment: str, journal: Path, world: World) -> None:
    file = sqlite_file(url)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    driver = "sqlite" if file is not None else "postgresql+psycopg"
    engine = create_engine(make_url(url).set(drivername=driver))
    try:
        with engine.connect() as connection:
            _migrate(connection, world)
            _check_stamp(connection, environment)
            _check_age(connection, journal)
            connection.commit()
    except DatabaseError as error:
        if is_corrupt(error):
            raise RefusedError("database_corrupt", file=str(file)) from error
        raise
    finally:
        engine.dispose()


def _migrate(connection: Connection, world: World) -> None:
    version = _version(connection)
    if version == HEAD:
        return
    if version is not None and not list(MIGRATIONS.glob(f"versions/{version}_*.py")):
        raise RefusedError("database_newer", version=version)
    from alembic import command  # noqa: PLC0415 # needed only when there is something to migrate
    from alembic.config import Config  # noqa: PLC0415 # same

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    world.die_here("migrate.mid")
    command.upgrade(config, "head")
    connection.commit()


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    return version


def _check_stamp(connection: Connection, environment: str) -> None:
    stamped = connection.execute(select(STAMP.c.value).where(STAMP.c.key == "environment")).scalar_one_or_none()
    if stamped is None:
        connection.execute(insert(STAMP).values(key="environment", value=environment))
    elif stamped != environment:
        raise RefusedError("other_environment", stamped=stamped, wanted=environment)


def _check_age(connection: Connection, journal: Path) -> None:
    """Refuse a database that does not know a call which the journal announced: it was restored from an old copy."""
    intents = newest_intents(journal)
    announced = {(intent.delivery, intent.attempt) for intent in intents}
    wanted = {intent.delivery for intent in intents}
    known = connection.execute(
        select(ATTEMPT.c.delivery, ATTEMPT.c.number).where(ATTEMPT.c.delivery.in_(sorted(wanted)))
    )
    missing = announced - {(row.delivery, row.number) for row in known}
    if missing:
        raise RefusedError("database_older", missing=str(len(missing)), journal=str(journal))


@dataclass(slots=True)
class Occupation:
    """The right to be the only daemon on a SQLite file; the system takes it back when the process dies."""

    file: IO[str]

    def end(self) -> None:
        self.file.close()


def occupy(url: str) -> Occupation | None:
    """Take a SQLite file for this daemon alone. Other databases are shared, and give None.

    Raises RefusedError naming the holder when another daemon has it.
    """
    database = sqlite_file(url)
    if database is None:
        return None
    database.parent.mkdir(parents=True, exist_ok=True)
    path = database.with_name(database.name + ".lock")
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = json.loads(file.read() or "{}")
        file.close()
        facts = {"host": str(holder.get("host", "?")), "pid": str(holder.get("pid", "?"))}
        raise RefusedError("second_daemon", file=str(database), **facts) from error
    file.truncate(0)
    file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
    file.flush()
    return Occupation(file)
