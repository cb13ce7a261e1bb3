"""What people post by hand: the open tasks, what they are made of, and what was reported of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from publisher.domain.delivery import Delivery, Desired, State
from publisher.domain.errors import RefusedError
from publisher.domain.events import KEEPER, RECONCILER, RETRACTOR, Actor, Ruled, Stopped
from publisher.domain.outcome import HoldReason, Rejected, Submitted
from publisher.domain.rendition import DeliveryId, Rendition
from publisher.domain.task import Task, task_of
from publisher.store.books import Books
from publisher.store.conditions import stands
from publisher.store.engine import Unit
from publisher.store.ledger import clear_alerts, read_row, subject_of, write_audit
from publisher.store.rows import DELIVERY, MEDIA, RENDITION, read_rendition, to_delivery

_WANTED = [Desired.AS_FILED.value, Desired.EDITED.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTask:
    """A delivery in a person's hands, and exactly what is to be posted."""

    delivery: Delivery
    task: Task
    rendition: Rendition

    @property
    def text(self) -> str:
        """The words to post now: the post itself, or the floor whose turn it is."""
        return self.rendition.all_floors[self.floor]

    @property
    def floor(self) -> int:
        return self.delivery.floors_done if self.delivery.is_incomplete else 0


class Tasks:
    """The books of what people post by hand. Every method is one transaction."""

    def __init__(self, books: Books) -> None:
        self.books = books

    async def open(self) -> Sequence[OpenTask]:
        """Give the tasks that wait for a person, or for their report to be verified; the most urgent deadline first."""
        query = (
            select(DELIVERY, RENDITION.c.body)
            .join(RENDITION, RENDITION.c.fingerprint == DELIVERY.c.rendition)
            .where(stands(DELIVERY, State.SUBMITTED), DELIVERY.c.desired.in_(_WANTED))
            .order_by(DELIVERY.c.expires_at, DELIVERY.c.id)
        )

        def read(connection: Connection) -> list[OpenTask]:
            found = [(to_delivery(row), row["body"]) for row in connection.execute(query).mappings()]
            return [
                OpenTask(delivery=delivery, task=task, rendition=read_rendition(body))
                for delivery, body in found
                if (task := task_of(delivery.ticket))
            ]

        return await self.books.database.read(read)

    async def pictures(self, rendition: Rendition) -> Mapping[str, bytes]:
        """Give a rendition's pictures, by hash."""
        hashes = [picture.sha256 for picture in rendition.pictures]
        query = select(MEDIA.c.sha256, MEDIA.c.data).where(MEDIA.c.sha256.in_(hashes))
        rows = await self.books.database.read(lambda connection: connection.execute(query).all())
        return {row.sha256: row.data for row in rows}

    async def report(self, delivery: DeliveryId, url: str, by: Actor) -> Delivery:
        """Write down that a person says it is done, and have it looked at now.

        Raises RefusedError `no_open_task` where nothing of the kind is in a person's hands.
        """

        def operation(unit: Unit) -> Delivery:
            now = self.books.world.now()
            before = to_delivery(read_row(unit, delivery))
            task = task_of(before.ticket)
            if task is None or before.state is not State.SUBMITTED:
                raise RefusedError("no_open_task", subject=subject_of(before), state=before.state.value)
            clear_alerts(unit, subject_of(before), now)
            write_audit(unit, now, by, event="manual_task_done", subject=subject_of(before), detail={"reason": url})
            reported = Submitted(ticket=task.done(url, by.name, now).ticket, look_again_at=now)
            return self.books.change(unit, before, reported, RECONCILER)

        return await self.books.database.write(operation)

    async def take_back(self, delivery: DeliveryId, ruling: Ruled, by: Actor) -> Delivery:
        """Take a task out of a person's hands by a ruling: it is never in two pairs of hands.

        Where it is to be taken down, the ruling can only be that nothing was posted. Raises RefusedError
        `no_open_task`.
        """

        def operation(unit: Unit) -> Delivery:
            before = to_delivery(read_row(unit, delivery))
            is_open = task_of(before.ticket) is not None and before.state in {State.SUBMITTED, State.RETRACTING}
            is_posted = before.receipt is not None or ruling.to not in {State.FAILED, State.CANCELLED}
            if not is_open or (before.state is State.RETRACTING and is_posted):
                raise RefusedError("no_open_task", subject=subject_of(before), state=before.state.value)
            if before.state is State.RETRACTING:
                detail = {"reason": ruling.reason}
                write_audit(
                    unit,
                    self.books.world.now(),
                    by,
                    event="manual_task_cancelled",
                    subject=subject_of(before),
                    detail=detail,
                )
                return self.books.change(unit, before, Rejected(code="task_not_posted", reason=by.name), RETRACTOR)
            held = self.books.change(unit, before, Stopped(reason=HoldReason.TASK_TAKEN_BACK), KEEPER)
            return self.books.change(unit, held, ruling, by)

        return await self.books.database.write(operation)
