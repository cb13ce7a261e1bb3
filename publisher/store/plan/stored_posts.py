"""The stored posts and occurrences that the planner compares with a schedule.

The past grows for years. Of finished occurrences, only the facts that a plan can depend on are
read: that they were planned, and their time.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    func,
    or_,
    select,
)

from publisher.domain.account import AccountId
from publisher.domain.delivery import (
    DESIRED_BY_PERSON,
    DESIRED_NO_SEND,
    OPEN_STATES,
    RESTORABLE_STATES,
    REVISABLE_STATES,
    WORDS_REPLACED,
    DesiredState,
    State,
)
from publisher.domain.plan import (
    CRON_LOOKBACK,
    StoredOccurrence,
    StoredPost,
    StoredPosts,
)
from publisher.domain.post import ONCE_OCCURRENCE, OccurrenceKey, Post, PostId
from publisher.store.db.filters import in_open_state, in_state
from publisher.store.db.intent_journal import JournalRecord
from publisher.store.db.rows import QUERY_BATCH_SIZE, batches, post_rows
from publisher.store.db.tables import DELIVERY, POST, load_post
from publisher.store.lost_attempts import orphaned_attempts

REMOVAL_REASONS = ("removed_from_schedule", "target_removed", WORDS_REPLACED)
"""The planner's reasons for a cancellation: a removed post, a removed account of a post."""
_SCHEDULED_ONCE_AT = (
    select(DELIVERY.c.scheduled_at)
    .where(DELIVERY.c.post == POST.c.id, DELIVERY.c.occurrence == ONCE_OCCURRENCE)
    .order_by(DELIVERY.c.scheduled_at.desc())
    .limit(1)
    .scalar_subquery()
    .label("once_at")
)
_POSTS = select(
    *(
        POST.c[name]
        for name in (
            "id",
            "content_hash",
            "target_hash",
            "planned_hash",
            "in_force_since",
            "is_scheduled",
        )
    ),
    or_(POST.c.is_cancelled, POST.c.corrected_by.is_not(None)).label("is_stopped"),
    _SCHEDULED_ONCE_AT,
)
DELIVERY_COLUMNS = [
    DELIVERY.c[name]
    for name in (
        "id", "post", "occurrence", "account", "state", "scheduled_at", "content_hash", "attempts",
        "reason", "desired", "first_attempt_deadline", "is_due_when_approved", "reported_url",
        "remote_id", "ticket",
    )
]  # fmt: skip
_OCCURRENCE_KEYS = select(DELIVERY.c.post, DELIVERY.c.occurrence)
_LAST_SCHEDULED = select(
    DELIVERY.c.post,
    DELIVERY.c.occurrence,
    func.max(DELIVERY.c.scheduled_at, type_=DELIVERY.c.scheduled_at.type).label(
        "scheduled_at"
    ),
)
_OPEN_OCCURRENCES = _OCCURRENCE_KEYS.where(in_open_state(DELIVERY, *REVISABLE_STATES))


