"""What has been accepted: versions of the schedule, posts, and the deliveries filed for them.

A planning round in portions: what changes or joins what is filed comes first, and with it what is new, to a bound.

Of very much the rest follows, and between portions others get their turn. A new occurrence that a death keeps from
being filed is filed by the next round, as one whose time has just come within reach.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from publisher.domain.account import AccountId
from publisher.domain.delivery import OPEN_STATES, REVISABLE_STATES, Delivery, DesiredState, State
from publisher.domain.errors import RefusedError
from publisher.domain.events import PLANNER, Actor, Cancelled, Revised, Role
from publisher.domain.plan import Plan, PlannedDeliveries, StoredPosts
from publisher.domain.policy import AccountPolicy
from publisher.domain.post import OneTimeTrigger, Post, PostId, format_delivery_name
from publisher.domain.rendered import Fingerprint, RenderedPost, RenderedRevision
from publisher.domain.results import RESULT_CODES, NotSent
from publisher.store.audit.append import (
    audit_entry,
    clear_alerts,
    lock_planning,
    raise_alert,
    write_audit,
    write_entries,
)
from publisher.store.db.database import ConcurrentUpdateError, Transaction
from publisher.store.db.mappers import (
    ALERT,
    ATTEMPT,
    DELIVERY,
    LOGIN,
    MEDIA,
    POST,
    RENDERED_POST,
    SCHEDULE,
    WORKER_STATE,
    dump_post,
    dump_rendered_post,
    load_post,
    to_delivery,
)
from publisher.store.db.tables import UNIX_EPOCH
from publisher.store.plan.stored_posts import REMOVAL_REASONS, post_rows, read_stored_posts
from publisher.store.recovery.identity import set_worker_state
from publisher.store.recovery.recover import (
    attach_orphans,
    covers_new_posts,
    mark_new_unresolved,
    orphaned_attempts,
    trust_schedule,
)
from publisher.store.store import Store

FIRST_BATCH_SIZE = 1000
"""New deliveries that come into force with their version, in one transaction: half a second's work where it is slow."""
NEXT_BATCH_SIZE = 100
"""Deliveries of what is left that are written together: a twentieth of a second's work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedOccurrence:
    """A filing with its final texts, ready to be written."""

    planned: PlannedDeliveries
    revision: RenderedRevision


def split_into_batches(rendered: Sequence[RenderedOccurrence]) -> Sequence[Sequence[RenderedOccurrence]]:
    """Part drafts, at least into one portion. An occurrence is never parted, nor does it come before what it follows.

    What is urgent comes first, then what is due first.
    """
    ordered = list(_originals_first(sorted(rendered, key=_sort_key)))
    together = max((number for number, item in enumerate(ordered, 1) if not _can_be_deferred(item)), default=0)
    portions = [ordered[:together]]
    size, most = 0, FIRST_BATCH_SIZE
    for item in ordered[together:]:
        size += len(item.planned.accounts)
        if size > most and portions[-1]:
            most = NEXT_BATCH_SIZE
            portions.append([])
            size = len(item.planned.accounts)
        portions[-1].append(item)
    return portions


def _can_be_deferred(rendered: RenderedOccurrence) -> bool:
    """Whether it may be filed later than the version of the schedule that names it comes into force."""
    return rendered.planned.is_new and not rendered.planned.is_late_addition


def _sort_key(rendered: RenderedOccurrence) -> tuple[object, ...]:
    return _can_be_deferred(rendered), not rendered.planned.post.is_urgent, rendered.planned.occurrence.due_at


def _originals_first(rendered: Sequence[RenderedOccurrence]) -> Iterator[RenderedOccurrence]:
    """Give drafts in their order, but each after those of the post that its own follows."""
    left: dict[PostId, list[RenderedOccurrence]] = defaultdict(list)
    for item in rendered:
        left[item.planned.post.id].append(item)
    given: set[int] = set()
    for item in rendered:
        chain = [item.planned.post]
        while (originals := left.get(chain[-1].follows or PostId(""))) and originals[0].planned.post not in chain:
            chain.append(originals[0].planned.post)
        for one in [*(one for post in reversed(chain[1:]) for one in left.pop(post.id)), item]:
            if id(one) not in given:
                given.add(id(one))
                yield one


NEWEST_VERSION = select(func.coalesce(func.max(SCHEDULE.c.id), 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditAction:
    """What a person ordered, for the audit: it is written together with what comes of it."""

    event: str
    subject: str
    by: Actor
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCommit:
    """All that one planning round writes.

    `text` is the schedule's, when it is a new version; `posts` are its posts; `media` holds picture bytes with their
    type, by hash. `is_scheduled` is False for posts sent from outside the schedule. `based_on` is the version that
    the plan was made from, where it was made from one. `is_again`: people ordered these deliveries besides those of the
    plan, so nothing of their posts may be under way on their accounts.
    """

    plan: Plan
    rendered: Sequence[RenderedOccurrence] = ()
    posts: Sequence[Post] = ()
    media: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    schedule_text: str | None = None
    is_scheduled: bool = True
    base_version: int | None = None
    is_resend: bool = False
    actions: Sequence[AuditAction] = ()


PlanBatches = Sequence[Sequence[RenderedOccurrence]]
_STARTED_ATTEMPTS = (
    select(ATTEMPT.c.id)
    .join(DELIVERY, DELIVERY.c.id == ATTEMPT.c.delivery)
    .where(or_(ATTEMPT.c.outcome.is_(None), ATTEMPT.c.outcome != RESULT_CODES[NotSent]))
    .limit(1)
)
"""Attempts whose creating call has begun, or may have."""


class PostStore:
    """The accepted schedule, its posts, and their deliveries as first filed."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def schedule_version(self) -> int:
        """Give the number of the schedule in force, 0 before the first."""
        return await self.store.database.read(lambda connection: connection.scalar(NEWEST_VERSION) or 0)

    async def config_hash(self) -> str | None:
        """Give by what the settings are known from which this worker last planned; None before the first time."""
        written = select(WORKER_STATE.c.config_hash).where(WORKER_STATE.c.worker == self.store.worker)
        return await self.store.database.read(lambda connection: connection.scalar(written))

    async def set_config_hash(self, config_hash: str) -> None:
        """Write down from which settings all was planned."""
        if await self.config_hash() == config_hash:
            return
        await self.store.database.write(
            lambda transaction: set_worker_state(transaction.connection, self.store.worker, config_hash=config_hash)
        )

    async def active_schedule_text(self) -> str | None:
        """Give the schedule in force, or None before the first."""
        newest = select(SCHEDULE.c.text).order_by(SCHEDULE.c.id.desc()).limit(1)
        text: str | None = await self.store.database.read(lambda connection: connection.scalar(newest))
        return text

    async def is_old_schedule(self, text: str) -> bool:
        """Whether this text was in force once, on books that several workers share, and another one is now.

        A worker that starts with such a file has an old copy; whoever means to go back changes the file.
        """
        digest = sha256(text.encode()).hexdigest()
        query = select(SCHEDULE.c.id).where(SCHEDULE.c.sha256 == digest).limit(1)
        database = self.store.database
        return database.is_shared and await database.read(lambda connection: connection.scalar(query)) is not None

    async def get_post(self, post: PostId) -> Post | None:
        """Give a post as last accepted."""
        query = select(POST.c.body).where(POST.c.id == post)
        body: str | None = await self.store.database.read(lambda connection: connection.scalar(query))
        return load_post(body) if body else None

    async def resend_blocker(self, post: Post, account: AccountId) -> str | None:
        """Say what forbids a new occurrence: a withdrawal, a delivery under way, a one-off that is live or may be."""
        now = self.store.runtime.now()
        return await self.store.database.read(lambda connection: _resend_blocker(connection, post, account, now))

    async def stored_posts(self, posts: Sequence[Post] = ()) -> StoredPosts:
        """Give what the database holds of the posts in the schedule in force and of `posts`, to compare with these."""
        now = self.store.runtime.now()
        return await self.store.database.read(lambda connection: read_stored_posts(connection, posts, now))

    async def post_ids(self) -> frozenset[PostId]:
        """Name each post ever accepted."""
        ids = await self.store.database.read(lambda connection: connection.scalars(select(POST.c.id)).all())
        return frozenset(map(PostId, ids))

    async def is_cancelled(self, post: PostId) -> bool:
        """Whether people have withdrawn a post."""
        query = select(POST.c.id).where(POST.c.id == post, POST.c.is_cancelled)
        return await self.store.database.read(lambda connection: connection.scalar(query)) is not None

    async def commit_plan(self, commit: PlanCommit, by: Actor = PLANNER) -> int:
        """Write a planning round. Returns how many deliveries are new. Doing it twice changes nothing.

        What was planned from a version of the schedule is written in portions, of which the first holds all but new
        occurrences: others get their turn in between. Filing ends when a newer version comes into force meanwhile.

        Raises OvertakenError when another version of the schedule came into force since the plan was made, and
        RefusedError when somebody else has ordered the same new occurrence meanwhile.
        """
        batches = split_into_batches(commit.rendered) if commit.base_version is not None else [commit.rendered]
        write = self.store.database.write
        filed, version, batches = await write(partial(self._commit_batch, commit, batches, by))
        for rendered in batches:
            rest = PlanCommit(plan=Plan(), rendered=rendered, media=commit.media, base_version=version)
            try:
                filed += (await write(partial(self._commit_batch, rest, [rendered], by)))[0]
            except ConcurrentUpdateError:  # the newer version knows what is not filed yet
                break
        return filed

    def _commit_batch(
        self, commit: PlanCommit, batches: PlanBatches, by: Actor, transaction: Transaction
    ) -> tuple[int, int, PlanBatches]:
        """Write a round with its first portion; give how many deliveries are new, in which version, and what is left.

        All is written together as long as what is new in the schedule may have been sent in a time that is lost.
        """
        now = self.store.runtime.now()
        lock_planning(transaction)
        if commit.base_version is not None and commit.base_version != transaction.connection.scalar(NEWEST_VERSION):
            raise ConcurrentUpdateError(commit.base_version)
        rendered, left = (commit.rendered, ()) if covers_new_posts(transaction) else (batches[0], batches[1:])
        if commit.is_resend:
            _reject_duplicates(transaction, rendered, now)
        for act in commit.actions:
            write_audit(transaction, now, act.by, event=act.event, subject=act.subject, detail=act.detail)
        self._write_version(transaction, commit, now, by)
        _write_media(transaction, commit.media, rendered)
        filed = 0
        withdrawn = {row.id for row in post_rows(transaction.connection, _post_ids(rendered)) if row.is_cancelled}
        for item in rendered:
            if item.planned.post.id in withdrawn:
                continue
            _write_rendered_posts(transaction, item)
            if item.planned.is_new:
                filed += self._insert_deliveries(transaction, item, now)
            else:
                self._revise_deliveries(transaction, item)
        new = [item.planned for item in rendered if item.planned.is_new]
        attach_orphans(self.store, transaction)
        keys = [(filing.post, filing.occurrence.key.occurrence) for filing in new]
        mark_new_unresolved(self.store, transaction, keys, is_new_version=commit.schedule_text is not None)
        self.store.runtime.hit_failpoint_now("plan.after_insert")
        self._cancel_removed(transaction, commit.plan)
        self.store.runtime.hit_failpoint_now("reload.before_commit")
        return filed, transaction.connection.execute(NEWEST_VERSION).scalar_one(), left

    async def record_rejection(self, reason: str) -> None:
        """Tell, once for each reason, that a new version of the schedule was refused."""

        def operation(transaction: Transaction) -> None:
            standing = select(ALERT.c.facts).where(ALERT.c.code == "reload_refused", ALERT.c.cleared_at.is_(None))
            told = [json.loads(row.facts)["reason"] for row in transaction.connection.execute(standing)]
            if reason not in told:
                clear_alerts(transaction, "schedule", self.store.runtime.now())
                facts = {"reason": reason}
                raise_alert(transaction, self.store.runtime.now(), "reload_refused", "schedule", facts)

        await self.store.database.write(operation)

    async def clear_rejection(self) -> None:
        """Take back what `refuse` told: the file says again what is in force."""

        def operation(transaction: Transaction) -> None:
            clear_alerts(transaction, "schedule", self.store.runtime.now())
            trust_schedule(transaction)

        await self.store.database.write(operation)

    async def register_logins(self) -> None:
        """Give every login of the settings its row."""

        def operation(transaction: Transaction) -> None:
            logins = {terms.account.login for terms in self.store.policies.values()}
            known = {row.id for row in transaction.connection.execute(select(LOGIN.c.id))}
            new = [
                {"id": login, "cooldown_until": UNIX_EPOCH, "routine_cooldown_until": UNIX_EPOCH}
                for login in sorted(logins - known)
            ]
            if new:
                transaction.connection.execute(insert(LOGIN), new)

        await self.store.database.write(operation)

    def _write_version(self, transaction: Transaction, commit: PlanCommit, now: datetime, by: Actor) -> None:
        if commit.schedule_text is not None:
            digest = sha256(commit.schedule_text.encode()).hexdigest()
            transaction.connection.execute(
                insert(SCHEDULE).values(accepted_at=now, sha256=digest, text=commit.schedule_text)
            )
            write_audit(transaction, now, by, event="schedule_accepted", subject="schedule", detail={"sha256": digest})
            clear_alerts(transaction, "schedule", now)
        held = {row.id: row for row in post_rows(transaction.connection, [post.id for post in commit.posts])}
        new = []
        for post in commit.posts:
            if post.id in held:
                _update_post(transaction, post, held[post.id], now, is_scheduled=commit.is_scheduled)
            else:
                row = {"id": post.id, "content_hash": post.content_hash, "body": dump_post(post), "in_force_since": now}
                new.append({**row, "is_scheduled": commit.is_scheduled, "is_cancelled": False})
        if new:
            transaction.connection.execute(insert(POST), new)

    def _insert_deliveries(self, transaction: Transaction, rendered: RenderedOccurrence, now: datetime) -> int:
        filing = rendered.planned
        key = filing.occurrence.key
        held = transaction.connection.execute(
            select(DELIVERY.c.account).where(DELIVERY.c.post == key.post, DELIVERY.c.occurrence == key.occurrence)
        )
        known = {row.account for row in held}
        new = [rendition for rendition in rendered.revision.rendered_posts if rendition.account not in known]
        revision = rendered.revision.id
        rows = [_delivery_row(rendered, revision, rendition, self.store.policies, now) for rendition in new]
        if rows:
            transaction.connection.execute(insert(DELIVERY), rows)
            write_entries(transaction, [_creation_entry(row, now) for row in rows])
        return len(rows)

    def _revise_deliveries(self, transaction: Transaction, rendered: RenderedOccurrence) -> None:
        """Bring an edit to each delivery that may still lead to a call.

        The occurrence is locked first: another host's intent comes before the question whether it has started, or
        finds the new words.
        """
        filing, occurrence = rendered.planned, rendered.planned.occurrence
        key = occurrence.key
        is_its = (DELIVERY.c.post == key.post, DELIVERY.c.occurrence == key.occurrence)
        locked = select(DELIVERY).where(*is_its).order_by(DELIVERY.c.id).with_for_update()
        rows = {row["account"]: row for row in transaction.connection.execute(locked).mappings()}
        has_started = transaction.connection.execute(_STARTED_ATTEMPTS.where(*is_its)).first() is not None
        revision = rendered.revision.id
        for rendition in rendered.revision.rendered_posts:
            row = rows.get(rendition.account)
            if row is None or row["state"] not in REVISABLE_STATES:
                continue
            delivery = to_delivery(row)
            was_sent_ahead = filing.scheduled_at is None and row["due_at"] < row["scheduled_at"] == occurrence.due_at
            event = Revised(
                rendered_hash=rendition.fingerprint,
                due_at=delivery.due_at if was_sent_ahead else occurrence.due_at,
                expires_at=delivery.expires_at if was_sent_ahead else occurrence.expires_at,
                max_delay=filing.post.max_delay,
                is_urgent=filing.post.is_urgent,
                has_started=has_started,
                extra_parts=len(rendition.extra_parts),
            )
            after = self.store.transition(transaction, delivery, event, PLANNER)
            _store_revision(
                transaction, rendered, after, revision if after.rendered_hash == rendition.fingerprint else None
            )

    def _cancel_removed(self, transaction: Transaction, plan: Plan) -> None:
        for post in plan.removed_posts:
            cancel_matching(self.store, transaction, {"post": post}, PLANNER, reason=REMOVAL_REASONS[0])
            transaction.connection.execute(update(POST).where(POST.c.id == post).values(is_scheduled=False))
        for untargeted in plan.removed_targets:
            for account in untargeted.accounts:
                target = {"post": untargeted.key.post, "occurrence": untargeted.key.occurrence, "account": account}
                cancel_matching(self.store, transaction, target, PLANNER, reason=REMOVAL_REASONS[1])


