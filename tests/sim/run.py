"""Lives through seeded storms in made-up time: `run.py --seed N` replays one, `--seeds N` tries as many from it on."""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.sim.storms import Verdict, run_seed

REPLAY = "replay: .venv/bin/python tests/sim/run.py --seed {seed}"


def report(verdict: Verdict) -> str:
    """Say what became of a seed; what went wrong comes with the command that shows it again."""
    if not verdict.violations:
        return verdict.line
    return "\n".join([verdict.line, *(f"  {one}" for one in verdict.violations), REPLAY.format(seed=verdict.seed)])


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", default="1", help="the first seed, a number")
    options.add_argument("--seeds", type=int, default=1, help="how many seeds")
    options.add_argument("--steps", type=int, help="no more than so many of people's orders")
    options.add_argument("--trace", action="store_true", help="tell what happens, on standard error")
    options.add_argument("--digest", action="store_true", help="print the digest of each history")
    asked = options.parse_args()
    began, bad = time.perf_counter(), []
    for number in range(asked.seeds):
        seed = str(int(asked.seed) + number)
        verdict = run_seed(seed, steps=asked.steps, trace=asked.trace)
        sys.stdout.write(report(verdict) + (f"\n{verdict.digest}" if asked.digest else "") + "\n")
        sys.stdout.flush()
        if verdict.violations:
            bad.append(seed)
    sys.stdout.write(f"{asked.seeds} seeds in {time.perf_counter() - began:.1f} s; with violations: {bad or 'none'}\n")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
