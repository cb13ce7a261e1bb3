"""Accepted schedule versions, their posts, and the deliveries planned for them.

A plan is committed in batches. The first one holds every change to existing deliveries and a limited number of new
ones; other writers get their turn between the batches. After a crash the next planning run inserts the occurrences that
are still missing.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from hashlib import sha256

from sqlalchemy import Connection, func, insert, or_, select, update

from publisher.domain.account import AccountId, AccountPolicy
from publisher.domain.delivery import (
    CHECKED_STATES,
    OPEN_STATES,
    PLANNER,
    REVISABLE_STATES,
    Actor,
    Cancelled,
    DesiredState,
    Revised,
    Role,
    State,
)
from publisher.domain.errors import RefusedError
from publisher.domain.plan import Plan, PlannedDeliveries, StoredPosts
from publisher.domain.post import (
    CronTrigger,
    Fingerprint,
    OneTimeTrigger,
    Post,
    PostId,
    RenderedPost,
    RenderedRevision,
    format_delivery_name,
)
from publisher.domain.results import RESULT_CODES, NotSent
from publisher.store.approvals import record_contents
from publisher.store.base import BaseStore, StorePart
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import ConcurrentUpdateError, Transaction, in_transaction
from publisher.store.db.rows import audit_entry, clear_alerts, lock_planning, replace_alerts, write_audit, write_entries
from publisher.store.db.tables import (
    ATTEMPT,
    AUDIT,
    DELIVERY,
    LOGIN,
    MEDIA,
    POST,
    RENDERED_POST,
    SCHEDULE,
    UNIX_EPOCH,
    WORKER_STATE,
    dump_post,
    dump_rendered_post,
    load_post,
    read_deliveries,
    to_delivery,
)
from publisher.store.people.saves import find_savers
from publisher.store.plan.accounts import require_own_ids
from publisher.store.plan.stored_posts import REMOVAL_REASONS, post_rows, read_stored_posts
from publisher.store.recovery.recover import (
    attach_orphans,
    covers_new_posts,
    mark_new_unresolved,
    orphaned_attempts,
    set_worker_state,
    trust_schedule,
)

FIRST_BATCH_SIZE = 1000
"""New deliveries committed together with their schedule version: about half a second of work on slow hardware."""
NEXT_BATCH_SIZE = 100
"""Deliveries in each later batch: about a twentieth of a second of work on slow hardware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedOccurrence:
    """Planned deliveries of one occurrence with their final texts, ready to be written."""

    planned: PlannedDeliveries
    revision: RenderedRevision


def split_into_batches(rendered: Sequence[RenderedOccurrence]) -> Sequence[Sequence[RenderedOccurrence]]:
    """Split rendered occurrences into batches; there is always at least one.

    Urgent ones come first, then the earliest due. An occurrence is never split, and never precedes the one it follows.
    """

    def can_be_deferred(item: RenderedOccurrence) -> bool:
        """Return True if it may be inserted after the schedule version that names it comes into force."""
        return item.planned.is_new and not item.planned.is_late_addition

    def sort_key(item: RenderedOccurrence) -> tuple[bool, bool, datetime]:
        return can_be_deferred(item), not item.planned.post.is_urgent, item.planned.occurrence.due_at

    ordered = list(_originals_first(sorted(rendered, key=sort_key)))
    first = max((number for number, item in enumerate(ordered, 1) if not can_be_deferred(item)), default=0)
    batches = [ordered[:first]]
    size, limit = 0, FIRST_BATCH_SIZE
    for item in ordered[first:]:
        size += len(item.planned.accounts)
        if size > limit and batches[-1]:
            limit = NEXT_BATCH_SIZE
            batches.append([])
            size = len(item.planned.accounts)
        batches[-1].append(item)
    return batches


def _originals_first(rendered: Sequence[RenderedOccurrence]) -> Iterator[RenderedOccurrence]:
    """Yield occurrences in their order, but each after those of the post that its own post follows."""
    by_post: dict[PostId, list[RenderedOccurrence]] = defaultdict(list)
    for item in rendered:
        by_post[item.planned.post.id].append(item)
    yielded: set[int] = set()
    for item in rendered:
        chain = [item.planned.post]
        while (originals := by_post.get(chain[-1].follows or PostId(""))) and originals[0].planned.post not in chain:
            chain.append(originals[0].planned.post)
        for one in [*(one for post in reversed(chain[1:]) for one in by_post.pop(post.id)), item]:
            if id(one) not in yielded:
                yielded.add(id(one))
                yield one


