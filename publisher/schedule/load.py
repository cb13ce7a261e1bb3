"""From schedule.toml to a Schedule, or to all its Problems at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from publisher.domain.account import Platform
from publisher.domain.errors import ScheduleError
from publisher.domain.post import CronTrigger, OneTimeTrigger, Post, PostId, PostImage, Schedule, Trigger
from publisher.domain.problem import Problem
from publisher.domain.rendered import fingerprint
from publisher.schedule.context import RecipientResolver, ScheduleContext
from publisher.schedule.model import PostEntry, ScheduleFile
from publisher.schedule.rules import FollowLink, entry_id, find_duplicate_ids, find_link_problems, to_utc
from publisher.schedule.schema import parse_entry
from publisher.tomlfile import KeyPath, ReadLimits, TomlDocument, UnlocatedProblem, parse_toml, validate_table

SCHEDULE_FILE = "schedule.toml"
SCHEDULE_READ_LIMITS = ReadLimits(max_bytes=4 * 2**20)
_NON_CONTENT_KEYS = frozenset({"author", "level", "at", "from", "until", "days", "expires", "max_delay", "urgent"})
"""Keys without which the words of a post can still be judged."""
_SKIPPABLE_CODES = frozenset(
    {"unknown_key", "approved_in_file", "unknown_recipient", "unknown_platform", "unknown_region"}
)
"""Mistakes that are simply left out when the words are judged."""
_MAX_PROBLEMS_COLLECTED = 2000
"""Flaws after which reading on only costs time; far more than are shown."""


def parse_schedule(
    text: str, *, file: str = SCHEDULE_FILE, context: ScheduleContext, limits: ReadLimits = SCHEDULE_READ_LIMITS
) -> Schedule:
    """Read the text of a schedule. Raises ScheduleError with every Problem. Pure."""
    toml = parse_toml(text, file, limits, ScheduleError)
    posts, flaws = _parse_posts(toml, context)
    if flaws:
        raise ScheduleError(toml.locate_problems(flaws))
    return Schedule(posts=posts)


def parse_leniently(document: TomlDocument, context: ScheduleContext) -> tuple[Schedule, Sequence[Problem]]:
    """Give the posts of a file whose final words can be judged, and every Problem.

    Nothing may be sent of a file with a Problem: its posts are there to find what else is wrong.
    """
    posts, flaws = _parse_posts(document, context)
    return Schedule(posts=posts), document.locate_problems(flaws)


def locate_problems(problems: Sequence[Problem], *, text: str, file: str = SCHEDULE_FILE) -> list[Problem]:
    """Find the lines of problems that name a `post`, and maybe a `key` of it such as `data.summary`, in their facts."""
    if not problems:
        return []
    toml = parse_toml(text, file, ReadLimits(max_bytes=len(text) or 1), ScheduleError)
    index_of = _index_first_by_id(_split_posts(toml.data)[0])
    locs = [_find_path(problem, index_of) for problem in problems]
    places = iter(toml.locate_all(loc for loc in locs if loc is not None))
    return [
        problem if loc is None else replace(problem, location=next(places))
        for problem, loc in zip(problems, locs, strict=True)
    ]


def _find_path(problem: Problem, index_of: Mapping[str, int]) -> KeyPath | None:
    """Say where to look for the place of a problem, None where it has one or names no post."""
    index = index_of.get(problem.facts.get("post", ""))
    if index is None or problem.location is not None:
        return None
    keys = problem.facts.get("key", "id").split(".")
    return ("post", index, *(int(key) if key.isdecimal() else key for key in keys))


def _parse_posts(document: TomlDocument, context: ScheduleContext) -> tuple[tuple[Post, ...], list[UnlocatedProblem]]:
    """Read every post; give those whose words no flaw touches, of two with one id the first, and all flaws."""
    tables, flaws = _split_posts(document.data)
    directory = RecipientResolver(context)
    first_of = _index_first_by_id(tables)
    reader = _PostBuilder(timezone=context.timezone, resolver=directory)
    posts: list[Post] = []
    links: list[FollowLink] = []
    times: dict[str, datetime | None] = dict.fromkeys(first_of)
    for index, table in enumerate(tables):
        entry, own_flaws = parse_entry(table, index, context, directory)
        flaws += own_flaws
        if len(flaws) > _MAX_PROBLEMS_COLLECTED:
            break
        at = to_utc(entry.at, context.timezone) if isinstance(entry.at, datetime) else None
        if entry.follows is not None:
            links.append(FollowLink(index=index, post=entry_id(table) or "", follows=entry.follows, at=at))
        if first_of.get(entry.id) == index:
            times[entry.id] = at
        if all(map(_is_content_intact, own_flaws)) and first_of.get(entry.id) == index:
            post = reader.build(entry)
            posts += [post] if post.accounts or not own_flaws else []
    if len(first_of) < len(tables):
        flaws += find_duplicate_ids(first_of, tables)
    flaws += find_link_problems(links, times, context.known_posts)
    return tuple(posts), flaws


def _is_content_intact(problem: UnlocatedProblem) -> bool:
    """Whether a post's final words can be judged in spite of a flaw."""
    key = problem.path[2] if len(problem.path) > len(("post", 0)) else ""
    return problem.code in _SKIPPABLE_CODES or key in _NON_CONTENT_KEYS


