"""The keeper's rounds: time passes, leases end, waits are over."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, or_, select

from publisher.domain.delivery import ENDED, Delivery, State
from publisher.domain.events import Actor, Event, ExpiryPassed, LeaseLapsed, Ripened, Role, Stopped, Withdrawn
from publisher.domain.outcome import HoldReason
from publisher.store.books import Books
from publisher.store.conditions import subject_column
from publisher.store.engine import Unit
from publisher.store.ledger import end_attempt, write_alert
from publisher.store.rows import ALERT, DELIVERY, to_delivery

HORIZON = timedelta(seconds=2)
"""How long before its instant a delivery is made ready, so that at the instant only the call is left."""
GROUP = 200
KEEPER = Actor(role=Role.KEEPER, name="keeper")


class Rounds:
    """What the keeper does to the books. Each round may be repeated, by anyone, at any time."""

    def __init__(self, books: Books) -> None:
        self.books = books

    async def ripen(self) -> int:
        """Make due what has come of age. Returns how many."""
        now = self.books.world.now()
        soon = and_(DELIVERY.c.state == State.PENDING.value, DELIVERY.c.next_at <= now + HORIZON)
        over = and_(DELIVERY.c.state == State.RETRY_WAIT.value, DELIVERY.c.next_at <= now)
        return await self._each(or_(soon, over), lambda _: Ripened())

    async def expire(self) -> int:
        """End what waits past its expiry. Returns how many."""
        waiting = [State.PENDING.value, State.DUE.value, State.RETRY_WAIT.value]
        passed = and_(DELIVERY.c.state.in_(waiting), DELIVERY.c.expires_at <= self.books.world.now())
        return await self._each(passed, lambda _: ExpiryPassed())

    async def lapse(self, *, all_leases: bool = False) -> int:
        """End leases that ran out; all of them when nobody can still hold one. Returns how many."""
        now = self.books.world.now()
        held = DELIVERY.c.state.in_([State.CLAIMED.value, State.SENDING.value])
        over = held if all_leases else and_(held, DELIVERY.c.lease_until <= now)
        return await self._each(over, lambda _: LeaseLapsed(), end_attempts=True)

    async def drop_orphans(self) -> int:
        """Cancel due follow-ups whose original is not live and never will be. Returns how many."""
        original = DELIVERY.alias("original")
        hopeful = exists().where(
            original.c.post == DELIVERY.c.follows,
            original.c.account == DELIVERY.c.account,
            original.c.state.not_in([state.value for state in ENDED]),
        )
        orphaned = and_(DELIVERY.c.state == State.DUE.value, DELIVERY.c.follows.is_not(None), ~hopeful)
        return await self._each(orphaned, lambda _: Withdrawn(reason="original_not_live"), alert="original_not_live")

    async def hold_stale(self) -> int:
        """Hand over to a person what has been in review, or unreadable, for too long. Returns how many."""
        now = self.books.world.now()
        asked = DELIVERY.c.state.in_([State.SUBMITTED.value, State.UNKNOWN.value])

        def verdict(delivery: Delivery) -> Event | None:
            patience = self.books.patience(delivery.account)
            if delivery.state is State.SUBMITTED:
                since = delivery.submitted_at or now
                return Stopped(reason=HoldReason.REVIEW) if now >= since + patience.review_hold else None
            since = delivery.doubt_since or now
            return Stopped(reason=HoldReason.CANNOT_CHECK) if now >= since + patience.blind_hold else None

        await self._warn_of_reviews(now)
        return await self._each(asked, verdict)

    async def _warn_of_reviews(self, now: datetime) -> None:
        async def operation(unit: Unit) -> None:
            rows = await unit.connection.execute(
                select(DELIVERY).where(
                    DELIVERY.c.state == State.SUBMITTED.value,
                    ~exists().where(ALERT.c.code == "review_slow", ALERT.c.subject == subject_column()),
                )
            )
            for delivery in [to_delivery(row) for row in rows.mappings()]:
                since = delivery.submitted_at or now
                if now >= since + self.books.patience(delivery.account).review_alert:
                    await write_alert(unit, now, "review_slow", delivery)

        await self.books.database.write(operation)

    async def _each(
        self,
        condition: ColumnElement[bool],
        event_for: Callable[[Delivery], Event | None],
        *,
        end_attempts: bool = False,
        alert: str | None = None,
    ) -> int:
        """Bring the keeper's event to every delivery that meets the condition, in groups."""
        last, changed = 0, 0
        while True:

            async def operation(unit: Unit, after: int = last) -> tuple[int, int]:
                query = select(DELIVERY).where(condition, DELIVERY.c.id > after).order_by(DELIVERY.c.id).limit(GROUP)
                rows = (await unit.connection.execute(query)).mappings().all()
                count = 0
                for delivery in map(to_delivery, rows):
                    if (event := event_for(delivery)) is None:
                        continue
                    if end_attempts:
                        await end_attempt(unit, delivery.id, delivery.epoch, self.books.world.now(), None)
                    ended = await self.books.change(unit, delivery, event, KEEPER)
                    if alert:
                        await write_alert(unit, self.books.world.now(), alert, ended)
                    count += 1
                return count, rows[-1]["id"] if len(rows) == GROUP else 0

            count, last = await self.books.database.write(operation)
            changed += count
            if not last:
                return changed