def _resend_blocker(
    connection: Connection, post: Post, account: AccountId, now: datetime, label: str | None = None
) -> str | None:
    """Say what forbids it; an announced call that fits no delivery is no hindrance where `label` is its own."""
    states = [
        state.value
        for state in (OPEN_STATES | {State.PUBLISHED} if isinstance(post.trigger, OneTimeTrigger) else OPEN_STATES)
    ]
    mine = select(DELIVERY.c.id).where(
        DELIVERY.c.post == post.id, DELIVERY.c.account == account, DELIVERY.c.state.in_(states)
    )
    if not isinstance(post.trigger, OneTimeTrigger):  # its later instants are no hindrance
        mine = mine.where(DELIVERY.c.due_at <= now)
    if connection.scalar(select(POST.c.id).where(POST.c.id == post.id, POST.c.is_cancelled)) is not None:
        return "resend_cancelled"
    if connection.scalar(mine) is not None:
        return "resend_not_needed"
    calls = [call for call in orphaned_attempts(connection) if (call.post, call.account) == (post.id, account)]
    return "resend_attempt_orphaned" if any(call.occurrence != label for call in calls) else None


def _reject_duplicates(transaction: Transaction, rendered: Sequence[RenderedOccurrence], now: datetime) -> None:
    """Ask once more inside the transaction: two people may have ordered the same thing in the same second."""
    for item in (draft for draft in rendered if draft.planned.is_new):
        post, label = item.planned.post, item.planned.occurrence.key.occurrence
        for account in item.planned.accounts:
            if hindrance := _resend_blocker(transaction.connection, post, account, now, label):
                raise RefusedError(hindrance, post=post.id, account=account)


