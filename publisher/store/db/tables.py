"""The rows. They never leave `store`; what leaves is a domain object.

Which rows an index holds is said here for SQLite alone; for PostgreSQL the migrations say it. Naming it here as well
would load that dialect at every start, which costs a command a twentieth of a second.
"""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

from sqlalchemy import BigInteger, Dialect, Index, LargeBinary, Text, UniqueConstraint, false, text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SERVER_DEFAULT_ZERO = {"server_default": "0"}
SERVER_DEFAULT_FALSE = {"server_default": false()}
"""What a column holds where nothing is said of it."""


class Instant(TypeDecorator[datetime]):
    """An aware datetime, kept as whole microseconds of UTC: the same number, order and index on every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else (value - UNIX_EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else UNIX_EPOCH + value * MICROSECOND


class Duration(TypeDecorator[timedelta]):
    """A timedelta, kept as whole microseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else value // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> timedelta | None:  # noqa: ARG002
        return None if value is None else value * MICROSECOND


class DatabaseInfoRow(SQLModel, table=True):
    """What this database is: its environment, where its audit begins, where it lives, and whether it is a copy."""

    __tablename__: ClassVar[str] = "database_info"
    key: str = Field(primary_key=True)
    value: str


class ScheduleRow(SQLModel, table=True):
    """Accepted versions of schedule.toml; the newest one is in force."""

    __tablename__: ClassVar[str] = "schedule"
    id: int | None = Field(default=None, primary_key=True)
    accepted_at: datetime = Field(sa_type=Instant)
    sha256: str
    text: str = Field(sa_type=Text)


class PostRow(SQLModel, table=True):
    """Each post ever accepted. `body` is the post as JSON; `is_scheduled`: it came from the schedule, not by `send`."""

    __tablename__: ClassVar[str] = "post"
    __table_args__ = (Index("scheduled_posts", "id", sqlite_where=text("is_scheduled = 1")),)
    id: str = Field(primary_key=True)
    content_hash: str
    body: str = Field(sa_type=Text)
    in_force_since: datetime = Field(sa_type=Instant)
    is_scheduled: bool
    is_cancelled: bool = False


