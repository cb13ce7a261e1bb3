"""Approvals in the store: approved contents, their approvals, and the permission to send.

Every step that ends an approval updates its row. An intent locks the rows that it relies on. So one
of them comes first, on a shared database too.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Row,
    RowMapping,
    and_,
    bindparam,
    delete,
    exists,
    func,
    not_,
    or_,
    select,
    tuple_,
    update,
)

from publisher.domain.approval import (
    LEFT_OUT,
    Approval,
    ApprovalRules,
    ApprovalStatus,
    Rendition,
    find_barred,
    hash_renditions,
    name_presentation,
)
from publisher.domain.characters import is_same_name
from publisher.domain.delivery import (
    OPEN_STATES,
    RESTORABLE_STATES,
    Actor,
    Delivery,
    DesiredState,
    Role,
)
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    DeliveryId,
    Fingerprint,
    OccurrenceKey,
    PostId,
)
from publisher.store.base import BaseStore
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.approval_tables import (
    APPROVABLE_TEXT,
    APPROVAL,
    DECISION_REQUEST,
)
from publisher.store.db.database import Transaction
from publisher.store.db.filters import in_open_state, is_named
from publisher.store.db.rows import (
    batches,
    clear_alerts,
    raise_alert,
    subject_of,
    write_audit,
    write_row,
)
from publisher.store.db.tables import (
    DELIVERY,
    POST,
    read_deliveries,
)

APPROVAL_RECHECK_INTERVAL = timedelta(minutes=1)
"""The interval between checks of a delivery that awaits approvals.

