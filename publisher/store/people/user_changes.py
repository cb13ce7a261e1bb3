"""Changes of users by administrators: changes that give access wait for a second administrator.

A reset gives away a sign-in. A role or a new user lets an administrator act as a trusted person.
"""

import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping, delete, insert, or_, select

from publisher.domain.delivery import Actor
from publisher.domain.errors import RefusedError
from publisher.domain.user import SignInFactor, User, UserChange, UserChangeKind
from publisher.store.base import BaseStore, StorePart
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.rows import write_audit
from publisher.store.db.tables import AUDIT
from publisher.store.db.user_tables import (
    AUTH_USER,
    USER_REQUEST,
    dump_grants,
    load_grants,
    to_user,
)
from publisher.store.people.users import Users, lock_users, require_possible

RESET_SHOWN_FOR = timedelta(days=7)
"""The time that users are shown, at each sign-in, the reset of their sign-in.

Another person may have seen it first.
"""
REQUEST_LIFETIME = timedelta(hours=24)
"""How long a change of a user waits for a second administrator."""
MIN_REQUEST_NUMBER = 10_000_000
"""Numbers are random: one that was seen never means another request."""
ADMIN_COUNTED_FOR = timedelta(days=7)
"""The time that a former administrator still counts.

The person that removes the second administrator is not free at once.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRequest:
    """A change of a user that one administrator has requested, and that a second one must confirm.

    `renews_sign_in`: with it all ends that the user signs in with, and there is a new one-time
    link.
    """

    id: int
    change: UserChange
    by: str
    at: datetime
    expires_at: datetime
    renews_sign_in: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedUser:
    """The result of a change: it was made, or it waits for a second administrator.

    A change that was made may have a one-time link.
    """

    change: UserChange
    link: str = field(default="", repr=False)
    request: UserRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInReset:
    """The reset of a user's sign-in: its author, and the confirming person, empty for nobody."""

    at: datetime
    by: str
    confirmed_by: str
    factors: Collection[SignInFactor]


