"""Notices of one cause, grouped: fifty accounts with one fault are one paragraph of a message."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from publisher.domain.account import AccountId
from publisher.domain.alert_classes import Urgency, classify
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
GroupKey = tuple[str, ...]


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
    """Return the notices in groups of one cause, the most severe first.

    A cause is the code and the reason of an alert. It belongs to a platform, or to a post if it
    concerns no account.
    """
    groups: dict[GroupKey, list[PendingNotice]] = {}
    platforms: dict[GroupKey, str] = {}
    for notice in notices:
        key, platform = find_cause(notice, platform_of)
        groups.setdefault(key, []).append(notice)
        platforms[key] = platform
    found = [
        NoticeGroup(notices=each, platform=platforms[key])
        for key, each in groups.items()
    ]
    return sorted(found, key=severity_of)


def find_cause(
    notice: PendingNotice, platform_of: Callable[[AccountId], str]
) -> tuple[GroupKey, str]:
    alert = notice.alert
    if alert is None:
        return (notice.kind, notice.key), ""
    cause = (notice.kind, alert.code, alert.facts.get("reason", ""))
    if account := alert.facts.get("account"):
        platform = platform_of(AccountId(account))
        return (*cause, "platform", platform), platform
    return (*cause, "post", alert.facts.get("post", "")), ""


def severity_of(group: NoticeGroup) -> tuple[bool, int, int]:
    """Return a key that sorts the ends of problems last."""
    return not group.is_problem, _URGENCIES.index(group.urgency), group.first.id
