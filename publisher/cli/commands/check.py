"""`check`: report at once everything that is wrong in settings, templates and schedule."""

import asyncio
import contextlib
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from publisher.app.adapters import find_missing_public_ips, find_unsafe_timings
from publisher.app.offline import OfflineApp, build_offline_app, find_unfinished_settings
from publisher.app.permissions import find_unsafe_permissions
from publisher.cli.errors import format_problems, problem_as_json, sorted_problems
from publisher.cli.framework import command, json_option
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings, load_settings
from publisher.domain.errors import InputError, Location, Problem, ScheduleError, Severity
from publisher.domain.post import Post, Schedule
from publisher.rendering.templates import shipped_templates
from publisher.schedule.cron import find_next_occurrence
from publisher.schedule.load import SCHEDULE_READ_LIMITS, locate_problems, make_schedule_context, parse_leniently
from publisher.schedule.warnings import find_capacity_warnings, find_overdue_posts, find_warnings
from publisher.store.queries.known_posts import read_known_posts
from publisher.tomlfile.read import TomlDocument, read_toml
from publisher.tomlfile.validate import find_placeholders

HOLIDAY_LOOKAHEAD = timedelta(days=60)
"""How far ahead the holidays should be known."""


@dataclass(slots=True, kw_only=True)
class CheckReport:
    """The problems found, and how much was checked."""

    problems: list[Problem] = field(default_factory=list)
    posts: int = 0
    accounts: int = 0
    rendered_posts: int = 0

    @contextlib.contextmanager
    def collect_problems(self) -> Iterator[None]:
        """Record the problems of an InputError, so that the next step can go on."""
        try:
            yield
        except InputError as error:
            self.problems += error.problems


@command("check")
@click.argument("file", required=False, metavar="[FILE]", type=click.Path(path_type=Path))
@json_option
def check(terminal: Terminal, file: Path | None, *, as_json: bool) -> int:
    report = CheckReport()
    settings = offline_app = toml = None
    with report.collect_problems():
        settings = asyncio.run(load_settings(terminal.workspace))
    with report.collect_problems():
        toml = read_toml((file or terminal.workspace / "schedule.toml").absolute(), SCHEDULE_READ_LIMITS, ScheduleError)
    if settings is not None:
        report.problems += find_unsafe_permissions(settings)
        with report.collect_problems():
            report.problems += find_unfinished_settings(settings)
        with report.collect_problems():
            offline_app = build_offline_app(settings)
            report.problems += offline_app.post_renderer.templates.problems
        if toml is not None:
            with report.collect_problems():
                _check_posts(terminal, toml, settings, offline_app, report)
    settings_file = Location(file=str(terminal.workspace.absolute() / "publisher.toml"))
    problems = sorted_problems(
        replace(problem, location=problem.location or settings_file) for problem in report.problems
    )
    errors = sum(problem.is_error for problem in problems)
    if as_json:
        terminal.print_json(
            {"ok": not errors, "problems": [problem_as_json(problem, terminal.messages) for problem in problems]}
        )
    elif problems:
        echo(format_problems(problems, terminal.messages))
    counts = {"errors": errors, "warnings": len(problems) - errors}
    checked = {"posts": report.posts, "accounts": report.accounts, "rendered_posts": report.rendered_posts}
    terminal.print_note("check_failed" if errors else "check_passed", **counts, **checked)
    return int(errors > 0)


def _check_posts(
    terminal: Terminal, toml: TomlDocument, settings: Settings, offline_app: OfflineApp | None, report: CheckReport
) -> None:
    """Check every post. Where one is broken, the final texts of the others are checked all the same."""
    known = read_known_posts(settings.database)
    if offline_app:
        template_names: Collection[str] = offline_app.post_renderer.templates.names
    else:
        folders = [path for path in (settings.workspace / "templates", shipped_templates()) if path.is_dir()]
        template_names = {path.name for folder in folders for path in folder.iterdir() if path.is_dir()}
    context = make_schedule_context(settings, templates=template_names, known_posts=known or frozenset())
    schedule, problems = parse_leniently(toml, context)
    report.posts = len(schedule.posts)
    report.problems += problems
    placeholders = [found for found in find_placeholders(toml.data) if found.path[-1] != "id"]  # that is an error above
    report.problems += [replace(found, severity=Severity.WARNING) for found in toml.locate_problems(placeholders)]
    now = datetime.now(settings.timezone)
    found = [problem for problem in find_overdue_posts(schedule, now) if problem.facts["post"] not in (known or ())]
    if known is None:
        found = [replace(problem, severity=Severity.WARNING) for problem in found]
    found += find_warnings(schedule, now, now + HOLIDAY_LOOKAHEAD, settings.timezone)
    if offline_app is not None:
        policies = offline_app.policies
        found += find_unsafe_timings(policies.values(), settings.environment)
        found += find_missing_public_ips(policies.values(), settings.environment)
        found += find_capacity_warnings(schedule, policies, known or (), datetime.now(UTC), settings.timezone)
        found += render_all(terminal, offline_app, schedule, report)
        found = [problem for problem in found if problem not in offline_app.post_renderer.templates.problems]
    report.problems += locate_problems(found, text=toml.text, file=toml.file)


def render_all(terminal: Terminal, offline_app: OfflineApp, schedule: Schedule, report: CheckReport) -> list[Problem]:
    """Render the next occurrence of every post for each of its accounts; return each problem once.

    A post that follows an original stands in for it where the original is broken, or is in the database only.
    """
    now = datetime.now(UTC)
    by_id = {post.follows: replace(post, id=post.follows) for post in schedule.posts if post.follows is not None}
    by_id |= {post.id: post for post in schedule.posts}
    problems: list[Problem] = []
    watched: AbstractContextManager[Iterable[Post]] = contextlib.nullcontext(schedule.posts)
    if sys.stderr.isatty():
        watched = click.progressbar(schedule.posts, label=terminal.translate("proofreading"), file=sys.stderr)
    with watched as posts:
        for post in posts:
            occurrence = find_next_occurrence(post, now, offline_app.settings.timezone)
            render_result = offline_app.post_renderer.render(post, occurrence, post.accounts, by_id)
            report.rendered_posts += len(render_result.rendered_posts)
            problems += render_result.problems
    report.accounts = len({account for post in schedule.posts for account in post.accounts})
    return list({(found.code, found.location, *sorted(found.facts.items())): found for found in problems}.values())
