"""The pinned files are complete: the set-up installs them with `--no-deps`, so a missing package stays missing."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)


def needed(package: str, extras: frozenset[str], met: dict[tuple[str, frozenset[str]], list[Requirement]]) -> None:
    """Add to `met` the requirements of a package with these extras, and theirs in turn."""
    if (package, extras) in met:
        return
    candidates = [Requirement(line) for line in requires(package) or ()]
    met[package, extras] = [
        one for one in candidates if not one.marker or any(one.marker.evaluate({"extra": e}) for e in extras | {""})
    ]
    for one in met[package, extras]:
        needed(canonicalize_name(one.name), frozenset(one.extras), met)


@pytest.mark.parametrize(
    ("file", "extras"), [("constraints.txt", {"build"}), ("constraints-test.txt", {"build", "test"})]
)
def test_every_package_that_is_needed_is_pinned(file, extras):
    """Every requirement of publisher and its packages, extras included, is pinned in a version that satisfies it."""
    pins = {canonicalize_name(name): pin for name, pin in PIN.findall((ROOT / file).read_text("utf-8"))}
    optional = [line for extra in sorted(extras) for line in PROJECT["optional-dependencies"][extra]]
    wanted = [Requirement(line) for line in (*PROJECT["dependencies"], *optional)]  # not of an older installation
    met: dict[tuple[str, frozenset[str]], list[Requirement]] = {}
    for one in tuple(wanted):
        needed(canonicalize_name(one.name), frozenset(one.extras), met)
    wanted += [one for requirements in met.values() for one in requirements]
    assert {canonicalize_name(one.name) for one in wanted} - pins.keys() == set()
    assert [str(one) for one in wanted if pins[canonicalize_name(one.name)] not in one.specifier] == []
