"""Load built-in or installed adapters, check their contract, and build policies. Opens nothing.

An unusable package is a problem that names the package, its accounts and the remedy. It is never a
traceback.
"""

import contextlib
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from adapters import BUILT_IN_ADAPTERS
from publisher.config import Environment, Settings, apply_overrides
from publisher.contract import (
    CONTRACT,
    Adapter,
    AdapterContext,
    AdapterFactory,
    LoginFlow,
    OptionalHooks,
    PlatformCallbacks,
    PlatformDefaults,
    read_messages,
)
from publisher.domain.account import (
    Account,
    AccountId,
    AccountPolicy,
    Capabilities,
    Mode,
    Platform,
    Presence,
    make_presence,
)
from publisher.domain.addresses import normalize_address
from publisher.domain.errors import Problem, SettingsError, Severity
from publisher.i18n import LANGUAGES, is_fillable, is_platform_code
from publisher.rendering.templates import PAGE_SUFFIXES
from publisher.runtime.clock import CLOCK_JUMP_THRESHOLD, SERVER_DATE_TOLERANCE
from publisher.runtime.redaction import redact_text
from publisher.settings_file import LimitEntry
from publisher.tomlfile.validate import KeyPath, UnlocatedProblem, suggest_closest

ENTRY_POINT_GROUP = "publisher.adapters"
MAX_ERROR_CHARACTERS = 200
"""Limit of a package's own error text. Such a text may have any length."""
_FACTORY_METHODS = ("capabilities", "validate", "create")
_ADAPTER_METHODS = tuple(name for name in vars(Adapter) if not name.startswith("_"))
BUILT_IN = "publisher"
"""The package of the built-in adapters. Their texts are checked in advance."""


class AdapterError(Exception):
    """An adapter's package cannot be used. `code` and `facts` are the problem's."""

    def __init__(self, code: str, **facts: str) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSource:
    """Where a platform's factory is, as `module:attribute`, and the package that brings it."""

    platform: str
    value: str
    package: str

    def load(self) -> AdapterFactory:
        """Import the factory and check it. Raises AdapterError."""
        module, _, name = self.value.partition(":")
        call = _describing_errors("adapter_not_loaded", self)
        factory: AdapterFactory = call(lambda: getattr(import_module(module), name))
        found = call(lambda: getattr(factory, "contract", None))
        if found != CONTRACT:
            raise AdapterError(
                "adapter_wrong_contract",
                **self.facts,
                found=str(found or "—"),
                wanted=str(CONTRACT),
            )
        missing = [
            name
            for name in _FACTORY_METHODS
            if not callable(getattr(factory, name, None))
        ]
        defaults = call(lambda: getattr(factory, "defaults", None))
        missing += [] if isinstance(defaults, PlatformDefaults) else ["defaults"]
        if missing:
            raise AdapterError(
                "adapter_incomplete", **self.facts, missing=", ".join(missing)
            )
        for name, is_right in _HOOK_TYPES.items() if self.package != BUILT_IN else ():
            value = call(partial(getattr, factory, name, None))
            if value is not None and not call(partial(is_right, value)):
                raise AdapterError("adapter_hook_wrong", **self.facts, name=name)
        codes = get_hook(factory, "messages") if self.package != BUILT_IN else ()
        if foreign := [
            code for code in codes if not is_platform_code(self.platform, code)
        ]:
            raise AdapterError("adapter_text_foreign", **self.facts, name=foreign[0])
        return factory

    @property
    def facts(self) -> dict[str, str]:
        return {"platform": self.platform, "package": self.package}


def find_sources() -> Mapping[str, Sequence[AdapterSource]]:
    """Return the sources of each platform's adapter; a platform with more than one is refused."""
    return _find_sources(tuple(sys.path))


