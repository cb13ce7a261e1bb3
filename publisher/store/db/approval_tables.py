"""The tables of approvals, who saved which text, the officers on duty, and decisions that wait for a second person."""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from publisher.store.db.tables import SERVER_DEFAULT_FALSE, Instant, table_of


class ApprovalRow(SQLModel, table=True):
    """Every yes that a person has given to the exact content of an occurrence; it counts until `ended_at` is set.

    `chain` is the hash of the chain under which it was given, `scheduled_at` the time in the schedule.
    """

    __tablename__: ClassVar[str] = "approval"
    __table_args__ = (Index("approvals_by_occurrence", "post", "occurrence"),)
    id: int | None = Field(default=None, primary_key=True)
    post: str
    occurrence: str
    fingerprint: str
    chain: str
    stage: str
    person: str
    at: datetime = Field(sa_type=Instant)
    scheduled_at: datetime | None = Field(default=None, sa_type=Instant)
    is_emergency: bool = Field(default=False, sa_column_kwargs=SERVER_DEFAULT_FALSE)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)
    ended_by: str | None = None
    ended_reason: str | None = None


class ApprovableTextRow(SQLModel, table=True):
    """The contents of an occurrence that approvals refer to: by account the hash of its rendered post, as JSON.

    `saved_by`, `file_owner` and `content_hash` are those of the post when it was rendered; `is_edit`: it replaced an
    earlier content.
    `returned_*`: who has asked for a change of it, if anybody has, and why.
    """

    __tablename__: ClassVar[str] = "approvable_text"
    post: str = Field(primary_key=True)
    occurrence: str = Field(primary_key=True)
    fingerprint: str = Field(primary_key=True)
    at: datetime = Field(sa_type=Instant)
    author: str
    saved_by: str | None = None
    file_owner: str | None = None
    is_edit: bool = Field(default=False, sa_column_kwargs=SERVER_DEFAULT_FALSE)
    content_hash: str = Field(default="", sa_column_kwargs={"server_default": ""})
    rendered_hashes: str = Field(sa_type=Text)
    returned_at: datetime | None = Field(default=None, sa_type=Instant)
    returned_by: str | None = None
    returned_reason: str | None = None


class PostSaveRow(SQLModel, table=True):
    """Every save of a post into schedule.toml by a person who has signed in.

    `body_sha256` is of the post as the store keeps it, empty for one that was removed; `text_sha256` is of the whole
    text of the file. That was made from a text of the hash `base_sha256`, while the schedule version `base_version` was
    in force, and `growth` is by how many bytes it became larger. `copied_from` is the post that a new one
    began as a copy of, with the content of `copied_hash`. `file_owners`: these had changed the file before, and
    that was not in force yet; a JSON list.
    """

    __tablename__: ClassVar[str] = "post_save"
    __table_args__ = (Index("saves_by_post", "post"), Index("saves_by_text", "text_sha256"))
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_type=Instant)
    by: str
    post: str
    body_sha256: str
    text_sha256: str
    base_version: int
    base_sha256: str
    growth: int
    copied_from: str | None = None
    copied_hash: str = Field(default="", sa_column_kwargs={"server_default": ""})
    file_owners: str = Field(default="[]", sa_type=Text, sa_column_kwargs={"server_default": "[]"})


class DutyOfficerRow(SQLModel, table=True):
    """The officers on duty, who may release a post in an emergency."""

    __tablename__: ClassVar[str] = "duty_officer"
    name: str = Field(primary_key=True)
    phone: str
    at: datetime = Field(sa_type=Instant)
    by: str


class DecisionRequestRow(SQLModel, table=True):
    """Decisions on deliveries that count only once a second person has confirmed them."""

    __tablename__: ClassVar[str] = "decision_request"
    delivery: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    url: str
    reason: str
    at: datetime = Field(sa_type=Instant)
    by: str


APPROVAL = table_of(ApprovalRow)
APPROVABLE_TEXT = table_of(ApprovableTextRow)
POST_SAVE = table_of(PostSaveRow)
DUTY_OFFICER = table_of(DutyOfficerRow)
DECISION_REQUEST = table_of(DecisionRequestRow)
