"""An edit reaches every delivery that waits, also when its occurrence has been sent elsewhere or was tried before.

Breaks I21 (F70): where one account has the old words and another is `due` or in `retrying`, the edited file makes the
second publish the new words instead of being `held` (edited). Two wordings of one occurrence are live.
"""

from dataclasses import replace

from publisher.domain import lifecycle
from publisher.domain.delivery import WAITING_STATES, Delivery, Revised, State

_revised = lifecycle.on_revised


def _takes_new_words(delivery: Delivery, event: Revised, moment: lifecycle.StepContext) -> Delivery:
    after = _revised(replace(delivery, attempts=0), replace(event, has_started=False), moment)
    if delivery.state is State.RETRYING:
        after = replace(after, state=State.RETRYING, next_action_at=delivery.next_action_at)
    return replace(after, attempts=delivery.attempts)


def plant() -> None:
    for state in WAITING_STATES:
        line = (state, Revised)
        lifecycle.TRANSITIONS[line] = replace(lifecycle.TRANSITIONS[line], step=_takes_new_words)
