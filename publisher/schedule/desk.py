"""What a schedule is read against."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from publisher.domain.account import Account, AccountId, Mode
from publisher.domain.post import PostId
from publisher.settings import BUILT_IN, Settings
from publisher.tomlfile import Flaw, Loc, close_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The names a schedule may use, and the zone of its times. `known_posts` are in the books, not in the file.

    Where `templates` is None, any name may be one: what is wrong with it is told when it is used.
    """

    timezone: ZoneInfo
    accounts: Mapping[AccountId, Account]
    groups: Mapping[str, tuple[AccountId, ...]] = field(default_factory=dict)
    templates: Collection[str] | None = ()
    platforms: Collection[str] = BUILT_IN
    known_posts: Collection[PostId] = frozenset()


def desk_for(settings: Settings, *, templates: Collection[str], known_posts: Collection[PostId] = frozenset()) -> Desk:
    """Lay out the operator's settings for reading a schedule."""
    platforms = BUILT_IN | {account.platform for account in settings.accounts.values()}
    return Desk(
        timezone=settings.timezone,
        accounts=settings.accounts,
        groups=settings.groups,
        templates=templates,
        platforms=platforms,
        known_posts=known_posts,
    )


class Directory:
    """Resolves `to`. Most posts of a file name the same recipients, so each answer is kept."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._resolved: dict[tuple[str, ...], tuple[AccountId, ...]] = {}
        self._names = _names(desk)

    def accounts(self, to: tuple[str, ...]) -> tuple[AccountId, ...]:
        """Give the accounts that are not off, each once, in the order of their first mention."""
        return self._resolved[to] if to in self._resolved else self._resolve(to)

    def _resolve(self, to: tuple[str, ...]) -> tuple[AccountId, ...]:
        named = dict.fromkeys(account for name in to for account in self._names.get(name, ()))
        return tuple(account for account in named if self._desk.accounts[account].mode is not Mode.OFF)

    def flaws(self, to: tuple[str, ...], here: Loc) -> list[Flaw]:
        """Give the names that stand for nobody."""
        if to in self._resolved:
            return []
        flaws = [self._flaw(name, (*here, position)) for position, name in enumerate(to) if name not in self._names]
        if not flaws:
            self._resolved[to] = self._resolve(to)
        return flaws

    def _flaw(self, name: str, loc: Loc) -> Flaw:
        kind, separator, _ = name.partition(":")
        code = {"platform": "unknown_platform", "region": "unknown_region"}.get(kind) if separator else None
        choices = [known for known in self._names if known.startswith(f"{kind}:")] if code else list(self._names)
        facts = {"value": name, "choices": close_to(name, choices)}
        return Flaw(loc=loc, code=code or "unknown_recipient", facts=facts)


def _names(desk: Desk) -> dict[str, tuple[AccountId, ...]]:
    names: dict[str, tuple[AccountId, ...]] = {"all": tuple(desk.accounts)}
    for account in desk.accounts.values():
        names[f"platform:{account.platform}"] = (*names.get(f"platform:{account.platform}", ()), account.id)
        if account.region:
            names[f"region:{account.region}"] = (*names.get(f"region:{account.region}", ()), account.id)
    names.update(desk.groups)
    names.update((str(account), (account,)) for account in desk.accounts)
    return names
