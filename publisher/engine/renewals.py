"""What stood still for a refused login goes on by itself once a new secret works."""

from contextlib import suppress

from publisher.domain.account import Account, AccountId
from publisher.domain.delivery import SignInRenewed
from publisher.domain.errors import IllegalTransitionError, RefusedError
from publisher.domain.results import HoldReason
from publisher.engine.recovery_orders import find_held, split_held
from publisher.runtime.logs import log
from publisher.store.monitor.login_health import PROBER
from publisher.store.store import Store


async def go_on_with_new_secret(store: Store, account: Account) -> None:
    """End publisher's own pauses of a login for its refused secret, and try again what they hold.

    Pauses by people stay, and so does what may have created a post, or has expired: that is left
    to a person, as all of it is if this is interrupted.
    """
    resumed: list[AccountId] = []
    for pause in await store.login_health.read_renewable_pauses(account.login):
        with suppress(RefusedError):  # it has changed meanwhile
            await store.actions.resume(pause.scope, PROBER, pause.at)
            resumed.append(AccountId(pause.scope.removeprefix("account:")))
    now = store.runtime.now()
    held = [
        delivery
        for delivery in await find_held(store, resumed)
        if delivery.reason == HoldReason.AUTH and now < delivery.expires_at
    ]
    refused, _left = await split_held(store, held)
    for delivery in refused:
        with suppress(RefusedError, IllegalTransitionError):
            await store.actions.apply_event(
                delivery.id, SignInRenewed(), PROBER, delivery.version
            )
    if resumed:
        log.info("sign_in_renewed", accounts=resumed, again=len(refused))
