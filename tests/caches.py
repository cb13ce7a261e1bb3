"""Caches shared by all tests of a process.

Its many databases and workspaces have the same statements and pages.
"""

import secrets
import sqlite3
from hashlib import sha256
from types import CodeType
from typing import Any

from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import Connection, Engine, create_engine, event, inspect, update
from sqlalchemy.pool import StaticPool

from publisher.engine import authentication
from publisher.rendering.child import RenderWorker
from publisher.rendering.jobs import CleanPicture, JobResult, RenderJob, TemplateFiles
from publisher.runtime.clock import Runtime
from publisher.store.db.tables import DATABASE_INFO
from publisher.store.recovery.setup import _run_migrations as run_migrations


class CompiledStatements(dict[Any, Any]):
    """Compiled SQL statements, by the kind of database and the statement.

    SQLAlchemy itself has one for each engine.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_for_any_engine(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_for_any_engine(key), value)


def _for_any_engine(key: tuple[Any, ...]) -> tuple[Any, ...]:
    dialect, *rest = key
    return dialect.name, *rest


STATEMENTS = CompiledStatements()


def share_statements() -> None:
    """Let all engines of this process use the same compiled statements."""
    event.listen(Engine, "engine_connect", _use_statements)


def _use_statements(connection: Connection) -> None:
    connection.execution_options(compiled_cache=STATEMENTS)


ARGON2 = (
    authentication.ARGON2_PASSES,
    authentication.ARGON2_MEMORY_KIB,
    authentication.HASH_OF_NOTHING,
)
"""The parameters of the product."""
CHEAP_ARGON2 = (
    1,
    64,
    "$argon2id$v=19$m=64,t=1,p=1$nDXdyR1+nWSu+kszzBPtoQ$HLoamJmTU3l/T8AipX2MiyDbIv84YkbqLVQBB1vcS9I",
)


def hash_cheaply(parameters: tuple[int, int, str] = CHEAP_ARGON2) -> None:
    """Let this process hash passwords with these parameters: a thousand are hashed in tests."""
    (
        authentication.ARGON2_PASSES,
        authentication.ARGON2_MEMORY_KIB,
        authentication.HASH_OF_NOTHING,
    ) = parameters
    authentication._hasher.cache_clear()


class CompiledPages(BytecodeCache):
    """The compiled pages of templates, by their name, file and source."""

    def __init__(self) -> None:
        self._pages: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._pages.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._pages[bucket.key, bucket.checksum] = bucket.code


PAGES = CompiledPages()
PICTURES: dict[bytes, JobResult] = {}


class CachingRenderer(RenderWorker):
    """A renderer in this process that compiles a page and cleans a picture only once.

    It reuses the result of any other renderer.
    """

    def load(self, files: TemplateFiles) -> None:
        super().load(files)
        self._sandbox.bytecode_cache = PAGES

    def run_job(self, job: RenderJob) -> JobResult:
        if not isinstance(job, CleanPicture):
            return super().run_job(job)
        digest = sha256(job.data).digest()
        if digest not in PICTURES:
            PICTURES[digest] = super().run_job(job)
        return PICTURES[digest]


class MigratedFile:
    """A migrated SQLite database in memory.

    It is copied in place of running the migrations again.
    """

    def __init__(self) -> None:
        self._memory: sqlite3.Connection | None = None

    def fill(self, connection: Connection, runtime: Runtime) -> None:
        """Migrate a database; an empty file becomes a copy of the migrated one.

        The copy has its own audit trail and key.
        """
        empty = inspect(connection).get_table_names() == []
        driver = connection.connection.driver_connection
        if not empty or not isinstance(driver, sqlite3.Connection):
            run_migrations(connection, runtime)
            return
        if self._memory is None:
            self._memory = _migrate_in_memory(runtime)
        connection.rollback()
        self._memory.backup(driver)
        for key in ("audit_genesis", "credential_key"):
            own = (
                update(DATABASE_INFO)
                .where(DATABASE_INFO.c.key == key)
                .values(value=secrets.token_hex(32))
            )
            connection.execute(own)
        connection.commit()


def _migrate_in_memory(runtime: Runtime) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    engine = create_engine("sqlite://", creator=lambda: memory, poolclass=StaticPool)
    with engine.connect() as connection:
        run_migrations(connection, runtime)
    return memory


MIGRATED = MigratedFile()
