"""The savers of posts into schedule.toml, kept from before the file changes until retention.

Any process may put the new file in force, so it learns here the authors of the words. Nobody may
approve their own words. With a post, the writers since it began are kept. A later save does not
give earlier words to another person.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Protocol

from sqlalchemy import Connection, Row, delete, exists, func, insert, select, update

from publisher.domain.approval import LEFT_OUT
from publisher.domain.delivery import Actor
from publisher.domain.post import (
    Fingerprint,
    Post,
    PostId,
    find_family,
    fingerprint,
)
from publisher.store.approvals.guard import read_approved_presentations
from publisher.store.base import BaseStore, StorePart
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.approval_tables import POST_SAVE
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.rows import (
    batches,
    clear_alerts,
    post_rows,
    raise_alert,
    read_family_members,
    write_audit,
)
from publisher.store.db.tables import POST, SCHEDULE, dump_post, load_post

SAVES_KEPT = timedelta(days=30)
"""The time that a save is kept.

A file that is not put in force by then was given up. The audit keeps the save for good.
"""
POSTS_PER_QUERY = 500
SAVE_LOST = "save_lost"
"""Code of the alert; its subject is the code and the post."""


def hash_text(text: str) -> str:
    """Return the hash that names a version of the schedule.

    `text` has no byte-order mark and no CRLF.
    """
    return sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostSave:
    """One post as a person saves it. `fields` are the changed ones.

    `members` are the post itself, or those of its family; none if it is removed.

    The file's whole text `base_text` becomes `text`. It was made from the schedule version
    `base_version`. The system user `file_owner` owns the file. The post was begun as a copy of
    `copied_from`, if of any, with the content of this hash. It is empty if the post was not in
    force.
    """

    id: PostId
    members: Sequence[Post]
    text: str
    base_text: str
    base_version: int
    fields: Collection[str]
    file_owner: str | None = None
    copied_from: PostId | None = None
    copied_hash: str = ""

    @property
    def growth(self) -> int:
        """By how many bytes the file becomes larger; below zero if it becomes smaller."""
        return len(self.text.encode()) - len(self.base_text.encode())

    @property
    def event(self) -> str:
        return "post_saved" if self.members else "post_removed"


class PostSaves(StorePart):
    @in_transaction
    def record(self, transaction: Transaction, save: PostSave, by: Actor) -> None:
        """Record a save that is about to be made, with its audit entry."""
        now, text_sha256 = self.runtime.now(), hash_text(save.text)
        hands = _find_hands_before(transaction.connection, save)
        row = {
            "at": now,
            "by": by.name,
            "post": save.id,
            "body_sha256": hash_bodies(save.members),
            "text_sha256": text_sha256,
            "base_version": save.base_version,
            "base_sha256": hash_text(save.base_text),
            "growth": save.growth,
            "copied_from": save.copied_from,
            "copied_hash": save.copied_hash,
            "file_owners": json.dumps(hands, ensure_ascii=False),
        }
        transaction.connection.execute(insert(POST_SAVE).values(row))
        clear_alerts(transaction, f"{SAVE_LOST}:{save.id}", now, SAVE_LOST)
        others = {"copied_from": save.copied_from, "file_owners": hands}
        known = {name: value for name, value in others.items() if value}
        detail = {"schedule": text_sha256, "fields": sorted(save.fields), **known}
        write_audit(
            transaction, now, by, event=save.event, subject=save.id, detail=detail
        )

    @in_transaction
    def record_failure(
        self, transaction: Transaction, post: PostId, by: Actor, reason: str
    ) -> None:
        """Record that a recorded save did not reach the file."""
        detail = {"reason": reason}
        write_audit(
            transaction,
            self.runtime.now(),
            by,
            event="post_save_failed",
            subject=post,
            detail=detail,
        )

    async def last_saver(self, post: PostId) -> tuple[str, datetime] | None:
        """Return the last saver of a post, and the time.

        Return None if nobody has saved it within SAVES_KEPT.
        """
        is_recent = POST_SAVE.c.at >= self.runtime.now() - SAVES_KEPT
        query = select(POST_SAVE.c.by, POST_SAVE.c.at).where(
            POST_SAVE.c.post == post, is_recent
        )
        query = query.order_by(POST_SAVE.c.id.desc())
        row = await self.database.read(
            lambda connection: connection.execute(query.limit(1)).first()
        )
        return None if row is None else (row.by, row.at)

    async def growth_since(self, person: str, since: datetime) -> int:
        """Return the bytes by which a person's saves since an instant have made the file larger."""
        query = select(func.coalesce(func.sum(POST_SAVE.c.growth), 0))
        query = query.where(POST_SAVE.c.by == person, POST_SAVE.c.at >= since)
        return int(await self.database.read_scalar(query) or 0)

    async def count_since(self, person: str, since: datetime) -> int:
        """Return how often a person has saved since an instant."""
        query = select(func.count(POST_SAVE.c.id)).where(
            POST_SAVE.c.by == person, POST_SAVE.c.at >= since
        )
        return await self.database.read(
            lambda connection: connection.execute(query).scalar_one()
        )

    async def posts_saved_in(self, text: str) -> frozenset[PostId]:
        """Return the posts that people saved, or removed, one by one up to a text.

        The saves begin at the version in force.
        """
        newest = select(SCHEDULE.c.sha256).order_by(SCHEDULE.c.id.desc()).limit(1)

        def read(connection: Connection) -> frozenset[PostId]:
            active, digest, seen = (
                connection.scalar(newest),
                hash_text(text),
                dict[str, PostId](),
            )
            while (
                digest not in {active, *seen}
                and (save := _find_save_of(connection, digest)) is not None
            ):
                seen[digest], digest = PostId(save.post), save.base_sha256
            return frozenset(seen.values())

        return await self.database.read(read)

    async def is_in_force(self, digest: str, since: int) -> bool:
        """Return True if the text of this hash is in force, or was since the version `since`.

        The daemon may have read a later text only, which people made from it by further saves.
        """
        versions = select(SCHEDULE.c.sha256).where(SCHEDULE.c.id >= since)
        saves = select(POST_SAVE.c.text_sha256, POST_SAVE.c.base_sha256)
        saves = saves.where(POST_SAVE.c.base_version >= since)

        def read(connection: Connection) -> bool:
            found = set(connection.scalars(versions))
            bases: dict[str, set[str]] = defaultdict(set)
            for row in connection.execute(saves):
                bases[row.text_sha256].add(row.base_sha256)
            waiting = list(found)
            while waiting:
                new = bases[waiting.pop()] - found
                found |= new
                waiting += new
            return digest in found

        return await self.database.read(read)

    async def is_superseded(self, text: str) -> bool:
        """Return True if this text was saved on top of a version replaced by another host.

        It applies only if hosts share a database. Each host has a file of its own. Saves made one
        after the other before the first is in force have the same base version. So the text that
        each was made from decides.
        """
        newest = (
            select(SCHEDULE.c.id, SCHEDULE.c.sha256)
            .order_by(SCHEDULE.c.id.desc())
            .limit(1)
        )

        def read(connection: Connection) -> bool:
            active, digest = connection.execute(newest).first(), hash_text(text)
            if (
                active is None
                or active.sha256 == digest
                or _find_save_of(connection, digest) is None
            ):
                return False
            return not _is_made_from(connection, digest, active.id, active.sha256)

        return self.database.is_shared and await self.database.read(read)

    @in_transaction
    def report_lost(self, transaction: Transaction, text: str) -> None:
        """Raise an alert for each post that was saved into a superseded text, once a save.

        Its person believes that it is in the schedule. The alert ends when the post is saved again.
        """
        now, digest, seen = self.runtime.now(), hash_text(text), set[str]()
        connection = transaction.connection
        while digest not in seen and (save := _find_save_of(connection, digest)):
            seen.add(digest)
            digest = save.base_sha256
            subject = f"{SAVE_LOST}:{save.post}"
            known = select(ALERT.c.id).where(
                ALERT.c.subject == subject, ALERT.c.at >= save.at
            )
            if connection.scalar(known.limit(1)) is None:
                facts = {"post": save.post, "by": save.by}
                raise_alert(transaction, now, SAVE_LOST, subject, facts)


