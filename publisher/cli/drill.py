"""One run of the demo: child processes, simulated platforms, its display, and the final check."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import webbrowser
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from publisher.app.format import Formatter, format_counts
from publisher.cli.errors import CommandFailedError
from publisher.cli.live_display import LiveDisplay, can_draw, live_display, wrap_parts
from publisher.cli.terminal import (
    STATE_STYLES,
    echo,
    pad_cells,
    set_style,
    shorten,
    text_width,
)
from publisher.cli.workspace import CALLBACK_SIGNING_KEY, DemoAccount, DemoWorkspace
from publisher.domain.characters import escape_forbidden
from publisher.domain.delivery import OPEN_STATES, Delivery, State
from publisher.domain.errors import ApprovalError
from publisher.domain.post import DeliveryId, OccurrenceKey, PostId, derive_marker
from publisher.engine.decisions import named_person
from publisher.store.approvals.tasks import Approver
from publisher.store.store import Store

LOG_FILE = Path("var", "daemon.log")
PUBLISHER_COMMAND = (sys.executable, "-P", "-m", "publisher")
DAEMON_STOP_SECONDS = 30.0
"""Enough for a daemon to finish its calls."""
SIMULATOR_STOP_SECONDS = 5.0
START_TIMEOUT_SECONDS = 30.0
HOUR_SECONDS = 3600
REQUEST_TIMEOUT_SECONDS = 20
UNSHOWN_STATES = frozenset({State.PENDING, State.DUE, State.CLAIMED, State.SENDING})
"""States too short to be worth a line."""
POSTS_OF_STATE = {State.PUBLISHED: 1, State.RETRACTED: 0, State.CANCELLED: 0}
"""How many posts a delivery may have that has ended as somebody wanted."""
POLL_SECONDS = 0.5
SAMPLE_APPROVER = "演示"
"""The approver of the demo's own posts."""
MAX_DAEMON_FAILURES = 3
SHOWN_LOG_LINES = 5


