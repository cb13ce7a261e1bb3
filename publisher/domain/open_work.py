"""What an account that is handed over still has in hand."""

from collections.abc import Sequence
from dataclasses import dataclass

from publisher.domain.delivery import FINAL_STATES, Delivery, State

_IDLE_STATES = frozenset({State.PENDING, State.DUE, State.RETRYING})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWork:
    """The deliveries of an account that have not ended.

    `unresolved` are in flight or in doubt: something of them is live or may be, and the platform is still to be read.
    `waiting` have left nothing anywhere. `live` stay where they are.
    """

    unresolved: tuple[Delivery, ...] = ()
    waiting: tuple[Delivery, ...] = ()
    published: tuple[Delivery, ...] = ()


def collect_open_work(deliveries: Sequence[Delivery]) -> OpenWork:
    """Sort what an account still has in hand."""
    waiting = tuple(delivery for delivery in deliveries if is_not_started(delivery))
    live = tuple(delivery for delivery in deliveries if delivery.state is State.PUBLISHED)
    settled = {delivery.id for delivery in (*waiting, *live)}
    return OpenWork(
        waiting=waiting,
        published=live,
        unresolved=tuple(item for item in deliveries if item.state not in FINAL_STATES and item.id not in settled),
    )


def is_not_started(delivery: Delivery) -> bool:
    """Whether it waits, and nothing of it can be live: no call in flight or in doubt, no person's claim."""
    never_called = not delivery.attempts and delivery.reported_url is None
    return delivery.state in _IDLE_STATES or (delivery.state is State.HELD and never_called)
