"""The tables of approvals, saves of texts, officers on duty, and decisions for a second person."""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from publisher.store.db.tables import SERVER_DEFAULT_FALSE, Instant, table_of


class ApprovalRow(SQLModel, table=True):
    """Every approval of the exact content of an occurrence. It counts until `ended_at` is set.

    A person has given it. `chain` is the hash of the chain under which it was given. `scheduled_at`
    is the time in the schedule.
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
    """The contents of an occurrence that approvals refer to, as JSON.

    The JSON maps each account to the hash of its rendered post. `saved_by`, `file_owner` and
    `content_hash` are the values of the post when it was rendered. `is_edit` means that it replaced
    an earlier content. `returned_*` names the person that asked for a change of it, if anybody has,
    and the reason.
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
    """Every save of a post into schedule.toml by a person that has signed in.

    `body_sha256` is of the post as the store keeps it, or has one hash for each member of a family;
    it is empty for a removed post. `text_sha256` is of the whole text of the file. That text was
    made from a text of the hash `base_sha256`, while the schedule version `base_version` was in
    force. `growth` is the number of bytes by which it became larger. `copied_from` is the post that
    a new one began as a copy of, with the content of `copied_hash`. `file_owners` is a JSON list of
    the owners that had changed the file before. Their change was not in force yet.
    """

    __tablename__: ClassVar[str] = "post_save"
    __table_args__ = (
        Index("saves_by_post", "post"),
        Index("saves_by_text", "text_sha256"),
    )
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
    file_owners: str = Field(
        default="[]", sa_type=Text, sa_column_kwargs={"server_default": "[]"}
    )


class DutyOfficerRow(SQLModel, table=True):
    """The officers on duty, with the right to release a post in an emergency."""

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
