"""Intents, several at a time: what the guards ask is read together, and what follows is written together."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    ScalarSelect,
    Select,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    or_,
    select,
)

from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.delivery import Attempt, Delivery, Lease, State, parse_manual_task
from publisher.domain.events import SENDER, AttemptStarted, Event, Expired, Held, Released
from publisher.domain.policy import DAY, RateLimit
from publisher.domain.rendered import Baseline, DeliveryId, SendRequest
from publisher.domain.results import HoldReason
from publisher.store.audit.append import raise_delivery_alert_once
from publisher.store.db.database import Transaction
from publisher.store.db.filters import counts_against_quota, in_state, is_late, is_superseded, may_call, mode_override
from publisher.store.db.intent_journal import JournalRecord
from publisher.store.db.mappers import (
    ATTEMPT,
    DELIVERY,
    LOGIN,
    MEDIA,
    RENDERED_POST,
    load_rendered_post,
    to_attempt,
    to_delivery,
)
from publisher.store.db.tables import UNIX_EPOCH
from publisher.store.deliveries.cooldowns import Cooldown, extend_cooldowns, shorten_cooldowns
from publisher.store.recovery.identity import is_original_database
from publisher.store.recovery.recover import recover_lost_attempts
from publisher.store.store import BLOCKED_BY_UNKNOWN, StateChange, Store, extend_blocked_deadlines

MAX_OWNED_IDS = 200
"""How many of an account's own ids go along with a parcel, newest first."""
_OWNED_IDS = (
    select(DELIVERY.c.remote_id)
    .where(DELIVERY.c.account == bindparam("account"), DELIVERY.c.published_at.is_not(None))
    .order_by(DELIVERY.c.published_at.desc())
    .limit(literal_column(str(MAX_OWNED_IDS)))
)
_NEWEST_ATTEMPT = (
    select(ATTEMPT, RENDERED_POST.c.body)
    .join(RENDERED_POST, RENDERED_POST.c.fingerprint == bindparam("rendition"))
    .where(ATTEMPT.c.delivery == bindparam("delivery"), ATTEMPT.c.part <= bindparam("floor"))
    .order_by(ATTEMPT.c.number.desc())
    .limit(literal_column("1"))
)


def last_requests(store: Store, connection: Connection, deliveries: Sequence[Delivery]) -> list[SendRequest | None]:
    """Make the parcel of each delivery's newest attempt, for reading: without picture bytes. None where there is none.

    Of several floors it is the one in question; before its first call, what the call before it tells must do.
    """
    owned: dict[AccountId, frozenset[str]] = {}
    requests: list[SendRequest | None] = []
    for delivery in deliveries:
        facts = {"delivery": delivery.id, "floor": _part_of(delivery), "rendition": delivery.rendered_hash}
        row = connection.execute(_NEWEST_ATTEMPT, facts).mappings().one_or_none()
        if row is None:
            requests.append(None)
            continue
        if delivery.account not in owned:
            owned[delivery.account] = frozenset(connection.scalars(_OWNED_IDS, {"account": delivery.account}))
        others = owned[delivery.account] - {delivery.receipt.remote_id if delivery.receipt else ""}
        request = _build(store, delivery, to_attempt(row), row["newest_id"], row["body"])
        requests.append(replace(request, owned_ids=others, is_manual=parse_manual_task(delivery.ticket) is not None))
    return requests


def build_request(
    store: Store, connection: Connection, delivery: Delivery, attempt: Attempt, facts: RowMapping
) -> SendRequest | None:
    """Make the parcel of an attempt about to be made; None when a picture's bytes are gone.

    `facts` hold the delivery's `body`, which is its rendition, and the `newest_id` known on its account.
    """
    request = _build(store, delivery, attempt, facts["newest_id"], facts["body"])
    if request.part or not request.rendered.images:  # pictures go with the post itself
        return request
    images = _images(connection, [picture.sha256 for picture in request.rendered.images])
    return replace(request, images=images) if images is not None else None


