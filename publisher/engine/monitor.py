"""Monitor accounts: published posts, other posts, and reach; also check logins.

Monitoring finds out whether published posts are still there.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from publisher.contract import Adapter
from publisher.domain.account import Account, AccountId
from publisher.domain.delivery import Delivery
from publisher.domain.results import (
    RateLimited,
    ReadbackResult,
    Ticket,
    Unknown,
    result_code,
)
from publisher.engine.calls import call_adapter, find_post
from publisher.engine.credentials import CredentialCheck
from publisher.engine.renewals import go_on_with_new_secret
from publisher.runtime.logs import log
from publisher.store.deliveries.intents import PendingReadback
from publisher.store.monitor.monitor import MAX_CHECKED
from publisher.store.store import Store


async def monitor_due(
    store: Store, adapters: Mapping[AccountId, Adapter], limit: int
) -> int:
    """Read the accounts that are due. Return how many."""

    async def monitor(account: AccountId) -> None:
        read = partial(monitor_account, account, store, adapters[account])
        await store.monitoring.jobs.run(
            "monitor_account", read, event="monitor_failed", account=account
        )

    return len(
        await asyncio.gather(
            *map(monitor, await store.monitoring.claim_due_accounts(limit))
        )
    )


async def monitor_account(account: AccountId, store: Store, adapter: Adapter) -> None:
    """Compare an account's list with its expected posts, then read the due metrics."""
    timeout = store.timing(account).lease_timeout
    observed = await call_adapter(adapter.list_recent(), timeout)
    if isinstance(observed, RateLimited):
        await _postpone_reads(account, observed, store)
        return
    if isinstance(observed, Unknown):
        log.info("monitor_read_failed", account=account, reason=observed.reason)
    else:  # look for published posts that the list does not show; one look alone proves nothing
        for missing in await store.monitoring.compare_list(account, observed):
            if missing.request is not None:
                checked_at = store.runtime.now()
                result = await call_adapter(
                    find_post(adapter, missing.request), timeout
                )
                await _record_missing(missing, result, checked_at, store)
    await _read_metrics(
        await store.monitoring.deliveries_to_measure(account), store, adapter
    )


async def _postpone_reads(account: AccountId, limit: RateLimited, store: Store) -> None:
    """Record a rate limit: the rest of this account's reads wait until it is due again."""
    await store.monitoring.record_rate_limit(account, limit)
    log.info("monitor_rate_limited", account=account, code=limit.code)


async def _read_metrics(
    published: Sequence[Delivery], store: Store, adapter: Adapter
) -> None:
    """Read the reach of published posts. Check one by its own id if the metrics leave it out.

    The list may not reach back to it.
    """
    receipts = {item.id: item.receipt for item in published if item.receipt is not None}
    if not receipts:
        return
    account = published[0].account
    timeout = store.timing(account).lease_timeout
    reach = await call_adapter(adapter.read_metrics(list(receipts.values())), timeout)
    if isinstance(reach, RateLimited):
        await _postpone_reads(account, reach, store)
        return
    if isinstance(reach, Unknown):
        log.info("metrics_read_failed", account=account, reason=reach.reason)
        return
    measured = {
        item: reach[receipt.remote_id]
        for item, receipt in receipts.items()
        if receipt.remote_id in reach
    }
    if measured:
        await store.monitoring.record_metrics(measured)
    if not store.policies[account].capabilities.has_deletions_in_metrics:
        return
    missing = [
        item for item in published if item.id in receipts and item.id not in measured
    ]
    for delivery in missing[:MAX_CHECKED]:
        receipt = receipts[delivery.id]
        if not receipt.is_manually_confirmed:
            checked_at = store.runtime.now()
            result = await call_adapter(
                adapter.check_ticket(Ticket(payload=receipt.remote_id)), timeout
            )
            await _record_missing(
                PendingReadback(delivery=delivery, request=None),
                result,
                checked_at,
                store,
            )


async def _record_missing(
    missing: PendingReadback, result: ReadbackResult, checked_at: datetime, store: Store
) -> None:
    after = await store.monitoring.record_missing(missing, result, checked_at)
    log.info(
        "post_missing",
        post=after.key.post,
        account=after.account,
        finding=result_code(result),
        state=after.state,
    )


async def check_logins_due(
    store: Store,
    adapters: Mapping[AccountId, Adapter],
    limit: int,
    credentials: CredentialCheck | None = None,
) -> int:
    """Check the logins that are due, and so their secrets. Return how many."""
    checker = credentials or CredentialCheck(store=store, adapters=adapters)

    async def check(account: Account) -> None:
        found = await checker.check_secret(
            account.id, store.timing(account.id).lease_timeout
        )
        await store.login_health.record_probe(account, found.health)
        log.info("login_checked", account=account.id, health=result_code(found.health))
        if found.is_new:
            await go_on_with_new_secret(store, account)

    async def run(account: Account) -> None:
        await store.login_health.jobs.run(
            "check_login",
            partial(check, account),
            event="login_check_failed",
            account=account.id,
        )

    return len(
        await asyncio.gather(
            *map(run, await store.login_health.claim_due_probes(limit))
        )
    )
