"""The application: the open store, adapters for sending or reading, and browser login.

The adapters reach platforms if the application may send or read.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from urllib.parse import parse_qs, urlsplit

from adapters._http import LoginHttp, get_host, preload
from publisher.app.adapters import (
    find_sources,
    find_unsafe_timings,
    get_hook,
    load_factories,
)
from publisher.app.offline import OfflineApp, build_offline_app
from publisher.app.open_store import AccessMode, open_store
from publisher.config import Environment, Settings
from publisher.contract import Adapter, AdapterContext, AdapterFactory, Http, LoginFlow
from publisher.domain.account import Account, AccountId, LoginId, Mode
from publisher.domain.delivery import State
from publisher.domain.errors import Problem, SettingsError
from publisher.domain.post import SendRequest
from publisher.engine.credentials import CredentialCheck
from publisher.engine.planner import Planner
from publisher.engine.sender import may_start_call
from publisher.runtime.clock import Runtime
from publisher.runtime.redaction import register_secrets
from publisher.schedule.load import make_schedule_context
from publisher.secrets import (
    TEMPORARY_ERRORS,
    LoginSecret,
    SecretError,
    Vault,
    find_external_source,
    list_secret_values,
    open_vault,
    read_secret,
)
from publisher.store.monitor.adapter_state import MemoryTokenStore, StoredAdapterState
from publisher.store.store import Store

LOGIN_REQUEST_TIMEOUT = timedelta(seconds=20)
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


UNSETTLED_STATES = (State.SENDING, State.SUBMITTED, State.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """All parts of the application. `adapters` exist only if it was opened to send or to read.

    `credentials` verifies the secrets for sending.
    """

    settings: Settings
    runtime: Runtime
    store: Store
    planner: Planner
    adapters: Mapping[AccountId, Adapter]
    credentials: CredentialCheck

    async def is_idle(self, max_wait: timedelta) -> bool:
        """Return True if only manual tasks are unsettled, and nothing may be sent in `max_wait`.

        While the clock is unconfirmed that cannot be known, until people are alerted that it stays
        so.
        """
        if not self.runtime.is_clock_confirmed():
            return self.store.system_alerts.has_clock_alert
        unsettled = await self.store.queries.deliveries(states=UNSETTLED_STATES)
        if any(not delivery.manual_task for delivery in unsettled):
            return False
        next_at = await self.store.outbox.next_due_at()
        return next_at is None or next_at > self.runtime.now() + max_wait


@contextlib.asynccontextmanager
async def open_application(
    settings: Settings,
    runtime: Runtime,
    *,
    can_send: bool,
    can_read: bool = False,
    is_dashboard: bool = False,
) -> AsyncIterator[Application]:
    """Open the store and build the application. Reading records no intents: any journal will do.

    The dashboard is not to know any secret, so no text is searched for them. It opens while hosts
    still compare their journals: people stop posts then, and each other act checks it.

    Raises SettingsError, or RefusedError if the database must not be used.
    """
    offline_app = await asyncio.to_thread(
        build_offline_app, settings, reads_secrets=not is_dashboard
    )
    access = (
        AccessMode.SEND
        if can_send
        else AccessMode.READ
        if can_read
        else AccessMode.DASHBOARD
        if is_dashboard
        else AccessMode.COMMAND
    )
    async with open_store(settings, runtime, access, offline_app.policies) as store:
        # The process could not end while a thread waits for the renderer.
        with contextlib.closing(offline_app.post_renderer.templates.renderer):
            adapters: Mapping[AccountId, Adapter] = {}
            secrets: Mapping[AccountId, LoginSecret] = {}
            if can_send or can_read:
                if unsafe := find_unsafe_timings(
                    offline_app.policies.values(), settings.environment
                ):
                    raise SettingsError(unsafe)
                await preload()
                secrets = _build_secrets(offline_app)
                adapters = _build_adapters(offline_app, store, secrets)
            post_renderer = offline_app.post_renderer
            schedule_context = make_schedule_context(
                settings,
                templates=post_renderer.templates.names,
                data_keys=post_renderer.templates.data_keys,
                platforms=find_sources().keys(),
            )
            await store.accounts.register()
            await store.posts.register_logins()
            yield Application(
                settings=settings,
                runtime=runtime,
                store=store,
                planner=Planner(
                    store=store,
                    post_renderer=post_renderer,
                    schedule_context=schedule_context,
                    plan_days=settings.plan_days,
                    approve_days=settings.approve_days,
                ),
                adapters=adapters,
                credentials=CredentialCheck(
                    store=store, adapters=adapters, secrets=secrets
                ),
            )


def _build_secrets(offline_app: OfflineApp) -> Mapping[AccountId, LoginSecret]:
    """Return where each account's credentials are read. Accounts of one login share them."""
    settings, secrets = offline_app.settings, dict[LoginId, LoginSecret]()
    accounts = [policy.account for policy in offline_app.policies.values()]
    for account in accounts:
        secret = LoginSecret(
            name=account.secret,
            account=account.id,
            secrets_dir=settings.secrets_dir,
            vault=open_vault(settings.workspace),
            needed_fields=get_hook(
                offline_app.post_renderer.factories[account.platform], "secret_fields"
            ),
        )
        secrets.setdefault(account.login, secret)
    return {account.id: secrets[account.login] for account in accounts}


