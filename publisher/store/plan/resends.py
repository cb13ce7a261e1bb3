"""Whether a post may be ordered again for an account."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import OPEN_STATES, State
from publisher.domain.errors import RefusedError
from publisher.domain.plan import PlannedDeliveries
from publisher.domain.post import CronTrigger, OneTimeTrigger, Post, find_family
from publisher.store.db.filters import in_state
from publisher.store.db.rewritten import find_rewritten, has_waiting_copy
from publisher.store.db.rows import post_rows, read_family_members
from publisher.store.db.tables import DELIVERY, load_post
from publisher.store.lost_attempts import orphaned_attempts


def require_resendable(
    connection: Connection, new: Sequence[PlannedDeliveries], now: datetime
) -> None:
    """Raise RefusedError if one of these deliveries may not be ordered again."""
    for planned in new:
        for account in planned.accounts:
            if blocker := find_resend_blocker(
                connection,
                planned.post,
                account,
                now,
                planned.occurrence.key.occurrence,
            ):
                raise RefusedError(blocker, post=planned.post.id, account=account)


def find_resend_blocker(
    connection: Connection,
    post: Post,
    account: AccountId,
    now: datetime,
    occurrence: str | None = None,
) -> str | None:
    """Return the reason why a post may not be sent again.

    An orphaned attempt of `occurrence` itself does not block it.
    """
    family = find_family(post.id)
    forms = {post.id, *read_family_members(connection, {family}).get(family, ())}
    cancelled = [
        row for row in post_rows(connection, sorted(forms)) if row.is_cancelled
    ]
    if any(
        row.id == post.id or account in load_post(row.body).accounts
        for row in cancelled
    ):
        return "resend_cancelled"
    is_one_off = isinstance(post.trigger, OneTimeTrigger)
    states = [
        state.value
        for state in (OPEN_STATES | {State.PUBLISHED} if is_one_off else OPEN_STATES)
    ]
    blocking = select(DELIVERY.c.id).where(
        DELIVERY.c.post.in_(forms),
        DELIVERY.c.account == account,
        DELIVERY.c.state.in_(states),
    )
    if isinstance(post.trigger, CronTrigger):  # its later occurrences do not block it
        blocking = blocking.where(DELIVERY.c.due_at <= now)
    if connection.scalar(blocking) is not None:
        return "resend_not_needed"
    refused = select(DELIVERY).where(
        DELIVERY.c.post == post.id,
        DELIVERY.c.account == account,
        in_state(DELIVERY, State.FAILED),
    )
    rows = connection.execute(refused).all()
    if find_rewritten(connection, rows):
        return "resend_rewritten"
    if rows and has_waiting_copy(connection, post.id):
        return "resend_rewritten"
    orphans = [
        one
        for one in orphaned_attempts(connection)
        if (find_family(one.post), one.account) == (family, account)
    ]
    return (
        "resend_attempt_orphaned"
        if any((one.post, one.occurrence) != (post.id, occurrence) for one in orphans)
        else None
    )