async def start_simulator(port: int) -> tuple[asyncio.subprocess.Process, str]:
    """Start the simulator; return it and its address.

    Raises CommandFailedError when it does not start.
    """
    command = [
        *PUBLISHER_COMMAND,
        "--lang",
        "en",
        "simulate",
        "--listen",
        f"127.0.0.1:{port}",
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    line = b""
    if process.stdout is not None:
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(
                process.stdout.readline(), START_TIMEOUT_SECONDS
            )
    addresses = [word for word in line.decode().split() if word.startswith("http://")]
    if not addresses:
        await stop_process(process, SIMULATOR_STOP_SECONDS)
        raise CommandFailedError("simulator_failed", port=port)
    return process, addresses[0]


async def start_daemon(workspace: Path, lang: str) -> asyncio.subprocess.Process:
    """Start the daemon of a workspace; it logs to LOG_FILE."""
    command = [*PUBLISHER_COMMAND, "--lang", lang, "-C", str(workspace), "run"]
    with (workspace / LOG_FILE).open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


async def stop_process(
    process: asyncio.subprocess.Process, timeout_seconds: float
) -> None:
    """Terminate a child, and kill it after the timeout."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), timeout_seconds)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@dataclass(slots=True, kw_only=True)
class SimulatedPlatforms:
    """The simulator at an address. `external_ids` are the posts that were there before."""

    base_url: str
    external_ids: set[str] = field(default_factory=set)

    def create_accounts(
        self, accounts: Sequence[DemoAccount]
    ) -> dict[str, Mapping[str, str]]:
        """Create the accounts, each with an older post as if by a person.

        Return their secrets by account id.
        """
        secrets = {}
        for account in accounts:
            names = {"name": account.region.agency, "forums": [account.region.forum]}
            created = {
                "platform": account.platform,
                "account": account.identity,
                **names,
            }
            secrets[account.id] = self._request("/_sim/accounts", created)
        self._request("/_sim/clock", {"shift": -HOUR_SECONDS})
        for account in accounts:
            city = account.region.name
            texts = {
                "title": f"{city}民警进社区",
                "text": f"今天，{city}民警走进社区，和居民聊反诈、讲案例。",
            }
            older = {"platform": account.platform, "account": account.identity, **texts}
            self.external_ids.add(self._request("/_sim/posts", older)["id"])
        self._request("/_sim/clock", {"shift": HOUR_SECONDS})
        return secrets

    def register_callbacks(self, accounts: Sequence[DemoAccount], listen: str) -> bool:
        """Register the callback URLs of WeChat accounts.

        WeChat tries them at once: False while nothing answers.
        """
        for account in accounts:
            if account.platform == "wechat":
                url = f"http://{listen}/callback/wechat/{account.id}"
                callback = {
                    "account": account.identity,
                    "url": url,
                    "token": CALLBACK_SIGNING_KEY,
                }
                if not self._request("/_sim/callbacks", callback).get("ok"):
                    return False
        return True

    def count_posts(
        self, deliveries: Sequence[Delivery], accounts: Mapping[str, DemoAccount]
    ) -> tuple[Mapping[DeliveryId, int], int]:
        """Count the published posts of each delivery, and the posts without a delivery."""
        posts = [
            post
            for post in self._request("/_sim/posts")
            if post["id"] not in self.external_ids
            and post["visible"]
            and not post["removed"]
        ]
        texts_by_account: dict[tuple[str, str], list[str]] = {}
        for post in posts:
            text = "\n".join(str(post[part]) for part in ("title", "text", "html"))
            texts_by_account.setdefault((post["platform"], post["account"]), []).append(
                text
            )
        counts: Counter[DeliveryId] = Counter()
        for delivery in deliveries:
            account = accounts[delivery.account]
            marker = derive_marker(delivery.key, delivery.account)
            texts = texts_by_account.get((account.platform, account.identity), [])
            counts[delivery.id] = sum(map(marker.is_in, texts))
        return counts, len(posts) - counts.total()

    def _request(self, path: str, body: object = None) -> Any:  # noqa: ANN401 # any JSON value
        connection = HTTPConnection(
            urlsplit(self.base_url).netloc, timeout=REQUEST_TIMEOUT_SECONDS
        )
        try:
            connection.request(
                "POST" if body else "GET", path, json.dumps(body) if body else None
            )
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@dataclass(slots=True, kw_only=True)
class Scenario:
    """A run of the demo and its daemon. The daemon has failed if it exits with an error.

    An exit by a signal is no failure. It shows the deliveries as a live table on a terminal, else
    one line for each change of state.
    """

    formatter: Formatter
    workspace: Path
    store: Store
    demo_workspace: DemoWorkspace
    platforms: SimulatedPlatforms
    simulator: asyncio.subprocess.Process
    stopping: asyncio.Event
    sample_posts: Collection[PostId]
    where: Mapping[str, str]
    """Where to look, as the message says it."""
    opens_browser: bool = False
    has_shown_where: bool = False
    daemon_failures: int = 0
    has_registered_callbacks: bool = False
    daemon: asyncio.subprocess.Process | None = None
    live: LiveDisplay | None = None
    shown_states: dict[DeliveryId, State] = field(default_factory=dict)
    approved: set[OccurrenceKey] = field(default_factory=set)

    async def run(self, *, exits: bool) -> int:
        """Run until stopped or, with `exits`, until every delivery has ended.

        Return the exit code.
        """
        exit_code: int | None = None
        until = asyncio.get_running_loop().time() + START_TIMEOUT_SECONDS
        with contextlib.ExitStack() as stack:
            if can_draw():
                self.live = stack.enter_context(live_display())
            try:
                while not self.stopping.is_set() and not (
                    exits and exit_code is not None
                ):
                    deliveries = await self.store.queries.deliveries()
                    await self.approve_sample_posts(deliveries)
                    await self.ensure_daemon()
                    if (
                        self.demo_workspace.callback_listen
                        and not self.has_registered_callbacks
                    ):
                        # fails until the daemon listens
                        self.has_registered_callbacks = await asyncio.to_thread(
                            self.platforms.register_callbacks,
                            self.demo_workspace.accounts,
                            self.demo_workspace.callback_listen,
                        )
                    if not self.has_shown_where:
                        await self.show_where(
                            is_last_try=asyncio.get_running_loop().time() > until
                        )
                    self.show(deliveries)
                    if exit_code is None and is_settled(deliveries):
                        exit_code = await self.verify(deliveries)
                        self.print_message("demo_stays" if not exits else "demo_ends")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.stopping.wait(), POLL_SECONDS)
            finally:
                if self.daemon is not None:
                    await stop_process(self.daemon, DAEMON_STOP_SECONDS)
        return exit_code if exit_code is not None else int(exits)

    async def ensure_daemon(self) -> None:
        """Start the daemon, and again after it was killed.

        Raises CommandFailedError after MAX_DAEMON_FAILURES.
        """
        if self.simulator.returncode is not None:
            raise CommandFailedError("simulator_gone")
        if self.daemon is not None and self.daemon.returncode is None:
            return
        ended = self.daemon
        if ended is not None and (ended.returncode or 0) > 0:
            self.daemon_failures += 1
        if self.daemon_failures >= MAX_DAEMON_FAILURES:
            text = await asyncio.to_thread(
                (self.workspace / LOG_FILE).read_text, "utf-8", errors="replace"
            )
            raise CommandFailedError(
                "daemon_fails", log="\n".join(text.splitlines()[-SHOWN_LOG_LINES:])
            )
        self.daemon = await start_daemon(self.workspace, self.formatter.messages.lang)
        gone = ended.pid if ended else None
        self.print_message(
            "demo_daemon_again" if ended else "demo_daemon",
            pid=self.daemon.pid,
            gone=gone,
        )

    async def show_where(self, *, is_last_try: bool) -> None:
        """Show the links once the dashboard is served. Before that they lead nowhere."""
        link = self.where["author_link"]
        if (is_served := await asyncio.to_thread(answers, link)) or is_last_try:
            self.has_shown_where = True
            self.print_message("demo_where", **self.where)
        if is_served and self.opens_browser:
            await asyncio.to_thread(webbrowser.open, link)

    async def approve_sample_posts(self, deliveries: Sequence[Delivery]) -> None:
        """Approve the demo's own posts, as a person would have.

        Posts that people write or edit are left to them.
        """
        unapproved = {
            item.key for item in deliveries if item.key.post in self.sample_posts
        } - self.approved
        for task in await self.store.approvals.tasks() if unapproved else ():
            if task.key in unapproved and task.status.missing and not task.is_edit:
                approver = Approver(
                    name=SAMPLE_APPROVER,
                    may_take=lambda _stage, _accounts: True,
                    may=lambda _permission, _accounts: True,
                )
                by = named_person(SAMPLE_APPROVER)
                try:
                    await self.store.approvals.approve(
                        task.key.post, task.status.fingerprint, approver, by
                    )
                except ApprovalError:  # it has just changed
                    unapproved.discard(task.key)
        self.approved |= unapproved

    async def verify(self, deliveries: Sequence[Delivery]) -> int:
        """Compare the database with the platforms.

        Return 0 if every delivery is published exactly once, or was taken back by a person and is
        nowhere.
        """
        accounts = {account.id: account for account in self.demo_workspace.accounts}
        counts, unexplained = await asyncio.to_thread(
            self.platforms.count_posts, deliveries, accounts
        )
        wrong = [
            one for one in deliveries if counts[one.id] != POSTS_OF_STATE.get(one.state)
        ]
        if (
            all(one.state is State.PUBLISHED for one in deliveries)
            and not wrong
            and not unexplained
        ):
            self.print_message("demo_all_published", number=len(deliveries))
            return 0
        self.print_message(
            "demo_not_all_published", counts=format_counts(deliveries, self.formatter)
        )
        for delivery in wrong:
            state = self.formatter.state(delivery.state)
            reason = self.formatter.reason(delivery.reason)
            subject, number = self.formatter.subject(delivery), counts[delivery.id]
            self.print_message(
                "demo_mismatch",
                subject=subject,
                state=state,
                reason=reason,
                number=number,
            )
        if unexplained:
            self.print_message("demo_unexplained", number=unexplained)
        return int(bool(wrong or unexplained))

    def show(self, deliveries: Sequence[Delivery]) -> None:
        if self.live is not None:
            columns = shutil.get_terminal_size().columns
            self.live.show(list(self.format_table(deliveries, columns)))
            return
        for delivery in deliveries:
            if (
                delivery.state not in UNSHOWN_STATES
                and self.shown_states.get(delivery.id) is not delivery.state
            ):
                self.shown_states[delivery.id] = delivery.state
                details = (
                    self.formatter.reason(delivery.reason) if delivery.reason else ""
                )
                if delivery.receipt:
                    details = delivery.receipt.url
                at = delivery.updated_at.astimezone(self.formatter.timezone)
                subject = self.formatter.subject(delivery)
                state = self.formatter.state(delivery.state)
                echo(f"{at:%H:%M:%S}  {subject}  {state}  {details}".rstrip())

    def format_table(self, deliveries: Sequence[Delivery], width: int) -> Iterator[str]:
        """Yield a table of one row a post, as there may be many hundred deliveries.

        The states of a post go on below it if they are wider than the terminal.
        """
        post, due, state = (
            self.formatter.messages.translate(f"column_{name}")
            for name in ("post", "due", "state")
        )
        by_post: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            by_post.setdefault(delivery.key.post, []).append(delivery)
        cells = [
            (
                shorten(escape_forbidden(name), width // 2),
                f"{group[0].due_at.astimezone(self.formatter.timezone):%H:%M:%S}",
            )
            for name, group in by_post.items()
        ]
        heading, *starts = map("".join, pad_cells([(post, due), *cells]))
        yield set_style(heading + state, "bold")
        indent = " " * text_width(heading)
        for start, group in zip(starts, by_post.values(), strict=True):
            lines = wrap_parts(self.count_states(group), width - len(indent))
            yield start + next(lines)
            yield from (indent + line for line in lines)

    def count_states(self, deliveries: Sequence[Delivery]) -> Sequence[tuple[str, str]]:
        """Return the states with their numbers, in words, and the style of each."""
        counts = Counter(delivery.state for delivery in deliveries)
        return [
            (
                f"{self.formatter.state(state)} {counts[state]}",
                STATE_STYLES.get(state, ""),
            )
            for state in State
            if counts[state]
        ]

    def print_message(self, code: str, **facts: object) -> None:
        echo(self.formatter.messages.translate(code, **facts))


def answers(link: str) -> bool:
    """Return True if somebody listens where a link leads."""
    place = urlsplit(link)
    with (
        contextlib.suppress(OSError),
        socket.create_connection((str(place.hostname), place.port or 80), 1),
    ):
        return True
    return False


def is_settled(deliveries: Sequence[Delivery]) -> bool:
    """True if every delivery has ended or waits for a person."""
    return bool(deliveries) and not any(
        delivery.state in OPEN_STATES - {State.HELD} for delivery in deliveries
    )
