"""`check`: everything that can be wrong before anything is sent, all at once."""

import asyncio
import contextlib
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from publisher.app.adapters import find_missing_public_ips, find_unsafe_timings
from publisher.app.offline import OfflineApp, build_offline_app
from publisher.app.permissions import find_unsafe_permissions
from publisher.cli.errors import format_problems, problem_as_json, sorted_problems
from publisher.cli.framework import command, json_option
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings, load_settings
from publisher.domain.errors import InputError, Location, Problem, ScheduleError, Severity
from publisher.domain.post import Post, PostId, Schedule
from publisher.rendering import shipped_templates
from publisher.schedule import (
    SCHEDULE_READ_LIMITS,
    find_capacity_warnings,
    find_next_occurrence,
    find_overdue_posts,
    find_warnings,
    locate_problems,
    make_schedule_context,
    parse_leniently,
)
from publisher.store.queries.known_posts import read_known_posts
from publisher.tomlfile import TomlDocument, read_toml

HOLIDAY_LOOKAHEAD = timedelta(days=60)
"""How far ahead the holidays should be known."""


@dataclass(slots=True, kw_only=True)
class CheckReport:
    """What was found, and how much was looked at."""

    problems: list[Problem] = field(default_factory=list)
    posts: int = 0
    accounts: int = 0
    rendered_posts: int = 0

    @property
    def errors(self) -> int:
        return sum(problem.is_error for problem in self.problems)

    @contextlib.contextmanager
    def collect_problems(self) -> Iterator[None]:
        """Take up what a step refuses, and go on with the next."""
        try:
            yield
        except InputError as error:
            self.problems += error.problems


@command("check")
@click.argument("file", required=False, metavar="[FILE]", type=click.Path(path_type=Path))
@json_option
def check(terminal: Terminal, file: Path | None, *, as_json: bool) -> int:
    report = check_workspace(terminal, (file or terminal.workspace / "schedule.toml").absolute())
    whole = Location(file=str(terminal.workspace.absolute() / "publisher.toml"))
    problems = sorted_problems(replace(problem, location=problem.location or whole) for problem in report.problems)
    if as_json:
        terminal.print_json(
            {"ok": not report.errors, "problems": [problem_as_json(problem, terminal.messages) for problem in problems]}
        )
    elif problems:
        echo(format_problems(problems, terminal.messages))
    counts = {"errors": report.errors, "warnings": len(problems) - report.errors}
    checked = {"posts": report.posts, "accounts": report.accounts, "renditions": report.rendered_posts}
    terminal.print_note("check_failed" if report.errors else "check_passed", **counts, **checked)
    return int(report.errors > 0)


def check_workspace(terminal: Terminal, file: Path) -> CheckReport:
    """Look at the settings, the templates, the schedule, and every final text of every post."""
    report = CheckReport()
    settings = offline_app = toml = None
    with report.collect_problems():
        settings = asyncio.run(load_settings(terminal.workspace))
    with report.collect_problems():
        toml = read_toml(file, SCHEDULE_READ_LIMITS, ScheduleError)
    if settings is not None:
        report.problems += find_unsafe_permissions(settings)
        with report.collect_problems():
            offline_app = build_offline_app(settings)
            report.problems += offline_app.post_renderer.templates.problems
    if settings is not None and toml is not None:
        with report.collect_problems():
            _check_posts(terminal, toml, settings, offline_app, report)
    return report


def _check_posts(
    terminal: Terminal, toml: TomlDocument, settings: Settings, offline_app: OfflineApp | None, report: CheckReport
) -> None:
    """Look at every post. Where one is broken, the final texts of the others are judged all the same."""
    known = read_known_posts(settings.database)
    names = offline_app.post_renderer.templates.names if offline_app else _template_folder_names(settings)
    context = make_schedule_context(settings, templates=names, known_posts=known or frozenset())
    schedule, problems = parse_leniently(toml, context)
    report.posts = len(schedule.posts)
    report.problems += problems
    found = _schedule_warnings(schedule, settings, known)
    if offline_app is not None:
        found += find_unsafe_timings(offline_app.policies.values(), settings.environment)
        found += find_missing_public_ips(offline_app.policies.values(), settings.environment)
        found += find_capacity_warnings(
            schedule, offline_app.policies, known or (), datetime.now(UTC), settings.timezone
        )
        found += _render_all(terminal, offline_app, schedule, report)
        found = [problem for problem in found if problem not in offline_app.post_renderer.templates.problems]
    report.problems += locate_problems(found, text=toml.text, file=toml.file)


def _template_folder_names(settings: Settings) -> Collection[str]:
    folders = (settings.workspace / "templates", shipped_templates())
    return {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}


def _schedule_warnings(schedule: Schedule, settings: Settings, known: Collection[PostId] | None) -> list[Problem]:
    """Say what is not wrong in the text itself: times that have passed, posts for nobody, unknown holidays."""
    now = datetime.now(settings.timezone)
    late = [problem for problem in find_overdue_posts(schedule, now) if problem.facts["post"] not in (known or ())]
    if known is None:
        late = [replace(problem, severity=Severity.WARNING) for problem in late]
    return [*late, *find_warnings(schedule, now, now + HOLIDAY_LOOKAHEAD, settings.timezone)]


def _render_all(terminal: Terminal, offline_app: OfflineApp, schedule: Schedule, report: CheckReport) -> list[Problem]:
    """Render the next occurrence of every post for each of its accounts.

    For an original that is broken, or known to the books only, the post that follows it stands in.
    """
    now = datetime.now(UTC)
    by_id = {post.follows: replace(post, id=post.follows) for post in schedule.posts if post.follows is not None}
    by_id |= {post.id: post for post in schedule.posts}
    problems: list[Problem] = []
    with _show_progress(terminal, schedule.posts) as posts:
        for post in posts:
            occurrence = find_next_occurrence(post, now, offline_app.settings.timezone)
            render_result = offline_app.post_renderer.render(post, occurrence, post.accounts, by_id)
            report.rendered_posts += len(render_result.rendered_posts)
            problems += render_result.problems
    problems = list({(found.code, found.location, *sorted(found.facts.items())): found for found in problems}.values())
    report.accounts = len({account for post in schedule.posts for account in post.accounts})
    return problems


@contextlib.contextmanager
def _show_progress(terminal: Terminal, posts: Sequence[Post]) -> Iterator[Iterator[Post]]:
    if not terminal.can_draw_progress:
        yield iter(posts)
        return
    label = terminal.translate("proofreading")
    with click.progressbar(posts, label=label, file=sys.stderr) as watched:
        yield iter(watched)
