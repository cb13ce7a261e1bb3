"""Posts named on the command line: those of a file, or one of the schedule."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from publisher.app.application import Application
from publisher.cli.context import schedule_path
from publisher.cli.errors import CommandFailedError
from publisher.domain.errors import NoSuchItemError, ScheduleError
from publisher.domain.post import Post, PostId
from publisher.engine.decisions import named_person
from publisher.engine.planner import apply_schedule as put_in_force
from publisher.schedule import SCHEDULE_READ_LIMITS, locate_problems, parse_schedule
from publisher.store.plan.posts import AuditAction
from publisher.tomlfile import TomlDocument, read_toml


def parse_file_or_post(what: str) -> Path | PostId:
    """Tell a file of its own from a post of the schedule."""
    return Path(what).absolute() if what.endswith(".toml") or Path(what).is_file() else PostId(what)


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
