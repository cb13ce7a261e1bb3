"""Codes of regions beside the official list of divisions.

`publisher/data/divisions.csv` has provinces, cities and counties as of 2023-06-30, by the National
Bureau of Statistics (stats.gov.cn, 2023-09-11). Divisions change each year, so a code that is not
there is worth a look, and no error.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from publisher.config import Settings
from publisher.domain.errors import Location, Problem, Severity
from publisher.tomlfile.region_rows import REGIONS_FILE
from publisher.tomlfile.validate import UnlocatedProblem, suggest_closest

GROUPS = frozenset({"市辖区", "县", "省直辖县级行政区划", "自治区直辖县级行政区划"})
"""Rows of the list that group divisions, and name none."""
MAX_SUGGESTED = 3
DIVISION_CODE = re.compile(r"[0-9]{6}")


@cache
def read_divisions() -> Mapping[str, str]:
    """Return the official names of divisions by their codes."""
    text = (files("publisher.data") / "divisions.csv").read_text("utf-8")
    return {row["code"]: row["name"] for row in csv.DictReader(text.splitlines())}


def list_names(code: str) -> list[str]:
    """Return the names of a division and of those above it, from the province down."""
    known = read_divisions()
    codes = dict.fromkeys([f"{code[:2]}0000", f"{code[:4]}00", code])
    return [known[one] for one in codes if known.get(one, "县") not in GROUPS]


def fits(name: str, official: str) -> bool:
    """Return True for an official name or a short form: characters of it, in their order."""
    rest = iter(official)
    return all(character in rest for character in name)


def find_region_problems(settings: Settings) -> Iterator[Problem]:
    """Warn of codes that are not on the list, and of names of another division.

    Codes of an agency's own, without six digits, are left alone.
    """
    for code in filter(DIVISION_CODE.fullmatch, settings.regions):
        name = settings.regions[code].get("name", "")
        official = "".join(list_names(code))
        if code not in read_divisions():
            choices = suggest_divisions(code, name)
            yield make_warning(settings, code, "region_not_listed", choices=choices)
        elif name and not fits(name, official):
            written = {"name": name, "official": official}
            yield make_warning(settings, code, "region_named_otherwise", **written)


def suggest_divisions(code: str, name: str) -> str:
    """Return the divisions of a name, else the one with the most similar code."""
    known = read_divisions()
    of_name = [one for one, official in known.items() if name and name in official]
    found = of_name[:MAX_SUGGESTED] or [suggest_closest(code, known)]
    return ", ".join(f"{one} {known[one]}" for one in found if one in known)


def make_warning(settings: Settings, code: str, problem: str, **facts: str) -> Problem:
    """Return a warning about a region, at its place in publisher.toml or in regions.csv."""
    facts = {"value": code, **facts}
    written = settings.document.data.get("region", {}) if settings.document else {}
    if code not in written:
        location = Location(file=str(settings.workspace / REGIONS_FILE))
        return Problem(
            code=problem, severity=Severity.WARNING, location=location, facts=facts
        )
    unlocated = UnlocatedProblem(path=("region", code), code=problem, facts=facts)
    [located] = settings.locate_problems([unlocated])
    return Problem(
        code=problem, severity=Severity.WARNING, location=located.location, facts=facts
    )
