"""Ask a public database for known vulnerabilities of the pinned packages.

Part of a release, not of the tests. Usage: `python scripts/advisories.py [URL]`; without an address
it asks https://api.osv.dev, in one request. Exit codes: 0 none is known; 1 some are, each on a line
of its own; 3 it did not run, as the database gave no answer.
"""  # noqa: INP001 # a script, no package

import json
import re
import sys
import tomllib
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATABASE = "https://api.osv.dev"
PINNED = ("constraints.txt", "constraints-build.txt", "constraints-test.txt")
PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
TIMEOUT_SECONDS = 30
EXIT_FOUND, EXIT_NOT_RUN = 1, 3
Package = tuple[str, str, str]
"""Ecosystem, name and version."""


def main(arguments: Sequence[str]) -> int:
    """Print the findings, and return the exit code."""
    packages = list_packages()
    address = arguments[0] if arguments else DATABASE
    try:
        found = find_advisories(address, packages)
    except (
        OSError,
        HTTPException,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        sys.stderr.write(f"没有检查：{address} 没有给出答复。\n")
        sys.stderr.write(
            f"NOT CHECKED: {address} gave no answer ({type(error).__name__}: {error}).\n"
        )
        return EXIT_NOT_RUN
    for (_ecosystem, name, version), advisories in found.items():
        sys.stdout.write(f"{name} {version}: {', '.join(advisories)}\n")
    sys.stderr.write(
        f"{len(packages)} packages checked, {len(found)} with advisories\n"
    )
    return EXIT_FOUND if found else 0


def list_packages() -> Sequence[Package]:
    """Return all pinned packages and all packages with vendored files, each once."""
    pins = [
        pin for file in PINNED for pin in PIN.findall((ROOT / file).read_text("utf-8"))
    ]
    listed = tomllib.loads(
        (ROOT / "publisher" / "web" / "static" / "vendor.toml").read_text("utf-8")
    )
    vendored = {
        ("npm", entry["package"], entry["version"])
        for entry in [*listed["file"], listed["icons"]]
    }
    return sorted({("PyPI", name, version) for name, version in pins} | vendored)


def find_advisories(
    address: str, packages: Sequence[Package]
) -> Mapping[Package, Sequence[str]]:
    """Return the names of the advisories of each package that has any.

    Raises OSError or HTTPException. Raises ValueError, KeyError, TypeError or AttributeError for an
    invalid answer.
    """
    queries = [
        {"package": {"ecosystem": ecosystem, "name": name}, "version": version}
        for ecosystem, name, version in packages
    ]
    request = urllib.request.Request(  # noqa: S310 # the address of an operator, or ours
        f"{address}/v1/querybatch",
        data=json.dumps({"queries": queries}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 # same
        results: Sequence[Mapping[str, Any]] = json.load(response)["results"]
    found = {
        package: [advisory["id"] for advisory in result.get("vulns", ())]
        for package, result in zip(packages, results, strict=True)
    }
    return {package: advisories for package, advisories in found.items() if advisories}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
