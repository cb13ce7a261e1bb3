"""The list of all commands, and where each one stands. None is loaded before it is called."""

from importlib.metadata import version

import click

from publisher.cli.shape import WordedGroup, shared_options
from publisher.cli.terminal import echo

PLACES = {
    "init": "publisher.cli.founding:init",
    "check": "publisher.cli.checking:check",
    "preview": "publisher.cli.previewing:preview",
    "run": "publisher.cli.running:run",
    "send": "publisher.cli.sending:send",
    "status": "publisher.cli.looking:status",
    "why": "publisher.cli.explaining:why",
    "cancel": "publisher.cli.ordering:cancel",
    "retract": "publisher.cli.ordering:retract",
    "correct": "publisher.cli.correcting:correct",
    "resolve": "publisher.cli.ruling:resolve",
    "resend": "publisher.cli.ruling:resend",
    "assist": "publisher.cli.assisting:assist",
    "mode": "publisher.cli.switching:mode",
    "pause": "publisher.cli.pausing:pause",
    "resume": "publisher.cli.pausing:resume",
    "reload": "publisher.cli.sending:reload",
    "reach": "publisher.cli.reaching:reach",
    "report": "publisher.cli.reporting:report",
    "accounts": "publisher.cli.accounting:accounts",
    "doctor": "publisher.cli.examining:doctor",
    "offboard": "publisher.cli.leaving:offboard",
    "templates": "publisher.cli.templating:templates",
    "backup": "publisher.cli.backing_up:backup",
    "restore": "publisher.cli.backing_up:restore",
    "migrate": "publisher.cli.migrating:migrate",
    "login": "publisher.cli.signing_in:login",
    "secret": "publisher.cli.secrets:secret",
    "audit": "publisher.cli.auditing:audit",
    "move-database": "publisher.cli.moving:move_database",
    "simulate": "publisher.cli.simulating:simulate",
    "demo": "publisher.cli.demo.showing:demo",
}


def program() -> WordedGroup:
    """Build the program."""

    def show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001 # click's own
        if value:
            echo(version("publisher"))
            ctx.exit()

    version_option = click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="opt_version"
    )
    return WordedGroup(
        "publisher", places=PLACES, help="program", params=[*shared_options(), version_option], no_args_is_help=True
    )
