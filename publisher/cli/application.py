"""The application, and the posts that a command line names, for the commands that plan."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from publisher.app.application import Application, open_application
from publisher.app.format import Formatter, pauses_covering
from publisher.cli.authentication import authenticate
from publisher.cli.context import report_database_errors, warn_about_daemon
from publisher.cli.errors import CommandFailedError
from publisher.cli.target import do_each, find_posts
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings
from publisher.contract import PostPreviewer
from publisher.domain.account import AccountId, Mode
from publisher.domain.delivery import WAITING_STATES, Actor
from publisher.domain.errors import NoSuchItemError, ScheduleError
from publisher.domain.post import Post, PostId, find_family
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    NotSent,
    PreviewSent,
    RateLimited,
    Rejected,
    Unknown,
)
from publisher.engine.calls import call_adapter
from publisher.engine.planner import (
    AppliedSchedule,
    active_schedule,
    apply_schedule,
    confirm_settings,
)
from publisher.rendering.renderer import RenderResult
from publisher.runtime.clock import Runtime
from publisher.runtime.files import find_file_owner
from publisher.schedule.load import (
    SCHEDULE_READ_LIMITS,
    locate_problems,
    parse_schedule,
)
from publisher.store.plan.posts import AuditAction
from publisher.store.queries.snapshot import take_snapshot
from publisher.tomlfile.read import TomlDocument, read_toml

PREVIEW_TIMEOUT = timedelta(minutes=2)
"""For images, draft and message together."""


@contextlib.asynccontextmanager
async def open_command_application(
    settings: Settings, *, can_read: bool = False
) -> AsyncIterator[Application]:
    """Open the store with templates and planner; with `can_read`, platforms may be read.

    Raise CommandFailedError when the database does not answer.
    """
    with report_database_errors(settings.database):
        async with open_application(
            settings, Runtime(), can_send=False, can_read=can_read
        ) as application:
            yield application


def parse_file_or_post(text: str) -> Path | PostId:
    """Return a path if the text ends in .toml or names a file, else a post of the schedule."""
    return (
        Path(text).absolute()
        if text.endswith(".toml") or Path(text).is_file()
        else PostId(text)
    )


async def read_posts_file(
    application: Application, file: Path
) -> tuple[TomlDocument, Sequence[Post]]:
    """Read the posts of a file other than the schedule.

    Raise ScheduleError, or CommandFailedError when there is no post in it or one is known already.
    """
    toml = await asyncio.to_thread(read_toml, file, SCHEDULE_READ_LIMITS, ScheduleError)
    context = replace(
        application.planner.schedule_context,
        known_posts=await application.store.queries.post_ids(),
    )
    posts = parse_schedule(toml.text, file=toml.file, context=context).posts
    known = await application.store.posts.stored_posts(posts)
    if not posts:
        raise CommandFailedError("send_nothing_in_file", file=file)
    names = {find_family(post) for post in context.known_posts} | known.keys()
    for post in posts:
        if (family := find_family(post.id)) in names:
            await find_posts(application.store.queries, family)
            raise CommandFailedError("send_already_known", post=family)
    return toml, posts


@contextlib.contextmanager
def with_locations(toml: TomlDocument) -> Iterator[None]:
    """Add lines of the file to the problems of a ScheduleError."""
    try:
        yield
    except ScheduleError as error:
        raise ScheduleError(
            locate_problems(error.problems, text=toml.text, file=toml.file)
        ) from error


async def load_posts(application: Application, name: str) -> Sequence[Post]:
    """Return a stored post, or all members of a family, for the accounts that publish.

    If the name is unknown, activate the present schedule first. Raises NoSuchItemError, or
    CommandFailedError when the post was cancelled or corrected.
    """
    if not await application.store.queries.find_posts(name):
        await activate_schedule(application)
    posts = await find_posts(application.store.queries, name)
    return await do_each(posts, partial(load_post, application))


async def load_post(application: Application, post_id: PostId) -> Post:
    post = await application.store.posts.get_post(post_id)
    if post is None:
        raise NoSuchItemError("post", post_id)
    if await application.store.posts.is_cancelled(post_id):
        raise CommandFailedError("send_cancelled", post=post_id)
    if (correction := await application.store.posts.corrected_by(post_id)) is not None:
        raise CommandFailedError("send_corrected", post=post_id, correction=correction)
    active = application.planner.post_renderer.accounts
    return replace(
        post, accounts=tuple(account for account in post.accounts if account in active)
    )


async def print_obstacles(
    terminal: Terminal, application: Application, posts: Collection[PostId]
) -> None:
    """Print on standard error the obstacles to an order: pauses, accounts, logins, the daemon.

    The order was just given.
    """
    settings, store = application.settings, application.store
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    snapshots = [await take_snapshot(store.queries, [post]) for post in sorted(posts)]
    lines: list[str] = []
    concerned: set[AccountId] = set()
    for snapshot in snapshots:
        waiting = [one for one in snapshot.deliveries if one.state in WAITING_STATES]
        concerned |= {one.account for one in waiting}
        paused = [
            pause for one in waiting for pause in pauses_covering(snapshot.pauses, one)
        ]
        lines += [formatter.pause("still_paused", pause) for pause in paused]
        off = [
            one
            for one in snapshot.mode_overrides
            if one.mode is Mode.OFF and one.account in concerned
        ]
        lines += [formatter.mode("mode_override", override) for override in off]
        unloaded = sorted(
            account for account in concerned if not snapshot.is_loaded(account)
        )
        lines += [
            terminal.translate("account_not_loaded", account=account)
            for account in unloaded
        ]
    for one in await store.login_health.list_accounts():
        if (
            one.account.id in concerned
            and one.mode is Mode.API
            and isinstance(one.health, Blocked | CredentialExpired)
        ):
            health = formatter.health(one.health)
            lines.append(
                terminal.translate(
                    "account_not_signed_in", account=one.account.id, health=health
                )
            )
    for line in dict.fromkeys(lines):
        echo(line, err=True)
    await warn_about_daemon(terminal, settings, store.queries)


async def activate_schedule(
    application: Application,
    confirmed_removals: int | None = None,
    by: Actor | None = None,
) -> AppliedSchedule | None:
    """Read the schedule and apply it. Return the result, or None when nothing has changed."""
    file = application.settings.schedule_file
    toml = await asyncio.to_thread(read_toml, file, SCHEDULE_READ_LIMITS, ScheduleError)
    is_active = toml.text == await application.store.posts.active_schedule_text()
    if is_active and confirmed_removals is None:
        return None
    actions = []
    if confirmed_removals is not None and by is not None:
        detail = {"number": str(confirmed_removals)}
        actions = [
            AuditAction(
                event="removals_confirmed", subject="schedule", by=by, detail=detail
            )
        ]
    if is_active and confirmed_removals is not None:  # what the settings take from it
        version = await application.store.posts.schedule_version()
        schedule = await active_schedule(application.planner, file.name)
        if schedule is not None:
            return await confirm_settings(
                application.planner, schedule, version, confirmed_removals, actions
            )
    owner = await asyncio.to_thread(find_file_owner, file)
    return await apply_schedule(
        application.planner,
        toml.text,
        str(file),
        confirmed_removals,
        actions,
        file_owner=owner,
    )


async def send_preview(  # noqa: PLR0913 # what, to whom, by whom
    terminal: Terminal,
    settings: Settings,
    post: PostId,
    result: RenderResult,
    *,
    to: str,
    by: str,
) -> None:
    """Send the preview of the only rendered post. Raise CommandFailedError where that fails."""
    if len(result.rendered_posts) != 1 or any(
        problem.is_error for problem in result.problems
    ):
        raise CommandFailedError("preview_has_errors")
    rendered = result.rendered_posts[0]
    account, media = rendered.account, result.media
    images = [
        media[picture.sha256][1]
        for picture in rendered.images
        if picture.sha256 in media
    ]
    async with open_command_application(settings, can_read=True) as application:
        previewer = application.adapters[account]
        if not isinstance(previewer, PostPreviewer):
            raise CommandFailedError("preview_not_supported", account=account)
        detail = {"to": to, "rendered_hash": rendered.fingerprint}
        person = await authenticate(
            terminal,
            settings,
            application.store,
            command="preview --to",
            by=by,
            accounts=[account],
        )
        record_action = application.store.actions.record_action
        await record_action(
            "secret_read", f"secret:{settings.accounts[account].secret}", person, {}
        )
        await record_action("preview_requested", f"{post}@{account}", person, detail)
        answer = await call_adapter(
            previewer.send_preview(rendered, images, to), PREVIEW_TIMEOUT
        )
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    match answer:
        case PreviewSent():
            terminal.print_note("preview_shown", account=account, to=to)
            return
        case RateLimited(code=code):
            reason = formatter.reason(code)
        case (
            Rejected(code=code, reason=platform_message)
            | Busy(code=code, reason=platform_message)
            | Blocked(code=code, reason=platform_message)
        ):
            reason = f"{formatter.reason(code)} ({platform_message})"
        case (
            CredentialExpired(reason=code) | NotSent(reason=code) | Unknown(reason=code)
        ):
            reason = formatter.reason(code)
    raise CommandFailedError("preview_failed", account=account, to=to, reason=reason)
