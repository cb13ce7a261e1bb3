"""What waits for people, read once for every page that lists or counts it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    exists,
    false,
    null,
    or_,
    select,
    union_all,
)

from publisher.domain.account import AccountId
from publisher.domain.delivery import OPEN_STATES, DesiredState, State
from publisher.domain.glyph import UNPUBLISHED_STATES
from publisher.domain.post import OccurrenceKey, PostId, format_delivery_name
from publisher.store.approvals.decisions import list_tasks
from publisher.store.approvals.guard import (
    CONTENT_COLUMNS,
    OccurrenceRecord,
    group_contents,
    name_occurrence,
    read_all_records,
    takes_approval,
)
from publisher.store.approvals.tasks import ApprovalTask
from publisher.store.base import StorePart
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.filters import in_open_state, in_state
from publisher.store.db.rewritten import find_rewritten
from publisher.store.db.rows import OCCURRENCES_MISSED
from publisher.store.db.tables import DELIVERY, POST
from publisher.store.queries.occurrences import needs_person


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingDelivery:
    """A delivery that a person has to act on, with the title of its post."""

    key: OccurrenceKey
    account: AccountId
    kind: str
    title: str
    state: State
    reason: str | None
    expires_at: datetime

    @property
    def name(self) -> str:
        """The name in the audit and in alerts."""
        return format_delivery_name(self.key.post, self.key.occurrence, self.account)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenEnd:
    """A delivery that ended unpublished, or was removed, and the alert that nobody acknowledged.

    `number` counts the deliveries that the alert is about: many instants may be missed at once.
    """

    alert: int
    key: OccurrenceKey
    account: AccountId
    kind: str
    level: str | None
    title: str
    state: State
    reason: str | None
    is_of_post: bool
    """True if the alert is about several times of the post."""
    number: int = 1

    @property
    def about(self) -> str:
        """The occurrence, or the post, that it is listed with."""
        return self.key.post if self.is_of_post else name_occurrence(self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Everything that waits for people but the pauses.

    The deliveries are those of Glyph.ACTION, by their end. `unseen` are the ones that nobody has
    seen to be unpublished, by their time.
    """

    tasks: Sequence[ApprovalTask]
    deliveries: Sequence[WaitingDelivery]
    unseen: Sequence[UnseenEnd] = ()

    @property
    def to_decide(self) -> Sequence[WaitingDelivery]:
        """The deliveries held for a ruling, and the ones that a person has to place."""
        decided = {State.HELD, State.SUBMITTED}
        return [delivery for delivery in self.deliveries if delivery.state in decided]

    @property
    def by_account(self) -> Mapping[AccountId, int]:
        """The number of deliveries on each account."""
        return Counter(delivery.account for delivery in self.deliveries)

    def tasks_of(self, post: PostId) -> Sequence[ApprovalTask]:
        """Return the occurrences of a post that people approve."""
        return [task for task in self.tasks if task.key.post == post]


class WaitingQueries(StorePart):
    async def read(self) -> Waiting:
        """Return what waits for people: two statements, for any number of posts and accounts.

        A third one follows for each further KEYS_PER_QUERY occurrences, and for unseen refusals.
        """
        return await self.database.read(self._read)

    async def unseen(self, post: PostId) -> Sequence[UnseenEnd]:
        """Return the deliveries of a post that nobody has seen to be unpublished."""
        return await self.database.read(read_unseen, post)

    def _read(self, connection: Connection) -> Waiting:
        rules = self.store.approval_rules
        needing = select(DELIVERY.c.id).where(
            in_open_state(DELIVERY, *OPEN_STATES), needs_person(self.runtime.now())
        )
        approvable = select(DELIVERY.c.id).where(takes_approval(rules))
        shown = needing.union(approvable) if rules.is_active else needing
        columns = (
            *CONTENT_COLUMNS,
            DELIVERY.c.desired,
            DELIVERY.c.reason,
            DELIVERY.c.expires_at,
            DELIVERY.c.id.in_(needing).label("needs_person"),
        )
        no_alert = (null().label(name) for name in ("alert", *_OF_ALERT))
        query = union_all(
            select(*columns, *no_alert).where(DELIVERY.c.id.in_(shown)), _UNSEEN
        )
        found = connection.execute(query.order_by("due_at", "id")).all()
        rows = [row for row in found if row.alert is None]
        contents = group_contents(
            row for row in rows if row.desired != DesiredState.NOT_TARGETED.value
        )
        keys = contents.keys() | {key_of(row) for row in rows if row.needs_person}
        records = read_all_records(connection, keys)
        needed = sorted(
            (row for row in rows if row.needs_person and key_of(row) in records),
            key=lambda row: (row.expires_at, row.id),
        )
        return Waiting(
            tasks=list_tasks(self.store, contents, records) if rules.is_active else (),
            deliveries=[to_waiting(row, records[key_of(row)]) for row in needed],
            unseen=keep_unwritten(
                connection, [row for row in found if row.alert is not None]
            ),
        )


