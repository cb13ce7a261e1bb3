"""Procrastinate on PostgreSQL, with its documented recipe to retry jobs of stalled workers.

`python -m tests.bench.peers.procrastinate_tasks enqueue|work DATABASE_URL BASE_URL [COUNT]`
"""

import asyncio
import ssl
import sys

import httpx
from procrastinate import App, JobContext, PsycopgConnector

from tests.bench.peers.job import IN_FLIGHT, job_of, request_of

COMMAND, DATABASE, BASE_URL, *COUNT = sys.argv[1:]
HEARTBEAT_SECONDS, STALLED_SECONDS = 0.5, 2.0
TLS = ssl.create_default_context()
app = App(connector=PsycopgConnector(conninfo=DATABASE, max_size=IN_FLIGHT))


@app.task(name="post")
async def post(login: str, text: str) -> str:
    """Post; that it is done is the status of the job."""
    target, headers, form = request_of(BASE_URL, login, text)
    async with httpx.AsyncClient(
        verify=TLS
    ) as client:  # a fresh connection for each post
        response = await client.post(target, headers=headers, data=form)
    number: str = response.raise_for_status().json()["idstr"]
    return number


@app.periodic(cron="* * * * * */1")
@app.task(queueing_lock="retry_stalled_jobs", pass_context=True, priority=1)
async def retry_stalled_jobs(context: JobContext, timestamp: int) -> None:
    """Retry the jobs of workers without a heartbeat."""
    del timestamp
    manager = context.app.job_manager
    for job in await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
        await manager.retry_job(job)


async def enqueue(count: int) -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        jobs = [
            {"login": login, "text": text} for login, text in map(job_of, range(count))
        ]
        await post.batch_defer_async(*jobs)


async def work() -> None:
    async with app.open_async():
        await app.run_worker_async(
            concurrency=IN_FLIGHT,
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
        )


if __name__ == "__main__":
    asyncio.run(enqueue(int(COUNT[0])) if COMMAND == "enqueue" else work())
