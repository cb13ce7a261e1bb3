"""`resend`: send a delivery that has ended without a published post once more."""

import click

from publisher.app.format import Formatter
from publisher.cli.application import open_command_application, print_obstacles
from publisher.cli.authentication import authenticate
from publisher.cli.context import load_workspace_settings
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import by_option, command, reason_option
from publisher.cli.target import DeliveryTarget, delivery_target, find_deliveries
from publisher.cli.terminal import Terminal
from publisher.domain.errors import NoSuchItemError
from publisher.engine.planner import resend_post
from publisher.store.plan.posts import AuditAction


@command("resend")
@click.argument("target", metavar="POST@ACCOUNT", type=delivery_target)
@by_option
@reason_option
async def resend(terminal: Terminal, target: DeliveryTarget, by: str, reason: str) -> None:
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    async with open_command_application(settings) as application:
        [old] = await find_deliveries(
            application.store.queries, target, settings.timezone, lambda delivery: delivery.can_be_resent
        )
        subject = formatter.subject(old)
        if not old.can_be_resent:
            raise CommandFailedError("resend_not_ended", subject=subject, state=formatter.state(old.state))
        if old.account not in application.planner.post_renderer.accounts:
            raise NoSuchItemError("account", old.account)
        post = await application.store.posts.get_post(old.key.post)
        if post is None:
            raise NoSuchItemError("post", old.key.post)
        person = await authenticate(
            terminal, settings, application.store, command="resend", by=by, accounts=[old.account]
        )
        action = AuditAction(event="resend_requested", subject=subject, by=person, detail={"reason": reason})
        await resend_post(application.planner, post, [old.account], [action])
        terminal.print_message("resend_done", post=old.key.post, account=old.account)
        await print_obstacles(terminal, application, [old.key.post])
