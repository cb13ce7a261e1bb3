"""The build of this program, from the metadata that its installer wrote."""

import json
from contextlib import suppress
from functools import cache
from importlib.metadata import Distribution, distribution
from typing import Any

DISTRIBUTION = "agency-publisher"
ORIGIN_FILE = "direct_url.json"
"""By PEP 610: the origin of a distribution that does not come from a package index."""
SHOWN_DIGITS = 12


@cache
def program_build() -> str:
    """Return the build of this process, read once: an upgrade changes it at the next start."""
    return describe_build()


def describe_build(installed: Distribution | None = None) -> str:
    """Return the version with the commit, or with the hash of the wheel, where these are known.

    So two builds of one version differ. Examples are `0.1.0 (commit 3f0c9a51d27e)` and
    `0.1.0 (wheel 8d1a77c0e4b2)`.
    """
    installed = installed or distribution(DISTRIBUTION)
    origin: Any = None
    # an installer's file, which must not keep the version from being shown
    with suppress(ValueError):
        origin = json.loads(installed.read_text(ORIGIN_FILE) or "{}")
    commit = _find_text(origin, "vcs_info", "commit_id")
    wheel = _find_text(origin, "archive_info", "hashes", "sha256")
    for name, value in (("commit", commit), ("wheel", wheel)):
        if value:
            return f"{installed.version} ({name} {value[:SHOWN_DIGITS]})"
    return installed.version


def _find_text(value: Any, *keys: str) -> str:  # noqa: ANN401 # any JSON value
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
