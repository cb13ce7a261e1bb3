"""A delivery that is handed to a person raises no alert; the board shows it, it is thought.

Breaks I10 and I2: an entry into `held` (absent, lookalike, blocked, poison, cannot_check) has no row in the alerts
within 60 s, nor ever.
"""

from publisher.domain.delivery import State
from publisher.store import books


def plant() -> None:
    books.TOLD = books.TOLD - {State.HELD}
