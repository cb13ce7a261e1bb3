"""What every room of the store works with: the database, the terms of each account, and how a delivery is changed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, update

from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.delivery import UNWANTED, Delivery, Desired, State, WorkerId
from publisher.domain.events import Actor, Event, RetractOrdered, Role, Withdrawn, code_of
from publisher.domain.lifecycle import advance
from publisher.domain.outcome import Submitted, Unknown
from publisher.domain.patience import Patience
from publisher.domain.rendition import DeliveryId
from publisher.domain.task import task_of, waits_of_tasks
from publisher.domain.terms import Terms
from publisher.store.call_record import CallRecord
from publisher.store.conditions import stands
from publisher.store.engine import Database, OvertakenError, Unit
from publisher.store.ledger import clear_alerts, end_attempts, entry, subject_of, write_alert, write_entries
from publisher.store.rows import DELIVERY, Answer, changed_columns
from publisher.store.settle_clock import SettleClock
from publisher.world import World

TOLD = frozenset({State.HELD, State.FAILED, State.EXPIRED, State.REMOVED})
"""States whose entry is an alert."""
PASSING = frozenset({State.HELD, State.SUBMITTED, State.UNKNOWN, State.RETRACTING})
"""States whose alerts are over once they are left."""
KEPT_BY_DOUBT = "kept_by_doubt"
"""Why a delivery waits while another one's doubt on its account could be pushed out of what can be read."""
CANNOT_LEAVE = "cannot_leave"
"""The alert that a post is later than staff allowed, as no call of it finds a way to the platform."""
_ON_ITS_WAY = frozenset({State.DUE, State.CLAIMED, State.SENDING, State.RETRYING})
SUPERSEDED = "superseded"
"""Why an instant of a repeating post expires that a later one has overtaken; all of them make one alert."""
_ITS_DUE = (
    DELIVERY.c.login == bindparam("its_login"),
    DELIVERY.c.account == bindparam("its_account"),
    stands(DELIVERY, State.DUE),
)
_KEPT = select(DELIVERY.c.id).where(*_ITS_DUE, DELIVERY.c.reason == KEPT_BY_DOUBT).limit(1)
_GO_ON = update(DELIVERY).where(*_ITS_DUE, DELIVERY.c.reason == KEPT_BY_DOUBT).values(next_at=None)
_NOW = bindparam("now", type_=DELIVERY.c.due_at.type)
_LATEST = _NOW + DELIVERY.c.max_delay
_EXCUSE = (
    update(DELIVERY)
    .where(*_ITS_DUE, DELIVERY.c.last_first_call_at >= _NOW, DELIVERY.c.last_first_call_at < _LATEST)
    .values(last_first_call_at=_LATEST)
)
"""Behind the one that a doubt keeps back the others of its account wait too: none that was in time is late for it."""
REWRITE = update(DELIVERY).where(DELIVERY.c.id == bindparam("its_id"), DELIVERY.c.version == bindparam("its_version"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A delivery as it was read, what happens to it, and the end of its lease, if it has one then."""

    before: Delivery
    event: Event
    lease_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """A lease of this process: of which epoch, and until when by the clock that never jumps.

    `is_refused`: the database, or a file beside it, did not take what was to be written of it.
    """

    epoch: int
    until: float
    is_refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A platform's limit that came while the clock was in doubt; `until` is of the clock that never jumps."""

    login: LoginId
    until: float
    is_for_reads: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """One worker's access to the books."""

    database: Database
    terms: Mapping[AccountId, Terms]
    worker: WorkerId
    hands: dict[DeliveryId, Hand] = field(default_factory=dict)
    """What this process has in hand."""
    calls: CallRecord = field(default_factory=CallRecord)
    settle_clock: SettleClock = field(default_factory=SettleClock)
    limits: list[Limit] = field(default_factory=list)
    """What is written as rests of logins once the clock is confirmed."""

    def note_limit(self, login: LoginId, rest: timedelta, *, is_for_reads: bool) -> None:
        """Note a limit that cannot be dated, because the clock is in doubt."""
        until = self.world.monotonic() + rest.total_seconds()
        self.limits.append(Limit(login=login, until=until, is_for_reads=is_for_reads))

    def limited_logins(self) -> frozenset[LoginId]:
        """Name the logins whose reads are kept back by a limit that could not be dated yet."""
        now = self.world.monotonic()
        return frozenset(limit.login for limit in list(self.limits) if limit.is_for_reads and limit.until > now)

    def take_in_hand(self, delivery: DeliveryId, epoch: int, most: timedelta) -> None:
        """Note that the lease of a delivery runs for so long from now, whatever the wall clock does.

        Done in the transaction that begins the lease: no round may find it ended between commit and note.
        """
        self.hands[delivery] = Hand(epoch=epoch, until=self.world.monotonic() + most.total_seconds())

    def put_down(self, delivery: DeliveryId, epoch: int) -> None:
        """Forget a lease that is done with; a later one of the same delivery stays."""
        if delivery in self.hands and self.hands[delivery].epoch == epoch:
            del self.hands[delivery]

    def note_refused(self, delivery: DeliveryId, epoch: int) -> None:
        """Note that what kept a lease from being done with is no fault of the delivery's."""
        if delivery in self.hands and self.hands[delivery].epoch == epoch:
            self.hands[delivery] = replace(self.hands[delivery], is_refused=True)

    def has_in_hand(self, delivery: Delivery) -> bool:
        """Whether the lease under which a delivery stands is this process's, and is not over."""
        hand = self.hands.get(delivery.id)
        return hand is not None and hand.epoch == delivery.epoch and hand.until > self.world.monotonic()

    def in_hand(self, *, is_over: bool) -> list[DeliveryId]:
        """Name what this process has in hand whose lease is over, or is not."""
        now = self.world.monotonic()
        return [delivery for delivery, hand in list(self.hands.items()) if (hand.until <= now) is is_over]

    def end_attempts(self, unit: Unit, ended: Sequence[tuple[DeliveryId, int, Answer | None]]) -> None:
        """Write down that calls are over, as `ledger.end_attempts` does, and let their settle times begin."""
        clocks = self.world.clocks()
        end_attempts(unit, clocks.at, ended, is_confirmed=self.world.is_clock_confirmed())
        for delivery, epoch, answer in ended:
            if answer is None or isinstance(answer, Unknown | Submitted):
                self.settle_clock.note_own(delivery, epoch, clocks.ticks)

    @property
    def world(self) -> World:
        return self.database.world

    @property
    def speaking(self) -> list[AccountId]:
        """Name the accounts that the settings do not switch off."""
        return [key for key, terms in self.terms.items() if terms.account.mode is not Mode.OFF]

    def patience(self, account: AccountId) -> Patience:
        """Give an account's waits; those of no platform in particular when the account is not in the settings."""
        terms = self.terms.get(account)
        return terms.patience if terms else Patience()

    def _waits(self, change: Change) -> Patience:
        patience, event = self.patience(change.before.account), change.event
        is_task = isinstance(event, Submitted) and task_of(event.ticket) is not None
        return waits_of_tasks(patience) if is_task else patience

    def change(
        self, unit: Unit, before: Delivery, event: Event, by: Actor, *, lease_until: datetime | None = None
    ) -> Delivery:
        """Bring an event to a delivery, as `change_all` does."""
        return self.change_all(unit, [Change(before=before, event=event, lease_until=lease_until)], by)[0]

    def change_all(self, unit: Unit, changes: Sequence[Change], by: Actor) -> list[Delivery]:
        """Bring each delivery its event; write what `advance()` returned, the audit entries and the alerts.

        Raises IllegalStepError where the table has no such step, OvertakenError when a row has moved on.
        """
        now = self.world.now()
        afters = [
            advance(change.before, change.event, by=by, now=now, patience=self._waits(change)) for change in changes
        ]
        _write_rows(unit, changes, afters, self.worker)
        write_entries(unit, [_entry(change, after, by) for change, after in zip(changes, afters, strict=True)])
        for change, after in zip(changes, afters, strict=True):
            _tell(unit, change.before, after, by)
        _let_go_on(unit, [change.before for change in changes if _is_in_doubt(change.before)], afters, now)
        return afters

    def walk(self, unit: Unit, row: Delivery, start: Delivery, steps: Sequence[tuple[Event, Actor]]) -> Delivery:
        """Take a delivery several steps at once, from `start`: each has its audit entry, its row is written once.

        Raises what `change_all` raises.
        """
        after, entries = start, []
        for event, by in steps:
            change = Change(before=after, event=event)
            after = advance(after, event, by=by, now=self.world.now(), patience=self._waits(change))
            entries.append(_entry(change, after, by))
        key = {"its_id": row.id, "its_version": row.version}
        columns = {**changed_columns(row, after), "lease_until": None, "worker": None}
        if unit.connection.execute(REWRITE, {**key, **columns}).rowcount != 1:
            raise OvertakenError(row.id)
        write_entries(unit, entries)
        return after


def _write_rows(unit: Unit, changes: Sequence[Change], afters: Sequence[Delivery], worker: WorkerId) -> None:
    """Write the columns that differ, in one statement for all rows of which the same ones do."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for change, after in sorted(zip(changes, afters, strict=True), key=lambda pair: pair[1].id):  # as others lock them
        columns = changed_columns(change.before, after)
        if after.state is not change.before.state:  # what is only remembered leaves the lease as it is
            columns["lease_until"] = change.lease_until
            columns["worker"] = worker if change.lease_until is not None else None
        row = {"its_id": after.id, "its_version": change.before.version, **columns}
        alike[tuple(columns)].append(row)
    for rows in alike.values():
        if unit.connection.execute(REWRITE, rows).rowcount != len(rows):
            raise OvertakenError(sorted(row["its_id"] for row in rows))


def _entry(change: Change, after: Delivery, by: Actor) -> dict[str, object]:
    event = change.event  # an order has its own reason, whatever kept the delivery back before
    reason = event.reason if isinstance(event, Withdrawn | RetractOrdered) else after.reason
    detail = {"version": after.version, "attempt": after.attempts, "epoch": after.epoch, "reason": reason}
    return entry(
        after.updated_at,
        by,
        event=code_of(event),
        subject=subject_of(after),
        before=change.before.state,
        after=after.state,
        detail=detail,
    )


def _is_in_doubt(delivery: Delivery) -> bool:
    """Whether it is still to be found in its account's list, for what it is or to be taken down."""
    is_unseen = delivery.state is State.RETRACTING and delivery.receipt is None
    return delivery.state is State.UNKNOWN or is_unseen


def _let_go_on(unit: Unit, doubts: Sequence[Delivery], afters: Sequence[Delivery], now: datetime) -> None:
    """Let what waited for a doubt's end be tried again, whatever else may keep it back."""
    still = {after.id for after in afters if _is_in_doubt(after)}
    for login, account in sorted({(doubt.login, doubt.account) for doubt in doubts if doubt.id not in still}):
        its = {"its_login": login, "its_account": account}
        if unit.connection.execute(_KEPT, its).first() is not None:
            excuse_kept(unit, login, account, now)
            unit.connection.execute(_GO_ON, its)


def excuse_kept(unit: Unit, login: LoginId, account: AccountId, now: datetime) -> None:
    """Give what waits on an account behind a doubt its whole time once more, as far as it was in time until now."""
    unit.connection.execute(_EXCUSE, {"its_login": login, "its_account": account, "now": now})


def _tell(unit: Unit, before: Delivery, after: Delivery, by: Actor) -> None:
    """Clear the alerts that a step ends, and write the one that it begins."""
    if before.state is after.state:
        return
    is_freed = before.reason == KEPT_BY_DOUBT and after.state not in {State.DUE, State.CLAIMED}
    if before.state in PASSING or is_freed:
        clear_alerts(unit, subject_of(after), after.updated_at)
    elif before.failures and before.state in _ON_ITS_WAY and after.state not in _ON_ITS_WAY:
        clear_alerts(unit, subject_of(after), after.updated_at, CANNOT_LEAVE)
    code = _alert_code(after, by)
    if code is not None:
        write_alert(unit, after.updated_at, code, after, {"reason": after.reason or ""})


def _alert_code(after: Delivery, by: Actor) -> str | None:
    if after.state in TOLD and by.role is not Role.PERSON:
        return None if after.reason == SUPERSEDED else f"{after.state}.{after.reason}"
    if after.state is State.RETRACTING:
        return "retracting"
    if after.state is State.PUBLISHED and after.desired in UNWANTED:
        return "live_though_withdrawn"
    if after.state is State.PUBLISHED and after.desired is Desired.EDITED:
        return "live_though_edited"
    return None
