"""The probable meaning of a mistake in schedule.toml. Pure."""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from publisher.domain.kinds import KINDS
from publisher.schedule.model import POST_KEYS
from publisher.tomlfile.validate import UnlocatedProblem

_KEY_EXAMPLES: Mapping[str, str] = {
    "id": 'id = "refund-scam-2027-01"',
    "kind": 'kind = "warning"',
    "template": 'template = "warning"',
    "author": 'author = "…"',
    "title": 'title = "…"',
    "to": 'to = ["all"]',
    "file": 'file = "media/….png"',
    "alt": 'alt = "…"',
}
_CHINESE_VALUES: Mapping[str, str] = {
    "红": "red",
    "橙": "orange",
    "黄": "yellow",
    "蓝": "blue",
    **{traits.name["zh_CN"]: kind.value for kind, traits in KINDS.items()},
}
_APPROVAL_KEYS = frozenset({"approved", "approved_by", "approval"})
"""Approving is not a matter of editing a file, so these keys have a message of their own."""
_SOON = frozenset({"asap", "now", "立即", "立刻", "马上", "现在"})


def explain_problem(  # noqa: C901 # one flat match
    problem: UnlocatedProblem,
    table: Mapping[str, Any],
    data_keys: Mapping[str, Collection[str]],
) -> UnlocatedProblem:
    """Return a problem of a post with the code of the probable meaning.

    The post's other keys decide it.
    """
    key, *inner = map(str, problem.path[2:])
    value, facts = table.get(key), problem.facts
    match problem.code:
        case _ if key == "text" and inner[:1] and inner[0] in POST_KEYS:
            return replace(
                problem,
                code="key_of_post",
                facts={**facts, "name": inner[0]},
                is_at_key=True,
            )
        case "unknown_key" if not inner and key in _APPROVAL_KEYS:
            return replace(problem, code="approved_in_file")
        case "unknown_key" if not inner and key in data_keys.get(
            str(table.get("template")), ()
        ):
            return replace(
                problem,
                code="key_of_data",
                facts={**facts, "template": str(table["template"])},
            )
        case "missing_key" if (
            not inner and isinstance(data := table.get("data"), dict) and key in data
        ):
            return replace(
                problem,
                path=(*problem.path[:2], "data", key),
                code="key_of_post",
                facts={**facts, "name": key},
                is_at_key=True,
            )
        case "missing_key" if (last := str(problem.path[-1])) in _KEY_EXAMPLES:
            return replace(problem, facts={**facts, "example": _KEY_EXAMPLES[last]})
        case "wrong_type" | "single_brackets" if key == "images" and len(inner) < 2:
            file = next(
                (
                    item
                    for item in [value, *(value if isinstance(value, list) else ())]
                    if isinstance(item, str)
                ),
                "",
            )
            name = file.removeprefix("media/")[:60] or "….png"
            example = f'images = [{{ file = "media/{name}", alt = "…" }}]'
            return replace(
                problem, code="bad_images", facts={**facts, "example": example}
            )
        case "wrong_type" if (
            not inner and key in {"data", "text"} and isinstance(value, list)
        ):
            return replace(problem, code="double_brackets")
        case "wrong_type" if not inner and key in {"data", "text"}:
            return replace(problem, facts={**facts, "example": f"[post.{key}]"})
        case "bad_time" if (
            key == "at" and isinstance(value, str) and value.strip().lower() in _SOON
        ):
            return replace(problem, code="asap_meant")
        case "bad_time" if isinstance(value, int) or (
            isinstance(value, str) and re.match(r"\s*\d+(?!\d*[-/.年月])", value)
        ):
            return replace(
                problem,
                code="duration_for_time",
                facts={**facts, "value": str(value)[:20]},
            )
        case "not_one_of":
            meant = [
                english
                for chinese, english in _CHINESE_VALUES.items()
                if chinese in facts["value"]
            ]
            choices = facts["choices"].split(", ")
            meant = [choice for choice in meant if choice in choices]
            return replace(
                problem,
                facts={
                    **facts,
                    "choices": ", ".join(dict.fromkeys([*meant, *choices])),
                },
            )
    return problem


def explain_top_level_problem(
    problem: UnlocatedProblem, data: Mapping[str, Any]
) -> UnlocatedProblem:
    """Return a problem outside the posts; a key of a post has stood before the first of them."""
    key = str(problem.path[-1])
    if problem.code != "unknown_key" or key not in POST_KEYS:
        return problem
    is_header = isinstance(data.get(key), dict)
    return replace(
        problem, code="header_without_post" if is_header else "key_before_post"
    )
