"""`why`: the history of a delivery, its next step, and the person that must act."""

from collections.abc import Iterator
from dataclasses import replace

import click

from publisher.app.format import Formatter
from publisher.app.history import POST_EVENTS, Explanation, explain_delivery
from publisher.cli.commands.approvals import format_task
from publisher.cli.context import (
    has_database,
    load_workspace_settings,
    open_command_store,
)
from publisher.cli.framework import command
from publisher.cli.target import DeliveryTarget, find_deliveries, post_target
from publisher.cli.terminal import Terminal, echo
from publisher.domain.delivery import Delivery, State
from publisher.domain.errors import NoSuchItemError
from publisher.store.approvals.tasks import list_unapproved
from publisher.store.queries.snapshot import take_snapshot


@command("why")
@click.argument("target", metavar="POST[@ACCOUNT]", type=post_target)
async def why(terminal: Terminal, target: DeliveryTarget) -> None:
    settings = await load_workspace_settings(terminal)
    if not has_database(settings):
        raise NoSuchItemError("post", target.post)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    async with open_command_store(settings) as store:
        queries = store.queries
        deliveries = await find_deliveries(
            queries, target, settings.timezone, lambda _: False
        )
        if not deliveries:
            terminal.print_message(
                "why_not_planned", post=target.post, days=settings.plan_days
            )
            return
        posts = sorted({delivery.key.post for delivery in deliveries})
        actions = {
            post: [
                entry
                for entry in await queries.audit_history(post)
                if entry.event in POST_EVENTS
            ]
            for post in posts
        }
        snapshot = await take_snapshot(
            queries, posts, configured_accounts=frozenset(settings.accounts)
        )
        histories = [
            await queries.delivery_history(delivery) for delivery in deliveries
        ]
        tasks = (
            await store.approvals.tasks(target.post)
            if settings.approval_rules.is_active
            else ()
        )
    snapshot = replace(snapshot, unapproved=list_unapproved(tasks))
    explained = [
        (
            item.delivery,
            explain_delivery(
                item, actions[item.delivery.key.post], snapshot, formatter
            ),
        )
        for item in histories
    ]
    echo(
        "\n\n".join(
            "\n".join(format_explanation(*item, formatter)) for item in explained
        )
    )
    for task in tasks:
        if task.status.missing:
            echo(f"\n{format_task(task, formatter)}")


def format_explanation(
    delivery: Delivery, explanation: Explanation, formatter: Formatter
) -> Iterator[str]:
    """Yield the lines about one delivery."""
    translate = formatter.messages.translate
    yield translate(
        "why_head",
        subject=formatter.subject(delivery),
        state=formatter.status(delivery),
    )
    yield from explanation.facts
    yield translate("why_history")
    yield from (
        f"    {formatter.time(event.at)}  {event.text}" for event in explanation.events
    )
    yield from explanation.remarks
    yield translate("why_action" if delivery.state is State.HELD else "why_next")
    yield from (f"    {line}" for line in explanation.next_steps)
