"""Tasks of people who post by hand: open tasks, reports, and their cancellation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import (
    Connection,
    select,
)

from publisher.domain.delivery import (
    MAINTENANCE,
    RECONCILER,
    RETRACTOR,
    Actor,
    Delivery,
    Held,
    Resolved,
    State,
)
from publisher.domain.errors import RefusedError
from publisher.domain.post import (
    DeliveryId,
    RenderedPost,
)
from publisher.domain.results import HoldReason, ManualTask, Rejected, Submitted, Ticket
from publisher.store.base import StorePart
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.filters import in_state
from publisher.store.db.rows import (
    clear_alerts,
    get_delivery,
    subject_of,
    write_audit,
)
from publisher.store.db.tables import (
    DELIVERY,
    MEDIA,
    RENDERED_POST,
    load_rendered_post,
    to_delivery,
)
from publisher.store.plan.actions import WANTED_VALUES, require_version


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
        """Return the tasks that wait for a person, or for a check of their report.

        The earliest deadline is first.
        """
        query = (
            select(DELIVERY, RENDERED_POST.c.body)
            .join(
                RENDERED_POST, RENDERED_POST.c.fingerprint == DELIVERY.c.rendered_hash
            )
            .where(
                in_state(DELIVERY, State.SUBMITTED),
                DELIVERY.c.desired.in_(WANTED_VALUES),
            )
            .order_by(DELIVERY.c.expires_at, DELIVERY.c.id)
        )

        def read(connection: Connection) -> list[OpenManualTask]:
            rows = [
                (to_delivery(row), row["body"])
                for row in connection.execute(query).mappings()
            ]
            return [
                OpenManualTask(
                    delivery=delivery, task=task, rendered=load_rendered_post(body)
                )
                for delivery, body in rows
                if (task := delivery.manual_task)
            ]

        return await self.database.read(read)

    async def read_pictures(self, rendered: RenderedPost) -> Mapping[str, bytes]:
        """Return the bytes of a rendered post's images, by hash."""
        hashes = [image.sha256 for image in rendered.images]
        query = select(MEDIA.c.sha256, MEDIA.c.data).where(MEDIA.c.sha256.in_(hashes))
        rows = await self.database.read_rows(query)
        return {row.sha256: row.data for row in rows}

    @in_transaction
    def record_report(
        self, transaction: Transaction, delivery: DeliveryId, url: str, by: Actor
    ) -> Delivery:
        """Record that a person reports the task as done, and schedule a check of it now.

        Raises RefusedError `no_open_manual_task` if the delivery is not an open manual task.
        """
        now, before = self.runtime.now(), get_delivery(transaction, delivery)
        task, subject = before.manual_task, subject_of(before)
        if task is None or before.state is not State.SUBMITTED:
            raise RefusedError(
                "no_open_manual_task", subject=subject, state=before.state.value
            )
        clear_alerts(transaction, subject, now)
        write_audit(
            transaction,
            now,
            by,
            event="manual_task_done",
            subject=subject,
            detail={"reason": url},
        )
        ticket = Ticket(
            manual_task=replace(task, url=url, reported_by=by.name, done_at=now)
        )
        event = Submitted(ticket=ticket, check_again_at=now)
        return self.store.transition(transaction, before, event, RECONCILER)

    @in_transaction
    def cancel_task(
        self,
        transaction: Transaction,
        delivery: DeliveryId,
        resolution: Resolved,
        by: Actor,
        version: int | None = None,
    ) -> Delivery:
        """Take a task back from the person by a resolution, so that it is never assigned twice.

        A deletion task can only be resolved as not posted. Raises RefusedError
        `no_open_manual_task` otherwise, and if the delivery is not an open manual task;
        `changed_meanwhile` if it is not the `version` a person has seen.
        """
        before = get_delivery(transaction, delivery)
        require_version(before, version)
        is_deletion, subject = before.state is State.RETRACTING, subject_of(before)
        is_open = before.manual_task is not None and (
            is_deletion or before.state is State.SUBMITTED
        )
        is_posted = before.receipt is not None or resolution.to not in {
            State.FAILED,
            State.CANCELLED,
        }
        if not is_open or (is_deletion and is_posted):
            raise RefusedError(
                "no_open_manual_task", subject=subject, state=before.state.value
            )
        if is_deletion:
            now, detail = self.runtime.now(), {"reason": resolution.reason}
            write_audit(
                transaction,
                now,
                by,
                event="manual_task_cancelled",
                subject=subject,
                detail=detail,
            )
            not_posted = Rejected(code="manual_task_not_posted", reason=by.name)
            return self.store.transition(transaction, before, not_posted, RETRACTOR)
        hold = Held(reason=HoldReason.MANUAL_TASK_UNREPORTED)
        held = self.store.transition(transaction, before, hold, MAINTENANCE)
        return self.store.transition(transaction, held, resolution, by)
