"""Accepted schedule versions, their posts, and the deliveries planned for them.

A plan is committed in batches, see `batches.py`.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256

from sqlalchemy import (
    ColumnElement,
    Connection,
    func,
    insert,
    or_,
    select,
    update,
)

from publisher.domain.account import AccountId, AccountPolicy
from publisher.domain.delivery import (
    OPEN_STATES,
    PLANNER,
    REVISABLE_STATES,
    WORDS_REPLACED,
    Actor,
    Restored,
    Revised,
    State,
)
from publisher.domain.errors import RefusedError
from publisher.domain.families import FAMILY_CHANGED, FamilyConflict
from publisher.domain.plan import (
    LateAccounts,
    Plan,
    PlannedDeliveries,
    StoredPosts,
    find_sent_elsewhere,
)
from publisher.domain.post import (
    Fingerprint,
    OccurrenceKey,
    OneTimeTrigger,
    Post,
    PostId,
    RenderedPost,
    find_family,
    format_delivery_name,
)
from publisher.store.approvals.guard import record_contents
from publisher.store.base import HEARTBEAT_TIMEOUT, StorePart
from publisher.store.database_identity import set_worker_state
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import (
    ConcurrentUpdateError,
    Transaction,
    in_transaction,
)
from publisher.store.db.filters import in_state
from publisher.store.db.rows import (
    apply_alert_changes,
    audit_entry,
    clear_alerts,
    post_rows,
    read_family_members,
    replace_alerts,
    write_audit,
    write_entries,
)
from publisher.store.db.tables import (
    AUDIT,
    DELIVERY,
    LOGIN,
    POST,
    SCHEDULE,
    UNIX_EPOCH,
    WORKER,
    WORKER_STATE,
    dump_post,
    load_post,
    to_delivery,
)
from publisher.store.deliveries.cancellations import (
    OrderedCorrection,
    cancel_matching,
    find_due_corrections,
    stop_corrected,
    stop_original,
)
from publisher.store.lost_attempts import (
    attach_orphans,
    covers_new_posts,
    mark_new_unresolved,
    trust_schedule,
)
from publisher.store.people.saves import add_writers, find_authorship, note_left_out
from publisher.store.plan.accounts import lock_filing
from publisher.store.plan.batches import (
    PlanBatch,
    RenderedOccurrence,
    join_batches,
    split_into_batches,
)
from publisher.store.plan.contents import delete_replaced_texts, write_contents
from publisher.store.plan.families import (
    find_conflicts,
    find_inherited_stops,
    follow_called_forms,
)
from publisher.store.plan.occurrence_locks import lock_occurrence, require_unstarted
from publisher.store.plan.plan_alerts import (
    ACCOUNTS_ADDED_LATE,
    PlanAlerts,
    find_outdated,
    find_unreported,
    raise_late_account_alerts,
    report_removed,
    write_plan_alerts,
)
from publisher.store.plan.resends import find_resend_blocker, require_resendable
from publisher.store.plan.stored_posts import (
    REMOVAL_REASONS,
    read_live_deliveries,
    read_stored_posts,
)
from publisher.store.plan.versions import NEWEST_VERSION, write_version

HASH_SEPARATOR = " "


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditAction:
    """A person's recorded action.

    Its audit entry is written in the same transaction as its effect.
    """

    event: str
    subject: str
    by: Actor
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCommit:
    """Everything that one planning run writes.

    A person has ordered the correction `corrects`, if any, of the post that it names.

    `schedule_text` is set for a new version of the schedule, and `posts` are its posts. `media`
    maps an image's hash to its media type and bytes. `is_scheduled` is False for posts sent from
    outside the schedule. `base_version` is the version that the plan was made from, if any.
    `is_resend` means that a person ordered these deliveries in addition to the ones in the
    schedule. So no delivery of their posts may be open on their accounts. A named person has saved
    the texts of `posts`, or they are from a file of this owner. A person's saves into that file are
    known from PostSaves. The `alerts` are kept with a new version. People are alerted to the posts
    of which something is `taken`.
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
    corrects: OrderedCorrection | None = None
    alerts: PlanAlerts = field(default_factory=dict)
    taken: Collection[str] = ()
    is_refresh: bool = False
    """A person wants the filed deliveries rendered again.

    Nothing is changed if a call has begun meanwhile.
    """
    is_whole: bool = True
    """False if later occurrences of repeating posts follow in a plan of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenDeliveries:
    """The result of a batch: the number of new deliveries, and the places of other changes.

    There a text was replaced or a delivery came back.
    """

    inserted: int
    edited: Collection[OccurrenceKey]
    restored: Collection[OccurrenceKey]


class PostStore(StorePart):
    """The accepted schedule, its posts, and their deliveries as first planned."""

    async def schedule_version(self) -> int:
        """Return the number of the schedule version in force, 0 before the first."""
        return await self.database.read(
            lambda connection: connection.scalar(NEWEST_VERSION) or 0
        )

    async def plan_basis(self) -> tuple[int, int, Sequence[str]]:
        """Return the version in force, the newest audit entry, and the settings of all daemons.

        The entry is 0 before the first. Every change that a plan depends on has an entry. So a plan
        stays complete while these are the same.
        """
        settings = select(
            func.aggregate_strings(WORKER_STATE.c.config_hash, HASH_SEPARATOR)
        )
        basis = select(
            NEWEST_VERSION.scalar_subquery(),
            select(func.coalesce(func.max(AUDIT.c.id), 0)).scalar_subquery(),
            settings.where(*self._is_running_elsewhere()).scalar_subquery(),
        )
        version, entry, hashes = await self.database.read(
            lambda connection: connection.execute(basis).one()
        )
        return version, entry, sorted(set((hashes or "").split()))

    async def hosts_with_other_settings(self, config_hash: str) -> list[str]:
        """Return the hosts of other running daemons that planned last with other settings."""
        has_others = (
            *self._is_running_elsewhere(),
            WORKER_STATE.c.config_hash != config_hash,
        )
        query = select(WORKER.c.host).where(*has_others)
        return await self.database.read(
            lambda connection: sorted(set(connection.scalars(query)))
        )

    def _is_running_elsewhere(self) -> Sequence[ColumnElement[bool]]:
        """Return the conditions for another daemon that runs, and for its state."""
        return (
            WORKER.c.id == WORKER_STATE.c.worker,
            WORKER.c.id != self.store.worker,
            WORKER.c.stopped_at.is_(None),
            WORKER.c.heartbeat_at > self.runtime.now() - HEARTBEAT_TIMEOUT,
        )

    async def config_hash(self) -> str | None:
        """Return the settings hash of this worker's last plan; None before the first plan."""
        query = select(WORKER_STATE.c.config_hash).where(
            WORKER_STATE.c.worker == self.store.worker
        )
        digest: str | None = await self.database.read_scalar(query)
        return digest

    async def set_config_hash(self, config_hash: str) -> None:
        if await self.config_hash() != config_hash:
            await self.database.write(
                set_worker_state, self.store.worker, config_hash=config_hash
            )

    async def active_schedule_text(self) -> str | None:
        """Return the text of the schedule version in force, or None before the first."""
        query = select(SCHEDULE.c.text).order_by(SCHEDULE.c.id.desc()).limit(1)
        text: str | None = await self.database.read_scalar(query)
        return text

    async def schedule_text_at(self, at: datetime) -> str | None:
        """Return the text of the schedule version in force at an instant, if it is still kept."""
        query = (
            select(SCHEDULE.c.text)
            .where(SCHEDULE.c.accepted_at <= at)
            .order_by(SCHEDULE.c.id.desc())
            .limit(1)
        )
        text: str | None = await self.database.read_scalar(query)
        return text or None

    async def is_old_schedule(self, text: str) -> bool:
        """Return True if a shared database once had this text in force, and has another one now.

        A worker that starts with such a file has an outdated copy. To go back to an earlier
        version, edit the file.
        """
        digest = sha256(text.encode()).hexdigest()
        query = select(SCHEDULE.c.id).where(SCHEDULE.c.sha256 == digest).limit(1)
        database = self.database
        return database.is_shared and await database.read_scalar(query) is not None

    async def get_post(self, post: PostId) -> Post | None:
        """Return a post as last accepted."""
        query = select(POST.c.body).where(POST.c.id == post)
        body: str | None = await self.database.read_scalar(query)
        return load_post(body) if body else None

    async def family_posts(self, *families: str) -> Sequence[Post]:
        """Return the stored posts with ids that people wrote: these posts, and their members."""

        def read(connection: Connection) -> Sequence[Post]:
            found = read_family_members(connection, families).values()
            members = [post for posts in found for post in posts]
            return [load_post(row.body) for row in post_rows(connection, members)]

        return await self.database.read(read)

    async def resend_blocker(self, post: Post, account: AccountId) -> str | None:
        """Return why a post may not be sent again to an account, if anything forbids it.

        That is a cancellation, an open delivery, or a one-off post that is published or may be.
        """
        now = self.runtime.now()
        return await self.database.read(find_resend_blocker, post, account, now)

    async def stored_posts(self, posts: Sequence[Post] = ()) -> StoredPosts:
        """Return the stored state of the scheduled posts and of `posts`.

        It is compared with a schedule.
        """
        now = self.runtime.now()
        return await self.database.read(read_stored_posts, posts, now)

    async def is_cancelled(self, post: PostId) -> bool:
        """Return True if a person has cancelled the post."""
        query = select(POST.c.id).where(POST.c.id == post, POST.c.is_cancelled)
        return await self.database.read_scalar(query) is not None

    async def corrected_by(self, post: PostId) -> PostId | None:
        """Return the correction that has ended the wish to publish a post, if one has."""
        query = select(POST.c.corrected_by).where(POST.c.id == post)
        correction: PostId | None = await self.database.read_scalar(query)
        return correction

    async def commit_plan(self, commit: PlanCommit, by: Actor = PLANNER) -> int:
        """Write a plan, and return the number of new deliveries. Idempotent.

        A plan made from a schedule version is written in batches. The rest is dropped when a newer
        version comes into force meanwhile. That version plans the missing part.

        Raises ConcurrentUpdateError when another schedule version came into force since the plan
        was made. Raises RefusedError when another person has ordered the same new occurrence
        meanwhile.
        """
        batches = split_into_batches(commit.plan, commit.rendered)
        if commit.base_version is None:
            batches = [join_batches(batches)]
        if commit.posts:
            changed = await self.database.read(find_changed_posts, commit)
            commit = replace(commit, posts=changed)
        inserted, version, remaining = await self._begin_plan(commit, batches, by)
        for batch in remaining:
            try:
                inserted += await self._continue_plan(commit, batch, version, by)
            except ConcurrentUpdateError:
                break
        return inserted

    @in_transaction
    def _begin_plan(
        self,
        transaction: Transaction,
        commit: PlanCommit,
        batches: Sequence[PlanBatch],
        by: Actor,
    ) -> tuple[int, int, Sequence[PlanBatch]]:
        """Write a version with the first batch. Return the new deliveries, version, and rest.

        The new deliveries are a number. Nothing is deferred while new posts may have been sent
        already, in a data-loss window.
        """
        now, connection = self.runtime.now(), transaction.connection
        lock_filing(self.store, transaction, [item.planned for item in commit.rendered])
        if commit.base_version is not None and commit.base_version != connection.scalar(
            NEWEST_VERSION
        ):
            raise ConcurrentUpdateError(commit.base_version)
        first, *remaining = (
            [join_batches(batches)] if covers_new_posts(transaction) else batches
        )
        # asked again inside the transaction: two people may order the same in the same second
        if commit.is_resend:
            new = [item.planned for item in first.rendered if item.planned.is_new]
            require_resendable(connection, new, now)
            # a person has decided about accounts added late
            for subject in {planned.post.id for planned in new}:
                clear_alerts(transaction, subject, now, ACCOUNTS_ADDED_LATE)
        for action in commit.actions:
            write_audit(
                transaction,
                now,
                action.by,
                event=action.event,
                subject=action.subject,
                detail=action.detail,
            )
        self._write_version(transaction, commit, now, by)
        report_removed(transaction, now, commit.taken, ())
        inserted = self._write_batch(transaction, commit, first, by, now)
        return inserted, connection.execute(NEWEST_VERSION).scalar_one(), remaining

    @in_transaction
    def _continue_plan(
        self,
        transaction: Transaction,
        commit: PlanCommit,
        batch: PlanBatch,
        version: int,
        by: Actor,
    ) -> int:
        """Write a later batch of a plan; return the number of new deliveries."""
        lock_filing(self.store, transaction, [item.planned for item in batch.rendered])
        if version != transaction.connection.scalar(NEWEST_VERSION):
            raise ConcurrentUpdateError(version)
        return self._write_batch(transaction, commit, batch, by, self.runtime.now())

    def _write_batch(
        self,
        transaction: Transaction,
        commit: PlanCommit,
        batch: PlanBatch,
        by: Actor,
        now: datetime,
    ) -> int:
        """Write one transaction's part of a plan, at its one instant.

        Return the number of new deliveries.
        """
        connection = transaction.connection
        gone = frozenset(commit.plan.removed_posts)
        self._cancel_removed(transaction, batch, gone)
        batch.rendered = self._without_conflicts(transaction, commit, batch)
        stopped = {
            row.id
            for row in post_rows(
                connection, [item.planned.post.id for item in batch.rendered]
            )
            if row.is_cancelled or (row.corrected_by and not commit.is_resend)
        }
        if commit.is_refresh:
            require_unstarted(transaction, batch.rendered, now)
            add_writers(
                self.store,
                transaction,
                {action.subject: action.by.name for action in commit.actions},
            )
        write_contents(transaction, commit.media, batch.rendered, stopped)
        wanted = [
            item for item in batch.rendered if item.planned.post.id not in stopped
        ]
        written = self._write_deliveries(
            transaction, wanted, now, is_ordered=not commit.is_scheduled
        )
        attach_orphans(self.store, transaction)
        keys = [
            (item.planned.post, item.planned.occurrence.key.occurrence)
            for item in batch.rendered
        ]
        mark_new_unresolved(
            self.store,
            transaction,
            keys,
            is_new_version=commit.schedule_text is not None,
        )
        self.runtime.hit_failpoint_now("plan.after_insert")
        report_removed(transaction, now, (), {key.post for key in written.restored})
        if commit.corrects is not None:
            stop_original(self.store, transaction, commit.corrects)
        else:
            stop_corrected(
                transaction,
                self.store,
                find_due_corrections([item.planned for item in wanted], now),
            )
        if self.store.approval_rules.is_active:
            # what is approved of a post that leaves the schedule stays approved: it may come back
            changed = {
                target.key
                for target in batch.removed_targets
                if target.key.post not in gone
            }
            changed |= {item.planned.occurrence.key for item in wanted}
            record_contents(self.store, transaction, changed, written.edited, by)
        delete_replaced_texts(transaction, batch.rendered)
        if batch.is_last and commit.is_whole and commit.base_version is not None:
            is_behind = POST.c.planned_hash != POST.c.target_hash
            connection.execute(
                update(POST).where(is_behind).values(planned_hash=POST.c.target_hash)
            )
        self.runtime.hit_failpoint_now("reload.before_commit")
        return written.inserted

    def _without_conflicts(
        self, transaction: Transaction, commit: PlanCommit, batch: PlanBatch
    ) -> list[RenderedOccurrence]:
        """Return the texts to file, without those that an account has under another id.

        The plan saw no conflict: a call has begun since, or a person has ordered one. The next plan
        names it. Raises RefusedError if people have ordered these texts. An order to send again has
        been asked about by itself.
        """
        if commit.is_resend:
            return batch.rendered
        planned = [item.planned for item in batch.rendered]
        conflicts = find_conflicts(transaction.connection, planned, Plan())
        if conflicts and commit.base_version is None:
            first = conflicts[0]
            raise RefusedError(
                FAMILY_CHANGED,
                post=first.key.post,
                account=first.account,
                other=first.other,
            )
        refused = {(one.key, one.account) for one in conflicts}
        kept = [item.without(refused) for item in batch.rendered]
        return [item for item in kept if item.planned.accounts]

    async def family_conflicts(
        self, planned: Sequence[PlannedDeliveries], leaving: Plan
    ) -> Sequence[FamilyConflict]:
        """Return the deliveries of a plan that an account has under another id."""
        return await self.database.read(find_conflicts, planned, leaving)

    def _write_deliveries(
        self,
        transaction: Transaction,
        wanted: Sequence[RenderedOccurrence],
        now: datetime,
        *,
        is_ordered: bool,
    ) -> WrittenDeliveries:
        """Write new and revised deliveries."""
        inserted, edited, restored = 0, set(), set()
        for item in wanted:
            if item.planned.is_new:
                inserted += self._insert_deliveries(
                    transaction, item, now, is_ordered=is_ordered
                )
                continue
            is_edited, is_restored = self._revise_deliveries(transaction, item)
            edited |= {item.planned.occurrence.key} if is_edited else set()
            restored |= {item.planned.occurrence.key} if is_restored else set()
        follow_called_forms(transaction.connection, [item.planned for item in wanted])
        return WrittenDeliveries(inserted=inserted, edited=edited, restored=restored)

    def _cancel_removed(
        self, transaction: Transaction, batch: PlanBatch, gone: AbstractSet[PostId]
    ) -> None:
        """Cancel the deliveries of removed posts, and of accounts that a post has lost.

        A removed post has left the schedule.
        """
        for target in batch.removed_targets:
            reason = REMOVAL_REASONS[0 if target.key.post in gone else 1]
            if target.is_withdrawn:
                reason = WORDS_REPLACED
            for account in target.accounts:
                of_account = {
                    "post": target.key.post,
                    "occurrence": target.key.occurrence,
                    "account": account,
                }
                cancel_matching(
                    self.store, transaction, of_account, PLANNER, reason=reason
                )
        for post in batch.removed_posts:
            cancel_matching(
                self.store,
                transaction,
                {"post": post},
                PLANNER,
                reason=REMOVAL_REASONS[0],
            )
            transaction.connection.execute(
                update(POST).where(POST.c.id == post).values(is_scheduled=False)
            )

    @in_transaction
    def record_rejection(self, transaction: Transaction, reason: str) -> None:
        """Raise an alert about a rejected schedule version, unless one with this reason is open."""
        query = select(ALERT.c.facts).where(
            ALERT.c.code == "reload_refused", ALERT.c.cleared_at.is_(None)
        )
        if reason not in [
            json.loads(facts)["reason"]
            for facts in transaction.connection.scalars(query)
        ]:
            replace_alerts(
                transaction,
                self.runtime.now(),
                "reload_refused",
                "schedule",
                {"reason": reason},
            )

    @in_transaction
    def clear_rejection(self, transaction: Transaction) -> None:
        """Clear the rejection alert: the schedule file matches the version in force again."""
        clear_alerts(transaction, "schedule", self.runtime.now())
        trust_schedule(transaction)

    async def report_plan(self, alerts: PlanAlerts, version: int) -> None:
        """Keep the alerts about the plan of a version as they must be.

        Raises ConcurrentUpdateError if a newer version is in force.
        """
        if await self.database.read(find_outdated, alerts):
            now = self.runtime.now()
            await self.database.write(write_plan_alerts, alerts, version, now)

    async def report_late_accounts(self, late_accounts: Sequence[LateAccounts]) -> None:
        """Raise an alert about each post with accounts added too late, unless people know it."""
        if await self.database.read(find_unreported, late_accounts):
            now = self.runtime.now()
            await self.database.write(raise_late_account_alerts, now, late_accounts)

    @in_transaction
    def register_logins(self, transaction: Transaction) -> None:
        """Insert a row for every login of the settings that has none."""
        logins = {policy.account.login for policy in self.store.policies.values()}
        new = sorted(logins - set(transaction.connection.scalars(select(LOGIN.c.id))))
        rows = [
            {
                "id": login,
                "cooldown_until": UNIX_EPOCH,
                "routine_cooldown_until": UNIX_EPOCH,
            }
            for login in new
        ]
        if rows:
            transaction.connection.execute(insert(LOGIN), rows)

    def _write_version(
        self, transaction: Transaction, commit: PlanCommit, now: datetime, by: Actor
    ) -> None:
        """Write the new schedule version, if any, and the new or changed posts."""
        connection = transaction.connection
        if commit.schedule_text is not None:
            digest = write_version(connection, commit.schedule_text, now)
            write_audit(
                transaction,
                now,
                by,
                event="schedule_accepted",
                subject="schedule",
                detail={"sha256": digest},
            )
            clear_alerts(transaction, "schedule", now)
            apply_alert_changes(transaction, now, commit.alerts)
            raise_late_account_alerts(transaction, now, commit.plan.late_accounts)
        stored = {
            row.id: row
            for row in post_rows(connection, [post.id for post in commit.posts])
        }
        authorship = find_authorship(
            self.store, connection, commit.posts, stored.keys(), commit
        )
        note_left_out(self.store, transaction, commit.plan.left_out_posts, commit)
        unknown = {post.id for post in commit.posts} - stored.keys()
        stops = find_inherited_stops(connection, unknown) if unknown else {}
        new = []
        for post in commit.posts:
            row = stored.get(post.id)
            values = {
                "content_hash": post.content_hash,
                "target_hash": post.target_hash,
                "body": dump_post(post),
                "is_scheduled": commit.is_scheduled,
                **authorship[post.id],
            }
            if row is None:
                planned_hash = (
                    "" if commit.base_version is not None else post.target_hash
                )
                once = {
                    "id": post.id,
                    "in_force_since": now,
                    "is_cancelled": False,
                    "corrected_by": None,
                    "planned_hash": planned_hash,
                    **stops.get(find_family(post.id), {}),
                }
                new.append({**values, **once})
            else:
                if load_post(row.body).trigger != post.trigger:
                    values["in_force_since"] = now
                connection.execute(
                    update(POST).where(POST.c.id == post.id).values(values)
                )
        if new:
            connection.execute(insert(POST), new)

    def _insert_deliveries(
        self,
        transaction: Transaction,
        item: RenderedOccurrence,
        now: datetime,
        *,
        is_ordered: bool,
    ) -> int:
        """Insert the deliveries that do not exist yet, with their audit entries. Returns how many.

        An account joins no occurrence that has been called meanwhile, nor a one-time post that a
        person sends to it.
        """
        key, post, revision = (
            item.planned.occurrence.key,
            item.planned.post,
            item.revision.id,
        )
        is_of_key = DELIVERY.c.occurrence == key.occurrence
        if item.planned.is_late_addition:
            if lock_occurrence(transaction.connection, key)[1]:
                return 0
            if isinstance(post.trigger, OneTimeTrigger):
                is_of_key = or_(
                    is_of_key, in_state(DELIVERY, *OPEN_STATES, State.PUBLISHED)
                )
        query = select(DELIVERY.c.account).where(DELIVERY.c.post == key.post, is_of_key)
        existing = set(transaction.connection.scalars(query))
        is_ordered_now = is_ordered and item.planned.occurrence.due_at <= now
        is_immediate = is_ordered_now or (
            isinstance(post.trigger, OneTimeTrigger) and post.trigger.at is None
        )
        waits = is_immediate and bool(self.store.approval_rules.chain_for(post.kind))
        rows = [
            delivery_row(
                item,
                revision,
                rendered_post,
                self.store.policies,
                now,
                is_due_when_approved=waits,
            )
            for rendered_post in item.revision.rendered_posts
            if rendered_post.account not in existing
        ]
        if rows:
            transaction.connection.execute(insert(DELIVERY), rows)
        for row in rows:
            subject = format_delivery_name(
                str(row["post"]), str(row["occurrence"]), str(row["account"])
            )
            entry = audit_entry(
                now,
                PLANNER,
                event="planned",
                subject=subject,
                after=State.PENDING.value,
            )
            write_entries(transaction, [entry])
        return len(rows)

    def _is_due_when_approved(self, planned: PlannedDeliveries) -> bool:
        """Return True if a post has no time of its own and needs approvals.

        Examples are `asap`, or a post that a person sends.
        """
        trigger = planned.post.trigger
        is_immediate = planned.scheduled_at is not None or (
            isinstance(trigger, OneTimeTrigger) and trigger.at is None
        )
        return is_immediate and bool(
            self.store.approval_rules.chain_for(planned.post.kind)
        )

    def _revise_deliveries(
        self, transaction: Transaction, item: RenderedOccurrence
    ) -> tuple[bool, bool]:
        """Apply an edit to each delivery that may still lead to a call.

        Return True if it replaced a text, and True if a delivery came back.

        The occurrence is locked first. Another host's intent either counts here as started, or
        reads the new text. A delivery that was never called, and ended because of the schedule or
        of time, comes back. It does not if a person has ordered another delivery in its place
        meanwhile. Every delivery records the content it was compared with. A delivery that is being
        sent, or is held for the edit, keeps its own text and revision.
        """
        planned = item.planned
        occurrence = item.planned.occurrence
        connection = transaction.connection
        rows, has_started = lock_occurrence(connection, occurrence.key)
        revision, is_edited, has_restored = item.revision.id, False, False
        has_no_time = self._is_due_when_approved(planned)
        live = read_live_deliveries(connection, [planned.post.id]).get(
            planned.post.id, frozenset()
        )
        sent_elsewhere = find_sent_elsewhere(
            planned.post, occurrence.key.occurrence, live
        )
        for rendered_post in item.revision.rendered_posts:
            row = rows.get(rendered_post.account)
            if row is None:
                continue
            delivery = to_delivery(row)
            is_restored = (
                delivery.is_restorable and delivery.account not in sent_elsewhere
            )
            if not is_restored and delivery.state not in REVISABLE_STATES:
                continue
            was_sent_ahead = (
                planned.scheduled_at is None
                and row["due_at"] < row["scheduled_at"] == occurrence.due_at
            )
            if (
                is_restored
                and (row["first_attempt_deadline"] or row["expires_at"])
                <= self.runtime.now()
            ):
                was_sent_ahead = False  # it is too late for that
            content = Revised(
                rendered_hash=rendered_post.fingerprint,
                due_at=delivery.due_at if was_sent_ahead else occurrence.due_at,
                expires_at=delivery.expires_at
                if was_sent_ahead
                else occurrence.expires_at,
                max_delay=planned.post.max_delay,
                is_urgent=planned.post.is_urgent,
                has_started=has_started,
                extra_parts=len(rendered_post.extra_parts),
                kind=planned.post.kind.value,
                is_due_when_approved=has_no_time
                or (
                    row["is_due_when_approved"]
                    and row["scheduled_at"] == occurrence.due_at
                ),
            )
            event = Restored(content=content) if is_restored else content
            after = self.store.transition(transaction, delivery, event, PLANNER)
            values: dict[str, object] = {
                "content_hash": item.revision.content_hash,
                "scheduled_at": planned.scheduled_at or occurrence.due_at,
                "follows": planned.post.follows,
            }
            is_edited = is_edited or (
                not has_started and row["content_hash"] != item.revision.content_hash
            )
            has_restored = has_restored or is_restored
            if after.rendered_hash == rendered_post.fingerprint:
                values |= {
                    "revision_hash": revision,
                    "marker": rendered_post.marker.code,
                }
            connection.execute(
                update(DELIVERY).where(DELIVERY.c.id == after.id).values(values)
            )
        return is_edited, has_restored


def find_changed_posts(connection: Connection, commit: PlanCommit) -> list[Post]:
    """Return the posts that are not stored as the commit has them.

    A comparison of thousands takes long. So it is done before the transaction, because a call's
    intent would have to wait in it.
    """
    stored = {
        row.id: row for row in post_rows(connection, [post.id for post in commit.posts])
    }
    return [
        post
        for post in commit.posts
        if (row := stored.get(post.id)) is None
        or row.is_scheduled != commit.is_scheduled
        or row.body != dump_post(post)
    ]


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
        "first_attempt_deadline": occurrence.expires_at
        if is_due_when_approved
        else occurrence.due_at + post.max_delay,
        "updated_at": now,
        "is_urgent": post.is_urgent,
        "follows": post.follows,
        "extra_parts": len(rendered_post.extra_parts),
        "kind": post.kind.value,
        "is_due_when_approved": is_due_when_approved,
    }