def read_stored_posts(
    connection: Connection, posts: Sequence[Post], now: datetime
) -> StoredPosts:
    """Return the stored state of the scheduled posts and of `posts`.

    An occurrence comes with all its deliveries while one of them is open, while one of `posts`
    could still be sent with its delay, or where its post has changed. Of any other occurrence only
    the scheduled time is given.
    """
    rows = {
        row.id: row for row in connection.execute(_POSTS.where(POST.c.is_scheduled))
    }
    unscheduled = list(
        batches([post.id for post in posts if post.id not in rows], QUERY_BATCH_SIZE)
    )
    for ids in unscheduled:
        rows |= {
            row.id: row for row in connection.execute(_POSTS.where(POST.c.id.in_(ids)))
        }
    edited = [
        post.id
        for post in posts
        if (row := rows.get(post.id))
        and is_edited(post, row.content_hash, row.target_hash)
    ]
    changed = [
        *edited,
        *(
            post.id
            for post in posts
            if post.id in rows and not rows[post.id].is_scheduled
        ),
    ]
    occurrences: dict[str, dict[str, StoredOccurrence]] = defaultdict(dict)
    for row in rows.values():
        if row.once_at is not None:
            occurrences[row.id][ONCE_OCCURRENCE] = _finished_occurrence(row.once_at)
    scopes = [POST.c.is_scheduled, *(POST.c.id.in_(ids) for ids in unscheduled)]
    for scope in scopes:
        recurring = _LAST_SCHEDULED.where(
            _is_in(scope), *_is_recurring_since(now - CRON_LOOKBACK)
        )
        for recent in connection.execute(
            recurring.group_by(DELIVERY.c.post, DELIVERY.c.occurrence)
        ):
            occurrences[recent.post][recent.occurrence] = _finished_occurrence(
                recent.scheduled_at
            )
    accounts = {post.id: frozenset(post.accounts) for post in posts}
    sendable_since = now - max((post.max_delay for post in posts), default=timedelta())
    for query in _complete_occurrences(scopes, changed, sendable_since):
        for key, deliveries in _read_deliveries(connection, query).items():
            if key.post in rows:
                occurrences[key.post][key.occurrence] = _stored_occurrence(
                    deliveries, accounts.get(key.post)
                )
    orphans: dict[str, list[JournalRecord]] = defaultdict(list)
    for record in orphaned_attempts(connection):
        orphans[record.post].append(record)
    lost_something = [
        post
        for post, found in occurrences.items()
        if any(map(_may_come_back, found.values()))
    ]
    live = read_live_deliveries(connection, lost_something)
    accepted = {row.id: load_post(row.body) for row in post_rows(connection, edited)}
    targets = {post.id: post.target_hash for post in posts}
    lost = {
        PostId(post): _lost_post(records)
        for post, records in orphans.items()
        if post not in rows
    }
    return lost | {
        PostId(row.id): StoredPost(
            content_hash=row.content_hash,
            active_since=row.in_force_since,
            is_cancelled=row.is_stopped,
            is_scheduled=row.is_scheduled,
            occurrences=occurrences.get(row.id, {}),
            attempted_occurrences=frozenset(
                record.occurrence for record in orphans.get(row.id, ())
            ),
            live_deliveries=live.get(row.id, frozenset()),
            accepted=accepted.get(row.id),
            is_retargeted=targets.get(row.id, row.planned_hash) != row.planned_hash,
        )
        for row in rows.values()
    }


def _may_come_back(occurrence: StoredOccurrence) -> bool:
    return bool(
        occurrence.restorable_accounts
        or occurrence.expired_accounts
        or occurrence.orphaned_accounts
    )


def read_live_deliveries(
    connection: Connection, posts: Sequence[str]
) -> Mapping[str, frozenset[tuple[str, AccountId]]]:
    """Return the open or published deliveries of these posts, without the `cron` ones.

    They are given by occurrence and account. A `cron` delivery is one that a `cron` has planned.
    """
    is_meant = or_(
        DELIVERY.c.occurrence == ONCE_OCCURRENCE, DELIVERY.c.occurrence.contains(".")
    )
    columns = select(DELIVERY.c.post, DELIVERY.c.occurrence, DELIVERY.c.account)
    query = columns.where(is_meant, in_state(DELIVERY, *OPEN_STATES, State.PUBLISHED))
    live: dict[str, set[tuple[str, AccountId]]] = defaultdict(set)
    for ids in batches(posts, QUERY_BATCH_SIZE):
        for row in connection.execute(query.where(DELIVERY.c.post.in_(ids))):
            live[row.post].add((row.occurrence, AccountId(row.account)))
    return {post: frozenset(found) for post, found in live.items()}


def is_edited(post: Post, content_hash: str, target_hash: str) -> bool:
    """Return True if a post differs from the one with these hashes.

    The entry of some is unknown. Their `target_hash` is empty.
    """
    return post.content_hash != content_hash or target_hash not in {
        "",
        post.target_hash,
    }


def _complete_occurrences(
    scopes: Sequence[ColumnElement[bool]],
    changed: Sequence[PostId],
    sendable_since: datetime,
) -> Iterator[Select[Any]]:
    """Yield queries for the keys of the occurrences that are read with all their deliveries."""
    yield _OPEN_OCCURRENCES
    for scope in scopes:
        sendable = _OCCURRENCE_KEYS.where(
            _is_in(scope), DELIVERY.c.scheduled_at >= sendable_since
        )
        yield sendable.where(DELIVERY.c.occurrence == ONCE_OCCURRENCE)
        yield sendable.where(*_is_recurring_since(sendable_since))
    for ids in batches(changed, QUERY_BATCH_SIZE):
        yield _OCCURRENCE_KEYS.where(
            DELIVERY.c.post.in_(ids), DELIVERY.c.occurrence == ONCE_OCCURRENCE
        )


