"""What a schedule wants of the next weeks, and where that is more than the accounts may send."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from publisher.domain.account import AccountId
from publisher.domain.crowding import Crowd, Wish, crowds_of
from publisher.domain.post import At, Post, PostId, Schedule
from publisher.domain.problem import Problem, Severity
from publisher.domain.terms import Terms
from publisher.schedule.times import cron_moments

AHEAD = timedelta(days=31)
"""How far ahead a plan is counted: a whole month of notices."""
NAMED = 6
"""So many posts or accounts are named; of the others their number."""


def crowding_of(
    schedule: Schedule, terms: Mapping[AccountId, Terms], known: Collection[PostId], now: datetime, tz: ZoneInfo
) -> list[Problem]:
    """Warn of days and months in which an account is asked for more than it may send.

    Posts due `asap` that the books know went out, or wait, already; what is past is not counted.
    """
    wishes = [
        Wish(post=post.id, account=account, due_at=at, is_urgent=post.is_urgent)
        for post in schedule.posts
        for at in _moments(post, known, now, tz)
        for account in post.accounts
        if account in terms
    ]
    posts = {post.id: post for post in schedule.posts}
    return [_warning(alike, posts) for alike in _alike(crowds_of(wishes, terms, tz))]


def _moments(post: Post, known: Collection[PostId], now: datetime, tz: ZoneInfo) -> Sequence[datetime]:
    if not isinstance(post.timing, At):
        return cron_moments(post, now, now + AHEAD, tz)
    if post.timing.when is None:
        return [] if post.id in known else [now]
    return [post.timing.when] if now <= post.timing.when <= now + AHEAD else []


def _alike(crowds: Sequence[Crowd]) -> Iterator[list[Crowd]]:
    """Put together what is the same on many accounts."""
    groups: dict[object, list[Crowd]] = {}
    for crowd in crowds:
        groups.setdefault((crowd.limit, crowd.span, crowd.wanted, crowd.allowed, crowd.posts), []).append(crowd)
    yield from groups.values()


def _warning(alike: Sequence[Crowd], posts: Mapping[PostId, Post]) -> Problem:
    """Point to the post that is last in line: it is the first to be moved."""
    crowd, accounts = alike[0], [name for crowd in alike for name in crowd.accounts]
    last = crowd.posts[-1]
    facts = {
        "post": last,
        "key": "at" if isinstance(posts[last].timing, At) else "cron",
        "account": _listed(accounts),
        "day": crowd.span,
        "wanted": str(crowd.wanted),
        "allowed": str(crowd.allowed),
        "posts": _listed(crowd.posts),
    }
    return Problem(code=f"crowded_{crowd.limit}", severity=Severity.WARNING, facts=facts)


def _listed(names: Sequence[str]) -> str:
    more = f" … (+{len(names) - NAMED})" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
