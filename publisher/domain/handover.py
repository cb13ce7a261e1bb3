"""What an account that is handed over still has in hand."""

from collections.abc import Sequence
from dataclasses import dataclass

from publisher.domain.delivery import ENDED, Delivery, State

_IDLE = frozenset({State.PENDING, State.DUE, State.RETRYING})


@dataclass(frozen=True, slots=True, kw_only=True)
class InHand:
    """The deliveries of an account that have not ended.

    `unresolved` are in flight or in doubt: something of them is live or may be, and the platform is still to be read.
    `waiting` have left nothing anywhere. `live` stay where they are.
    """

    unresolved: tuple[Delivery, ...] = ()
    waiting: tuple[Delivery, ...] = ()
    live: tuple[Delivery, ...] = ()


def in_hand(deliveries: Sequence[Delivery]) -> InHand:
    """Sort what an account still has in hand."""
    waiting = tuple(delivery for delivery in deliveries if is_untouched(delivery))
    live = tuple(delivery for delivery in deliveries if delivery.state is State.PUBLISHED)
    settled = {delivery.id for delivery in (*waiting, *live)}
    return InHand(
        waiting=waiting,
        live=live,
        unresolved=tuple(item for item in deliveries if item.state not in ENDED and item.id not in settled),
    )


def is_untouched(delivery: Delivery) -> bool:
    """Whether it waits, and nothing of it can be live: no call in flight or in doubt, no person's claim."""
    never_called = not delivery.attempts and delivery.claimed_url is None
    return delivery.state in _IDLE or (delivery.state is State.HELD and never_called)
