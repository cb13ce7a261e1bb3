"""The program on a host with a wrong clock: `python -m tests.chaos.with_clock SECONDS [MUTANT] ARGUMENTS…`."""

import sys
from datetime import datetime, timedelta

from publisher.runtime.clock import Runtime
from tests.chaos import wrapped


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
