"""Approvals in the store: the contents that people approve, their yeses, and whether a delivery may be sent.

Whatever ends a yes updates its row, and an intent locks the rows it relies on: on a shared database, too, one of them
comes first.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, insert, or_, select, tuple_, update

from publisher.domain.account import AccountId
from publisher.domain.approval import (
    AFTER_REVIEW_PERIOD,
    AWAITING_APPROVAL,
    MIN_FINGERPRINT_LENGTH,
    Approval,
    ApprovalStatus,
    Chain,
    Rendition,
    Stage,
    hash_chain,
    hash_renditions,
    is_fingerprint_of,
)
from publisher.domain.characters import is_same_name, name_skeleton
from publisher.domain.delivery import (
    OPEN_STATES,
    WAITING_STATES,
    Actor,
    Approved,
    Delivery,
    DesiredState,
    Role,
    State,
)
from publisher.domain.errors import ApprovalError
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    DeliveryId,
    Fingerprint,
    OccurrenceKey,
    Post,
    PostId,
    RenderedPost,
    make_occurrence,
)
from publisher.store.base import BaseStore, StateChange, StorePart
from publisher.store.db.approval_tables import APPROVABLE_TEXT, APPROVAL, DECISION_REQUEST, DUTY_OFFICER
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.filters import in_state
from publisher.store.db.rows import (
    batches,
    clear_alerts,
    lock_planning,
    open_alerts,
    raise_alert,
    subject_of,
    write_audit,
    write_row,
)
from publisher.store.db.tables import (
    ALERT,
    DELIVERY,
    POST,
    RENDERED_POST,
    load_post,
    load_rendered_post,
    read_deliveries,
)

APPROVAL_RECHECK_INTERVAL = timedelta(minutes=1)
"""How soon a delivery that awaits approvals is looked at again; its last approval makes it due at once."""
AFTER_REVIEW_DUE, AFTER_REVIEW_OVERDUE = "after_review_due", "after_review_overdue"
"""The alerts that a post was released in an emergency: its regular approvals must follow, or should have."""
APPROVAL_NEEDED = "approval_needed"
"""The alert that an occurrence is due soon, or already, and still needs approvals."""
KEYS_PER_QUERY = 200
_OPEN_STATES = [state.value for state in OPEN_STATES]
_IS_TARGETED = DELIVERY.c.desired != DesiredState.NOT_TARGETED.value


def name_occurrence(key: OccurrenceKey) -> str:
    """Return the name of an occurrence in the audit and in alerts: POST, or POST#INSTANT for a repeating post."""
    return key.post if key.occurrence == ONCE_OCCURRENCE else f"{key.post}#{key.occurrence}"


def alert_facts(key: OccurrenceKey) -> dict[str, str]:
    """Return what names an occurrence in an alert."""
    return {"post": key.post} if key.occurrence == ONCE_OCCURRENCE else {"post": key.post, "occurrence": key.occurrence}


