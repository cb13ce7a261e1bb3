"""A retraction concerns what is known to be live; what is being sent or in doubt is only withdrawn.

Breaks I16 (F77): after `retract` while a delivery is `sending` or `unknown`, the copy that is found later ends
`published`. It is never taken down, no `RetractOrdered` step is in its audit, and nothing shows it red.
"""

from publisher.domain.delivery import State
from publisher.store import orders

UNSEEN = (State.SENDING, State.UNKNOWN)


def plant() -> None:
    orders.MAYBE_LIVE = [state for state in orders.MAYBE_LIVE if state not in UNSEEN]
