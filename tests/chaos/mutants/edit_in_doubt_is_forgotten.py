"""An edit concerns what waits only: what is in doubt, on its way or held is left as it is, and later sent as it was.

Breaks I4 (F70): a title is corrected, or an account taken out of the post, while nobody knows what became of a call;
once its absence is shown the old words go out by themselves, or to the account that was taken out.
"""

from dataclasses import replace

from publisher.domain import lifecycle
from publisher.domain.delivery import Cancelled, Delivery, Revised, Role, State

_remember_withdrawal = lifecycle.record_cancellation


def _forget(delivery: Delivery, _event: object, _moment: object) -> Delivery:
    return delivery


def _forget_the_schedule(delivery: Delivery, event: Cancelled, moment: lifecycle.StepContext) -> Delivery:
    return delivery if moment.by.role is Role.PLANNER else _remember_withdrawal(delivery, event, moment)


def plant() -> None:
    for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN, State.HELD):
        for event, step in ((Revised, _forget), (Cancelled, _forget_the_schedule)):
            line = (state, event)
            lifecycle.TRANSITIONS[line] = replace(lifecycle.TRANSITIONS[line], step=step)