def read_approval_statuses(
    store: BaseStore, connection: Connection, keys: Collection[OccurrenceKey], *, locks: bool = False
) -> Mapping[tuple[OccurrenceKey, str], ApprovalStatus]:
    """Return what occurrences are approved by, for each kind that their contents were rendered as.

    With `locks` no yes that this returns can be ended before the transaction is over.
    """
    statuses: dict[tuple[OccurrenceKey, str], ApprovalStatus] = {}
    for batch in batches(sorted(keys), KEYS_PER_QUERY):
        pairs = [(key.post, key.occurrence) for key in batch]
        renditions = _read_renditions(connection, pairs)
        posts = _read_posts(connection, batch)
        is_text = tuple_(APPROVABLE_TEXT.c.post, APPROVABLE_TEXT.c.occurrence).in_(pairs)
        rows = connection.execute(select(APPROVABLE_TEXT).where(is_text))
        texts = {(row.post, row.occurrence, row.fingerprint): row for row in rows}
        is_given = tuple_(APPROVAL.c.post, APPROVAL.c.occurrence).in_(pairs)
        given = select(APPROVAL).where(is_given, APPROVAL.c.ended_at.is_(None))
        # last, and locked: what was read before cannot have changed without ending them
        approvals: dict[tuple[str, str], list[Approval]] = defaultdict(list)
        for found in connection.execute(given.with_for_update(read=True) if locks else given):
            approvals[found.post, found.occurrence].append(_to_approval(found))
        for key in batch:
            pair = (key.post, key.occurrence)
            content, post = hash_renditions(renditions[pair]), posts[key.post]
            text = texts.get((*pair, content))
            author = load_author(post.body)
            writers = {author, post.saved_by, post.file_owner}
            if text is not None:
                writers |= {text.author, text.saved_by, text.file_owner}
            for kind in {item.kind for item in renditions[pair]}:
                statuses[key, kind] = ApprovalStatus(
                    fingerprint=content,
                    chain=store.approval_rules.chain_for(kind),
                    approvals=approvals[pair],
                    author=text.author if text is not None else author,
                    barred=frozenset(filter(None, writers)),
                )
    return statuses


def _read_posts(connection: Connection, keys: Iterable[OccurrenceKey]) -> Mapping[str, Row[Any]]:
    query = select(POST).where(POST.c.id.in_(sorted({key.post for key in keys})))
    return {row.id: row for row in connection.execute(query)}


def load_author(body: str) -> str:
    """Return the author of a stored post."""
    author: str = json.loads(body)["author"]
    return author


def _to_approval(row: Row[Any]) -> Approval:
    return Approval(
        person=row.person,
        stage=row.stage,
        chain=row.chain,
        fingerprint=row.fingerprint,
        at=row.at,
        is_emergency=row.is_emergency,
    )


def _read_renditions(
    connection: Connection, pairs: Sequence[tuple[str, str]]
) -> Mapping[tuple[str, str], list[Rendition]]:
    """Return what the accounts of occurrences get; an account that the schedule no longer names gets nothing."""
    columns = (DELIVERY.c[name] for name in ("post", "occurrence", "account", "kind", "rendered_hash"))
    query = select(*columns).where(tuple_(DELIVERY.c.post, DELIVERY.c.occurrence).in_(pairs), _IS_TARGETED)
    renditions: dict[tuple[str, str], list[Rendition]] = defaultdict(list)
    for row in connection.execute(query):
        rendition = Rendition(account=row.account, kind=row.kind, rendered_hash=row.rendered_hash)
        renditions[row.post, row.occurrence].append(rendition)
    return renditions


def find_unapproved(
    store: BaseStore, transaction: Transaction, deliveries: Iterable[Delivery]
) -> frozenset[DeliveryId]:
    """Return the deliveries that may not be sent yet, for lack of approvals. No query where none are asked for."""
    rules = store.approval_rules
    if not rules.is_active:
        return frozenset()
    checked = [delivery for delivery in deliveries if rules.chain_for(delivery.kind)]
    if not checked:
        return frozenset()
    if store.database.is_shared:  # the rows of deliveries before those of approvals, as an edit locks them
        ids = sorted(delivery.id for delivery in checked)
        locked = select(DELIVERY.c.id).where(DELIVERY.c.id.in_(ids)).order_by(DELIVERY.c.id).with_for_update()
        transaction.connection.execute(locked)
    keys = {delivery.key for delivery in checked}
    statuses = read_approval_statuses(store, transaction.connection, keys, locks=True)
    return frozenset(
        delivery.id
        for delivery in checked
        # a delivery that its own occurrence no longer names has no status
        if (status := statuses.get((delivery.key, delivery.kind))) is None or not status.is_approved
    )


