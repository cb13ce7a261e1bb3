"""The officers on duty, with the right to release a post in an emergency."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from publisher.domain.delivery import Actor
from publisher.domain.errors import ApprovalError
from publisher.domain.user import Grant, UserState
from publisher.store.approvals.guard import IS_UNSENT, end_approvals
from publisher.store.base import StorePart
from publisher.store.db.approval_tables import APPROVAL, DUTY_OFFICER
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.rows import write_audit
from publisher.store.db.user_tables import AUTH_USER, load_grants


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyOfficer:
    """A person on duty since an instant, and the telephone; empty if it is unknown.

    `grants` are the grants of the user of this name, none without a user.
    """

    name: str
    phone: str
    at: datetime
    grants: tuple[Grant, ...] = ()

    @property
    def label(self) -> str:
        """The name, and the telephone if it is known."""
        return f"{self.name} {self.phone}".strip()


class DutyRoster(StorePart):
    """The list of officers on duty.

    Each change by a person has its audit entry in the same transaction.
    """

    async def officers(self) -> Sequence[DutyOfficer]:
        """Return the officers on duty, by name."""
        return await self.database.read(read_officers)

    @in_transaction
    def add(
        self, transaction: Transaction, name: str, by: Actor, phone: str = ""
    ) -> None:
        """Put a person on duty. For a person already on duty, only change the telephone, if given.

        Raises ApprovalError for a user that is not enabled.
        """
        now, connection = self.runtime.now(), transaction.connection
        state = connection.scalar(
            select(AUTH_USER.c.state).where(AUTH_USER.c.name == name).with_for_update()
        )
        if state not in {None, UserState.ENABLED}:
            raise ApprovalError("duty_user_not_enabled", post="", by=name)
        is_theirs = DUTY_OFFICER.c.name == name
        if connection.scalar(select(DUTY_OFFICER.c.name).where(is_theirs)) is None:
            connection.execute(
                insert(DUTY_OFFICER).values(name=name, phone=phone, at=now, by=by.name)
            )
        elif phone:
            connection.execute(
                update(DUTY_OFFICER).where(is_theirs).values(phone=phone)
            )
        write_audit(transaction, now, by, event="duty_added", subject=f"user:{name}")

    @in_transaction
    def remove(self, transaction: Transaction, name: str, by: Actor) -> None:
        """Take a person off duty, and end their open emergency releases.

        Raises ApprovalError for a person that is not on duty.
        """
        now, is_theirs = (
            self.runtime.now(),
            (APPROVAL.c.person == name, APPROVAL.c.is_emergency),
        )
        if not end_duty(transaction, now, name, by):
            raise ApprovalError("not_on_duty", post="", by=name)
        end_approvals(transaction, now, "off_duty", by.name, IS_UNSENT, *is_theirs)


def read_officers(connection: Connection) -> Sequence[DutyOfficer]:
    """Return the officers on duty, by name."""
    columns = (
        DUTY_OFFICER.c.name,
        DUTY_OFFICER.c.phone,
        DUTY_OFFICER.c.at,
        AUTH_USER.c.grants,
    )
    with_users = DUTY_OFFICER.outerjoin(
        AUTH_USER, AUTH_USER.c.name == DUTY_OFFICER.c.name
    )
    query = select(*columns).select_from(with_users).order_by(DUTY_OFFICER.c.name)
    return [
        DutyOfficer(
            name=row.name,
            phone=row.phone,
            at=row.at,
            grants=load_grants(row.grants or "[]"),
        )
        for row in connection.execute(query)
    ]


def end_duty(transaction: Transaction, now: datetime, name: str, by: Actor) -> bool:
    """Take a person off the list. Return False if the person was not on it."""
    removed = transaction.connection.execute(
        delete(DUTY_OFFICER).where(DUTY_OFFICER.c.name == name)
    ).rowcount
    if removed:
        write_audit(transaction, now, by, event="duty_removed", subject=f"user:{name}")
    return bool(removed)
