"""What is needed to understand the messages of an account's platform, and to act upon them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from publisher.contract import Callback, Callbacks, Hint
from publisher.domain.account import Account, AccountId, Mode
from publisher.domain.problem import Problem
from publisher.settings import Settings
from publisher.store.notes import LoginNotes
from publisher.store.outbox import Outbox
from publisher.vault import SecretError, read_secret
from publisher.wiring.application import vault_of
from publisher.wiring.terms import factories

SECRET_SECONDS = 1.0
"""For which a secret that was read serves, so that forged messages do not keep us reading it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ear:
    """Understands what one account's platform says of it."""

    account: Account
    callbacks: Callbacks
    secret: Mapping[str, str] = field(repr=False)

    def verify(self, query: Mapping[str, str], now: datetime) -> str | Problem:
        return self.callbacks.verify(self.account, self.secret, query, now)

    def greet(self, callback: Callback, now: datetime) -> str | Problem:
        return self.callbacks.greet(self.account, self.secret, callback, now)

    def read(self, callback: Callback, now: datetime) -> Hint | Problem | None:
        return self.callbacks.read(self.account, self.secret, callback, now)


def ears_of(settings: Settings, clock: Callable[[], float] = time.monotonic) -> Callable[[str, str], Ear | None]:
    """Give a function that finds the ear of a platform's account, by names that anybody may have called.

    None for an account that does not exist, does not speak, whose platform tells nothing, or whose secret holds
    nothing to know its platform by. The secret is read again when SECRET_SECONDS are over, as `clock` counts them.
    """
    accounts = {key: account for key, account in settings.accounts.items() if account.mode is not Mode.OFF}
    known = factories(frozenset(account.platform for account in accounts.values()))

    ears: dict[AccountId, tuple[float, Ear | None]] = {}

    def find(platform: str, name: str) -> Ear | None:
        account = accounts.get(AccountId(name))
        callbacks: Callbacks | None = getattr(known.get(account.platform), "callbacks", None) if account else None
        if account is None or callbacks is None or account.platform != platform:
            return None
        read_at, ear = ears.get(account.id, (-SECRET_SECONDS, None))
        if clock() - read_at >= SECRET_SECONDS:
            ear = read_ear(account, callbacks)
            ears[account.id] = clock(), ear
        return ear

    def read_ear(account: Account, callbacks: Callbacks) -> Ear | None:
        try:
            secret = read_secret(account.secret, secrets_dir=settings.secrets_dir, vault=vault_of(settings))
        except SecretError:
            return None
        return Ear(account=account, callbacks=callbacks, secret=secret) if callbacks.is_expected(secret) else None

    return find


async def hasten(outbox: Outbox, ear: Ear, hint: Hint) -> int:
    """Let what a hint means be read now, with what the platform said of it at hand."""
    if hint.said:
        notes = LoginNotes(database=outbox.books.database, login=ear.account.login)
        await notes.remember(f"said:{hint.number}", hint.said)
    return await outbox.hasten(ear.account.id, partial(ear.callbacks.is_meant, hint))
