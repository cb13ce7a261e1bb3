"""Runs seeded storms in simulated time.

`run.py --seed N` replays one, `--seeds N` runs so many from it on. With `--storm NAME` they are all
of one kind, with `--storm all` of each kind in turn.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.simulation.scenarios import SeedVerdict, run_seed
from tests.simulation.special_scenarios import STORMS, run_storm

REPLAY = "replay: .venv/bin/python tests/simulation/run.py {words}"


def report(verdict: SeedVerdict) -> str:
    """Return the result of a seed as text; a violation comes with the command that replays it."""
    if not verdict.violations:
        return verdict.line
    storm, _, number = verdict.seed.rpartition("/")
    words = f"--storm {storm} --seed {number}" if storm else f"--seed {number}"
    return "\n".join(
        [
            verdict.line,
            *(f"  {one}" for one in verdict.violations),
            REPLAY.format(words=words),
        ]
    )


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=1, help="the first seed, a number")
    options.add_argument("--seeds", type=int, default=1, help="how many seeds")
    options.add_argument(
        "--storm",
        choices=[*STORMS, "all"],
        help="only storms of this kind, or of each kind",
    )
    options.add_argument(
        "--steps", type=int, help="at most so many of people's commands"
    )
    options.add_argument(
        "--trace", action="store_true", help="log what happens to standard error"
    )
    options.add_argument(
        "--digest", action="store_true", help="print the digest of each history"
    )
    asked = options.parse_args()
    began, bad, lived = time.perf_counter(), [], 0
    kinds = list(STORMS) if asked.storm == "all" else [asked.storm]
    for kind in kinds:
        for number in range(asked.seed, asked.seed + asked.seeds):
            if kind:
                verdict = run_storm(kind, number, trace=asked.trace)
            else:
                verdict = run_seed(str(number), steps=asked.steps, trace=asked.trace)
            sys.stdout.write(
                report(verdict) + (f"\n{verdict.digest}" if asked.digest else "") + "\n"
            )
            sys.stdout.flush()
            lived += 1
            bad += [verdict.seed] if verdict.violations else []
    sys.stdout.write(
        f"{lived} seeds in {time.perf_counter() - began:.1f} s; with violations: {bad or 'none'}\n"
    )
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
