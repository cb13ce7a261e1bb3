"""The machine's clock is confirmed: by the kernel, by what platforms answer to an ordinary read, or by a person."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field

from publisher.contract import Adapter, TimeSource
from publisher.domain.account import Account, AccountId, LoginId
from publisher.domain.policy import MAX_COOLDOWN
from publisher.domain.results import RateLimited
from publisher.engine.adapter_call import call_adapter
from publisher.runtime.clock import ClockTrust
from publisher.runtime.logs import log
from publisher.store.monitor.login_health import LoginHealthStore
from publisher.store.plan.actions import OperatorActions

ACCOUNTS_PER_POLL = 5
"""Platforms, or logins of them, that are asked in one go: what they reply says what time it is there."""
REPLY_WAIT_SECONDS = 1.0
"""How long one check waits for a reply that confirms the clock."""
FAST_POLL_SECONDS, SLOW_POLL_SECONDS = 2.0, 30.0
"""How often they are asked while the clock is in doubt: at first, and after so many times."""
FAST_POLL_COUNT = 10


@dataclass(slots=True, kw_only=True)
class ClockCheck:
    """Asks those who know the time, for as long as this process's wall clock is not confirmed."""

    login_health: LoginHealthStore
    operator_actions: OperatorActions
    adapters: Mapping[AccountId, Adapter]
    _running_polls: set[asyncio.Task[None]] = field(default_factory=set)
    _accounts: list[Account] = field(default_factory=list)
    _polled_trust: ClockTrust | None = None
    _poll_count: int = 0
    _next_poll_at: float = 0.0

    async def confirm(self) -> bool:
        """Return whether the clock is confirmed; where it is not, ask, and wait a moment for an answer."""
        runtime = self.operator_actions.store.runtime
        if runtime.is_clock_confirmed():
            return True
        runtime.confirm_from_kernel()
        if not runtime.is_clock_confirmed():
            await self._poll_platforms()
            await self._apply_person_confirmation()
            await self._wait_for_confirmation()
        return runtime.is_clock_confirmed()

    async def stop(self) -> None:
        """Give up the reads that are under way."""
        for read in self._running_polls:
            read.cancel()
        await asyncio.gather(*self._running_polls, return_exceptions=True)

    async def _wait_for_confirmation(self) -> None:
        """Wait until a reply has confirmed the clock, or all reads are over, or for a moment."""
        confirmed = asyncio.create_task(self.operator_actions.store.runtime.clock_confirmed.wait())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REPLY_WAIT_SECONDS):
                while self._running_polls and not confirmed.done():
                    await asyncio.wait([confirmed, *self._running_polls], return_when=asyncio.FIRST_COMPLETED)
        confirmed.cancel()

    async def _apply_person_confirmation(self) -> None:
        """Take a person's word, if it was given after the doubt had begun."""
        runtime = self.operator_actions.store.runtime
        reading = await self.operator_actions.confirmed_clock_reading()
        if (
            reading is not None
            and runtime.clock_trust.changed_at_seconds <= reading.monotonic_seconds <= runtime.monotonic()
        ):
            runtime.confirm_clock(reading)

    async def _poll_platforms(self) -> None:
        """Begin to ask some, if it is time: any of them may answer."""
        runtime = self.operator_actions.store.runtime
        if runtime.clock_trust is not self._polled_trust:
            self._polled_trust, self._poll_count, self._next_poll_at = runtime.clock_trust, 0, runtime.monotonic()
            self._accounts = _spread_over_platforms(await self.login_health.readable_accounts())
        if runtime.monotonic() < self._next_poll_at:
            return
        self._poll_count += 1
        self._next_poll_at = runtime.monotonic() + (
            FAST_POLL_SECONDS if self._poll_count < FAST_POLL_COUNT else SLOW_POLL_SECONDS
        )
        rate_limited = await self.login_health.logins_in_cooldown()
        asked = [account for account in self._accounts if self._can_poll(account, rate_limited)][:ACCOUNTS_PER_POLL]
        self._accounts = [account for account in self._accounts if account not in asked] + asked
        for account in asked:
            read = asyncio.create_task(self._poll_account(account))
            self._running_polls.add(read)
            read.add_done_callback(self._running_polls.discard)

    def _can_poll(self, account: Account, rate_limited: frozenset[LoginId]) -> bool:
        """Return whether asking leaves a login at rest that its platform has limited."""
        return account.login not in rate_limited or isinstance(self.adapters[account.id], TimeSource)

    async def _poll_account(self, account: Account) -> None:
        """Ask one account's platform; whatever it replies, the transport hears the date of it."""
        store, timing = self.login_health.store, self.login_health.store.timing(account.id)
        adapter = self.adapters[account.id]
        asking: Awaitable[object] = adapter.fetch_time() if isinstance(adapter, TimeSource) else adapter.check_health()
        answer = await call_adapter(asking, timing.lease_timeout)
        if isinstance(answer, RateLimited):
            cooldown = answer.until - store.runtime.now() if answer.until else timing.first_check_after
            store.record_undated_limit(account.login, min(cooldown, MAX_COOLDOWN), is_for_reads=True)
        is_confirmed = self.operator_actions.store.runtime.is_clock_confirmed()
        log.info("clock_checked", account=account.id, confirmed=is_confirmed, reason=getattr(answer, "reason", None))


def _spread_over_platforms(accounts: Sequence[Account]) -> list[Account]:
    """Put one account of each platform, or site of its own, before the second ones: one that answers is enough."""
    met: Counter[str] = Counter()
    ranks = []
    for account in accounts:
        place = account.base_url or account.platform
        ranks.append(met[place])
        met[place] += 1
    return [accounts[number] for number in sorted(range(len(accounts)), key=ranks.__getitem__)]
