"""Letting go of an account: what waits there is cancelled, what was told of it is over."""

from collections.abc import Mapping

from sqlalchemy import select

from publisher.domain.account import AccountId, LoginId
from publisher.domain.delivery import State
from publisher.domain.events import Actor, Ruled
from publisher.domain.handover import is_untouched
from publisher.store.books import Books, Change
from publisher.store.engine import Unit
from publisher.store.jobs import ACCOUNT_JOBS, subject_of_job
from publisher.store.ledger import clear_alerts, take_turn, write_audit
from publisher.store.registry import withdraw_where
from publisher.store.rows import AUDIT, DELIVERY, to_delivery


class Handovers:
    """The orders by which an account leaves. Every method is one transaction and may be repeated."""

    def __init__(self, books: Books) -> None:
        self.books = books

    async def cancel(self, account: AccountId, by: Actor, reason: str) -> int:
        """Cancel what waits on an account; nothing that is in doubt comes back to waiting. Returns how many end."""

        def operation(unit: Unit) -> int:
            take_turn(unit)
            rows = unit.connection.execute(select(DELIVERY).where(DELIVERY.c.account == account)).mappings()
            waiting = [delivery for delivery in map(to_delivery, rows) if is_untouched(delivery)]
            held = [delivery for delivery in waiting if delivery.state is State.HELD]
            ruling = Ruled(to=State.CANCELLED, reason=reason)
            self.books.change_all(unit, [Change(before=delivery, event=ruling) for delivery in held], by)
            withdraw_where(self.books, unit, {"account": account}, by, reason="account_handed_over")
            return len(waiting)

        return await self.books.database.write(operation)

    async def begin(self, account: AccountId, login: LoginId, by: Actor, reason: str) -> None:
        """Write down that an account leaves, and which login was behind it."""
        detail = {"login": login, "reason": reason}
        await self.books.database.write(lambda unit: self._note(unit, account, "offboarding_ordered", by, detail))

    async def end(self, account: AccountId, login: LoginId, by: Actor, *, is_shared: bool) -> None:
        """Write down that nothing of an account is in our hands any more, and close what was told of it."""

        def operation(unit: Unit) -> None:
            subjects = [f"account:{account}", f"account:{account}/by-hand", *([] if is_shared else [f"login:{login}"])]
            subjects += (subject_of_job(job, account) for job in ACCOUNT_JOBS)
            for subject in subjects:
                clear_alerts(unit, subject, self.books.world.now())
            self._note(unit, account, "offboarded", by, {"login": login})

        await self.books.database.write(operation)

    def _note(self, unit: Unit, account: AccountId, event: str, by: Actor, detail: Mapping[str, str]) -> None:
        """Write an entry, unless the newest about the account says as much already."""
        subject = f"account:{account}"
        newest = select(AUDIT.c.event).where(AUDIT.c.subject == subject).order_by(AUDIT.c.id.desc()).limit(1)
        if unit.connection.scalar(newest) not in {event, "offboarded"}:
            write_audit(unit, self.books.world.now(), by, event=event, subject=subject, detail=detail)
