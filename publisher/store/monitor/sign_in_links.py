"""Links by which the owner of an account signs in again, without a command.

A page leaves the order, and later the platform's answer; the daemon makes the link, and exchanges
the answer. The dashboard has no secret of a platform. An answer is of use only together with the
secret of the app, which is not in the database, and it is gone once the daemon has claimed it.
"""

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from sqlalchemy import Connection, delete, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor, Role
from publisher.store.base import StorePart
from publisher.store.db.database import Transaction, in_transaction, wait_for_lock
from publisher.store.db.rows import (
    LINK_FACT,
    clear_alerts,
    raise_alert,
    write_audit,
    write_row,
)
from publisher.store.db.tables import DATABASE_INFO

LINK_LIFETIME = timedelta(minutes=30)
ORDER_INTERVAL = timedelta(minutes=1)
"""Within it a second order of the same account sends no second message."""
SIGN_IN_WANTED = "sign_in_wanted"
"""The alert that takes the link to the people who answer for the account."""
INTERRUPTED = "sign_in_interrupted"
EXPIRED = "sign_in_link_expired"
_KEY_PREFIX = "sign_in_link:"
_LOCK = "sign_in_links"


class LinkStatus(StrEnum):
    """The steps of a link. The codes are stored."""

    ORDERED = "ordered"
    SENT = "sent"
    ANSWERED = "answered"
    EXCHANGING = "exchanging"
    """The one call that may use the answer is under way."""
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInLink:
    """The newest link of an account. Instants are ISO 8601.

    `address` is the platform's page, and `state_hash` the hash of the state that its answer must
    bring back. `problem` is the code of what has failed, with its `facts`.
    """

    account: AccountId
    by: str
    sign_in: str | None
    ordered_at: str
    status: LinkStatus = LinkStatus.ORDERED
    address: str = field(default="", repr=False)
    state_hash: str = field(default="", repr=False)
    answer: str = field(default="", repr=False)
    problem: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def until(self) -> datetime:
        return datetime.fromisoformat(self.ordered_at) + LINK_LIFETIME

    @property
    def person(self) -> Actor:
        return Actor(role=Role.PERSON, name=self.by, sign_in=self.sign_in)

    def is_open(self, now: datetime) -> bool:
        """Return True while the owner can still use it."""
        return self.status is LinkStatus.SENT and now < self.until

    def is_past(self, now: datetime) -> bool:
        """Return True for a link that has ended some time ago: its result is no news any more."""
        is_ended = self.status in {LinkStatus.DONE, LinkStatus.FAILED}
        return is_ended and now >= self.until


def hash_state(state: str) -> str:
    return sha256(state.encode()).hexdigest()


