"""Notices of one cause, grouped: fifty accounts with one fault are one paragraph of a message."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from publisher.domain.account import Account, AccountId
from publisher.domain.alert_classes import Urgency, classify
from publisher.store.monitor.sign_in_links import SIGN_IN_WANTED
from publisher.store.notices import NoticeKind, PendingNotice
from publisher.store.queries.queries import Alert

PROBLEM_KINDS = frozenset(
    {
        NoticeKind.OPENED,
        NoticeKind.REPEATED,
        NoticeKind.RETURNED,
        NoticeKind.ESCALATED,
    }
)
_URGENCIES = list(Urgency)
Cause = tuple[str, ...]
GroupKey = tuple[str, Cause]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeGroup:
    """Notices of one kind and one cause, oldest first; or one that is about no alert."""

    notices: Sequence[PendingNotice]
    platform: str = ""
    """The platform of all of their accounts; empty if they are about none."""

    @property
    def first(self) -> PendingNotice:
        return self.notices[0]

    @property
    def alerts(self) -> Sequence[Alert]:
        return [each.alert for each in self.notices if each.alert is not None]

    @property
    def urgency(self) -> Urgency:
        alert = self.first.alert
        return classify(alert.code).urgency if alert else Urgency.ROUTINE

    @property
    def is_problem(self) -> bool:
        return self.first.kind in PROBLEM_KINDS

    def values_of(self, fact: str) -> Sequence[str]:
        """Return the different values of a fact of the alerts, in order."""
        named = (alert.facts.get(fact) for alert in self.alerts)
        return list(dict.fromkeys(filter(None, named)))


def group_notices(
    notices: Sequence[PendingNotice], platform_of: Callable[[AccountId], str]
) -> Sequence[NoticeGroup]:
    """Return the notices in groups of one kind and one cause, the most severe first."""
    groups: dict[GroupKey, list[PendingNotice]] = {}
    for notice in notices:
        alert = notice.alert
        cause = find_cause(alert, platform_of) if alert else (notice.key,)
        groups.setdefault((notice.kind, cause), []).append(notice)
    found = []
    for each in groups.values():
        alert = each[0].alert
        account = alert.facts.get("account") if alert else None
        platform = platform_of(AccountId(account)) if account else ""
        found.append(NoticeGroup(notices=each, platform=platform))
    return sorted(found, key=severity_of)


def find_cause(alert: Alert, platform_of: Callable[[AccountId], str]) -> Cause:
    """Return the cause of an alert: its code, its reason, and its platform or post.

    It belongs to a post if it concerns no account.
    """
    if alert.code == SIGN_IN_WANTED:  # each has an address of its own
        return alert.code, alert.subject
    cause = (alert.code, alert.facts.get("reason", ""))
    if account := alert.facts.get("account"):
        return (*cause, "platform", platform_of(AccountId(account)))
    return (*cause, "post", alert.facts.get("post", ""))


def platform_of(accounts: Mapping[AccountId, Account], account: AccountId) -> str:
    """Return the platform of an account; empty for one that has left the settings."""
    known = accounts.get(account)
    return known.platform if known else ""


def severity_of(group: NoticeGroup) -> tuple[bool, int, int]:
    """Return a key that sorts the ends of problems last."""
    return not group.is_problem, _URGENCIES.index(group.urgency), group.first.id
