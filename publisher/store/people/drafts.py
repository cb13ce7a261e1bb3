"""Drafts: the texts and uploads of users before they are saved.

A draft is a user's own, and never in a commit with an intent. Only the dashboard writes drafts, in
a process that sends nothing.
"""

import json
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError, RefusedError
from publisher.store.base import StorePart
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.tables import DELIVERY, POST, SCHEDULE
from publisher.store.db.user_tables import DRAFT, UPLOAD

MAX_DRAFT_BYTES = 64 * 1024
MAX_DRAFTS_PER_USER = 100
DRAFT_LIFETIME = timedelta(days=30)
"""How long a draft is kept after its last change."""
DELETED_DRAFT_LIFETIME = timedelta(days=1)
"""How long a deleted draft can be restored."""
DRAFT_INTERVAL = timedelta(seconds=3)
"""The shortest time between two writes of a user's drafts."""
DRAFT_ID_BYTES = 9
MAX_UPLOADED_BYTES_PER_DAY = 50 * 2**20
MAX_UNUSED_UPLOADS = 50
UPLOAD_GRACE = timedelta(days=7)
"""How long a picture is kept that a user has uploaded, and that nothing names."""
PICTURE_PATH = re.compile(r"media/\d{4}-\d{2}-[0-9a-f]{12}\.(?:jpg|png|gif)")
"""The path of an uploaded picture, as posts name it: the month, and the beginning of its hash."""

