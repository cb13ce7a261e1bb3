"""The keeper's rounds: time passes, leases end, waits are over."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, and_, exists, literal, or_, select, true, update

from publisher.domain.delivery import ASKING, ENDED, UNWANTED, Delivery, State
from publisher.domain.events import KEEPER, Event, ExpiryPassed, LeaseLapsed, Ripened, Stopped, Withdrawn
from publisher.domain.outcome import HoldReason, NotSent
from publisher.domain.post import PostId
from publisher.domain.rendition import DeliveryId
from publisher.domain.task import reminder_due, task_of, why_hold
from publisher.store.books import SUPERSEDED, Books, Change
from publisher.store.claims import HORIZON
from publisher.store.conditions import (
    is_late,
    is_off,
    is_paused,
    is_resting,
    is_superseded,
    original_is_live,
    stands,
    stands_open,
)
from publisher.store.engine import Unit
from publisher.store.intents import give_rests_back
from publisher.store.ledger import subject_of, tell, tell_once, write_alert
from publisher.store.rests import redate_waits
from publisher.store.rows import ALERT, ATTEMPT, DELIVERY, LOOK, to_delivery
from publisher.store.turns import has_turn
from publisher.telemetry import log
from publisher.world import STAMPS_APART, ClockTrust

GROUP = 200
MOST_RIPENED = 1000
"""How many deliveries are made due in one round: more than go out until the next, so that none waits for it."""
KEEPING = "keeping"
_IS_ASKED = stands_open(DELIVERY, State.SUBMITTED, State.UNKNOWN)
_ASKED = select(DELIVERY).where(_IS_ASKED)
_CALLED = sorted(frozenset(State) - {State.PENDING, State.PUBLISHED, State.CANCELLED, State.EXPIRED})
"""Where a call may have been made, and another may follow."""
_WAITED_FOR = ASKING | {State.RETRYING}
"""Where `next_at` was reckoned from the instant at which it was written."""


class Rounds:
    """What the keeper does to the books. Each round may be repeated, by anyone, at any time."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self._redated: ClockTrust | None = None

    async def ripen(self) -> int:
        """Make due what has come of age, urgent posts first; nothing by a clock in doubt. Returns how many.

        Of a long backlog some is left for the next round, which begins again with what is urgent by then.
        """
        now = self.books.world.confirmed_now()
        if now is None:
            return 0
        soon = and_(stands(DELIVERY, State.PENDING), DELIVERY.c.next_at <= now + HORIZON)
        over = and_(stands(DELIVERY, State.RETRYING), DELIVERY.c.next_at <= now)
        of_age = or_(soon, over)
        urgent = await self._each(and_(of_age, DELIVERY.c.is_urgent), lambda _: Ripened())
        return urgent + await self._each(of_age, lambda _: Ripened(), most=MOST_RIPENED)

    async def ripen_ordered(self, posts: Collection[PostId]) -> int:
        """Make due what a person has just ordered to be sent now: that waits for no clock. Returns how many."""
        ordered = and_(DELIVERY.c.post.in_(list(posts)), DELIVERY.c.next_at <= self.books.world.now())
        return await self._each(and_(stands(DELIVERY, State.PENDING), ordered), lambda _: Ripened())

    async def expire(self) -> int:
        """End what waits past its expiry, is too late, or was overtaken by a later instant; not by a clock in doubt.

        Returns how many.
        """
        now = self.books.world.confirmed_now()
        if now is None:
            return 0
        waiting = stands(DELIVERY, State.PENDING, State.DUE, State.RETRYING)
        instant = literal(now, DELIVERY.c.due_at.type)
        overtaken = await self._supersede(instant)
        late = await self._each(
            and_(
                stands(DELIVERY, State.DUE, State.RETRYING),
                is_late(DELIVERY, instant),
                DELIVERY.c.account.in_(self.books.speaking),
                ~or_(is_paused(DELIVERY), is_off(DELIVERY)),  # judged once it could go again
                original_is_live(DELIVERY),
            ),
            lambda _: ExpiryPassed(reason="too_late"),
        )
        passed = and_(waiting, DELIVERY.c.expires_at <= now)
        stopped = await self._each(and_(passed, is_paused(DELIVERY)), lambda _: ExpiryPassed(reason="expired_paused"))
        without = and_(passed, ~original_is_live(DELIVERY))
        orphaned = await self._each(without, lambda _: ExpiryPassed(reason="expired_original"))
        rested = await self._each(and_(passed, is_resting(now)), lambda _: ExpiryPassed(reason="expired_resting"))
        outwaited = await self._each(passed, _outwaited)
        return overtaken + late + stopped + orphaned + rested + outwaited

    async def _supersede(self, instant: ColumnElement[datetime]) -> int:
        """End the missed instants of repeating posts but for the newest, with one alert for each post."""
        has_come = and_(stands(DELIVERY, State.PENDING), DELIVERY.c.next_at <= instant)
        waiting = or_(has_come, stands(DELIVERY, State.DUE, State.RETRYING))
        return await self._each(
            and_(waiting, is_superseded(DELIVERY, instant)),
            lambda _: ExpiryPassed(reason=SUPERSEDED),
            report=_report_missed,
        )

    async def lapse(self) -> int:
        """End leases that ran out, whoever's they were. Returns how many.

        What this process has in hand runs by the clock that never jumps, everything else by the wall clock, where that
        is confirmed.
        """
        books = self.books
        ours, over, running = (
            DELIVERY.c.worker == books.worker,
            DELIVERY.c.id.in_(books.in_hand(is_over=True)),
            DELIVERY.c.id.in_(books.in_hand(is_over=False)),
        )
        ended, now = and_(ours, over), books.world.confirmed_now()
        if now is not None:
            ended = or_(and_(DELIVERY.c.lease_until <= now, ~and_(ours, running)), ended)
        return await self._lapse(ended, self._lapsed)

    async def lapse_own(self) -> int:
        """End the leases of whoever was this worker before: for its start, and on SQLite for all. Returns how many."""
        is_own = DELIVERY.c.worker == self.books.worker
        which = is_own if self.books.database.is_shared else true()
        lapsed = await self._lapse(which, self._left_behind, waits=True)
        if not self.books.calls.start():
            log.warning("call_record_unwritable")  # then a death leaves doubts, as a power cut does
        return lapsed

    def _left_behind(self, delivery: Delivery) -> LeaseLapsed:
        return LeaseLapsed(has_begun=self.books.calls.may_have_begun(delivery.id, delivery.epoch))

    async def _lapse(
        self, which: ColumnElement[bool], event_for: Callable[[Delivery], Event | None], *, waits: bool = False
    ) -> int:
        held = and_(stands(DELIVERY, State.CLAIMED, State.SENDING), which)
        return await self._each(held, event_for, ends_attempts=True, waits=waits)

    def _lapsed(self, delivery: Delivery) -> LeaseLapsed | None:
        """Leave what has come into this process's hand, or has got its intent, since the round began.

        The process may not start the call of a lease that is over, so its record says whether one has begun; of another
        process's lease it says nothing.
        """
        if self.books.has_in_hand(delivery):
            return None
        hand = self.books.hands.get(delivery.id)
        is_ours = hand is not None and hand.epoch == delivery.epoch
        if hand is None or not is_ours:
            return LeaseLapsed()
        return replace(self._left_behind(delivery), is_dead=not hand.is_refused)

    async def redate(self) -> int:
        """Date by the clock, once it is confirmed, what was dated by one that was not. Returns how many deliveries.

        A delivery may have been written since, by whoever's clock was right before: then one of its looks still tells.
        Otherwise a doubt would be read again in hours, by a clock that was ahead, or would go to a person at once, by
        one that was behind.
        """
        trust, limits = self.books.world.trust, self.books.limits
        if not trust.is_confirmed or (trust is self._redated and not limits):
            return 0
        seen = len(limits)
        number = await self.books.database.write(self._redate)
        self._redated = trust
        del limits[:seen]
        return number

    def _redate(self, unit: Unit) -> int:
        clocks = self.books.world.clocks()
        redate_waits(self.books, unit, clocks)
        most = clocks.at + STAMPS_APART
        is_undated = and_(
            ATTEMPT.c.ended_at.is_not(None),
            ~ATTEMPT.c.ended_confirmed,
            or_(stands(DELIVERY, *ASKING), ATTEMPT.c.ended_at > most),
        )
        was_read_ahead = exists().where(LOOK.c.delivery == DELIVERY.c.id, LOOK.c.at > most)
        query = (
            select(DELIVERY, ATTEMPT.c.id.label("its_attempt"), ATTEMPT.c.epoch.label("its_epoch"))
            .add_columns(is_undated.label("is_undated"))
            .join(ATTEMPT, and_(ATTEMPT.c.delivery == DELIVERY.c.id, ATTEMPT.c.number == DELIVERY.c.attempts))
            .where(stands_open(DELIVERY, *_CALLED), DELIVERY.c.attempts > 0)
            .where(or_(DELIVERY.c.updated_at > most, is_undated, was_read_ahead))
        )
        rows = unit.connection.execute(query).mappings().all()
        due_at_once = (  # a death spreads what is due: by a clock that was ahead it would wait for hours
            update(DELIVERY)
            .where(stands(DELIVERY, State.DUE), DELIVERY.c.updated_at > most, DELIVERY.c.next_at > DELIVERY.c.due_at)
            .values(next_at=DELIVERY.c.due_at, updated_at=clocks.at)
        )
        redated = unit.connection.execute(due_at_once).rowcount
        for row in rows:
            latest = clocks.at
            if row["is_undated"]:
                known = self.books.settle_clock.end_of(row["id"], row["its_epoch"], clocks.ticks)
                latest -= timedelta(seconds=clocks.ticks - known.since)
                end = {"ended_at": latest, "ended_confirmed": True}
                unit.connection.execute(update(ATTEMPT).where(ATTEMPT.c.id == row["its_attempt"]).values(end))
            begun = {name: row[name] for name in ("doubt_since", "submitted_at") if row[name] is not None}
            begun = {name: latest if row["is_undated"] else min(at, latest) for name, at in begun.items()}
            waits = {"next_at": clocks.at} if row["state"] in _WAITED_FOR else {}
            values = {"updated_at": clocks.at, **waits, **begun}
            unit.connection.execute(update(DELIVERY).where(DELIVERY.c.id == row["id"]).values(values))
        return redated + len(rows)

    async def drop_orphans(self) -> int:
        """Cancel due follow-ups whose original is not live and never will be. Returns how many."""
        original = DELIVERY.alias("original")
        hopeful = exists().where(
            original.c.post == DELIVERY.c.follows,
            original.c.account == DELIVERY.c.account,
            original.c.state.not_in([state.value for state in ENDED]),
        )
        orphaned = and_(stands(DELIVERY, State.DUE), DELIVERY.c.follows.is_not(None), ~hopeful)
        return await self._each(orphaned, lambda _: Withdrawn(reason="original_not_live"), report=_report_orphans)

    async def hold_stale(self) -> int:
        """Hand over to a person what has been in review, or unreadable, for too long. Returns how many.

        What drags on is told before. Most rounds find neither, and write nothing; of very many some wait for the next.
        A clock in doubt says nothing of how long that was.
        """
        now = self.books.world.confirmed_now()
        if now is None:
            return 0
        standing = await self.books.database.read(lambda connection: connection.execute(_ASKED).mappings().all())
        deliveries = [to_delivery(row) for row in standing]
        await self._tell([delivery for delivery in deliveries if self._drags(delivery, now)], now)
        stale = [delivery.id for delivery in deliveries if self._too_long(delivery, now)][:GROUP]
        if not stale:
            return 0
        return await self._each(and_(_IS_ASKED, DELIVERY.c.id.in_(stale)), partial(self._too_long, now=now))

    def _too_long(self, delivery: Delivery, now: datetime) -> Event | None:
        patience = self.books.patience(delivery.account)
        if delivery.state is State.SUBMITTED and (task := task_of(delivery.ticket)):
            reason = why_hold(task, delivery, patience, now)
            return Stopped(reason=reason) if reason else None
        if delivery.state is State.SUBMITTED:
            since = delivery.submitted_at or now
            return Stopped(reason=HoldReason.REVIEW) if now >= since + patience.review_hold else None
        since = delivery.doubt_since or now
        return Stopped(reason=HoldReason.CANNOT_CHECK) if now >= since + patience.blind_hold else None

    def _drags(self, delivery: Delivery, now: datetime) -> str | None:
        """Name the alert that a long review, or a task that nobody has done, calls for by now."""
        if delivery.state is not State.SUBMITTED:
            return None
        if task := task_of(delivery.ticket):
            reminder = None if delivery.desired in UNWANTED else reminder_due(task, delivery.expires_at, now)
            return reminder.value if reminder else None
        since = delivery.submitted_at or now
        return "review_slow" if now >= since + self.books.patience(delivery.account).review_alert else None

    async def _tell(self, deliveries: Sequence[Delivery], now: datetime) -> None:
        """Tell, once each, what drags on."""
        codes = {self._drags(delivery, now) for delivery in deliveries}
        about = select(ALERT.c.code, ALERT.c.subject).where(ALERT.c.cleared_at.is_(None), ALERT.c.code.in_(codes))

        def operation(unit: Unit) -> None:
            if not has_turn(unit, KEEPING):
                return
            rows = unit.connection.execute(_ASKED.where(DELIVERY.c.id.in_(untold))).mappings()
            for delivery in map(to_delivery, rows):
                if code := self._drags(delivery, now):
                    tell_once(unit, now, code, delivery)

        if not deliveries:
            return
        told = set(map(tuple, await self.books.database.read(lambda connection: connection.execute(about).all())))
        untold = [one.id for one in deliveries if (self._drags(one, now), subject_of(one)) not in told][:GROUP]
        if untold:
            await self.books.database.write(operation)

    async def _each(  # noqa: PLR0913 # what a round is about, and how far it goes
        self,
        condition: ColumnElement[bool],
        event_for: Callable[[Delivery], Event | None],
        *,
        ends_attempts: bool = False,
        waits: bool = False,
        report: Callable[[Unit, Sequence[Delivery]], None] | None = None,
        most: int | None = None,
    ) -> int:
        """Bring the keeper's event to every delivery that meets the condition, or to the first so many, in groups.

        What meets it is looked up first, by whichever index fits: most rounds find nothing, and write nothing. While
        another worker keeps, this one leaves it to that one, unless it is told to wait.
        """
        candidates = select(DELIVERY.c.id).where(condition).limit(most)
        found = await self.books.database.read(lambda connection: connection.scalars(candidates).all())
        groups = [found[start : start + GROUP] for start in range(0, len(found), GROUP)]
        changed = 0
        for group in groups:

            def operation(unit: Unit, group: Sequence[int] = group) -> int:
                if not (waits or has_turn(unit, KEEPING)):
                    return 0
                query = select(DELIVERY).where(DELIVERY.c.id.in_(group), condition).order_by(DELIVERY.c.id)
                met = [to_delivery(row) for row in unit.connection.execute(query).mappings()]
                changes = [
                    Change(before=delivery, event=event)
                    for delivery in met
                    if (event := event_for(delivery)) is not None
                ]
                if ends_attempts:
                    changes = _with_suspects(changes)
                    self.books.end_attempts(unit, [_ended_attempt(change) for change in changes])
                afters = self.books.change_all(unit, changes, KEEPER)
                give_rests_back(self.books, unit, [change.before for change in changes if _never_began(change)])
                if report:
                    report(unit, [after for after in afters if after.state in ENDED])
                return len(changes)

            changed += await self.books.database.write(operation)
        return changed


