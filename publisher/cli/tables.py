"""A table in the terminal, by rich, which takes long to load."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from publisher.domain.characters import escape_forbidden

STATE_COLUMN = 2


def print_table(rows: Sequence[Sequence[str]], styles: Sequence[str]) -> None:
    """Print a table whose first row is the heading; `styles` colours the state in each other row."""
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
