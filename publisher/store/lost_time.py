"""Time of which neither the database nor a journal tells: what may have been sent in it is a doubt, not a duty."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from sqlalchemy import delete, insert, or_, select, update

from publisher.domain.delivery import State
from publisher.domain.events import Actor
from publisher.domain.post import At, Post
from publisher.domain.rendition import DeliveryId
from publisher.store.books import Books
from publisher.store.conditions import stands
from publisher.store.engine import Unit
from publisher.store.journal import Intent
from publisher.store.recovery import RECOVERY_KEEPER, adopt, readopt
from publisher.store.rows import DATA_LOSS, DELIVERY

_LOST = select(DATA_LOSS)


def doubt_waiting(books: Books, unit: Unit, since: datetime, by: Actor, *, besides: Collection[DeliveryId]) -> int:
    """Doubt all that may have been sent since then besides some, and remember that time. Returns how many."""
    now = books.world.now()
    unit.connection.execute(delete(DATA_LOSS))
    unit.connection.execute(insert(DATA_LOSS).values(since=since, until=now, includes_new=True))
    waiting = stands(DELIVERY, State.PENDING, State.DUE, State.CLAIMED, State.RETRYING)
    asked = stands(DELIVERY, State.SENDING, State.UNKNOWN, State.HELD)  # a person may have let what is held go since
    due = or_(waiting & (DELIVERY.c.due_at <= now), asked)
    rows = unit.connection.execute(select(DELIVERY).where(due)).mappings().all()
    return len(adopt(books, unit, [_call_of(dict(row), since) for row in rows if row["id"] not in besides], by))


def doubt_filed(books: Books, unit: Unit, filed: Iterable[tuple[Post, str]], *, is_new_version: bool) -> None:
    """Doubt what has just been filed anew and may have been sent in the lost time.

    That is what was due in it; and, the first time that the schedule is read after it, what goes at once.
    """
    lost = unit.connection.execute(_LOST).one_or_none()
    if lost is None:
        return
    calls = []
    for post, label in filed:
        goes_at_once = isinstance(post.timing, At) and post.timing.when is None
        mine = (DELIVERY.c.post == post.id, DELIVERY.c.label == label, stands(DELIVERY, State.PENDING))
        rows = unit.connection.execute(select(DELIVERY).where(*mine, DELIVERY.c.attempts == 0)).mappings()
        may_be = [dict(row) for row in rows if row["due_at"] <= lost.until or (lost.includes_new and goes_at_once)]
        calls += [_call_of(row, lost.since) for row in may_be]
    readopt(books, unit, calls, RECOVERY_KEEPER)
    if is_new_version:
        trust_new(unit)


def is_new_doubted(unit: Unit) -> bool:
    """Whether what goes at once may have been sent in the lost time, because the schedule has not been read since."""
    return unit.connection.scalar(select(DATA_LOSS.c.includes_new)) is True


def trust_new(unit: Unit) -> None:
    """The schedule as it stands has been read: what comes into it from now on was never sent."""
    unit.connection.execute(update(DATA_LOSS).where(DATA_LOSS.c.includes_new).values(includes_new=False))


def _call_of(row: Mapping[str, object], since: datetime) -> Intent:
    """Take a delivery as called at the beginning of that time."""
    return Intent(
        delivery=int(str(row["id"])),
        attempt=int(str(row["attempts"])) + 1,
        epoch=int(str(row["epoch"])) + 1,
        rendition=str(row["rendition"]),
        at=since.isoformat(),
        post=str(row["post"]),
        label=str(row["label"]),
        account=str(row["account"]),
    )
