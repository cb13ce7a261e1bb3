"""`duty`: the officers on duty, with the right to release a post in an emergency."""

import click

from publisher.app.format import Formatter
from publisher.cli.authentication import authenticate
from publisher.cli.context import (
    has_database,
    load_workspace_settings,
    open_command_store,
)
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import (
    LocalizedUsageError,
    choice,
    command,
    json_option,
    one_line,
    person_name,
)
from publisher.cli.terminal import Terminal, echo


@command("duty")
@click.argument(
    "action", metavar="[add|remove", type=choice("add", "remove"), required=False
)
@click.argument("name", metavar="NAME]", type=person_name, required=False)
@click.option("--by", "by", metavar="NAME", type=person_name, help="opt_by_admin")
@click.option("--phone", metavar="PHONE", type=one_line, help="opt_phone")
@json_option
async def duty(  # noqa: PLR0913 # what the command takes
    terminal: Terminal,
    action: str | None,
    name: str | None,
    by: str | None,
    phone: str | None,
    *,
    as_json: bool,
) -> None:
    if action and (name is None or by is None):
        raise LocalizedUsageError("missing_parameter", name="--by" if name else "NAME")
    if phone and action != "add":
        raise LocalizedUsageError("phone_needs_add")
    settings = await load_workspace_settings(terminal)
    if not has_database(settings):
        raise CommandFailedError(
            "duty_no_users"
            if settings.approval_rules.is_active
            else "approvals_not_asked"
        )
    async with open_command_store(settings, policies={}) as store:
        if action and name and by:
            person = await authenticate(
                terminal, settings, store, command=f"duty {action}", by=by
            )
            await store.users.get(name)
            if action == "add":
                await store.duty.add(name, person, phone or "")
            else:
                await store.duty.remove(name, person)
            terminal.print_message(f"duty_{action}_done", name=name)
            return
        officers = await store.duty.officers()
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if as_json:
        shown = [
            {"name": item.name, "phone": item.phone, "since": item.at.isoformat()}
            for item in officers
        ]
        terminal.print_json({"officers": shown})
    for officer in () if as_json else officers:
        echo(f"{formatter.time(officer.at)}  {officer.label}")
    if not officers and not as_json:
        terminal.print_message("duty_none")
