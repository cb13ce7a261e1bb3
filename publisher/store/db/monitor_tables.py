"""The tables of what is known of accounts and logins: what is read of them, and when it is read next."""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from publisher.store.db.tables import Instant, table_of


class MonitorScheduleRow(SQLModel, table=True):
    """When each account is monitored next. Posts older than `monitored_since` predate monitoring of this `identity`."""

    __tablename__: ClassVar[str] = "monitor_schedule"
    account: str = Field(primary_key=True)
    next_action_at: datetime = Field(sa_type=Instant)
    monitored_since: datetime | None = Field(default=None, sa_type=Instant)
    identity: str | None = None


class KnownAccountRow(SQLModel, table=True):
    """Accounts of the settings, and since when the database has known each."""

    __tablename__: ClassVar[str] = "known_account"
    account: str = Field(primary_key=True)
    since: datetime = Field(sa_type=Instant)


class ObservedPostRow(SQLModel, table=True):
    """Posts seen on an account that belong to no delivery. `predates_monitoring`: they were there before."""

    __tablename__: ClassVar[str] = "observed_post"
    account: str = Field(primary_key=True)
    remote_id: str = Field(primary_key=True)
    url: str
    published_at: datetime = Field(sa_type=Instant)
    seen_at: datetime = Field(sa_type=Instant)
    predates_monitoring: bool


class ReachRow(SQLModel, table=True):
    """The metrics of a published post at an instant; NULL for what the platform does not report."""

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
    """The result of a login's last health check, and when the next one is due."""

    __tablename__: ClassVar[str] = "login_health"
    login: str = Field(primary_key=True)
    next_action_at: datetime = Field(sa_type=Instant)
    at: datetime | None = Field(default=None, sa_type=Instant)
    kind: str | None = None
    reason: str | None = None
    until: datetime | None = Field(default=None, sa_type=Instant)


MONITOR_SCHEDULE = table_of(MonitorScheduleRow)
KNOWN_ACCOUNT = table_of(KnownAccountRow)
OBSERVED_POST = table_of(ObservedPostRow)
REACH = table_of(ReachRow)
LOGIN_HEALTH = table_of(LoginHealthRow)
