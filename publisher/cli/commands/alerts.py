"""`alerts`: the open alerts, the acknowledged ones, and whether notices reach the channels."""

import asyncio
import socket
from collections.abc import Collection, Sequence
from functools import partial

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
from publisher.engine.notice_groups import find_cause, platform_of
from publisher.runtime.clock import Runtime
from publisher.store.queries.queries import Alert

MAX_ID = 2**31 - 1


@command("alerts")
@click.argument(
    "action", metavar="[dismiss|test]", type=choice("dismiss", "test"), required=False
)
@click.argument("targets", metavar="[ID…|CHANNEL]", nargs=-1, type=one_line)
@click.option("--code", metavar="CODE", type=one_line, help="opt_dismiss_code")
@click.option("--same-cause", is_flag=True, help="opt_same_cause")
@click.option("--by", "by", metavar="NAME", type=person_name, help="opt_by_dismiss")
@click.option("--all", "shows_all", is_flag=True, help="opt_all_alerts")
@json_option
async def alerts(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    action: str | None,
    targets: Sequence[str],
    code: str | None,
    by: str | None,
    *,
    same_cause: bool,
    shows_all: bool,
    as_json: bool,
) -> int:
    settings = await load_workspace_settings(terminal)
    if action == "test":
        channel = next(iter(targets), None)
        return await test_channels(terminal, settings, channel)
    if action == "dismiss":
        await dismiss(terminal, settings, targets, code, by, same_cause=same_cause)
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


async def dismiss(  # noqa: PLR0913 # the arguments of the command
    terminal: Terminal,
    settings: Settings,
    numbers: Sequence[str],
    code: str | None,
    by: str | None,
    *,
    same_cause: bool,
) -> None:
    """Acknowledge alerts: by number, all of the same causes as these, or all of one code.

    Raises NoSuchItemError, before any is acknowledged, if one of the numbers is not open.
    """
    if by is None or not (numbers or code):
        name = "--by" if by is None and (numbers or code) else "ID"
        raise LocalizedUsageError("missing_parameter", name=name)
    if code and (numbers or same_cause):
        raise LocalizedUsageError("dismiss_number_or_code")
    ids = {int_range(1, MAX_ID)(number) for number in numbers}
    if not has_database(settings):
        raise NoSuchItemError("alert", code or numbers[0])
    async with open_command_store(settings) as store:
        # those held with a paused account are not listed, and end with its alert
        shown = await store.queries.shown_alerts()
        if same_cause:
            named = await store.queries.named_alerts(ids)  # one of them may be over
            chosen = choose_same_causes(shown, named, settings)
        else:
            named = chosen = choose_alerts(shown, ids, code)
        unknown = ids - {one.id for one in named}
        accounts = {one.facts.get("account") for one in chosen}
        is_limited = bool(chosen) and not unknown and None not in accounts
        person = await authenticate(
            terminal,
            settings,
            store,
            command="alerts dismiss",
            by=by,
            accounts=[AccountId(name) for name in accounts if name]
            if is_limited
            else None,
        )
        if unknown:
            raise NoSuchItemError("alert", str(min(unknown)))
        dismissed = [
            one for one in chosen if await store.actions.dismiss_alert(one.id, person)
        ]
        print_dismissed(terminal, dismissed, named[0].code if same_cause else code)
        refused = [one.id for one in chosen if one not in dismissed]
        if refused or not chosen:
            raise NoSuchItemError("alert", str([*refused, code or numbers[0]][0]))


def print_dismissed(
    terminal: Terminal, dismissed: Sequence[Alert], code: str | None
) -> None:
    """Print the numbers of acknowledged alerts, or how many they are of one code."""
    if code is None:
        for one in dismissed:
            terminal.print_message("alert_dismissed", number=one.id)
    elif dismissed:
        number = len(dismissed)
        terminal.print_message("alerts_dismissed", number=number, code=code)


def is_of(alert: Alert, code: str) -> bool:
    """Return True if an alert has a code such as `held.captcha`, or one that begins `held`."""
    return code in {alert.code, alert.code.partition(".")[0]}


def choose_alerts(
    shown: Sequence[Alert], numbers: Collection[int], code: str | None
) -> Sequence[Alert]:
    return [one for one in shown if one.id in numbers or (code and is_of(one, code))]


def choose_same_causes(
    shown: Sequence[Alert], named: Sequence[Alert], settings: Settings
) -> Sequence[Alert]:
    """Return the alerts that a notice would put together with one of the named alerts."""
    find_platform = partial(platform_of, settings.accounts)
    causes = {find_cause(one, find_platform) for one in named}
    return [one for one in shown if find_cause(one, find_platform) in causes]


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
