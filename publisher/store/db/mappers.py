"""Rows to domain objects and back."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast

from pydantic import TypeAdapter
from sqlalchemy import RowMapping, Table
from sqlmodel import SQLModel

from publisher.domain.account import AccountId, LoginId, Platform
from publisher.domain.delivery import Attempt, Delivery, DesiredState, Readback, State
from publisher.domain.post import OccurrenceKey, Post, PostId
from publisher.domain.rendered import DeliveryId, Fingerprint, RenderedPost
from publisher.domain.results import (
    RESULT_CODES,
    DeletionResult,
    HoldReason,
    Outcome,
    ReadbackResult,
    Receipt,
    Ticket,
    result_code,
)
from publisher.store.db import tables

CallResult = Outcome | ReadbackResult | DeletionResult


def table_of(row: type[SQLModel]) -> Table:
    """Return the core table behind a row class."""
    return SQLModel.metadata.tables[str(row.__tablename__)]


DELIVERY = table_of(tables.DeliveryRow)
ATTEMPT = table_of(tables.AttemptRow)
READBACK = table_of(tables.ReadbackRow)
LOGIN = table_of(tables.LoginRow)
PAUSE = table_of(tables.PauseRow)
RENDERED_POST = table_of(tables.RenderedPostRow)
MEDIA = table_of(tables.MediaRow)
POST = table_of(tables.PostRow)
SCHEDULE = table_of(tables.ScheduleRow)
AUDIT = table_of(tables.AuditRow)
ALERT = table_of(tables.AlertRow)
MODE_OVERRIDE = table_of(tables.ModeOverrideRow)
ADAPTER_STATE = table_of(tables.AdapterStateRow)
DATABASE_INFO = table_of(tables.DatabaseInfoRow)
WORKER_STATE = table_of(tables.WorkerStateRow)
SERVER_TIMELINE = table_of(tables.ServerTimelineRow)
DATA_LOSS = table_of(tables.DataLossRow)
ORPHANED_ATTEMPT = table_of(tables.OrphanedAttemptRow)
WORKER = table_of(tables.WorkerRow)
MONITOR_SCHEDULE = table_of(tables.MonitorScheduleRow)
OBSERVED_POST = table_of(tables.ObservedPostRow)
REACH = table_of(tables.ReachRow)
LOGIN_HEALTH = table_of(tables.LoginHealthRow)

_PLAIN_COLUMNS = (
    "version", "due_at", "expires_at", "max_delay", "updated_at", "is_urgent", "reason", "next_action_at", "attempts",
    "fencing_token", "readbacks", "auth_failures", "failures", "worker_crashes", "unknown_since", "submitted_at",
    "verified_at", "reported_url", "was_resent", "first_attempt_deadline", "extra_parts", "parts_done",
    "resend_after_attempt", "is_pruned",
)  # fmt: skip
"""Columns with the name and the value of a field of Delivery."""
_RECEIPT_COLUMNS = ("remote_id", "url", "published_at", "is_manually_confirmed")
_STATE_BY_CODE = {state.value: state for state in State}


def to_delivery(row: RowMapping) -> Delivery:
    """Return the delivery of a row. A state that this release does not know reads as held."""
    state = _STATE_BY_CODE.get(row["state"])
    plain = {name: row[name] for name in _PLAIN_COLUMNS}
    receipt = Receipt(**{name: row[name] for name in _RECEIPT_COLUMNS}) if row["remote_id"] is not None else None
    return Delivery(
        **{**plain, **({} if state else {"reason": HoldReason.UNKNOWN_STATE.value})},
        id=DeliveryId(row["id"]),
        key=OccurrenceKey(post=PostId(row["post"]), occurrence=row["occurrence"]),
        account=AccountId(row["account"]),
        platform=Platform(row["platform"]),
        login=LoginId(row["login"]),
        state=state or State.HELD,
        desired=DesiredState(row["desired"]),
        rendered_hash=Fingerprint(row["rendered_hash"]),
        follows=PostId(row["follows"]) if row["follows"] else None,
        receipt=receipt,
        ticket=Ticket(payload=row["ticket"]) if row["ticket"] else None,
    )


def changed_columns(before: Delivery, after: Delivery) -> dict[str, Any]:
    """Return the columns in which two versions of a delivery differ, with their new values."""
    changed: dict[str, Any] = {
        name: value for name in _PLAIN_COLUMNS if (value := getattr(after, name)) != getattr(before, name)
    }
    if after.state is not before.state:
        changed["state"] = after.state.value
    if after.desired is not before.desired:
        changed["desired"] = after.desired.value
    if after.rendered_hash != before.rendered_hash:
        changed["rendered_hash"] = after.rendered_hash
    if after.receipt != before.receipt:
        receipt = after.receipt
        changed |= {name: getattr(receipt, name) if receipt else None for name in _RECEIPT_COLUMNS}
        changed["is_manually_confirmed"] = receipt is not None and receipt.is_manually_confirmed
    if after.ticket != before.ticket:
        changed["ticket"] = after.ticket.payload if after.ticket else None
    return changed


def to_attempt(row: RowMapping) -> Attempt:
    return Attempt(
        number=row["number"],
        fencing_token=row["fencing_token"],
        intended_at=row["intended_at"],
        ended_at=row["ended_at"],
        baseline_at=row["baseline_at"],
        part=row["part"],
    )


def to_readback(row: RowMapping) -> Readback:
    result = cast("ReadbackResult", load_result(row["result"], row["detail"]))
    return Readback(attempt=row["attempt"], at=row["at"], result=result)


_TYPE_BY_CODE: Final = {code: kind for kind, code in RESULT_CODES.items()} | {
    "post": Post,
    "rendered_post": RenderedPost,
}


@cache
def _type_adapter(code: str) -> TypeAdapter[Any]:
    return TypeAdapter(_TYPE_BY_CODE[code])


def dump_result(result: CallResult) -> Mapping[str, str]:
    """Return an outcome, a readback result or a deletion result as its code and its JSON."""
    code = result_code(result)
    return {"kind": code, "detail": _type_adapter(code).dump_json(result).decode()}


def load_result(kind: str, detail: str) -> CallResult:
    """Return the result that `dump_result` wrote."""
    result: CallResult = _type_adapter(kind).validate_json(detail)
    return result


def dump_rendered_post(rendered: RenderedPost) -> str:
    return _type_adapter("rendered_post").dump_json(rendered).decode()


def load_rendered_post(body: str) -> RenderedPost:
    rendered: RenderedPost = _type_adapter("rendered_post").validate_json(body)
    return rendered


def dump_post(post: Post) -> str:
    return _type_adapter("post").dump_json(post).decode()


def load_post(body: str) -> Post:
    post: Post = _type_adapter("post").validate_json(body)
    return post