class PostSource(Protocol):
    """Where posts come from: a person has saved them, or a file of this owner has them.

    `schedule_text` is the whole file if it comes into force, in the place of the version
    `base_version`.
    """

    @property
    def schedule_text(self) -> str | None: ...
    @property
    def base_version(self) -> int | None: ...
    @property
    def saved_by(self) -> str | None: ...
    @property
    def file_owner(self) -> str | None: ...


def find_savers(connection: Connection, posts: Sequence[Post]) -> Mapping[PostId, str]:
    """Return the last savers of these posts exactly as they are.

    Posts without a saver are left out.
    """
    bodies = {post.id: _hash_body(post) for post in posts}
    of_family: dict[str, list[PostId]] = defaultdict(list)
    for post in bodies:
        of_family[find_family(post)].append(post)
    savers: dict[PostId, str] = {}
    for names in batches(sorted(of_family), POSTS_PER_QUERY):
        query = (
            select(POST_SAVE)
            .where(POST_SAVE.c.post.in_(names))
            .order_by(POST_SAVE.c.id)
        )
        for row in connection.execute(query):
            hashes = row.body_sha256.split()
            for post in of_family[row.post]:
                if bodies[post] in hashes:
                    savers[post] = row.by
    return savers


@dataclass(slots=True, kw_only=True)
class PostWriters:
    """All writers of a post, each with the presentations approved since.

    A text that is approved in some presentations is everybody's in these. The words in other
    presentations are still its writers'. Saves after `last_save` may not be in force. They are read
    each time, as the approvals are of an older text.
    """

    approved: dict[str, frozenset[str]] = field(default_factory=dict)
    last_save: int = 0

    def leave_out(self, *people: str) -> None:
        """Note the writers of words that the version in force has and the post itself lacks.

        They are words of the post.
        """
        self.approved |= dict.fromkeys(people, frozenset([LEFT_OUT]))

    def take_over(self) -> None:
        """Make the left-out words part of the present text."""
        written = {
            person: frozenset[str]()
            for person, approved in self.approved.items()
            if LEFT_OUT in approved
        }
        self.approved |= written

    def add(self, *people: str | None) -> "PostWriters":
        """Note the writers of the present text. Return all of them."""
        for person in filter(None, people):
            self.approved[person] = self.approved.get(person, frozenset()) & {LEFT_OUT}
        return self

    def join(self, source: "PostWriters", *, is_same: bool = True) -> None:
        """Note the writers of the words taken over from another post.

        Its approvals count if `is_same` as then.
        """
        for person, known in source.approved.items():
            approved = known if is_same else known & {LEFT_OUT}
            self.approved[person] = self.approved.get(person, approved) & approved

    def dump(self) -> str:
        return json.dumps(
            {name: sorted(approved) for name, approved in self.approved.items()},
            ensure_ascii=False,
        )


