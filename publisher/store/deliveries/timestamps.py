"""Times that were written by an unconfirmed clock, and their correction."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, Select, and_, exists, or_, select, update

from publisher.domain.delivery import CHECKED_STATES, State
from publisher.runtime.clock import MAX_TIMESTAMP_SKEW, ClockReading, ClockTrust
from publisher.store.base import BaseStore, StorePart
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.filters import in_open_state, in_state
from publisher.store.db.tables import ATTEMPT, DELIVERY, READBACK
from publisher.store.deliveries.cooldowns import redate_cooldowns

_CALLED_STATES = sorted(
    frozenset(State) - {State.PENDING, State.PUBLISHED, State.CANCELLED, State.EXPIRED}
)
"""States in which a call may have been made, and another may follow."""
_TIMED_STATES = CHECKED_STATES | {State.RETRYING}
"""States with a `next_action_at` counted from the instant at which it was written."""


def misdated_deliveries(latest_possible: datetime) -> Select[Any]:
    """Return the query of the called deliveries possibly dated by an unconfirmed clock.

    It includes the last attempt of each.
    """
    is_undated = and_(
        ATTEMPT.c.ended_at.is_not(None),
        ~ATTEMPT.c.is_end_confirmed,
        or_(in_state(DELIVERY, *CHECKED_STATES), ATTEMPT.c.ended_at > latest_possible),
    )
    was_read_ahead = exists().where(
        READBACK.c.delivery == DELIVERY.c.id, READBACK.c.at > latest_possible
    )
    return (
        select(
            DELIVERY,
            ATTEMPT.c.id.label("its_attempt"),
            ATTEMPT.c.fencing_token.label("its_fencing_token"),
        )
        .add_columns(is_undated.label("is_undated"))
        .join(
            ATTEMPT,
            and_(
                ATTEMPT.c.delivery == DELIVERY.c.id,
                ATTEMPT.c.number == DELIVERY.c.attempts,
            ),
        )
        .where(in_open_state(DELIVERY, *_CALLED_STATES), DELIVERY.c.attempts > 0)
        .where(or_(DELIVERY.c.updated_at > latest_possible, is_undated, was_read_ahead))
    )


class TimestampCorrection(StorePart):
    """Corrects the times dated by an unconfirmed clock, once it is confirmed."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self._trust: ClockTrust | None = None
        """The trust in the clock at the last correction."""

    async def run(self) -> int:
        """Correct the times. Return the number of deliveries.

        Otherwise an unknown outcome would be read again only in hours, if the clock was ahead. If
        the clock was behind, the outcome would go to a person at once. A worker with a correct
        clock may have written a delivery since. Then the date of one of its readbacks still shows
        it.
        """
        trust, undated_limits = self.runtime.clock_trust, self.store.undated_limits
        if not trust.is_confirmed or (trust is self._trust and not undated_limits):
            return 0
        limits_before = len(undated_limits)
        number = await self._correct(trust)
        self._trust = trust
        del undated_limits[:limits_before]
        return number

    @in_transaction
    def _correct(self, transaction: Transaction, trust: ClockTrust) -> int:
        clocks = self.runtime.read_clocks()
        redate_cooldowns(self.store, transaction, clocks)
        latest_possible = clocks.at + MAX_TIMESTAMP_SKEW
        query = misdated_deliveries(latest_possible)
        rows = transaction.connection.execute(query).mappings().all()
        # after a worker crash what is due was spread out: by a clock that was ahead it would wait
        # for hours
        was_spread = and_(
            DELIVERY.c.updated_at > latest_possible,
            DELIVERY.c.next_action_at > DELIVERY.c.due_at,
        )
        spread = transaction.connection.execute(
            update(DELIVERY)
            .where(in_state(DELIVERY, State.DUE), was_spread)
            .values(next_action_at=DELIVERY.c.due_at, updated_at=clocks.at)
        ).rowcount
        for row in rows:
            latest = (
                self._redate_end(transaction, row, clocks, trust)
                if row["is_undated"]
                else clocks.at
            )
            values = {"updated_at": clocks.at}
            for name in ("unknown_since", "submitted_at"):
                if row[name] is not None:
                    values[name] = (
                        latest if row["is_undated"] else min(row[name], latest)
                    )
            if row["state"] in _TIMED_STATES:
                values["next_action_at"] = clocks.at
            transaction.connection.execute(
                update(DELIVERY).where(DELIVERY.c.id == row["id"]).values(values)
            )
        return spread + len(rows)

    def _redate_end(
        self,
        transaction: Transaction,
        row: RowMapping,
        clocks: ClockReading,
        trust: ClockTrust,
    ) -> datetime:
        """Date the end of a delivery's last attempt by the monotonic clock, and return it."""
        end = self.store.call_ends.get_end(
            row["id"], row["its_fencing_token"], clocks.monotonic_seconds
        )
        ended_at = clocks.at - timedelta(
            seconds=clocks.monotonic_seconds - end.known_since_ticks
        )
        transaction.connection.execute(
            update(ATTEMPT)
            .where(ATTEMPT.c.id == row["its_attempt"])
            .values(ended_at=ended_at, is_end_confirmed=trust.is_proven)
        )
        return ended_at
