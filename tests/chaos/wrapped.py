"""The program on a host with a fault: `[run_mutant.py NAME] ARGUMENTS…` is what is left to run."""

import sys
from pathlib import Path

from publisher.cli import main


def run() -> None:
    """Run what the command line names, with the planted mistake that it names, if any."""
    if Path(sys.argv[1]).name == "run_mutant.py":
        from mutants import BUGS  # noqa: PLC0415 # planted into few daemons

        sys.argv.pop(1)
        BUGS[sys.argv.pop(1)].plant()
    main()
