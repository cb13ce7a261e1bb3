"""Offboarding of an account: its waiting deliveries are cancelled, its alerts cleared."""

from collections.abc import Mapping

from sqlalchemy import select

from publisher.domain.account import AccountId, LoginId
from publisher.domain.delivery import State
from publisher.domain.events import Actor, Resolved
from publisher.domain.reports import is_not_started
from publisher.store.audit.append import clear_alerts, lock_planning, write_audit
from publisher.store.db.database import Transaction
from publisher.store.db.mappers import AUDIT, DELIVERY, to_delivery
from publisher.store.jobs import ACCOUNT_JOBS, subject_of_job
from publisher.store.plan.posts import cancel_matching
from publisher.store.store import StateChange, Store


class Offboarding:
    """The steps of offboarding an account. Every method is one transaction and idempotent."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def cancel_waiting(self, account: AccountId, by: Actor, reason: str) -> int:
        """Cancel what waits on an account; no unknown delivery will return to waiting. Returns how many end."""

        def cancel(transaction: Transaction) -> int:
            lock_planning(transaction)
            rows = transaction.connection.execute(select(DELIVERY).where(DELIVERY.c.account == account)).mappings()
            waiting = [delivery for delivery in map(to_delivery, rows) if is_not_started(delivery)]
            resolution = Resolved(to=State.CANCELLED, reason=reason)
            changes = [StateChange(before=one, event=resolution) for one in waiting if one.state is State.HELD]
            self.store.transition_all(transaction, changes, by)
            cancel_matching(self.store, transaction, {"account": account}, by, reason="account_offboarded")
            return len(waiting)

        return await self.store.database.write(cancel)

    async def begin(self, account: AccountId, login: LoginId, by: Actor, reason: str) -> None:
        """Record that an account's offboarding was requested, and which login it had."""
        detail = {"login": login, "reason": reason}
        await self.store.database.write(
            lambda transaction: self._record(transaction, account, "offboarding_requested", by, detail)
        )

    async def finish(self, account: AccountId, login: LoginId, by: Actor, *, is_shared: bool) -> None:
        """Record that nothing is left to do for an account, and clear its alerts; those of a shared login stay."""

        def finish_offboarding(transaction: Transaction) -> None:
            subjects = [f"account:{account}", f"account:{account}/by-hand", *([] if is_shared else [f"login:{login}"])]
            subjects += (subject_of_job(job, account) for job in ACCOUNT_JOBS)
            for subject in subjects:
                clear_alerts(transaction, subject, self.store.runtime.now())
            self._record(transaction, account, "offboarded", by, {"login": login})

        await self.store.database.write(finish_offboarding)

    def _record(
        self, transaction: Transaction, account: AccountId, event: str, by: Actor, detail: Mapping[str, str]
    ) -> None:
        """Write an audit entry, unless the newest one about the account already has this event or `offboarded`."""
        subject = f"account:{account}"
        newest = select(AUDIT.c.event).where(AUDIT.c.subject == subject).order_by(AUDIT.c.id.desc()).limit(1)
        if transaction.connection.scalar(newest) not in {event, "offboarded"}:
            write_audit(transaction, self.store.runtime.now(), by, event=event, subject=subject, detail=detail)
