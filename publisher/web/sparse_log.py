"""A log that strangers cannot fill."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from publisher.telemetry import log

Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class SparseLog:
    """Writes a warning at once, and what repeats as one line per interval, with how often for which reason.

    Events, facts and reasons must be few: those of the last interval are remembered.
    """

    interval: float
    """In seconds."""
    _counts: dict[Key, Counter[str]] = field(default_factory=dict)
    _timers: dict[Key, asyncio.TimerHandle] = field(default_factory=dict)

    def note(self, event: str, reason: str, **facts: str) -> None:
        key = (event, tuple(sorted(facts.items())))
        if (counts := self._counts.get(key)) is not None:
            counts[reason] += 1
            return
        self._write(key, Counter([reason]))

    def close(self) -> None:
        """Write what has been counted, and end."""
        for timer in self._timers.values():
            timer.cancel()
        for (event, facts), counts in self._counts.items():
            if counts:
                log.warning(event, **dict(facts), reasons=dict(counts))
        self._counts.clear()
        self._timers.clear()

    def _write(self, key: Key, counts: Counter[str]) -> None:
        event, facts = key
        log.warning(event, **dict(facts), reasons=dict(counts))
        self._counts[key] = Counter()
        self._timers[key] = asyncio.get_running_loop().call_later(self.interval, self._end_interval, key)

    def _end_interval(self, key: Key) -> None:
        counts = self._counts.pop(key)
        del self._timers[key]
        if counts:
            self._write(key, counts)
