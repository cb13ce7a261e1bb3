"""Huey on SQLite, every write synced.

`python -m tests.bench.peers.huey_tasks enqueue|work DATABASE_URL BASE_URL [COUNT]`
"""

import ssl
import sys

import httpx
from huey import SqliteHuey

from tests.bench.peers.job import IN_FLIGHT, job_of, request_of

COMMAND, DATABASE, BASE_URL, *COUNT = sys.argv[1:]
TLS = ssl.create_default_context()
huey = SqliteHuey(filename=DATABASE.removeprefix("sqlite:///"), fsync=True, timeout=60)


@huey.task()
def post(login: str, text: str) -> str:
    """Post, and return the number of the post for Huey to store."""
    target, headers, form = request_of(BASE_URL, login, text)
    with httpx.Client(verify=TLS) as client:  # a fresh connection for each post
        response = client.post(target, headers=headers, data=form)
    number: str = response.raise_for_status().json()["idstr"]
    return number


if __name__ == "__main__":
    if COMMAND == "enqueue":
        for login, text in map(job_of, range(int(COUNT[0]))):
            post(login, text)
    else:
        huey.create_consumer(
            workers=IN_FLIGHT, worker_type="thread", periodic=False
        ).run()
