"""One account that a person can post on: the platform's own adapter, but for what is handed to people."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from publisher.contract import Adapter, TimeSource
from publisher.domain.account import Traits
from publisher.domain.likeness import says_our_words
from publisher.domain.outcome import (
    Finding,
    Gone,
    Health,
    Lookalike,
    Outcome,
    Published,
    RateLimited,
    Reach,
    Receipt,
    Removal,
    Sighting,
    Submitted,
    Ticket,
    Unknown,
    Unread,
)
from publisher.domain.problem import Problem
from publisher.domain.rendition import Parcel, Rendition
from publisher.domain.task import LOOK_EVERY, Task, task_of

ONLY_FOR_CALLS = frozenset({"weibo_no_link_template", "weibo_link_not_apart", "tieba_risk_not_accepted"})
"""What a platform asks of its interface's users alone; a person who posts by hand need not care."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistedAdapter:
    """Hands a parcel to a person where it is theirs; whatever else is asked, the platform's own adapter answers."""

    own: Adapter
    now: Callable[[], datetime]

    @property
    def traits(self) -> Traits:
        return self.own.traits

    def check(self, rendition: Rendition) -> Sequence[Problem]:
        return self.own.check(rendition)

    async def publish(self, parcel: Parcel) -> Outcome:
        """Make no call for what a person posts, and wait for them."""
        if not parcel.is_by_hand:
            return await self.own.publish(parcel)
        now = self.now()
        return Submitted(ticket=Task(handed_at=now).ticket, look_again_at=now + LOOK_EVERY)

    async def follow_up(self, ticket: Ticket) -> Finding:
        if task_of(ticket) is not None:
            return Unknown(reason="task_has_no_number")
        return await self.own.follow_up(ticket)

    async def find(self, parcel: Parcel) -> Finding:
        """Look for the post on the account; what a person posted must carry our words too, not only our number."""
        found = await self.own.find(parcel)
        if not parcel.is_by_hand:
            return found
        if isinstance(found, Submitted):
            found = await self.own.follow_up(found.ticket)
            if not isinstance(found, Published | Gone | RateLimited):
                return Unknown(reason="task_in_review")
        if isinstance(found, Published) and not parcel.floor:  # of a floor, the platform's own adapter saw the words
            return await self._compared(found, parcel)
        return found

    async def retract(self, receipt: Receipt) -> Removal:
        return await self.own.retract(receipt)

    async def probe(self) -> Health:
        return await self.own.probe()

    async def measure_reach(self, receipts: Sequence[Receipt]) -> Mapping[str, Reach] | Unread:
        return await self.own.measure_reach(receipts)

    async def recent(self) -> Sequence[Sighting] | Unread:
        return await self.own.recent()

    async def _compared(self, found: Published, parcel: Parcel) -> Finding:
        recent = await self.own.recent()
        if isinstance(recent, RateLimited):
            return recent
        seen = () if isinstance(recent, Unknown) else recent
        texts = [item.text for item in seen if item.remote_id == found.receipt.remote_id]
        if not texts:
            return found
        rendition = parcel.rendition
        ours = (rendition.title, rendition.summary, rendition.text)
        if says_our_words(ours, texts[0], parcel.marker):
            return Published(receipt=found.receipt, has_seen_text=True)
        return Lookalike(remote_id=found.receipt.remote_id, url=found.receipt.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistedTimeSource(AssistedAdapter):
    """The same, where the platform's own adapter is a TimeSource."""

    ask_time: Callable[[], Awaitable[object]]


def assist(own: Adapter, now: Callable[[], datetime]) -> AssistedAdapter:
    """Return an adapter by which people can post; it is a TimeSource only where the platform's own adapter is one."""
    if isinstance(own, TimeSource):
        return AssistedTimeSource(own=own, now=now, ask_time=own.ask_time)
    return AssistedAdapter(own=own, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandJudge(AssistedAdapter):
    """Judges words for an account whose settings leave all posting to people."""

    def check(self, rendition: Rendition) -> Sequence[Problem]:
        return [problem for problem in self.own.check(rendition) if problem.code not in ONLY_FOR_CALLS]
