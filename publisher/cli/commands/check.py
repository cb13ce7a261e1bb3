"""`check`: report at once everything that is wrong in settings, templates and schedule."""

import asyncio
import contextlib
import hashlib
import re
import sys
from collections.abc import (
    Collection,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import click

from publisher.app.adapters import find_sources, find_unsafe_timings
from publisher.app.divisions import find_region_problems
from publisher.app.offline import (
    OfflineApp,
    build_offline_app,
    find_unfinished_settings,
)
from publisher.app.permissions import find_unsafe_permissions
from publisher.app.start_checks import (
    count_accounts,
    find_start_problems,
    locate_in_settings,
)
from publisher.cli.errors import (
    ScheduleSource,
    format_problems,
    problem_as_json,
    sorted_problems,
)
from publisher.cli.framework import command, json_option
from publisher.cli.terminal import Terminal, echo
from publisher.config import (
    SETTINGS_FILE,
    Settings,
    find_schedule_file,
    load_settings,
)
from publisher.domain.account import AccountId
from publisher.domain.errors import (
    InputError,
    Location,
    Problem,
    PublisherError,
    ScheduleError,
    Severity,
)
from publisher.domain.families import list_candidates, without_conflicts
from publisher.domain.plan import Plan, PlanWindow, StoredPosts
from publisher.domain.post import (
    CronTrigger,
    Occurrence,
    Post,
    PostId,
    RenderedPost,
    Schedule,
    find_family,
)
from publisher.domain.removals import (
    find_removals,
    needs_confirmation,
    without_unknown_accounts,
)
from publisher.rendering.newer_texts import find_newer_texts
from publisher.rendering.templates import shipped_templates
from publisher.runtime.clock import Runtime
from publisher.schedule.cron import find_next_occurrence, list_next_times
from publisher.schedule.load import (
    SCHEDULE_READ_LIMITS,
    ScheduleContext,
    entry_id,
    list_post_ids,
    locate_problems,
    make_schedule_context,
    parse_leniently,
    post_tables,
)
from publisher.schedule.warnings import (
    MAX_NAMES,
    find_capacity_warnings,
    find_early_follow_ups,
    find_follow_up_warnings,
    find_lone_approvals,
    find_misplaced_data,
    find_old_contacts,
    find_overdue_posts,
    find_timing_warnings,
    find_warnings,
    is_past,
)
from publisher.store.queries.known_posts import (
    KnownPost,
    read_filed_texts,
    read_known_posts,
)
from publisher.tomlfile.read import TomlDocument, parse_toml, read_text
from publisher.tomlfile.validate import find_placeholders

HOLIDAY_LOOKAHEAD = timedelta(days=60)
"""How far ahead the holidays should be known."""
REPETITION_WINDOW = timedelta(days=31)
"""Equal texts within this time look like a double to readers.

Platforms may refuse the second.
"""
MAX_NEXT_TIMES = 20
"""The next times of at most this many repeating posts are printed; --json has them all."""
_MOMENT = re.compile(r"\d{4}年\d{1,2}月\d{1,2}日 \d\d:\d\d")
"""The time in an article, as templates write it. It differs between otherwise equal posts."""


@dataclass(slots=True, kw_only=True)
class CheckReport:
    """The problems found, and how much was checked."""

    problems: list[Problem] = field(default_factory=list)
    posts: int = 0
    accounts: int = 0
    rendered_posts: int = 0
    plan: Plan | None = None
    """The daemon's plan for the file; None without a database."""
    next_times: dict[PostId, list[datetime]] = field(default_factory=dict)
    """The next due times of each repeating post, in the workspace's zone."""

    @contextlib.contextmanager
    def collect_problems(self) -> Iterator[None]:
        """Record the problems of an InputError, so that the next step can go on."""
        try:
            yield
        except InputError as error:
            self.problems += error.problems


@command("check")
@click.argument(
    "file", required=False, metavar="[FILE]", type=click.Path(path_type=Path)
)
@json_option
def check(terminal: Terminal, file: Path | None, *, as_json: bool) -> int:
    report = CheckReport()
    settings = offline_app = toml = source = None
    with report.collect_problems():
        settings = asyncio.run(load_settings(terminal.workspace))
    with report.collect_problems():
        path = (file or find_schedule_file(terminal.workspace)).absolute()
        text = read_text(path, SCHEDULE_READ_LIMITS, ScheduleError)
        source = ScheduleSource(file=str(path), text=text)
        toml = parse_toml(text, str(path), SCHEDULE_READ_LIMITS, ScheduleError)
        source = replace(source, post_ids=list_post_ids(toml))
    if settings is not None:
        report.problems += find_unsafe_permissions(settings)
        report.problems += find_start_problems(settings)
        report.problems += find_region_problems(settings)
        with report.collect_problems():
            report.problems += find_unfinished_settings(settings)
        with report.collect_problems():
            offline_app = build_offline_app(settings)
            report.problems += [
                *offline_app.warnings,
                *offline_app.post_renderer.templates.problems,
            ]
        if toml is not None:
            with report.collect_problems():
                _check_posts(terminal, toml, settings, offline_app, report)
        report.problems = [*locate_in_settings(settings, report.problems)]
    settings_file = terminal.workspace / SETTINGS_FILE
    report.accounts = count_accounts(settings_file, settings)
    return _print_report(terminal, report, source, as_json=as_json)


def _print_report(
    terminal: Terminal,
    report: CheckReport,
    source: ScheduleSource | None,
    *,
    as_json: bool,
) -> int:
    """Print the findings; return the exit code."""
    settings_file = Location(file=str(terminal.workspace.absolute() / "publisher.toml"))
    problems = sorted_problems(
        replace(problem, location=problem.location or settings_file)
        for problem in report.problems
    )
    errors = sum(problem.is_error for problem in problems)
    counts = count_changes(report.plan) if report.plan is not None else None
    if as_json:
        found = [
            problem_as_json(problem, terminal.messages, source) for problem in problems
        ]
        following = {
            post: [at.isoformat() for at in times]
            for post, times in report.next_times.items()
        }
        terminal.print_json(
            {
                "ok": not errors,
                "problems": found,
                "next": following,
                **({"plan": counts} if counts is not None else {}),
            }
        )
    elif problems:
        echo(format_problems(problems, terminal.messages, source))
    if not as_json and not errors:
        print_next_times(terminal, report.next_times)
    found_counts = {"errors": errors, "warnings": len(problems) - errors}
    checked = {
        "posts": report.posts,
        "accounts": report.accounts,
        "rendered_posts": report.rendered_posts,
    }
    terminal.print_note(
        "check_failed" if errors else "check_passed", **found_counts, **checked
    )
    if report.plan is not None and counts is not None:
        terminal.print_note("check_plan", **counts)
        if names := {
            problem.facts.get("name", problem.facts["post"])
            for problem in report.plan.left_out
        }:
            terminal.print_note(
                "check_left_out",
                number=len(names),
                posts="、".join(sorted(names)[:MAX_NAMES]),
            )
    return int(errors > 0)


def count_changes(plan: Plan) -> dict[str, int]:
    """Return how many deliveries a plan adds, changes or brings back, and cancels."""
    added = sum(len(item.accounts) for item in plan.planned if item.is_new)
    changed = sum(len(item.accounts) for item in plan.planned if not item.is_new)
    cancelled = sum(len(target.accounts) for target in plan.removed_targets)
    return {"added": added, "changed": changed, "cancelled": cancelled}


def print_next_times(
    terminal: Terminal, next_times: Mapping[PostId, Sequence[datetime]]
) -> None:
    """Print when each repeating post comes next, so that a slip in its cron text shows."""
    for post, times in islice(next_times.items(), MAX_NEXT_TIMES):
        if times:
            terminal.print_message(
                "next_times",
                post=post,
                times="　".join(f"{at:%Y-%m-%d %H:%M}" for at in times),
            )
    if len(next_times) > MAX_NEXT_TIMES:
        terminal.print_message(
            "more_next_times", number=len(next_times) - MAX_NEXT_TIMES
        )


def _check_posts(
    terminal: Terminal,
    toml: TomlDocument,
    settings: Settings,
    offline_app: OfflineApp | None,
    report: CheckReport,
) -> None:
    """Check every post. The final texts of sound posts are checked even if another one is broken.

    Only the workspace's schedule is compared with the filed posts: posts that another file does not
    have stay.
    """
    known = read_known_posts(settings.database)
    context = _make_context(settings, offline_app, known or {})
    schedule, problems = parse_leniently(toml, context)
    report.posts = len({find_family(post.id) for post in schedule.posts})
    report.problems += problems
    # that is an error above
    placeholders = [
        found for found in find_placeholders(toml.data) if found.path[-1] != "id"
    ]
    report.problems += [
        replace(found, severity=Severity.WARNING)
        for found in toml.locate_problems(placeholders)
    ]
    now = datetime.now(settings.timezone)
    found = find_overdue_new_posts(schedule, now, known)
    zone = settings.timezone
    next_times = {post.id: list_next_times(post, now, zone) for post in schedule.posts}
    ended = {
        post.id
        for post in schedule.posts
        if (stored := (known or {}).get(post.id))
        and not stored.is_waiting
        and is_past(post, now)
    }
    report.next_times = {
        PostId(find_family(post.id)): [
            at.astimezone(zone) for at in next_times[post.id]
        ]
        for post in schedule.posts
        if isinstance(post.trigger, CronTrigger) and post.id not in ended
    }
    found += find_warnings(schedule, now, now + HOLIDAY_LOOKAHEAD, zone)
    found += find_timing_warnings(schedule, next_times, now)
    found += find_misplaced_data(schedule, context.data_keys)
    found += find_follow_up_warnings(schedule)
    found += find_lone_approvals(schedule, settings.approval_rules)
    if offline_app is not None:
        found += find_old_contacts(offline_app.post_renderer.templates.contacts, now)
        found += find_unsafe_timings(
            offline_app.policies.values(), settings.environment
        )
        found += find_capacity_warnings(
            schedule, offline_app.policies, known or (), datetime.now(UTC), zone
        )
        found += render_all(terminal, offline_app, schedule, report, ended)
        found = [
            problem
            for problem in found
            if problem not in offline_app.post_renderer.templates.problems
        ]
    found += find_differences(settings, schedule, toml, report, known)
    report.problems += locate_problems(found, text=toml.text, file=toml.file)
    over = find_over(toml, schedule, ended)
    report.problems = [  # a warning of what is over helps nobody
        problem
        for problem in report.problems
        if problem.is_error
        or not problem.location
        or problem.location.path.partition(".")[0] not in over
    ]


def find_overdue_new_posts(
    schedule: Schedule, now: datetime, known: Mapping[PostId, KnownPost] | None
) -> list[Problem]:
    """Return the overdue posts of families that the database lacks; warnings without one."""
    families = set(map(find_family, known or ()))
    severity = Severity.WARNING if known is None else Severity.ERROR
    return [
        replace(problem, severity=severity)
        for problem in find_overdue_posts(schedule, now)
        if find_family(problem.facts["post"]) not in families
    ]


def find_over(
    toml: TomlDocument, schedule: Schedule, ended: Collection[PostId]
) -> Collection[str]:
    """Return the paths of the file's posts that are over, with all members of a family."""
    going_on = {find_family(post.id) for post in schedule.posts if post.id not in ended}
    all_over = set(map(find_family, ended)) - going_on
    return {
        f"post[{index}]"
        for index, table in enumerate(post_tables(toml))
        if entry_id(table) in all_over
    }


def _make_context(
    settings: Settings,
    offline_app: OfflineApp | None,
    known: Mapping[PostId, KnownPost],
) -> ScheduleContext:
    """Return the context for posts: templates and platforms, even with incomplete settings."""
    if offline_app:
        template_names: Collection[str] = offline_app.post_renderer.templates.names
    else:
        folders = [
            path
            for path in (settings.workspace / "templates", shipped_templates())
            if path.is_dir()
        ]
        template_names = {
            path.name
            for folder in folders
            for path in folder.iterdir()
            if path.is_dir()
        }
    return make_schedule_context(
        settings,
        templates=template_names,
        known_posts=frozenset(known),
        data_keys=offline_app.post_renderer.templates.data_keys if offline_app else {},
        platforms=find_sources().keys(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The daemon's plan for a schedule, and what it comes from.

    `originals` are followed by posts of the schedule and have left it.
    """

    plan: Plan
    stored: StoredPosts
    originals: Sequence[Post]


def find_differences(
    settings: Settings,
    schedule: Schedule,
    toml: TomlDocument,
    report: CheckReport,
    known: Mapping[PostId, KnownPost] | None,
) -> Iterator[Problem]:
    """Yield the problems of a schedule beside the stored posts, if it is the workspace's own."""
    is_own = Path(toml.file).resolve() == settings.schedule_file.resolve()
    compared = None
    if is_own and known is not None:
        compared = asyncio.run(_compare_with_database(settings, schedule))
        if compared is not None:
            read = {find_family(post.id) for post in schedule.posts}
            broken = set(filter(None, map(entry_id, post_tables(toml)))) - read
            yield from find_plan_problems(settings, compared, toml, report, broken)
        else:
            yield from find_large_removal(toml, known)
    yield from find_follow_up_problems(schedule, compared)


def find_follow_up_problems(
    schedule: Schedule, compared: Comparison | None
) -> Iterator[Problem]:
    """Yield the posts that are due before the one that they follow.

    The daemon refuses these unless they are stored and have not changed.
    """
    originals, stored = (compared.originals, compared.stored) if compared else ((), {})
    posts = {post.id: post for post in [*schedule.posts, *originals]}
    for problem in find_early_follow_ups(schedule.posts, posts):
        post = posts[PostId(problem.facts["post"])]
        before = stored.get(post.id)
        is_accepted = before is not None and before.content_hash == post.content_hash
        yield replace(problem, severity=Severity.WARNING) if is_accepted else problem


def find_plan_problems(
    settings: Settings,
    compared: Comparison,
    toml: TomlDocument,
    report: CheckReport,
    broken: Collection[str],
) -> Iterator[Problem]:
    """Yield the obstacles to carrying out the file, and the daemon's cancellations.

    The posts `broken` are in the file and cannot be read. The plan goes into the report. A post that
    would stay as it is filed is an error, and the rest comes into force.
    """
    found, stored = compared.plan, compared.stored
    # a post that is broken has not left the schedule
    gone = tuple(
        post for post in found.removed_posts if find_family(post) not in broken
    )
    kept = tuple(
        item
        for item in found.removed_targets
        if item.key.post in gone or item.key.post not in found.removed_posts
    )
    changes = without_unknown_accounts(
        replace(found, removed_posts=gone, removed_targets=kept),
        frozenset(settings.accounts),
    )
    report.plan = changes
    yield from changes.left_out
    removals = find_removals(changes, stored)
    asked = (
        [("large_removal_ahead", removals.by_schedule)]
        if removals.must_ask_about_schedule
        else []
    )
    if removals.must_ask_about_settings:
        asked.append(("settings_removal_ahead", removals.by_settings))
    waiting = {post for _code, posts in asked for post in posts}
    for code, posts in (
        *asked,
        ("removal_ahead", [post for post in removals.taken if post not in waiting]),
    ):
        if posts:
            facts = {
                "number": str(len(posts)),
                "posts": "、".join(sorted(posts)[:MAX_NAMES]),
            }
            yield Problem(
                code=code,
                severity=Severity.WARNING,
                location=Location(file=toml.file),
                facts=facts,
            )


async def _compare_with_database(
    settings: Settings, schedule: Schedule
) -> Comparison | None:
    """Return the daemon's plan, and its basis of comparison.

    None if there is no database, or if it cannot be read.
    """
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 # most checks are made without a database

    from publisher.app.open_store import open_unchecked_store  # noqa: PLC0415
    from publisher.schedule.compare import compare_schedule  # noqa: PLC0415

    now = datetime.now(UTC)
    window = PlanWindow(
        now=now,
        until=now + timedelta(days=settings.plan_days),
        approvable_until=now + timedelta(days=settings.approve_days),
        approval_rules=settings.approval_rules,
    )
    with contextlib.suppress(SQLAlchemyError, PublisherError, OSError):
        async with open_unchecked_store(settings, Runtime()) as store:
            if store is not None:
                stored = await store.posts.stored_posts(schedule.posts)
                missing = {post.follows for post in schedule.posts if post.follows}
                missing -= {post.id for post in schedule.posts}
                found = [await store.posts.get_post(post) for post in sorted(missing)]
                compared = compare_schedule(schedule, stored, window, settings.timezone)
                conflicts = await store.posts.family_conflicts(
                    list_candidates(compared, schedule, now), compared
                )
                return Comparison(
                    plan=without_conflicts(compared, conflicts, stored, now),
                    stored=stored,
                    originals=[post for post in found if post is not None],
                )
    return None


def find_large_removal(
    toml: TomlDocument, known: Mapping[PostId, KnownPost]
) -> list[Problem]:
    """Warn that the daemon needs a person's confirmation for this file.

    The person confirms how many open posts it drops.
    """
    named = {entry_id(table) for table in post_tables(toml)}
    open_posts = {
        find_family(post) for post, stored in known.items() if stored.counts_as_open
    }
    removed = sorted(post for post in open_posts if post not in named)
    if not needs_confirmation(len(removed), len(open_posts)):
        return []
    facts = {"number": str(len(removed)), "posts": "、".join(removed[:MAX_NAMES])}
    location = Location(file=toml.file)
    return [
        Problem(
            code="large_removal_ahead",
            severity=Severity.WARNING,
            location=location,
            facts=facts,
        )
    ]


def find_outdated_texts(offline_app: OfflineApp, schedule: Schedule) -> list[Problem]:
    """Warn of filed texts that present templates and settings would change.

    The filed text is the one that is sent.
    """
    posts = {post.id: post for post in schedule.posts}
    filed = read_filed_texts(offline_app.settings.database)
    problems: dict[PostId, Problem] = {}
    for newer in find_newer_texts(offline_app.post_renderer, filed, posts):
        post, accounts = newer.filed.key.post, "、".join(newer.accounts[:MAX_NAMES])
        facts = {
            "post": post,
            "key": "id",
            "number": str(len(newer.accounts)),
            "accounts": accounts,
        }
        code = "filed_text_late" if newer.filed.has_started else "filed_text_differs"
        problems.setdefault(
            post, Problem(code=code, severity=Severity.WARNING, facts=facts)
        )
    return list(problems.values())


def render_all(
    terminal: Terminal,
    offline_app: OfflineApp,
    schedule: Schedule,
    report: CheckReport,
    ended: Collection[PostId] = (),
) -> list[Problem]:
    """Render the next occurrence of every post for each of its accounts; return each problem once.

    Posts that say the same on one account are reported, unless they are `ended` or a month apart. A
    post that follows an original stands in for it where the original is broken, or is in the
    database only.
    """
    now = datetime.now(UTC)
    by_id = {
        post.follows: replace(post, id=post.follows)
        for post in schedule.posts
        if post.follows is not None
    }
    by_id |= {post.id: post for post in schedule.posts}
    problems = find_outdated_texts(offline_app, schedule)
    said: dict[tuple[AccountId, str], Occurrence] = {}
    zone = offline_app.settings.timezone
    items = [
        (post, find_next_occurrence(post, now, zone), post.accounts)
        for post in schedule.posts
    ]
    results = offline_app.post_renderer.render_all(items, by_id)
    watched: AbstractContextManager[Iterable[Post]] = contextlib.nullcontext(
        schedule.posts
    )
    if sys.stderr.isatty():
        watched = click.progressbar(
            schedule.posts, label=terminal.translate("proofreading"), file=sys.stderr
        )
    with watched as posts:
        for post, (_post, occurrence, _accounts), render_result in zip(
            posts, items, results, strict=True
        ):
            report.rendered_posts += len(render_result.rendered_posts)
            problems += render_result.problems
            problems += [
                Problem(
                    code="images_left_out",
                    severity=Severity.WARNING,
                    facts={
                        "post": post.id,
                        "key": "images",
                        "platform": terminal.messages.platform_name(rendered.platform),
                        "shown": str(len(rendered.images)),
                        "number": str(len(post.images)),
                    },
                )
                for rendered in render_result.rendered_posts
                if len(rendered.images) < len(post.images)
            ]
            if post.id not in ended:
                problems += find_repetitions(
                    post, occurrence, render_result.rendered_posts, said
                )
    return list(
        {
            (found.code, found.location, *sorted(found.facts.items())): found
            for found in problems
        }.values()
    )


def find_repetitions(
    post: Post,
    occurrence: Occurrence,
    rendered_posts: Sequence[RenderedPost],
    said: MutableMapping[tuple[AccountId, str], Occurrence],
) -> Iterator[Problem]:
    """Yield a warning if an earlier post says the same on one of the accounts.

    `said` has the first occurrence of each text on each account; number and link of a bulletin are
    no part of a text.
    """
    for rendered in rendered_posts:
        text = "\n".join((rendered.title, *rendered.all_parts)).replace(
            rendered.link or rendered.marker.code, ""
        )
        words = _MOMENT.sub("", text.replace(rendered.marker.code, ""))
        key = rendered.account, hashlib.sha256(words.encode()).hexdigest()
        first = said.setdefault(key, occurrence)
        if (
            first.key.post != post.id
            and abs(occurrence.due_at - first.due_at) <= REPETITION_WINDOW
        ):
            facts = {
                "post": post.id,
                "key": "id",
                "other": first.key.post,
                "account": rendered.account,
            }
            yield Problem(code="same_text", severity=Severity.WARNING, facts=facts)
            return
