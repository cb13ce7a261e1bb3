"""The program with one mutation: `python -m tests.chaos.run_mutant NAME ARGUMENTS…` runs `publisher ARGUMENTS…` so."""

import sys

from publisher.cli import main
from tests.chaos.mutants import BUGS

if __name__ == "__main__":
    BUGS[sys.argv.pop(1)].plant()
    main()