def cancel_matching(
    store: Store, transaction: Transaction, target: Mapping[str, str], by: Actor, *, reason: str
) -> int:
    """Withdraw every delivery that matches, may still lead to a call, and is not withdrawn yet. Returns how many."""
    conditions = [DELIVERY.c[column] == value for column, value in target.items()]
    weaker = [DesiredState.AS_PLANNED.value, DesiredState.EDITED.value]
    if by.role is not Role.PLANNER:
        weaker.append(DesiredState.NOT_TARGETED.value)
    rows = transaction.connection.execute(
        select(DELIVERY).where(
            *conditions,
            DELIVERY.c.state.in_([state.value for state in REVISABLE_STATES]),
            DELIVERY.c.desired.in_(weaker),
        )
    )
    deliveries = [to_delivery(row) for row in rows.mappings()]
    for delivery in deliveries:
        store.transition(transaction, delivery, Cancelled(reason=reason), by)
    return len(deliveries)


def _delivery_row(
    rendered: RenderedOccurrence,
    revision: Fingerprint,
    rendition: RenderedPost,
    policies: Mapping[AccountId, AccountPolicy],
    now: datetime,
) -> dict[str, object]:
    post, occurrence = rendered.planned.post, rendered.planned.occurrence
    return {
        "post": post.id,
        "occurrence": occurrence.key.occurrence,
        "account": rendition.account,
        "platform": rendition.platform,
        "login": policies[rendition.account].account.login,
        "state": State.PENDING.value,
        "version": 1,
        "revision_hash": revision,
        "content_hash": rendered.revision.content_hash,
        "rendered_hash": rendition.fingerprint,
        "scheduled_at": rendered.planned.scheduled_at or occurrence.due_at,
        "due_at": occurrence.due_at,
        "next_action_at": occurrence.due_at,
        "expires_at": occurrence.expires_at,
        "max_delay": post.max_delay,
        "first_attempt_deadline": occurrence.due_at + post.max_delay,
        "updated_at": now,
        "is_urgent": post.is_urgent,
        "follows": post.follows,
        "extra_parts": len(rendition.extra_parts),
    }


