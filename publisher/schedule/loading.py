"""From schedule.toml to a Schedule, or to all its Problems at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from publisher.domain.account import Platform
from publisher.domain.errors import ScheduleError
from publisher.domain.post import At, Cron, Illustration, Post, PostId, Schedule, Timing
from publisher.domain.problem import Problem
from publisher.domain.rendition import fingerprint
from publisher.schedule.desk import Desk, Directory
from publisher.schedule.entries import read_entry
from publisher.schedule.model import PostEntry, ScheduleFile
from publisher.schedule.rules import Link, double_ids, id_of, instant, link_flaws
from publisher.tomlfile import Flaw, Limits, Loc, TomlFile, check, parse_toml

FILE = "schedule.toml"
SCHEDULE_LIMITS = Limits(size=4 * 2**20)
_APART = frozenset({"author", "level", "at", "from", "until", "days", "expires", "max_delay", "urgent"})
"""Keys without which the words of a post can still be judged."""
_SPARING = frozenset({"unknown_key", "approved_in_file", "unknown_recipient", "unknown_platform", "unknown_region"})
"""Mistakes that are simply left out when the words are judged."""
_ENOUGH = 2000
"""Flaws after which reading on only costs time; far more than are shown."""


def parse_schedule(text: str, *, file: str = FILE, desk: Desk, limits: Limits = SCHEDULE_LIMITS) -> Schedule:
    """Read the text of a schedule. Raises ScheduleError with every Problem. Pure."""
    toml = parse_toml(text, file, limits, ScheduleError)
    posts, flaws = _read(toml, desk)
    if flaws:
        raise ScheduleError(toml.problems(flaws))
    return Schedule(posts=posts)


def examine_schedule(toml: TomlFile, desk: Desk) -> tuple[Schedule, Sequence[Problem]]:
    """Give the posts of a file whose final words can be judged, and every Problem.

    Nothing may be sent of a file with a Problem: its posts are there to find what else is wrong.
    """
    posts, flaws = _read(toml, desk)
    return Schedule(posts=posts), toml.problems(flaws)


def with_places(problems: Sequence[Problem], *, text: str, file: str = FILE) -> list[Problem]:
    """Find the lines of problems that name a `post`, and maybe a `key` of it such as `data.summary`, in their facts."""
    if not problems:
        return []
    toml = parse_toml(text, file, Limits(size=len(text) or 1), ScheduleError)
    index_of = _first_of(_tables(toml.data)[0])
    locs = [_loc_of(problem, index_of) for problem in problems]
    places = iter(toml.places(loc for loc in locs if loc is not None))
    return [
        problem if loc is None else replace(problem, place=next(places))
        for problem, loc in zip(problems, locs, strict=True)
    ]


def _loc_of(problem: Problem, index_of: Mapping[str, int]) -> Loc | None:
    """Say where to look for the place of a problem, None where it has one or names no post."""
    index = index_of.get(problem.facts.get("post", ""))
    if index is None or problem.place is not None:
        return None
    keys = problem.facts.get("key", "id").split(".")
    return ("post", index, *(int(key) if key.isdecimal() else key for key in keys))


def _read(toml: TomlFile, desk: Desk) -> tuple[tuple[Post, ...], list[Flaw]]:
    """Read every post; give those whose words no flaw touches, of two with one id the first, and all flaws."""
    tables, flaws = _tables(toml.data)
    directory = Directory(desk)
    first_of = _first_of(tables)
    reader = _Reader(timezone=desk.timezone, directory=directory)
    posts: list[Post] = []
    links: list[Link] = []
    times: dict[str, datetime | None] = dict.fromkeys(first_of)
    for index, table in enumerate(tables):
        entry, own_flaws = read_entry(table, index, desk, directory)
        flaws += own_flaws
        if len(flaws) > _ENOUGH:
            break
        at = instant(entry.at, desk.timezone) if isinstance(entry.at, datetime) else None
        if entry.follows is not None:
            links.append(Link(index=index, post=id_of(table) or "", follows=entry.follows, at=at))
        if first_of.get(entry.id) == index:
            times[entry.id] = at
        if all(map(_spares_words, own_flaws)) and first_of.get(entry.id) == index:
            post = reader.post(entry)
            posts += [post] if post.accounts or not own_flaws else []
    if len(first_of) < len(tables):
        flaws += double_ids(first_of, tables)
    flaws += link_flaws(links, times, desk.known_posts)
    return tuple(posts), flaws


def _spares_words(flaw: Flaw) -> bool:
    """Whether a post's final words can be judged in spite of a flaw."""
    key = flaw.loc[2] if len(flaw.loc) > len(("post", 0)) else ""
    return flaw.code in _SPARING or key in _APART


def _first_of(tables: Sequence[object]) -> dict[str, int]:
    """Say where each id stands first."""
    return {name: index for index in reversed(range(len(tables))) if (name := id_of(tables[index])) is not None}


def _tables(data: Mapping[str, Any]) -> tuple[Sequence[object], list[Flaw]]:
    """Take the posts out of the file, judging only what stands around them."""
    tables = data.get("post", [])
    is_list = isinstance(tables, list)
    found = check(ScheduleFile, {**data, "post": []} if is_list else data)
    return tables if is_list else (), found if isinstance(found, list) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Turns entries that are right into posts."""

    timezone: ZoneInfo
    directory: Directory

    def post(self, entry: PostEntry) -> Post:
        expires_at = self._instant(entry.expires)
        timing = self._timing(entry)
        return Post(
            id=PostId(entry.id),
            kind=entry.kind,
            template=entry.template,
            author=entry.author,
            title=entry.title,
            timing=timing,
            accounts=self.directory.accounts(tuple(entry.to)),
            definition=_definition(entry, timing, expires_at),
            body=entry.body,
            level=entry.level,
            follows=PostId(entry.follows) if entry.follows else None,
            expires_at=expires_at,
            max_delay=entry.max_delay,
            is_urgent=entry.urgent,
            illustrations=tuple([Illustration(file=image.file, alt=image.alt) for image in entry.images]),
            words=cast("dict[Platform, str]", entry.text),
            data=entry.data,
        )

    def _timing(self, entry: PostEntry) -> Timing:
        if entry.cron is None:
            return At(when=self._instant(entry.at) if isinstance(entry.at, datetime) else None)
        since, until = self._instant(entry.since), self._instant(entry.until)
        return Cron(text=entry.cron, since=since, until=until, days=entry.days or "all")

    def _instant(self, value: datetime | None) -> datetime | None:
        return None if value is None else instant(value, self.timezone)


def _definition(entry: PostEntry, timing: Timing, expires_at: datetime | None) -> str:
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
            [timing.text, timing.since, timing.until, timing.days] if isinstance(timing, Cron) else None,
            expires_at,
            entry.max_delay.total_seconds(),
            entry.urgent,
            [[image.file, image.alt] for image in entry.images],
            entry.text,
            entry.data,
        ]
    )
