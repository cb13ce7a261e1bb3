"""The interface of a test platform, one account on it, and the adapter's context.

The context also counts its calls.
"""

import asyncio
import base64
import itertools
import secrets
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar, runtime_checkable
from urllib.parse import urlsplit

import pytest

from publisher.app.adapters import find_presence, get_hook
from publisher.app.application import http_for_login
from publisher.contract import (
    Adapter,
    AdapterContext,
    AdapterFactory,
    Http,
    HttpRequest,
    HttpResponse,
    Token,
)
from publisher.domain.account import Account, Capabilities
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    Baseline,
    DeliveryId,
    Marker,
    OccurrenceKey,
    PostId,
    RenderedPost,
    SendRequest,
    derive_marker,
)
from publisher.domain.results import (
    DeletionResult,
    HealthCheckResult,
    NotSent,
    ObservedPost,
    Outcome,
    Reach,
    ReadbackResult,
    ReadFailure,
    Receipt,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.store.monitor.adapter_state import MemoryTokenStore
from publisher.testing.conformance.faults import AdapterFault
from publisher.testing.conformance.rules import ConformanceRule
from publisher.testing.fault_front import (
    PLAIN_KINDS,
    REFUSAL_KINDS,
    TAG_HEADER,
    TRANSPORT_KINDS,
    FaultFront,
    FrontRequest,
    InjectedFault,
)

T = TypeVar("T")

DEFAULT_TIMEOUT = timedelta(seconds=30)
"""The timeout of a call.

It is long, as the machine may be slow. No check waits for it. If a response is held back, the
client leaves at once, as it does at its timeout.
"""
MAX_FOLLOW_UPS = 8
LEASE_SECONDS = 3600.0
"""Time until the lease of a send request ends."""
REAL_CLOCK_GAP_SECONDS = 1.1
"""How much older than the baseline the old post is if the clock cannot be moved.

A second is tolerated.
"""


class FaultTarget(StrEnum):
    """The calls that a fault applies to."""

    CREATE = "create"  # the creating call
    UPLOAD = "upload"  # the calls of `publish` before that one which carry a picture
    LIST = "list"  # the calls of `find_post`
    RECENT = "recent"  # the calls of `list_recent`
    TICKET = "ticket"  # the calls of `check_ticket`
    RETRACT = "retract"  # the calls of `retract`
    PROBE = "probe"  # the calls of `check_health`
    ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformPost:
    """One post ever created on the account, as the platform itself knows it.

    `is_published`: not in review, refused or deleted. `is_public`: anybody can read it without
    signing in.
    """

    remote_id: str
    is_published: bool
    is_public: bool
    picture_count: int
    text: str = field(repr=False)


class PlatformServer(Protocol):
    """A platform with one account on it: a double on this machine, or a real test server.

    A real server serves tests only. A double that can move its clock is a `MovableClock`, one with
    faults of its own a `FaultInjector`.
    """

    @property
    def base_url(self) -> str: ...

    async def posts(self) -> Sequence[PlatformPost]:
        """Return every post ever created on the account, deleted ones included."""

    async def remove(self, remote_id: str) -> None:
        """Delete a post as the platform does, not its author."""

    async def post_manually(self, title: str, text: str) -> str:
        """Create a post as a person would, and return its id."""


@runtime_checkable
class MovableClock(Protocol):
    """A test platform with a movable clock.

    Without it the kit waits `settle_time` instead, in real time.
    """

    async def advance_time(self, duration: timedelta) -> None:
        """Advance the platform's clock, and run the due actions."""


@runtime_checkable
class FaultInjector(Protocol):
    """A test platform with faults of its own, besides the faults that the fault front makes.

    The front makes them on the way. Kinds of faults and their fields are the ones of the simulator
    (docs/simulator.md).
    """

    async def inject_fault(
        self, target: FaultTarget, kind: str, **facts: object
    ) -> bool:
        """Inject a fault into every such call until `clear_faults`.

        Return False if this server cannot.
        """

    async def fault_count(self) -> int:
        """Return how many calls the present faults have changed."""

    async def clear_faults(self) -> None:
        """Remove all faults."""


@dataclass(slots=True)
class CallTally:
    """The calls and tokens of a harness's adapters. `method` is the adapter's method that runs."""

    method: str = ""
    create_count: int = 0
    renewal_count: int = 0
    requests: list[HttpRequest] = field(default_factory=list)
    created_by: list[HttpRequest] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set, repr=False)


