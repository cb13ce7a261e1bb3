"""A flood against the dashboard, while a post falls due to many accounts.

It has sign-ins, slow connections and live pages.

Most of the live pages are one user's: far more than a person can look at.

The same work is done twice in one workspace, on the simulator: without the flood, and in it. An
operator pauses and resumes everything, a signed-in person opens Today, and a user signs in from an
address that does not flood.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import click
import httpx

from publisher.domain.delivery import Actor, Role
from publisher.domain.user import parse_grant
from publisher.engine.authentication import hash_password
from publisher.store.people.users import NewSignIn
from publisher.web.http.server import raise_descriptor_limit
from tests.bench.database import application, read_rows
from tests.bench.figures import Figure, median, percentile
from tests.bench.process import running
from tests.bench.workspace import (
    LOG,
    STARTED,
    daemon,
    format_post,
    wait_for_event,
    workspace,
    write_schedule,
)
from tests.flood import clients
from tests.flood.clients import (
    ATTEMPT_SECONDS,
    PROXY,
    PROXY_HOST,
    proxy_headers,
    session_cookie_name,
)
from tests.ports import free_port
from tests.simulator_process import SimulatorProcess, run_simulator
from tests.streams import find_stream
from tests.wait import eventually

VIEWERS = ("值班", "值班-二", "值班-三", "值班-四", "值班-五")
HOARDER = "囤页面的人"
"""Opens far more live pages than a person can look at."""
GRANTS = {"主管": "admin", "操作员": "operator", "作者": "author"} | dict.fromkeys(
    [*VIEWERS, HOARDER], "viewer"
)
OPERATOR, USER, VIEWER = "操作员", "作者", VIEWERS[0]
PASSWORDS = {name: f"the password of {name}, {grant}" for name, grant in GRANTS.items()}
OPERATOR_ADDRESS, VIEWER_ADDRESS = "127.0.0.2", "127.0.0.4"
QUIET, FLOODED = "quiet", "flooded"
"""The posts that fall due without the flood and in it."""
CREATE = "/2/statuses/share.json"
PATIENCE_SECONDS = 120
"""Timeout in seconds of unmeasured work, and of an answer that is far too late."""
CYCLE_SECONDS = 1.5
"""Between two pauses."""
STILL_SECONDS = 4.0
"""So long before a post is due the last pause begins."""
RECONNECT_SECONDS = 0.5
"""How soon a live page connects again, as htmx does."""
EVENT_ID = re.compile(r"^id: (\d+)", re.MULTILINE)
SILENT_SECONDS = 25.0
"""A live page that has received nothing for so long has stopped: it is pinged every 20 s."""


def make_address(number: int) -> str:
    """Return an address of this machine that nobody else uses."""
    return f"127.0.{3 + number // 256}.{number % 256}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of a flood, and the limits of its noticeable effects."""

    seconds: float = 60
    quiet_seconds: float = 20
    lead_seconds: float = 10
    """Seconds that planning a post may take before the measured work begins.

    They are extended if they are too short.
    """
    accounts: int = 150
    live_pages: int = 50
    addresses: int = 100
    slow_heads: int = 500
    slow_forms: int = 500
    silent: int = 200
    streams: int = 600
    stream_addresses: int = 3
    is_proxied: bool = False
    """Whether all clients and people come through one proxy."""
    min_share: float = 0.9
    """How much of the flood must be sent in time, or it is none."""
    max_late_seconds: float = 5
    max_pause_seconds: float = 0.3
    max_page_seconds: float = 1
    max_sign_in_seconds: float = 5