@cache
def _find_sources(
    _search_path: tuple[str, ...],
) -> Mapping[str, Sequence[AdapterSource]]:
    sources = [
        AdapterSource(platform=platform, value=value, package=BUILT_IN)
        for platform, value in BUILT_IN_ADAPTERS.items()
    ]
    sources += [
        AdapterSource(
            platform=entry.name, value=entry.value, package=describe_package(entry)
        )
        for entry in entry_points(group=ENTRY_POINT_GROUP)
    ]
    found: dict[str, list[AdapterSource]] = {}
    for source in sources:
        found.setdefault(source.platform, []).append(source)
    return found


def describe_package(entry: EntryPoint) -> str:
    return (
        f"{entry.dist.name} {entry.dist.version}"
        if entry.dist
        else entry.value.partition(":")[0]
    )


def _describing_errors(
    code: str, source: AdapterSource, **facts: str
) -> Callable[[Callable[[], Any]], Any]:
    """Return a function that calls a package's code, and turns any error into an AdapterError."""

    def call(work: Callable[[], Any]) -> Any:  # noqa: ANN401 # whatever the package returns
        try:
            return work()
        except (Exception, SystemExit) as error:
            text = redact_text(" ".join(f"{type(error).__name__}: {error}".split()))[
                :MAX_ERROR_CHARACTERS
            ]
            raise AdapterError(code, **source.facts, **facts, error=text) from error

    return call


def _is_text(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    texts = [value.get(lang) for lang in LANGUAGES]
    return all(isinstance(text, str) and is_fillable(text) for text in texts)


def _are_names(value: object) -> bool:
    return (
        isinstance(value, Collection)
        and not isinstance(value, str)
        and all(isinstance(name, str) for name in value)
    )


_HOOK_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "display_name": lambda value: value == {} or _is_text(value),
    "messages": lambda value: (
        isinstance(value, Mapping)
        and all(
            _is_text(entry) and ("hint" not in entry or _is_text(entry["hint"]))
            for entry in value.values()
        )
    ),
    "templates": lambda value: isinstance(value, Path),
    "secret_fields": _are_names,
    "public_fields": _are_names,
    "check_account": callable,
    "hosts": callable,
    "call_method": callable,
    "sign_in": lambda value: isinstance(value, LoginFlow),
    "callbacks": lambda value: isinstance(value, PlatformCallbacks),
}


def get_hook(factory: AdapterFactory, name: str) -> Any:  # noqa: ANN401 # each has its own type
    """Return an optional member of a factory, or its default."""
    value = getattr(factory, name, None)
    return getattr(OptionalHooks(), name) if value is None else value


def load_factory(platform: str) -> AdapterFactory:
    """Load a platform's factory. Raises AdapterError."""
    sources = find_sources().get(platform, ())
    if not sources:
        choices = suggest_closest(platform, sorted(find_sources()))
        raise AdapterError("adapter_missing", platform=platform, choices=choices)
    if len(sources) > 1:
        packages = ", ".join(source.package for source in sources)
        raise AdapterError("adapter_duplicate", platform=platform, package=packages)
    return sources[0].load()


def load_factories(accounts: Iterable[Account]) -> Mapping[Platform, AdapterFactory]:
    """Load the factories of the accounts' platforms. Raises SettingsError if one cannot be used."""
    factories, problems = load_usable_factories(accounts)
    if problems:
        raise SettingsError(
            [
                Problem(code=problem.code, facts=problem.facts)
                for problem in problems.values()
            ]
        )
    return factories


def load_usable_factories(
    accounts: Iterable[Account],
) -> tuple[Mapping[Platform, AdapterFactory], Mapping[Platform, AdapterError]]:
    """Load the factories of the accounts' platforms.

    Return the usable ones, and the reasons why others are not.
    """
    factories: dict[Platform, AdapterFactory] = {}
    errors: dict[Platform, AdapterError] = {}
    for platform in sorted({account.platform for account in accounts}):
        try:
            factories[platform] = load_factory(platform)
        except AdapterError as error:
            errors[platform] = error
    return factories, errors


