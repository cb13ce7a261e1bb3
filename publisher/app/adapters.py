"""Adapter factories and account policies. Opens nothing."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points

from adapters import BUILT_IN_ADAPTERS
from publisher.config import Environment, LimitEntry, Settings, apply_overrides
from publisher.contract import AdapterFactory
from publisher.domain.account import Account, AccountId, AccountPolicy, Mode, Platform
from publisher.domain.errors import Problem, SettingsError, Severity
from publisher.runtime.clock import CLOCK_JUMP_THRESHOLD, SERVER_DATE_TOLERANCE

ENTRY_POINT_GROUP = "publisher.adapters"


def load_factories(accounts: Iterable[Account]) -> Mapping[Platform, AdapterFactory]:
    """Load the adapter factories of the accounts' platforms, built-in or installed.

    Raises SettingsError if a platform has no adapter, or two.
    """
    installed: dict[str, str] = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}
    problems = [
        Problem(code="adapter_duplicate", facts={"platform": name}) for name in installed if name in BUILT_IN_ADAPTERS
    ]
    known = {**installed, **BUILT_IN_ADAPTERS}
    platforms = sorted({account.platform for account in accounts})
    problems += [Problem(code="adapter_missing", facts={"platform": name}) for name in platforms if name not in known]
    if problems:
        raise SettingsError(problems)
    factories: dict[Platform, AdapterFactory] = {}
    for platform in platforms:
        module, _, name = known[platform].partition(":")
        factories[platform] = getattr(import_module(module), name)
    return factories


def build_policies(
    settings: Settings, factories: Mapping[Platform, AdapterFactory] | None = None
) -> Mapping[AccountId, AccountPolicy]:
    """Return every account's policy. Loads the factories unless they are given. Raises SettingsError.

    Accounts that are off are included: what was sent before is still read until it is settled.
    """
    factories = factories or load_factories(settings.accounts.values())
    policies: dict[AccountId, AccountPolicy] = {}
    for key, account in settings.accounts.items():
        factory = factories[account.platform]
        limits = settings.limits.get(account.platform, LimitEntry())
        rate_limit, timing = apply_overrides(factory.defaults.rate_limit, factory.defaults.timing, limits)
        policies[key] = AccountPolicy(
            account=account, capabilities=factory.capabilities(account), rate_limit=rate_limit, timing=timing
        )
    if disordered := sorted({item.account.platform for item in policies.values() if not item.timing.has_valid_order}):
        raise SettingsError([Problem(code="timings_out_of_order", facts={"platform": name}) for name in disordered])
    return policies


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
