"""A delivery that is handed to a person raises no alert; the board shows it, it is thought.

Breaks I10 and I2: an entry into `held` (not_published, possible_match, blocked, poison, uncheckable)
has no row in the alerts within 60 s, nor ever.
"""

from publisher.domain.delivery import State
from publisher.store import base


def plant() -> None:
    base.ALERTED_STATES = base.ALERTED_STATES - {State.HELD}