@dataclass(frozen=True, slots=True)
class CountingHttp:
    """Counts calls, and tags them for the fault front; a closed client cannot connect.

    A call with a response held back by the front ends as at its timeout, without the wait for it.
    """

    inner: Http
    tally: CallTally
    images: tuple[bytes, ...]
    tag: str
    held: asyncio.Event
    is_closed: bool

    async def fetch(self, request: HttpRequest) -> HttpResponse | NotSent | Unknown:
        self.tally.requests.append(request)
        if self.is_closed:
            return NotSent(reason="connect_failed")
        call = "upload" if count_pictures(request, self.images) else "fetch"
        return await self._unless_held(self.inner.fetch(self._tag(request, call)))

    async def fetch_date(self, base_url: str) -> HttpResponse | NotSent | Unknown:
        return (
            NotSent(reason="connect_failed")
            if self.is_closed
            else await self.inner.fetch_date(base_url)
        )

    async def create(
        self, request: HttpRequest, send_request: SendRequest
    ) -> HttpResponse | NotSent | Unknown:
        self.tally.requests.append(request)
        if self.is_closed:
            return NotSent(reason="connect_failed")
        self.tally.create_count += 1
        self.tally.created_by.append(request)
        return await self._unless_held(
            self.inner.create(self._tag(request, "create"), send_request)
        )

    def _tag(self, request: HttpRequest, call: str) -> HttpRequest:
        return replace(
            request,
            headers={
                **request.headers,
                TAG_HEADER: f"{self.tag} {self.tally.method} {call}",
            },
        )

    async def _unless_held(
        self, call: Coroutine[None, None, HttpResponse | NotSent | Unknown]
    ) -> HttpResponse | NotSent | Unknown:
        response, held = (
            asyncio.create_task(call),
            asyncio.create_task(self.held.wait()),
        )
        try:
            await asyncio.wait({response, held}, return_when=asyncio.FIRST_COMPLETED)
            return response.result() if response.done() else Unknown(reason="timeout")
        finally:
            for task in (response, held):
                task.cancel()
            await asyncio.gather(response, held, return_exceptions=True)


def count_pictures(request: HttpRequest, images: Sequence[bytes]) -> int:
    """Return how many of these pictures a request carries."""
    bodies = [*(part.data for part in request.uploads), request.content or b""]
    return sum(
        image in body or base64.b64encode(image) in body
        for body in bodies
        for image in images
    )


@dataclass(frozen=True, slots=True)
class CountingTokenStore:
    """The daemon's token store; counts renewals of a token that was in use."""

    inner: MemoryTokenStore
    tally: CallTally

    async def current(self) -> str | None:
        return await self.inner.current()

    async def renew(
        self, stale: str | None, fetch: Callable[[], Awaitable[Token | None]]
    ) -> str | None:
        async def counted() -> Token | None:
            self.tally.renewal_count += stale is not None
            token = await fetch()
            self.tally.tokens |= {token.value} if token else set()
            return token

        return await self.inner.renew(stale, counted)


@dataclass(frozen=True, slots=True)
class MemoryAdapterState:
    """Adapter state in memory; others run between two of its calls, as with a database."""

    values: dict[str, str] = field(default_factory=dict)

    async def get(self, key: str) -> str | None:
        await asyncio.sleep(0)
        return self.values.get(key)

    async def set(self, key: str, value: str) -> None:
        self.values[key] = value

    async def update(self, key: str, change: Callable[[str | None], str]) -> str | None:
        await asyncio.sleep(0)
        noted = self.values.get(key)
        self.values[key] = change(noted)
        return noted


