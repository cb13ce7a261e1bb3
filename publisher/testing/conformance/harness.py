"""The interface of a test server, one account on it, and the context that its adapters receive and are counted by."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

import pytest

from publisher.app.application import http_for_login
from publisher.contract import Adapter, AdapterContext, AdapterFactory, Http, HttpRequest, HttpResponse, Token
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
from publisher.domain.results import NotSent, ReadbackResult, Submitted, Unknown
from publisher.store.monitor.adapter_state import MemoryTokenStore

DEFAULT_TIMEOUT = timedelta(seconds=10)
"""The timeout of a call in checks that are not about it; long, as the machine may be slow."""
SHORT_TIMEOUT = timedelta(seconds=1)
MAX_FOLLOW_UPS = 8
LEASE_SECONDS = 3600.0
"""Time until the lease of a send request ends."""


class FaultTarget(StrEnum):
    """The calls that a fault applies to."""

    CREATE = "create"  # the creating call
    LIST = "list"  # the calls of `find_post`
    RETRACT = "retract"  # the call that deletes a post
    PROBE = "probe"  # the calls of `check_health`
    ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformPost:
    """One post ever created on the account, as the platform itself knows it."""

    remote_id: str
    is_published: bool
    text: str = field(repr=False)


class PlatformDouble(Protocol):
    """A platform with one account on it, listening on this machine.

    Kinds of faults and their fields are those of the simulator (docs/simulator.md). A test server without such a fault
    returns False, and the check is skipped.
    """

    @property
    def base_url(self) -> str: ...

    async def posts(self) -> Sequence[PlatformPost]:
        """Return every post ever created on the account, deleted ones included."""

    async def inject_fault(self, target: FaultTarget, kind: str, **facts: object) -> bool:
        """Inject a fault into every such call until `clear_faults`; return False if this server cannot."""

    async def clear_faults(self) -> None:
        """Remove all faults."""

    async def remove(self, remote_id: str) -> None:
        """Delete a post as the platform does, not its author."""

    async def post_manually(self, title: str, text: str) -> str:
        """Create a post as a person would, and return its id."""

    async def advance_time(self, duration: timedelta) -> None:
        """Advance the platform's clock, and run what has become due."""


@dataclass(slots=True)
class CallTally:
    """The calls and tokens of a harness's adapters."""

    create_count: int = 0
    renewal_count: int = 0
    requests: list[HttpRequest] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set, repr=False)


@dataclass(frozen=True, slots=True)
class CountingHttp:
    """Counts calls; a closed client cannot connect."""

    inner: Http
    tally: CallTally
    is_closed: bool

    async def fetch(self, request: HttpRequest) -> HttpResponse | NotSent | Unknown:
        self.tally.requests.append(request)
        return NotSent(reason="connect_failed") if self.is_closed else await self.inner.fetch(request)

    async def fetch_date(self, base_url: str) -> HttpResponse | NotSent | Unknown:
        return NotSent(reason="connect_failed") if self.is_closed else await self.inner.fetch_date(base_url)

    async def create(self, request: HttpRequest, send_request: SendRequest) -> HttpResponse | NotSent | Unknown:
        if self.is_closed:
            return await self.fetch(request)
        self.tally.requests.append(request)
        self.tally.create_count += 1
        return await self.inner.create(request, send_request)


@dataclass(frozen=True, slots=True)
class CountingTokenStore:
    """The daemon's token store; counts renewals of a token that was in use."""

    inner: MemoryTokenStore
    tally: CallTally

    async def current(self) -> str | None:
        return await self.inner.current()

    async def renew(self, stale: str | None, fetch: Callable[[], Awaitable[Token | None]]) -> str | None:
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