LIBRARY_AGE = timedelta(days=365)
"""How long after a post's time its pictures can be used again. The clean-up keeps them longer."""
MAX_LIBRARY_POSTS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedPicture:
    """A picture of a post, with the post's title and the time when it was saved."""

    file: str
    alt: str
    title: str
    saved_at: datetime

    @property
    def name(self) -> str:
        return self.file.partition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A post that its user is writing: the form as JSON.

    `post` is the post that it changes, None for a new one.
    """

    id: str
    post: str | None
    content: str
    updated_at: datetime


def make_draft_id() -> str:
    return secrets.token_urlsafe(DRAFT_ID_BYTES)


class Drafts(StorePart):
    """The drafts. Every method acts for one user, and touches no other user's drafts."""

    @in_transaction
    def create(
        self,
        transaction: Transaction,
        user: str,
        content: str,
        post: str | None = None,
        draft_id: str = "",
    ) -> Draft:
        """Store a draft, under the id that its page has for it.

        So a page makes one draft, however many of its checks are under way, and none after its
        post has been saved: NoSuchItemError is raised then. Raises RefusedError if it is too big,
        or the user has too many.
        """
        _require_size(content)
        connection, now = transaction.connection, self.runtime.now()
        known = connection.execute(
            select(DRAFT).where(DRAFT.c.id == draft_id)
        ).one_or_none()
        if known is not None and known.user == user:
            if known.deleted_at is not None:
                raise NoSuchItemError("draft", draft_id)
            values = {"content": content, "updated_at": now}
            connection.execute(
                update(DRAFT).where(DRAFT.c.id == draft_id).values(values)
            )
            return Draft(id=draft_id, post=known.post, content=content, updated_at=now)
        _require_room(connection, user)
        draft = Draft(
            id=draft_id if draft_id and known is None else make_draft_id(),
            post=post,
            content=content,
            updated_at=now,
        )
        row = {
            "id": draft.id,
            "user": user,
            "post": post,
            "content": content,
            "created_at": now,
            "updated_at": now,
        }
        connection.execute(insert(DRAFT).values(row))
        return draft

    @in_transaction
    def change(
        self,
        transaction: Transaction,
        draft: str,
        user: str,
        content: str,
        *,
        is_awaited: bool = False,
    ) -> datetime | None:
        """Replace the text of a draft. Return the time, or None if it is too soon.

        It is too soon if the user wrote one less than DRAFT_INTERVAL ago. A write that is awaited
        by its user, or that is the last of a page, is never too soon. Raises NoSuchItemError if the
        user has no such draft, and RefusedError if it is too big.
        """
        _require_size(content)
        connection, now = transaction.connection, self.runtime.now()
        newest = select(
            func.max(DRAFT.c.updated_at, type_=DRAFT.c.updated_at.type)
        ).where(_is_of(user))
        last = connection.scalar(newest)
        is_soon = last is not None and now - DRAFT_INTERVAL < last <= now
        if is_soon and not is_awaited:
            return None
        is_it = (DRAFT.c.id == draft, _is_of(user))
        changed = connection.execute(
            update(DRAFT).where(*is_it).values(content=content, updated_at=now)
        ).rowcount
        if not changed:
            raise NoSuchItemError("draft", draft)
        return now

    @in_transaction
    def delete(self, transaction: Transaction, draft: str, user: str) -> None:
        """Delete a draft, if the user has it. The last deleted drafts can be restored."""
        connection = transaction.connection
        is_other = (
            DRAFT.c.id != draft,
            DRAFT.c.user == user,
            DRAFT.c.deleted_at.is_not(None),
        )
        connection.execute(delete(DRAFT).where(*is_other))
        is_it = (DRAFT.c.id == draft, DRAFT.c.user == user)
        connection.execute(
            update(DRAFT).where(*is_it).values(deleted_at=self.runtime.now())
        )

    @in_transaction
    def restore(self, transaction: Transaction, draft: str, user: str) -> None:
        """Take back a draft that its user has deleted.

        Raises NoSuchItemError, or RefusedError if there are many.
        """
        connection = transaction.connection
        _require_room(connection, user)
        is_it = (
            DRAFT.c.id == draft,
            DRAFT.c.user == user,
            DRAFT.c.deleted_at.is_not(None),
        )
        if not connection.execute(
            update(DRAFT).where(*is_it).values(deleted_at=None)
        ).rowcount:
            raise NoSuchItemError("draft", draft)

    async def get(self, draft: str, user: str) -> Draft:
        """Return a draft. Raises NoSuchItemError if the user has no such draft."""
        query = select(DRAFT).where(DRAFT.c.id == draft, _is_of(user))
        row = await self.database.read(
            lambda connection: connection.execute(query).one_or_none()
        )
        if row is None:
            raise NoSuchItemError("draft", draft)
        return _to_draft(row)

    async def list(self, user: str) -> Sequence[Draft]:
        """Return the drafts of a user, the newest first."""
        query = select(DRAFT).where(_is_of(user)).order_by(DRAFT.c.updated_at.desc())
        return await self.database.read(
            lambda connection: list(map(_to_draft, connection.execute(query)))
        )


