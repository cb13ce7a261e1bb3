"""`resend`: repeat a delivery that has ended unpublished, or send to an account added late."""

from dataclasses import replace

import click

from publisher.app.application import Application
from publisher.app.format import Formatter
from publisher.cli.application import open_command_application, print_obstacles
from publisher.cli.authentication import authenticate
from publisher.cli.context import load_workspace_settings
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import by_option, command, reason_option
from publisher.cli.target import (
    DeliveryTarget,
    delivery_target,
    find_delivery,
    find_posts,
)
from publisher.cli.terminal import Terminal
from publisher.config import SCHEDULE_FILE
from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import ONCE_OCCURRENCE, PostId, format_delivery_name
from publisher.engine.planner import active_schedule, resend_post
from publisher.store.plan.posts import AuditAction


@command("resend")
@click.argument("target", metavar="POST@ACCOUNT", type=delivery_target)
@by_option
@reason_option
async def resend(
    terminal: Terminal, target: DeliveryTarget, by: str, reason: str
) -> None:
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    async with open_command_application(settings) as application:
        named, account, subject = await _choose_delivery(application, formatter, target)
        if account not in application.planner.post_renderer.accounts:
            raise NoSuchItemError("account", account)
        post = await application.store.posts.get_post(named)
        if post is None:
            raise NoSuchItemError("post", target.post)
        person = await authenticate(
            terminal,
            settings,
            application.store,
            command="resend",
            by=by,
            accounts=[account],
        )
        action = AuditAction(
            event="resend_requested",
            subject=subject,
            by=person,
            detail={"reason": reason},
        )
        await resend_post(application.planner, post, [account], [action])
        terminal.print_message("resend_done", post=post.id, account=account)
        await print_obstacles(terminal, application, [post.id])


async def _choose_delivery(
    application: Application, formatter: Formatter, target: DeliveryTarget
) -> tuple[PostId, AccountId, str]:
    """Return the post, the account and the name of the resent delivery.

    Raises CommandFailedError if it has not ended.
    """
    for post in await find_posts(application.store.queries, target.post):
        one = replace(target, post=post)
        if target.account is not None and await _was_added_late(
            application, one, target.account
        ):
            subject = format_delivery_name(post, ONCE_OCCURRENCE, target.account)
            return post, target.account, subject
    old = await find_delivery(
        application.store.queries,
        target,
        application.settings.timezone,
        lambda delivery: delivery.can_be_resent,
    )
    subject = formatter.subject(old)
    if not old.can_be_resent:
        raise CommandFailedError(
            "resend_not_ended", subject=subject, state=formatter.state(old.state)
        )
    return old.key.post, old.account, subject


async def _was_added_late(
    application: Application, target: DeliveryTarget, account: AccountId
) -> bool:
    """Return True if a post names the account, but it was added too late to get it with the others.

    Raises CommandFailedError if it will get it with the others.
    """
    deliveries = await application.store.queries.deliveries(target.post)
    if (
        target.instant
        or not deliveries
        or any(delivery.account == account for delivery in deliveries)
    ):
        return False
    schedule = await active_schedule(application.planner, SCHEDULE_FILE)
    named = (
        {
            one
            for post in schedule.posts
            if post.id == target.post
            for one in post.accounts
        }
        if schedule
        else set()
    )
    if account not in named:
        return False
    now = application.runtime.now()
    if not any(delivery.due_at <= now or delivery.attempts for delivery in deliveries):
        name = format_delivery_name(target.post, ONCE_OCCURRENCE, account)
        raise CommandFailedError("resend_not_due", subject=name, post=target.post)
    return True
