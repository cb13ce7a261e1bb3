"""The notes at the fields of a form: problems, advice, and the remarks of an approver."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from publisher.domain.errors import Problem, Severity
from publisher.domain.post import PostId
from publisher.domain.remark import Remark, list_passages
from publisher.domain.user import Permission
from publisher.engine.post_check import PostCheck
from publisher.schedule.cron import DayMark, mark_day
from publisher.store.approvals.tasks import Return
from publisher.web.kit.site import Site, Visitor
from publisher.web.write.data_fields import DrawnField

TIME_KEYS = frozenset({"at", "cron", "days", "from", "until"})
ID_CODES = frozenset(
    {"id_taken", "duplicate_id", "reserved_id", "placeholder_id", "bad_name", "blank"}
)
"""Problems of the id itself; any other that is located there is one of the whole post."""


async def find_remarks(
    visitor: Visitor, edited: str, entry: Mapping[str, Any]
) -> Mapping[str, Sequence[tuple[Return, Remark]]]:
    """Return the remarks of a returned post by field, for its unchanged passages.

    `edited` is the post that a form changes, empty for a new one.
    """
    if not edited:
        return {}
    passages = {
        (passage.field, passage.quote)
        for passage in list_passages(*map(entry.get, ("title", "body", "data", "text")))
    }
    found: dict[str, list[tuple[Return, Remark]]] = {}
    for task in await visitor.site.store.approvals.tasks(PostId(edited)):
        if (returned := task.returned) is None or not visitor.sees_any(task.accounts):
            continue
        for remark in returned.remarks:
            said = found.setdefault(remark.field, [])
            is_said = remark in [each for _returned, each in said]
            if (remark.field, remark.quote) in passages and not is_said:
                said.append((returned, remark))
    return found


async def find_clashes(
    visitor: Visitor, check: PostCheck
) -> Sequence[Mapping[str, Any]]:
    """Return the advice about other posts due on the same accounts in the same minute, if any."""
    if check.post is None or check.due_at is None:
        return ()
    minute = check.due_at.replace(second=0, microsecond=0)
    accounts = [
        key for key in check.post.accounts if visitor.may(Permission.VIEW, [key])
    ]
    same = await visitor.site.store.occurrences.between(
        minute, minute + timedelta(minutes=1), accounts
    )
    others = [item for item in same if item.key.post != check.post.id]
    if not others:
        return ()
    problem = Problem(
        code="web_write_clash",
        severity=Severity.WARNING,
        facts={
            "title": others[0].title,
            "number": str(len(others)),
            "at": minute.isoformat(),
        },
    )
    return [describe_problem(visitor, problem)]


def find_day_off(visitor: Visitor, check: PostCheck) -> Sequence[Mapping[str, Any]]:
    """Return the advice about a post on a public holiday, if it is on one."""
    if check.due_at is None:
        return ()
    day = check.due_at.astimezone(visitor.site.settings.timezone).date()
    if mark_day(day) is not DayMark.HOLIDAY:
        return ()
    facts = {"month": str(day.month), "day": str(day.day)}
    problem = Problem(code="web_write_day_off", severity=Severity.WARNING, facts=facts)
    return [describe_problem(visitor, problem)]


def list_note_keys(
    site: Site, data_keys: Sequence[str], regions: Iterable[str]
) -> Sequence[str]:
    """Return the fields with a place for problems, empty for the whole post."""
    data = [f"data.{key}" for key in data_keys]
    of_regions = [
        f"region.{code}{part}"
        for code in regions
        for part in ("", ".title", ".body", *(f".{key}" for key in data))
    ]
    platforms = dict.fromkeys(
        f"text.{account.platform}" for account in site.settings.accounts.values()
    )
    names = (
        "kind",
        "follows",
        "level",
        "title",
        "body",
        "when",
        "to",
        "images",
        "expires",
        "max_delay",
        "urgent",
    )
    return ["", *names, "template", "id", *data, *platforms, "region", *of_regions]


def find_field(problem: Problem) -> str:
    """Return the field of a problem, empty for one of the whole post."""
    place = problem.location.path if problem.location is not None else ""
    path = place or problem.facts.get("field", "")
    key = path.partition("[")[0]
    if key in TIME_KEYS:
        return "when"
    if key == "id" and problem.code not in ID_CODES:
        return ""
    parts = key.split(".")
    of_region = 4 if parts[2:3] == ["data"] else 3
    return ".".join(parts[: of_region if parts[0] == "region" else 2])


def place_notes(
    visitor: Visitor, problems: Sequence[Problem], note_keys: Collection[str]
) -> dict[str, list[Mapping[str, Any]]]:
    """Return problems as the form shows them, by field, or for the whole post without one."""
    notes: dict[str, list[Mapping[str, Any]]] = {}
    for problem in problems:
        key = find_field(problem)
        group = ".".join(key.split(".")[:2])
        place = next((name for name in (key, group) if name in note_keys), "")
        notes.setdefault(place, []).append(describe_problem(visitor, problem))
    return notes


def describe_problem(visitor: Visitor, problem: Problem) -> Mapping[str, Any]:
    """Return a problem as the form shows it.

    Its `key` differs for another field, or for other facts.
    """
    messages = visitor.messages
    place = problem.location.path if problem.location is not None else ""
    identity = json.dumps(
        [problem.code, place, problem.facts], sort_keys=True, default=str
    )
    return {
        "key": hashlib.sha256(identity.encode()).hexdigest()[:16],
        "code": problem.code,
        "text": messages.describe(problem),
        "hint": messages.hint(problem.code, **problem.facts),
        "is_error": problem.is_error,
    }


def list_lacking(
    visitor: Visitor,
    entry: Mapping[str, Any],
    drawn: Iterable[DrawnField],
    problems: Iterable[Problem],
) -> Sequence[str]:
    """Return the labels of the fields that are needed and blank, or wrong."""
    data = entry.get("data", {})
    keys = [] if entry.get("title") else ["title"]
    keys += [
        f"data.{each.key}"
        for each in drawn
        if each.is_needed and data.get(each.key) in (None, "", [])
    ]
    keys += [find_field(problem) for problem in problems if problem.is_error]
    names = map(visitor.messages.name_field, filter(None, keys))
    return list(dict.fromkeys(name.removeprefix("data.") for name in names))
