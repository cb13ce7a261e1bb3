"""Adapter factories, account policies, and offline adapters that only validate posts. Opens nothing."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from importlib import import_module
from importlib.metadata import entry_points

from adapters import BUILT_IN_ADAPTERS
from publisher.config import Environment, LimitSettings, Settings, apply_overrides
from publisher.contract import Adapter, AdapterContext, AdapterFactory, HttpRequest, HttpResponse, Token
from publisher.domain.account import Account, AccountId, Mode, Platform
from publisher.domain.errors import Problem, PublisherError, SettingsError, Severity
from publisher.domain.policy import AccountPolicy
from publisher.domain.rendered import SendRequest
from publisher.domain.results import NotSent, Unknown
from publisher.runtime.clock import CLOCK_JUMP_THRESHOLD, SERVER_DATE_TOLERANCE

ENTRY_POINT_GROUP = "publisher.adapters"


def load_factories(platforms: frozenset[Platform]) -> Mapping[Platform, AdapterFactory]:
    """Load the adapter factories of these platforms, built-in or installed.

    Raises SettingsError if a platform has no adapter, or two.
    """
    installed: dict[str, str] = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}
    problems = [
        Problem(code="adapter_duplicate", facts={"platform": name}) for name in installed if name in BUILT_IN_ADAPTERS
    ]
    known = {**installed, **BUILT_IN_ADAPTERS}
    problems += [
        Problem(code="adapter_missing", facts={"platform": name}) for name in sorted(platforms) if name not in known
    ]
    if problems:
        raise SettingsError(problems)
    factories: dict[Platform, AdapterFactory] = {}
    for platform in sorted(platforms):
        module, _, name = known[platform].partition(":")
        factories[platform] = getattr(import_module(module), name)
    return factories


def build_policies(settings: Settings) -> Mapping[AccountId, AccountPolicy]:
    """Return every account's policy, for work that needs no template. Raises SettingsError."""
    return build_policies_and_adapters(settings)[0]


def active_accounts(settings: Settings) -> Mapping[AccountId, Account]:
    """Return the accounts that posts are planned for, by API or by people."""
    return {key: account for key, account in settings.accounts.items() if account.mode is not Mode.OFF}


def build_policies_and_adapters(
    settings: Settings,
) -> tuple[Mapping[AccountId, AccountPolicy], Mapping[AccountId, Adapter]]:
    """Return every account's policy, and an adapter that can only validate posts. Raises SettingsError.

    Accounts that are off are included: what was sent before is still read until it is settled.
    """
    factories = load_factories(frozenset(account.platform for account in settings.accounts.values()))
    policies: dict[AccountId, AccountPolicy] = {}
    adapters: dict[AccountId, Adapter] = {}
    for key, account in settings.accounts.items():
        factory = factories[account.platform]
        adapters[key] = adapter = factory.create(account, _OFFLINE_CONTEXT)
        limits = settings.limits.get(account.platform, LimitSettings())
        rate_limit, timing = apply_overrides(factory.defaults.rate_limit, factory.defaults.timing, limits)
        policies[key] = AccountPolicy(
            account=account, capabilities=adapter.capabilities, rate_limit=rate_limit, timing=timing
        )
    if disordered := sorted({item.account.platform for item in policies.values() if not item.timing.has_valid_order}):
        raise SettingsError([Problem(code="timings_out_of_order", facts={"platform": name}) for name in disordered])
    return policies, adapters


def find_unsafe_timings(policies: Iterable[AccountPolicy], environment: Environment) -> list[Problem]:
    """Return the platforms whose timing could take a post for absent and send it twice; none in a drill."""
    problems: dict[tuple[str, str], Problem] = {}
    for item in policies if environment is Environment.LIVE else ():
        platform, timing = item.account.platform, item.timing
        for code, wait, least in (
            (
                "visibility_window_too_short",
                timing.visibility_window,
                item.capabilities.server_delay + item.capabilities.listing_lag,
            ),
            (
                "platform_clock_tolerance_too_short",
                timing.platform_clock_tolerance,
                SERVER_DATE_TOLERANCE + CLOCK_JUMP_THRESHOLD,
            ),
        ):
            facts = {"wait": f"{wait.total_seconds():g}", "least": f"{least.total_seconds():g}"}
            if wait < least:
                problems[platform, code] = Problem(code=code, facts={"platform": platform, **facts})
    return list(problems.values())


def find_missing_public_ips(policies: Iterable[AccountPolicy], environment: Environment) -> list[Problem]:
    """Warn of Weibo accounts that would be refused in production: Weibo requires the poster's public IP address."""
    missing = sorted(
        item.account.id
        for item in policies
        if item.account.platform == "weibo" and item.account.mode is Mode.API and item.account.public_ip is None
    )
    if environment is not Environment.LIVE or not missing:
        return []
    facts = {"account": ", ".join(missing)}
    return [Problem(code="public_ip_missing", severity=Severity.WARNING, facts=facts)]


class OfflineError(PublisherError):
    """An adapter that only validates posts tried to reach a platform or the store: a bug."""


class _NoHttp:
    async def fetch(self, request: HttpRequest) -> HttpResponse | NotSent | Unknown:
        raise OfflineError(request.url)

    async def fetch_date(self, base_url: str) -> HttpResponse | NotSent | Unknown:
        raise OfflineError(base_url)

    async def create(self, request: HttpRequest, send_request: SendRequest) -> HttpResponse | NotSent | Unknown:
        raise OfflineError(request.url, send_request.delivery)


class _NoTokenStore:
    async def current(self) -> str | None:
        raise OfflineError

    async def renew(self, stale: str | None, fetch: Callable[[], Awaitable[Token | None]]) -> str | None:
        raise OfflineError(stale is None, fetch)


class _NoAdapterState:
    async def get(self, key: str) -> str | None:
        raise OfflineError(key)

    async def set(self, key: str, value: str) -> None:
        raise OfflineError(key, value)

    async def update(self, key: str, change: Callable[[str | None], str]) -> str | None:
        raise OfflineError(key, change)


def _no_secret() -> Mapping[str, str]:
    raise OfflineError


def _no_clock() -> datetime:
    raise OfflineError


async def _no_failpoint(_name: str) -> None:
    raise OfflineError


_OFFLINE_CONTEXT = AdapterContext(
    http=_NoHttp(),
    secret=_no_secret,
    tokens=_NoTokenStore(),
    state=_NoAdapterState(),
    now=_no_clock,
    failpoint=_no_failpoint,
)
