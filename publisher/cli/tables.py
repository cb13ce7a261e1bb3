"""A table in the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from publisher.domain.characters import escape_forbidden

STATE_COLUMN = 2
"""The column that is coloured."""


def print_table(rows: Sequence[Sequence[str]], styles: Sequence[str]) -> None:
    """Show rows under their heading; `styles` colours each row's state."""
    heading, *lines = rows
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in heading:
        table.add_column(column, overflow="fold")
    for line, style in zip(lines, styles, strict=True):
        table.add_row(
            *(
                Text(escape_forbidden(cell), style=style if place == STATE_COLUMN else "")
                for place, cell in enumerate(line)
            )
        )
    Console(highlight=False).print(table)
