"""Actions of people about approvals: give, end, return, and release in an emergency."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, or_, select, update

from publisher.domain.account import AccountId
from publisher.domain.approval import (
    AFTER_REVIEW_PERIOD,
    AWAITING_APPROVAL,
    MIN_FINGERPRINT_LENGTH,
    Approval,
    Chain,
    Stage,
    hash_chain,
    is_covered,
    is_fingerprint_of,
)
from publisher.domain.characters import is_same_name, name_skeleton
from publisher.domain.delivery import (
    OPEN_STATES,
    WAITING_STATES,
    Actor,
    Approved,
    State,
)
from publisher.domain.errors import ApprovalError
from publisher.domain.post import (
    Fingerprint,
    OccurrenceKey,
    Post,
    PostId,
    RenderedPost,
    make_occurrence,
)
from publisher.domain.remark import Remark, dump_return, join_remarks, load_return
from publisher.store.approvals.guard import (
    AFTER_REVIEW_DUE,
    AFTER_REVIEW_OVERDUE,
    APPROVAL_ALERTS,
    IS_TARGETED,
    IS_UNSENT,
    OccurrenceContent,
    OccurrenceRecord,
    TextRecord,
    alert_facts,
    end_approvals,
    forget_approved,
    is_given,
    judge_content,
    name_occurrence,
    read_all_records,
    read_contents,
    takes_approval,
    to_approval,
)
from publisher.store.approvals.repeats import Repeat, find_repeats
from publisher.store.approvals.tasks import (
    ApprovalTask,
    Approver,
    CheckTask,
    Return,
    SeenContent,
    allow_task,
    find_refusal,
    find_release_refusal,
)
from publisher.store.base import BaseStore, StateChange, StorePart
from publisher.store.db.approval_tables import APPROVABLE_TEXT, APPROVAL, DUTY_OFFICER
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.filters import in_state
from publisher.store.db.rows import (
    QUERY_BATCH_SIZE,
    batches,
    clear_alerts,
    lock_planning,
    open_alerts,
    raise_alert,
    write_audit,
)
from publisher.store.db.tables import (
    DELIVERY,
    POST,
    RENDERED_POST,
    load_post,
    load_rendered_post,
    read_deliveries,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnApproval:
    """A person's approval, and whether it can still be ended.

    `ended_reason` is set once it has been ended.
    """

    key: OccurrenceKey
    post: Post
    approval: Approval
    ended_reason: str | None
    can_be_ended: bool


def allow_accounts(_accounts: Collection[AccountId]) -> None:
    """Raise nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnapproveResult:
    """The number of ended approvals, the occurrences, and the number of sent deliveries.

    The sent deliveries are the ones sent before. `is_too_late` means that every call has begun. A
    call that turns out to have sent nothing is not repeated.
    """

    approvals: int
    occurrences: Sequence[str]
    sent_before: int
    is_too_late: bool


def list_tasks(
    store: BaseStore,
    contents: Mapping[OccurrenceKey, OccurrenceContent],
    records: Mapping[OccurrenceKey, OccurrenceRecord],
) -> list[ApprovalTask]:
    """Return the tasks of occurrences, as `ApprovalStore.tasks` does."""
    found: dict[tuple[OccurrenceKey, Chain], list[Row[Any]]] = defaultdict(list)
    for key, content in contents.items():
        if key not in records:  # a database from elsewhere may have any row
            continue
        for row in content.deliveries:
            chain = store.approval_rules.chain_for(row.kind)
            if chain and (records[key].is_released or row.state in OPEN_STATES):
                found[key, chain].append(row)
    # what a call may be made for comes before what was sent, of another kind, before an edit
    ordered = sorted(
        found.items(),
        key=lambda item: (item[1][0].due_at, not _can_be_stopped(item[1])),
    )
    tasks = []
    for (key, _chain), rows in ordered:
        record, first = records[key], rows[0]
        status = judge_content(store, key, contents[key], record)[key, first.kind]
        if not (any(row.state in OPEN_STATES for row in rows) or status.missing):
            continue
        text = record.texts.get(status.fingerprint)
        tasks.append(
            ApprovalTask(
                key=key,
                post=load_post(record.post.body),
                accounts=[AccountId(row.account) for row in rows],
                due_at=None
                if first.is_due_when_approved and status.missing
                else first.due_at,
                status=status,
                saved_by=text.saved_by if text else None,
                file_owner=text.file_owner if text else None,
                saved_at=text.at if text else None,
                is_edit=bool(text and text.is_edit),
                returned=_to_return(status.fingerprint, text),
            )
        )
    return tasks


