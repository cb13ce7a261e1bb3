"""Send due deliveries: claim, record the intent, call once or assign a task, record the outcome.

The task is a manual one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

from publisher.contract import Adapter
from publisher.domain.account import AccountId
from publisher.domain.delivery import Lease
from publisher.domain.post import SendRequest
from publisher.domain.results import (
    MANUAL_CHECK_INTERVAL,
    ManualTask,
    NotSent,
    Outcome,
    Submitted,
    Ticket,
    Unknown,
    result_code,
)
from publisher.engine.calls import (
    ABORT_REASONS,
    ADAPTER_FAILED,
    call_adapter,
    run_bounded,
)
from publisher.engine.credentials import CredentialCheck, Refusal
from publisher.runtime.logs import log
from publisher.store.deliveries.intents import PREPARE_AHEAD, Declined
from publisher.store.deliveries.outbox import Outbox
from publisher.store.store import Store

CLAIM_BATCH_SIZE = 100
"""How many deliveries are claimed in one transaction at most.

The first are sent while others are still claimed.
"""
INTENT_RECHECK_AFTER = timedelta(milliseconds=500)
"""How long after its intent a call may start without another check: no stop takes effect sooner."""


async def send_due(
    store: Store,
    adapters: Mapping[AccountId, Adapter],
    limit: int,
    stop_requested: asyncio.Event,
    credentials: CredentialCheck | None = None,
) -> int:
    """Send due deliveries, up to `limit` at once, until none is left or a stop. Return how many.

    Calls that have begun are always awaited: only their own timeout ends them. If an outcome could
    not be recorded, the intent stays, and the outcome becomes unknown when the lease expires. The
    others are not affected. Raises ExceptionGroup of the last failure once all else is done.
    """

    async def take(room: int) -> Sequence[Lease]:
        return () if stop_requested.is_set() else await store.outbox.claim(room)

    async def work(lease: Lease) -> None:
        await send_delivery(lease, store, adapters, stop_requested, credentials)

    return await run_bounded(take, work, limit, "send_failed", CLAIM_BATCH_SIZE)


async def send_delivery(
    lease: Lease,
    store: Store,
    adapters: Mapping[AccountId, Adapter],
    stop_requested: asyncio.Event,
    credentials: CredentialCheck | None = None,
) -> None:
    """Send one claimed delivery with a secret that is known to be the account's own."""
    if credentials is None:
        await _send_delivery(lease, store, adapters, stop_requested, None)
        return
    async with credentials.verified(lease.account) as refusal:
        await _send_delivery(lease, store, adapters, stop_requested, refusal)


async def _send_delivery(
    lease: Lease,
    store: Store,
    adapters: Mapping[AccountId, Adapter],
    stop_requested: asyncio.Event,
    refusal: Refusal | None,
) -> None:
    """Wait until a delivery is due, record the intent, call once, and record the outcome.

    There is no call if the secret is refused.
    """
    # The clock may have been set back since the claim: never wait longer than claims are made
    # ahead.
    await store.runtime.sleep_until(
        min(lease.due_at, store.runtime.now() + PREPARE_AHEAD)
    )
    if stop_requested.is_set():
        await store.outbox.release(lease)
        return
    match await store.outbox.record_intent(lease):
        case Declined(guard=guard):
            log.info(
                "attempt_declined",
                delivery=lease.delivery,
                account=lease.account,
                guard=guard,
            )
        case SendRequest() as request:
            if request.is_manual:  # a person posts it: no call is made
                now = store.runtime.now()
                ticket = Ticket(manual_task=ManualTask(assigned_at=now))
                outcome: Outcome = Submitted(
                    ticket=ticket, check_again_at=now + MANUAL_CHECK_INTERVAL
                )
            else:
                outcome = refusal or await make_call(
                    request, store, adapters[lease.account]
                )
            after = await store.outbox.record_outcome(lease, outcome)
            log.info(
                "attempt_finished",
                post=after.key.post,
                account=after.account,
                attempt=request.attempt,
                outcome=result_code(outcome),
                state=after.state.value,
                reason=after.reason,
                is_manual=request.is_manual,
            )


async def make_call(request: SendRequest, store: Store, adapter: Adapter) -> Outcome:
    """Make the one call of an attempt.

    An adapter that fails, or takes too long, before its creating call has sent nothing: the call
    record proves it. An adapter that claims after it that nothing was sent is wrong: nobody knows
    the effect of the call.
    """
    outcome = await call_adapter(
        adapter.publish(request), store.timing(request.account).lease_timeout
    )
    match outcome:
        case Unknown(reason=reason) if reason in ABORT_REASONS:
            may_have_started = store.call_record.may_have_started(
                request.delivery, request.fencing_token
            )
            return outcome if may_have_started else NotSent(reason=reason)
        case NotSent() if store.call_record.has_started(
            request.delivery, request.fencing_token
        ):
            return Unknown(reason=ADAPTER_FAILED)
        case _:
            return outcome


async def may_start_call(outbox: Outbox, request: SendRequest) -> bool:
    """Check again if a call may start once its intent is so old that people may have stopped it.

    After the clock was set back the age is not known, so this checks then too.
    """
    age = outbox.runtime.now() - request.intended_at
    return timedelta(0) <= age < INTENT_RECHECK_AFTER or await outbox.may_still_send(
        request
    )
