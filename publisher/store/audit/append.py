"""What is written beside a change: audit entries, alerts, pauses, looks, the ends of attempts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TypeVar

from sqlalchemy import RowMapping, and_, bindparam, case, func, insert, select, tuple_, update

from publisher.domain.account import AccountId
from publisher.domain.audit_chain import SYSTEM_USER_KEY
from publisher.domain.delivery import Delivery
from publisher.domain.events import Actor
from publisher.domain.post import format_delivery_name
from publisher.domain.rendered import DeliveryId
from publisher.domain.results import RESULT_CODES, Outcome, Published, ReadbackResult, Unknown
from publisher.store.db.database import Transaction
from publisher.store.db.mappers import ALERT, ATTEMPT, DATABASE_INFO, DELIVERY, PAUSE, READBACK, CallResult, dump_result

AUDIT_BROKEN = "audit_broken"
"""The alert, and its subject: anchors outside know what the audit does not. It stands until a person accepts that."""

A = TypeVar("A", bound=Outcome | ReadbackResult)

SELECT_DELIVERIES = select(DELIVERY).where(DELIVERY.c.id.in_(bindparam("deliveries", expanding=True)))
_OWNERS_OF_IDS = select(DELIVERY.c.id, DELIVERY.c.account, DELIVERY.c.remote_id).where(
    tuple_(DELIVERY.c.account, DELIVERY.c.remote_id).in_(bindparam("named", expanding=True)),
    DELIVERY.c.remote_id.is_not(None),
)
_END_ATTEMPT = (
    update(ATTEMPT)
    .where(ATTEMPT.c.delivery == bindparam("its_delivery"), ATTEMPT.c.fencing_token == bindparam("its_fencing_token"))
    .values(
        ended_at=func.coalesce(ATTEMPT.c.ended_at, bindparam("end", type_=ATTEMPT.c.ended_at.type)),
        is_end_confirmed=case((ATTEMPT.c.ended_at.is_(None), bindparam("confirmed")), else_=ATTEMPT.c.is_end_confirmed),
    )
)
_HAS_PROOF = and_(ATTEMPT.c.outcome.is_not(None), bindparam("kind") == RESULT_CODES[Unknown])
"""A call that provably never began gives up later, and knows nothing: the proof stays."""
_END_WITH_OUTCOME = _END_ATTEMPT.values(
    outcome=case((_HAS_PROOF, ATTEMPT.c.outcome), else_=bindparam("kind")),
    detail=case((_HAS_PROOF, ATTEMPT.c.detail), else_=bindparam("said")),
)


def get_row(transaction: Transaction, delivery: DeliveryId) -> RowMapping:
    """Read a delivery's row inside the transaction."""
    return transaction.connection.execute(SELECT_DELIVERIES, {"deliveries": [delivery]}).mappings().one()


def subject_of(delivery: Delivery) -> str:
    """Name a delivery in the audit and in alerts."""
    return format_delivery_name(delivery.key.post, delivery.key.occurrence, delivery.account)


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
    """Give an audit entry as its columns; the detail of a person's says under which system user it was ordered."""
    system = {} if by.system is None else {SYSTEM_USER_KEY: asdict(by.system)}
    return {
        "at": at,
        "role": by.role.value,
        "name": by.name,
        "event": event,
        "subject": subject,
        "before": before,
        "after": after,
        "detail": json.dumps({**(detail or {}), **system}, ensure_ascii=False),
    }


def write_entries(transaction: Transaction, entries: Sequence[Mapping[str, object]]) -> None:
    """Have these entries written when the transaction ends, with whatever else they belong to."""
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
    write_entries(transaction, [audit_entry(at, by, event=event, subject=subject, detail=detail)])


def raise_delivery_alert(
    transaction: Transaction, at: datetime, code: str, delivery: Delivery, facts: Mapping[str, str] | None = None
) -> None:
    told = {"post": delivery.key.post, "account": delivery.account, **(facts or {})}
    raise_alert(transaction, at, code, subject_of(delivery), told)


def raise_delivery_alert_once(
    transaction: Transaction, at: datetime, code: str, delivery: Delivery, facts: Mapping[str, str] | None = None
) -> None:
    """Write an alert unless the same one about this delivery stands open."""
    standing = select(ALERT.c.id).where(
        ALERT.c.code == code, ALERT.c.subject == subject_of(delivery), ALERT.c.cleared_at.is_(None)
    )
    if transaction.connection.execute(standing).first() is None:
        raise_delivery_alert(transaction, at, code, delivery, facts)


