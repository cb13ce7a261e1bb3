"""The recoveries of platforms that pages offer: the accounts that one cause has stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote

from publisher.domain.account import AccountId, Platform
from publisher.domain.user import Permission
from publisher.engine.recovery_orders import PauseChoice, choose_pauses
from publisher.store.queries.queries import Pause
from publisher.web.kit.site import Visitor

MIN_ACCOUNTS = 2
"""How many accounts one cause must have stopped: a single one has its own button."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformRecovery:
    """The accounts of a platform that publisher has paused for one reason.

    They are the ones that the visitor may resume.
    """

    platform: Platform
    reason: str
    choice: PauseChoice

    @property
    def accounts(self) -> Sequence[AccountId]:
        scopes = (pause.scope for pause in self.choice.chosen)
        return [AccountId(scope.removeprefix("account:")) for scope in scopes]

    @property
    def path(self) -> str:
        return f"/platforms/{quote(self.platform, safe='')}/resume"

    @property
    def form_path(self) -> str:
        return f"{self.path}?reason={quote(self.reason, safe='')}"

    def seen_at(self, instant: datetime) -> "PlatformRecovery":
        """Return the recovery of the pauses that a page of this instant has shown."""
        shown = [pause for pause in self.choice.chosen if pause.at <= instant]
        return replace(self, choice=replace(self.choice, chosen=shown))


def list_operable(visitor: Visitor) -> Mapping[Platform, Sequence[AccountId]]:
    """Return the accounts that a visitor may resume, by platform."""
    reach, found = visitor.reach(Permission.OPERATE), dict[Platform, list[AccountId]]()
    for account in visitor.site.settings.accounts.values():
        if reach is None or account.id in reach:
            found.setdefault(account.platform, []).append(account.id)
    return found


def find_recoveries(
    visitor: Visitor, pauses: Sequence[Pause]
) -> Sequence[PlatformRecovery]:
    """Return the causes that have stopped several accounts of a platform, the widest first."""
    found = [
        PlatformRecovery(
            platform=platform,
            reason=reason,
            choice=choose_pauses(pauses, accounts, reason),
        )
        for platform, accounts in list_operable(visitor).items()
        for reason in choose_pauses(pauses, accounts, None).reasons
    ]
    several = [each for each in found if len(each.accounts) >= MIN_ACCOUNTS]
    return sorted(several, key=lambda each: -len(each.accounts))


def describe_cause(visitor: Visitor, recovery: PlatformRecovery) -> str:
    return visitor.messages.translate(
        "pages_recovery_says",
        platform=visitor.messages.platform_short_name(recovery.platform),
        number=len(recovery.accounts),
        reason=visitor.formatter.reason(recovery.reason),
    )
