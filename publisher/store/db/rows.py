"""Rows read and written with a state change.

They are deliveries, audit entries, alerts, pauses, readbacks and attempts.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    RowMapping,
    Table,
    bindparam,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from publisher.domain.account import AccountId
from publisher.domain.audit_chain import SIGN_IN_KEY, SYSTEM_USER_KEY
from publisher.domain.delivery import FINAL_STATES, Actor, Delivery, Readback
from publisher.domain.post import (
    MEMBER_MARK,
    ONCE_OCCURRENCE,
    DeliveryId,
    PostId,
    find_family,
    format_delivery_name,
)
from publisher.domain.results import Outcome, Published, ReadbackResult, Unknown
from publisher.store.db.alert_tables import ALERT, NOT_ACKNOWLEDGED
from publisher.store.db.database import Transaction
from publisher.store.db.tables import (
    ATTEMPT,
    DATABASE_INFO,
    DELIVERY,
    PAUSE,
    POST,
    READBACK,
    CallResult,
    dump_result,
    load_result,
    read_deliveries,
    to_readback,
)

ACCOUNT_PAUSED = "account_paused"
LINK_FACT = "address"
"""The fact of an alert that is a link for one use: it is in notices, on no page and in no log."""
RENEWAL = "renewal"
"""What ends the pause of an account with a refused login: a secret that works."""
OCCURRENCES_MISSED = "occurrences_missed"
AUDIT_BROKEN = "audit_broken"
"""The code and subject of the alert that checkpoints know entries missing from the audit.

The checkpoints are external. A person has to clear it.
"""

EXTERNAL_POST = "external_post"
"""The code of the alert that people posted on an account not exclusive to publisher.

A later alert replaces it.
"""
REOPEN_WINDOW = timedelta(days=1)
"""The window in which an ended alert about a condition that may come and go opens again."""

QUERY_BATCH_SIZE = 500
"""How many values one statement names at most, where there may be many."""

T = TypeVar("T")
R = TypeVar("R", bound=Outcome | ReadbackResult)

_encode_detail = json.JSONEncoder(ensure_ascii=False).encode

SELECT_DELIVERIES = select(DELIVERY).where(
    DELIVERY.c.id.in_(bindparam("deliveries", expanding=True))
)
_OWNERS_OF_IDS = select(DELIVERY.c.id, DELIVERY.c.account, DELIVERY.c.remote_id).where(
    tuple_(DELIVERY.c.account, DELIVERY.c.remote_id).in_(
        bindparam("claimed", expanding=True)
    ),
    DELIVERY.c.remote_id.is_not(None),
)

_IS_ABOUT_OUTCOME = or_(
    *(ALERT.c.code.startswith(f"{state}.") for state in sorted(FINAL_STATES))
)


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Split a sequence into batches.

    So no statement gets too many parameters, and no transaction lasts too long.
    """
    return (items[start : start + size] for start in range(0, len(items), size))


def post_rows(connection: Connection, posts: Sequence[PostId]) -> Iterator[Row[Any]]:
    """Yield the rows of the stored ones among these posts."""
    for ids in batches(sorted(set(posts)), QUERY_BATCH_SIZE):
        yield from connection.execute(select(POST).where(POST.c.id.in_(ids)))


def write_row(
    connection: Connection,
    table: Table,
    key: Mapping[str, object],
    values: Mapping[str, object],
) -> None:
    """Update the row with this key, or insert it if there is none."""
    is_row = [table.c[name] == value for name, value in key.items()]
    if not connection.execute(update(table).where(*is_row).values(values)).rowcount:
        connection.execute(insert(table).values({**key, **values}))


def get_delivery(transaction: Transaction, delivery: DeliveryId) -> Delivery:
    """Return a delivery as the transaction sees it."""
    [found] = read_deliveries(
        transaction.connection, SELECT_DELIVERIES, {"deliveries": [delivery]}
    )
    return found


def newest_outcomes(
    transaction: Transaction, delivery: Delivery, number: int
) -> list[CallResult]:
    """Return up to `number` known outcomes of a delivery's newest attempts, newest first."""
    newest = select(ATTEMPT.c.outcome, ATTEMPT.c.detail).where(
        ATTEMPT.c.delivery == delivery.id, ATTEMPT.c.outcome.is_not(None)
    )
    rows = transaction.connection.execute(
        newest.order_by(ATTEMPT.c.number.desc()).limit(number)
    )
    return [load_result(row.outcome, row.detail) for row in rows]