def raise_alert(transaction: Transaction, at: datetime, code: str, subject: str, facts: Mapping[str, str]) -> None:
    """Write an alert about any subject."""
    transaction.connection.execute(
        insert(ALERT).values(at=at, code=code, subject=subject, facts=json.dumps(facts, ensure_ascii=False))
    )


def lock_planning(transaction: Transaction) -> None:
    """Let planning and people's orders change the plan one after the other, on whichever host they run."""
    transaction.connection.execute(
        select(DATABASE_INFO.c.key).where(DATABASE_INFO.c.key == "environment").with_for_update()
    )


def clear_alerts(transaction: Transaction, subject: str, at: datetime, code: str | None = None) -> None:
    """Close the alerts about a subject, or those of one code: what they told of is over."""
    about = [ALERT.c.subject == subject, ALERT.c.cleared_at.is_(None)]
    about += [ALERT.c.code == code] if code else []
    transaction.connection.execute(update(ALERT).where(*about).values(cleared_at=at))


def pause_account(  # noqa: PLR0913 # who, why, and the platform's own words
    transaction: Transaction, account: AccountId, *, at: datetime, by: Actor, reason: str, message: str = ""
) -> None:
    """Stop an account until a person resumes it. `said` is the platform's own words."""
    scope = f"account:{account}"
    standing = transaction.connection.execute(select(PAUSE.c.scope).where(PAUSE.c.scope == scope))
    if standing.first() is not None:
        return
    transaction.connection.execute(insert(PAUSE).values(scope=scope, at=at, by=by.name, reason=reason))
    write_audit(transaction, at, by, event="paused", subject=scope, detail={"reason": reason})
    raise_alert(transaction, at, "account_paused", scope, {"account": account, "reason": reason, "said": message})


def reject_foreign_ids(transaction: Transaction, results: Sequence[tuple[Delivery, A]]) -> list[A | Unknown]:
    """No id belongs to two deliveries: a receipt that names another's id proves nothing about ours.

    A further floor has a number of another kind, which is not kept; it goes under the post's own receipt.
    """
    posts = [(item, answer) for item, answer in results if isinstance(answer, Published) and not item.is_incomplete]
    named = [(item.account, answer.receipt.remote_id) for item, answer in posts]
    rows = transaction.connection.execute(_OWNERS_OF_IDS, {"named": named}) if named else ()
    owners = {(row.account, row.remote_id): row.id for row in rows}
    return [
        Unknown(reason="id_owned_by_another")
        if isinstance(answer, Published)
        and not delivery.is_incomplete
        and owners.get((delivery.account, answer.receipt.remote_id), delivery.id) != delivery.id
        else answer
        for delivery, answer in results
    ]


def finish_attempts(
    transaction: Transaction,
    at: datetime,
    ended: Sequence[tuple[DeliveryId, int, CallResult | None]],
    *,
    is_confirmed: bool,
) -> None:
    """Write down that attempts are over, and how, where that is known; the first instant of each counts.

    An attempt is named by its delivery and its epoch. `is_confirmed` says whether the clock was when it gave `at`.
    """
    told, untold = [], []
    for delivery, fencing_token, answer in ended:
        row = {"its_delivery": delivery, "its_fencing_token": fencing_token, "end": at, "confirmed": is_confirmed}
        if answer is None:
            untold.append(row)
        else:
            written = dump_result(answer)
            told.append({**row, "kind": written["kind"], "said": written["detail"]})
    for statement, rows in ((_END_WITH_OUTCOME, told), (_END_ATTEMPT, untold)):
        if rows:
            transaction.connection.execute(statement, rows)


def write_readback(
    transaction: Transaction, delivery: DeliveryId, attempt: int, at: datetime, finding: ReadbackResult
) -> None:
    """Store one read: the evidence for whatever follows from it."""
    answer = dump_result(finding)
    row = {"delivery": delivery, "attempt": attempt, "at": at, "result": answer["kind"], "detail": answer["detail"]}
    transaction.connection.execute(insert(READBACK).values(row))