class Uploads(StorePart):
    """The recent picture uploads of users. They bound each user's share of the disk."""

    async def require_room(self, user: str, size: int) -> None:
        """Raise RefusedError if a user's uploads of a day are too large, or too many are unused.

        An unused picture is one that nothing names.
        """
        since = self.runtime.now() - timedelta(days=1)
        is_of_day = (UPLOAD.c.user == user, UPLOAD.c.at > since)
        of_day = select(func.coalesce(func.sum(UPLOAD.c.size), 0)).where(*is_of_day)
        files = select(UPLOAD.c.file).where(UPLOAD.c.user == user)
        uploaded = await self.database.read(
            lambda connection: connection.execute(of_day).scalar_one()
        )
        if uploaded + size > MAX_UPLOADED_BYTES_PER_DAY:
            raise RefusedError(
                "upload_too_much", most=str(MAX_UPLOADED_BYTES_PER_DAY // 2**20)
            )
        own = await self.database.read_scalars(files)
        if (
            len(own) >= MAX_UNUSED_UPLOADS
            and len(set(own) - await self.find_used()) >= MAX_UNUSED_UPLOADS
        ):
            raise RefusedError(
                "upload_too_many",
                most=str(MAX_UNUSED_UPLOADS),
                days=str(UPLOAD_GRACE.days),
            )

    @in_transaction
    def record(self, transaction: Transaction, user: str, file: str, size: int) -> None:
        """Record that a user has uploaded a picture; a second time it is as new."""
        connection, is_it = (
            transaction.connection,
            (UPLOAD.c.file == file, UPLOAD.c.user == user),
        )
        connection.execute(delete(UPLOAD).where(*is_it))
        connection.execute(
            insert(UPLOAD).values(
                file=file, user=user, size=size, at=self.runtime.now()
            )
        )

    async def find_used(self) -> set[str]:
        """Return the uploaded pictures named by a draft, a stored post, or the present schedule.

        The present schedule is the one in force.
        """
        newest = select(SCHEDULE.c.text).order_by(SCHEDULE.c.id.desc()).limit(1)
        posts, drafts = (
            select(column).where(column.contains("media/"))
            for column in (POST.c.body, DRAFT.c.content)
        )

        def read(connection: Connection) -> set[str]:
            texts = chain.from_iterable(
                connection.scalars(query) for query in (newest, posts, drafts)
            )
            return {name for text in texts for name in PICTURE_PATH.findall(text)}

        return await self.database.read(read)

    async def find_recent(
        self, accounts: Collection[AccountId] | None
    ) -> Sequence[UsedPicture]:
        """Return the pictures of the posts of LIBRARY_AGE, of the latest saved post first.

        The posts are on these accounts; None means all. A planned post counts too.
        """
        is_recent = exists().where(
            DELIVERY.c.post == POST.c.id,
            DELIVERY.c.due_at >= self.runtime.now() - LIBRARY_AGE,
            true() if accounts is None else DELIVERY.c.account.in_(accounts),
        )
        query = (
            select(POST.c.body, POST.c.in_force_since)
            .where(POST.c.body.contains('"media/'), is_recent)
            .order_by(POST.c.in_force_since.desc(), POST.c.id)
            .limit(MAX_LIBRARY_POSTS)
        )

        def read(connection: Connection) -> Sequence[UsedPicture]:
            posts = [
                (json.loads(row.body), row.in_force_since)
                for row in connection.execute(query)
            ]
            return [
                UsedPicture(
                    file=image["file"],
                    alt=image["alt"],
                    title=post["title"],
                    saved_at=saved_at,
                )
                for post, saved_at in posts
                for image in post["images"]
            ]

        return await self.database.read(read)


def delete_old_uploads(transaction: Transaction, now: datetime) -> None:
    transaction.connection.execute(
        delete(UPLOAD).where(UPLOAD.c.at < now - UPLOAD_GRACE)
    )


def delete_old_drafts(transaction: Transaction, now: datetime) -> None:
    is_old = or_(
        DRAFT.c.updated_at < now - DRAFT_LIFETIME,
        DRAFT.c.deleted_at < now - DELETED_DRAFT_LIFETIME,
    )
    transaction.connection.execute(delete(DRAFT).where(is_old))


def _is_of(user: str) -> ColumnElement[bool]:
    return and_(DRAFT.c.user == user, DRAFT.c.deleted_at.is_(None))


def _require_room(connection: Connection, user: str) -> None:
    number = connection.execute(
        select(func.count()).select_from(DRAFT).where(_is_of(user))
    ).scalar_one()
    if number >= MAX_DRAFTS_PER_USER:
        raise RefusedError("draft_too_many", most=str(MAX_DRAFTS_PER_USER))


def _require_size(content: str) -> None:
    if len(content.encode()) > MAX_DRAFT_BYTES:
        raise RefusedError("draft_too_big", most=str(MAX_DRAFT_BYTES // 1024))


def _to_draft(row: "Row[tuple[object, ...]]") -> Draft:
    return Draft(
        id=row.id, post=row.post, content=row.content, updated_at=row.updated_at
    )
