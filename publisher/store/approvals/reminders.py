"""Reminders of approvals: of those that a post will soon need, and of overdue reviews."""

import json
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, exists, or_, select

from publisher.domain.approval import (
    AFTER_REVIEW_PERIOD,
    LAST_REMINDER_LEAD,
    REMINDER_LEAD,
    choose_reminder_lead,
)
from publisher.domain.delivery import Delivery, State
from publisher.store.approvals.guard import (
    AFTER_REVIEW_DUE,
    AFTER_REVIEW_OVERDUE,
    APPROVAL_ALERTS,
    APPROVAL_NEEDED,
    URGENT_APPROVAL_NEEDED,
    alert_facts,
    name_occurrence,
    read_approval_statuses,
    read_texts,
)
from publisher.store.base import BaseStore, StorePart
from publisher.store.db.alert_tables import ALERT, IS_ACKNOWLEDGED
from publisher.store.db.database import Transaction, in_transaction, try_lock
from publisher.store.db.filters import in_state
from publisher.store.db.rows import clear_alerts, raise_alert
from publisher.store.db.tables import DELIVERY, read_deliveries

REMINDER_LOCK = "approval_reminders"
REMINDER_INTERVAL_SECONDS = 30.0
"""How often is looked for posts that are due soon and still need an approval."""


class ApprovalReminders(StorePart):
    """Alerts people to posts that still need an approval."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self._next_run = float("-inf")

    async def run(self) -> int:
        """Keep one alert for each unapproved occurrence that is due soon. Return the new count.

        An occurrence that is due already has one too. A text filed within REMINDER_LEAD of its time
        is reported only LAST_REMINDER_LEAD before it. Nothing is asked if no post needs an
        approval. Otherwise it is asked once in REMINDER_INTERVAL_SECONDS.
        """
        now, ticks = self.runtime.now_if_confirmed(), self.runtime.monotonic()
        if (
            now is None
            or not self.store.approval_rules.is_active
            or ticks < self._next_run
        ):
            return 0
        self._next_run = ticks + REMINDER_INTERVAL_SECONDS
        if await self.database.read(find_overdue_reviews, now):
            await self.database.write(alert_overdue_reviews, now)
        wanted, found = await self.database.read(self._compare_alerts, now)
        return await self._update_needed(now) if set(wanted) != found else 0

    @in_transaction
    def _update_needed(self, transaction: Transaction, now: datetime) -> int:
        if not try_lock(transaction, REMINDER_LOCK):
            return 0
        wanted, found = self._compare_alerts(transaction.connection, now)
        waiting = {subject for _code, subject in wanted}
        for code, subject in found - set(wanted):
            is_replaced = subject in waiting
            clear_alerts(transaction, subject, now, code, is_settled=is_replaced)
        new = sorted(set(wanted) - found)
        for code, subject in new:
            raise_alert(transaction, now, code, subject, wanted[code, subject])
        return len(new)

    def _compare_alerts(
        self, connection: Connection, now: datetime
    ) -> tuple[Mapping[tuple[str, str], Mapping[str, str]], set[tuple[str, str]]]:
        """Return the facts of each required alert, by code and subject, and the open ones."""
        is_near = or_(
            DELIVERY.c.next_action_at <= now + REMINDER_LEAD,
            DELIVERY.c.due_at <= now + REMINDER_LEAD,
        )
        near = read_deliveries(
            connection,
            select(DELIVERY).where(in_state(DELIVERY, State.PENDING), is_near),
        )
        rules = self.store.approval_rules
        found = [item for item in near if rules.chain_for(item.kind)]
        waiting = {(item.key, item.kind) for item in found}
        chained = {item.key: item for item in reversed(found)}
        texts = read_texts(connection, chained)
        statuses = read_approval_statuses(self.store, connection, chained)
        wanted = {}
        for (key, kind), status in statuses.items():
            due_at = chained[key].due_at
            text = texts.get((key, status.fingerprint))
            lead = choose_reminder_lead(due_at, text.at if text is not None else None)
            # what was sent as another kind, before an edit, waits for nobody
            is_waiting = (key, kind) in waiting and not status.is_approved
            if is_waiting and now >= due_at - lead:
                stages = "、".join(missing.stage.name for missing in status.missing)
                code = choose_alert(chained[key], now)
                wanted[code, name_occurrence(key)] = {
                    **alert_facts(key),
                    "due": due_at.isoformat(),
                    "stages": stages,
                }
        open_alerts = select(ALERT.c.code, ALERT.c.subject).where(
            ALERT.c.code.in_(APPROVAL_ALERTS), ALERT.c.cleared_at.is_(None)
        )
        return wanted, {tuple(row) for row in connection.execute(open_alerts)}


def choose_alert(delivery: Delivery, now: datetime) -> str:
    """Return the code of the alert of an unapproved delivery."""
    is_pressing = delivery.is_urgent and now >= delivery.due_at - LAST_REMINDER_LEAD
    return URGENT_APPROVAL_NEEDED if is_pressing else APPROVAL_NEEDED


def find_overdue_reviews(
    connection: Connection, now: datetime
) -> list[tuple[str, dict[str, str]]]:
    """Return subject and facts of alerts about releases that should have been approved by now.

    A release that was already reported as overdue is left out.
    """
    again = ALERT.alias("again")
    is_reminded = exists().where(
        again.c.subject == ALERT.c.subject,
        again.c.code == AFTER_REVIEW_OVERDUE,
        again.c.cleared_at.is_(None),
    )
    overdue = select(ALERT.c.subject, ALERT.c.facts).where(
        ALERT.c.code == AFTER_REVIEW_DUE,
        ALERT.c.cleared_at.is_(None),
        ~IS_ACKNOWLEDGED,
        ALERT.c.at <= now - AFTER_REVIEW_PERIOD,
        ~is_reminded,
    )
    return [(row.subject, json.loads(row.facts)) for row in connection.execute(overdue)]


def alert_overdue_reviews(transaction: Transaction, now: datetime) -> None:
    """Alert once more about emergency releases that should have been approved by now."""
    if try_lock(transaction, REMINDER_LOCK):
        for subject, facts in find_overdue_reviews(transaction.connection, now):
            raise_alert(transaction, now, AFTER_REVIEW_OVERDUE, subject, facts)
