"""Intents, several at a time: what the guards ask is read together, and what follows is written together."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, and_, bindparam, func, insert, or_, select

from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.delivery import Attempt, Delivery, Lease, State
from publisher.domain.events import DELIVERER, Event, ExpiryPassed, IntentWritten, Released, Stopped
from publisher.domain.outcome import HoldReason
from publisher.domain.quota import DAY, Quota
from publisher.domain.rendition import DeliveryId, Parcel
from publisher.store.books import KEPT_BY_DOUBT, Books, Change, excuse_kept
from publisher.store.conditions import is_late, is_superseded, may_call, ordered_mode, spends_quota, stands
from publisher.store.engine import Unit
from publisher.store.home import is_at_home
from publisher.store.journal import Intent
from publisher.store.ledger import tell_once
from publisher.store.parcels import make_parcel, newest_id
from publisher.store.recovery import bring_back
from publisher.store.rests import Rest, give_back, lengthen
from publisher.store.rows import ATTEMPT, DELIVERY, LOGIN, RENDITION, to_delivery
from publisher.store.tables import EPOCH

LATER = timedelta(seconds=5)
"""How soon a delivery that a pause keeps back is tried again."""
MUCH_LATER = timedelta(seconds=15)
"""The same, where an open doubt keeps back all that is due on the account, unless that ends before."""

_NOW = bindparam("now", type_=DELIVERY.c.due_at.type)


def _facts(condition: Callable[[Any, Any], ColumnElement[bool]]) -> Select[Any]:
    """Read all that an intent asks about some deliveries, and whether a condition for their calls holds."""
    return (
        select(
            DELIVERY,
            RENDITION.c.body,
            LOGIN.c.rests_until,
            LOGIN.c.routine_until,
            LOGIN.c.floors_until,
            condition(DELIVERY, _NOW).label("may_call"),
            is_late(DELIVERY, _NOW).label("is_late"),
            is_superseded(DELIVERY, _NOW).label("is_superseded"),
            ordered_mode(DELIVERY).label("mode"),
            newest_id(DELIVERY.c.account).label("newest_id"),
        )
        .join(RENDITION, RENDITION.c.fingerprint == DELIVERY.c.rendition)
        .join(LOGIN, LOGIN.c.id == DELIVERY.c.login)
        .where(DELIVERY.c.id.in_(bindparam("deliveries", expanding=True)))
    )


_FACTS = _facts(may_call)
_IS_UNSEEN = or_(~stands(DELIVERY, State.RETRACTING), DELIVERY.c.remote_id.is_(None))
"""What is to be taken down and has its id needs no list."""
_DOUBTS = (
    select(DELIVERY.c.account, DELIVERY.c.state, ATTEMPT.c.id, ATTEMPT.c.ended_at)
    .join(ATTEMPT, and_(ATTEMPT.c.delivery == DELIVERY.c.id, ATTEMPT.c.number == DELIVERY.c.attempts))
    .where(stands(DELIVERY, State.SENDING, State.UNKNOWN, State.RETRACTING), _IS_UNSEEN)
    .where(DELIVERY.c.account.in_(bindparam("accounts", expanding=True)))
)
_NEWEST = (
    select(ATTEMPT.c.id)
    .where(ATTEMPT.c.account == bindparam("account"))
    .order_by(ATTEMPT.c.id.desc())
    .limit(bindparam("most"))
)
_LAST_DAY = (
    ATTEMPT.c.login.in_(bindparam("logins", expanding=True)),
    ATTEMPT.c.intended_at > bindparam("since"),
    spends_quota(),
)
_COUNTS = (
    select(ATTEMPT.c.login, func.count().label("number"), func.max(ATTEMPT.c.intended_at).label("newest"))
    .where(*_LAST_DAY)
    .group_by(ATTEMPT.c.login)
)
_RECENT = select(ATTEMPT.c.login, ATTEMPT.c.intended_at).where(*_LAST_DAY).order_by(ATTEMPT.c.intended_at.desc())
_WRITE_ATTEMPT = insert(ATTEMPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """No call may start now; `guard` names what said no."""

    guard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A delivery that every guard lets go, the attempt it gets, and what the call is made with."""

    delivery: Delivery
    attempt: Attempt
    parcel: Parcel


