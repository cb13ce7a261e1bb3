"""A withdrawal leaves alone whatever has begun: what is claimed, being sent, or waiting for another try.

Breaks I16 (F71, F72, F77): after `retract` or `cancel`, or after the post left the file, a delivery in `claimed` or
`retrying` still gets its call and is published; nothing on it remembers that it was not wanted any more.
"""

from publisher.domain.delivery import State
from publisher.store.plan import posts

BEGUN = (State.CLAIMED, State.SENDING, State.RETRYING)


def plant() -> None:
    posts.REVISABLE_STATES = posts.REVISABLE_STATES.difference(BEGUN)
