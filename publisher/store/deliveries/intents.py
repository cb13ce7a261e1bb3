"""Claims and intents: the next delivery of each free login, and the permission to start its call.

Urgent deliveries are claimed first, then posts already begun, then routine ones. For several
intents, the guards are read together, and the rows are written together.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    and_,
    bindparam,
    exists,
    insert,
    literal_column,
    or_,
    select,
)

from publisher.domain.account import AccountId, AccountPolicy, LoginId, Mode
from publisher.domain.delivery import (
    SENDER,
    ApprovalMissing,
    Attempt,
    AttemptStarted,
    Delivery,
    Event,
    Expired,
    Held,
    Lease,
    Released,
    State,
)
from publisher.domain.post import Baseline, DeliveryId, RenderedPost, SendRequest
from publisher.domain.results import (
    RESULT_CODES,
    Busy,
    CredentialExpired,
    HoldReason,
    NotSent,
    RateLimited,
    Rejected,
)
from publisher.runtime.logs import log
from publisher.store.approvals.guard import APPROVAL_RECHECK_INTERVAL, find_unapproved
from publisher.store.base import (
    BLOCKED_BY_UNKNOWN,
    UPDATE_DELIVERY,
    BaseStore,
    StateChange,
    extend_blocked_deadlines,
)
from publisher.store.comparison import is_timeline_new
from publisher.store.database_identity import is_original_database
from publisher.store.db.database import Transaction, execute_rows, wait_for_lock
from publisher.store.db.filters import (
    in_state,
    is_late,
    is_superseded,
    may_call,
    mode_override,
)
from publisher.store.db.intent_journal import JournalRecord
from publisher.store.db.monitor_tables import PRESENCE, to_presence
from publisher.store.db.rows import SELECT_DELIVERIES, raise_delivery_alert_once
from publisher.store.db.tables import (
    ATTEMPT,
    DELIVERY,
    LOGIN,
    MEDIA,
    RENDERED_POST,
    load_rendered_post,
    read_deliveries,
    to_attempt,
    to_delivery,
)
from publisher.store.deliveries.cooldowns import start_quota_cooldowns
from publisher.store.lost_attempts import recover_lost_attempts

PREPARE_AHEAD = timedelta(seconds=2)
"""The time before its instant at which a delivery is prepared.

Then only the call remains to be made at the instant.
"""
PAUSED_RETRY_DELAY = timedelta(seconds=5)
"""How soon a delivery that a pause blocks is tried again."""
BLOCKED_RETRY_DELAY = timedelta(seconds=15)
"""The delay before a delivery blocked by an unknown outcome on its account is tried again.

The delivery is tried sooner if the outcome is resolved before.
"""
PAUSE_LOCK = "pause"
"""The lock that intents share.

A pause waits for the intents that did not see it, and is answered after them.
"""
MAX_OWNED_IDS = 200
"""How many of an account's own ids go along with a request, newest first."""

_OTHER_DELIVERY = DELIVERY.alias("other")
_NOW = bindparam("now", type_=DELIVERY.c.due_at.type)
_DUE_BY = bindparam("due_by", type_=DELIVERY.c.due_at.type)


def is_claimable(row: FromClause) -> ColumnElement[bool]:
    """True if a delivery may be claimed.

    Its login's cooldowns and its own `next_action_at` are ignored.
    """
    is_listed = row.c.account.in_(bindparam("accounts", expanding=True))
    return and_(in_state(row, State.DUE), is_listed, may_call(row, _NOW, _DUE_BY))


