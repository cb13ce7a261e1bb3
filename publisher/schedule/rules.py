"""What must hold inside one post, and between posts."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from publisher.domain.post import Kind, PostId
from publisher.schedule.desk import Desk, Directory
from publisher.schedule.model import PostEntry
from publisher.schedule.times import cron_flaw
from publisher.tomlfile import Flaw, Loc, close_to

RESERVED = frozenset({"all"})
"""Ids that commands use for something else."""

_NEED_ORIGINAL = frozenset(kind for kind in Kind if kind.needs_original)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A post that follows another: its place in the file, its id, the other's, and its time if it has one."""

    index: int
    post: str
    follows: str
    at: datetime | None = None


def instant(value: datetime, tz: ZoneInfo) -> datetime:
    """Read a time without offset in the workspace's zone; give the instant in UTC."""
    return _aware(value, tz).astimezone(UTC)


def flaws_within(entry: PostEntry, index: int, desk: Desk, directory: Directory) -> list[Flaw]:
    """Judge one post by itself."""
    here: Loc = ("post", index)
    flaws = [*_time_flaws(entry, here, desk.timezone), *directory.flaws(tuple(entry.to), (*here, "to"))]
    if entry.id in RESERVED:
        flaws.append(Flaw(loc=(*here, "id"), code="reserved_id", facts={"post": entry.id}))
    if desk.templates is not None and entry.template not in desk.templates:
        facts = {"value": entry.template, "choices": close_to(entry.template, desk.templates)}
        flaws.append(Flaw(loc=(*here, "template"), code="unknown_template", facts=facts))
    if entry.follows is None and entry.kind in _NEED_ORIGINAL:
        flaws.append(Flaw(loc=(*here, "follows"), code="follows_missing", facts={"kind": entry.kind}))
    for platform in entry.text:
        if platform not in desk.platforms:
            facts = {"value": platform, "choices": close_to(platform, desk.platforms)}
            flaws.append(Flaw(loc=(*here, "text", platform), code="unknown_platform", facts=facts, at_key=True))
    return flaws


def double_ids(first_of: Mapping[str, int], tables: Sequence[object]) -> Iterator[Flaw]:
    """Tell which posts bear the id of an earlier one."""
    for index, table in enumerate(tables):
        name = id_of(table)
        if name is not None and (first := first_of[name]) != index:
            lines: Mapping[str, Loc] = {"first": ("post", first, "id"), "second": ("post", index, "id")}
            yield Flaw(loc=("post", index, "id"), code="double_id", facts={"post": name}, lines=lines)


def link_flaws(
    links: Sequence[Link], times: Mapping[str, datetime | None], known_posts: Collection[PostId]
) -> Iterator[Flaw]:
    """Judge what posts follow. `times` are of all ids of the file, a broken post's too: it is not called missing."""
    rings = _rings({link.post: link.follows for link in links})
    for link in links:
        loc = ("post", link.index, "follows")
        facts = {"post": link.post, "value": link.follows}
        if link.follows == link.post:
            yield Flaw(loc=loc, code="follows_itself", facts=facts)
        elif link.post in rings:
            yield Flaw(loc=loc, code="follows_in_circle", facts=facts)
        elif link.follows not in times and PostId(link.follows) not in known_posts:
            choices = close_to(link.follows, [name for name in times if name != link.post])
            yield Flaw(loc=loc, code="follows_unknown", facts={**facts, "choices": choices})
        elif (original := times.get(link.follows)) and link.at and link.at < original:
            yield Flaw(loc=("post", link.index, "at"), code="follows_too_early", facts=facts)


def id_of(table: object) -> str | None:
    """Give the id of a table, right or wrong in other respects."""
    name = table.get("id") if isinstance(table, Mapping) else None
    return name if isinstance(name, str) else None


def _rings(origins: Mapping[str, str]) -> set[str]:
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


def _time_flaws(entry: PostEntry, here: Loc, tz: ZoneInfo) -> Iterator[Flaw]:
    if entry.at is None and entry.cron is None:
        yield Flaw(loc=(*here, "at"), code="no_time")
    if entry.at is not None and entry.cron is not None:
        yield Flaw(loc=(*here, "cron"), code="at_and_cron", at_key=True)
    if entry.cron is not None:
        yield from filter(None, [cron_flaw(entry.cron, (*here, "cron"))])
    elif entry.since or entry.until or entry.days:
        for key, value in (("from", entry.since), ("until", entry.until), ("days", entry.days)):
            if value is not None:
                yield Flaw(loc=(*here, key), code="only_with_cron", facts={"key": key}, at_key=True)
    if entry.since and entry.until and _aware(entry.until, tz) <= _aware(entry.since, tz):
        yield Flaw(loc=(*here, "until"), code="until_before_from")
    start, key = (entry.at, "at") if isinstance(entry.at, datetime) else (entry.since, "from")
    if entry.expires and start and _aware(entry.expires, tz) <= _aware(start, tz):
        yield Flaw(loc=(*here, "expires"), code="expires_too_early", facts={"key": key})


def _aware(value: datetime, tz: ZoneInfo) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=tz)
