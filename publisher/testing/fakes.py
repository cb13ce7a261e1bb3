"""A world whose clock is moved by hand, and an adapter over a platform that is a list."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from publisher.domain.account import Traits
from publisher.domain.outcome import (
    Finding,
    Gone,
    Health,
    Missing,
    Outcome,
    Published,
    Reach,
    Ready,
    Receipt,
    Removal,
    Sighting,
    Ticket,
    Unknown,
)
from publisher.domain.problem import Problem
from publisher.domain.rendition import Parcel, Rendition
from publisher.world import World

START = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
TRAITS = Traits(
    measure=len,
    text_limit=1000,
    title_limits=(1, 64),
    picture_limit=9,
    server_delay=timedelta(seconds=60),
    listing_lag=timedelta(seconds=120),
    readable=None,
    may_resend=True,
)


@dataclass(slots=True)
class StillWorld(World):
    """A world in which time passes only when told to. Whoever sleeps wakes when the clock has been moved far enough.

    Its clock is confirmed from the start; `is_synchronised` is what its kernel says of it.
    """

    clock: datetime = START
    jumped: timedelta = timedelta()
    is_synchronised: bool = False
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.doubt_clock()
        self.confirm_clock(self.clocks())

    def now(self) -> datetime:
        return self.clock

    def monotonic(self) -> float:
        return (self.clock - START - self.jumped).total_seconds()

    async def sleep_until(self, instant: datetime) -> None:
        while self.clock < instant:
            await self._moved.wait()

    def is_kernel_synchronised(self) -> bool:
        return self.is_synchronised

    def jump(self, by: timedelta) -> None:
        """Set the clock, ahead or back, without any time passing: it is in doubt then."""
        self.jumped += by
        self.pass_time(by)

    def pass_time(self, duration: timedelta) -> None:
        """Move the clock on and wake the sleepers."""
        self.clock += duration
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


def confirmed_world() -> World:
    """Give the real world, with its clock confirmed: no platform need be asked."""
    world = World()
    world.confirm_clock(world.clocks())
    return world


@dataclass(slots=True)
class FakeAdapter:
    """An adapter whose platform is `posts`, by remote id, in order; further floors stand there too, under their post.

    Each call of `publish` takes the next of `script`; without one it publishes. A script entry is an outcome, or a
    function of the parcel that may post before it answers, such as `lose_reply`.
    """

    now: Callable[[], datetime]
    traits: Traits = TRAITS
    posts: dict[str, Parcel] = field(default_factory=dict)
    script: deque[Outcome | Callable[[Parcel], Outcome]] = field(default_factory=deque)
    findings: deque[Finding] = field(default_factory=deque)
    calls: list[Parcel] = field(default_factory=list)
    live_since: dict[str, datetime] = field(default_factory=dict)
    strangers: list[Sighting] = field(default_factory=list)
    reads: int = 1

    def check(self, rendition: Rendition) -> Sequence[Problem]:  # noqa: ARG002 # everything is welcome here
        return ()

    def post(self, parcel: Parcel) -> Receipt:
        """Make the post exist."""
        remote_id = str(len(self.posts) + 1)
        self.posts[remote_id] = parcel
        self.live_since[remote_id] = self.now()
        return Receipt(remote_id=remote_id, url=f"https://fake.example/{remote_id}", live_at=self.now())

    def lose_reply(self, parcel: Parcel) -> Outcome:
        """Post, then let the reply be lost."""
        self.post(parcel)
        return Unknown(reason="reset")

    async def publish(self, parcel: Parcel) -> Outcome:
        self.calls.append(parcel)
        if not self.script:
            return Published(receipt=self.post(parcel))
        answer = self.script.popleft()
        return answer(parcel) if callable(answer) else answer

    async def follow_up(self, ticket: Ticket) -> Finding:
        parcel = self.posts.get(ticket.number)
        if parcel is None:
            return Missing(back_to=START - timedelta(days=1))
        url = f"https://fake.example/{ticket.number}"
        receipt = Receipt(remote_id=ticket.number, url=url, live_at=self.now())
        return Published(receipt=receipt, has_seen_text=True)

    async def find(self, parcel: Parcel) -> Finding:
        if self.findings:
            return self.findings.popleft()
        for remote_id, held in self.posts.items():
            if held.marker == parcel.marker:
                return await self.follow_up(Ticket(number=remote_id))
        return Missing(back_to=parcel.baseline.since)

    async def retract(self, receipt: Receipt) -> Removal:
        self.posts.pop(receipt.remote_id, None)
        under = [key for key, held in self.posts.items() if held.under and held.under.remote_id == receipt.remote_id]
        for key in under:
            del self.posts[key]
        return Gone()

    async def probe(self) -> Health:
        return Ready()

    async def measure_reach(self, receipts: Sequence[Receipt]) -> Mapping[str, Reach] | Unknown:
        return {item.remote_id: Reach(reads=self.reads) for item in receipts if item.remote_id in self.posts}

    async def recent(self) -> Sequence[Sighting] | Unknown:
        ours = [
            Sighting(
                remote_id=key,
                url=f"https://fake.example/{key}",
                live_at=self.live_since.get(key, START),
                text=held.rendition.text,
            )
            for key, held in self.posts.items()
            if not held.floor
        ]
        return sorted([*ours, *self.strangers], key=lambda item: item.live_at, reverse=True)