@dataclass(slots=True, kw_only=True)
class Noticed:
    """The seconds that people notice.

    `failed` are the requests without the required answer.
    """

    late: Sequence[float] = ()
    pauses: list[float] = field(default_factory=list)
    pages: list[float] = field(default_factory=list)
    sign_ins: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The effects noticed without the flood and in it, and the counts of both.

    `live` is the number of live pages that were followed to the end, and `counts` is the work of
    the flood.
    """

    quiet: Noticed
    flooded: Noticed
    live: int
    reconnections: int
    counts: Mapping[str, int]

    def figures(self, size: Size) -> Iterator[Figure]:
        """Yield each figure with its goal, compared with the same work without the flood.

        A missing result counts as infinite time.
        """
        for name, goal, quiet, flooded in (
            (
                "last call after the due time",
                size.max_late_seconds,
                self.quiet.late,
                self.flooded.late,
            ),
            (
                "pause, click to written, 95 of 100",
                size.max_pause_seconds,
                self.quiet.pauses,
                self.flooded.pauses,
            ),
            (
                "Today of who has signed in, 95 of 100",
                size.max_page_seconds,
                self.quiet.pages,
                self.flooded.pages,
            ),
            (
                "sign-in elsewhere, worst",
                size.max_sign_in_seconds,
                self.quiet.sign_ins,
                self.flooded.sign_ins,
            ),
        ):
            share = 0.95 if "95" in name else 1.0
            noticed, usually = (
                [1e3 * seconds for seconds in each] or [math.inf]
                for each in (flooded, quiet)
            )
            value, usual = percentile(noticed, share), percentile(usually, share)
            parts = {
                "times": value / usual,
                "without": usual,
                "median": median(noticed),
                "worst": max(noticed),
            }
            yield Figure(
                id="",
                name=name,
                value=value,
                goal=1e3 * goal,
                unit="ms",
                parts=parts | {"of": len(flooded)},
            )
        yield Figure(
            id="",
            name="calls of the post",
            value=len(self.flooded.late),
            goal=size.accounts,
            is_minimum=True,
        )
        yield Figure(
            id="",
            name="live pages followed to the end",
            value=self.live,
            goal=size.live_pages,
            is_minimum=True,
            parts={"reconnections": self.reconnections},
        )
        failed = len(self.quiet.failed) + len(self.flooded.failed)
        yield Figure(id="", name="requests of people that failed", value=failed, goal=0)
        sent = self.counts.get("sign-ins sent", 0)
        wanted = size.min_share * size.addresses * size.seconds / ATTEMPT_SECONDS
        yield Figure(
            id="",
            name="sign-ins of the flood",
            value=sent,
            goal=round(wanted),
            is_minimum=True,
        )


@dataclass(slots=True, kw_only=True)
class Office:
    """The workspace under the flood, and the sessions of its people."""

    folder: Path
    port: int
    size: Size
    sessions: Mapping[str, str]
    simulator: SimulatorProcess
    report: Callable[[str], None]
    due: dict[str, datetime]
    noticed: Noticed = field(default_factory=Noticed)
    reconnections: int = 0
    """How often a live page has lost its stream."""
    addresses: Iterator[int] = field(default_factory=count)
    """The numbers of the addresses of a user's sign-ins.

    A person at work signs in once, not every second.
    """

    @contextlib.asynccontextmanager
    async def visit(
        self, address: str, name: str | None = None
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Open the dashboard from an address, with a session or without one."""
        is_proxied = self.size.is_proxied
        cookie = session_cookie_name(is_proxied=is_proxied)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            transport=httpx.AsyncHTTPTransport(
                local_address=PROXY if is_proxied else address
            ),
            headers=proxy_headers(address) if is_proxied else {},
            cookies={cookie: self.sessions[name]} if name else {},
            timeout=PATIENCE_SECONDS,
        ) as client:
            yield client

    async def answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            async with self.visit(OPERATOR_ADDRESS) as client:
                return (await client.get("/login")).is_success
        return False

    async def ask(
        self,
        seconds: list[float],
        path: str,
        address: str,
        name: str = "",
        form: Mapping[str, str] | None = None,
    ) -> None:
        """Get a page or send a form by a new connection, and note its duration."""
        try:
            async with self.visit(address, name or None) as client:
                began = time.monotonic()
                response = await (
                    client.get(path)
                    if form is None
                    else client.post(path, data=dict(form))
                )
                seconds.append(time.monotonic() - began)
        except httpx.TransportError as error:
            self.noticed.failed.append(f"{path}: {type(error).__name__}")
        else:
            if response.status_code != (200 if form is None else 303):
                self.noticed.failed.append(f"{path}: answered {response.status_code}")

    async def pause(self) -> None:
        """Pause everything, see that it is written, and resume."""
        await self.ask(
            self.noticed.pauses,
            "/pause",
            OPERATOR_ADDRESS,
            OPERATOR,
            {"reason": "洪水"},
        )
        if not (rows := read_rows(self.folder, "SELECT at FROM pause")):
            self.noticed.failed.append("/pause: answered, and not written")
            return
        paused_at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=rows[0][0])
        await self.ask(
            [],
            "/resume",
            OPERATOR_ADDRESS,
            OPERATOR,
            {"paused_at": paused_at.isoformat()},
        )

    async def work_until(self, instant: float) -> None:
        """Pause, open Today and sign in, at least once, until this instant.

        The instant is in seconds of the epoch.
        """
        while True:
            until = time.monotonic() + CYCLE_SECONDS
            await self.pause()
            await self.ask(self.noticed.pages, "/today", VIEWER_ADDRESS, VIEWER)
            await self.sign_in(USER)
            if time.time() >= instant:
                return
            await asyncio.sleep(
                max(0.0, until - time.monotonic())
            )  # the pace of the people

    async def sign_in(self, name: str) -> None:
        form = {"name": name, "password": PASSWORDS[name]}
        await self.ask(
            self.noticed.sign_ins,
            "/login",
            make_address(next(self.addresses)),
            form=form,
        )

    async def follow(self, name: str, received_at: list[float]) -> None:
        """Keep a live page open, and note the time of its last event.

        It connects again as in a browser.
        """
        async with self.visit(VIEWER_ADDRESS, name) as client:
            address, headers = (
                find_stream((await client.get("/today")).text),
                dict[str, str](),
            )
            while True:
                with contextlib.suppress(httpx.TransportError):
                    async with client.stream("GET", address, headers=headers) as stream:
                        async for part in stream.aiter_text():
                            received_at[:] = [time.monotonic()]
                            for number in EVENT_ID.findall(part):
                                headers["last-event-id"] = number
                self.reconnections += 1
                await asyncio.sleep(RECONNECT_SECONDS)  # the pace of a page

    async def plan_posts(self) -> None:
        """Write the schedule, and wait until all its posts are planned."""
        write_schedule(
            self.folder, *(format_post(post, at) for post, at in self.due.items())
        )
        wanted = {(post, int(at.timestamp() * 1e6)) for post, at in self.due.items()}

        def are_planned() -> bool:
            rows = read_rows(
                self.folder,
                "SELECT post, due_at, COUNT(*) FROM delivery GROUP BY post, due_at",
            )
            return {
                (post, at) for post, at, number in rows if number == self.size.accounts
            } >= wanted

        await eventually(are_planned, PATIENCE_SECONDS, "the deliveries")

    async def move_post(self, post: str, seconds: float) -> float:
        """Let a planned post fall due in so many seconds, or later; return the instant.

        The instant is in seconds of the epoch. Raises TimeoutError if the move is planned too late
        again and again.
        """
        for lead in (1, 2, 4):
            ahead = timedelta(seconds=seconds + lead * self.size.lead_seconds)
            self.due[post] = datetime.now(UTC).replace(microsecond=0) + ahead
            await self.plan_posts()
            due = self.due[post].timestamp()
            if due - time.time() >= seconds:
                return due
        raise TimeoutError(f"{post} is not planned before its time")

    async def wait_for_calls(self, due: float) -> Sequence[float]:
        """Wait until the post has left to every account.

        Return the delay of the start of each call, in seconds.
        """
        latest = time.monotonic() + PATIENCE_SECONDS
        while True:
            log = await asyncio.to_thread(self.simulator.get, "/_sim/log")
            calls = [
                item["began"]
                for item in log
                if item["kind"] == "recv" and item["endpoint"] == CREATE
            ]
            late = [began - due for began in calls if began > due - STILL_SECONDS]
            if len(late) >= self.size.accounts or time.monotonic() > latest:
                return late
            await asyncio.sleep(0.5)  # the log of another process

    async def work(self, post: str, seconds: float) -> None:
        """Work for so many seconds, or a little longer; a post falls due in the middle."""
        began = time.time()
        due = await self.move_post(post, seconds / 2)
        self.report(
            f"at work; a post to {self.size.accounts} accounts"
            f" falls due in {due - time.time():.0f} s"
        )
        await self.work_until(due - STILL_SECONDS)
        self.noticed.late = await self.wait_for_calls(due)
        self.report("the post has left")
        await self.work_until(began + seconds)