def key_of(row: Row[Any]) -> OccurrenceKey:
    return OccurrenceKey(post=PostId(row.post), occurrence=row.occurrence)


def to_waiting(row: Row[Any], record: OccurrenceRecord) -> WaitingDelivery:
    return WaitingDelivery(
        key=key_of(row),
        account=AccountId(row.account),
        kind=row.kind,
        title=json.loads(record.post.body)["title"],
        state=State(row.state),
        reason=row.reason,
        expires_at=row.expires_at,
    )


def is_unseen() -> ColumnElement[bool]:
    """True if nobody has acknowledged an alert that something was not published, or removed."""
    ends = (ALERT.c.code.startswith(f"{state}.") for state in UNPUBLISHED_STATES)
    return and_(
        ALERT.c.cleared_at.is_(None),
        ALERT.c.dismissed_at.is_(None),
        or_(ALERT.c.code == OCCURRENCES_MISSED, *ends),
    )


_RESENT = DELIVERY.alias("resent")
_IS_RESENT = exists().where(
    _RESENT.c.post == DELIVERY.c.post,
    _RESENT.c.account == DELIVERY.c.account,
    _RESENT.c.id > DELIVERY.c.id,
    _RESENT.c.occurrence.contains("."),
)
_OF_ALERT = {"code": ALERT.c.code, "facts": ALERT.c.facts, "body": POST.c.body}
_UNSEEN: Select[Any] = (
    select(
        *CONTENT_COLUMNS,
        DELIVERY.c.desired,
        DELIVERY.c.reason,
        DELIVERY.c.expires_at,
        false().label("needs_person"),
        ALERT.c.id.label("alert"),
        *(column.label(name) for name, column in _OF_ALERT.items()),
    )
    .select_from(ALERT)
    .join(DELIVERY, DELIVERY.c.id == ALERT.c.delivery)
    .join(POST, POST.c.id == DELIVERY.c.post)
    .where(
        is_unseen(),
        in_state(DELIVERY, *sorted(UNPUBLISHED_STATES)),
        ~POST.c.is_cancelled,
        ~_IS_RESENT,
    )
)
"""What has no alert was ended by a person, or is known. The alert stays however old it is."""


def read_unseen(connection: Connection, post: PostId) -> Sequence[UnseenEnd]:
    rows = connection.execute(_UNSEEN.where(POST.c.id == post)).all()
    return keep_unwritten(connection, rows)


def keep_unwritten(
    connection: Connection, rows: Sequence[Row[Any]]
) -> Sequence[UnseenEnd]:
    """Return the ends without the refused texts that somebody has written again."""
    refused = [row for row in rows if row.state == State.FAILED]
    copies = find_rewritten(connection, refused) if refused else {}
    return [to_unseen(row) for row in rows if (row.post, row.account) not in copies]


def to_unseen(row: Row[Any]) -> UnseenEnd:
    body, is_of_post = json.loads(row.body), row.code == OCCURRENCES_MISSED
    return UnseenEnd(
        alert=row.alert,
        key=key_of(row),
        account=AccountId(row.account),
        kind=row.kind,
        level=body["level"],
        title=body["title"],
        state=State(row.state),
        reason=row.reason,
        is_of_post=is_of_post,
        number=int(json.loads(row.facts)["number"]) if is_of_post else 1,
    )
