"""Deliveries of an account under another id of the same family."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, select, update

from publisher.domain.account import AccountId
from publisher.domain.delivery import OPEN_STATES
from publisher.domain.families import FamilyConflict
from publisher.domain.plan import Plan, PlannedDeliveries
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    OneTimeTrigger,
    Post,
    PostId,
    find_family,
)
from publisher.store.db.rows import (
    QUERY_BATCH_SIZE,
    batches,
    post_rows,
    read_family_members,
)
from publisher.store.db.tables import DELIVERY, load_post
from publisher.store.lost_attempts import orphaned_attempts
from publisher.store.plan.stored_posts import DELIVERY_COLUMNS, is_uncalled

Place = tuple[str, str, str]
"""A delivery: post, occurrence, account."""


def find_conflicts(
    connection: Connection, planned: Sequence[PlannedDeliveries], leaving: Plan
) -> Sequence[FamilyConflict]:
    """Return the planned deliveries whose account has, or may get, the words under another id.

    The rows are locked: an intent of another host is either seen here, or finds its delivery
    cancelled. Deliveries that the plan `leaving` takes away, and that were never called, do not
    count.
    """
    families = {find_family(item.post.id) for item in planned}
    members = read_family_members(connection, families)
    own = {item.post.id for item in planned}
    posts = [
        post
        for found in members.values()
        if len(found) > 1 or not own.issuperset(found)
        for post in found
    ]
    rows = lock_deliveries(connection, posts)
    stopped = read_stopped_posts(connection, posts)
    ended = find_ended(members, stopped)
    going = list_leaving(leaving)
    orphans = [
        (one.post, one.occurrence, one.account) for one in orphaned_attempts(connection)
    ]
    conflicts = []
    for item in planned:
        key, family = item.occurrence.key, find_family(item.post.id)
        for account in item.accounts:
            known = rows.get((family, account), ())
            if any(
                (row["post"], row["occurrence"]) == (key.post, key.occurrence)
                and row["state"] in OPEN_STATES
                for row in known
            ):
                continue  # it is only revised
            others = [
                row["post"]
                for row in known
                if has_same_words(item, row["post"], row["occurrence"])
                and is_in_the_way(row, going)
            ]
            others += [
                post.id
                for post in stopped
                if post.id != key.post
                and find_family(post.id) == family
                and (account in post.accounts or family in ended)
            ]
            others += [
                post
                for post, occurrence, name in orphans
                if name == account
                and find_family(post) == family
                and has_same_words(item, post, occurrence)
            ]
            if others:
                conflicts.append(
                    FamilyConflict(key=key, account=account, other=PostId(others[0]))
                )
    return conflicts


def follow_called_forms(
    connection: Connection, planned: Sequence[PlannedDeliveries]
) -> None:
    """Let follow-ups follow their original under the id by which their account got it.

    An original that was sent may have been given words for a region since, or lost them. Its present
    id has nothing out then, and a correction of it would be cancelled.
    """
    follow_ups = [item for item in planned if item.post.follows is not None]
    families = {find_family(item.post.follows or "") for item in follow_ups}
    if not families:
        return
    members = read_family_members(connection, families)
    forms = [post for found in members.values() for post in found]
    called: dict[tuple[str, str], set[str]] = defaultdict(set)
    for ids in batches(sorted(forms), QUERY_BATCH_SIZE):
        query = select(*DELIVERY_COLUMNS).where(DELIVERY.c.post.in_(ids))
        for row in connection.execute(query).mappings():
            if not is_uncalled(row):
                called[find_family(row["post"]), row["account"]].add(row["post"])
    for item in follow_ups:
        follows = item.post.follows or ""
        for account in item.accounts:
            found = called.get((find_family(follows), account), set())
            if found and follows not in found:
                key = item.occurrence.key
                is_it = (
                    DELIVERY.c.post == key.post,
                    DELIVERY.c.occurrence == key.occurrence,
                    DELIVERY.c.account == account,
                )
                values = {"follows": min(found)}
                connection.execute(update(DELIVERY).where(*is_it).values(values))


def lock_deliveries(
    connection: Connection, posts: Sequence[str]
) -> Mapping[tuple[str, AccountId], Sequence[RowMapping]]:
    """Return the deliveries of posts by family and account, and lock them."""
    found: dict[tuple[str, AccountId], list[RowMapping]] = defaultdict(list)
    for ids in batches(sorted(posts), QUERY_BATCH_SIZE):
        query = select(*DELIVERY_COLUMNS).where(DELIVERY.c.post.in_(ids))
        locked = query.order_by(DELIVERY.c.id).with_for_update()
        for row in connection.execute(locked).mappings():
            found[find_family(row["post"]), AccountId(row["account"])].append(row)
    return found


def read_stopped_posts(
    connection: Connection, posts: Sequence[PostId]
) -> Sequence[Post]:
    """Return the posts that people have cancelled, retracted or corrected."""
    return [load_post(row.body) for row in post_rows(connection, posts) if is_over(row)]


def is_over(row: Row[Any]) -> bool:
    return bool(row.is_cancelled or row.corrected_by)


def find_ended(
    members: Mapping[str, Sequence[PostId]], stopped: Sequence[Post]
) -> Collection[str]:
    """Return the families with no other stored post than those that people have stopped."""
    names = {post.id for post in stopped}
    return {
        family for family, found in members.items() if found and names.issuperset(found)
    }


def find_inherited_stops(
    connection: Connection, new: Collection[PostId]
) -> Mapping[str, Mapping[str, object]]:
    """Return by family how people have stopped it, if no post of it goes on.

    A `new` region of it is stopped from its beginning.
    """
    members = read_family_members(connection, {find_family(post) for post in new})
    rows = {
        row.id: row
        for row in post_rows(
            connection, [post for found in members.values() for post in found]
        )
    }
    return {
        family: {
            "is_cancelled": any(rows[post].is_cancelled for post in found),
            "corrected_by": next(
                filter(None, (rows[post].corrected_by for post in found)), None
            ),
        }
        for family, found in members.items()
        if found and all(is_over(rows[post]) for post in found)
    }


def list_leaving(plan: Plan) -> Collection[Place]:
    return {
        (target.key.post, target.key.occurrence, account)
        for target in plan.removed_targets
        for account in target.accounts
    }


def has_same_words(item: PlannedDeliveries, post: str, occurrence: str) -> bool:
    """Return True if a delivery of another id stands for the same words.

    A post that is due once has them in any other delivery. Of a repeating one, later occurrences
    have their turn.
    """
    if post == item.post.id:
        return False
    return isinstance(item.post.trigger, OneTimeTrigger) or occurrence in {
        item.occurrence.key.occurrence,
        ONCE_OCCURRENCE,
    }


def is_in_the_way(row: RowMapping, going: Collection[Place]) -> bool:
    """Return True if a delivery was or may be called, will be, or a person has ended it."""
    if not is_uncalled(row):
        return True
    place = (row["post"], row["occurrence"], row["account"])
    return row["state"] in OPEN_STATES and place not in going
