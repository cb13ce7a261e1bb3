"""Counters for monitoring: calls to publish, their durations, and the deliveries that ended.

They only grow while a process runs, as counters of Prometheus have to. Each read adds the rows that
came since the last one, so that its cost does not grow with the database.
"""

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select, text

from publisher.domain.account import AccountId
from publisher.domain.delivery import FINAL_STATES, State
from publisher.domain.results import RESULT_CODES, Unknown
from publisher.store.base import BaseStore, StorePart
from publisher.store.db.tables import ATTEMPT, AUDIT

DURATION_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0)
"""Upper bounds in seconds. A call has a deadline, 20 seconds by default."""
MAX_HISTORY = 100_000
"""The rows of each table with which the counters of a new process begin."""
CALL_TIMEOUT = timedelta(hours=1)
"""After so long a call without an outcome counts as unknown: its process died."""
COMMIT_DELAY = timedelta(minutes=1)
"""Until then a row with a smaller number may still be committed by another host."""
ENDED_STATES = FINAL_STATES | {State.PUBLISHED}


@dataclass(slots=True)
class Durations:
    """A histogram: the calls up to each bound of DURATION_BUCKETS and above, and their seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(DURATION_BUCKETS) + 1))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(DURATION_BUCKETS, seconds)] += 1
        self.seconds += seconds

    def add_all(self, other: "Durations") -> None:
        self.counts = [
            own + more for own, more in zip(self.counts, other.counts, strict=True)
        ]
        self.seconds += other.seconds


@dataclass(slots=True)
class Counters:
    """Calls by account and outcome, their durations, and ended deliveries by account and state."""

    calls: Counter[tuple[AccountId, str]] = field(default_factory=Counter)
    durations: defaultdict[AccountId, Durations] = field(
        default_factory=lambda: defaultdict(Durations)
    )
    endings: Counter[tuple[AccountId, str]] = field(default_factory=Counter)

    def add_call(self, row: Row[Any]) -> None:
        account = AccountId(row.account)
        self.calls[account, row.outcome or RESULT_CODES[Unknown]] += 1
        if row.ended_at is not None:
            seconds = (row.ended_at - row.intended_at).total_seconds()
            self.durations[account].add(max(seconds, 0.0))

    def copy(self) -> "Counters":
        copied = Counters(calls=self.calls.copy(), endings=self.endings.copy())
        for account, durations in self.durations.items():
            copied.durations[account].add_all(durations)
        return copied


class CounterQueries(StorePart):
    """Keeps the counters of this process."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self.counters = Counters()
        self.counted_attempt: int | None = None
        self.counted_entry: int | None = None
        self.lock = asyncio.Lock()

    async def read(self) -> Counters:
        """Return the counters with all that is recorded now."""
        async with self.lock:
            return await self.database.read(self._count_new)

    async def database_size(self) -> int:
        """Return the bytes that the database takes on its disk."""
        return await self.database.read(self._read_size)

    def _count_new(self, connection: Connection) -> Counters:
        """Count in the thread that reads: a new process counts many rows at once."""
        attempts, endings = self._read_new(connection)
        self._keep_endings(endings)
        return self._count_attempts(attempts)

    def _read_new(self, connection: Connection) -> tuple[Sequence[Any], Sequence[Any]]:
        if self.counted_attempt is None or self.counted_entry is None:
            self.counted_attempt, self.counted_entry = (
                max(0, (connection.scalar(select(func.max(number))) or 0) - MAX_HISTORY)
                for number in (ATTEMPT.c.id, AUDIT.c.id)
            )
        attempts = connection.execute(
            select(
                ATTEMPT.c.id,
                ATTEMPT.c.account,
                ATTEMPT.c.outcome,
                ATTEMPT.c.intended_at,
                ATTEMPT.c.ended_at,
                ATTEMPT.c.is_manual,
            )
            .where(ATTEMPT.c.id > self.counted_attempt)
            .order_by(ATTEMPT.c.id)
        ).all()
        endings = connection.execute(
            select(AUDIT.c.id, AUDIT.c.subject, AUDIT.c.before, AUDIT.c.after)
            .where(
                AUDIT.c.id > self.counted_entry,
                AUDIT.c.after.in_([state.value for state in ENDED_STATES]),
            )
            .order_by(AUDIT.c.id)
        ).all()
        return attempts, endings

    def _keep_endings(self, endings: Sequence[Row[Any]]) -> None:
        """Count the changes to a state that ends a delivery. The audit has no gaps."""
        for row in endings:
            _subject, separator, account = row.subject.rpartition("@")
            if separator and row.before != row.after:
                self.counters.endings[AccountId(account), row.after] += 1
            self.counted_entry = row.id

    def _count_attempts(self, attempts: Sequence[Row[Any]]) -> Counters:
        """Keep the counts of settled calls; add to a copy the ended ones after an open one."""
        now, shown = self.runtime.now(), self.counters
        for row in attempts:
            if shown is self.counters and not _is_settled(row, now):
                shown = self.counters.copy()
            if not row.is_manual and (row.outcome is not None or _is_lost(row, now)):
                shown.add_call(row)
            if shown is self.counters:
                self.counted_attempt = row.id
        return shown.copy()

    def _read_size(self, connection: Connection) -> int:
        if self.database.is_shared:
            size = connection.scalar(
                text("SELECT pg_database_size(current_database())")
            )
        else:
            pages = connection.scalar(text("PRAGMA page_count")) or 0
            size = pages * (connection.scalar(text("PRAGMA page_size")) or 0)
        return int(size or 0)


def _is_lost(row: Row[Any], now: datetime) -> bool:
    is_old: bool = row.intended_at < now - CALL_TIMEOUT
    return is_old


def _is_settled(row: Row[Any], now: datetime) -> bool:
    """Return True if neither this row nor a smaller number will change."""
    has_ended = row.is_manual or row.outcome is not None or _is_lost(row, now)
    return has_ended and row.intended_at < now - COMMIT_DELAY


def sum_by_platform(
    numbers: Mapping[tuple[AccountId, str], int], platforms: Mapping[AccountId, str]
) -> Mapping[tuple[str, str], int]:
    """Return the numbers by platform and code, of the accounts with a platform."""
    total: Counter[tuple[str, str]] = Counter()
    for (account, code), number in numbers.items():
        if account in platforms:
            total[platforms[account], code] += number
    return total
