"""Confirm the machine's clock: by the kernel, by platforms' reply dates, or by a person.

The dates come from replies to an ordinary read.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from publisher.contract import Adapter, TimeSource
from publisher.domain.account import MAX_COOLDOWN, Account, AccountId, LoginId
from publisher.domain.results import RateLimited
from publisher.engine.calls import call_adapter
from publisher.runtime.clock import ClockTrust
from publisher.runtime.logs import log
from publisher.store.store import Store

ACCOUNTS_PER_POLL = 5
"""Accounts that are read at once. The date of a reply gives the time of the platform."""
ACCOUNTS_OF_A_SITE = 3
"""Accounts of one site that are read before a person may confirm the clock.

One may lack its secret.
"""
REPLY_WAIT_SECONDS = 1.0
"""How long one check waits for a reply that confirms the clock."""
FAST_POLL_SECONDS, SLOW_POLL_SECONDS = 2.0, 30.0
"""Intervals of reads while the clock is unconfirmed: the first FAST_POLL_COUNT reads, and later."""
FAST_POLL_COUNT = 10


@dataclass(slots=True, kw_only=True)
class ClockCheck:
    """Asks for the time until this process's wall clock is confirmed."""

    store: Store
    adapters: Mapping[AccountId, Adapter]
    _running_polls: set[asyncio.Task[None]] = field(default_factory=set)
    _accounts: list[Account] = field(default_factory=list)
    _polled_trust: ClockTrust | None = None
    _poll_count: int = 0
    _next_poll_at: float = 0.0

    async def confirm(self) -> bool:
        """Return True if the clock is confirmed; else ask kernel, platforms and store, and wait.

        The wait is brief. While only a person has confirmed the clock, kernel and platforms are
        asked all the same.
        """
        runtime = self.store.runtime
        if runtime.is_clock_proven():
            return True
        runtime.confirm_from_kernel()
        if runtime.is_clock_proven():
            return True
        await self._poll_platforms()
        if runtime.is_clock_confirmed():
            return True
        reading = await self.store.actions.confirmed_clock_reading()
        # a person's confirmation from before the jump does not count
        since = runtime.clock_trust.changed_at_seconds
        if (
            reading is not None
            and since <= reading.monotonic_seconds <= runtime.monotonic()
        ):
            runtime.accept_confirmation(reading)
        confirmed = asyncio.create_task(runtime.clock_confirmed.wait())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REPLY_WAIT_SECONDS):
                while self._running_polls and not confirmed.done():
                    await asyncio.wait(
                        [confirmed, *self._running_polls],
                        return_when=asyncio.FIRST_COMPLETED,
                    )
        confirmed.cancel()
        return runtime.is_clock_confirmed()

    async def ask_every_site(self) -> None:
        """Ask a few accounts of each platform or receiver for the time, until one replies.

        They are asked one after the other.
        """
        runtime, by_site = self.store.runtime, await self._accounts_by_site()
        rate_limited = await self.store.login_health.logins_in_cooldown()

        async def ask_one_site(accounts: Sequence[Account]) -> None:
            for account in [
                one for one in accounts if self._may_ask(one, rate_limited)
            ][:ACCOUNTS_OF_A_SITE]:
                await self._poll_account(account)
                if runtime.is_clock_proven() or runtime.server_clock_offset is not None:
                    return

        await asyncio.gather(*map(ask_one_site, by_site.values()))
        runtime.confirm_from_kernel()

    async def stop(self) -> None:
        """Cancel the reads that are running."""
        for poll in self._running_polls:
            poll.cancel()
        await asyncio.gather(*self._running_polls, return_exceptions=True)

    async def _poll_platforms(self) -> None:
        """Start to read some accounts if it is time.

        A login in cooldown is read only if its adapter has a clock.
        """
        runtime = self.store.runtime
        if runtime.clock_trust is not self._polled_trust:
            self._polled_trust, self._poll_count, self._next_poll_at = (
                runtime.clock_trust,
                0,
                runtime.monotonic(),
            )
            by_site = await self._accounts_by_site()
            # One account of each site before the second ones: one reply is enough.
            self._accounts = [
                account
                for turn in zip_longest(*by_site.values())
                for account in turn
                if account
            ]
        if runtime.monotonic() < self._next_poll_at:
            return
        self._poll_count += 1
        interval = (
            FAST_POLL_SECONDS
            if self._poll_count < FAST_POLL_COUNT
            else SLOW_POLL_SECONDS
        )
        self._next_poll_at = runtime.monotonic() + interval
        rate_limited = await self.store.login_health.logins_in_cooldown()
        asked = [
            account
            for account in self._accounts
            if self._may_ask(account, rate_limited)
        ][:ACCOUNTS_PER_POLL]
        self._accounts = [
            account for account in self._accounts if account not in asked
        ] + asked
        for account in asked:
            poll = asyncio.create_task(self._poll_account(account))
            self._running_polls.add(poll)
            poll.add_done_callback(self._running_polls.discard)

    async def _accounts_by_site(self) -> Mapping[str, Sequence[Account]]:
        by_site = defaultdict(list)
        for account in await self.store.login_health.readable_accounts():
            by_site[account.base_url or account.platform].append(account)
        return by_site

    def _may_ask(self, account: Account, rate_limited: Collection[LoginId]) -> bool:
        return account.login not in rate_limited or isinstance(
            self.adapters[account.id], TimeSource
        )

    async def _poll_account(self, account: Account) -> None:
        """Make one read on an account's platform.

        The transport takes the date from any reply.
        """
        store, timing = self.store, self.store.timing(account.id)
        adapter = self.adapters[account.id]
        call: Awaitable[object] = (
            adapter.fetch_time()
            if isinstance(adapter, TimeSource)
            else adapter.check_health()
        )
        result = await call_adapter(call, timing.lease_timeout)
        if isinstance(result, RateLimited):
            cooldown = (
                result.until - store.runtime.now()
                if result.until
                else timing.first_check_after
            )
            store.record_undated_limit(
                account.login, min(cooldown, MAX_COOLDOWN), is_for_reads=True
            )
        is_confirmed = store.runtime.is_clock_confirmed()
        log.info(
            "clock_checked",
            account=account.id,
            confirmed=is_confirmed,
            reason=getattr(result, "reason", None),
        )