class UserChanges(StorePart):
    """The changes that administrators submit.

    Each has its audit entries in the same transaction.
    """

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self.users = Users(store)

    @in_transaction
    def submit(
        self,
        transaction: Transaction,
        change: UserChange,
        by: Actor,
        *,
        breaks_glass: bool = False,
    ) -> ChangedUser:
        """Make a change of a user, or keep it as a request for a second administrator.

        It is kept if it takes a second administrator and there is one. Raises the errors of `add`,
        `change_grants` and `reset`.
        """
        now, connection = self.runtime.now(), transaction.connection
        known = lock_users(connection)
        row = next((row for row in known if row["name"] == change.user), None)
        before = None if row is None else to_user(row)
        is_alone = sum(_counts_as_admin(row, now) for row in known) < 2
        if breaks_glass or is_alone or not change.takes_second_admin(before):
            self._end_request(transaction, change.user)
            link = self.users.apply(transaction, change, by, breaks_glass=breaks_glass)
            return ChangedUser(change=change, link=link)
        require_possible(change, known)
        self._end_request(transaction, change.user)
        columns = {
            "id": MIN_REQUEST_NUMBER + secrets.randbelow(9 * MIN_REQUEST_NUMBER),
            "user": change.user,
            "kind": change.kind.value,
            "grants": dump_grants(change.grants),
            "factors": _dump_factors(change.factors),
            "by": by.name,
            "at": now,
            "expires_at": now + REQUEST_LIFETIME,
        }
        added = (
            connection.execute(
                insert(USER_REQUEST).values(columns).returning(USER_REQUEST)
            )
            .mappings()
            .one()
        )
        _audit_request(transaction, now, by, "user_change_requested", change)
        return ChangedUser(change=change, request=_to_request(added, before))

    @in_transaction
    def confirm(
        self,
        transaction: Transaction,
        number: int,
        by: Actor,
        *,
        breaks_glass: bool = False,
    ) -> ChangedUser:
        """Make a change that another administrator has requested.

        A first trusted role ends all sign-ins of the user, and makes a new link. The requester
        alone could have set them up.

        Raises RefusedError for a request that is over, that is one's own, or with a requester that
        is no administrator any more. A person that breaks the glass may confirm any request.
        """
        now = self.runtime.now()
        known = {
            row["name"]: to_user(row) for row in lock_users(transaction.connection)
        }
        request = self._take_request(transaction, number)
        requester = known.get(request.by)
        if requester is None or not requester.is_active_admin:
            raise RefusedError("user_request_over", number=str(number))
        if request.by == by.name and not breaks_glass:
            raise RefusedError("user_request_own", name=request.change.user)
        self._end_request(transaction, request.change.user)
        _audit_request(
            transaction,
            now,
            by,
            "user_change_confirmed",
            request.change,
            requested_by=request.by,
        )
        link = self.users.apply(
            transaction,
            request.change,
            by,
            requested_by=request.by,
            breaks_glass=breaks_glass,
        )
        return ChangedUser(change=request.change, link=link)

    @in_transaction
    def decline(self, transaction: Transaction, number: int, by: Actor) -> UserChange:
        """End a request without making the change. Raises RefusedError for one that is over."""
        request = self._take_request(transaction, number)
        self._end_request(transaction, request.change.user)
        facts = {"requested_by": request.by}
        _audit_request(
            transaction,
            self.runtime.now(),
            by,
            "user_change_declined",
            request.change,
            **facts,
        )
        return request.change

    async def requests(self) -> Sequence[UserRequest]:
        """Return the changes that wait for a second administrator, oldest first."""
        query = (
            select(USER_REQUEST)
            .where(USER_REQUEST.c.expires_at > self.runtime.now())
            .order_by(USER_REQUEST.c.at, USER_REQUEST.c.user)
        )

        def read(connection: Connection) -> Sequence[UserRequest]:
            users = {
                row["name"]: to_user(row)
                for row in connection.execute(select(AUTH_USER)).mappings()
            }
            return [
                _to_request(row, users.get(row["user"]))
                for row in connection.execute(query).mappings()
            ]

        return await self.database.read(read)

    async def recent_resets(self, name: str) -> Sequence[SignInReset]:
        """Return how a user's sign-in was reset within RESET_SHOWN_FOR, oldest first."""
        is_recent = AUDIT.c.at > self.runtime.now() - RESET_SHOWN_FOR
        query = select(AUDIT.c.at, AUDIT.c.name, AUDIT.c.detail).order_by(AUDIT.c.id)
        query = query.where(
            AUDIT.c.subject == f"user:{name}", AUDIT.c.event == "user_reset", is_recent
        )
        rows = await self.database.read_rows(query)
        resets = []
        for row in rows:
            detail = json.loads(row.detail)
            requested_by = detail.get("requested_by", "")
            by, second = (requested_by, row.name) if requested_by else (row.name, "")
            factors = _load_factors(json.dumps(detail.get("factors", [])))
            resets.append(
                SignInReset(at=row.at, by=by, confirmed_by=second, factors=factors)
            )
        return resets

    def _take_request(self, transaction: Transaction, number: int) -> UserRequest:
        """Return a request that is open. Raises RefusedError."""
        query = select(USER_REQUEST).where(
            USER_REQUEST.c.id == number, USER_REQUEST.c.expires_at > self.runtime.now()
        )
        row = (
            transaction.connection.execute(query.with_for_update())
            .mappings()
            .one_or_none()
        )
        if row is None:
            raise RefusedError("user_request_over", number=str(number))
        return _to_request(row)

    def _end_request(self, transaction: Transaction, user: str) -> None:
        """End the request about a user, and all that have expired."""
        is_over = or_(
            USER_REQUEST.c.user == user, USER_REQUEST.c.expires_at <= self.runtime.now()
        )
        transaction.connection.execute(delete(USER_REQUEST).where(is_over))


def _dump_factors(factors: Collection[SignInFactor]) -> str:
    return json.dumps(sorted(factors))


def _load_factors(text: str) -> frozenset[SignInFactor]:
    return frozenset(map(SignInFactor, json.loads(text)))


def _to_request(row: RowMapping, before: User | None = None) -> UserRequest:
    change = UserChange(
        kind=UserChangeKind(row["kind"]),
        user=row["user"],
        grants=load_grants(row["grants"]),
        factors=_load_factors(row["factors"]),
    )
    return UserRequest(
        id=row["id"],
        change=change,
        by=row["by"],
        at=row["at"],
        expires_at=row["expires_at"],
        renews_sign_in=change.gives_first_trust(before),
    )


def _audit_request(
    transaction: Transaction,
    now: datetime,
    by: Actor,
    event: str,
    change: UserChange,
    **facts: str,
) -> None:
    detail: dict[str, object] = {"change": change.kind.value, **facts}
    if change.kind is UserChangeKind.RESET:
        detail["factors"] = sorted(change.factors)
    else:
        detail["roles"] = dump_grants(change.grants)
    write_audit(
        transaction, now, by, event=event, subject=f"user:{change.user}", detail=detail
    )


def _counts_as_admin(row: RowMapping, now: datetime) -> bool:
    """Return True for a present administrator, and for a recent one."""
    ended_at = row["admin_ended_at"]
    return to_user(row).is_active_admin or (
        ended_at is not None and ended_at > now - ADMIN_COUNTED_FOR
    )
