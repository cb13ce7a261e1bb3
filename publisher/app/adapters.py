"""What the settings say of each account, and the adapters that judge words for it. It opens nothing."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from importlib import import_module
from importlib.metadata import entry_points

from adapters import BUILT_IN_ADAPTERS
from adapters.manual import ManualPostingValidator
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
    """Load the adapters of these platforms: ours, then those installed beside us.

    Raises SettingsError when a platform has no adapter, or two of them.
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
    return {platform: _load_factory(known[platform]) for platform in sorted(platforms)}


def _load_factory(path: str) -> AdapterFactory:
    module, _, name = path.partition(":")
    factory: AdapterFactory = getattr(import_module(module), name)
    return factory


def build_policies(settings: Settings) -> Mapping[AccountId, AccountPolicy]:
    """Give every account's terms, for work on the books that needs no template. Raises SettingsError."""
    return build_policies_and_adapters(settings)[0]


def active_accounts(settings: Settings) -> Mapping[AccountId, Account]:
    """Give the accounts that posts are planned for, whoever posts them."""
    return {key: account for key, account in settings.accounts.items() if account.mode is not Mode.OFF}


def build_policies_and_adapters(
    settings: Settings,
) -> tuple[Mapping[AccountId, AccountPolicy], Mapping[AccountId, Adapter]]:
    """Give every account's terms, and an adapter that only judges renditions for it. Raises SettingsError.

    Accounts that are off have theirs too: what was sent before is still read to its end.
    """
    accounts = settings.accounts
    known = load_factories(frozenset(account.platform for account in accounts.values()))
    adapters = {key: _offline_adapter(account, known[account.platform]) for key, account in accounts.items()}
    policies = {
        key: _build_policy(account, known[account.platform], adapters[key], settings)
        for key, account in accounts.items()
    }
    _check_timing_order(policies.values())
    return policies, adapters


def _offline_adapter(account: Account, factory: AdapterFactory) -> Adapter:
    own = factory.create(account, _offline_context())
    return ManualPostingValidator(inner=own, now=_no_clock) if account.mode is Mode.ASSISTED else own


def _build_policy(account: Account, factory: AdapterFactory, adapter: Adapter, settings: Settings) -> AccountPolicy:
    limits = settings.limits.get(account.platform, LimitSettings())
    rate_limit, timing = apply_overrides(factory.defaults.rate_limit, factory.defaults.timing, limits)
    return AccountPolicy(account=account, capabilities=adapter.capabilities, rate_limit=rate_limit, timing=timing)


def _check_timing_order(policies: Iterable[AccountPolicy]) -> None:
    disordered = sorted({item.account.platform for item in policies if not item.timing.has_valid_order})
    if disordered:
        raise SettingsError([Problem(code="timings_out_of_order", facts={"platform": name}) for name in disordered])


def find_unsafe_timings(policies: Iterable[AccountPolicy], environment: Environment) -> list[Problem]:
    """Name the platforms where a post could be taken for an absent one and sent twice; a drill may be in a hurry."""
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
    """Warn of accounts on Weibo that would be refused in earnest, as it wants the public address of whoever posts."""
    lacking = sorted(
        item.account.id
        for item in policies
        if item.account.platform == "weibo" and item.account.mode is Mode.API and item.account.public_ip is None
    )
    if environment is not Environment.LIVE or not lacking:
        return []
    facts = {"account": ", ".join(lacking)}
    return [Problem(code="public_ip_missing", severity=Severity.WARNING, facts=facts)]


def _offline_context() -> AdapterContext:
    """Equip an adapter that only judges renditions; whatever else it tries is a bug."""
    return AdapterContext(
        http=_NoHttp(),
        secret=_no_secret,
        tokens=_NoTokenStore(),
        state=_NoAdapterState(),
        now=_no_clock,
        failpoint=_no_failpoint,
    )


class OfflineError(PublisherError):
    """Something that only judges words tried to reach the world."""


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
