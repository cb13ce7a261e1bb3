"""Orders that end one cause at many accounts: their pauses, and what is held for it."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from publisher.domain.account import Account, AccountId
from publisher.domain.delivery import MAINTENANCE, SENDER, Actor, Delivery, State
from publisher.domain.errors import RefusedError
from publisher.domain.post import find_family
from publisher.domain.results import REFUSED_HOLD_REASONS
from publisher.engine.decisions import Resolution, resolve_delivery
from publisher.store.db.filters import SCOPE_ALL
from publisher.store.monitor.login_health import PROBER
from publisher.store.queries.queries import HELD_WITH_ACCOUNT, Pause
from publisher.store.store import Store

SYSTEM_NAMES = frozenset({MAINTENANCE.name, PROBER.name, SENDER.name})
"""The names under which publisher itself pauses an account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseChoice:
    """The pauses of a platform's accounts that one order ends.

    With several `reasons` none is chosen until a person names one.
    """

    chosen: Sequence[Pause]
    reasons: Mapping[str, int]
    """The reasons of publisher's own pauses, each with the number of accounts."""


@dataclass(slots=True, kw_only=True)
class ResendResult:
    """The deliveries that an order sends again, and those that it leaves to a person."""

    resent: list[Delivery] = field(default_factory=list)
    left: list[Delivery] = field(default_factory=list)


def choose_pauses(
    pauses: Sequence[Pause], accounts: Collection[AccountId], reason: str | None
) -> PauseChoice:
    """Return the pauses by publisher of these accounts that have one reason.

    It is the given reason, or the only one. A pause by a person is always left.
    """
    scopes = {f"account:{account}" for account in accounts}
    own = [
        pause for pause in pauses if pause.scope in scopes and pause.by in SYSTEM_NAMES
    ]
    reasons = Counter(pause.reason for pause in own)
    wanted = reason or (next(iter(reasons)) if len(reasons) == 1 else None)
    chosen = [pause for pause in own if pause.reason == wanted]
    return PauseChoice(chosen=chosen, reasons=reasons)


async def resume_accounts(
    store: Store,
    choice: PauseChoice,
    accounts: Mapping[AccountId, Account],
    by: Actor,
) -> Sequence[AccountId]:
    """End the chosen pauses, have the logins checked at once, and return the accounts.

    An account that was paused for something else meanwhile is left.
    """
    resumed = []
    for pause in choice.chosen:
        account = AccountId(pause.scope.removeprefix("account:"))
        try:
            await store.actions.resume(pause.scope, by, paused_at=pause.at)
        except RefusedError:
            continue
        resumed.append(account)
        if known := accounts.get(account):
            await store.login_health.request_probe(known)
    return resumed


async def find_held(
    store: Store, accounts: Collection[AccountId]
) -> Sequence[Delivery]:
    """Return the deliveries of these accounts that wait for a person."""
    wanted = set(accounts)
    held = await store.queries.deliveries(states=[State.HELD]) if wanted else ()
    return [delivery for delivery in held if delivery.account in wanted]


def is_held_with_account(delivery: Delivery) -> bool:
    """Return True if a delivery is held for a reason that also pauses its account."""
    return (
        f"held.{delivery.reason}" in HELD_WITH_ACCOUNT
        or delivery.reason in REFUSED_HOLD_REASONS
    )


async def split_held(
    store: Store, held: Sequence[Delivery]
) -> tuple[list[Delivery], list[Delivery]]:
    """Return the held deliveries that certainly created nothing, and the others."""
    undecided = await store.queries.find_undecided([item.id for item in held])
    refused, others = list[Delivery](), list[Delivery]()
    for delivery in held:
        is_refused = delivery.reason in REFUSED_HOLD_REASONS or not delivery.attempts
        is_open = delivery.id in undecided or delivery.parts_done
        (refused if is_refused and not is_open else others).append(delivery)
    return refused, others


async def find_blocking(
    store: Store, scope: str, accounts: Collection[AccountId] | None
) -> Sequence[Pause]:
    """Return the pauses that still cover accounts of a scope; all of them for `all`."""
    pauses = await store.queries.pauses()
    if accounts is None:
        return pauses
    kind, _, name = scope.partition(":")
    platforms = {
        store.policies[account].account.platform
        for account in accounts
        if account in store.policies
    }
    covering = {SCOPE_ALL, scope, *(f"account:{account}" for account in accounts)}
    covering |= {f"platform:{platform}" for platform in platforms}
    if kind == "post":
        covering.add(f"post:{find_family(name)}")
    return [pause for pause in pauses if pause.scope in covering]


async def resend_held(
    store: Store, held: Sequence[Delivery], by: Actor, reason: str
) -> ResendResult:
    """Send held deliveries again where nothing can have been created.

    Where the outcome of a call is open, a look at the account is needed, or a part is published, a
    person decides singly.
    """
    refused, left = await split_held(store, held)
    result = ResendResult(left=left)
    for delivery in refused:
        try:
            after = await resolve_delivery(
                store,
                delivery,
                Resolution.RESEND,
                by=by,
                reason=reason,
                version=delivery.version,
            )
        except RefusedError:
            result.left.append(delivery)
        else:
            result.resent.append(after)
    return result
