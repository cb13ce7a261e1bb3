"""Rows to domain objects and back."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast

from pydantic import TypeAdapter
from sqlalchemy import RowMapping, Table
from sqlmodel import SQLModel

from publisher.domain.account import AccountId, LoginId, Platform
from publisher.domain.delivery import Attempt, Delivery, Desired, Look, State
from publisher.domain.outcome import CODES, Finding, HoldReason, Outcome, Receipt, Removal, Ticket, code_of
from publisher.domain.post import OccurrenceKey, Post, PostId
from publisher.domain.rendition import DeliveryId, Fingerprint, Rendition
from publisher.store import tables

Answer = Outcome | Finding | Removal


def table_of(row: type[SQLModel]) -> Table:
    """Give the core table behind a row class."""
    return SQLModel.metadata.tables[str(row.__tablename__)]


DELIVERY = table_of(tables.DeliveryRow)
ATTEMPT = table_of(tables.AttemptRow)
LOOK = table_of(tables.LookRow)
LOGIN = table_of(tables.LoginRow)
PAUSE = table_of(tables.PauseRow)
RENDITION = table_of(tables.RenditionRow)
MEDIA = table_of(tables.MediaRow)
POST = table_of(tables.PostRow)
SCHEDULE = table_of(tables.ScheduleRow)
AUDIT = table_of(tables.AuditRow)
ALERT = table_of(tables.AlertRow)
MODE = table_of(tables.ModeRow)
NOTE = table_of(tables.NoteRow)
DATABASE_INFO = table_of(tables.DatabaseInfoRow)
WORKER_STATE = table_of(tables.WorkerStateRow)
SERVER_TIMELINE = table_of(tables.ServerTimelineRow)
DATA_LOSS = table_of(tables.DataLossRow)
ORPHANED_ATTEMPT = table_of(tables.OrphanedAttemptRow)
WORKER = table_of(tables.WorkerRow)
WATCH = table_of(tables.WatchRow)
SIGHTING = table_of(tables.SightingRow)
REACH = table_of(tables.ReachRow)
HEALTH = table_of(tables.HealthRow)

_PLAIN = (
    "version", "due_at", "expires_at", "max_delay", "updated_at", "is_urgent", "reason", "next_at", "attempts",
    "epoch", "looks", "refusals", "failures", "deaths", "doubt_since", "submitted_at", "verified_at", "claimed_url",
    "was_resent", "last_first_call_at", "floors", "floors_done", "ordered_after", "is_pruned",
)  # fmt: skip
"""Columns that are the domain's fields as they are."""


_STATES = {state.value: state for state in State}


def to_delivery(row: RowMapping) -> Delivery:
    """Read a delivery from its row. A state that this version does not know reads as held."""
    state = _STATES.get(row["state"])
    plain = {name: row[name] for name in _PLAIN}
    return Delivery(
        **{**plain, **({} if state else {"reason": HoldReason.FOREIGN_STATE.value})},
        id=DeliveryId(row["id"]),
        key=OccurrenceKey(post=PostId(row["post"]), label=row["label"]),
        account=AccountId(row["account"]),
        platform=Platform(row["platform"]),
        login=LoginId(row["login"]),
        state=state or State.HELD,
        desired=Desired(row["desired"]),
        rendition=Fingerprint(row["rendition"]),
        follows=PostId(row["follows"]) if row["follows"] else None,
        receipt=_receipt(row),
        ticket=Ticket(number=row["ticket"]) if row["ticket"] else None,
    )


def _receipt(row: RowMapping) -> Receipt | None:
    if row["remote_id"] is None:
        return None
    return Receipt(remote_id=row["remote_id"], url=row["url"], live_at=row["live_at"], is_by_word=row["is_by_word"])


def changed_columns(before: Delivery, after: Delivery) -> dict[str, Any]:
    """Give the columns in which two versions of a delivery differ."""
    changed: dict[str, Any] = {
        name: value for name in _PLAIN if (value := getattr(after, name)) != getattr(before, name)
    }
    if after.state is not before.state:
        changed["state"] = after.state.value
    if after.desired is not before.desired:
        changed["desired"] = after.desired.value
    if after.rendition != before.rendition:
        changed["rendition"] = after.rendition
    if after.receipt != before.receipt:
        changed |= _receipt_columns(after.receipt)
    if after.ticket != before.ticket:
        changed["ticket"] = after.ticket.number if after.ticket else None
    return changed


def _receipt_columns(receipt: Receipt | None) -> dict[str, Any]:
    return {
        "remote_id": receipt.remote_id if receipt else None,
        "url": receipt.url if receipt else None,
        "live_at": receipt.live_at if receipt else None,
        "is_by_word": receipt.is_by_word if receipt else False,
    }


def to_attempt(row: RowMapping) -> Attempt:
    return Attempt(
        number=row["number"],
        epoch=row["epoch"],
        intended_at=row["intended_at"],
        ended_at=row["ended_at"],
        since=row["since"],
        floor=row["floor"],
    )


def to_look(row: RowMapping) -> Look:
    finding = cast("Finding", read_answer(row["finding"], row["detail"]))
    return Look(attempt=row["attempt"], at=row["at"], finding=finding)


_TYPES: Final = {code: kind for kind, code in CODES.items()} | {"post": Post, "rendition": Rendition}


@cache
def _adapter_for(code: str) -> TypeAdapter[Any]:
    return TypeAdapter(_TYPES[code])


def write_answer(answer: Answer) -> Mapping[str, str]:
    """Write an outcome, finding or removal as its code and its facts."""
    code = code_of(answer)
    return {"kind": code, "detail": _adapter_for(code).dump_json(answer).decode()}


def read_answer(kind: str, detail: str) -> Answer:
    """Read what `write_answer` wrote."""
    answer: Answer = _adapter_for(kind).validate_json(detail)
    return answer


def write_rendition(rendition: Rendition) -> str:
    return _adapter_for("rendition").dump_json(rendition).decode()


def read_rendition(body: str) -> Rendition:
    rendition: Rendition = _adapter_for("rendition").validate_json(body)
    return rendition


def write_post(post: Post) -> str:
    return _adapter_for("post").dump_json(post).decode()


def read_post(body: str) -> Post:
    post: Post = _adapter_for("post").validate_json(body)
    return post
