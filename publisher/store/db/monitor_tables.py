"""The tables of accounts and logins: the facts read of them, and the time of the next read."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Index, Row
from sqlmodel import Field, SQLModel

from publisher.domain.account import Platform, Presence
from publisher.store.db.tables import Instant, table_of


class MonitorScheduleRow(SQLModel, table=True):
    """The time of the next monitoring of each account.

    Posts older than `monitored_since` predate monitoring of this `identity`.
    """

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


class PresenceRow(SQLModel, table=True):
    """The present or former identity of an account on its platform, in one place. It is unique.

    No other account may be the same. `spelled_as` is the identity in the settings. The platform
    itself may have reported another spelling, `identity`. `reported` is the platform's name for the
    account that the settings spelled as `identity`. It is empty if the platform has given two
    names. `until` is when the settings were first seen to name another identity or place.
    """

    __tablename__: ClassVar[str] = "presence"
    __table_args__ = (Index("presences_by_account", "account"),)
    platform: str = Field(primary_key=True)
    server: str = Field(primary_key=True)
    forum: str = Field(primary_key=True)
    identity: str = Field(primary_key=True)
    account: str
    spelled_as: str
    reported: str | None = None
    since: datetime = Field(sa_type=Instant)
    until: datetime | None = Field(default=None, sa_type=Instant)


class FormerIdRow(SQLModel, table=True):
    """Ids of accounts before a rename. Audit entries and journal lines still name them."""

    __tablename__: ClassVar[str] = "former_id"
    id: str = Field(primary_key=True)
    account: str
    at: datetime = Field(sa_type=Instant)


class CredentialRow(SQLModel, table=True):
    """The secret of an account for which its platform last named the owner, not stored itself.

    `fingerprint` is a keyed hash of it. It is empty if the platform named another account than this
    one. `identity` is the identity in the settings then. `reported` is the platform's own spelling,
    if any.
    """

    __tablename__: ClassVar[str] = "credential"
    account: str = Field(primary_key=True)
    fingerprint: str
    identity: str
    reported: str | None = None
    checked_at: datetime = Field(sa_type=Instant)


class ObservedPostRow(SQLModel, table=True):
    """Posts seen on an account that belong to no delivery.

    `predates_monitoring` means that they were there before monitoring began.
    """

    __tablename__: ClassVar[str] = "observed_post"
    account: str = Field(primary_key=True)
    remote_id: str = Field(primary_key=True)
    url: str
    published_at: datetime = Field(sa_type=Instant)
    seen_at: datetime = Field(sa_type=Instant)
    predates_monitoring: bool


class ReachRow(SQLModel, table=True):
    """The metrics of a published post at an instant. NULL if the platform reports none."""

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
PRESENCE = table_of(PresenceRow)
FORMER_ID = table_of(FormerIdRow)
CREDENTIAL = table_of(CredentialRow)
OBSERVED_POST = table_of(ObservedPostRow)
REACH = table_of(ReachRow)
LOGIN_HEALTH = table_of(LoginHealthRow)


def to_presence(row: Row[Any]) -> Presence:
    return Presence(
        platform=Platform(row.platform),
        server=row.server,
        forum=row.forum,
        identity=row.identity,
    )