def _build(store: Store, delivery: Delivery, attempt: Attempt, newest: str | None, body: str) -> SendRequest:
    timing, floor = store.timing(delivery.account), _part_of(delivery)
    return SendRequest(
        delivery=delivery.id,
        attempt=attempt.number,
        fencing_token=attempt.fencing_token,
        resend_after_attempt=delivery.resend_after_attempt,
        account=delivery.account,
        rendered=load_rendered_post(body),
        images=(),
        baseline=Baseline(newest_id=newest, taken_at=attempt.baseline_at),
        intended_at=attempt.intended_at,
        start_by=store.runtime.monotonic() + (timing.lease_timeout - timing.request_timeout).total_seconds(),
        is_urgent=delivery.is_urgent,
        part=floor,
        parent=delivery.receipt if floor else None,
    )


def _part_of(delivery: Delivery) -> int:
    """Say which floor is in question: the first that is not known to be live; else, and to take it down, the post."""
    is_asked = delivery.is_incomplete and delivery.state not in {State.PUBLISHED, State.RETRACTING}
    return delivery.parts_done if is_asked else 0


def _images(connection: Connection, hashes: Sequence[str]) -> tuple[bytes, ...] | None:
    rows = connection.execute(select(MEDIA.c.sha256, MEDIA.c.data).where(MEDIA.c.sha256.in_(hashes)))
    stored = {row.sha256: row.data for row in rows}
    return tuple(stored[sha256] for sha256 in hashes) if set(hashes) <= set(stored) else None


def newest_id(account: ColumnElement[str]) -> ScalarSelect[str | None]:
    """Give the newest live post of ours that we know on an account."""
    live = DELIVERY.alias("live")
    return (
        select(live.c.remote_id)
        .where(live.c.account == account, live.c.published_at.is_not(None), in_state(live, State.PUBLISHED))
        .order_by(live.c.published_at.desc())
        .limit(1)
        .scalar_subquery()
    )


PAUSED_RETRY_DELAY = timedelta(seconds=5)
"""How soon a delivery that a pause keeps back is tried again."""
BLOCKED_RETRY_DELAY = timedelta(seconds=15)
"""The same, where an open doubt keeps back all that is due on the account, unless that ends before."""

_NOW = bindparam("now", type_=DELIVERY.c.due_at.type)


def _guard_query(condition: Callable[[Any, Any], ColumnElement[bool]]) -> Select[Any]:
    """Read all that an intent asks about some deliveries, and whether a condition for their calls holds."""
    return (
        select(
            DELIVERY,
            RENDERED_POST.c.body,
            LOGIN.c.cooldown_until,
            LOGIN.c.routine_cooldown_until,
            LOGIN.c.parts_cooldown_until,
            condition(DELIVERY, _NOW).label("may_call"),
            is_late(DELIVERY, _NOW).label("is_late"),
            is_superseded(DELIVERY, _NOW).label("is_superseded"),
            mode_override(DELIVERY).label("mode"),
            newest_id(DELIVERY.c.account).label("newest_id"),
        )
        .join(RENDERED_POST, RENDERED_POST.c.fingerprint == DELIVERY.c.rendered_hash)
        .join(LOGIN, LOGIN.c.id == DELIVERY.c.login)
        .where(DELIVERY.c.id.in_(bindparam("deliveries", expanding=True)))
    )