def _creation_entry(row: Mapping[str, object], now: datetime) -> dict[str, object]:
    subject = format_delivery_name(str(row["post"]), str(row["occurrence"]), str(row["account"]))
    return audit_entry(now, PLANNER, event="planned", subject=subject, after=State.PENDING.value)


def _store_revision(
    transaction: Transaction, rendered: RenderedOccurrence, delivery: Delivery, revision: str | None
) -> None:
    """Note which wording a delivery was compared with; one that is called, or held for the edit, keeps its own.

    `revision` is that of the new words where the delivery has taken them.
    """
    values: dict[str, object] = {
        "content_hash": rendered.revision.content_hash,
        "scheduled_at": rendered.planned.scheduled_at or rendered.planned.occurrence.due_at,
        "follows": rendered.planned.post.follows,
    }
    if revision is not None:
        values["revision_hash"] = revision
    transaction.connection.execute(update(DELIVERY).where(DELIVERY.c.id == delivery.id).values(values))


def _update_post(transaction: Transaction, post: Post, stored: Row[Any], now: datetime, *, is_scheduled: bool) -> None:
    body = dump_post(post)
    if stored.body == body and stored.is_scheduled == is_scheduled:
        return
    values: dict[str, object] = {"content_hash": post.content_hash, "body": body, "is_scheduled": is_scheduled}
    if load_post(stored.body).trigger != post.trigger:
        values["in_force_since"] = now
    transaction.connection.execute(update(POST).where(POST.c.id == post.id).values(values))


