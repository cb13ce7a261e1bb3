"""Families: a post with words of its own for single regions, as one ordinary post for each region.

So an edit, an approval or a hold of one region concerns no other. Pure.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from publisher.domain.account import Account, AccountId
from publisher.domain.errors import Problem
from publisher.domain.post import find_family, name_member
from publisher.schedule.model import PostEntry, RegionEntry
from publisher.tomlfile.validate import KeyPath, UnlocatedProblem

NO_REGION = "000000"
"""The code of the member for accounts without a region, such as a ministry's own.

They get the common words, or words under this code: a post to `all` concerns them too.
"""
_FIT_CODE = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyNames:
    """The names of families: `in_file` in the file, `members` with the stored posts of any."""

    in_file: Collection[str] = frozenset()
    members: Mapping[str, Collection[str]] = field(default_factory=dict)
    written: Collection[str] = frozenset()
    """The ids of all posts of the file."""

    def is_family(self, post: str) -> bool:
        """Return True if the post of a written id is a family: in the file, else as stored."""
        if post in self.written:
            return post in self.in_file
        return post in self.members


def find_families(
    entries: Collection[PostEntry], known_posts: Collection[str]
) -> FamilyNames:
    """Return the families among the posts of a file: by words for regions, or by an original.

    A post that follows a family is one too, and its members follow that family's.
    """
    follows = {entry.id: entry.follows for entry in entries}
    stored: dict[str, set[str]] = {}
    for known in known_posts:
        if (name := find_family(known)) != known:
            stored.setdefault(name, set()).add(known)
    is_family = {entry.id: True for entry in entries if entry.region}
    for start in follows:
        path: dict[str, None] = {}
        post: str | None = start
        while post in follows and post not in is_family and post not in path:
            path[post] = None
            post = follows[post]
        found = is_family.get(post or "", post not in follows and post in stored)
        is_family |= dict.fromkeys(path, found)
    in_file = {post for post, found in is_family.items() if found}
    return FamilyNames(in_file=in_file, members=stored, written=follows.keys())


def group_by_region(
    accounts: Sequence[AccountId], known: Mapping[AccountId, Account]
) -> Mapping[str, tuple[AccountId, ...]]:
    """Return accounts by the code of their region, in the order of the accounts."""
    groups: dict[str, tuple[AccountId, ...]] = {}
    for account in accounts:
        code = known[account].region or NO_REGION
        groups[code] = (*groups.get(code, ()), account)
    return groups


def find_region_problems(
    entry: PostEntry, path: KeyPath, codes: Collection[str], platforms: Collection[str]
) -> Iterator[UnlocatedProblem]:
    """Yield the problems of a post's words for regions; `codes` are its recipients' regions."""
    for code, words in entry.region.items():
        if code not in codes:
            facts = {
                "post": entry.id,
                "value": code,
                "choices": ", ".join(sorted(codes)[:20]),
            }
            yield UnlocatedProblem(
                path=(*path, "region", code),
                code="region_not_addressed",
                facts=facts,
                is_at_key=True,
            )
        for platform in sorted(words.text.keys() - set(platforms)):
            facts = {"value": platform, "choices": ", ".join(sorted(platforms))}
            yield UnlocatedProblem(
                path=(*path, "region", code, "text", platform),
                code="unknown_platform",
                facts=facts,
                is_at_key=True,
            )
    unfit = [code for code in codes if not _FIT_CODE.fullmatch(code)]
    if entry.region and unfit:
        facts = {"post": entry.id, "value": unfit[0]}
        yield UnlocatedProblem(
            path=(*path, "region"), code="region_code_unfit", facts=facts
        )


def make_member(entry: PostEntry, code: str, families: FamilyNames) -> PostEntry:
    """Return the post of one region: the common words, with the region's own instead."""
    own = entry.region.get(code, RegionEntry())
    words: dict[str, object] = {
        name: value
        for name in ("title", "body")
        if (value := getattr(own, name)) is not None
    }
    changes = {
        **words,
        "id": name_member(entry.id, code),
        "follows": find_original(entry.follows, code, families),
        "text": {**entry.text, **own.text},
        "data": {**entry.data, **own.data},
        "region": {},
    }
    return entry.model_copy(update=changes)


def find_original(follows: str | None, code: str, families: FamilyNames) -> str | None:
    """Return the post that a region's member follows: that region's member of a family."""
    if follows is None or not families.is_family(follows):
        return follows
    return name_member(follows, code)


def join_members(problems: Sequence[Problem]) -> list[Problem]:
    """Return problems, each that several members of a family have alike once, as the family's."""
    joined: dict[object, Problem] = {}
    for position, problem in enumerate(problems):
        post = problem.facts.get("post", "")
        family, facts = find_family(post), {**problem.facts, "post": ""}
        key: object = position
        if family != post:
            key = (problem.code, problem.location, family, *sorted(facts.items()))
        of_family = {**problem.facts, "post": family}
        joined[key] = replace(problem, facts=of_family) if key in joined else problem
    return list(joined.values())


def find_own_words(table: object, code: str, keys: Sequence[str]) -> KeyPath:
    """Return where a family's table has a region's own value of these keys, if it has one."""
    own: object = table
    for name in ("region", code, *keys[:2]) if code else ():
        own = own.get(name) if isinstance(own, Mapping) else None
    return ("region", code) if code and own is not None else ()