def _claim_query(
    is_kind: Callable[[FromClause], ColumnElement[bool]],
    *cooldowns: ColumnElement[datetime],
) -> Select[Any]:
    """Select idle logins, longest idle first, each with the delivery of one kind to claim.

    The cooldowns of an idle login are over.
    """
    inner = DELIVERY.alias("candidate")
    pick = (
        select(inner.c.id)
        .where(is_claimable(inner), inner.c.login == LOGIN.c.id, is_kind(inner))
        .where(or_(inner.c.next_action_at.is_(None), inner.c.next_action_at <= _NOW))
        .order_by(inner.c.due_at, inner.c.id)
        .limit(1)
        .scalar_subquery()
    )
    busy = exists().where(
        DELIVERY.c.login == LOGIN.c.id, in_state(DELIVERY, State.CLAIMED, State.SENDING)
    )
    return (
        select(LOGIN.c.id, pick.label("candidate"))
        .where(*(cooldown <= _NOW for cooldown in cooldowns), ~busy, pick.is_not(None))
        .where(LOGIN.c.id.not_in(bindparam("logins", expanding=True)))
        .order_by(cooldowns[0])
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True, of=LOGIN)
    )


def has_published_parts(row: FromClause) -> ColumnElement[bool]:
    """True if the next part of a post is due. It is a literal, as an index needs it.

    The index has this condition.
    """
    return row.c.parts_done > literal_column("0")


URGENT_CLAIMS = _claim_query(
    lambda row: and_(row.c.is_urgent.is_(True), ~has_published_parts(row)),
    LOGIN.c.cooldown_until,
)
STARTED_CLAIMS = _claim_query(has_published_parts, LOGIN.c.parts_cooldown_until)
ROUTINE_CLAIMS = _claim_query(
    lambda row: and_(row.c.is_urgent.is_(False), ~has_published_parts(row)),
    LOGIN.c.cooldown_until,
    LOGIN.c.routine_cooldown_until,
)

_BLOCKED_ACCOUNTS = (
    select(DELIVERY.c.account)
    .where(in_state(DELIVERY, State.DUE), DELIVERY.c.next_action_at > _NOW)
    .where(DELIVERY.c.reason == BLOCKED_BY_UNKNOWN)
)
"""Accounts on which an unknown outcome has just blocked a post.

It would block all other posts that are not urgent too.
"""
STILL_CLAIMABLE = SELECT_DELIVERIES.where(
    in_state(DELIVERY, State.DUE),
    ~exists().where(
        _OTHER_DELIVERY.c.login == DELIVERY.c.login,
        in_state(_OTHER_DELIVERY, State.CLAIMED, State.SENDING),
    ),
)


def choose_claims(
    store: BaseStore, transaction: Transaction, limit: int
) -> list[Delivery]:
    """Return a due delivery for each of at most `limit` free logins, and lock these logins.

    Within a kind, the logins that have been idle longest come first. The logins are locked before
    their deliveries are read, so that claims by other workers are seen.
    """
    now = store.runtime.now()
    blocked = set(transaction.connection.scalars(_BLOCKED_ACCOUNTS, {"now": now}))
    active = store.active_accounts
    unblocked = [account for account in active if account not in blocked]
    found: dict[LoginId, int] = {}

    def find(
        query: Select[Any],
        accounts: Sequence[AccountId],
        exclude: Collection[LoginId] = (),
    ) -> None:
        if len(found) == limit:
            return
        parameters = {
            "now": now,
            "due_by": now + PREPARE_AHEAD,
            "limit": limit - len(found),
            "logins": [*exclude, *found],
            "accounts": accounts,
        }
        found.update(
            {
                row.id: row.candidate
                for row in transaction.connection.execute(query, parameters)
            }
        )

    def logins_of(accounts: Sequence[AccountId]) -> set[LoginId]:
        return {store.policies[account].account.login for account in accounts}

    blocked_logins = logins_of(active) - logins_of(unblocked)
    find(URGENT_CLAIMS, active)
    find(STARTED_CLAIMS, unblocked, blocked_logins)
    find(ROUTINE_CLAIMS, unblocked, blocked_logins)
    if not found:
        return []
    return read_deliveries(
        transaction.connection, STILL_CLAIMABLE, {"deliveries": list(found.values())}
    )


