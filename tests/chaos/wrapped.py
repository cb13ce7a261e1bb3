"""The program on a host with a fault: `[MUTANT] ARGUMENTS…` is what is left to run."""

import sys

from publisher.cli import main
from tests.chaos.mutant_names import BUGS


def run() -> None:
    """Run what the command line names, with the planted mistake that it names, if any."""
    if sys.argv[1] in BUGS:
        from tests.chaos.mutants import BUGS as MUTANTS  # noqa: PLC0415 # planted into few daemons

        MUTANTS[sys.argv.pop(1)].plant()
    main()
