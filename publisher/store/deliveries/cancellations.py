"""The end of the wish to publish: the schedule, people and corrections cancel possible calls."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, or_, select, update

from publisher.domain.delivery import (
    CHECKED_STATES,
    PLANNER,
    REVISABLE_STATES,
    WORDS_REPLACED,
    Actor,
    Cancelled,
    DesiredState,
    Role,
    State,
)
from publisher.domain.plan import PlannedDeliveries
from publisher.domain.post import MEMBER_MARK, OneTimeTrigger, Post, PostId, find_family
from publisher.store.base import BaseStore
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import Transaction
from publisher.store.db.filters import in_open_state, in_state
from publisher.store.db.rows import (
    AlertContent,
    apply_alert_changes,
    clear_outcome_alerts,
    find_alert_changes,
    lock_planning,
    post_rows,
    read_family_members,
    write_audit,
)
from publisher.store.db.tables import DELIVERY, POST, load_post, read_deliveries

Target = Mapping[str, str | Sequence[str]]
"""Columns of deliveries, with the value of each, or its values."""
ORIGINAL_IN_DOUBT = "original_in_doubt"
"""The alert that a corrected post has an open outcome on some accounts.

The correction waits for it there.
"""
MAX_NAMED_ACCOUNTS = 5
_CORRECTION = DELIVERY.alias("correction")
_OF_ACCOUNT = (
    select(func.min(_CORRECTION.c.post))
    .where(
        _CORRECTION.c.follows == DELIVERY.c.post,
        _CORRECTION.c.account == DELIVERY.c.account,
    )
    .scalar_subquery()
)
"""What corrects an account's delivery of a post that is not corrected as a whole."""
_IN_DOUBT = (
    select(
        DELIVERY.c.post,
        DELIVERY.c.account,
        func.coalesce(POST.c.corrected_by, _OF_ACCOUNT).label("corrected_by"),
    )
    .join(POST, POST.c.id == DELIVERY.c.post)
    .where(
        in_open_state(DELIVERY, State.SENDING, State.SUBMITTED, State.UNKNOWN),
        DELIVERY.c.desired == DesiredState.CORRECTED.value,
    )
    .order_by(DELIVERY.c.post, DELIVERY.c.account)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedCorrection:
    """The correction of a post, and the person that ordered it to be sent."""

    original: PostId
    correction: PostId
    by: Actor


def cancel_matching(  # noqa: PLR0913 # what is cancelled, by whom, and why
    store: BaseStore,
    transaction: Transaction,
    target: Target,
    by: Actor,
    *,
    reason: str,
    is_corrected: bool = False,
) -> int:
    """Cancel every matching delivery that may still lead to a call and is not cancelled yet.

    Returns how many will not be sent now: the call of any other may be under way.
    """
    is_target = [
        DELIVERY.c[column].in_([value] if isinstance(value, str) else value)
        for column, value in target.items()
    ]
    event = Cancelled(reason=reason, is_corrected=is_corrected)
    wish = event.desired_by(by.role)
    query = select(DELIVERY).where(
        *is_target,
        DELIVERY.c.state.in_([state.value for state in REVISABLE_STATES]),
        DELIVERY.c.desired.in_(
            [weaker.value for weaker in DesiredState if weaker.rank < wish.rank]
        ),
    )
    deliveries = read_deliveries(transaction.connection, query)
    after = [
        store.transition(transaction, delivery, event, by) for delivery in deliveries
    ]
    if by.role is Role.PERSON:  # what an edit has withdrawn must not come back either
        withdrawn = update(DELIVERY).where(
            *is_target,
            in_state(DELIVERY, State.CANCELLED),
            DELIVERY.c.reason == WORDS_REPLACED,
        )
        transaction.connection.execute(
            withdrawn.values(reason=reason, desired=wish.value)
        )
    return sum(
        delivery.state not in CHECKED_STATES | {State.SENDING} for delivery in after
    )


def find_due_corrections(
    planned: Sequence[PlannedDeliveries], now: datetime
) -> list[PostId]:
    """Return the due corrections among these posts. Their approvals may still be missing."""

    def is_asap(post: Post) -> bool:
        return isinstance(post.trigger, OneTimeTrigger) and post.trigger.at is None

    corrections = [item for item in planned if item.post.kind.traits.stops_original]
    return [
        item.post.id
        for item in corrections
        if is_asap(item.post) or item.occurrence.due_at <= now
    ]


def stop_corrected(
    transaction: Transaction, store: BaseStore, corrections: Collection[PostId]
) -> None:
    """End the wish to publish the posts that these posts correct, if no correction has ended it.

    The time of these corrections has come.
    """
    if not corrections:
        return
    connection = transaction.connection
    lock_planning(transaction)
    bodies = connection.scalars(
        select(POST.c.body).where(POST.c.id.in_(list(corrections)))
    ).all()
    posts = [post for post in map(load_post, bodies) if post.kind.traits.stops_original]
    corrected = {post.follows: post.id for post in posts}
    uncorrected = select(POST.c.id).where(
        POST.c.id.in_(list(filter(None, corrected))), POST.c.corrected_by.is_(None)
    )
    for original in connection.scalars(uncorrected.order_by(POST.c.id)).all():
        order = OrderedCorrection(
            original=original, correction=corrected[original], by=PLANNER
        )
        stop_original(store, transaction, order)


def stop_original(
    store: BaseStore, transaction: Transaction, order: OrderedCorrection
) -> None:
    """End the wish to publish a post wherever it is not out, now and in future: its text is wrong.

    An ordinary post is stopped for all regions, and the post of a region for its accounts, under
    any id by which they have it. If a call may have been made, none follows it. People are asked at
    once to look there.
    """
    now, connection = store.runtime.now(), transaction.connection
    ended = [order.original]
    if MEMBER_MARK in order.original:
        elsewhere = list_other_forms(connection, order.original)
        _cancel_corrected(store, transaction, elsewhere, order.by)
    else:
        family = {order.original}
        forms = read_family_members(connection, family).get(order.original, ())
        rows = post_rows(connection, forms)
        ended += [row.id for row in rows if not (row.corrected_by or row.id in ended)]
    for post in ended:
        end_wish(store, transaction, replace(order, original=post))
    apply_alert_changes(transaction, now, find_doubt_changes(connection))


def list_other_forms(connection: Connection, post: PostId) -> Target:
    """Return where accounts of a post may have it under another id of its family."""
    family = find_family(post)
    forms = read_family_members(connection, {family}).get(family, ())
    return {
        "post": [form for form in forms if form != post],
        "account": [
            account
            for row in post_rows(connection, [post])
            for account in load_post(row.body).accounts
        ],
    }


def end_wish(
    store: BaseStore, transaction: Transaction, order: OrderedCorrection
) -> None:
    now, original = store.runtime.now(), order.original
    marked = update(POST).where(POST.c.id == original)
    transaction.connection.execute(marked.values(corrected_by=order.correction))
    write_audit(
        transaction,
        now,
        order.by,
        event="correction_requested",
        subject=original,
        detail={"correction": order.correction},
    )
    of_post = (
        ALERT.c.subject.startswith(f"{original}{mark}", autoescape=True)
        for mark in "@#"
    )
    clear_outcome_alerts(transaction, now, or_(*of_post))
    _cancel_corrected(store, transaction, {"post": original}, order.by)


def _cancel_corrected(
    store: BaseStore, transaction: Transaction, target: Target, by: Actor
) -> None:
    cancel_matching(
        store, transaction, target, by, reason="corrected", is_corrected=True
    )


def find_doubt_changes(connection: Connection) -> Mapping[str, AlertContent | None]:
    """Return the ORIGINAL_IN_DOUBT alerts that are missing or over, one for each post.

    The accounts do not matter.
    """
    found: dict[str, list[RowMapping]] = defaultdict(list)
    for row in connection.execute(_IN_DOUBT).mappings():
        found[row["post"]].append(row)
    wanted: dict[str, AlertContent] = {}
    for post, rows in found.items():
        accounts = "、".join(row["account"] for row in rows[:MAX_NAMED_ACCOUNTS])
        facts = {
            "post": post,
            "correction": rows[0]["corrected_by"],
            "number": str(len(rows)),
            "accounts": accounts,
        }
        wanted[f"corrected:{post}"] = (ORIGINAL_IN_DOUBT, facts)
    return find_alert_changes(connection, [ORIGINAL_IN_DOUBT], wanted)
