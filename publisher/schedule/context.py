"""What a schedule is read against."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from publisher.config import BUILT_IN_PLATFORMS, Settings
from publisher.domain.account import Account, AccountId, Mode
from publisher.domain.post import PostId
from publisher.tomlfile import KeyPath, UnlocatedProblem, suggest_closest


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleContext:
    """The names a schedule may use, and the zone of its times. `known_posts` are in the books, not in the file.

    Where `templates` is None, any name may be one: what is wrong with it is told when it is used.
    """

    timezone: ZoneInfo
    accounts: Mapping[AccountId, Account]
    groups: Mapping[str, tuple[AccountId, ...]] = field(default_factory=dict)
    templates: Collection[str] | None = ()
    platforms: Collection[str] = BUILT_IN_PLATFORMS
    known_posts: Collection[PostId] = frozenset()


def make_schedule_context(
    settings: Settings, *, templates: Collection[str], known_posts: Collection[PostId] = frozenset()
) -> ScheduleContext:
    """Lay out the operator's settings for reading a schedule."""
    platforms = BUILT_IN_PLATFORMS | {account.platform for account in settings.accounts.values()}
    return ScheduleContext(
        timezone=settings.timezone,
        accounts=settings.accounts,
        groups=settings.groups,
        templates=templates,
        platforms=platforms,
        known_posts=known_posts,
    )


class RecipientResolver:
    """Resolves `to`. Most posts of a file name the same recipients, so each answer is kept."""

    def __init__(self, context: ScheduleContext) -> None:
        self._context = context
        self._resolved: dict[tuple[str, ...], tuple[AccountId, ...]] = {}
        self._accounts_by_name = _index_names(context)

    def resolve(self, to: tuple[str, ...]) -> tuple[AccountId, ...]:
        """Give the accounts that are not off, each once, in the order of their first mention."""
        return self._resolved[to] if to in self._resolved else self._resolve(to)

    def _resolve(self, to: tuple[str, ...]) -> tuple[AccountId, ...]:
        named = dict.fromkeys(account for name in to for account in self._accounts_by_name.get(name, ()))
        return tuple(account for account in named if self._context.accounts[account].mode is not Mode.OFF)

    def find_problems(self, to: tuple[str, ...], base_path: KeyPath) -> list[UnlocatedProblem]:
        """Give the names that stand for nobody."""
        if to in self._resolved:
            return []
        flaws = [
            self._make_problem(name, (*base_path, position))
            for position, name in enumerate(to)
            if name not in self._accounts_by_name
        ]
        if not flaws:
            self._resolved[to] = self._resolve(to)
        return flaws

    def _make_problem(self, name: str, path: KeyPath) -> UnlocatedProblem:
        kind, separator, _ = name.partition(":")
        code = {"platform": "unknown_platform", "region": "unknown_region"}.get(kind) if separator else None
        choices = (
            [known for known in self._accounts_by_name if known.startswith(f"{kind}:")]
            if code
            else list(self._accounts_by_name)
        )
        facts = {"value": name, "choices": suggest_closest(name, choices)}
        return UnlocatedProblem(path=path, code=code or "unknown_recipient", facts=facts)


def _index_names(context: ScheduleContext) -> dict[str, tuple[AccountId, ...]]:
    names: dict[str, tuple[AccountId, ...]] = {"all": tuple(context.accounts)}
    for account in context.accounts.values():
        names[f"platform:{account.platform}"] = (*names.get(f"platform:{account.platform}", ()), account.id)
        if account.region:
            names[f"region:{account.region}"] = (*names.get(f"region:{account.region}", ()), account.id)
    names.update(context.groups)
    names.update((str(account), (account,)) for account in context.accounts)
    return names
