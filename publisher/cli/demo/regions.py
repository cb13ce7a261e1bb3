"""The regions of demonstrations. Their accounts exist in the simulator only."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A city with its code (GB/T 2260), and what its police call themselves."""

    code: str
    name: str
    slug: str
    agency: str
    forum: str
    hotline: str
    tip_line: str
    tip_link: str


def read_regions() -> Sequence[Region]:
    """Give all regions, the capital first."""
    text = (files("publisher.cli.demo") / "regions.toml").read_text("utf-8")
    return [Region(**table) for table in tomllib.loads(text)["region"]]
