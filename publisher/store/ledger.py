"""How a delivery changes: what `advance()` returned, the audit entry and the alert, in one transaction."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

from sqlalchemy import RowMapping, func, insert, literal, select, update

from publisher.domain.account import AccountId
from publisher.domain.delivery import Delivery
from publisher.domain.errors import PublisherError
from publisher.domain.events import Actor
from publisher.domain.outcome import Finding, Outcome, Published, Unknown
from publisher.domain.rendition import DeliveryId
from publisher.store.engine import Unit
from publisher.store.rows import ALERT, ATTEMPT, AUDIT, DELIVERY, PAUSE

A = TypeVar("A", bound=Outcome | Finding)


class OvertakenError(PublisherError):
    """The row changed between reading and writing: somebody else was first, and nothing was done."""


async def read_row(unit: Unit, delivery: DeliveryId) -> RowMapping:
    """Read a delivery's row inside the transaction."""
    result = await unit.connection.execute(select(DELIVERY).where(DELIVERY.c.id == delivery))
    return result.mappings().one()


def subject_of(delivery: Delivery) -> str:
    """Name a delivery the way people type it: POST@ACCOUNT, with the instant of a repeating post."""
    label = "" if delivery.key.label == "once" else f"#{delivery.key.label}"
    return f"{delivery.key.post}{label}@{delivery.account}"


async def write_audit(  # noqa: PLR0913 # an entry has that many parts
    unit: Unit,
    at: datetime,
    by: Actor,
    *,
    event: str,
    subject: str,
    before: str | None = None,
    after: str | None = None,
    detail: Mapping[str, object] | None = None,
) -> None:
    await unit.connection.execute(
        insert(AUDIT).values(
            at=at,
            role=by.role.value,
            name=by.name,
            event=event,
            subject=subject,
            before=before,
            after=after,
            detail=json.dumps(detail or {}, ensure_ascii=False),
        )
    )


async def write_alert(
    unit: Unit, at: datetime, code: str, delivery: Delivery, facts: Mapping[str, str] | None = None
) -> None:
    told = {"post": delivery.key.post, "account": delivery.account, **(facts or {})}
    await tell(unit, at, code, subject_of(delivery), told)


async def tell(unit: Unit, at: datetime, code: str, subject: str, facts: Mapping[str, str]) -> None:
    """Write an alert about any subject."""
    await unit.connection.execute(
        insert(ALERT).values(at=at, code=code, subject=subject, facts=json.dumps(facts, ensure_ascii=False))
    )


async def pause_account(unit: Unit, account: AccountId, *, at: datetime, by: Actor, reason: str) -> None:
    """Stop an account until a person resumes it."""
    scope = f"account:{account}"
    standing = await unit.connection.execute(select(PAUSE.c.scope).where(PAUSE.c.scope == scope))
    if standing.first() is not None:
        return
    await unit.connection.execute(insert(PAUSE).values(scope=scope, at=at, by=by.name, reason=reason))
    await write_audit(unit, at, by, event="Paused", subject=scope, detail={"reason": reason})
    await tell(unit, at, "account_paused", scope, {"account": account, "reason": reason})


async def owned_elsewhere(unit: Unit, delivery: Delivery, answer: A) -> A | Unknown:
    """No id belongs to two deliveries: a receipt that names another's id proves nothing about ours."""
    if not isinstance(answer, Published):
        return answer
    owner = await unit.connection.execute(
        select(DELIVERY.c.id).where(
            DELIVERY.c.account == delivery.account,
            DELIVERY.c.remote_id == answer.receipt.remote_id,
            DELIVERY.c.id != delivery.id,
        )
    )
    return answer if owner.first() is None else Unknown(reason="id_owned_by_another")


async def end_attempt(
    unit: Unit, delivery: DeliveryId, epoch: int, at: datetime, answer: Mapping[str, str] | None
) -> None:
    """Write down that an attempt is over, and how, where that is known; its first end counts."""
    values: dict[str, object] = {"ended_at": func.coalesce(ATTEMPT.c.ended_at, literal(at, ATTEMPT.c.ended_at.type))}
    if answer is not None:
        values |= {"outcome": answer["kind"], "detail": answer["detail"]}
    await unit.connection.execute(
        update(ATTEMPT).where(ATTEMPT.c.delivery == delivery, ATTEMPT.c.epoch == epoch).values(values)
    )