def _index_first_by_id(tables: Sequence[object]) -> dict[str, int]:
    """Say where each id stands first."""
    return {name: index for index in reversed(range(len(tables))) if (name := entry_id(tables[index])) is not None}


def _split_posts(data: Mapping[str, Any]) -> tuple[Sequence[object], list[UnlocatedProblem]]:
    """Take the posts out of the file, judging only what stands around them."""
    tables = data.get("post", [])
    is_list = isinstance(tables, list)
    found = validate_table(ScheduleFile, {**data, "post": []} if is_list else data)
    return tables if is_list else (), found if isinstance(found, list) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class _PostBuilder:
    """Turns entries that are right into posts."""

    timezone: ZoneInfo
    resolver: RecipientResolver

    def build(self, entry: PostEntry) -> Post:
        expires_at = self._to_utc(entry.expires)
        timing = self._make_trigger(entry)
        return Post(
            id=PostId(entry.id),
            kind=entry.kind,
            template=entry.template,
            author=entry.author,
            title=entry.title,
            trigger=timing,
            accounts=self.resolver.resolve(tuple(entry.to)),
            content_hash=_hash_content(entry, timing, expires_at),
            body=entry.body,
            level=entry.level,
            follows=PostId(entry.follows) if entry.follows else None,
            expires_at=expires_at,
            max_delay=entry.max_delay,
            is_urgent=entry.urgent,
            images=tuple([PostImage(file=image.file, alt=image.alt) for image in entry.images]),
            text_by_platform=cast("dict[Platform, str]", entry.text),
            data=entry.data,
        )

    def _make_trigger(self, entry: PostEntry) -> Trigger:
        if entry.cron is None:
            return OneTimeTrigger(at=self._to_utc(entry.at) if isinstance(entry.at, datetime) else None)
        since, until = self._to_utc(entry.since), self._to_utc(entry.until)
        return CronTrigger(text=entry.cron, since=since, until=until, days=entry.days or "all")

    def _to_utc(self, value: datetime | None) -> datetime | None:
        return None if value is None else to_utc(value, self.timezone)


def _hash_content(entry: PostEntry, trigger: Trigger, expires_at: datetime | None) -> str:
    """Hash all that staff wrote but `to`, for a new account changes no words, and `at`, for a move is no edit."""
    return fingerprint(
        [
            entry.id,
            entry.kind,
            entry.template,
            entry.author,
            entry.follows,
            entry.level,
            entry.title,
            entry.body,
            [trigger.text, trigger.since, trigger.until, trigger.days] if isinstance(trigger, CronTrigger) else None,
            expires_at,
            entry.max_delay.total_seconds(),
            entry.urgent,
            [[image.file, image.alt] for image in entry.images],
            entry.text,
            entry.data,
        ]
    )