The last approval makes the delivery due at once.
"""
AFTER_REVIEW_DUE, AFTER_REVIEW_OVERDUE = "after_review_due", "after_review_overdue"
"""The alerts of a post released in an emergency: its regular approvals are due, or overdue."""
APPROVAL_NEEDED = "approval_needed"
"""The alert that an occurrence is due soon, or already, and still needs approvals."""
URGENT_APPROVAL_NEEDED = "urgent_approval_needed"
"""The same alert of an urgent post, in its last hours: people are called by night too."""
APPROVAL_ALERTS = (APPROVAL_NEEDED, URGENT_APPROVAL_NEEDED)
KEYS_PER_QUERY = 200
OPEN_STATE_NAMES = [state.value for state in OPEN_STATES]
IS_IN_FORCE = APPROVAL.c.ended_at.is_(None)
IS_TARGETED = DELIVERY.c.desired != DesiredState.NOT_TARGETED.value


def name_occurrence(key: OccurrenceKey) -> str:
    """Return the name of an occurrence: POST, or POST#INSTANT for a repeating post.

    The audit and the alerts use this name.
    """
    return (
        key.post
        if key.occurrence == ONCE_OCCURRENCE
        else f"{key.post}#{key.occurrence}"
    )


def alert_facts(key: OccurrenceKey) -> dict[str, str]:
    """Return the facts that name an occurrence in an alert."""
    return (
        {"post": key.post}
        if key.occurrence == ONCE_OCCURRENCE
        else {"post": key.post, "occurrence": key.occurrence}
    )


def read_approval_statuses(
    store: BaseStore,
    connection: Connection,
    keys: Collection[OccurrenceKey],
    *,
    locks: bool = False,
) -> Mapping[tuple[OccurrenceKey, str], ApprovalStatus]:
    """Return the approvals of occurrences, for each kind that their contents were rendered as.

    With `locks`, no returned approval can end before the transaction is over.
    """
    statuses: dict[tuple[OccurrenceKey, str], ApprovalStatus] = {}
    for batch in batches(sorted(keys), KEYS_PER_QUERY):
        contents = read_contents(connection, is_of_occurrences(batch))
        records = read_records(connection, batch, locks=locks)
        for key, record in records.items():
            statuses |= judge_content(store, key, contents[key], record)
    return statuses


def judge_content(
    store: BaseStore,
    key: OccurrenceKey,
    content: "OccurrenceContent",
    record: "OccurrenceRecord",
) -> Mapping[tuple[OccurrenceKey, str], ApprovalStatus]:
    """Return the approvals of an occurrence, for each kind that its content was rendered as."""
    fingerprint = content.fingerprint
    post, text = record.post, record.texts.get(fingerprint)
    status = ApprovalStatus(
        fingerprint=fingerprint,
        chain=(),
        approvals=record.approvals,
        author=text.author if text is not None else load_author(post.body),
        barred=_find_barred(store, post, text, content),
        quoted=_find_quoted(store, record.original, content),
        scheduled_at=content.scheduled_at,
    )
    is_present = text is not None and text.content_hash == post.content_hash
    statuses = {}
    for kind in {row.kind for row in content.deliveries}:
        present = content.select_present(post.content_hash, kind) if is_present else ()
        statuses[key, kind] = replace(
            status,
            chain=store.approval_rules.chain_for(kind),
            presentations=_find_presentations(store, post, present),
        )
    return statuses


def _find_barred(
    store: BaseStore,
    post: "PostRecord",
    text: "TextRecord | None",
    content: "OccurrenceContent",
) -> frozenset[str]:
    """Return the people that may not approve the content of an occurrence."""
    writers = find_barred(
        json.loads(post.writers), _find_presentations(store, post, content.deliveries)
    )
    last = {load_author(post.body), post.saved_by, post.file_owner}
    if text is not None:
        last |= {text.author, text.saved_by, text.file_owner}
    return writers | frozenset(filter(None, last))


def _find_quoted(
    store: BaseStore, original: "PostRecord | None", content: "OccurrenceContent"
) -> frozenset[str]:
    """Return the people that have put unapproved words into the original, whose title is quoted."""
    if original is None:
        return frozenset()
    body = json.loads(original.body)
    kind, chain = body["kind"], store.approval_rules.chain_for(body["kind"])
    shown = {
        name_presentation(chain, kind, body["template"], platform)
        for platform in {row.platform for row in content.deliveries}
    }
    return find_barred(json.loads(original.writers), shown)


def _find_presentations(
    store: BaseStore, post: "PostRecord", deliveries: Iterable[Row[Any]]
) -> frozenset[str]:
    """Return the presentations of a post in deliveries."""
    template: str = json.loads(post.body)["template"]
    chain_for = store.approval_rules.chain_for
    shown = {(row.kind, row.platform) for row in deliveries}
    return frozenset(
        name_presentation(chain_for(kind), kind, template, platform)
        for kind, platform in shown
    )


def read_approved_presentations(
    store: BaseStore, connection: Connection, posts: Collection[str]
) -> Mapping[str, frozenset[str]]:
    """Return the fully approved presentations of the present text of some posts, by post."""
    if not store.approval_rules.is_active:
        return {}
    approved: dict[str, frozenset[str]] = defaultdict(frozenset)
    for batch in batches(sorted(posts), KEYS_PER_QUERY):
        is_given = (APPROVAL.c.post.in_(batch), APPROVAL.c.ended_at.is_(None))
        rows = connection.execute(
            select(APPROVAL.c.post, APPROVAL.c.occurrence).where(*is_given).distinct()
        )
        keys = [
            OccurrenceKey(post=PostId(row.post), occurrence=row.occurrence)
            for row in rows
        ]
        for (key, _kind), status in read_approval_statuses(
            store, connection, keys
        ).items():
            if status.chain and not status.missing:
                approved[key.post] |= status.presentations
    return approved


def forget_approved(transaction: Transaction, *conditions: ColumnElement[bool]) -> None:
    """Bar all past writers of these posts again, since people withdrew the approval of their texts.

    Call it before `end_approvals`, as a plan locks its posts before approvals.
    """
    connection = transaction.connection
    is_approved = (POST.c.writers.contains('["'), *conditions)
    query = (
        select(POST.c.id, POST.c.writers)
        .where(*is_approved)
        .order_by(POST.c.id)
        .with_for_update()
    )
    for row in connection.execute(query).all():
        left_out = {
            name: [one for one in approved if one == LEFT_OUT]
            for name, approved in json.loads(row.writers).items()
        }
        writers = json.dumps(left_out, ensure_ascii=False)
        connection.execute(
            update(POST).where(POST.c.id == row.id).values(writers=writers)
        )


def read_texts(
    connection: Connection, keys: Collection[OccurrenceKey]
) -> Mapping[tuple[OccurrenceKey, Fingerprint], Row[Any]]:
    """Return the texts of some occurrences that people approve, by occurrence and fingerprint."""
    texts = {}
    for batch in batches(sorted(keys), KEYS_PER_QUERY):
        pairs = [(key.post, key.occurrence) for key in batch]
        is_text = tuple_(APPROVABLE_TEXT.c.post, APPROVABLE_TEXT.c.occurrence).in_(
            pairs
        )
        for row in connection.execute(select(APPROVABLE_TEXT).where(is_text)):
            texts[
                OccurrenceKey(post=row.post, occurrence=row.occurrence), row.fingerprint
            ] = row
    return texts


def _read_posts(
    connection: Connection, posts: Collection[str]
) -> Mapping[str, Row[Any]]:
    if not posts:
        return {}
    query = select(POST).where(POST.c.id.in_(sorted(posts)))
    return {row.id: row for row in connection.execute(query)}


def load_author(body: str) -> str:
    """Return the author of a stored post."""
    author: str = json.loads(body)["author"]
    return author


def to_approval(row: Row[Any]) -> Approval:
    return Approval(
        person=row.person,
        stage=row.stage,
        chain=row.chain,
        fingerprint=row.fingerprint,
        at=row.at,
        scheduled_at=row.scheduled_at,
        is_emergency=row.is_emergency,
    )


@dataclass(slots=True, kw_only=True)
class OccurrenceContent:
    """The contents for an occurrence's accounts, and the earliest scheduled time of the rest.

    The rest is the open part of the occurrence.
    """

    deliveries: list[Row[Any]] = field(default_factory=list)
    scheduled_at: datetime | None = None

    @property
    def renditions(self) -> Sequence[Rendition]:
        return [
            Rendition(
                account=row.account, kind=row.kind, rendered_hash=row.rendered_hash
            )
            for row in self.deliveries
        ]

    @property
    def fingerprint(self) -> Fingerprint:
        return hash_renditions(self.renditions)

    def select_present(self, content_hash: str, kind: str) -> Sequence[Row[Any]]:
        """Return the deliveries of a kind that show this text.

        Return none if one of them may have kept an older text in a call.
        """
        compared = [row for row in self.deliveries if row.content_hash == content_hash]
        is_same = len({row.revision_hash for row in compared}) == 1
        return [row for row in compared if row.kind == kind] if is_same else ()


CONTENT_COLUMNS = tuple(
    DELIVERY.c[name]
    for name in (
        "id", "post", "occurrence", "account", "platform", "kind", "rendered_hash",
        "revision_hash", "content_hash", "state", "scheduled_at", "due_at", "is_due_when_approved",
    )
)  # fmt: skip
"""Only these: there may be ten thousand rows."""


def is_of_occurrences(keys: Iterable[OccurrenceKey]) -> ColumnElement[bool]:
    """True if a delivery is of one of these occurrences."""
    pairs = [(key.post, key.occurrence) for key in keys]
    return tuple_(DELIVERY.c.post, DELIVERY.c.occurrence).in_(pairs)


def read_contents(
    connection: Connection, *conditions: ColumnElement[bool]
) -> Mapping[OccurrenceKey, OccurrenceContent]:
    """Return the contents of occurrences. An account that has left the schedule gets nothing."""
    query = select(*CONTENT_COLUMNS).where(*conditions, IS_TARGETED)
    return group_contents(
        connection.execute(query.order_by(DELIVERY.c.due_at, DELIVERY.c.id))
    )


def group_contents(
    rows: Iterable[Row[Any]],
) -> Mapping[OccurrenceKey, OccurrenceContent]:
    """Return the contents that deliveries make up, each in their order."""
    contents: dict[tuple[str, str], OccurrenceContent] = defaultdict(OccurrenceContent)
    for row in rows:
        content = contents[row.post, row.occurrence]
        content.deliveries.append(row)
        if row.state in OPEN_STATES:
            at = min(row.scheduled_at, row.due_at)  # a person may have sent it ahead
            content.scheduled_at = min(at, content.scheduled_at or at)
    by_key = {
        OccurrenceKey(post=PostId(post), occurrence=occurrence): content
        for (post, occurrence), content in contents.items()
    }
    return defaultdict(OccurrenceContent, by_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostRecord:
    """A post as it is in force, with its origin."""

    body: str
    content_hash: str
    saved_by: str | None
    file_owner: str | None
    writers: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRecord:
    """A content of an occurrence that people approve, with its origin.

    `returned_*` names the person that wants a change of it, if anybody does.
    """

    fingerprint: Fingerprint
    at: datetime
    author: str
    saved_by: str | None
    file_owner: str | None
    is_edit: bool
    content_hash: str
    returned_at: datetime | None
    returned_by: str | None
    returned_reason: str | None


@dataclass(slots=True, kw_only=True)
class OccurrenceRecord:
    """The records of an occurrence besides its deliveries: post, texts and approvals in force.

    `original` is the post that it follows, if that is stored.
    """

    post: PostRecord
    original: PostRecord | None = None
    texts: dict[Fingerprint, TextRecord] = field(default_factory=dict)
    approvals: list[Approval] = field(default_factory=list)
    is_released: bool = False
    """True for an emergency release, until its review is done."""


_ORIGINAL = POST.alias("original")
_POST_NAMES = tuple(PostRecord.__dataclass_fields__)
_TEXT_NAMES = tuple(TextRecord.__dataclass_fields__)
_APPROVAL_NAMES = tuple(Approval.__dataclass_fields__)


def _prefixed(
    table: FromClause, prefix: str, names: Iterable[str]
) -> list[ColumnElement[Any]]:
    return [table.c[name].label(f"{prefix}{name}") for name in names]


def _cut(row: RowMapping, prefix: str, names: Iterable[str]) -> dict[str, Any]:
    return {name: row[f"{prefix}{name}"] for name in names}


def _is_same_occurrence(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    return and_(one.c.post == other.c.post, one.c.occurrence == other.c.occurrence)


def _is_released(row: FromClause) -> ColumnElement[bool]:
    """True if an occurrence was released in an emergency, and its review is still due."""
    names = [row.c.post, row.c.post + "#" + row.c.occurrence]
    return exists().where(_IS_REVIEW_DUE, ALERT.c.subject.in_(names))


_IS_REVIEW_DUE = and_(ALERT.c.code == AFTER_REVIEW_DUE, ALERT.c.cleared_at.is_(None))
_WAITING = DELIVERY.alias("waiting")


def takes_approval(
    rules: ApprovalRules, post: PostId | None = None
) -> ColumnElement[bool]:
    """True if a delivery is of an occurrence that people approve, with a part that is still open.

    An emergency release counts until its review is done. With a post, only its occurrences count,
    or those of a family's members.
    """
    exempt = [kind for kind in rules.by_kind if not rules.chain_for(kind)]
    chained = [kind for kind in rules.by_kind if rules.chain_for(kind)]
    has_chain = (
        _WAITING.c.kind.not_in(exempt)
        if rules.default
        else _WAITING.c.kind.in_(chained)
    )
    is_targeted = _WAITING.c.desired != DesiredState.NOT_TARGETED.value
    names = select(_WAITING.c.post, _WAITING.c.occurrence).where(is_targeted, has_chain)
    if post is not None:
        names = names.where(is_named(_WAITING.c.post, post))
    is_any_released = exists().where(
        _IS_REVIEW_DUE
    )  # asked first: there are ever so many rows
    waiting = names.where(in_open_state(_WAITING, *OPEN_STATES)).union(
        names.where(is_any_released, _is_released(_WAITING))
    )
    return tuple_(DELIVERY.c.post, DELIVERY.c.occurrence).in_(waiting)


_PAIRS: BindParameter[Any] = bindparam("pairs", expanding=True)
_KNOWN = (
    select(
        DELIVERY.c.post,
        DELIVERY.c.occurrence,
        func.max(DELIVERY.c.follows).label("follows"),
    )
    .where(tuple_(DELIVERY.c.post, DELIVERY.c.occurrence).in_(_PAIRS))
    .group_by(DELIVERY.c.post, DELIVERY.c.occurrence)
    .subquery("known")
)
_RECORDS = (
    select(
        _KNOWN,
        _is_released(_KNOWN).label("is_released"),
        *_prefixed(POST, "post_", _POST_NAMES),
        *_prefixed(_ORIGINAL, "original_", _POST_NAMES),
        *_prefixed(APPROVABLE_TEXT, "text_", _TEXT_NAMES),
        *_prefixed(APPROVAL, "approval_", _APPROVAL_NAMES),
    )
    .join(POST, POST.c.id == _KNOWN.c.post)
    .outerjoin(_ORIGINAL, _ORIGINAL.c.id == _KNOWN.c.follows)
    .outerjoin(APPROVABLE_TEXT, _is_same_occurrence(APPROVABLE_TEXT, _KNOWN))
    .outerjoin(APPROVAL, and_(_is_same_occurrence(APPROVAL, _KNOWN), IS_IN_FORCE))
    .order_by(APPROVAL.c.id)
)
_APPROVALS = (
    select(APPROVAL)
    .where(tuple_(APPROVAL.c.post, APPROVAL.c.occurrence).in_(_PAIRS), IS_IN_FORCE)
    .order_by(APPROVAL.c.id)
)
"""The statements of `read_records`, made once: the daemon runs them for each intent."""


def read_records(
    connection: Connection, keys: Collection[OccurrenceKey], *, locks: bool = False
) -> Mapping[OccurrenceKey, OccurrenceRecord]:
    """Return the records of the occurrences that have deliveries and a stored post.

    With `locks`, no approval can end before the transaction is over.
    """
    pairs = {"pairs": [(key.post, key.occurrence) for key in keys]}
    records, unread = collect_records(connection.execute(_RECORDS, pairs).mappings())
    for original, row in _read_posts(connection, unread.keys()).items():
        for record in unread[original]:
            record.original = PostRecord(
                **{name: getattr(row, name) for name in _POST_NAMES}
            )
    if locks:  # last: what was read before cannot have changed without ending them
        for record in records.values():
            record.approvals = []
        for row in connection.execute(_APPROVALS.with_for_update(read=True), pairs):
            key = OccurrenceKey(post=PostId(row.post), occurrence=row.occurrence)
            if key in records:
                records[key].approvals.append(to_approval(row))
    return records


def read_all_records(
    connection: Connection, keys: Collection[OccurrenceKey]
) -> Mapping[OccurrenceKey, OccurrenceRecord]:
    """Return the records of any number of occurrences."""
    records: dict[OccurrenceKey, OccurrenceRecord] = {}
    for batch in batches(sorted(keys), KEYS_PER_QUERY):
        records |= read_records(connection, batch)
    return records


def collect_records(
    rows: Iterable[RowMapping],
) -> tuple[
    dict[OccurrenceKey, OccurrenceRecord], Mapping[str, Sequence[OccurrenceRecord]]
]:
    """Return the records of rows, which have each text of an occurrence with each approval.

    The second value has the records without their original, since deliveries name another one.
    """
    records: dict[OccurrenceKey, OccurrenceRecord] = {}
    unread: dict[str, list[OccurrenceRecord]] = defaultdict(list)
    for row in rows:
        key = OccurrenceKey(post=PostId(row["post"]), occurrence=row["occurrence"])
        if (record := records.get(key)) is None:
            post = PostRecord(**_cut(row, "post_", _POST_NAMES))
            record = records[key] = OccurrenceRecord(
                post=post, is_released=row["is_released"]
            )
            follows = json.loads(record.post.body).get("follows")
            if follows and follows != row["follows"]:
                unread[follows].append(record)
            elif follows and row["original_body"] is not None:
                record.original = PostRecord(**_cut(row, "original_", _POST_NAMES))
        if (
            content := row["text_fingerprint"]
        ) is not None and content not in record.texts:
            record.texts[content] = TextRecord(**_cut(row, "text_", _TEXT_NAMES))
        if row["approval_person"] is not None:
            approval = Approval(**_cut(row, "approval_", _APPROVAL_NAMES))
            record.approvals += [] if approval in record.approvals else [approval]
    return records, unread


def find_unapproved(
    store: BaseStore, transaction: Transaction, deliveries: Iterable[Delivery]
) -> frozenset[DeliveryId]:
    """Return the deliveries that lack approvals. Run no query if no approvals are required."""
    rules = store.approval_rules
    if not rules.is_active:
        return frozenset()
    checked = [delivery for delivery in deliveries if rules.chain_for(delivery.kind)]
    if not checked:
        return frozenset()
    # the rows of deliveries before those of approvals, as an edit locks them
    if store.database.is_shared:
        ids = sorted(delivery.id for delivery in checked)
        locked = (
            select(DELIVERY.c.id)
            .where(DELIVERY.c.id.in_(ids))
            .order_by(DELIVERY.c.id)
            .with_for_update()
        )
        transaction.connection.execute(locked)
    keys = {delivery.key for delivery in checked}
    statuses = read_approval_statuses(store, transaction.connection, keys, locks=True)
    return frozenset(
        delivery.id
        for delivery in checked
        # a delivery that its own occurrence no longer names has no status
        if (status := statuses.get((delivery.key, delivery.kind))) is None
        or not status.is_approved
    )


def record_contents(
    store: BaseStore,
    transaction: Transaction,
    keys: Collection[OccurrenceKey],
    edited: Collection[OccurrenceKey],
    by: Actor,
) -> None:
    """Store the contents to approve of new occurrences, and end each approval of other contents.

    Call it for occurrences just written. The text of an `edited` occurrence needs every approval
    again, even if it reads the same.
    """
    now, connection = store.runtime.now(), transaction.connection
    for batch in batches(sorted(keys), KEYS_PER_QUERY):
        read = read_contents(connection, is_of_occurrences(batch))
        posts = _read_posts(connection, {key.post for key in batch})
        for key in batch:
            contents, content = read[key].renditions, read[key].fingerprint
            if key.post not in posts:  # it has never been sent anywhere
                continue
            post = posts[key.post]
            is_outdated = [] if key in edited else [APPROVAL.c.fingerprint != content]
            ended = end_approvals(
                transaction,
                now,
                "changed",
                post.saved_by or by.name,
                is_given(key),
                *is_outdated,
            )
            if not any(store.approval_rules.chain_for(item.kind) for item in contents):
                continue
            is_of_key = and_(
                APPROVABLE_TEXT.c.post == key.post,
                APPROVABLE_TEXT.c.occurrence == key.occurrence,
            )
            known = set(
                connection.scalars(
                    select(APPROVABLE_TEXT.c.fingerprint).where(is_of_key)
                )
            )
            is_edit = bool(known) and (key in edited or content not in known)
            if content not in known or is_edit:
                values = {
                    "at": now,
                    "author": load_author(post.body),
                    "saved_by": post.saved_by,
                    "file_owner": post.file_owner,
                    "is_edit": is_edit,
                    "content_hash": post.content_hash,
                    "rendered_hashes": json.dumps(
                        {item.account: item.rendered_hash for item in contents}
                    ),
                }
                identity = {
                    "post": key.post,
                    "occurrence": key.occurrence,
                    "fingerprint": content,
                }
                write_row(connection, APPROVABLE_TEXT, identity, values)
            if is_edit and key in edited:
                event = "changed_by_person" if post.saved_by else "changed_outside"
                actor = (
                    Actor(role=Role.PERSON, name=post.saved_by) if post.saved_by else by
                )
                detail = {
                    "file_owner": post.file_owner,
                    "fingerprint": content,
                    "approvals_ended": ended,
                }
                write_audit(
                    transaction,
                    now,
                    actor,
                    event=event,
                    subject=name_occurrence(key),
                    detail=detail,
                )


def is_given(key: OccurrenceKey) -> ColumnElement[bool]:
    return and_(APPROVAL.c.post == key.post, APPROVAL.c.occurrence == key.occurrence)


IS_PLANNED = exists().where(
    DELIVERY.c.post == APPROVAL.c.post, DELIVERY.c.occurrence == APPROVAL.c.occurrence
)
"""The approvals of occurrences with deliveries."""
IS_UNSENT = exists().where(
    DELIVERY.c.post == APPROVAL.c.post,
    DELIVERY.c.occurrence == APPROVAL.c.occurrence,
    or_(
        DELIVERY.c.state.in_(OPEN_STATE_NAMES),
        and_(
            DELIVERY.c.state.in_([state.value for state in RESTORABLE_STATES]),
            or_(
                DELIVERY.c.attempts == 0, DELIVERY.c.first_attempt_deadline.is_not(None)
            ),
        ),
    ),
)
"""The approvals of unsent content.