def announce(books: Books, unit: Unit, leases: Sequence[Lease]) -> list[Parcel | Declined]:
    """Write an intent for each lease whose guards all agree; give the others back, or end what is too late."""
    if not is_at_home(books.database, unit.connection):
        return [Declined(guard="put_back") for _ in leases]
    bring_back(books, unit)
    asked = {"deliveries": [lease.delivery for lease in leases], "now": books.world.now()}
    rows = unit.connection.execute(_FACTS, asked).mappings()
    facts = {row["id"]: row for row in rows}
    since_doubt = _since_doubt(books, unit, [lease.account for lease in leases])
    answers: dict[DeliveryId, Parcel | Declined] = {}
    stopped: list[Change] = []
    ready: list[_Ready] = []
    for lease in leases:
        row = facts[lease.delivery]
        delivery = to_delivery(row)
        if delivery.state is not State.CLAIMED or delivery.epoch != lease.epoch:
            answers[lease.delivery] = Declined(guard="overtaken")
        elif refused := _guard(books, delivery, row, since_doubt.get(delivery.account, 0)):
            guard, event = refused
            if guard == KEPT_BY_DOUBT:
                tell_once(unit, books.world.now(), KEPT_BY_DOUBT, delivery)
                excuse_kept(unit, delivery.login, delivery.account, books.world.now())
            stopped.append(Change(before=delivery, event=event))
            answers[lease.delivery] = Declined(guard=guard)
        elif prepared := _prepare(books, unit, delivery, row):
            ready.append(prepared)
            answers[lease.delivery] = prepared.parcel
        else:
            stopped.append(Change(before=delivery, event=Stopped(reason=HoldReason.IMAGE_MISSING)))
            answers[lease.delivery] = Declined(guard="image_missing")
    books.change_all(unit, stopped, DELIVERER)
    _write_intents(books, unit, ready)
    return [answers[lease.delivery] for lease in leases]


def _since_doubt(books: Books, unit: Unit, accounts: Sequence[AccountId]) -> Mapping[AccountId, int]:
    """Count the attempts since the oldest open doubt, for accounts of which only so many posts can be read.

    A doubt that so many have followed is out of sight already: it keeps nothing back any more. Neither does a post that
    is to be taken down, and that the platform had long enough to show.
    """
    now = books.world.now()
    lists = {account: most for account in accounts if (most := books.terms[account].traits.readable) is not None}
    doubts: dict[AccountId, set[int]] = defaultdict(set)
    for row in unit.connection.execute(_DOUBTS, {"accounts": list(lists)}) if lists else ():
        had_time = row.ended_at is not None and now > row.ended_at + books.patience(row.account).visibility_window
        if row.state != State.RETRACTING or not had_time:
            doubts[row.account].add(row.id)
    since: dict[AccountId, int] = {}
    for account, open_calls in doubts.items():
        newest = unit.connection.scalars(_NEWEST, {"account": account, "most": lists[account]})
        since[account] = max((number for number, call in enumerate(newest) if call in open_calls), default=0)
    return since


def _guard(books: Books, delivery: Delivery, row: RowMapping, since_doubt: int) -> tuple[str, Event] | None:
    """Give the first guard that says no, and what follows; None when the call may start.

    What presses is not kept back by a doubt. If that is pushed off what can be read by it, a person is asked.
    """
    now = books.world.confirmed_now()
    if now is None:
        return "clock_unconfirmed", Released()
    readable = books.terms[delivery.account].traits.readable
    if not row["may_call"]:
        return _why_not(delivery, row, now)
    would_hide = readable is not None and since_doubt >= readable - 2  # one more could push the doubt off the list
    if would_hide and not delivery.is_urgent:
        return KEPT_BY_DOUBT, Released(until=now + MUCH_LATER, reason=KEPT_BY_DOUBT, is_excused=True)
    allowed = row["rests_until"] if delivery.is_urgent else max(row["rests_until"], row["routine_until"])
    if delivery.is_incomplete:
        allowed = row["floors_until"]
    if now < allowed:
        return "quota", Released(until=allowed, is_excused=True)
    return None


def _why_not(delivery: Delivery, row: RowMapping, now: datetime) -> tuple[str, Event]:
    """Name what of the condition does not hold, and what follows. Pauses, modes and originals are asked for again."""
    if now >= delivery.expires_at:
        return "expired", ExpiryPassed()
    if now < delivery.due_at:
        return "not_due", Released(until=delivery.due_at)
    if row["is_superseded"]:
        return "superseded", Released(until=now + LATER)  # the keeper ends all of its kind, with one alert
    if row["is_late"]:
        return "too_late", ExpiryPassed(reason="too_late")
    return "paused", Released(until=now + LATER)


