"""A log that strangers cannot fill."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from publisher.runtime.logs import log

LogKey = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class ThrottledLog:
    """Writes a warning at once, and what repeats as one line per interval, with how often for which reason.

    Events, facts and reasons must be few: those of the last interval are remembered.
    """

    interval_seconds: float
    """In seconds."""
    _counts: dict[LogKey, Counter[str]] = field(default_factory=dict)
    _timers: dict[LogKey, asyncio.TimerHandle] = field(default_factory=dict)

    def warn(self, event: str, reason: str, **facts: str) -> None:
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

    def _write(self, key: LogKey, counts: Counter[str]) -> None:
        event, facts = key
        log.warning(event, **dict(facts), reasons=dict(counts))
        self._counts[key] = Counter()
        self._timers[key] = asyncio.get_running_loop().call_later(self.interval_seconds, self._end_interval, key)

    def _end_interval(self, key: LogKey) -> None:
        counts = self._counts.pop(key)
        del self._timers[key]
        if counts:
            self._write(key, counts)