@dataclass(slots=True, kw_only=True)
class _Saves:
    """The writers of a post as stored, its saves since, and the hash of its present content."""

    stored: PostWriters = field(default_factory=PostWriters)
    content_hash: str | None = None
    rows: list[Row[Any]] = field(default_factory=list)

    @property
    def sources(self) -> set[str]:
        """The posts that this one was copied from."""
        return {
            row.copied_from
            for row in self.rows
            if row.copied_from not in {None, row.post}
        }


def read_writers(
    store: BaseStore, connection: Connection, posts: Collection[str]
) -> Mapping[str, PostWriters]:
    """Return the writers of posts, with all saves until now, and lock their rows.

    The writers of a post have written its copies too, and the copies of these. Each post is read
    once, however often it was copied.
    """
    saves: dict[str, _Saves] = {}
    waiting = set(posts)
    while waiting:
        read = _read_saves(store, connection, waiting)
        saves |= read
        sources = {name for found in read.values() for name in found.sources}
        families = set(map(find_family, sources))
        of_families = read_family_members(connection, families).values()
        waiting = sources.union(*of_families) - saves.keys()
    members: dict[str, list[str]] = defaultdict(list)
    for post in saves:
        members[find_family(post)].append(post)
    writers: dict[str, PostWriters] = {}
    before: dict[str, PostWriters] | None = None
    # a chain of copies is done after one round, a circle after more: people are only added, and
    # their approvals only taken away, so the rounds end
    while writers != before:
        before = dict(writers)
        for post in reversed(saves):
            writers[post] = _join_saves(saves, post, writers, members)
    return {post: writers[post] for post in posts}


