"""What is live is read again: whether it still stands, what else is there, how far it came; and logins are probed."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from publisher.contract import Adapter
from publisher.domain.account import Account, AccountId
from publisher.domain.delivery import Delivery
from publisher.domain.outcome import Finding, RateLimited, Ticket, Unknown, code_of
from publisher.guard import guarded
from publisher.store.checkups import Checkups
from publisher.store.outbox import Doubt
from publisher.store.watches import MOST_ASKED, Watches
from publisher.telemetry import log


async def watch_due(watches: Watches, adapters: Mapping[AccountId, Adapter], most: int) -> int:
    """Read the accounts whose turn has come. Returns how many."""

    async def watch(account: AccountId) -> None:
        read = _watch(account, watches, adapters[account])
        await watches.jobs.run("watch_account", read, event="watch_failed", account=account)

    return len(await asyncio.gather(*map(watch, await watches.take(most))))


async def _watch(account: AccountId, watches: Watches, adapter: Adapter) -> None:
    most = watches.books.patience(account).lease_timeout
    seen = await guarded(adapter.recent(), most)
    if isinstance(seen, RateLimited):
        await _keep_back(account, seen, watches)
        return
    if isinstance(seen, Unknown):
        log.info("watch_unreadable", account=account, reason=seen.reason)
    else:
        for doubt in await watches.compare(account, seen):
            await _look_again(doubt, watches, adapter)
    await _measure(await watches.worth_reading(account), watches, adapter)


async def _keep_back(account: AccountId, limit: RateLimited, watches: Watches) -> None:
    """Keep to a limit: what is left to read of the account waits for its next turn."""
    await watches.keep_back(account, limit)
    log.info("watch_rate_limited", account=account, code=limit.code)


async def _look_again(doubt: Doubt, watches: Watches, adapter: Adapter) -> None:
    """Look for a live post that its account's list does not show; one look alone proves nothing."""
    if doubt.parcel is None:
        return
    asked_at = watches.books.world.now()
    finding = await guarded(adapter.find(doubt.parcel), watches.books.patience(doubt.delivery.account).lease_timeout)
    await _conclude(doubt, finding, asked_at, watches)


async def _measure(live: Sequence[Delivery], watches: Watches, adapter: Adapter) -> None:
    receipts = {item.id: item.receipt for item in live if item.receipt is not None}
    if not receipts:
        return
    most = watches.books.patience(live[0].account).lease_timeout
    reach = await guarded(adapter.measure_reach(list(receipts.values())), most)
    if isinstance(reach, RateLimited):
        await _keep_back(live[0].account, reach, watches)
        return
    if isinstance(reach, Unknown):
        log.info("reach_unreadable", account=live[0].account, reason=reach.reason)
        return
    told = {item: reach[receipt.remote_id] for item, receipt in receipts.items() if receipt.remote_id in reach}
    await watches.write_reach(told)
    if watches.books.terms[live[0].account].traits.counts_show_removals:
        left_out = [item for item in live if item.id in receipts and item.id not in told]
        for delivery in left_out[:MOST_ASKED]:
            await _ask_for(delivery, watches, adapter)


async def _ask_for(delivery: Delivery, watches: Watches, adapter: Adapter) -> None:
    """Ask for a live post by its own number: the figures left it out, and the list may not reach back to it."""
    if delivery.receipt is None or delivery.receipt.is_by_word:
        return
    ticket, asked_at = Ticket(number=delivery.receipt.remote_id), watches.books.world.now()
    finding = await guarded(adapter.follow_up(ticket), watches.books.patience(delivery.account).lease_timeout)
    await _conclude(Doubt(delivery=delivery, parcel=None), finding, asked_at, watches)


async def _conclude(doubt: Doubt, finding: Finding, asked_at: datetime, watches: Watches) -> None:
    after = await watches.confirm_missing(doubt, finding, asked_at)
    log.info("missed", post=after.key.post, account=after.account, finding=code_of(finding), state=after.state)


async def probe_due(checkups: Checkups, adapters: Mapping[AccountId, Adapter], most: int) -> int:
    """Ask the logins whose turn has come whether they still work. Returns how many."""

    async def probe(account: Account) -> None:
        work = _probe(account, checkups, adapters[account.id])
        await checkups.jobs.run("probe_account", work, event="probe_failed", account=account.id)

    return len(await asyncio.gather(*map(probe, await checkups.take(most))))


async def _probe(account: Account, checkups: Checkups, adapter: Adapter) -> None:
    health = await guarded(adapter.probe(), checkups.books.patience(account.id).lease_timeout)
    await checkups.write(account, health)
    log.info("probed", account=account.id, health=code_of(health))
