"""Facts of regions from regions.csv: one row a region, one column a fact."""

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from publisher.domain.errors import Location, Problem, SettingsError
from publisher.tomlfile.read import ReadLimits, read_text, strip_editor_marks

REGIONS_FILE, CODE_COLUMN = "regions.csv", "code"
REGIONS_READ_LIMITS = ReadLimits(max_bytes=2**20)
_CODE = re.compile(r"[1-9][0-9]{5}")


def read_regions(file: Path) -> Mapping[str, Mapping[str, str]]:
    """Read the facts of each region, or none if there is no file. Raises SettingsError."""
    if not file.exists() and not file.is_symlink():
        return {}
    return parse_regions(read_text(file, REGIONS_READ_LIMITS, SettingsError), str(file))


def parse_regions(
    text: str, file: str = REGIONS_FILE
) -> Mapping[str, Mapping[str, str]]:
    """Parse a table of regions; an empty cell states no fact.

    Raises SettingsError with every Problem, at the line of the row and the number of the cell.
    """
    regions: dict[str, Mapping[str, str]] = {}
    names: list[str] = []
    problems: list[Problem] = []
    line = 1
    try:
        for line, cells in _number_rows(strip_editor_marks(text)):
            if not names:
                names = cells
                found = list(_find_column_problems(names))
            else:
                found = list(_find_row_problems(cells, names, regions))
            problems += [
                Problem(
                    code=code,
                    location=Location(file=file, line=line, column=cell),
                    facts={"value": value},
                )
                for cell, code, value in found
            ]
            if CODE_COLUMN not in names:
                break
            facts = dict(zip(names, cells, strict=False))
            code = facts.pop(CODE_COLUMN, "")
            if cells is not names and not found:
                regions[code] = {name: value for name, value in facts.items() if value}
    except csv.Error:
        location = Location(file=file, line=line)
        problems.append(Problem(code="regions_unreadable_row", location=location))
    if problems:
        raise SettingsError(problems)
    return regions


def _find_column_problems(names: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Yield the cell, code and value of each mistake in the first row."""
    if CODE_COLUMN not in names:
        yield 1, "regions_without_code", ""
    for cell, name in enumerate(names, start=1):
        if not name or name in names[: cell - 1]:
            yield cell, "regions_column", name


def _find_row_problems(
    cells: Sequence[str], names: Sequence[str], known: Collection[str]
) -> Iterator[tuple[int, str, str]]:
    """Yield the cell, code and value of each mistake in a region's row."""
    if len(cells) > len(names):
        yield len(names) + 1, "regions_row_too_long", ""
    position = names.index(CODE_COLUMN)
    code = cells[position] if position < len(cells) else ""
    if not _CODE.fullmatch(code):
        yield position + 1, "regions_bad_code", code[:80]
    elif code in known:
        yield position + 1, "regions_code_twice", code


def _number_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, with the number of its first line."""
    rows = csv.reader(text.splitlines(keepends=True), strict=True)
    line = 1
    for row in rows:
        if any(cells := [cell.strip() for cell in row]):
            yield line, cells
        line = rows.line_num + 1
