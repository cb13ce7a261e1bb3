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
from publisher.domain.delivery import DESIRED_NO_SEND, REVISABLE_STATES, DesiredState, State
from publisher.domain.plan import StoredOccurrence, StoredPost, StoredPosts
from publisher.domain.post import ONCE_OCCURRENCE, Post, PostId
from publisher.store.db.filters import in_open_state
from publisher.store.db.intent_journal import JournalRecord
from publisher.store.db.mappers import DELIVERY, POST
from publisher.store.recovery.recover import orphaned_attempts

CRON_LOOKBACK = timedelta(days=40)
"""How far back the occurrences of repeating posts are compared with the schedule."""
REMOVAL_REASONS = ("removed_from_schedule", "target_removed")
"""Why the planner cancels."""
QUERY_BATCH_SIZE = 500
_SCHEDULED_ONCE_AT = (
    select(DELIVERY.c.scheduled_at)
    .where(DELIVERY.c.post == POST.c.id, DELIVERY.c.occurrence == ONCE_OCCURRENCE)
    .order_by(DELIVERY.c.scheduled_at.desc())
    .limit(1)
    .scalar_subquery()
    .label("once_at")
)
_POSTS = select(
    *(POST.c[name] for name in ("id", "content_hash", "in_force_since", "is_cancelled", "is_scheduled")),
    _SCHEDULED_ONCE_AT,
)
_COLUMNS = [
    DELIVERY.c[name]
    for name in (
        "post", "occurrence", "account", "state", "scheduled_at", "content_hash", "attempts", "reason", "desired",
        "first_attempt_deadline",
    )
]  # fmt: skip
_OCCURRENCE_KEYS = select(DELIVERY.c.post, DELIVERY.c.occurrence)
_OPEN_OCCURRENCES = _OCCURRENCE_KEYS.where(in_open_state(DELIVERY, *REVISABLE_STATES))
OccurrencesByPost = dict[str, dict[str, StoredOccurrence]]
"""Occurrences by post and label."""


def read_stored_posts(connection: Connection, posts: Sequence[Post], now: datetime) -> StoredPosts:
    """Give what the database holds of the posts in the schedule in force, and of `posts`.

    An occurrence is given whole as long as something of it is open, or one of `posts` could still be sent as late as
    that; of others it is only given when they were.
    """
    known = {row.id: row for row in connection.execute(_POSTS.where(POST.c.is_scheduled))}
    others = list(_batches([post.id for post in posts if post.id not in known]))
    for some in others:
        known |= {row.id: row for row in connection.execute(_POSTS.where(POST.c.id.in_(some)))}
    filed: OccurrencesByPost = defaultdict(dict)
    filed |= {
        row.id: {ONCE_OCCURRENCE: _ended_occurrence(row.once_at)} for row in known.values() if row.once_at is not None
    }
    whole = [_OPEN_OCCURRENCES]
    longest = max((post.max_delay for post in posts), default=timedelta())
    for scope in (POST.c.is_scheduled, *(POST.c.id.in_(some) for some in others)):
        its = DELIVERY.c.post.in_(select(POST.c.id).where(scope))
        for row in connection.execute(_recurring(its, now - CRON_LOOKBACK)):
            filed[row.post][row.occurrence] = _ended_occurrence(row.scheduled_at)
        whole += _scheduled(its, now - longest)
    for keys in whole:
        for (post, label), rows in _deliveries_by_occurrence(connection, keys).items():
            if post in known:
                filed[post][label] = _stored_occurrence(rows)
    called = _posts_of_orphans(connection)
    lost = {post: books for post, books in called.items() if post not in known}
    return lost | {
        PostId(row.id): StoredPost(
            content_hash=row.content_hash,
            active_since=row.in_force_since,
            is_cancelled=row.is_cancelled,
            is_scheduled=row.is_scheduled,
            occurrences=filed.get(row.id, {}),
            attempted_occurrences=called[row.id].attempted_occurrences if row.id in called else frozenset(),
        )
        for row in known.values()
    }


def post_rows(connection: Connection, posts: Sequence[PostId]) -> Iterator[Row[Any]]:
    """Give the rows of these posts, of those that there are."""
    for some in _batches(sorted(set(posts))):
        yield from connection.execute(select(POST).where(POST.c.id.in_(some)))


