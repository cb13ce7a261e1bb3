"""Time of which neither the database nor a journal tells: what may have been sent in it is a doubt, not a duty."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from sqlalchemy import delete, insert, or_, select, update

from publisher.domain.delivery import State
from publisher.domain.events import Actor
from publisher.domain.post import OneTimeTrigger, Post
from publisher.domain.rendered import DeliveryId
from publisher.store.db.database import Transaction
from publisher.store.db.filters import in_state
from publisher.store.db.intent_journal import JournalRecord
from publisher.store.db.mappers import DATA_LOSS, DELIVERY
from publisher.store.recovery.recover import RECOVERY_MAINTENANCE, mark_unresolved, recover
from publisher.store.store import Store

_LOSS_WINDOW = select(DATA_LOSS)


def mark_waiting_unresolved(
    store: Store, transaction: Transaction, since: datetime, by: Actor, *, exclude: Collection[DeliveryId]
) -> int:
    """Doubt all that may have been sent since then besides some, and remember that time. Returns how many."""
    now = store.runtime.now()
    transaction.connection.execute(delete(DATA_LOSS))
    transaction.connection.execute(insert(DATA_LOSS).values(since=since, until=now, covers_new_posts=True))
    waiting = in_state(DELIVERY, State.PENDING, State.DUE, State.CLAIMED, State.RETRYING)
    asked = in_state(DELIVERY, State.SENDING, State.UNKNOWN, State.HELD)  # a person may have let what is held go since
    due = or_(waiting & (DELIVERY.c.due_at <= now), asked)
    rows = transaction.connection.execute(select(DELIVERY).where(due)).mappings().all()
    return len(
        mark_unresolved(
            store, transaction, [_assumed_attempt(dict(row), since) for row in rows if row["id"] not in exclude], by
        )
    )


def mark_new_unresolved(
    store: Store, transaction: Transaction, created: Iterable[tuple[Post, str]], *, is_new_version: bool
) -> None:
    """Doubt what has just been filed anew and may have been sent in the lost time.

    That is what was due in it; and, the first time that the schedule is read after it, what goes at once.
    """
    lost = transaction.connection.execute(_LOSS_WINDOW).one_or_none()
    if lost is None:
        return
    calls = []
    for post, label in created:
        goes_at_once = isinstance(post.trigger, OneTimeTrigger) and post.trigger.at is None
        mine = (DELIVERY.c.post == post.id, DELIVERY.c.occurrence == label, in_state(DELIVERY, State.PENDING))
        rows = transaction.connection.execute(select(DELIVERY).where(*mine, DELIVERY.c.attempts == 0)).mappings()
        may_be = [dict(row) for row in rows if row["due_at"] <= lost.until or (lost.covers_new_posts and goes_at_once)]
        calls += [_assumed_attempt(row, lost.since) for row in may_be]
    recover(store, transaction, calls, RECOVERY_MAINTENANCE)
    if is_new_version:
        trust_schedule(transaction)


def covers_new_posts(transaction: Transaction) -> bool:
    """Whether what goes at once may have been sent in the lost time, because the schedule has not been read since."""
    return transaction.connection.scalar(select(DATA_LOSS.c.covers_new_posts)) is True


def trust_schedule(transaction: Transaction) -> None:
    """The schedule as it stands has been read: what comes into it from now on was never sent."""
    transaction.connection.execute(update(DATA_LOSS).where(DATA_LOSS.c.covers_new_posts).values(covers_new_posts=False))


def _assumed_attempt(row: Mapping[str, object], since: datetime) -> JournalRecord:
    """Take a delivery as called at the beginning of that time."""
    return JournalRecord(
        delivery=int(str(row["id"])),
        attempt=int(str(row["attempts"])) + 1,
        fencing_token=int(str(row["fencing_token"])) + 1,
        rendered_hash=str(row["rendered_hash"]),
        at=since.isoformat(),
        post=str(row["post"]),
        occurrence=str(row["occurrence"]),
        account=str(row["account"]),
    )
