"""One table of the file: its shape, and what its keys say. A broken key hides no fault of the others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from publisher.schedule.desk import Desk, Directory
from publisher.schedule.model import PostEntry
from publisher.schedule.rules import flaws_within
from publisher.tomlfile import Flaw, check

_STAND_INS: Mapping[str, object] = {
    "id": "-",
    "kind": "bulletin",
    "template": "-",
    "author": "-",
    "title": "-",
    "to": ["all"],
}
"""Harmless values for required keys that are missing or broken; what is said about them is not passed on."""

_WITH_CRON = frozenset({"from", "until", "days"})


def read_entry(table: object, index: int, desk: Desk, directory: Directory) -> tuple[PostEntry, list[Flaw]]:
    """Read a post and give everything wrong with it. Where something is, the entry is good for comparing only."""
    found = check(PostEntry, table, ("post", index))
    if isinstance(found, PostEntry):
        return found, flaws_within(found, index, desk, directory)
    if not isinstance(table, dict) or any(len(flaw.loc) == len(("post", index)) for flaw in found):
        return PostEntry.model_validate(_STAND_INS), found
    entry, broken = _mended(table, found)
    others = [flaw for flaw in flaws_within(entry, index, desk, directory) if flaw.loc[2] not in broken]
    return entry, [*map(_named, found), *others]


def _mended(table: Mapping[str, Any], flaws: Sequence[Flaw]) -> tuple[PostEntry, set[str | int]]:
    """Leave out what is broken; give the entry that remains, and the keys of which nothing more can be said."""
    kept = dict(table)
    broken: set[str | int] = set()
    for flaw in flaws:
        key, *inner = flaw.loc[2:]
        if inner and isinstance(kept.get(str(key)), dict):
            kept[str(key)] = {name: value for name, value in kept[str(key)].items() if name != inner[0]}
        else:
            kept.pop(str(key), None)
            broken.add(key)
    if "cron" in broken:
        broken |= _WITH_CRON
        kept = {key: value for key, value in kept.items() if key not in _WITH_CRON}
    mended = check(PostEntry, {**_STAND_INS, **kept})
    return (mended, broken) if isinstance(mended, PostEntry) else (PostEntry.model_validate(_STAND_INS), broken)


def _named(flaw: Flaw) -> Flaw:
    """Give an approval in the file its own words: who approves must not be a matter of typing."""
    is_approval = flaw.code == "unknown_key" and flaw.facts["key"] in {"approved", "approved_by", "approval"}
    return replace(flaw, code="approved_in_file") if is_approval else flaw
