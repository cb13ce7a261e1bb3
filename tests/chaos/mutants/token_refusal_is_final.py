"""A refused sign-in ends the delivery like a refusal of its words.

Breaks I9 and I12 (F40, F41, F42): one `expire_token` on a creating call, and the delivery is `failed` with the code of
the token. It should be tried again at once; instead the account keeps working and the post is never there.
"""

from dataclasses import replace

from publisher.domain import lifecycle
from publisher.domain.delivery import Delivery, State
from publisher.domain.results import CredentialExpired


def _failed(delivery: Delivery, event: CredentialExpired, _moment: lifecycle.StepContext) -> Delivery:
    return replace(delivery, state=State.FAILED, reason=event.reason, next_action_at=None)


def plant() -> None:
    line = (State.SENDING, CredentialExpired)
    rule = lifecycle.TRANSITIONS[line]
    lifecycle.TRANSITIONS[line] = replace(rule, targets=rule.targets | {State.FAILED}, step=_failed)
