"""Figures, their goals, and how they are reported."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure. `parts` are the absolute numbers behind it, which mean something on one machine only."""

    id: str
    name: str
    value: float
    goal: float | None = None
    is_floor: bool = False
    unit: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        is_met = self.value >= self.goal if self.is_floor else self.value <= self.goal
        return "met" if is_met else "MISSED"

    def as_facts(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit or "ratio",
            "goal": self.goal,
            "verdict": self.verdict or None,
            "parts": {name: round(value, 6) for name, value in self.parts.items()},
        }

    def line(self) -> str:
        bound = "" if self.goal is None else f"{'>=' if self.is_floor else '<='} {self.goal:g}{self.unit}"
        parts = "  ".join(f"{name} {value:.4g}" for name, value in self.parts.items())
        return f"{self.id:<4} {self.name:<52} {self.value:>9.3g}{self.unit:<3} {bound:<12} {self.verdict:<7} {parts}"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1)]


def in_turn(runs: int, *contestants: Callable[[], float]) -> list[float]:
    """Measure each contestant once per round, so that a busy minute falls on all of them alike; give the medians."""
    results: list[list[float]] = [[] for _ in contestants]
    for _ in range(runs):
        for result, contestant in zip(results, contestants, strict=True):
            result.append(contestant())
    return [median(result) for result in results]