class MediaRow(SQLModel, table=True):
    """Pictures, by hash: at send time only these bytes are used. `shown_until`: when the last that shows it expires."""

    __tablename__: ClassVar[str] = "media"
    __table_args__ = (Index("media_by_use", "shown_until"),)
    sha256: str = Field(primary_key=True)
    media_type: str
    shown_until: datetime = Field(default=UNIX_EPOCH, sa_type=Instant, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    data: bytes = Field(sa_type=LargeBinary)


class RenderedPostRow(SQLModel, table=True):
    """Frozen final texts, by fingerprint: what a post says on an account, and what it said before an edit."""

    __tablename__: ClassVar[str] = "rendered_post"
    __table_args__ = (Index("rendered_by_delivery", "post", "occurrence", "account"),)
    fingerprint: str = Field(primary_key=True)
    revision_hash: str = Field(index=True)
    post: str = Field(default="", sa_column_kwargs={"server_default": ""})
    occurrence: str = Field(default="", sa_column_kwargs={"server_default": ""})
    account: str
    body: str = Field(sa_type=Text)


class LoginRow(SQLModel, table=True):
    """When a login may speak again: `rests_until` for every post, `routine_until` for those that are not urgent.

    `floors_until` is for the further floors of a post that has begun, `reads_until` for reads. `limited_until` is what
    the platform itself asked for, which is part of the others. Since `busy_since` the login has been kept back without
    a break.
    """

    __tablename__: ClassVar[str] = "login"
    __table_args__ = (Index("logins_by_cooldown", "cooldown_until"),)
    id: str = Field(primary_key=True)
    cooldown_until: datetime = Field(sa_type=Instant)
    routine_cooldown_until: datetime = Field(sa_type=Instant)
    parts_cooldown_until: datetime = Field(default=UNIX_EPOCH, sa_type=Instant, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    reads_cooldown_until: datetime = Field(default=UNIX_EPOCH, sa_type=Instant, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    rate_limited_until: datetime = Field(default=UNIX_EPOCH, sa_type=Instant, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    busy_since: datetime = Field(default=UNIX_EPOCH, sa_type=Instant, sa_column_kwargs=SERVER_DEFAULT_ZERO)


class DeliveryRow(SQLModel, table=True):
    """One delivery; the columns are the fields of the domain's Delivery, flat. `worker` holds its lease, if any.

    `planned_at` is the instant the schedule gave; `due_at` differs from it when a person sent the post sooner.
    `is_pruned`: it ended so long ago that its texts, reads and figures are gone.
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
        Index("deliveries_by_due_time", "is_pruned", "due_at"),
        Index("scheduled_by_occurrence", "post", "occurrence", "scheduled_at"),
        Index("recurring_by_account", "post", "account", "due_at", sqlite_where=text("occurrence != 'once'")),
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
        Index("unresolved_by_account", "account", sqlite_where=text("state IN ('sending', 'unknown', 'retracting')")),
        Index("published_by_account", "account", "published_at", sqlite_where=text("published_at IS NOT NULL")),
        Index(
            "one_owner_per_remote_id",
            "account",
            "remote_id",
            unique=True,
            sqlite_where=text("remote_id IS NOT NULL"),
        ),
        Index("open_by_state", "state", sqlite_where=text("state NOT IN ('published', 'cancelled', 'expired')")),
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
    desired: str = Field(default="as_planned", sa_column_kwargs={"server_default": "as_planned"})
    first_attempt_deadline: datetime | None = Field(default=None, sa_type=Instant)
    extra_parts: int = Field(default=0, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    parts_done: int = Field(default=0, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    resend_after_attempt: int = Field(default=0, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    is_pruned: bool = Field(default=False, sa_column_kwargs=SERVER_DEFAULT_FALSE)


class AttemptRow(SQLModel, table=True):
    """Intents: each row was committed before its call began. `floor` is which floor of the text it was for.

    `ended_confirmed` says that the clock was confirmed when `ended_at` was written. With `is_by_hand` a person
    was asked to post it, and no call was made.
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


class ReadbackRow(SQLModel, table=True):
    """Stored reads of a platform, one by one: the evidence."""

    __tablename__: ClassVar[str] = "readback"
    id: int | None = Field(default=None, primary_key=True)
    delivery: int = Field(index=True)
    attempt: int
    at: datetime = Field(sa_type=Instant)
    result: str
    detail: str = Field(sa_type=Text)


class AuditRow(SQLModel, table=True):
    """One entry for each change of state and each human act, written in the change's own transaction.

    `id` counts the entries without a gap; `hash` covers the whole row with `previous`, which is the hash before it.
    """

    __tablename__: ClassVar[str] = "audit"
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


class AlertRow(SQLModel, table=True):
    """Trouble to be told; `cleared_at` is set when it is over."""

    __tablename__: ClassVar[str] = "alert"
    __table_args__ = (Index("open_alerts", "id", sqlite_where=text("cleared_at IS NULL")),)
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_type=Instant)
    code: str
    subject: str = Field(index=True)
    facts: str = Field(sa_type=Text)
    cleared_at: datetime | None = Field(default=None, sa_type=Instant)


class PauseRow(SQLModel, table=True):
    """The kill switch: while a scope stands here, no call starts in it."""

    __tablename__: ClassVar[str] = "pause"
    scope: str = Field(primary_key=True)
    at: datetime = Field(sa_type=Instant)
    by: str
    reason: str


class ModeOverrideRow(SQLModel, table=True):
    """What people ordered at run time instead of an account's mode in the settings."""

    __tablename__: ClassVar[str] = "mode_override"
    account: str = Field(primary_key=True)
    mode: str
    at: datetime = Field(sa_type=Instant)
    by: str
    reason: str


class AdapterStateRow(SQLModel, table=True):
    """What adapters remember across restarts: uploads made, steps done. Never a secret."""

    __tablename__: ClassVar[str] = "adapter_state"
    login: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    value: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=Instant)


class WorkerRow(SQLModel, table=True):
    """Daemons, by name, and when each last gave a sign of life."""

    __tablename__: ClassVar[str] = "worker"
    id: str = Field(primary_key=True)
    host: str
    pid: int
    started_at: datetime = Field(sa_type=Instant)
    heartbeat_at: datetime = Field(sa_type=Instant)
    stopped_at: datetime | None = Field(default=None, sa_type=Instant)


class WorkerStateRow(SQLModel, table=True):
    """What is known of a worker before and after it runs.

    `config_hash` names the settings by which it planned last; `compared_timeline`, the server's timeline with which it
    compared its journal last; `is_awaited`: it has to, since an older database was accepted. A person vouched that its
    host's clock was right when it showed `clock_at`, `clock_ticks` seconds after the host's start.
    """

    __tablename__: ClassVar[str] = "worker_state"
    worker: str = Field(primary_key=True)
    config_hash: str | None = None
    compared_timeline: str | None = None
    is_comparison_pending: bool = Field(default=False, sa_column_kwargs=SERVER_DEFAULT_FALSE)
    clock_at: datetime | None = Field(default=None, sa_type=Instant)
    clock_ticks: float | None = None


class ServerTimelineRow(SQLModel, table=True):
    """Timelines of a PostgreSQL server, a new one for each failover, and when the first worker met each."""

    __tablename__: ClassVar[str] = "server_timeline"
    timeline: str = Field(primary_key=True)
    first_seen_at: datetime = Field(sa_type=Instant)


class DataLossRow(SQLModel, table=True):
    """A time for which neither database nor journal shows what was sent; at most one row.

    `includes_new`: what comes into the schedule now may have been sent in it, too.
    """

    __tablename__: ClassVar[str] = "data_loss"
    since: datetime = Field(primary_key=True, sa_type=Instant, sa_column_kwargs={"autoincrement": False})
    until: datetime = Field(sa_type=Instant)
    covers_new_posts: bool


class OrphanedAttemptRow(SQLModel, table=True):
    """Lines of a journal that announced a call for which there is no delivery; the columns are the line's own."""

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


class MonitorScheduleRow(SQLModel, table=True):
    """When each account is read next. `began_at`: what was on it then is history."""

    __tablename__: ClassVar[str] = "monitor_schedule"
    account: str = Field(primary_key=True)
    next_action_at: datetime = Field(sa_type=Instant)
    monitored_since: datetime | None = Field(default=None, sa_type=Instant)


class ObservedPostRow(SQLModel, table=True):
    """Posts seen on an account that no delivery owns. `is_history`: they were there before we came."""

    __tablename__: ClassVar[str] = "observed_post"
    account: str = Field(primary_key=True)
    remote_id: str = Field(primary_key=True)
    url: str
    published_at: datetime = Field(sa_type=Instant)
    seen_at: datetime = Field(sa_type=Instant)
    predates_monitoring: bool


class ReachRow(SQLModel, table=True):
    """How far a live post had come at an instant; what the platform does not tell is NULL."""

    __tablename__: ClassVar[str] = "reach"
    __table_args__ = (Index("reach_by_delivery", "delivery", "at"),)
    id: int | None = Field(default=None, primary_key=True)
    delivery: int
    at: datetime = Field(sa_type=Instant)
    reads: int | None = None
    reposts: int | None = None
    comments: int | None = None
    likes: int | None = None


class LoginHealthRow(SQLModel, table=True):
    """What the last probe of a login said, and when the next one comes."""

    __tablename__: ClassVar[str] = "login_health"
    login: str = Field(primary_key=True)
    next_action_at: datetime = Field(sa_type=Instant)
    at: datetime | None = Field(default=None, sa_type=Instant)
    kind: str | None = None
    reason: str | None = None
    until: datetime | None = Field(default=None, sa_type=Instant)
