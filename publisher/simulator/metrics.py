"""How far a post has come: figures that begin at nothing and grow with the simulator's clock, the same on each run."""

import math
import zlib
from dataclasses import dataclass

from publisher.simulator.state import SimulatedPost

HALF_REACH_SECONDS = 6 * 3600.0
"""Seconds after which most readers of a post have seen it: our choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMetrics:
    reads: int
    reposts: int
    comments: int
    likes: int


def compute_metrics(post: SimulatedPost, now: float) -> SimulatedMetrics:
    """Never less than a moment ago: what a post will come to hangs on its id, how much of it on its age."""
    age = max(now - post.created, 0.0)
    share = 1 - math.exp(-age / HALF_REACH_SECONDS)
    fame = zlib.crc32(post.id.encode()) % 900 + 100
    return SimulatedMetrics(
        reads=int(fame * 90 * share),
        reposts=int(fame * 0.4 * share),
        comments=int(fame * 0.15 * share),
        likes=int(fame * share),
    )