class ApprovalStore(StorePart):
    """The approvals of people. Each writing method is one transaction."""

    async def tasks(self, post: PostId | None = None) -> Sequence[ApprovalTask]:
        """Return the occurrences with content that people approve before sending, earliest first.

        With a post or a family, return only its occurrences. An occurrence is there once for each
        chain if its kind was edited while part of it was sent. An emergency release stays among
        them until its chain is complete, with any outcome.
        """
        return await self.database.read(self._tasks, post)

    def _tasks(self, connection: Connection, post: PostId | None) -> list[ApprovalTask]:
        contents = read_contents(
            connection, takes_approval(self.store.approval_rules, post)
        )
        return list_tasks(
            self.store, contents, read_all_records(connection, contents.keys())
        )

    @staticmethod
    def _text(
        connection: Connection, key: OccurrenceKey, content: Fingerprint
    ) -> Row[Any] | None:
        return connection.execute(
            select(APPROVABLE_TEXT).where(*_is_text(key, content))
        ).one_or_none()

    async def contents(
        self, key: OccurrenceKey, content: Fingerprint
    ) -> Sequence[RenderedPost]:
        """Return the final texts of a fingerprint, by account; nothing if they are not stored."""

        def read(connection: Connection) -> list[RenderedPost]:
            text = self._text(connection, key, content)
            hashes = sorted(json.loads(text.rendered_hashes).values()) if text else []
            query = select(RENDERED_POST.c.body).where(
                RENDERED_POST.c.fingerprint.in_(hashes)
            )
            return [
                load_rendered_post(body)
                for body in connection.scalars(query.order_by(RENDERED_POST.c.account))
            ]

        return await self.database.read(read)

    async def contents_of(
        self, wanted: Mapping[OccurrenceKey, Fingerprint]
    ) -> Mapping[OccurrenceKey, Sequence[RenderedPost]]:
        """Return the final texts of several fingerprints, by account, as far as they are stored."""
        return await self.database.read(_read_contents_of, wanted)

    async def repeats(self, posts: Collection[PostId]) -> Mapping[PostId, Repeat]:
        """Return which of these posts repeat the words of another one on its accounts."""
        now = self.runtime.now()
        return await self.database.read(find_repeats, posts, now)

    async def last_approved(self, key: OccurrenceKey, person: str) -> Approval | None:
        """Return a person's last yes to an occurrence, whether it still counts or not."""
        query = select(APPROVAL).where(is_given(key)).order_by(APPROVAL.c.id.desc())
        rows = await self.database.read_rows(query)
        return next(
            (to_approval(row) for row in rows if is_same_name(row.person, person)), None
        )

    async def last_returned(self, key: OccurrenceKey) -> Return | None:
        """Return the last request for a change of an occurrence, whatever its text is now."""
        query = (
            select(APPROVABLE_TEXT)
            .where(
                APPROVABLE_TEXT.c.post == key.post,
                APPROVABLE_TEXT.c.occurrence == key.occurrence,
                APPROVABLE_TEXT.c.returned_at.is_not(None),
            )
            .order_by(APPROVABLE_TEXT.c.returned_at.desc())
            .limit(1)
        )
        rows = await self.database.read_rows(query)
        return next((_to_return(row.fingerprint, row) for row in rows), None)

    async def given_by(self, person: str, since: datetime) -> Sequence[OwnApproval]:
        """Return a person's approvals since an instant, newest first."""
        query = (
            select(APPROVAL, IS_UNSENT.label("is_unsent"), POST.c.body)
            .join(POST, POST.c.id == APPROVAL.c.post)
            .where(APPROVAL.c.at >= since)
            .order_by(APPROVAL.c.id.desc())
        )
        rows = await self.database.read_rows(query)
        return [
            OwnApproval(
                key=OccurrenceKey(post=PostId(row.post), occurrence=row.occurrence),
                post=load_post(row.body),
                approval=to_approval(row),
                ended_reason=row.ended_reason,
                can_be_ended=row.is_unsent and row.ended_at is None,
            )
            for row in rows
            if is_same_name(row.person, person)
        ]

    @in_transaction
    def approve(  # noqa: PLR0913, PLR0917 # who approves what, and the time that they have seen
        self,
        transaction: Transaction,
        post: PostId,
        fingerprint: str,
        approver: Approver,
        by: Actor,
        seen_at: datetime | None = None,
        check: CheckTask = allow_task,
    ) -> ApprovalTask:
        """Record a person's approval of exactly this content, at the first incomplete stage.

        The occurrence is read once, in the transaction, and passed to `check`. With the last
        approval, the deliveries that waited for it become due. Raises ApprovalError
        if the content has changed since, or if the time that the person has seen was brought
        forward. Raises ApprovalError if nothing needs an approval, or if the person may not give
        it.
        """
        lock_planning(transaction)
        tasks = self._tasks(transaction.connection, post)
        seen = SeenContent(post=post, fingerprint=fingerprint, scheduled_at=seen_at)
        return self._approve(transaction, tasks, seen, approver, by, check)

    @in_transaction
    def approve_members(  # noqa: PLR0913, PLR0917 # who approves what
        self,
        transaction: Transaction,
        family: str,
        contents: Sequence[SeenContent],
        approver: Approver,
        by: Actor,
        check: CheckTask = allow_task,
    ) -> Sequence[ApprovalTask]:
        """Record a person's approval of exactly these contents of a family: of all, or of none.

        Raises the ApprovalError of the first member that has changed, or that they may not approve.
        """
        lock_planning(transaction)
        tasks = self._tasks_of_members(transaction.connection, family)
        return [
            self._approve(transaction, tasks[seen.post], seen, approver, by, check)
            for seen in contents
        ]

    def _tasks_of_members(
        self, connection: Connection, family: str
    ) -> Mapping[PostId, Sequence[ApprovalTask]]:
        tasks: dict[PostId, list[ApprovalTask]] = defaultdict(list)
        for task in self._tasks(connection, PostId(family)):
            tasks[task.key.post].append(task)
        return tasks

    def _approve(  # noqa: PLR0913, PLR0917 # as above
        self,
        transaction: Transaction,
        tasks: Sequence[ApprovalTask],
        seen: SeenContent,
        approver: Approver,
        by: Actor,
        check: CheckTask,
    ) -> ApprovalTask:
        found = _find(tasks, seen.post, seen.fingerprint, check)
        if not all(
            is_covered(seen.scheduled_at, task.status.scheduled_at) for task in found
        ):
            raise ApprovalError("approval_changed", post=seen.post)
        refusals = [find_refusal(task, approver) for task in found]
        for task, refusal in zip(found, refusals, strict=True):
            if refusal is None:
                stage = task.status.missing[0].stage
                return self._record(transaction, task, found, stage, approver.name, by)
        raise next(filter(None, refusals))

    def _find(
        self, connection: Connection, post: PostId, fingerprint: str, check: CheckTask
    ) -> Sequence[ApprovalTask]:
        return _find(self._tasks(connection, post), post, fingerprint, check)

    def _record(  # noqa: PLR0913, PLR0917 # who approves what, and what else was read of it
        self,
        transaction: Transaction,
        task: ApprovalTask,
        tasks: Sequence[ApprovalTask],
        stage: Stage | None,
        person: str,
        by: Actor,
    ) -> ApprovalTask:
        """Store an approval, and make due the deliveries that waited for it.

        `tasks` has the other chains of the occurrence. Without a stage it is an approval of an
        emergency. Return the occurrence as it is then.
        """
        now = self.runtime.now()
        approval = Approval(
            person=person,
            stage=stage.name if stage else "",
            chain=hash_chain(task.status.chain),
            fingerprint=task.status.fingerprint,
            at=now,
            scheduled_at=task.status.scheduled_at,
            is_emergency=stage is None,
        )
        row = {
            "post": task.key.post,
            "occurrence": task.key.occurrence,
            **asdict(approval),
        }
        transaction.connection.execute(insert(APPROVAL).values(row))
        detail = {name: row[name] for name in ("fingerprint", "stage", "is_emergency")}
        if approval.scheduled_at is not None:
            detail["scheduled_at"] = approval.scheduled_at.isoformat()
        write_audit(
            transaction,
            now,
            by,
            event="approval_given",
            subject=task.name,
            detail=detail,
        )
        same = [
            one
            for one in tasks
            if one.key == task.key and one.status.chain != task.status.chain
        ]
        after, *others = [
            replace(
                one,
                status=replace(one.status, approvals=[*one.status.approvals, approval]),
            )
            for one in (task, *same)
        ]
        approved = [one for one in (after, *others) if one.status.is_approved]
        self._release(
            transaction, task, {one.status.chain for one in approved}, now, by
        )
        if len(approved) > len(others):
            for code in APPROVAL_ALERTS:
                clear_alerts(transaction, task.name, now, code)
        if not any(one.status.missing for one in (after, *others)):
            self._end_after_review(transaction, task.name, now, by)
        return after

    @staticmethod
    def _end_after_review(
        transaction: Transaction, name: str, now: datetime, by: Actor
    ) -> None:
        """Note that the review left by an emergency release is done, if there is one."""
        if any(
            code == AFTER_REVIEW_DUE
            for code, _facts in open_alerts(transaction.connection, name)
        ):
            for code in (AFTER_REVIEW_DUE, AFTER_REVIEW_OVERDUE):
                clear_alerts(transaction, name, now, code)
            write_audit(transaction, now, by, event="after_review_done", subject=name)

    def _release(
        self,
        transaction: Transaction,
        task: ApprovalTask,
        chains: Collection[Chain],
        now: datetime,
        by: Actor,
    ) -> None:
        """Let go the deliveries held for the last approval of these chains.

        They have waited at their time. Give a time to the ones without one.
        """
        is_waiting = (
            DELIVERY.c.post == task.key.post,
            DELIVERY.c.occurrence == task.key.occurrence,
            in_state(DELIVERY, State.PENDING),
            or_(
                DELIVERY.c.reason == AWAITING_APPROVAL, DELIVERY.c.is_due_when_approved
            ),
        )
        waiting = read_deliveries(
            transaction.connection,
            select(DELIVERY).where(*is_waiting).with_for_update(),
        )
        event = Approved(
            expires_at=make_occurrence(task.post, task.key.occurrence, now).expires_at
        )
        rules = self.store.approval_rules
        released = [
            delivery for delivery in waiting if rules.chain_for(delivery.kind) in chains
        ]
        changes = [StateChange(before=delivery, event=event) for delivery in released]
        self.store.transition_all(transaction, changes, by)

    @in_transaction
    def release_in_emergency(  # noqa: PLR0913, PLR0917 # who releases what, and why
        self,
        transaction: Transaction,
        family: str,
        contents: Sequence[SeenContent],
        approver: Approver,
        by: Actor,
        reason: str,
        check: CheckTask = allow_task,
    ) -> Sequence[ApprovalTask]:
        """Record that an officer on duty releases these contents without their chain: all or none.

        They are members of a family, or one ordinary post. The chain must follow within a day. It
        takes two people: the author, and another officer that may approve. Raises ApprovalError.
        """
        lock_planning(transaction)
        tasks = self._tasks_of_members(transaction.connection, family)
        officers = transaction.connection.scalars(select(DUTY_OFFICER.c.name))
        on_duty = set(map(name_skeleton, officers))
        released = []
        for seen in contents:
            found = _find(tasks[seen.post], seen.post, seen.fingerprint, check)
            task = min(found, key=lambda one: one.status.is_approved)
            if refusal := find_release_refusal(task, approver, on_duty):
                raise refusal
            after = self._record(transaction, task, found, None, approver.name, by)
            self._note_release(transaction, after, by, reason)
            released.append(after)
        return released

    def _note_release(
        self, transaction: Transaction, task: ApprovalTask, by: Actor, reason: str
    ) -> None:
        """Note a release in the audit, and ask for the approvals after it once it is complete."""
        now = self.runtime.now()
        write_audit(
            transaction,
            now,
            by,
            event="emergency_released",
            subject=task.name,
            detail={"reason": reason, "fingerprint": task.status.fingerprint},
        )
        if not task.status.is_emergency:
            return
        alerts = open_alerts(transaction.connection, task.name)
        if not any(code == AFTER_REVIEW_DUE for code, _facts in alerts):
            until = (now + AFTER_REVIEW_PERIOD).isoformat()
            facts = {**alert_facts(task.key), "until": until}
            raise_alert(transaction, now, AFTER_REVIEW_DUE, task.name, facts)

    @in_transaction
    def return_text(  # noqa: PLR0913, PLR0917 # who returns what, and why
        self,
        transaction: Transaction,
        post: PostId,
        fingerprint: str,
        by: Actor,
        reason: str,
        check: CheckTask = allow_task,
        remarks: Sequence[Remark] = (),
    ) -> ApprovalTask:
        """Ask for a change of exactly this content, and end its approvals.

        Return the occurrence as it was. Raises ApprovalError.
        """
        lock_planning(transaction)
        task = self._find(transaction.connection, post, fingerprint, check)[0]
        self._return(transaction, task, by, reason, remarks)
        return task

    @in_transaction
    def return_members(  # noqa: PLR0913, PLR0917 # who returns what, and why
        self,
        transaction: Transaction,
        family: str,
        contents: Sequence[SeenContent],
        by: Actor,
        reason: str,
        check: CheckTask = allow_task,
    ) -> Sequence[ApprovalTask]:
        """Ask for a change of exactly these contents of a family: of all, or of none.

        Return the occurrences as they were. Raises ApprovalError.
        """
        lock_planning(transaction)
        tasks = self._tasks_of_members(transaction.connection, family)
        returned = [
            _find(tasks[seen.post], seen.post, seen.fingerprint, check)[0]
            for seen in contents
        ]
        for task in returned:
            self._return(transaction, task, by, reason, ())
        return returned

    def _return(
        self,
        transaction: Transaction,
        task: ApprovalTask,
        by: Actor,
        reason: str,
        remarks: Sequence[Remark],
    ) -> None:
        now, content = self.runtime.now(), task.status.fingerprint
        forget_approved(transaction, POST.c.id == task.key.post)
        ended = end_approvals(
            transaction, now, "returned", by.name, is_given(task.key), IS_UNSENT
        )
        values = {
            "returned_at": now,
            "returned_by": by.name,
            "returned_reason": dump_return(reason, remarks),
        }
        returned = (
            update(APPROVABLE_TEXT).where(*_is_text(task.key, content)).values(values)
        )
        transaction.connection.execute(returned)
        detail = {
            "reason": join_remarks(reason, remarks),
            "fingerprint": content,
            "approvals_ended": ended,
        }
        write_audit(
            transaction, now, by, event="returned", subject=task.name, detail=detail
        )

    @in_transaction
    def undo_return(
        self,
        transaction: Transaction,
        post: PostId,
        fingerprint: str,
        by: Actor,
        check: CheckTask = allow_task,
    ) -> ApprovalTask:
        """Take back the request of `return_text`. The ended approvals stay ended.

        Raises ApprovalError if the content has changed since, or if another person has returned it.
        """
        lock_planning(transaction)
        task = self._find(transaction.connection, post, fingerprint, check)[0]
        is_theirs = (
            *_is_text(task.key, task.status.fingerprint),
            APPROVABLE_TEXT.c.returned_by == by.name,
        )
        values = {"returned_at": None, "returned_by": None, "returned_reason": None}
        if not transaction.connection.execute(
            update(APPROVABLE_TEXT).where(*is_theirs).values(values)
        ).rowcount:
            raise ApprovalError("return_not_theirs", post=task.name)
        write_audit(
            transaction,
            self.runtime.now(),
            by,
            event="return_undone",
            subject=task.name,
        )
        return task

    @in_transaction
    def unapprove(  # noqa: PLR0913, PLR0917 # which yeses of whom, and why
        self,
        transaction: Transaction,
        post: PostId,
        occurrence: str | None,
        by: Actor,
        reason: str,
        of: str | None = None,
        check: Callable[[Collection[AccountId]], None] = allow_accounts,
    ) -> UnapproveResult:
        """End every approval of unsent content of a post, or of one of its occurrences.

        With `of`, end only this person's approvals. `check` gets the accounts of the content.
        Raises ApprovalError if there is none.
        """
        lock_planning(transaction)
        now, connection = self.runtime.now(), transaction.connection
        given = [APPROVAL.c.post == post, APPROVAL.c.ended_at.is_(None), IS_UNSENT]
        if occurrence is not None:
            given.append(APPROVAL.c.occurrence == occurrence)
        if of is not None:
            rows = connection.execute(
                select(APPROVAL.c.id, APPROVAL.c.person).where(*given)
            ).all()
            given.append(
                APPROVAL.c.id.in_(
                    [row.id for row in rows if is_same_name(row.person, of)]
                )
            )
        names = connection.scalars(
            select(APPROVAL.c.occurrence).where(*given).distinct()
        ).all()
        forget_approved(transaction, POST.c.id == post)
        # ended first: an intent that relies on one has committed by then, and its delivery counts
        # as sent
        number = end_approvals(transaction, now, "unapproved", by.name, *given)
        keys = [OccurrenceKey(post=post, occurrence=name) for name in names]
        is_concerned = (
            DELIVERY.c.post == post,
            DELIVERY.c.occurrence.in_(names),
            IS_TARGETED,
        )
        deliveries = read_deliveries(connection, select(DELIVERY).where(*is_concerned))
        if not deliveries:
            raise ApprovalError("unapprove_nothing", post=post)
        check([delivery.account for delivery in deliveries])
        for key in keys:
            write_audit(
                transaction,
                now,
                by,
                event="unapproved",
                subject=name_occurrence(key),
                detail={"reason": reason},
            )
        sent_before = [
            delivery for delivery in deliveries if delivery.state in SENT_STATES
        ]
        return UnapproveResult(
            approvals=number,
            occurrences=[name_occurrence(key) for key in keys],
            sent_before=len(sent_before),
            is_too_late=not any(
                delivery.state in STOPPABLE_STATES for delivery in deliveries
            ),
        )


