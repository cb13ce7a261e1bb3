"""The live board: a table that moves in a terminal, plain lines elsewhere."""

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from publisher.cli.looking import STYLES
from publisher.cli.narrating import Narrator
from publisher.cli.terminal import echo
from publisher.domain.characters import visible
from publisher.domain.delivery import Delivery, State
from publisher.domain.rendition import DeliveryId

QUIET = frozenset({State.PENDING, State.DUE, State.CLAIMED, State.SENDING})
"""States that last too short a time to be worth a line."""


@dataclass(slots=True, kw_only=True)
class Screen:
    """Shows how the deliveries come along."""

    narrator: Narrator
    live: Live | None = None
    shown: dict[DeliveryId, State] = field(default_factory=dict)

    def show(self, deliveries: Sequence[Delivery]) -> None:
        """Show where the deliveries stand now."""
        if self.live is not None:
            self.live.update(_board(deliveries, self.narrator), refresh=True)
            return
        for delivery in deliveries:
            if delivery.state not in QUIET and self.shown.get(delivery.id) is not delivery.state:
                self.shown[delivery.id] = delivery.state
                echo(_line(delivery, self.narrator))

    def tell(self, code: str, **facts: object) -> None:
        """Say something beside the board."""
        words = self.narrator.messages.say(code, **facts)
        if self.live is not None:
            self.live.console.print(visible(words), highlight=False, markup=False)
        else:
            echo(words)


@contextlib.contextmanager
def open_screen(narrator: Narrator) -> Iterator[Screen]:
    """Draw where somebody watches; write lines where nobody does."""
    if not sys.stdout.isatty():
        yield Screen(narrator=narrator)
        return
    with Live(console=Console(), auto_refresh=False) as live:
        yield Screen(narrator=narrator, live=live)


def _board(deliveries: Sequence[Delivery], narrator: Narrator) -> Table:
    """One row a post: there may be many hundred deliveries."""
    say = narrator.messages.say
    table = Table()
    for column in ("column_post", "column_due", "column_state"):
        table.add_column(say(column))
    by_post: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        by_post.setdefault(delivery.key.post, []).append(delivery)
    for post, group in by_post.items():
        due = group[0].due_at.astimezone(narrator.timezone)
        table.add_row(post, f"{due:%H:%M:%S}", _states(Counter(delivery.state for delivery in group), narrator))
    return table


def _states(counts: Mapping[State, int], narrator: Narrator) -> Text:
    told = Text()
    for state in State:
        if counts.get(state):
            told.append(f"{narrator.state(state)} {counts[state]}  ", style=STYLES.get(state, ""))
    return told


def _line(delivery: Delivery, narrator: Narrator) -> str:
    more = delivery.receipt.url if delivery.receipt else narrator.reason(delivery.reason) if delivery.reason else ""
    at = delivery.updated_at.astimezone(narrator.timezone)
    return f"{at:%H:%M:%S}  {narrator.subject(delivery)}  {narrator.state(delivery.state)}  {more}".rstrip()
