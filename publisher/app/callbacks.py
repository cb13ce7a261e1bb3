"""What is needed to understand the messages of an account's platform, and to act upon them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from publisher.app.adapters import load_factories
from publisher.app.application import open_vault
from publisher.config import Settings
from publisher.contract import CallbackEvent, CallbackRequest, PlatformCallbacks
from publisher.domain.account import Account, AccountId, Mode
from publisher.domain.errors import Problem
from publisher.secrets import SecretError, read_secret
from publisher.store.deliveries.outbox import Outbox
from publisher.store.monitor.adapter_state import StoredAdapterState

SECRET_CACHE_SECONDS = 1.0
"""For which a secret that was read serves, so that forged messages do not keep us reading it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackEndpoint:
    """Understands what one account's platform says of it."""

    account: Account
    callbacks: PlatformCallbacks
    secret: Mapping[str, str] = field(repr=False)

    def verify(self, query: Mapping[str, str], now: datetime) -> str | Problem:
        return self.callbacks.verify(self.account, self.secret, query, now)

    def verify_endpoint(self, callback: CallbackRequest, now: datetime) -> str | Problem:
        return self.callbacks.verify_endpoint(self.account, self.secret, callback, now)

    def parse(self, callback: CallbackRequest, now: datetime) -> CallbackEvent | Problem | None:
        return self.callbacks.parse(self.account, self.secret, callback, now)


def make_endpoint_finder(
    settings: Settings, clock: Callable[[], float] = time.monotonic
) -> Callable[[str, str], CallbackEndpoint | None]:
    """Give a function that finds the ear of a platform's account, by names that anybody may have called.

    None for an account that does not exist, does not speak, whose platform tells nothing, or whose secret holds
    nothing to know its platform by. The secret is read again when SECRET_SECONDS are over, as `clock` counts them.
    """
    accounts = {key: account for key, account in settings.accounts.items() if account.mode is not Mode.OFF}
    known = load_factories(frozenset(account.platform for account in accounts.values()))

    endpoints: dict[AccountId, tuple[float, CallbackEndpoint | None]] = {}

    def find(platform: str, name: str) -> CallbackEndpoint | None:
        account = accounts.get(AccountId(name))
        callbacks: PlatformCallbacks | None = (
            getattr(known.get(account.platform), "callbacks", None) if account else None
        )
        if account is None or callbacks is None or account.platform != platform:
            return None
        read_at, endpoint = endpoints.get(account.id, (-SECRET_CACHE_SECONDS, None))
        if clock() - read_at >= SECRET_CACHE_SECONDS:
            endpoint = read_endpoint(account, callbacks)
            endpoints[account.id] = clock(), endpoint
        return endpoint

    def read_endpoint(account: Account, callbacks: PlatformCallbacks) -> CallbackEndpoint | None:
        try:
            secret = read_secret(account.secret, secrets_dir=settings.secrets_dir, vault=open_vault(settings))
        except SecretError:
            return None
        return (
            CallbackEndpoint(account=account, callbacks=callbacks, secret=secret)
            if callbacks.is_configured(secret)
            else None
        )

    return find


async def check_now(outbox: Outbox, endpoint: CallbackEndpoint, event: CallbackEvent) -> int:
    """Let what a hint means be read now, with what the platform said of it at hand."""
    if event.reason:
        notes = StoredAdapterState(database=outbox.store.database, login=endpoint.account.login)
        await notes.set(f"said:{event.job_id}", event.reason)
    return await outbox.check_now(endpoint.account.id, partial(endpoint.callbacks.matches, event))