NEWEST_VERSION = select(func.coalesce(func.max(SCHEDULE.c.id), 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditAction:
    """A person's recorded action. Its audit entry is written in the same transaction as its effect."""

    event: str
    subject: str
    by: Actor
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCommit:
    """Everything that one planning run writes.

    `schedule_text` is set for a new version of the schedule, and `posts` are its posts. `media` maps an image's hash to
    its media type and bytes. `is_scheduled` is False for posts sent from outside the schedule. `base_version` is the
    version that the plan was made from, if any. `is_resend`: a person ordered these deliveries in addition to those of
    the schedule, so no delivery of their posts may be open on their accounts. A named person has saved the texts of
    `posts`, or they are from a file of this owner; what a person saved into that file is known from PostSaves.
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
    saved_by: str | None = None
    file_owner: str | None = None


PlanBatches = Sequence[Sequence[RenderedOccurrence]]
_STARTED_ATTEMPTS = (
    select(ATTEMPT.c.id)
    .join(DELIVERY, DELIVERY.c.id == ATTEMPT.c.delivery)
    .where(or_(ATTEMPT.c.outcome.is_(None), ATTEMPT.c.outcome != RESULT_CODES[NotSent]))
    .limit(1)
)
"""Attempts whose creating call has begun, or may have."""


class PostStore(StorePart):
    """The accepted schedule, its posts, and their deliveries as first planned."""

    async def schedule_version(self) -> int:
        """Return the number of the schedule version in force, 0 before the first."""
        return await self.database.read(lambda connection: connection.scalar(NEWEST_VERSION) or 0)

    async def plan_basis(self) -> tuple[int, int]:
        """Return the numbers of the schedule version in force and of the newest audit entry, 0 before the first.

        Every change that a plan depends on has an entry, so what is planned stays complete while both are the same.
        """
        query = select(
            NEWEST_VERSION.scalar_subquery(), select(func.coalesce(func.max(AUDIT.c.id), 0)).scalar_subquery()
        )
        row = await self.database.read(lambda connection: connection.execute(query).one())
        return row[0], row[1]

    async def config_hash(self) -> str | None:
        """Return the hash of the settings that this worker last planned with; None before the first plan."""
        query = select(WORKER_STATE.c.config_hash).where(WORKER_STATE.c.worker == self.store.worker)
        return await self.database.read(lambda connection: connection.scalar(query))

    async def set_config_hash(self, config_hash: str) -> None:
        if await self.config_hash() != config_hash:
            await self.database.write(
                lambda transaction: set_worker_state(transaction.connection, self.store.worker, config_hash=config_hash)
            )

    async def active_schedule_text(self) -> str | None:
        """Return the text of the schedule version in force, or None before the first."""
        query = select(SCHEDULE.c.text).order_by(SCHEDULE.c.id.desc()).limit(1)
        text: str | None = await self.database.read(lambda connection: connection.scalar(query))
        return text

    async def is_accepted(self, sha256: str, since: int) -> bool:
        """Return True if a text of this hash is in force, or was since the version of this number."""
        query = select(SCHEDULE.c.id).where(SCHEDULE.c.sha256 == sha256, SCHEDULE.c.id >= since).limit(1)
        return await self.database.read(lambda connection: connection.scalar(query)) is not None

    async def is_old_schedule(self, text: str) -> bool:
        """Return True if a shared database once had this text in force, and has another one now.

        A worker that starts with such a file has an outdated copy. To go back to an earlier version, edit the file.
        """
        digest = sha256(text.encode()).hexdigest()
        query = select(SCHEDULE.c.id).where(SCHEDULE.c.sha256 == digest).limit(1)
        database = self.database
        return database.is_shared and await database.read(lambda connection: connection.scalar(query)) is not None

    async def get_post(self, post: PostId) -> Post | None:
        """Return a post as last accepted."""
        query = select(POST.c.body).where(POST.c.id == post)
        body: str | None = await self.database.read(lambda connection: connection.scalar(query))
        return load_post(body) if body else None

    async def resend_blocker(self, post: Post, account: AccountId) -> str | None:
        """Return why a post may not be sent again to an account, if anything forbids it.

        That is a cancellation, an open delivery, or a one-off post that is published or may be.
        """
        now = self.runtime.now()
        return await self.database.read(lambda connection: _resend_blocker(connection, post, account, now))

    async def stored_posts(self, posts: Sequence[Post] = ()) -> StoredPosts:
        """Return the stored state of the scheduled posts and of `posts`, to compare a schedule with."""
        now = self.runtime.now()
        return await self.database.read(lambda connection: read_stored_posts(connection, posts, now))

    async def is_cancelled(self, post: PostId) -> bool:
        """Return True if a person has cancelled the post."""
        query = select(POST.c.id).where(POST.c.id == post, POST.c.is_cancelled)
        return await self.database.read(lambda connection: connection.scalar(query)) is not None

    async def commit_plan(self, commit: PlanCommit, by: Actor = PLANNER) -> int:
        """Write a plan, and return how many deliveries are new. Idempotent.

        A plan made from a schedule version is written in batches; only new occurrences are deferred to later ones. The
        rest is dropped when a newer version comes into force meanwhile, as that one plans whatever is still missing.

        Raises ConcurrentUpdateError when another schedule version came into force since the plan was made, and
        RefusedError when somebody else has ordered the same new occurrence meanwhile.
        """
        batches = split_into_batches(commit.rendered) if commit.base_version is not None else [commit.rendered]
        write = self.database.write
        if commit.posts:
            changed = await self.database.read(lambda connection: find_changed_posts(connection, commit))
            commit = replace(commit, posts=changed)
        inserted, version, remaining = await write(partial(self._commit_batch, commit, batches, by))
        for rendered in remaining:
            batch = PlanCommit(plan=Plan(), rendered=rendered, media=commit.media, base_version=version)
            try:
                inserted += (await write(partial(self._commit_batch, batch, [rendered], by)))[0]
            except ConcurrentUpdateError:
                break
        return inserted

    def _commit_batch(  # noqa: C901, PLR0912 # the steps of one transaction, in their order
        self, commit: PlanCommit, batches: PlanBatches, by: Actor, transaction: Transaction
    ) -> tuple[int, int, PlanBatches]:
        """Write a plan with its first batch; return the number of new deliveries, the version, and what remains.

        Nothing is deferred while new posts may have been sent already, in a data-loss window.
        """
        now, connection = self.runtime.now(), transaction.connection
        lock_planning(transaction)
        if commit.base_version is not None and commit.base_version != connection.scalar(NEWEST_VERSION):
            raise ConcurrentUpdateError(commit.base_version)
        rendered, remaining = (commit.rendered, ()) if covers_new_posts(transaction) else (batches[0], batches[1:])
        new = [item.planned for item in rendered if item.planned.is_new]
        require_own_ids(self.store, connection, {account for planned in new for account in planned.accounts})
        new_keys = [(planned.post, planned.occurrence.key.occurrence) for planned in new]
        if commit.is_resend:  # asked again inside the transaction: two people may order the same in the same second
            for planned, (post, occurrence) in zip(new, new_keys, strict=True):
                for account in planned.accounts:
                    if blocker := _resend_blocker(connection, post, account, now, occurrence):
                        raise RefusedError(blocker, post=post.id, account=account)
        for action in commit.actions:
            write_audit(transaction, now, action.by, event=action.event, subject=action.subject, detail=action.detail)
        self._write_version(transaction, commit, now, by)
        post_ids = [item.planned.post.id for item in rendered]
        cancelled = {row.id for row in post_rows(connection, post_ids) if row.is_cancelled}
        _write_content(transaction, commit.media, rendered, cancelled)
        inserted = 0
        written, edited = {item.key for item in commit.plan.removed_targets}, set()
        for item in rendered:
            key = item.planned.occurrence.key
            if item.planned.post.id in cancelled:
                continue
            written.add(key)
            if item.planned.is_new:
                is_ordered = not commit.is_scheduled
                inserted += self._insert_deliveries(transaction, item, now, is_ordered=is_ordered)
            elif self._revise_deliveries(transaction, item):
                edited.add(key)
        attach_orphans(self.store, transaction)
        mark_new_unresolved(self.store, transaction, new_keys, is_new_version=commit.schedule_text is not None)
        self.runtime.hit_failpoint_now("plan.after_insert")
        for removed in commit.plan.removed_posts:
            cancel_matching(self.store, transaction, {"post": removed}, PLANNER, reason=REMOVAL_REASONS[0])
            connection.execute(update(POST).where(POST.c.id == removed).values(is_scheduled=False))
        for untargeted in commit.plan.removed_targets:
            for account in untargeted.accounts:
                target = {"post": untargeted.key.post, "occurrence": untargeted.key.occurrence, "account": account}
                cancel_matching(self.store, transaction, target, PLANNER, reason=REMOVAL_REASONS[1])
        if self.store.approval_rules.is_active:
            record_contents(self.store, transaction, written, edited, by)
        self.runtime.hit_failpoint_now("reload.before_commit")
        return inserted, connection.execute(NEWEST_VERSION).scalar_one(), remaining

    @in_transaction
    def record_rejection(self, transaction: Transaction, reason: str) -> None:
        """Raise an alert that a new version of the schedule was rejected, unless one with this reason is open."""
        query = select(ALERT.c.facts).where(ALERT.c.code == "reload_refused", ALERT.c.cleared_at.is_(None))
        if reason not in [json.loads(facts)["reason"] for facts in transaction.connection.scalars(query)]:
            replace_alerts(transaction, self.runtime.now(), "reload_refused", "schedule", {"reason": reason})

    @in_transaction
    def clear_rejection(self, transaction: Transaction) -> None:
        """Clear the rejection alert: the schedule file matches the version in force again."""
        clear_alerts(transaction, "schedule", self.runtime.now())
        trust_schedule(transaction)

    @in_transaction
    def register_logins(self, transaction: Transaction) -> None:
        """Insert a row for every login of the settings that has none."""
        logins = {policy.account.login for policy in self.store.policies.values()}
        new = sorted(logins - set(transaction.connection.scalars(select(LOGIN.c.id))))
        rows = [{"id": login, "cooldown_until": UNIX_EPOCH, "routine_cooldown_until": UNIX_EPOCH} for login in new]
        if rows:
            transaction.connection.execute(insert(LOGIN), rows)

    def _write_version(self, transaction: Transaction, commit: PlanCommit, now: datetime, by: Actor) -> None:
        """Write the new schedule version, if any, and the posts, which are new or have changed."""
        connection = transaction.connection
        if commit.schedule_text is not None:
            digest = sha256(commit.schedule_text.encode()).hexdigest()
            connection.execute(insert(SCHEDULE).values(accepted_at=now, sha256=digest, text=commit.schedule_text))
            write_audit(transaction, now, by, event="schedule_accepted", subject="schedule", detail={"sha256": digest})
            clear_alerts(transaction, "schedule", now)
        stored = {row.id: row for row in post_rows(connection, [post.id for post in commit.posts])}
        savers = find_savers(connection, commit.posts)
        new = []
        for post in commit.posts:
            row, body, saved_by = stored.get(post.id), dump_post(post), commit.saved_by or savers.get(post.id)
            values = {
                "content_hash": post.content_hash,
                "body": body,
                "is_scheduled": commit.is_scheduled,
                "saved_by": saved_by,
                "file_owner": None if saved_by else commit.file_owner,
            }
            if row is None:
                new.append({**values, "id": post.id, "in_force_since": now, "is_cancelled": False})
            else:
                if load_post(row.body).trigger != post.trigger:
                    values["in_force_since"] = now
                connection.execute(update(POST).where(POST.c.id == post.id).values(values))
        if new:
            connection.execute(insert(POST), new)

    def _insert_deliveries(
        self, transaction: Transaction, item: RenderedOccurrence, now: datetime, *, is_ordered: bool
    ) -> int:
        """Insert the deliveries that do not exist yet, with their audit entries. Returns how many."""
        key = item.planned.occurrence.key
        query = select(DELIVERY.c.account).where(DELIVERY.c.post == key.post, DELIVERY.c.occurrence == key.occurrence)
        existing = set(transaction.connection.scalars(query))
        revision, post = item.revision.id, item.planned.post
        is_ordered_now = is_ordered and item.planned.occurrence.due_at <= now
        is_immediate = is_ordered_now or (isinstance(post.trigger, OneTimeTrigger) and post.trigger.at is None)
        waits = is_immediate and bool(self.store.approval_rules.chain_for(post.kind))
        rows = [
            delivery_row(item, revision, rendered_post, self.store.policies, now, is_due_when_approved=waits)
            for rendered_post in item.revision.rendered_posts
            if rendered_post.account not in existing
        ]
        if rows:
            transaction.connection.execute(insert(DELIVERY), rows)
        for row in rows:
            subject = format_delivery_name(str(row["post"]), str(row["occurrence"]), str(row["account"]))
            entry = audit_entry(now, PLANNER, event="planned", subject=subject, after=State.PENDING.value)
            write_entries(transaction, [entry])
        return len(rows)

    def _revise_deliveries(self, transaction: Transaction, item: RenderedOccurrence) -> bool:
        """Apply an edit to each delivery that may still lead to a call. Return True if it replaced what was written.

        The occurrence is locked first: another host's intent is either counted here as started, or reads the new text.
        Every delivery records the content it was compared with. One that is being sent, or is held for the edit, keeps
        its own text and revision.
        """
        planned, occurrence, connection = item.planned, item.planned.occurrence, transaction.connection
        matches_key = (DELIVERY.c.post == occurrence.key.post, DELIVERY.c.occurrence == occurrence.key.occurrence)
        locked = select(DELIVERY).where(*matches_key).order_by(DELIVERY.c.id).with_for_update()
        rows = {row["account"]: row for row in connection.execute(locked).mappings()}
        has_started = connection.execute(_STARTED_ATTEMPTS.where(*matches_key)).first() is not None
        revision, is_edited = item.revision.id, False
        chain = self.store.approval_rules.chain_for(planned.post.kind)
        for rendered_post in item.revision.rendered_posts:
            row = rows.get(rendered_post.account)
            if row is None or row["state"] not in REVISABLE_STATES:
                continue
            delivery = to_delivery(row)
            was_sent_ahead = planned.scheduled_at is None and row["due_at"] < row["scheduled_at"] == occurrence.due_at
            event = Revised(
                rendered_hash=rendered_post.fingerprint,
                due_at=delivery.due_at if was_sent_ahead else occurrence.due_at,
                expires_at=delivery.expires_at if was_sent_ahead else occurrence.expires_at,
                max_delay=planned.post.max_delay,
                is_urgent=planned.post.is_urgent,
                has_started=has_started,
                extra_parts=len(rendered_post.extra_parts),
                kind=planned.post.kind.value,
            )
            after = self.store.transition(transaction, delivery, event, PLANNER)
            values: dict[str, object] = {
                "content_hash": item.revision.content_hash,
                "scheduled_at": planned.scheduled_at or occurrence.due_at,
                "follows": planned.post.follows,
                # one that a person sends now is due with its last approval
                "is_due_when_approved": row["is_due_when_approved"] or bool(planned.scheduled_at and chain),
            }
            is_edited = is_edited or (not has_started and row["content_hash"] != item.revision.content_hash)
            if after.rendered_hash == rendered_post.fingerprint:
                values |= {"revision_hash": revision, "marker": rendered_post.marker.code}
            connection.execute(update(DELIVERY).where(DELIVERY.c.id == after.id).values(values))
        return is_edited


def find_changed_posts(connection: Connection, commit: PlanCommit) -> list[Post]:
    """Return the posts that are not stored as the commit has them.

    Comparing thousands takes long, so it is done before the transaction, in which a call's intent would have to wait.
    """
    stored = {row.id: row for row in post_rows(connection, [post.id for post in commit.posts])}
    return [
        post
        for post in commit.posts
        if (row := stored.get(post.id)) is None
        or row.is_scheduled != commit.is_scheduled
        or row.body != dump_post(post)
    ]


def _resend_blocker(
    connection: Connection, post: Post, account: AccountId, now: datetime, occurrence: str | None = None
) -> str | None:
    """Return why a post may not be sent again. An orphaned attempt of `occurrence` itself does not block it."""
    if connection.scalar(select(POST.c.id).where(POST.c.id == post.id, POST.c.is_cancelled)) is not None:
        return "resend_cancelled"
    is_one_off = isinstance(post.trigger, OneTimeTrigger)
    states = [state.value for state in (OPEN_STATES | {State.PUBLISHED} if is_one_off else OPEN_STATES)]
    blocking = select(DELIVERY.c.id).where(
        DELIVERY.c.post == post.id, DELIVERY.c.account == account, DELIVERY.c.state.in_(states)
    )
    if isinstance(post.trigger, CronTrigger):  # its later occurrences do not block it
        blocking = blocking.where(DELIVERY.c.due_at <= now)
    if connection.scalar(blocking) is not None:
        return "resend_not_needed"
    orphans = [one for one in orphaned_attempts(connection) if (one.post, one.account) == (post.id, account)]
    return "resend_attempt_orphaned" if any(one.occurrence != occurrence for one in orphans) else None


def cancel_matching(
    store: BaseStore, transaction: Transaction, target: Mapping[str, str], by: Actor, *, reason: str
) -> int:
    """Cancel every matching delivery that may still lead to a call and is not cancelled yet.

    Returns how many will not be sent now: the call of any other may be under way.
    """
    cancellable = [DesiredState.AS_PLANNED.value, DesiredState.EDITED.value]
    if by.role is not Role.PLANNER:
        cancellable.append(DesiredState.NOT_TARGETED.value)
    query = select(DELIVERY).where(
        *(DELIVERY.c[column] == value for column, value in target.items()),
        DELIVERY.c.state.in_([state.value for state in REVISABLE_STATES]),
        DELIVERY.c.desired.in_(cancellable),
    )
    deliveries = read_deliveries(transaction.connection, query)
    after = [store.transition(transaction, delivery, Cancelled(reason=reason), by) for delivery in deliveries]
    return sum(delivery.state not in CHECKED_STATES | {State.SENDING} for delivery in after)


def delivery_row(  # noqa: PLR0913 # what a delivery is made from
    item: RenderedOccurrence,
    revision: Fingerprint,
    rendered_post: RenderedPost,
    policies: Mapping[AccountId, AccountPolicy],
    now: datetime,
    *,
    is_due_when_approved: bool = False,
) -> dict[str, object]:
    """Return a new delivery as its columns."""
    post, occurrence = item.planned.post, item.planned.occurrence
    return {
        "post": post.id,
        "occurrence": occurrence.key.occurrence,
        "account": rendered_post.account,
        "platform": rendered_post.platform,
        "login": policies[rendered_post.account].account.login,
        "state": State.PENDING.value,
        "version": 1,
        "revision_hash": revision,
        "content_hash": item.revision.content_hash,
        "rendered_hash": rendered_post.fingerprint,
        "marker": rendered_post.marker.code,
        "scheduled_at": item.planned.scheduled_at or occurrence.due_at,
        "due_at": occurrence.due_at,
        "next_action_at": occurrence.due_at,
        "expires_at": occurrence.expires_at,
        "max_delay": post.max_delay,
        "first_attempt_deadline": occurrence.expires_at if is_due_when_approved else occurrence.due_at + post.max_delay,
        "updated_at": now,
        "is_urgent": post.is_urgent,
        "follows": post.follows,
        "extra_parts": len(rendered_post.extra_parts),
        "kind": post.kind.value,
        "is_due_when_approved": is_due_when_approved,
    }


def _write_content(
    transaction: Transaction,
    media: Mapping[str, tuple[str, bytes]],
    rendered: Sequence[RenderedOccurrence],
    cancelled: AbstractSet[PostId],
) -> None:
    """Store the images of these occurrences, until when they are needed, and the texts of those not cancelled."""
    connection = transaction.connection
    needed_until: dict[str, datetime] = {}
    for item in rendered:
        expires_at = item.planned.occurrence.expires_at
        for image in (image for rendered_post in item.revision.rendered_posts for image in rendered_post.images):
            needed_until[image.sha256] = max(expires_at, needed_until.get(image.sha256, expires_at))
    for digest, expires_at in sorted(needed_until.items()):
        is_image = MEDIA.c.sha256 == digest
        stored_until = connection.scalar(select(MEDIA.c.shown_until).where(is_image))
        if stored_until is None:
            media_type, data = media[digest]
            row = {"sha256": digest, "media_type": media_type, "data": data, "shown_until": expires_at}
            connection.execute(insert(MEDIA), [row])
        elif stored_until < expires_at:
            connection.execute(update(MEDIA).where(is_image).values(shown_until=expires_at))
    for item in rendered:
        if item.planned.post.id in cancelled:
            continue
        key, revision = item.planned.occurrence.key, item.revision.id
        rendered_posts = {rendered_post.fingerprint: rendered_post for rendered_post in item.revision.rendered_posts}
        query = select(RENDERED_POST.c.fingerprint).where(RENDERED_POST.c.fingerprint.in_(list(rendered_posts)))
        stored = set(connection.scalars(query))
        rows = [
            {
                "fingerprint": fingerprint,
                "revision_hash": revision,
                "post": key.post,
                "occurrence": key.occurrence,
                "account": rendered_post.account,
                "body": dump_rendered_post(rendered_post),
            }
            for fingerprint, rendered_post in rendered_posts.items()
            if fingerprint not in stored
        ]
        if rows:
            connection.execute(insert(RENDERED_POST), rows)
