"""A first version: APScheduler polls unsent rows each second, httpx posts, SQLModel marks them.

`python -m tests.bench.peers.naive enqueue|work DATABASE_URL BASE_URL [COUNT]`
"""

import asyncio
import ssl
import sys

import httpx
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy import event
from sqlmodel import Field, Session, SQLModel, create_engine, select

from tests.bench.peers.job import IN_FLIGHT, job_of, request_of


class NaiveJob(SQLModel, table=True):
    """A row is enqueued, then sent."""

    id: int | None = Field(default=None, primary_key=True)
    login: str
    text: str
    remote_id: str | None = Field(default=None, index=True)


def open_database(url: str):
    """Open the database as durably as publisher's: a commit is on the disk."""
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def set_pragmas(connection, _record) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    return engine


def enqueue(url: str, count: int) -> None:
    engine = open_database(url)
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(
            NaiveJob(login=login, text=text)
            for login, text in map(job_of, range(count))
        )
        session.commit()


async def work(url: str, base_url: str) -> None:
    engine = open_database(url)
    tls = ssl.create_default_context()
    places = asyncio.Semaphore(IN_FLIGHT)

    async def send(job: NaiveJob) -> None:
        async with places:
            target, headers, form = request_of(base_url, job.login, job.text)
            async with httpx.AsyncClient(
                verify=tls
            ) as client:  # a fresh connection for each post
                response = await client.post(target, headers=headers, data=form)
            job.remote_id = response.raise_for_status().json()["idstr"]
            with Session(engine) as session:
                session.add(job)
                session.commit()

    async def send_due() -> None:
        with Session(engine) as session:
            due = session.exec(select(NaiveJob).where(NaiveJob.remote_id == None)).all()  # noqa: E711 # SQL
        await asyncio.gather(*map(send, due), return_exceptions=True)

    scheduler = AsyncIOScheduler()
    scheduler.add_job(send_due, "interval", seconds=1, max_instances=1, coalesce=True)
    scheduler.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "enqueue":
        enqueue(sys.argv[2], int(sys.argv[4]))
    else:
        asyncio.run(work(sys.argv[2], sys.argv[3]))
