"""A worker that is lost in a call for the first time is thought to have done nothing; only the next one is a doubt.

Breaks I7, I1 and I12 (F02, F03, F04, F15): after a kill in `sending` the delivery goes to `retrying` with the reason
`worker_gone`, which the table does not know, and is sent again without a look.
"""

from dataclasses import replace

from publisher.domain import lifecycle
from publisher.domain.delivery import Delivery, State
from publisher.domain.events import LeaseLapsed

_call_lapsed = lifecycle._call_lapsed


def _try_again(delivery: Delivery, event: LeaseLapsed, moment: lifecycle.Moment) -> Delivery:
    if delivery.deaths:
        return _call_lapsed(delivery, event, moment)
    return lifecycle._retry(replace(delivery, deaths=1), "worker_gone", None, moment)


def plant() -> None:
    line = (State.SENDING, LeaseLapsed)
    rule = lifecycle.TRANSITIONS[line]
    to = rule.to | {State.RETRYING, State.CANCELLED}
    lifecycle.TRANSITIONS[line] = replace(rule, to=to, step=_try_again)