def last_attempt_row(transaction: Transaction, delivery: Delivery) -> RowMapping:
    """Return the row of a delivery's newest attempt."""
    is_last = (ATTEMPT.c.delivery == delivery.id, ATTEMPT.c.number == delivery.attempts)
    return (
        transaction.connection.execute(select(ATTEMPT).where(*is_last)).mappings().one()
    )


def readbacks_of(transaction: Transaction, delivery: Delivery) -> list[Readback]:
    """Return the stored readbacks of a delivery, oldest first."""
    query = (
        select(READBACK)
        .where(READBACK.c.delivery == delivery.id)
        .order_by(READBACK.c.id)
    )
    return [
        to_readback(row) for row in transaction.connection.execute(query).mappings()
    ]


def subject_of(delivery: Delivery) -> str:
    """Return the name of a delivery in the audit and in alerts."""
    return format_delivery_name(
        delivery.key.post, delivery.key.occurrence, delivery.account
    )


def audit_entry(  # noqa: PLR0913 # an entry has that many parts
    at: datetime,
    by: Actor,
    *,
    event: str,
    subject: str,
    before: str | None = None,
    after: str | None = None,
    detail: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Return an audit entry as its columns.

    For a person's action the detail holds the system user and the sign-in.
    """
    system = {} if by.system is None else {SYSTEM_USER_KEY: asdict(by.system)}
    sign_in = {} if by.sign_in is None else {SIGN_IN_KEY: by.sign_in}
    return {
        "at": at,
        "role": by.role.value,
        "name": by.name,
        "event": event,
        "subject": subject,
        "before": before,
        "after": after,
        "detail": _encode_detail({**(detail or {}), **system, **sign_in}),
    }


def write_entries(
    transaction: Transaction, entries: Sequence[Mapping[str, object]]
) -> None:
    """Queue entries to write at the end of the transaction, atomically with their change."""
    transaction.audit_entries += entries


def write_audit(  # noqa: PLR0913 # an entry has that many parts
    transaction: Transaction,
    at: datetime,
    by: Actor,
    *,
    event: str,
    subject: str,
    detail: Mapping[str, object] | None = None,
) -> None:
    write_entries(
        transaction, [audit_entry(at, by, event=event, subject=subject, detail=detail)]
    )


def raise_delivery_alert(
    transaction: Transaction,
    at: datetime,
    code: str,
    delivery: Delivery,
    facts: Mapping[str, str] | None = None,
) -> None:
    named = {"post": delivery.key.post, "account": delivery.account, **(facts or {})}
    if delivery.key.occurrence != ONCE_OCCURRENCE:
        named["occurrence"] = delivery.key.occurrence
    raise_alert(
        transaction, at, code, subject_of(delivery), named, delivery=delivery.id
    )


def raise_delivery_alert_once(
    transaction: Transaction,
    at: datetime,
    code: str,
    delivery: Delivery,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Raise an alert unless the same one about this delivery is open."""
    if code not in dict(open_alerts(transaction.connection, subject_of(delivery))):
        raise_delivery_alert(transaction, at, code, delivery, facts)


def raise_alert(  # noqa: PLR0913 # an alert has that many parts
    transaction: Transaction,
    at: datetime,
    code: str,
    subject: str,
    facts: Mapping[str, str],
    *,
    delivery: DeliveryId | None = None,
) -> None:
    """Raise an alert. If it is about the end of a `delivery`, that waits until people see it."""
    values = {
        "at": at,
        "code": code,
        "subject": subject,
        "facts": _encode_detail(facts),
        "delivery": delivery,
    }
    transaction.connection.execute(insert(ALERT).values(values))
    logged = {name: fact for name, fact in facts.items() if name != LINK_FACT}
    transaction.raised_alerts.append(
        {"code": code, "subject": subject, "facts": logged}
    )


def open_alerts(
    connection: Connection, subject: str
) -> list[tuple[str, dict[str, str]]]:
    """Return the codes of the open alerts about a subject, with their facts, oldest first."""
    query = select(ALERT.c.code, ALERT.c.facts).where(
        ALERT.c.subject == subject, ALERT.c.cleared_at.is_(None)
    )
    return [
        (row.code, json.loads(row.facts))
        for row in connection.execute(query.order_by(ALERT.c.id))
    ]


def keep_alert(
    transaction: Transaction,
    at: datetime,
    code: str,
    subject: str,
    facts: Mapping[str, str],
) -> None:
    """Keep one alert of this code about a subject open: the open one, a recent one, or a new one.

    A recent one is one that ended lately. So a condition that comes and goes stays one alert. An
    acknowledgement ends when the alert's facts change. It also ends when people have been notified
    that it is over, or of another alert in its place. Then the alert begins again at this instant,
    with all its time until it is escalated.
    """
    is_same = (ALERT.c.code == code, ALERT.c.subject == subject)
    is_recent = or_(
        ALERT.c.cleared_at.is_(None), ALERT.c.cleared_at > at - REOPEN_WINDOW
    )
    query = (
        select(ALERT).where(*is_same, is_recent).order_by(ALERT.c.id.desc()).limit(1)
    )
    row = transaction.connection.execute(query).one_or_none()
    if row is None:
        raise_alert(transaction, at, code, subject, facts)
        return
    values: dict[str, object] = {
        "facts": _encode_detail(facts),
        "cleared_at": None,
        "is_settled": False,
    }
    if row.cleared_at is None:
        if values["facts"] == row.facts:
            return
        values |= {**NOT_ACKNOWLEDGED, "noticed_at": None}
    else:
        values["reopenings"] = row.reopenings + 1
        if row.notice == "" or row.is_settled:
            values["at"] = at
        if row.is_settled:
            values |= {**NOT_ACKNOWLEDGED, "noticed_at": None}
    transaction.connection.execute(
        update(ALERT).where(ALERT.c.id == row.id).values(values)
    )


def replace_alerts(
    transaction: Transaction,
    at: datetime,
    code: str | None,
    subject: str,
    facts: Mapping[str, str],
) -> None:
    """Clear the other open alerts about a subject, and keep this one open instead, if any.

    Of an alert that another replaces nobody is notified that it is over.
    """
    others = (
        ALERT.c.subject == subject,
        ALERT.c.cleared_at.is_(None),
        ALERT.c.code != (code or ""),
    )
    values = {"cleared_at": at, **({"is_settled": True} if code else {})}
    transaction.connection.execute(update(ALERT).where(*others).values(values))
    if code:
        keep_alert(transaction, at, code, subject, facts)


AlertContent = tuple[str, Mapping[str, str]]
"""The code of an alert, and its facts."""


def find_alert_changes(
    connection: Connection, codes: Collection[str], wanted: Mapping[str, AlertContent]
) -> Mapping[str, AlertContent | None]:
    """Return, for each subject with an unwanted open alert of these codes, the wanted one or None.

    None means that the subject must get no alert. An alert that has the code stays as it is, unless
    the `since` of the facts differs. Other facts do not matter.
    """
    is_open = (ALERT.c.code.in_(list(codes)), ALERT.c.cleared_at.is_(None))
    rows = connection.execute(
        select(ALERT.c.subject, ALERT.c.code, ALERT.c.facts).where(*is_open)
    )
    found = {
        row.subject: (row.code, json.loads(row.facts).get("since")) for row in rows
    }
    needed = {
        subject: (code, facts.get("since")) for subject, (code, facts) in wanted.items()
    }
    subjects = sorted(found.keys() | needed.keys())
    return {
        one: wanted.get(one) for one in subjects if needed.get(one) != found.get(one)
    }


def apply_alert_changes(
    transaction: Transaction, at: datetime, changes: Mapping[str, AlertContent | None]
) -> None:
    """Clear and raise alerts as `find_alert_changes` says."""
    for subject, content in changes.items():
        code, facts = content or (None, {})
        replace_alerts(transaction, at, code, subject, facts)


def find_outdated_facts(
    connection: Connection, wanted: Mapping[str, AlertContent]
) -> Mapping[int, str]:
    """Return the encoded present facts of the open alerts that have others, by alert."""
    is_open = (ALERT.c.subject.in_(list(wanted)), ALERT.c.cleared_at.is_(None))
    rows = connection.execute(
        select(ALERT.c.id, ALERT.c.code, ALERT.c.subject, ALERT.c.facts).where(*is_open)
    )
    present = {
        subject: (code, _encode_detail(facts))
        for subject, (code, facts) in wanted.items()
    }
    return {
        row.id: present[row.subject][1]
        for row in rows
        if row.code == present[row.subject][0] and row.facts != present[row.subject][1]
    }


def update_facts(transaction: Transaction, wanted: Mapping[str, AlertContent]) -> None:
    """Write the present facts of open alerts. They stay acknowledged, and raise no notice."""
    connection = transaction.connection
    for alert, facts in find_outdated_facts(connection, wanted).items():
        connection.execute(update(ALERT).where(ALERT.c.id == alert).values(facts=facts))


def read_family_members(
    connection: Connection, families: Collection[str]
) -> Mapping[str, Sequence[PostId]]:
    """Return the ids of the stored posts of these families, also of ordinary posts.

    A prefix has no index under every collation, so the ids of all members are read.
    """
    found: dict[str, list[PostId]] = defaultdict(list)
    is_member = POST.c.id.contains(MEMBER_MARK, autoescape=True)
    for names in batches(sorted(families), QUERY_BATCH_SIZE):
        known = set(names)
        query = select(POST.c.id).where(or_(POST.c.id.in_(names), is_member))
        for post in connection.scalars(query):
            if (family := find_family(post)) in known:
                found[family].append(post)
    return {family: sorted(posts) for family, posts in found.items()}


def lock_planning(transaction: Transaction) -> None:
    """Serialize changes of the plan, by the planner and by people, across all hosts."""
    transaction.connection.execute(
        select(DATABASE_INFO.c.key)
        .where(DATABASE_INFO.c.key == "environment")
        .with_for_update()
    )


def clear_alerts(
    transaction: Transaction,
    subject: str,
    at: datetime,
    code: str | None = None,
    *,
    is_settled: bool = False,
) -> None:
    """Clear the open alerts about a subject, or the open alerts of one code.

    If another takes their place, they are settled: nobody is notified that they are over.
    """
    open_alerts = update(ALERT).where(
        ALERT.c.subject == subject, ALERT.c.cleared_at.is_(None)
    )
    if code:
        open_alerts = open_alerts.where(ALERT.c.code == code)
    values = {"cleared_at": at, **({"is_settled": True} if is_settled else {})}
    transaction.connection.execute(open_alerts.values(values))


def clear_outcome_alerts(
    transaction: Transaction, at: datetime, subjects: ColumnElement[bool]
) -> None:
    """Clear the alerts of deliveries that ended unpublished or were removed.

    It clears the alerts of the subjects that meet a condition.
    """
    is_open = (ALERT.c.cleared_at.is_(None), _IS_ABOUT_OUTCOME)
    transaction.connection.execute(
        update(ALERT).where(subjects, *is_open).values(cleared_at=at)
    )


def pause_account(  # noqa: PLR0913 # who, why, and what the alert says
    transaction: Transaction,
    account: AccountId,
    *,
    at: datetime,
    by: Actor,
    reason: str,
    message: str = "",
    secret: str = "",
    ends_with: str = "",
) -> None:
    """Pause an account until a person resumes it, unless it is paused.

    The alert has the platform's own text, `message`, or the name of the `secret` that is wrong.
    With `ends_with` the pause also ends by itself, once this has come.
    """
    scope = f"account:{account}"
    if (
        transaction.connection.scalar(
            select(PAUSE.c.scope).where(PAUSE.c.scope == scope)
        )
        is not None
    ):
        return
    transaction.connection.execute(
        insert(PAUSE).values(scope=scope, at=at, by=by.name, reason=reason)
    )
    write_audit(
        transaction, at, by, event="paused", subject=scope, detail={"reason": reason}
    )
    facts = {"account": account, "reason": reason, "said": message, "secret": secret}
    if ends_with:
        facts["ends_with"] = ends_with
    keep_alert(transaction, at, ACCOUNT_PAUSED, scope, facts)


def reject_foreign_ids(
    transaction: Transaction, results: Sequence[tuple[Delivery, R]]
) -> list[R | Unknown]:
    """Replace each result by Unknown if its receipt names the id of another delivery.

    Such a receipt proves nothing about ours. Ids of further parts are not checked: they are of
    another kind and not stored. Their receipt is the receipt of the post.
    """
    claimed = {
        index: (delivery.account, result.receipt.remote_id)
        for index, (delivery, result) in enumerate(results)
        if isinstance(result, Published) and not delivery.is_incomplete
    }
    rows = (
        transaction.connection.execute(_OWNERS_OF_IDS, {"claimed": [*claimed.values()]})
        if claimed
        else ()
    )
    owners = {(row.account, row.remote_id): row.id for row in rows}
    return [
        Unknown(reason="id_owned_by_another")
        if index in claimed and owners.get(claimed[index], delivery.id) != delivery.id
        else result
        for index, (delivery, result) in enumerate(results)
    ]


def write_readback(
    transaction: Transaction,
    delivery: DeliveryId,
    attempt: int,
    at: datetime,
    finding: ReadbackResult,
) -> None:
    """Store one readback: the evidence for the steps that follow from it."""
    result = dump_result(finding)
    row = {
        "delivery": delivery,
        "attempt": attempt,
        "at": at,
        "result": result["kind"],
        "detail": result["detail"],
    }
    transaction.connection.execute(insert(READBACK).values(row))
