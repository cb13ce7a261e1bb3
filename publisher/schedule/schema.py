"""One table of the file: its shape, and what its keys say. A broken key hides no fault of the others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from publisher.schedule.context import RecipientResolver, ScheduleContext
from publisher.schedule.model import PostEntry
from publisher.schedule.rules import find_rule_problems
from publisher.tomlfile import UnlocatedProblem, validate_table

_PLACEHOLDERS: Mapping[str, object] = {
    "id": "-",
    "kind": "bulletin",
    "template": "-",
    "author": "-",
    "title": "-",
    "to": ["all"],
}
"""Harmless values for required keys that are missing or broken; what is said about them is not passed on."""

_CRON_ONLY_KEYS = frozenset({"from", "until", "days"})


def parse_entry(
    table: object, index: int, context: ScheduleContext, resolver: RecipientResolver
) -> tuple[PostEntry, list[UnlocatedProblem]]:
    """Read a post and give everything wrong with it. Where something is, the entry is good for comparing only."""
    found = validate_table(PostEntry, table, ("post", index))
    if isinstance(found, PostEntry):
        return found, find_rule_problems(found, index, context, resolver)
    if not isinstance(table, dict) or any(len(flaw.path) == len(("post", index)) for flaw in found):
        return PostEntry.model_validate(_PLACEHOLDERS), found
    entry, broken = _drop_broken_keys(table, found)
    others = [flaw for flaw in find_rule_problems(entry, index, context, resolver) if flaw.path[2] not in broken]
    return entry, [*map(_recode_approval, found), *others]


def _drop_broken_keys(
    table: Mapping[str, Any], problems: Sequence[UnlocatedProblem]
) -> tuple[PostEntry, set[str | int]]:
    """Leave out what is broken; give the entry that remains, and the keys of which nothing more can be said."""
    kept = dict(table)
    broken: set[str | int] = set()
    for flaw in problems:
        key, *inner = flaw.path[2:]
        if inner and isinstance(kept.get(str(key)), dict):
            kept[str(key)] = {name: value for name, value in kept[str(key)].items() if name != inner[0]}
        else:
            kept.pop(str(key), None)
            broken.add(key)
    if "cron" in broken:
        broken |= _CRON_ONLY_KEYS
        kept = {key: value for key, value in kept.items() if key not in _CRON_ONLY_KEYS}
    mended = validate_table(PostEntry, {**_PLACEHOLDERS, **kept})
    return (mended, broken) if isinstance(mended, PostEntry) else (PostEntry.model_validate(_PLACEHOLDERS), broken)


def _recode_approval(problem: UnlocatedProblem) -> UnlocatedProblem:
    """Give an approval in the file its own words: who approves must not be a matter of typing."""
    is_approval = problem.code == "unknown_key" and problem.facts["key"] in {"approved", "approved_by", "approval"}
    return replace(problem, code="approved_in_file") if is_approval else problem
