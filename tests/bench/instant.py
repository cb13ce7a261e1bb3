"""P5: many accounts due at one instant."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tests.bench.figures import Figure, median, percentile
from tests.bench.rig import daemon, double, schedule_of, wait_for_words, workspace
from tests.bench.store import file_schedule

AHEAD = timedelta(seconds=12)
"""How long before its instant a post is filed and the daemon started."""
FEW, MANY = 150, 1500
UNWATCHED = 2.5
"""Seconds from the instant in which nobody asks the double anything: questions cost time that is being measured."""
LATENCY = 0.05
"""Seconds that the platform takes to answer."""


def p5(publisher: Sequence[str], runs: int) -> list[Figure]:
    """Measure from the due time to each call's first byte at the platform, in a daemon as it is run."""
    few = [_instant(publisher, FEW) for _ in range(runs)]
    many = [_instant(publisher, MANY) for _ in range(max(1, runs // 2))]
    most_open = max(most for _delays, most in few + many)
    figures = [
        Figure(
            id="P5",
            name=f"{accounts} accounts due at once, first byte, p{share:.0%}"[:-1],
            value=median([percentile(delays, share) for delays, _most in results]) * 1000,
            goal=goal,
            unit="ms",
        )
        for accounts, results, share, goal in ((FEW, few, 0.5, 100), (FEW, few, 0.99, 300), (MANY, many, 0.99, 2000))
    ]
    return [*figures, Figure(id="P5", name="most calls in flight on one login", value=most_open, goal=1, unit=" ")]


def _instant(publisher: Sequence[str], accounts: int) -> tuple[list[float], int]:
    """Give how long after the due time each call's first byte came, in seconds, and the most calls open on a login."""
    with double(LATENCY) as platform, workspace(accounts, platform.base_url) as folder:
        due_at = datetime.now(UTC).replace(microsecond=0) + AHEAD
        (folder / "schedule.toml").write_text(schedule_of(1, due_at), "utf-8")
        asyncio.run(file_schedule(folder))
        with daemon(folder, publisher):
            wait_for_words(folder, "own_leases_expired", 30)
            if datetime.now(UTC) > due_at - timedelta(seconds=3):
                raise TimeoutError("the daemon was not up well before the instant")
            time.sleep((due_at - datetime.now(UTC)).total_seconds() + UNWATCHED)
            platform.wait_for(accounts, 60, glance=1.0)
        began, most_open = platform.calls()
        delays = [at - due_at.timestamp() for at in began]
        if len(began) != accounts or min(delays) < 0:
            raise AssertionError((len(began), min(delays)))
        return delays, most_open
