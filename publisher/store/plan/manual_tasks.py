"""What people post by hand: the open tasks, what they are made of, and what was reported of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from publisher.domain.delivery import Delivery, DesiredState, ManualTask, State, parse_manual_task
from publisher.domain.errors import RefusedError
from publisher.domain.events import MAINTENANCE, RECONCILER, RETRACTOR, Actor, Held, Resolved
from publisher.domain.rendered import DeliveryId, RenderedPost
from publisher.domain.results import HoldReason, Rejected, Submitted
from publisher.store.audit.append import clear_alerts, get_row, subject_of, write_audit
from publisher.store.db.database import Transaction
from publisher.store.db.filters import in_state
from publisher.store.db.mappers import DELIVERY, MEDIA, RENDERED_POST, load_rendered_post, to_delivery
from publisher.store.store import Store

_WANTED_VALUES = [DesiredState.AS_PLANNED.value, DesiredState.EDITED.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenManualTask:
    """A delivery in a person's hands, and exactly what is to be posted."""

    delivery: Delivery
    task: ManualTask
    rendered: RenderedPost

    @property
    def text(self) -> str:
        """The words to post now: the post itself, or the floor whose turn it is."""
        return self.rendered.all_parts[self.part]

    @property
    def part(self) -> int:
        return self.delivery.parts_done if self.delivery.is_incomplete else 0


class ManualTasks:
    """The books of what people post by hand. Every method is one transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def list_open(self) -> Sequence[OpenManualTask]:
        """Give the tasks that wait for a person, or for their report to be verified; the most urgent deadline first."""
        query = (
            select(DELIVERY, RENDERED_POST.c.body)
            .join(RENDERED_POST, RENDERED_POST.c.fingerprint == DELIVERY.c.rendered_hash)
            .where(in_state(DELIVERY, State.SUBMITTED), DELIVERY.c.desired.in_(_WANTED_VALUES))
            .order_by(DELIVERY.c.expires_at, DELIVERY.c.id)
        )

        def read(connection: Connection) -> list[OpenManualTask]:
            found = [(to_delivery(row), row["body"]) for row in connection.execute(query).mappings()]
            return [
                OpenManualTask(delivery=delivery, task=task, rendered=load_rendered_post(body))
                for delivery, body in found
                if (task := parse_manual_task(delivery.ticket))
            ]

        return await self.store.database.read(read)

    async def read_pictures(self, rendered: RenderedPost) -> Mapping[str, bytes]:
        """Give a rendition's pictures, by hash."""
        hashes = [picture.sha256 for picture in rendered.images]
        query = select(MEDIA.c.sha256, MEDIA.c.data).where(MEDIA.c.sha256.in_(hashes))
        rows = await self.store.database.read(lambda connection: connection.execute(query).all())
        return {row.sha256: row.data for row in rows}

    async def record_report(self, delivery: DeliveryId, url: str, by: Actor) -> Delivery:
        """Write down that a person says it is done, and have it looked at now.

        Raises RefusedError `no_open_task` where nothing of the kind is in a person's hands.
        """

        def operation(transaction: Transaction) -> Delivery:
            now = self.store.runtime.now()
            before = to_delivery(get_row(transaction, delivery))
            task = parse_manual_task(before.ticket)
            if task is None or before.state is not State.SUBMITTED:
                raise RefusedError("no_open_manual_task", subject=subject_of(before), state=before.state.value)
            clear_alerts(transaction, subject_of(before), now)
            write_audit(
                transaction, now, by, event="manual_task_done", subject=subject_of(before), detail={"reason": url}
            )
            reported = Submitted(ticket=task.with_report(url, by.name, now).ticket, check_again_at=now)
            return self.store.transition(transaction, before, reported, RECONCILER)

        return await self.store.database.write(operation)

    async def cancel_task(self, delivery: DeliveryId, resolution: Resolved, by: Actor) -> Delivery:
        """Take a task out of a person's hands by a ruling: it is never in two pairs of hands.

        Where it is to be taken down, the ruling can only be that nothing was posted. Raises RefusedError
        `no_open_task`.
        """

        def operation(transaction: Transaction) -> Delivery:
            before = to_delivery(get_row(transaction, delivery))
            is_open = parse_manual_task(before.ticket) is not None and before.state in {
                State.SUBMITTED,
                State.RETRACTING,
            }
            is_posted = before.receipt is not None or resolution.to not in {State.FAILED, State.CANCELLED}
            if not is_open or (before.state is State.RETRACTING and is_posted):
                raise RefusedError("no_open_manual_task", subject=subject_of(before), state=before.state.value)
            if before.state is State.RETRACTING:
                detail = {"reason": resolution.reason}
                write_audit(
                    transaction,
                    self.store.runtime.now(),
                    by,
                    event="manual_task_cancelled",
                    subject=subject_of(before),
                    detail=detail,
                )
                return self.store.transition(
                    transaction, before, Rejected(code="manual_task_not_posted", reason=by.name), RETRACTOR
                )
            held = self.store.transition(
                transaction, before, Held(reason=HoldReason.MANUAL_TASK_CANCELLED), MAINTENANCE
            )
            return self.store.transition(transaction, held, resolution, by)

        return await self.store.database.write(operation)