_GUARD_FACTS = _guard_query(may_call)
_NEEDS_LIST_CHECK = or_(~in_state(DELIVERY, State.RETRACTING), DELIVERY.c.remote_id.is_(None))
"""What is to be taken down and has its id needs no list."""
_UNRESOLVED_ATTEMPTS = (
    select(DELIVERY.c.account, DELIVERY.c.state, ATTEMPT.c.id, ATTEMPT.c.ended_at)
    .join(ATTEMPT, and_(ATTEMPT.c.delivery == DELIVERY.c.id, ATTEMPT.c.number == DELIVERY.c.attempts))
    .where(in_state(DELIVERY, State.SENDING, State.UNKNOWN, State.RETRACTING), _NEEDS_LIST_CHECK)
    .where(DELIVERY.c.account.in_(bindparam("accounts", expanding=True)))
)
_NEWEST_ATTEMPTS = (
    select(ATTEMPT.c.id)
    .where(ATTEMPT.c.account == bindparam("account"))
    .order_by(ATTEMPT.c.id.desc())
    .limit(bindparam("most"))
)
_LAST_DAY = (
    ATTEMPT.c.login.in_(bindparam("logins", expanding=True)),
    ATTEMPT.c.intended_at > bindparam("since"),
    counts_against_quota(),
)
_ATTEMPT_COUNTS = (
    select(ATTEMPT.c.login, func.count().label("number"), func.max(ATTEMPT.c.intended_at).label("newest"))
    .where(*_LAST_DAY)
    .group_by(ATTEMPT.c.login)
)
_RECENT_ATTEMPTS = (
    select(ATTEMPT.c.login, ATTEMPT.c.intended_at).where(*_LAST_DAY).order_by(ATTEMPT.c.intended_at.desc())
)
_INSERT_ATTEMPTS = insert(ATTEMPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """No call may start now; `guard` names what said no."""

    guard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _PreparedAttempt:
    """A delivery that every guard lets go, the attempt it gets, and what the call is made with."""

    delivery: Delivery
    attempt: Attempt
    request: SendRequest


def record_intents(store: Store, transaction: Transaction, leases: Sequence[Lease]) -> list[SendRequest | Declined]:
    """Write an intent for each lease whose guards all agree; give the others back, or end what is too late."""
    if not is_original_database(store.database, transaction.connection):
        return [Declined(guard="database_replaced") for _ in leases]
    recover_lost_attempts(store, transaction)
    asked = {"deliveries": [lease.delivery for lease in leases], "now": store.runtime.now()}
    rows = transaction.connection.execute(_GUARD_FACTS, asked).mappings()
    facts = {row["id"]: row for row in rows}
    since_unresolved = _attempts_since_unresolved(store, transaction, [lease.account for lease in leases])
    answers: dict[DeliveryId, SendRequest | Declined] = {}
    stopped: list[StateChange] = []
    ready: list[_PreparedAttempt] = []
    for lease in leases:
        row = facts[lease.delivery]
        delivery = to_delivery(row)
        if delivery.state is not State.CLAIMED or delivery.fencing_token != lease.fencing_token:
            answers[lease.delivery] = Declined(guard="lease_lost")
        elif refused := _first_failing_guard(store, delivery, row, since_unresolved.get(delivery.account, 0)):
            guard, event = refused
            if guard == BLOCKED_BY_UNKNOWN:
                raise_delivery_alert_once(transaction, store.runtime.now(), BLOCKED_BY_UNKNOWN, delivery)
                extend_blocked_deadlines(transaction, delivery.login, delivery.account, store.runtime.now())
            stopped.append(StateChange(before=delivery, event=event))
            answers[lease.delivery] = Declined(guard=guard)
        elif prepared := _prepare_attempt(store, transaction, delivery, row):
            ready.append(prepared)
            answers[lease.delivery] = prepared.request
        else:
            stopped.append(StateChange(before=delivery, event=Held(reason=HoldReason.IMAGE_MISSING)))
            answers[lease.delivery] = Declined(guard="image_missing")
    store.transition_all(transaction, stopped, SENDER)
    _write_intents(store, transaction, ready)
    return [answers[lease.delivery] for lease in leases]


def _attempts_since_unresolved(
    store: Store, transaction: Transaction, accounts: Sequence[AccountId]
) -> Mapping[AccountId, int]:
    """Count the attempts since the oldest open doubt, for accounts of which only so many posts can be read.

    A doubt that so many have followed is out of sight already: it keeps nothing back any more. Neither does a post that
    is to be taken down, and that the platform had long enough to show.
    """
    now = store.runtime.now()
    lists = {
        account: most for account in accounts if (most := store.policies[account].capabilities.list_size) is not None
    }
    doubts: dict[AccountId, set[int]] = defaultdict(set)
    for row in transaction.connection.execute(_UNRESOLVED_ATTEMPTS, {"accounts": list(lists)}) if lists else ():
        had_time = row.ended_at is not None and now > row.ended_at + store.timing(row.account).visibility_window
        if row.state != State.RETRACTING or not had_time:
            doubts[row.account].add(row.id)
    since: dict[AccountId, int] = {}
    for account, open_calls in doubts.items():
        newest = transaction.connection.scalars(_NEWEST_ATTEMPTS, {"account": account, "most": lists[account]})
        since[account] = max((number for number, call in enumerate(newest) if call in open_calls), default=0)
    return since


def _first_failing_guard(
    store: Store, delivery: Delivery, row: RowMapping, since_unresolved: int
) -> tuple[str, Event] | None:
    """Give the first guard that says no, and what follows; None when the call may start.

    What presses is not kept back by a doubt. If that is pushed off what can be read by it, a person is asked.
    """
    now = store.runtime.now_if_confirmed()
    if now is None:
        return "clock_unconfirmed", Released()
    readable = store.policies[delivery.account].capabilities.list_size
    if not row["may_call"]:
        return _failed_condition(delivery, row, now)
    would_hide = readable is not None and since_unresolved >= readable - 2  # one more could push the doubt off the list
    if would_hide and not delivery.is_urgent:
        return BLOCKED_BY_UNKNOWN, Released(
            until=now + BLOCKED_RETRY_DELAY, reason=BLOCKED_BY_UNKNOWN, extends_deadline=True
        )
    allowed = row["cooldown_until"] if delivery.is_urgent else max(row["cooldown_until"], row["routine_cooldown_until"])
    if delivery.is_incomplete:
        allowed = row["parts_cooldown_until"]
    if now < allowed:
        return "quota", Released(until=allowed, extends_deadline=True)
    return None


def _failed_condition(delivery: Delivery, row: RowMapping, now: datetime) -> tuple[str, Event]:
    """Name what of the condition does not hold, and what follows. Pauses, modes and originals are asked for again."""
    if now >= delivery.expires_at:
        return "expired", Expired()
    if now < delivery.due_at:
        return "not_due", Released(until=delivery.due_at)
    if row["is_superseded"]:
        return "superseded", Released(until=now + PAUSED_RETRY_DELAY)  # the keeper ends all of its kind, with one alert
    if row["is_late"]:
        return "too_late", Expired(reason="too_late")
    return "paused", Released(until=now + PAUSED_RETRY_DELAY)


def _prepare_attempt(
    store: Store, transaction: Transaction, delivery: Delivery, row: RowMapping
) -> _PreparedAttempt | None:
    """Make ready what is left to be written; None when a picture's bytes are gone."""
    now = store.runtime.now()
    attempt = Attempt(
        number=delivery.attempts + 1,
        fencing_token=delivery.fencing_token,
        intended_at=now,
        ended_at=None,
        baseline_at=now - store.timing(delivery.account).platform_clock_tolerance,
        part=delivery.parts_done if delivery.is_incomplete else 0,
    )
    request = build_request(store, transaction.connection, delivery, attempt, row)
    if request and Mode(row["mode"] or store.policies[delivery.account].account.mode) is Mode.ASSISTED:
        request = replace(request, is_manual=True)
    return _PreparedAttempt(delivery=delivery, attempt=attempt, request=request) if request else None


def _write_intents(store: Store, transaction: Transaction, prepared: Sequence[_PreparedAttempt]) -> None:
    if not prepared:
        return
    changes = [
        StateChange(
            before=item.delivery,
            event=AttemptStarted(),
            lease_until=item.attempt.intended_at + store.timing(item.delivery.account).lease_timeout,
        )
        for item in prepared
    ]
    store.call_record.record_pending((item.delivery.id, item.attempt.fencing_token) for item in prepared)
    store.transition_all(transaction, changes, SENDER)
    for item in prepared:
        store.start_lease(
            item.delivery.id, item.attempt.fencing_token, store.timing(item.delivery.account).lease_timeout
        )
    transaction.connection.execute(_INSERT_ATTEMPTS, [_attempt_row(store, item) for item in prepared])
    _start_cooldowns(store, transaction, [item.delivery for item in prepared if not item.request.is_manual])
    transaction.journal_records += [
        JournalRecord(
            delivery=item.delivery.id,
            attempt=item.attempt.number,
            fencing_token=item.attempt.fencing_token,
            rendered_hash=item.delivery.rendered_hash,
            at=item.attempt.intended_at.isoformat(),
            post=item.delivery.key.post,
            occurrence=item.delivery.key.occurrence,
            account=item.delivery.account,
            part=item.attempt.part,
        )
        for item in prepared
    ]


def _attempt_row(store: Store, item: _PreparedAttempt) -> dict[str, object]:
    delivery, attempt = item.delivery, item.attempt
    return {
        "delivery": delivery.id,
        "number": attempt.number,
        "fencing_token": attempt.fencing_token,
        "login": delivery.login,
        "account": delivery.account,
        "worker": store.worker,
        "rendered_hash": delivery.rendered_hash,
        "newest_id": item.request.baseline.newest_id,
        "baseline_at": attempt.baseline_at,
        "intended_at": attempt.intended_at,
        "part": attempt.part,
        "is_manual": item.request.is_manual,
    }


def _recent_post_times(
    transaction: Transaction, quotas: Mapping[LoginId, RateLimit], now: datetime
) -> Mapping[LoginId, Sequence[datetime]]:
    """Give each login's posts of the last day, newest first; only the newest where no window can be full yet."""
    day = {"since": now - DAY}
    counts = transaction.connection.execute(_ATTEMPT_COUNTS, {**day, "logins": list(quotas)}).all()
    crowded = [row.login for row in counts if row.number >= quotas[row.login].always_allowed_calls]
    sent: dict[LoginId, list[datetime]] = {row.login: [row.newest] for row in counts if row.login not in crowded}
    for row in transaction.connection.execute(_RECENT_ATTEMPTS, {**day, "logins": crowded}) if crowded else ():
        sent.setdefault(row.login, []).append(row.intended_at)
    return sent


def _start_cooldowns(store: Store, transaction: Transaction, deliveries: Sequence[Delivery]) -> None:
    """Let each login rest as its quota asks."""
    if not deliveries:
        return
    now = store.runtime.now()
    extend_cooldowns(transaction, _cooldowns_for(store, transaction, deliveries, now), now)


def revert_cooldowns(store: Store, transaction: Transaction, deliveries: Sequence[Delivery]) -> None:
    """Let logins speak as if these deliveries' last calls, which never left, had not been announced."""
    if deliveries:
        shorten_cooldowns(transaction, _cooldowns_for(store, transaction, deliveries, UNIX_EPOCH))


def _cooldowns_for(
    store: Store, transaction: Transaction, deliveries: Sequence[Delivery], since: datetime
) -> list[Cooldown]:
    """Reckon from `since` on when the quotas allow the next calls, for the logins of these deliveries."""
    known = (delivery for delivery in deliveries if delivery.account in store.policies)
    quotas = {delivery.login: store.policies[delivery.account].rate_limit for delivery in known}
    sent = _recent_post_times(transaction, quotas, store.runtime.now())
    return [
        Cooldown(
            login=login,
            posts_until=quota.next_allowed_at(sent.get(login, ()), since, is_urgent=True),
            routine_until=quota.next_allowed_at(sent.get(login, ()), since, is_urgent=False),
            parts_until=since + quota.effective_part_interval,
        )
        for login, quota in quotas.items()
    ]
