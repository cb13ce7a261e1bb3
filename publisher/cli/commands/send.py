"""`send`: publish a post now, from the schedule or from a file of its own."""

from collections.abc import Collection, Sequence
from pathlib import Path

import click

from publisher.app.application import Application
from publisher.cli.application import (
    load_posts,
    open_command_application,
    parse_file_or_post,
    print_obstacles,
    read_posts_file,
    with_locations,
)
from publisher.cli.authentication import (
    accounts_of_post,
    authenticate,
    authenticate_for_each,
)
from publisher.cli.context import load_workspace_settings
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import by_option, command, one_line
from publisher.cli.target import do_each
from publisher.cli.terminal import Terminal
from publisher.domain.account import AccountId
from publisher.domain.delivery import OPEN_STATES, Actor, State
from publisher.domain.post import OneTimeTrigger, Post, PostId
from publisher.engine.planner import resend_post, send_now, send_scheduled_now
from publisher.store.plan.posts import AuditAction


@command("send")
@click.argument("what", metavar="FILE|POST", type=one_line)
@by_option
async def send(terminal: Terminal, what: str, by: str) -> None:
    named = parse_file_or_post(what)
    async with open_command_application(
        await load_workspace_settings(terminal)
    ) as application:
        if isinstance(named, Path):
            sent = await _send_file(terminal, application, named, by)
        else:
            sent = await _send_posts(terminal, application, named, by)
        # no need to wait for the daemon's next check
        await application.store.maintenance.promote_requested(list(sent))
        for post, number in sent.items():
            terminal.print_message("send_done", post=post, number=number)
            await _print_left_out(terminal, application, post)
        await print_obstacles(terminal, application, list(sent))


async def _print_left_out(
    terminal: Terminal, application: Application, post_id: PostId
) -> None:
    """Name the accounts of a post that the settings switch off or lack. They get nothing."""
    post = await application.store.posts.get_post(post_id)
    for account in post.accounts if post else ():
        if account not in application.planner.post_renderer.accounts:
            terminal.print_note("account_left_out", account=account, post=post_id)


async def _send_file(
    terminal: Terminal, application: Application, file: Path, by: str
) -> dict[PostId, int]:
    """File all posts of a file, due now.

    File none when one of them is known already or cannot be sent.
    """
    toml, posts = await read_posts_file(application, file)
    for post in posts:
        await _require_sendable(application, post, {item.id for item in posts})
    person = await authenticate(
        terminal,
        application.settings,
        application.store,
        command="send",
        by=by,
        accounts=await _list_accounts(application, posts),
    )
    actions = [
        AuditAction(
            event="send_requested",
            subject=post.id,
            by=person,
            detail={"file": file.name},
        )
        for post in posts
    ]
    with with_locations(toml):
        await send_now(application.planner, posts, actions)
    return {post.id: len(post.accounts) for post in posts}


async def _send_posts(
    terminal: Terminal, application: Application, name: str, by: str
) -> dict[PostId, int]:
    """Make a post of the schedule due now, or all members of a family; return its deliveries."""
    posts = {post.id: post for post in await load_posts(application, name)}
    targets = {
        post.id: await _list_accounts(application, [post]) for post in posts.values()
    }
    person, allowed = await authenticate_for_each(
        terminal,
        application.settings,
        application.store,
        command="send",
        by=by,
        targets=targets,
    )
    sent = await do_each(
        allowed, lambda post: _send_post(application, posts[post], person)
    )
    return dict(sent)


async def _send_post(
    application: Application, post: Post, person: Actor
) -> tuple[PostId, int]:
    """Make a post of the schedule due now; return its number of deliveries."""
    await _require_sendable(application, post)
    action = AuditAction(event="send_requested", subject=post.id, by=person)
    if not isinstance(post.trigger, OneTimeTrigger):
        number = await resend_post(application.planner, post, post.accounts, [action])
        return post.id, number
    number = await send_scheduled_now(application.planner, post, action)
    if not number:
        raise CommandFailedError("send_nothing", post=post.id)
    return post.id, number


async def _list_accounts(
    application: Application, posts: Sequence[Post]
) -> Collection[AccountId]:
    """Return the accounts of posts, also the ones where corrections stop their originals."""
    accounts = {account for post in posts for account in post.accounts}
    for post in posts:
        if post.kind.traits.stops_original and post.follows is not None:
            accounts.update(await accounts_of_post(application.store, post.follows))
    return accounts


async def _require_sendable(
    application: Application, post: Post, sent_with: Collection[PostId] = ()
) -> None:
    """Raise CommandFailedError without accounts, or without a sendable original.

    The original must be published, under way, or sent too.
    """
    if not post.accounts:
        raise CommandFailedError("send_no_accounts", post=post.id)
    if post.follows is None or post.follows in sent_with:
        return
    originals = await application.store.queries.deliveries(post.follows)
    if not any(
        item.state in OPEN_STATES | {State.PUBLISHED}
        for item in originals
        if item.account in post.accounts
    ):
        raise CommandFailedError(
            "send_original_missing", post=post.id, original=post.follows
        )