def _read_saves(
    store: BaseStore, connection: Connection, posts: Collection[str]
) -> Mapping[str, _Saves]:
    """Read and lock the rows of posts, and read their saves that are not in these rows."""
    approved = read_approved_presentations(store, connection, posts)
    found = {post: _Saves() for post in sorted(posts)}
    of_family: dict[str, list[_Saves]] = defaultdict(list)
    for post, own in found.items():
        of_family[find_family(post)].append(own)
    for ids in batches(sorted(posts), POSTS_PER_QUERY):
        columns = select(
            POST.c.id, POST.c.writers, POST.c.last_save, POST.c.content_hash
        )
        for row in connection.execute(
            columns.where(POST.c.id.in_(ids)).order_by(POST.c.id).with_for_update()
        ):
            names = {
                name: _join_approved(known, approved.get(row.id, ()))
                for name, known in _load(row.writers)
            }
            found[row.id].stored = PostWriters(approved=names, last_save=row.last_save)
            found[row.id].content_hash = row.content_hash
    for families in batches(sorted(of_family), POSTS_PER_QUERY):
        saves = select(POST_SAVE).where(
            POST_SAVE.c.post.in_(families), POST_SAVE.c.body_sha256 != ""
        )
        for save in connection.execute(saves.order_by(POST_SAVE.c.id)):
            for own in of_family[save.post]:
                if save.id > own.stored.last_save:
                    own.rows.append(save)
    return found


def _join_saves(
    saves: Mapping[str, _Saves],
    post: str,
    writers: Mapping[str, PostWriters],
    members: Mapping[str, Sequence[str]],
) -> PostWriters:
    """Return the writers of a post by its saves, and by the writers of its sources so far."""
    own = saves[post]
    joined = PostWriters(
        approved=dict(own.stored.approved), last_save=own.stored.last_save
    )
    for save in own.rows:
        copied = save.copied_from if save.copied_from != save.post else None
        for name in members.get(find_family(copied), ()) if copied else ():
            if (source := writers.get(name)) is not None:
                is_same = saves[name].content_hash == save.copied_hash
                joined.join(source, is_same=is_same)
        joined.add(save.by, *json.loads(save.file_owners))
    return joined


def find_writers(
    store: BaseStore,
    connection: Connection,
    posts: Sequence[Post],
    new: Collection[PostId],
) -> Mapping[str, PostWriters]:
    """Return the writers of these posts until now.

    A `new` post with the words of a stored one is a copy of it. A new member of a family, or a
    post that was one, has the words of the family's stored posts. A post that takes over words from
    another one of its family has the writers of these.
    """
    writers = read_writers(store, connection, [post.id for post in posts])
    of_new = set(map(find_family, new))
    families = {find_family(post.id) for post in posts}
    siblings = {
        family: names
        for family, names in read_family_members(connection, families).items()
        if len(names) > 1 or family in of_new
    }
    forms = [name for names in siblings.values() for name in names]
    known = read_writers(store, connection, forms)
    bodies = {row.id: load_post(row.body) for row in post_rows(connection, forms)}
    for post in posts:
        before = bodies.get(post.id)
        for name in siblings.get(find_family(post.id), ()):
            if post.id in new or takes_over(post, before, bodies[name]):
                writers[post.id].join(known[name], is_same=False)
    copies: dict[Fingerprint, list[PostId]] = defaultdict(list)
    for post in posts:
        if post.id in new:
            copies[hash_words(post)].append(post.id)
    for hashes in batches(sorted(copies), POSTS_PER_QUERY):
        same = connection.execute(
            select(POST.c.id, POST.c.words_hash).where(POST.c.words_hash.in_(hashes))
        ).all()
        sources = read_writers(store, connection, [row.id for row in same])
        writers_of_words = {words: PostWriters() for words in hashes}
        for row in same:
            writers_of_words[row.words_hash].join(sources[row.id])
        for words, joined in writers_of_words.items():
            for copy in copies[words]:
                writers[copy].join(joined)
    return writers


