"""A call whose worker is dead is made again: what may have been sent goes back among what is due.

Breaks I7 (F09, F10, F13): a second attempt follows the first without any look, so a post that came to be stands there
twice (I1).
"""

from publisher.domain import lifecycle
from publisher.domain.delivery import Delivery, LeaseExpired, State


def _due_again(delivery: Delivery, _event: object, moment: lifecycle.StepContext) -> Delivery:
    return lifecycle._return_to_waiting(delivery, State.DUE, None, moment)


def plant() -> None:
    key = State.SENDING, LeaseExpired
    rule = lifecycle.TRANSITIONS[key]
    to = frozenset({State.DUE, State.CANCELLED, State.HELD})
    lifecycle.TRANSITIONS[key] = lifecycle.Transition(targets=to, roles=rule.roles, step=_due_again)
