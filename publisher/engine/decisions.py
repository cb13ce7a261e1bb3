"""People's decisions about single deliveries."""

from enum import StrEnum

from publisher.domain.characters import is_same_name
from publisher.domain.delivery import CHECKED_STATES, Delivery, State, parse_manual_task
from publisher.domain.errors import RefusedError
from publisher.domain.events import Actor, Resolved, Role
from publisher.domain.results import Receipt
from publisher.runtime.system_user import read_system_user
from publisher.store.deliveries.outbox import Outbox
from publisher.store.plan.manual_tasks import ManualTasks


class Resolution(StrEnum):
    """How a person resolves a delivery that is held or whose outcome is unknown."""

    PUBLISHED = "published"
    NOT_PUBLISHED = "not-published"
    RESEND = "resend"
    CANCEL = "cancel"


_STATES = {Resolution.NOT_PUBLISHED: State.FAILED, Resolution.RESEND: State.DUE, Resolution.CANCEL: State.CANCELLED}


def named_person(name: str) -> Actor:
    """Return a person as an actor, with the system user of this process: nothing verifies the name itself."""
    return Actor(role=Role.PERSON, name=name, system=read_system_user())


def can_be_resolved(delivery: Delivery) -> bool:
    """Return True if a person may decide: the delivery is held, or its outcome is still being checked."""
    return delivery.state is State.HELD or delivery.state in CHECKED_STATES


async def resolve_delivery(  # noqa: PLR0913 # who, what, why, and the second person
    outbox: Outbox,
    delivery: Delivery,
    resolution: Resolution,
    *,
    by: str,
    reason: str,
    url: str | None = None,
    second_person: str | None = None,
) -> Delivery:
    """Resolve a delivery that is held, or whose outcome is still being checked. A manual task is cancelled by it.

    `PUBLISHED` without a second person only makes publisher look again, at `url` too; with one the delivery counts as
    published. Raises RefusedError if there is nothing to resolve, if there was never a call to look for, if a call
    would be repeated before anything was read, if a retraction is pending, or if both persons are the same.
    """
    if not can_be_resolved(delivery):
        raise RefusedError("nothing_to_resolve", state=delivery.state.value)
    is_task = parse_manual_task(delivery.ticket) is not None and delivery.state in {State.SUBMITTED, State.RETRACTING}
    if resolution is Resolution.RESEND and delivery.state in CHECKED_STATES and not delivery.readbacks and not is_task:
        raise RefusedError("not_read_yet", state=delivery.state.value)
    is_published = delivery.receipt is not None and not delivery.receipt.is_manually_confirmed
    if delivery.is_retraction_requested and is_published and resolution in {Resolution.RESEND, Resolution.CANCEL}:
        raise RefusedError("retraction_pending", state=delivery.state.value)
    if resolution is Resolution.PUBLISHED and second_person is None and not delivery.attempts:
        raise RefusedError("never_sent", state=delivery.state.value)
    if second_person is not None and is_same_name(second_person, by):
        raise RefusedError("same_person", by=by)
    if resolution is not Resolution.PUBLISHED:
        event = Resolved(to=_STATES[resolution], reason=reason)
    elif second_person is None:
        event = Resolved(to=State.UNKNOWN, reason=reason, url=url)
    else:
        receipt = Receipt(
            remote_id=f"by-word-{delivery.id}",
            url=url or "",
            published_at=outbox.store.runtime.now(),
            is_manually_confirmed=True,
        )
        event = Resolved(to=State.PUBLISHED, reason=f"{reason} ({second_person})", url=url, receipt=receipt)
    if is_task:
        return await ManualTasks(outbox.store).cancel_task(delivery.id, event, named_person(by))
    return await outbox.apply_event(delivery.id, event, named_person(by))