def find_adapter_problems(settings: Settings) -> tuple[Problem, ...]:
    """Return the problems of all accounts' adapters, and of accounts by their adapters' own rules.

    Each problem is at the line of publisher.toml that it is about.
    """
    factories, errors = load_usable_factories(settings.accounts.values())
    problems = [
        Problem(
            code="adapter_duplicate",
            facts={
                "platform": platform,
                "package": ", ".join(source.package for source in sources),
            },
        )
        for platform, sources in find_sources().items()
        if len(sources) > 1 and platform not in errors
    ]
    found = [
        *(
            (Severity.ERROR, problem)
            for problem in find_same_identities(settings.accounts.values(), factories)
        ),
        *find_unknown_platforms(settings),
        *find_problems_of_accounts(settings, errors),
    ]
    for severity in Severity:
        located = settings.locate_problems(
            [one for level, one in found if level is severity]
        )
        problems += [replace(one, severity=severity) for one in located]
    return tuple(problems)


def find_same_identities(
    accounts: Iterable[Account], factories: Mapping[Platform, AdapterFactory]
) -> Iterator[UnlocatedProblem]:
    """Yield the accounts that are another one: a post for both would appear twice in one place."""
    seen: dict[Presence, tuple[int, Account]] = {}
    for number, account in enumerate(accounts):
        factory = factories.get(account.platform)
        presence = (
            find_presence(account, factory) if factory else make_presence(account, "")
        )
        first, other = seen.setdefault(presence, (number, account))
        if first != number:
            facts = {"account": account.id, "other": other.id}
            lines = {"first": ("account", first, "identity")}
            path: KeyPath = ("account", number, "identity")
            yield UnlocatedProblem(
                path=path, code="same_identity", facts=facts, line_facts=lines
            )


def find_presence(account: Account, factory: AdapterFactory) -> Presence:
    """Return the presence of an account on its platform."""
    return make_presence(account, find_server(account, factory))


def find_server(account: Account, factory: AdapterFactory) -> str:
    """Return the address of an account's server; empty if its platform has one place for everybody.

    An option that leads to none of the usual hosts names a server of one's own. `base_url` does so
    only if the platform names no host at all. Elsewhere it is a way to the same place, such as a
    proxy or a simulator.
    """
    direct = replace(account, base_url=None)
    own = _find_addresses(direct, factory)
    usual = _find_addresses(replace(direct, options={}, profile=None), factory)
    if usual and (not own or not own.isdisjoint(usual)):
        return ""
    return " ".join(
        sorted(own or map(normalize_address, filter(None, [account.base_url])))
    )


def _find_addresses(account: Account, factory: AdapterFactory) -> frozenset[str]:
    """Return the hosts that an adapter names; none if it fails.

    It may fail without an option that it takes for granted.
    """
    try:
        return frozenset(
            map(normalize_address, get_hook(factory, "hosts")(account) or ())
        )
    except Exception:  # noqa: BLE001 # a package's own code; `try_adapter` reports it
        return frozenset()


def find_unknown_platforms(
    settings: Settings,
) -> Iterator[tuple[Severity, UnlocatedProblem]]:
    """Yield the limits of platforms that no adapter serves."""
    for platform in settings.limits:
        if platform not in find_sources():
            facts = {
                "value": platform,
                "choices": suggest_closest(platform, sorted(find_sources())),
            }
            problem = UnlocatedProblem(
                path=("limits", platform),
                code="unknown_platform",
                facts=facts,
                is_at_key=True,
            )
            yield Severity.ERROR, problem


def find_problems_of_accounts(
    settings: Settings, errors: Mapping[Platform, AdapterError]
) -> Iterator[tuple[Severity, UnlocatedProblem]]:
    """Yield the problems of each account. An adapter's error comes at its first account."""
    reported: set[tuple[str, ...]] = set()
    for number, account in enumerate(settings.accounts.values()):
        error = errors.get(account.platform)
        try:
            for own in check_account(account) if error is None else ():
                path = find_key_path(settings, number, own.facts.get("key", "platform"))
                facts = {"account": account.id, **own.facts}
                yield (
                    own.severity,
                    UnlocatedProblem(path=path, code=own.code, facts=facts),
                )
        except AdapterError as raised:
            error = raised
        if (
            error is not None
            and (error.code, *sorted(error.facts.values())) not in reported
        ):
            reported.add((error.code, *sorted(error.facts.values())))
            yield describe_adapter_error(settings, number, account, error)


