"""`reload`: apply schedule.toml now."""

import click

from publisher.cli.application import activate_schedule, open_command_application
from publisher.cli.authentication import authenticate
from publisher.cli.context import load_workspace_settings, warn_about_daemon
from publisher.cli.errors import EXIT_FAILED, format_problems
from publisher.cli.framework import LocalizedUsageError, command, int_range, person_name
from publisher.cli.terminal import Terminal, echo
from publisher.store.plan.plan_alerts import name_posts

MAX_CONFIRMED_REMOVALS = 1_000_000


@command("reload")
@click.option(
    "--confirm-removals",
    metavar="N",
    type=int_range(1, MAX_CONFIRMED_REMOVALS),
    help="opt_confirm_removals",
)
@click.option("--by", metavar="NAME", type=person_name, help="opt_by")
async def reload(
    terminal: Terminal, confirm_removals: int | None, by: str | None
) -> int:
    if confirm_removals is not None and by is None:
        raise LocalizedUsageError("reload_needs_by")
    settings, person = await load_workspace_settings(terminal), None
    async with open_command_application(settings) as application:
        if confirm_removals is not None:
            command = "reload --confirm-removals"
            person = await authenticate(
                terminal, settings, application.store, command=command, by=by
            )
        applied = await activate_schedule(application, confirm_removals, person)
        await warn_about_daemon(terminal, settings, application.store.queries)
    if applied is None:
        terminal.print_message("reload_unchanged")
        return 0
    terminal.print_message("reload_done", filed=applied.filed)
    for late in applied.late_accounts:
        terminal.print_note(
            "reload_late_accounts", post=late.post, accounts="、".join(late.accounts)
        )
    if applied.taken:
        terminal.print_note(
            "reload_removed", number=len(applied.taken), posts=name_posts(applied.taken)
        )
    if applied.withheld:
        code = "settings_differ" if applied.hosts else "removals_waiting"
        facts = {"number": len(applied.withheld), "posts": name_posts(applied.withheld)}
        terminal.print_note(code, **facts, hosts="、".join(applied.hosts))
    if not applied.left_out:
        return 0
    names = [item.facts.get("name", item.facts["post"]) for item in applied.left_out]
    terminal.print_note("reload_left_out", posts=name_posts(names))
    echo(format_problems(applied.left_out, terminal.messages), err=True)
    return EXIT_FAILED
