"""P15, P16, P17: the costs of a dashboard page and of open pages in a send, and of Write.

P17 is the time until Write answers.
"""

import asyncio
import contextlib
import gzip
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

from publisher.domain.delivery import Actor, Role
from publisher.domain.user import parse_grant
from publisher.store.people.users import NewSignIn
from tests.bench.database import accept_schedule, application, change_rows
from tests.bench.figures import BenchOptions, Figure, SkippedError, median, percentile
from tests.bench.platform import PlatformClient, run_platform
from tests.bench.process import child_pids, processor_seconds, running
from tests.bench.workspace import (
    STARTED,
    daemon,
    format_posts,
    wait_for_event,
    workspace,
    write_schedule,
)
from tests.e2e.test_browser import BROWSER, SILENT
from tests.ports import free_port
from tests.streams import find_stream
from tests.wait import wait_until

ACCOUNTS = 150
POSTS, OPEN_POSTS = 67, 7
"""Posts of today to every account, 10,050 deliveries, and how many of them are still to come."""
REQUESTS = 20
VIEWERS, PAGES_PER_VIEWER = 50, 10
"""Open pages, and how many of them one person has."""
LATENCY_SECONDS = 0.05
"""How long the platform takes to answer."""
START_SECONDS = 20
"""Seconds from the start of the daemon to the instant. All viewers connect in that time."""
WATCH_SECONDS = 30
MANY_ACCOUNTS = 1_500
TODAY = "/today"
ALL_ROLES = ("author", "approver", "operator", "auditor", "admin")
PATHS = (
    TODAY, "/inbox", "/calendar", "/calendar/week", "/calendar/list", "/posts", "/posts/post-0",
    "/posts/post-0/retract", "/posts/post-0/correct", "/search?q=post", "/write?kind=warning",
    "/urgent", "/accounts", "/assist", "/alerts", "/audit", "/people", "/me", "/pause", "/help",
)  # fmt: skip
"""Pages of the dashboard with an address of their own, and those of a post."""
INTERACTIVE = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
"""The milliseconds from the navigation to a page whose scripts have run."""
COOKIE = "publisher_session"
WORDS = {"title": "警惕刷单返利", "data.summary": "先垫钱的兼职都是诈骗，不要转账"}
TYPE = """(field, word) => new Promise((done) => {
  const observer = new MutationObserver(() => {
    if (!document.getElementById("previews").textContent.includes(word)) return;
    observer.disconnect();
    requestAnimationFrame(() => done(performance.now() - began));
  });
  observer.observe(document.body, { childList: true, subtree: true });
  const began = performance.now();
  field.value += word;
  field.dispatchEvent(new Event("input", { bubbles: true }));
})"""
"""Types into a field; returns how many milliseconds later its check is on the screen."""
ELEMENT = re.compile(r"<[a-z]")
VIEWER = Actor(role=Role.PERSON, name="值班")
PUBLISHED = (
    "UPDATE delivery SET state = 'published', remote_id = '9' || id, due_at = ?, published_at = ?"
    " WHERE post = ?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSite:
    """A workspace with the dashboard, and sessions of users that may see all of it."""

    folder: Path
    port: int
    sessions: Sequence[str]

    @property
    def headers(self) -> dict[str, str]:
        return self.headers_of(0)

    def headers_of(self, user: int) -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={self.sessions[user]}", "Accept-Encoding": "gzip"}

    def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of a response, as it was sent."""
        with contextlib.closing(
            HTTPConnection("127.0.0.1", self.port, timeout=30)
        ) as connection:
            connection.request("GET", path, headers=self.headers)
            response = connection.getresponse()
            return response.status, response.read()

    def answers(self) -> bool:
        try:
            return self.get("/login")[0] > 0
        except OSError:
            return False


def p15(options: BenchOptions) -> Iterator[Figure]:
    """Measure Today and all pages, with 150 accounts and 10,000 deliveries of this day.

    Also measure the page of a post to 1,500 accounts.
    """
    accounts, posts = options.choose((ACCOUNTS, POSTS), (6, 3))
    with _serving_posts(options, accounts, posts) as site:
        seconds, body = _time_page(options, site, TODAY)
        yield Figure(
            id="P15",
            name=f"Today, {accounts} accounts, {accounts * posts:,} deliveries",
            value=seconds * 1e3,
            goal=200,
            unit="ms",
        )
        size = len(gzip.compress(body.encode())) / 1024
        yield Figure(
            id="P15", name="its page, compressed", value=size, goal=25, unit="KiB"
        )
        elements = len(ELEMENT.findall(body))
        yield Figure(id="P15", name="its elements", value=elements, goal=2_500)
        if BROWSER is not None:
            yield _time_all_pages(options, site)
    many = options.choose(MANY_ACCOUNTS, 12)
    with _serving_posts(options, many, 1) as site:
        seconds, body = _time_page(options, site, "/posts/post-0")
    name = f"the page of a post to {many:,} accounts"
    yield Figure(id="P15", name=name, value=seconds * 1e3, goal=300, unit="ms")
    elements = len(ELEMENT.findall(body))
    yield Figure(id="P15", name="its elements", value=elements, goal=3_000)


@contextlib.contextmanager
def _serving_posts(
    options: BenchOptions, accounts: int, posts: int
) -> Iterator[BenchSite]:
    """Serve the dashboard of posts of this day. One in ten is still to come, or none of few."""
    open_posts = options.choose(OPEN_POSTS, 1) if posts > 1 else 0
    with _serving(accounts, None, *ALL_ROLES) as site:
        write_schedule(
            site.folder, format_posts(posts, datetime.now(UTC) + timedelta(minutes=1))
        )
        asyncio.run(accept_schedule(site.folder))
        now = int(time.time() * 1e6)
        for number in range(posts - open_posts):
            change_rows(site.folder, PUBLISHED, now, now, f"post-{number}")
        with running(
            [*options.publisher, "-C", site.folder, "web"], stderr=subprocess.DEVNULL
        ):
            wait_until(site.answers, 60, "the dashboard did not answer")
            yield site


def _time_page(options: BenchOptions, site: BenchSite, path: str) -> tuple[float, str]:
    """Return the seconds until a page is there, and its text. Raises AssertionError."""
    seconds, body = [], b""
    for _ in range(options.choose(REQUESTS, 2)):
        began = time.perf_counter()
        status, body = site.get(path)
        seconds.append(time.perf_counter() - began)
        if status != 200:
            raise AssertionError(status)
    return median(seconds), gzip.decompress(body).decode()


@contextlib.contextmanager
def _open_page(site: BenchSite) -> Iterator[Page]:
    """Open a page of a browser, as the first user."""
    with (
        sync_playwright() as playwright,
        contextlib.closing(
            playwright.chromium.launch(executable_path=BROWSER, args=SILENT)
        ) as browser,
    ):
        yield browser.new_page(extra_http_headers={"Cookie": site.headers["Cookie"]})


def _time_all_pages(options: BenchOptions, site: BenchSite) -> Figure:
    """Open each page in a browser that has the static files. Raises AssertionError."""
    took: dict[str, float] = {}
    with _open_page(site) as page:
        page.goto(f"http://127.0.0.1:{site.port}{TODAY}")
        for path in PATHS:
            times = []
            for _ in range(options.few_runs):
                response = page.goto(f"http://127.0.0.1:{site.port}{path}")
                if response is None or response.status != 200:
                    raise AssertionError(path)
                times.append(float(page.evaluate(INTERACTIVE)))
            took[path] = median(times)
    slowest = max(took, key=took.__getitem__)
    return Figure(
        id="P15",
        name=f"the slowest of {len(PATHS)} pages to be interactive",
        value=took[slowest],
        goal=800,
        unit="ms",
        parts={slowest: took[slowest], "median ms": median(took.values())},
    )


def p16(options: BenchOptions) -> Iterator[Figure]:
    """Measure the cost of 50 open pages in a send to 150 accounts, and the delay of its calls."""
    accounts, viewers = options.choose((ACCOUNTS, VIEWERS), (6, 3))
    alone, watched, costs = [], [], []
    for _ in range(options.few_runs):
        with (
            run_platform(LATENCY_SECONDS) as platform,
            workspace(accounts, platform.base_url) as folder,
        ):
            due_at = _plan_post(options, folder)
            with daemon(folder, options.publisher):
                alone.append(_last_delay(platform, folder, accounts, due_at))
        with (
            run_platform(LATENCY_SECONDS) as platform,
            _serving(accounts, platform) as site,
        ):
            due_at = _plan_post(options, site.folder)
            with daemon(site.folder, options.publisher) as process:
                wait_until(site.answers, 60, "the dashboard did not answer")
                costs.append(
                    asyncio.run(
                        _watch(options, site, viewers, _dashboard_pid(process.pid))
                    )
                )
                watched.append(_last_delay(platform, site.folder, accounts, due_at))
    share = median(cost.processor_share for cost in costs)
    yield Figure(
        id="P16",
        name=f"processor of the dashboard, {viewers} live pages",
        value=share * 100,
        goal=5,
        unit="%",
    )
    sent = median(cost.bytes_per_minute for cost in costs)
    yield Figure(
        id="P16",
        name="sent to each in a minute",
        value=sent / 1024,
        goal=150,
        unit="KiB",
    )
    yield Figure(
        id="P16",
        name=f"last first byte of {accounts} due at once, with these pages against without",
        value=median(watched) / median(alone),
        goal=1.25,
        parts={
            "last ms": median(watched) * 1e3,
            "last ms without": median(alone) * 1e3,
        },
    )


def p17(options: BenchOptions) -> Iterator[Figure]:
    """Measure the check of typed text in a post to 150 accounts, in a browser.

    Raises SkippedError without a browser.
    """
    if BROWSER is None:
        raise SkippedError("no chromium on PATH, and PUBLISHER_CHROMIUM names none")
    accounts = options.choose(ACCOUNTS, 6)
    with (
        _serving(accounts, None, "author") as site,
        running(
            [*options.publisher, "-C", site.folder, "web"], stderr=subprocess.DEVNULL
        ),
        _open_page(site) as page,
    ):
        wait_until(site.answers, 60, "the dashboard did not answer")
        page.goto(f"http://127.0.0.1:{site.port}/write?kind=warning")
        for name, text in WORDS.items():
            page.locator(f"[name='{name}']").fill(text)
        summary = page.locator("[name='data.summary']")
        summary.evaluate(TYPE, "！")
        took = [
            summary.evaluate(TYPE, f"第{number}次")
            for number in range(options.choose(REQUESTS, 2))
        ]
    yield Figure(
        id="P17",
        name=f"typed to checked on Write, {accounts} accounts",
        value=median(took),
        goal=600,
        unit="ms",
        parts={"slowest ms": max(took)},
    )


@dataclass(frozen=True, slots=True)
class LiveCost:
    """The cost of live pages: the dashboard's share of a processor, and the bytes for one page."""

    processor_share: float
    bytes_per_minute: float


async def _watch(
    options: BenchOptions, site: BenchSite, viewers: int, pid: int
) -> LiveCost:
    """Keep pages open during a send; return the cost from their opening on."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{site.port}", timeout=60)
        )
        headers = [
            site.headers_of(number // PAGES_PER_VIEWER) for number in range(viewers)
        ]
        streams = [
            await stack.enter_async_context(_open_stream(client, each))
            for each in headers
        ]
        received, rows = 0, 0

        async def read(stream: httpx.Response) -> None:
            nonlocal received, rows
            async for part in stream.aiter_raw():
                received += len(part)
                rows += part.count(b'hx-target="#row-')

        began, before = time.monotonic(), processor_seconds(pid)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(
                options.choose(START_SECONDS + WATCH_SECONDS, 30)
            ):
                await asyncio.gather(*map(read, streams))
        seconds, spent = time.monotonic() - began, processor_seconds(pid) - before
    # on a slow machine a brief run may open the pages after the send
    if rows < viewers and not options.is_brief:
        raise AssertionError(f"{rows} rows were sent to {viewers} pages")
    return LiveCost(spent / seconds, received / viewers / seconds * 60)


@contextlib.asynccontextmanager
async def _open_stream(
    client: httpx.AsyncClient, headers: Mapping[str, str]
) -> AsyncIterator[httpx.Response]:
    page = (await client.get(TODAY, headers=headers)).text
    async with client.stream("GET", find_stream(page), headers=headers) as stream:
        if stream.status_code != 200:
            raise AssertionError(stream.status_code)
        yield stream


def _plan_post(options: BenchOptions, folder: Path) -> datetime:
    due_at = datetime.now(UTC).replace(microsecond=0) + timedelta(
        seconds=options.choose(START_SECONDS, 15)
    )
    write_schedule(folder, format_posts(1, due_at))
    asyncio.run(accept_schedule(folder))
    return due_at


def _last_delay(
    platform: PlatformClient, folder: Path, accounts: int, due_at: datetime
) -> float:
    """Return how long after the due time the last first byte came, in seconds."""
    wait_for_event(folder, STARTED)
    calls: Sequence[float] = platform.wait_for(accounts, 90)
    return percentile([at - due_at.timestamp() for at in calls], 1)


@contextlib.contextmanager
def _serving(
    accounts: int, platform: PlatformClient | None, *roles: str
) -> Iterator[BenchSite]:
    """Make a workspace with a dashboard on a free port, and signed-in users of these roles.

    Without roles they are viewers.
    """
    port = free_port()
    address = (platform.base_url,) if platform else ()
    with workspace(
        accounts, *address, dashboard=f'listen = "127.0.0.1:{port}"'
    ) as folder:
        yield BenchSite(
            folder=folder,
            port=port,
            sessions=asyncio.run(_sign_in(folder, roles or ("viewer",))),
        )


async def _sign_in(folder: Path, roles: Sequence[str]) -> Sequence[str]:
    """Add users with roles on all accounts, and return a session of each.

    There are as many as open pages in a measurement.
    """
    async with application(folder, can_send=False) as opened:
        users, sign_ins = opened.store.users, opened.store.sign_ins
        await users.add("主管", [parse_grant("admin")], VIEWER)
        sessions = []
        for number in range(VIEWERS // PAGES_PER_VIEWER):
            name = f"{VIEWER.name}-{number}"
            link = await users.add(name, list(map(parse_grant, roles)), VIEWER)
            await users.activate(
                link, NewSignIn(password_hash="none"), lambda _name: VIEWER
            )
            sessions.append(
                await sign_ins.start_session(name, "address 127.0.0.1", VIEWER)
            )
        return sessions


def _dashboard_pid(daemon_pid: int) -> int:
    """Return the process of a daemon that serves the dashboard."""
    [pid] = [
        pid
        for pid in child_pids(daemon_pid)
        if b"web" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    ]
    return pid
