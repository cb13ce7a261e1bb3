"""What the settings say of each account, and the adapters that judge words for it. It opens nothing."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from importlib import import_module
from importlib.metadata import entry_points

from adapters import BUILT_IN
from adapters.assisted import HandJudge
from publisher.contract import Adapter, AdapterFactory, AdapterKit, Call, Reply, Token
from publisher.domain.account import Account, AccountId, Mode, Platform
from publisher.domain.errors import PublisherError, SettingsError
from publisher.domain.outcome import NotSent, Unknown
from publisher.domain.problem import Problem, Severity
from publisher.domain.rendition import Parcel
from publisher.domain.terms import Terms
from publisher.settings import Environment, LimitSettings, Settings, overlay
from publisher.world import CLOCK_TOLERANCE, LITTLE

GROUP = "publisher.adapters"


def factories(platforms: frozenset[Platform]) -> Mapping[Platform, AdapterFactory]:
    """Load the adapters of these platforms: ours, then those installed beside us.

    Raises SettingsError when a platform has no adapter, or two of them.
    """
    installed: dict[str, str] = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    problems = [Problem(code="adapter_twice", facts={"platform": name}) for name in installed if name in BUILT_IN]
    known = {**installed, **BUILT_IN}
    problems += [
        Problem(code="adapter_missing", facts={"platform": name}) for name in sorted(platforms) if name not in known
    ]
    if problems:
        raise SettingsError(problems)
    return {platform: _load(known[platform]) for platform in sorted(platforms)}


def _load(path: str) -> AdapterFactory:
    module, _, name = path.partition(":")
    factory: AdapterFactory = getattr(import_module(module), name)
    return factory


def terms_of(settings: Settings) -> Mapping[AccountId, Terms]:
    """Give every account's terms, for work on the books that needs no template. Raises SettingsError."""
    return judges_of(settings)[0]


def speaking(settings: Settings) -> Mapping[AccountId, Account]:
    """Give the accounts that posts are planned for, whoever posts them."""
    return {key: account for key, account in settings.accounts.items() if account.mode is not Mode.OFF}


def judges_of(settings: Settings) -> tuple[Mapping[AccountId, Terms], Mapping[AccountId, Adapter]]:
    """Give every account's terms, and an adapter that only judges renditions for it. Raises SettingsError.

    Accounts that are off have theirs too: what was sent before is still read to its end.
    """
    accounts = settings.accounts
    known = factories(frozenset(account.platform for account in accounts.values()))
    adapters = {key: _judge(account, known[account.platform]) for key, account in accounts.items()}
    terms = {
        key: _terms(account, known[account.platform], adapters[key], settings) for key, account in accounts.items()
    }
    _check_order(terms.values())
    return terms, adapters


def _judge(account: Account, factory: AdapterFactory) -> Adapter:
    own = factory.create(account, _paper_kit())
    return HandJudge(own=own, now=_no_clock) if account.mode is Mode.ASSISTED else own


def _terms(account: Account, factory: AdapterFactory, adapter: Adapter, settings: Settings) -> Terms:
    limits = settings.limits.get(account.platform, LimitSettings())
    quota, patience = overlay(factory.defaults.quota, factory.defaults.patience, limits)
    return Terms(account=account, traits=adapter.traits, quota=quota, patience=patience)


def _check_order(terms: Iterable[Terms]) -> None:
    disordered = sorted({item.account.platform for item in terms if not item.patience.is_ordered})
    if disordered:
        raise SettingsError([Problem(code="waits_disordered", facts={"platform": name}) for name in disordered])


def hasty_waits(terms: Iterable[Terms], environment: Environment) -> list[Problem]:
    """Name the platforms where a post could be taken for an absent one and sent twice; a drill may be in a hurry."""
    problems: dict[tuple[str, str], Problem] = {}
    for item in terms if environment is Environment.LIVE else ():
        platform, patience = item.account.platform, item.patience
        for code, wait, least in (
            (
                "visibility_window_too_short",
                patience.visibility_window,
                item.traits.server_delay + item.traits.listing_lag,
            ),
            ("platform_clock_tolerance_too_short", patience.platform_clock_tolerance, CLOCK_TOLERANCE + LITTLE),
        ):
            facts = {"wait": f"{wait.total_seconds():g}", "least": f"{least.total_seconds():g}"}
            if wait < least:
                problems[platform, code] = Problem(code=code, facts={"platform": platform, **facts})
    return list(problems.values())


def without_address(terms: Iterable[Terms], environment: Environment) -> list[Problem]:
    """Warn of accounts on Weibo that would be refused in earnest, as it wants the public address of whoever posts."""
    lacking = sorted(
        item.account.id
        for item in terms
        if item.account.platform == "weibo" and item.account.mode is Mode.API and item.account.public_ip is None
    )
    if environment is not Environment.LIVE or not lacking:
        return []
    facts = {"account": ", ".join(lacking)}
    return [Problem(code="public_ip_missing", severity=Severity.WARNING, facts=facts)]


def _paper_kit() -> AdapterKit:
    """Equip an adapter that only judges renditions; whatever else it tries is a bug."""
    return AdapterKit(
        http=_NoHttp(), secret=_no_secret, tokens=_NoTokens(), notes=_NoNotes(), now=_no_clock, failpoint=_nothing
    )


class StudioError(PublisherError):
    """Something that only judges words tried to reach the world."""


class _NoHttp:
    async def ask(self, call: Call) -> Reply | NotSent | Unknown:
        raise StudioError(call.url)

    async def ask_time(self, base: str) -> Reply | NotSent | Unknown:
        raise StudioError(base)

    async def create(self, call: Call, parcel: Parcel) -> Reply | NotSent | Unknown:
        raise StudioError(call.url, parcel.delivery)


class _NoTokens:
    async def current(self) -> str | None:
        raise StudioError

    async def renew(self, stale: str | None, fetch: Callable[[], Awaitable[Token | None]]) -> str | None:
        raise StudioError(stale is None, fetch)


class _NoNotes:
    async def recall(self, key: str) -> str | None:
        raise StudioError(key)

    async def remember(self, key: str, value: str) -> None:
        raise StudioError(key, value)

    async def revise(self, key: str, change: Callable[[str | None], str]) -> str | None:
        raise StudioError(key, change)


def _no_secret() -> Mapping[str, str]:
    raise StudioError


def _no_clock() -> datetime:
    raise StudioError


async def _nothing(_name: str) -> None:
    raise StudioError
