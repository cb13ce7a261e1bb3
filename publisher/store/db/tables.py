"""The tables, and the conversion of rows to and from domain objects. Rows never leave `store`.

The conditions of partial indexes are given here for SQLite only. For PostgreSQL the migrations have
them. To give them here as well would load that dialect at every start, at a cost of 0.05 s for each
command.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any, ClassVar, Final, cast

from pydantic import TypeAdapter
from sqlalchemy import (
    BigInteger,
    Connection,
    Dialect,
    Index,
    LargeBinary,
    RowMapping,
    Select,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from publisher.domain.account import AccountId, LoginId, Platform
from publisher.domain.delivery import Attempt, Delivery, DesiredState, Readback, State
from publisher.domain.post import (
    DeliveryId,
    Fingerprint,
    OccurrenceKey,
    Post,
    PostId,
    RenderedPost,
)
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

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SERVER_DEFAULT_ZERO = {"server_default": "0"}
SERVER_DEFAULT_FALSE = {"server_default": false()}


@lru_cache(maxsize=2**14)
def _to_instant(microseconds: int) -> datetime:
    """Return an instant as stored: the many deliveries of a post share theirs."""
    return UNIX_EPOCH + microseconds * MICROSECOND


class Instant(TypeDecorator[datetime]):
    """An aware datetime, stored as whole microseconds in UTC.

    It has the same number, order and index on every database.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> int | None:
        return None if value is None else (value - UNIX_EPOCH) // MICROSECOND

    def process_result_value(
        self,
        value: int | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> datetime | None:
        return None if value is None else _to_instant(value)


class Duration(TypeDecorator[timedelta]):
    """A timedelta, stored as whole microseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(
        self,
        value: timedelta | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> int | None:
        return None if value is None else value // MICROSECOND

    def process_result_value(
        self,
        value: int | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> timedelta | None:
        return None if value is None else value * MICROSECOND


class DatabaseInfoRow(SQLModel, table=True):
    """The database's own facts: environment, audit genesis, identity, and backup flag."""

    __tablename__: ClassVar[str] = "database_info"
    key: str = Field(primary_key=True)
    value: str


class ScheduleRow(SQLModel, table=True):
    """Accepted versions of schedule.toml; the newest one is active."""

    __tablename__: ClassVar[str] = "schedule"
    id: int | None = Field(default=None, primary_key=True)
    accepted_at: datetime = Field(sa_type=Instant)
    sha256: str
    text: str = Field(sa_type=Text)


class PostRow(SQLModel, table=True):
    """Every post ever accepted. `body` is the post as JSON.

    `is_scheduled` means that it is from the schedule, not by `send`. A named person last saved its
    text, or it was read from a file that this system user owns. The correction named by
    `corrected_by` has ended the wish to publish it. `planned_hash` is the `target_hash` by which
    all its deliveries were planned last. `writers` is JSON, see `saves.py`. All saves up to
    `last_save` are in it. `words_hash` is of the words that people wrote to be read.
    """

    __tablename__: ClassVar[str] = "post"
    __table_args__ = (
        Index("scheduled_posts", "id", sqlite_where=text("is_scheduled = 1")),
        Index("posts_by_words", "words_hash"),
    )
    id: str = Field(primary_key=True)
    content_hash: str
    target_hash: str = Field(default="", sa_column_kwargs={"server_default": ""})
    planned_hash: str = Field(default="", sa_column_kwargs={"server_default": ""})
    body: str = Field(sa_type=Text)
    in_force_since: datetime = Field(sa_type=Instant)
    is_scheduled: bool
    is_cancelled: bool = False
    corrected_by: str | None = None
    saved_by: str | None = None
    file_owner: str | None = None
    writers: str = Field(
        default="{}", sa_type=Text, sa_column_kwargs={"server_default": "{}"}
    )
    last_save: int = Field(default=0, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    words_hash: str = Field(default="", sa_column_kwargs={"server_default": ""})


class MediaRow(SQLModel, table=True):
    """Images, by hash. Only these bytes are sent.

    `shown_until` is when the last delivery that shows the image expires.
    """

    __tablename__: ClassVar[str] = "media"
    __table_args__ = (Index("media_by_use", "shown_until"),)
    sha256: str = Field(primary_key=True)
    media_type: str
    shown_until: datetime = Field(
        default=UNIX_EPOCH, sa_type=Instant, sa_column_kwargs=SERVER_DEFAULT_ZERO
    )
    data: bytes = Field(sa_type=LargeBinary)


class RenderedPostRow(SQLModel, table=True):
    """Final texts, by fingerprint: the text of a post on an account, and its texts before edits."""

    __tablename__: ClassVar[str] = "rendered_post"
    __table_args__ = (Index("rendered_by_delivery", "post", "occurrence", "account"),)
    fingerprint: str = Field(primary_key=True)
    revision_hash: str = Field(index=True)
    post: str = Field(default="", sa_column_kwargs={"server_default": ""})
    occurrence: str = Field(default="", sa_column_kwargs={"server_default": ""})
    account: str
    body: str = Field(sa_type=Text)


class LoginRow(SQLModel, table=True):
    """The cooldown ends of a login: `cooldown_until` for all posts, others for some calls.

    `routine_cooldown_until` is for routine posts. `parts_cooldown_until` is for further parts of a
    post that has begun, `reads_cooldown_until` for reads. `rate_limited_until` is the limit that
    the platform itself asked for. The others include it. Since `busy_since` the login has been in
    cooldown without a break.
    """

    __tablename__: ClassVar[str] = "login"
    __table_args__ = (Index("logins_by_cooldown", "cooldown_until"),)
    id: str = Field(primary_key=True)
    cooldown_until: datetime = Field(sa_type=Instant)
    routine_cooldown_until: datetime = Field(sa_type=Instant)
    parts_cooldown_until: datetime = Field(
        default=UNIX_EPOCH, sa_type=Instant, sa_column_kwargs=SERVER_DEFAULT_ZERO
    )
    reads_cooldown_until: datetime = Field(
        default=UNIX_EPOCH, sa_type=Instant, sa_column_kwargs=SERVER_DEFAULT_ZERO
    )
    rate_limited_until: datetime = Field(
        default=UNIX_EPOCH, sa_type=Instant, sa_column_kwargs=SERVER_DEFAULT_ZERO
    )
    busy_since: datetime = Field(
        default=UNIX_EPOCH, sa_type=Instant, sa_column_kwargs=SERVER_DEFAULT_ZERO
    )


class DeliveryRow(SQLModel, table=True):
    """One delivery, with the fields of the domain's Delivery as columns.

    `worker` holds its lease, if any. `scheduled_at` is the instant in the schedule. `due_at`
    differs from it if a person sent the post sooner. `is_pruned` means that retention has deleted
    its texts, readbacks and metrics. `marker` is its bulletin number.
    """

    __tablename__: ClassVar[str] = "delivery"
    __table_args__ = (
        UniqueConstraint("post", "occurrence", "account"),
        Index(
            "one_in_flight_per_login",
            "login",
            unique=True,
            sqlite_where=text("state IN ('claimed', 'sending')"),
        ),
        Index(
            "due_by_login",
            "login",
            text("is_urgent DESC"),
            "due_at",
            "id",
            sqlite_where=text("state = 'due'"),
        ),
        Index(
            "started_by_login",
            "login",
            "due_at",
            "id",
            sqlite_where=text("state = 'due' AND parts_done > 0"),
        ),
        Index("deliveries_by_marker", "marker"),
        Index("deliveries_by_due_time", "is_pruned", "due_at"),
        Index("scheduled_by_occurrence", "post", "occurrence", "scheduled_at"),
        Index(
            "recurring_by_account",
            "post",
            "account",
            "due_at",
            sqlite_where=text("occurrence != 'once'"),
        ),
        Index(
            "next_action_by_state",
            "state",
            "next_action_at",
            sqlite_where=text("next_action_at IS NOT NULL"),
        ),
        Index(
            "expiry_of_waiting",
            "expires_at",
            sqlite_where=text("state IN ('pending', 'due', 'retrying')"),
        ),
        Index(
            "unresolved_by_account",
            "account",
            sqlite_where=text("state IN ('sending', 'unknown', 'retracting')"),
        ),
        Index(
            "published_by_account",
            "account",
            "published_at",
            sqlite_where=text("published_at IS NOT NULL"),
        ),
        Index(
            "one_owner_per_remote_id",
            "account",
            "remote_id",
            unique=True,
            sqlite_where=text("remote_id IS NOT NULL"),
        ),
        Index(
            "open_by_state",
            "state",
            sqlite_where=text("state NOT IN ('published', 'cancelled', 'expired')"),
        ),
    )
    id: int | None = Field(default=None, primary_key=True)
    post: str
    occurrence: str
    account: str
    platform: str
    login: str
    state: str
    version: int
    revision_hash: str
    content_hash: str
    rendered_hash: str
    scheduled_at: datetime = Field(sa_type=Instant)
    due_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    max_delay: timedelta = Field(sa_type=Duration)
    updated_at: datetime = Field(sa_type=Instant)
    is_urgent: bool
    follows: str | None = None
    reason: str | None = None
    next_action_at: datetime | None = Field(default=None, sa_type=Instant)
    attempts: int = 0
    fencing_token: int = 0
    lease_until: datetime | None = Field(default=None, sa_type=Instant)
    worker: str | None = None
    readbacks: int = 0
    auth_failures: int = 0
    failures: int = 0
    worker_crashes: int = 0
    unknown_since: datetime | None = Field(default=None, sa_type=Instant)
    submitted_at: datetime | None = Field(default=None, sa_type=Instant)
    verified_at: datetime | None = Field(default=None, sa_type=Instant)
    remote_id: str | None = None
    url: str | None = None
    published_at: datetime | None = Field(default=None, sa_type=Instant)
    is_manually_confirmed: bool = False
    ticket: str | None = Field(default=None, sa_type=Text)
    reported_url: str | None = None
    was_resent: bool = False
    desired: str = Field(
        default="as_planned", sa_column_kwargs={"server_default": "as_planned"}
    )
    first_attempt_deadline: datetime | None = Field(default=None, sa_type=Instant)
    extra_parts: int = Field(default=0, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    parts_done: int = Field(default=0, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    resend_after_attempt: int = Field(default=0, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    is_pruned: bool = Field(default=False, sa_column_kwargs=SERVER_DEFAULT_FALSE)
    kind: str
    marker: str
    is_due_when_approved: bool = Field(
        default=False, sa_column_kwargs=SERVER_DEFAULT_FALSE
    )


class AttemptRow(SQLModel, table=True):
    """Intents: each row was committed before its call began.

    `part` is the part of the text that it was for. `identity` and `method` are the account on its
    platform and the way of the call, as they were then. `is_end_confirmed` means that kernel or
    platform had confirmed the clock that wrote `ended_at`. `is_manual` means that a person was
    asked to post it, and no call was made.
    """

    __tablename__: ClassVar[str] = "attempt"
    __table_args__ = (
        UniqueConstraint("delivery", "number"),
        Index("attempts_by_login", "login", "intended_at", "part"),
        Index("attempts_by_account", "account", "id"),
    )
    id: int | None = Field(default=None, primary_key=True)
    delivery: int
    number: int
    fencing_token: int
    login: str
    account: str
    worker: str
    rendered_hash: str
    newest_id: str | None
    baseline_at: datetime = Field(sa_type=Instant)
    intended_at: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)
    is_end_confirmed: bool = Field(default=False, sa_column_kwargs=SERVER_DEFAULT_FALSE)
    outcome: str | None = None
    detail: str | None = Field(default=None, sa_type=Text)
    part: int = Field(default=0, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    is_manual: bool = Field(default=False, sa_column_kwargs=SERVER_DEFAULT_FALSE)
    identity: str
    method: str


class ReadbackRow(SQLModel, table=True):
    """Every stored readback of a platform: the evidence."""

    __tablename__: ClassVar[str] = "readback"
    id: int | None = Field(default=None, primary_key=True)
    delivery: int = Field(index=True)
    attempt: int
    at: datetime = Field(sa_type=Instant)
    result: str
    detail: str = Field(sa_type=Text)


class AuditRow(SQLModel, table=True):
    """One entry for each state change and each action by a person, in the change's transaction.

    `id` has no gaps. `hash` covers the whole row, including `previous`, the hash of the entry
    before it.
    """

    __tablename__: ClassVar[str] = "audit"
    __table_args__ = (
        Index(
            "entries_of_people",
            "id",
            "name",
            "event",
            sqlite_where=text("role = 'person'"),
        ),
    )
    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=Instant)
    role: str
    name: str
    event: str
    subject: str = Field(index=True)
    before: str | None = None
    after: str | None = None
    detail: str = Field(sa_type=Text)
    previous: str
    hash: str


class PauseRow(SQLModel, table=True):
    """Pauses: while a row exists, no call starts in its scope."""

    __tablename__: ClassVar[str] = "pause"
    scope: str = Field(primary_key=True)
    at: datetime = Field(sa_type=Instant)
    by: str
    reason: str


class ModeOverrideRow(SQLModel, table=True):
    """Account modes set by a person at run time, instead of the modes in the settings."""

    __tablename__: ClassVar[str] = "mode_override"
    account: str = Field(primary_key=True)
    mode: str
    at: datetime = Field(sa_type=Instant)
    by: str
    reason: str


class AdapterStateRow(SQLModel, table=True):
    """The state that adapters keep across restarts: uploads made, steps done. Never a secret."""

    __tablename__: ClassVar[str] = "adapter_state"
    login: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    value: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=Instant)


class WorkerRow(SQLModel, table=True):
    """Daemons by name, and the last heartbeat of each.

    `boot_id` distinguishes machines of one name. The hashes are of the settings and templates read
    at the daemon's start. `accounts` are the accounts in the settings.
    """

    __tablename__: ClassVar[str] = "worker"
    id: str = Field(primary_key=True)
    host: str
    pid: int
    boot_id: str | None = None
    started_at: datetime = Field(sa_type=Instant)
    heartbeat_at: datetime = Field(sa_type=Instant)
    stopped_at: datetime | None = Field(default=None, sa_type=Instant)
    settings_hash: str | None = None
    templates_hash: str | None = None
    accounts: str | None = Field(default=None, sa_type=Text)


class WorkerStateRow(SQLModel, table=True):
    """The state of a worker that outlives its process.

    `config_hash` is of the settings with which it planned last. `compared_timeline` is the server
    timeline with which it compared its journal last. `is_comparison_pending` means that it must
    compare it again, because an older database was accepted. A person confirmed its host's clock
    when that showed `clock_at`, `clock_ticks` seconds after boot.
    """

    __tablename__: ClassVar[str] = "worker_state"
    worker: str = Field(primary_key=True)
    config_hash: str | None = None
    compared_timeline: str | None = None
    is_comparison_pending: bool = Field(
        default=False, sa_column_kwargs=SERVER_DEFAULT_FALSE
    )
    clock_at: datetime | None = Field(default=None, sa_type=Instant)
    clock_ticks: float | None = None


class ServerTimelineRow(SQLModel, table=True):
    """The timelines of a PostgreSQL server, and the first sight of each by a worker.

    Each failover adds one timeline.
    """

    __tablename__: ClassVar[str] = "server_timeline"
    timeline: str = Field(primary_key=True)
    first_seen_at: datetime = Field(sa_type=Instant)


class DataLossRow(SQLModel, table=True):
    """The data-loss window without a record of sent posts, in at most one row.

    Neither database nor journal shows the posts sent in it. `covers_new_posts` means that posts
    added to the schedule now may have been sent in it, too.
    """

    __tablename__: ClassVar[str] = "data_loss"
    since: datetime = Field(
        primary_key=True, sa_type=Instant, sa_column_kwargs={"autoincrement": False}
    )
    until: datetime = Field(sa_type=Instant)
    covers_new_posts: bool


class OrphanedAttemptRow(SQLModel, table=True):
    """Journal lines without a delivery. The columns are the keys of the line."""

    __tablename__: ClassVar[str] = "orphaned_attempt"
    rendered_hash: str = Field(primary_key=True)
    at: str = Field(primary_key=True)
    delivery: int
    attempt: int
    fencing_token: int
    post: str
    occurrence: str
    account: str
    part: int
    identity: str
    method: str


CallResult = Outcome | ReadbackResult | DeletionResult


def table_of(row: type[SQLModel]) -> Table:
    """Return the core table behind a row class."""
    return SQLModel.metadata.tables[str(row.__tablename__)]


DELIVERY = table_of(DeliveryRow)
ATTEMPT = table_of(AttemptRow)
READBACK = table_of(ReadbackRow)
LOGIN = table_of(LoginRow)
PAUSE = table_of(PauseRow)
RENDERED_POST = table_of(RenderedPostRow)
MEDIA = table_of(MediaRow)
POST = table_of(PostRow)
SCHEDULE = table_of(ScheduleRow)
AUDIT = table_of(AuditRow)
MODE_OVERRIDE = table_of(ModeOverrideRow)
ADAPTER_STATE = table_of(AdapterStateRow)
DATABASE_INFO = table_of(DatabaseInfoRow)
WORKER_STATE = table_of(WorkerStateRow)
SERVER_TIMELINE = table_of(ServerTimelineRow)
DATA_LOSS = table_of(DataLossRow)
ORPHANED_ATTEMPT = table_of(OrphanedAttemptRow)
WORKER = table_of(WorkerRow)

_PLAIN_COLUMNS = (
    "version", "due_at", "expires_at", "max_delay", "updated_at", "is_urgent", "reason",
    "next_action_at", "attempts", "fencing_token", "readbacks", "auth_failures", "failures",
    "worker_crashes", "unknown_since", "submitted_at", "verified_at", "reported_url", "was_resent",
    "first_attempt_deadline", "extra_parts", "parts_done", "resend_after_attempt", "is_pruned",
    "kind", "is_due_when_approved", "marker",
)  # fmt: skip
"""Columns with the name and the value of a field of Delivery."""
_RECEIPT_COLUMNS = ("remote_id", "url", "published_at", "is_manually_confirmed")
_STATE_BY_CODE = {state.value: state for state in State}


def to_delivery(row: RowMapping) -> Delivery:
    """Return the delivery of a row. A state that this release does not know reads as held."""
    state = _STATE_BY_CODE.get(row["state"])
    plain = {name: row[name] for name in _PLAIN_COLUMNS}
    receipt = (
        Receipt(**{name: row[name] for name in _RECEIPT_COLUMNS})
        if row["remote_id"] is not None
        else None
    )
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
        ticket=_type_adapter("ticket").validate_json(row["ticket"])
        if row["ticket"]
        else None,
    )


def read_deliveries(
    connection: Connection,
    query: Select[Any],
    parameters: Mapping[str, object] | None = None,
) -> list[Delivery]:
    """Return the deliveries that a query selects."""
    return [
        to_delivery(row) for row in connection.execute(query, parameters).mappings()
    ]


def changed_columns(before: Delivery, after: Delivery) -> dict[str, Any]:
    """Return the differing columns of two versions of a delivery, with their new values."""
    changed: dict[str, Any] = {
        name: value
        for name in _PLAIN_COLUMNS
        if (value := getattr(after, name)) != getattr(before, name)
    }
    if after.state is not before.state:
        changed["state"] = after.state.value
    if after.desired is not before.desired:
        changed["desired"] = after.desired.value
    if after.rendered_hash != before.rendered_hash:
        changed["rendered_hash"] = after.rendered_hash
    if after.receipt != before.receipt:
        receipt = after.receipt
        changed |= {
            name: getattr(receipt, name) if receipt else None
            for name in _RECEIPT_COLUMNS
        }
        changed["is_manually_confirmed"] = (
            receipt is not None and receipt.is_manually_confirmed
        )
    if after.ticket != before.ticket:
        changed["ticket"] = (
            _type_adapter("ticket").dump_json(after.ticket).decode()
            if after.ticket
            else None
        )
    return changed


def to_attempt(row: RowMapping) -> Attempt:
    return Attempt(
        number=row["number"],
        fencing_token=row["fencing_token"],
        intended_at=row["intended_at"],
        ended_at=row["ended_at"],
        baseline_at=row["baseline_at"],
        part=row["part"],
        is_manual=row["is_manual"],
        identity=row["identity"],
        method=row["method"],
    )


def to_readback(row: RowMapping) -> Readback:
    result = cast("ReadbackResult", load_result(row["result"], row["detail"]))
    return Readback(attempt=row["attempt"], at=row["at"], result=result)


_TYPE_BY_CODE: Final = {code: kind for kind, code in RESULT_CODES.items()} | {
    "post": Post,
    "rendered_post": RenderedPost,
    "ticket": Ticket,
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
    """Return the JSON whose hash, with sorted keys, is the fingerprint of the rendered post."""
    return json.dumps(rendered.fields, ensure_ascii=False)


def load_rendered_post(body: str) -> RenderedPost:
    rendered: RenderedPost = _type_adapter("rendered_post").validate_json(body)
    return rendered


def dump_post(post: Post) -> str:
    return _type_adapter("post").dump_json(post).decode()


def load_post(body: str) -> Post:
    post: Post = _type_adapter("post").validate_json(body)
    return post
