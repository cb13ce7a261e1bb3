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

from publisher.cli.format import STATE_STYLES, Formatter
from publisher.cli.terminal import echo
from publisher.domain.characters import escape_forbidden
from publisher.domain.delivery import Delivery, State
from publisher.domain.rendered import DeliveryId

UNSHOWN_STATES = frozenset({State.PENDING, State.DUE, State.CLAIMED, State.SENDING})
"""States that last too short a time to be worth a line."""


@dataclass(slots=True, kw_only=True)
class DemoScreen:
    """Shows how the deliveries come along."""

    formatter: Formatter
    live: Live | None = None
    shown_states: dict[DeliveryId, State] = field(default_factory=dict)

    def show(self, deliveries: Sequence[Delivery]) -> None:
        """Show where the deliveries stand now."""
        if self.live is not None:
            self.live.update(_status_table(deliveries, self.formatter), refresh=True)
            return
        for delivery in deliveries:
            if delivery.state not in UNSHOWN_STATES and self.shown_states.get(delivery.id) is not delivery.state:
                self.shown_states[delivery.id] = delivery.state
                echo(_format_line(delivery, self.formatter))

    def print_message(self, code: str, **facts: object) -> None:
        """Say something beside the board."""
        words = self.formatter.messages.translate(code, **facts)
        if self.live is not None:
            self.live.console.print(escape_forbidden(words), highlight=False, markup=False)
        else:
            echo(words)


@contextlib.contextmanager
def open_screen(formatter: Formatter) -> Iterator[DemoScreen]:
    """Draw where somebody watches; write lines where nobody does."""
    if not sys.stdout.isatty():
        yield DemoScreen(formatter=formatter)
        return
    with Live(console=Console(), auto_refresh=False) as live:
        yield DemoScreen(formatter=formatter, live=live)


def _status_table(deliveries: Sequence[Delivery], formatter: Formatter) -> Table:
    """One row a post: there may be many hundred deliveries."""
    say = formatter.messages.translate
    table = Table()
    for column in ("column_post", "column_due", "column_state"):
        table.add_column(say(column))
    by_post: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        by_post.setdefault(delivery.key.post, []).append(delivery)
    for post, group in by_post.items():
        due = group[0].due_at.astimezone(formatter.timezone)
        table.add_row(post, f"{due:%H:%M:%S}", _format_states(Counter(delivery.state for delivery in group), formatter))
    return table


def _format_states(counts: Mapping[State, int], formatter: Formatter) -> Text:
    told = Text()
    for state in State:
        if counts.get(state):
            told.append(f"{formatter.state(state)} {counts[state]}  ", style=STATE_STYLES.get(state, ""))
    return told


def _format_line(delivery: Delivery, formatter: Formatter) -> str:
    more = delivery.receipt.url if delivery.receipt else formatter.reason(delivery.reason) if delivery.reason else ""
    at = delivery.updated_at.astimezone(formatter.timezone)
    return f"{at:%H:%M:%S}  {formatter.subject(delivery)}  {formatter.state(delivery.state)}  {more}".rstrip()
