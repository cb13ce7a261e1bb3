"""`send` and `reload`: the schedule, sooner than by itself."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from publisher.cli.looking import is_running
from publisher.cli.shape import Number, PersonName, Said, WordedUsageError, by_option, command
from publisher.cli.terminal import Terminal
from publisher.cli.trouble import FailedError
from publisher.cli.workplace import schedule_file, settings_of
from publisher.cli.workshop import application_of
from publisher.domain.delivery import OPEN, State
from publisher.domain.errors import NoSuchError, ScheduleError
from publisher.domain.post import At, Post, PostId
from publisher.planning import reload as put_in_force
from publisher.planning import send_again, send_now, send_planned
from publisher.reviewing import person
from publisher.schedule import SCHEDULE_LIMITS, parse_schedule, with_places
from publisher.store.registry import Act
from publisher.tomlfile import TomlFile, read_toml
from publisher.wiring.application import Application

MOST_REMOVED = 1_000_000


@command("send")
@click.argument("what", metavar="FILE|POST", type=Said())
@by_option
def send(terminal: Terminal, what: str, by: str) -> int:
    asyncio.run(_send(terminal, file_or_post(what), by))
    return 0


def file_or_post(what: str) -> Path | PostId:
    """Tell a file of its own from a post of the schedule."""
    return Path(what).absolute() if what.endswith(".toml") or Path(what).is_file() else PostId(what)


async def _send(terminal: Terminal, what: Path | PostId, by: str) -> None:
    async with application_of(await settings_of(terminal)) as application:
        if isinstance(what, Path):
            sent = await _send_file(application, what, by)
        else:
            sent = {what: await _send_post(application, what, by)}
        await application.rounds.ripen_ordered(list(sent))  # the daemon need not look at its clock first
        runs = await is_running(application.board)
    for post, number in sent.items():
        terminal.say("send_done", post=post, number=number)
    if not runs:
        terminal.note("no_daemon_hint")


async def _send_file(application: Application, file: Path, by: str) -> dict[PostId, int]:
    """File all posts of a file of its own, due now; none when one of them is known already."""
    toml, posts = await read_posts(application, file)
    for post in posts:
        if not post.accounts:
            raise FailedError("send_no_accounts", post=post.id)
        if PostId(post.follows or "") not in {item.id for item in posts}:
            await _require_original(application, post)
    acts = [Act(event="sent_now", subject=post.id, by=person(by), detail={"file": file.name}) for post in posts]
    with placed_in(toml):
        await send_now(application.planner, posts, acts)
    return {post.id: len(post.accounts) for post in posts}


async def read_posts(application: Application, file: Path) -> tuple[TomlFile, Sequence[Post]]:
    """Read the posts of a file of its own. Raises ScheduleError, or FailedError when one is known already."""
    toml = await asyncio.to_thread(read_toml, file, SCHEDULE_LIMITS, ScheduleError)
    desk = replace(application.planner.desk, known_posts=await application.registry.post_ids())
    posts = parse_schedule(toml.text, file=toml.file, desk=desk).posts
    known = await application.registry.known(posts)
    if not posts:
        raise FailedError("send_nothing_in_file", file=file)
    for post in posts:
        if post.id in known:
            raise FailedError("send_known", post=post.id)
    return toml, posts


@contextlib.contextmanager
def placed_in(toml: TomlFile) -> Iterator[None]:
    """Name the lines of a file in what is wrong with its posts."""
    try:
        yield
    except ScheduleError as error:
        raise ScheduleError(with_places(error.problems, text=toml.text, file=toml.file)) from error


async def find_post(application: Application, post_id: PostId) -> Post:
    """Give a post of the books. A schedule that nobody has read yet is put in force first.

    Raises NoSuchError, or FailedError when it was withdrawn.
    """
    post = await application.registry.post(post_id)
    if post is None:
        await _put_in_force(application)
        post = await application.registry.post(post_id)
    if post is None:
        raise NoSuchError("post", post_id)
    if await application.registry.is_withdrawn(post_id):
        raise FailedError("send_withdrawn", post=post_id)
    speaking = application.planner.press.accounts
    return replace(post, accounts=tuple(account for account in post.accounts if account in speaking))


async def _require_original(application: Application, post: Post) -> None:
    """Raise FailedError when a post follows one that is nowhere live and nowhere on its way: it would be cancelled."""
    if post.follows is None:
        return
    originals = await application.board.deliveries(post.follows)
    if not any(item.state in OPEN | {State.PUBLISHED} for item in originals if item.account in post.accounts):
        raise FailedError("send_original_missing", post=post.id, original=post.follows)


async def _send_post(application: Application, post_id: PostId, by: str) -> int:
    """Make a post of the schedule due now."""
    post = await find_post(application, post_id)
    if not post.accounts:
        raise FailedError("send_no_accounts", post=post_id)
    await _require_original(application, post)
    act = Act(event="sent_now", subject=post.id, by=person(by))
    if not isinstance(post.timing, At):
        return await send_again(application.planner, post, post.accounts, [act])
    number = await send_planned(application.planner, post, act)
    if not number:
        raise FailedError("send_nothing", post=post_id)
    return number


@command("reload")
@click.option("--confirm-removals", "accept", metavar="N", type=Number(1, MOST_REMOVED), help="opt_accept")
@click.option("--by", metavar="NAME", type=PersonName(), help="opt_by")
def reload(terminal: Terminal, accept: int | None, by: str | None) -> int:
    if accept is not None and by is None:
        raise WordedUsageError("accept_wants_by")
    asyncio.run(_reload(terminal, accept, by))
    return 0


async def _reload(terminal: Terminal, accept: int | None, by: str | None) -> None:
    async with application_of(await settings_of(terminal)) as application:
        filed = await _put_in_force(application, accept, by)
    if filed is None:
        terminal.say("reload_unchanged")
    else:
        terminal.say("reload_done", filed=filed)


async def _put_in_force(application: Application, accept: int | None = None, by: str | None = None) -> int | None:
    """Read the schedule and put it in force; give how many deliveries are new, or None when nothing has changed."""
    file = schedule_file(application.settings)
    toml = await asyncio.to_thread(read_toml, file, SCHEDULE_LIMITS, ScheduleError)
    if toml.text == await application.registry.schedule_text():
        return None
    acts = []
    if accept is not None and by is not None:
        acts = [Act(event="removals_confirmed", subject="schedule", by=person(by), detail={"number": str(accept)})]
    return await put_in_force(application.planner, toml.text, str(file), accept, acts)
