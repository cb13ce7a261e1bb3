"""`send` and `reload`: the schedule, sooner than by itself."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from publisher.app.application import Application
from publisher.cli.application_context import open_command_application
from publisher.cli.commands.status import is_daemon_running
from publisher.cli.context import load_workspace_settings, schedule_path
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import LocalizedIntRange, LocalizedUsageError, NonEmptyText, PersonName, by_option, command
from publisher.cli.terminal import Terminal
from publisher.domain.delivery import OPEN_STATES, State
from publisher.domain.errors import NoSuchItemError, ScheduleError
from publisher.domain.post import OneTimeTrigger, Post, PostId
from publisher.engine.decisions import named_person
from publisher.engine.planner import apply_schedule as put_in_force
from publisher.engine.planner import resend_post, send_now, send_scheduled_now
from publisher.schedule import SCHEDULE_READ_LIMITS, locate_problems, parse_schedule
from publisher.store.plan.posts import AuditAction
from publisher.tomlfile import TomlDocument, read_toml

MAX_CONFIRMED_REMOVALS = 1_000_000


@command("send")
@click.argument("what", metavar="FILE|POST", type=NonEmptyText())
@by_option
def send(terminal: Terminal, what: str, by: str) -> int:
    asyncio.run(_send(terminal, parse_file_or_post(what), by))
    return 0


def parse_file_or_post(what: str) -> Path | PostId:
    """Tell a file of its own from a post of the schedule."""
    return Path(what).absolute() if what.endswith(".toml") or Path(what).is_file() else PostId(what)


async def _send(terminal: Terminal, what: Path | PostId, by: str) -> None:
    async with open_command_application(await load_workspace_settings(terminal)) as application:
        if isinstance(what, Path):
            sent = await _send_file(application, what, by)
        else:
            sent = {what: await _send_post(application, what, by)}
        await application.maintenance.promote_requested(list(sent))  # the daemon need not look at its clock first
        runs = await is_daemon_running(application.queries)
    for post, number in sent.items():
        terminal.print_message("send_done", post=post, number=number)
    if not runs:
        terminal.print_note("no_daemon_hint")


async def _send_file(application: Application, file: Path, by: str) -> dict[PostId, int]:
    """File all posts of a file of its own, due now; none when one of them is known already."""
    toml, posts = await read_posts_file(application, file)
    for post in posts:
        if not post.accounts:
            raise CommandFailedError("send_no_accounts", post=post.id)
        if PostId(post.follows or "") not in {item.id for item in posts}:
            await _require_original(application, post)
    actions = [
        AuditAction(event="send_requested", subject=post.id, by=named_person(by), detail={"file": file.name})
        for post in posts
    ]
    with with_locations(toml):
        await send_now(application.planner, posts, actions)
    return {post.id: len(post.accounts) for post in posts}


async def read_posts_file(application: Application, file: Path) -> tuple[TomlDocument, Sequence[Post]]:
    """Read the posts of a file of its own. Raises ScheduleError, or FailedError when one is known already."""
    toml = await asyncio.to_thread(read_toml, file, SCHEDULE_READ_LIMITS, ScheduleError)
    context = replace(application.planner.schedule_context, known_posts=await application.post_store.post_ids())
    posts = parse_schedule(toml.text, file=toml.file, context=context).posts
    known = await application.post_store.stored_posts(posts)
    if not posts:
        raise CommandFailedError("send_nothing_in_file", file=file)
    for post in posts:
        if post.id in known:
            raise CommandFailedError("send_already_known", post=post.id)
    return toml, posts


@contextlib.contextmanager
def with_locations(toml: TomlDocument) -> Iterator[None]:
    """Name the lines of a file in what is wrong with its posts."""
    try:
        yield
    except ScheduleError as error:
        raise ScheduleError(locate_problems(error.problems, text=toml.text, file=toml.file)) from error


async def load_post(application: Application, post_id: PostId) -> Post:
    """Give a post of the books. A schedule that nobody has read yet is put in force first.

    Raises NoSuchError, or FailedError when it was withdrawn.
    """
    post = await application.post_store.get_post(post_id)
    if post is None:
        await _activate_schedule(application)
        post = await application.post_store.get_post(post_id)
    if post is None:
        raise NoSuchItemError("post", post_id)
    if await application.post_store.is_cancelled(post_id):
        raise CommandFailedError("send_cancelled", post=post_id)
    active = application.planner.post_renderer.accounts
    return replace(post, accounts=tuple(account for account in post.accounts if account in active))


async def _require_original(application: Application, post: Post) -> None:
    """Raise FailedError when a post follows one that is nowhere live and nowhere on its way: it would be cancelled."""
    if post.follows is None:
        return
    originals = await application.queries.deliveries(post.follows)
    if not any(item.state in OPEN_STATES | {State.PUBLISHED} for item in originals if item.account in post.accounts):
        raise CommandFailedError("send_original_missing", post=post.id, original=post.follows)


async def _send_post(application: Application, post_id: PostId, by: str) -> int:
    """Make a post of the schedule due now."""
    post = await load_post(application, post_id)
    if not post.accounts:
        raise CommandFailedError("send_no_accounts", post=post_id)
    await _require_original(application, post)
    action = AuditAction(event="send_requested", subject=post.id, by=named_person(by))
    if not isinstance(post.trigger, OneTimeTrigger):
        return await resend_post(application.planner, post, post.accounts, [action])
    number = await send_scheduled_now(application.planner, post, action)
    if not number:
        raise CommandFailedError("send_nothing", post=post_id)
    return number


@command("reload")
@click.option(
    "--confirm-removals",
    "accept",
    metavar="N",
    type=LocalizedIntRange(1, MAX_CONFIRMED_REMOVALS),
    help="opt_confirm_removals",
)
@click.option("--by", metavar="NAME", type=PersonName(), help="opt_by")
def reload(terminal: Terminal, accept: int | None, by: str | None) -> int:
    if accept is not None and by is None:
        raise LocalizedUsageError("reload_needs_by")
    asyncio.run(_reload_schedule(terminal, accept, by))
    return 0


async def _reload_schedule(terminal: Terminal, confirmed_removals: int | None, by: str | None) -> None:
    async with open_command_application(await load_workspace_settings(terminal)) as application:
        filed = await _activate_schedule(application, confirmed_removals, by)
    if filed is None:
        terminal.print_message("reload_unchanged")
    else:
        terminal.print_message("reload_done", filed=filed)


async def _activate_schedule(
    application: Application, confirmed_removals: int | None = None, by: str | None = None
) -> int | None:
    """Read the schedule and put it in force; give how many deliveries are new, or None when nothing has changed."""
    file = schedule_path(application.settings)
    toml = await asyncio.to_thread(read_toml, file, SCHEDULE_READ_LIMITS, ScheduleError)
    if toml.text == await application.post_store.active_schedule_text():
        return None
    actions = []
    if confirmed_removals is not None and by is not None:
        actions = [
            AuditAction(
                event="removals_confirmed",
                subject="schedule",
                by=named_person(by),
                detail={"number": str(confirmed_removals)},
            )
        ]
    return await put_in_force(application.planner, toml.text, str(file), confirmed_removals, actions)
