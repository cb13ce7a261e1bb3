"""`correct`: send a correction where the original is or may be published; elsewhere stop it."""

import contextlib
from collections.abc import Collection
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
from publisher.cli.authentication import accounts_of_post, authenticate_for_each
from publisher.cli.context import load_workspace_settings
from publisher.cli.errors import EXIT_FAILED, CommandFailedError
from publisher.cli.framework import by_option, command, one_line
from publisher.cli.target import find_posts
from publisher.cli.terminal import Terminal
from publisher.domain.account import AccountId
from publisher.domain.correction import CorrectionPlan, SkipReason
from publisher.domain.delivery import Actor
from publisher.domain.post import OneTimeTrigger, Post, PostId, find_family
from publisher.engine.corrections import send_correction


@command("correct")
@click.argument("post", metavar="POST", type=one_line)
@click.argument("correction", metavar="NEW", type=one_line)
@by_option
async def correct(terminal: Terminal, post: PostId, correction: str, by: str) -> int:
    named, toml = parse_file_or_post(correction), None
    settings = await load_workspace_settings(terminal)
    async with open_command_application(settings) as application:
        if isinstance(named, Path):
            toml, posts = await read_posts_file(application, named)
            number = len({find_family(each.id) for each in posts})
            if number > 1:
                raise CommandFailedError("correct_one_only", file=named, number=number)
        else:
            posts = await load_posts(application, named)
        originals = await find_posts(application.store.queries, post)
        for new in posts:
            require_correction(new, post, originals, terminal)
        corrections = {new.id: new for new in posts}
        targets = {
            new.id: {
                *new.accounts,
                *await accounts_of_post(application.store, new.follows or post),
            }
            for new in posts
        }
        person, allowed = await authenticate_for_each(
            terminal,
            settings,
            application.store,
            command="correct",
            by=by,
            targets=targets,
        )
        done = False
        with with_locations(toml) if toml else contextlib.nullcontext():
            for name in allowed:
                plan = await send_one(
                    terminal,
                    application,
                    corrections[name],
                    person,
                    is_new=toml is not None,
                )
                done |= bool(plan.targets or plan.corrected or plan.stopped)
    return 0 if done else EXIT_FAILED


async def send_one(
    terminal: Terminal,
    application: Application,
    new: Post,
    person: Actor,
    *,
    is_new: bool,
) -> CorrectionPlan:
    """Send a correction, and print the results."""
    plan = await send_correction(application.planner, new, person, is_new=is_new)
    await application.store.maintenance.promote_requested([new.id])
    original = await application.store.posts.get_post(PostId(new.follows or ""))
    _print_result(terminal, new, plan)
    if original is not None and not isinstance(original.trigger, OneTimeTrigger):
        terminal.print_message("correct_all_instants", original=original.id)
    if plan.targets:
        await print_obstacles(terminal, application, [new.id])
    return plan


def require_correction(
    correction: Post, name: str, originals: Collection[PostId], terminal: Terminal
) -> None:
    """Raise CommandFailedError unless the post is a one-time correction of an original.

    `originals` are the posts of the `name` that was typed.
    """
    if not correction.kind.traits.stops_original:
        kind = terminal.translate(f"kind_{correction.kind}")
        raise CommandFailedError(
            "correct_no_correction", post=correction.id, original=name, kind=kind
        )
    if correction.follows not in originals:
        follows = correction.follows or terminal.translate("nothing")
        raise CommandFailedError(
            "correct_of_another", post=correction.id, original=name, follows=follows
        )
    if not isinstance(correction.trigger, OneTimeTrigger):
        raise CommandFailedError("correct_repeats", post=correction.id)


def _print_result(terminal: Terminal, correction: Post, plan: CorrectionPlan) -> None:
    facts = {"post": correction.id, "original": correction.follows}

    def print_accounts(
        code: str, accounts: Collection[AccountId], **more: object
    ) -> None:
        if accounts:
            joined = terminal.translate("list_comma").join(accounts)
            terminal.print_message(
                code, **facts, number=len(accounts), accounts=joined, **more
            )

    print_accounts("correct_sends_now", plan.send_now)
    print_accounts("correct_waiting", plan.waiting)
    print_accounts("correct_already_published", plan.corrected)
    print_accounts("correct_stopped", plan.stopped)
    if not (plan.targets or plan.corrected or plan.stopped):
        terminal.print_message("correct_not_published", **facts)
    for why, accounts in plan.skipped.items():
        if why is not SkipReason.STOPPED:
            print_accounts(
                "correct_skipped",
                accounts,
                reason=terminal.translate(f"skipped_{why}", **facts),
            )
    if plan.targets:
        terminal.print_message("correct_watch", **facts)
