"""`correct`: a correction, wherever the original is live or may be."""

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

import click

from publisher.cli.looking import Snapshot, snapshot_of
from publisher.cli.narrating import Narrator, covering
from publisher.cli.sending import file_or_post, find_post, placed_in, read_posts
from publisher.cli.shape import Said, by_option, command
from publisher.cli.terminal import Terminal, echo
from publisher.cli.trouble import FAILED, FailedError
from publisher.cli.workplace import settings_of
from publisher.cli.workshop import application_of
from publisher.domain.account import AccountId, Mode
from publisher.domain.correction import Course
from publisher.domain.errors import NoSuchError
from publisher.domain.post import At, Kind, Post, PostId
from publisher.planning import correct as send_correction
from publisher.reviewing import person
from publisher.tomlfile import TomlFile
from publisher.wiring.application import Application


@command("correct")
@click.argument("post", metavar="POST", type=Said())
@click.argument("correction", metavar="NEW", type=Said())
@by_option
def correct(terminal: Terminal, post: str, correction: str, by: str) -> int:
    return asyncio.run(_correct(terminal, PostId(post), file_or_post(correction), by))


async def _correct(terminal: Terminal, original: PostId, named: Path | PostId, by: str) -> int:
    settings = await settings_of(terminal)
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    async with application_of(settings) as application:
        correction, toml = await _read(application, named)
        if not await application.board.has_post(original):
            raise NoSuchError("post", original)
        _check(correction, original, terminal)
        with placed_in(toml) if toml else contextlib.nullcontext():
            course = await send_correction(application.planner, correction, person(by), is_new=toml is not None)
        await application.rounds.ripen_ordered([correction.id])
        snapshot = await snapshot_of(application.board, correction.id)
    _tell(terminal, correction, course)
    _tell_what_stops_it(snapshot, course, narrator)
    if course.targets and not snapshot.is_running:
        terminal.note("no_daemon_hint")
    return 0 if course.targets or course.corrected else FAILED


async def _read(application: Application, named: Path | PostId) -> tuple[Post, TomlFile | None]:
    """Give the correction, and the file that it alone stands in, if it does."""
    if not isinstance(named, Path):
        return await find_post(application, named), None
    toml, posts = await read_posts(application, named)
    if len(posts) > 1:
        raise FailedError("correct_one_only", file=named, number=len(posts))
    return posts[0], toml


def _check(correction: Post, original: PostId, terminal: Terminal) -> None:
    """Refuse what is no correction of this post. Raises FailedError."""
    if correction.kind is not Kind.CORRECTION:
        kind = terminal.words(f"kind_{correction.kind}")
        raise FailedError("correct_no_correction", post=correction.id, original=original, kind=kind)
    if correction.follows != original:
        follows = correction.follows or terminal.words("nothing")
        raise FailedError("correct_of_another", post=correction.id, original=original, follows=follows)
    if not isinstance(correction.timing, At):
        raise FailedError("correct_repeats", post=correction.id)


def _tell_what_stops_it(snapshot: Snapshot, course: Course, narrator: Narrator) -> None:
    """Name the pauses, and the accounts switched off at run time, that keep the correction back."""
    going = [delivery for delivery in snapshot.deliveries if delivery.account in course.targets]
    for pause in dict.fromkeys(pause for delivery in going for pause in covering(snapshot.pauses, delivery)):
        echo(narrator.pause("still_paused", pause), err=True)
    for order in snapshot.modes:
        if order.mode is Mode.OFF and order.account in course.targets:
            echo(narrator.mode("mode_line", order), err=True)


def _tell(terminal: Terminal, correction: Post, course: Course) -> None:
    def named(accounts: Iterable[AccountId]) -> str:
        return terminal.words("list_comma").join(accounts)

    facts = {"post": correction.id, "original": correction.follows}
    if course.goes:
        terminal.say("correct_goes", **facts, number=len(course.goes), accounts=named(course.goes))
    if course.waits:
        terminal.say("correct_waits", **facts, number=len(course.waits), accounts=named(course.waits))
    if course.corrected:
        terminal.say("correct_done_before", number=len(course.corrected), accounts=named(course.corrected))
    if not (course.targets or course.corrected):
        terminal.say("correct_nowhere", **facts)
    for why, accounts in course.spared.items():
        reason = terminal.words(f"spared_{why}", **facts)
        terminal.say("correct_spared", number=len(accounts), accounts=named(accounts), reason=reason)
    if course.targets:
        terminal.say("correct_watch", **facts)
