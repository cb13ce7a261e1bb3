"""Callback endpoints: understand a platform's messages about an account, and act on them."""

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
"""How long a secret is cached, so that forged messages do not make us read it every time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackEndpoint:
    """One account, its platform's callbacks and its secret."""

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
    """Return a function that finds the endpoint of an account by platform and name, which anybody may send.

    It returns None for an account that does not exist or is off, whose platform sends no callbacks, or whose secret
    has nothing to verify them with. The secret is read again after SECRET_CACHE_SECONDS, measured by `clock`.
    """
    accounts = {key: account for key, account in settings.accounts.items() if account.mode is not Mode.OFF}
    known = load_factories(accounts.values())
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
        if not callbacks.is_configured(secret):
            return None
        return CallbackEndpoint(account=account, callbacks=callbacks, secret=secret)

    return find


async def check_now(outbox: Outbox, endpoint: CallbackEndpoint, event: CallbackEvent) -> int:
    """Schedule the check of the delivery an event refers to for now, and save the reason that the platform gave."""
    if event.reason:
        state = StoredAdapterState(database=outbox.database, login=endpoint.account.login)
        await state.set(f"said:{event.job_id}", event.reason)
    return await outbox.check_now(endpoint.account.id, partial(endpoint.callbacks.matches, event))
