"""Who saved which post into schedule.toml, kept from before the file changes until retention.

Any process may put the new file in force, so it learns here whose words they are: nobody may approve their own.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import Connection, delete, func, insert, select

from publisher.domain.delivery import Actor
from publisher.domain.post import Post, PostId
from publisher.store.base import StorePart
from publisher.store.db.approval_tables import POST_SAVE
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.rows import batches, write_audit
from publisher.store.db.tables import SCHEDULE, dump_post

SAVES_KEPT = timedelta(days=30)
"""How long a save is kept: a file that is not put in force by then was given up. The audit keeps it for good."""
POSTS_PER_QUERY = 500


def hash_text(text: str) -> str:
    """Return the hash by which a version of the schedule is known; `text` has no byte-order mark and no CRLF."""
    return sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostSave:
    """One post as a person saves it, None if it is removed; `fields` are those that change.

    The file's whole text becomes `text`; it was made from the schedule version `base_version`.
    """

    id: PostId
    post: Post | None
    text: str
    base_version: int
    fields: Collection[str]

    @property
    def event(self) -> str:
        return "post_removed" if self.post is None else "post_saved"


class PostSaves(StorePart):
    @in_transaction
    def record(self, transaction: Transaction, save: PostSave, by: Actor) -> None:
        """Record a save that is about to be made, with its audit entry."""
        now, text_sha256 = self.runtime.now(), hash_text(save.text)
        row = {
            "at": now,
            "by": by.name,
            "post": save.id,
            "body_sha256": _hash_body(save.post) if save.post else "",
            "text_sha256": text_sha256,
            "base_version": save.base_version,
        }
        transaction.connection.execute(insert(POST_SAVE).values(row))
        detail = {"schedule": text_sha256, "fields": sorted(save.fields)}
        write_audit(transaction, now, by, event=save.event, subject=save.id, detail=detail)

    @in_transaction
    def record_failure(self, transaction: Transaction, post: PostId, by: Actor, reason: str) -> None:
        """Record that a save which was recorded did not reach the file."""
        detail = {"reason": reason}
        write_audit(transaction, self.runtime.now(), by, event="post_save_failed", subject=post, detail=detail)

    async def last_saver(self, post: PostId) -> tuple[str, datetime] | None:
        """Return who saved a post last, and when; None if nobody has within SAVES_KEPT."""
        query = select(POST_SAVE.c.by, POST_SAVE.c.at).where(POST_SAVE.c.post == post).order_by(POST_SAVE.c.id.desc())
        row = await self.database.read(lambda connection: connection.execute(query.limit(1)).first())
        return None if row is None else (row.by, row.at)

    async def is_superseded(self, text: str) -> bool:
        """Return True if a person saved this text on top of a version that another host has replaced meanwhile.

        Only where hosts share a database: each of them has a file of its own.
        """
        based_on = select(func.max(POST_SAVE.c.base_version)).where(POST_SAVE.c.text_sha256 == hash_text(text))
        newest = select(SCHEDULE.c.id, SCHEDULE.c.sha256).order_by(SCHEDULE.c.id.desc()).limit(1)

        def read(connection: Connection) -> bool:
            version, active = connection.scalar(based_on), connection.execute(newest).first()
            if version is None or active is None or active.sha256 == hash_text(text):
                return False
            return bool(version < active.id)

        return self.database.is_shared and await self.database.read(read)


def find_savers(connection: Connection, posts: Sequence[Post]) -> Mapping[PostId, str]:
    """Return who saved these posts exactly as they are, last; those that nobody did are left out."""
    bodies = {post.id: _hash_body(post) for post in posts}
    savers: dict[PostId, str] = {}
    for ids in batches(sorted(bodies), POSTS_PER_QUERY):
        query = select(POST_SAVE).where(POST_SAVE.c.post.in_(ids)).order_by(POST_SAVE.c.id)
        savers |= {row.post: row.by for row in connection.execute(query) if row.body_sha256 == bodies[row.post]}
    return savers


def delete_old_saves(before: datetime, transaction: Transaction) -> None:
    transaction.connection.execute(delete(POST_SAVE).where(POST_SAVE.c.at < before))


def _hash_body(post: Post) -> str:
    return sha256(dump_post(post).encode()).hexdigest()
