"""The program with one mistake in it: `run_mutant.py NAME ARGUMENTS…` runs `publisher ARGUMENTS…` that way."""

import sys

from mutants import BUGS

from publisher.cli import main

if __name__ == "__main__":
    BUGS[sys.argv.pop(1)].plant()
    main()
