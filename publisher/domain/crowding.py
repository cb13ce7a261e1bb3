"""Where a plan wants more than an account may send."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum

from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.post import PostId
from publisher.domain.quota import Quota
from publisher.domain.terms import Terms

DAY, MONTH = "%Y-%m-%d", "%Y-%m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One occurrence of a post that is to go out on one account."""

    post: PostId
    account: AccountId
    due_at: datetime
    is_urgent: bool


class Limit(StrEnum):
    """What is too small for a plan: a day's calls, what urgent posts leave of them, a day's or month's notices."""

    DAY = "day"
    ROUTINE = "routine"
    NOTICES_DAY = "notices_day"
    NOTICES_MONTH = "notices_month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """More is wanted within a day or month than is allowed. `posts` are in the order in which they are due.

    `accounts` are those of one login, which share its calls.
    """

    limit: Limit
    accounts: tuple[AccountId, ...]
    span: str
    wanted: int
    allowed: int
    posts: tuple[PostId, ...]


def crowds_of(wishes: Iterable[Wish], terms: Mapping[AccountId, Terms], zone: tzinfo) -> list[Crowd]:
    """Give every day and month in which a login or an account is asked for more than its limits allow.

    Days of calls are those of `zone`, as they may be reckoned in any; notices go by the platform's own calendar. What
    people post by hand uses no calls.
    """
    by_day: dict[tuple[LoginId, str], list[Wish]] = defaultdict(list)
    notices: dict[tuple[AccountId, Limit, str], list[Wish]] = defaultdict(list)
    for wish in sorted(wishes, key=lambda wish: (wish.due_at, wish.post, wish.account)):
        account = terms[wish.account].account
        if account.mode is not Mode.API:
            continue
        by_day[account.login, f"{wish.due_at.astimezone(zone):{DAY}}"].append(wish)
        if wish.is_urgent:
            at = wish.due_at.astimezone(terms[wish.account].traits.notices.zone)
            notices[wish.account, Limit.NOTICES_DAY, f"{at:{DAY}}"].append(wish)
            notices[wish.account, Limit.NOTICES_MONTH, f"{at:{MONTH}}"].append(wish)
    crowds = [_of_day(span, those, terms[those[0].account].quota) for (_login, span), those in by_day.items()]
    crowds += [_of_notices(limit, span, those, terms[account]) for (account, limit, span), those in notices.items()]
    return [crowd for crowd in crowds if crowd is not None]


def _of_day(span: str, wishes: Sequence[Wish], quota: Quota) -> Crowd | None:
    routine = [wish for wish in wishes if not wish.is_urgent]
    usable = quota.per_day - quota.kept_back(quota.per_day)
    if len(wishes) > quota.per_day:
        return _crowd(Limit.DAY, span, wishes, quota.per_day)
    return _crowd(Limit.ROUTINE, span, routine, usable) if len(routine) > usable else None


def _of_notices(limit: Limit, span: str, wishes: Sequence[Wish], terms: Terms) -> Crowd | None:
    notices = terms.traits.notices
    allowed = notices.per_month if limit is Limit.NOTICES_MONTH else notices.per_day
    if not terms.traits.notifies or allowed is None or len(wishes) <= allowed:
        return None
    return _crowd(limit, span, wishes, allowed)


def _crowd(limit: Limit, span: str, wishes: Sequence[Wish], allowed: int) -> Crowd:
    return Crowd(
        limit=limit,
        accounts=tuple(sorted({wish.account for wish in wishes})),
        span=span,
        wanted=len(wishes),
        allowed=allowed,
        posts=tuple(dict.fromkeys(wish.post for wish in wishes)),
    )
