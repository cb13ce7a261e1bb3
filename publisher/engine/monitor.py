"""What is live is read again: whether it still stands, what else is there, how far it came; and logins are probed."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from publisher.contract import Adapter
from publisher.domain.account import Account, AccountId
from publisher.domain.delivery import Delivery
from publisher.domain.results import RateLimited, ReadbackResult, Ticket, Unknown, result_code
from publisher.engine.adapter_call import call_adapter
from publisher.runtime.logs import log
from publisher.store.deliveries.outbox import PendingReadback
from publisher.store.monitor.login_health import LoginHealthStore
from publisher.store.monitor.monitor import MAX_CHECKED, Monitoring


async def monitor_due(monitoring: Monitoring, adapters: Mapping[AccountId, Adapter], limit: int) -> int:
    """Read the accounts whose turn has come. Returns how many."""

    async def monitor(account: AccountId) -> None:
        read = _monitor_account(account, monitoring, adapters[account])
        await monitoring.jobs.run("monitor_account", read, event="monitor_failed", account=account)

    return len(await asyncio.gather(*map(monitor, await monitoring.claim_due_accounts(limit))))


async def _monitor_account(account: AccountId, monitoring: Monitoring, adapter: Adapter) -> None:
    timeout = monitoring.store.timing(account).lease_timeout
    observed = await call_adapter(adapter.list_recent(), timeout)
    if isinstance(observed, RateLimited):
        await _postpone_reads(account, observed, monitoring)
        return
    if isinstance(observed, Unknown):
        log.info("monitor_read_failed", account=account, reason=observed.reason)
    else:
        for unknown in await monitoring.compare_list(account, observed):
            await _recheck(unknown, monitoring, adapter)
    await _read_metrics(await monitoring.deliveries_to_measure(account), monitoring, adapter)


async def _postpone_reads(account: AccountId, limit: RateLimited, monitoring: Monitoring) -> None:
    """Keep to a limit: what is left to read of the account waits for its next turn."""
    await monitoring.record_rate_limit(account, limit)
    log.info("monitor_rate_limited", account=account, code=limit.code)


async def _recheck(unknown: PendingReadback, monitoring: Monitoring, adapter: Adapter) -> None:
    """Look for a live post that its account's list does not show; one look alone proves nothing."""
    if unknown.request is None:
        return
    checked_at = monitoring.store.runtime.now()
    finding = await call_adapter(
        adapter.find_post(unknown.request), monitoring.store.timing(unknown.delivery.account).lease_timeout
    )
    await _record_missing(unknown, finding, checked_at, monitoring)


async def _read_metrics(published: Sequence[Delivery], monitoring: Monitoring, adapter: Adapter) -> None:
    receipts = {item.id: item.receipt for item in published if item.receipt is not None}
    if not receipts:
        return
    timeout = monitoring.store.timing(published[0].account).lease_timeout
    reach = await call_adapter(adapter.read_metrics(list(receipts.values())), timeout)
    if isinstance(reach, RateLimited):
        await _postpone_reads(published[0].account, reach, monitoring)
        return
    if isinstance(reach, Unknown):
        log.info("metrics_read_failed", account=published[0].account, reason=reach.reason)
        return
    measured = {item: reach[receipt.remote_id] for item, receipt in receipts.items() if receipt.remote_id in reach}
    await monitoring.record_metrics(measured)
    if monitoring.store.policies[published[0].account].capabilities.has_deletions_in_metrics:
        missing = [item for item in published if item.id in receipts and item.id not in measured]
        for delivery in missing[:MAX_CHECKED]:
            await _check_by_id(delivery, monitoring, adapter)


async def _check_by_id(delivery: Delivery, monitoring: Monitoring, adapter: Adapter) -> None:
    """Ask for a live post by its own number: the figures left it out, and the list may not reach back to it."""
    if delivery.receipt is None or delivery.receipt.is_manually_confirmed:
        return
    ticket, checked_at = Ticket(payload=delivery.receipt.remote_id), monitoring.store.runtime.now()
    finding = await call_adapter(adapter.check_ticket(ticket), monitoring.store.timing(delivery.account).lease_timeout)
    await _record_missing(PendingReadback(delivery=delivery, request=None), finding, checked_at, monitoring)


async def _record_missing(
    unknown: PendingReadback, finding: ReadbackResult, checked_at: datetime, monitoring: Monitoring
) -> None:
    after = await monitoring.record_missing(unknown, finding, checked_at)
    log.info(
        "post_missing", post=after.key.post, account=after.account, finding=result_code(finding), state=after.state
    )


async def check_logins_due(login_health: LoginHealthStore, adapters: Mapping[AccountId, Adapter], limit: int) -> int:
    """Ask the logins whose turn has come whether they still work. Returns how many."""

    async def check(account: Account) -> None:
        work = _check_login(account, login_health, adapters[account.id])
        await login_health.jobs.run("check_login", work, event="login_check_failed", account=account.id)

    return len(await asyncio.gather(*map(check, await login_health.claim_due_probes(limit))))


async def _check_login(account: Account, login_health: LoginHealthStore, adapter: Adapter) -> None:
    health = await call_adapter(adapter.check_health(), login_health.store.timing(account.id).lease_timeout)
    await login_health.record_probe(account, health)
    log.info("login_checked", account=account.id, health=result_code(health))
