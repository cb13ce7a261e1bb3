"""Figures, their goals, and how they are measured in turn."""

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.bench.process import child_pids, processor_seconds

T = TypeVar("T")


class SkippedError(Exception):
    """A figure cannot be measured on this machine; the text is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """The command `publisher` and the runs of each subject. A brief run proves nothing."""

    publisher: Sequence[str]
    runs: int
    is_brief: bool = False

    def choose(self, full: T, brief: T) -> T:
        return brief if self.is_brief else full

    @property
    def few_runs(self) -> int:
        """The number of runs of slow subjects."""
        return max(1, self.runs // 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure. `parts` are its absolute numbers, with a meaning on one machine only.

    The goal is a minimum or a maximum. A figure without a goal is only reported. `skipped` is the
    reason that it was not measured.
    """

    id: str
    name: str
    value: float
    goal: float | None = None
    is_minimum: bool = False
    unit: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)
    skipped: str = ""

    @property
    def verdict(self) -> str:
        if self.skipped:
            return "SKIPPED"
        if self.goal is None:
            return ""
        is_met = self.value >= self.goal if self.is_minimum else self.value <= self.goal
        return "met" if is_met else "MISSED"

    @property
    def bound(self) -> str:
        return (
            ""
            if self.goal is None
            else f"{'>=' if self.is_minimum else '<='} {self.goal:g} {self.unit}".strip()
        )

    def as_json(self) -> dict[str, Any]:
        facts = {
            **asdict(self),
            "value": float(f"{self.value:.4g}"),
            "bound": self.bound,
            "verdict": self.verdict,
        }
        return facts | {
            "parts": {name: float(f"{value:.4g}") for name, value in self.parts.items()}
        }

    def as_line(self) -> str:
        if self.skipped:
            return f"{self.id:<4} {self.name:<58} {self.verdict}: {self.skipped}"
        parts = ", ".join(f"{name} {value:,.4g}" for name, value in self.parts.items())
        value = f"{self.value:.3g} {self.unit}"
        return f"{self.id:<4} {self.name:<58} {value:>10} {self.bound:<12} {self.verdict:<7} {parts}"


@dataclass(frozen=True, slots=True)
class RunCost:
    """Wall time and processor time, in seconds."""

    seconds: float
    processor_seconds: float

    @classmethod
    def meter(cls, *, with_children: bool = False) -> Callable[[], "RunCost"]:
        """Return a function that returns the cost of this process and its children since now."""

        def processor_time() -> float:
            children = (
                map(processor_seconds, child_pids(os.getpid())) if with_children else ()
            )
            return time.process_time() + sum(children)

        wall, processor = time.perf_counter(), processor_time()
        return lambda: cls(time.perf_counter() - wall, processor_time() - processor)

    @classmethod
    def measure(
        cls, work: Callable[[], object], *, with_children: bool = False
    ) -> "RunCost":
        spent = cls.meter(with_children=with_children)
        work()
        return spent()

    @classmethod
    def of_command(cls, command: Sequence[str | Path]) -> "RunCost":
        """Run a program; return the cost of it and its child processes."""
        began, before = (
            time.perf_counter(),
            resource.getrusage(resource.RUSAGE_CHILDREN),
        )
        subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return cls(time.perf_counter() - began, spent)


def measure_in_turn(runs: int, *subjects: Callable[[], RunCost]) -> list[RunCost]:
    """Measure each subject once per round, and return the medians.

    A busy minute then concerns all subjects alike.
    """
    rounds = [[subject() for subject in subjects] for _ in range(runs)]
    return [
        RunCost(
            median(cost.seconds for cost in costs),
            median(cost.processor_seconds for cost in costs),
        )
        for costs in zip(*rounds, strict=True)
    ]


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1)]
