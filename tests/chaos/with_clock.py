"""The program on a host whose clock is wrong: `with_clock.py SECONDS [with_bug.py NAME] ARGUMENTS…` runs it so."""

import sys
from datetime import datetime, timedelta

import wrapped

from publisher.world import World


def set_ahead(ahead: timedelta) -> None:
    """Let the wall clock of this process be ahead, and let nobody vouch for it."""
    right = World.now

    def now(world: World) -> datetime:
        return right(world) + ahead

    World.now = now  # type: ignore[method-assign] # that is the mistake of the host
    World.is_kernel_synchronised = lambda _world: False  # type: ignore[attr-defined] # a clock that is kept right is right


if __name__ == "__main__":
    set_ahead(timedelta(seconds=float(sys.argv.pop(1))))
    wrapped.run()