@dataclass(slots=True, kw_only=True)
class Harness:
    """The environment of a check; its clock advances together with the test server's."""

    platform: PlatformDouble
    factory: AdapterFactory
    account: Account
    secret: Mapping[str, str] = field(repr=False)
    render_sample: Callable[[Marker], RenderedPost]
    images: tuple[bytes, ...] = ()
    call_tally: CallTally = field(default_factory=CallTally)
    adapter_state: MemoryAdapterState = field(default_factory=MemoryAdapterState)
    _shift: timedelta = timedelta(0)
    _tokens: CountingTokenStore | None = None
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _known_ids: set[str] = field(default_factory=set)
    _newest_id: str | None = None

    @property
    def capabilities(self) -> Capabilities:
        return self.factory.capabilities(self.account)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._shift

    def build_adapter(
        self,
        *,
        base_url: str | None = None,
        secret: Mapping[str, str] | None = None,
        timeout: timedelta = DEFAULT_TIMEOUT,
        is_closed: bool = False,
    ) -> Adapter:
        """Build an adapter as after a restart of the daemon: adapter state and tokens are kept, nothing else."""
        account = replace(self.account, base_url=base_url or self.account.base_url)
        host = urlsplit(account.base_url or "").hostname
        is_host_allowed = {host, None}.__contains__
        http = http_for_login(
            timeout=timeout, monotonic=time.monotonic, is_host_allowed=is_host_allowed, can_create=True
        )
        self._tokens = self._tokens or CountingTokenStore(MemoryTokenStore(now=self.now), self.call_tally)

        async def ignore_failpoint(_name: str) -> None:
            return

        context = AdapterContext(
            http=CountingHttp(http, self.call_tally, is_closed),
            secret=lambda: self.secret if secret is None else secret,
            tokens=self._tokens,
            state=self.adapter_state,
            now=self.now,
            failpoint=ignore_failpoint,
        )
        return self.factory.create(account, context)

    async def prepare(self) -> None:
        """Create a manual post an hour ago, which serves as the baseline of every readback."""
        self._newest_id = await self.platform.post_manually("一小时前的旧消息", "这是一小时前由人工发布的旧消息。")
        await self.advance_time(timedelta(hours=1))
        self._known_ids |= {post.remote_id for post in await self.platform.posts()}

    def make_request(self, *, attempt: int = 1, start_by: float | None = None) -> SendRequest:
        """Return the send request of a new delivery, with the account's existing post as its baseline."""
        number = next(self._numbers)
        key = OccurrenceKey(post=PostId(f"conformance-{number}"), occurrence=ONCE_OCCURRENCE)
        rendered = self.render_sample(derive_marker(key, self.account.id))
        return SendRequest(
            delivery=DeliveryId(number),
            attempt=attempt,
            account=self.account.id,
            rendered=rendered,
            images=self.images,
            baseline=Baseline(newest_id=self._newest_id, taken_at=self.now() - timedelta(minutes=2)),
            intended_at=self.now(),
            start_by=time.monotonic() + LEASE_SECONDS if start_by is None else start_by,
        )

    async def created_posts(self) -> Sequence[PlatformPost]:
        """Return the posts created on the account since `prepare`, except manual ones."""
        return [post for post in await self.platform.posts() if post.remote_id not in self._known_ids]

    async def post_manually(self, title: str, text: str) -> str:
        remote_id = await self.platform.post_manually(title, text)
        self._known_ids.add(remote_id)
        return remote_id

    async def inject_fault(self, target: FaultTarget, kind: str, **facts: object) -> None:
        """Inject a fault into calls; skips the check if the test server has no such fault."""
        if not await self.platform.inject_fault(target, kind, **facts):
            pytest.skip(f"NOT OFFERED: the test server has no fault {kind} on {target}")

    async def advance_time(self, duration: timedelta) -> None:
        self._shift += duration
        await self.platform.advance_time(duration)

    async def follow_ticket(self, adapter: Adapter, finding: ReadbackResult) -> ReadbackResult:
        """Follow a ticket to its end."""
        for _ in range(MAX_FOLLOW_UPS):
            if not isinstance(finding, Submitted):
                break
            await self.advance_time(max(finding.check_again_at - self.now(), timedelta(0)))
            finding = await adapter.check_ticket(finding.ticket)
        return finding

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        """Let an adapter that knows nothing of the call find its post."""
        adapter = self.build_adapter()
        return await self.follow_ticket(adapter, await adapter.find_post(request))
