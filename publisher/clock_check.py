"""The machine's clock is confirmed: by the kernel, by what platforms answer to an ordinary read, or by a person."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field

from publisher.contract import Adapter, TimeSource
from publisher.domain.account import Account, AccountId, LoginId
from publisher.domain.outcome import RateLimited
from publisher.domain.retry_after import LONGEST_REST
from publisher.guard import guarded
from publisher.store.checkups import Checkups
from publisher.store.orders import Orders
from publisher.telemetry import log
from publisher.world import ClockTrust

ASKED_AT_ONCE = 5
"""Platforms, or logins of them, that are asked in one go: what they reply says what time it is there."""
ANSWER_SECONDS = 1.0
"""How long one check waits for a reply that confirms the clock."""
SOON_SECONDS, LATER_SECONDS = 2.0, 30.0
"""How often they are asked while the clock is in doubt: at first, and after so many times."""
SOON_READS = 10


@dataclass(slots=True, kw_only=True)
class ClockCheck:
    """Asks those who know the time, for as long as this process's wall clock is not confirmed."""

    checkups: Checkups
    orders: Orders
    adapters: Mapping[AccountId, Adapter]
    _reads: set[asyncio.Task[None]] = field(default_factory=set)
    _accounts: list[Account] = field(default_factory=list)
    _asked_for: ClockTrust | None = None
    _times: int = 0
    _next_at: float = 0.0

    async def confirm(self) -> bool:
        """Return whether the clock is confirmed; where it is not, ask, and wait a moment for an answer."""
        world = self.orders.books.world
        if world.is_clock_confirmed():
            return True
        world.ask_kernel()
        if not world.is_clock_confirmed():
            await self._read()
            await self._hear_person()
            await self._wait()
        return world.is_clock_confirmed()

    async def stop(self) -> None:
        """Give up the reads that are under way."""
        for read in self._reads:
            read.cancel()
        await asyncio.gather(*self._reads, return_exceptions=True)

    async def _wait(self) -> None:
        """Wait until a reply has confirmed the clock, or all reads are over, or for a moment."""
        confirmed = asyncio.create_task(self.orders.books.world.confirmed.wait())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                while self._reads and not confirmed.done():
                    await asyncio.wait([confirmed, *self._reads], return_when=asyncio.FIRST_COMPLETED)
        confirmed.cancel()

    async def _hear_person(self) -> None:
        """Take a person's word, if it was given after the doubt had begun."""
        world = self.orders.books.world
        reading = await self.orders.clock_reading()
        if reading is not None and world.trust.since <= reading.ticks <= world.monotonic():
            world.confirm_clock(reading)

    async def _read(self) -> None:
        """Begin to ask some, if it is time: any of them may answer."""
        world = self.orders.books.world
        if world.trust is not self._asked_for:
            self._asked_for, self._times, self._next_at = world.trust, 0, world.monotonic()
            self._accounts = _places_first(await self.checkups.readable())
        if world.monotonic() < self._next_at:
            return
        self._times += 1
        self._next_at = world.monotonic() + (SOON_SECONDS if self._times < SOON_READS else LATER_SECONDS)
        resting = await self.checkups.resting()
        asked = [account for account in self._accounts if self._may_ask(account, resting)][:ASKED_AT_ONCE]
        self._accounts = [account for account in self._accounts if account not in asked] + asked
        for account in asked:
            read = asyncio.create_task(self._read_one(account))
            self._reads.add(read)
            read.add_done_callback(self._reads.discard)

    def _may_ask(self, account: Account, resting: frozenset[LoginId]) -> bool:
        """Return whether asking leaves a login at rest that its platform has limited."""
        return account.login not in resting or isinstance(self.adapters[account.id], TimeSource)

    async def _read_one(self, account: Account) -> None:
        """Ask one account's platform; whatever it replies, the transport hears the date of it."""
        books, patience = self.checkups.books, self.checkups.books.patience(account.id)
        adapter = self.adapters[account.id]
        asking: Awaitable[object] = adapter.ask_time() if isinstance(adapter, TimeSource) else adapter.probe()
        answer = await guarded(asking, patience.lease_timeout)
        if isinstance(answer, RateLimited):
            rest = answer.until - books.world.now() if answer.until else patience.first_check_after
            books.note_limit(account.login, min(rest, LONGEST_REST), is_for_reads=True)
        is_confirmed = self.orders.books.world.is_clock_confirmed()
        log.info("clock_asked", account=account.id, confirmed=is_confirmed, reason=getattr(answer, "reason", None))


def _places_first(accounts: Sequence[Account]) -> list[Account]:
    """Put one account of each platform, or site of its own, before the second ones: one that answers is enough."""
    met: Counter[str] = Counter()
    ranks = []
    for account in accounts:
        place = account.base_url or account.platform
        ranks.append(met[place])
        met[place] += 1
    return [accounts[number] for number in sorted(range(len(accounts)), key=ranks.__getitem__)]
