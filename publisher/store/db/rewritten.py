"""Refused deliveries that a person has written again since, as a copy for the same account.

The copy is published, or under way. To send the refused text again would double it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection, func, or_, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import OPEN_STATES, State
from publisher.domain.post import PostId, find_family
from publisher.store.db.approval_tables import POST_SAVE
from publisher.store.db.filters import in_open_state, in_state
from publisher.store.db.rows import batches, read_family_members
from publisher.store.db.tables import DELIVERY, SCHEDULE

NAMES_PER_QUERY = 500


class RefusedRow(Protocol):
    """A row of a delivery that a platform refused."""

    post: str
    account: str
    due_at: datetime


def find_rewritten(
    connection: Connection, refused: Iterable[RefusedRow]
) -> Mapping[tuple[PostId, AccountId], PostId]:
    """Return the copy that stands for each refused delivery, by its post and account.

    A copy counts if it was begun after the refused text was due. Saves have the ids that people
    write, and deliveries the ids of regions.
    """
    rows = list(refused)
    copies: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
    names = {name for row in rows for name in (row.post, find_family(row.post))}
    for some in batches(sorted(names), NAMES_PER_QUERY):
        query = select(POST_SAVE).where(POST_SAVE.c.copied_from.in_(some))
        for save in connection.execute(query):
            copies[save.copied_from].append((save.post, save.at))
    saved = {post for found in copies.values() for post, _at in found}
    standing = read_standing(connection, saved) if saved else {}
    return {
        (PostId(row.post), AccountId(row.account)): standing[copy, row.account]
        for row in rows
        for copied in {row.post, find_family(row.post)}
        for copy, at in copies.get(copied, ())
        if at > row.due_at and (copy, row.account) in standing
    }


def has_waiting_copy(connection: Connection, post: str) -> bool:
    """Return True if a person has saved a copy of a post that is not in force yet.

    Its accounts are known once it is. A save counts until the next version of the schedule.
    """
    in_force = func.coalesce(select(func.max(SCHEDULE.c.id)).scalar_subquery(), 0)
    names = {post, find_family(post)}
    copies = select(POST_SAVE.c.post).where(POST_SAVE.c.copied_from.in_(names))
    query = select(POST_SAVE.c.post, POST_SAVE.c.body_sha256).where(
        POST_SAVE.c.post.in_(copies), POST_SAVE.c.base_version >= in_force
    )
    newest = {
        save.post: save.body_sha256
        for save in connection.execute(query.order_by(POST_SAVE.c.id))
    }
    return any(newest.values())  # a removed post has no body


def read_standing(
    connection: Connection, families: Iterable[str]
) -> Mapping[tuple[str, str], PostId]:
    """Return the posts with a delivery that is published or under way, by family and account."""
    members = read_family_members(connection, set(families))
    posts = [post for found in members.values() for post in found]
    is_standing = or_(
        in_open_state(DELIVERY, *sorted(OPEN_STATES)),
        in_state(DELIVERY, State.PUBLISHED),
    )
    found: dict[tuple[str, str], PostId] = {}
    for some in batches(sorted(posts), NAMES_PER_QUERY):
        query = select(DELIVERY.c.post, DELIVERY.c.account)
        for row in connection.execute(
            query.where(DELIVERY.c.post.in_(some), is_standing)
        ):
            found[find_family(row.post), row.account] = PostId(row.post)
    return found
