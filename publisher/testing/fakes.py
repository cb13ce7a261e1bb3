"""A runtime with a manual clock, and an adapter over a platform in memory."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from publisher.domain.account import Capabilities
from publisher.domain.post import SendRequest
from publisher.domain.results import (
    Deleted,
    DeletionResult,
    HealthCheckResult,
    Healthy,
    NotFound,
    ObservedPost,
    Outcome,
    Published,
    Reach,
    ReadbackResult,
    Receipt,
    Ticket,
    Unknown,
)
from publisher.runtime.clock import Runtime

START_TIME = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
TEST_CAPABILITIES = Capabilities(
    count_text=len,
    text_limit=1000,
    title_limits=(1, 64),
    picture_limit=9,
    server_delay=timedelta(seconds=60),
    listing_lag=timedelta(seconds=120),
    list_size=None,
    can_resend=True,
)


@dataclass(slots=True)
class FakeRuntime(Runtime):
    """A runtime with time that passes by `advance_time`, and wakes every sleeper that is due.

    With a `tick` it also passes by that much whenever the clock is read, as it does outside of
    tests. Its clock is confirmed from the start. `is_synchronized` is the kernel's own statement
    about it.
    """

    clock: datetime = START_TIME
    tick: timedelta = timedelta()
    jump_total: timedelta = timedelta()
    is_synchronized: bool = False
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.mark_clock_unconfirmed()
        self.confirm_clock(self.read_clocks())

    def now(self) -> datetime:
        self.clock += self.tick
        return self.clock

    def monotonic(self) -> float:
        return (self.clock - START_TIME - self.jump_total).total_seconds()

    async def sleep_until(self, instant: datetime) -> None:
        while self.clock < instant:
            await self._moved.wait()

    def is_kernel_clock_synchronized(self) -> bool:
        return self.is_synchronized

    def jump_clock(self, by: timedelta) -> None:
        """Set the clock ahead or back without any time passing; it counts as unconfirmed then."""
        self.jump_total += by
        self.advance_time(by)

    def advance_time(self, duration: timedelta) -> None:
        """Advance the clock and wake the sleepers."""
        self.clock += duration
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


def make_confirmed_runtime() -> Runtime:
    """Return a real runtime with a confirmed clock, so that no platform is asked for the time."""
    runtime = Runtime()
    runtime.confirm_clock(runtime.read_clocks())
    return runtime


@dataclass(slots=True)
class FakeAdapter:
    """An adapter with a platform `posts`, by remote id, in order; further parts are own posts.

    Each call of `publish` takes the next entry of `script`. Without one it publishes. An entry is
    an outcome, or a function of the request that may post before it returns one, such as
    `lose_reply`.
    """

    now: Callable[[], datetime]
    posts: dict[str, SendRequest] = field(default_factory=dict)
    script: deque[Outcome | Callable[[SendRequest], Outcome]] = field(
        default_factory=deque
    )
    findings: deque[ReadbackResult] = field(default_factory=deque)
    calls: list[SendRequest] = field(default_factory=list)
    published_at: dict[str, datetime] = field(default_factory=dict)
    external_posts: list[ObservedPost] = field(default_factory=list)
    reads: int = 1

    def add_post(self, request: SendRequest) -> Receipt:
        """Create the post."""
        remote_id = str(len(self.posts) + 1)
        self.posts[remote_id] = request
        self.published_at[remote_id] = self.now()
        return Receipt(
            remote_id=remote_id,
            url=f"https://fake.example/{remote_id}",
            published_at=self.now(),
        )

    def lose_reply(self, request: SendRequest) -> Outcome:
        """Create the post, then lose the reply."""
        self.add_post(request)
        return Unknown(reason="reset")

    async def publish(self, request: SendRequest) -> Outcome:
        self.calls.append(request)
        if not self.script:
            return Published(receipt=self.add_post(request))
        entry = self.script.popleft()
        return entry(request) if callable(entry) else entry

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        request = self.posts.get(ticket.payload)
        if request is None:
            return NotFound(covered_since=START_TIME - timedelta(days=1))
        url = f"https://fake.example/{ticket.payload}"
        receipt = Receipt(remote_id=ticket.payload, url=url, published_at=self.now())
        return Published(receipt=receipt, is_text_confirmed=True)

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        if self.findings:
            return self.findings.popleft()
        for remote_id, post in self.posts.items():
            if post.marker == request.marker:
                return await self.check_ticket(Ticket(payload=remote_id))
        return NotFound(covered_since=request.baseline.taken_at)

    async def retract(self, receipt: Receipt) -> DeletionResult:
        self.posts.pop(receipt.remote_id, None)
        parts = [
            key
            for key, post in self.posts.items()
            if post.parent and post.parent.remote_id == receipt.remote_id
        ]
        for key in parts:
            del self.posts[key]
        return Deleted()

    async def check_health(self) -> HealthCheckResult:
        return Healthy()

    async def read_metrics(
        self, receipts: Sequence[Receipt]
    ) -> Mapping[str, Reach] | Unknown:
        return {
            item.remote_id: Reach(reads=self.reads)
            for item in receipts
            if item.remote_id in self.posts
        }

    async def list_recent(self) -> Sequence[ObservedPost] | Unknown:
        own_posts = [
            ObservedPost(
                remote_id=key,
                url=f"https://fake.example/{key}",
                published_at=self.published_at.get(key, START_TIME),
                text=post.rendered.text,
            )
            for key, post in self.posts.items()
            if not post.part
        ]
        return sorted(
            [*own_posts, *self.external_posts],
            key=lambda item: item.published_at,
            reverse=True,
        )
