"""`alerts`: the open alerts, the acknowledged ones, and whether notices reach the channels."""

import asyncio
import socket
from collections.abc import Sequence

import click

from publisher.app.format import Formatter
from publisher.app.open_store import open_unchecked_store
from publisher.cli.authentication import authenticate
from publisher.cli.context import (
    has_database,
    load_workspace_settings,
    open_command_store,
)
from publisher.cli.framework import (
    LocalizedUsageError,
    choice,
    command,
    int_range,
    json_option,
    one_line,
    person_name,
)
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings
from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError, Problem
from publisher.runtime.clock import Runtime

MAX_ID = 2**31 - 1


@command("alerts")
@click.argument(
    "action", metavar="[dismiss|test]", type=choice("dismiss", "test"), required=False
)
@click.argument("target", metavar="[ID|CHANNEL]", required=False, type=one_line)
@click.option("--by", "by", metavar="NAME", type=person_name, help="opt_by_dismiss")
@click.option("--all", "shows_all", is_flag=True, help="opt_all_alerts")
@json_option
async def alerts(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    action: str | None,
    target: str | None,
    by: str | None,
    *,
    shows_all: bool,
    as_json: bool,
) -> int:
    settings = await load_workspace_settings(terminal)
    if action == "test":
        return await test_channels(terminal, settings, target)
    if action == "dismiss":
        await dismiss(terminal, settings, target, by)
        return 0
    if not has_database(settings):
        shown = []
    else:
        async with open_command_store(settings, policies={}) as store:
            acknowledged = (
                await store.queries.acknowledged_alerts() if shows_all else ()
            )
            shown = sorted(
                [*await store.queries.alerts(), *acknowledged],
                key=lambda item: -item.id,
            )
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if as_json:
        terminal.print_json(
            {"alerts": [formatter.alert_as_json(item) for item in shown]}
        )
    elif shown:
        for item in shown:
            notes = formatter.alert_notes(item)
            echo(
                f"{item.id:>6}  {formatter.time(item.at)}  {formatter.alert(item)}"
                + (f"  ({notes})" if notes else "")
            )
        terminal.print_message("alerts_dismiss_how")
    else:
        terminal.print_message("no_alerts")
    return 0


async def dismiss(
    terminal: Terminal, settings: Settings, number: str | None, by: str | None
) -> None:
    """Acknowledge an alert. Raises NoSuchItemError if there is no open one of this number."""
    if number is None or by is None:
        raise LocalizedUsageError("missing_parameter", name="--by" if number else "ID")
    alert = int_range(1, MAX_ID)(number)
    if not has_database(settings):
        raise NoSuchItemError("alert", number)
    async with open_command_store(settings) as store:
        known = next(
            (item for item in await store.queries.alerts() if item.id == alert), None
        )
        account = known.facts.get("account") if known else None
        accounts = [AccountId(account)] if account else None
        person = await authenticate(
            terminal,
            settings,
            store,
            command="alerts dismiss",
            by=by,
            accounts=accounts,
        )
        if not await store.actions.dismiss_alert(alert, person):
            raise NoSuchItemError("alert", number)
        terminal.print_message("alert_dismissed", number=alert)


async def test_channels(
    terminal: Terminal, settings: Settings, channel: str | None
) -> int:
    """Send a test message to one channel or to all, and print the replies.

    Return 1 if one did not accept it.
    """
    if channel is not None and channel not in settings.alerts.channels:
        raise NoSuchItemError("channel", channel, settings.alerts.channels)
    names = [channel] if channel else list(settings.alerts.channels)
    if not names:
        terminal.print_message("no_channels")
        return 1
    results = await _send_tests(terminal, settings, names)
    for name, problem in zip(names, results, strict=True):
        if problem is None:
            terminal.print_message("channel_accepted", channel=name)
        else:
            terminal.print_message(
                "channel_not_accepted",
                channel=name,
                reason=terminal.messages.describe(problem),
            )
    return int(any(results))


async def _send_tests(
    terminal: Terminal, settings: Settings, names: Sequence[str]
) -> Sequence[Problem | None]:
    """Send a test message to channels; return the reason of each that did not accept it.

    Where there is a database, it learns of those that did.
    """
    from publisher.app.alert_channels import AlertChannels  # noqa: PLC0415 # only here
    from publisher.app.channel_check import ProvingChannels  # noqa: PLC0415 # only here

    translate, host = terminal.messages.translate, socket.gethostname()

    async def send(channels: AlertChannels | ProvingChannels) -> list[Problem | None]:
        messages = (
            channels.send(
                name,
                ids=["test"],
                title=translate("notice_test_title"),
                body=translate("notice_test_body", channel=name, host=host),
                is_problem=False,
            )
            for name in names
        )
        return await asyncio.gather(*messages)

    if not has_database(settings):
        return await send(AlertChannels(settings))
    async with open_unchecked_store(settings, Runtime()) as store:
        if store is None:
            return await send(AlertChannels(settings))
        return await send(ProvingChannels(store=store, settings=settings))
