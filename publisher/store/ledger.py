"""What is written beside a change: audit entries, alerts, pauses, looks, the ends of attempts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TypeVar

from sqlalchemy import RowMapping, and_, bindparam, case, func, insert, select, tuple_, update

from publisher.domain.account import AccountId
from publisher.domain.chain import SYSTEM
from publisher.domain.delivery import Delivery
from publisher.domain.events import Actor
from publisher.domain.outcome import CODES, Finding, Outcome, Published, Unknown
from publisher.domain.post import name_at
from publisher.domain.rendition import DeliveryId
from publisher.store.engine import Unit
from publisher.store.rows import ALERT, ATTEMPT, DATABASE_INFO, DELIVERY, LOOK, PAUSE, Answer, write_answer

AUDIT_BROKEN = "audit_broken"
"""The alert, and its subject: anchors outside know what the audit does not. It stands until a person accepts that."""

A = TypeVar("A", bound=Outcome | Finding)

READ = select(DELIVERY).where(DELIVERY.c.id.in_(bindparam("deliveries", expanding=True)))
_OWNERS = select(DELIVERY.c.id, DELIVERY.c.account, DELIVERY.c.remote_id).where(
    tuple_(DELIVERY.c.account, DELIVERY.c.remote_id).in_(bindparam("named", expanding=True)),
    DELIVERY.c.remote_id.is_not(None),
)
_END = (
    update(ATTEMPT)
    .where(ATTEMPT.c.delivery == bindparam("its_delivery"), ATTEMPT.c.epoch == bindparam("its_epoch"))
    .values(
        ended_at=func.coalesce(ATTEMPT.c.ended_at, bindparam("end", type_=ATTEMPT.c.ended_at.type)),
        ended_confirmed=case((ATTEMPT.c.ended_at.is_(None), bindparam("confirmed")), else_=ATTEMPT.c.ended_confirmed),
    )
)
_KNOWS_MORE = and_(ATTEMPT.c.outcome.is_not(None), bindparam("kind") == CODES[Unknown])
"""A call that provably never began gives up later, and knows nothing: the proof stays."""
_END_TOLD = _END.values(
    outcome=case((_KNOWS_MORE, ATTEMPT.c.outcome), else_=bindparam("kind")),
    detail=case((_KNOWS_MORE, ATTEMPT.c.detail), else_=bindparam("said")),
)


def read_row(unit: Unit, delivery: DeliveryId) -> RowMapping:
    """Read a delivery's row inside the transaction."""
    return unit.connection.execute(READ, {"deliveries": [delivery]}).mappings().one()


def subject_of(delivery: Delivery) -> str:
    """Name a delivery in the audit and in alerts."""
    return name_at(delivery.key.post, delivery.key.label, delivery.account)


