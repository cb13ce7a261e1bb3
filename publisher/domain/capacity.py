"""Find the days and months for which more is planned than an account may send."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum

from publisher.domain.account import AccountId, AccountPolicy, LoginId, Mode
from publisher.domain.post import PostId

DAY_FORMAT, MONTH_FORMAT = "%Y-%m-%d", "%Y-%m"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSend:
    """One occurrence of a post that is due on one account."""

    post: PostId
    account: AccountId
    due_at: datetime
    is_urgent: bool


class LimitKind(StrEnum):
    """The exceeded limit: calls a day, calls a day for routine posts, notifications a day or a month."""

    DAY = "day"
    ROUTINE = "routine"
    NOTIFICATIONS_DAY = "notices_day"
    NOTIFICATIONS_MONTH = "notices_month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """A day or month with more planned than allowed. `posts` are in due order; `accounts` share one login's calls."""

    limit: LimitKind
    accounts: tuple[AccountId, ...]
    period: str
    planned: int
    allowed: int
    posts: tuple[PostId, ...]


def find_overloads(
    planned_sends: Iterable[PlannedSend], policies: Mapping[AccountId, AccountPolicy], zone: tzinfo
) -> list[Overload]:
    """Return every day and month for which a login or an account has more planned than its limits allow.

    Calls are counted by days of `zone`, notifications by the platform's own calendar. Manual posts use no calls.
    """
    calls: dict[tuple[LoginId, str], list[PlannedSend]] = defaultdict(list)
    notifications: dict[tuple[AccountId, LimitKind, str], list[PlannedSend]] = defaultdict(list)
    for planned in sorted(planned_sends, key=lambda planned: (planned.due_at, planned.post, planned.account)):
        account = policies[planned.account].account
        if account.mode is not Mode.API:
            continue
        calls[account.login, f"{planned.due_at.astimezone(zone):{DAY_FORMAT}}"].append(planned)
        if planned.is_urgent:
            at = planned.due_at.astimezone(policies[planned.account].capabilities.notification_limit.zone)
            notifications[planned.account, LimitKind.NOTIFICATIONS_DAY, f"{at:{DAY_FORMAT}}"].append(planned)
            notifications[planned.account, LimitKind.NOTIFICATIONS_MONTH, f"{at:{MONTH_FORMAT}}"].append(planned)
    overloads: list[Overload] = []
    for (_login, day), sends in calls.items():
        rate_limit = policies[sends[0].account].rate_limit
        routine = [planned for planned in sends if not planned.is_urgent]
        routine_limit = rate_limit.per_day - rate_limit.reserved_for_urgent(rate_limit.per_day)
        if len(sends) > rate_limit.per_day:
            overloads.append(_make_overload(LimitKind.DAY, day, sends, rate_limit.per_day))
        elif len(routine) > routine_limit:
            overloads.append(_make_overload(LimitKind.ROUTINE, day, routine, routine_limit))
    for (account_id, kind, period), sends in notifications.items():
        capabilities = policies[account_id].capabilities
        limit = capabilities.notification_limit
        allowed = limit.per_month if kind is LimitKind.NOTIFICATIONS_MONTH else limit.per_day
        if capabilities.notifies_followers and allowed is not None and len(sends) > allowed:
            overloads.append(_make_overload(kind, period, sends, allowed))
    return overloads


def _make_overload(limit: LimitKind, period: str, planned_sends: Sequence[PlannedSend], allowed: int) -> Overload:
    return Overload(
        limit=limit,
        accounts=tuple(sorted({planned.account for planned in planned_sends})),
        period=period,
        planned=len(planned_sends),
        allowed=allowed,
        posts=tuple(dict.fromkeys(planned.post for planned in planned_sends)),
    )