def _is_in(scope: ColumnElement[bool]) -> ColumnElement[bool]:
    return DELIVERY.c.post.in_(select(POST.c.id).where(scope))


def _read_deliveries(
    connection: Connection, query: Select[Any]
) -> Mapping[OccurrenceKey, list[RowMapping]]:
    """Return all deliveries of the occurrences with these keys."""
    keys = query.distinct().subquery()
    is_key = and_(
        DELIVERY.c.post == keys.c.post, DELIVERY.c.occurrence == keys.c.occurrence
    )
    deliveries: dict[OccurrenceKey, list[RowMapping]] = defaultdict(list)
    for row in connection.execute(
        select(*DELIVERY_COLUMNS).join(keys, is_key)
    ).mappings():
        deliveries[
            OccurrenceKey(post=PostId(row["post"]), occurrence=row["occurrence"])
        ].append(row)
    return deliveries


def _is_recurring_since(since: datetime) -> tuple[ColumnElement[bool], ...]:
    """The condition for occurrences of recurring posts.

    They are named by their instants. These sort before the name of a single occurrence.
    """
    return (
        DELIVERY.c.occurrence >= since.date().isoformat(),
        DELIVERY.c.occurrence < ONCE_OCCURRENCE,
    )


def _finished_occurrence(scheduled_at: datetime) -> StoredOccurrence:
    return StoredOccurrence(
        due_at=scheduled_at,
        content_hash="",
        accounts=frozenset(),
        has_started=True,
        open_accounts=frozenset(),
        is_finished=True,
    )


def _stored_occurrence(
    rows: Sequence[RowMapping], named: AbstractSet[AccountId] | None
) -> StoredOccurrence:
    """Summarize an occurrence from all its deliveries. It has started once a call may have begun.

    The call is a creating one. The content is for the accounts that the post names now. Deliveries
    that stay filed for other accounts are not edited.
    """
    revisable = [row for row in rows if row["state"] in REVISABLE_STATES]
    wanted = [row for row in revisable if row["desired"] not in DESIRED_NO_SEND]
    untargeted = [
        row for row in revisable if row["desired"] == DesiredState.NOT_TARGETED
    ]
    hashes = {
        row["content_hash"]
        for row in wanted
        if named is None or row["account"] in named
    }
    removed = [row for row in rows if row["reason"] in REMOVAL_REASONS]
    ended = [
        row for row in rows if row["state"] in RESTORABLE_STATES and is_uncalled(row)
    ]
    return StoredOccurrence(
        due_at=max(row["scheduled_at"] for row in wanted or rows),
        content_hash=hashes.pop() if len(hashes) == 1 else "",
        accounts=frozenset(AccountId(row["account"]) for row in rows),
        has_started=any(map(_may_have_been_called, rows)),
        open_accounts=frozenset(AccountId(row["account"]) for row in wanted),
        untargeted_accounts=frozenset(AccountId(row["account"]) for row in untargeted),
        cancelled_accounts=frozenset(
            AccountId(row["account"]) for row in removed if not is_uncalled(row)
        ),
        restorable_accounts=frozenset(
            AccountId(row["account"])
            for row in ended
            if row["reason"] in REMOVAL_REASONS
        ),
        orphaned_accounts=frozenset(
            AccountId(row["account"])
            for row in ended
            if row["reason"] == "original_not_published"
        ),
        expired_accounts={
            AccountId(row["account"]): row["content_hash"]
            for row in ended
            if row["state"] == State.EXPIRED
        },
        is_due_when_approved=any(row["is_due_when_approved"] for row in wanted),
        awaits_approval=all(
            row["is_due_when_approved"] and row["state"] == State.PENDING
            for row in wanted or rows
        ),
    )


def is_uncalled(row: RowMapping) -> bool:
    """Return True if no call of a delivery can have begun, and no person ended or reported it."""
    has_report = any(
        row[column] is not None for column in ("reported_url", "remote_id", "ticket")
    )
    return (
        not (_may_have_been_called(row) or has_report)
        and row["desired"] not in DESIRED_BY_PERSON
    )


def _may_have_been_called(row: RowMapping) -> bool:
    return row["attempts"] > 0 and (
        row["first_attempt_deadline"] is None or row["state"] == State.SENDING
    )


def _lost_post(records: Sequence[JournalRecord]) -> StoredPost:
    """Reconstruct a post lost by the database from its orphaned attempts, as far as they go."""

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
