"""Posts named on the command line: those of a file, or one of the schedule."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from publisher.app.application import Application
from publisher.cli.errors import CommandFailedError
from publisher.domain.errors import NoSuchItemError, ScheduleError
from publisher.domain.post import Post, PostId
from publisher.engine.decisions import named_person
from publisher.engine.planner import apply_schedule
from publisher.schedule import SCHEDULE_READ_LIMITS, locate_problems, parse_schedule
from publisher.store.plan.posts import AuditAction
from publisher.tomlfile import TomlDocument, read_toml


def parse_file_or_post(text: str) -> Path | PostId:
    """Return a path if the text ends in .toml or names a file, else a post of the schedule."""
    return Path(text).absolute() if text.endswith(".toml") or Path(text).is_file() else PostId(text)


async def read_posts_file(application: Application, file: Path) -> tuple[TomlDocument, Sequence[Post]]:
    """Read the posts of a file other than the schedule.

    Raise ScheduleError, or CommandFailedError when there is no post in it or one is known already.
    """
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
    """Add lines of the file to the problems of a ScheduleError."""
    try:
        yield
    except ScheduleError as error:
        raise ScheduleError(locate_problems(error.problems, text=toml.text, file=toml.file)) from error


async def load_post(application: Application, post_id: PostId) -> Post:
    """Return a stored post for the accounts that publish; if it is unknown, activate the present schedule first.

    Raise NoSuchItemError, or CommandFailedError when the post was cancelled.
    """
    post = await application.post_store.get_post(post_id)
    if post is None:
        await activate_schedule(application)
        post = await application.post_store.get_post(post_id)
    if post is None:
        raise NoSuchItemError("post", post_id)
    if await application.post_store.is_cancelled(post_id):
        raise CommandFailedError("send_cancelled", post=post_id)
    active = application.planner.post_renderer.accounts
    return replace(post, accounts=tuple(account for account in post.accounts if account in active))


async def activate_schedule(
    application: Application, confirmed_removals: int | None = None, by: str | None = None
) -> int | None:
    """Read the schedule and apply it; return the number of new deliveries, or None when nothing has changed."""
    file = application.settings.workspace / "schedule.toml"
    toml = await asyncio.to_thread(read_toml, file, SCHEDULE_READ_LIMITS, ScheduleError)
    if toml.text == await application.post_store.active_schedule_text():
        return None
    actions = []
    if confirmed_removals is not None and by is not None:
        detail = {"number": str(confirmed_removals)}
        actions = [AuditAction(event="removals_confirmed", subject="schedule", by=named_person(by), detail=detail)]
    return await apply_schedule(application.planner, toml.text, str(file), confirmed_removals, actions)
