"""Manual posting: the open tasks, their content, and the reports that people give of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from publisher.domain.delivery import (
    MAINTENANCE,
    RECONCILER,
    RETRACTOR,
    Actor,
    Delivery,
    DesiredState,
    Held,
    ManualTask,
    Resolved,
    State,
    parse_manual_task,
)
from publisher.domain.errors import RefusedError
from publisher.domain.post import DeliveryId, RenderedPost
from publisher.domain.results import HoldReason, Rejected, Submitted
from publisher.store.audit.append import clear_alerts, get_row, subject_of, write_audit
from publisher.store.base import StorePart
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.filters import in_state
from publisher.store.db.tables import DELIVERY, MEDIA, RENDERED_POST, load_rendered_post, to_delivery

_WANTED_VALUES = [DesiredState.AS_PLANNED.value, DesiredState.EDITED.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenManualTask:
    """A delivery that a person is to post, with its exact content."""

    delivery: Delivery
    task: ManualTask
    rendered: RenderedPost

    @property
    def text(self) -> str:
        """The text to post now: the post itself, or its next part."""
        return self.rendered.all_parts[self.part]

    @property
    def part(self) -> int:
        return self.delivery.parts_done if self.delivery.is_incomplete else 0


class ManualTasks(StorePart):
    """The stored manual tasks. Every method is one transaction."""

    async def list_open(self) -> Sequence[OpenManualTask]:
        """Return the tasks that wait for a person, or for their report to be verified; earliest deadline first."""
        query = (
            select(DELIVERY, RENDERED_POST.c.body)
            .join(RENDERED_POST, RENDERED_POST.c.fingerprint == DELIVERY.c.rendered_hash)
            .where(in_state(DELIVERY, State.SUBMITTED), DELIVERY.c.desired.in_(_WANTED_VALUES))
            .order_by(DELIVERY.c.expires_at, DELIVERY.c.id)
        )

        def read(connection: Connection) -> list[OpenManualTask]:
            rows = [(to_delivery(row), row["body"]) for row in connection.execute(query).mappings()]
            return [
                OpenManualTask(delivery=delivery, task=task, rendered=load_rendered_post(body))
                for delivery, body in rows
                if (task := parse_manual_task(delivery.ticket))
            ]

        return await self.database.read(read)

    async def read_pictures(self, rendered: RenderedPost) -> Mapping[str, bytes]:
        """Return the bytes of a rendered post's images, by hash."""
        hashes = [image.sha256 for image in rendered.images]
        query = select(MEDIA.c.sha256, MEDIA.c.data).where(MEDIA.c.sha256.in_(hashes))
        rows = await self.database.read(lambda connection: connection.execute(query).all())
        return {row.sha256: row.data for row in rows}

    @in_transaction
    def record_report(self, transaction: Transaction, delivery: DeliveryId, url: str, by: Actor) -> Delivery:
        """Record that a person reports the task as done, and schedule a check of it now.

        Raises RefusedError `no_open_manual_task` if the delivery is not an open manual task.
        """
        now, before = self.runtime.now(), to_delivery(get_row(transaction, delivery))
        task, subject = parse_manual_task(before.ticket), subject_of(before)
        if task is None or before.state is not State.SUBMITTED:
            raise RefusedError("no_open_manual_task", subject=subject, state=before.state.value)
        clear_alerts(transaction, subject, now)
        write_audit(transaction, now, by, event="manual_task_done", subject=subject, detail={"reason": url})
        reported = Submitted(ticket=task.with_report(url, by.name, now).ticket, check_again_at=now)
        return self.store.transition(transaction, before, reported, RECONCILER)

    @in_transaction
    def cancel_task(self, transaction: Transaction, delivery: DeliveryId, resolution: Resolved, by: Actor) -> Delivery:
        """Take a task back from the person by a resolution, so that it is never assigned twice.

        A deletion task can only be resolved as not posted. Raises RefusedError `no_open_manual_task` otherwise, and if
        the delivery is not an open manual task.
        """
        before = to_delivery(get_row(transaction, delivery))
        is_deletion, subject = before.state is State.RETRACTING, subject_of(before)
        is_open = parse_manual_task(before.ticket) is not None and (is_deletion or before.state is State.SUBMITTED)
        is_posted = before.receipt is not None or resolution.to not in {State.FAILED, State.CANCELLED}
        if not is_open or (is_deletion and is_posted):
            raise RefusedError("no_open_manual_task", subject=subject, state=before.state.value)
        if is_deletion:
            now, detail = self.runtime.now(), {"reason": resolution.reason}
            write_audit(transaction, now, by, event="manual_task_cancelled", subject=subject, detail=detail)
            not_posted = Rejected(code="manual_task_not_posted", reason=by.name)
            return self.store.transition(transaction, before, not_posted, RETRACTOR)
        hold = Held(reason=HoldReason.MANUAL_TASK_CANCELLED)
        held = self.store.transition(transaction, before, hold, MAINTENANCE)
        return self.store.transition(transaction, held, resolution, by)
