"""Previews of posts on people's own phones, ordered on a page and sent by the daemon."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, literal, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor, Role
from publisher.domain.errors import RefusedError
from publisher.domain.post import RenderedPost
from publisher.store.base import StorePart
from publisher.store.db.database import Transaction, in_transaction, wait_for_lock
from publisher.store.db.filters import is_paused
from publisher.store.db.rows import write_audit, write_row
from publisher.store.db.tables import DATABASE_INFO, RENDERED_POST

ORDER_LIFETIME = timedelta(minutes=5)
"""An order that no daemon has taken up in this time is over: its person has gone on."""
INTERRUPTED = "preview_interrupted"
EXPIRED = "preview_not_taken_up"
PAUSED = "preview_paused"
_KEY_PREFIX = "preview:"
_LOCK = "previews"


class PreviewStatus(StrEnum):
    """The steps of a preview. The codes are stored."""

    ORDERED = "ordered"
    SENDING = "sending"
    """The one call for it may be under way."""
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOrder:
    """A person's newest preview: of which text, and to which name on the platform.

    `problem` is the code of what has failed, with the platform's own words in `said`.
    """

    by: str
    sign_in: str | None
    subject: str
    account: AccountId
    fingerprint: str
    to: str
    ordered_at: str
    status: PreviewStatus = PreviewStatus.ORDERED
    problem: str = ""
    said: str = ""

    @property
    def person(self) -> Actor:
        return Actor(role=Role.PERSON, name=self.by, sign_in=self.sign_in)

    def is_open(self, now: datetime) -> bool:
        """Return True while it may still be sent, or is being sent."""
        is_over = now >= datetime.fromisoformat(self.ordered_at) + ORDER_LIFETIME
        return self.status is PreviewStatus.SENDING or (
            self.status is PreviewStatus.ORDERED and not is_over
        )


class Previews(StorePart):
    """The newest preview of each person, for the daemon of one host."""

    @in_transaction
    def order(
        self,
        transaction: Transaction,
        rendered: RenderedPost,
        to: str,
        by: Actor,
    ) -> bool:
        """Order a preview. Return False, and do nothing, while an earlier one is open.

        Raises RefusedError while the account or the post is paused.
        """
        wait_for_lock(transaction, _LOCK, is_shared=False)
        if is_text_paused(transaction.connection, rendered):
            raise RefusedError(PAUSED)
        now, before = self.runtime.now(), self._find(transaction, by.name)
        if before is not None and before.is_open(now):
            return False
        post = transaction.connection.scalar(
            select(RENDERED_POST.c.post).where(
                RENDERED_POST.c.fingerprint == rendered.fingerprint
            )
        )
        order = PreviewOrder(
            by=by.name,
            sign_in=by.sign_in,
            subject=f"{post}@{rendered.account}",
            account=rendered.account,
            fingerprint=rendered.fingerprint,
            to=to,
            ordered_at=now.isoformat(),
        )
        self._write(transaction, order)
        detail = {"to": to, "rendered_hash": rendered.fingerprint}
        write_audit(
            transaction,
            now,
            by,
            event="preview_requested",
            subject=order.subject,
            detail=detail,
        )
        return True

    @in_transaction
    def claim(
        self, transaction: Transaction, order: PreviewOrder
    ) -> PreviewOrder | None:
        """Note that an order is about to be sent; None if it has changed. It is sent once."""
        wait_for_lock(transaction, _LOCK, is_shared=False)
        if self._find(transaction, order.by) != order:
            return None
        claimed = replace(order, status=PreviewStatus.SENDING)
        self._write(transaction, claimed)
        return claimed

    @in_transaction
    def finish(
        self,
        transaction: Transaction,
        order: PreviewOrder,
        problem: str = "",
        said: str = "",
    ) -> None:
        """Record the result of an order, with the code of what has failed, if anything has.

        A newer order of the person stays.
        """
        wait_for_lock(transaction, _LOCK, is_shared=False)
        stored = self._find(transaction, order.by)
        if stored is None or stored.ordered_at != order.ordered_at:
            return
        status = PreviewStatus.FAILED if problem else PreviewStatus.SENT
        self._write(
            transaction, replace(order, status=status, problem=problem, said=said)
        )
        write_audit(
            transaction,
            self.runtime.now(),
            order.person,
            event="preview_failed" if problem else "preview_sent",
            subject=order.subject,
            detail={"reason": problem} if problem else None,
        )

    async def is_paused(self, rendered: RenderedPost) -> bool:
        """Return True while a pause covers the account or the post of a text."""
        return await self.database.read(is_text_paused, rendered)

    async def find(self, name: str) -> PreviewOrder | None:
        """Return a person's newest preview."""
        query = select(DATABASE_INFO.c.value).where(
            DATABASE_INFO.c.key == self._key(name)
        )
        value: str | None = await self.database.read_scalar(query)
        return None if value is None else _decode(value)

    async def list(self) -> Sequence[PreviewOrder]:
        """Return the newest preview of each person."""
        query = select(DATABASE_INFO.c.value).where(
            DATABASE_INFO.c.key.startswith(self._key(""), autoescape=True)
        )
        return [_decode(value) for value in await self.database.read_scalars(query)]

    def _find(self, transaction: Transaction, name: str) -> PreviewOrder | None:
        value: str | None = transaction.connection.scalar(
            select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == self._key(name))
        )
        return None if value is None else _decode(value)

    def _write(self, transaction: Transaction, order: PreviewOrder) -> None:
        key, value = self._key(order.by), json.dumps(asdict(order), ensure_ascii=False)
        write_row(transaction.connection, DATABASE_INFO, {"key": key}, {"value": value})

    def _key(self, name: str) -> str:
        return f"{_KEY_PREFIX}{self.store.worker}:{name}"


def is_text_paused(connection: Connection, rendered: RenderedPost) -> bool:
    """Return True while a pause covers the account or the post of a text."""
    text = select(
        RENDERED_POST.c.post,
        RENDERED_POST.c.account,
        literal(rendered.platform).label("platform"),
    )
    found = text.where(RENDERED_POST.c.fingerprint == rendered.fingerprint).subquery()
    return connection.scalar(select(found.c.post).where(is_paused(found))) is not None


def _decode(value: str) -> PreviewOrder:
    fields = json.loads(value)
    return PreviewOrder(**{**fields, "status": PreviewStatus(fields["status"])})