def _post_ids(rendered: Sequence[RenderedOccurrence]) -> list[PostId]:
    return [item.planned.post.id for item in rendered]


def _write_media(
    transaction: Transaction, media: Mapping[str, tuple[str, bytes]], rendered: Sequence[RenderedOccurrence]
) -> None:
    """Write the pictures that these drafts show, and for how long they are needed."""
    until: dict[str, datetime] = {}
    for item in rendered:
        expires_at = item.planned.occurrence.expires_at
        for picture in (picture for rendition in item.revision.rendered_posts for picture in rendition.images):
            until[picture.sha256] = max(expires_at, until.get(picture.sha256, expires_at))
    for digest, expires_at in sorted(until.items()):
        is_it = MEDIA.c.sha256 == digest
        held = transaction.connection.scalar(select(MEDIA.c.shown_until).where(is_it))
        if held is None:
            media_type, data = media[digest]
            row = {"sha256": digest, "media_type": media_type, "data": data, "shown_until": expires_at}
            transaction.connection.execute(insert(MEDIA), [row])
        elif held < expires_at:
            transaction.connection.execute(update(MEDIA).where(is_it).values(shown_until=expires_at))


def _write_rendered_posts(transaction: Transaction, rendered: RenderedOccurrence) -> None:
    key, revision = rendered.planned.occurrence.key, rendered.revision
    name = revision.id
    rows = [
        {
            "fingerprint": rendition.fingerprint,
            "revision_hash": name,
            "post": key.post,
            "occurrence": key.occurrence,
            "account": rendition.account,
            "body": dump_rendered_post(rendition),
        }
        for rendition in revision.rendered_posts
    ]
    wanted = [row["fingerprint"] for row in rows]
    query = select(RENDERED_POST.c.fingerprint).where(RENDERED_POST.c.fingerprint.in_(wanted))
    held = set(transaction.connection.scalars(query))
    if new := [row for row in rows if row["fingerprint"] not in held]:
        transaction.connection.execute(insert(RENDERED_POST), new)
