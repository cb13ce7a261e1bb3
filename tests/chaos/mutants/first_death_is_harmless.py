"""A worker that is lost in a call for the first time is thought to have done nothing; only the next one is a doubt.

Breaks I7, I1 and I12 (F02, F03, F04, F15): after a kill in `sending` the delivery goes to `retrying` with the reason
`worker_lost`, which the table does not know, and is sent again without a look.
"""

from dataclasses import replace

from publisher.domain import lifecycle
from publisher.domain.delivery import Delivery, LeaseExpired, State

_call_lapsed = lifecycle.on_lease_expired_during_call


def _try_again(delivery: Delivery, event: LeaseExpired, moment: lifecycle.StepContext) -> Delivery:
    if delivery.worker_crashes:
        return _call_lapsed(delivery, event, moment)
    return lifecycle._retry(replace(delivery, worker_crashes=1), "worker_lost", None, moment)


def plant() -> None:
    line = (State.SENDING, LeaseExpired)
    rule = lifecycle.TRANSITIONS[line]
    to = rule.targets | {State.RETRYING, State.CANCELLED}
    lifecycle.TRANSITIONS[line] = replace(rule, targets=to, step=_try_again)
