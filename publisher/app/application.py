"""The whole, with the books open and, where it may send, live adapters."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from adapters._http import LoginHttp, get_host, preload
from adapters.manual import ManualPostingAdapter, enable_manual_posting
from publisher.app.adapters import find_unsafe_timings, load_factories
from publisher.app.offline import OfflineApp, build_offline_app
from publisher.app.open_store import AccessMode, open_store_with_policies
from publisher.config import Environment, Settings
from publisher.contract import Adapter, AdapterContext, AdapterFactory, AddressProvider, PostPreviewer
from publisher.domain.account import Account, AccountId, LoginId, Mode
from publisher.domain.errors import SettingsError
from publisher.domain.rendered import SendRequest
from publisher.engine.planner import Planner
from publisher.runtime.clock import Runtime
from publisher.runtime.logs import log
from publisher.schedule import make_schedule_context
from publisher.secrets import SecretError, Vault, read_secret
from publisher.store.deliveries.maintenance import Maintenance
from publisher.store.deliveries.outbox import Outbox
from publisher.store.monitor.adapter_state import MemoryTokenStore, StoredAdapterState
from publisher.store.monitor.login_health import LoginHealthStore
from publisher.store.monitor.monitor import Monitoring
from publisher.store.monitor.system_alerts import SystemAlerts
from publisher.store.plan.actions import ModeOverrides, OperatorActions
from publisher.store.plan.posts import PostStore
from publisher.store.queries.audit_log import AuditLog
from publisher.store.queries.queries import Queries
from publisher.store.store import Store

_TEMPORARY_SECRET_ERRORS = frozenset({"secret_unreadable", "vault_unreadable"})
INTENT_RECHECK_AFTER = timedelta(milliseconds=500)
"""For so long after its intent a call may start unasked: no stop takes effect sooner."""
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """The whole. Its `adapters` reach a platform only where it was opened to send or to ask."""

    settings: Settings
    runtime: Runtime
    store: Store
    outbox: Outbox
    maintenance: Maintenance
    post_store: PostStore
    operator_actions: OperatorActions
    system_alerts: SystemAlerts
    queries: Queries
    audit: AuditLog
    mode_overrides: ModeOverrides
    monitoring: Monitoring
    login_health: LoginHealthStore
    planner: Planner
    adapters: Mapping[AccountId, Adapter]


@contextlib.asynccontextmanager
async def open_application(
    settings: Settings, runtime: Runtime, *, can_send: bool, can_read: bool = False
) -> AsyncIterator[Application]:
    """Open the books and build the whole; what only asks the platforms announces no call, so any journal will do.

    Raises SettingsError, or RefusedError where the database must not be used.
    """
    offline_app = await asyncio.to_thread(build_offline_app, settings)
    access = AccessMode.SEND if can_send else AccessMode.READ if can_read else AccessMode.COMMAND
    async with open_store_with_policies(settings, runtime, offline_app.policies, access) as store:
        with contextlib.closing(
            offline_app.post_renderer.templates.renderer
        ):  # while a thread waits for it, no process can end
            application = _build_application(offline_app, store)
            if can_send or can_read:
                if unsafe := find_unsafe_timings(offline_app.policies.values(), settings.environment):
                    raise SettingsError(unsafe)
                await preload()
                application = replace(application, adapters=_build_adapters(offline_app, store))
            await application.post_store.register_logins()
            yield application


def _build_application(offline_app: OfflineApp, store: Store) -> Application:
    settings, post_store = offline_app.settings, PostStore(store)
    context = make_schedule_context(settings, templates=offline_app.post_renderer.templates.names)
    return Application(
        settings=settings,
        runtime=store.runtime,
        store=store,
        outbox=Outbox(store),
        maintenance=Maintenance(store),
        post_store=post_store,
        operator_actions=OperatorActions(store),
        system_alerts=SystemAlerts(store),
        queries=Queries(store),
        audit=AuditLog(store),
        mode_overrides=ModeOverrides(store),
        monitoring=Monitoring(store),
        login_health=LoginHealthStore(store),
        planner=Planner(
            post_store=post_store,
            post_renderer=offline_app.post_renderer,
            schedule_context=context,
            plan_days=settings.plan_days,
        ),
        adapters=offline_app.post_renderer.adapters,
    )


def _build_adapters(offline_app: OfflineApp, store: Store) -> Mapping[AccountId, Adapter]:
    known = load_factories(frozenset(policy.account.platform for policy in offline_app.policies.values()))
    contexts: dict[LoginId, AdapterContext] = {}
    adapters: dict[AccountId, Adapter] = {}
    for key, policy in offline_app.policies.items():
        account = policy.account
        if account.login not in contexts:
            sharing_accounts = [
                item.account for item in offline_app.policies.values() if item.account.login == account.login
            ]
            http = LoginHttp(
                request_timeout=policy.timing.request_timeout,
                monotonic=store.runtime.monotonic,
                failpoint=store.runtime.hit_failpoint_now,
                is_host_allowed=build_host_filter(sharing_accounts, offline_app.settings, known[account.platform]),
                may_send=partial(_may_start_call, Outbox(store)),
                record_start=partial(_record_call_start, store),
                is_clock_confirmed=store.runtime.is_clock_confirmed,
                on_date_header=store.runtime.check_server_date,
                now=store.runtime.now,
                default_cooldown=policy.timing.first_check_after,
            )
            contexts[account.login] = _adapter_context(account, offline_app.settings, store, http)
        own = known[account.platform].create(account, contexts[account.login])
        adapters[key] = enable_manual_posting(own, store.runtime.now)
    return adapters


def _adapter_context(account: Account, settings: Settings, store: Store, http: LoginHttp) -> AdapterContext:
    return AdapterContext(
        http=http,
        secret=partial(_login_secret, account, settings, {}),
        tokens=MemoryTokenStore(now=store.runtime.now),
        state=StoredAdapterState(database=store.database, login=account.login),
        now=store.runtime.now,
        failpoint=store.runtime.hit_failpoint,
    )


def _login_secret(account: Account, settings: Settings, last_secret: dict[str, str]) -> Mapping[str, str]:
    """Give a login's credentials; without them the adapter says that it cannot sign in.

    What cannot be opened for a moment is still what it was: `known` is what was read last.
    """
    try:
        found = read_secret(account.secret, secrets_dir=settings.secrets_dir, vault=open_vault(settings))
    except SecretError as error:
        log.error("secret_unreadable", account=account.id, code=error.code)
        return dict(last_secret) if error.code in _TEMPORARY_SECRET_ERRORS else {}
    last_secret.clear()
    last_secret.update(found)
    return found


def _record_call_start(store: Store, request: SendRequest) -> None:
    """Write down that a call begins. Raises OSError; then it may not."""
    store.call_record.record_start(request.delivery, request.fencing_token)


async def _may_start_call(outbox: Outbox, request: SendRequest) -> bool:
    """Ask once more whether a call may begin whose intent is so old that people may have stopped it.

    A clock that was set back meanwhile cannot tell how long that was.
    """
    took = outbox.store.runtime.now() - request.intended_at
    return timedelta(0) <= took < INTENT_RECHECK_AFTER or await outbox.may_still_send(request)


def build_host_filter(
    accounts: Collection[Account], settings: Settings, factory: AdapterFactory
) -> Callable[[str], bool]:
    """Say which hosts the accounts of one login may reach.

    A drill reaches nothing but this machine; an account with an address of its own, nothing but that; any other, what
    its adapter names, and every host where that names none.
    """
    if settings.environment is Environment.DRILL:
        return LOOPBACK_HOSTS.__contains__
    hosts: set[str] = set()
    for account in accounts:
        if account.base_url is not None:
            hosts.add(get_host(account.base_url))
        elif isinstance(factory, AddressProvider):
            hosts.update(map(get_host, factory.list_addresses(account)))
        else:
            return bool
    return (hosts - {""}).__contains__


def open_vault(settings: Settings) -> Vault:
    """Give the workspace's encrypted store."""
    return Vault(folder=settings.workspace / "var")


def find_unreadable_secrets(
    settings: Settings, manual_accounts: Collection[AccountId] = ()
) -> Mapping[AccountId, SecretError]:
    """Name the accounts that cannot sign in because their secret is not to be had, where they must.

    An account that people post on needs none, whether the settings say so or it is named in `by_hand`.
    """
    missing: dict[AccountId, SecretError] = {}
    for key, account in settings.accounts.items():
        if account.mode is not Mode.API or key in manual_accounts:
            continue
        try:
            read_secret(account.secret, secrets_dir=settings.secrets_dir, vault=open_vault(settings))
        except SecretError as error:
            missing[key] = error
    return missing


def find_previewer(application: Application, account: AccountId) -> PostPreviewer | None:
    """Give what shows posts on an account's platform; None where the platform cannot."""
    adapter = application.adapters[account]
    own = adapter.inner if isinstance(adapter, ManualPostingAdapter) else adapter
    return own if isinstance(own, PostPreviewer) else None