_OWNED_IDS = (
    select(DELIVERY.c.remote_id)
    .where(
        DELIVERY.c.account == bindparam("account"), DELIVERY.c.published_at.is_not(None)
    )
    .order_by(DELIVERY.c.published_at.desc())
    .limit(literal_column(str(MAX_OWNED_IDS)))
)
_NEWEST_ATTEMPT = (
    select(ATTEMPT, RENDERED_POST.c.body)
    .join(RENDERED_POST, RENDERED_POST.c.fingerprint == bindparam("rendered_hash"))
    .where(
        ATTEMPT.c.delivery == bindparam("delivery"), ATTEMPT.c.part <= bindparam("part")
    )
    .order_by(ATTEMPT.c.number.desc())
    .limit(literal_column("1"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingReadback:
    """A delivery to check on its platform, and the request of its last attempt, if it had one.

    `conflict` is set if the account is another one by now. To read it would prove nothing.
    """

    delivery: Delivery
    request: SendRequest | None
    conflict: Held | None = None


def pending_readbacks(
    store: BaseStore, connection: Connection, deliveries: Sequence[Delivery]
) -> list[PendingReadback]:
    """Return deliveries with the request of their newest attempt, without image bytes.

    The request is None without an attempt. For a post of several parts, it is the request of the
    current part, or of the newest part before it that was called.
    """
    owned: dict[AccountId, frozenset[str]] = {}
    pending: list[PendingReadback] = []
    for delivery in deliveries:
        parameters = {
            "delivery": delivery.id,
            "part": _current_part(delivery),
            "rendered_hash": delivery.rendered_hash,
        }
        row = connection.execute(_NEWEST_ATTEMPT, parameters).mappings().one_or_none()
        if row is None:
            pending.append(PendingReadback(delivery=delivery, request=None))
            continue
        if delivery.account not in owned:
            owned[delivery.account] = frozenset(
                connection.scalars(_OWNED_IDS, {"account": delivery.account})
            )
        others = owned[delivery.account] - {
            delivery.receipt.remote_id if delivery.receipt else ""
        }
        request = _build(
            store, delivery, to_attempt(row), row["newest_id"], row["body"]
        )
        request = replace(
            request, owned_ids=others, is_manual=delivery.manual_task is not None
        )
        conflict = find_identity_change(
            store, connection, delivery.account, request.identity
        )
        pending.append(
            PendingReadback(delivery=delivery, request=request, conflict=conflict)
        )
    return pending


def read_due_readbacks(
    connection: Connection, store: BaseStore, due: Select[Any]
) -> list[PendingReadback]:
    return pending_readbacks(store, connection, read_deliveries(connection, due))


def claim_due_readbacks(
    transaction: Transaction, store: BaseStore, due: Select[Any]
) -> list[PendingReadback]:
    """Postpone each due readback by its lease timeout, so that no other worker reads it too."""
    now, connection = store.runtime.now(), transaction.connection
    query = due.with_for_update(skip_locked=True)
    postponed = [
        replace(item, next_action_at=now + store.timing(item.account).lease_timeout)
        for item in read_deliveries(connection, query)
    ]
    values = [
        {
            "its_id": item.id,
            "its_version": item.version,
            "next_action_at": item.next_action_at,
        }
        for item in postponed
    ]
    if values:
        connection.execute(UPDATE_DELIVERY, values)
    return pending_readbacks(store, connection, postponed)


def find_identity_change(
    store: BaseStore, connection: Connection, account: AccountId, identity: str
) -> Held | None:
    """Return the hold of an attempt made as another identity than the account's; None if the same.

    An empty identity is unknown. Only the identity in the settings is compared then.
    """
    present = store.policies[account].identity
    if identity in {present, ""} or identity in find_spellings(
        store, connection, account
    ):
        return None
    return Held(
        reason=HoldReason.IDENTITY_CHANGED,
        facts={"sent_as": identity, "identity": present},
    )


def find_spellings(
    store: BaseStore, connection: Connection, account: AccountId
) -> frozenset[str]:
    """Return every text by which an attempt may name the identity that the account has now.

    Two spellings are one identity if the platform has called the account by the same name under
    both.
    """
    present = store.policies[account].presence
    rows = connection.execute(select(PRESENCE).where(PRESENCE.c.account == account))
    names = {
        to_presence(row): row.identity if row.reported is None else row.reported
        for row in rows
    }
    name = names.get(present, present.identity)
    one_name = [other for other, its_name in names.items() if name and its_name == name]
    here = [
        other
        for other in one_name
        if replace(other, identity=present.identity) == present
    ]
    return frozenset(map(str, [present, *here]))


def build_request(
    store: BaseStore, connection: Connection, delivery: Delivery, facts: RowMapping
) -> SendRequest | None:
    """Return the request of the delivery's next attempt; None if the bytes of an image are gone.

    `facts` has the delivery's rendered `body`, the `newest_id` known on its account, and the
    account's `mode`, if a person has set one.
    """
    now, policy = store.runtime.now(), store.policies[delivery.account]
    attempt = Attempt(
        number=delivery.attempts + 1,
        fencing_token=delivery.fencing_token,
        intended_at=now,
        ended_at=None,
        baseline_at=now - policy.timing.platform_clock_tolerance,
        identity=policy.identity,
        part=delivery.parts_done if delivery.is_incomplete else 0,
    )
    request = _build(store, delivery, attempt, facts["newest_id"], facts["body"])
    if Mode(facts["mode"] or policy.account.mode) is Mode.ASSISTED:
        request = replace(request, is_manual=True)
    else:
        request = replace(
            request,
            method=_name_method(policy, request.rendered, is_urgent=delivery.is_urgent),
        )
    if request.part or not request.rendered.images:  # images go with the post itself
        return request
    hashes = [image.sha256 for image in request.rendered.images]
    rows = connection.execute(
        select(MEDIA.c.sha256, MEDIA.c.data).where(MEDIA.c.sha256.in_(hashes))
    )
    stored = {row.sha256: row.data for row in rows}
    if not set(hashes) <= set(stored):
        return None
    return replace(request, images=tuple(stored[sha256] for sha256 in hashes))


def _name_method(
    policy: AccountPolicy, rendered: RenderedPost, *, is_urgent: bool
) -> str:
    """Return the adapter's word for the way of a call.

    It is empty if the adapter fails, as it is where nobody knows the way.
    """
    try:
        method: object = policy.call_method(rendered, is_urgent=is_urgent)
    except Exception as error:  # noqa: BLE001 # an adapter's bug must stop no other delivery
        log.exception("adapter_failed", error=type(error).__name__)
        return ""
    return method if isinstance(method, str) else ""


def _build(
    store: BaseStore,
    delivery: Delivery,
    attempt: Attempt,
    newest_id: str | None,
    body: str,
) -> SendRequest:
    timing, part = store.timing(delivery.account), _current_part(delivery)
    time_left = min(
        timing.lease_timeout - timing.request_timeout,
        delivery.expires_at - attempt.intended_at,
    )
    return SendRequest(
        delivery=delivery.id,
        attempt=attempt.number,
        fencing_token=attempt.fencing_token,
        resend_after_attempt=delivery.resend_after_attempt,
        account=delivery.account,
        rendered=load_rendered_post(body),
        images=(),
        baseline=Baseline(newest_id=newest_id, taken_at=attempt.baseline_at),
        intended_at=attempt.intended_at,
        start_by=store.runtime.monotonic() + time_left.total_seconds(),
        is_urgent=delivery.is_urgent,
        part=part,
        parent=delivery.receipt if part else None,
        identity=attempt.identity,
        method=attempt.method,
    )


def _current_part(delivery: Delivery) -> int:
    """Return the first part not known to be published.

    Return 0, the post itself, if all are published or it is to be deleted.
    """
    is_part_open = delivery.is_incomplete and delivery.state not in {
        State.PUBLISHED,
        State.RETRACTING,
    }
    return delivery.parts_done if is_part_open else 0


def guard_query(condition: Callable[[Any, Any], ColumnElement[bool]]) -> Select[Any]:
    """Select the guards' data about some deliveries, and a condition for their calls."""
    published = DELIVERY.alias("published")
    newest_id = (
        select(published.c.remote_id)
        .where(
            published.c.account == DELIVERY.c.account,
            published.c.published_at.is_not(None),
            in_state(published, State.PUBLISHED),
        )
        .order_by(published.c.published_at.desc())
        .limit(1)
        .scalar_subquery()
    )
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
            newest_id.label("newest_id"),
            ATTEMPT.c.identity.label("last_identity"),
            ATTEMPT.c.method.label("last_method"),
        )
        .join(RENDERED_POST, RENDERED_POST.c.fingerprint == DELIVERY.c.rendered_hash)
        .join(LOGIN, LOGIN.c.id == DELIVERY.c.login)
        .outerjoin(
            ATTEMPT,
            and_(
                ATTEMPT.c.delivery == DELIVERY.c.id,
                ATTEMPT.c.number == DELIVERY.c.attempts,
            ),
        )
        .where(DELIVERY.c.id.in_(bindparam("deliveries", expanding=True)))
    )


GUARD_QUERY = guard_query(may_call)
_UNRESOLVED_ATTEMPTS = (
    select(DELIVERY.c.account, DELIVERY.c.state, ATTEMPT.c.id, ATTEMPT.c.ended_at)
    .join(
        ATTEMPT,
        and_(
            ATTEMPT.c.delivery == DELIVERY.c.id, ATTEMPT.c.number == DELIVERY.c.attempts
        ),
    )
    .where(
        in_state(DELIVERY, State.SENDING, State.UNKNOWN, State.RETRACTING),
        or_(
            ~in_state(DELIVERY, State.RETRACTING), DELIVERY.c.remote_id.is_(None)
        ),  # an id is deleted without the list
        or_(
            DELIVERY.c.reason.is_(None),
            DELIVERY.c.reason != HoldReason.REVIEW_POSSIBLE.value,
        ),
        DELIVERY.c.account.in_(bindparam("accounts", expanding=True)),
    )
)
_INSERT_ATTEMPT = insert(ATTEMPT).inline()
_CREATED_NOTHING = [
    RESULT_CODES[kind]
    for kind in (NotSent, RateLimited, Busy, CredentialExpired, Rejected)
]
_NEWEST_ATTEMPTS = (
    select(ATTEMPT.c.id)
    .where(ATTEMPT.c.account == bindparam("account"))
    .where(or_(ATTEMPT.c.outcome.is_(None), ATTEMPT.c.outcome.not_in(_CREATED_NOTHING)))
    .order_by(ATTEMPT.c.id.desc())
    .limit(bindparam("limit"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """No call may start now; `guard` names the guard that failed."""

    guard: str


def record_intents(
    store: BaseStore, transaction: Transaction, leases: Sequence[Lease]
) -> list[SendRequest | Declined]:
    """Record an intent for each lease that passes all guards.

    Release the others, or end the delivery if it is late.
    """
    if not is_original_database(store.database, transaction.connection):
        return [Declined(guard="database_replaced") for _ in leases]
    recover_lost_attempts(store, transaction)
    wait_for_lock(transaction, PAUSE_LOCK, is_shared=True)
    parameters = {
        "deliveries": [lease.delivery for lease in leases],
        "now": store.runtime.now(),
    }
    rows = {
        row["id"]: row
        for row in transaction.connection.execute(GUARD_QUERY, parameters).mappings()
    }
    since_unresolved = _attempts_since_unresolved(
        store, transaction, [lease.account for lease in leases]
    )
    unapproved = _find_unapproved(store, transaction, map(to_delivery, rows.values()))
    answers: dict[DeliveryId, SendRequest | Declined] = {}
    stopped: list[StateChange] = []
    ready: list[tuple[Delivery, SendRequest]] = []
    for lease in leases:
        row = rows[lease.delivery]
        delivery = to_delivery(row)
        if delivery.state is not State.CLAIMED or not lease.has_current_fencing_token(
            delivery
        ):
            answers[lease.delivery] = Declined(guard="lease_lost")
            continue
        failed = _first_failing_guard(
            store, delivery, row, since_unresolved.get(delivery.account, 0)
        )
        if failed is None and delivery.id in unapproved:
            failed = (
                "not_approved",
                ApprovalMissing(until=store.runtime.now() + APPROVAL_RECHECK_INTERVAL),
            )
        request = failed or _prepare_request(
            store, transaction.connection, delivery, row
        )
        if isinstance(request, SendRequest):
            ready.append((delivery, request))
            answers[lease.delivery] = request
        else:
            stopped.append(_stop(store, transaction, delivery, request))
            answers[lease.delivery] = Declined(guard=request[0])
    store.transition_all(transaction, stopped, SENDER)
    if ready:
        _write_intents(store, transaction, ready)
    return [answers[lease.delivery] for lease in leases]


def _stop(
    store: BaseStore,
    transaction: Transaction,
    delivery: Delivery,
    failed: tuple[str, Event],
) -> StateChange:
    """Return the state change of a failed guard, with the alert about the blocking delivery."""
    guard, event = failed
    if guard == BLOCKED_BY_UNKNOWN:
        raise_delivery_alert_once(
            transaction, store.runtime.now(), BLOCKED_BY_UNKNOWN, delivery
        )
        extend_blocked_deadlines(
            transaction, delivery.login, delivery.account, store.runtime.now()
        )
    return StateChange(before=delivery, event=event)


def _prepare_request(
    store: BaseStore, connection: Connection, delivery: Delivery, facts: RowMapping
) -> SendRequest | tuple[str, Event]:
    """Return the request of the delivery's next attempt, or why a person has to decide instead.

    A further part, and a second call after a proven absence, goes out as the same identity as the
    attempt before. Such a second call is made by the same method as well, as only that method was
    judged, unless a person has ordered it.
    """
    request = build_request(store, connection, delivery, facts)
    if request is None:
        return _hold(HoldReason.IMAGE_MISSING)
    is_second_call = (
        delivery.was_resent and delivery.resend_after_attempt < delivery.attempts
    )
    if delivery.is_incomplete or is_second_call:
        changed = find_identity_change(
            store, connection, delivery.account, facts["last_identity"] or ""
        )
        if changed is not None:
            return changed.reason, changed
    # by hand no call is made; an adapter that no longer names the method may use any
    is_other_method = not request.is_manual and facts["last_method"] not in (
        "",
        None,
        request.method,
    )
    return (
        _hold(HoldReason.NOT_PUBLISHED)
        if is_second_call and is_other_method
        else request
    )


def _hold(reason: HoldReason) -> tuple[str, Event]:
    return reason, Held(reason=reason)


def _find_unapproved(
    store: BaseStore, transaction: Transaction, deliveries: Iterable[Delivery]
) -> frozenset[DeliveryId]:
    """Return the deliveries that lack approvals to be sent: all, if the server just took over.

    Such a server may lack the end of an approval.
    """
    if not store.approval_rules.is_active:
        return frozenset()
    if store.database.is_shared and is_timeline_new(transaction.connection):
        return frozenset(
            item.id for item in deliveries if store.approval_rules.chain_for(item.kind)
        )
    return find_unapproved(store, transaction, deliveries)


def _attempts_since_unresolved(
    store: BaseStore, transaction: Transaction, accounts: Sequence[AccountId]
) -> Mapping[AccountId, int]:
    """Count the attempts since the oldest unresolved one, for accounts with a limited list.

    The list of such an account shows a limited number of posts. An attempt that created nothing
    pushes nothing off the list. An unresolved attempt that is beyond the list already blocks
    nothing any more. Neither does a post that is to be deleted once its visibility window is over.
    Neither does a post that only a review can hide: that may last for hours.
    """
    now = store.runtime.now()
    list_sizes = {
        account: size
        for account in accounts
        if (size := store.policies[account].capabilities.list_size) is not None
    }
    if not list_sizes:
        return {}
    unresolved: dict[AccountId, set[int]] = defaultdict(set)
    for row in transaction.connection.execute(
        _UNRESOLVED_ATTEMPTS, {"accounts": list(list_sizes)}
    ):
        is_window_over = (
            row.ended_at is not None
            and now > row.ended_at + store.timing(row.account).visibility_window
        )
        if row.state != State.RETRACTING or not is_window_over:
            unresolved[row.account].add(row.id)
    since: dict[AccountId, int] = {}
    for account, attempts in unresolved.items():
        newest = transaction.connection.scalars(
            _NEWEST_ATTEMPTS, {"account": account, "limit": list_sizes[account]}
        )
        since[account] = max(
            (number for number, attempt in enumerate(newest) if attempt in attempts),
            default=0,
        )
    return since


def _first_failing_guard(
    store: BaseStore, delivery: Delivery, row: RowMapping, since_unresolved: int
) -> tuple[str, Event] | None:
    """Return the first guard that forbids the call, and its event, or None if the call may start.

    An unknown outcome does not block urgent posts. If an urgent post pushes it beyond the list, a
    person is asked.
    """
    now = store.runtime.now_if_confirmed()
    if now is None:
        return "clock_unconfirmed", Released()
    if not row["may_call"]:
        if now >= delivery.expires_at:
            return "expired", Expired()
        if now < delivery.due_at:
            return "not_due", Released(until=delivery.due_at)
        if row["is_superseded"]:  # maintenance expires all of them, with one alert
            return "superseded", Released(until=now + PAUSED_RETRY_DELAY)
        if row["is_late"]:
            return "too_late", Expired(reason="too_late")
        # or switched off, or its original is not published
        return "paused", Released(until=now + PAUSED_RETRY_DELAY)
    list_size = store.policies[delivery.account].capabilities.list_size
    # one more post could push the unresolved one beyond the list
    would_hide = list_size is not None and since_unresolved >= list_size - 2
    if would_hide and not delivery.is_urgent:
        return BLOCKED_BY_UNKNOWN, Released(
            until=now + BLOCKED_RETRY_DELAY,
            reason=BLOCKED_BY_UNKNOWN,
            extends_deadline=True,
        )
    allowed_at = row["cooldown_until"]
    if delivery.is_incomplete:
        allowed_at = row["parts_cooldown_until"]
    elif not delivery.is_urgent:
        allowed_at = max(row["cooldown_until"], row["routine_cooldown_until"])
    return (
        ("quota", Released(until=allowed_at, extends_deadline=True))
        if now < allowed_at
        else None
    )


def _write_intents(
    store: BaseStore,
    transaction: Transaction,
    ready: Sequence[tuple[Delivery, SendRequest]],
) -> None:
    changes = [
        StateChange(
            before=delivery,
            event=AttemptStarted(),
            lease_until=request.intended_at
            + store.timing(delivery.account).lease_timeout,
        )
        for delivery, request in ready
    ]
    store.call_record.record_pending(
        (delivery.id, request.fencing_token) for delivery, request in ready
    )
    store.transition_all(transaction, changes, SENDER)
    for delivery, request in ready:
        store.start_lease(
            delivery.id,
            request.fencing_token,
            store.timing(delivery.account).lease_timeout,
        )
    rows = [
        {
            "delivery": delivery.id,
            "number": request.attempt,
            "fencing_token": request.fencing_token,
            "login": delivery.login,
            "account": delivery.account,
            "worker": store.worker,
            "rendered_hash": delivery.rendered_hash,
            "newest_id": request.baseline.newest_id,
            "baseline_at": request.baseline.taken_at,
            "intended_at": request.intended_at,
            "part": request.part,
            "is_manual": request.is_manual,
            "identity": request.identity,
            "method": request.method,
            "is_end_confirmed": False,
        }
        for delivery, request in ready
    ]
    execute_rows(transaction.connection, _INSERT_ATTEMPT, rows)
    start_quota_cooldowns(
        store,
        transaction,
        [delivery for delivery, request in ready if not request.is_manual],
    )
    transaction.journal_records += [
        JournalRecord(
            delivery=delivery.id,
            attempt=request.attempt,
            fencing_token=request.fencing_token,
            rendered_hash=delivery.rendered_hash,
            at=request.intended_at.isoformat(),
            post=delivery.key.post,
            occurrence=delivery.key.occurrence,
            account=delivery.account,
            part=request.part,
            identity=request.identity,
            method=request.method,
        )
        for delivery, request in ready
    ]