def entry(  # noqa: PLR0913 # an entry has that many parts
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
    system = {} if by.system is None else {SYSTEM: asdict(by.system)}
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


def write_entries(unit: Unit, entries: Sequence[Mapping[str, object]]) -> None:
    """Have these entries written when the transaction ends, with whatever else they belong to."""
    unit.entries += entries


def write_audit(  # noqa: PLR0913 # an entry has that many parts
    unit: Unit,
    at: datetime,
    by: Actor,
    *,
    event: str,
    subject: str,
    detail: Mapping[str, object] | None = None,
) -> None:
    write_entries(unit, [entry(at, by, event=event, subject=subject, detail=detail)])


def write_alert(
    unit: Unit, at: datetime, code: str, delivery: Delivery, facts: Mapping[str, str] | None = None
) -> None:
    told = {"post": delivery.key.post, "account": delivery.account, **(facts or {})}
    tell(unit, at, code, subject_of(delivery), told)


def tell_once(unit: Unit, at: datetime, code: str, delivery: Delivery, facts: Mapping[str, str] | None = None) -> None:
    """Write an alert unless the same one about this delivery stands open."""
    standing = select(ALERT.c.id).where(
        ALERT.c.code == code, ALERT.c.subject == subject_of(delivery), ALERT.c.cleared_at.is_(None)
    )
    if unit.connection.execute(standing).first() is None:
        write_alert(unit, at, code, delivery, facts)


def tell(unit: Unit, at: datetime, code: str, subject: str, facts: Mapping[str, str]) -> None:
    """Write an alert about any subject."""
    unit.connection.execute(
        insert(ALERT).values(at=at, code=code, subject=subject, facts=json.dumps(facts, ensure_ascii=False))
    )


def take_turn(unit: Unit) -> None:
    """Let planning and people's orders change the plan one after the other, on whichever host they run."""
    unit.connection.execute(select(DATABASE_INFO.c.key).where(DATABASE_INFO.c.key == "environment").with_for_update())


def clear_alerts(unit: Unit, subject: str, at: datetime, code: str | None = None) -> None:
    """Close the alerts about a subject, or those of one code: what they told of is over."""
    about = [ALERT.c.subject == subject, ALERT.c.cleared_at.is_(None)]
    about += [ALERT.c.code == code] if code else []
    unit.connection.execute(update(ALERT).where(*about).values(cleared_at=at))


def pause_account(  # noqa: PLR0913 # who, why, and the platform's own words
    unit: Unit, account: AccountId, *, at: datetime, by: Actor, reason: str, said: str = ""
) -> None:
    """Stop an account until a person resumes it. `said` is the platform's own words."""
    scope = f"account:{account}"
    standing = unit.connection.execute(select(PAUSE.c.scope).where(PAUSE.c.scope == scope))
    if standing.first() is not None:
        return
    unit.connection.execute(insert(PAUSE).values(scope=scope, at=at, by=by.name, reason=reason))
    write_audit(unit, at, by, event="paused", subject=scope, detail={"reason": reason})
    tell(unit, at, "account_paused", scope, {"account": account, "reason": reason, "said": said})


def owned_elsewhere(unit: Unit, answers: Sequence[tuple[Delivery, A]]) -> list[A | Unknown]:
    """No id belongs to two deliveries: a receipt that names another's id proves nothing about ours.

    A further floor has a number of another kind, which is not kept; it goes under the post's own receipt.
    """
    posts = [(item, answer) for item, answer in answers if isinstance(answer, Published) and not item.is_incomplete]
    named = [(item.account, answer.receipt.remote_id) for item, answer in posts]
    rows = unit.connection.execute(_OWNERS, {"named": named}) if named else ()
    owners = {(row.account, row.remote_id): row.id for row in rows}
    return [
        Unknown(reason="id_owned_by_another")
        if isinstance(answer, Published)
        and not delivery.is_incomplete
        and owners.get((delivery.account, answer.receipt.remote_id), delivery.id) != delivery.id
        else answer
        for delivery, answer in answers
    ]


def end_attempts(
    unit: Unit, at: datetime, ended: Sequence[tuple[DeliveryId, int, Answer | None]], *, is_confirmed: bool
) -> None:
    """Write down that attempts are over, and how, where that is known; the first instant of each counts.

    An attempt is named by its delivery and its epoch. `is_confirmed` says whether the clock was when it gave `at`.
    """
    told, untold = [], []
    for delivery, epoch, answer in ended:
        row = {"its_delivery": delivery, "its_epoch": epoch, "end": at, "confirmed": is_confirmed}
        if answer is None:
            untold.append(row)
        else:
            written = write_answer(answer)
            told.append({**row, "kind": written["kind"], "said": written["detail"]})
    for statement, rows in ((_END_TOLD, told), (_END, untold)):
        if rows:
            unit.connection.execute(statement, rows)


def write_look(unit: Unit, delivery: DeliveryId, attempt: int, at: datetime, finding: Finding) -> None:
    """Store one read: the evidence for whatever follows from it."""
    answer = write_answer(finding)
    row = {"delivery": delivery, "attempt": attempt, "at": at, "finding": answer["kind"], "detail": answer["detail"]}
    unit.connection.execute(insert(LOOK).values(row))