def describe_adapter_error(
    settings: Settings, number: int, account: Account, error: AdapterError
) -> tuple[Severity, UnlocatedProblem]:
    """Return an adapter's error as a problem; a warning if it concerns no account that is used."""
    same = [
        other.id
        for other in settings.accounts.values()
        if other.platform == account.platform
    ]
    facts = {"value": account.platform, "account": ", ".join(same), **error.facts}
    code = "unknown_platform" if error.code == "adapter_missing" else error.code
    concerned = [error.facts["account"]] if "account" in error.facts else same
    is_used = any(
        each.mode is not Mode.OFF
        for each in settings.accounts.values()
        if each.id in concerned
    )
    # the others go on without accounts that are off
    severity = Severity.ERROR if is_used else Severity.WARNING
    return severity, UnlocatedProblem(
        path=("account", number, "platform"), code=code, facts=facts
    )


def find_key_path(settings: Settings, number: int, key: str) -> KeyPath:
    """Return the path of an account's key, or of the same top-level key if only that is written."""
    data = settings.document.data if settings.document else {}
    tables = data.get("account")
    table = tables[number] if isinstance(tables, list) else {}
    return (
        (key,)
        if key in data and key not in table
        else ("account", number, *key.split("."))
    )


def check_account(account: Account) -> Sequence[Problem]:
    """Return the problems of an account by its platform's rules. Raises AdapterError."""
    factory = load_factory(account.platform)
    [source] = find_sources()[account.platform]
    problems: Sequence[Problem] = ()
    if account.mode is not Mode.OFF:
        call = _describing_errors(
            "adapter_failed", source, account=account.id, name="check_account"
        )
        problems = call(lambda: tuple(get_hook(factory, "check_account")(account)))
    if not all(isinstance(problem, Problem) for problem in problems):
        raise AdapterError("adapter_hook_wrong", **source.facts, name="check_account")
    if not any(
        problem.is_error for problem in problems
    ):  # with wrong settings the rest may fail
        try_adapter(account, factory)
    return problems