def _find(
    tasks: Sequence[ApprovalTask], post: PostId, fingerprint: str, check: CheckTask
) -> Sequence[ApprovalTask]:
    """Return the occurrence with this fingerprint, once for each chain, incomplete ones first.

    Raises ApprovalError if there is none, and the error of `check` for one that it refuses.
    """
    if not tasks:
        raise ApprovalError("approval_nothing_waits", post=post)
    found = [
        task
        for task in tasks
        if is_fingerprint_of(fingerprint, task.status.fingerprint)
    ]
    for task in found or tasks[:1]:
        check(task)
    if len(fingerprint.strip()) < MIN_FINGERPRINT_LENGTH:
        raise ApprovalError("fingerprint_too_short", number=str(MIN_FINGERPRINT_LENGTH))
    if not found:
        raise ApprovalError("approval_changed", post=post)
    return sorted(found, key=lambda task: not task.status.missing)


def _read_contents_of(
    connection: Connection, wanted: Mapping[OccurrenceKey, Fingerprint]
) -> Mapping[OccurrenceKey, Sequence[RenderedPost]]:
    columns = APPROVABLE_TEXT.c
    hashes: dict[OccurrenceKey, Collection[str]] = {}
    for contents in batches(sorted(wanted.values()), QUERY_BATCH_SIZE):
        query = select(APPROVABLE_TEXT).where(columns.fingerprint.in_(contents))
        for row in connection.execute(query):
            key = OccurrenceKey(post=PostId(row.post), occurrence=row.occurrence)
            if wanted.get(key) == row.fingerprint:
                hashes[key] = json.loads(row.rendered_hashes).values()
    found: dict[str, RenderedPost] = {}
    for names in batches(sorted(set().union(*hashes.values())), QUERY_BATCH_SIZE):
        query = select(RENDERED_POST.c.fingerprint, RENDERED_POST.c.body)
        for row in connection.execute(
            query.where(RENDERED_POST.c.fingerprint.in_(names))
        ):
            found[row.fingerprint] = load_rendered_post(row.body)
    return {
        key: [found[name] for name in hashes.get(key, ()) if name in found]
        for key in wanted
    }


def _is_text(
    key: OccurrenceKey, content: Fingerprint
) -> tuple[ColumnElement[bool], ...]:
    columns = APPROVABLE_TEXT.c
    return (
        columns.post == key.post,
        columns.occurrence == key.occurrence,
        columns.fingerprint == content,
    )


def _to_return(
    content: Fingerprint, text: TextRecord | Row[Any] | None
) -> Return | None:
    if text is None or text.returned_at is None:
        return None
    reason, remarks = load_return(text.returned_reason or "")
    return Return(
        by=text.returned_by or "",
        at=text.returned_at,
        reason=reason,
        fingerprint=content,
        remarks=remarks,
    )


def _can_be_stopped(rows: Iterable[Row[Any]]) -> bool:
    return any(row.state in STOPPABLE_STATE_NAMES for row in rows)


STOPPABLE_STATES = WAITING_STATES | {State.HELD}
"""States from where only an approved delivery goes on to a call."""
STOPPABLE_STATE_NAMES = frozenset(state.value for state in STOPPABLE_STATES)
SENT_STATES = OPEN_STATES - STOPPABLE_STATES | {State.PUBLISHED}
"""States of deliveries with a call that has begun, or may have."""