@dataclass(frozen=True, slots=True)
class ObservedAdapter:
    """An adapter that breaks a rule by a call past the given client, or a creation in a read."""

    inner: Adapter
    tally: CallTally
    front: FaultFront
    tag: str

    async def publish(self, request: SendRequest) -> Outcome:
        return await self._observe("publish", self.inner.publish(request))

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        return await self._observe("check_ticket", self.inner.check_ticket(ticket))

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        return await self._observe("find_post", self.inner.find_post(request))

    async def retract(self, receipt: Receipt) -> DeletionResult:
        return await self._observe("retract", self.inner.retract(receipt))

    async def check_health(self) -> HealthCheckResult:
        return await self._observe("check_health", self.inner.check_health())

    async def read_metrics(
        self, receipts: Sequence[Receipt]
    ) -> Mapping[str, Reach] | ReadFailure:
        return await self._observe("read_metrics", self.inner.read_metrics(receipts))

    async def list_recent(self) -> Sequence[ObservedPost] | ReadFailure:
        return await self._observe("list_recent", self.inner.list_recent())

    async def _observe(self, method: str, call: Awaitable[T]) -> T:
        created, self.tally.method = self.tally.create_count, method
        try:
            result = await call
        finally:
            self.tally.method = ""
        untagged = [
            request
            for request in self.front.requests
            if not request.tag.startswith(self.tag)
        ]
        calls = [
            f"{request.method} {request.target.partition('?')[0]}"
            for request in untagged
        ]
        # `fetch_date`, which cannot be tagged
        past = [call for call in calls if not call.endswith("/robots.txt")]
        ConformanceRule.CLIENT_GIVEN.require(
            not past, f"{method} called {past} without the given client"
        )
        is_read = method != "publish" and self.tally.create_count > created
        ConformanceRule.ONE_CREATE.require(
            not is_read, f"{method} made a creating call"
        )
        return result


_TARGET_METHODS: Mapping[FaultTarget, Collection[str]] = {
    FaultTarget.CREATE: {"publish create"},
    FaultTarget.UPLOAD: {"publish upload"},
    FaultTarget.LIST: {"find_post fetch"},
    FaultTarget.RECENT: {"list_recent fetch"},
    FaultTarget.TICKET: {"check_ticket fetch"},
    FaultTarget.RETRACT: {"retract fetch"},
    FaultTarget.PROBE: {"check_health fetch"},
}


