"""What waits for people, read once for every page that lists or counts it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import OPEN_STATES, DesiredState, State
from publisher.domain.post import OccurrenceKey, PostId, format_delivery_name
from publisher.store.approvals.decisions import ApprovalTask, list_tasks
from publisher.store.approvals.guard import (
    CONTENT_COLUMNS,
    OccurrenceRecord,
    group_contents,
    read_all_records,
    takes_approval,
)
from publisher.store.base import StorePart
from publisher.store.db.filters import in_open_state
from publisher.store.db.tables import DELIVERY
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
class Waiting:
    """Everything that waits for people but the pauses.

    The deliveries are those of Glyph.ACTION, by their end.
    """

    tasks: Sequence[ApprovalTask]
    deliveries: Sequence[WaitingDelivery]

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

        A third one follows for each further KEYS_PER_QUERY occurrences.
        """
        return await self.database.read(self._read)

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
        query = select(*columns).where(DELIVERY.c.id.in_(shown))
        rows = connection.execute(
            query.order_by(DELIVERY.c.due_at, DELIVERY.c.id)
        ).all()
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
