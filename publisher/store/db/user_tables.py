"""The tables of users: sign-in rights, factors (as hashes only), drafts and uploads."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import ClassVar

from sqlalchemy import RowMapping, Text
from sqlmodel import Field, SQLModel

from publisher.domain.user import Grant, Permission, User, UserState, parse_grant
from publisher.store.db.tables import (
    SERVER_DEFAULT_FALSE,
    SERVER_DEFAULT_ZERO,
    Instant,
    table_of,
)


class AuthUserRow(SQLModel, table=True):
    """A user. `grants` are JSON, each as typed. `name_skeleton` keeps apart names that look alike.

    `link_hash` is of the open one-time link, if any. `link_browser_hash` is of the key of the
    browser in which its user has begun to set up the sign-in. No other browser may go on.
    `totp_secret` is encrypted with a key that is not in the database. `totp_step` is the time step
    of the last used code. `awaits_second_factor` means that the second factor was reset, so a
    password alone signs nobody in. `admin_ended_at` is when the user last stopped being an
    administrator that can act. `epoch` counts how often all sign-ins ended.
    """

    __tablename__: ClassVar[str] = "auth_user"
    name: str = Field(primary_key=True)
    name_skeleton: str = Field(unique=True)
    grants: str = Field(sa_type=Text)
    state: str
    created_at: datetime = Field(sa_type=Instant)
    password_hash: str | None = None
    totp_secret: str | None = None
    totp_step: int = Field(default=0, sa_column_kwargs=SERVER_DEFAULT_ZERO)
    link_hash: str | None = Field(default=None, unique=True)
    link_expires_at: datetime | None = Field(default=None, sa_type=Instant)
    link_browser_hash: str | None = Field(default=None, unique=True)
    awaits_second_factor: bool = Field(
        default=False, sa_column_kwargs=SERVER_DEFAULT_FALSE
    )
    admin_ended_at: datetime | None = Field(default=None, sa_type=Instant)
    epoch: int = Field(default=0, sa_column_kwargs=SERVER_DEFAULT_ZERO)


class RecoveryCodeRow(SQLModel, table=True):
    """A code that replaces the second factor once."""

    __tablename__: ClassVar[str] = "recovery_code"
    user: str = Field(primary_key=True)
    code_hash: str = Field(primary_key=True)


class AuthSessionRow(SQLModel, table=True):
    """A session of a browser. Its id changes at sign-in and step-up; `source` is its origin."""

    __tablename__: ClassVar[str] = "auth_session"
    id_hash: str = Field(primary_key=True)
    user: str = Field(index=True)
    source: str
    created_at: datetime = Field(sa_type=Instant)
    seen_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    stepped_up_at: datetime | None = Field(default=None, sa_type=Instant)


class AuthTokenRow(SQLModel, table=True):
    """A token of a user for commands. `scope` is JSON: the permissions that it is limited to."""

    __tablename__: ClassVar[str] = "auth_token"
    id: int | None = Field(default=None, primary_key=True)
    token_hash: str = Field(unique=True)
    user: str = Field(index=True)
    scope: str
    created_at: datetime = Field(sa_type=Instant)
    used_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)


class UserRequestRow(SQLModel, table=True):
    """A change of a user requested by one administrator, to be confirmed by a second one.

    Each user has at most one. `kind` is the kind of the change. `grants` and `factors` are JSON.
    """

    __tablename__: ClassVar[str] = "user_request"
    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    user: str = Field(unique=True)
    kind: str
    grants: str = Field(sa_type=Text)
    factors: str
    by: str
    at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)


class SignInAttemptRow(SQLModel, table=True):
    """Failed sign-ins in a row by name and source, and the earliest time of the next attempt.

    `name_hash` is of the name that was typed, even if nobody has it. It is of "" for the attempts
    of all names.
    """

    __tablename__: ClassVar[str] = "sign_in_attempt"
    name_hash: str = Field(primary_key=True)
    source: str = Field(primary_key=True)
    failures: int
    failed_at: datetime = Field(sa_type=Instant)
    retry_at: datetime = Field(sa_type=Instant)


class RefusalRow(SQLModel, table=True):
    """Refusals to a user, by kind. `user` is "?" for all unknown names.

    `number` counts the refusals since `since`. The audit has counted `recorded` of them. `sources`
    is JSON. `unseen` counts the refusals since the user's last sign-in, `total` all.
    """

    __tablename__: ClassVar[str] = "refusal"
    user: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    since: datetime = Field(sa_type=Instant)
    number: int
    recorded: int
    sources: str = Field(sa_type=Text)
    last_at: datetime = Field(sa_type=Instant)
    last_source: str
    unseen: int
    total: int


class DraftRow(SQLModel, table=True):
    """A post that a user is writing; nobody else sees it. `content` is JSON: the form as it stands.

    `post` is the post that is edited, None for a new one. The one that was deleted last can be
    restored.
    """

    __tablename__: ClassVar[str] = "draft"
    id: str = Field(primary_key=True)
    user: str = Field(index=True)
    post: str | None = None
    content: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant, index=True)
    deleted_at: datetime | None = Field(default=None, sa_type=Instant)


class UploadRow(SQLModel, table=True):
    """A recent picture upload by a user: its path as posts name it, size in bytes, and time."""

    __tablename__: ClassVar[str] = "upload"
    file: str = Field(primary_key=True)
    user: str = Field(primary_key=True)
    size: int
    at: datetime = Field(sa_type=Instant)


AUTH_USER = table_of(AuthUserRow)
RECOVERY_CODE = table_of(RecoveryCodeRow)
AUTH_SESSION = table_of(AuthSessionRow)
AUTH_TOKEN = table_of(AuthTokenRow)
USER_REQUEST = table_of(UserRequestRow)
SIGN_IN_ATTEMPT = table_of(SignInAttemptRow)
REFUSAL = table_of(RefusalRow)
DRAFT = table_of(DraftRow)
UPLOAD = table_of(UploadRow)


def to_user(row: RowMapping) -> User:
    return User(
        name=row["name"],
        grants=load_grants(row["grants"]),
        state=UserState(row["state"]),
        has_password=row["password_hash"] is not None,
        has_second_factor=row["totp_secret"] is not None,
        awaits_second_factor=row["awaits_second_factor"],
        epoch=row["epoch"],
    )


def load_grants(text: str) -> tuple[Grant, ...]:
    return tuple(map(parse_grant, json.loads(text)))


def dump_grants(grants: Collection[Grant]) -> str:
    return json.dumps(sorted(map(str, grants)), ensure_ascii=False)


def dump_scope(scope: Collection[Permission]) -> str:
    return json.dumps(sorted(scope))


def load_scope(text: str) -> frozenset[Permission]:
    return frozenset(map(Permission, json.loads(text)))
