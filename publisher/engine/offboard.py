"""The departure of an account: stop it at once, settle open work, and remove its secret.

Each step may be repeated, and days may lie between two of them: the remaining work follows from the
database alone.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from publisher.config import Settings
from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.delivery import Actor
from publisher.domain.errors import NoSuchItemError, PublisherError
from publisher.domain.reports import OpenWork, collect_open_work
from publisher.engine.secret_report import locate_secrets, report_secrets
from publisher.runtime.logs import log
from publisher.secrets import SecretError, open_vault
from publisher.store.monitor.kept_secrets import SecretRemoval
from publisher.store.queries.queries import Queries
from publisher.store.secret_reports import SecretReport
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
    """The progress of an account's departure. A secret may be in the encrypted store or elsewhere.

    `vault_error` is the reason if the encrypted store cannot be read. An account is stopped and
    settled all the same. To a process that has no secrets their places may be unknown, until the
    daemon has run.
    """

    leaving: OffboardingAccount
    is_off: bool
    open_work: OpenWork
    is_secret_stored: bool
    secret_location: str | None
    vault_error: SecretError | None = None
    is_secret_known: bool = True

    @property
    def is_settled(self) -> bool:
        """True if nothing can be published on the account any more."""
        return not (self.open_work.unresolved or self.open_work.waiting)

    @property
    def may_remove_secret(self) -> bool:
        """True if its secret is in the encrypted store, and nobody needs it any more."""
        return (
            self.is_off
            and self.is_settled
            and self.is_secret_stored
            and not self.leaving.shared_with
        )

    @property
    def is_done(self) -> bool:
        """True if nothing is left that publisher can do."""
        may_be_kept = (
            self.is_secret_stored
            or self.secret_location is not None
            or self.vault_error is not None
        )
        may_be_kept = may_be_kept or not self.is_secret_known
        return (
            self.is_off
            and self.is_settled
            and not (may_be_kept and not self.leaving.shared_with)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OffboardingStep:
    """The result of one order."""

    after: Offboarding
    cancelled: int
    is_secret_removed: bool


async def find_account(
    queries: Queries, settings: Settings, account: AccountId
) -> OffboardingAccount:
    """Find the login of an account in the settings or, once it has left them, in the store.

    Raises NoSuchItemError.
    """
    if (known := settings.accounts.get(account)) is not None:
        login = known.login
    else:
        recorded = [
            entry.detail.get("login")
            for entry in await queries.audit_history(f"account:{account}")
        ]
        sent = [
            delivery.login for delivery in await queries.deliveries(account=account)
        ]
        logins = [LoginId(str(stored)) for stored in [*sent, *recorded] if stored]
        if not logins:
            raise NoSuchItemError("account", account, settings.accounts)
        login = logins[-1]
    others = {key: other for key, other in settings.accounts.items() if key != account}
    shared_with = [
        key for key, other in others.items() if other.secret == login.partition("/")[2]
    ]
    return OffboardingAccount(
        account=account,
        login=login,
        shared_with=shared_with,
        is_in_settings=known is not None,
    )


async def report_all_secrets(store: Store, settings: Settings) -> None:
    """Record the places and values of this host's secrets, with those of leaving accounts."""
    off = [
        order.account
        for order in await store.queries.mode_overrides()
        if order.mode is Mode.OFF
    ]
    gone = [account for account in off if account not in settings.accounts]
    names = []
    for account in gone:
        with contextlib.suppress(NoSuchItemError):  # it never had a login
            names.append((await find_account(store.queries, settings, account)).secret)
    await report_secrets(store, settings, names)


async def read_offboarding(
    store: Store,
    settings: Settings,
    leaving: OffboardingAccount,
    *,
    has_secrets: bool = True,
) -> Offboarding:
    """Return an account's progress.

    Without `has_secrets` the daemon's report says where its secret is.
    """
    report: SecretReport | None
    if has_secrets:
        report = await asyncio.to_thread(locate_secrets, settings, leaving.secret)
    else:
        report = await store.kept_secrets.read_report()
    known = report or SecretReport()
    return Offboarding(
        leaving=leaving,
        is_off=await _is_off(store.queries, leaving.account),
        open_work=collect_open_work(
            await store.queries.deliveries(account=leaving.account)
        ),
        is_secret_stored=leaving.secret in known.stored,
        secret_location=known.elsewhere.get(leaving.secret),
        vault_error=known.error,
        is_secret_known=report is not None,
    )


async def _is_off(queries: Queries, account: AccountId) -> bool:
    return any(
        order.account == account and order.mode is Mode.OFF
        for order in await queries.mode_overrides()
    )


async def offboard_account(  # noqa: PLR0913 # whose account, who, and why
    store: Store,
    settings: Settings,
    leaving: OffboardingAccount,
    person: Actor,
    reason: str,
    *,
    cancels: bool,
    has_secrets: bool = True,
) -> OffboardingStep:
    """Turn an account off, cancel waiting posts if asked to, and at the end remove its secret.

    The secret is removed once nothing is open. Without `has_secrets` it stays in any case, for an
    order to the daemon.
    """
    account, actions = leaving.account, store.actions
    if not await _is_off(store.queries, account):
        await actions.set_mode(account, Mode.OFF, person, reason)
    await actions.request_offboarding(account, leaving.login, person, reason)
    cancelled = await actions.cancel_waiting(account, person, reason) if cancels else 0
    is_secret_removed = has_secrets and await _remove_secret(store, settings, leaving)
    after = await _finish(store, settings, leaving, person, has_secrets=has_secrets)
    return OffboardingStep(
        after=after, cancelled=cancelled, is_secret_removed=is_secret_removed
    )


async def remove_ordered_secrets(store: Store, settings: Settings) -> None:
    """Remove the secrets that people have ordered to remove, unless something is open again.

    They give the orders on the dashboard. An order that fails is tried again, and holds up no
    other. Raises the first of the errors, after the last order.
    """
    errors: list[Exception] = []
    for order in await store.kept_secrets.orders():
        try:
            await _carry_out(store, settings, order)
        except (PublisherError, OSError) as error:
            errors.append(error)
    if errors:
        raise errors[0]


async def _carry_out(store: Store, settings: Settings, order: SecretRemoval) -> None:
    """Carry one order out, and take it away.

    An order for a now unknown account is only taken away.
    """
    try:
        leaving = await find_account(store.queries, settings, order.account)
    except NoSuchItemError:
        log.warning(
            "secret_removal_without_account", account=order.account, by=order.name
        )
    else:
        if await _remove_secret(store, settings, leaving):
            await _finish(store, settings, leaving, order.person, has_secrets=True)
        await report_all_secrets(store, settings)
    await store.kept_secrets.finish(order)


async def _remove_secret(
    store: Store, settings: Settings, leaving: OffboardingAccount
) -> bool:
    """Remove an account's secret from the encrypted store if allowed.

    Return True if it was there.
    """
    before = await read_offboarding(store, settings, leaving)
    return before.may_remove_secret and await asyncio.to_thread(
        open_vault(settings.workspace).remove, leaving.secret
    )


async def _finish(
    store: Store,
    settings: Settings,
    leaving: OffboardingAccount,
    person: Actor,
    *,
    has_secrets: bool,
) -> Offboarding:
    """Record that an off-boarding is done, if it is; return how far it is."""
    after = await read_offboarding(store, settings, leaving, has_secrets=has_secrets)
    if after.is_done:
        is_shared = bool(leaving.shared_with)
        await store.actions.finish_offboarding(
            leaving.account, leaving.login, person, is_shared=is_shared
        )
    return after