def _with_suspects(changes: Sequence[Change]) -> list[Change]:
    """Where several end together with which a worker has died before, no one of them is known to be the cause."""
    is_alone = sum(change.before.deaths > 0 for change in changes) <= 1
    return [
        replace(change, event=replace(change.event, is_alone=is_alone))
        if isinstance(change.event, LeaseLapsed)
        else change
        for change in changes
    ]


def _ended_attempt(change: Change) -> tuple[DeliveryId, int, NotSent | None]:
    return change.before.id, change.before.epoch, NotSent(reason="never_began") if _never_began(change) else None


def _never_began(change: Change) -> bool:
    """True if the lease of a call ends of which it is proven that no byte has left."""
    event = change.event
    return change.before.state is State.SENDING and isinstance(event, LeaseLapsed) and not event.has_begun


def _report_orphans(unit: Unit, ended: Sequence[Delivery]) -> None:
    for delivery in ended:
        write_alert(unit, delivery.updated_at, "cancelled.original_not_live", delivery)


def _report_missed(unit: Unit, ended: Sequence[Delivery]) -> None:
    """Alert once for each post, whatever number of its instants and accounts were missed."""
    missed = Counter(delivery.key.post for delivery in ended)
    for post, number in missed.items():
        facts = {"post": post, "number": str(number)}
        tell(unit, ended[0].updated_at, "occurrences_missed", post, facts)


def _outwaited(delivery: Delivery) -> ExpiryPassed:
    """Say of what nobody and no limit kept back whether it was tried in vain."""
    is_tried = delivery.state is State.RETRYING
    return ExpiryPassed(reason="expired_trying") if is_tried else ExpiryPassed()
