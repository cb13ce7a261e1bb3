"""What must hold inside one post, and between posts."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from publisher.domain.post import PostId, PostKind
from publisher.schedule.context import RecipientResolver, ScheduleContext
from publisher.schedule.cron import check_cron
from publisher.schedule.model import PostEntry
from publisher.tomlfile import KeyPath, UnlocatedProblem, suggest_closest

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