def record_contents(
    store: BaseStore,
    transaction: Transaction,
    keys: Collection[OccurrenceKey],
    edited: Collection[OccurrenceKey],
    by: Actor,
) -> None:
    """Store what is to be approved of occurrences that have just been written, and end each yes to anything else.

    The text of an occurrence that was `edited` needs every yes again, even if it reads the same.
    """
    now, connection = store.runtime.now(), transaction.connection
    for batch in batches(sorted(keys), KEYS_PER_QUERY):
        renditions = _read_renditions(connection, [(key.post, key.occurrence) for key in batch])
        posts = _read_posts(connection, batch)
        for key in batch:
            contents = renditions.get((key.post, key.occurrence), [])
            if key.post not in posts:  # it has never been sent anywhere
                continue
            post, content = posts[key.post], hash_renditions(contents)
            is_outdated = [] if key in edited else [APPROVAL.c.fingerprint != content]
            ended = end_approvals(transaction, now, "changed", post.saved_by or by.name, _is_given(key), *is_outdated)
            if not any(store.approval_rules.chain_for(item.kind) for item in contents):
                continue
            is_of_key = and_(APPROVABLE_TEXT.c.post == key.post, APPROVABLE_TEXT.c.occurrence == key.occurrence)
            known = set(connection.scalars(select(APPROVABLE_TEXT.c.fingerprint).where(is_of_key)))
            is_edit = bool(known) and (key in edited or content not in known)
            if content not in known or is_edit:
                values = {
                    "at": now,
                    "author": load_author(post.body),
                    "saved_by": post.saved_by,
                    "file_owner": post.file_owner,
                    "is_edit": is_edit,
                    "rendered_hashes": json.dumps({item.account: item.rendered_hash for item in contents}),
                }
                identity = {"post": key.post, "occurrence": key.occurrence, "fingerprint": content}
                write_row(connection, APPROVABLE_TEXT, identity, values)
            if is_edit and key in edited:
                event = "changed_by_person" if post.saved_by else "changed_outside"
                actor = Actor(role=Role.PERSON, name=post.saved_by) if post.saved_by else by
                detail = {"file_owner": post.file_owner, "fingerprint": content, "approvals_ended": ended}
                write_audit(transaction, now, actor, event=event, subject=name_occurrence(key), detail=detail)


def _is_given(key: OccurrenceKey) -> ColumnElement[bool]:
    return and_(APPROVAL.c.post == key.post, APPROVAL.c.occurrence == key.occurrence)


IS_UNSENT = exists().where(
    DELIVERY.c.post == APPROVAL.c.post,
    DELIVERY.c.occurrence == APPROVAL.c.occurrence,
    DELIVERY.c.state.in_(_OPEN_STATES),
)
"""The yeses to what is not sent yet."""


def end_approvals(
    transaction: Transaction, now: datetime, reason: str, by: str, *conditions: ColumnElement[bool]
) -> int:
    """End the yeses that meet all conditions. Return how many."""
    ended = {"ended_at": now, "ended_by": by, "ended_reason": reason}
    statement = update(APPROVAL).where(APPROVAL.c.ended_at.is_(None), *conditions).values(ended)
    return transaction.connection.execute(statement).rowcount


def void_approvals(transaction: Transaction, now: datetime, by: Actor, reason: str) -> int:
    """End every yes to what has not been sent yet: the database may have lost that one was ended. Return how many."""
    number = end_approvals(transaction, now, reason, by.name, IS_UNSENT)
    if number:
        detail = {"reason": reason, "approvals_ended": number}
        write_audit(transaction, now, by, event="approvals_voided", subject="approvals", detail=detail)
        clear_alerts(transaction, "approvals", now)
        raise_alert(transaction, now, "approvals_voided", "approvals", {"reason": reason, "number": str(number)})
    return number


