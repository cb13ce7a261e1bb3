"""The stored posts and occurrences that the planner compares with a schedule.

The past grows for years. Of finished occurrences only what a plan can depend on is read: that they were planned, and
for when.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, RowMapping, and_, func, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import DESIRED_NO_SEND, REVISABLE_STATES, DesiredState, State
from publisher.domain.plan import StoredOccurrence, StoredPost, StoredPosts
from publisher.domain.post import ONCE_OCCURRENCE, Post, PostId
from publisher.store.db.filters import in_open_state
from publisher.store.db.intent_journal import JournalRecord
from publisher.store.db.rows import QUERY_BATCH_SIZE, batches
from publisher.store.db.tables import DELIVERY, POST, load_post
from publisher.store.recovery.recover import orphaned_attempts

CRON_LOOKBACK = timedelta(days=40)
"""How far back the occurrences of recurring posts are compared with the schedule."""
REMOVAL_REASONS = ("removed_from_schedule", "target_removed")
"""Reasons with which the planner cancels: a removed post, a removed account of a post."""
_SCHEDULED_ONCE_AT = (
    select(DELIVERY.c.scheduled_at)
    .where(DELIVERY.c.post == POST.c.id, DELIVERY.c.occurrence == ONCE_OCCURRENCE)
    .order_by(DELIVERY.c.scheduled_at.desc())
    .limit(1)
    .scalar_subquery()
    .label("once_at")
)
_POSTS = select(
    *(POST.c[name] for name in ("id", "content_hash", "entry_hash", "in_force_since", "is_cancelled", "is_scheduled")),
    _SCHEDULED_ONCE_AT,
)
_COLUMNS = [
    DELIVERY.c[name]
    for name in (
        "post", "occurrence", "account", "state", "scheduled_at", "content_hash", "attempts", "reason", "desired",
        "first_attempt_deadline", "is_due_when_approved",
    )
]  # fmt: skip
_OCCURRENCE_KEYS = select(DELIVERY.c.post, DELIVERY.c.occurrence)
_LAST_SCHEDULED = select(
    DELIVERY.c.post,
    DELIVERY.c.occurrence,
    func.max(DELIVERY.c.scheduled_at, type_=DELIVERY.c.scheduled_at.type).label("scheduled_at"),
)
_OPEN_OCCURRENCES = _OCCURRENCE_KEYS.where(in_open_state(DELIVERY, *REVISABLE_STATES))


def read_stored_posts(  # noqa: C901 # one query after the other
    connection: Connection, posts: Sequence[Post], now: datetime
) -> StoredPosts:
    """Return the stored state of the scheduled posts and of `posts`.

    An occurrence comes with all its deliveries while one of them is open, or while one of `posts` could still be sent
    with its delay. Of any other occurrence only the scheduled time is given.
    """
    rows = {row.id: row for row in connection.execute(_POSTS.where(POST.c.is_scheduled))}
    unscheduled = list(batches([post.id for post in posts if post.id not in rows], QUERY_BATCH_SIZE))
    for ids in unscheduled:
        rows |= {row.id: row for row in connection.execute(_POSTS.where(POST.c.id.in_(ids)))}
    occurrences: dict[str, dict[str, StoredOccurrence]] = defaultdict(dict)
    for row in rows.values():
        if row.once_at is not None:
            occurrences[row.id][ONCE_OCCURRENCE] = _finished_occurrence(row.once_at)
    sendable_since = now - max((post.max_delay for post in posts), default=timedelta())
    complete = [_OPEN_OCCURRENCES]
    for scope in (POST.c.is_scheduled, *(POST.c.id.in_(ids) for ids in unscheduled)):
        in_scope = DELIVERY.c.post.in_(select(POST.c.id).where(scope))
        recurring = _LAST_SCHEDULED.where(in_scope, *_is_recurring_since(now - CRON_LOOKBACK))
        for recent in connection.execute(recurring.group_by(DELIVERY.c.post, DELIVERY.c.occurrence)):
            occurrences[recent.post][recent.occurrence] = _finished_occurrence(recent.scheduled_at)
        sendable = _OCCURRENCE_KEYS.where(in_scope, DELIVERY.c.scheduled_at >= sendable_since)
        complete += [
            sendable.where(DELIVERY.c.occurrence == ONCE_OCCURRENCE),
            sendable.where(*_is_recurring_since(sendable_since)),
        ]
    for query in complete:
        keys = query.distinct().subquery()
        is_key = and_(DELIVERY.c.post == keys.c.post, DELIVERY.c.occurrence == keys.c.occurrence)
        deliveries: dict[tuple[str, str], list[RowMapping]] = defaultdict(list)
        for delivery in connection.execute(select(*_COLUMNS).join(keys, is_key)).mappings():
            deliveries[delivery["post"], delivery["occurrence"]].append(delivery)
        for (post_id, occurrence), found in deliveries.items():
            if post_id in rows:
                occurrences[post_id][occurrence] = _stored_occurrence(found)
    orphans: dict[str, list[JournalRecord]] = defaultdict(list)
    for record in orphaned_attempts(connection):
        orphans[record.post].append(record)
    accepted = _read_edited(connection, rows, posts)
    lost = {PostId(post): _lost_post(records) for post, records in orphans.items() if post not in rows}
    return lost | {
        PostId(row.id): StoredPost(
            content_hash=row.content_hash,
            active_since=row.in_force_since,
            is_cancelled=row.is_cancelled,
            is_scheduled=row.is_scheduled,
            occurrences=occurrences.get(row.id, {}),
            attempted_occurrences=frozenset(record.occurrence for record in orphans.get(row.id, ())),
            accepted=accepted.get(row.id),
        )
        for row in rows.values()
    }


def _read_edited(connection: Connection, rows: Mapping[Any, Any], posts: Sequence[Post]) -> Mapping[str, Post]:
    """Return, as they are stored, those of these posts that have another entry now."""
    edited = [post.id for post in posts if post.id in rows and rows[post.id].entry_hash != post.entry_hash]
    return {row.id: load_post(row.body) for row in post_rows(connection, edited)}


def post_rows(connection: Connection, posts: Sequence[PostId]) -> Iterator[Row[Any]]:
    """Yield the rows of those of these posts that are stored."""
    for ids in batches(sorted(set(posts)), QUERY_BATCH_SIZE):
        yield from connection.execute(select(POST).where(POST.c.id.in_(ids)))


def _is_recurring_since(since: datetime) -> tuple[ColumnElement[bool], ...]:
    """Occurrences of recurring posts are named by their instants, which sort before the name of a single one."""
    return DELIVERY.c.occurrence >= since.date().isoformat(), DELIVERY.c.occurrence < ONCE_OCCURRENCE


def _finished_occurrence(scheduled_at: datetime) -> StoredOccurrence:
    return StoredOccurrence(
        due_at=scheduled_at,
        content_hash="",
        accounts=frozenset(),
        has_started=True,
        open_accounts=frozenset(),
        is_finished=True,
    )


def _stored_occurrence(rows: Sequence[RowMapping]) -> StoredOccurrence:
    """Summarize an occurrence from all its deliveries. It has started once a creating call has begun, or may have."""
    revisable = [row for row in rows if row["state"] in REVISABLE_STATES]
    wanted = [row for row in revisable if row["desired"] not in DESIRED_NO_SEND]
    untargeted = [row for row in revisable if row["desired"] == DesiredState.NOT_TARGETED]
    hashes = {row["content_hash"] for row in wanted}
    return StoredOccurrence(
        due_at=max(row["scheduled_at"] for row in wanted or rows),
        content_hash=hashes.pop() if len(hashes) == 1 else "",
        accounts=frozenset(AccountId(row["account"]) for row in rows),
        has_started=any(
            row["state"] == State.SENDING or (row["attempts"] > 0 and row["first_attempt_deadline"] is None)
            for row in rows
        ),
        open_accounts=frozenset(AccountId(row["account"]) for row in wanted),
        untargeted_accounts=frozenset(AccountId(row["account"]) for row in untargeted),
        cancelled_accounts=frozenset(AccountId(row["account"]) for row in rows if row["reason"] in REMOVAL_REASONS),
        is_due_when_approved=any(row["is_due_when_approved"] for row in wanted),
        awaits_approval=all(row["is_due_when_approved"] and row["state"] == State.PENDING for row in wanted or rows),
    )


def _lost_post(records: Sequence[JournalRecord]) -> StoredPost:
    """Reconstruct a post that the database has lost from its orphaned attempts, as far as they describe it."""

    def latest_due_at(record: JournalRecord) -> datetime:
        try:
            return datetime.fromisoformat(record.occurrence)
        except ValueError:
            return datetime.fromisoformat(record.at)

    return StoredPost(
        content_hash="",
        active_since=min(map(latest_due_at, records)),
        is_scheduled=False,
        attempted_occurrences=frozenset(record.occurrence for record in records),
    )