@dataclass(slots=True, kw_only=True)
class Harness:
    """The environment of a check; its clock advances with the test platform's, if movable.

    `not_shown` maps a fault (`KIND on TARGET`) or a rule to the reason why this platform cannot
    show it.
    """

    platform: PlatformServer
    front: FaultFront
    factory: AdapterFactory
    account: Account
    secret: Mapping[str, str] = field(repr=False)
    render_sample: Callable[[Marker], RenderedPost]
    images: tuple[bytes, ...] = ()
    not_shown: Mapping[str, str] = field(default_factory=dict)
    settle_time: timedelta = timedelta(seconds=1)
    call_tally: CallTally = field(default_factory=CallTally)
    adapter_state: MemoryAdapterState = field(default_factory=MemoryAdapterState)
    _held: asyncio.Event = field(default_factory=asyncio.Event)
    _tag: str = field(default_factory=lambda: secrets.token_hex(8))
    _shift: timedelta = timedelta(0)
    _tokens: CountingTokenStore | None = None
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _run: str = field(default_factory=lambda: secrets.token_hex(4))
    _known_ids: set[str] = field(default_factory=set)
    _baseline: Baseline | None = None

    @property
    def capabilities(self) -> Capabilities:
        return self.factory.capabilities(self.account)

    @property
    def has_movable_clock(self) -> bool:
        return isinstance(self.platform, MovableClock)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._shift

    def skip_where_not_shown(self, name: str) -> None:
        """Skip the check if the author has declared that this cannot be shown, with the reason."""
        if name in self.not_shown:
            pytest.skip(f"NOT SHOWN: {name}: {self.not_shown[name]}")

    def build_adapter(
        self,
        *,
        base_url: str | None = None,
        secret: Mapping[str, str] | None = None,
        state: MemoryAdapterState | None = None,
        is_closed: bool = False,
    ) -> Adapter:
        """Build an adapter as after a restart of the daemon.

        Adapter state and tokens are kept, nothing else.
        """
        account = replace(self.account, base_url=base_url or self.account.base_url)
        host = urlsplit(account.base_url or "").hostname
        is_host_allowed = {host, None}.__contains__
        http = http_for_login(
            timeout=DEFAULT_TIMEOUT,
            monotonic=time.monotonic,
            is_host_allowed=is_host_allowed,
            can_create=True,
        )
        self._tokens = self._tokens or CountingTokenStore(
            MemoryTokenStore(login="conformance", now=self.now), self.call_tally
        )

        async def ignore_failpoint(_name: str) -> None:
            return

        context = AdapterContext(
            http=CountingHttp(
                http, self.call_tally, self.images, self._tag, self._held, is_closed
            ),
            secret=lambda: self.secret if secret is None else secret,
            tokens=self._tokens,
            state=state or self.adapter_state,
            now=self.now,
            failpoint=ignore_failpoint,
        )
        return ObservedAdapter(
            self.factory.create(account, context),
            self.call_tally,
            self.front,
            self._tag,
        )

    async def prepare(self) -> None:
        """Create a manual post as the baseline of every readback.

        It is an hour old if time can be moved.
        """
        self._baseline = await self.take_baseline()
        self._known_ids |= {post.remote_id for post in await self.platform.posts()}

    async def take_baseline(self) -> Baseline:
        """Create a manual post, let some time pass, and return the baseline of an attempt.

        The attempt is made now.
        """
        newest_id = await self.post_manually(
            "一小时前的旧消息", "这是一小时前由人工发布的旧消息。"
        )
        if self.has_movable_clock:
            await self.advance_time(timedelta(hours=1))
            return Baseline(
                newest_id=newest_id, taken_at=self.now() - timedelta(minutes=2)
            )
        await asyncio.sleep(
            REAL_CLOCK_GAP_SECONDS
        )  # the platform's clock cannot be moved
        return Baseline(newest_id=newest_id, taken_at=self.now())

    def make_request(
        self, *, attempt: int = 1, start_by: float | None = None
    ) -> SendRequest:
        """Return the send request of a new delivery.

        Its baseline is the account's existing post.
        """
        number = next(self._numbers)
        rendered = self.render_sample(self.make_marker(number))
        assert self._baseline is not None  # noqa: S101 # `prepare` comes first
        request = SendRequest(
            delivery=DeliveryId(number),
            attempt=attempt,
            account=self.account.id,
            rendered=rendered,
            images=self.images,
            baseline=self._baseline,
            intended_at=self.now(),
            start_by=time.monotonic() + LEASE_SECONDS if start_by is None else start_by,
            identity=str(find_presence(self.account, self.factory)),
        )
        name_method = get_hook(self.factory, "call_method")
        return replace(
            request,
            method=name_method(self.account, rendered, is_urgent=request.is_urgent),
        )

    def make_marker(self, number: int) -> Marker:
        """Return the marker of a delivery of this run.

        A real server still has the posts of earlier runs.
        """
        run = "" if self.has_movable_clock else f"-{self._run}"
        key = OccurrenceKey(
            post=PostId(f"conformance{run}-{number}"), occurrence=ONCE_OCCURRENCE
        )
        return derive_marker(key, self.account.id)

    async def created_posts(self) -> Sequence[PlatformPost]:
        """Return the posts created on the account since `prepare`, except manual ones."""
        return [
            post
            for post in await self.platform.posts()
            if post.remote_id not in self._known_ids
        ]

    async def post_manually(self, title: str, text: str) -> str:
        remote_id = await self.platform.post_manually(title, text)
        self._known_ids.add(remote_id)
        return remote_id

    @asynccontextmanager
    async def fault(
        self, target: FaultTarget, fault: AdapterFault, *, is_needed: bool = True
    ) -> AsyncIterator[None]:
        """Make such calls fail within the block. Skips the check where `not_shown` names the fault.

        Raises BrokenRuleError if nothing can make the fault, or if it has changed no call within
        the block, unless the check shows something without it as well (`is_needed` False).
        """
        kind, facts, name = fault.kind, fault.facts, f"{fault.kind} on {target}"
        self.skip_where_not_shown(name)
        injector = self.platform if isinstance(self.platform, FaultInjector) else None
        injected: InjectedFault | None = None
        is_on_the_way = injector is None or kind in TRANSPORT_KINDS | PLAIN_KINDS
        seen = len(self.front.exchanges)
        made = {post.remote_id for post in await self.created_posts()}
        if is_on_the_way or not (
            injector and await injector.inject_fault(target, kind, **facts)
        ):
            ConformanceRule.FAULT_BITES.require(
                self.front.can(kind),
                f"nothing makes the fault {name}: add it to the test platform, "
                f"or its response to `response_format`, "
                f"or declare in `not_shown` why it cannot be shown",
            )
            injected = self._inject_on_the_way(target, kind, facts)
        try:
            yield
            count = (
                injected.count
                if injected
                else await injector.fault_count()
                if injector
                else 0
            )
            is_ignored = injected is None and await self._is_ignored(
                target, kind, facts, seen, made
            )
        finally:
            self.front.clear()
            self._held.clear()
            if injector:
                await injector.clear_faults()
        ConformanceRule.FAULT_BITES.require(
            (count and not is_ignored) or not is_needed,
            f"the fault {name} has changed no call, so it has shown nothing",
        )

    async def _is_ignored(
        self,
        target: FaultTarget,
        kind: str,
        facts: Mapping[str, object],
        seen: int,
        made: Collection[str],
    ) -> bool:
        """True if a fault that the platform says it made has visibly changed nothing.

        Either a call that it was to refuse has created a post, or a post that it was to review is
        published at once. Or reads got the same result as before.
        """
        if target is FaultTarget.CREATE:
            new = [
                post
                for post in await self.created_posts()
                if post.remote_id not in made
            ]
            if kind == "review":
                return any(post.is_published for post in new)
            return bool(new) and kind in REFUSAL_KINDS and not facts.get("acts")
        exchanges = [
            (replace(request, headers=()), response)
            for request, response in self.front.exchanges
        ]
        before = {
            request: (response.status, response.body)
            for request, response in exchanges[:seen]
        }
        after = [
            (response.status, response.body) == before.get(request)
            for request, response in exchanges[seen:]
        ]
        return bool(after) and all(after)

    def _inject_on_the_way(
        self, target: FaultTarget, kind: str, facts: Mapping[str, object]
    ) -> InjectedFault:
        """Let the front make the fault.

        For a change of the stored post, the front changes the post in the reads.
        """
        if kind == "rewrite" and target is FaultTarget.CREATE:
            target = FaultTarget.ANY
        own = {"own": self.account.identity} if kind == "wrong_account" else {}
        methods = _TARGET_METHODS.get(target)

        def is_meant(request: FrontRequest) -> bool:
            return methods is None or request.tag.partition(" ")[2] in methods

        injected = self.front.inject(kind, applies_to=is_meant, **{**own, **facts})
        injected.held = self._held
        return injected

    async def advance_time(self, duration: timedelta) -> None:
        """Let the platform act on late calls, then let time pass, at once with a movable clock."""
        await self.front.settle()
        if isinstance(self.platform, MovableClock):
            self._shift += duration
            await self.platform.advance_time(duration)
        elif duration:
            await asyncio.sleep(
                self.settle_time.total_seconds()
            )  # its clock cannot be moved

    async def wait_until_visible(self) -> None:
        """Wait for everything that a platform may still do late."""
        await self.advance_time(
            self.capabilities.server_delay + self.capabilities.listing_lag
        )

    async def follow_ticket(
        self, adapter: Adapter, finding: ReadbackResult
    ) -> ReadbackResult:
        """Follow a ticket to its end."""
        for _ in range(MAX_FOLLOW_UPS):
            if not isinstance(finding, Submitted):
                break
            await self.advance_time(
                max(finding.check_again_at - self.now(), timedelta(0))
            )
            finding = await adapter.check_ticket(finding.ticket)
        return finding

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        """Let an adapter that knows nothing of the call find its post."""
        adapter = self.build_adapter()
        return await self.follow_ticket(adapter, await adapter.find_post(request))