class SignInLinks(StorePart):
    """The links of one host's accounts: at most one for each account."""

    @in_transaction
    def order(self, transaction: Transaction, account: AccountId, by: Actor) -> bool:
        """Order a link. An earlier one of the account is void.

        Return False, and do nothing, where one was ordered just now or is being answered.
        """
        wait_for_lock(transaction, _LOCK, is_shared=False)
        now, before = self.runtime.now(), self._find(transaction, account)
        if before is not None and (
            before.status in {LinkStatus.ANSWERED, LinkStatus.EXCHANGING}
            or (
                before.status in {LinkStatus.ORDERED, LinkStatus.SENT}
                and now < before.until - LINK_LIFETIME + ORDER_INTERVAL
            )
        ):
            return False
        link = SignInLink(
            account=account,
            by=by.name,
            sign_in=by.sign_in,
            ordered_at=now.isoformat(),
        )
        self._write(transaction, link)
        self._end_alert(transaction, account)
        write_audit(
            transaction,
            now,
            by,
            event="sign_in_link_ordered",
            subject=f"account:{account}",
        )
        return True

    @in_transaction
    def send(
        self, transaction: Transaction, link: SignInLink, state: str, address: str
    ) -> None:
        """Send an ordered link by an alert, unless another one was ordered meanwhile."""
        wait_for_lock(transaction, _LOCK, is_shared=False)
        if self._find(transaction, link.account) != link:
            return
        sent = replace(
            link,
            status=LinkStatus.SENT,
            address=address,
            state_hash=hash_state(state),
        )
        self._write(transaction, sent)
        facts = {
            "account": link.account,
            "by": link.by,
            "until": link.until.isoformat(),
            LINK_FACT: address,
        }
        raise_alert(
            transaction,
            self.runtime.now(),
            SIGN_IN_WANTED,
            _subject(link.account),
            facts,
        )

    async def is_open(self, state: str) -> bool:
        """Return True for the state of an open link, before anything is locked for its answer."""
        now, wanted = self.runtime.now(), hash_state(state)
        found = [
            link.account
            for link in await self.list()
            if hmac.compare_digest(link.state_hash, wanted) and link.is_open(now)
        ]
        return bool(found)

    @in_transaction
    def answer(
        self, transaction: Transaction, state: str, answer: str
    ) -> SignInLink | None:
        """Keep the platform's answer to an open link, which it uses up; None for any other state.

        States are compared in constant time.
        """
        wait_for_lock(transaction, _LOCK, is_shared=False)
        now, wanted, found = self.runtime.now(), hash_state(state), None
        for link in self._read(transaction.connection):
            if hmac.compare_digest(link.state_hash, wanted) and link.is_open(now):
                found = link
        if found is not None:
            kept = replace(
                found, status=LinkStatus.ANSWERED, state_hash="", answer=answer
            )
            self._write(transaction, kept)
            self._end_alert(transaction, found.account)
        return found

    @in_transaction
    def claim(self, transaction: Transaction, link: SignInLink) -> str | None:
        """Take the answer of a link away, for one exchange; None if that was done before."""
        wait_for_lock(transaction, _LOCK, is_shared=False)
        if self._find(transaction, link.account) != link:
            return None
        self._write(transaction, replace(link, status=LinkStatus.EXCHANGING, answer=""))
        return link.answer

    @in_transaction
    def finish(
        self,
        transaction: Transaction,
        link: SignInLink,
        problem: str = "",
        facts: Mapping[str, str] | None = None,
    ) -> None:
        """Record the end of a link, with the code of what has failed, if anything has."""
        wait_for_lock(transaction, _LOCK, is_shared=False)
        now_stored = self._find(transaction, link.account)
        if now_stored is None or now_stored.ordered_at != link.ordered_at:
            return
        status = LinkStatus.FAILED if problem else LinkStatus.DONE
        ended = replace(
            link,
            status=status,
            problem=problem,
            facts=dict(facts or {}),
            address="",
            state_hash="",
            answer="",
        )
        self._write(transaction, ended)
        self._end_alert(transaction, link.account)
        write_audit(
            transaction,
            self.runtime.now(),
            link.person,
            event="sign_in_link_failed" if problem else "signed_in_by_link",
            subject=f"account:{link.account}",
            detail={"reason": problem} if problem else None,
        )

    @in_transaction
    def forget(self, transaction: Transaction, account: AccountId) -> None:
        """Drop the link of an account that has left the settings."""
        self._end_alert(transaction, account)
        is_this = DATABASE_INFO.c.key == self._key(account)
        transaction.connection.execute(delete(DATABASE_INFO).where(is_this))

    async def find(self, account: AccountId) -> SignInLink | None:
        """Return the newest link of an account."""
        query = select(DATABASE_INFO.c.value).where(
            DATABASE_INFO.c.key == self._key(account)
        )
        value: str | None = await self.database.read_scalar(query)
        return None if value is None else _decode(value)

    async def list(self) -> Sequence[SignInLink]:
        """Return the newest link of each account."""
        return await self.database.read(self._read)

    def _find(self, transaction: Transaction, account: AccountId) -> SignInLink | None:
        value: str | None = transaction.connection.scalar(
            select(DATABASE_INFO.c.value).where(
                DATABASE_INFO.c.key == self._key(account)
            )
        )
        return None if value is None else _decode(value)

    def _read(self, connection: Connection) -> Sequence[SignInLink]:
        query = select(DATABASE_INFO.c.value).where(
            DATABASE_INFO.c.key.startswith(self._key(""), autoescape=True)
        )
        return [_decode(value) for value in connection.scalars(query)]

    def _write(self, transaction: Transaction, link: SignInLink) -> None:
        key, value = self._key(link.account), json.dumps(asdict(link))
        write_row(transaction.connection, DATABASE_INFO, {"key": key}, {"value": value})

    def _end_alert(self, transaction: Transaction, account: AccountId) -> None:
        clear_alerts(
            transaction,
            _subject(account),
            self.runtime.now(),
            SIGN_IN_WANTED,
            is_settled=True,
        )

    def _key(self, account: str) -> str:
        return f"{_KEY_PREFIX}{self.store.worker}:{account}"


def _subject(account: AccountId) -> str:
    return f"sign-in:{account}"


def _decode(value: str) -> SignInLink:
    fields = json.loads(value)
    return SignInLink(**{**fields, "status": LinkStatus(fields["status"])})
