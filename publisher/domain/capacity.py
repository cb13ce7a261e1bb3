"""Where a plan wants more than an account may send."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum

from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.policy import AccountPolicy, RateLimit
from publisher.domain.post import PostId

DAY_FORMAT, MONTH_FORMAT = "%Y-%m-%d", "%Y-%m"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSend:
    """One occurrence of a post that is to go out on one account."""

    post: PostId
    account: AccountId
    due_at: datetime
    is_urgent: bool


class LimitKind(StrEnum):
    """What is too small for a plan: a day's calls, what urgent posts leave of them, a day's or month's notices."""

    DAY = "day"
    ROUTINE = "routine"
    NOTIFICATIONS_DAY = "notices_day"
    NOTIFICATIONS_MONTH = "notices_month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """More is wanted within a day or month than is allowed. `posts` are in the order in which they are due.

    `accounts` are those of one login, which share its calls.
    """

    limit: LimitKind
    accounts: tuple[AccountId, ...]
    period: str
    planned: int
    allowed: int
    posts: tuple[PostId, ...]


def find_overloads(
    planned_sends: Iterable[PlannedSend], policies: Mapping[AccountId, AccountPolicy], zone: tzinfo
) -> list[Overload]:
    """Give every day and month in which a login or an account is asked for more than its limits allow.

    Days of calls are those of `zone`, as they may be reckoned in any; notices go by the platform's own calendar. What
    people post by hand uses no calls.
    """
    by_day: dict[tuple[LoginId, str], list[PlannedSend]] = defaultdict(list)
    notices: dict[tuple[AccountId, LimitKind, str], list[PlannedSend]] = defaultdict(list)
    for wish in sorted(planned_sends, key=lambda wish: (wish.due_at, wish.post, wish.account)):
        account = policies[wish.account].account
        if account.mode is not Mode.API:
            continue
        by_day[account.login, f"{wish.due_at.astimezone(zone):{DAY_FORMAT}}"].append(wish)
        if wish.is_urgent:
            at = wish.due_at.astimezone(policies[wish.account].capabilities.notification_limit.zone)
            notices[wish.account, LimitKind.NOTIFICATIONS_DAY, f"{at:{DAY_FORMAT}}"].append(wish)
            notices[wish.account, LimitKind.NOTIFICATIONS_MONTH, f"{at:{MONTH_FORMAT}}"].append(wish)
    crowds = [
        _check_day(span, those, policies[those[0].account].rate_limit) for (_login, span), those in by_day.items()
    ]
    crowds += [
        _check_notifications(limit, span, those, policies[account]) for (account, limit, span), those in notices.items()
    ]
    return [crowd for crowd in crowds if crowd is not None]


def _check_day(period: str, planned_sends: Sequence[PlannedSend], rate_limit: RateLimit) -> Overload | None:
    routine = [wish for wish in planned_sends if not wish.is_urgent]
    usable = rate_limit.per_day - rate_limit.reserved_for_urgent(rate_limit.per_day)
    if len(planned_sends) > rate_limit.per_day:
        return _make_overload(LimitKind.DAY, period, planned_sends, rate_limit.per_day)
    return _make_overload(LimitKind.ROUTINE, period, routine, usable) if len(routine) > usable else None


def _check_notifications(
    limit: LimitKind, period: str, planned_sends: Sequence[PlannedSend], policy: AccountPolicy
) -> Overload | None:
    notices = policy.capabilities.notification_limit
    allowed = notices.per_month if limit is LimitKind.NOTIFICATIONS_MONTH else notices.per_day
    if not policy.capabilities.notifies_followers or allowed is None or len(planned_sends) <= allowed:
        return None
    return _make_overload(limit, period, planned_sends, allowed)


def _make_overload(limit: LimitKind, period: str, planned_sends: Sequence[PlannedSend], allowed: int) -> Overload:
    return Overload(
        limit=limit,
        accounts=tuple(sorted({wish.account for wish in planned_sends})),
        period=period,
        planned=len(planned_sends),
        allowed=allowed,
        posts=tuple(dict.fromkeys(wish.post for wish in planned_sends)),
    )
