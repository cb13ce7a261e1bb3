"""The context of a schedule: the accounts, groups, templates and posts that it may name."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from publisher.config import BUILT_IN_PLATFORMS, Settings
from publisher.domain.account import Account, AccountId, Mode
from publisher.domain.post import PostId
from publisher.tomlfile import KeyPath, UnlocatedProblem, suggest_closest


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleContext:
    """The names a schedule may use, and the zone of its times. `known_posts` are in the database, not in the file.

    If `templates` is None, any name is accepted; a missing template is reported when it is used.
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
    """Make the context of a schedule from the operator's settings."""
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
    """Resolves `to` into accounts. Most posts of a file have the same recipients, so results are cached."""

    def __init__(self, context: ScheduleContext) -> None:
        self._accounts = context.accounts
        self._resolved: dict[tuple[str, ...], tuple[AccountId, ...]] = {}
        names: dict[str, tuple[AccountId, ...]] = {"all": tuple(context.accounts)}
        for account in context.accounts.values():
            names[f"platform:{account.platform}"] = (*names.get(f"platform:{account.platform}", ()), account.id)
            if account.region:
                names[f"region:{account.region}"] = (*names.get(f"region:{account.region}", ()), account.id)
        names.update(context.groups)
        names.update((str(account), (account,)) for account in context.accounts)
        self._accounts_by_name = names

    def resolve(self, to: tuple[str, ...]) -> tuple[AccountId, ...]:
        """Return the accounts that are not off, each once, in the order of first mention. Unknown names are skipped."""
        if to not in self._resolved:
            named = dict.fromkeys(account for name in to for account in self._accounts_by_name.get(name, ()))
            self._resolved[to] = tuple(account for account in named if self._accounts[account].mode is not Mode.OFF)
        return self._resolved[to]

    def find_problems(self, to: tuple[str, ...], base_path: KeyPath) -> list[UnlocatedProblem]:
        """Return a problem for each unknown name."""
        problems = []
        for position, name in enumerate(to):
            if name in self._accounts_by_name:
                continue
            kind, separator, _ = name.partition(":")
            code = {"platform": "unknown_platform", "region": "unknown_region"}.get(kind) if separator else None
            choices = [known for known in self._accounts_by_name if not code or known.startswith(f"{kind}:")]
            facts = {"value": name, "choices": suggest_closest(name, choices)}
            path = (*base_path, position)
            problems.append(UnlocatedProblem(path=path, code=code or "unknown_recipient", facts=facts))
        return problems
