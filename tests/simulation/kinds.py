"""What storms of one kind share: what such a kind is, and what most of them are drawn from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from publisher.simulator.faults import Fault
from tests.simulation.platforms import EPOCH, LATE
from tests.simulation.scenarios import TITLES
from tests.simulation.simulation import Shape, Simulation
from tests.simulation.workspace import IDENTITIES, Entry, instant

HOUR = 3600.0
LOST: Sequence[Fault] = ({"kind": "drop_before"},)
MADE: Sequence[Fault] = (
    {"kind": "drop_after"},
    {"kind": "act_late", "seconds": LATE},
    {"kind": "no_id"},
    {"kind": "status", "code": 502, "acts": True},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """One kind of storm: whom it strikes, what is published in it, and what happens."""

    draw: Callable[[Random], Shape]
    entries: Callable[[Random, Shape], list[Entry]]
    play: Callable[[Simulation], None]


def draw_shape(dice: Random, *, storm: float, most: int = 3, pace: tuple[float, float] = (1.0, 1.5)) -> Shape:
    """Draw a shape in which people take part and nothing goes wrong by itself."""
    accounts = tuple(sorted(dice.sample(sorted(IDENTITIES), dice.randint(1, most))))
    return Shape(accounts=accounts, storm=storm, pace=dice.uniform(*pace), skew=dice.uniform(-1, 1), orders=[storm])


def one_offs(dice: Random, shape: Shape, *, number: int, within: tuple[float, float]) -> list[Entry]:
    """Draw posts that fall due once, each on some of the accounts."""
    entries = []
    for place in range(1, number + 1):
        accounts = tuple(sorted(dice.sample(shape.accounts, dice.randint(1, len(shape.accounts)))))
        due = instant(EPOCH + dice.uniform(*within))
        title = f"{dice.choice(TITLES)}第{place:02d}期"
        entries.append(Entry(id=f"p{place}", title=title, accounts=accounts, at=due, urgent=dice.random() < 0.1))
    return entries


def standing(simulation: Simulation, *states: str) -> list[tuple[str, str]]:
    """Name the deliveries that are in one of these states, by post and account."""
    marks = ", ".join("?" for _ in states)
    query = f"SELECT post, account FROM delivery WHERE state IN ({marks}) ORDER BY id"  # noqa: S608 # only marks
    return [(row["post"], row["account"]) for row in simulation.rows(query, *states)]
