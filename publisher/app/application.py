"""The application: the open store, and adapters that reach platforms if it may send or read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from adapters._http import LoginHttp, get_host, preload
from publisher.app.adapters import find_unsafe_timings
from publisher.app.offline import OfflineApp, build_offline_app
from publisher.app.open_store import AccessMode, open_store_with_policies
from publisher.config import Environment, Settings
from publisher.contract import Adapter, AdapterContext, AdapterFactory, AddressProvider, PostPreviewer
from publisher.domain.account import Account, AccountId, LoginId, Mode
from publisher.domain.errors import SettingsError
from publisher.domain.post import SendRequest
from publisher.engine.planner import Planner
from publisher.runtime.clock import Runtime
from publisher.runtime.logs import log
from publisher.schedule.load import make_schedule_context
from publisher.secrets import SecretError, Vault, read_secret
from publisher.store.deliveries.maintenance import Maintenance
from publisher.store.deliveries.outbox import Outbox
from publisher.store.monitor.adapter_state import MemoryTokenStore, StoredAdapterState
from publisher.store.monitor.login_health import LoginHealthStore
from publisher.store.monitor.monitor import Monitoring
from publisher.store.plan.actions import ModeOverrides, OperatorActions
from publisher.store.plan.posts import PostStore
from publisher.store.queries.audit_log import AuditLog
from publisher.store.queries.queries import Queries
from publisher.store.store import Store
from publisher.store.system_alerts import SystemAlerts

_TEMPORARY_SECRET_ERRORS = frozenset({"secret_unreadable", "vault_unreadable"})
INTENT_RECHECK_AFTER = timedelta(milliseconds=500)
"""How long after its intent a call may start without another check: no stop takes effect sooner."""
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """All parts of the application. There are `adapters` only if it was opened to send or to read."""

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
    """Open the store and build the application. Reading records no intents, so it works with any journal.

    Raises SettingsError, or RefusedError where the database must not be used.
    """
    offline_app = await asyncio.to_thread(build_offline_app, settings)
    access = AccessMode.SEND if can_send else AccessMode.READ if can_read else AccessMode.COMMAND
    async with open_store_with_policies(settings, runtime, offline_app.policies, access) as store:
        # The process could not end while a thread waits for the renderer.
        with contextlib.closing(offline_app.post_renderer.templates.renderer):
            adapters: Mapping[AccountId, Adapter] = {}
            if can_send or can_read:
                if unsafe := find_unsafe_timings(offline_app.policies.values(), settings.environment):
                    raise SettingsError(unsafe)
                await preload()
                adapters = _build_adapters(offline_app, store)
            application = _build_application(offline_app, store, adapters)
            await application.post_store.register_logins()
            yield application


def _build_application(offline_app: OfflineApp, store: Store, adapters: Mapping[AccountId, Adapter]) -> Application:
    settings, post_store, post_renderer = offline_app.settings, PostStore(store), offline_app.post_renderer
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
            post_renderer=post_renderer,
            schedule_context=make_schedule_context(settings, templates=post_renderer.templates.names),
            plan_days=settings.plan_days,
        ),
        adapters=adapters,
    )


def _build_adapters(offline_app: OfflineApp, store: Store) -> Mapping[AccountId, Adapter]:
    """Create the adapters. Accounts of one login share its HTTP client, tokens and state."""
    settings, policies, runtime = offline_app.settings, offline_app.policies.values(), store.runtime
    contexts: dict[LoginId, AdapterContext] = {}
    adapters: dict[AccountId, Adapter] = {}

    def record_start(request: SendRequest) -> None:
        store.call_record.record_start(request.delivery, request.fencing_token)

    for policy in policies:
        account = policy.account
        factory = offline_app.post_renderer.factories[account.platform]
        if account.login not in contexts:
            sharing_accounts = [item.account for item in policies if item.account.login == account.login]
            http = LoginHttp(
                request_timeout=policy.timing.request_timeout,
                monotonic=runtime.monotonic,
                failpoint=runtime.hit_failpoint_now,
                is_host_allowed=build_host_filter(sharing_accounts, settings, factory),
                may_send=partial(may_start_call, Outbox(store)),
                record_start=record_start,
                is_clock_confirmed=runtime.is_clock_confirmed,
                on_date_header=runtime.check_server_date,
                now=runtime.now,
                default_cooldown=policy.timing.first_check_after,
            )
            contexts[account.login] = AdapterContext(
                http=http,
                secret=partial(_login_secret, account, settings, {}),
                tokens=MemoryTokenStore(now=runtime.now),
                state=StoredAdapterState(database=store.database, login=account.login),
                now=runtime.now,
                failpoint=runtime.hit_failpoint,
            )
        adapters[account.id] = factory.create(account, contexts[account.login])
    return adapters


def _login_secret(account: Account, settings: Settings, last_secret: dict[str, str]) -> Mapping[str, str]:
    """Read a login's credentials; empty if there are none, and the adapter then reports that it cannot sign in.

    While the source is temporarily unreadable, this returns the credentials that were read last.
    """
    try:
        found = read_secret(account.secret, secrets_dir=settings.secrets_dir, vault=open_vault(settings))
    except SecretError as error:
        log.error("secret_unreadable", account=account.id, code=error.code)
        return dict(last_secret) if error.code in _TEMPORARY_SECRET_ERRORS else {}
    last_secret.clear()
    last_secret.update(found)
    return found


async def may_start_call(outbox: Outbox, request: SendRequest) -> bool:
    """Check again if a call may start once its intent is so old that people may have stopped it.

    After the clock was set back the age is not known, so this checks then too.
    """
    age = outbox.store.runtime.now() - request.intended_at
    return timedelta(0) <= age < INTENT_RECHECK_AFTER or await outbox.may_still_send(request)


def build_host_filter(
    accounts: Collection[Account], settings: Settings, factory: AdapterFactory
) -> Callable[[str], bool]:
    """Return a filter for the hosts that the accounts of one login may reach.

    A drill reaches only this machine; an account with its own `base_url`, only that; any other account, the hosts that
    its adapter lists, or every host if the adapter lists none.
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
    """Return the workspace's encrypted store."""
    return Vault(folder=settings.workspace / "var")


def find_unreadable_secrets(
    settings: Settings, manual_accounts: Collection[AccountId] = ()
) -> Mapping[AccountId, SecretError]:
    """Return the API accounts whose secret cannot be read, with the error. Manual accounts need none."""
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
    """Return the account's adapter if it can send previews, else None."""
    adapter = application.adapters[account]
    return adapter if isinstance(adapter, PostPreviewer) else None
