"""`correct`: a correction, wherever the original is live or may be."""

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

import click

from publisher.app.application import Application
from publisher.cli.application_context import open_command_application
from publisher.cli.context import load_workspace_settings
from publisher.cli.errors import EXIT_FAILED, CommandFailedError
from publisher.cli.format import Formatter, pauses_covering
from publisher.cli.framework import NonEmptyText, by_option, command
from publisher.cli.post_source import load_post, parse_file_or_post, read_posts_file, with_locations
from publisher.cli.snapshot import StatusSnapshot, take_snapshot
from publisher.cli.terminal import Terminal, echo
from publisher.domain.account import AccountId, Mode
from publisher.domain.errors import NoSuchItemError
from publisher.domain.plan import CorrectionPlan
from publisher.domain.post import OneTimeTrigger, Post, PostId, PostKind
from publisher.engine.decisions import named_person
from publisher.engine.planner import send_correction
from publisher.tomlfile import TomlDocument


@command("correct")
@click.argument("post", metavar="POST", type=NonEmptyText())
@click.argument("correction", metavar="NEW", type=NonEmptyText())
@by_option
def correct(terminal: Terminal, post: str, correction: str, by: str) -> int:
    return asyncio.run(_correct(terminal, PostId(post), parse_file_or_post(correction), by))


async def _correct(terminal: Terminal, original: PostId, named: Path | PostId, by: str) -> int:
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    async with open_command_application(settings) as application:
        correction, toml = await _read_correction(application, named)
        if not await application.queries.has_post(original):
            raise NoSuchItemError("post", original)
        _require_correction(correction, original, terminal)
        with with_locations(toml) if toml else contextlib.nullcontext():
            correction_plan = await send_correction(
                application.planner, correction, named_person(by), is_new=toml is not None
            )
        await application.maintenance.promote_requested([correction.id])
        snapshot = await take_snapshot(application.queries, correction.id)
    _print_result(terminal, correction, correction_plan)
    _print_blockers(snapshot, correction_plan, formatter)
    if correction_plan.targets and not snapshot.is_running:
        terminal.print_note("no_daemon_hint")
    return 0 if correction_plan.targets or correction_plan.corrected else EXIT_FAILED


async def _read_correction(application: Application, named: Path | PostId) -> tuple[Post, TomlDocument | None]:
    """Give the correction, and the file that it alone stands in, if it does."""
    if not isinstance(named, Path):
        return await load_post(application, named), None
    toml, posts = await read_posts_file(application, named)
    if len(posts) > 1:
        raise CommandFailedError("correct_one_only", file=named, number=len(posts))
    return posts[0], toml


def _require_correction(correction: Post, original: PostId, terminal: Terminal) -> None:
    """Refuse what is no correction of this post. Raises FailedError."""
    if correction.kind is not PostKind.CORRECTION:
        kind = terminal.translate(f"kind_{correction.kind}")
        raise CommandFailedError("correct_no_correction", post=correction.id, original=original, kind=kind)
    if correction.follows != original:
        follows = correction.follows or terminal.translate("nothing")
        raise CommandFailedError("correct_of_another", post=correction.id, original=original, follows=follows)
    if not isinstance(correction.trigger, OneTimeTrigger):
        raise CommandFailedError("correct_repeats", post=correction.id)


def _print_blockers(snapshot: StatusSnapshot, correction_plan: CorrectionPlan, formatter: Formatter) -> None:
    """Name the pauses, and the accounts switched off at run time, that keep the correction back."""
    going = [delivery for delivery in snapshot.deliveries if delivery.account in correction_plan.targets]
    for pause in dict.fromkeys(pause for delivery in going for pause in pauses_covering(snapshot.pauses, delivery)):
        echo(formatter.pause("still_paused", pause), err=True)
    for order in snapshot.mode_overrides:
        if order.mode is Mode.OFF and order.account in correction_plan.targets:
            echo(formatter.mode("mode_override", order), err=True)


def _print_result(terminal: Terminal, correction: Post, correction_plan: CorrectionPlan) -> None:
    def join_accounts(accounts: Iterable[AccountId]) -> str:
        return terminal.translate("list_comma").join(accounts)

    facts = {"post": correction.id, "original": correction.follows}
    if correction_plan.send_now:
        terminal.print_message(
            "correct_sends_now",
            **facts,
            number=len(correction_plan.send_now),
            accounts=join_accounts(correction_plan.send_now),
        )
    if correction_plan.waiting:
        terminal.print_message(
            "correct_waiting",
            **facts,
            number=len(correction_plan.waiting),
            accounts=join_accounts(correction_plan.waiting),
        )
    if correction_plan.corrected:
        terminal.print_message(
            "correct_already_published",
            number=len(correction_plan.corrected),
            accounts=join_accounts(correction_plan.corrected),
        )
    if not (correction_plan.targets or correction_plan.corrected):
        terminal.print_message("correct_not_published", **facts)
    for why, accounts in correction_plan.skipped.items():
        reason = terminal.translate(f"skipped_{why}", **facts)
        terminal.print_message("correct_skipped", number=len(accounts), accounts=join_accounts(accounts), reason=reason)
    if correction_plan.targets:
        terminal.print_message("correct_watch", **facts)
