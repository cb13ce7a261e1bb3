"""A retraction concerns what is known to be live; what is being sent or in doubt is only withdrawn.

Breaks I16 (F77): after `retract` while a delivery is `sending` or `unknown`, the copy that is found later ends
`published`. It is never taken down, no `RetractionRequested` step is in its audit, and nothing shows it red.
"""

from publisher.domain.delivery import State
from publisher.store.plan import actions

UNSEEN = (State.SENDING, State.UNKNOWN)


def plant() -> None:
    actions.MAYBE_PUBLISHED_STATES = [state for state in actions.MAYBE_PUBLISHED_STATES if state not in UNSEEN]
