"""`alerts`: what people should know, and what they have dismissed."""

import click

from publisher.app.format import Formatter
from publisher.cli.authentication import authenticate
from publisher.cli.context import has_database, load_workspace_settings, open_command_store
from publisher.cli.framework import LocalizedUsageError, choice, command, int_range, json_option, person_name
from publisher.cli.terminal import Terminal, echo
from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError

MAX_ID = 2**31 - 1


@command("alerts")
@click.argument("action", metavar="[dismiss", type=choice("dismiss"), required=False)
@click.argument("alert", metavar="ID]", type=int_range(1, MAX_ID), required=False)
@click.option("--by", "by", metavar="NAME", type=person_name, help="opt_by_dismiss")
@json_option
async def alerts(terminal: Terminal, action: str | None, alert: int | None, by: str | None, *, as_json: bool) -> None:
    if action and (alert is None or by is None):
        raise LocalizedUsageError("missing_parameter", name="--by" if alert else "ID")
    settings = await load_workspace_settings(terminal)
    if not has_database(settings):
        if alert is not None:
            raise NoSuchItemError("alert", str(alert))
        shown = []
    else:
        async with open_command_store(settings) as store:
            if alert is not None and by is not None:
                known = next((item for item in await store.queries.alerts() if item.id == alert), None)
                account = known.facts.get("account") if known else None
                accounts = [AccountId(account)] if account else None
                person = await authenticate(
                    terminal, settings, store, command="alerts dismiss", by=by, accounts=accounts
                )
                if not await store.actions.dismiss_alert(alert, person):
                    raise NoSuchItemError("alert", str(alert))
                terminal.print_message("alert_dismissed", number=alert)
                return
            shown = list(await store.queries.alerts())
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if as_json:
        terminal.print_json({"alerts": [formatter.alert_as_json(item) for item in shown]})
    elif shown:
        for item in shown:
            echo(f"{item.id:>6}  {formatter.time(item.at)}  {formatter.alert(item)}")
        terminal.print_message("alerts_dismiss_how")
    else:
        terminal.print_message("no_alerts")