def _prepare(books: Books, unit: Unit, delivery: Delivery, row: RowMapping) -> _Ready | None:
    """Make ready what is left to be written; None when a picture's bytes are gone."""
    now = books.world.now()
    attempt = Attempt(
        number=delivery.attempts + 1,
        epoch=delivery.epoch,
        intended_at=now,
        ended_at=None,
        since=now - books.patience(delivery.account).platform_clock_tolerance,
        floor=delivery.floors_done if delivery.is_incomplete else 0,
    )
    parcel = make_parcel(books, unit.connection, delivery, attempt, row)
    if parcel and Mode(row["mode"] or books.terms[delivery.account].account.mode) is Mode.ASSISTED:
        parcel = replace(parcel, is_by_hand=True)
    return _Ready(delivery=delivery, attempt=attempt, parcel=parcel) if parcel else None


def _write_intents(books: Books, unit: Unit, ready: Sequence[_Ready]) -> None:
    if not ready:
        return
    changes = [
        Change(
            before=item.delivery,
            event=IntentWritten(),
            lease_until=item.attempt.intended_at + books.patience(item.delivery.account).lease_timeout,
        )
        for item in ready
    ]
    books.calls.announce((item.delivery.id, item.attempt.epoch) for item in ready)
    books.change_all(unit, changes, DELIVERER)
    for item in ready:
        books.take_in_hand(item.delivery.id, item.attempt.epoch, books.patience(item.delivery.account).lease_timeout)
    unit.connection.execute(_WRITE_ATTEMPT, [_attempt_row(books, item) for item in ready])
    _let_rest(books, unit, [item.delivery for item in ready if not item.parcel.is_by_hand])
    unit.intents += [
        Intent(
            delivery=item.delivery.id,
            attempt=item.attempt.number,
            epoch=item.attempt.epoch,
            rendition=item.delivery.rendition,
            at=item.attempt.intended_at.isoformat(),
            post=item.delivery.key.post,
            label=item.delivery.key.label,
            account=item.delivery.account,
            floor=item.attempt.floor,
        )
        for item in ready
    ]


def _attempt_row(books: Books, item: _Ready) -> dict[str, object]:
    delivery, attempt = item.delivery, item.attempt
    return {
        "delivery": delivery.id,
        "number": attempt.number,
        "epoch": attempt.epoch,
        "login": delivery.login,
        "account": delivery.account,
        "worker": books.worker,
        "rendition": delivery.rendition,
        "newest_id": item.parcel.baseline.newest_id,
        "since": attempt.since,
        "intended_at": attempt.intended_at,
        "floor": attempt.floor,
        "is_by_hand": item.parcel.is_by_hand,
    }


def _sent(unit: Unit, quotas: Mapping[LoginId, Quota], now: datetime) -> Mapping[LoginId, Sequence[datetime]]:
    """Give each login's posts of the last day, newest first; only the newest where no window can be full yet."""
    day = {"since": now - DAY}
    counts = unit.connection.execute(_COUNTS, {**day, "logins": list(quotas)}).all()
    crowded = [row.login for row in counts if row.number >= quotas[row.login].roomy]
    sent: dict[LoginId, list[datetime]] = {row.login: [row.newest] for row in counts if row.login not in crowded}
    for row in unit.connection.execute(_RECENT, {**day, "logins": crowded}) if crowded else ():
        sent.setdefault(row.login, []).append(row.intended_at)
    return sent


def _let_rest(books: Books, unit: Unit, deliveries: Sequence[Delivery]) -> None:
    """Let each login rest as its quota asks."""
    if not deliveries:
        return
    now = books.world.now()
    lengthen(unit, _rests(books, unit, deliveries, now), now)


def give_rests_back(books: Books, unit: Unit, deliveries: Sequence[Delivery]) -> None:
    """Let logins speak as if these deliveries' last calls, which never left, had not been announced."""
    if deliveries:
        give_back(unit, _rests(books, unit, deliveries, EPOCH))


def _rests(books: Books, unit: Unit, deliveries: Sequence[Delivery], since: datetime) -> list[Rest]:
    """Reckon from `since` on when the quotas allow the next calls, for the logins of these deliveries."""
    known = (delivery for delivery in deliveries if delivery.account in books.terms)
    quotas = {delivery.login: books.terms[delivery.account].quota for delivery in known}
    sent = _sent(unit, quotas, books.world.now())
    return [
        Rest(
            login=login,
            posts=quota.next_allowed(sent.get(login, ()), since, is_urgent=True),
            routine=quota.next_allowed(sent.get(login, ()), since, is_urgent=False),
            floors=since + quota.between_floors,
        )
        for login, quota in quotas.items()
    ]
