"""One account on one double, and all that an adapter of it is handed and counted by."""

import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from publisher.contract import Adapter, AdapterFactory, AdapterKit, Call, Http, Reply, Token
from publisher.domain.account import Account
from publisher.domain.outcome import Finding, NotSent, Submitted, Unknown
from publisher.domain.post import ONCE, OccurrenceKey, PostId
from publisher.domain.rendition import Baseline, DeliveryId, Marker, Parcel, Rendition, marker_for
from publisher.store.notes import LoginTokens
from publisher.testing.conformance.double import Double, Spot, Standing
from publisher.wiring.line import open_line

USUAL = timedelta(seconds=10)
"""One call's deadline where the test is not about it; long, as the machine may be slow."""
SHORT = timedelta(seconds=1)
MOST_LOOKS = 8
PATIENT = 3600.0
"""Seconds until a parcel's lease ends."""


@dataclass(slots=True)
class Tally:
    """What passed through the hands of a stage's adapters."""

    creates: int = 0
    renewals: int = 0
    calls: list[Call] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set, repr=False)


@dataclass(frozen=True, slots=True)
class CountedHttp:
    inner: Http
    tally: Tally

    async def ask(self, call: Call) -> Reply | NotSent | Unknown:
        self.tally.calls.append(call)
        return await self.inner.ask(call)

    async def ask_time(self, base: str) -> Reply | NotSent | Unknown:
        return await self.inner.ask_time(base)

    async def create(self, call: Call, parcel: Parcel) -> Reply | NotSent | Unknown:
        self.tally.calls.append(call)
        self.tally.creates += 1
        return await self.inner.create(call, parcel)


@dataclass(frozen=True, slots=True)
class ClosedHttp:
    """A way on which nothing goes."""

    tally: Tally

    async def ask(self, call: Call) -> Reply | NotSent | Unknown:
        self.tally.calls.append(call)
        return NotSent(reason="connect_failed")

    async def ask_time(self, base: str) -> Reply | NotSent | Unknown:  # noqa: ARG002 # it goes nowhere
        return NotSent(reason="connect_failed")

    async def create(self, call: Call, parcel: Parcel) -> Reply | NotSent | Unknown:  # noqa: ARG002 # it goes nowhere
        return await self.ask(call)


@dataclass(frozen=True, slots=True)
class CountedTokens:
    """The daemon's own token book; a renewal of a token that was in use is counted."""

    inner: LoginTokens
    tally: Tally

    async def current(self) -> str | None:
        return await self.inner.current()

    async def renew(self, stale: str | None, fetch: Callable[[], Awaitable[Token | None]]) -> str | None:
        async def counted() -> Token | None:
            self.tally.renewals += stale is not None
            token = await fetch()
            self.tally.tokens |= {token.value} if token else set()
            return token

        return await self.inner.renew(stale, counted)


@dataclass(frozen=True, slots=True)
class MemoryNotes:
    kept: dict[str, str] = field(default_factory=dict)

    async def recall(self, key: str) -> str | None:
        return self.kept.get(key)

    async def remember(self, key: str, value: str) -> None:
        self.kept[key] = value

    async def revise(self, key: str, change: Callable[[str | None], str]) -> str | None:
        noted = self.kept.get(key)
        self.kept[key] = change(noted)
        return noted


@dataclass(slots=True, kw_only=True)
class Stage:
    """What a check plays on. Its clock is moved together with the double's."""

    double: Double
    factory: AdapterFactory
    account: Account
    secret: Mapping[str, str] = field(repr=False)
    rendition: Callable[[Marker], Rendition]
    images: tuple[bytes, ...] = ()
    tally: Tally = field(default_factory=Tally)
    notes: MemoryNotes = field(default_factory=MemoryNotes)
    _shift: timedelta = timedelta(0)
    _tokens: CountedTokens | None = None
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _seen: set[str] = field(default_factory=set)
    _newest: str | None = None

    def now(self) -> datetime:
        return datetime.now(UTC) + self._shift

    def adapter(
        self,
        *,
        base_url: str | None = None,
        secret: Mapping[str, str] | None = None,
        deadline: timedelta = USUAL,
        is_closed: bool = False,
    ) -> Adapter:
        """Build an adapter as if the daemon had just started: notes and tokens are kept, nothing else."""
        account = replace(self.account, base_url=base_url or self.account.base_url)
        host = urlsplit(account.base_url or "").hostname
        line = open_line(deadline=deadline, monotonic=time.monotonic, allow={host, None}.__contains__)
        self._tokens = self._tokens or CountedTokens(LoginTokens(now=self.now), self.tally)
        kit = AdapterKit(
            http=ClosedHttp(self.tally) if is_closed else CountedHttp(line, self.tally),
            secret=lambda: self.secret if secret is None else secret,
            tokens=self._tokens,
            notes=self.notes,
            now=self.now,
            failpoint=_nothing,
        )
        return self.factory.create(account, kit)

    async def prepare(self) -> None:
        """Give the account a past: a post that was made by hand an hour ago, on which every look can stand."""
        self._newest = await self.double.post_by_hand("一小时前的旧消息", "这是一小时前由人工发布的旧消息。")
        await self.pass_time(timedelta(hours=1))
        await self._notice()

    def parcel(self, *, attempt: int = 1, start_by: float | None = None) -> Parcel:
        """Hand out a new delivery's attempt. Its baseline is the account's past."""
        number = next(self._numbers)
        key = OccurrenceKey(post=PostId(f"conformance-{number}"), label=ONCE)
        rendition = self.rendition(marker_for(key, self.account.id))
        return Parcel(
            delivery=DeliveryId(number),
            attempt=attempt,
            account=self.account.id,
            rendition=rendition,
            images=self.images,
            baseline=Baseline(newest_id=self._newest, since=self.now() - timedelta(minutes=2)),
            intended_at=self.now(),
            start_by=time.monotonic() + PATIENT if start_by is None else start_by,
        )

    async def made(self) -> Sequence[Standing]:
        """Give what was created on the account since `prepare`, but for what was posted by hand."""
        return [post for post in await self.double.posts() if post.remote_id not in self._seen]

    async def post_by_hand(self, title: str, text: str) -> str:
        made = await self.double.post_by_hand(title, text)
        self._seen.add(made)
        return made

    async def spoil(self, spot: Spot, kind: str, **facts: object) -> None:
        """Let calls go wrong; without such a fault the check cannot be made."""
        if not await self.double.spoil(spot, kind, **facts):
            pytest.skip(f"NOT OFFERED: the double has no fault {kind} on {spot}")

    async def pass_time(self, duration: timedelta) -> None:
        self._shift += duration
        await self.double.pass_time(duration)

    async def settle(self, adapter: Adapter, finding: Finding) -> Finding:
        """Follow a ticket to its end."""
        for _ in range(MOST_LOOKS):
            if not isinstance(finding, Submitted):
                break
            await self.pass_time(max(finding.look_again_at - self.now(), timedelta(0)))
            finding = await adapter.follow_up(finding.ticket)
        return finding

    async def look(self, parcel: Parcel) -> Finding:
        """Let an adapter that knows nothing of the call look for its post."""
        adapter = self.adapter()
        return await self.settle(adapter, await adapter.find(parcel))

    async def _notice(self) -> None:
        self._seen |= {post.remote_id for post in await self.double.posts()}


async def _nothing(_name: str) -> None:
    return
