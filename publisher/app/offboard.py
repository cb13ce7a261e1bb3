"""An account leaves: it is stopped at once, what is under way is settled, and its secret is removed.

Each step may be repeated, and days may lie between two of them: what is left follows from the database alone.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from publisher.app.application import open_vault
from publisher.config import Settings
from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.delivery import Actor
from publisher.domain.errors import NoSuchItemError
from publisher.domain.reports import OpenWork, collect_open_work
from publisher.secrets import SecretError, find_external_source
from publisher.store.queries.queries import Queries
from publisher.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class OffboardingAccount:
    """An account that leaves, its login, and the other accounts of that login."""

    account: AccountId
    login: LoginId
    shared_with: Sequence[AccountId]
    is_in_settings: bool

    @property
    def secret(self) -> str:
        return self.login.partition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offboarding:
    """How far an account is on its way out. A secret may be in the encrypted store, or at another place.

    `vault_error` is why the encrypted store cannot be read, if so: an account is stopped and settled all the same.
    """

    leaving: OffboardingAccount
    is_off: bool
    open_work: OpenWork
    is_secret_stored: bool
    secret_location: str | None
    vault_error: SecretError | None = None

    @property
    def is_settled(self) -> bool:
        """True if nothing can be published on the account any more."""
        return not (self.open_work.unresolved or self.open_work.waiting)

    @property
    def may_remove_secret(self) -> bool:
        """True if its secret is in the encrypted store, and nobody needs it any more."""
        return self.is_off and self.is_settled and self.is_secret_stored and not self.leaving.shared_with

    @property
    def is_done(self) -> bool:
        """True if nothing is left that publisher can do."""
        may_be_kept = self.is_secret_stored or self.secret_location is not None or self.vault_error is not None
        return self.is_off and self.is_settled and not (may_be_kept and not self.leaving.shared_with)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffboardingStep:
    """What one order has done."""

    after: Offboarding
    cancelled: int
    is_secret_removed: bool


async def find_account(queries: Queries, settings: Settings, account: AccountId) -> OffboardingAccount:
    """Find the login of an account, in the settings or, once it has left them, in the store. Raise NoSuchItemError."""
    if (known := settings.accounts.get(account)) is not None:
        login = known.login
    else:
        recorded = [entry.detail.get("login") for entry in await queries.audit_history(f"account:{account}")]
        sent = [delivery.login for delivery in await queries.deliveries(account=account)]
        logins = [LoginId(str(stored)) for stored in [*sent, *recorded] if stored]
        if not logins:
            raise NoSuchItemError("account", account, settings.accounts)
        login = logins[-1]
    others = {key: other for key, other in settings.accounts.items() if key != account}
    shared_with = [key for key, other in others.items() if other.secret == login.partition("/")[2]]
    return OffboardingAccount(account=account, login=login, shared_with=shared_with, is_in_settings=known is not None)


async def read_offboarding(store: Store, settings: Settings, leaving: OffboardingAccount) -> Offboarding:
    """Return how far an account is."""
    stored: Sequence[str] = ()
    vault_error = None
    try:
        stored = await asyncio.to_thread(open_vault(settings).list_names)
    except SecretError as error:
        vault_error = error
    return Offboarding(
        leaving=leaving,
        is_off=await _is_off(store.queries, leaving.account),
        open_work=collect_open_work(await store.queries.deliveries(account=leaving.account)),
        is_secret_stored=leaving.secret in stored,
        secret_location=find_external_source(leaving.secret, secrets_dir=settings.secrets_dir),
        vault_error=vault_error,
    )


async def _is_off(queries: Queries, account: AccountId) -> bool:
    return any(order.account == account and order.mode is Mode.OFF for order in await queries.mode_overrides())


async def offboard_account(  # noqa: PLR0913 # whose account, who, and why
    store: Store,
    settings: Settings,
    leaving: OffboardingAccount,
    person: Actor,
    reason: str,
    *,
    cancels: bool,
    removes_secret: bool = True,
) -> OffboardingStep:
    """Turn an account off, cancel what waits if asked to, and remove its secret once nothing is open.

    Without `removes_secret` it stays in any case, for a later order.
    """
    account, actions = leaving.account, store.actions
    if not await _is_off(store.queries, account):
        await actions.set_mode(account, Mode.OFF, person, reason)
    await actions.request_offboarding(account, leaving.login, person, reason)
    cancelled = await actions.cancel_waiting(account, person, reason) if cancels else 0
    before = await read_offboarding(store, settings, leaving)
    is_secret_removed = False
    if removes_secret and before.may_remove_secret:
        is_secret_removed = await asyncio.to_thread(open_vault(settings).remove, leaving.secret)
    after = await read_offboarding(store, settings, leaving)
    if after.is_done:
        await actions.finish_offboarding(account, leaving.login, person, is_shared=bool(leaving.shared_with))
    return OffboardingStep(after=after, cancelled=cancelled, is_secret_removed=is_secret_removed)