def find_authorship(
    store: BaseStore,
    connection: Connection,
    posts: Sequence[Post],
    stored: Collection[str],
    source: PostSource,
) -> Mapping[PostId, Mapping[str, object]]:
    """Return the authorship columns of posts that are written now.

    Only saves that the schedule's text is made from count for good. A later save may be recorded
    already.
    """
    hands, savers = _find_hands_of(connection, source), find_savers(connection, posts)
    made = (
        None
        if source.schedule_text is None
        else _find_save_of(connection, hash_text(source.schedule_text))
    )
    found: dict[PostId, Mapping[str, object]] = {}
    all_writers = find_writers(
        store, connection, posts, {post.id for post in posts}.difference(stored)
    )
    for post in posts:
        saved_by, writers = source.saved_by or savers.get(post.id), all_writers[post.id]
        if source.schedule_text is not None:
            writers.take_over()
        people = [saved_by] if saved_by else [*hands, source.file_owner]
        found[post.id] = {
            "saved_by": saved_by,
            "file_owner": None if saved_by else [source.file_owner, *hands][-1],
            "writers": writers.add(post.author, *people).dump(),
            "last_save": max(writers.last_save, made.id if made is not None else 0),
            "words_hash": hash_words(post),
        }
    return found


def note_left_out(
    store: BaseStore,
    transaction: Transaction,
    posts: Collection[str],
    source: PostSource,
) -> None:
    """Note the writers of a version's words about posts that stay as they are.

    A later save may take these words along. A save of such a post itself is read again when its
    post is written.
    """
    if source.schedule_text is None or not posts:
        return
    hands = _find_hands_of(transaction.connection, source)
    for post, writers in read_writers(store, transaction.connection, posts).items():
        writers.leave_out(*hands)
        transaction.connection.execute(
            update(POST).where(POST.c.id == post).values(writers=writers.dump())
        )


def add_writers(
    store: BaseStore, transaction: Transaction, people: Mapping[str, str]
) -> None:
    """Note the people that put another text into some posts without a save."""
    for post, writers in read_writers(store, transaction.connection, people).items():
        values = {"writers": writers.add(people[post]).dump()}
        transaction.connection.execute(
            update(POST).where(POST.c.id == post).values(values)
        )


def hash_words(post: Post) -> Fingerprint:
    """Return the hash of the words that people wrote in a post to be read.

    It is equal for a copy with any number and time.
    """
    texts = {str(platform): text for platform, text in post.text_by_platform.items()}
    pictures = _list_pictures(post)
    return fingerprint([post.title, post.body, pictures, texts, dict(post.data)])


def _list_pictures(post: Post) -> list[dict[str, str]]:
    return [{"file": image.file, "alt": image.alt} for image in post.images]


def takes_over(post: Post, before: Post | None, other: Post) -> bool:
    """Return True if another post has words that a post did not have `before`."""
    if before is None or other.id == post.id:
        return False
    changed = _list_words(post).items() - _list_words(before).items()
    return not changed.isdisjoint(_list_words(other).items())


def _list_words(post: Post) -> Mapping[str, str]:
    """Return the words of people in each field of a post."""
    texts = {
        f"text.{platform}": text for platform, text in post.text_by_platform.items()
    }
    data = {
        f"data.{name}": json.dumps(value, default=str, sort_keys=True)
        for name, value in post.data.items()
    }
    pictures = {"images": json.dumps(_list_pictures(post))} if post.images else {}
    words = {"title": post.title, "body": post.body, **texts, **data, **pictures}
    return {name: text for name, text in words.items() if text}