This includes content that was cancelled before any call and may come back.
"""


def needs_review(store: BaseStore, connection: Connection, alert: int) -> bool:
    """True if an alert is about a review after an emergency, and the settings still ask for one."""
    is_review = (
        ALERT.c.id == alert,
        ALERT.c.code.in_([AFTER_REVIEW_DUE, AFTER_REVIEW_OVERDUE]),
    )
    of_occurrence = ALERT.c.subject.in_(
        [DELIVERY.c.post, DELIVERY.c.post + "#" + DELIVERY.c.occurrence]
    )
    kinds = connection.scalars(
        select(DELIVERY.c.kind).where(*is_review, of_occurrence).distinct()
    )
    return any(map(store.approval_rules.chain_for, kinds))


def end_approvals(
    transaction: Transaction,
    now: datetime,
    reason: str,
    by: str,
    *conditions: ColumnElement[bool],
) -> int:
    """End the yeses that meet all conditions. Return how many."""
    ended = {"ended_at": now, "ended_by": by, "ended_reason": reason}
    statement = (
        update(APPROVAL).where(APPROVAL.c.ended_at.is_(None), *conditions).values(ended)
    )
    return transaction.connection.execute(statement).rowcount


def void_approvals(
    transaction: Transaction, now: datetime, by: Actor, reason: str
) -> int:
    """End every approval of unsent content, and return the number of ended approvals.

    The database may have lost the end of an approval. Content that is still to be planned counts as
    unsent.
    """
    forget_approved(transaction)
    number = end_approvals(
        transaction, now, reason, by.name, or_(IS_UNSENT, not_(IS_PLANNED))
    )
    if number:
        detail = {"reason": reason, "approvals_ended": number}
        write_audit(
            transaction,
            now,
            by,
            event="approvals_voided",
            subject="approvals",
            detail=detail,
        )
        clear_alerts(transaction, "approvals", now)
        raise_alert(
            transaction,
            now,
            "approvals_voided",
            "approvals",
            {"reason": reason, "number": str(number)},
        )
    return number


def end_approvals_of(
    transaction: Transaction, now: datetime, person: str, by: Actor, reason: str
) -> list[str]:
    """End a person's approvals of unsent content, and requests. Return the occurrence names."""
    query = (
        select(APPROVAL)
        .where(APPROVAL.c.ended_at.is_(None), IS_UNSENT)
        .order_by(APPROVAL.c.id)
    )
    theirs = [
        row
        for row in transaction.connection.execute(query)
        if is_same_name(row.person, person)
    ]
    forget_approved(transaction, POST.c.id.in_({row.post for row in theirs}))
    end_approvals(
        transaction, now, reason, by.name, APPROVAL.c.id.in_([row.id for row in theirs])
    )
    names = [
        name_occurrence(OccurrenceKey(post=PostId(row.post), occurrence=row.occurrence))
        for row in theirs
    ]
    for name in dict.fromkeys(names):
        write_audit(
            transaction,
            now,
            by,
            event="approval_ended",
            subject=name,
            detail={"of": person, "reason": reason},
        )
    end_confirmation_requests(transaction, now, by, reason, of=person)
    return list(dict.fromkeys(names))


def end_confirmation_requests(
    transaction: Transaction,
    now: datetime,
    by: Actor,
    reason: str,
    of: str | None = None,
) -> None:
    """Forget the requests for a second person's confirmation, or only the requests by `of`."""
    connection, table = transaction.connection, DECISION_REQUEST.c
    rows = connection.execute(select(table.delivery, table.by)).all()
    asked = {
        row.delivery: row.by for row in rows if of is None or is_same_name(row.by, of)
    }
    connection.execute(delete(DECISION_REQUEST).where(table.delivery.in_(list(asked))))
    for delivery in read_deliveries(
        connection, select(DELIVERY).where(DELIVERY.c.id.in_(list(asked)))
    ):
        detail = {"of": asked[delivery.id], "reason": reason}
        event = "confirmation_request_ended"
        write_audit(
            transaction,
            now,
            by,
            event=event,
            subject=subject_of(delivery),
            detail=detail,
        )
