"""The sweeps of maintenance: conditions on deliveries, and queries with times as parameters.

All are run each second of a busy hour. To build one takes longer than to run it, so they are
constants.
"""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    exists,
    or_,
    select,
)

from publisher.domain.approval import AWAITING_APPROVAL
from publisher.domain.delivery import FINAL_STATES, State
from publisher.domain.kinds import CORRECTING_KINDS
from publisher.domain.results import RESULT_CODES, NotSent
from publisher.store.db.filters import (
    in_open_state,
    in_state,
    is_in_cooldown,
    is_late,
    is_paused,
    is_superseded,
    is_switched_off,
    original_is_published,
)
from publisher.store.db.tables import ATTEMPT, DELIVERY, POST

MANUAL_TASK_IN_TICKET = '"manual_task":{'
"""A text found in the stored ticket of a manual task alone.

In a platform's own reference the quotes would be escaped.
"""
ASAP_IN_BODY = '"trigger":{"at":null}'
"""A text found in the stored post of one that is due at once. In words the quotes are escaped."""
IS_UNDER_CHECK = in_open_state(DELIVERY, State.SUBMITTED, State.UNKNOWN)
DELIVERIES_UNDER_CHECK = select(DELIVERY).where(IS_UNDER_CHECK)
_IS_WAITING = in_state(DELIVERY, State.PENDING, State.DUE, State.RETRYING)
_IS_TIMED = in_state(
    DELIVERY,
    State.PENDING,
    State.RETRYING,
    State.SUBMITTED,
    State.UNKNOWN,
    State.RETRACTING,
)
HAS_WORK = select(
    or_(
        exists().where(in_state(DELIVERY, State.DUE)),
        exists().where(in_state(DELIVERY, State.CLAIMED, State.SENDING)),
        exists().where(
            _IS_TIMED,
            DELIVERY.c.next_action_at
            <= bindparam("soon", type_=DELIVERY.c.due_at.type),
        ),
        exists().where(
            _IS_WAITING,
            DELIVERY.c.expires_at <= bindparam("soon", type_=DELIVERY.c.due_at.type),
        ),
    )
)
_ORIGINAL = DELIVERY.alias("original")
_MAY_BE_PUBLISHED = exists().where(
    _ORIGINAL.c.post == DELIVERY.c.follows,
    _ORIGINAL.c.account == DELIVERY.c.account,
    _ORIGINAL.c.state.not_in([state.value for state in FINAL_STATES]),
)
_IS_ORPHANED = and_(
    in_state(DELIVERY, State.DUE), DELIVERY.c.follows.is_not(None), ~_MAY_BE_PUBLISHED
)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A condition on deliveries that a run looks for, and the query of up to `limit` ids."""

    condition: ColumnElement[bool]
    limit: InitVar[BindParameter[int] | None] = None
    ids: Select[Any] = field(init=False)

    def __post_init__(self, limit: BindParameter[int] | None) -> None:
        object.__setattr__(
            self, "ids", select(DELIVERY.c.id).where(self.condition).limit(limit)
        )


def _instant(name: str) -> BindParameter[datetime]:
    return bindparam(name, type_=DELIVERY.c.due_at.type)


_NOW = _instant("now")
_COME_DUE = or_(
    and_(
        in_state(DELIVERY, State.PENDING),
        DELIVERY.c.next_action_at <= _instant("prepared_by"),
    ),
    and_(in_state(DELIVERY, State.RETRYING), DELIVERY.c.next_action_at <= _NOW),
)
COME_DUE_URGENT = Sweep(and_(_COME_DUE, DELIVERY.c.is_urgent))
COME_DUE = Sweep(_COME_DUE, limit=bindparam("limit", type_=Integer))
_CORRECTED = POST.alias("corrected")
IS_CORRECTION = (
    select(DELIVERY.c.post)
    .join(_CORRECTED, _CORRECTED.c.id == DELIVERY.c.follows)
    .where(
        DELIVERY.c.kind.in_(sorted(kind.value for kind in CORRECTING_KINDS)),
        _CORRECTED.c.corrected_by.is_(None),
    )
    .distinct()
)
"""The corrections among deliveries of an original that no correction has stopped yet."""
_DUE_BY_NOW = (
    select(DELIVERY.c.id)
    .where(in_state(DELIVERY, State.PENDING), DELIVERY.c.next_action_at <= _NOW)
    .union_all(
        select(DELIVERY.c.id).where(in_open_state(DELIVERY, State.DUE, State.RETRYING))
    )
)
_IS_LATE_AND_FREE = and_(
    is_late(DELIVERY, _NOW),
    DELIVERY.c.account.in_(bindparam("accounts", expanding=True)),
    ~or_(
        is_paused(DELIVERY), is_switched_off(DELIVERY)
    ),  # lateness is decided once it could be sent again
    original_is_published(DELIVERY),
)
_IS_PAST_EXPIRY = and_(_IS_WAITING, DELIVERY.c.expires_at <= _NOW)
SUPERSEDED_INSTANTS = Sweep(
    and_(DELIVERY.c.id.in_(_DUE_BY_NOW), is_superseded(DELIVERY, _NOW))
)
LATE_UNAPPROVED = Sweep(
    and_(
        in_state(DELIVERY, State.PENDING),
        DELIVERY.c.reason == AWAITING_APPROVAL,
        _IS_LATE_AND_FREE,
    )
)
EXPIRED: Mapping[str, Sweep] = {
    "too_late": Sweep(
        and_(in_open_state(DELIVERY, State.DUE, State.RETRYING), _IS_LATE_AND_FREE)
    ),
    "expired_paused": Sweep(and_(_IS_PAST_EXPIRY, is_paused(DELIVERY))),
    "expired_original": Sweep(and_(_IS_PAST_EXPIRY, ~original_is_published(DELIVERY))),
    "expired_rate_limited": Sweep(and_(_IS_PAST_EXPIRY, is_in_cooldown(_NOW))),
}
"""The sweeps of deliveries that expire for a reason of their own, by the reason."""
PAST_EXPIRY = Sweep(_IS_PAST_EXPIRY)
ORPHANED = Sweep(_IS_ORPHANED)
IS_LEASED = in_state(DELIVERY, State.CLAIMED, State.SENDING)
_IS_OWN = DELIVERY.c.worker == bindparam("worker")
_OWN_LEASE_OVER = and_(_IS_OWN, DELIVERY.c.id.in_(bindparam("over", expanding=True)))
OWN_LEASES_OVER = Sweep(and_(IS_LEASED, _OWN_LEASE_OVER))
LEASES_OVER = Sweep(
    and_(
        IS_LEASED,
        or_(
            and_(
                DELIVERY.c.lease_until <= _NOW,
                ~and_(_IS_OWN, DELIVERY.c.id.in_(bindparam("running", expanding=True))),
            ),
            _OWN_LEASE_OVER,
        ),
    )
)
_ASAP_POSTS = select(POST.c.id).where(
    POST.c.body.contains(ASAP_IN_BODY, autoescape=True)
)
_NEWEST_IS_UNSENT = exists().where(
    ATTEMPT.c.delivery == DELIVERY.c.id,
    ATTEMPT.c.number == DELIVERY.c.attempts,
    ATTEMPT.c.outcome == RESULT_CODES[NotSent],
)
UNREACHED_URGENT = select(DELIVERY).where(
    in_open_state(DELIVERY, State.RETRYING, State.DUE),
    DELIVERY.c.failures > 0,
    DELIVERY.c.due_at <= _instant("due_before"),
    or_(DELIVERY.c.is_urgent, DELIVERY.c.post.in_(_ASAP_POSTS)),
    _NEWEST_IS_UNSENT,
    ~is_paused(DELIVERY),
)
"""The posts that cannot wait for their `max_delay`, and that no call has brought to the platform."""
# thousands may be under check, and hardly one of them is overdue
MAY_BE_OVERDUE = DELIVERIES_UNDER_CHECK.where(
    or_(
        and_(
            in_state(DELIVERY, State.UNKNOWN),
            DELIVERY.c.unknown_since <= _instant("unknown_before"),
        ),
        and_(
            in_state(DELIVERY, State.SUBMITTED),
            DELIVERY.c.submitted_at <= _instant("submitted_before"),
        ),
        DELIVERY.c.ticket.contains(MANUAL_TASK_IN_TICKET, autoescape=True),
    )
)
