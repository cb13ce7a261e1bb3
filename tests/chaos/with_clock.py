"""The program on a host whose clock is wrong: `with_clock.py SECONDS [run_mutant.py NAME] ARGUMENTS…` runs it so."""

import sys
from datetime import datetime, timedelta

import wrapped

from publisher.runtime.clock import Runtime


def set_ahead(ahead: timedelta) -> None:
    """Let the wall clock of this process be ahead, and let nobody vouch for it."""
    right = Runtime.now

    def now(world: Runtime) -> datetime:
        return right(world) + ahead

    Runtime.now = now  # type: ignore[method-assign] # that is the mistake of the host
    Runtime.is_kernel_clock_synchronized = lambda _runtime: False  # type: ignore[attr-defined] # a clock that is kept right is right


if __name__ == "__main__":
    set_ahead(timedelta(seconds=float(sys.argv.pop(1))))
    wrapped.run()
