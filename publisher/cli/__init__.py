"""The command line. It calls the engine and reads the store; nothing is decided here."""

import gc
import os
import resource
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from publisher.cli.errors import (
    CommandFailedError,
    report_error,
    report_usage_error,
)
from publisher.cli.framework import (
    LocalizedHelp,
    LocalizedUsageError,
    get_messages,
    shared_options,
)
from publisher.cli.terminal import Terminal, echo
from publisher.domain.errors import PublisherError
from publisher.i18n import LANGUAGES, PROGRAM, Lang, Messages, use_platform_texts
from publisher.runtime.logs import describe_command_log, install_hooks

COMMANDS = (
    "init",
    "check",
    "preview",
    "run",
    "approvals",
    "approve",
    "unapprove",
    "duty",
    "send",
    "status",
    "why",
    "cancel",
    "retract",
    "correct",
    "resolve",
    "resend",
    "evergreen",
    "assist",
    "mode",
    "pause",
    "resume",
    "refresh",
    "reload",
    "reach",
    "report",
    "alerts",
    "accounts",
    "doctor",
    "watchdog",
    "offboard",
    "rename-account",
    "templates",
    "backup",
    "restore",
    "migrate",
    "login",
    "secret",
    "user",
    "audit",
    "move-database",
    "web",
    "simulate",
    "new-adapter",
    "demo",
)
"""In the order of the help. Each is a module of its name in `commands`."""
LINUX_COMMANDS = frozenset(COMMANDS) - {
    "init",
    "check",
    "preview",
    "templates",
    "new-adapter",
}
"""Commands that open the database or serve. The others only read and write the author's files."""
EXIT_INTERRUPTED = 130
"""The exit code after ^C, by the convention of shells."""
PROGRAM_VARIABLE, WORKSPACE_VARIABLE = "PUBLISHER_PROGRAM", "PUBLISHER_WORKSPACE"
"""A wrapper of this command sets them: how it is called, and the workspace without `-C`."""
_PR_SET_DUMPABLE = 4
"""From Linux's <sys/prctl.h>."""


def main() -> None:
    """Run one command and exit with its code."""
    harden_process()
    install_hooks()
    exit_code = run_command(sys.argv[1:], program_as_called())
    # the process ends now; another ^C would show a traceback
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(exit_code)


def harden_process() -> None:
    """Create files for their owner only; write no core file and no log of TLS keys.

    A core file would hold every secret.
    """
    os.umask(0o077)
    # no child imports from the working directory, which staff may write to
    os.environ["PYTHONSAFEPATH"] = "1"
    os.environ.pop("SSLKEYLOGFILE", None)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 # only needed here

        # a core file piped to a program ignores the limit; and no other process of this user may
        # read our memory
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def program_as_called() -> str:
    """Return the call of this process for a shell: `publisher` if the shell finds that.

    A wrapper that called it names itself in PUBLISHER_PROGRAM.
    """
    if wrapper := os.environ.get(PROGRAM_VARIABLE):
        return shlex.quote(wrapper)
    script = Path(sys.argv[0])
    if script.name == "__main__.py":
        return shlex.join(sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1])
    found = shutil.which(PROGRAM)
    is_found = found is not None and script.exists() and script.samefile(found)
    return PROGRAM if is_found or not script.exists() else shlex.quote(str(script))


def run_command(arguments: Sequence[str], program: str = PROGRAM) -> int:
    """Run one command and return its exit code. Expected errors become messages, never a traceback.

    `program` is how it was called; the commands that messages name are called the same way.
    """
    workspace = find_option(arguments, "-C")
    option = f"-C {shlex.quote(workspace)}" if workspace else ""
    # few commands need them
    use_platform_texts(lambda: import_module("publisher.app.adapters").AdapterTexts())
    messages = Messages(detect_language(arguments), program, option)
    default = Path(os.environ.get(WORKSPACE_VARIABLE, ""))
    terminal = Terminal(messages=messages, workspace=default)
    describe_command_log(partial(describe_event, messages=messages))
    try:
        done = build_program().main(
            list(arguments), prog_name=program, standalone_mode=False, obj=terminal
        )
    except click.UsageError as error:
        return report_usage_error(error, terminal)
    except (click.Abort, KeyboardInterrupt):
        terminal.print_note("interrupted")
        return EXIT_INTERRUPTED
    except (PublisherError, OSError) as error:
        return report_error(error, terminal)
    return done if isinstance(done, int) else 0


def describe_event(event: Mapping[str, Any], messages: Messages) -> str | None:
    """Return an event of a command's log in words for people, without its time."""
    from publisher.app.format import Formatter  # noqa: PLC0415 # same
    from publisher.cli.commands.run import describe_log_event  # noqa: PLC0415 # most commands log nothing

    return describe_log_event(
        event, Formatter(messages=messages, timezone=ZoneInfo("UTC"))
    )


def detect_language(arguments: Sequence[str]) -> Lang:
    """Return the language: that of `--lang`, else of PUBLISHER_LANG, else Chinese."""
    wanted = find_option(arguments, "--lang") or os.environ.get("PUBLISHER_LANG", "")
    return next((lang for lang in LANGUAGES if lang == wanted), LANGUAGES[0])


def find_option(arguments: Sequence[str], name: str) -> str:
    """Return the last value of an option, "" without one.

    Help and errors need it before a command is parsed.
    """
    value = ""
    for position, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == name:
            value = "".join(arguments[position + 1 : position + 2])
        elif argument.startswith(f"{name}=" if name.startswith("--") else name):
            value = argument.removeprefix(name).removeprefix("=")
    return value


class Program(LocalizedHelp, click.Group):
    """The command `publisher`. It loads a subcommand when that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 # same
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        # loaded modules stay; collecting garbage among them costs each command a tenth of its time
        gc.disable()
        try:
            command: click.Command = getattr(
                import_module(f"publisher.cli.commands.{name}"), name
            )
        finally:
            gc.freeze()
            gc.enable()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if (
            not ctx.resilient_parsing
            and args[0] not in COMMANDS
            and not args[0].startswith("-")
        ):
            close = get_close_matches(args[0], COMMANDS)
            code = "unknown_command_close" if close else "unknown_command"
            raise LocalizedUsageError(code, ctx, name=args[0], close=", ".join(close))
        if args[0] in LINUX_COMMANDS and sys.platform != "linux":
            raise CommandFailedError(
                "needs_linux", command=args[0], system=sys.platform
            )
        return super().resolve_command(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        messages = get_messages(ctx)
        return [
            messages.translate("options_blank"),
            messages.translate("command_blank"),
        ]

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        super().format_options(ctx, formatter)
        messages = get_messages(ctx)
        with formatter.section(messages.translate("commands")):
            formatter.write_dl(
                [(name, messages.translate(f"cmd_{name}")) for name in COMMANDS]
            )


def build_program() -> Program:
    def show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001 # click's own
        if value:
            from publisher.app.build import describe_build  # noqa: PLC0415 # slow, and only needed here

            echo(describe_build())
            ctx.exit()

    version_option = click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show_version,
        help="opt_version",
    )
    return Program(
        "publisher",
        help="program",
        params=[*shared_options(), version_option],
        no_args_is_help=True,
    )
