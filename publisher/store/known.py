"""What the database holds of the posts that planning compares with a schedule.

The past grows for years, so of what is over only as much is read as a plan can depend on: that it was filed, and for
when.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, RowMapping, Select, and_, func, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import REVISABLE, UNWANTED, Desired, State
from publisher.domain.plan import Known, KnownOccurrence, KnownPost
from publisher.domain.post import ONCE, Post, PostId
from publisher.store.conditions import stands_open
from publisher.store.journal import Intent
from publisher.store.recovery import unplaced
from publisher.store.rows import DELIVERY, POST

CRON_LOOKBACK = timedelta(days=40)
"""How far back the occurrences of repeating posts are compared with the schedule."""
DROPPED = ("removed_from_schedule", "target_removed")
"""Why the planner cancels."""
AT_A_TIME = 500
_ONCE_AT = (
    select(DELIVERY.c.planned_at)
    .where(DELIVERY.c.post == POST.c.id, DELIVERY.c.label == ONCE)
    .order_by(DELIVERY.c.planned_at.desc())
    .limit(1)
    .scalar_subquery()
    .label("once_at")
)
_POSTS = select(
    *(POST.c[name] for name in ("id", "definition", "in_force_since", "is_withdrawn", "is_scheduled")), _ONCE_AT
)
_COLUMNS = [
    DELIVERY.c[name]
    for name in (
        "post", "label", "account", "state", "planned_at", "definition", "attempts", "reason", "desired",
        "last_first_call_at",
    )
]  # fmt: skip
_KEYS = select(DELIVERY.c.post, DELIVERY.c.label)
_OPEN = _KEYS.where(stands_open(DELIVERY, *REVISABLE))
Filed = dict[str, dict[str, KnownOccurrence]]
"""Occurrences by post and label."""


def read_known(connection: Connection, posts: Sequence[Post], now: datetime) -> Known:
    """Give what the database holds of the posts in the schedule in force, and of `posts`.

    An occurrence is given whole as long as something of it is open, or one of `posts` could still be sent as late as
    that; of others it is only given when they were.
    """
    known = {row.id: row for row in connection.execute(_POSTS.where(POST.c.is_scheduled))}
    others = list(_portions([post.id for post in posts if post.id not in known]))
    for some in others:
        known |= {row.id: row for row in connection.execute(_POSTS.where(POST.c.id.in_(some)))}
    filed: Filed = defaultdict(dict)
    filed |= {row.id: {ONCE: _over(row.once_at)} for row in known.values() if row.once_at is not None}
    whole = [_OPEN]
    longest = max((post.max_delay for post in posts), default=timedelta())
    for scope in (POST.c.is_scheduled, *(POST.c.id.in_(some) for some in others)):
        its = DELIVERY.c.post.in_(select(POST.c.id).where(scope))
        for row in connection.execute(_repeated(its, now - CRON_LOOKBACK)):
            filed[row.post][row.label] = _over(row.planned_at)
        whole += _planned(its, now - longest)
    for keys in whole:
        for (post, label), rows in _groups(connection, keys).items():
            if post in known:
                filed[post][label] = _known_occurrence(rows)
    called = _called(connection)
    lost = {post: books for post, books in called.items() if post not in known}
    return lost | {
        PostId(row.id): KnownPost(
            definition=row.definition,
            in_force_since=row.in_force_since,
            is_withdrawn=row.is_withdrawn,
            is_scheduled=row.is_scheduled,
            occurrences=filed.get(row.id, {}),
            called=called[row.id].called if row.id in called else frozenset(),
        )
        for row in known.values()
    }


def rows_of(connection: Connection, posts: Sequence[PostId]) -> Iterator[Row[Any]]:
    """Give the rows of these posts, of those that there are."""
    for some in _portions(sorted(set(posts))):
        yield from connection.execute(select(POST).where(POST.c.id.in_(some)))


def _portions(posts: Sequence[PostId]) -> Iterator[Sequence[PostId]]:
    return (posts[start : start + AT_A_TIME] for start in range(0, len(posts), AT_A_TIME))


def _over(planned_at: datetime) -> KnownOccurrence:
    return KnownOccurrence(
        due_at=planned_at,
        definition="",
        accounts=frozenset(),
        has_started=True,
        open_accounts=frozenset(),
        is_over=True,
    )


def _repeated(its: ColumnElement[bool], since: datetime) -> Select[Any]:
    """Name the occurrences of repeating posts since an instant. Their labels are instants, in their order."""
    newest = func.max(DELIVERY.c.planned_at, type_=DELIVERY.c.planned_at.type).label("planned_at")
    found = select(DELIVERY.c.post, DELIVERY.c.label, newest).where(its, *_repeated_since(since))
    return found.group_by(DELIVERY.c.post, DELIVERY.c.label)


def _planned(its: ColumnElement[bool], since: datetime) -> list[Select[Any]]:
    """Name the occurrences of which something was planned for an instant or later."""
    planned = _KEYS.where(its, DELIVERY.c.planned_at >= since)
    return [planned.where(DELIVERY.c.label == ONCE), planned.where(*_repeated_since(since))]


def _repeated_since(since: datetime) -> tuple[ColumnElement[bool], ...]:
    return DELIVERY.c.label >= since.date().isoformat(), DELIVERY.c.label < ONCE


def _groups(connection: Connection, keys: Select[Any]) -> Mapping[tuple[str, str], Sequence[RowMapping]]:
    """Give all deliveries of some occurrences, by post and label."""
    named = keys.distinct().subquery()
    mine = and_(DELIVERY.c.post == named.c.post, DELIVERY.c.label == named.c.label)
    found: dict[tuple[str, str], list[RowMapping]] = defaultdict(list)
    for row in connection.execute(select(*_COLUMNS).join(named, mine)).mappings():
        found[row["post"], row["label"]].append(row)
    return found


def _known_occurrence(rows: Sequence[RowMapping]) -> KnownOccurrence:
    revisable = [row for row in rows if row["state"] in REVISABLE]
    wanted = [row for row in revisable if row["desired"] not in UNWANTED]
    unnamed = [row for row in revisable if row["desired"] == Desired.NOT_HERE]
    wordings = {row["definition"] for row in wanted}
    return KnownOccurrence(
        due_at=max(row["planned_at"] for row in wanted or rows),
        definition=wordings.pop() if len(wordings) == 1 else "",
        accounts=frozenset(AccountId(row["account"]) for row in rows),
        has_started=any(_has_called(row) for row in rows),
        open_accounts=frozenset(AccountId(row["account"]) for row in wanted),
        unnamed_accounts=frozenset(AccountId(row["account"]) for row in unnamed),
        dropped_accounts=frozenset(AccountId(row["account"]) for row in rows if row["reason"] in DROPPED),
    )


def _has_called(row: RowMapping) -> bool:
    """Return True if a creating call has begun, or may have."""
    is_over = row["attempts"] > 0 and row["last_first_call_at"] is None
    return is_over or row["state"] == State.SENDING


def _called(connection: Connection) -> Mapping[PostId, KnownPost]:
    """Give the posts of announced calls that fit no delivery, as far as the calls tell of them."""
    found: dict[str, list[Intent]] = defaultdict(list)
    for call in unplaced(connection):
        found[call.post].append(call)
    return {
        PostId(post): KnownPost(
            definition="",
            in_force_since=min(map(_due_at_latest, calls)),
            is_scheduled=False,
            called=frozenset(call.label for call in calls),
        )
        for post, calls in found.items()
    }


def _due_at_latest(call: Intent) -> datetime:
    try:
        return datetime.fromisoformat(call.label)
    except ValueError:
        return datetime.fromisoformat(call.at)