def _join_approved(known: Sequence[str], present: Collection[str]) -> frozenset[str]:
    """Return the presentations of a person's approved words, with the present text's approvals.

    These approvals do not cover the words that the present text left out.
    """
    return frozenset(known) if LEFT_OUT in known else frozenset([*known, *present])


def _load(writers: str) -> Collection[tuple[str, Sequence[str]]]:
    known: dict[str, Sequence[str]] = json.loads(writers)
    return known.items()


def _find_hands_of(connection: Connection, source: PostSource) -> Sequence[str]:
    """Return all file owners that may have changed unsaved parts, the last one at the end."""
    if source.schedule_text is None:
        return () if source.file_owner is None else (source.file_owner,)
    return _find_hands(
        connection, source.schedule_text, source.base_version, source.file_owner
    )


def _find_hands_before(connection: Connection, save: PostSave) -> Sequence[str]:
    """Return the file owners with changes that are not in force yet, and come along with a save."""
    in_force = select(SCHEDULE.c.sha256).order_by(SCHEDULE.c.id.desc()).limit(1)
    if connection.scalar(in_force) == hash_text(save.base_text):
        return ()
    return _find_hands(connection, save.base_text, save.base_version, save.file_owner)


def _find_hands(
    connection: Connection, text: str, base_version: int | None, file_owner: str | None
) -> Sequence[str]:
    """Return the file owners that changed it into this text since a version, except by saves.

    A save took its text over with the earlier owners' changes. A text that nobody saved is its
    owner's, and that of all owners since the version.
    """
    if (made := _find_save_of(connection, hash_text(text))) is not None:
        return tuple(json.loads(made.file_owners))
    since = (
        select(POST_SAVE.c.file_owners)
        .where(POST_SAVE.c.base_version == base_version)
        .order_by(POST_SAVE.c.id)
    )
    hands = [hand for hands in connection.scalars(since) for hand in json.loads(hands)]
    return tuple(dict.fromkeys(filter(None, [*hands, file_owner])))


def _find_save_of(connection: Connection, digest: str) -> Row[Any] | None:
    """Return the last save that made the file a text of this hash."""
    query = (
        select(POST_SAVE)
        .where(POST_SAVE.c.text_sha256 == digest)
        .order_by(POST_SAVE.c.id.desc())
    )
    return connection.execute(query.limit(1)).first()


def delete_old_saves(transaction: Transaction, before: datetime) -> None:
    """Forget old saves, except for the newest one.

    SQLite would number the next one from 1, as if it were counted.
    """
    newest = select(func.max(POST_SAVE.c.id)).scalar_subquery()
    transaction.connection.execute(
        delete(POST_SAVE).where(
            POST_SAVE.c.at < before,
            POST_SAVE.c.id < newest,
            POST_SAVE.c.copied_from.is_(None),
        )
    )


def _is_made_from(
    connection: Connection, digest: str, version: int, active: str
) -> bool:
    """Return True if saves lead from the active version to a text of the hash `digest`.

    `active` is the hash of the active version.
    """
    pending, seen = [digest], set[str]()
    while pending:
        seen.add(text := pending.pop())
        for save in _read_saves_of(connection, text):
            if save.base_version >= version or save.base_sha256 == active:
                return True
            if save.base_sha256 not in seen:
                pending.append(save.base_sha256)
    return False


def _read_saves_of(connection: Connection, digest: str) -> Sequence[Row[Any]]:
    """Return the saves that made a text of this hash.

    They are left out if the text was in force and has been replaced since.
    """
    replaced = exists().where(
        SCHEDULE.c.sha256 == digest, SCHEDULE.c.id > POST_SAVE.c.base_version
    )
    return connection.execute(
        select(POST_SAVE).where(POST_SAVE.c.text_sha256 == digest, ~replaced)
    ).all()


def hash_bodies(posts: Sequence[Post]) -> str:
    """Return the hashes of a saved post's members, empty if there are none."""
    return " ".join(map(_hash_body, posts))


def _hash_body(post: Post) -> str:
    return sha256(dump_post(post).encode()).hexdigest()
