"""`correct`: send a correction where the original is or may be published; elsewhere stop it."""

import contextlib
from collections.abc import Collection
from pathlib import Path

import click

from publisher.cli.application import (
    load_post,
    open_command_application,
    parse_file_or_post,
    print_obstacles,
    read_posts_file,
    with_locations,
)
from publisher.cli.authentication import accounts_of_post, authenticate
from publisher.cli.context import load_workspace_settings
from publisher.cli.errors import EXIT_FAILED, CommandFailedError
from publisher.cli.framework import by_option, command, one_line
from publisher.cli.target import require_post
from publisher.cli.terminal import Terminal
from publisher.domain.account import AccountId
from publisher.domain.correction import CorrectionPlan, SkipReason
from publisher.domain.post import OneTimeTrigger, Post, PostId
from publisher.engine.planner import send_correction


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
            if len(posts) > 1:
                raise CommandFailedError(
                    "correct_one_only", file=named, number=len(posts)
                )
            new = posts[0]
        else:
            new = await load_post(application, named)
        await require_post(application.store.queries, post)
        require_correction(new, post, terminal)
        accounts = {*new.accounts, *await accounts_of_post(application.store, post)}
        person = await authenticate(
            terminal,
            settings,
            application.store,
            command="correct",
            by=by,
            accounts=accounts,
        )
        with with_locations(toml) if toml else contextlib.nullcontext():
            plan = await send_correction(
                application.planner, new, person, is_new=toml is not None
            )
        await application.store.maintenance.promote_requested([new.id])
        original = await application.store.posts.get_post(post)
        _print_result(terminal, new, plan)
        if original is not None and not isinstance(original.trigger, OneTimeTrigger):
            terminal.print_message("correct_all_instants", original=post)
        if plan.targets:
            await print_obstacles(terminal, application, [new.id])
    return 0 if plan.targets or plan.corrected or plan.stopped else EXIT_FAILED


def require_correction(correction: Post, original: PostId, terminal: Terminal) -> None:
    """Raise CommandFailedError unless the post is a one-time correction of the original."""
    if not correction.kind.traits.stops_original:
        kind = terminal.translate(f"kind_{correction.kind}")
        raise CommandFailedError(
            "correct_no_correction", post=correction.id, original=original, kind=kind
        )
    if correction.follows != original:
        follows = correction.follows or terminal.translate("nothing")
        raise CommandFailedError(
            "correct_of_another", post=correction.id, original=original, follows=follows
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