async def measure(office: Office) -> Outcome:
    """Work without the flood, then in it."""
    size = office.size
    office.report("waiting for the dashboard, and for both posts to be planned")
    await eventually(office.answers, PATIENCE_SECONDS, "the dashboard's first page")
    await office.plan_posts()
    await office.work(QUIET, size.quiet_seconds)
    quiet, office.noticed = office.noticed, Noticed()
    office.report(
        f"the flood begins: {size.addresses} addresses sign in, {size.live_pages} live pages"
    )
    pages: list[list[float]] = [[] for _ in range(size.live_pages)]
    names = itertools.cycle(VIEWERS)
    viewers = [
        asyncio.create_task(office.follow(name, received_at))
        for name, received_at in zip(names, pages, strict=False)
    ]
    try:
        async with flood(office) as end:
            await office.work(FLOODED, size.seconds)
            counts = await end()
        office.report("the flood has ended; everybody signs in")
        latest = time.monotonic() - SILENT_SECONDS
        live = sum(
            not viewer.done() and max(received_at, default=0.0) > latest
            for viewer, received_at in zip(viewers, pages, strict=True)
        )
    finally:
        for viewer in viewers:
            viewer.cancel()
        await asyncio.gather(*viewers, return_exceptions=True)
    for name in ("主管", OPERATOR, USER, VIEWER):
        await office.sign_in(name)
    return Outcome(
        quiet=quiet,
        flooded=office.noticed,
        live=live,
        reconnections=office.reconnections,
        counts=counts,
    )


