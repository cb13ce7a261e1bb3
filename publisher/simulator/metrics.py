"""Metrics of a post: they start at zero and grow with the simulator's clock, the same on each run."""

import math
import zlib
from dataclasses import dataclass

from publisher.simulator.state import SimulatedPost

HALF_REACH_SECONDS = 6 * 3600.0
"""Time constant after which 63 % of a post's readers have seen it: our choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMetrics:
    reads: int
    reposts: int
    comments: int
    likes: int


def compute_metrics(post: SimulatedPost, now: float) -> SimulatedMetrics:
    """Compute metrics that never fall: the id determines the final figures, the age the share reached so far."""
    age = max(now - post.created, 0.0)
    share = 1 - math.exp(-age / HALF_REACH_SECONDS)
    likes = zlib.crc32(post.id.encode()) % 900 + 100
    return SimulatedMetrics(
        reads=int(likes * 90 * share),
        reposts=int(likes * 0.4 * share),
        comments=int(likes * 0.15 * share),
        likes=int(likes * share),
    )
