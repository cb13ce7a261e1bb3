"""What every room of the store works with: the database, the terms of each account, and how a delivery is changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import update

from publisher.domain.account import AccountId
from publisher.domain.delivery import Delivery, State, WorkerId
from publisher.domain.events import Actor, Event
from publisher.domain.lifecycle import advance
from publisher.domain.patience import Patience
from publisher.domain.terms import Terms
from publisher.store.engine import Database, Unit
from publisher.store.ledger import OvertakenError, subject_of, write_alert, write_audit
from publisher.store.rows import DELIVERY, changed_columns
from publisher.world import World

TOLD = frozenset({State.HELD, State.FAILED, State.EXPIRED, State.REMOVED})
"""States whose entry is an alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """One worker's access to the books."""

    database: Database
    terms: Mapping[AccountId, Terms]
    worker: WorkerId

    @property
    def world(self) -> World:
        return self.database.world

    def patience(self, account: AccountId) -> Patience:
        """Give an account's waits; those of no platform in particular when the account is not in the settings."""
        terms = self.terms.get(account)
        return terms.patience if terms else Patience()

    async def change(
        self, unit: Unit, before: Delivery, event: Event, by: Actor, *, lease_until: datetime | None = None
    ) -> Delivery:
        """Bring an event to a delivery; write what `advance()` returned, its audit entry and its alert.

        Raises IllegalStepError where the table has no such step, OvertakenError when the row has moved on.
        """
        now = self.world.now()
        after = advance(before, event, by=by, now=now, patience=self.patience(before.account))
        columns = {**changed_columns(before, after), "lease_until": lease_until}
        done = await unit.connection.execute(
            update(DELIVERY).where(DELIVERY.c.id == before.id, DELIVERY.c.version == before.version).values(columns)
        )
        if done.rowcount != 1:
            raise OvertakenError(before.id)
        await self.world.failpoint("audit.before_append")
        detail = {
            "version": after.version,
            "attempt": after.attempts,
            "epoch": after.epoch,
            "reason": after.reason,
        }
        await write_audit(
            unit,
            now,
            by,
            event=type(event).__name__,
            subject=subject_of(after),
            before=before.state,
            after=after.state,
            detail=detail,
        )
        if after.state in TOLD and before.state is not after.state:
            await write_alert(unit, now, f"{after.state}.{after.reason}", after, {"reason": after.reason or ""})
        return after
