"""The tables of alerts, and of the notices about them that go to people."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from sqlalchemy import Index, Text, UniqueConstraint, and_, text
from sqlmodel import Field, SQLModel

from publisher.store.db.tables import (
    SERVER_DEFAULT_FALSE,
    SERVER_DEFAULT_ZERO,
    Instant,
    table_of,
)


class AlertRow(SQLModel, table=True):
    """Alerts, with `cleared_at` set once the problem is over, and `dismissed_at` once acknowledged.

    A person acknowledges an alert. `returned_at` is the instant at which the acknowledgement has
    expired, as the problem lasts. `delivery` is the delivery that it is about, if any. `notice` is
    the kind of the last notice about it, and "" before the first. `notices` is the number of
    notices. `is_settled` means that nothing more is to be said about it. `reopenings` is the number
    of times that it came back soon after it was over.
    """

    __tablename__: ClassVar[str] = "alert"
    __table_args__ = (
        Index("open_alerts", "id", sqlite_where=text("cleared_at IS NULL")),
        Index("unsettled_alerts", "id", sqlite_where=text("is_settled = 0")),
    )
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_type=Instant)
    code: str
    subject: str = Field(index=True)
    facts: str = Field(sa_type=Text)
    delivery: int | None = None
    cleared_at: datetime | None = Field(default=None, sa_type=Instant)
    dismissed_at: datetime | None = Field(default=None, sa_type=Instant)
    dismissed_by: str | None = None
    returned_at: datetime | None = Field(default=None, sa_type=Instant)
    reopenings: int = Field(default=0, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    notice: str = Field(default="", sa_column_kwargs={"server_default": ""})
    notices: int = Field(default=0, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    noticed_at: datetime | None = Field(default=None, sa_type=Instant)
    escalated_at: datetime | None = Field(default=None, sa_type=Instant)
    is_settled: bool = Field(default=False, sa_column_kwargs=SERVER_DEFAULT_FALSE)


class NoticeRow(SQLModel, table=True):
    """The outbox of notices: one row for each channel that a notice goes to.

    `key` names the notice and is sent with it. It is the same each time and is never used again, as
    it has the instant at which the notice was written. `alert` is None for the daily digest and for
    a checkpoint of the audit. While a notice is sent, `next_action_at` is the end of its lease.
    Once it is sent, replaced by a later one, or given up, `ended_at` is set. `error` is the code of
    the last failure. It is empty again while the notice is sent once more.
    """

    __tablename__: ClassVar[str] = "notice"
    __table_args__ = (
        UniqueConstraint("key", "channel"),
        Index("open_notices", "next_action_at", sqlite_where=text("ended_at IS NULL")),
        Index("notices_by_alert", "alert"),
    )
    id: int | None = Field(default=None, primary_key=True)
    key: str
    kind: str
    alert: int | None = None
    channel: str
    detail: str = Field(
        default="", sa_type=Text, sa_column_kwargs={"server_default": ""}
    )
    at: datetime = Field(sa_type=Instant)
    next_action_at: datetime = Field(sa_type=Instant)
    attempts: int = Field(default=0, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    error: str = Field(default="", sa_column_kwargs={"server_default": ""})
    is_sent: bool = Field(default=False, sa_column_kwargs=SERVER_DEFAULT_FALSE)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)


ALERT = table_of(AlertRow)
NOTICE = table_of(NoticeRow)

IS_ACKNOWLEDGED = and_(ALERT.c.dismissed_at.is_not(None), ALERT.c.returned_at.is_(None))
"""True of an alert that a person has acknowledged, while the acknowledgement holds."""
NOT_ACKNOWLEDGED: Mapping[str, object] = {
    "dismissed_at": None,
    "dismissed_by": None,
    "returned_at": None,
}
"""The values of an alert that nobody has acknowledged."""
