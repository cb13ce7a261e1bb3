"""The table of commands. A command is loaded when it is called."""

from importlib.metadata import version

import click

from publisher.cli.framework import LocalizedGroup, shared_options
from publisher.cli.terminal import echo

COMMANDS = {
    "init": "publisher.cli.commands.init:init",
    "check": "publisher.cli.commands.check:check",
    "preview": "publisher.cli.commands.preview:preview",
    "run": "publisher.cli.commands.run:run",
    "send": "publisher.cli.commands.send:send",
    "status": "publisher.cli.commands.status:status",
    "why": "publisher.cli.commands.why:why",
    "cancel": "publisher.cli.commands.cancel:cancel",
    "retract": "publisher.cli.commands.retract:retract",
    "correct": "publisher.cli.commands.correct:correct",
    "resolve": "publisher.cli.commands.resolve:resolve",
    "resend": "publisher.cli.commands.resend:resend",
    "assist": "publisher.cli.commands.assist:assist",
    "mode": "publisher.cli.commands.mode:mode",
    "pause": "publisher.cli.commands.pause:pause",
    "resume": "publisher.cli.commands.resume:resume",
    "reload": "publisher.cli.commands.reload:reload",
    "reach": "publisher.cli.commands.reach:reach",
    "report": "publisher.cli.commands.report:report",
    "accounts": "publisher.cli.commands.accounts:accounts",
    "doctor": "publisher.cli.commands.doctor:doctor",
    "offboard": "publisher.cli.commands.offboard:offboard",
    "templates": "publisher.cli.commands.templates:templates",
    "backup": "publisher.cli.commands.backup:backup",
    "restore": "publisher.cli.commands.restore:restore",
    "migrate": "publisher.cli.commands.migrate:migrate",
    "login": "publisher.cli.commands.login:login",
    "secret": "publisher.cli.commands.secret:secret",
    "audit": "publisher.cli.commands.audit:audit",
    "move-database": "publisher.cli.commands.move_database:move_database",
    "simulate": "publisher.cli.commands.simulate:simulate",
    "demo": "publisher.cli.commands.demo:demo",
}


def build_program() -> LocalizedGroup:
    def show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001 # click's own
        if value:
            echo(version("agency-publisher"))
            ctx.exit()

    version_option = click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="opt_version"
    )
    return LocalizedGroup(
        "publisher",
        command_paths=COMMANDS,
        help="program",
        params=[*shared_options(), version_option],
        no_args_is_help=True,
    )