def _batches(posts: Sequence[PostId]) -> Iterator[Sequence[PostId]]:
    return (posts[start : start + QUERY_BATCH_SIZE] for start in range(0, len(posts), QUERY_BATCH_SIZE))


def _ended_occurrence(scheduled_at: datetime) -> StoredOccurrence:
    return StoredOccurrence(
        due_at=scheduled_at,
        content_hash="",
        accounts=frozenset(),
        has_started=True,
        open_accounts=frozenset(),
        is_finished=True,
    )


def _recurring(condition: ColumnElement[bool], since: datetime) -> Select[Any]:
    """Name the occurrences of repeating posts since an instant. Their labels are instants, in their order."""
    newest = func.max(DELIVERY.c.scheduled_at, type_=DELIVERY.c.scheduled_at.type).label("scheduled_at")
    found = select(DELIVERY.c.post, DELIVERY.c.occurrence, newest).where(condition, *_recurring_since(since))
    return found.group_by(DELIVERY.c.post, DELIVERY.c.occurrence)


def _scheduled(condition: ColumnElement[bool], since: datetime) -> list[Select[Any]]:
    """Name the occurrences of which something was planned for an instant or later."""
    planned = _OCCURRENCE_KEYS.where(condition, DELIVERY.c.scheduled_at >= since)
    return [planned.where(DELIVERY.c.occurrence == ONCE_OCCURRENCE), planned.where(*_recurring_since(since))]


def _recurring_since(since: datetime) -> tuple[ColumnElement[bool], ...]:
    return DELIVERY.c.occurrence >= since.date().isoformat(), DELIVERY.c.occurrence < ONCE_OCCURRENCE


def _deliveries_by_occurrence(
    connection: Connection, keys: Select[Any]
) -> Mapping[tuple[str, str], Sequence[RowMapping]]:
    """Give all deliveries of some occurrences, by post and label."""
    named = keys.distinct().subquery()
    mine = and_(DELIVERY.c.post == named.c.post, DELIVERY.c.occurrence == named.c.occurrence)
    found: dict[tuple[str, str], list[RowMapping]] = defaultdict(list)
    for row in connection.execute(select(*_COLUMNS).join(named, mine)).mappings():
        found[row["post"], row["occurrence"]].append(row)
    return found


def _stored_occurrence(rows: Sequence[RowMapping]) -> StoredOccurrence:
    revisable = [row for row in rows if row["state"] in REVISABLE_STATES]
    wanted = [row for row in revisable if row["desired"] not in DESIRED_NO_SEND]
    unnamed = [row for row in revisable if row["desired"] == DesiredState.NOT_TARGETED]
    wordings = {row["content_hash"] for row in wanted}
    return StoredOccurrence(
        due_at=max(row["scheduled_at"] for row in wanted or rows),
        content_hash=wordings.pop() if len(wordings) == 1 else "",
        accounts=frozenset(AccountId(row["account"]) for row in rows),
        has_started=any(_has_called(row) for row in rows),
        open_accounts=frozenset(AccountId(row["account"]) for row in wanted),
        untargeted_accounts=frozenset(AccountId(row["account"]) for row in unnamed),
        cancelled_accounts=frozenset(AccountId(row["account"]) for row in rows if row["reason"] in REMOVAL_REASONS),
    )


def _has_called(row: RowMapping) -> bool:
    """Return True if a creating call has begun, or may have."""
    is_over = row["attempts"] > 0 and row["first_attempt_deadline"] is None
    return is_over or row["state"] == State.SENDING


def _posts_of_orphans(connection: Connection) -> Mapping[PostId, StoredPost]:
    """Give the posts of announced calls that fit no delivery, as far as the calls tell of them."""
    found: dict[str, list[JournalRecord]] = defaultdict(list)
    for call in orphaned_attempts(connection):
        found[call.post].append(call)
    return {
        PostId(post): StoredPost(
            content_hash="",
            active_since=min(map(_latest_due_at, calls)),
            is_scheduled=False,
            attempted_occurrences=frozenset(call.occurrence for call in calls),
        )
        for post, calls in found.items()
    }


def _latest_due_at(record: JournalRecord) -> datetime:
    try:
        return datetime.fromisoformat(record.occurrence)
    except ValueError:
        return datetime.fromisoformat(record.at)
