"""What people decide about single deliveries."""

from enum import StrEnum

from publisher.domain.delivery import ASKING, Delivery, State
from publisher.domain.errors import RefusedError
from publisher.domain.events import Actor, Role, Ruled
from publisher.domain.names import is_same_name
from publisher.domain.outcome import Receipt
from publisher.domain.task import task_of
from publisher.store.outbox import Outbox
from publisher.store.tasks import Tasks
from publisher.system_user import system_user


class Ruling(StrEnum):
    """A person's answer about a delivery that is held, or that the platform is asked about."""

    PUBLISHED = "published"
    NOT_PUBLISHED = "not-published"
    RESEND = "resend"
    CANCEL = "cancel"


_TO = {Ruling.NOT_PUBLISHED: State.FAILED, Ruling.RESEND: State.DUE, Ruling.CANCEL: State.CANCELLED}


def person(name: str) -> Actor:
    """Name a person as the one who acts, and the system user of this process, as the name is only claimed."""
    return Actor(role=Role.PERSON, name=name, system=system_user())


def can_be_ruled(delivery: Delivery) -> bool:
    """True if a person may decide now: it is held, or nobody knows yet what the platform has made of it."""
    return delivery.state is State.HELD or delivery.state in ASKING


async def rule(  # noqa: PLR0913 # who, what, why, and the second person
    outbox: Outbox,
    delivery: Delivery,
    ruling: Ruling,
    *,
    by: str,
    reason: str,
    url: str | None = None,
    second: str | None = None,
) -> Delivery:
    """Decide what becomes of a delivery that is held, or that the platform is asked about.

    A task in a person's hands is taken back by it. `live` without a second person only makes publisher look again, at
    `url` too; with one it counts by word. Raises RefusedError when nothing is asked about the delivery, when there was
    never a call that could be looked for, when a call would be repeated of which nothing has been read yet, or when the
    second person is the first.
    """
    if not can_be_ruled(delivery):
        raise RefusedError("not_held", state=delivery.state.value)
    is_task = task_of(delivery.ticket) is not None and delivery.state in {State.SUBMITTED, State.RETRACTING}
    if ruling is Ruling.RESEND and delivery.state in ASKING and not delivery.looks and not is_task:
        raise RefusedError("not_read_yet", state=delivery.state.value)
    is_live = delivery.receipt is not None and not delivery.receipt.is_by_word
    if delivery.is_ordered_down and is_live and ruling in {Ruling.RESEND, Ruling.CANCEL}:
        raise RefusedError("still_to_be_taken_down", state=delivery.state.value)
    if ruling is Ruling.PUBLISHED and second is None and not delivery.attempts:
        raise RefusedError("never_sent", state=delivery.state.value)
    if second is not None and is_same_name(second, by):
        raise RefusedError("same_person", by=by)
    if ruling is not Ruling.PUBLISHED:
        ruled = Ruled(to=_TO[ruling], reason=reason)
    elif second is None:
        ruled = Ruled(to=State.UNKNOWN, reason=reason, url=url)
    else:
        now = outbox.books.world.now()
        receipt = Receipt(remote_id=f"by-word-{delivery.id}", url=url or "", live_at=now, is_by_word=True)
        ruled = Ruled(to=State.PUBLISHED, reason=f"{reason} ({second})", url=url, receipt=receipt)
    if is_task:
        return await Tasks(outbox.books).take_back(delivery.id, ruled, person(by))
    return await outbox.apply(delivery.id, ruled, person(by))