def end_approvals_of(transaction: Transaction, now: datetime, person: str, by: Actor, reason: str) -> list[str]:
    """End what a person has approved and what is not sent yet, and requests. Return the names of the occurrences."""
    query = select(APPROVAL).where(APPROVAL.c.ended_at.is_(None), IS_UNSENT).order_by(APPROVAL.c.id)
    theirs = [row for row in transaction.connection.execute(query) if is_same_name(row.person, person)]
    end_approvals(transaction, now, reason, by.name, APPROVAL.c.id.in_([row.id for row in theirs]))
    names = [name_occurrence(OccurrenceKey(post=PostId(row.post), occurrence=row.occurrence)) for row in theirs]
    for name in dict.fromkeys(names):
        write_audit(transaction, now, by, event="approval_ended", subject=name, detail={"of": person, "reason": reason})
    end_confirmation_requests(transaction, now, by, reason, of=person)
    return list(dict.fromkeys(names))


def end_confirmation_requests(
    transaction: Transaction, now: datetime, by: Actor, reason: str, of: str | None = None
) -> None:
    """Forget what people have asked a second one to confirm; with `of` only what this person has."""
    connection, table = transaction.connection, DECISION_REQUEST.c
    rows = connection.execute(select(table.delivery, table.by)).all()
    asked = {row.delivery: row.by for row in rows if of is None or is_same_name(row.by, of)}
    connection.execute(delete(DECISION_REQUEST).where(table.delivery.in_(list(asked))))
    for delivery in read_deliveries(connection, select(DELIVERY).where(DELIVERY.c.id.in_(list(asked)))):
        detail = {"of": asked[delivery.id], "reason": reason}
        event = "confirmation_request_ended"
        write_audit(transaction, now, by, event=event, subject=subject_of(delivery), detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """Who approves. `may_take` returns True for a stage that they may decide about, for all of these accounts."""

    name: str
    may_take: Callable[[Stage, Collection[AccountId]], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalTask:
    """An occurrence that needs approvals, what it has, and how its content came about.

    `due_at` is None for one that is due when approved. The content was saved by a named person, or read from a file of
    this owner; `is_edit`: it replaced an earlier one.
    """

    key: OccurrenceKey
    post: Post
    accounts: Sequence[AccountId]
    due_at: datetime | None
    status: ApprovalStatus
    saved_by: str | None = None
    file_owner: str | None = None
    is_edit: bool = False

    @property
    def name(self) -> str:
        return name_occurrence(self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnapproveResult:
    """How many yeses were ended, of which occurrences, and how many of their deliveries had been sent before.

    `is_too_late`: there is none whose call has not begun. One that turns out to have sent nothing is not repeated.
    """

    approvals: int
    occurrences: Sequence[str]
    sent_before: int
    is_too_late: bool


class ApprovalStore(StorePart):
    """The approvals of people. Each writing method is one transaction."""

    async def tasks(self, post: PostId | None = None) -> Sequence[ApprovalTask]:
        """Return the occurrences, or those of a post, whose content people approve before it is sent; earliest first.

        One whose kind was edited while part of it was sent is there once for each chain. One that was released in an
        emergency stays among them until its chain is complete, whatever became of it.
        """
        return await self.database.read(lambda connection: self._tasks(connection, post))

    def _tasks(self, connection: Connection, post: PostId | None) -> list[ApprovalTask]:
        is_open = DELIVERY.c.state.in_(_OPEN_STATES)
        is_released = exists().where(
            ALERT.c.code == AFTER_REVIEW_DUE,
            ALERT.c.cleared_at.is_(None),
            ALERT.c.subject.in_([DELIVERY.c.post, DELIVERY.c.post + "#" + DELIVERY.c.occurrence]),
        )
        query = (
            select(DELIVERY).where(or_(is_open, is_released), _IS_TARGETED).order_by(DELIVERY.c.due_at, DELIVERY.c.id)
        )
        if post is not None:
            query = query.where(DELIVERY.c.post == post)
        found: dict[tuple[OccurrenceKey, Chain], list[Delivery]] = defaultdict(list)
        for delivery in read_deliveries(connection, query):
            if chain := self.store.approval_rules.chain_for(delivery.kind):
                found[delivery.key, chain].append(delivery)
        # what a call may be made for comes before what was sent, of another kind, before an edit
        ordered = sorted(found.items(), key=lambda item: (item[1][0].due_at, not _can_be_stopped(item[1])))
        statuses = read_approval_statuses(self.store, connection, {key for key, _chain in found})
        tasks = []
        for (key, _chain), deliveries in ordered:
            first = deliveries[0]
            status = statuses[key, first.kind]
            if not (any(delivery.state in OPEN_STATES for delivery in deliveries) or status.missing):
                continue
            text = self._text(connection, key, status.fingerprint)
            body = connection.execute(select(POST.c.body).where(POST.c.id == key.post)).scalar_one()
            tasks.append(
                ApprovalTask(
                    key=key,
                    post=load_post(body),
                    accounts=[delivery.account for delivery in deliveries],
                    due_at=None if first.is_due_when_approved and status.missing else first.due_at,
                    status=status,
                    saved_by=text.saved_by if text else None,
                    file_owner=text.file_owner if text else None,
                    is_edit=bool(text and text.is_edit),
                )
            )
        return tasks

    @staticmethod
    def _text(connection: Connection, key: OccurrenceKey, content: Fingerprint) -> Row[Any] | None:
        is_content = (
            APPROVABLE_TEXT.c.post == key.post,
            APPROVABLE_TEXT.c.occurrence == key.occurrence,
            APPROVABLE_TEXT.c.fingerprint == content,
        )
        return connection.execute(select(APPROVABLE_TEXT).where(*is_content)).one_or_none()

    async def contents(self, key: OccurrenceKey, content: Fingerprint) -> Sequence[RenderedPost]:
        """Return the final texts that a fingerprint stands for, by account; nothing if they are not stored."""

        def read(connection: Connection) -> list[RenderedPost]:
            text = self._text(connection, key, content)
            hashes = sorted(json.loads(text.rendered_hashes).values()) if text else []
            query = select(RENDERED_POST.c.body).where(RENDERED_POST.c.fingerprint.in_(hashes))
            return [load_rendered_post(body) for body in connection.scalars(query.order_by(RENDERED_POST.c.account))]

        return await self.database.read(read)

    async def last_approved(self, key: OccurrenceKey, person: str) -> Fingerprint | None:
        """Return the content of an occurrence that a person approved last, whether that yes still counts or not."""
        query = select(APPROVAL).where(_is_given(key)).order_by(APPROVAL.c.id.desc())
        rows = await self.database.read(lambda connection: connection.execute(query).all())
        return next((Fingerprint(row.fingerprint) for row in rows if is_same_name(row.person, person)), None)

    @in_transaction
    def approve(
        self, transaction: Transaction, post: PostId, fingerprint: str, approver: Approver, by: Actor
    ) -> ApprovalTask:
        """Record a person's yes to exactly this content, at the first stage that is not complete.

        With the last one, what has waited for it becomes due. Raises ApprovalError if the content has changed, nothing
        needs an approval, or this person may not give it.
        """
        lock_planning(transaction)
        found = self._find(transaction.connection, post, fingerprint)
        refusals = [_find_refusal(task, approver) for task in found]
        for task, refusal in zip(found, refusals, strict=True):
            if refusal is None:
                return self._record(transaction, task, task.status.missing[0].stage, approver.name, by)
        raise next(filter(None, refusals))

    def _find(self, connection: Connection, post: PostId, fingerprint: str) -> Sequence[ApprovalTask]:
        """Return the occurrence whose content has this fingerprint, for each of its chains, incomplete ones first.

        Raises ApprovalError if there is none.
        """
        tasks = self._tasks(connection, post)
        if not tasks:
            raise ApprovalError("approval_nothing_waits", post=post)
        if len(fingerprint.strip()) < MIN_FINGERPRINT_LENGTH:
            raise ApprovalError("fingerprint_too_short", number=str(MIN_FINGERPRINT_LENGTH))
        found = [task for task in tasks if is_fingerprint_of(fingerprint, task.status.fingerprint)]
        if not found:
            raise ApprovalError("approval_changed", post=post)
        return sorted(found, key=lambda task: not task.status.missing)

    def _record(
        self, transaction: Transaction, task: ApprovalTask, stage: Stage | None, person: str, by: Actor
    ) -> ApprovalTask:
        """Store a yes, and make due what has waited for it. Without a stage it is one of an emergency.

        Return the occurrence as it is then.
        """
        now = self.runtime.now()
        approval = Approval(
            person=person,
            stage=stage.name if stage else "",
            chain=hash_chain(task.status.chain),
            fingerprint=task.status.fingerprint,
            at=now,
            is_emergency=stage is None,
        )
        row = {"post": task.key.post, "occurrence": task.key.occurrence, **asdict(approval)}
        transaction.connection.execute(insert(APPROVAL).values(row))
        detail = {name: row[name] for name in ("fingerprint", "stage", "is_emergency")}
        write_audit(transaction, now, by, event="approval_given", subject=task.name, detail=detail)
        after = replace(task, status=replace(task.status, approvals=[*task.status.approvals, approval]))
        same = [other for other in self._tasks(transaction.connection, task.key.post) if other.key == task.key]
        others = [other for other in same if other.status.chain != task.status.chain]
        approved = [one for one in (after, *others) if one.status.is_approved]
        self._release(transaction, task, {one.status.chain for one in approved}, now, by)
        if len(approved) > len(others):
            clear_alerts(transaction, task.name, now, APPROVAL_NEEDED)
        if not any(one.status.missing for one in (after, *others)):
            self._end_after_review(transaction, task.name, now, by)
        return after

    @staticmethod
    def _end_after_review(transaction: Transaction, name: str, now: datetime, by: Actor) -> None:
        """Note that the review which an emergency release has left to do is done, if there is one."""
        if any(code == AFTER_REVIEW_DUE for code, _facts in open_alerts(transaction.connection, name)):
            for code in (AFTER_REVIEW_DUE, AFTER_REVIEW_OVERDUE):
                clear_alerts(transaction, name, now, code)
            write_audit(transaction, now, by, event="after_review_done", subject=name)

    def _release(
        self, transaction: Transaction, task: ApprovalTask, chains: Collection[Chain], now: datetime, by: Actor
    ) -> None:
        """Let go what has waited at its time for the last yes of these chains, and give a time to what had none."""
        is_waiting = (
            DELIVERY.c.post == task.key.post,
            DELIVERY.c.occurrence == task.key.occurrence,
            in_state(DELIVERY, State.PENDING),
            or_(DELIVERY.c.reason == AWAITING_APPROVAL, DELIVERY.c.is_due_when_approved),
        )
        waiting = read_deliveries(transaction.connection, select(DELIVERY).where(*is_waiting).with_for_update())
        event = Approved(expires_at=make_occurrence(task.post, task.key.occurrence, now).expires_at)
        rules = self.store.approval_rules
        released = [delivery for delivery in waiting if rules.chain_for(delivery.kind) in chains]
        changes = [StateChange(before=delivery, event=event) for delivery in released]
        self.store.transition_all(transaction, changes, by)

    @in_transaction
    def release_in_emergency(  # noqa: PLR0913, PLR0917 # who releases what, and why
        self, transaction: Transaction, post: PostId, fingerprint: str, approver: Approver, by: Actor, reason: str
    ) -> ApprovalTask:
        """Record that an officer on duty releases this content without its chain, which must follow within a day.

        It takes two: the author, and any other officer. Raises ApprovalError.
        """
        lock_planning(transaction)
        task = min(self._find(transaction.connection, post, fingerprint), key=lambda one: one.status.is_approved)
        status, facts = task.status, {"post": task.name, "by": approver.name}
        if status.is_approved:
            raise ApprovalError("approval_complete", **facts)
        on_duty = set(map(name_skeleton, transaction.connection.scalars(select(DUTY_OFFICER.c.name))))
        for person, code in ((approver.name, "not_on_duty"), (status.author, "author_not_on_duty")):
            if name_skeleton(person) not in on_duty:
                raise ApprovalError(code, **{**facts, "author": status.author})
        if any(item.is_emergency and is_same_name(item.person, approver.name) for item in status.approvals):
            raise ApprovalError("approval_given_already", **facts)
        after = self._record(transaction, task, None, approver.name, by)
        now, detail = self.runtime.now(), {"reason": reason, "fingerprint": status.fingerprint}
        write_audit(transaction, now, by, event="emergency_released", subject=task.name, detail=detail)
        if after.status.is_emergency:
            facts = {**alert_facts(task.key), "until": (now + AFTER_REVIEW_PERIOD).isoformat()}
            if not any(code == AFTER_REVIEW_DUE for code, _facts in open_alerts(transaction.connection, task.name)):
                raise_alert(transaction, now, AFTER_REVIEW_DUE, task.name, facts)
        return after

    @in_transaction
    def unapprove(
        self, transaction: Transaction, post: PostId, occurrence: str | None, by: Actor, reason: str
    ) -> UnapproveResult:
        """End every yes to what is not sent yet of a post, or of one occurrence of it.

        Raises ApprovalError if there is none.
        """
        lock_planning(transaction)
        now, connection = self.runtime.now(), transaction.connection
        given = [APPROVAL.c.post == post, APPROVAL.c.ended_at.is_(None), IS_UNSENT]
        if occurrence is not None:
            given.append(APPROVAL.c.occurrence == occurrence)
        names = connection.scalars(select(APPROVAL.c.occurrence).where(*given).distinct()).all()
        # ended first: an intent that relies on one has committed by then, and its delivery counts as sent
        number = end_approvals(transaction, now, "unapproved", by.name, *given)
        keys = [OccurrenceKey(post=post, occurrence=name) for name in names]
        is_concerned = (DELIVERY.c.post == post, DELIVERY.c.occurrence.in_(names), _IS_TARGETED)
        deliveries = read_deliveries(connection, select(DELIVERY).where(*is_concerned))
        if not deliveries:
            raise ApprovalError("unapprove_nothing", post=post)
        for key in keys:
            write_audit(
                transaction, now, by, event="unapproved", subject=name_occurrence(key), detail={"reason": reason}
            )
        sent_before = [delivery for delivery in deliveries if delivery.state in SENT_STATES]
        return UnapproveResult(
            approvals=number,
            occurrences=[name_occurrence(key) for key in keys],
            sent_before=len(sent_before),
            is_too_late=not any(delivery.state in STOPPABLE_STATES for delivery in deliveries),
        )


def _find_refusal(task: ApprovalTask, approver: Approver) -> ApprovalError | None:
    """Return why a person may not give the next approval of an occurrence, if so."""
    status, facts = task.status, {"post": task.name, "by": approver.name}
    if status.is_barred(approver.name):
        return ApprovalError("approval_barred", **facts)
    if status.has_approved(approver.name):
        return ApprovalError("approval_given_already", **facts)
    if not status.missing:
        return ApprovalError("approval_complete", **facts)
    stage = status.missing[0].stage
    if not approver.may_take(stage, task.accounts):
        return ApprovalError("approval_wrong_stage", stage=stage.name, role=stage.role, **facts)
    return None


def _can_be_stopped(deliveries: Iterable[Delivery]) -> bool:
    return any(delivery.state in STOPPABLE_STATES for delivery in deliveries)


STOPPABLE_STATES = WAITING_STATES | {State.HELD}
"""States from which only an approved delivery goes on to a call."""
SENT_STATES = OPEN_STATES - STOPPABLE_STATES | {State.PUBLISHED}
"""States in which a call has begun, or may have."""
