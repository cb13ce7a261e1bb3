"""From schedule.toml to a Schedule, or to all its Problems at once."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from publisher.domain.account import Platform
from publisher.domain.errors import Problem, ScheduleError
from publisher.domain.post import CronTrigger, OneTimeTrigger, Post, PostId, PostImage, PostKind, Schedule, Trigger
from publisher.domain.rendered import fingerprint
from publisher.schedule.context import RecipientResolver, ScheduleContext
from publisher.schedule.cron import check_cron
from publisher.schedule.model import PostEntry, ScheduleFile
from publisher.tomlfile import (
    KeyPath,
    ReadLimits,
    TomlDocument,
    UnlocatedProblem,
    parse_toml,
    suggest_closest,
    validate_table,
)

RESERVED_IDS = frozenset({"all"})
"""Ids that commands use for something else."""

_NEED_ORIGINAL = frozenset(kind for kind in PostKind if kind.needs_original)


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowLink:
    """A post that follows another: its place in the file, its id, the other's, and its time if it has one."""

    index: int
    post: str
    follows: str
    at: datetime | None = None


def to_utc(value: datetime, tz: ZoneInfo) -> datetime:
    """Read a time without offset in the workspace's zone; give the instant in UTC."""
    return _with_timezone(value, tz).astimezone(UTC)


def find_rule_problems(
    entry: PostEntry, index: int, context: ScheduleContext, resolver: RecipientResolver
) -> list[UnlocatedProblem]:
    """Judge one post by itself."""
    here: KeyPath = ("post", index)
    flaws = [
        *_find_time_problems(entry, here, context.timezone),
        *resolver.find_problems(tuple(entry.to), (*here, "to")),
    ]
    if entry.id in RESERVED_IDS:
        flaws.append(UnlocatedProblem(path=(*here, "id"), code="reserved_id", facts={"post": entry.id}))
    if context.templates is not None and entry.template not in context.templates:
        facts = {"value": entry.template, "choices": suggest_closest(entry.template, context.templates)}
        flaws.append(UnlocatedProblem(path=(*here, "template"), code="unknown_template", facts=facts))
    if entry.follows is None and entry.kind in _NEED_ORIGINAL:
        flaws.append(UnlocatedProblem(path=(*here, "follows"), code="follows_missing", facts={"kind": entry.kind}))
    for platform in entry.text:
        if platform not in context.platforms:
            facts = {"value": platform, "choices": suggest_closest(platform, context.platforms)}
            flaws.append(
                UnlocatedProblem(path=(*here, "text", platform), code="unknown_platform", facts=facts, is_at_key=True)
            )
    return flaws


def find_duplicate_ids(first_of: Mapping[str, int], tables: Sequence[object]) -> Iterator[UnlocatedProblem]:
    """Tell which posts bear the id of an earlier one."""
    for index, table in enumerate(tables):
        name = entry_id(table)
        if name is not None and (first := first_of[name]) != index:
            lines: Mapping[str, KeyPath] = {"first": ("post", first, "id"), "second": ("post", index, "id")}
            yield UnlocatedProblem(
                path=("post", index, "id"), code="duplicate_id", facts={"post": name}, line_facts=lines
            )


def find_link_problems(
    links: Sequence[FollowLink], times: Mapping[str, datetime | None], known_posts: Collection[PostId]
) -> Iterator[UnlocatedProblem]:
    """Judge what posts follow. `times` are of all ids of the file, a broken post's too: it is not called missing."""
    rings = _find_cycles({link.post: link.follows for link in links})
    for link in links:
        loc = ("post", link.index, "follows")
        facts = {"post": link.post, "value": link.follows}
        if link.follows == link.post:
            yield UnlocatedProblem(path=loc, code="follows_itself", facts=facts)
        elif link.post in rings:
            yield UnlocatedProblem(path=loc, code="follows_cycle", facts=facts)
        elif link.follows not in times and PostId(link.follows) not in known_posts:
            choices = suggest_closest(link.follows, [name for name in times if name != link.post])
            yield UnlocatedProblem(path=loc, code="follows_unknown", facts={**facts, "choices": choices})
        elif (original := times.get(link.follows)) and link.at and link.at < original:
            yield UnlocatedProblem(path=("post", link.index, "at"), code="follows_too_early", facts=facts)


def entry_id(table: object) -> str | None:
    """Give the id of a table, right or wrong in other respects."""
    name = table.get("id") if isinstance(table, Mapping) else None
    return name if isinstance(name, str) else None


def _find_cycles(origins: Mapping[str, str]) -> set[str]:
    """Give the posts that follow each other round to themselves."""
    seen: set[str] = set()
    rings: set[str] = set()
    for start in origins:
        path: dict[str, int] = {}
        post: str | None = start
        while post is not None and post not in seen and post not in path:
            path[post] = len(path)
            post = origins.get(post)
        if post is not None and post in path:
            rings.update(list(path)[path[post] :])
        seen.update(path)
    return rings


def _find_time_problems(entry: PostEntry, base_path: KeyPath, tz: ZoneInfo) -> Iterator[UnlocatedProblem]:
    if entry.at is None and entry.cron is None:
        yield UnlocatedProblem(path=(*base_path, "at"), code="no_time")
    if entry.at is not None and entry.cron is not None:
        yield UnlocatedProblem(path=(*base_path, "cron"), code="at_and_cron", is_at_key=True)
    if entry.cron is not None:
        yield from filter(None, [check_cron(entry.cron, (*base_path, "cron"))])
    elif entry.since or entry.until or entry.days:
        for key, value in (("from", entry.since), ("until", entry.until), ("days", entry.days)):
            if value is not None:
                yield UnlocatedProblem(
                    path=(*base_path, key), code="only_with_cron", facts={"key": key}, is_at_key=True
                )
    if entry.since and entry.until and _with_timezone(entry.until, tz) <= _with_timezone(entry.since, tz):
        yield UnlocatedProblem(path=(*base_path, "until"), code="until_before_from")
    start, key = (entry.at, "at") if isinstance(entry.at, datetime) else (entry.since, "from")
    if entry.expires and start and _with_timezone(entry.expires, tz) <= _with_timezone(start, tz):
        yield UnlocatedProblem(path=(*base_path, "expires"), code="expires_too_early", facts={"key": key})


def _with_timezone(value: datetime, tz: ZoneInfo) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=tz)


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