def try_adapter(account: Account, factory: AdapterFactory) -> Capabilities:
    """Return the platform's limits for an account, once its adapter is usable. Raises AdapterError.

    The adapter is built, and checked for missing methods; nothing is called.
    """
    [source] = find_sources()[account.platform]

    def call(name: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401 # whatever the member returns
        return _describing_errors(
            "adapter_failed", source, account=account.id, name=name
        )(work)

    capabilities = call("capabilities", lambda: factory.capabilities(account))
    if not isinstance(capabilities, Capabilities):
        raise AdapterError("adapter_hook_wrong", **source.facts, name="capabilities")
    adapter = call("create", lambda: factory.create(account, _INERT_CONTEXT))
    if missing := [
        name for name in _ADAPTER_METHODS if not callable(getattr(adapter, name, None))
    ]:
        raise AdapterError(
            "adapter_incomplete", **source.facts, missing=", ".join(missing)
        )
    hosts = call("hosts", lambda: get_hook(factory, "hosts")(account))
    if hosts is not None and not _are_names(hosts):
        raise AdapterError("adapter_hook_wrong", **source.facts, name="hosts")
    return capabilities


class _InertService:
    """A service of an adapter that is built only to be checked; any use of it is an error."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 # it never returns
        raise RuntimeError(f"create() used context.{name}")

    def __call__(self, *_arguments: object) -> Any:  # noqa: ANN401 # it never returns
        raise RuntimeError("create() used a service of the context")


_INERT: Any = _InertService()
_INERT_CONTEXT = AdapterContext(
    http=_INERT,
    secret=_INERT,
    tokens=_INERT,
    state=_INERT,
    now=lambda: datetime.now(UTC),
    failpoint=_INERT,
)


def build_policies(
    settings: Settings, factories: Mapping[Platform, AdapterFactory] | None = None
) -> Mapping[AccountId, AccountPolicy]:
    """Return every account's policy. Without factories, loads the usable ones, to send nothing.

    Commands that send nothing call it without factories. Accounts that are off are included:
    earlier deliveries are still read until they are settled. Accounts with an unusable adapter have
    none, as if they were no longer in the settings. Their deliveries can still be read, cancelled
    and resolved. Raises SettingsError for timings that could lead to a second post.
    """
    if factories is None:
        factories, _errors = load_usable_factories(settings.accounts.values())
    policies: dict[AccountId, AccountPolicy] = {}
    for key, account in settings.accounts.items():
        factory = factories.get(account.platform)
        if factory is None:
            continue
        limits = settings.limits.get(account.platform, LimitEntry())
        rate_limit, timing = apply_overrides(
            factory.defaults.rate_limit, factory.defaults.timing, limits
        )
        with contextlib.suppress(AdapterError):
            policies[key] = AccountPolicy(
                account=account,
                capabilities=try_adapter(account, factory),
                rate_limit=rate_limit,
                timing=timing,
                call_method=partial(get_hook(factory, "call_method"), account),
                server=find_server(account, factory),
            )
    if disordered := sorted(
        {
            item.account.platform
            for item in policies.values()
            if not item.timing.has_valid_order
        }
    ):
        raise SettingsError(
            [
                Problem(code="timings_out_of_order", facts={"platform": name})
                for name in disordered
            ]
        )
    return policies


def find_unsafe_timings(
    policies: Iterable[AccountPolicy], environment: Environment
) -> list[Problem]:
    """Return the platforms with a timing that could miss a post and repeat it; none in a drill."""
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
                "review_window_too_short",
                timing.review_window,
                item.capabilities.longest_review,
            ),
            (
                "platform_clock_tolerance_too_short",
                timing.platform_clock_tolerance,
                SERVER_DATE_TOLERANCE + CLOCK_JUMP_THRESHOLD,
            ),
        ):
            facts = {
                "wait": f"{wait.total_seconds():g}",
                "least": f"{least.total_seconds():g}",
            }
            if wait < least:
                problems[platform, code] = Problem(
                    code=code, facts={"platform": platform, **facts}
                )
    return list(problems.values())


class AdapterTexts:
    """The adapters' texts for the message catalogue.

    A package is imported once one of its own texts is needed.
    """

    def names(self) -> Collection[str]:
        """Return the names of all platforms."""
        return find_sources().keys()

    def load(self, platform: str) -> Mapping[str, Mapping[str, Any]]:
        """Return a platform's texts; none of a package that cannot be used."""
        if platform in BUILT_IN_ADAPTERS and len(find_sources()[platform]) == 1:
            # importing it takes longer than a command may
            return read_messages(f"adapters.{platform}")
        try:
            factory = load_factory(platform)
        except AdapterError:
            return {}
        name = get_hook(factory, "display_name")
        return {
            **get_hook(factory, "messages"),
            **({f"platform_{platform}": name} if name else {}),
        }


def find_pages(factories: Mapping[Platform, AdapterFactory]) -> Sequence[Path]:
    """Return the pages that packages bring for their own platforms."""
    folders = {
        platform: get_hook(factory, "templates")
        for platform, factory in factories.items()
    }
    return [
        page
        for platform, folder in folders.items()
        if folder is not None
        for suffix in PAGE_SUFFIXES
        for page in sorted(folder.glob(f"*/{platform}{suffix}"))
    ]


def find_api_blocker(account: Account) -> Problem | None:
    """Return the first error that keeps an account from posting automatically; None without one."""
    try:
        found = check_account(replace(account, mode=Mode.API))
    except AdapterError as error:
        return Problem(code=error.code, facts={"account": account.id, **error.facts})
    return next((problem for problem in found if problem.is_error), None)
