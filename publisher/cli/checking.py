"""`check`: everything that can be wrong before anything is sent, all at once."""

import asyncio
import contextlib
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from publisher.cli.shape import command, json_option
from publisher.cli.terminal import Terminal, echo, shown_path
from publisher.cli.trouble import in_order, told
from publisher.domain.errors import InputError, ScheduleError
from publisher.domain.post import Post, PostId, Schedule
from publisher.domain.problem import Place, Problem, Severity
from publisher.messages import Messages
from publisher.rendering import shipped_templates
from publisher.schedule import (
    SCHEDULE_LIMITS,
    crowding_of,
    desk_for,
    examine_schedule,
    next_occurrence,
    past_posts,
    warnings_of,
    with_places,
)
from publisher.settings import Settings, load_settings
from publisher.store.glance import known_posts
from publisher.tomlfile import TomlFile, read_toml
from publisher.wiring.permissions import loose_files
from publisher.wiring.studio import Studio, build_studio
from publisher.wiring.terms import hasty_waits, without_address

HOLIDAYS_AHEAD = timedelta(days=60)
"""How far ahead the holidays should be known."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What was found, and how much was looked at."""

    problems: list[Problem] = field(default_factory=list)
    posts: int = 0
    accounts: int = 0
    renditions: int = 0

    @property
    def errors(self) -> int:
        return sum(problem.is_error for problem in self.problems)

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Take up what a step refuses, and go on with the next."""
        try:
            yield
        except InputError as error:
            self.problems += error.problems


@command("check")
@click.argument("file", required=False, metavar="[FILE]", type=click.Path(path_type=Path))
@json_option
def check(terminal: Terminal, file: Path | None, *, as_json: bool) -> int:
    report = inspect(terminal, (file or terminal.workspace / "schedule.toml").absolute())
    whole = Place(file=str(terminal.workspace.absolute() / "publisher.toml"))
    problems = in_order(replace(problem, place=problem.place or whole) for problem in report.problems)
    if as_json:
        terminal.show(
            {"ok": not report.errors, "problems": [as_facts(problem, terminal.messages) for problem in problems]}
        )
    elif problems:
        echo(told(problems, terminal.messages))
    counts = {"errors": report.errors, "warnings": len(problems) - report.errors}
    looked_at = {"posts": report.posts, "accounts": report.accounts, "renditions": report.renditions}
    terminal.note("check_failed" if report.errors else "check_passed", **counts, **looked_at)
    return int(report.errors > 0)


def inspect(terminal: Terminal, file: Path) -> Report:
    """Look at the settings, the templates, the schedule, and every final text of every post."""
    report = Report()
    settings = studio = toml = None
    with report.collecting():
        settings = asyncio.run(load_settings(terminal.workspace))
    with report.collecting():
        toml = read_toml(file, SCHEDULE_LIMITS, ScheduleError)
    if settings is not None:
        report.problems += loose_files(settings)
        with report.collecting():
            studio = build_studio(settings)
            report.problems += studio.press.templates.problems
    if settings is not None and toml is not None:
        with report.collecting():
            _inspect_posts(terminal, toml, settings, studio, report)
    return report


def _inspect_posts(
    terminal: Terminal, toml: TomlFile, settings: Settings, studio: Studio | None, report: Report
) -> None:
    """Look at every post. Where one is broken, the final texts of the others are judged all the same."""
    known = known_posts(settings.database)
    names = studio.press.templates.names if studio else _folder_names(settings)
    desk = desk_for(settings, templates=names, known_posts=known or frozenset())
    schedule, problems = examine_schedule(toml, desk)
    report.posts = len(schedule.posts)
    report.problems += problems
    found = _remarks(schedule, settings, known)
    if studio is not None:
        found += hasty_waits(studio.terms.values(), settings.environment)
        found += without_address(studio.terms.values(), settings.environment)
        found += crowding_of(schedule, studio.terms, known or (), datetime.now(UTC), settings.timezone)
        found += _proofread(terminal, studio, schedule, report)
        found = [problem for problem in found if problem not in studio.press.templates.problems]
    report.problems += with_places(found, text=toml.text, file=toml.file)


def _folder_names(settings: Settings) -> Collection[str]:
    folders = (settings.workspace / "templates", shipped_templates())
    return {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}


def _remarks(schedule: Schedule, settings: Settings, known: Collection[PostId] | None) -> list[Problem]:
    """Say what is not wrong in the text itself: times that have passed, posts for nobody, unknown holidays."""
    now = datetime.now(settings.timezone)
    late = [problem for problem in past_posts(schedule, now) if problem.facts["post"] not in (known or ())]
    if known is None:
        late = [replace(problem, severity=Severity.WARNING) for problem in late]
    return [*late, *warnings_of(schedule, now, now + HOLIDAYS_AHEAD, settings.timezone)]


def _proofread(terminal: Terminal, studio: Studio, schedule: Schedule, report: Report) -> list[Problem]:
    """Render the next occurrence of every post for each of its accounts.

    For an original that is broken, or known to the books only, the post that follows it stands in.
    """
    now = datetime.now(UTC)
    by_id = {post.follows: replace(post, id=post.follows) for post in schedule.posts if post.follows is not None}
    by_id |= {post.id: post for post in schedule.posts}
    problems: list[Problem] = []
    with _progress(terminal, schedule.posts) as posts:
        for post in posts:
            occurrence = next_occurrence(post, now, studio.settings.timezone)
            proof = studio.press.prove(post, occurrence, post.accounts, by_id)
            report.renditions += len(proof.renditions)
            problems += proof.problems
    problems = list({(found.code, found.place, *sorted(found.facts.items())): found for found in problems}.values())
    report.accounts = len({account for post in schedule.posts for account in post.accounts})
    return problems


@contextlib.contextmanager
def _progress(terminal: Terminal, posts: Sequence[Post]) -> Iterator[Iterator[Post]]:
    if not terminal.can_draw:
        yield iter(posts)
        return
    label = terminal.words("proofreading")
    with click.progressbar(posts, label=label, file=sys.stderr) as watched:
        yield iter(watched)


def as_facts(problem: Problem, messages: Messages) -> dict[str, Any]:
    """Give a problem for machines."""
    place = problem.place
    return {
        "file": shown_path(place.file) if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "path": place.path if place else None,
        "severity": problem.severity.value,
        "code": problem.code,
        "message": messages.say(problem.code, **problem.facts),
        "hint": messages.hint(problem.code, **problem.facts),
    }