def _build_adapters(
    offline_app: OfflineApp, store: Store, secrets: Mapping[AccountId, LoginSecret]
) -> Mapping[AccountId, Adapter]:
    """Create the adapters. Accounts of one login share its HTTP client, tokens and state."""
    settings, policies, runtime = (
        offline_app.settings,
        offline_app.policies.values(),
        store.runtime,
    )
    contexts: dict[LoginId, AdapterContext] = {}
    adapters: dict[AccountId, Adapter] = {}
    for policy in policies:
        account = policy.account
        factory = offline_app.post_renderer.factories[account.platform]
        if account.login not in contexts:
            sharing_accounts = [
                item.account for item in policies if item.account.login == account.login
            ]
            http = LoginHttp(
                request_timeout=policy.timing.request_timeout,
                monotonic=runtime.monotonic,
                failpoint=runtime.hit_failpoint_now,
                is_host_allowed=build_host_filter(sharing_accounts, settings, factory),
                may_send=partial(may_start_call, store.outbox),
                record_start=store.call_record.record_start,
                is_clock_confirmed=runtime.is_clock_confirmed,
                on_date_header=runtime.check_server_date,
                now=runtime.now,
                default_cooldown=policy.timing.first_check_after,
            )
            contexts[account.login] = AdapterContext(
                http=http,
                secret=secrets[account.id].read,
                tokens=MemoryTokenStore(
                    login=account.login,
                    now=runtime.now,
                    secret=secrets[account.id].read,
                ),
                state=StoredAdapterState(database=store.database, login=account.login),
                now=runtime.now,
                failpoint=runtime.hit_failpoint,
            )
        adapters[account.id] = factory.create(account, contexts[account.login])
    return adapters


def build_host_filter(
    accounts: Collection[Account], settings: Settings, factory: AdapterFactory
) -> Callable[[str], bool]:
    """Return a filter for the hosts that the accounts of one login may reach.

    A drill reaches only this machine; an account with its own `base_url`, only that; any other
    account, the hosts that its adapter lists, or every host if the adapter lists none.
    """
    if settings.environment is Environment.DRILL:
        return LOOPBACK_HOSTS.__contains__
    hosts: set[str] = set()
    for account in accounts:
        if account.base_url is not None:
            hosts.add(get_host(account.base_url))
        elif (addresses := get_hook(factory, "hosts")(account)) is not None:
            hosts.update(map(get_host, addresses))
        else:
            return bool
    return (hosts - {""}).__contains__