@contextlib.asynccontextmanager
async def flood(
    office: Office,
) -> AsyncIterator[Callable[[], Coroutine[Any, Any, Mapping[str, int]]]]:
    """Run the flood beside this process.

    At its height, yield a function that ends it and returns its counts.
    """
    size = office.size
    names = (
        "addresses",
        "slow_heads",
        "slow_forms",
        "silent",
        "streams",
        "stream_addresses",
        "is_proxied",
    )
    parts = {name: getattr(size, name) for name in names}
    whose = {"session": office.sessions[HOARDER], "passwords": PASSWORDS}
    order = json.dumps(parts | whose | {"port": office.port}).encode() + b"\n"
    command = [sys.executable, "-m", clients.__name__]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(order)
        process.stdin.flush()
        async with asyncio.timeout(PATIENCE_SECONDS):
            began = json.loads(await asyncio.to_thread(process.stdout.readline))
        office.report(f"the flood is at its height: {began['held']} slow connections")

        async def end() -> Mapping[str, int]:
            output, _ = await asyncio.to_thread(
                process.communicate, None, PATIENCE_SECONDS
            )
            counts: Mapping[str, int] = json.loads(output)
            return counts

        yield end


async def add_users(folder: Path) -> Mapping[str, str]:
    """Add the users with their passwords; return a session of each."""
    by = Actor(role=Role.PERSON, name=next(iter(GRANTS)))
    async with application(folder, can_send=False) as opened:
        users = opened.store.users
        for name, grant in GRANTS.items():
            link = await users.add(name, [parse_grant(grant)], by)
            await users.activate(
                link,
                NewSignIn(password_hash=await hash_password(PASSWORDS[name])),
                lambda _name: by,
            )
        return {
            name: await opened.store.sign_ins.start_session(
                name, "address 127.0.0.1", by
            )
            for name in GRANTS
        }


def run(size: Size, report: Callable[[str], None]) -> Outcome:
    """Run a flood of this size; `report` is called with each phase.

    All that it starts has ended afterwards.
    """
    port = free_port()
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=20)
    settings = f'listen = "127.0.0.1:{port}"'
    if size.is_proxied:
        settings += f', proxy = "{PROXY}", url = "https://{PROXY_HOST}"'
    with (
        run_simulator() as simulator,
        workspace(size.accounts, simulator.url, dashboard=settings) as folder,
    ):
        office = Office(
            folder=folder,
            port=port,
            size=size,
            sessions=asyncio.run(add_users(folder)),
            simulator=simulator,
            report=report,
            due={QUIET: later, FLOODED: later},
        )
        write_schedule(folder, "")
        with daemon(folder):
            try:
                wait_for_event(folder, STARTED, PATIENCE_SECONDS)
                return asyncio.run(measure(office))
            except BaseException as error:
                report(f"{error!r}\n{(folder / LOG).read_text('utf-8')[-4000:]}")
                raise


def main() -> int:
    """Run one flood, and print its noticeable effects.

    Return 1 if they exceed the limits.
    """
    parser = argparse.ArgumentParser(prog="scripts/flood", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=Size().seconds, help="how long the flood lasts"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures to FILE as well"
    )
    parser.add_argument(
        "--stream-addresses",
        type=int,
        default=Size().stream_addresses,
        metavar="NUMBER",
        help="from how many addresses the one user opens live pages, at most 150",
    )
    parser.add_argument(
        "--proxy",
        action="store_true",
        help="let everybody come through one proxy, which knows no slow clients",
    )
    asked = parser.parse_args()
    size = Size(
        seconds=asked.seconds,
        stream_addresses=asked.stream_addresses,
        is_proxied=asked.proxy,
    )
    began = time.monotonic()
    raise_descriptor_limit()
    outcome = run(
        size,
        lambda said: click.echo(f"{time.monotonic() - began:6.1f} s  {said}", err=True),
    )
    figures = list(outcome.figures(size))
    for figure in figures:
        click.echo(figure.as_line())
    for name, number in sorted(outcome.counts.items()):
        click.echo(f"     {name:<58} {number:>10}")
    click.echo(
        f"     load of the machine, of {os.cpu_count()} processors"
        f"{'':21} {os.getloadavg()[0]:10.1f}"
    )
    for failed in (*outcome.quiet.failed, *outcome.flooded.failed):
        click.echo(f"FAILED {failed}")
    if asked.json:
        facts = {
            "figures": [figure.as_json() for figure in figures],
            "flood": dict(outcome.counts),
        }
        asked.json.write_text(json.dumps(facts, ensure_ascii=False, indent=1))
    return int(any(figure.verdict == "MISSED" for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