def find_missing_secrets(
    settings: Settings, manual_accounts: Collection[AccountId] = ()
) -> Mapping[AccountId, SecretError]:
    """Return the API accounts with a missing or wrong secret, with the error.

    Manual accounts need none. A temporarily unreadable source is not reported: calls fail, and are
    tried again, until it can be read.
    """
    missing: dict[AccountId, SecretError] = {}
    for key, account in settings.accounts.items():
        if account.mode is not Mode.API or key in manual_accounts:
            continue
        try:
            read_secret(
                account.secret,
                secrets_dir=settings.secrets_dir,
                vault=open_vault(settings.workspace),
            )
        except SecretError as error:
            if error.code not in TEMPORARY_ERRORS:
                missing[key] = error
    return missing


def http_for_login(
    *,
    timeout: timedelta,
    monotonic: Callable[[], float],
    is_host_allowed: Callable[[str], bool],
    can_create: bool,
) -> Http:
    """Return an HTTP client for a login, limited to hosts that `is_host_allowed`. No retry waits.

    With `can_create` it makes creating calls as well. No intent precedes them, so only tests may do
    that.
    """

    async def no_wait(_seconds: float) -> None:
        return

    async def may_send(_request: SendRequest) -> bool:
        return can_create

    return LoginHttp(
        request_timeout=timeout,
        monotonic=monotonic,
        failpoint=lambda _name: None,
        is_host_allowed=is_host_allowed,
        may_send=may_send,
        record_start=lambda _delivery, _fencing_token: None,
        is_clock_confirmed=lambda: can_create,
        sleep=no_wait,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSession:
    """A started login: the page to open, and the data to finish it."""

    account: Account
    consent_url: str
    state: str
    secret: Mapping[str, str] = field(repr=False)
    login_flow: LoginFlow
    vault: Vault
    http: Http
    public_fields: Sequence[str]

    async def finish(self, response: str) -> Problem | None:
        """Exchange the response for a new secret and save it in the encrypted store.

        Return a Problem if that fails.
        """
        state = parse_qs(urlsplit(response).query).get("state", [self.state])
        if state != [self.state]:
            return Problem(
                code="login_wrong_request", facts={"account": self.account.id}
            )
        return await self.exchange(response)

    async def exchange(self, response: str) -> Problem | None:
        """Do the same for a response with a state that was checked already."""
        renewed = await self.login_flow.exchange_code(
            self.account, self.secret, response, self.http
        )
        if isinstance(renewed, Problem):
            return renewed
        register_secrets(
            list_secret_values(renewed, self.public_fields), holder=self.account.secret
        )
        await asyncio.to_thread(self.vault.write, self.account.secret, renewed)
        return None


def start_login(
    settings: Settings, account: Account, runtime: Runtime
) -> LoginSession | Problem:
    """Start a login.

    Raises SecretError if the app's own credentials are not in the encrypted store.
    """
    factory = load_factories([account])[account.platform]
    login_flow: LoginFlow | None = get_hook(factory, "sign_in")
    if login_flow is None:
        return Problem(
            code="login_not_by_browser",
            facts={"account": account.id, "name": account.secret},
        )
    if (
        find_external_source(account.secret, secrets_dir=settings.secrets_dir)
        is not None
    ):
        return Problem(code="login_secret_elsewhere", facts={"name": account.secret})
    secret = read_secret(account.secret, vault=open_vault(settings.workspace))
    state = secrets.token_urlsafe(16)
    return LoginSession(
        account=account,
        consent_url=login_flow.build_authorization_url(account, secret, state),
        state=state,
        secret=secret,
        login_flow=login_flow,
        vault=open_vault(settings.workspace),
        http=http_for_login(
            timeout=LOGIN_REQUEST_TIMEOUT,
            monotonic=runtime.monotonic,
            is_host_allowed=build_host_filter([account], settings, factory),
            can_create=False,
        ),
        public_fields=get_hook(factory, "public_fields"),
    )
